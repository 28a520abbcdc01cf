package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

type wycheproofVector struct {
	ID           int
	Comment, JWS string
	Valid        bool
}

// wycheproof are Project Wycheproof's vectors for ES256, and the key that they are about.
func wycheproof(t *testing.T) ([]wycheproofVector, *ecdsa.PrivateKey) {
	t.Helper()
	text, err := os.ReadFile("testdata/wycheproof_es256.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		D, X, Y string
		Vectors []wycheproofVector
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(decode(t, file.D)))
	if err != nil {
		t.Fatal(err)
	}
	if point, err := key.PublicKey.Bytes(); err != nil || string(point[1:]) != decode(t, file.X)+decode(t, file.Y) {
		t.Fatalf("the private key is not that of the public one: %v", err)
	}
	return file.Vectors, key
}

// Most payloads are no JSON, and none is ours, so that a parser would refuse them whatever the signature says: this is
// about the signature alone, decoded as Verify has it decoded.
func TestWycheproofSignatures(t *testing.T) {
	vectors, key := wycheproof(t)
	count := map[bool]int{}
	for _, v := range vectors {
		count[v.Valid]++
		if got := signatureVerifies(v.JWS, &key.PublicKey); got != v.Valid {
			t.Errorf("%d, %s: verifies: %v, want %v", v.ID, v.Comment, got, v.Valid)
		}
	}
	if count[true] != 2 || count[false] != 37 {
		t.Errorf("%d good and %d bad vectors, want 2 and 37", count[true], count[false])
	}
}

func signatureVerifies(jws string, key *ecdsa.PublicKey) bool {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 || !isTokenAlphabet(jws) {
		return false
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	return err == nil && jwt.SigningMethodES256.Verify(parts[0]+"."+parts[1], signature, key) == nil
}

// A server that holds the very key takes none of them for an access token, not even those that verify.
func TestWycheproofTokensAreRefused(t *testing.T) {
	now := testTime
	vectors, private := wycheproof(t)
	key, err := newKey(private, testTime)
	if err != nil {
		t.Fatal(err)
	}
	issuer := newTestIssuer(t, &now, key)
	for _, v := range vectors {
		wantRefused(t, issuer.Verify, v.JWS)
		wantRefused(t, issuer.VerifyIgnoringTime, v.JWS)
	}
	if _, err := issuer.Verify(sign(t, issuer)); err != nil {
		t.Errorf("a token of its own: %v", err)
	}
}
