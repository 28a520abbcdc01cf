package token

import (
	"errors"
	"strings"
	"testing"
)

// Tokens of fixed keys at testTime, made once: they must verify for ever, and the workers of a fuzz run agree on them.
const (
	fixedRefresh = "NwGbfV4AAHAAgAAAAAAAAAJ0OirnB2NXCAs5l11UiuDQHkki82FH4mX1dbCbBgqmLDrWdX1aQhZ6ElZ20TdXN6g"
	fixedAccess  = "eyJhbGciOiJFUzI1NiIsImtpZCI6Ik5ycWczLU1fWHd0eC0xdGJ0YzFKN1h1bDJEeWVDMGJVU3k5dV81TlNHNmciLCJ0eXAiOiJhdCtqd3QifQ." +
		"eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJzdWIiOiIwMTliN2Q1ZS0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDEiLCJhdW" +
		"QiOlsiaHR0cHM6Ly9hcGkuZXhhbXBsZS5jb20iXSwiZXhwIjoxNzY3MzIzNjQ1LCJuYmYiOjE3NjczMjMwNDUsImlhdCI6MTc2NzMyMzA0NSwi" +
		"anRpIjoiZGFhZDI0YzUtNWNmZi00YzY4LWFhOWMtM2NmNjBiODQ3YjgxIiwic2lkIjoiMDE5YjdkNWUtMDAwMC03MDAwLTgwMDAtMDAwMDAwMD" +
		"AwMDAyIiwiZ2VuIjoxLCJjbGllbnRfaWQiOiJsYXRjaGtleSIsInJvbGVzIjpbImFkbWluIl19." +
		"tttHf6-qkIAfiNMrpCXx8POlTubUdDkjlFhrclD-wHhUznQC-8xwa_8WHY-UyyjXe0YcGl3ni8rnuYW2MNTunw"
)

func TestTokensOfEarlierBuildsAreAccepted(t *testing.T) {
	now := testTime
	a, err := newTestIssuer(t, &now, fixedKey(t, 1)).Verify(fixedAccess)
	if err != nil || a.UserID != testUser || a.SessionID != testSession {
		t.Errorf("Verify gives %+v and %v", a, err)
	}
	if r, err := newTestRefreshKeys(t, secretOf(1)).Parse(fixedRefresh); err != nil || r.SessionID != testSession {
		t.Errorf("Parse gives %v and %v", r, err)
	}
}

func FuzzParseRefresh(f *testing.F) {
	f.Add(fixedRefresh)
	f.Add(fixedRefresh + "=")
	f.Add(fixedRefresh[:86])
	f.Add(fixedRefresh[:86] + "h") // the same bytes, but for bits that no byte holds
	f.Add(fixedRefresh[:43] + "\n" + fixedRefresh[44:])
	f.Add(strings.Repeat("A", RefreshLength))
	f.Add(strings.Repeat("=", RefreshLength))
	f.Add("")
	keys := newTestRefreshKeys(f, secretOf(1))
	f.Fuzz(func(t *testing.T, s string) {
		r, err := keys.Parse(s)
		if err != nil {
			if !errors.Is(err, ErrMalformedRefresh) || r != (Refresh{}) {
				t.Errorf("Parse gives %v and %v", r, err)
			}
			return
		}
		if again := keys.Encode(r); again != s {
			t.Errorf("%q is accepted, but its one spelling is %q", s, again)
		}
	})
}

func FuzzVerifyAccess(f *testing.F) {
	parts := strings.Split(fixedAccess, ".")
	now := testTime
	issuer := newTestIssuer(f, &now, fixedKey(f, 1))
	f.Add(fixedAccess)
	f.Add(fixedAccess + "=")
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add(parts[0] + "..")
	f.Add(".." + parts[2])
	f.Add(parts[0] + "." + encode(`{"exp":1e300}`) + "." + parts[2])
	f.Add(encode(`{"alg":"none"}`) + "." + parts[1] + ".")
	f.Add(encode(`{"alg":"HS256","kid":"x","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2])
	f.Add(fixedAccess[:len(fixedAccess)-1] + "x") // the same bytes, but for bits that no byte holds
	f.Add("...")
	f.Fuzz(func(t *testing.T, raw string) {
		for _, verify := range []func(string) (Access, error){issuer.Verify, issuer.VerifyIgnoringTime} {
			a, err := verify(raw)
			switch {
			case err == nil && raw != fixedAccess:
				t.Errorf("accepted, though nobody signed it: %q says %+v", raw, a)
			case err != nil && !errors.Is(err, ErrInvalidAccess):
				t.Errorf("%q gives %v", raw, err)
			}
		}
	})
}
