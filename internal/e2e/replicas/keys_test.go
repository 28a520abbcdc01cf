//go:build e2e

package replicas

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var keyAdded = regexp.MustCompile(`added (\S+) as `)

// Keys and secrets are replaced by the operator's commands while clients come to both replicas, which look at the files
// at moments of their own.
func TestKeysAndSecretsRotateUnderLoadWithoutARefusal(t *testing.T) {
	t.Parallel()
	s := newSite(t, unlimited...)
	l := s.startLoad(t)
	in := s.client()
	in.signUp(t, "alice")
	s.client().signUp(t, "bob")
	login := func() *client {
		c := s.client()
		c.want(t, http.StatusOK, "POST", "/api/user/login", credentials("bob"))
		return c
	}

	// Those of the next months, which nobody uses yet. One replica learns of them long before the other.
	next := keyAdded.FindStringSubmatch(s.operate(t, "keys", "rotate"))[1]
	s.operate(t, "keys", "rotate", "--refresh-secret")
	for _, r := range s.replicas {
		r.signal(t, syscall.SIGHUP)
		await(t, r.address+" publishes the next key", func() bool { return strings.Contains(r.keySet(t), next) })
		l.run(t, 100)
	}

	// Those that are used as soon as both replicas must know them. Only one is told; the other one finds out.
	urgent := keyAdded.FindStringSubmatch(s.operate(t, "keys", "rotate", "--now"))[1]
	s.operate(t, "keys", "rotate", "--refresh-secret", "--now")
	s.replicas[0].signal(t, syscall.SIGHUP)
	secret := login().secretID(t)
	await(t, "new sessions have the new key and the new secret", func() bool {
		c := login()
		return c.kid(t) == urgent && c.secretID(t) != secret
	})
	l.run(t, 300)

	// Nothing of what was there before is without a use yet.
	for _, kind := range [][]string{{"keys", "prune"}, {"keys", "prune", "--refresh-secret"}} {
		if out := s.operate(t, kind...); strings.Contains(out, "removed") {
			t.Errorf("%q: %s", kind, out)
		}
	}
	for _, r := range s.replicas {
		r.signal(t, syscall.SIGHUP)
	}
	l.run(t, 100)
	l.wantNoFault(t)
	in.wantSignedIn(t)
}

func (r *replica) keySet(t *testing.T) string {
	t.Helper()
	return r.client().want(t, http.StatusOK, "GET", "/.well-known/jwks.json", "").text
}

// kid is the key that signed the access token.
func (c *client) kid(t *testing.T) string {
	t.Helper()
	encoded, _, _ := strings.Cut(c.access, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	var header struct{ Kid string }
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil {
		t.Fatal(err)
	}
	return header.Kid
}

// secretID is the id of the secret behind the refresh token: its first byte.
func (c *client) secretID(t *testing.T) byte {
	t.Helper()
	token, err := base64.RawURLEncoding.DecodeString(c.cookie)
	if err != nil || len(token) == 0 {
		t.Fatalf("the refresh token has %d bytes: %v", len(token), err)
	}
	return token[0]
}
