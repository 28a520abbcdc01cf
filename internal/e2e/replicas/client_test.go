//go:build e2e

package replicas

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// password is everybody's.
const password = "correct horse battery staple"

// client is a client with an address of its own, a jar for the one cookie, and an access token in memory.
type client struct {
	http           *http.Client
	base           string
	cookie, access string
	headers        http.Header // sent with each call
}

var addresses atomic.Int32

// client makes a client that comes through nginx.
func (s *site) client() *client { return newClient(s.url, nextAddress()) }

// client makes a client that comes to this replica alone.
func (r *replica) client() *client { return newClient(r.url(), "127.0.0.1") }

// nextAddress is an address of this machine that nobody has had.
func nextAddress() string {
	n := addresses.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+n>>16&0x7f, n>>8&0xff, n&0xff)
}

func newClient(base, address string) *client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &client{base: strings.Replace(base, "localhost", "127.0.0.1", 1), headers: http.Header{}, http: &http.Client{
		Timeout: patience,
		// A connection for each request: on one that was kept, net/http would hide a fault by a second try.
		Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
	}}
}

// at is the same client, by another way.
func (c *client) at(r *replica) *client {
	other := *c
	other.base = r.url()
	other.http = newClient(r.url(), "127.0.0.1").http
	return &other
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	body   struct {
		AccessToken string `json:"access_token"`
		Code        string `json:"code"`
		Status      any    `json:"status"` // a number, but for readyz
		Type        string `json:"type"`
		Title       string `json:"title"`
		RequestID   string `json:"request_id"`
	}
}

// is tells whether it has that status and, unless it is "", that problem code.
func (a answer) is(status int, code string) bool { return a.status == status && a.body.Code == code }

func (a answer) String() string { return fmt.Sprintf("%d %s %.200s", a.status, a.body.Code, a.text) }

// call sends a request with what the client holds, and keeps what comes. The error says that there is no whole answer.
func (c *client) call(ctx context.Context, method, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, c.base+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, values := range c.headers {
		r.Header[name] = values
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	// As a front end: the cookie goes along to these by itself, the access token to the others.
	switch path {
	case "/api/user/refresh", "/api/user/logout", "/api/user/login":
		if c.cookie != "" {
			r.Header.Set("Cookie", "refresh_token="+c.cookie)
		}
	default:
		if c.access != "" {
			r.Header.Set("Authorization", "Bearer "+c.access)
		}
	}
	response, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, text: string(all)}
	if strings.Contains(response.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(all, &a.body); err != nil {
			return a, err
		}
	}
	for _, cookie := range response.Cookies() {
		c.cookie = cookie.Value
	}
	if a.body.AccessToken != "" {
		c.access = a.body.AccessToken
	}
	return a, nil
}

// decode reads the whole body of an answer.
func decode(t *testing.T, a answer, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), into); err != nil {
		t.Fatal(err)
	}
}

// want sends a request that must get that status.
func (c *client) want(t *testing.T, status int, method, path, body string) answer {
	t.Helper()
	a, err := c.call(t.Context(), method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	if a.status != status {
		t.Fatalf("%s %s: %v, want %d", method, path, a, status)
	}
	return a
}

// wantSignedIn checks that the session lives, at whatever server.
func (c *client) wantSignedIn(t *testing.T) {
	t.Helper()
	c.want(t, http.StatusOK, "POST", "/api/user/refresh", "")
	c.want(t, http.StatusOK, "GET", "/api/user/me", "")
}

// signUp makes an account, and signs in to it.
func (c *client) signUp(t *testing.T, name string) {
	t.Helper()
	c.want(t, http.StatusCreated, "POST", "/api/user/register", credentials(name))
	c.want(t, http.StatusOK, "POST", "/api/user/login", credentials(name))
}

// credentials is a body for register and login, with everybody's password or another one.
func credentials(name string, other ...string) string {
	return fmt.Sprintf(`{"username": %q, "password": %q}`, name, strings.Join(append(other, password)[:1], ""))
}
