//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

var fenced = regexp.MustCompile("(?ms)^```(\\w*) ?(\\S*)\n(.*?)^```$")

// spaExamples returns the blocks of docs/spa.md by their names, which stand behind their languages.
var spaExamples = sync.OnceValues(func() (map[string]string, error) {
	page, err := os.ReadFile("../../docs/spa.md")
	if err != nil {
		return nil, err
	}
	examples := map[string]string{}
	blocks := fenced.FindAllSubmatch(page, -1)
	if 2*len(blocks) != bytes.Count(page, []byte("```")) {
		return nil, fmt.Errorf("a block of spa.md has no end")
	}
	for _, block := range blocks {
		name := string(block[2])
		if name == "" || examples[name] != "" {
			return nil, fmt.Errorf("a block of spa.md has no name of its own: %.60q", block[0])
		}
		examples[name] = string(block[3])
	}
	return examples, nil
})

func spaExample(t *testing.T, name string) string {
	t.Helper()
	examples, err := spaExamples()
	if err != nil {
		t.Fatal(err)
	}
	if examples[name] == "" {
		t.Fatalf("spa.md has no block %q", name)
	}
	return examples[name]
}

// What looks like an example is one that was run: there are none but those that the tests below take.
func TestExamplesOfSPAPageAreTested(t *testing.T) {
	examples, err := spaExamples()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range examples {
		names = append(names, name)
	}
	slices.Sort(names)
	const want = "api.ts app.js axios.ts curl index.html install latchkey.ts main.tsx policy raw.js types"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the blocks are %s, and tested are %s", got, want)
	}
}

// buildExamples does what spa.md says, with a compiler as strict as that of a new project, and returns the folder to serve.
func buildExamples(t *testing.T) string {
	t.Helper()
	a := newApp(t)
	for _, name := range []string{"index.html", "app.js", "latchkey.ts", "main.tsx", "api.ts", "raw.js", "axios.ts"} {
		a.write(name, spaExample(t, name))
	}
	const page = `<!doctype html><html lang="en"><title>An app</title><link rel="icon" href="/icon.svg">`
	a.write("icon.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`)
	a.write("blank.html", page)
	a.write("react.html", page+`<div id="root"></div><script type="module" src="/built/main.js"></script>`)
	a.write("tsconfig.json", `{
		"compilerOptions": {
			"strict": true, "noUnusedLocals": true, "noUnusedParameters": true, "noUncheckedIndexedAccess": true,
			"verbatimModuleSyntax": true, "target": "ES2022", "module": "ESNext", "moduleResolution": "bundler",
			"jsx": "react-jsx", "lib": ["ES2022", "DOM", "DOM.Iterable"], "types": [], "noEmit": true
		},
		"files": ["main.tsx", "api.ts", "axios.ts"]
	}`)
	a.run(spaExample(t, "install"))
	a.run(spaExample(t, "types"))
	a.run("tsc --project .")
	// What React finds wrong is in its development build. The hook keeps that from praising its tools on the console.
	a.run(`esbuild main.tsx api.ts axios.ts --bundle --splitting --format=esm --outdir=built --log-level=warning \
		--define:process.env.NODE_ENV='"development"' \
		--banner:js='globalThis.__REACT_DEVTOOLS_GLOBAL_HOOK__ = { isDisabled: true }'`)
	return a.folder
}

// serveExamples has the pages of a folder on one origin with Latchkey, under the policy that spa.md gives.
func serveExamples(t *testing.T, folder string) (*front, server) {
	t.Helper()
	f := newFront(t, "http", "localhost")
	s := startServer(t, "LATCHKEY_PUBLIC_URL="+f.url)
	policy := strings.Join(strings.Fields(spaExample(t, "policy")), " ")
	files := http.FileServer(http.Dir(folder))
	f.open(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		files.ServeHTTP(w, r)
	}), s.url)
	return f, s
}

// form types into the form of an example, and presses one of its buttons.
func (b *browser) form(name, password, button string) {
	b.t.Helper()
	for label, text := range map[string]string{"Username": name, "Password": password} {
		b.run("fill in "+label, click(fmt.Sprintf("//input[@aria-label=%q]", label)), typed(text))
	}
	b.button(button)
}

func (b *browser) button(text string) {
	b.t.Helper()
	b.run("press "+text, click(fmt.Sprintf("//button[normalize-space()=%q]", text)))
}

const formShown = `document.getElementById("form")?.hidden === false`

func TestExamplesOfSPAPage(t *testing.T) {
	folder := buildExamples(t)
	for name, test := range map[string]func(*testing.T, string){
		"a page in plain JavaScript": plainPage,
		"React":                      reactPage,
		"React without a connection": reactOffline,
		"types for every call":       typedCalls,
		"fetch alone":                fetchAlone,
		"axios":                      axiosAlone,
		"what the README shows":      readmePage,
	} {
		t.Run(name, func(t *testing.T) { test(t, folder) })
	}
}

// The README's lines run on a page whose origin the server does not know, as behind the proxy of a developer's tool.
func readmePage(t *testing.T, folder string) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```js\n(.*?)```").FindSubmatch(readme)
	if shown == nil {
		t.Fatal("the README shows no client")
	}
	script := append(shown[1], "\nexport default [answer.status, client.userId].join()"...)
	if err := os.WriteFile(filepath.Join(folder, "readme.js"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFront(t, "http", "localhost")
	s := startServer(t)
	f.open(t, http.FileServer(http.Dir(folder)), s.url)
	s.register(t, "alice")
	b := startBrowser(t)
	b.run("open a page", chromedp.Navigate(f.url+"/blank.html"))
	b.wants("the README", `return (await import("/readme.js")).default`, "403,")
}

func plainPage(t *testing.T, folder string) {
	f, s := serveExamples(t, folder)
	b := openBrowser(t, f.url)
	b.run("open the page", chromedp.Navigate(f.url))
	b.until(formShown)
	b.screenshot("spa-plain-form")
	b.form("alice", goodPassword, "Sign in")
	b.sees("Wrong name or password.")
	b.form("alice", "short", "Sign up")
	b.sees("The password must have at least 8 characters.")
	b.form("alice", goodPassword, "Sign up")
	b.sees("Hello, alice. You are signed in here:")
	b.sees("(this browser)")
	b.screenshot("spa-plain-home")
	b.button("Fetch what only admins get")
	b.sees("The server answered 403.")

	_, phone := post(t, s.url+"/api/user/login", alice)
	wantPhoneOut := func() {
		t.Helper()
		if status, _ := post(t, s.url+refreshPath, "", phone...); status != http.StatusBadRequest {
			t.Errorf("the phone's refresh answers %d after it was signed out", status)
		}
	}
	b.run("load the page again", chromedp.Reload())
	b.sees("A phone")
	b.button("Sign out there")
	b.until(`document.querySelectorAll("li").length === 1`)
	wantPhoneOut()
	b.wantNothingStored()

	other := b.page(f.url)
	other.sees("Hello, alice")
	other.button("Sign out")
	b.until(formShown + ` && document.getElementById("home").hidden`)
	b.form("alice", goodPassword, "Sign in")
	other.sees("Hello, alice")
	_, phone = post(t, s.url+"/api/user/login", alice)
	b.button("Sign out everywhere")
	b.until(formShown)
	wantPhoneOut()
}

func reactPage(t *testing.T, folder string) {
	f, s := serveExamples(t, folder)
	s.register(t, "alice", "bob")
	b := openBrowser(t, f.url)
	b.run("open the page", chromedp.Navigate(f.url+"/react.html"), chromedp.WaitVisible("form"))
	b.screenshot("spa-react-form")
	b.form("alice", "not her password", "Sign in")
	b.sees("wrong")
	b.form("alice", goodPassword, "Sign in")
	b.sees("Hello, alice")
	b.screenshot("spa-react-home")
	b.run("load the page again", chromedp.Reload())
	b.sees("Hello, alice")

	other := b.page(f.url + "/react.html")
	other.sees("Hello, alice")
	other.button("Sign out")
	b.run("see the form", chromedp.WaitVisible("form"))
	other.form("bob", goodPassword, "Sign in")
	b.sees("Hello, bob")
	inPage[bool](other, `await (await import("/client.js")).createClient().login("alice", "`+goodPassword+`"); return true`)
	b.sees("Hello, alice")
	b.wantNothingStored()
}

func reactOffline(t *testing.T, folder string) {
	f, _ := serveExamples(t, folder)
	f.suffer(answering(http.StatusBadGateway, "text/html", ""))
	b := startBrowser(t)
	b.run("open the page", chromedp.Navigate(f.url+"/react.html"))
	b.sees("Loading")
	b.sees("No connection. Try again.")
	f.suffer(nil)
	b.button("No connection. Try again.")
	b.run("see the form", chromedp.WaitVisible("form"))
}

func typedCalls(t *testing.T, folder string) {
	f, s := serveExamples(t, folder)
	s.register(t, "alice")
	b := openBrowser(t, f.url)
	for _, want := range []string{"forbidden", "user.login"} {
		b.run("open the page", chromedp.Navigate(f.url))
		b.until(formShown)
		b.form("alice", goodPassword, "Sign in")
		b.sees("Hello, alice")
		inPage[bool](b, `window.newest = (await import("/built/api.js")).newestEvents; return true`)
		// Events come a second late.
		b.until(fmt.Sprintf(`newest().then((events) => { window.events = String(events) }) && window.events?.includes(%q)`, want))
		s.makeAdmin(t, "alice")
		b.button("Sign out")
		b.until(formShown)
	}
}
