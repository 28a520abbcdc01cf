package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// padded is a request of just so many bytes up to its body.
func padded(start, end string, n int) string {
	end += "\r\n\r\n"
	return start + strings.Repeat("a", n-len(start)-len(end)) + end
}

func TestHeaderSize(t *testing.T) {
	f := newFixture(t)
	many := "GET /livez HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("X-A: b\r\n", 1900)
	for name, c := range map[string]struct{ start, end string }{
		"one header":       {"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ", ""},
		"one cookie":       {"GET /livez HTTP/1.1\r\nHost: localhost\r\nCookie: a=", ""},
		"many headers":     {many + "X-B: ", ""},
		"a query":          {"GET /livez?", " HTTP/1.1\r\nHost: localhost"},
		"an absolute path": {"GET http://localhost/livez?", " HTTP/1.1\r\nHost: localhost"},
		"a long name":      {"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-", ": a"},
		"a long host":      {"GET /livez HTTP/1.1\r\nHost: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for n, want := range map[int]int{
				sixteenKiB - 100: http.StatusOK, sixteenKiB: http.StatusOK,
				sixteenKiB + 100: http.StatusRequestHeaderFieldsTooLarge, 2*sixteenKiB - 1: http.StatusRequestHeaderFieldsTooLarge,
			} {
				a := f.rawAnswer(t, padded(c.start, c.end, n))
				if a.StatusCode != want {
					t.Errorf("%d bytes: %d, want %d", n, a.StatusCode, want)
				}
				if want != http.StatusOK {
					wantProblem(t, a, want, "headers_too_large")
				}
			}
		})
	}
	t.Run("whatever the call", func(t *testing.T) {
		for _, call := range append(everyCall, struct{ method, path string }{"GET", "/nothing"}) {
			a := f.do(t, call.method, call.path, "", "Cookie", "tracking="+strings.Repeat("a", sixteenKiB))
			if a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s %s: %d", call.method, call.path, a.StatusCode)
			}
		}
	})
}

// rawAnswer sends bytes as they are and holds the answer against the document.
func (f *fixture) rawAnswer(t *testing.T, request string) answer {
	t.Helper()
	conn := dial(t, f.Listener.Addr())
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	a := readAnswer(t, bufio.NewReader(conn), f.request(t, http.MethodGet, "/livez", ""))
	f.seen.note(a)
	if err := f.check(a); err != nil {
		t.Error(err)
	}
	return a
}

// Whatever is in the jar, refresh answers by a problem, nothing of it gets into the log, and logout still clears it.
func TestOddCookies(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	h := f.signIn(t, "alice")
	own := "refresh_token=" + h.refresh
	others := func(n, size int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "canary%d=%s; ", i, strings.Repeat("a", size))
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		cookies string
		want    int
	}{
		"8 KiB under our name":       {"refresh_token=" + strings.Repeat("A", 8<<10), 400},
		"16 KiB under our name":      {"refresh_token=" + strings.Repeat("A", 16<<10), 431},
		"200 cookies without ours":   {others(200, 20), 400},
		"ours after 200 cookies":     {others(200, 20) + own, 200},
		"ours among too many":        {others(2000, 20) + own, 431},
		"ours 200 times":             {strings.Repeat(own+"; ", 100), 400},
		"8 KiB of somebody else's":   {"canary=" + strings.Repeat("a", 8<<10) + "; " + own, 200},
		"bytes that are no UTF-8":    {"refresh_token=canary\xff\xfe" + h.refresh, 400},
		"a tab and a quote":          {"refresh_token=\"canary\t\"", 400},
		"an escape":                  {"refresh_token=canary%0a%1b[31m", 400},
		"a right-to-left mark":       {"refresh_token=canary\u202e" + h.refresh, 400},
		"a log line":                 {`refresh_token={"level":"ERROR","msg":"canary"}`, 400},
		"separators only":            {";;;===;;; ,,,", 400},
		"ours beside such a name":    {"REFRESH_TOKEN=canary; " + own, 200},
		"such a name alone":          {"REFRESH_TOKEN=" + h.refresh, 400},
		"the name of https, in caps": {"__HOST-refresh_token=" + h.refresh, 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.do(t, http.MethodPost, "/api/user/refresh", "", "Cookie", c.cookies)
			wantStatus(t, a, c.want)
			if c.want == http.StatusBadRequest {
				wantProblem(t, a, c.want, "invalid_refresh_token")
				logout := f.do(t, http.MethodPost, "/api/user/logout", "", "Cookie", strings.ReplaceAll(c.cookies, h.refresh, "gone"))
				wantStatus(t, logout, http.StatusNoContent)
			}
		})
	}
	if strings.Contains(f.logs.String(), "canary") {
		t.Error("a cookie is in the log")
	}
	wantStatus(t, f.refresh(t, h.refresh), http.StatusOK)
}
