package password

import (
	"bytes"
	"encoding/base64"
	"errors"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

func hash(t testing.TB, h *Hasher, password string) string {
	t.Helper()
	phc, err := h.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

func TestHashIsAPHCStringOfItsParameters(t *testing.T) {
	phc := hash(t, NewHasher(1), "correct horse")
	parts := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$`).FindStringSubmatch(phc)
	if parts == nil {
		t.Fatalf("the hash is %q", phc)
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(parts[1])
	if err != nil || len(salt) != 16 {
		t.Fatalf("the salt is %x (%v)", salt, err)
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	if want := argon2.IDKey([]byte("correct horse"), salt, 2, 19456, 1, 32); !bytes.Equal(sum, want) {
		t.Error("the hash is not Argon2id of the password with these parameters")
	}
}

func TestSaltsAreFresh(t *testing.T) {
	h := NewHasher(1)
	seen := map[string]bool{}
	for range 5 {
		phc := hash(t, h, "correct horse")
		if seen[phc] {
			t.Fatal("one password gives one hash twice: its salt is not fresh")
		}
		seen[phc] = true
	}
}

func TestVerifyTakesThePasswordExactly(t *testing.T) {
	h := NewHasher(1)
	const password = "Pass\u00e9 wörd 123"
	phc := hash(t, h, password)
	tests := map[string]struct {
		password string
		want     bool
	}{
		"the password":            {password, true},
		"another one":             {"another password", false},
		"nothing":                 {"", false},
		"a space after":           {password + " ", false},
		"a space before":          {" " + password, false},
		"a line break after":      {password + "\n", false},
		"a NUL after":             {password + "\x00", false},
		"small letters":           {strings.ToLower(password), false},
		"capital letters":         {strings.ToUpper(password), false},
		"the decomposed spelling": {strings.ReplaceAll(password, "\u00e9", "e\u0301"), false},
		"the last letter less":    {password[:len(password)-1], false},
		"the last letter changed": {password[:len(password)-1] + "4", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := h.Verify(t.Context(), test.password, phc)
			if err != nil || got != test.want {
				t.Errorf("Verify gives %v and %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestLongPasswordsAreNotCut(t *testing.T) {
	h := NewHasher(1)
	long := strings.Repeat("\U0001F511", 127)
	phc := hash(t, h, long+"a")
	for password, want := range map[string]bool{long + "a": true, long + "b": false, long: false} {
		if got, err := h.Verify(t.Context(), password, phc); err != nil || got != want {
			t.Errorf("Verify gives %v and %v, want %v", got, err, want)
		}
	}
}

func TestHashesOfOtherParametersVerify(t *testing.T) {
	salt := []byte("saltsalt")
	key := argon2.IDKey([]byte("correct horse"), salt, 3, 64, 2, 16)
	phc := "$argon2id$v=19$m=64,t=3,p=2$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(key)
	h := NewHasher(1)
	for password, want := range map[string]bool{"correct horse": true, "correct house": false} {
		if got, err := h.Verify(t.Context(), password, phc); err != nil || got != want {
			t.Errorf("%s: Verify gives %v and %v, want %v", password, got, err, want)
		}
	}
}

func TestMalformedHashIsRefusedBeforeAnyWork(t *testing.T) {
	zeros := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	of := func(parameters string, salt, sum int) string {
		return "$argon2id$" + parameters + "$" + zeros(salt) + "$" + zeros(sum)
	}
	const good = "v=19$m=19456,t=2,p=1"
	tests := map[string]string{
		"nothing":                     "",
		"text":                        "password",
		"bcrypt":                      "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
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
			right, err := h.Verify(t.Context(), "correct horse", phc)
			runtime.ReadMemStats(&after)
			if right || !errors.Is(err, ErrMalformedHash) {
				t.Errorf("Verify gives %v and %v, want ErrMalformedHash", right, err)
			}
			if size := after.TotalAlloc - before.TotalAlloc; size > 1<<20 {
				t.Errorf("Verify allocates %d bytes", size)
			}
		})
	}
}

// Each hash takes its 19 MiB, so what is allocated counts the hashes.
func hashes(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / (memory << 10)
}

func TestEachCallCostsItsHashes(t *testing.T) {
	h := NewHasher(1)
	phc := hash(t, h, "correct horse")
	tooLong := strings.Repeat("a", MaxLength+1)
	tests := map[string]struct {
		call func() error
		want uint64
	}{
		"Hash":                      {func() error { _, err := h.Hash(t.Context(), "correct horse"); return err }, 1},
		"Verify, right":             {func() error { _, err := h.Verify(t.Context(), "correct horse", phc); return err }, 1},
		"Verify, wrong":             {func() error { _, err := h.Verify(t.Context(), "wrong horse", phc); return err }, 1},
		"Verify, wrong and short":   {func() error { _, err := h.Verify(t.Context(), "", phc); return err }, 1},
		"VerifyNone":                {func() error { return h.VerifyNone(t.Context(), "correct horse") }, 1},
		"VerifyNone, short":         {func() error { return h.VerifyNone(t.Context(), "") }, 1},
		"Verify, beyond the bound":  {func() error { _, err := h.Verify(t.Context(), tooLong, phc); return err }, 0},
		"VerifyNone, the same":      {func() error { return h.VerifyNone(t.Context(), tooLong) }, 0},
		"Verify, many times beyond": {func() error { _, err := h.Verify(t.Context(), strings.Repeat("a", 100_000), phc); return err }, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var err error
			if got := hashes(func() { err = test.call() }); got != test.want || err != nil {
				t.Errorf("it costs %d hashes (%v), want %d", got, err, test.want)
			}
		})
	}
}

// The parameters are OWASP's least: a change must be meant.
func TestNewHashesMeetTheRecommendation(t *testing.T) {
	if memory < 19456 || passes < 2 || threads != 1 || saltLen < 16 || hashLen < 32 {
		t.Errorf("m=%d, t=%d, p=%d, %d bytes of salt, %d of hash", memory, passes, threads, saltLen, hashLen)
	}
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher(runtime.GOMAXPROCS(0))
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			hash(b, h, "correct horse battery staple")
		}
	})
	b.Run("on all cores", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := h.Hash(b.Context(), "correct horse battery staple"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
