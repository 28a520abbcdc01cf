//go:build e2e

package e2e

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const refreshPath = "/api/user/refresh"

// proxy is what browsers reach the server through. It counts calls, and does to them what a network may do.
type proxy struct {
	url     string
	forward *httputil.ReverseProxy

	mu    sync.Mutex
	calls map[string]int // by path: how many have reached the server
	fault fault
}

// fault stands in for the network: it calls forward, or not, when it likes, and writes what comes of it, or not.
type fault func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// startProxy starts the program behind a proxy, which has empty pages besides, for scripts of the tests.
func startProxy(t *testing.T, settings ...string) (*proxy, server) {
	t.Helper()
	f := newFront(t, "http", "localhost")
	s := startServer(t, append([]string{"LATCHKEY_PUBLIC_URL=" + f.url}, settings...)...)
	f.open(t, nil, s.url)
	return f.proxy, s
}

// ServeHTTP passes a call on, through the fault if there is one.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	forward := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls[r.URL.Path]++
		p.mu.Unlock()
		p.forward.ServeHTTP(w, r)
	})
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	if fault != nil {
		fault(w, r, forward)
		return
	}
	forward.ServeHTTP(w, r)
}

// suffer has all calls from now on go through the fault; nil is a network that works.
func (p *proxy) suffer(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// count returns how many calls of a path have reached the server since the last time.
func (p *proxy) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.calls[path]
	delete(p.calls, path)
	return n
}

// answered has the server do what is asked, and keeps the answer.
func answered(r *http.Request, forward http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	return answer
}

// deliver sends a kept answer on.
func deliver(w http.ResponseWriter, answer *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // an error means that the browser left
}

// lost lets the server do what is asked, and breaks the connection instead of answering.
func lost(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
	answered(r, forward)
	panic(http.ErrAbortHandler)
}

// only has the fault befall the first n calls of a path; others go well.
func only(path string, n int, f fault) fault {
	var left atomic.Int64
	left.Store(int64(n))
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.URL.Path == path && left.Add(-1) >= 0 {
			f(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	}
}

// answering answers in the server's place.
func answering(status int, contentType, body string, headers ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // an error means that the browser left
	}
}

// holding keeps answers back: it tells reached when it has one, and delivers it when released.
func holding(t *testing.T) (f fault, reached <-chan struct{}, release func()) {
	t.Helper()
	came, released := make(chan struct{}, 100), make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answer := answered(r, forward)
		came <- struct{}{}
		<-released
		deliver(w, answer)
	}, came, release
}

// await waits for something to happen, but not for ever.
func await(t *testing.T, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not happen")
	}
}
