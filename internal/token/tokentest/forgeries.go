package tokentest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// Forgeries are tokens to be refused, by what is wrong with them, whatever the time. Each is short enough for a header of
// 16 KiB but for those of a megabyte.
func (f *Forger) Forgeries(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for kind, list := range map[string]map[string]string{
		"spelling": f.spellings(t), "signature": f.signatures(t), "header": f.headers(t), "unsigned": f.unsigned(),
		"HMAC": f.codes(t), "key": f.foreignKeys(t), "claims": f.wrongClaims(t), "JSON": f.oddJSON(t), "time": f.oddTimes(t),
	} {
		for name, token := range list {
			if token == f.genuine || token == f.other {
				t.Fatalf("%s: %s: this token is genuine", kind, name)
			}
			all[kind+": "+name] = token
		}
	}
	return all
}

// spellings are the genuine token, written in another way than the one that there is.
func (f *Forger) spellings(t testing.TB) map[string]string {
	t.Helper()
	good := f.genuine
	header, claims, signature := cut(good)
	inBase64 := f.genuine // in the alphabet of base64, which only some tokens show
	for !strings.ContainsAny(inBase64, "-_") {
		inBase64 = f.Sign(t, f.Header, f.Claims)
	}
	inBase64 = strings.NewReplacer("-", "+", "_", "/").Replace(inBase64)
	flattened := fmt.Sprintf(`"protected":%q,"signature":%q`, header, signature)
	return map[string]string{
		"nothing":                       "",
		"only dots":                     "..",
		"a megabyte of dots":            strings.Repeat(".", 1<<20),
		"a megabyte of letters":         strings.Repeat("a", 1<<20),
		"one part":                      claims,
		"two parts":                     header + "." + claims,
		"two parts, without claims":     header + "." + signature,
		"four parts":                    good + "." + signature,
		"an empty fourth part":          good + ".",
		"an empty part before":          "." + good,
		"five parts":                    good + "." + claims + "." + signature,
		"a JWE to be decrypted":         encode(`{"alg":"dir","enc":"A256GCM","kid":"`+f.keyID+`"}`) + "." + "." + encode("0123456789ab") + "." + claims + "." + encode("0123456789abcdef"),
		"a JWE around it":               encode(`{"alg":"ECDH-ES","cty":"at+jwt","enc":"A128GCM","kid":"`+f.keyID+`"}`) + ".." + encode("0123456789ab") + "." + encode(good) + "." + encode("0123456789abcdef"),
		"flattened JSON serialisation":  `{"payload":"` + claims + `",` + flattened + `}`,
		"general JSON serialisation":    `{"payload":"` + claims + `","signatures":[{` + flattened + `}]}`,
		"the scheme once more":          "Bearer " + good,
		"twice, with a comma":           good + "," + good,
		"twice, with a space":           good + " " + good,
		"in quotes":                     `"` + good + `"`,
		"its dots escaped":              strings.ReplaceAll(good, ".", "%2E"),
		"the alphabet of base64":        inBase64,
		"in capitals":                   strings.ToUpper(good),
		"in small letters":              strings.ToLower(good),
		"encoded once more":             encode(good),
		"padding after the header":      header + "=." + claims + "." + signature,
		"padding after the claims":      header + "." + claims + "=." + signature,
		"padding after the signature":   good + "==",
		"a space in it":                 header + ". " + claims + "." + signature,
		"a tab in it":                   header + "." + claims + "\t." + signature,
		"a letter of no alphabet":       header + "." + claims + "." + signature[:40] + "é" + signature[40:],
		"a tilde in the signature":      header + "." + claims + "." + signature[:40] + "~" + signature[41:],
		"other bits after the last":     header + "." + claims + "." + otherEnd(t, signature),
		"its signature cut by a letter": good[:len(good)-1],
		"a letter more":                 good + "A",
	}
}

// signatures are other values in the place of the signature over the genuine header and claims.
func (f *Forger) signatures(t testing.TB) map[string]string {
	t.Helper()
	header, claims, signature := cut(f.genuine)
	_, _, another := cut(f.other)
	raw := decode(t, signature)
	r, s := new(big.Int).SetBytes([]byte(raw[:32])), new(big.Int).SetBytes([]byte(raw[32:]))
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	zero, one, n := new(big.Int), big.NewInt(1), elliptic.P256().Params().N
	list := map[string]string{
		"that of another token under other claims": header + "." + encode(f.Change(t, map[string]string{"gen": "2"})) + "." + another,
	}
	for name, value := range map[string]string{
		"none": "", "one byte": "\x00", "of the other token": decode(t, another), "of zeros": fixed(zero, zero), "of ones": fixed(one, one),
		"r is 0": fixed(zero, s), "s is 0": fixed(r, zero), "r is n": fixed(n, s), "s is n": fixed(r, n), "r is 1": fixed(one, s),
		"r and s changed places": fixed(s, r), "r alone": raw[:32], "63 bytes": raw[:63], "63 bytes, the last ones": raw[1:],
		"65 bytes": raw + "\x00", "65 bytes, with a zero before": "\x00" + raw,
		"66 bytes, with a zero before r and s": "\x00" + raw[:32] + "\x00" + raw[32:],
		"66 bytes, with a zero after r and s":  raw[:32] + "\x00" + raw[32:] + "\x00",
		"of the length of ES384":               raw + raw[:32], "of the length of ES512": raw + raw + raw[:4], "twice": raw + raw,
		"in DER": string(der), "in hexadecimal": fmt.Sprintf("%x", raw),
	} {
		list[name] = header + "." + claims + "." + encode(value)
	}
	return list
}

// headers differ from the genuine one in one thing, under a true signature by the server's own key.
func (f *Forger) headers(t testing.TB) map[string]string {
	t.Helper()
	const typ = `"typ":"at+jwt"`
	kid := `"kid":"` + f.keyID + `"`
	texts := map[string]string{
		"of no JSON": "not JSON", "of null": "null", "of a list": "[]", "empty": "", "an object without a member": "{}",
		"with white space": `{"alg": "ES256",` + kid + `,` + typ + `}`, "in another order": `{` + typ + `,"alg":"ES256",` + kid + `}`,
		"and a second one": f.Header + f.Header, "nested a thousand levels": strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"crit": `{"alg":"ES256","crit":["exp"],` + kid + `,` + typ + `}`, "crit, empty": `{"alg":"ES256","crit":[],` + kid + `,` + typ + `}`,
		"crit with an unknown name": `{"alg":"ES256","crit":["x"],` + kid + `,` + typ + `,"x":1}`,
		"b64 false":                 `{"alg":"ES256","b64":false,"crit":["b64"],` + kid + `,` + typ + `}`,
		"b64 false, without crit":   `{"alg":"ES256","b64":false,` + kid + `,` + typ + `}`,
		"zip":                       `{"alg":"ES256",` + kid + `,` + typ + `,"zip":"DEF"}`, "cty": `{"alg":"ES256","cty":"JWT",` + kid + `,` + typ + `}`,
		"alg twice, none first": `{"alg":"none","alg":"ES256",` + kid + `,` + typ + `}`, "alg twice, none last": `{"alg":"ES256","alg":"none",` + kid + `,` + typ + `}`,
		"ALG beside alg": `{"alg":"ES256","ALG":"none",` + kid + `,` + typ + `}`,
		"kid twice":      `{"alg":"ES256","kid":"x",` + kid + `,` + typ + `}`,
		"no typ":         `{"alg":"ES256",` + kid + `}`,
		"no kid":         `{"alg":"ES256",` + typ + `}`,
		"no alg":         `{` + kid + `,` + typ + `}`,
	}
	for _, alg := range []string{
		`"es256"`, `"ES256K"`, `"ES384"`, `"ES512"`, `"HS256"`, `"HS384"`, `"HS512"`, `"RS256"`, `"PS256"`, `"EdDSA"`, `"Ed25519"`, `"none"`,
		`""`, `" ES256"`, `"ES256\u0000"`, `["ES256"]`, `null`, `256`, `true`,
	} {
		texts["alg "+alg] = `{"alg":` + alg + `,` + kid + `,` + typ + `}`
	}
	for _, other := range []string{
		`"JWT"`, `"jwt"`, `"AT+JWT"`, `"at+JWT"`, `"application/at+jwt"`, `"refresh+jwt"`, `"mfa+jwt"`, `"id+jwt"`, `"dpop+jwt"`, `"at+jwt "`,
		`""`, `["at+jwt"]`, `null`, `1`,
	} {
		texts["typ "+other] = `{"alg":"ES256",` + kid + `,"typ":` + other + `}`
	}
	for name, other := range map[string]string{
		"empty": `""`, "unknown": `"unknown"`, "a path": `"../../dev/null"`, "an absolute path": `"/dev/null"`, "SQL": `"' OR 1=1--"`,
		"SQL that gives a key": `"x' UNION SELECT 'key'--"`, "a URL": `"` + f.url + `"`, "a command": `"|/bin/true"`, "NUL": `"\u0000"`,
		"ours and NUL": `"` + f.keyID + `\u0000"`, "ours and a space": `"` + f.keyID + ` "`, "ours in small letters": `"` + strings.ToLower(f.keyID) + `"`,
		"a number": "1", "a list": `["` + f.keyID + `"]`, "an object": `{"kid":"` + f.keyID + `"}`, "null": "null", "true": "true",
		"of a kilobyte": `"` + strings.Repeat("k", 1<<10) + `"`, "of ten kilobytes": `"` + strings.Repeat("k", 10<<10) + `"`,
	} {
		texts["kid "+name] = `{"alg":"ES256","kid":` + other + `,` + typ + `}`
	}
	list := map[string]string{}
	for name, text := range texts {
		list[name] = f.Sign(t, text, f.Claims)
	}
	return list
}

// foreignKeys are tokens signed by a key that the server does not have, by whatever way they say where it is.
func (f *Forger) foreignKeys(t testing.TB) map[string]string {
	t.Helper()
	jwk := publicJWK(t, &f.attacker.PublicKey, "")
	certificate := f.certificate(t)
	list := map[string]string{
		"another under our header": Sign(t, f.attacker, f.Header, f.Claims),
		"claims nested by another": Sign(t, f.attacker, f.Header, strings.Repeat("[", 1000)+strings.Repeat("]", 1000)),
		"claims that are no UTF-8": Sign(t, f.attacker, f.Header, "{\"sub\":\"\xff\"}"),
	}
	for name, pointer := range map[string]string{
		"jwk": `"jwk":` + jwk, "jku": `"jku":"` + f.url + `/jwks.json"`, "x5u": `"x5u":"` + f.url + `/certificate.pem"`,
		"x5c": `"x5c":["` + base64.StdEncoding.EncodeToString(certificate) + `"]`, "nothing": `"x":0`,
	} {
		for whose, kid := range map[string]string{"our kid": `"kid":"` + f.keyID + `",`, "its own kid": `"kid":"attacker",`, "no kid": ""} {
			header := `{"alg":"ES256",` + kid + pointer + `,"typ":"at+jwt"}`
			list["another, named by "+name+" and "+whose] = Sign(t, f.attacker, header, f.Claims)
			list["ours, but named by "+name+" and "+whose] = f.Sign(t, header, f.Claims)
		}
	}
	return list
}

func (f *Forger) certificate(t testing.TB) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &f.attacker.PublicKey, f.attacker)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// publicJWK is a public key as JSON, with the given further members.
func publicJWK(t testing.TB, public *ecdsa.PublicKey, further string) string {
	t.Helper()
	point := string(publicPoint(t, public))
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":"%s","y":"%s"%s}`, encode(point[1:33]), encode(point[33:]), further)
}

// publicPoint is a public key as 0x04 ‖ X ‖ Y.
func publicPoint(t testing.TB, public *ecdsa.PublicKey) []byte {
	t.Helper()
	point, err := public.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return point
}

func cut(token string) (header, claims, signature string) {
	parts := strings.Split(token, ".")
	return parts[0], parts[1], parts[2]
}

// otherEnd changes the bits after the last byte: a decoder that is not strict finds the same bytes.
func otherEnd(t testing.TB, part string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, part[len(part)-1])
	changed := part[:len(part)-1] + alphabet[last+1:last+2]
	if decode(t, changed) != decode(t, part) {
		t.Fatalf("%s and %s are not the same bytes", changed, part)
	}
	return changed
}
