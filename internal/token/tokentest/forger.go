// Package tokentest forges access tokens, for the tests of what has to refuse them.
package tokentest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Forger is a forger who has got hold of much: two genuine tokens, the public key, and, so that each check can be tried
// by itself, the private key too. What it makes is a genuine token but for one thing.
type Forger struct {
	// Header and Claims are those of the genuine token.
	Header, Claims string

	genuine, other string
	keyID          string
	members        map[string]json.RawMessage // of Claims
	key            *ecdsa.PrivateKey          // the server's
	attacker       *ecdsa.PrivateKey          // one of the forger's own
	url            string
}

// New makes a Forger from a server's signing key and two tokens that the server accepts. url is where the forger's own
// keys are said to be found.
func New(t testing.TB, key *ecdsa.PrivateKey, genuine, other, url string) *Forger {
	t.Helper()
	parts := strings.Split(genuine, ".")
	f := &Forger{Header: decode(t, parts[0]), Claims: decode(t, parts[1]), genuine: genuine, other: other, key: key, url: url}
	var header struct {
		KeyID string `json:"kid"`
	}
	if err := json.Unmarshal([]byte(f.Header), &header); err != nil || header.KeyID == "" {
		t.Fatalf("the header %s: %v", f.Header, err)
	}
	f.keyID = header.KeyID
	if err := json.Unmarshal([]byte(f.Claims), &f.members); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.attacker, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return f
}

// Sign makes a token of any header and payload with a true ES256 signature by the server's key.
func (f *Forger) Sign(t testing.TB, header, payload string) string {
	t.Helper()
	return Sign(t, f.key, header, payload)
}

// Sign makes a token of any header and payload with a true ES256 signature by the key.
func Sign(t testing.TB, key *ecdsa.PrivateKey, header, payload string) string {
	t.Helper()
	signed := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(fixed(r, s))
}

// Change returns the genuine claims with changes, name=JSON value; an empty value leaves the claim out.
func (f *Forger) Change(t testing.TB, changes map[string]string) string {
	t.Helper()
	return Change(t, f.members, changes)
}

// Change returns a JSON object of members with changes, name=JSON value; an empty value leaves the member out.
func Change(t testing.TB, members map[string]json.RawMessage, changes map[string]string) string {
	t.Helper()
	claims := maps.Clone(members)
	for name, value := range changes {
		if value == "" {
			delete(claims, name)
		} else {
			claims[name] = json.RawMessage(value)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Claim returns a claim of the genuine token, as JSON.
func (f *Forger) Claim(name string) string { return string(f.members[name]) }

// At is a moment before or after the genuine token was issued, as a claim has it.
func (f *Forger) At(t testing.TB, d time.Duration) string {
	t.Helper()
	issued, err := strconv.ParseInt(string(f.members["iat"]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(issued+int64(d/time.Second), 10)
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decode(t testing.TB, part string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fixed is a signature as RFC 7518, section 3.4, has it: r and s, 32 bytes each.
func fixed(r, s *big.Int) string {
	var b [64]byte
	r.FillBytes(b[:32])
	s.FillBytes(b[32:])
	return string(b[:])
}
