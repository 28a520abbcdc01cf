//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Whoever cannot be told to forget the session is told so: the cookie is still there.
func TestLogoutThatFails(t *testing.T) {
	p, b := signedIn(t)
	p.suffer(only("/api/user/logout", 1, answering(503, "text/html", "")))
	b.wants("logout", "return String(await outcome(client.logout()))", "unknown")
	wantNobodyOut(t, []*browser{b})
	b.wants("me", "return String(await me())", "200")
	b.wants("logout everywhere", "return String([await outcome(client.logout({ everywhere: true })), client.userId, await me(), ...changes])",
		"done,,invalid_refresh_token,in by this,out by this")
}

// A sign-out ends the session of the access token, too: the browser may have lost the cookie.
func TestLogoutWithoutTheCookie(t *testing.T) {
	_, b := signedIn(t)
	inPage[bool](b, "window.answer = await (await fetch('/api/user/refresh', { method: 'POST' })).json(); return true")
	b.run("lose the cookies", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
	b.wants("the token afterwards", `
		await client.logout()
		return String((await fetch("/api/user/me", { headers: { Authorization: "Bearer " + answer.access_token } })).status)`, "401")
}

// A page to which its visitor comes back is the page of before, frozen: it has to ask what has happened since.
func TestPageThatComesBackAsksWhatHappened(t *testing.T) {
	p, b := signedIn(t)
	inPage[bool](b, "setTimeout(() => { location.href = '/blank?elsewhere' }); return true")
	b.until("location.search === '?elsewhere' && document.readyState === 'complete'")
	inPage[bool](b, "await fetch('/api/user/logout', { method: 'POST' }); setTimeout(() => history.back()); return true")
	b.until("globalThis.client?.userId === null")
	b.wants("changes", "return changes.join()", "in by this,out by this")
	p.wantCount(t, refreshPath, 1)
}

// A page that is new has nothing to ask, and neither has one that has not asked before.
func TestPageThatIsNewAsksNothing(t *testing.T) {
	p, b := signedIn(t)
	blank := b.tab(p.url + "/blank")
	const shown = `
		dispatchEvent(new PageTransitionEvent("pageshow", { persisted: %t }))
		await new Promise((resolve) => setTimeout(resolve))
		await navigator.locks.request("latchkey " + location.origin, () => {})
		return true`
	inPage[bool](b, fmt.Sprintf(shown, false))
	inPage[bool](blank, fmt.Sprintf(shown, true))
	p.wantCount(t, refreshPath, 0)
}

// What a page shows whoever has not signed in, and what it says of what they type.
func TestBeforeSignIn(t *testing.T) {
	p, _ := startProxy(t)
	b := startBrowser(t)
	b.open(p.url + "/blank")
	b.wants("first", "return String([client.userId, client.expiresAt])", ",")
	p.wantCount(t, refreshPath, 0)
	b.wants("who", "return String([await outcome(client.me()), client.userId === null, ...changes])", "invalid_refresh_token,true,out by this")
	b.wants("a wrong password", "return String([await outcome(client.login(...alice)), ...changes])", "invalid_credentials,out by this")
	b.wants("a short one", `
		const error = await client.register("alice", "short").catch((error) => error)
		return [error.name, error.status, error.code, error.errors.map((e) => e.field + " " + e.message), typeof error.requestId].join("; ")`,
		"LatchkeyError; 422; validation_failed; password must have at least 8 characters; string")
	b.wants("a good one", "return (await client.register(...alice)).username", "alice")
	b.wants("taken", "return (await client.register(...alice).catch((error) => error)).message", "Username already exists")
	p.suffer(only("/api/user/me", 1, unauthorized)) // whoever was just told to sign in first may refresh again
	b.wants("sign-in", "return String([await client.login(...alice), (await client.me()).username, ...changes])", ",alice,out by this,in by this")
	b.wants("too many guesses", `
		let error
		for (let i = 0; i < 12; i++) error = await client.login("alice", "wrong").catch((error) => error)
		return [error.code, error.retryAfter > 0].join()`, "too_many_requests,true")
	wantAll(t, "still there", everywhere([]*browser{b}, "return String(await me())"), "200")
	b.wantNothingStored()
}
