package password

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

func hashOf(t testing.TB, h *Hasher, password string) string {
	t.Helper()
	phc, err := h.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

func TestHashIsAPHCStringOfItsParameters(t *testing.T) {
	phc := hashOf(t, NewHasher(1), "correct horse")
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
		phc := hashOf(t, h, "correct horse")
		if seen[phc] {
			t.Fatal("one password gives one hash twice: its salt is not fresh")
		}
		seen[phc] = true
	}
}

func TestVerifyTakesThePasswordExactly(t *testing.T) {
	h := NewHasher(1)
	const password = "Pass\u00e9 wörd 123"
	phc := hashOf(t, h, password)
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
			if err != nil || got != (Verdict{Right: test.want}) {
				t.Errorf("Verify gives %v and %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestLongPasswordsAreNotCut(t *testing.T) {
	h := NewHasher(1)
	long := strings.Repeat("\U0001F511", 127)
	phc := hashOf(t, h, long+"a")
	for password, want := range map[string]bool{long + "a": true, long + "b": false, long: false} {
		if got, err := h.Verify(t.Context(), password, phc); err != nil || got != (Verdict{Right: want}) {
			t.Errorf("Verify gives %v and %v, want %v", got, err, want)
		}
	}
}

// The first three are of phc-winner-argon2's own tests (src/test.c), the last one of argon2-cffi 21.
func TestArgon2HashesOfOthersVerify(t *testing.T) {
	tests := map[string]struct{ password, phc string }{
		"64 MiB":              {"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		"256 KiB":             {"password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		"256 KiB, 2 threads":  {"password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		"64 MiB and 16 bytes": {"correct horse battery", "$argon2id$v=19$m=65536,t=3,p=4$wFDlMXcSzdCLP9qaenZeBQ$WfxAAW7HS78m9jR7rWW0lQ"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { wantForeign(t, test.password, test.phc) })
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
			hashOf(b, h, "correct horse battery staple")
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
