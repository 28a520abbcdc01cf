//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const (
	loginPath    = "/api/user/login"
	passwordPath = "/api/user/password"
)

// signedIn opens a tab in which alice is signed in.
func signedIn(t *testing.T, settings ...string) (*proxy, *browser) {
	t.Helper()
	p, _ := startProxy(t, settings...)
	b := tabs(t, p, 1)[0]
	p.count(refreshPath)
	return p, b
}

func (b *browser) wants(what, statements, want string) {
	b.t.Helper()
	if got := inPage[string](b, statements); got != want {
		b.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func (p *proxy) wantCount(t *testing.T, path string, want int) {
	t.Helper()
	if n := p.count(path); n != want {
		t.Errorf("%d calls of %s, want %d", n, path, want)
	}
}

// A token is renewed when between 7 and 9 tenths of its time are over, which of them being a matter of chance, and the
// call that finds it so does not wait for it.
func TestRenewalAheadOfTheEnd(t *testing.T) {
	p, b := signedIn(t)
	for _, test := range []struct{ luck, early, late string }{{"0", "410", "20"}, {"0.999", "530", "20"}} {
		inPage[bool](b, "Math.random = () => "+test.luck+"; sleep(660); await me(); return true")
		p.wantCount(t, refreshPath, 1)
		b.wants("early", "sleep("+test.early+"); return String(await me())", "200")
		p.wantCount(t, refreshPath, 0)

		hold, reached, release := holding(t)
		p.suffer(only(refreshPath, 1, hold))
		b.wants("late", `
			sleep(`+test.late+`)
			window.before = client.expiresAt
			return String([await me(), await me(), client.expiresAt - before])`, "200,200,0")
		await(t, reached)
		release()
		inPage[bool](b, "while (client.expiresAt <= before) await new Promise((resolve) => setTimeout(resolve, 10)); return true")
		p.wantCount(t, refreshPath, 1)
		p.suffer(nil)
	}
}

// A renewal that fails while the token is still good disturbs nobody, and is not tried at every call.
func TestRenewalAheadOfTheEndMayFail(t *testing.T) {
	p, b := signedIn(t)
	tried := make(chan struct{}, 100)
	p.suffer(only(refreshPath, 100, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusBadGateway)
		tried <- struct{}{}
	}))
	inPage[bool](b, "sleep(560); await me(); return true")
	for range 3 {
		await(t, tried)
	}
	b.wants("calls", `
		const came = []
		for (let i = 0; i < 5; i++) came.push(await me(), await new Promise((resolve) => setTimeout(resolve, 50)))
		return [...new Set(came)].join("")`, "200")
	if n := len(tried); n != 0 {
		t.Errorf("%d tries more", n)
	}
	p.suffer(nil)
	inPage[bool](b, "sleep(11); await me(); return true")
	b.until("client.expiresAt - Date.now() > 590_000")
	wantNobodyOut(t, []*browser{b})
}

// uncounted are tries of which Chromium makes some itself.
const uncounted = -1

// What a refresh comes to when something else than the server's own refusal answers, and nobody is signed out by it.
func TestOnlyTheServersWordSignsOut(t *testing.T) {
	problem := func(status int, code string, headers ...string) fault {
		return answering(status, "application/problem+json", fmt.Sprintf(`{"status":%d,"code":%q,"detail":"no","request_id":"r"}`, status, code), headers...)
	}
	html := "<!doctype html><title>Please log in to the hotel's network</title>"
	p, b := signedIn(t)
	for name, test := range map[string]struct {
		fault fault
		tries int
		want  string
	}{
		"unavailable":                  {problem(503, "unavailable", "Retry-After", "1"), 3, "unavailable"},
		"unavailable for long":         {problem(503, "unavailable", "Retry-After", "60"), 1, "unavailable"},
		"a fault in the server":        {problem(500, "internal"), 3, "internal"},
		"too many refreshes":           {problem(429, "too_many_requests", "Retry-After", "3"), 1, "too_many_requests"},
		"an origin that is refused":    {problem(403, "cross_origin"), 1, "cross_origin"},
		"a gateway without a server":   {answering(502, "text/html", html), 3, "unknown"},
		"a proxy's bad request":        {answering(400, "text/html", html), 1, "unknown"},
		"another's bad request":        {problem(400, "malformed_request"), 1, "malformed_request"},
		"a captive portal":             {answering(200, "text/html", html), 1, "unknown"},
		"a proxy that speaks of us":    {answering(400, "application/json", `{"code":"invalid_refresh_token"}`), 1, "unknown"},
		"an answer that is cut off":    {answering(200, "application/json", `{"access_token":"ey`), 3, "SyntaxError"},
		"an answer of another program": {answering(200, "application/json", `{}`), 3, "TypeError"},
		"nothing":                      {func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, uncounted, "TypeError"},
	} {
		t.Run(name, func(t *testing.T) {
			tried := make(chan struct{}, 100)
			p.suffer(only(refreshPath, 100, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				tried <- struct{}{}
				test.fault(w, r, forward)
			}))
			b.wants("me", "sleep(660); return String(await me())", test.want)
			if n := len(tried); n != test.tries && test.tries != uncounted {
				t.Errorf("%d tries, want %d", n, test.tries)
			}
			p.suffer(nil)
			b.wants("afterwards", "sleep(5); return String(await me())", "200")
			wantNobodyOut(t, []*browser{b})
		})
	}
}

// A server that asks for a pause gets it, from all calls.
func TestServerThatAsksForAPause(t *testing.T) {
	p, b := signedIn(t)
	pause := answering(http.StatusTooManyRequests, "application/problem+json", `{"code":"too_many_requests"}`, "Retry-After", "3")
	p.suffer(only(refreshPath, 1, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answered(r, forward)
		pause(w, r, forward)
	}))
	b.wants("calls", "sleep(660); return String([await me(), await me()])", "too_many_requests,too_many_requests")
	p.wantCount(t, refreshPath, 1)
	b.wants("later", "sleep(3); return String(await me())", "200")
}

// What was done and not answered is done again, or can be, without a trace.
func TestLostAnswers(t *testing.T) {
	p, b := signedIn(t)
	p.suffer(only(refreshPath, 2, lost))
	b.wants("refresh", "sleep(660); return String(await me())", "200")
	for _, step := range []struct{ path, call, after string }{
		{"/api/user/login", "client.login(...alice)", "200"},
		{"/api/user/logout", "client.logout()", "invalid_refresh_token"},
	} {
		p.suffer(only(step.path, 100, lost)) // and what Chromium tries again by itself
		b.wants(step.path, "return String(await outcome("+step.call+"))", "TypeError")
		p.suffer(nil)
		b.wants(step.path, "return String([await outcome("+step.call+"), await me()])", "done,"+step.after)
	}
}

// A refresh that gets no answer is given up, and made again: nothing waits for it without an end.
func TestRefreshWithoutAnswerIsGivenUp(t *testing.T) {
	p, b := signedIn(t)
	p.suffer(only(refreshPath, 1, func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
		answered(r, forward)
		<-r.Context().Done()
	}))
	b.wants("me", `
		const timeout = AbortSignal.timeout.bind(AbortSignal)
		AbortSignal.timeout = (ms) => { window.limit = ms; return timeout(ms / 15) }
		sleep(660)
		return String([await me(), limit < 30_000])`, "200,true")
	p.wantCount(t, refreshPath, 2)
}

// A tab that the system has put to sleep in the middle of a refresh keeps the lock.
func TestLockThatIsNeverReleased(t *testing.T) {
	p, b := signedIn(t)
	asleep := b.tab(p.url + "/blank")
	inPage[bool](asleep, "navigator.locks.request('latchkey ' + location.origin, () => new Promise(() => {})); return true")
	b.wants("me", `
		const timeout = AbortSignal.timeout.bind(AbortSignal)
		AbortSignal.timeout = (ms) => timeout(ms / 10)
		sleep(660)
		return String(await me())`, "200")
	p.wantCount(t, refreshPath, 1)
}

// unauthorized is the server's refusal of an access token.
var unauthorized = answering(401, "application/problem+json", `{"status":401,"code":"invalid_token"}`,
	"WWW-Authenticate", `Bearer error="invalid_token"`)

// A token that is refused before its time is renewed once, and the call made once more, with its body.
func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	p, b := signedIn(t)
	const change = "return String(await outcome(client.changePassword(...passwords)))"
	inPage[bool](b, "window.passwords = [alice[1], 'tall ships sail at midnight']; return true")
	p.suffer(only(passwordPath, 1, unauthorized))
	b.wants("refused once", change, "done")
	p.wantCount(t, refreshPath, 1)

	inPage[bool](b, "passwords.reverse(); return true")
	p.suffer(only(passwordPath, 2, unauthorized))
	b.wants("refused twice", change, "invalid_token")
	p.wantCount(t, refreshPath, 1)

	p.suffer(only("/api/user/me", 10, unauthorized))
	b.wants("many at once", "return (await Promise.all(Array.from({ length: 5 }, me))).join()", "401,401,401,401,401")
	p.wantCount(t, refreshPath, 0)
	b.wants("later", "sleep(30); return String(await me())", "401")
	p.wantCount(t, refreshPath, 1)
	wantNobodyOut(t, []*browser{b})
}

// A wrong password is a 401 as well: to repeat the call would be another guess.
func TestWrongPasswordIsNotRepeated(t *testing.T) {
	p, b := signedIn(t)
	b.wants("a wrong password", "return String(await outcome(client.changePassword('wrong', 'tall ships sail at midnight')))", "invalid_credentials")
	p.wantCount(t, passwordPath, 1)
	p.wantCount(t, refreshPath, 0)

	p.suffer(only(passwordPath, 1, unauthorized))
	b.wants("with a token that is refused", "return String(await outcome(client.changePassword('wrong', 'tall ships sail at midnight')))", "invalid_credentials")
	p.suffer(only("/api/user/me", 1, unauthorized))
	b.wants("another such token", "return String(await me())", "200")
	p.wantCount(t, refreshPath, 2)
}

// fetch takes what fetch takes.
func TestFetchIsFetch(t *testing.T) {
	_, b := signedIn(t)
	b.wants("ways to say what", `
		const path = "/api/user/me", json = { "Content-Type": "application/json", "X-Request-Id": "mine" }
		const body = JSON.stringify({ current_password: "wrong", new_password: "tall ships sail at midnight" })
		const made = new Request("/api/user/password", { method: "POST", headers: json, body })
		return String([
			await outcome(client.fetch(path)),
			await outcome(client.fetch("api/user/me")),
			await outcome(client.fetch(new URL(path, location.href))),
			await outcome(client.fetch(new Request(path, { headers: { Authorization: "Bearer old" } }))),
			(await (await client.fetch(made)).json()).code,
			made.bodyUsed,
			(await client.fetch(path, { headers: json })).headers.get("X-Request-Id"),
			await outcome(client.fetch("http://[")),
		])`, "200,200,200,200,invalid_credentials,true,mine,TypeError")
}

// An address that is none would make a client of the page's own server.
func TestAddressesOfServers(t *testing.T) {
	_, b := signedIn(t)
	b.wants("addresses", `
		const { createClient } = await import("/client.js")
		const made = (options) => { try { createClient(options); return "made" } catch (error) { return error.name } }
		return [
			made({ baseURL: location.origin + "/" }), made({ baseURL: "https://auth.example.com", origins: ["https://api.example.com:8443"] }),
			...["auth.example.com", "localhost:8080", "/", "", "https://auth.example.com/api", "file:///", "https://u:p@auth.example.com"]
				.flatMap((url) => [made({ baseURL: url }), made({ origins: [url] })]),
		].join()`, "made,made"+strings.Repeat(",TypeError", 14))
}

// A caller that no longer wants its answer waits no longer, neither for the answer nor for a refresh that others need.
func TestAbort(t *testing.T) {
	p, b := signedIn(t)
	const aborting = `
		const controller = new AbortController()
		const call = outcome(client.fetch("/api/user/me", { signal: controller.signal }))
		window.abort = () => { controller.abort(); return call }`
	hold, reached, release := holding(t)
	p.suffer(only(refreshPath, 1, hold))
	inPage[bool](b, "sleep(660); window.other = me(); "+aborting+"; return true")
	await(t, reached)
	b.wants("in a refresh", "return await abort()", "AbortError")
	b.wants("before it", `return await outcome(client.fetch("/api/user/me", { signal: AbortSignal.abort() }))`, "AbortError")
	release()
	b.wants("the other call", "return String(await other)", "200")
	p.wantCount(t, refreshPath, 1)

	hold, reached, release = holding(t)
	defer release()
	p.suffer(only("/api/user/me", 1, hold))
	inPage[bool](b, aborting+"; return true")
	await(t, reached)
	b.wants("in the call", "return await abort()", "AbortError")
	b.wants("before the call", `return await outcome(client.fetch("/api/user/me", { signal: AbortSignal.abort() }))`, "AbortError")
}
