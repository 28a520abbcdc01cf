//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// echo is a service of another origin that verifies tokens, or says so: of each path it refuses the first calls, as many
// as the path says, and then answers what it was sent.
func echo(t *testing.T, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	refused := map[string]int{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Headers", "authorization, content-type")
		h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, HEAD")
		if r.Method == http.MethodOptions {
			return
		}
		body, _ := io.ReadAll(r.Body)
		var n int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d/", &n)
		mu.Lock()
		defer mu.Unlock()
		if refused[r.URL.Path]++; refused[r.URL.Path] <= n {
			h.Set("WWW-Authenticate", "Bearer") // which means something else where Latchkey says it
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		_ = json.NewEncoder(w).Encode(map[string]any{"body": string(body), "type": kind, "proto": r.Proto,
			"token": strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey"), "method": r.Method})
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // Chromium's first look at a certificate that it does not know
	start(s)
	t.Cleanup(s.Close)
	return s
}

// A service that refuses each token, good as it is, does not have all of them renewed at each call.
func TestServiceThatAlwaysRefusesIsNotAReasonToRefreshAtEachCall(t *testing.T) {
	p, b := signedIn(t)
	api := echo(t, (*httptest.Server).Start)
	b.wants("calls", fmt.Sprintf(`
		const { createClient } = await import("/client.js")
		const client = createClient({ origins: [%q] })
		const came = []
		for (let i = 0; i < 20; i++) came.push(await outcome(client.fetch(%q)))
		return [...new Set(came)].join()`, api.URL, api.URL+"/99/x"), "401")
	if n := p.count(refreshPath); n > 3 {
		t.Errorf("%d refreshes", n)
	}
}

// Nor does it keep the end of the session from being noticed.
func TestServiceThatAlwaysRefusesHidesNoEndOfTheSession(t *testing.T) {
	_, b := signedIn(t)
	api := echo(t, (*httptest.Server).Start)
	b.wants("calls", fmt.Sprintf(`
		const { createClient } = await import("/client.js")
		const client = createClient({ origins: [%q] })
		const came = [await outcome(client.fetch(%q))]
		await fetch("/api/user/logout", { method: "POST" })
		return String([...came, await outcome(client.me()), client.userId === null])`, api.URL, api.URL+"/99/x"), "401,invalid_refresh_token,true")
}

// A call that is made again is the same call, whatever its body is and whatever it is made of.
func TestCallIsMadeAgainWithItsBody(t *testing.T) {
	_, b := signedIn(t)
	api := echo(t, (*httptest.Server).Start)
	for name, test := range map[string]struct{ made, want string }{
		"a string":            {`{ body: "müde" }`, "POST müde text/plain true"},
		"JSON":                {`{ body: "{}", headers: { "Content-Type": "application/json" } }`, "POST {} application/json true"},
		"bytes":               {`{ body: new Uint8Array([97, 98]) }`, "POST ab  true"},
		"a blob":              {`{ body: new Blob(["in a blob"], { type: "text/csv" }) }`, "POST in a blob text/csv true"},
		"a form":              {`{ body: new URLSearchParams({ a: "1 2" }) }`, "POST a=1+2 application/x-www-form-urlencoded true"},
		"a form with files":   {`{ body: form }`, "POST form multipart/form-data true"},
		"nothing":             {`{}`, "POST   true"},
		"no credentials":      {`{ body: "x", credentials: "omit", keepalive: true }`, "POST x text/plain true"},
		"another method":      {`{ body: "x", method: "PUT" }`, "PUT x text/plain true"},
		"a get":               {`{ method: "get" }`, "GET   true"},
		"another's signature": {`{ body: "x", headers: new Headers({ authorization: "Basic x" }) }`, "POST x text/plain true"},
	} {
		t.Run(name, func(t *testing.T) {
			b.wants(name, fmt.Sprintf(`
				const { createClient } = await import("/client.js")
				const client = createClient({ origins: [%q] })
				const form = new FormData()
				form.append("file", new Blob(["in a file"]), "file.txt")
				const init = { method: "POST", ...%s }
				const url = %q + Math.random()
				const read = async (call) => {
					const { method, body, type, token } = await (await call).json()
					return [method, body.includes("in a file") ? "form" : body, type, token].join(" ")
				}
				const came = [await read(client.fetch(url, init)), await read(client.fetch(new Request(url + "x", init))), await read(client.fetch(new Request(url + "y"), init))]
				return [...new Set(came)].join()`, api.URL, test.made, api.URL+"/1/"), test.want)
		})
	}
}

// The client's own calls wait for 15 seconds, and no longer.
func TestCallWithoutAnswerIsGivenUp(t *testing.T) {
	p, b := signedIn(t)
	p.suffer(only("/api/user/me", 1, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }))
	b.wants("me", `
		const timeout = AbortSignal.timeout.bind(AbortSignal)
		AbortSignal.timeout = (ms) => timeout(ms === 15_000 ? 500 : ms)
		return String(await outcome(client.me()))`, "TimeoutError")
}

// The refusal of a token that another call has had renewed by then is no reason to renew the new one.
func TestLateRefusalCostsNoRefresh(t *testing.T) {
	p, b := signedIn(t)
	reached, released := make(chan struct{}), make(chan struct{})
	p.suffer(only("/api/user/me", 1, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		close(reached)
		<-released
		unauthorized(w, r, forward)
	}))
	inPage[bool](b, "window.late = outcome(client.fetch('/api/user/me?late')); return true")
	await(t, reached)
	p.suffer(only("/api/user/me", 1, unauthorized))
	b.wants("another", "return String(await me())", "200")
	close(released)
	b.wants("the late one", "return String(await late)", "200")
	p.wantCount(t, refreshPath, 1)
}

// A stream cannot be sent twice: its call is not made again, and the next one has a new token.
func TestStreamsAreSent(t *testing.T) {
	_, b := signedIn(t)
	api := echo(t, func(s *httptest.Server) {
		s.EnableHTTP2 = true // Chromium streams over nothing less
		s.StartTLS()
	})
	b.run("trust the certificate", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
		return err
	}))
	b.wants("streams", fmt.Sprintf(`
		const { createClient } = await import("/client.js")
		const api = %q, client = createClient({ origins: [api] })
		const send = async (path) => {
			const parts = ["a", "b", "c"], text = new TextEncoder()
			const body = new ReadableStream({ pull(to) { parts.length ? to.enqueue(text.encode(parts.shift())) : to.close() } })
			const answer = await client.fetch(api + path, { method: "POST", body, duplex: "half" })
			return answer.ok ? (await answer.json()).body : answer.status
		}
		return String([await send("/0/x"), await send("/1/x"), await send("/1/x")])`, api.URL), "abc,401,abc")
}

// What has been stopped is not called, though it is one of the others that has just stopped it.
func TestListenerThatIsStoppedHearsNothing(t *testing.T) {
	_, b := signedIn(t)
	b.wants("calls", `
		let heard = 0, stop
		client.onChange(() => stop())
		stop = client.onChange(() => heard++)
		await client.logout()
		await new Promise((resolve) => setTimeout(resolve))
		return String(heard)`, "0")
}

// A refusal is a LatchkeyError whatever its body is.
func TestRefusalsOfAnyShape(t *testing.T) {
	p, b := signedIn(t)
	for _, body := range []string{"null", "[]", "1", `"no"`, `{"code":null,"detail":null,"errors":null}`, "", "<html>"} {
		p.suffer(only("/api/user/me", 1, answering(403, "application/problem+json", body, "Retry-After", "Wed, 21 Oct 2065 07:28:00 GMT")))
		b.wants(body, "const e = await client.me().catch((e) => e); return String([e.name, e.status, e.code, e.errors.length, e.retryAfter, e.message])",
			"LatchkeyError,403,unknown,0,,The answer (403) is not Latchkey's")
	}
}
