//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// What the tests know of the API, apart from the four operations on /api/user/.
const (
	// protectedPath answers GET with 200 for admins, 403 for other users and 401 without an access token.
	protectedPath = "/api/user/protected"
	// credentials is the body of both register and login, for one user name.
	credentials = `{"username": "%s", "password": "` + goodPassword + `"}`
)

// TestSwaggerUI does what a developer does at /swagger/, by mouse and keyboard in a real browser: registers,
// logs in and calls the protected resource without ever opening "Authorize".
func TestSwaggerUI(t *testing.T) {
	for _, test := range []struct {
		name      string
		admin     bool
		protected string
		answer    string
	}{
		{name: "admin", admin: true, protected: "200"},
		{name: "plain", admin: false, protected: "403", answer: "forbidden"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := startServer(t)
			user := "swagger-" + test.name
			body := fmt.Sprintf(credentials, user)

			b := openBrowser(t, server.url)
			b.run("open the page", chromedp.Navigate(server.url+"/swagger/"), chromedp.WaitVisible(".opblock"))
			b.screenshot(test.name + "-00-page")
			b.wantAuthorized(false)

			b.execute("get", protectedPath, "", "401")
			b.execute("post", "/api/user/register", body, "201")
			b.screenshot(test.name + "-01-register")
			if test.admin {
				server.makeAdmin(t, user)
			}
			b.execute("post", "/api/user/login", body, "200")
			b.screenshot(test.name + "-02-login")
			for header, want := range map[string]bool{"Set-Cookie": true, "Retry-After": true, "X-Request-Id": false} {
				if got := b.shows(fmt.Sprintf(`//*[@id="operations-User-login"]//td[normalize-space()=%q]`, header)); got != want {
					t.Errorf("the header %s is documented: %t, want %t", header, got, want)
				}
			}
			b.wantAuthorized(true)

			answer := b.execute("get", protectedPath, "", test.protected)
			b.screenshot(test.name + "-03-protected")
			if !strings.Contains(answer, test.answer) {
				t.Errorf("the protected answer lacks %q: %s", test.answer, answer)
			}

			// Another visit knows no access token any more, and the refresh cookie brings a new one.
			b.run("open the page again", chromedp.Navigate(server.url+"/swagger/"), chromedp.WaitVisible(".opblock"))
			b.wantAuthorized(false)
			b.execute("post", "/api/user/refresh", "", "200")
			b.screenshot(test.name + "-04-refresh")
			b.wantAuthorized(true)
			b.execute("get", protectedPath, "", test.protected)

			b.execute("post", "/api/user/logout", "", "204")
			b.screenshot(test.name + "-05-logout")
			b.wantAuthorized(false)
			b.execute("get", protectedPath, "", "401")
			b.screenshot(test.name + "-06-protected")
			b.execute("post", "/api/user/refresh", "", "400")
			b.wantAuthorized(false)
			b.wantNothingStored()
		})
	}
}

// execute runs one operation: expands it unless it is open, types the body if there is one, presses Execute,
// waits for the answer with the wanted status and returns the answer as shown.
func (b *browser) execute(method, path, body, status string) string {
	b.t.Helper()
	what := method + " " + path
	block := fmt.Sprintf(`//div[contains(@class, "opblock-%s")][.//*[@data-path="%s"]]`, method, path)
	within := func(class string) string {
		return fmt.Sprintf(`%s//*[contains(concat(" ", @class, " "), " %s ")]`, block, class)
	}

	if !b.shows(within("execute")) {
		b.run(what+": expand", click(block+`//*[@data-path]`))
	}
	if b.shows(within("btn-clear")) {
		b.run(what+": clear", click(within("btn-clear")), chromedp.WaitNotPresent(within("live-responses-table")))
	}
	if body != "" {
		b.run(what+": fill", click(within("body-param__text")), typed(body))
	}
	b.run(what+": execute", click(within("execute")))
	answer := value(b, chromedp.Text(within("live-responses-table")+`/tbody/tr`))
	got, _, _ := strings.Cut(strings.TrimSpace(answer), "\t")
	if got = strings.TrimSpace(got); got != status {
		b.screenshot("failure")
		b.t.Fatalf("%s: answered %s, want %s: %s", what, got, status, answer)
	}
	return answer
}

// wantAuthorized checks the padlock of the Authorize button.
func (b *browser) wantAuthorized(want bool) {
	b.t.Helper()
	lock := ".btn.authorize.unlocked"
	if want {
		lock = ".btn.authorize.locked"
	}
	b.run("wait for "+lock, chromedp.WaitVisible(lock))
}
