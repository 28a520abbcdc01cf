package tokentest

import (
	"strings"
	"testing"
	"time"
)

// wrongClaims are claims that differ from the genuine ones in one thing, under a true signature by the server's own key.
func (f *Forger) wrongClaims(t testing.TB) map[string]string {
	t.Helper()
	issuer, audience := string(f.members["iss"]), strings.Trim(string(f.members["aud"]), "[]")
	const nobody, other = `"00000000-0000-0000-0000-000000000000"`, `"https://other.example.com"`
	list := map[string]string{}
	for name, changes := range map[string]map[string]string{
		"a life of 24 hours":                 {"exp": f.At(t, 24*time.Hour)},
		"a life of 15 minutes and a second":  {"exp": f.At(t, 15*time.Minute+time.Second)},
		"an iat long ago":                    {"iat": f.At(t, -time.Hour)},
		"exp before 1970 with iat before it": {"exp": `-10`, "iat": `-100`},
		"no iss":                             {"iss": ""},
		"no aud":                             {"aud": ""},
		"no sub":                             {"sub": ""},
		"no sid":                             {"sid": ""},
		"no gen":                             {"gen": ""},
		"no jti":                             {"jti": ""},
		"no client_id":                       {"client_id": ""},
		"another issuer":                     {"iss": other},
		"the issuer with a slash":            {"iss": issuer[:len(issuer)-1] + `/"`},
		"the issuer in capitals":             {"iss": strings.ToUpper(issuer)},
		"an empty issuer":                    {"iss": `""`},
		"the issuer in a list":               {"iss": `[` + issuer + `]`},
		"an issuer that is null":             {"iss": `null`},
		"another audience":                   {"aud": `[` + other + `]`},
		"another audience, as a string":      {"aud": other},
		"two other audiences":                {"aud": `[` + other + `,"https://third.example.com"]`},
		"our audience and another":           {"aud": `[` + audience + `,` + other + `]`},
		"another audience and ours":          {"aud": `[` + other + `,` + audience + `]`},
		"an empty audience list":             {"aud": `[]`},
		"an empty audience":                  {"aud": `""`},
		"an audience that is a number":       {"aud": `7`},
		"an audience list of a number":       {"aud": `[7]`},
		"an audience that is an object":      {"aud": `{"aud":` + audience + `}`},
		"an audience that is null":           {"aud": `null`},
		"another client_id":                  {"client_id": `"other"`},
		"a sub that is no UUID":              {"sub": `"alice"`},
		"an empty sub":                       {"sub": `""`},
		"a sub that is a number":             {"sub": `1`},
		"a sub that is null":                 {"sub": `null`},
		"a sub that is true":                 {"sub": `true`},
		"a sub that is an object":            {"sub": `{"id":` + string(f.members["sub"]) + `}`},
		"a sub that is a list":               {"sub": `[` + string(f.members["sub"]) + `]`},
		"a sub that is the nil UUID":         {"sub": nobody},
		"a sub of a kilobyte":                {"sub": `"` + strings.Repeat("a", 1<<10) + `"`},
		"a sub of ten kilobytes":             {"sub": `"` + strings.Repeat("a", 10<<10) + `"`},
		"a sid that is no UUID":              {"sid": `"1"`},
		"a sid that is null":                 {"sid": `null`},
		"a sid that is the nil UUID":         {"sid": nobody},
		"a sid with a path":                  {"sid": `"../../dev/null"`},
		"a sid with SQL":                     {"sid": `"' OR 1=1--"`},
		"a jti that is the nil UUID":         {"jti": nobody},
		"gen 0":                              {"gen": `0`},
		"gen negative":                       {"gen": `-1`},
		"gen a fraction":                     {"gen": `1.5`},
		"gen a string":                       {"gen": `"1"`},
		"gen beyond an integer":              {"gen": `1e300`},
		"roles that are a word":              {"roles": `"admin"`},
		"roles that are numbers":             {"roles": `[1]`},
		"roles nested a thousand levels":     {"roles": strings.Repeat("[", 1000) + strings.Repeat("]", 1000)},
		"an unknown claim":                   {"scope": `"admin"`},
		"longer than the bound":              {"pad": `"` + strings.Repeat("p", 4096) + `"`},
	} {
		list[name] = f.Sign(t, f.Header, f.Change(t, changes))
	}
	return list
}

// oddJSON are payloads that two readers could read in two ways, under a true signature by the server's own key.
func (f *Forger) oddJSON(t testing.TB) map[string]string {
	t.Helper()
	const somebody = `"019b7d5e-0000-7000-8000-00000000ffff"`
	claims := f.Claims
	open := claims[:len(claims)-1] // to be continued
	list := map[string]string{}
	for name, payload := range map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "an empty object": "{}", "a string": `"` + encode(claims) + `"`, "a number": "1",
		"a token": f.genuine, "a second value": claims + "{}", "a comma at the end": open + ",}", "half of it": claims[:len(claims)/2],
		"a byte order mark": "\xef\xbb\xbf" + claims, "a NUL at the end": claims + "\x00",
		"nested a thousand levels": strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"members nested so":        strings.Repeat(`{"a":`, 400) + "1" + strings.Repeat("}", 400),
		"sub twice":                `{"sub":` + somebody + `,` + claims[1:], "sub once more at the end": open + `,"sub":` + somebody + `}`,
		"sub twice, one escaped": open + `,"\u0073ub":` + somebody + `}`,
		"SUB after sub":          open + `,"SUB":` + somebody + `}`, "SUB before sub": `{"SUB":` + somebody + `,` + claims[1:],
		"SUB in place of sub": strings.Replace(claims, `"sub":`, `"SUB":`, 1), "Gen after gen": open + `,"Gen":99}`,
		"exp twice":              open + `,"exp":` + f.At(t, 24*time.Hour) + `}`,
		"a claim that is no UTF": open + ",\"roles\":[\"\xff\"]}",
		"a lone surrogate":       strings.Replace(claims, `"client_id":"`, `"client_id":"\ud800`, 1),
	} {
		list[name] = f.Sign(t, f.Header, payload)
	}
	return list
}

// oddTimes are times that are no times, or too far away, under a true signature by the server's own key.
func (f *Forger) oddTimes(t testing.TB) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, claim := range []string{"exp", "nbf", "iat"} {
		good := string(f.members[claim])
		for name, value := range map[string]string{
			"a string": `"` + good + `"`, "a date": `"2026-01-02T03:14:05Z"`, "0": "0", "-0": "-0", "negative": "-1", "1e300": "1e300", "-1e300": "-1e300",
			"a fraction": good + ".5", "an exponent": good + "e0", "missing": "", "null": "null", "true": "true", "a list": "[" + good + "]",
			"tomorrow": f.At(t, 24*time.Hour), "the last second of an int64": "9223372036854775807", "beyond an int64": "9223372036854775808",
			"in milliseconds": good + "000",
		} {
			list[claim+" "+name] = f.Sign(t, f.Header, f.Change(t, map[string]string{claim: value}))
		}
	}
	return list
}
