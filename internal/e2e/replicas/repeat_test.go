//go:build e2e

package replicas

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// breaking listens on a free port, and breaks each connection off when it has read a request. It counts them.
func breaking(t *testing.T, requests *atomic.Int32) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				requests.Add(1)
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// Where a server breaks off after it has got a request, which it may have carried out, only that goes to another one
// which may come twice.
func TestNginxSendsOnlyThatTwiceWhichMayComeTwice(t *testing.T) {
	t.Parallel()
	for call, again := range map[[2]string]bool{
		{"GET", "/api/user/me"}:            true,
		{"POST", "/api/user/refresh"}:      true,
		{"POST", "/api/user/logout"}:       true,
		{"DELETE", "/api/user/sessions"}:   true,
		{"POST", "/api/user/login"}:        false,
		{"POST", "/api/user/register"}:     false,
		{"POST", "/api/user/password"}:     false,
		{"PATCH", "/api/admin/users/some"}: false,
	} {
		t.Run(call[0]+" "+call[1], func(t *testing.T) {
			var requests atomic.Int32
			port := freePort(t)
			startNginx(t, port, breaking(t, &requests), breaking(t, &requests))
			c := newClient(fmt.Sprintf("http://127.0.0.1:%d", port), nextAddress())
			a := c.want(t, http.StatusServiceUnavailable, call[0], call[1], "")
			wantOwn(t, a, http.StatusServiceUnavailable, "unavailable", "")
			if got := requests.Load(); got == 0 || got > 1 != again {
				t.Errorf("the servers got it %d times; more than once: want %t", got, again)
			}
		})
	}
}
