//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is one page in a Chromium of its own.
type browser struct {
	t   *testing.T
	ctx context.Context

	// expected are parts of messages about the network that the test brings about, beside those of refusals (4xx).
	expected []string

	mu       sync.Mutex
	problems []string
}

// openBrowser starts Chromium, watching for JavaScript errors, warnings of any kind, the violations of the
// Content-Security-Policy among them, and requests to hosts other than that of base.
func openBrowser(t *testing.T, base string) *browser {
	t.Helper()
	b := startBrowser(t)
	b.watch(base)
	return b
}

// startBrowser starts Chromium, whatever then goes wrong in it.
func startBrowser(t *testing.T, flags ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	// The profile is a temporary folder that chromedp makes and removes.
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(flags,
		chromedp.ExecPath(path),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-popup-blocking", true),
		chromedp.WindowSize(1280, 1000),
	)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)

	if err := chromedp.Do(ctx); err != nil { // so that it does not end with the time of what is done in it first
		t.Fatal(err)
	}
	return &browser{t: t, ctx: ctx}
}

// another opens another tab.
func (b *browser) another(options ...chromedp.ContextOption) *browser {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, options...)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	return &browser{t: b.t, ctx: ctx}
}

// watch has whatever goes wrong from now on fail the test.
func (b *browser) watch(base string) {
	t := b.t
	t.Helper()
	home, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(b.ctx, func(event any) {
		switch event := event.(type) {
		case *runtime.EventExceptionThrown:
			details, _ := json.Marshal(event.ExceptionDetails)
			b.problem("exception: %s", details)
		case *runtime.EventConsoleAPICalled:
			args, _ := json.Marshal(event.Args)
			if !slices.ContainsFunc(b.expected, func(part string) bool { return strings.Contains(string(args), part) }) {
				b.problem("console.%s: %s", event.Type, args)
			}
		case *log.EventEntryAdded:
			// The refusals that the test asks for are errors of the network to Chromium.
			expected := func(part string) bool { return strings.Contains(event.Entry.Text, part) }
			if event.Entry.Source != log.EntrySourceNetwork ||
				!slices.ContainsFunc(append(b.expected, "status of 4"), expected) {
				b.problem("%s: %s", event.Entry.Source, event.Entry.Text)
			}
		case *network.EventRequestWillBeSent:
			target, err := url.Parse(event.Request.URL)
			if err != nil || target.Scheme != "data" && target.Host != home.Host {
				b.problem("request to %.200s", event.Request.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, problem := range b.problems {
			t.Error("browser:", problem)
		}
	})
}

func (b *browser) problem(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

// run does the actions, within the time a person would wait for them.
func (b *browser) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.screenshot("failure")
		b.t.Fatalf("%s: %v", what, err)
	}
}

// click presses an element once the page stands still: a press on one that moves would miss it.
func click(xpath string) chromedp.Action[chromedp.Void] {
	still := chromedp.Evaluate[bool](`new Promise(resolve => {
		let last;
		const look = () => {
			const now = scrollY + "/" + document.documentElement.scrollHeight;
			now === last ? resolve(true) : setTimeout(look, 100);
			last = now;
		};
		look();
	})`, chromedp.EvalAwaitPromise)
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		if _, err := chromedp.ScrollIntoView(xpath)(ctx, target); err != nil {
			return chromedp.Void{}, err
		}
		if _, err := still(ctx, target); err != nil {
			return chromedp.Void{}, err
		}
		return chromedp.Click(xpath)(ctx, target)
	}
}

// typed types over what the field that has the focus holds.
func typed(text string) chromedp.Action[chromedp.Void] {
	all := chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl))
	return chromedp.Steps(all, chromedp.KeyEvent(text))
}

// value does the action, as run does, for what it returns.
func value[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	var result T
	b.run("read the page", func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
		result, err = action(ctx, target)
		return none, err
	})
	return result
}

// until waits for an expression to be true, also of a page that is yet to come.
func (b *browser) until(expression string) {
	b.t.Helper()
	b.run("wait for "+expression, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		for {
			if is, err := chromedp.Evaluate[bool](expression)(ctx, target); err == nil && is {
				return nil // an error means that the page of before has just gone
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}))
}

// sees waits until the page shows a text.
func (b *browser) sees(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// seesNo waits until the page does not show a text any more.
func (b *browser) seesNo(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("!document.body.innerText.includes(%q)", text))
}

// shows tells whether the page has the element now.
func (b *browser) shows(xpath string) bool {
	b.t.Helper()
	return value(b, chromedp.Evaluate[bool](fmt.Sprintf("document.evaluate(%q, document).iterateNext() !== null", xpath)))
}

// wantNothingStored checks that nothing is left where a script could read it in another visit.
func (b *browser) wantNothingStored() {
	b.t.Helper()
	stored := value(b, chromedp.Evaluate[string](
		`Object.keys(localStorage).concat(Object.keys(sessionStorage), document.cookie).join("")`))
	if stored != "" {
		b.t.Errorf("the browser stored %q", stored)
	}
}

// screenshot saves the whole page in the folder the environment names, if it does.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	image, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Error(err)
		return
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), image, 0o600); err != nil {
		b.t.Error(err)
	}
}
