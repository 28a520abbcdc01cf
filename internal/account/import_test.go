package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

const importedHash = "$2b$10$wR.u9ecNtQZr7wDA1E7u5OsUdElpEQ41pZnr.BCVVmDHa76.erbNq" // of goodPassword

func importLine(name string) string {
	return fmt.Sprintf(`{"username": %q, "hash": %q}`, name, importedHash) + "\n"
}

func (f *fixture) importText(t testing.TB, text string) (int, error) {
	t.Helper()
	return f.Import(t.Context(), strings.NewReader(text), func(ImportStep, int) {})
}

func (f *fixture) userNames(t testing.TB) []string {
	t.Helper()
	users, err := f.List(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, user := range users {
		names = append(names, user.Username)
	}
	return names
}

func TestImportedUsersSignIn(t *testing.T) {
	f := newFixture(t)
	f.create(t, "root")
	f.logs.events(t)
	n, err := f.importText(t, "\ufeff"+`{"username": " Ｚoë ", "hash": "`+foreign["ASP.NET Core Identity"]+`", "roles": ["b", "a", "b"]}`+"\r\n"+
		"\n  \t\r\n"+`{"hash": "`+importedHash+`", "roles": [], "username": "bob"}`+"\n"+
		`{"roles": null, "username": "carol", "hash": "`+foreign["argon2id of other parameters"]+`"}`) // and no line's end
	if n != 3 || err != nil {
		t.Fatalf("Import gives %d and %v, want 3", n, err)
	}
	if got, want := f.logs.events(t), []string{"user.administer import"}; !slices.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
	zoe, err := f.Find(t.Context(), "ZOË")
	if err != nil || zoe.Username != " Ｚoë " || !slices.Equal(zoe.Roles, []string{"a", "b"}) || zoe.ID.Version() != 7 ||
		!zoe.CreatedAt.Equal(f.Service.now()) || zoe.LastLoginAt.Valid || zoe.DisabledAt.Valid {
		t.Errorf("the imported account is %+v (%v)", zoe, err)
	}
	for _, name := range []string{"zoë", "bob", "carol"} {
		f.login(t, name, goodPassword)
	}
}

func TestImportSaysWhatIsWrongWithEachLine(t *testing.T) {
	tests := map[string]struct{ line, want string }{
		"no JSON":               {`alice,secret`, "is not one JSON object"},
		"two objects":           {strings.TrimSpace(importLine("alice")) + importLine("bob"), "is not one JSON object"},
		"a list":                {`[]`, "is not an object"},
		"no UTF-8":              {`{"username": "al` + "\xff" + `ice", "hash": "x"}`, "is not one JSON object in UTF-8"},
		"a member twice":        {`{"username": "alice", "username": "bob", "hash": "x"}`, "has a member twice"},
		"an unknown member":     {`{"username": "alice", "hash": "x", "email": "a@b"}`, "has a member that is not username, hash or roles"},
		"another case":          {`{"Username": "alice", "hash": "x"}`, "has a member that is not"},
		"a number":              {`{"username": 1, "hash": "x"}`, "is not an object with two texts"},
		"one role":              {`{"username": "alice", "hash": "x", "roles": "admin"}`, "is not an object with two texts"},
		"no username":           {`{"hash": "x"}`, "has no username"},
		"a null username":       {`{"username": null, "hash": "x"}`, "has no username"},
		"no hash":               {`{"username": "alice"}`, "has no hash"},
		"a short name":          {importLine("al"), "username must have at least 3 characters, as at registration"},
		"an invisible letter":   {importLine("ali\u200bce"), "username must not contain control characters"},
		"an unknown hash":       {`{"username": "alice", "hash": "5f4dcc3b5aa765d61d8327deb882cf99"}`, "hash is of no form that is known here"},
		"a cheap hash":          {`{"username": "alice", "hash": "$2b$08$wR.u9ecNtQZr7wDA1E7u5OsUdElpEQ41pZnr.BCVVmDHa76.erbNq"}`, "hash is of bcrypt with cost 8: want 10 to 14"},
		"a role of two words":   {`{"username": "alice", "hash": "` + importedHash + `", "roles": ["a b"]}`, "roles must be words"},
		"everything at once":    {`{"username": "", "hash": "", "roles": ["A"]}`, "username must have at least 3 characters, as at registration; hash is empty; roles must be words"},
		"a line of 16 KiB":      {`{"username": "alice", "hash": "x"` + strings.Repeat(" ", 16<<10-34) + `}`, "hash is of no form"},
		"a line of 16 KiB + 1":  {`{"username": "alice", "hash": "x"` + strings.Repeat(" ", 16<<10-33) + `}`, "is longer than 16384 bytes"},
		"a line of a megabyte":  {strings.Repeat("x", 1<<20), "is longer than 16384 bytes"},
		"a name that is taken":  {importLine(" ＲＯＯＴ"), "username is taken, by an account or by an earlier line"},
		"a name as in line one": {importLine("FIRST"), "username is taken, by an account or by an earlier line"},
	}
	f := newFixture(t)
	f.create(t, "root")
	f.logs.events(t)
	for name, test := range tests {
		for end, text := range map[string]string{"": "", ", before others": "\n" + importLine("third")} {
			t.Run(name+end, func(t *testing.T) {
				_, err := f.importText(t, importLine("first")+strings.TrimSuffix(test.line, "\n")+text)
				var fault *ImportError
				if !errors.As(err, &fault) || len(fault.Faults) != 1 || fault.More != 0 {
					t.Fatalf("Import gives %v, want one fault", err)
				}
				if got := fault.Faults[0]; got.Line != 2 || !strings.HasPrefix(got.Fault, test.want) {
					t.Errorf("line %d %s, want line 2 %s", got.Line, got.Fault, test.want)
				}
			})
		}
	}
	if names := f.userNames(t); !slices.Equal(names, []string{"root"}) {
		t.Errorf("after faults there are %v", names)
	}
	if got := f.logs.events(t); got != nil {
		t.Errorf("the audit log has %v", got)
	}
}

func TestImportOfAnArrayHasOneFault(t *testing.T) {
	f := newFixture(t)
	object := strings.TrimSpace(importLine("alice"))
	for name, text := range map[string]string{
		"on one line":        "[" + object + "," + object + "]",
		"a line each":        "[\n" + object + ",\n" + object + "\n]\n",
		"from Windows":       "\ufeff[\r\n" + object + "]",
		"behind blank lines": "\n \n [" + object + "]",
		"longer than 16 KiB": "[" + strings.Repeat(object+",", 200) + object + "]",
		"empty":              "[]",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.importText(t, text)
			var fault *ImportError
			if !errors.As(err, &fault) || len(fault.Faults) != 1 || fault.More != 0 ||
				fault.Faults[0] != (LineFault{1, "want one object per line, not an array: jq -c '.[]' makes it so"}) {
				t.Errorf("Import gives %v", err)
			}
		})
	}
}

func TestImportOfNoAccountIsAFault(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{"", "\n\r\n \t", "\ufeff"} {
		if _, err := f.importText(t, text); err == nil || err.Error() != "the file has no account: nothing was imported" {
			t.Errorf("Import of %q gives %v", text, err)
		}
	}
	if got := f.logs.events(t); got != nil {
		t.Errorf("the audit log has %v", got)
	}
}

// More than one batch, with faults that only the database knows in each.
func TestImportIsAllOrNothing(t *testing.T) {
	f := newFixture(t)
	f.create(t, "root")
	var text strings.Builder
	for i := range 1000 {
		name := fmt.Sprintf("user%d", i)
		if i%40 == 39 { // of these there are 25, each the name of a line before, in the same batch or another
			name = fmt.Sprintf("USER%d", i/4*2)
		}
		text.WriteString(importLine(name))
	}
	_, err := f.importText(t, text.String())
	var fault *ImportError
	if !errors.As(err, &fault) || len(fault.Faults) != 20 || fault.More != 5 || fault.Faults[0].Line != 40 || fault.Faults[19].Line != 800 {
		t.Fatalf("Import gives %v", err)
	}
	if message := err.Error(); !strings.HasPrefix(message, "the file has 25 fault(s), and nothing was imported:\n  line 40: username is taken") ||
		!strings.HasSuffix(message, "\n  and 5 more") {
		t.Errorf("the error says\n%s", message)
	}
	if names := f.userNames(t); !slices.Equal(names, []string{"root"}) {
		t.Errorf("after faults there are %d accounts", len(names))
	}
}

func TestImportOfManyBatches(t *testing.T) {
	f := newFixture(t)
	for _, n := range []int{1, 199, 200, 201, 600} {
		var text strings.Builder
		for i := range n {
			text.WriteString(importLine(fmt.Sprintf("user%d-%d", n, i)))
		}
		before := len(f.userNames(t))
		var steps []string
		got, err := f.Import(t.Context(), strings.NewReader(text.String()), func(step ImportStep, lines int) {
			if lines == n {
				steps = append(steps, string(step))
			}
		})
		if got != n || err != nil {
			t.Errorf("%d lines: Import gives %d and %v", n, got, err)
		}
		if n > 0 && !slices.Equal(steps, []string{"checked", "inserted"}) {
			t.Errorf("%d lines: the steps that were told to the end are %v", n, steps)
		}
		if added := min(len(f.userNames(t)), 1000) - before; before+n <= 1000 && added != n {
			t.Errorf("%d lines gave %d accounts", n, added)
		}
	}
}

func TestImportThatIsStoppedLeavesNothing(t *testing.T) {
	f := newFixture(t)
	text := strings.Repeat("\n", 3)
	for i := range 300 {
		text += importLine(fmt.Sprintf("user%d", i))
	}
	for _, at := range []ImportStep{ImportChecks, ImportInserts} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := f.Import(ctx, strings.NewReader(text), func(step ImportStep, lines int) {
			if step == at && lines >= 200 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Import gives %v", at, err)
		}
		if names := f.userNames(t); names != nil {
			t.Errorf("%s: %d accounts are left", at, len(names))
		}
	}
}

// changing is a file that has another content when it is read again.
type changing struct {
	*strings.Reader
	then string
}

func (c *changing) Seek(int64, int) (int64, error) {
	c.Reset(c.then)
	return 0, nil
}

func TestImportOfAFileThatChanges(t *testing.T) {
	f := newFixture(t)
	file := &changing{strings.NewReader(importLine("alice")), importLine("alice") + importLine("al")}
	if _, err := f.Import(t.Context(), io.ReadSeeker(file), func(ImportStep, int) {}); err == nil ||
		!strings.HasPrefix(err.Error(), "the file changed while it was read: line 2 username") {
		t.Errorf("Import gives %v", err)
	}
	if names := f.userNames(t); names != nil {
		t.Errorf("there are %v", names)
	}
}
