package token

import (
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"latchkey/internal/token/tokentest"
)

// newForger makes a forger who has two tokens of the issuer's, and its key.
func newForger(t testing.TB, issuer *Issuer, key Key) *tokentest.Forger {
	t.Helper()
	return tokentest.New(t, key.private, sign(t, issuer), sign(t, issuer), "http://127.0.0.1:9")
}

func TestForgedAccessTokenIsRefused(t *testing.T) {
	now := testTime
	key := fixedKey(t, 1)
	issuer := newTestIssuer(t, &now, key)
	forger := newForger(t, issuer, key)
	for name, raw := range forger.Forgeries(t) {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, issuer.Verify, raw)
			wantRefused(t, issuer.VerifyIgnoringTime, raw)
		})
	}
	// Of what the forger makes, it is the one change that is refused.
	if _, err := issuer.Verify(forger.Sign(t, forger.Header, forger.Change(t, nil))); err != nil {
		t.Errorf("a token without a change: %v", err)
	}
}

func TestCredentialsAreNotInterchangeable(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	keys := newTestRefreshKeys(t, secretOf(1))
	wantRefused(t, issuer.Verify, keys.Encode(keys.First(testSession)))
	if _, err := keys.Parse(sign(t, issuer)); !errors.Is(err, ErrMalformedRefresh) {
		t.Errorf("an access token as a refresh token: %v", err)
	}
}

func TestRetiredKeyIsRefused(t *testing.T) {
	now := testTime
	retired := newTestIssuer(t, &now, fixedKey(t, 1))
	issuer := newTestIssuer(t, &now, fixedKey(t, 2))
	wantRefused(t, issuer.Verify, sign(t, retired))
	wantRefused(t, issuer.VerifyIgnoringTime, sign(t, retired))
}

func TestEveryChangedCharacterOfAnAccessTokenIsRefused(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	good := sign(t, issuer)
	for i := range len(good) {
		for _, c := range []byte("AQgwx_\n\r =.\x00\xff") { // A, Q, g and w differ in the bits that end a signature unused
			if c == good[i] {
				continue
			}
			changed := good[:i] + string([]byte{c}) + good[i+1:]
			if _, err := issuer.Verify(changed); err == nil {
				t.Errorf("accepted with character %d of %d changed to %q", i, len(good), c)
			}
			inserted := good[:i] + string([]byte{c}) + good[i:]
			if _, err := issuer.VerifyIgnoringTime(inserted); err == nil {
				t.Errorf("accepted with %q inserted at %d of %d", c, i, len(good))
			}
		}
	}
	for _, tail := range []string{"=", "==", "\n", "\r\n", " ", "A", "."} {
		wantRefused(t, issuer.Verify, good+tail)
		wantRefused(t, issuer.Verify, tail+good)
	}
}

// Whoever has a token can compute its mirror image, (r, n - s), which ECDSA verifies too. It must say just the same.
func TestMirroredSignatureSaysNothingElse(t *testing.T) {
	now := testTime
	issuer := newTestIssuer(t, &now, fixedKey(t, 1))
	good := sign(t, issuer)
	cut := strings.LastIndexByte(good, '.') + 1
	signature := []byte(decode(t, good[cut:]))
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	mirrored, err := issuer.Verify(good[:cut] + base64.RawURLEncoding.EncodeToString(signature))
	if err != nil {
		return // refusing it is as good
	}
	original, err := issuer.Verify(good)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(mirrored, original) {
		t.Errorf("the mirror image says %+v, the token %+v", mirrored, original)
	}
}

func TestJunkCostsNoMemory(t *testing.T) {
	now := testTime
	key := fixedKey(t, 1)
	issuer := newTestIssuer(t, &now, key)
	for name, raw := range map[string]string{
		"a megabyte of dots":           strings.Repeat(".", 1<<20),
		"a megabyte of one character":  strings.Repeat("A", 1<<20),
		"a megabyte behind our header": encode(headerOf(key)) + "." + strings.Repeat("A", 1<<20) + ".",
		"dots up to the bound":         strings.Repeat(".", MaxAccessLength),
	} {
		t.Run(name, func(t *testing.T) {
			const runs = 10
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			objects := testing.AllocsPerRun(runs, func() { wantRefused(t, issuer.Verify, raw) })
			runtime.ReadMemStats(&after)
			if objects > 50 {
				t.Errorf("a refusal allocates %v objects", objects)
			}
			if size := (after.TotalAlloc - before.TotalAlloc) / runs; size > 100<<10 {
				t.Errorf("a refusal allocates %d bytes", size)
			}
		})
	}
}

func decode(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
