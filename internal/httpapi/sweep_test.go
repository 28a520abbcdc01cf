package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

// everyCall is every route, with an id where there is one to fill in. TestEveryCallIsKnown keeps it complete.
var everyCall = []struct{ method, path string }{
	{"POST", "/api/user/register"}, {"POST", "/api/user/login"}, {"POST", "/api/user/refresh"}, {"POST", "/api/user/logout"},
	{"POST", "/api/user/password"}, {"GET", "/api/user/me"}, {"GET", "/api/user/protected"}, {"GET", "/api/user/sessions"},
	{"DELETE", "/api/user/sessions"}, {"DELETE", "/api/user/sessions/" + exampleID},
	{"GET", "/api/admin/audit"}, {"GET", "/.well-known/jwks.json"}, {"GET", "/livez"}, {"GET", "/readyz"}, {"GET", "/openapi.yaml"},
}

const exampleID = "019ca044-6eb4-7596-b206-4d36c05feabb"

func TestEveryCallIsKnown(t *testing.T) {
	f := newFixture(t)
	err := chi.Walk(f.Config.Handler.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		call := struct{ method, path string }{method, strings.ReplaceAll(route, "{id}", exampleID)}
		if !isPage(route) && method != http.MethodHead && !slices.Contains(everyCall, call) {
			t.Errorf("everyCall lacks %s %s", method, route)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every route by every method, with whatever a request may lack or have too much: send holds the headers and the form of
// each answer against the document and checkHeaders. Only what is declared is served, and nothing redirects.
func TestSweep(t *testing.T) {
	for _, publicURL := range []string{"http://localhost:8080", "https://auth.example.com"} {
		f := newFixture(t, "LATCHKEY_PUBLIC_URL="+publicURL)
		f.signUp(t, "alice")
		h := f.signIn(t, "alice")
		paths := map[string][]string{}
		for _, call := range everyCall {
			paths[call.path] = append(paths[call.path], call.method)
		}
		for path, methods := range paths {
			for _, method := range []string{
				"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "TRACK", "PROPFIND", "DEBUG", "get", "post", "Post", "delete", "QUERY",
			} {
				declared := slices.Contains(methods, method) || method == "HEAD" && slices.Contains(methods, "GET")
				for _, headers := range [][]string{
					nil, bearerOf(h.access), bearerOf("junk-token"), {"Accept", "text/html"}, {"Accept", "application/xml;q=1, */*;q=0"},
					{"X-Forwarded-Proto", "http"}, {"X-Http-Method-Override", "GET"}, {"Content-Type", "text/xml"}, {"Range", "bytes=0-0"},
					{"If-None-Match", "*"}, {"If-Modified-Since", "Fri, 02 Jan 2099 00:00:00 GMT"}, {"Upgrade", "h2c"}, {"Accept-Encoding", "gzip, br"},
				} {
					a := f.do(t, method, path, "", headers...)
					if declared == (a.StatusCode == http.StatusMethodNotAllowed) {
						t.Errorf("%s %s: %d", method, path, a.StatusCode)
					}
					if a.Header.Get("Location") != "" || a.StatusCode >= 300 && a.StatusCode < 400 {
						t.Errorf("%s %s: %d to %q", method, path, a.StatusCode, a.Header.Get("Location"))
					}
				}
			}
		}
		wantStatus(t, f.get(t, "/api/user/me", h.access), http.StatusUnauthorized) // logout was among the calls
	}
}

// The browser's word about where a request comes from, against a plain statement of who may change something.
func TestOriginMatrix(t *testing.T) {
	f := newFixture(t, "LATCHKEY_ALLOWED_ORIGINS="+appOrigin)
	host := strings.TrimPrefix(f.URL, "http://")
	origins := []string{
		"", "http://localhost:8080", appOrigin, f.URL, "https://" + host, otherOrigin, "null", "http://LOCALHOST:8080", "https://APP.example.com",
		appOrigin + ".", appOrigin + ":8443", "http://app.example.com", appOrigin + ".evil.example", "http://localhost", "http://127.0.0.1",
		appOrigin + ", " + otherOrigin, otherOrigin + ", " + appOrigin, "file://", "chrome-extension://abcdef",
	}
	trusted := []string{"http://localhost:8080", appOrigin}
	for _, origin := range origins {
		for _, site := range []string{"", "same-origin", "none", "same-site", "cross-site", "junk"} {
			for _, call := range append(everyCall, struct{ method, path string }{"PUT", "/api/user/me"},
				struct{ method, path string }{"TRACE", "/livez"}, struct{ method, path string }{"post", "/api/user/logout"},
				struct{ method, path string }{"POST", "/nothing"}, struct{ method, path string }{"OPTIONS", "/api/user/logout"}) {
				var headers []string
				if origin != "" {
					headers = append(headers, "Origin", origin)
				}
				if site != "" {
					headers = append(headers, "Sec-Fetch-Site", site)
				}
				safe := call.method == "GET" || call.method == "OPTIONS"
				own := site == "same-origin" || site == "none" || slices.Contains(trusted, origin) ||
					site == "" && (origin == "" || origin == f.URL || origin == "https://"+host)
				a := f.do(t, call.method, call.path, "", headers...)
				if refused := a.StatusCode == http.StatusForbidden; refused == (safe || own) {
					t.Errorf("%s %s, Origin %q, Sec-Fetch-Site %q: %d", call.method, call.path, origin, site, a.StatusCode)
				}
				if with := a.Header.Get("Access-Control-Allow-Origin"); (with != "") != (origin == appOrigin) &&
					slices.Contains([]string{"GET", "POST", "DELETE"}, call.method) {
					t.Errorf("%s %s, Origin %q: shared with %q", call.method, call.path, origin, with)
				}
			}
		}
	}
}

// No browser sends several Origin headers. An allowed one behind another's does not help that other.
func TestSeveralOrigins(t *testing.T) {
	f := newFixture(t, "LATCHKEY_ALLOWED_ORIGINS="+appOrigin)
	a := f.do(t, http.MethodPost, "/api/user/refresh", "", "Origin", otherOrigin, "Origin", appOrigin)
	wantProblem(t, a, http.StatusForbidden, "cross_origin")
	wantNoCORS(t, a)
	wantNoCORS(t, f.do(t, http.MethodGet, "/livez", "", "Origin", otherOrigin, "Origin", appOrigin))
	preflight := f.do(t, http.MethodOptions, "/livez", "", "Origin", otherOrigin, "Origin", appOrigin, "Access-Control-Request-Method", "GET")
	wantNoCORS(t, preflight)
}
