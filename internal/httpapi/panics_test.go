package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
)

func TestPanics(t *testing.T) {
	f := newFixture(t)
	f.withRoutes(t, func(r chi.Router) {
		r.Get("/panic", func(http.ResponseWriter, *http.Request) { panic("canary") })
		r.Get("/runtime", func(_ http.ResponseWriter, r *http.Request) { _ = r.Header["X-None"][1] })
		r.Get("/late", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte("half of it"))
			panic("canary")
		})
		r.Get("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r.With(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(errPanic) })
		}).Get("/middleware", nil)
	})
	for _, path := range []string{"/panic", "/runtime", "/middleware"} {
		t.Run(path+" is answered once, without its cause", func(t *testing.T) {
			body := wantProblem(t, f.do(t, http.MethodGet, path, ""), http.StatusInternalServerError, "internal")
			if body.Detail != "Something went wrong on the server" {
				t.Errorf("the detail is %q", body.Detail)
			}
			f.wantPanicLogged(t, body.RequestID)
		})
	}
	t.Run("a panic after the answer has begun adds nothing to it", func(t *testing.T) {
		late, err := f.exchange(f.request(t, http.MethodGet, "/late", "", "X-Request-Id", "late-1"))
		if late.Response == nil || late.StatusCode != http.StatusAccepted || late.body != "half of it" {
			t.Errorf("what was sent before a panic: %+v %v", late, err)
		}
		f.wantPanicLogged(t, "late-1")
	})
	t.Run("http.ErrAbortHandler passes", func(t *testing.T) {
		before := strings.Count(f.logs.String(), `"msg":"panic"`)
		if _, err := f.exchange(f.request(t, http.MethodGet, "/abort", "")); err == nil {
			t.Error("it is answered")
		}
		if after := strings.Count(f.logs.String(), `"msg":"panic"`); after != before {
			t.Error("it is logged as a panic")
		}
	})
	wantStatus(t, f.do(t, http.MethodGet, "/livez", ""), http.StatusOK)
}

// wantPanicLogged wants one line about the panic of a request, and in it the place where it happened.
func (f *fixture) wantPanicLogged(t *testing.T, requestID string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(f.logs.String()) {
		var entry struct {
			Level, Msg, Cause, Stack string
			RequestID                string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			entry.Msg = "" // a cause that is no string
		}
		if entry.Msg == "panic" && entry.RequestID == requestID {
			lines = append(lines, line)
			if entry.Level != "ERROR" || !strings.Contains(entry.Stack, "panics_test.go") {
				t.Errorf("the line about the panic is %s", line)
			}
		}
	}
	if len(lines) != 1 {
		t.Errorf("the panic has %d log lines", len(lines))
	}
}
