//go:build e2e

package e2e

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// faults lists what keeps people from reading or using the page as it is.
//
//go:embed testdata/faults.js
var faults string

const (
	goodPassword = "correct horse battery staple"
	newPassword  = "nine lemons under a purple sky"
)

// openDemo opens the demo page in a new browser.
func openDemo(t *testing.T, url string) *browser {
	t.Helper()
	b := openBrowser(t, url)
	b.run("open the demo", chromedp.Navigate(url+"/demo/"))
	return b
}

// openAnother opens the demo page in another tab of the same browser or, with its own cookies, as another device would.
func (b *browser) openAnother(url string, device bool) *browser {
	b.t.Helper()
	var options []chromedp.ContextOption
	if device {
		options = append(options, chromedp.WithNewBrowserContext())
	}
	other := b.another(options...)
	other.watch(url)
	other.run("open the demo", chromedp.Navigate(url+"/demo/"))
	return other
}

// hasFocus waits until a heading or a button with this text, or the field with this id, has the focus and can be used.
func (b *browser) hasFocus(name string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`(({ textContent, id, disabled }) => [textContent, id].includes(%q) && !disabled)(document.activeElement)`, name))
}

// contains waits until a field, by its id, contains a text.
func (b *browser) contains(id, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.getElementById(%q).value === %q", id, text))
}

// lists waits until the page lists that many devices.
func (b *browser) lists(devices int) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelectorAll("#list li").length === %d`, devices))
}

// press clicks a button that people know by this name.
func (b *browser) press(button string) {
	b.t.Helper()
	b.run("press "+button, click(fmt.Sprintf(`//section[not(@hidden)]//button[not(@hidden) and normalize-space()=%q]`, button)))
}

// fill clicks a field and types over what it has.
func (b *browser) fill(id, text string) {
	b.t.Helper()
	b.run("fill "+id, click(fmt.Sprintf(`//input[@id=%q]`, id)), typed(text))
}

// register makes an account at a page where nobody is signed in, which signs in too.
func (b *browser) register(name, password string) {
	b.t.Helper()
	b.sees("Create an account or log in")
	b.fill("new-username", name)
	b.fill("first-password", password)
	b.press("Create account")
	b.hasFocus("Hello, " + name)
}

// signIn logs in at a page where nobody is signed in.
func (b *browser) signIn(name, password string) {
	b.t.Helper()
	b.sees("Create an account or log in")
	b.fill("username", name)
	b.fill("password", password)
	b.press("Log in")
	b.hasFocus("Hello, " + name)
}

// tabTo presses the Tab key until the element with this name (a button's text, a field's label) has the focus, and checks
// that the focus can be seen.
func (b *browser) tabTo(name string) {
	b.t.Helper()
	for range 80 {
		b.run("press Tab", chromedp.KeyEvent(kb.Tab))
		at := value(b, chromedp.Evaluate[string](`(() => {
			const at = document.activeElement
			if (at !== document.body && getComputedStyle(at).outlineStyle === "none") return "no outline on " + at.outerHTML
			return at.ariaLabel ?? at.labels?.[0]?.textContent ?? at.textContent.trim()
		})()`))
		if at == name {
			return
		}
		if strings.HasPrefix(at, "no outline") {
			b.t.Error("the focus cannot be seen:", at)
		}
	}
	b.screenshot("failure")
	b.t.Fatalf("the Tab key does not lead to %q", name)
}

// keys types keys to whatever has the focus.
func (b *browser) keys(keys string) {
	b.t.Helper()
	b.run("type", chromedp.KeyEvent(keys))
}

// preferring has the page shown as people like it who have set that color scheme, and that nothing moves.
func preferring(scheme string) chromedp.Action[chromedp.Void] {
	params := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}}
	return func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
		_, err = cdp.Call(ctx, target, emulation.SetEmulatedMedia, params)
		return none, err
	}
}

// look checks that everybody can read and use the page as it is now, on a large and a small screen, light and dark, and
// saves how it looks.
func (b *browser) look(name string) {
	b.t.Helper()
	packages, err := npmPackages()
	if err != nil {
		b.t.Fatal(err)
	}
	axe, err := os.ReadFile(filepath.Join(packages, "axe-core", "axe.min.js"))
	if err != nil {
		b.t.Fatal(err)
	}
	value(b, chromedp.Evaluate[bool](string(axe)+faults+"; true"))
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 375, 320} {
			b.run("change the screen", chromedp.EmulateViewport(width, 800), preferring(scheme))
			for _, fault := range value(b, chromedp.Evaluate[[]string]("faults()", chromedp.EvalAwaitPromise)) {
				b.t.Errorf("%s, %s, %d px: %s", name, scheme, width, fault)
			}
			b.screenshot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
		}
	}
	b.run("change the screen back", chromedp.EmulateViewport(1280, 1000))
}
