package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// publishedKeys reads a key set as another service would, with the standard library alone.
func publishedKeys(t *testing.T, set []byte) map[string]*ecdsa.PublicKey {
	t.Helper()
	var read struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(set, &read); err != nil {
		t.Fatal(err)
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range read.Keys {
		if k["kty"] != "EC" || k["crv"] != "P-256" || k["alg"] != "ES256" || k["use"] != "sig" {
			t.Errorf("a published key is %v", k)
		}
		x, y := []byte(decode(t, k["x"])), []byte(decode(t, k["y"]))
		if len(x) != 32 || len(y) != 32 {
			t.Errorf("x has %d bytes and y %d, want 32 each (RFC 7518, section 6.2.1.2)", len(x), len(y))
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			t.Fatal(err)
		}
		keys[k["kid"]] = public
	}
	return keys
}

func TestOtherServicesCanVerifyByThePublishedKeys(t *testing.T) {
	now := testTime
	keys := Keys{fixedKey(t, 1), fixedKey(t, 2)}
	set := newTestIssuer(t, &testTime, keys...).JWKS()
	published := publishedKeys(t, set)
	if len(published) != len(keys) {
		t.Fatalf("%d keys are published, want %d", len(published), len(keys))
	}
	for _, key := range keys {
		parts := strings.Split(sign(t, newTestIssuer(t, &now, key)), ".")
		var header struct{ Kid, Alg string }
		if err := json.Unmarshal([]byte(decode(t, parts[0])), &header); err != nil {
			t.Fatal(err)
		}
		public, ok := published[header.Kid]
		if !ok {
			t.Fatalf("the kid %s is not published", header.Kid)
		}
		signature := []byte(decode(t, parts[2]))
		if len(signature) != 64 {
			t.Fatalf("the signature has %d bytes, want r and s of 32", len(signature))
		}
		digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		if header.Alg != "ES256" || !ecdsa.Verify(public, digest[:], r, s) {
			t.Errorf("the published key %s does not verify its token", header.Kid)
		}
		digest[0] ^= 1
		if ecdsa.Verify(public, digest[:], r, s) {
			t.Error("the published key verifies another message too")
		}
	}
}

func TestKeyIDIsTheThumbprint(t *testing.T) {
	keys := Keys{fixedKey(t, 1), fixedKey(t, 2), fixedKey(t, 77)}
	for _, key := range keys {
		point, err := key.private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		// RFC 7638, section 3: only the required members, in lexical order, without white space.
		text := `{"crv":"P-256","kty":"EC","x":"` + base64.RawURLEncoding.EncodeToString(point[1:33]) +
			`","y":"` + base64.RawURLEncoding.EncodeToString(point[33:]) + `"}`
		digest := sha256.Sum256([]byte(text))
		if want := base64.RawURLEncoding.EncodeToString(digest[:]); key.ID != want {
			t.Errorf("the key id is %s, want %s", key.ID, want)
		}
	}
}

func TestPublishedKeysHaveNoPrivateMember(t *testing.T) {
	keys := Keys{fixedKey(t, 1), fixedKey(t, 2)}
	set := newTestIssuer(t, &testTime, keys...).JWKS()
	var read struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(set, &read); err != nil {
		t.Fatal(err)
	}
	want := []string{"alg", "crv", "kid", "kty", "use", "x", "y"}
	for i, k := range read.Keys {
		if got := slices.Sorted(maps.Keys(k)); !slices.Equal(got, want) {
			t.Errorf("a published key has the members %v, want %v", got, want)
		}
		private, err := keys[i].private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(set, []byte(base64.RawURLEncoding.EncodeToString(private))) {
			t.Error("the private part is published")
		}
	}
}

func TestPublishedCoordinatesKeepLeadingZeros(t *testing.T) {
	// One key in 128 has a coordinate that begins with a zero byte: without padding it would be one byte short.
	for i := 1; i <= 1000; i++ {
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), big.NewInt(int64(i)).FillBytes(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		key, err := newKey(private, testTime)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if point[1] != 0 && point[33] != 0 {
			continue
		}
		publishedKeys(t, newTestIssuer(t, &testTime, key).JWKS())
		return
	}
	t.Fatal("none of 1000 keys has such a coordinate: the test needs more candidates")
}
