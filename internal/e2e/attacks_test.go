//go:build e2e

package e2e

import (
	"database/sql"
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/store/storetest"

	"github.com/chromedp/chromedp"
	_ "modernc.org/sqlite" // the server's database, to look into
)

// attacks is what a page of another origin tries while its visitor is signed in. Each kind returns what it could read.
//
//go:embed testdata/attacks.js
var attacks string

const alice = `{"username": "alice", "password": "` + goodPassword + `"}`

// inPage runs statements of a script, and returns what it returns.
func inPage[T any](b *browser, statements string) T {
	b.t.Helper()
	return value(b, chromedp.Evaluate[T]("(async () => {"+statements+"})()", chromedp.EvalAwaitPromise))
}

// visitedBy signs alice in on the server's own page, as she would be reached at that host name, with her browser.
func visitedBy(t *testing.T, home string) *browser {
	t.Helper()
	b := startBrowser(t)
	b.run("open the server's page", chromedp.Navigate(home+"/swagger/"), chromedp.WaitVisible(".opblock"))
	got := inPage[string](b, `
		const post = (call) => fetch("/api/user/" + call, { method: "POST", headers: { "Content-Type": "application/json" }, body: `+"`"+alice+"`"+` })
		const statuses = [(await post("register")).status, (await post("login")).status]
		const refreshed = await post("refresh")
		const token = (await refreshed.json()).access_token
		const me = await fetch("/api/user/me", { headers: { Authorization: "Bearer " + token } })
		return [...statuses, refreshed.status, me.status].join(" ")`)
	if got != "201 200 200 200" {
		t.Fatalf("alice's sign-in: %s", got)
	}
	return b
}

// rows is all that the database knows of users and sessions.
func (s server) rows(t *testing.T) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.folder, "data", "latchkey.db")+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var found []string
	for _, query := range []string{"SELECT * FROM users ORDER BY id", "SELECT * FROM sessions ORDER BY id"} {
		found = append(found, storetest.Rows(t, db, query)...)
	}
	return found
}

// attacker serves an empty page, and returns where, under each of two names of this host: localhost, which is the same
// site as a server there, and 127.0.0.1, which is another.
func attacker(t *testing.T) (sameSite, crossSite string) {
	t.Helper()
	page := newFront(t, "http", "localhost")
	page.open(t, nil, "")
	return page.url, strings.Replace(page.url, "localhost", "127.0.0.1", 1)
}

// launch opens the attacker's page in alice's browser and has it try everything; it returns what the page could read.
func launch(b *browser, from, target string) []string {
	b.t.Helper()
	b.run("open the attacker's page", chromedp.Navigate(from+"/"))
	var read []string
	for _, attack := range []string{"forms", "blind", "embedded", "cors"} {
		read = append(read, inPage[[]string](b, fmt.Sprintf("%s\nreturn await %s(%q)", attacks, attack, target))...)
	}
	return read
}

// A page of another origin, of the same site or not, changes nothing and reads nothing, whatever way the browser has of
// sending requests. With SameSite=Lax, and from the same site also with Strict, the browser sends the cookie with some.
func TestPagesOfOtherOriginsDoNothing(t *testing.T) {
	for _, setting := range []string{"strict", "lax"} {
		sameSite, crossSite := attacker(t)
		for relation, from := range map[string]string{"same site": sameSite, "another site": crossSite} {
			t.Run(setting+" cookies, "+relation, func(t *testing.T) {
				s := startServer(t, "LATCHKEY_COOKIE_SAMESITE="+setting)
				home := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
				b := visitedBy(t, home)
				before := s.rows(t)
				if len(before) != 2 {
					t.Fatalf("before: %q", before)
				}
				if read := launch(b, from, home); len(read) > 0 {
					t.Errorf("the page could read %q", read)
				}
				if after := s.rows(t); !slices.Equal(after, before) {
					t.Errorf("the database was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
				}
				if read := inPage[[]string](b, fmt.Sprintf("%s\nreturn await opened(%q, '/demo/')", attacks, home)); len(read) > 0 {
					t.Errorf("the page could read %q", read)
				}
				b.run("open the server's page again", chromedp.Navigate(home+"/swagger/"), chromedp.WaitVisible(".opblock"))
				name := inPage[string](b, `
					const refreshed = await (await fetch("/api/user/refresh", { method: "POST" })).json()
					const me = await fetch("/api/user/me", { headers: { Authorization: "Bearer " + refreshed.access_token } })
					return (await me.json()).username`)
				if name != "alice" {
					t.Errorf("the browser is signed in as %q", name)
				}
			})
		}
	}
}

// The same page where the operator has allowed its origin: now it can do it all, so the attacks are real.
func TestPagesOfAllowedOriginsDo(t *testing.T) {
	from, _ := attacker(t)
	s := startServer(t, "LATCHKEY_ALLOWED_ORIGINS="+from)
	home := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
	b := visitedBy(t, home)
	before := s.rows(t)
	read := launch(b, from, home)
	for _, want := range []string{"cors register 201", "cors login 200", "cors refresh 200", "cors logout 204", "cors GET /livez 200"} {
		if !slices.Contains(read, want) {
			t.Errorf("the page could not %s, only %q", want, read)
		}
	}
	after := s.rows(t)
	if len(after) <= len(before) || slices.Contains(after, before[1]) {
		t.Errorf("the database was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}
