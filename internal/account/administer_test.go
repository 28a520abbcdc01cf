package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/session"
	"latchkey/internal/store"
)

func TestChangePasswordEndsTheOtherSessions(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.create(t, "bob")
	this, other, bobs := f.login(t, "alice", goodPassword), f.login(t, "alice", goodPassword), f.login(t, "bob", goodPassword)
	f.principal(t, other) // remembered, and still it ends at once
	if err := f.ChangePassword(t.Context(), f.principal(t, this), goodPassword, "another password"); err != nil {
		t.Fatal(err)
	}
	if !f.alive(t.Context(), this) {
		t.Error("the session that changed the password ended")
	}
	if !f.dead(t.Context(), other) {
		t.Error("another session of the user lives")
	}
	if !f.alive(t.Context(), bobs) {
		t.Error("another user's session ended")
	}
	if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, ""); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("with the old password Login gives %v", err)
	}
	f.login(t, "alice", "another password")
}

func TestChangePasswordRefuses(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "alice")
	p := f.principal(t, f.login(t, "alice", goodPassword))
	other := f.login(t, "alice", goodPassword)
	if err := f.ChangePassword(t.Context(), p, "wrong password", "another password"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("a wrong current password gives %v", err)
	}
	for replacement, code := range map[string]string{"short": "too_short", strings.Repeat("a", 129): "too_long"} {
		err := f.ChangePassword(t.Context(), p, goodPassword, replacement)
		var invalid *ValidationError
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || invalid.Fields[0].Field != "new_password" || invalid.Fields[0].Code != code {
			t.Errorf("a new password that is %s gives %v", code, err)
		}
	}
	found, err := f.Find(t.Context(), "alice")
	if err != nil || found.PasswordHash != user.PasswordHash {
		t.Errorf("the password changed although it was refused (%v)", err)
	}
	if !f.alive(t.Context(), other) {
		t.Error("a session ended although the change was refused")
	}
	if _, err := f.Delete(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := f.ChangePassword(t.Context(), p, goodPassword, "another password"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("a deleted account gives %v", err)
	}
}

func TestOneOfParallelPasswordChangesWins(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	p := f.principal(t, f.login(t, "alice", goodPassword))
	const n = 6
	var winner atomic.Int64
	var wg sync.WaitGroup
	for i := range int64(n) {
		wg.Go(func() {
			err := f.ChangePassword(t.Context(), p, goodPassword, fmt.Sprintf("another password %d", i))
			switch {
			case err == nil:
				if !winner.CompareAndSwap(0, i+1) {
					t.Error("two changes from one password won")
				}
			case !errors.Is(err, ErrInvalidCredentials):
				t.Errorf("a change that was too late gives %v", err)
			}
		})
	}
	wg.Wait()
	if winner.Load() == 0 {
		t.Fatal("none of the changes won")
	}
	f.login(t, "alice", fmt.Sprintf("another password %d", winner.Load()-1))
}

func TestPasswordChangeThatLostARaceIsRefused(t *testing.T) {
	f := newFixture(t)
	verified := f.create(t, "alice")
	live := f.login(t, "alice", goodPassword)
	other := f.login(t, "alice", goodPassword)
	if err := f.ChangePassword(t.Context(), f.principal(t, live), goodPassword, "another password"); err != nil {
		t.Fatal(err)
	}
	again := f.login(t, "alice", "another password")
	replaced, err := f.replacePassword(t.Context(), verified, "$hash", f.principal(t, live).SessionID)
	if replaced || err != nil {
		t.Errorf("replacing a hash that is no longer there gives %v and %v", replaced, err)
	}
	if !f.alive(t.Context(), again) || !f.dead(t.Context(), other) {
		t.Error("a change that lost a race ended sessions")
	}
}

func TestSetPasswordEndsAllSessions(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	grant := f.login(t, "alice", goodPassword)
	if _, err := f.SetPassword(t.Context(), "alice", "short"); !isInvalid(err) {
		t.Errorf("a short password gives %v", err)
	}
	if _, err := f.SetPassword(t.Context(), "ALICE", "another password"); err != nil {
		t.Fatal(err)
	}
	if !f.dead(t.Context(), grant) {
		t.Error("a session lives")
	}
	f.login(t, "alice", "another password")
}

func isInvalid(err error) bool {
	var invalid *ValidationError
	return errors.As(err, &invalid)
}

func TestSetRolesCountAtOnce(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	grant := f.login(t, "alice", goodPassword)
	if p := f.principal(t, grant); len(p.Roles) != 0 {
		t.Fatalf("a new account has the roles %v", p.Roles)
	}
	user, err := f.SetRoles(t.Context(), "ALICE", []string{"b", "a", "b"})
	if err != nil || !slices.Equal(user.Roles, []string{"a", "b"}) {
		t.Errorf("SetRoles gives %v and %v", user.Roles, err)
	}
	if p := f.principal(t, grant); !slices.Equal(p.Roles, []string{"a", "b"}) {
		t.Errorf("the session's roles are %v, want the new ones at once", p.Roles)
	}
	if _, err := f.SetRoles(t.Context(), "alice", []string{"a b"}); !isInvalid(err) {
		t.Errorf("a role with a space gives %v", err)
	}
	if _, err := f.SetRoles(t.Context(), "alice", nil); err != nil {
		t.Fatal(err)
	}
	if p := f.principal(t, grant); len(p.Roles) != 0 {
		t.Errorf("the session's roles are %v, want none", p.Roles)
	}
}

func TestDisableEndsSessionsForGood(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	grant := f.login(t, "alice", goodPassword)
	f.principal(t, grant)
	if user, err := f.Disable(t.Context(), "Alice"); err != nil || !user.DisabledAt.Valid {
		t.Fatalf("Disable gives %+v and %v", user, err)
	}
	if !f.dead(t.Context(), grant) {
		t.Error("a session of a disabled account lives")
	}
	if user, err := f.Enable(t.Context(), "Alice"); err != nil || user.DisabledAt.Valid {
		t.Fatalf("Enable gives %+v and %v", user, err)
	}
	if !f.dead(t.Context(), grant) {
		t.Error("a session came back with the account")
	}
	f.login(t, "alice", goodPassword)
}

func TestDeleteFreesTheName(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "alice")
	grant := f.login(t, "alice", goodPassword)
	f.principal(t, grant)
	if _, err := f.Delete(t.Context(), "ALICE"); err != nil {
		t.Fatal(err)
	}
	if !f.dead(t.Context(), grant) {
		t.Error("a session of a deleted account lives")
	}
	if again := f.create(t, "alice"); again.ID == user.ID {
		t.Error("the new account has the id of the old one")
	}
	if !f.dead(t.Context(), grant) {
		t.Error("a session of the old account is one of the new account's")
	}
}

func TestEndSessions(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.create(t, "bob")
	f.create(t, "carol")
	one, two, bobs := f.login(t, "alice", goodPassword), f.login(t, "alice", goodPassword), f.login(t, "bob", goodPassword)
	if n, err := f.EndSessions(t.Context(), "ALICE"); n != 2 || err != nil {
		t.Errorf("alice's: %d and %v, want 2", n, err)
	}
	if !f.dead(t.Context(), one) || !f.dead(t.Context(), two) || !f.alive(t.Context(), bobs) {
		t.Error("alice's sessions live, or bob's ended")
	}
	if n, err := f.EndSessions(t.Context(), "alice"); n != 0 || err != nil {
		t.Errorf("alice's again: %d and %v, want 0", n, err)
	}
	carols := f.login(t, "carol", goodPassword)
	if n, err := f.EndSessions(t.Context(), ""); n != 2 || err != nil {
		t.Errorf("everybody's: %d and %v, want 2", n, err)
	}
	if !f.dead(t.Context(), bobs) || !f.dead(t.Context(), carols) {
		t.Error("a session lives")
	}
}

func TestNameOfOnlySpaceIsNotEverybody(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	grant := f.login(t, "alice", goodPassword)
	if n, err := f.EndSessions(t.Context(), " "); n != 0 || !errors.Is(err, ErrNotFound) {
		t.Errorf("EndSessions gives %d and %v, want ErrNotFound", n, err)
	}
	if !f.alive(t.Context(), grant) {
		t.Error("a session ended")
	}
}

func TestUnknownNameIsErrNotFound(t *testing.T) {
	f := newFixture(t)
	user := func(_ store.User, err error) error { return err }
	ctx := t.Context()
	_, endErr := f.EndSessions(ctx, "nobody")
	for name, err := range map[string]error{
		"Find": user(f.Find(ctx, "nobody")), "SetRoles": user(f.SetRoles(ctx, "nobody", nil)), "Disable": user(f.Disable(ctx, "nobody")),
		"Enable": user(f.Enable(ctx, "nobody")), "Delete": user(f.Delete(ctx, "nobody")),
		"SetPassword": user(f.SetPassword(ctx, "nobody", goodPassword)), "EndSessions": endErr,
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s gives %v, want ErrNotFound", name, err)
		}
	}
}

func TestListGoesOnAfterAName(t *testing.T) {
	f := newFixture(t)
	for i := range 7 {
		err := f.store.CreateUser(t.Context(), &store.User{
			ID: [16]byte{byte(i + 1)}, Username: fmt.Sprintf("User%d", i), CanonicalName: fmt.Sprintf("user%d", i),
			PasswordHash: "x", CreatedAt: time.Unix(0, 0),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	after := ""
	for {
		page, err := f.List(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, user := range page {
			got = append(got, user.Username)
		}
		after = got[len(got)-1] // a name as it was given is as good as its canonical form
	}
	if want := []string{"User0", "User1", "User2", "User3", "User4", "User5", "User6"}; !slices.Equal(got, want) {
		t.Errorf("the pages are %v, want %v", got, want)
	}
}

func TestAdministrationIsAudited(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	ctx := t.Context()
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"Create", func() error { _, err := f.Create(ctx, "bob", goodPassword, nil); return err }, []string{"user.administer create"}},
		{"SetRoles", func() error { _, err := f.SetRoles(ctx, "alice", []string{"admin"}); return err }, []string{"user.administer set_roles"}},
		{"SetPassword", func() error { _, err := f.SetPassword(ctx, "alice", goodPassword); return err }, []string{"user.administer set_password"}},
		{"Login", func() error { _, err := f.Login(ctx, "alice", goodPassword, session.Client{}, ""); return err }, []string{"user.login ok"}},
		{"EndSessions", func() error { _, err := f.EndSessions(ctx, "alice"); return err }, []string{"session.end admin", "user.administer revoke_sessions"}},
		{"EndSessions of nobody", func() error { _, err := f.EndSessions(ctx, ""); return err }, []string{"user.administer revoke_sessions"}},
		{"Login again", func() error { _, err := f.Login(ctx, "alice", goodPassword, session.Client{}, ""); return err }, []string{"user.login ok"}},
		{"Disable", func() error { _, err := f.Disable(ctx, "alice"); return err }, []string{"session.end disabled", "user.administer disable"}},
		{"Enable", func() error { _, err := f.Enable(ctx, "alice"); return err }, []string{"user.administer enable"}},
		{"Delete", func() error { _, err := f.Delete(ctx, "alice"); return err }, []string{"user.administer delete"}},
	}
	f.logs.events(t)
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := f.logs.events(t); !slices.Equal(got, step.want) {
			t.Errorf("%s: the audit log has %v, want %v", step.name, got, step.want)
		}
	}
}
