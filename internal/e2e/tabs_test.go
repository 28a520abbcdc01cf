//go:build e2e

package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// tab opens another tab in the browser, with a client of its own in it: `client`, and in `changes` what it was told.
func (b *browser) tab(page string) *browser {
	b.t.Helper()
	tab := b.another()
	tab.open(page)
	return tab
}

// close closes a tab, as a crash would.
func (b *browser) close() {
	b.t.Helper()
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Fatal(err)
	}
}

// offline takes the network away from a tab, or gives it back.
func (b *browser) offline(away bool) {
	b.t.Helper()
	b.run("change the network", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: away, DownloadThroughput: -1, UploadThroughput: -1}},
		})
		return err
	}))
}

func (b *browser) open(page string) {
	b.t.Helper()
	b.run("open "+page, chromedp.Navigate(page))
	inPage[bool](b, `
		const { createClient } = await import("/client.js")
		window.client = createClient()
		window.changes = []
		window.ahead = 0 // a machine that sleeps: the time goes on, and nothing else
		const now = Date.now
		Date.now = () => now() + ahead
		const passed = performance.now.bind(performance)
		performance.now = () => passed() + ahead
		window.sleep = (seconds) => { ahead += 1000 * seconds }
		client.onChange(({ signedIn, by }) => changes.push((signedIn ? "in" : "out") + " by " + by))
		window.alice = ["alice", "correct horse battery staple"]
		// What a call came to: a status, or why there is none.
		window.outcome = (promise) => promise.then((answer) => answer?.status ?? "done", (error) => error.status ? error.code : error.name)
		window.me = () => outcome(client.fetch("/api/user/me"))
		return true`)
}

// tabs opens n tabs; alice is signed in, in the first one.
func tabs(t *testing.T, p *proxy, n int) []*browser {
	t.Helper()
	first := startBrowser(t)
	first.open(p.url + "/blank")
	inPage[bool](first, "await client.register(...alice); await client.login(...alice); return true")
	all := []*browser{first}
	for range n - 1 {
		all = append(all, first.tab(p.url+"/blank"))
	}
	return all
}

// everywhere runs statements in all tabs at the same time, and returns what each returned.
func everywhere(all []*browser, statements string) []string {
	all[0].t.Helper()
	results := make([]string, len(all))
	var wait sync.WaitGroup
	for i, tab := range all {
		wait.Go(func() { results[i] = inPage[string](tab, statements) })
	}
	wait.Wait()
	return results
}

// together has all tabs do something at the same moment, on one word to all of them.
func together(all []*browser, statements string) []string {
	all[0].t.Helper()
	everywhere(all, `
		window.result = new Promise((resolve, reject) => {
			const word = new BroadcastChannel("word")
			word.onmessage = () => { word.close(); (async () => {`+statements+`})().then(resolve, reject) }
		})
		return ""`)
	word := all[0].tab(strings.TrimSuffix(value(all[0], chromedp.Location()), "/"))
	inPage[bool](word, `new BroadcastChannel("word").postMessage("now"); return true`)
	return everywhere(all, "return String(await result)")
}

func wantAll(t *testing.T, what string, got []string, want string) {
	t.Helper()
	for i, g := range got {
		if g != want {
			t.Errorf("%s: tab %d: %s, want %s (all: %q)", what, i, g, want, got)
			return
		}
	}
}

// wantNobodyOut wants that no tab was ever told that it is signed out.
func wantNobodyOut(t *testing.T, all []*browser) {
	t.Helper()
	for i, changes := range everywhere(all, "return changes.join()") {
		if strings.Contains(changes, "out") {
			t.Errorf("tab %d was told: %s", i, changes)
		}
	}
}

// A laptop is opened: ten tabs find their access tokens expired, and each wants something.
func TestTenTabsThatWakeMakeOneRefresh(t *testing.T) {
	p, _ := startProxy(t, "LATCHKEY_ACCESS_TOKEN_TTL=4s")
	all := tabs(t, p, 10)
	p.count(refreshPath)
	for range 2 {
		everywhere(all, `
			while (client.expiresAt > Date.now()) await new Promise((resolve) => setTimeout(resolve, client.expiresAt - Date.now()))
			return ""`)
		wantAll(t, "me", together(all, "return await me()"), "200")
		if n := p.count(refreshPath); n != 1 {
			t.Errorf("%d refreshes by ten tabs, want 1", n)
		}
	}
	wantNobodyOut(t, all)
}

// A browser is started again with the tabs of before: none has an access token.
func TestTenTabsThatAreRestoredMakeOneRefresh(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 1)
	for range 10 {
		all = append(all, all[0].tab(p.url+"/blank"))
	}
	p.count(refreshPath)
	wantAll(t, "me", together(all[1:], "return await me()"), "200")
	if n := p.count(refreshPath); n != 1 {
		t.Errorf("%d refreshes by ten tabs, want 1", n)
	}
}

// Without Web Locks tabs refresh at the same time, and stay signed in all the same.
func TestTabsWithoutLocksStaySignedIn(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 10)
	everywhere(all, "Object.defineProperty(navigator, 'locks', { value: undefined }); return ''")
	for range 3 {
		everywhere(all, "sleep(660); return ''")
		wantAll(t, "me", together(all, "return (await Promise.all([me(), me()])).join()"), "200,200")
	}
	wantAll(t, "who", everywhere(all, "return String(typeof client.userId)"), "string")
	wantAll(t, "sessions", everywhere(all[:1], "return String((await client.sessions()).length)"), "1")
}

// One tab is killed while its refresh is under way, before the server has seen it or when it has answered: the others
// neither wait for it nor suffer from it.
func TestTabKilledInMidRefresh(t *testing.T) {
	for name, seen := range map[string]bool{"after the server has answered": true, "before the server has seen it": false} {
		t.Run(name, func(t *testing.T) {
			p, _ := startProxy(t)
			all := tabs(t, p, 3)
			everywhere(all, "sleep(660); return ''")
			reached := make(chan struct{})
			p.suffer(only(refreshPath, 1, func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
				if seen {
					answered(r, forward)
				}
				close(reached)
				<-r.Context().Done()
			}))
			victim := all[2]
			inPage[bool](victim, "me(); return true")
			await(t, reached)
			waiting := make(chan []string)
			go func() { waiting <- everywhere(all[:2], "return String(await me())") }()
			victim.close()
			wantAll(t, "me", <-waiting, "200")
			wantNobodyOut(t, all[:2])
			wantAll(t, "sessions", everywhere(all[:1], "return String((await client.sessions()).length)"), "1")
		})
	}
}

// A train ride: of the answers, and of the requests, four in ten are lost, and the others are late.
func TestBadNetworkSignsNobodyOut(t *testing.T) {
	p, _ := startProxy(t, "LATCHKEY_ACCESS_TOKEN_TTL=1s", "LATCHKEY_LIMIT_REFRESH=off")
	all := tabs(t, p, 5)
	p.suffer(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		luck := rand.Float64()
		if luck < 0.2 {
			panic(http.ErrAbortHandler)
		}
		answer := answered(r, forward)
		if luck < 0.4 {
			panic(http.ErrAbortHandler)
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // this is the network, and not the test
		deliver(w, answer)
	})
	p.count(refreshPath)
	outcomes := everywhere(all, `
		const seen = {}
		for (let i = 0; i < 12; i++) {
			const came = await me()
			seen[came] = (seen[came] ?? 0) + 1
			await new Promise((resolve) => setTimeout(resolve, 500 * Math.random()))
		}
		return Object.keys(seen).sort().join()`)
	for _, came := range outcomes {
		if came != "200,TypeError" && came != "200" {
			t.Errorf("calls came to %q", outcomes)
		}
	}
	if n := p.count(refreshPath); n < 5 {
		t.Errorf("only %d refreshes", n)
	}
	p.suffer(nil)
	wantAll(t, "me", everywhere(all, "return String(await me())"), "200")
	wantNobodyOut(t, all)
	wantAll(t, "sessions", everywhere(all[:1], "return String((await client.sessions()).length)"), "1")
}

func TestOfflineAndBack(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 2)
	p.count(refreshPath)
	for _, tab := range all {
		tab.offline(true)
	}
	everywhere(all, "sleep(8 * 3600); return ''")
	wantAll(t, "offline", everywhere(all, "return await me() + ' ' + await outcome(client.logout())"), "TypeError TypeError")
	for _, tab := range all {
		tab.offline(false)
	}
	wantAll(t, "back", together(all, "return await me()"), "200")
	wantNobodyOut(t, all)
	if n := p.count(refreshPath); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestLogoutInOneTabSignsOutTheOthers(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 3)
	inPage[bool](all[0], "await client.logout(); return true")
	wantAll(t, "changes", everywhere(all[1:], `
		while (client.userId) await new Promise((resolve) => setTimeout(resolve, 10))
		return changes.join()`), "out by another")
	wantAll(t, "me", everywhere(all, "return await me()"), "invalid_refresh_token")
	wantAll(t, "changes", everywhere(all[1:], "return changes.join()"), "out by another")

	// Signed in again, as another user.
	inPage[bool](all[2], "await client.register('bob', alice[1]); await client.login('bob', alice[1]); return true")
	wantAll(t, "who", everywhere(all, "return (await client.me()).username"), "bob")
}

// The session is ended from another device: the first tab that finds out tells the others.
func TestEndOfSessionElsewhereReachesAllTabs(t *testing.T) {
	p, _ := startProxy(t, "LATCHKEY_REVOCATION_DELAY=0s")
	all := tabs(t, p, 3)
	phone := startBrowser(t)
	phone.open(p.url + "/blank")
	inPage[bool](phone, "await client.login(...alice); await client.endOtherSessions(); return true")
	wantAll(t, "me", everywhere(all[:1], "return await me()"), "invalid_refresh_token")
	wantAll(t, "changes", everywhere(all[1:], `
		while (client.userId) await new Promise((resolve) => setTimeout(resolve, 10))
		return changes.join()`), "out by another")
	inPage[bool](phone, "await client.me(); return true")
}

// While alice's call is under way, bob signs in, in another tab: what she has begun is not done in his name.
func TestCallOfOneUserIsNotMadeInTheNameOfTheNext(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 2)
	late, signedIn := make(chan struct{}), make(chan struct{})
	const password = "/api/user/password"
	p.suffer(only(password, 1, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		close(late)
		<-signedIn // and ended her session, in this browser
		forward.ServeHTTP(w, r)
	}))
	inPage[bool](all[0], "window.call = outcome(client.changePassword(alice[1], 'tall ships sail at midnight')); return true")
	await(t, late)
	inPage[bool](all[1], "await client.register('bob', alice[1]); await client.login('bob', alice[1]); return true")
	close(signedIn)
	wantAll(t, "the call", everywhere(all[:1], "return await call"), "user_changed")
	if n := p.count(password); n != 1 {
		t.Errorf("the call was made %d times", n)
	}
	wantAll(t, "who", everywhere(all, "return (await client.me()).username"), "bob")
}

// A sign-in waits for a refresh that is under way in another tab, so that the cookie of the sign-in comes last.
func TestSignInWaitsForRefresh(t *testing.T) {
	p, _ := startProxy(t)
	all := tabs(t, p, 2)
	hold, reached, release := holding(t)
	p.suffer(only(refreshPath, 1, hold))
	everywhere(all, "sleep(660); return ''")
	inPage[bool](all[0], "await client.register('bob', alice[1]); window.call = me(); return true")
	await(t, reached)
	p.count("/api/user/login")
	inPage[bool](all[1], "window.call = outcome(client.login('bob', alice[1])); await new Promise((resolve) => setTimeout(resolve, 300)); return true")
	if n := p.count("/api/user/login"); n != 0 {
		t.Error("the sign-in went past the refresh")
	}
	release()
	wantAll(t, "sign-in", everywhere(all[1:], "return await call"), "done")
	wantAll(t, "me", everywhere(all, "return (await client.me()).username"), "bob")
}
