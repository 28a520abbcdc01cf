package httpapi

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	yaml "github.com/pb33f/go-yaml"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"
)

func testDocument(t *testing.T) *apiDocument {
	t.Helper()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentIsValid(t *testing.T) {
	d := testDocument(t)
	if !strings.HasPrefix(d.model.Version, "3.1.") {
		t.Errorf("the version is %s", d.model.Version)
	}
	if ok, found := d.responses.ValidateDocument(); !ok {
		t.Error(listed(found))
	}
}

func TestRoutesAndDocumentAgree(t *testing.T) {
	f := newFixture(t)
	var routed, documented []string
	err := chi.Walk(f.Config.Handler.(chi.Routes), func(method, route string, _ http.Handler,
		_ ...func(http.Handler) http.Handler) error {
		if !isPage(route) && method != http.MethodHead {
			routed = append(routed, method+" "+route)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range testDocument(t).model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(routed)
	slices.Sort(documented)
	for _, call := range routed {
		if !slices.Contains(documented, call) {
			t.Errorf("the document lacks %s", call)
		}
	}
	for _, call := range documented {
		if !slices.Contains(routed, call) {
			t.Errorf("the server lacks %s", call)
		}
	}
}

// sourceProblems returns the code of every problem that the source can answer, with its details.
func sourceProblems(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, name := range []string{"problem.go", "decode.go", "cookie.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			kind, _ := literal.Type.(*ast.Ident)
			switch {
			case kind != nil && kind.Name == "problem" && len(literal.Elts) == 3:
				code := constant(literal.Elts[1])
				found[code] = append(found[code], constant(literal.Elts[2]))
			case kind != nil && kind.Name == "malformedError":
				found["malformed_request"] = append(found["malformed_request"], constant(literal.Elts[0]))
			}
			return true
		})
	}
	return found
}

func constant(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	text, _ := strconv.Unquote(literal.Value)
	return text
}

func TestDocumentHasTheCodesOfTheProblemTable(t *testing.T) {
	var documented []string
	for _, node := range testDocument(t).model.Components.Schemas.GetOrZero("ProblemCode").Schema().Enum {
		documented = append(documented, node.Value)
	}
	answered := sourceProblems(t)
	if len(answered) < 10 {
		t.Fatalf("found only %d problems in problem.go", len(answered))
	}
	for code := range answered {
		if !slices.Contains(documented, code) {
			t.Errorf("the document lacks the code %s", code)
		}
	}
	for _, code := range documented {
		if answered[code] == nil {
			t.Errorf("no problem has the documented code %s", code)
		}
	}
}

// The examples are what developers copy: they must be values that their schemas allow, and problems that occur.
func TestDocumentExamples(t *testing.T) {
	d, answered, checked := testDocument(t), sourceProblems(t), 0
	check := func(where string, schema *base.Schema, example *yaml.Node) {
		if example == nil {
			return
		}
		checked++
		var value any
		if err := example.Decode(&value); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		if ok, found := d.schemas.ValidateSchemaObject(schema, value); !ok {
			t.Errorf("the example of %s: %v", where, listed(found))
		}
		problem, ok := value.(map[string]any)
		if !ok || problem["code"] == nil {
			return
		}
		code, detail := problem["code"].(string), problem["detail"].(string)
		if details := answered[code]; !slices.Contains(details, detail) {
			t.Errorf("the example of %s has the detail %q; the server has %q", where, detail, details)
		}
	}
	checkContent := func(where string, content *orderedmap.Map[string, *v3.MediaType]) {
		for _, media := range content.FromOldest() {
			check(where, media.Schema.Schema(), media.Example)
			for _, example := range media.Examples.FromOldest() {
				check(where, media.Schema.Schema(), example.Value)
			}
		}
	}
	for path, item := range d.model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			if operation.RequestBody != nil {
				checkContent(method+" "+path, operation.RequestBody.Content)
			}
			for status, response := range operation.Responses.Codes.FromOldest() {
				checkContent(method+" "+path+" "+status, response.Content)
			}
		}
	}
	if checked < 50 {
		t.Errorf("found only %d examples", checked)
	}
}

// A check that cannot fail proves nothing: here it is fed answers that are wrong in one respect each.
func TestDocumentCheckRefusesWrongAnswers(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	login := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword))
	refused := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword+"!"))
	me := f.get(t, "/api/user/me", login.held(t).access)
	unknown := f.do(t, http.MethodGet, "/nothing", "")
	replace := func(old, replacement string) func(*answer) {
		return func(a *answer) {
			if !strings.Contains(a.body, old) {
				t.Fatalf("no %q in %s", old, a.body)
			}
			a.body = strings.Replace(a.body, old, replacement, 1)
		}
	}
	header := func(name, value string) func(*answer) {
		return func(a *answer) {
			if a.Header.Set(name, value); value == "" {
				a.Header.Del(name)
			}
		}
	}
	for name, c := range map[string]struct {
		right answer
		spoil func(*answer)
	}{
		"a status that is not documented":         {login, func(a *answer) { a.StatusCode = http.StatusAccepted }},
		"a member too many":                       {login, replace(`{`, `{"role":"admin",`)},
		"a member missing":                        {login, replace(`"token_type":"Bearer",`, ``)},
		"a member of another type":                {login, replace(`"expires_in":600`, `"expires_in":"600"`)},
		"a value that is not the constant":        {login, replace(`"Bearer"`, `"bearer"`)},
		"another media type":                      {login, header("Content-Type", "text/plain")},
		"no request id":                           {login, header("X-Request-Id", "")},
		"no cookie":                               {login, header("Set-Cookie", "")},
		"another cookie":                          {login, header("Set-Cookie", "id=1; Path=/; Max-Age=60; HttpOnly; SameSite=Strict")},
		"a cookie that scripts can read":          {login, header("Set-Cookie", "refresh_token=x; Path=/; Max-Age=60; SameSite=Strict")},
		"a cookie of a whole domain":              {login, header("Set-Cookie", "refresh_token=x; Path=/; Domain=example.com; Max-Age=60; HttpOnly; SameSite=Strict")},
		"a login that may be cached":              {login, header("Cache-Control", "public, max-age=300")},
		"no nosniff":                              {login, header("X-Content-Type-Options", "")},
		"no JSON":                                 {login, func(a *answer) { a.body = "ok" }},
		"no body":                                 {login, func(a *answer) { a.body = "" }},
		"an id that is no UUID":                   {me, replace(`"id":"`, `"id":"x`)},
		"a time that is none":                     {me, replace(`"created_at":"2026-01-02T`, `"created_at":"2026-01-02 `)},
		"no challenge":                            {refused, header("WWW-Authenticate", "")},
		"another challenge":                       {refused, header("WWW-Authenticate", "Basic")},
		"a code that is not documented":           {refused, replace(`invalid_credentials`, `bad_password`)},
		"a problem that says another status":      {refused, replace(`"status":401`, `"status":403`)},
		"a problem that says another request":     {refused, replace(`"request_id":"`, `"request_id":"x`)},
		"a problem that names a library":          {refused, replace(`"detail":"`, `"detail":"gorm: `)},
		"a problem that is plain JSON":            {refused, header("Content-Type", "application/json")},
		"a refusal with a cookie":                 {refused, header("Set-Cookie", "refresh_token=; Max-Age=0")},
		"an unknown path that answers":            {unknown, func(a *answer) { a.StatusCode = http.StatusOK }},
		"an unknown path with a problem too many": {unknown, replace(`{`, `{"hint":"x",`)},
		"an unknown path without a problem":       {unknown, func(a *answer) { a.body = "404 page not found" }},
	} {
		t.Run(name, func(t *testing.T) {
			response := *c.right.Response
			response.Header = response.Header.Clone()
			wrong := answer{&response, c.right.body}
			if err := f.check(wrong); err != nil {
				t.Fatalf("before: %v", err)
			}
			c.spoil(&wrong)
			if f.check(wrong) == nil {
				t.Error("passes")
			}
		})
	}
}

// Nor would a search for secrets that finds none anywhere.
func TestLogCheckFindsFaults(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	a := f.do(t, http.MethodPost, "/api/user/login?canary=in-the-query", credentialsOf("alice", goodPassword))
	f.do(t, http.MethodPost, "/api/user/logout", "", append(bearerOf("some-access-token"), f.cookieOf("some-refresh-token")...)...)
	f.Close()
	log := f.logs.String()
	if faults := f.seen.faults(log); len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, wrong := range map[string]string{
		"a password":             log + `{"msg":"` + goodPassword + `"}` + "\n",
		"an access token issued": log + `{"msg":"` + a.held(t).access + `"}` + "\n",
		"a refresh token issued": log + `{"msg":"` + a.held(t).refresh + `"}` + "\n",
		"an access token sent":   log + `{"msg":"some-access-token"}` + "\n",
		"a refresh token sent":   log + `{"msg":"some-refresh-token"}` + "\n",
		"a query":                log + `{"msg":"canary=in-the-query"}` + "\n",
		"a line that is no JSON": log + "panic: \n",
		"a request logged twice": log + `{"msg":"request","request_id":"` + a.Header.Get("X-Request-Id") + `"}` + "\n",
		"a request not logged":   "",
	} {
		if len(f.seen.faults(wrong)) == 0 {
			t.Errorf("%s passes", name)
		}
	}
}
