package token

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func secretOf(b byte) []byte { return bytes.Repeat([]byte{b}, SecretSize) }

// untimed are secrets that may be used at once.
func untimed(values ...[]byte) []RefreshSecret {
	var secrets []RefreshSecret
	for _, value := range values {
		secrets = append(secrets, RefreshSecret{Value: value})
	}
	return secrets
}

func newTestRefreshKeys(t testing.TB, secrets ...[]byte) *RefreshKeys {
	t.Helper()
	keys, err := NewRefreshKeys(untimed(secrets...), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func parseRefresh(t testing.TB, keys *RefreshKeys, s string) Refresh {
	t.Helper()
	r, err := keys.Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return r
}

func TestRefreshTokenHasTheFormatOfTheProtocol(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	r := keys.First(testSession)
	encoded := keys.Encode(r)
	if len(encoded) != 87 {
		t.Errorf("a token has %d characters, want 87", len(encoded))
	}
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(b) != 65 {
		t.Fatalf("a token decodes to %d bytes (%v), want 65", len(b), err)
	}
	// The derivation is done again from the protocol's page, with nothing of the product code.
	kdf := func(purpose string, size int) []byte {
		key, err := hkdf.Key(sha256.New, secretOf(1), nil, purpose, size)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	hash := func(key, message []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(message)
		return h.Sum(nil)
	}
	body, tag := b[:49], b[49:]
	if id := kdf("latchkey refresh key id", 1); b[0] != id[0] {
		t.Errorf("the key id is %d, want %d", b[0], id[0])
	}
	if session := uuid.UUID(b[1:17]); session != testSession {
		t.Errorf("the token names session %s, want %s", session, testSession)
	}
	if want := hash(kdf("latchkey refresh tag", 32), body)[:16]; !bytes.Equal(tag, want) {
		t.Errorf("the tag is %x, want %x", tag, want)
	}
	if want := sha256.Sum256(b[17:49]); r.Hash() != want {
		t.Errorf("Hash is %x, want SHA-256 of the secret, %x", r.Hash(), want)
	}
	successor, err := base64.RawURLEncoding.DecodeString(keys.Encode(keys.Successor(r)))
	if err != nil {
		t.Fatal(err)
	}
	if want := hash(kdf("latchkey refresh successor", 32), body); !bytes.Equal(successor[17:49], want) {
		t.Errorf("the successor's secret is %x, want %x", successor[17:49], want)
	}
	if !bytes.Equal(successor[:17], b[:17]) {
		t.Error("the successor has another key id or session")
	}
}

func TestRefreshTokenRoundTrips(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1), secretOf(2))
	r := keys.First(testSession)
	for generation := range 5 {
		parsed := parseRefresh(t, keys, keys.Encode(r))
		if parsed != r {
			t.Fatalf("generation %d: Parse(Encode(r)) is not r", generation)
		}
		r = keys.Successor(r)
	}
}

func TestSuccessorIsTheSameOnEveryReplica(t *testing.T) {
	old, fresh := secretOf(1), secretOf(2)
	before := newTestRefreshKeys(t, old)
	one, other := newTestRefreshKeys(t, fresh, old), newTestRefreshKeys(t, old, fresh)
	encoded := before.Encode(before.First(testSession))
	want := before.Encode(before.Successor(parseRefresh(t, before, encoded)))
	for name, keys := range map[string]*RefreshKeys{"with a newer secret": one, "with an older secret": other} {
		if got := keys.Encode(keys.Successor(parseRefresh(t, keys, encoded))); got != want {
			t.Errorf("%s the successor is another one", name)
		}
	}
	if want == encoded {
		t.Error("the successor is the token itself")
	}
}

func TestNewSessionsTakeTheNewestSecret(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(2), secretOf(1))
	if _, err := newTestRefreshKeys(t, secretOf(2)).Parse(keys.Encode(keys.First(testSession))); err != nil {
		t.Errorf("a first token is not of the first secret: %v", err)
	}
}

func TestEveryChangedBitIsRefused(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	encoded := keys.Encode(keys.First(testSession))
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(b) * 8 {
		changed := bytes.Clone(b)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := keys.Parse(base64.RawURLEncoding.EncodeToString(changed)); !errors.Is(err, ErrMalformedRefresh) {
			t.Errorf("with bit %d of byte %d changed: %v, want ErrMalformedRefresh", i%8, i/8, err)
		}
	}
}

func TestEveryChangedCharacterIsRefused(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	encoded := keys.Encode(keys.First(testSession))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.\n\r\t \x00\xff"
	for i := range len(encoded) { // the last character's unused bits are among these
		for _, c := range []byte(alphabet) {
			if c == encoded[i] {
				continue
			}
			if _, err := keys.Parse(encoded[:i] + string([]byte{c}) + encoded[i+1:]); !errors.Is(err, ErrMalformedRefresh) {
				t.Errorf("with character %d changed to %q: %v, want ErrMalformedRefresh", i, c, err)
			}
		}
	}
}

func TestOtherSpellingsAreRefused(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	encoded := keys.Encode(keys.First(testSession))
	unknown := newTestRefreshKeys(t, secretOf(3))
	tests := map[string]string{
		"nothing":                       "",
		"one character less":            encoded[:86],
		"one character more":            encoded + "A",
		"padding":                       encoded + "=",
		"padding for the last one":      encoded[:86] + "=",
		"a line break at the end":       encoded + "\n",
		"a line break for the last one": encoded[:86] + "\n",
		"a line break inside":           encoded[:40] + "\r\n" + encoded[40:],
		"line breaks at the length":     encoded[:40] + "\n" + encoded[41:],
		"a space before":                " " + encoded,
		"87 characters of A":            strings.Repeat("A", 87),
		"a megabyte":                    strings.Repeat("A", 1<<20),
		"an unknown key id":             unknown.Encode(unknown.First(testSession)),
		"an access token":               sign(t, newTestIssuer(t, &testTime, fixedKey(t, 1))),
	}
	for name, s := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := keys.Parse(s)
			if !errors.Is(err, ErrMalformedRefresh) {
				t.Errorf("Parse gives %v, want ErrMalformedRefresh", err)
			}
			if r != (Refresh{}) {
				t.Error("Parse gives something of the token beside its error")
			}
		})
	}
}

func TestTagOfAnotherSecretIsRefused(t *testing.T) {
	// The forger knows everything but the secret: the format, the session and the key id.
	keys, forger := newTestRefreshKeys(t, secretOf(1)), newTestRefreshKeys(t, secretOf(3))
	forged := keys.First(testSession)
	b, err := base64.RawURLEncoding.DecodeString(keys.Encode(forged))
	if err != nil {
		t.Fatal(err)
	}
	copy(b[49:], mac(forger.inUse().tag, forged)[:16])
	if _, err := keys.Parse(base64.RawURLEncoding.EncodeToString(b)); !errors.Is(err, ErrMalformedRefresh) {
		t.Errorf("Parse gives %v, want ErrMalformedRefresh", err)
	}
}

func TestNewRefreshKeysRefusesUnusableSecrets(t *testing.T) {
	tests := map[string][][]byte{
		"none":                     nil,
		"an empty one":             {{}},
		"31 bytes":                 {make([]byte, 31)},
		"33 bytes":                 {make([]byte, 33)},
		"a good one and a bad one": {secretOf(1), secretOf(2)[:16]},
		"the same one twice":       {secretOf(1), secretOf(1)},
	}
	for name, secrets := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := NewRefreshKeys(untimed(secrets...), time.Now); err == nil {
				t.Error("there is no error")
			}
		})
	}
}

func TestCollidingKeyIDsAreRefused(t *testing.T) {
	first := newTestRefreshKeys(t, secretOf(0)).inUse().id
	for b := byte(1); ; b++ {
		if b == 0 {
			t.Fatal("no colliding secret among 255: the test needs more candidates")
		}
		if newTestRefreshKeys(t, secretOf(b)).inUse().id != first {
			continue
		}
		if _, err := NewRefreshKeys(untimed(secretOf(0), secretOf(b)), time.Now); err == nil {
			t.Error("two secrets with one key id are accepted: tokens of one would be verified with the other")
		}
		return
	}
}

func TestRefreshSecretsDoNotPrint(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	r := keys.First(testSession)
	texts := map[string]string{
		"String": r.String(), "%v": fmt.Sprintf("%v", r), "%+v": fmt.Sprintf("%+v", r), "%#v": fmt.Sprintf("%#v", r),
		"%q": fmt.Sprintf("%q", r), "a pointer": fmt.Sprintf("%v %+v %#v", &r, &r, &r),
		"a slice": fmt.Sprintf("%v %+v %#v", []Refresh{r}, []Refresh{r}, []Refresh{r}),
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	texts["JSON"] = string(text)
	for name, text := range texts {
		if hasBytes(text, r.secret[:]) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
}

func TestRefreshKeysDoNotPrint(t *testing.T) {
	keys := newTestRefreshKeys(t, secretOf(1))
	k := keys.inUse()
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, keys); hasBytes(text, k.tag) || hasBytes(text, k.next) {
			t.Errorf("%s of RefreshKeys shows the keys: %s", format, text)
		}
	}
}

// hasBytes tells whether a text shows bytes in one of the ways in which Go prints them. A few bytes give them away.
func hasBytes(text string, b []byte) bool {
	list := strings.Trim(fmt.Sprintf("%d", b[:6]), "[]")
	source := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b[:6]), "[]byte{"), "}")
	for _, shown := range []string{
		list, source, hex.EncodeToString(b[:6]), base64.StdEncoding.EncodeToString(b[:6]), base64.URLEncoding.EncodeToString(b[:6]), string(b[:6]),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(shown)) {
			return true
		}
	}
	return false
}

func TestRefreshTokensAreUnique(t *testing.T) {
	const n = 100_000
	keys := newTestRefreshKeys(t, secretOf(1))
	seen := make(map[[SecretSize]byte]struct{}, n)
	for range n / 2 {
		first := keys.First(testSession)
		seen[first.secret] = struct{}{}
		seen[keys.Successor(first).secret] = struct{}{}
	}
	if len(seen) != n {
		t.Errorf("%d tokens have only %d secrets", n, len(seen))
	}
}

func TestNewSecretsAreUsableAndDiffer(t *testing.T) {
	one, other := NewSecret(), NewSecret()
	if len(one) != SecretSize || bytes.Equal(one, other) || bytes.Equal(one, make([]byte, SecretSize)) {
		t.Errorf("NewSecret gives %x and %x", one, other)
	}
}

func TestNameHashDependsOnNameAndNewestSecret(t *testing.T) {
	first, second := secretOf(1), secretOf(2)
	keys := newTestRefreshKeys(t, first)
	if keys.NameHash("alice") == keys.NameHash("bob") {
		t.Error("two names have one hash")
	}
	if keys.NameHash("alice") != newTestRefreshKeys(t, first).NameHash("alice") {
		t.Error("two servers with one secret make different hashes of one name")
	}
	if keys.NameHash("alice") == newTestRefreshKeys(t, second).NameHash("alice") {
		t.Error("the hash does not depend on the secret: whoever has the database could try out names")
	}
}
