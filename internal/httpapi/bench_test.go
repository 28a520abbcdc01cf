package httpapi

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// sink is where an answer goes that nobody looks at.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// direct calls the handler without a network, and returns the status and the cookie that was set, or nil.
func direct(h http.Handler, r *http.Request) (int, *http.Cookie) {
	w := &sink{header: make(http.Header, 16)}
	h.ServeHTTP(w, r)
	cookies := (&http.Response{Header: w.header}).Cookies()
	if len(cookies) == 0 {
		return w.status, nil
	}
	return w.status, cookies[0]
}

func quiet(f *fixture) http.Handler {
	d := f.dependencies
	d.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return New(d)
}

// BenchmarkRequest is whole requests through the router, without a network.
func BenchmarkRequest(b *testing.B) {
	b.Run("me", func(b *testing.B) {
		f := newFixture(b)
		f.signUp(b, "alice")
		h, r := quiet(f), httptest.NewRequest(http.MethodGet, "/api/user/me", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+f.signIn(b, "alice").access)
		b.ReportAllocs()
		for b.Loop() {
			if status, _ := direct(h, r); status != http.StatusOK {
				b.Fatal(status)
			}
		}
	})
	b.Run("refresh", func(b *testing.B) {
		f := newFixture(b, "LATCHKEY_REFRESH_GRACE=0s") // else the second one at once is told that it has the token already
		f.signUp(b, "alice")
		h, r := quiet(f), httptest.NewRequest(http.MethodPost, "/api/user/refresh", http.NoBody)
		r.Header.Set("Cookie", f.cookieOf(f.signIn(b, "alice").refresh)[1])
		b.ReportAllocs()
		for b.Loop() {
			refreshDirectly(b, h, r)
		}
	})
}

// refreshDirectly presents a request's token, and puts the next one into it.
func refreshDirectly(t testing.TB, h http.Handler, r *http.Request) {
	t.Helper()
	status, cookie := direct(h, r)
	if status != http.StatusOK || cookie == nil {
		t.Fatal(status, cookie)
	}
	r.Header.Set("Cookie", cookie.Name+"="+cookie.Value)
}
