//go:build e2e

package e2e

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// startDemo starts the program behind a proxy.
func startDemo(t *testing.T) *proxy {
	t.Helper()
	f := newFront(t, "http", "localhost")
	s := startServer(t, "LATCHKEY_PUBLIC_URL="+f.url)
	f.open(t, f.proxy, s.url)
	return f.proxy
}

// unreachable breaks off, before they have reached the server, the calls whose path begins so.
func unreachable(path string) fault {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if strings.HasPrefix(r.URL.Path, path) {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}
}

// A page whose program does not come says so, instead of staying empty.
func TestDemoWithoutItsFiles(t *testing.T) {
	for _, missing := range []string{"/demo/demo.js", "/client.js"} {
		p := startDemo(t)
		p.suffer(only(missing, 100, answering(http.StatusNotFound, "text/plain", "")))
		b := startBrowser(t)
		b.run("open the demo", chromedp.Navigate(p.url+"/demo/"), chromedp.WaitVisible(`//p[contains(., "could not be loaded")]`))
	}
}

// A server that gives no answer signs nobody out, and loses nothing of what was typed.
func TestDemoWhileTheServerIsAway(t *testing.T) {
	p := startDemo(t)
	b := openDemo(t, p.url)
	b.expected = []string{"net::ERR_", "Failed to fetch"}
	b.sees("Create an account or log in")

	p.suffer(unreachable("/api/"))
	b.fill("new-username", "alice")
	b.fill("first-password", goodPassword)
	b.press("Create account")
	b.sees("No answer from the server. Check the connection and try again.")
	b.look("away-register")
	p.suffer(unreachable("/api/user/login"))
	b.press("Create account") // what was typed is still there
	b.sees("No answer from the server. Check the connection and try again.")
	p.suffer(nil)
	b.press("Log in") // and so it is where the account is made and only the sign-in has failed
	b.sees("Hello, alice")
	b.look("away-back")

	p.suffer(unreachable("/api/"))
	b.press("Call the protected resource")
	b.sees("No answer from the server. Check the connection and try again.")
	b.sees("Hello, alice")

	b.run("load the page again", chromedp.Reload())
	b.sees("Cannot reach the server")
	b.sees("Nobody has been signed out")
	b.until(`document.title === "Cannot reach the server · Latchkey demo"`)
	b.look("away")
	b.press("Try again")
	b.run("wait for the second failure", chromedp.WaitEnabled(`//form[@id="again"]/button`))
	b.sees("Cannot reach the server")
	p.suffer(nil)
	b.press("Try again")
	b.sees("Hello, alice")
	b.hasFocus("Hello, alice")
}

// A database that cannot be written is a 503, and a limit is a 429: both say how long to wait.
func TestDemoSaysHowLongToWait(t *testing.T) {
	s := startServer(t, "LATCHKEY_LIMIT_LOGIN=1/10m")
	b := openDemo(t, s.url)
	b.expected = []string{"status of 503"}
	b.sees("Create an account or log in")
	b.fill("new-username", "alice")
	b.fill("first-password", goodPassword)
	release := s.lockDatabase(t)
	b.press("Create account")
	b.sees("The server cannot do this at the moment. Try again in 2 seconds.")
	b.look("unavailable")
	release()
	b.press("Create account")
	b.sees("Hello, alice")

	b.fill("current-password", "not this one")
	b.fill("new-password", newPassword)
	b.press("Change password")
	b.sees("The current password is wrong.")
	b.press("Change password")
	b.sees("That was tried too often. Try again in 10 minutes.")
	b.look("too-many")
}

// lockDatabase keeps the server from writing until the returned function is called.
func (s server) lockDatabase(t *testing.T) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.folder, "data", "latchkey.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A form that is sent twice is sent once.
func TestDemoSendsOnce(t *testing.T) {
	p := startDemo(t)
	b := openDemo(t, p.url)
	b.sees("Create an account or log in")
	b.fill("new-username", "alice")
	b.fill("first-password", goodPassword)
	disabled := value(b, chromedp.Evaluate[bool](`(() => {
		const button = document.querySelector("#register button")
		button.click()
		button.click()
		return button.disabled
	})()`))
	if !disabled {
		t.Error("the button can be pressed while its call is under way")
	}
	b.sees("Hello, alice")
	for _, call := range []string{"register", "login", "me", "sessions"} {
		p.wantCount(t, "/api/user/"+call, 1)
	}
}
