//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// clientOfOnesOwn puts a client that somebody has written themselves through what spa.md says that it has to do. The
// statements define me, which returns a name, change, which returns a status, blob, which reads a path as a file, and isOver.
func clientOfOnesOwn(t *testing.T, folder, definitions, refusedTwice string) {
	f, s := serveExamples(t, folder)
	s.register(t, "alice")
	b := startBrowser(t)
	b.run("open a page", chromedp.Navigate(f.url+"/blank.html"))
	wants := func(what, expression, want string, refreshes int) {
		t.Helper()
		b.wants(what, definitions+`
			try { return String(await `+expression+`) } catch (error) { return isOver(error) ? "signed out" : "failed" }`, want)
		f.wantCount(t, refreshPath, refreshes)
	}
	wants("nobody is signed in", "me()", "signed out", 1)
	wants("a sign-in", `fetch("/api/user/login", { method: "POST", headers: { "Content-Type": "application/json" },
		body: JSON.stringify(`+alice+`) }).then((answer) => answer.status)`, "200", 0)
	wants("three calls at once", "Promise.all([me(), me(), me()])", "alice,alice,alice", 1)
	wants("another call", "me()", "alice", 0)

	f.suffer(only("/api/user/me", 2, spoiled))
	wants("two calls with a token that is none", "Promise.all([me(), me()])", "alice,alice", 1)
	hold, reached, release := holding(t)
	var calls atomic.Int64
	f.suffer(only("/api/user/me", 2, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if calls.Add(1) > 1 {
			spoiled(w, r, forward)
			return
		}
		spoiled(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hold(w, r, forward) }))
	}))
	// By another address, for Chromium makes the second of two equal reads wait for the answer to the first.
	inPage[bool](b, definitions+"\nwindow.late = me('?late'); return true")
	await(t, reached)
	wants("a call that is refused", "me()", "alice", 1)
	release()
	wants("a call whose refusal comes after that", "window.late", "alice", 0)
	f.suffer(only("/api/user/me", 2, spoiled))
	wants("a token that is refused twice", "me()", refusedTwice, 1)
	f.suffer(nil)
	f.count(passwordPath)
	wants("a wrong password", `change("not the password", "tall ships sail at midnight")`, "401", 0)
	f.wantCount(t, passwordPath, 1)

	b.run("load the page again", chromedp.Reload())
	f.suffer(answering(http.StatusBadRequest, "application/json", `{"code": "no_route"}`))
	wants("a proxy that refuses", "me()", "failed", 0)
	f.suffer(nil)
	wants("afterwards", "me()", "alice", 1)
	f.suffer(only("/api/user/me", 1, spoiled))
	wants("a file, with a token that is none", "blob('/api/user/me').then((file) => file.size > 0)", "true", 1)
	f.suffer(nil)
	wants("a sign-out", `fetch("/api/user/logout", { method: "POST" }).then((answer) => answer.status)`, "204", 0)
	wants("a service that would take the token of before", "blob('/blank.html').then(() => 'taken')", "taken", 0)
	wants("the same with the token forgotten", "(forget(), blob('/blank.html'))", "signed out", 1)
	wants("after it", "me()", "signed out", 1)
}

func fetchAlone(t *testing.T, folder string) {
	clientOfOnesOwn(t, folder, `
		const { api, forget, SignedOut } = await import("/raw.js")
		const blob = (path) => api(path).then((answer) => answer.blob())
		const me = (query = "") => api("/api/user/me" + query).then(async (answer) => answer.ok ? (await answer.json()).username : answer.status)
		const change = (current_password, new_password) => api("/api/user/password", { method: "POST",
			headers: new Headers({ "Content-Type": "application/json" }), body: JSON.stringify({ current_password, new_password }),
		}).then((answer) => answer.status)
		const isOver = (error) => error instanceof SignedOut`, "401")
}

func axiosAlone(t *testing.T, folder string) {
	clientOfOnesOwn(t, folder, `
		const { api, forget, signedOut: isOver } = await import("/built/axios.js")
		const blob = (path) => api.get(path, { responseType: "blob" }).then((answer) => answer.data)
		const me = (query = "") => api.get("/api/user/me" + query).then((answer) => answer.data.username)
		const change = (current_password, new_password) => api.post("/api/user/password", { current_password, new_password })
			.then((answer) => answer.status, (error) => error.response.status)`, "failed")
}

// The walk with curl; then once more through a network that loses the first answer to the refresh.
func TestCurlOfSPAPage(t *testing.T) {
	f, s := startProxy(t)
	s.register(t, "alice")
	a := newApp(t)
	walk := strings.Replace(spaExample(t, "curl"), "http://localhost:8080", f.url, 1)
	run := func(refreshes int) {
		t.Helper()
		if out := a.run(walk); strings.Count(out, `"username":"alice"`) != 2 {
			t.Errorf("it prints %s", out)
		}
		f.wantCount(t, refreshPath, refreshes)
	}
	run(1)
	f.suffer(only(refreshPath, 1, lost))
	run(2)
}
