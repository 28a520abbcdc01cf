package account

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

// Hashes of goodPassword, made by Python's argon2, bcrypt and hashlib.
var foreign = map[string]string{
	"argon2id of other parameters": "$argon2id$v=19$m=65536,t=3,p=4$wFDlMXcSzdCLP9qaenZeBQ$WfxAAW7HS78m9jR7rWW0lQ",
	"bcrypt":                       "$2b$10$wR.u9ecNtQZr7wDA1E7u5OsUdElpEQ41pZnr.BCVVmDHa76.erbNq",
	"ASP.NET Core Identity":        "ACAhIiMkJSYnKCkqKywtLi9KiDyZpWH29n7GEVGVcBjhRKzAYZ0YW3mIl0nSjRUf7g==",
}

func (f *fixture) hash(t testing.TB, name string) string {
	t.Helper()
	user, err := f.Find(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return user.PasswordHash
}

func TestLoginGivesAForeignHashTodaysForm(t *testing.T) {
	f := newFixture(t)
	for form, hash := range foreign {
		t.Run(form, func(t *testing.T) {
			f.setHash(t, f.create(t, form), hash)
			f.logs.events(t)
			if _, err := f.Login(t.Context(), form, "wrong password", session.Client{}, ""); !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("a wrong password gives %v", err)
			}
			if f.hash(t, form) != hash {
				t.Error("a wrong password replaced the hash")
			}
			grant := f.login(t, form, goodPassword)
			upgraded := f.hash(t, form)
			if !strings.HasPrefix(upgraded, "$argon2id$v=19$m=19456,t=2,p=1$") {
				t.Errorf("after the sign-in the hash is %s", upgraded)
			}
			want := []string{"user.login wrong_password", "user.login ok", "user.password_upgrade ok"}
			if got := f.logs.events(t); !slices.Equal(got, want) {
				t.Errorf("the audit log has %v, want %v", got, want)
			}
			f.login(t, form, goodPassword)
			if f.hash(t, form) != upgraded {
				t.Error("a hash of today's form was replaced")
			}
			if !f.alive(t.Context(), grant) {
				t.Error("the upgrade ended a session")
			}
		})
	}
}

func TestUpgradeThatFailsKeepsNobodyOut(t *testing.T) {
	f := newFixtureOn(t, storetest.Empty(t)) // for the schema is changed below
	f.setHash(t, f.create(t, "alice"), foreign["ASP.NET Core Identity"])
	obstacle := "CREATE TRIGGER broken BEFORE UPDATE OF password_hash ON users BEGIN SELECT RAISE(ABORT, 'broken'); END"
	if storetest.OnSQLServer() {
		obstacle = "ALTER TABLE users ADD CONSTRAINT broken CHECK (password_hash NOT LIKE N'$argon2id$%')"
	}
	if _, err := storetest.SQL(t, f.url).ExecContext(t.Context(), obstacle); err != nil {
		t.Fatal(err)
	}
	f.logs.events(t)
	if grant := f.login(t, "alice", goodPassword); !f.alive(t.Context(), grant) {
		t.Error("the session is not good")
	}
	if got := f.logs.events(t); !slices.Contains(got, "user.password_upgrade failed") {
		t.Errorf("the audit log has %v", got)
	}
	if f.hash(t, "alice") != foreign["ASP.NET Core Identity"] {
		t.Error("the hash changed")
	}
}

func TestSignInDecidesAgainWhenTheHashWasReplaced(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(f *fixture) error
		want      error
		events    []string
	}{
		"by an upgrade": {
			func(f *fixture) error {
				_, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, "")
				return err
			}, nil,
			[]string{"user.login ok", "user.password_upgrade ok", "user.login ok"},
		},
		"by another password": {
			func(f *fixture) error { _, err := f.SetPassword(t.Context(), "alice", "another password"); return err },
			ErrInvalidCredentials,
			[]string{"user.administer set_password", "user.login wrong_password"},
		},
		"and the account disabled": {
			func(f *fixture) error { _, err := f.Disable(t.Context(), "alice"); return err },
			ErrInvalidCredentials,
			[]string{"user.administer disable", "user.login disabled"},
		},
		"and the account deleted": {
			func(f *fixture) error { _, err := f.Delete(t.Context(), "alice"); return err },
			ErrInvalidCredentials,
			[]string{"user.administer delete", "user.login unknown_user"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.setHash(t, f.create(t, "alice"), foreign["ASP.NET Core Identity"])
			f.logs.events(t)
			f.interrupt = func() {
				if err := test.meanwhile(f); err != nil {
					t.Error(err)
				}
			}
			if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, ""); !errors.Is(err, test.want) {
				t.Errorf("Login gives %v, want %v", err, test.want)
			}
			if got := f.logs.events(t); !slices.Equal(got, test.events) {
				t.Errorf("the audit log has %v, want %v", got, test.events)
			}
		})
	}
}

func TestSignInDecidesAgainOnce(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "alice")
	again := func() {
		f.setHash(t, user, foreign["ASP.NET Core Identity"])
		f.interrupt = func() {
			f.setHash(t, store.User{ID: user.ID, PasswordHash: foreign["ASP.NET Core Identity"]}, user.PasswordHash)
		}
	}
	f.interrupt = again
	f.logs.events(t)
	if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, ""); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("Login gives %v", err)
	}
	if got, want := f.logs.events(t), []string{"user.login changed_meanwhile"}; !slices.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
}

func TestParallelSignInsWithAForeignHashAllSucceed(t *testing.T) {
	f := newFixture(t)
	f.setHash(t, f.create(t, "alice"), foreign["ASP.NET Core Identity"])
	var all sync.WaitGroup
	for range 5 { // of one name no more are let through at once
		all.Go(func() {
			if _, err := f.Login(t.Context(), "alice", goodPassword, session.Client{}, ""); err != nil {
				t.Errorf("Login gives %v", err)
			}
		})
	}
	all.Wait()
}

// A change of the password and a sign-in take turns at the only slot for hashes, where the change has to queue twice: so
// both have read the old hash, and the sign-in replaces it before the change does.
func TestPasswordChangeDecidesAgainWhenTheHashWasUpgraded(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "alice")
	p := f.principal(t, f.login(t, "alice", goodPassword))
	f.setHash(t, user, foreign["ASP.NET Core Identity"])
	f.hasher = password.NewHasher(1)
	var all sync.WaitGroup
	all.Go(func() { _, _ = f.Login(t.Context(), "alice", goodPassword, session.Client{}, "") })
	all.Go(func() {
		if err := f.ChangePassword(t.Context(), p, goodPassword, "another password"); err != nil {
			t.Errorf("ChangePassword gives %v", err)
		}
	})
	all.Wait()
	f.login(t, "alice", "another password")
}

func TestUnusableHashIsAWrongCurrentPassword(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "alice")
	p := f.principal(t, f.login(t, "alice", goodPassword))
	f.setHash(t, user, "damaged")
	f.logs.events(t)
	if err := f.ChangePassword(t.Context(), p, goodPassword, "another password"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("ChangePassword gives %v", err)
	}
	if got, want := f.logs.events(t), []string{"user.password_change unusable_hash"}; !slices.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
}

// A right and a wrong password cost one hash of today's form each, beside that of the stored form: here bcrypt's and
// PBKDF2's, which take no memory to speak of.
func TestForeignHashesCostTheSameRightOrWrong(t *testing.T) {
	f := newFixture(t)
	for _, form := range []string{"bcrypt", "ASP.NET Core Identity"} {
		f.setHash(t, f.create(t, form), foreign[form])
		for _, pass := range []string{"wrong password", strings.Repeat("a", 73), goodPassword} {
			if n := hashes(func() { _, _ = f.Login(t.Context(), form, pass, session.Client{}, "") }); n != 1 {
				t.Errorf("%s: it costs %d hashes, want 1", form, n)
			}
		}
	}
}
