package account

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/session"
)

func TestLoginBeginsASession(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "Alice", "admin")
	for _, name := range []string{"Alice", "alice", " ALICE ", "Ａlice"} {
		if p := f.principal(t, f.login(t, name, goodPassword)); p.UserID != user.ID || p.Username != "Alice" {
			t.Errorf("as %q one signs in as %+v", name, p)
		}
	}
	found, err := f.Find(t.Context(), "alice")
	if err != nil || !found.LastLoginAt.Valid || !found.LastLoginAt.Time.Equal(user.CreatedAt) {
		t.Errorf("the last login is %v (%v), want %v", found.LastLoginAt, err, user.CreatedAt)
	}
}

func TestLoginReplacesTheSessionOfTheBrowser(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	first, other := f.login(t, "alice", goodPassword), f.login(t, "alice", goodPassword)
	if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, first.RefreshToken); err != nil {
		t.Fatal(err)
	}
	if !f.dead(t.Context(), first) || !f.alive(t.Context(), other) {
		t.Error("the presented session lives, or another one died")
	}
}

func TestRefusedLoginsLookTheSame(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.create(t, "disabled")
	f.setHash(t, f.create(t, "damaged"), "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if _, err := f.Disable(t.Context(), "disabled"); err != nil {
		t.Fatal(err)
	}
	f.logs.events(t)
	for name, test := range map[string]struct{ name, password, event string }{
		"an unknown name":                      {"nobody", goodPassword, "user.login unknown_user"},
		"an impossible name":                   {"\x00\xff", goodPassword, "user.login unknown_user"},
		"no name":                              {"", goodPassword, "user.login unknown_user"},
		"a wrong password":                     {"alice", "wrong password", "user.login wrong_password"},
		"no password":                          {"alice", "", "user.login wrong_password"},
		"a disabled account":                   {"disabled", goodPassword, "user.login disabled"},
		"a disabled account, wrong":            {"disabled", "wrong password", "user.login wrong_password"},
		"an account whose hash asks for 4 GiB": {"damaged", goodPassword, "user.login unusable_hash"},
		"the password with a space behind it":  {"alice", goodPassword + " ", "user.login wrong_password"},
		"the password in capital letters":      {"alice", strings.ToUpper(goodPassword), "user.login wrong_password"},
	} {
		t.Run(name, func(t *testing.T) {
			var grant session.Grant
			var err error
			n := hashes(func() { grant, err = f.Login(t.Context(), test.name, test.password, session.Client{}, "") })
			if err != ErrInvalidCredentials || grant != (session.Grant{}) { //nolint:errorlint // a wrapped one would tell them apart
				t.Errorf("Login gives %v and %v, want just ErrInvalidCredentials", grant, err)
			}
			if n != 1 {
				t.Errorf("it costs %d hashes, want 1, so that its time tells nothing", n)
			}
			if got, want := f.logs.events(t), []string{test.event}; !slices.Equal(got, want) {
				t.Errorf("the audit log has %v, want %v", got, want)
			}
		})
	}
}

func TestRightLoginCostsOneHash(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	if n := hashes(func() { f.login(t, "alice", goodPassword) }); n != 1 {
		t.Errorf("it costs %d hashes, want 1", n)
	}
}

func TestLongPasswordIsWrongWithoutWork(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for _, name := range []string{"alice", "nobody"} {
		var err error
		n := hashes(func() { _, err = f.Login(t.Context(), name, strings.Repeat("a", 100_000), session.Client{}, "") })
		if !errors.Is(err, ErrInvalidCredentials) || n != 0 {
			t.Errorf("%s: Login gives %v and costs %d hashes", name, err, n)
		}
	}
}

func TestDatabaseThatIsAwayRefusesNobody(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, ""); err == nil || errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("Login gives %v", err)
	}
	if _, err := f.Create(t.Context(), "bob", goodPassword, nil); err == nil || errors.Is(err, ErrUsernameTaken) {
		t.Errorf("Create gives %v", err)
	}
	if _, err := f.Find(t.Context(), "alice"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("Find gives %v", err)
	}
}

// Between the check of the password and the start of the session something may change: here, before the check was done.
func TestSignInThatLostARaceIsRefused(t *testing.T) {
	f := newFixture(t)
	for name, change := range map[string]func(id string) error{
		"the password changed": func(name string) error { _, err := f.SetPassword(t.Context(), name, "another password"); return err },
		"the account disabled": func(name string) error { _, err := f.Disable(t.Context(), name); return err },
		"the account deleted":  func(name string) error { _, err := f.Delete(t.Context(), name); return err },
	} {
		t.Run(name, func(t *testing.T) {
			verified := f.create(t, name)
			if err := change(name); err != nil {
				t.Fatal(err)
			}
			verified.DisabledAt = sql.NullTime{}
			if _, err := f.sessions.Start(t.Context(), verified, session.Client{}, ""); !errors.Is(err, session.ErrCredentialsChanged) {
				t.Errorf("Start gives %v, want ErrCredentialsChanged", err)
			}
		})
	}
}
