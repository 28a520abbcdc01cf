//go:build e2e

package e2e

import (
	"context"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestDemoByMouse does everything that the demo page offers, with the access token ending every few seconds.
func TestDemoByMouse(t *testing.T) {
	s := startServer(t, "LATCHKEY_ACCESS_TOKEN_TTL=5s", "LATCHKEY_REVOCATION_DELAY=0s")
	b := openDemo(t, s.url)
	b.sees("Create an account or log in")
	b.look("signed-out")

	b.fill("new-username", "al")
	b.fill("first-password", "123")
	b.press("Create account")
	b.sees("Username must have at least 3 characters.")
	b.sees("Password must have at least 8 characters.")
	b.hasFocus("new-username")
	b.contains("new-username", "al")
	b.look("refused-fields")

	b.register("alice", goodPassword)
	b.until(`document.title === "Hello, alice · Latchkey demo"`)
	b.sees("Roles: none")
	b.lists(1)
	b.sees("Chrome on Linux this one")
	b.look("signed-in")
	b.until(`document.querySelector("[role=timer]").closest("[aria-live], [role=status], [role=alert]") === null`)

	b.press("Call the protected resource")
	b.sees("403 Forbidden")
	b.sees("bin/latchkey user set-roles alice admin")
	b.look("forbidden")
	s.makeAdmin(t, "alice")
	b.press("Call the protected resource")
	b.sees("You are authorized to access this resource")
	b.sees("Roles: admin")
	b.seesNo("403 Forbidden")
	b.look("allowed")

	b.sees("The next call renews it.")
	b.press("Call the protected resource")
	b.sees("Renewed at ")
	b.look("renewed")

	b.press("Log out")
	b.sees("You are signed out.")
	b.until(`document.title === "Create an account or log in · Latchkey demo"`)
	b.fill("username", "alice")
	b.fill("password", "not this one")
	b.press("Log in")
	b.sees("Username or password is wrong.")
	b.contains("username", "alice")
	b.contains("password", "not this one")
	b.look("wrong-password")
	b.fill("new-username", "ALICE")
	b.fill("first-password", goodPassword)
	b.press("Create account")
	b.sees("Username already exists.")
	b.fill("password", goodPassword)
	b.press("Log in")
	b.sees("Hello, alice")

	walkDevices(b, s)

	b.press("Log out everywhere")
	b.sees("You are signed out on all devices.")
	b.look("signed-out-everywhere")
	b.wantNothingStored()
}

// walkDevices ends other devices one by one and together, and by a new password.
func walkDevices(b *browser, s server) {
	b.t.Helper()
	devices := make([]*browser, 3)
	for i := range devices {
		devices[i] = b.openAnother(s.url, true)
		devices[i].signIn("alice", goodPassword)
	}
	b.press("Reload the list")
	b.sees("The list is up to date.")
	b.lists(4)
	b.look("devices")
	b.run("end one", click(`//li[2]/button`))
	b.sees("That device is signed out.")
	b.lists(3)
	b.hasFocus("My devices")
	ended := 0
	for _, device := range devices {
		device.press("Call the protected resource")
		device.until(`/200 OK|Your session has ended: log in again/.test(document.body.innerText)`)
		if device.shows(`//section[@id="signed-out" and not(@hidden)]`) {
			ended++
			device.signIn("alice", goodPassword)
		}
	}
	if ended != 1 {
		b.t.Errorf("%d devices were signed out, want 1", ended)
	}

	b.press("End all others")
	b.sees("All other devices are signed out.")
	b.lists(1)
	for _, device := range devices {
		device.press("Reload the list")
		device.sees("Your session has ended: log in again.")
		device.signIn("alice", goodPassword)
	}

	b.fill("current-password", "not this one")
	b.fill("new-password", newPassword)
	b.press("Change password")
	b.sees("The current password is wrong.")
	b.fill("current-password", goodPassword)
	b.fill("new-password", "password123")
	b.press("Change password")
	b.sees("New password is one of the passwords that attackers try first")
	b.look("refused-password")
	b.fill("new-password", newPassword)
	b.press("Change password")
	b.sees("The password is changed, and all other devices are signed out.")
	b.contains("current-password", "")
	b.contains("new-password", "")
	b.look("password-changed")

	b.press("Log out")
	b.signIn("alice", newPassword)
	devices[0].press("Reload the list")
	devices[0].signIn("alice", newPassword)
	b.press("Log out everywhere")
	devices[0].press("Reload the list")
	devices[0].sees("Your session has ended: log in again.")
	b.signIn("alice", newPassword)
}

// TestDemoByKeyboard does the same with nothing but keys, looking at each step where the focus is.
func TestDemoByKeyboard(t *testing.T) {
	s := startServer(t, "LATCHKEY_REVOCATION_DELAY=0s")
	b := openDemo(t, s.url)
	b.sees("Create an account or log in")

	b.tabTo("Username")
	b.keys("alice")
	b.tabTo("Password")
	b.keys(goodPassword + kb.Enter)
	b.sees("Hello, alice")
	b.hasFocus("Hello, alice")
	b.screenshot("keyboard-heading")

	b.tabTo("Log out")
	b.screenshot("keyboard-button")
	b.keys(" ")
	b.sees("You are signed out.")
	b.hasFocus("Create an account or log in")

	b.tabTo("Create account") // behind it is the form to log in
	b.tabTo("Username")
	b.keys("alice")
	b.tabTo("Password")
	b.keys("not this one" + kb.Enter)
	b.sees("Username or password is wrong.")
	b.hasFocus("password")
	b.run("type over it", typed(goodPassword+kb.Enter))
	b.sees("Hello, alice")

	device := b.openAnother(s.url, true)
	device.signIn("alice", goodPassword)

	b.tabTo("Call the protected resource")
	b.keys(kb.Enter)
	b.sees("403 Forbidden")
	b.hasFocus("Call the protected resource")
	s.makeAdmin(t, "alice")
	b.keys(kb.Enter)
	b.sees("200 OK")

	b.tabTo("Current password")
	b.keys(goodPassword)
	b.tabTo("New password")
	b.keys("short" + kb.Enter)
	b.sees("New password must have at least 8 characters.")
	b.hasFocus("new-password")
	b.run("type over it", typed(newPassword+kb.Enter))
	b.sees("The password is changed")
	device.press("Reload the list")
	device.signIn("alice", newPassword)

	b.tabTo("Reload the list")
	b.keys(" ")
	b.sees("End all others")
	b.tabTo("End all others")
	b.keys(" ")
	b.sees("All other devices are signed out.")
	b.hasFocus("My devices")

	b.tabTo("Log out everywhere")
	b.keys(kb.Enter)
	b.sees("You are signed out on all devices.")
	b.hasFocus("Create an account or log in")
}

// On a small screen the message is over the page, but never over what has the focus.
func TestDemoMessageHidesNoFocus(t *testing.T) {
	s := startServer(t)
	s.register(t, "alice")
	b := openDemo(t, s.url)
	b.sees("Create an account or log in")
	b.run("make the window small", chromedp.EmulateViewport(320, 480))
	b.fill("new-username", "alice")
	b.fill("first-password", goodPassword)
	const middle = `(() => {
		const { left, right, top, bottom } = document.activeElement.getBoundingClientRect()
		return document.elementFromPoint((left + right) / 2, (top + bottom) / 2)
	})()`
	// The field is just below the upper edge, where the message will be.
	value(b, chromedp.Evaluate[bool](`scrollBy(0, document.activeElement.getBoundingClientRect().top - 10), true`))
	b.keys(kb.Enter)
	b.sees("Username already exists.")
	b.hasFocus("first-password")
	b.until(middle + ` === document.activeElement`)
}

// Where scripts are switched off, the page says so.
func TestDemoWithoutJavaScript(t *testing.T) {
	s := startServer(t)
	b := openBrowser(t, s.url)
	b.run("switch scripts off", func(ctx context.Context, target *chromedp.Target) (none chromedp.Void, err error) {
		_, err = cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return none, err
	})
	b.run("open the demo", chromedp.Navigate(s.url+"/demo/"), chromedp.WaitVisible(`//p[contains(., "switched off")]`))
	b.screenshot("no-javascript")
}
