//go:build e2e

package e2e

import (
	"net/http"
	"testing"
)

// A lock is taken from a tab that is asleep, and from the thief in its turn: each does its work once, and none takes it back.
func TestLockThatIsTakenAway(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 3)
	hold, reached, release := holding(t)
	p.suffer(only(loginPath, 3, hold))
	p.count(loginPath)
	for _, tab := range all {
		inPage[bool](tab, `
			const timeout = AbortSignal.timeout.bind(AbortSignal), request = navigator.locks.request.bind(navigator.locks)
			AbortSignal.timeout = (ms) => timeout(ms === 20_000 ? 100 : ms)
			window.requests = 0
			navigator.locks.request = (...how) => { requests++; return request(...how) }
			window.call = outcome(client.login(...alice))
			return true`)
		await(t, reached)
	}
	release()
	wantAll(t, "sign-in", everywhere(all, "return await call"), "done")
	wantAll(t, "requests for the lock, of the first", everywhere(all[:1], "return String(requests)"), "1")
	wantAll(t, "requests for the lock, of the thieves", everywhere(all[1:], "return String(requests)"), "2")
	wantAll(t, "me", everywhere(all, "sleep(660); return String(await me())"), "200") // after all that this tab does alone
	p.wantCount(t, loginPath, 3)
}

// Where the browser gives no lock, as to a page in a frame without an origin, things are done without it.
func TestLockThatIsRefused(t *testing.T) {
	p, b := signedIn(t)
	b.wants("calls", `
		navigator.locks.request = async () => { throw new DOMException("", "SecurityError") }
		sleep(660)
		return String(await Promise.all([me(), outcome(client.login(...alice)), me()]))`, "200,done,200")
	p.suffer(only(refreshPath, 3, answering(http.StatusBadRequest, "text/html", "")))
	b.wants("after one that fails", "sleep(660); return String([await me(), await outcome(client.login(...alice)), await me()])", "unknown,done,200")
}
