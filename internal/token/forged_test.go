package token

import (
	"bytes"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// forgeries are tokens that this server did not sign, by name: each is refused whatever the clock says.
func forgeries(t *testing.T, issuer *Issuer, key Key) map[string]string {
	t.Helper()
	good := sign(t, issuer)
	parts := strings.Split(good, ".")
	claims, header := claimsText(t, nil), headerOf(key)
	attacker := fixedKey(t, 9)
	jwk, err := attacker.jwk()
	if err != nil {
		t.Fatal(err)
	}
	attackerJWK, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{
		"an empty signature":                    parts[0] + "." + parts[1] + ".",
		"no signature part":                     parts[0] + "." + parts[1],
		"the signature of another token":        parts[0] + "." + parts[1] + "." + strings.Split(sign(t, issuer), ".")[2],
		"a signature of zeros":                  parts[0] + "." + parts[1] + "." + encode(strings.Repeat("\x00", 64)),
		"a signature in DER":                    parts[0] + "." + parts[1] + "." + encode(asDER(t, parts[2])),
		"a signature that is cut":               parts[0] + "." + parts[1] + "." + encode(decode(t, parts[2])[:63]),
		"a signature with a byte more":          parts[0] + "." + parts[1] + "." + encode(decode(t, parts[2])+"\x00"),
		"other claims under the signature":      parts[0] + "." + encode(claims) + "." + parts[2],
		"one part":                              parts[1],
		"two parts":                             parts[0] + "." + parts[1],
		"four parts":                            good + "." + parts[2],
		"an empty fourth part":                  good + ".",
		"an empty part before":                  "." + good,
		"five parts, like a JWE":                good + "." + parts[1] + "." + parts[2],
		"only dots":                             "..",
		"nothing":                               "",
		"JSON serialisation":                    fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
		"a scheme before":                       "Bearer " + good,
		"a key that is not loaded":              forge(t, attacker, headerOf(attacker), claims),
		"another key under our kid":             forge(t, attacker, header, claims),
		"an attacker's key in the header":       forge(t, attacker, `{"alg":"ES256","jwk":`+string(attackerJWK)+`,"kid":"`+key.ID+`","typ":"at+jwt"}`, claims),
		"an attacker's key and its kid":         forge(t, attacker, `{"alg":"ES256","jwk":`+string(attackerJWK)+`,"kid":"`+attacker.ID+`","typ":"at+jwt"}`, claims),
		"an attacker's jku":                     forge(t, attacker, `{"alg":"ES256","jku":"http://127.0.0.1:9/jwks","kid":"`+attacker.ID+`","typ":"at+jwt"}`, claims),
		"an attacker's x5u":                     forge(t, attacker, `{"alg":"ES256","kid":"`+attacker.ID+`","typ":"at+jwt","x5u":"http://127.0.0.1:9/c"}`, claims),
		"an attacker's x5c":                     forge(t, attacker, `{"alg":"ES256","kid":"`+attacker.ID+`","typ":"at+jwt","x5c":["AAAA"]}`, claims),
		"nested a thousand levels":              forge(t, attacker, strings.Repeat("[", 1000)+strings.Repeat("]", 1000), claims),
		"claims nested a thousand levels":       forge(t, attacker, header, strings.Repeat("[", 1000)+strings.Repeat("]", 1000)),
		"a header of no JSON":                   forge(t, key, "not JSON", claims),
		"a header of null":                      forge(t, key, "null", claims),
		"a header that is empty":                forge(t, key, "", claims),
		"a kid of 10 KiB":                       forge(t, key, `{"alg":"ES256","kid":"`+strings.Repeat("k", 10<<10)+`","typ":"at+jwt"}`, claims),
		"a refresh token":                       newTestRefreshKeys(t, secretOf(1)).Encode(newTestRefreshKeys(t, secretOf(1)).First(testSession)),
		"signed claims of null":                 forge(t, key, header, "null"),
		"signed claims of a list":               forge(t, key, header, "[]"),
		"signed claims that are empty":          forge(t, key, header, ""),
		"signed claims with a second value":     forge(t, key, header, claims+"{}"),
		"signed claims, longer than the bound":  forge(t, key, header, claimsText(t, map[string]string{"pad": `"` + strings.Repeat("p", MaxAccessLength) + `"`})),
		"signed sub twice":                      forge(t, key, header, `{"sub":"`+testSession.String()+`",`+claims[1:]),
		"signed sub and after it SUB":           forge(t, key, header, claims[:len(claims)-1]+`,"SUB":"`+testSession.String()+`"}`),
		"signed SUB in place of sub":            forge(t, key, header, strings.Replace(claims, `"sub":`, `"SUB":`, 1)),
		"signed gen and after it Gen":           forge(t, key, header, claims[:len(claims)-1]+`,"Gen":99}`),
		"a byte that is no UTF-8 in the claims": forge(t, attacker, header, "{\"sub\":\"\xff\"}"),
	}
	// Headers that differ from ours in one thing, under a true signature by our own key.
	for name, h := range map[string]string{
		"no typ":                `{"alg":"ES256","kid":"` + key.ID + `"}`,
		"typ JWT":               `{"alg":"ES256","kid":"` + key.ID + `","typ":"JWT"}`,
		"typ refresh+jwt":       `{"alg":"ES256","kid":"` + key.ID + `","typ":"refresh+jwt"}`,
		"typ a list":            `{"alg":"ES256","kid":"` + key.ID + `","typ":["at+jwt"]}`,
		"no kid":                `{"alg":"ES256","typ":"at+jwt"}`,
		"an empty kid":          `{"alg":"ES256","kid":"","typ":"at+jwt"}`,
		"a kid that is unknown": `{"alg":"ES256","kid":"unknown","typ":"at+jwt"}`,
		"a kid with a path":     `{"alg":"ES256","kid":"../../dev/null","typ":"at+jwt"}`,
		"a kid with SQL":        `{"alg":"ES256","kid":"' OR 1=1--","typ":"at+jwt"}`,
		"a kid with NUL":        `{"alg":"ES256","kid":"` + key.ID + `\u0000","typ":"at+jwt"}`,
		"a kid that is a digit": `{"alg":"ES256","kid":1,"typ":"at+jwt"}`,
		"a kid that is a list":  `{"alg":"ES256","kid":["` + key.ID + `"],"typ":"at+jwt"}`,
		"crit":                  `{"alg":"ES256","crit":["exp"],"kid":"` + key.ID + `","typ":"at+jwt"}`,
		"an unknown crit":       `{"alg":"ES256","crit":["x"],"kid":"` + key.ID + `","typ":"at+jwt","x":1}`,
		"b64 false":             `{"alg":"ES256","b64":false,"crit":["b64"],"kid":"` + key.ID + `","typ":"at+jwt"}`,
		"alg twice":             `{"alg":"none","alg":"ES256","kid":"` + key.ID + `","typ":"at+jwt"}`,
		"no alg":                `{"kid":"` + key.ID + `","typ":"at+jwt"}`,
		"alg in small letters":  `{"alg":"es256","kid":"` + key.ID + `","typ":"at+jwt"}`,
		"alg ES384":             `{"alg":"ES384","kid":"` + key.ID + `","typ":"at+jwt"}`,
		"alg EdDSA":             `{"alg":"EdDSA","kid":"` + key.ID + `","typ":"at+jwt"}`,
		"alg RS256":             `{"alg":"RS256","kid":"` + key.ID + `","typ":"at+jwt"}`,
		"alg a list":            `{"alg":["ES256"],"kid":"` + key.ID + `","typ":"at+jwt"}`,
		"white space":           `{"alg": "ES256","kid":"` + key.ID + `","typ":"at+jwt"}`,
		"zip":                   `{"alg":"ES256","kid":"` + key.ID + `","typ":"at+jwt","zip":"DEF"}`,
	} {
		list["header: "+name] = forge(t, key, h, claims)
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE"} {
		unsigned := encode(`{"alg":"`+alg+`","kid":"`+key.ID+`","typ":"at+jwt"}`) + "." + encode(claims)
		list["alg "+alg+", empty signature"] = unsigned + "."
		list["alg "+alg+", no signature"] = unsigned
		list["alg "+alg+", stale signature"] = unsigned + "." + parts[2]
	}
	for name, secret := range hmacSecrets(t, key) {
		for _, alg := range []string{"HS256", "ES256"} {
			signed := encode(`{"alg":"`+alg+`","kid":"`+key.ID+`","typ":"at+jwt"}`) + "." + encode(claims)
			h := hmac.New(sha256.New, secret)
			h.Write([]byte(signed))
			list["an HMAC as "+alg+" keyed with "+name] = signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
		}
	}
	return list
}

// hmacSecrets are what a forger can know of a server: its public key in every form, and what people choose as a secret.
func hmacSecrets(t *testing.T, key Key) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.jwk()
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return map[string][]byte{
		"the public key as PEM": text, "the PEM without its line break": bytes.TrimSpace(text), "the public key as DER": der,
		"the public key as JWK": jwk, "the public point": point, "the public X": point[1:33], "the kid": []byte(key.ID),
		"nothing": {}, "a NUL": {0}, "secret": []byte("secret"), "password": []byte("password"), "your-256-bit-secret": []byte("your-256-bit-secret"),
	}
}

func TestForgedAccessTokenIsRefused(t *testing.T) {
	now := testTime
	key := fixedKey(t, 1)
	issuer := newTestIssuer(t, &now, key)
	for name, raw := range forgeries(t, issuer, key) {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, issuer.Verify, raw)
			wantRefused(t, issuer.VerifyIgnoringTime, raw)
		})
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

// asDER is the signature in the form that X.509 and TLS use.
func asDER(t *testing.T, signature string) string {
	t.Helper()
	raw := []byte(decode(t, signature))
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
	if err != nil {
		t.Fatal(err)
	}
	return string(der)
}
