//go:build e2e

package e2e

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// The first call of a page, begun before it knew who is signed in, is hers all the same whose token it has carried.
func TestFirstCallOfAPageIsNotMadeInTheNameOfTheNext(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 1)
	all = append(all, all[0].tab(p.url+"/blank"))
	late, signedIn := make(chan struct{}), make(chan struct{})
	p.suffer(only(passwordPath, 1, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		close(late)
		<-signedIn // and ended her session, in this browser
		forward.ServeHTTP(w, r)
	}))
	inPage[bool](all[1], "window.call = outcome(client.changePassword(alice[1], 'tall ships sail at midnight')); return true")
	await(t, late)
	inPage[bool](all[0], "await client.register('bob', alice[1]); await client.login('bob', alice[1]); return true")
	close(signedIn)
	all[1].wants("the call", "return String(await call)", "user_changed")
	p.wantCount(t, passwordPath, 1)
	all[0].wants("bob's password", "return String(await outcome(client.login('bob', alice[1])))", "done")
}

// A sign-out that alice has asked for, and that waits for bob's sign-in in another tab, is not his.
func TestLogoutOfOneUserIsNotThatOfTheNext(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 2)
	inPage[bool](all[1], "await client.me(); await client.register('bob', alice[1]); return true")
	hold, reached, release := holding(t)
	p.suffer(only("/api/user/login", 1, hold))
	inPage[bool](all[1], "window.call = outcome(client.login('bob', alice[1])); return true")
	await(t, reached)
	inPage[bool](all[0], "window.call = outcome(client.logout()); await new Promise((resolve) => setTimeout(resolve, 100)); return true")
	release()
	all[0].wants("sign-out", "return String(await call)", "user_changed")
	wantAll(t, "who", everywhere(all, "return String((await client.me().catch((e) => e)).username)"), "bob")
}

// Tabs whose session has ended ask once, and go by the answer that one of them has had.
func TestTabsLearnOfTheEndOfTheSessionByOneRefresh(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 6)
	everywhere(all, "await me(); return ''")
	inPage[bool](all[0], "await fetch('/api/user/logout', { method: 'POST' }); return true")
	everywhere(all, "sleep(660); return ''")
	p.count(refreshPath)
	wantAll(t, "me", together(all, "return String(await me())"), "invalid_refresh_token")
	wantAll(t, "me again", everywhere(all, "return String(await me())"), "invalid_refresh_token")
	everywhere(all, "await navigator.locks.request('latchkey ' + location.origin, () => {}); return ''")
	p.wantCount(t, refreshPath, 1)
}

// A page that is left signed out, for one that signs in, and comes back from the browser's cache.
func TestPageThatComesBackSignedOutAsksWhoIsSignedIn(t *testing.T) {
	_, b := signedIn(t)
	// A page that has a lock is not kept.
	inPage[bool](b, "await client.logout(); await navigator.locks.request('latchkey ' + location.origin, () => {}); setTimeout(() => { location.href = '/blank?elsewhere' }); return true")
	b.until("location.search === '?elsewhere' && document.readyState === 'complete'")
	inPage[bool](b, `await fetch('/api/user/login', { method: 'POST', headers: { 'Content-Type': 'application/json' },
		body: '`+alice+`' }); setTimeout(() => history.back()); return true`)
	b.until("globalThis.client?.userId !== undefined && !location.search")
	b.until("client.userId !== null")
	b.wants("changes", "return changes.join()", "in by this,out by this,in by this")
}

// A lock that is never given: in one tab, at least, what waited is not done all at once.
func TestWithoutTheLockATabStillDoesOneThingAtATime(t *testing.T) {
	p, b := signedIn(t)
	inPage[bool](b, "await client.register('bob', alice[1]); navigator.locks.request('latchkey ' + location.origin, () => new Promise(() => {})); return true")
	p.count("/api/user/login")
	hold, reached, release := holding(t)
	p.suffer(only(refreshPath, 1, hold))
	inPage[bool](b, `
		const timeout = AbortSignal.timeout.bind(AbortSignal)
		AbortSignal.timeout = (ms) => timeout(ms === 20_000 ? 100 : ms)
		sleep(660)
		window.call = me()
		window.login = outcome(client.login("bob", alice[1]))
		return true`)
	await(t, reached)
	inPage[bool](b, "await new Promise((resolve) => setTimeout(resolve, 500)); return true")
	p.wantCount(t, "/api/user/login", 0)
	release()
	b.wants("then", "return String([await login, (await client.me().catch(e=>e)).username])", "done,bob")
}

// Whatever five tabs do, one through the other, in the end all know who is signed in: whoever the cookie says.
func TestTabsAgreeWithTheCookie(t *testing.T) {
	p, _ := startProxy(t, "LATCHKEY_LIMIT_REFRESH=off")
	all := tabs(t, p, 5)
	inPage[bool](all[0], "await client.register('bob', alice[1]); return true")
	everywhere(all, "window.faults = []; onerror = onunhandledrejection = (event) => { faults.push(event.reason ?? event) }; return ''")
	p.suffer(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		answer := answered(r, forward)
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // this is the network, and not the test
		deliver(w, answer)
	})
	for range 3 {
		together(all, `
			const acts = [() => client.login(...alice), () => client.login("bob", alice[1]), () => client.logout(), () => { sleep(560); return me() }, me]
			for (let i = 0; i < 4; i++) await outcome(acts[Math.floor(5 * Math.random())]())`)
		jar := inPage[string](all[0], `return await navigator.locks.request("latchkey " + location.origin, async () => {
			const answer = await fetch("/api/user/refresh", { method: "POST" })
			return answer.ok ? JSON.parse(atob((await answer.json()).access_token.split(".")[1])).sub : "null"
		})`)
		wantAll(t, "who is signed in", everywhere(all, "return String(client.userId)"), jar)
	}
	wantAll(t, "faults", everywhere(all, "return faults.join()"), "")
}

// A tab is put to sleep in the middle of a refresh, bob signs in in another one, and then the answer is read: of a session
// that has ended, or with a token of it.
func TestAnswerReadTooLateIsNoNews(t *testing.T) {
	for name, before := range map[string]string{
		"the end":       "await fetch('/api/user/logout', { method: 'POST' })",
		"another token": "",
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := startProxy(t)
			all := tabs(t, p, 2)
			inPage[bool](all[1], "await me(); await client.register('bob', alice[1]); "+before+`
				const timeout = AbortSignal.timeout.bind(AbortSignal)
				AbortSignal.timeout = (ms) => timeout(ms === 20_000 ? 100 : ms)
				return true`)
			reached, awake := make(chan struct{}), make(chan struct{})
			p.suffer(only(refreshPath, 1, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				answer := answered(r, forward)
				answer.Header().Del("Set-Cookie") // which the browser has read in time
				close(reached)
				<-awake
				deliver(w, answer)
			}))
			inPage[bool](all[0], "sleep(660); window.call = me(); return true")
			await(t, reached)
			inPage[bool](all[1], "await client.login('bob', alice[1]); return true")
			close(awake)
			all[0].wants("the call", "return String(await call)", "user_changed")
			inPage[bool](all[0], "await navigator.locks.request('latchkey ' + location.origin, () => {}); await new Promise((resolve) => setTimeout(resolve, 300)); return true")
			wantAll(t, "who", everywhere(all, "return (await client.me().catch((e) => e)).username ?? 'nobody'"), "bob")
			all[1].wants("changes", "return changes.join()", "in by this,in by this")
		})
	}
}

// Who is signed out already, in another tab, is signed out.
func TestLogoutInAllTabsAtOnce(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 3)
	everywhere(all, "await me(); return ''")
	wantAll(t, "sign-out", together(all, "return await outcome(client.logout())"), "done")
}

// A sign-out everywhere that alice has asked for ends none of bob's sessions, though he signs in in the middle of it.
func TestLogoutEverywhereOfOneUserIsNotThatOfTheNext(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 2)
	inPage[bool](all[1], "await client.me(); await client.register('bob', alice[1]); return true")
	hold, reached, release := holding(t)
	p.suffer(only("/api/user/sessions", 1, hold))
	inPage[bool](all[0], "window.call = outcome(client.logout({ everywhere: true })); return true")
	await(t, reached)
	inPage[bool](all[1], "await client.login('bob', alice[1]); return true")
	all[0].until("changes.length === 2")
	release()
	all[0].wants("sign-out", "return String(await call)", "user_changed")
	wantAll(t, "who", everywhere(all, "return (await client.me().catch((e) => e)).username ?? 'nobody'"), "bob")
}
