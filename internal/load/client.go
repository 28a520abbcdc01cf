package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// patience bounds one call. The server gives itself 10 s.
const patience = 15 * time.Second

// client is a user's program with a connection of its own, on which it waits for each answer before it asks again. net/http's
// client would cost more than what is to be measured: it has three goroutines and two queues for each connection.
type client struct {
	address string
	name    string
	// pause is what it waits after each call.
	pause time.Duration
	// access and refresh are the tokens that it holds: the header's and the cookie's.
	access, refresh string

	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

const password = "correct horse battery staple"

func newClient(address, name string) *client { return &client{address: address, name: name} }

// call makes a call, with a bearer token or a cookie, and returns the body of an answer that is a success.
func (c *client) call(method, path, body, bearer, cookie string) ([]byte, error) {
	a, err := c.exchange(method, path, body, bearer, cookie)
	if err != nil || a.last {
		c.close()
	}
	if err != nil {
		return nil, err
	}
	for _, set := range a.cookies {
		if set.Name == "refresh_token" {
			c.refresh = set.Value
		}
	}
	if a.status/100 != 2 {
		return nil, statusError(a.status)
	}
	return a.body, nil
}

// reply is an answer. last says that its connection takes no further call.
type reply struct {
	status  int
	cookies []*http.Cookie
	body    []byte
	last    bool
}

// statusError is an answer that is no success.
type statusError int

func (e statusError) Error() string { return strconv.Itoa(int(e)) }

func (c *client) exchange(method, path, body, bearer, cookie string) (reply, error) {
	if c.conn == nil {
		dialer := net.Dialer{Timeout: patience}
		conn, err := dialer.DialContext(context.Background(), "tcp", c.address)
		if err != nil {
			return reply{}, err
		}
		c.conn, c.in = conn, bufio.NewReaderSize(conn, 4096)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return reply{}, err
	}
	out := fmt.Appendf(c.out[:0], "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n", method, path, c.address)
	if bearer != "" {
		out = append(append(append(out, "Authorization: Bearer "...), bearer...), "\r\n"...)
	}
	if cookie != "" {
		out = append(append(append(out, "Cookie: refresh_token="...), cookie...), "\r\n"...)
	}
	if method == http.MethodPost {
		if body != "" {
			out = append(out, "Content-Type: application/json\r\n"...)
		}
		out = fmt.Appendf(out, "Content-Length: %d\r\n", len(body))
	}
	c.out = append(append(out, "\r\n"...), body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return reply{}, err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return reply{}, err
	}
	content, err := io.ReadAll(answer.Body)
	return reply{status: answer.StatusCode, cookies: answer.Cookies(), body: content, last: answer.Close}, errors.Join(err, answer.Body.Close())
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *client) register() error {
	_, err := c.call(http.MethodPost, "/api/user/register", c.credentials(), "", "")
	return err
}

func (c *client) login() error {
	content, err := c.call(http.MethodPost, "/api/user/login", c.credentials(), "", "")
	return errors.Join(err, c.take(content))
}

func (c *client) credentials() string {
	return fmt.Sprintf(`{"username": %q, "password": %q}`, c.name, password)
}

// renew refreshes the session, as the next step of its chain.
func (c *client) renew() error {
	content, err := c.call(http.MethodPost, "/api/user/refresh", "", "", c.refresh)
	return errors.Join(err, c.take(content))
}

func (c *client) take(content []byte) error {
	if content == nil {
		return nil
	}
	// Searched and not parsed, which would cost more than all else.
	_, rest, found := bytes.Cut(content, []byte(`"access_token":"`))
	token, _, ended := bytes.Cut(rest, []byte(`"`))
	if !found || !ended {
		return errors.New("an answer without an access token")
	}
	c.access = string(token)
	return nil
}

func (c *client) me() error { return c.get("/api/user/me") }

func (c *client) protected() error { return c.get("/api/user/protected") }

func (c *client) get(path string) error {
	content, err := c.call(http.MethodGet, path, "", c.access, "")
	if err == nil && !json.Valid(content) {
		return errors.New("an answer that is no JSON")
	}
	return err
}
