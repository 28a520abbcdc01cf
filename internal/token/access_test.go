package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestAccessTokenRoundTrips(t *testing.T) {
	now := testTime.Add(400 * time.Millisecond)
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	want := Access{
		UserID: testUser, SessionID: testSession, Generation: 7, Roles: []string{"admin", "auditor"},
		ExpiresAt: testTime.Add(10 * time.Minute),
	}
	raw, err := issuer.Sign(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, verify := range map[string]func(string) (Access, error){
		"Verify": issuer.Verify, "VerifyIgnoringTime": issuer.VerifyIgnoringTime,
	} {
		got, err := verify(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.ID == uuid.Nil {
			t.Errorf("%s: the token has no id", name)
		}
		got.ID = uuid.Nil
		got.ExpiresAt = got.ExpiresAt.UTC()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %+v, want %+v", name, got, want)
		}
	}
}

func TestAccessTokenSaysWhatItShouldAndNoMore(t *testing.T) {
	now := testTime
	key := fixedKey(t, 1)
	parts := strings.Split(sign(t, newTestIssuer(t, &now, key)), ".")
	object := func(part string) map[string]any {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if got, want := object(parts[0]), map[string]any{"alg": "ES256", "kid": key.ID, "typ": "at+jwt"}; !maps.Equal(got, want) {
		t.Errorf("the header is %v, want %v", got, want)
	}
	claims := object(parts[1])
	id, _ := claims["jti"].(string)
	if _, err := uuid.Parse(id); err != nil {
		t.Errorf("jti is %q: %v", id, err)
	}
	delete(claims, "jti")
	want := map[string]any{
		"iss": testIssuer, "aud": []any{testAudience}, "sub": testUser.String(), "sid": testSession.String(), "gen": 1.0,
		"client_id": "latchkey", "roles": []any{"admin"},
		"iat": float64(testTime.Unix()), "nbf": float64(testTime.Unix()), "exp": float64(testTime.Unix() + 600),
	}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("the claims are %v, want %v", claims, want)
	}
}

func TestAccessTokensHaveIDsOfTheirOwn(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	seen := map[uuid.UUID]bool{}
	for range 50 {
		a, err := issuer.Verify(sign(t, issuer))
		if err != nil {
			t.Fatal(err)
		}
		if seen[a.ID] {
			t.Fatalf("two tokens have the id %s", a.ID)
		}
		seen[a.ID] = true
	}
}

func TestLeewayIsThirtySecondsAndNoMore(t *testing.T) {
	at := func(d time.Duration) string { return string(seconds(testTime.Add(d))) }
	tests := map[string]struct {
		claims map[string]string
		now    time.Duration
		good   bool
	}{
		// A token is good before exp, not at it (RFC 7519, section 4.1.4), so the first instant beyond is exp + 30 s.
		"just before exp + 30 s is accepted":  {nil, 10*time.Minute + 30*time.Second - time.Nanosecond, true},
		"exp + 30 s is refused":               {nil, 10*time.Minute + 30*time.Second, false},
		"exp + 31 s is refused":               {nil, 10*time.Minute + 31*time.Second, false},
		"nbf - 30 s is accepted":              {map[string]string{"nbf": at(time.Minute)}, 30 * time.Second, true},
		"just before nbf - 30 s is refused":   {map[string]string{"nbf": at(time.Minute)}, 30*time.Second - time.Nanosecond, false},
		"nbf - 31 s is refused":               {map[string]string{"nbf": at(time.Minute)}, 29 * time.Second, false},
		"iat - 30 s is accepted":              {map[string]string{"nbf": at(-time.Minute)}, -30 * time.Second, true},
		"just before iat - 30 s is refused":   {map[string]string{"nbf": at(-time.Minute)}, -30*time.Second - time.Nanosecond, false},
		"iat - 31 s is refused":               {map[string]string{"nbf": at(-time.Minute)}, -31 * time.Second, false},
		"a year after exp is refused":         {nil, 365 * 24 * time.Hour, false},
		"a year before everything is refused": {nil, -365 * 24 * time.Hour, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			now := testTime.Add(test.now)
			key := fixedKey(t, 1)
			issuer := newTestIssuer(t, &now, key)
			raw := forge(t, key, headerOf(key), claimsText(t, test.claims))
			_, err := issuer.Verify(raw)
			if test.good && err != nil || !test.good && !errors.Is(err, ErrInvalidAccess) {
				t.Errorf("Verify gives %v", err)
			}
			if _, err := issuer.VerifyIgnoringTime(raw); err != nil {
				t.Errorf("VerifyIgnoringTime gives %v", err)
			}
		})
	}
}

func TestTokenSignedForTooLongIsNotAccepted(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	for name, expires := range map[string]time.Duration{"a second too long": MaxAccessTTL + time.Second, "a year": 365 * 24 * time.Hour} {
		raw, err := issuer.Sign(Access{UserID: testUser, SessionID: testSession, Generation: 1, ExpiresAt: now.Add(expires)})
		if err == nil {
			_, err = issuer.Verify(raw)
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	raw, err := issuer.Sign(Access{UserID: testUser, SessionID: testSession, Generation: 1, ExpiresAt: now.Add(MaxAccessTTL)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Verify(raw); err != nil {
		t.Errorf("a life of MaxAccessTTL: %v", err)
	}
}

func TestAnyLoadedKeyVerifiesAndOneSigns(t *testing.T) {
	now := testTime
	old, newest, next := fixedKey(t, 1), fixedKey(t, 2), fixedKey(t, 3)
	old.SignsFrom, newest.SignsFrom, next.SignsFrom = testTime.Add(-time.Hour), testTime, testTime.Add(time.Hour)
	issuer := newTestIssuer(t, &now, old, newest, next)
	for _, key := range []Key{old, newest, next} {
		if _, err := issuer.Verify(forge(t, key, headerOf(key), claimsText(t, nil))); err != nil {
			t.Errorf("a token of a loaded key: %v", err)
		}
	}
	if header, _, _ := strings.Cut(sign(t, issuer), "."); header != encode(headerOf(newest)) {
		t.Error("the newest key whose time has come does not sign")
	}
	now = testTime.Add(time.Hour)
	if header, _, _ := strings.Cut(sign(t, issuer), "."); header != encode(headerOf(next)) {
		t.Error("a key does not sign from its time on")
	}
}

func TestIssuerNeedsAKey(t *testing.T) {
	if _, err := NewIssuer(nil, testIssuer, testAudience, time.Now); !errors.Is(err, ErrNoKeys) {
		t.Errorf("NewIssuer gives %v, want ErrNoKeys", err)
	}
}

func TestRolesMayBeNone(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	raw, err := issuer.Sign(Access{UserID: testUser, SessionID: testSession, Generation: 1, ExpiresAt: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := issuer.Verify(raw); err != nil || !slices.Equal(a.Roles, nil) {
		t.Errorf("Verify gives roles %v and %v", a.Roles, err)
	}
}

func wantRefused(t *testing.T, verify func(string) (Access, error), raw string) {
	t.Helper()
	a, err := verify(raw)
	if !errors.Is(err, ErrInvalidAccess) {
		t.Errorf("the token is not refused as ErrInvalidAccess but gives %v", err)
	}
	if err != nil && err.Error() != ErrInvalidAccess.Error() {
		t.Errorf("the error tells more than the one text: %v", err)
	}
	if !reflect.DeepEqual(a, Access{}) {
		t.Error("something of a refused token is given back")
	}
}
