package httpapi

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"latchkey/api"
)

var pages = map[string]string{
	"/client.js":     "text/javascript; charset=utf-8",
	"/demo/":         "text/html; charset=utf-8",
	"/demo/demo.js":  "text/javascript; charset=utf-8",
	"/demo/demo.css": "text/css; charset=utf-8",
	"/demo/icon.svg": "image/svg+xml",
}

func TestPages(t *testing.T) {
	f := newFixture(t)
	for path, kind := range pages {
		t.Run(path, func(t *testing.T) {
			whole := f.do(t, http.MethodGet, path, "", "Accept-Encoding", "identity")
			wantStatus(t, whole, http.StatusOK)
			h := whole.Header
			if h.Get("Content-Type") != kind || h.Get("Cache-Control") != "no-cache" || len(whole.body) == 0 {
				t.Errorf("%d bytes, %v", len(whole.body), h)
			}
			if policy := h.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
				t.Errorf("the policy is %q", policy)
			}

			again := f.do(t, http.MethodGet, path, "", "If-None-Match", h.Get("ETag"))
			if again.StatusCode != http.StatusNotModified || again.body != "" || h.Get("ETag") == "" {
				t.Errorf("asked again with ETag %q: %d with %d bytes", h.Get("ETag"), again.StatusCode, len(again.body))
			}
			wantStatus(t, f.do(t, http.MethodGet, path, "", "If-None-Match", `W/"another"`), http.StatusOK)
			if part := f.do(t, http.MethodGet, path, "", "Range", "bytes=1-2"); part.StatusCode != http.StatusOK || part.body != whole.body {
				t.Errorf("a range gets %d with %d bytes", part.StatusCode, len(part.body))
			}
			refused := f.do(t, http.MethodPost, path, "")
			wantProblem(t, refused, http.StatusMethodNotAllowed, "method_not_allowed")
		})
	}
}

// The client is what is in the repository, whatever encoding it comes in.
func TestClientIsCompressedForWhoTakesIt(t *testing.T) {
	f := newFixture(t)
	for encodings, want := range map[string]string{"gzip, deflate, br": "gzip", "gzip;q=0": "", "br": "", "identity": ""} {
		a := f.do(t, http.MethodGet, "/client.js", "", "Accept-Encoding", encodings)
		body := a.body
		if got := a.Header.Get("Content-Encoding"); got != want || a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Content-Encoding %q, Vary %q", encodings, got, a.Header.Values("Vary"))
		}
		if want == "gzip" {
			unpacked, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			read, err := io.ReadAll(unpacked)
			if err != nil {
				t.Fatal(err)
			}
			body = string(read)
		}
		if body != string(api.Client) {
			t.Errorf("%s: the client is %d bytes, want %d", encodings, len(body), len(api.Client))
		}
	}
}

func TestDemoIsWhereItIsLookedFor(t *testing.T) {
	f := newFixture(t)
	for path, want := range map[string]int{"/": http.StatusFound, "/demo": http.StatusMovedPermanently, "/?to=//evil.example/": http.StatusFound} {
		w := f.swaggerAnswer(http.MethodGet, path)
		if w.Code != want || w.Header().Get("Location") != "/demo/" {
			t.Errorf("%s: %d to %q", path, w.Code, w.Header().Get("Location"))
		}
	}
	for _, path := range []string{"/demo/index.html", "/demo/nothing.js", "/demo/../api.go", "/demo/%2e%2e/openapi.yaml", "/demo//", "/client.mjs", "/client/client.js"} {
		wantProblem(t, f.do(t, http.MethodGet, path, ""), http.StatusNotFound, "not_found")
	}
}

// A front end of an allowed origin takes the client from here; others have no use for it.
func TestClientOnOtherOrigins(t *testing.T) {
	f := newFixture(t, "LATCHKEY_ALLOWED_ORIGINS="+appOrigin)
	allowed := f.do(t, http.MethodGet, "/client.js", "", "Origin", appOrigin, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "script")
	wantStatus(t, allowed, http.StatusOK)
	if got := allowed.Header.Get("Access-Control-Allow-Origin"); got != appOrigin {
		t.Errorf("Access-Control-Allow-Origin is %q", got)
	}
	if vary := strings.Join(allowed.Header.Values("Vary"), ", "); !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
		t.Errorf("Vary is %q", vary)
	}
	other := f.do(t, http.MethodGet, "/client.js", "", "Origin", otherOrigin)
	if got := other.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another origin gets Access-Control-Allow-Origin %q", got)
	}
}
