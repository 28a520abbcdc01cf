//go:build e2e

package e2e

import (
	"os"
	"regexp"
	"testing"

	"github.com/chromedp/chromedp"
)

var readmeScript = regexp.MustCompile("(?s)```js\n(.*?)```")

// TestReadmeClient runs the client that the README shows, on a page of the server's.
func TestReadmeClient(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	client := readmeScript.FindSubmatch(readme)
	if client == nil {
		t.Fatal("the README shows no client")
	}
	server := startServer(t)
	b := openBrowser(t, server.url)
	b.run("open a page", chromedp.Navigate(server.url+"/swagger/"), chromedp.WaitVisible(".opblock"))
	got := value(b, chromedp.Evaluate[string](`(async () => {
		`+string(client[1])+`
		const seen = []
		const post = (path, body) => fetch("/api/user/" + path, { method: "POST",
			headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
		const alice = { username: "alice", password: "correct horse battery staple" }
		await post("register", alice)
		await post("login", alice)

		// A page that has just been loaded has no access token: several calls at once share one refresh.
		const names = await Promise.all([1, 2, 3].map(async () => (await (await api("/api/user/me")).json()).username))
		seen.push(names.join())

		accessToken = "worn out"
		seen.push((await api("/api/user/me")).status)

		await api("/api/user/logout", { method: "POST" })
		try { await api("/api/user/me") } catch (e) { seen.push(e instanceof SignedOut) }
		return seen.join(" ")
	})()`, chromedp.EvalAwaitPromise))
	if want := "alice,alice,alice 200 true"; got != want {
		t.Errorf("the client of the README did %q, want %q", got, want)
	}
}
