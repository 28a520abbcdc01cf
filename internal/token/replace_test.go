package token

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyFrom is a fixed key that signs from an offset to testTime.
func keyFrom(t testing.TB, b byte, offset time.Duration) Key {
	t.Helper()
	key := fixedKey(t, b)
	key.SignsFrom = testTime.Add(offset)
	return key
}

func TestReplacedKeysSignVerifyAndArePublished(t *testing.T) {
	now := testTime
	old, fresh := keyFrom(t, 1, 0), keyFrom(t, 2, time.Hour)
	issuer := newTestIssuer(t, &now, old)
	ofOld := sign(t, issuer)
	if err := issuer.SetKeys(Keys{old, fresh}); err != nil {
		t.Fatal(err)
	}
	if _, published := publishedKeys(t, issuer.JWKS())[fresh.ID]; !published {
		t.Error("the new key is not published before it signs")
	}
	if header, _, _ := strings.Cut(sign(t, issuer), "."); header != encode(headerOf(old)) {
		t.Error("the new key signs before its time")
	}
	now = testTime.Add(time.Hour) // nothing is loaded at that moment
	ofFresh := sign(t, issuer)
	if header, _, _ := strings.Cut(ofFresh, "."); header != encode(headerOf(fresh)) {
		t.Error("the new key does not sign from its time on")
	}
	now = testTime.Add(9 * time.Minute)
	if _, err := issuer.Verify(ofOld); err != nil {
		t.Errorf("a token of the key before: %v", err)
	}
	now = testTime.Add(time.Hour)
	if err := issuer.SetKeys(Keys{fresh}); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, issuer.Verify, ofOld)
	wantRefused(t, issuer.VerifyIgnoringTime, ofOld)
	if _, err := issuer.Verify(ofFresh); err != nil {
		t.Error(err)
	}
	if _, published := publishedKeys(t, issuer.JWKS())[old.ID]; published {
		t.Error("a key that is gone is still published")
	}
}

func TestRefusedKeysLeaveEverythingAsItWas(t *testing.T) {
	now := testTime
	key := fixedKey(t, 1)
	issuer := newTestIssuer(t, &now, key)
	token, set := sign(t, issuer), issuer.JWKS()
	if err := issuer.SetKeys(nil); !errors.Is(err, ErrNoKeys) {
		t.Errorf("no keys: %v, want ErrNoKeys", err)
	}
	if err := issuer.SetKeys(Keys{keyFrom(t, 2, 0), keyFrom(t, 2, time.Hour)}); err == nil || !strings.Contains(err.Error(), fixedKey(t, 2).ID) {
		t.Errorf("one key twice: %v, want an error that names it", err)
	}
	if _, err := issuer.Verify(token); err != nil || !bytes.Equal(issuer.JWKS(), set) {
		t.Errorf("the keys before are not in force any more: %v", err)
	}
}

func TestKeysDoNotChangeWithTheCallersSlice(t *testing.T) {
	now := testTime
	keys := Keys{fixedKey(t, 1)}
	issuer := newTestIssuer(t, &now, keys...)
	if err := issuer.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	keys[0] = fixedKey(t, 2)
	if _, err := issuer.Verify(sign(t, issuer)); err != nil {
		t.Errorf("it signs with a key that it does not know: %v", err)
	}
}

func TestAKeyIsNeededUntilItsLastTokenHasExpiredEverywhere(t *testing.T) {
	keys := Keys{keyFrom(t, 1, 0), keyFrom(t, 2, time.Hour), keyFrom(t, 3, 3*time.Hour)}
	for i, want := range []time.Duration{time.Hour, 3 * time.Hour} {
		end, ends := keys.NeededUntil(i)
		if lastToken := MaxAccessTTL + Leeway; !ends || !end.Equal(testTime.Add(want+lastToken+time.Minute)) {
			t.Errorf("key %d is needed until %v (%v)", i, end, ends)
		}
	}
	if end, ends := keys.NeededUntil(2); ends {
		t.Errorf("the newest key has an end, %v: nothing would sign after it", end)
	}
	// What the end is for: not even the last token, on the server whose clock is the latest, verifies by then.
	end, _ := keys.NeededUntil(0)
	now := keys[1].SignsFrom.Add(-time.Nanosecond)
	issuer := newTestIssuer(t, &now, keys...)
	raw, err := issuer.Sign(Access{UserID: testUser, SessionID: testSession, Generation: 1, ExpiresAt: now.Add(MaxAccessTTL).Truncate(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Verify(raw); err != nil {
		t.Fatal(err)
	}
	now = end.Add(-Leeway)
	wantRefused(t, issuer.Verify, raw)
}

func TestASecretIsUsedFromItsTimeOnAndAcceptedBefore(t *testing.T) {
	now := testTime
	at := func(b byte, offset time.Duration) RefreshSecret {
		return RefreshSecret{Value: secretOf(b), UsedFrom: testTime.Add(offset)}
	}
	ever := RefreshSecret{Value: secretOf(1)}
	for name, test := range map[string]struct {
		secrets []RefreshSecret
		want    int
	}{
		"one that may be used at once":           {[]RefreshSecret{ever}, 0},
		"one alone, before its time":             {[]RefreshSecret{at(1, time.Hour)}, 0},
		"two that may be used at once":           {untimed(secretOf(2), secretOf(1)), 0},
		"a newer one just before its time":       {[]RefreshSecret{at(2, time.Nanosecond), ever}, 1},
		"a newer one at its time":                {[]RefreshSecret{at(2, 0), ever}, 0},
		"a newer one after its time":             {[]RefreshSecret{at(2, -time.Hour), ever}, 0},
		"the middle one of three":                {[]RefreshSecret{at(3, time.Hour), at(2, -time.Hour), ever}, 1},
		"all before their times":                 {[]RefreshSecret{at(3, 2*time.Hour), at(2, time.Hour)}, 1},
		"a newer one without a time, before one": {[]RefreshSecret{{Value: secretOf(2)}, at(1, -time.Hour)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := NewRefreshKeys(test.secrets, func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			if got := keys.InUse(); got != test.want {
				t.Errorf("number %d is in use, want %d", got, test.want)
			}
			alone := newTestRefreshKeys(t, test.secrets[test.want].Value)
			if _, err := alone.Parse(keys.Encode(keys.First(testSession))); err != nil {
				t.Errorf("a session does not begin with it: %v", err)
			}
			if keys.NameHash("alice") != alone.NameHash("alice") {
				t.Error("a name's hash is not of the secret in use")
			}
			for _, secret := range test.secrets {
				other := newTestRefreshKeys(t, secret.Value)
				if _, err := keys.Parse(other.Encode(other.First(testSession))); err != nil {
					t.Errorf("another server's token: %v", err)
				}
			}
		})
	}
}

func TestTheSecretInUseChangesByTheClockAlone(t *testing.T) {
	now := testTime
	keys, err := NewRefreshKeys([]RefreshSecret{{Value: secretOf(2), UsedFrom: testTime.Add(time.Hour)}, {Value: secretOf(1)}},
		func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	of := func() string { return keys.Encode(keys.First(testSession)) }
	if _, err := newTestRefreshKeys(t, secretOf(1)).Parse(of()); err != nil {
		t.Errorf("before: %v", err)
	}
	now = testTime.Add(time.Hour)
	if _, err := newTestRefreshKeys(t, secretOf(2)).Parse(of()); err != nil {
		t.Errorf("after: %v", err)
	}
}

func TestReplacedSecretsKeepSessionsWhoseSecretIsThere(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	r := keys.First(testSession)
	old := keys.Encode(r)
	want := keys.Encode(keys.Successor(r))
	if err := keys.SetSecrets(untimed(secretOf(2), secretOf(1))); err != nil {
		t.Fatal(err)
	}
	if got := keys.Encode(keys.Successor(parseRefresh(t, keys, old))); got != want {
		t.Error("the session has another successor")
	}
	for name, secrets := range map[string][]RefreshSecret{
		"none": nil, "a short one": untimed(secretOf(3), secretOf(1)[:31]), "one twice": untimed(secretOf(3), secretOf(3)),
	} {
		if err := keys.SetSecrets(secrets); err == nil {
			t.Errorf("%s: accepted", name)
		}
		parseRefresh(t, keys, old)
	}
	held := parseRefresh(t, keys, old)
	if err := keys.SetSecrets(untimed(secretOf(2))); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Parse(old); !errors.Is(err, ErrMalformedRefresh) {
		t.Errorf("a token of a secret that is gone: %v", err)
	}
	if keys.Encode(keys.Successor(held)) != want {
		t.Error("a request under way while its secret went away got a token of no secret")
	}
}

func TestRefreshSecretsOfAListDoNotPrint(t *testing.T) {
	secret := RefreshSecret{Value: NewSecret()}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, secret) + fmt.Sprintf(format, []RefreshSecret{secret}); hasBytes(text, secret.Value) {
			t.Errorf("%s shows the secret: %s", format, text)
		}
	}
}

// Under the race detector this shows what a test of one goroutine cannot.
func TestReplacingWhileOthersSignAndVerify(t *testing.T) {
	now := testTime
	one, two := Keys{keyFrom(t, 1, 0)}, Keys{keyFrom(t, 1, 0), keyFrom(t, 2, 0)}
	issuer := newTestIssuer(t, &now, one...)
	refresh := newTestRefreshKeys(t, secretOf(1))
	raw, encoded := sign(t, issuer), refresh.Encode(refresh.First(testSession))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				if _, err := issuer.Verify(raw); err != nil {
					t.Error(err)
				}
				r, err := refresh.Parse(encoded)
				if err != nil {
					t.Error(err)
					return
				}
				refresh.Encode(refresh.Successor(r))
				refresh.Encode(refresh.First(testSession))
				if _, err := issuer.Sign(Access{UserID: testUser, SessionID: testSession, Generation: 1, ExpiresAt: testTime.Add(time.Minute)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 50 {
		if err := issuer.SetKeys([]Keys{one, two}[i%2]); err != nil {
			t.Error(err)
		}
		if err := refresh.SetSecrets([][]RefreshSecret{untimed(secretOf(1)), untimed(secretOf(2), secretOf(1))}[i%2]); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}
