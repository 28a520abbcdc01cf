//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// orders is a service of one's own, on an origin of its own, that takes access tokens. It keeps what reached it.
type orders struct {
	*front
	latchkey string
	next     chan struct{} // goes on with a stream
	left     chan struct{} // a caller has left

	mu      sync.Mutex
	reached []string // method, path, whether with a token, body
	refuse  int      // how many calls more get a 401
}

// startOrders allows the pages of one origin, or of all.
func startOrders(t *testing.T, latchkey string, pages string) *orders {
	t.Helper()
	o := &orders{front: newFront(t, "http", "localhost"), latchkey: latchkey, next: make(chan struct{}), left: make(chan struct{}, 1)}
	o.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := pages
		if pages == "*" {
			origin = r.Header.Get("Origin")
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Headers", "authorization, content-type")
		if r.Method != http.MethodOptions {
			o.serve(w, r)
		}
	}), "")
	return o
}

func (o *orders) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	o.mu.Lock()
	kind := map[bool]string{true: "with a token", false: "without"}[r.Header.Get("Authorization") != ""]
	o.reached = append(o.reached, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.URL, kind, body)))
	refused := o.refuse > 0
	o.refuse--
	o.mu.Unlock()
	if refused {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/who":
		o.who(w, r)
	case "/moved":
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusTemporaryRedirect) //nolint:gosec // that is the point
	case "/stream":
		_, _ = w.Write([]byte("first "))
		w.(http.Flusher).Flush()
		select {
		case <-o.next:
			_, _ = w.Write([]byte("last"))
		case <-r.Context().Done():
			o.left <- struct{}{}
		}
	default:
		_, _ = w.Write(body)
	}
}

// who asks Latchkey whose token it is.
func (o *orders) who(w http.ResponseWriter, r *http.Request) {
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, o.latchkey+"/api/user/me", nil)
	if err != nil {
		panic(err)
	}
	ask.Header.Set("Authorization", r.Header.Get("Authorization"))
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(w, answer.Body)
}

// refuses has the next calls answered by a 401.
func (o *orders) refuses(calls int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = calls
}

// wantReached compares what has come since the last time.
func (o *orders) wantReached(t *testing.T, what string, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := strings.Join(o.reached, "; "); got != strings.Join(want, "; ") {
		t.Errorf("%s: reached by %s, want %s", what, got, strings.Join(want, "; "))
	}
	o.reached = nil
}

// withOrders has alice signed in in an app that may send her token to orders, and not to others.
func withOrders(t *testing.T) (home *front, o, others *orders, b *browser) {
	t.Helper()
	var app *front
	home, app, s := elsewhere(t, "http", "localhost")
	o, others = startOrders(t, s.url, app.url), startOrders(t, s.url, "*")
	b = startBrowser(t)
	b.open(app.url)
	inPage[bool](b, fmt.Sprintf(`
		const { createClient } = await import(%q)
		window.client = createClient({ baseURL: %q, origins: [%q] })
		window.orders = %[3]q
		window.others = %[4]q
		await client.register(...alice)
		await client.login(...alice)
		return true`, home.url+"/client.js", home.url, o.url, others.url))
	home.count(refreshPath)
	return home, o, others, b
}

// The token goes to the server and to the origins that are named, and no trick of addresses takes it elsewhere.
func TestTokenGoesWhereItIsMeantTo(t *testing.T) {
	home, o, others, b := withOrders(t)
	b.wants("orders", `return (await (await client.fetch(orders + "/who")).json()).username`, "alice")
	o.wantReached(t, "orders", "GET /who with a token")
	b.wants("others", `
		const [host, port] = others.slice("http://".length).split(":")
		const came = []
		for (const address of [
			others, new URL(others), new Request(others, { method: "POST", body: "x" }), others.slice("http:".length), others + "/?" + orders,
			orders.replace("://", "://" + host + ":" + port + "@") + "0", others.replace("://", "://" + orders.slice(7) + "@"),
			others.replace("http://", "http:\\\\"), "\\\\" + others.slice(7), " " + others, "\t//" + others.slice(7),
			orders.replace("localhost", "127.0.0.1"), orders.replace("http:", "https:"), "data:,x", "blob:" + orders + "/x", location.origin,
		]) came.push(await outcome(client.fetch(address)))
		return came.join()`, strings.TrimSuffix(strings.Repeat("TypeError,", 16), ","))
	others.wantReached(t, "others")
	o.wantReached(t, "orders")

	b.wants("moved by a service", `return String((await client.fetch(orders + "/moved?to=" + others + "/who")).status)`, "200")
	others.wantReached(t, "a redirect", "GET /who without")
	home.wantCount(t, refreshPath, 0)
}

// A service that refuses the token gets a fresh one once, and the whole call again.
func TestServiceThatRefusesTheToken(t *testing.T) {
	home, o, _, b := withOrders(t)
	const order = `
		const answer = await client.fetch(orders + "/order", { method: "POST", headers: { "Content-Type": "text/plain" }, body: "2 apples" })
		return answer.status + " " + await answer.text()`
	o.refuses(1)
	b.wants("refused once", order, "200 2 apples")
	home.wantCount(t, refreshPath, 1)
	o.wantReached(t, "refused once", "POST /order with a token 2 apples", "POST /order with a token 2 apples")

	o.refuses(2)
	b.wants("refused twice", order, "401 ")
	home.wantCount(t, refreshPath, 1)
	o.wantReached(t, "refused twice", "POST /order with a token 2 apples", "POST /order with a token 2 apples")
	wantNobodyOut(t, []*browser{b})
}

// Answers come as they are sent, and a caller that leaves has left.
func TestServiceThatStreams(t *testing.T) {
	_, o, _, b := withOrders(t)
	const read = `
		window.leaving = new AbortController()
		window.stream = (await client.fetch(orders + "/stream", { signal: leaving.signal })).body.pipeThrough(new TextDecoderStream()).getReader()
		return (await stream.read()).value`
	b.wants("the first part", read, "first ")
	select {
	case o.next <- struct{}{}:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream does not wait")
	}
	b.wants("the rest", "return (await stream.read()).value + (await stream.read()).done", "lasttrue")

	b.wants("the first part", read, "first ")
	b.wants("leaving", "leaving.abort(); return stream.read().catch((error) => error.name)", "AbortError")
	await(t, o.left)
}

// A body that is read while it is sent cannot be sent again: the call's 401 is the answer, and the next call renews. Chromium
// sends such bodies by HTTP/2 alone.
func TestStreamIsSentOnce(t *testing.T) {
	home, app, _ := elsewhere(t, "https", "localhost")
	b := startCarefree(t, true)
	b.open(app.url)
	inPage[bool](b, "await client.register(...alice); await client.login(...alice); return true")
	home.count(refreshPath)
	home.suffer(only(passwordPath, 1, spoiled))
	b.wants("a stream", `
		const body = new Blob([JSON.stringify({ current_password: "wrong", new_password: "tall ships sail at midnight" })]).stream()
		return String(await outcome(client.fetch("/api/user/password",
			{ method: "POST", headers: { "Content-Type": "application/json" }, body, duplex: "half" })))`, "401")
	home.wantCount(t, passwordPath, 1)
	home.wantCount(t, refreshPath, 0)
	b.wants("the next call", "return String(await me())", "200")
	home.wantCount(t, refreshPath, 1)
}
