//go:build e2e

package e2e

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// front is an origin, as that of a proxy in production is: it has an app's pages, and sends on what is Latchkey's.
type front struct {
	*proxy
	listening *httptest.Server
}

// newFront takes a port of a host, localhost or 127.0.0.1, which are two sites to a browser.
func newFront(t *testing.T, scheme, host string) *front {
	t.Helper()
	listening := httptest.NewUnstartedServer(nil)
	t.Cleanup(listening.Close)
	_, port, err := net.SplitHostPort(listening.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return &front{&proxy{url: scheme + "://" + host + ":" + port, calls: map[string]int{}}, listening}
}

func emptyPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte(`<!doctype html><title>An app</title><link rel="icon" href="data:,">`))
}

// open starts it, with pages (nil is empty ones) and, unless its address is empty, with a server behind.
func (f *front) open(t *testing.T, pages http.Handler, behind string) {
	t.Helper()
	if pages == nil {
		pages = http.HandlerFunc(emptyPage)
	}
	routes := http.NewServeMux()
	routes.Handle("/", pages)
	if behind != "" {
		target, err := url.Parse(behind)
		if err != nil {
			t.Fatal(err)
		}
		f.forward = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		}}
		routes.Handle("/api/", f.proxy)
		routes.Handle("OPTIONS /api/", f.forward) // neither counted nor broken: it is the browser that asks
		routes.Handle("/client.js", f.proxy)
	}
	f.listening.Config.Handler = routes
	if strings.HasPrefix(f.url, "https:") {
		f.listening.EnableHTTP2 = true
		f.listening.StartTLS() // by a certificate that nobody trusts
		return
	}
	f.listening.Start()
}

// spoiled has an access token arrive as none.
func spoiled(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	r.Header.Set("Authorization", "Bearer worn.out.token")
	forward.ServeHTTP(w, r)
}

// page opens a page in another tab of the browser.
func (b *browser) page(url string) *browser {
	b.t.Helper()
	tab := b.another()
	tab.run("open "+url, chromedp.Navigate(url))
	return tab
}

// post sends JSON from a phone, and returns the status of the answer and its cookies.
func post(t *testing.T, url, body string, cookies ...*http.Cookie) (int, []*http.Cookie) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "A phone")
	for _, cookie := range cookies {
		request.AddCookie(cookie)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode, answer.Cookies()
}

// register makes accounts, all with the password of alice.
func (s server) register(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if status, _ := post(t, s.url+"/api/user/register", strings.Replace(alice, "alice", name, 1)); status != http.StatusCreated {
			t.Fatalf("register %s: %d", name, status)
		}
	}
}
