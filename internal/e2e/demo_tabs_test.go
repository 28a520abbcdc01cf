//go:build e2e

package e2e

import (
	"bytes"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// What one tab does, the others show at once, and say so.
func TestDemoFollowsOtherTabs(t *testing.T) {
	s := startServer(t, "LATCHKEY_REVOCATION_DELAY=0s")
	b := openDemo(t, s.url)
	other := b.openAnother(s.url, false)
	other.sees("Create an account or log in")
	b.register("alice", goodPassword)
	other.sees("Hello, alice")
	other.sees("Signed in in another tab.")
	other.look("tab-signed-in")

	other.press("Log out")
	other.sees("You are signed out.")
	b.sees("Create an account or log in")
	b.sees("Signed out in another tab.")
	b.look("tab-signed-out")

	// Another user's sign-in is shown too, whatever was on the page of the one before.
	other.signIn("alice", goodPassword)
	b.sees("Hello, alice")
	b.press("Call the protected resource")
	b.sees("set-roles alice admin")
	other.press("Log out")
	b.sees("Signed out in another tab.")
	b.register("bob", newPassword)
	other.sees("Hello, bob")
	b.seesNo("403 Forbidden")
	b.seesNo("alice")

	// A tab that is opened later is signed in.
	b.openAnother(s.url, false).sees("Hello, bob")
}

// Any user name is shown as it is, and the command that makes its owner an admin does that and nothing else.
func TestDemoShowsAnyName(t *testing.T) {
	s := startServer(t, "LATCHKEY_REVOCATION_DELAY=0s", "LATCHKEY_LIMIT_LOGIN=off")
	for what, name := range map[string]string{
		"long":          strings.Repeat("w", 64),
		"right-to-left": "מיכאל אבולעפיה",
		"emoji":         "😀🚀🔑",
		"hostile":       `'"; touch x; <img src=x onerror=alert(1)> $(id)`,
		"option":        "--help",
	} {
		t.Run(what, func(t *testing.T) {
			b := openDemo(t, s.url)
			b.register(name, goodPassword)
			b.press("Call the protected resource")
			b.sees("403 Forbidden")
			b.look("name-" + what)

			shown := value(b, chromedp.Evaluate[string](`document.getElementById("command").textContent`))
			path, err := binary()
			if err != nil {
				t.Fatal(err)
			}
			shell := s.command("sh", "-c", strings.Replace(shown, "bin/latchkey", path, 1))
			if out, err := shell.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", shown, err, out)
			}
			b.press("Call the protected resource")
			b.sees("200 OK")
			b.sees("Roles: admin")
		})
	}
	if files, err := os.ReadDir(s.folder); err != nil || len(files) != 1 {
		t.Errorf("the server's folder has %v, %v, want nothing but data", files, err)
	}
}

// As many devices as there can be are one list, in which each can be told from the others.
func TestDemoListsManyDevices(t *testing.T) {
	s := startServer(t)
	b := openDemo(t, s.url)
	b.register("alice", goodPassword)

	const (
		chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
		phone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
		mac    = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
	)
	agents := map[string]string{
		"Firefox on Linux":                   "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Edge on Windows":                    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + chrome + "Safari/537.36 Edg/140.0.0.0",
		"Opera on Windows":                   "Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + chrome + "Safari/537.36 OPR/124.0.0.0",
		"Chrome on Android":                  "Mozilla/5.0 (Linux; Android 10; K) " + chrome + "Mobile Safari/537.36",
		"Safari on macOS":                    mac + "Version/18.5 Safari/605.1.15",
		"Safari on iOS":                      phone + "Version/18.5 Mobile/15E148 Safari/604.1",
		"Chrome on iOS":                      phone + "CriOS/140.0.0.0 Mobile/15E148 Safari/604.1",
		"curl":                               "curl/8.14.1",
		"Unknown device":                     "",
		"No end: " + strings.Repeat("W", 32): "No end: " + strings.Repeat("W", 300),
	}
	signIn := func(agent string) {
		body := bytes.NewReader([]byte(`{"username": "alice", "password": "` + goodPassword + `"}`))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/user/login", body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("User-Agent", agent)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatal(response.Status)
		}
	}
	signIns := 1
	for _, agent := range agents {
		signIn(agent)
		signIns++
	}
	for ; signIns < 20; signIns++ {
		signIn("curl/8.14.1")
	}
	b.press("Reload the list")
	b.sees("The list is up to date.")
	b.lists(20)
	shown := value(b, chromedp.Evaluate[map[string]string](`Object.fromEntries(
		[...document.querySelectorAll("#list strong")].map((device) => [device.title, device.textContent]))`))
	for want, agent := range agents {
		if got := shown[agent[:min(len(agent), 255)]]; got != want {
			t.Errorf("%q is shown as %q, want %q", agent, got, want)
		}
	}
	b.look("twenty-devices")
	b.press("End all others")
	b.sees("All other devices are signed out.")
	b.lists(1)
}
