package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// swaggerAnswer sends one request, its target as it stands on the wire, to a server.
func (f *fixture) swaggerAnswer(method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.Config.Handler.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

func TestSwaggerPage(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{
		"/swagger/", "/swagger/?x=1", "/swagger/?x=/favicon-16x16.png",
	} {
		w := f.swaggerAnswer(http.MethodGet, target)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %q, want the page", target, w.Code, w.Header().Get("Content-Type"))
		}
		for _, want := range []string{
			`\/openapi.yaml"`, "AutoAuthorize", "tryItOutEnabled: true", "persistAuthorization:  false ",
			"validatorUrl: null", "displayRequestDuration: true", `layout: "BaseLayout"`,
		} {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: the page lacks %s", target, want)
			}
		}
	}
}

func TestSwaggerPolicy(t *testing.T) {
	f := newFixture(t)
	w := f.swaggerAnswer(http.MethodGet, "/swagger/")
	policy, page := map[string]string{}, w.Body.String()
	for directive := range strings.SplitSeq(w.Header().Get("Content-Security-Policy"), "; ") {
		name, value, _ := strings.Cut(directive, " ")
		policy[name] = value
	}
	for name, want := range map[string]string{
		"default-src":     "'none'",
		"style-src":       "'self' 'unsafe-inline'",
		"img-src":         "'self' data:",
		"connect-src":     "'self'",
		"object-src":      "'none'",
		"base-uri":        "'none'",
		"form-action":     "'none'",
		"frame-ancestors": "'none'",
	} {
		if policy[name] != want {
			t.Errorf("%s is %q, want %q", name, policy[name], want)
		}
	}

	// Every script element either loads a file of the server's or is inline, and then named by its hash.
	want, inline := "'self'", 0
	for _, match := range regexp.MustCompile(`(?s)<script([^>]*)>(.*?)</script>`).FindAllStringSubmatch(page, -1) {
		if strings.Contains(match[1], "src=") {
			if !strings.HasPrefix(match[1], ` src="./`) {
				t.Errorf("a script from elsewhere:%s", match[1])
			}
			continue
		}
		sum := sha256.Sum256([]byte(match[2]))
		want += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		inline++
	}
	if policy["script-src"] != want || inline == 0 {
		t.Errorf("script-src is %q, want %q for %d inline scripts", policy["script-src"], want, inline)
	}
	if handler := regexp.MustCompile(`(?i)<[^>]*\son\w+\s*=|javascript:`).FindString(page); handler != "" {
		t.Errorf("the page has an inline event handler: %s", handler)
	}
}

func TestSwaggerAssets(t *testing.T) {
	f := newFixture(t)
	page := f.swaggerAnswer(http.MethodGet, "/swagger/").Body.String()
	types := map[string]string{
		".css": "text/css; charset=utf-8",
		".js":  "application/javascript",
		".png": "image/png",
	}
	links := regexp.MustCompile(`(?:src|href)="\./([^"]*(\.\w+))"`).FindAllStringSubmatch(page, -1)
	if len(links) != len(swaggerAssets) {
		t.Errorf("the page loads %d files, the server has %d", len(links), len(swaggerAssets))
	}
	for _, link := range links {
		w := f.swaggerAnswer(http.MethodGet, "/swagger/"+link[1]+"?x=/index.html")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != types[link[2]] || w.Body.Len() == 0 {
			t.Errorf("%s: %d %q, %d bytes", link[1], w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/swagger/"+link[1], nil)
		r.Header.Set("Range", "bytes=99999999-")
		ranged := httptest.NewRecorder()
		if f.Config.Handler.ServeHTTP(ranged, r); ranged.Code != http.StatusOK || ranged.Body.Len() != w.Body.Len() {
			t.Errorf("%s: a range gets %d and %d bytes", link[1], ranged.Code, ranged.Body.Len())
		}
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=3600" {
			t.Errorf("%s: Cache-Control is %q", link[1], got)
		}
	}
}

func TestSwaggerRedirectsToItsFolder(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/swagger", "/swagger?x=1", "/swagger/index.html", "/swagger/index.html?url=//evil.example/"} {
		w := f.swaggerAnswer(http.MethodGet, target)
		if w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != "/swagger/" {
			t.Errorf("%s: %d to %q", target, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestSwaggerMethods(t *testing.T) {
	f := newFixture(t)
	for _, target := range []string{"/swagger/", "/swagger/swagger-ui.css"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			w := f.swaggerAnswer(method, target)
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, target, w.Code, w.Header().Get("Allow"))
			}
		}
	}

	// Only a real server drops the body of the answer to HEAD.
	for _, target := range []string{"/swagger/", "/swagger/swagger-ui-bundle.js"} {
		answer := f.do(t, http.MethodHead, target, "")
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") == "" {
			t.Errorf("HEAD %s: %d %q", target, answer.StatusCode, answer.Header.Get("Content-Type"))
		}
	}
}

// http-swagger alone would, for one or another of these, panic, fail, serve the pet store or redirect to
// another host.
func TestSwaggerUnknown(t *testing.T) {
	f := newFixture(t, "LATCHKEY_DEMO=false")
	for _, target := range []string{
		"/swagger/nothing.js",
		"/swagger/doc.json",
		"/swagger/swagger-initializer.js",
		"/swagger/oauth2-redirect.html",
		"/swagger/swagger-ui-bundle.js.map",
		"/swagger/%2e%2e/",
		"/swagger/../swagger.go",
		"/swagger/..%2findex.html",
		"/swagger/index.html/",
		"/swagger/a:b",
		"/swagger/%0d%0aX:%20y",
		"/swagger/%00",
		"/swagger//",
		"/swagger//index.html",
		"//swagger//",
		"//evil.example/",
		"/swaggerindex.html",
		"/?/swagger/index.html",
		"/swagger/" + strings.Repeat("a", 15_000),
		"/swagger/" + strings.Repeat("/", 15_000),
		"*",
	} {
		if w := f.swaggerAnswer(http.MethodGet, target); w.Code != http.StatusNotFound {
			t.Errorf("%.60s: %d to %q", target, w.Code, w.Header().Get("Location"))
		}
	}
}
