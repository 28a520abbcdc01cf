package token

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What is remembered of a token is that its signature is good: everything else is looked at each time.
func TestRememberedTokenIsAcceptedNoLongerThanAnother(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	raw := sign(t, issuer)
	want := func(after time.Duration, accepted bool) {
		t.Helper()
		now = testTime.Add(after)
		_, again := issuer.Verify(raw)
		_, first := newTestIssuer(t, &now, fixedKey(t, 1)).Verify(raw)
		if (again == nil) != accepted || (first == nil) != accepted {
			t.Errorf("after %v a token that was seen gives %v, and one that was not %v; accepted: %t", after, again, first, accepted)
		}
	}
	want(0, true)
	want(10*time.Minute+Leeway-time.Second, true)
	want(10*time.Minute+Leeway, false)
	want(5*time.Minute, true)
	want(-Leeway, true) // its nbf and iat are ahead by as much as clocks may differ
	want(-Leeway-time.Second, false)
	want(0, true)
}

func TestRememberedTokenEndsWithItsKey(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	raw := sign(t, issuer)
	for range 2 {
		if _, err := issuer.Verify(raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := issuer.SetKeys(Keys{fixedKey(t, 2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Verify(raw); !errors.Is(err, ErrInvalidAccess) {
		t.Errorf("when its key is gone, a token gives %v", err)
	}
	if err := issuer.SetKeys(Keys{fixedKey(t, 1), fixedKey(t, 2)}); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Verify(raw); err != nil {
		t.Errorf("when its key is there again, a token gives %v", err)
	}
}

// A token is remembered as a whole, and only one that was accepted.
func TestNothingElsePassesForARememberedToken(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	raw := sign(t, issuer)
	if _, err := issuer.Verify(raw); err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		other := byte('A')
		if raw[i] == other {
			other = 'B'
		}
		for what, forged := range map[string]string{
			"with another character": raw[:i] + string(other) + raw[i+1:], "without a character": raw[:i] + raw[i+1:],
			"with one more": raw[:i] + string(other) + raw[i:], "that ends early": raw[:i],
		} {
			if _, err := issuer.Verify(forged); !errors.Is(err, ErrInvalidAccess) {
				t.Errorf("a token %s at %d gives %v", what, i, err)
			}
		}
	}
	for _, junk := range []string{"", ".", "..", raw + " ", raw + "\n", strings.Repeat("A", MaxAccessLength), strings.Repeat(raw, 12)} {
		if _, err := issuer.Verify(junk); !errors.Is(err, ErrInvalidAccess) {
			t.Errorf("%.20q gives %v", junk, err)
		}
	}
	if n := issuer.keys.Load().verified.Len(); n != 1 {
		t.Errorf("%d tokens are remembered, want the one that was accepted", n)
	}
}

// One that has expired may still end its session, and is no more than that.
func TestTokenReadWithoutItsTimeIsNotRemembered(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	raw := sign(t, issuer)
	now = now.Add(time.Hour)
	if _, err := issuer.VerifyIgnoringTime(raw); err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Verify(raw); !errors.Is(err, ErrInvalidAccess) {
		t.Errorf("an expired token that was read gives %v", err)
	}
}
