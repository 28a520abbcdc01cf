package account

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestCreateMakesAnAccount(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, " Ｚoë ", "auditor", "admin", "auditor")
	if user.ID == uuid.Nil || user.ID.Version() != 7 {
		t.Errorf("the id is %s, want a UUIDv7", user.ID)
	}
	if user.Username != " Ｚoë " || user.CanonicalName != "zoë" {
		t.Errorf("the name is kept as %q and compared as %q", user.Username, user.CanonicalName)
	}
	if !slices.Equal(user.Roles, []string{"admin", "auditor"}) {
		t.Errorf("the roles are %v, want each once, sorted", user.Roles)
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC); !user.CreatedAt.Equal(want) {
		t.Errorf("it is created at %v, want %v", user.CreatedAt, want)
	}
	if strings.Contains(user.PasswordHash, goodPassword) || !strings.HasPrefix(user.PasswordHash, "$argon2id$") {
		t.Errorf("the password is kept as %q", user.PasswordHash)
	}
	found, err := f.Find(t.Context(), "ZOË")
	if err != nil || found.ID != user.ID || !slices.Equal(found.Roles, user.Roles) || !found.CreatedAt.Equal(user.CreatedAt) {
		t.Errorf("Find gives %+v and %v, want what Create gave: %+v", found, err, user)
	}
	if got, want := f.logs.events(t), []string{"user.administer create"}; !slices.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
}

func TestCreateNamesAllFaultsAtOnce(t *testing.T) {
	many := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}
	tests := map[string]struct {
		name, password string
		roles          []string
		want           []string
	}{
		"a short name":                    {"ab", goodPassword, nil, []string{"username too_short"}},
		"a long name":                     {strings.Repeat("a", 65), goodPassword, nil, []string{"username too_long"}},
		"a name with a line break":        {"a\nb", goodPassword, nil, []string{"username invalid_characters"}},
		"a short password":                {"alice", "1234567", nil, []string{"password too_short"}},
		"a long password":                 {"alice", strings.Repeat("a", 129), nil, []string{"password too_long"}},
		"a role in capital letters":       {"alice", goodPassword, []string{"Admin"}, []string{"roles invalid"}},
		"an empty role":                   {"alice", goodPassword, []string{""}, []string{"roles invalid"}},
		"a role with a space":             {"alice", goodPassword, []string{"a b"}, []string{"roles invalid"}},
		"a role with a line break behind": {"alice", goodPassword, []string{"admin\n"}, []string{"roles invalid"}},
		"a role of 32 characters":         {"alice", goodPassword, []string{strings.Repeat("a", 32)}, []string{"roles invalid"}},
		"nine roles":                      {"alice", goodPassword, many, []string{"roles too_many"}},
		"everything wrong": {
			"", "", []string{"9"}, []string{"username too_short", "password too_short", "roles invalid"},
		},
	}
	f := newFixture(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := f.Create(t.Context(), test.name, test.password, test.roles)
			var invalid *ValidationError
			if !errors.As(err, &invalid) {
				t.Fatalf("Create gives %v, want a *ValidationError", err)
			}
			var got []string
			for _, fault := range invalid.Fields {
				got = append(got, fault.Field+" "+fault.Code)
				if fault.Message == "" || !strings.Contains(err.Error(), fault.Field+" "+fault.Message) {
					t.Errorf("%q does not tell people of %+v", err, fault)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the faults are %v, want %v", got, test.want)
			}
		})
	}
	if users, err := f.List(t.Context(), "", 10); err != nil || len(users) != 0 {
		t.Errorf("refused registrations left %v (%v)", users, err)
	}
}

func TestCreateTakesTheLongestRoles(t *testing.T) {
	f := newFixture(t)
	var roles []string
	for _, c := range "abcdefgh" {
		roles = append(roles, strings.Repeat(string(c), 31))
	}
	f.create(t, "alice", append(roles, roles...)...)
	if user, err := f.Find(t.Context(), "alice"); err != nil || !slices.Equal(user.Roles, roles) {
		t.Errorf("Find gives %v and %v, want %v", user.Roles, err, roles)
	}
}

func TestTakenNameIsRefusedInEverySpelling(t *testing.T) {
	f := newFixture(t)
	user := f.create(t, "Renée")
	for _, name := range []string{"Renée", "renée", "RENÉE", "Rene\u0301e", "  renée\u00a0", "ｒｅｎée"} {
		if _, err := f.Create(t.Context(), name, "another password", nil); !errors.Is(err, ErrUsernameTaken) {
			t.Errorf("%q: Create gives %v, want ErrUsernameTaken", name, err)
		}
	}
	if found, err := f.Find(t.Context(), "renée"); err != nil || found.ID != user.ID || found.PasswordHash != user.PasswordHash {
		t.Errorf("the account changed: %+v, %v", found, err)
	}
}

func TestTakenNameCostsTheSameWork(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	for _, name := range []string{"alice", "bob"} {
		if n := hashes(func() { _, _ = f.Create(t.Context(), name, goodPassword, nil) }); n != 1 {
			t.Errorf("registering %s costs %d hashes, want 1", name, n)
		}
	}
}

func TestParallelRegistrationsOfOneNameLetOneWin(t *testing.T) {
	f := newFixture(t)
	spellings := []string{"alice", "Alice", "ALICE", " alice", "ａlice"}
	var won, taken atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 { // as many as may hash at once, so that none is turned away
		wg.Go(func() {
			_, err := f.Create(t.Context(), spellings[i%len(spellings)], goodPassword, nil)
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrUsernameTaken):
				taken.Add(1)
			default:
				t.Errorf("Create gives %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || taken.Load() != 7 {
		t.Errorf("%d registrations won and %d found the name taken, want 1 and 7", won.Load(), taken.Load())
	}
}

func TestRegistrationsAreAudited(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct{ name, password, want string }{
		{"al", "short", "user.register invalid"},
		{"alice", goodPassword, "user.register ok"},
		{"ALICE", goodPassword, "user.register taken"},
	} {
		user, err := f.Register(t.Context(), test.name, test.password)
		if got := f.logs.events(t); !slices.Equal(got, []string{test.want}) {
			t.Errorf("registering %s (%v) is audited as %v, want %s", test.name, err, got, test.want)
		}
		if len(user.Roles) != 0 {
			t.Errorf("who registers has the roles %v", user.Roles)
		}
	}
}
