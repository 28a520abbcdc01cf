package password

import (
	"runtime"
	"strings"
	"testing"
)

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
	phc := hashOf(t, h, "correct horse")
	const bcrypt = "$2b$10$wR.u9ecNtQZr7wDA1E7u5OsUdElpEQ41pZnr.BCVVmDHa76.erbNq" // of "correct horse battery", as identity
	const identity = "ACAhIiMkJSYnKCkqKywtLi9KiDyZpWH29n7GEVGVcBjhRKzAYZ0YW3mIl0nSjRUf7g=="
	tooLong := strings.Repeat("a", MaxLength+1)
	tests := map[string]struct {
		call func() error
		want uint64
	}{
		"Hash":                      {func() error { _, err := h.Hash(t.Context(), "correct horse"); return err }, 1},
		"Verify, right":             {func() error { _, err := h.Verify(t.Context(), "correct horse", phc); return err }, 1},
		"Verify, wrong":             {func() error { _, err := h.Verify(t.Context(), "wrong horse", phc); return err }, 1},
		"Verify, wrong and short":   {func() error { _, err := h.Verify(t.Context(), "", phc); return err }, 1},
		"Verify, bcrypt, right":     {func() error { _, err := h.Verify(t.Context(), "correct horse battery", bcrypt); return err }, 1},
		"Verify, bcrypt, wrong":     {func() error { _, err := h.Verify(t.Context(), "wrong horse battery", bcrypt); return err }, 1},
		"Verify, bcrypt, 73 bytes":  {func() error { _, err := h.Verify(t.Context(), strings.Repeat("a", 73), bcrypt); return err }, 1},
		"Verify, Identity, right":   {func() error { _, err := h.Verify(t.Context(), "correct horse battery", identity); return err }, 1},
		"Verify, Identity, wrong":   {func() error { _, err := h.Verify(t.Context(), "wrong horse battery", identity); return err }, 1},
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

// wantForeign checks that a hash of another form or other parameters is right for its password alone, and that only then
// there is a replacement, which is of today's form.
func wantForeign(t *testing.T, password, stored string) {
	t.Helper()
	h := NewHasher(1)
	if err := CheckHash(stored); err != nil {
		t.Fatalf("CheckHash gives %v", err)
	}
	verdict, err := h.Verify(t.Context(), password, stored)
	if err != nil || !verdict.Right {
		t.Fatalf("Verify gives %+v and %v for the right password", verdict, err)
	}
	again, err := h.Verify(t.Context(), password, verdict.Replacement)
	if err != nil || again != (Verdict{Right: true}) {
		t.Errorf("for the replacement %s, Verify gives %+v and %v: want it right, and in no need of another", verdict.Replacement, again, err)
	}
	for _, wrong := range []string{password + " ", password + "\x00"} {
		if got, err := h.Verify(t.Context(), wrong, stored); err != nil || got != (Verdict{}) {
			t.Errorf("%q: Verify gives %+v and %v, want it wrong", wrong, got, err)
		}
	}
}
