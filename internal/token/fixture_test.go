package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/token/tokentest"
)

const (
	testIssuer   = "https://auth.example.com"
	testAudience = "https://api.example.com"
)

var (
	testTime    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	testUser    = uuid.MustParse("019b7d5e-0000-7000-8000-000000000001")
	testSession = uuid.MustParse("019b7d5e-0000-7000-8000-000000000002")
)

// fixedKey is a key that is the same in every process: the workers of a fuzz run must agree on it.
func fixedKey(t testing.TB, b byte) Key {
	t.Helper()
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey(private, testTime)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newTestIssuer makes an Issuer whose clock stands at *now.
func newTestIssuer(t testing.TB, now *time.Time, keys ...Key) *Issuer {
	t.Helper()
	issuer, err := NewIssuer(keys, testIssuer, testAudience, func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

func sign(t testing.TB, issuer *Issuer) string {
	t.Helper()
	raw, err := issuer.Sign(Access{
		UserID: testUser, SessionID: testSession, Generation: 1, Roles: []string{"admin"}, ExpiresAt: issuer.now().Add(10 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// headerOf is the header that a key's tokens have.
func headerOf(key Key) string { return `{"alg":"ES256","kid":"` + key.ID + `","typ":"at+jwt"}` }

// forge makes a token of any header and payload with a true ES256 signature by the key.
func forge(t testing.TB, key Key, header, payload string) string {
	t.Helper()
	return tokentest.Sign(t, key.private, header, payload)
}

// claimsText is the claims of a good token at testTime with changes, name=JSON value; an empty value leaves the claim out.
func claimsText(t testing.TB, changes map[string]string) string {
	t.Helper()
	return tokentest.Change(t, map[string]json.RawMessage{
		"iss": json.RawMessage(`"` + testIssuer + `"`), "aud": json.RawMessage(`["` + testAudience + `"]`),
		"sub": json.RawMessage(`"` + testUser.String() + `"`), "sid": json.RawMessage(`"` + testSession.String() + `"`),
		"jti": json.RawMessage(`"9f0c2c1e-5a53-4c52-9f57-3b6f4c2f8d11"`), "client_id": json.RawMessage(`"` + ClientID + `"`),
		"gen": json.RawMessage(`1`), "roles": json.RawMessage(`["admin"]`),
		"iat": seconds(testTime), "nbf": seconds(testTime), "exp": seconds(testTime.Add(10 * time.Minute)),
	}, changes)
}

func seconds(t time.Time) json.RawMessage { return fmt.Appendf(nil, "%d", t.Unix()) }
