package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/internal/config"
)

func identified(proxies []string, r *http.Request) (seen *http.Request) {
	s := &server{Dependencies: Dependencies{Config: &config.Config{TrustedProxies: proxies}}}
	s.identify(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r })).ServeHTTP(httptest.NewRecorder(), r)
	return seen
}

// A client has one address, however its connection spells it, and one that is not known is no address.
func TestAddressOfAConnection(t *testing.T) {
	for name, proxies := range map[string][]string{"without a proxy": nil, "behind another proxy": {"10.0.0.0/8"}, "behind a proxy": {
		"203.0.113.0/24", "2001:db8::/32", "fe80::/10",
	}} {
		for remote, want := range map[string]string{
			"203.0.113.7:51234": "203.0.113.7", "[::ffff:203.0.113.7]:1": "203.0.113.7", "[2001:db8::1]:1": "2001:db8::1",
			"[fe80::1%eth0]:1": "fe80::1%eth0", "@": "", "": "", "junk:1": "",
		} {
			for _, forwarded := range []string{"", "junk"} { // which a proxy that says nothing usable stands for itself with
				r := httptest.NewRequest(http.MethodGet, "/livez", http.NoBody)
				r.RemoteAddr = remote
				r.Header.Set("X-Forwarded-For", forwarded)
				got := clientAddress(identified(proxies, r))
				if got.IsValid() != (want != "") || got.IsValid() && got.String() != want {
					t.Errorf("%s, %q with X-Forwarded-For %q is %v, want %q", name, remote, forwarded, got, want)
				}
			}
		}
	}
}

func TestEveryRequestHasADeadline(t *testing.T) {
	for _, proxies := range [][]string{nil, {"192.0.2.0/24"}} {
		latest := time.Now().Add(requestDeadline)
		at, limited := identified(proxies, httptest.NewRequest(http.MethodGet, "/livez", http.NoBody)).Context().Deadline()
		if !limited || at.Before(latest) || at.After(time.Now().Add(requestDeadline)) {
			t.Errorf("the deadline is %v, %t, want one in %v", at, limited, requestDeadline)
		}
	}
}
