package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"latchkey/internal/account"
	"latchkey/internal/store"
)

// bodyCalls are the calls that take a body, with the names of their two members.
var bodyCalls = []struct{ path, first, second string }{
	{"/api/user/register", "username", "password"},
	{"/api/user/login", "username", "password"},
	{"/api/user/password", "current_password", "new_password"},
}

// A request must mean one thing to everybody who looks at it. In the bodies, FIRST and SECOND stand for the members.
func TestBodiesAreReadStrictly(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	alice := f.signIn(t, "alice")
	const good = `{"FIRST":"canary-1","SECOND":"canary-2"}`
	tooDeep := strings.Repeat("[", 7000)
	for name, body := range map[string]string{
		"a member twice":                   `{"FIRST":"canary-1","FIRST":"canary-1","SECOND":"canary-2"}`,
		"a member twice, one escaped":      `{"FIRST":"canary-1","SECOND":"canary-2","ESCAPED":"canary-3"}`,
		"a member in capitals":             `{"CAPITALS":"canary-1","SECOND":"canary-2"}`,
		"a member in both cases":           `{"FIRST":"canary-1","CAPITALS":"canary-1","SECOND":"canary-2"}`,
		"a member with a space":            `{"FIRST ":"canary-1","SECOND":"canary-2"}`,
		"an unknown member":                `{"FIRST":"canary-1","SECOND":"canary-2","canary":1}`,
		"an unknown member of null":        `{"FIRST":"canary-1","SECOND":"canary-2","canary":null}`,
		"an empty name":                    `{"FIRST":"canary-1","SECOND":"canary-2","":""}`,
		"roles":                            `{"FIRST":"canary-1","SECOND":"canary-2","roles":["admin"]}`,
		"an id":                            `{"FIRST":"canary-1","SECOND":"canary-2","id":"019cadd3-88b4-77c5-942c-a91a934411bb"}`,
		"a hash":                           `{"FIRST":"canary-1","SECOND":"canary-2","password_hash":"canary"}`,
		"a time":                           `{"FIRST":"canary-1","SECOND":"canary-2","created_at":"2026-01-02T03:04:05Z"}`,
		"a second object":                  good + good,
		"a second object on its own line":  good + "\n" + good,
		"trailing letters":                 good + "canary",
		"a trailing bracket":               good + "}",
		"a trailing comma":                 good + ",",
		"a trailing NUL":                   good + "\x00",
		"a comma before the end":           `{"FIRST":"canary-1","SECOND":"canary-2",}`,
		"null":                             `null`,
		"a first member of null":           `{"FIRST":null,"SECOND":"canary-2"}`,
		"a second member of null":          `{"FIRST":"canary-1","SECOND":null}`,
		"no first member":                  `{"SECOND":"canary-2"}`,
		"no second member":                 `{"FIRST":"canary-1"}`,
		"no members":                       `{}`,
		"a number":                         `{"FIRST":1,"SECOND":"canary-2"}`,
		"a truth":                          `{"FIRST":"canary-1","SECOND":true}`,
		"an array in it":                   `{"FIRST":["canary-1"],"SECOND":"canary-2"}`,
		"an object in it":                  `{"FIRST":"canary-1","SECOND":{"canary":"canary-2"}}`,
		"an array":                         "[" + good + "]",
		"an empty array":                   `[]`,
		"a string":                         `"canary"`,
		"a bare number":                    `1`,
		"white space":                      " \n\t",
		"half of it":                       good[:len(good)/2],
		"single quotes":                    `{'FIRST':'canary-1','SECOND':'canary-2'}`,
		"bare names":                       `{FIRST:"canary-1",SECOND:"canary-2"}`,
		"a comment":                        good + "// canary",
		"a byte order mark":                "\xef\xbb\xbf" + good,
		"UTF-16":                           utf16Of(good),
		"a byte that is no UTF-8":          `{"FIRST":"canary-1` + "\xff" + `","SECOND":"canary-2"}`,
		"an overlong encoding":             `{"FIRST":"canary-1` + "\xc0\xaf" + `","SECOND":"canary-2"}`,
		"a surrogate in UTF-8":             `{"FIRST":"canary-1` + "\xed\xa0\x80" + `","SECOND":"canary-2"}`,
		"half a character":                 `{"FIRST":"canary-1` + "\xc3" + `","SECOND":"canary-2"}`,
		"a name that is no UTF-8":          `{"FIRST":"canary-1","SECOND":"canary-2","` + "\xff" + `":1}`,
		"a lone high surrogate":            `{"FIRST":"canary-1\ud800","SECOND":"canary-2"}`,
		"a lone low surrogate":             `{"FIRST":"canary-1","SECOND":"canary-2\udc00"}`,
		"surrogates in the wrong order":    `{"FIRST":"canary-1","SECOND":"canary-2\udc00\ud800"}`,
		"an unknown escape":                `{"FIRST":"canary-1\x41","SECOND":"canary-2"}`,
		"a bare line break":                "{\"FIRST\":\"canary\n1\",\"SECOND\":\"canary-2\"}",
		"a bare NUL":                       "{\"FIRST\":\"canary\x001\",\"SECOND\":\"canary-2\"}",
		"a deep array":                     tooDeep + strings.Repeat("]", 7000),
		"a deep array that does not close": tooDeep,
		"a deep array in a known member":   `{"FIRST":` + tooDeep,
		"a deep object in an unknown one":  `{"canary":` + strings.Repeat(`{"a":`, 3000),
		"a number beyond all bounds":       `{"FIRST":1e999999999,"SECOND":"canary-2"}`,
	} {
		t.Run(name+" is malformed", func(t *testing.T) {
			for _, call := range bodyCalls {
				a := f.do(t, http.MethodPost, call.path, membersOf(call.first, call.second, body), bearerOf(alice.access)...)
				problem := wantProblem(t, a, http.StatusBadRequest, "malformed_request")
				if strings.Contains(a.body, "canary") {
					t.Errorf("%s repeats the input: %s", call.path, problem.Detail)
				}
			}
		})
	}
	t.Run("an empty body is malformed", func(t *testing.T) {
		for _, call := range bodyCalls {
			a := f.do(t, http.MethodPost, call.path, "", append(bearerOf(alice.access), "Content-Type", "application/json")...)
			wantProblem(t, a, http.StatusBadRequest, "malformed_request")
		}
	})
	wantStatus(t, f.get(t, "/api/user/me", alice.access), http.StatusOK)
}

var wordStart = regexp.MustCompile(`([a-z])([A-Z])`)

// A request never binds to a row: no column can be set from outside, by whatever name.
func TestColumnsAreNoMembers(t *testing.T) {
	f := newFixture(t)
	for _, row := range []any{store.User{}, store.Session{}} {
		for _, column := range reflect.VisibleFields(reflect.TypeOf(row)) {
			snake := strings.ToLower(wordStart.ReplaceAllString(column.Name, "${1}_$2"))
			for _, name := range []string{column.Name, snake, strings.ToLower(column.Name)} {
				if name == "username" {
					continue
				}
				body := fmt.Sprintf(`{"username":"mallory","password":%q,%q:null}`, goodPassword, name)
				wantProblem(t, f.do(t, http.MethodPost, "/api/user/register", body), http.StatusBadRequest, "malformed_request")
			}
		}
	}
	if _, err := f.accounts.Find(t.Context(), "mallory"); !errors.Is(err, account.ErrNotFound) {
		t.Errorf("an account was made: %v", err)
	}
}

func membersOf(first, second, body string) string {
	escaped := fmt.Sprintf(`\u%04x`, first[0]) + first[1:]
	return strings.NewReplacer("FIRST", first, "SECOND", second, "CAPITALS", strings.ToUpper(first), "ESCAPED", escaped).Replace(body)
}

func utf16Of(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(unit >> 8))
		b.WriteByte(byte(unit))
	}
	return b.String()
}

// What is unusual but means the same must not be refused.
func TestBodiesMayBeWrittenInAnyForm(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	f.signUp(t, "smile\U0001F600")
	for name, body := range map[string]string{
		"white space around":       " \r\n\t" + credentialsOf("alice", goodPassword) + "\r\n",
		"another order":            `{"password":"` + goodPassword + `","username":"alice"}`,
		"escapes":                  `{"\u0075sername":"\u0061lice","password":"` + goodPassword + `"}`,
		"a pair of surrogates":     `{"username":"smile\ud83d\ude00","password":"` + goodPassword + `"}`,
		"a character beyond ASCII": credentialsOf("\uff41lice", goodPassword),
		"an escaped slash":         `{"username":"alice","password":"` + goodPassword + `","password2\/":""}`,
	} {
		want := http.StatusOK
		if name == "an escaped slash" { // fine as JSON, but a member too many
			want = http.StatusBadRequest
		}
		if a := f.do(t, http.MethodPost, "/api/user/login", body); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", name, a.StatusCode, want)
		}
	}
}

// sixteenKiB is the limit that the document promises, not the one that the server happens to have.
const sixteenKiB = 16384

func TestBodySize(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	alice := f.signIn(t, "alice")
	body := credentialsOf("alice", goodPassword)
	padded := func(n int) string { return body + strings.Repeat(" ", n-len(body)) }
	inString := func(n int) string {
		return credentialsOf("alice", strings.Repeat("a", n-len(credentialsOf("alice", ""))))
	}
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"16 KiB with padding":              {padded(sixteenKiB), http.StatusOK},
		"16 KiB in a member":               {inString(sixteenKiB), http.StatusUnauthorized},
		"a byte more of padding":           {padded(sixteenKiB + 1), http.StatusRequestEntityTooLarge},
		"a byte more in a member":          {inString(sixteenKiB + 1), http.StatusRequestEntityTooLarge},
		"a megabyte":                       {inString(1 << 20), http.StatusRequestEntityTooLarge},
		"a megabyte of padding behind":     {padded(1 << 20), http.StatusRequestEntityTooLarge},
		"a megabyte of padding in front":   {strings.Repeat(" ", 1<<20) + body, http.StatusRequestEntityTooLarge},
		"a megabyte of opening brackets":   {strings.Repeat("[", 1<<20), http.StatusRequestEntityTooLarge},
		"a megabyte in an unknown member":  {`{"canary":"` + strings.Repeat("a", 1<<20) + `"}`, http.StatusRequestEntityTooLarge},
		"a good body and a megabyte of it": {strings.Repeat(body, 1<<14), http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/login", c.body), c.want)
		})
		// Without a length the server has to read to find out, and what it reads first may be wrong already.
		t.Run(name+", in chunks", func(t *testing.T) {
			r := f.request(t, http.MethodPost, "/api/user/login", "", "Content-Type", "application/json")
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader([]byte(c.body))), -1
			a := f.send(t, r)
			malformedFirst := strings.HasPrefix(c.body, "[") || strings.HasPrefix(c.body, body+body) ||
				strings.Contains(c.body, "canary")
			if malformedFirst && a.StatusCode == http.StatusBadRequest {
				return
			}
			wantStatus(t, a, c.want)
		})
	}
	t.Run("a body too large for a call that reads none", func(t *testing.T) {
		for _, call := range []struct{ method, path string }{
			{"POST", "/api/user/refresh"}, {"POST", "/api/user/logout"}, {"GET", "/api/user/me"}, {"GET", "/livez"}, {"GET", "/nothing"},
			{"DELETE", "/api/user/sessions"}, {"GET", "/.well-known/jwks.json"},
		} {
			a := f.do(t, call.method, call.path, padded(sixteenKiB+1), append(bearerOf(alice.access), f.cookieOf(alice.refresh)...)...)
			wantProblem(t, a, http.StatusRequestEntityTooLarge, "payload_too_large")
		}
		wantStatus(t, f.refresh(t, alice.refresh), http.StatusOK)
	})
	t.Run("a body that nobody asked for does no harm", func(t *testing.T) {
		wantStatus(t, f.do(t, http.MethodGet, "/api/user/me", "{", bearerOf(alice.access)...), http.StatusOK)
		wantStatus(t, f.do(t, http.MethodGet, "/livez", "{"), http.StatusOK)
	})
}

func TestMediaTypes(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	alice := f.signIn(t, "alice")
	body := credentialsOf("alice", goodPassword)
	for _, good := range []string{
		"application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", `application/json; charset="utf-8"`,
		"APPLICATION/JSON", "  application/json ", "application/json; profile=x",
	} {
		if a := f.do(t, http.MethodPost, "/api/user/login", body, "Content-Type", good); a.StatusCode != http.StatusOK {
			t.Errorf("%q: %d", good, a.StatusCode)
		}
	}
	for _, bad := range []string{
		"", "text/plain", "text/plain;charset=UTF-8", "text/plain; application/json", "application/x-www-form-urlencoded",
		"multipart/form-data; boundary=x", "application/json; charset=latin1", "application/json; charset=utf-16",
		"application/jsonp", "application/json-patch+json", "application/problem+json", "text/json", "application/*", "*/*",
		"application/json, text/plain", "application/json; charset=utf-8; charset=latin1", "application/json; charset", ";", "json",
	} {
		t.Run(fmt.Sprintf("%q is not supported", bad), func(t *testing.T) {
			for _, call := range bodyCalls {
				headers := append(bearerOf(alice.access), "Content-Type", bad)
				members := membersOf(call.first, call.second, `{"FIRST":"alice","SECOND":"canary-2"}`)
				a := f.do(t, http.MethodPost, call.path, members, headers...)
				wantProblem(t, a, http.StatusUnsupportedMediaType, "unsupported_media_type")
			}
		})
	}
	for _, encoding := range []string{"gzip", "deflate", "br", "identity", "gzip, gzip"} {
		t.Run(encoding+" is not supported", func(t *testing.T) {
			a := f.do(t, http.MethodPost, "/api/user/login", body, "Content-Encoding", encoding)
			wantProblem(t, a, http.StatusUnsupportedMediaType, "unsupported_media_type")
		})
	}
	t.Run("no header at all is not supported", func(t *testing.T) {
		r := f.request(t, http.MethodPost, "/api/user/login", body)
		r.Header.Del("Content-Type")
		wantProblem(t, f.send(t, r), http.StatusUnsupportedMediaType, "unsupported_media_type")
	})
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		t.Run("two headers "+name+" are not supported", func(t *testing.T) {
			r := f.request(t, http.MethodPost, "/api/user/login", body)
			r.Header[name] = map[string][]string{
				"Content-Type": {"application/json", "text/plain"}, "Content-Encoding": {"", "gzip"},
			}[name]
			wantProblem(t, f.send(t, r), http.StatusUnsupportedMediaType, "unsupported_media_type")
		})
	}
}
