package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/account"
)

// unanswered are the errors of the packages below that no request ends in, and why.
var unanswered = map[string]string{
	"account.ErrNotFound":           "accounts are looked up by name only by commands",
	"session.ErrCredentialsChanged": "account.Login makes it ErrInvalidCredentials",
	"store.ErrNotFound":             "account and session make it an error of their own",
	"store.ErrDuplicate":            "account.Create makes it ErrUsernameTaken; that two UUIDs collide would be a fault, 500",
	"store.ErrUnusable":             "it is an ErrUnavailable, which has one",
	"store.ErrDenied":               "it is an ErrUnavailable, which has one",
	"password.ErrTooShort":          "account makes it a field of a ValidationError",
	"password.ErrTooLong":           "account makes it a field of a ValidationError",
	"password.ErrNotText":           "account makes it a field of a ValidationError; JSON cannot carry such a password",
	"password.ErrCommon":            "account makes it a field of a ValidationError",
	"password.ErrObvious":           "account makes it a field of a ValidationError",
	"password.ErrMalformedHash":     "account takes it for a wrong password",
	"token.ErrInvalidAccess":        "session makes it its own ErrInvalidAccess",
	"token.ErrMalformedRefresh":     "session makes it ErrInvalidRefresh",
	"token.ErrNoKeys":               "it stops the start",
	"token.ErrReplaced":             "for a command that changes secrets",
}

func TestEveryExportedErrorHasAnAnswer(t *testing.T) {
	answered := tableErrors(t)
	var all []string
	for _, name := range []string{"account", "session", "store", "password", "token"} {
		found := exportedErrors(t, name)
		if len(found) == 0 {
			t.Errorf("found no error in %s", name)
		}
		all = append(all, found...)
	}
	for _, name := range all {
		switch inTable, reason := slices.Contains(answered, name), unanswered[name]; {
		case !inTable && reason == "":
			t.Errorf("%s has no row in the table of problems: give it one, or say in this test why it never reaches HTTP", name)
		case inTable && reason != "":
			t.Errorf("%s has a row in the table of problems, although %s", name, reason)
		}
	}
	for name := range unanswered {
		if !slices.Contains(all, name) {
			t.Errorf("there is no %s any more", name)
		}
	}
}

// exportedErrors returns the variables Err… of a package, as package.Name.
func exportedErrors(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", name, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				for _, variable := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(variable.Name, "Err") {
						found = append(found, name+"."+variable.Name)
					}
				}
			}
		}
	}
	return found
}

// tableErrors returns the errors of other packages that have a row in the table of problems, as package.Name.
func tableErrors(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "problem.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		variable, ok := n.(*ast.ValueSpec)
		if !ok || variable.Names[0].Name != "problems" {
			return true
		}
		ast.Inspect(variable, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if from, ok := s.X.(*ast.Ident); ok {
					found = append(found, from.Name+"."+s.Sel.Name)
				}
			}
			return true
		})
		return false
	})
	return found
}

// Whatever a cause says, the client sees only the fixed text of its kind.
func TestCausesStayOnTheServer(t *testing.T) {
	f := newFixture(t)
	s := &server{Dependencies: f.dependencies}
	answerTo := func(err error) (int, string, problemBody) {
		w := httptest.NewRecorder()
		s.writeProblem(w, httptest.NewRequest(http.MethodGet, "/", nil), err)
		var body problemBody
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		return w.Code, w.Body.String(), body
	}
	const cause = "canary: UNIQUE constraint failed at /var/lib/latchkey.db"
	for _, row := range problems {
		status, text, body := answerTo(fmt.Errorf("%s: %w: %s", cause, row.err, cause))
		if status != row.status || body.Code != row.code || strings.Contains(text, "canary") {
			t.Errorf("%v: %d %s", row.err, status, text)
		}
	}
	status, text, body := answerTo(errors.New(cause))
	if status != 500 || body.Code != "internal" || strings.Contains(text, "canary") {
		t.Errorf("an unknown error: %d %s", status, text)
	}
	fields := &account.ValidationError{Fields: []account.FieldError{{Field: "username", Code: "too_short", Message: "is short"}}}
	status, _, body = answerTo(fmt.Errorf("%s: %w", cause, fields))
	if status != 422 || len(body.Errors) != 1 || body.Errors[0] != (fieldError{"username", "too_short", "is short"}) {
		t.Errorf("a validation error: %d %+v", status, body)
	}
}
