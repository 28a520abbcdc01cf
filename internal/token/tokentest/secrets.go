package tokentest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"hash"
	"testing"
)

// unsigned are tokens whose header says that there is no signature.
func (f *Forger) unsigned() map[string]string {
	_, claims, stale := cut(f.genuine)
	list := map[string]string{}
	for _, alg := range []string{"none", "None", "NONE", "nOnE"} {
		for name, header := range map[string]string{
			"alone":    `{"alg":"` + alg + `"}`,
			"with kid": `{"alg":"` + alg + `","kid":"` + f.keyID + `","typ":"at+jwt"}`,
		} {
			token := encode(header) + "." + claims
			list[alg+" "+name+", empty signature"] = token + "."
			list[alg+" "+name+", no signature"] = token
			list[alg+" "+name+", stale signature"] = token + "." + stale
		}
	}
	return list
}

// codes are tokens under an HMAC by whatever a forger can know, or guess.
func (f *Forger) codes(t testing.TB) map[string]string {
	t.Helper()
	list := map[string]string{}
	for name, secret := range f.secrets(t) {
		for alg, h := range map[string]func() hash.Hash{"ES256": sha256.New, "HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
			signed := encode(`{"alg":"`+alg+`","kid":"`+f.keyID+`","typ":"at+jwt"}`) + "." + encode(f.Claims)
			code := hmac.New(h, secret)
			code.Write([]byte(signed))
			list["as "+alg+" keyed with "+name] = signed + "." + encode(string(code.Sum(nil)))
		}
	}
	return list
}

// secrets are the public key in every form, and what people choose.
func (f *Forger) secrets(t testing.TB) map[string][]byte {
	t.Helper()
	public := &f.key.PublicKey
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	point := publicPoint(t, public)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	published := publicJWK(t, public, `,"kid":"`+f.keyID+`","alg":"ES256","use":"sig"`)
	list := map[string][]byte{
		"the public key as PEM": text, "the PEM without its last line break": bytes.TrimSpace(text), "the public key as DER": der,
		"the public key as a JWK": []byte(publicJWK(t, public, "")), "the JWK as it is published": []byte(published),
		"the key set": []byte(`{"keys":[` + published + `]}`), "the 65 bytes of the point": point, "the 64 bytes of X and Y": point[1:],
		"the 32 bytes of X": point[1:33], "the 32 bytes of Y": point[33:], "the kid": []byte(f.keyID), "nothing": {}, "a NUL": {0},
		"32 NULs": make([]byte, 32),
	}
	for _, word := range []string{
		"secret", "password", "your-256-bit-secret", "changeme", "key", "jwt", "admin", "test", "123456", "null", "undefined", "latchkey",
	} {
		list["the word "+word] = []byte(word)
	}
	return list
}
