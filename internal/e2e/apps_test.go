//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"latchkey/api"
)

// appOf has the pages of an app, whose client is made by a module from elsewhere, with some options.
func appOf(module, options string) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("/client.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = fmt.Fprintf(w, "import { createClient as create } from %q\nexport const createClient = () => create(%s)\n", module, options)
	})
	routes.HandleFunc("/", emptyPage)
	return routes
}

// elsewhere starts the program behind one front and an app on another one, which the program allows.
func elsewhere(t *testing.T, scheme, appHost string, settings ...string) (home, app *front, s server) {
	t.Helper()
	home, app = newFront(t, scheme, "localhost"), newFront(t, scheme, appHost)
	s = startServer(t, append(settings, "LATCHKEY_PUBLIC_URL="+home.url, "LATCHKEY_ALLOWED_ORIGINS="+app.url)...)
	home.open(t, nil, s.url)
	app.open(t, appOf(home.url+"/client.js", fmt.Sprintf("{ baseURL: %q }", home.url)), "")
	return home, app, s
}

// startCarefree starts a browser that takes the certificates of fronts, and third-party cookies if it shall.
func startCarefree(t *testing.T, thirdPartyCookies bool) *browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "latchkey-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	mode := 1 // refused
	if thirdPartyCookies {
		mode = 0
	}
	if err := os.Mkdir(filepath.Join(profile, "Default"), 0o700); err != nil {
		t.Fatal(err)
	}
	preferences := fmt.Sprintf(`{"profile": {"cookie_controls_mode": %d}}`, mode)
	if err := os.WriteFile(filepath.Join(profile, "Default", "Preferences"), []byte(preferences), 0o600); err != nil {
		t.Fatal(err)
	}
	return startBrowser(t, chromedp.UserDataDir(profile), chromedp.Flag("ignore-certificate-errors", true))
}

// An app that is not on the server's origin can do all that one there can, if the operator has said so.
func TestAppOnAnotherOrigin(t *testing.T) {
	for name, test := range map[string]struct {
		scheme, host string
		settings     []string
	}{
		"of the same site": {"http", "localhost", nil},
		"of another site":  {"https", "127.0.0.1", []string{"LATCHKEY_COOKIE_SAMESITE=none"}},
	} {
		t.Run(name, func(t *testing.T) {
			home, app, s := elsewhere(t, test.scheme, test.host, test.settings...)
			b := startCarefree(t, true)
			b.open(app.url)
			b.wants("before", "return String([await outcome(client.me()), ...changes])", "invalid_refresh_token,out by this")
			b.wants("sign-in", `
				await client.register(...alice)
				await client.login(...alice)
				return String([(await client.me()).username, (await client.sessions()).length, ...changes])`, "alice,1,out by this,in by this")
			home.count(refreshPath)

			b.open(app.url)
			b.wants("after a reload", "return String([await me(), ...changes])", "200,in by this")
			home.wantCount(t, refreshPath, 1)
			b.wants("after a night", "sleep(8 * 3600); return String(await me())", "200")
			home.wantCount(t, refreshPath, 1)
			home.suffer(only("/api/user/me", 1, spoiled))
			b.wants("after a 401", "return String(await me())", "200")
			home.wantCount(t, refreshPath, 1)
			home.count(passwordPath)
			b.wants("a wrong password", "return String(await outcome(client.changePassword('wrong', 'tall ships sail at midnight')))", "invalid_credentials")
			home.wantCount(t, passwordPath, 1)
			home.wantCount(t, refreshPath, 0)
			b.wants("a new password", "return String(await outcome(client.changePassword(alice[1], 'tall ships sail at midnight')))", "done")

			_, phone := post(t, s.url+"/api/user/login", strings.Replace(alice, goodPassword, "tall ships sail at midnight", 1))
			all := []*browser{b, b.tab(app.url)}
			home.count(refreshPath)
			wantAll(t, "in two tabs", together(all, "return String(await me())"), "200")
			wantAll(t, "at once", together(all, "sleep(9 * 3600); return String(await me())"), "200")
			if n := home.count(refreshPath); n != 2 {
				t.Errorf("%d refreshes: one for the new tab, and one for both", n)
			}
			all[1].wants("sign-out", "return String(await outcome(client.logout({ everywhere: true })))", "done")
			b.until("client.userId === null")
			wantAll(t, "after it", everywhere(all, "return String(await outcome(client.me()))"), "invalid_refresh_token")
			b.wants("too many guesses", `
				let error
				for (let i = 0; i < 12; i++) error = await client.login("alice", "wrong").catch((error) => error)
				return [error.code, error.retryAfter > 0, error.requestId.length].join()`, "too_many_requests,true,36")
			b.wantNothingStored()
			if status, _ := post(t, s.url+refreshPath, "", phone...); status != http.StatusBadRequest {
				t.Errorf("the phone's refresh answers %d after a sign-out everywhere", status)
			}
		})
	}
}

// On another site the app has its session for as long as the page is there, and no longer, unless operator and browser both
// let the cookie come along.
func TestAppOnAnotherSiteNeedsItsCookie(t *testing.T) {
	for name, test := range map[string]struct {
		setting           string
		thirdPartyCookies bool
	}{
		"the cookie is for one site":        {"LATCHKEY_COOKIE_SAMESITE=strict", true},
		"the browser refuses other cookies": {"LATCHKEY_COOKIE_SAMESITE=none", false},
	} {
		t.Run(name, func(t *testing.T) {
			_, app, _ := elsewhere(t, "https", "127.0.0.1", test.setting)
			b := startCarefree(t, test.thirdPartyCookies)
			b.open(app.url)
			b.wants("sign-in", "await client.register(...alice); await client.login(...alice); return String(await me())", "200")
			b.open(app.url)
			b.wants("after a reload", "return String(await me())", "invalid_refresh_token")
		})
	}
}

// Two apps share the cookie, and neither lock nor channel.
func TestTwoAppsOnTwoOrigins(t *testing.T) {
	home, orders := newFront(t, "http", "localhost"), newFront(t, "http", "localhost")
	mail := newFront(t, "http", "localhost")
	s := startServer(t, "LATCHKEY_PUBLIC_URL="+home.url, "LATCHKEY_ALLOWED_ORIGINS="+orders.url+","+mail.url)
	home.open(t, nil, s.url)
	for _, app := range []*front{orders, mail} {
		app.open(t, appOf(home.url+"/client.js", fmt.Sprintf("{ baseURL: %q }", home.url)), "")
	}
	s.register(t, "alice", "bob")
	b := startBrowser(t)
	b.open(orders.url)
	inPage[bool](b, "await client.login(...alice); return true")
	other := b.tab(mail.url)
	all := []*browser{b, other}
	for range 3 {
		wantAll(t, "both refresh", everywhere(all, "sleep(8 * 3600); return String(await me())"), "200")
	}
	wantNobodyOut(t, all)
	other.wants("another user", "await client.login('bob', alice[1]); return (await client.me()).username", "bob")
	b.wants("is seen at the next refresh", `
		const before = client.userId
		sleep(8 * 3600)
		const stopped = await me()
		return String([stopped, (await client.me()).username, before !== client.userId, ...changes])`,
		"user_changed,bob,true,in by this,in by this")
}

// A page of an origin that is not allowed, with a copy of the client: its visitor stays signed in elsewhere, all its calls
// come to nothing, and it takes none of that for the end of a session.
func TestAppOnOriginThatIsNotAllowed(t *testing.T) {
	home, app, s := elsewhere(t, "http", "localhost")
	stranger := newFront(t, "http", "localhost")
	routes := http.NewServeMux()
	routes.HandleFunc("/copy.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(api.Client)
	})
	routes.Handle("/", appOf("/copy.js", fmt.Sprintf("{ baseURL: %q }", home.url)))
	stranger.open(t, routes, "")

	b := startBrowser(t)
	b.open(app.url)
	inPage[bool](b, "await client.register(...alice); await client.login(...alice); return true")
	b.wants("alice", "return String(await me())", "200")
	before := s.rows(t)

	other := b.tab(stranger.url)
	other.wants("the server's own copy", fmt.Sprintf(`return import(%q).then(() => "was had", (error) => error.name)`, home.url+"/client.js"), "TypeError")
	other.wants("all calls", `
		const calls = {
			register: client.register("mallory", alice[1]), login: client.login(...alice), me: client.me(), sessions: client.sessions(),
			changePassword: client.changePassword(alice[1], "tall ships sail at midnight"),
			endSession: client.endSession("x"), endOtherSessions: client.endOtherSessions(),
			logout: client.logout(), everywhere: client.logout({ everywhere: true }),
			fetch: client.fetch("/api/user/me"), fetchFrom: client.fetch("/api/user/me", { headers: { "X-Request-Id": "mine" } }),
		}
		const names = new Set()
		for (const call of Object.values(calls)) names.add(await outcome(call))
		return [...names, client.userId, client.expiresAt, ...changes].join()`, "TypeError,,")
	if after := s.rows(t); !slices.Equal(after, before) {
		t.Errorf("the database was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	b.open(app.url)
	b.wants("alice", "return String(await me())", "200")
	wantNobodyOut(t, []*browser{b, other})
}
