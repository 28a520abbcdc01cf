package password

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
)

func TestMalformedHashIsRefusedBeforeAnyWork(t *testing.T) {
	zeros := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	of := func(parameters string, salt, sum int) string {
		return "$argon2id$" + parameters + "$" + zeros(salt) + "$" + zeros(sum)
	}
	const good = "v=19$m=19456,t=2,p=1"
	tests := map[string]string{
		"nothing":                     "",
		"text":                        "password",
		"MD5":                         "5f4dcc3b5aa765d61d8327deb882cf99",
		"crypt's SHA-512":             "$6$saltsalt$" + strings.Repeat("a", 86),
		"256 bytes":                   of(good, 16, 32) + strings.Repeat("A", 256-len(of(good, 16, 32))),
		"bcrypt with cost 9":          bcryptOf("2b", "09"),
		"bcrypt with cost 15":         bcryptOf("2b", "15"),
		"bcrypt with cost 31":         bcryptOf("2b", "31"),
		"bcrypt with cost 99":         bcryptOf("2b", "99"),
		"bcrypt of the faulty form":   bcryptOf("2x", "10"),
		"bcrypt of the first form":    bcryptOf("2", "10"),
		"bcrypt, cut":                 bcryptOf("2b", "10")[:59],
		"bcrypt and more":             bcryptOf("2b", "10") + ".",
		"bcrypt and a line break":     bcryptOf("2b", "10") + "\n",
		"bcrypt of other letters":     bcryptOf("2b", "10")[:59] + "+",
		"Identity 2, cut":             identity(make([]byte, 48)),
		"Identity 2 and more":         identity(make([]byte, 50)),
		"Identity 3, its type alone":  identity([]byte{1}),
		"Identity 4":                  identity(append([]byte{2}, identity3(1, 1000, 16, 16, 32)[1:]...)),
		"Identity without a step":     identity(identity3(1, 0, 16, 16, 32)),
		"Identity, a million and one": identity(identity3(1, 1_000_001, 16, 16, 32)),
		"Identity, 2^32-1 steps":      identity(identity3(1, 1<<32-1, 16, 16, 32)),
		"Identity, an unknown PRF":    identity(identity3(3, 1000, 16, 16, 32)),
		"Identity, a salt of 15":      identity(identity3(1, 1000, 15, 15, 32)),
		"Identity, a salt of 65":      identity(identity3(1, 1000, 65, 65, 32)),
		"Identity, a salt of 2^31":    identity(identity3(1, 1000, 1<<31, 16, 32)),
		"Identity, a salt of 2^32-1":  identity(identity3(1, 1000, 1<<32-1, 16, 32)),
		"Identity, a salt beyond it":  identity(identity3(1, 1000, 64, 16, 32)),
		"Identity, a subkey of 15":    identity(identity3(1, 1000, 16, 16, 15)),
		"Identity, a subkey of 65":    identity(identity3(1, 1000, 16, 16, 65)),
		"Identity without padding":    strings.TrimRight(identity(identity3(1, 1000, 16, 16, 32)), "="),
		"Identity and a line break":   identity(identity3(1, 1000, 16, 16, 32)) + "\n",
		"a letter":                    "A",
		"four letters":                "AAAA",
		"argon2i":                     strings.Replace(of(good, 16, 32), "argon2id", "argon2i", 1),
		"argon2d":                     strings.Replace(of(good, 16, 32), "argon2id", "argon2d", 1),
		"another version":             of("v=16$m=19456,t=2,p=1", 16, 32),
		"no version":                  of("m=19456,t=2,p=1", 16, 32),
		"4 GiB of memory":             of("v=19$m=4194304,t=2,p=1", 16, 32),
		"128 MiB and 1 KiB":           of("v=19$m=131073,t=2,p=1", 16, 32),
		"memory beyond 32 bits":       of("v=19$m=4294986752,t=2,p=1", 16, 32),
		"negative memory":             of("v=19$m=-19456,t=2,p=1", 16, 32),
		"less memory than threads":    of("v=19$m=7,t=2,p=1", 16, 32),
		"no memory":                   of("v=19$m=0,t=2,p=1", 16, 32),
		"11 passes":                   of("v=19$m=19456,t=11,p=1", 16, 32),
		"no pass":                     of("v=19$m=19456,t=0,p=1", 16, 32),
		"5 threads":                   of("v=19$m=19456,t=2,p=5", 16, 32),
		"257 threads":                 of("v=19$m=19456,t=2,p=257", 16, 32),
		"no thread":                   of("v=19$m=19456,t=2,p=0", 16, 32),
		"a salt of 7 bytes":           of(good, 7, 32),
		"a salt of 65 bytes":          of(good, 65, 32),
		"a hash of 15 bytes":          of(good, 16, 15),
		"a hash of 65 bytes":          of(good, 16, 65),
		"no hash":                     of(good, 16, 0),
		"parameters in another order": of("v=19$t=2,m=19456,p=1", 16, 32),
		"a parameter less":            of("v=19$m=19456,t=2", 16, 32),
		"a parameter more":            of("v=19$m=19456,t=2,p=1,keyid=1", 16, 32),
		"text behind the parameters":  of("v=19$m=19456,t=2,p=1x", 16, 32),
		"text behind the version":     of("v=19 $m=19456,t=2,p=1", 16, 32),
		"a plus sign":                 of("v=19$m=+19456,t=2,p=1", 16, 32),
		"padding":                     of(good, 16, 32) + "=",
		"a line break":                of(good, 16, 32) + "\n",
		"a part more":                 of(good, 16, 32) + "$",
		"text before":                 "x" + of(good, 16, 32),
		"bits beyond the last byte":   strings.TrimSuffix(of(good, 16, 32), "A") + "B",
		"the URL alphabet":            "$argon2id$" + good + "$" + zeros(16) + "$" + strings.Repeat("-", 43),
	}
	h := NewHasher(1)
	for name, phc := range tests {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			verdict, err := h.Verify(t.Context(), "correct horse", phc)
			runtime.ReadMemStats(&after)
			if verdict != (Verdict{}) || !errors.Is(err, ErrMalformedHash) {
				t.Errorf("Verify gives %+v and %v, want ErrMalformedHash", verdict, err)
			}
			if size := after.TotalAlloc - before.TotalAlloc; size > 1<<20 {
				t.Errorf("Verify allocates %d bytes", size)
			}
			if err := CheckHash(phc); !errors.Is(err, ErrMalformedHash) || len(phc) > 4 && strings.Contains(err.Error(), phc) {
				t.Errorf("CheckHash gives %v, want an ErrMalformedHash that does not repeat the hash", err)
			}
		})
	}
}

func bcryptOf(form, cost string) string {
	return "$" + form + "$" + cost + "$" + strings.Repeat("a", 53)
}

func identity(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// identity3 is a hash of version 3 that says it has saltLen bytes of salt, and has salt, and subkey of subkey.
func identity3(prf, iterations, saltLen uint32, salt, subkey int) []byte {
	b := []byte{1}
	for _, n := range []uint32{prf, iterations, saltLen} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, make([]byte, salt+subkey)...)
}

func TestCheckHashSaysWhatIsWrong(t *testing.T) {
	for hash, want := range map[string]string{
		"":                                   "is empty",
		"5f4dcc3b5aa765d61d8327deb882cf99":   "is of no form that is known here",
		bcryptOf("2b", "08"):                 "is of bcrypt with cost 8: want 10 to 14",
		bcryptOf("2x", "10"):                 "is no hash of bcrypt",
		"$argon2i$v=19$m=65536,t=2,p=1$c$d":  "is of another Argon2 than argon2id",
		"$argon2id$v=19$m=65536,t=2,p=1$c$d": "is no PHC string of argon2id",
		"$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "has parameters out of bounds: want m up to 131072",
		identity(identity3(1, 1_000_001, 16, 16, 32)):                                              "has 1000001 iterations: want 1 to 1000000",
		strings.Repeat("A", 256): "is longer than 255 bytes",
	} {
		if err := CheckHash(hash); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: CheckHash gives %q, want %q", hash, err, want)
		}
	}
}
