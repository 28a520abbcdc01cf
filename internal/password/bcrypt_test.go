package password

import (
	"strings"
	"testing"
)

// The first is of jBCrypt's tests, the second is Laravel's, and Python's bcrypt made the others. They are few
// because the race detector makes bcrypt fifty times as slow.
func TestBcryptHashesVerify(t *testing.T) {
	tests := map[string]struct{ password, hash string }{
		"2a, three letters":  {"abc", "$2a$10$WvvTPHKwdBJ3uk0Z37EMR.hLA2W6N9AEBhEgrAOljy2Ae5MtaSIUi"},
		"2y":                 {"password", "$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi"},
		"2b, cost 11, UTF-8": {"Pässwörd \U0001F511 ключ", "$2b$11$yLJWK9GKzex.UTGNkvreiuECQXLtIy/W4uhSHkwenlRaLzBvjdx82"},
		"2b, 72 bytes":       {strings.Repeat("0123456789", 7) + "ab", "$2b$10$B9uuLT1/wlRDoqMtWk0EbexOmgkenHd2SnrxvTA61VlKh9U37V/MG"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { wantForeign(t, test.password, test.hash) })
	}
}

// bcrypt looks at 72 bytes: what begins with the password is not the password. The empty password's hash is the one
// that those which bcrypt cannot hash are compared with.
func TestBcryptTakesNoOtherPasswordForItsOwn(t *testing.T) {
	full := strings.Repeat("0123456789", 7) + "ab"
	tests := map[string]struct{ password, hash string }{
		"73 bytes, of which 72 match": {full + "c", "$2b$10$B9uuLT1/wlRDoqMtWk0EbexOmgkenHd2SnrxvTA61VlKh9U37V/MG"},
		"512 bytes":                   {full + strings.Repeat("c", 56), "$2b$10$B9uuLT1/wlRDoqMtWk0EbexOmgkenHd2SnrxvTA61VlKh9U37V/MG"},
		"a NUL and a tail":            {"password\x00tail", "$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi"},
		"73 bytes for nothing":        {full + "c", "$2a$10$k1wbIrmNyFAPwPVPSVa/zecw2BCEnBwVS2GbrmgzxFUOqW9dk4TCW"},
		"a NUL for nothing":           {"\x00", "$2a$10$k1wbIrmNyFAPwPVPSVa/zecw2BCEnBwVS2GbrmgzxFUOqW9dk4TCW"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := NewHasher(1).Verify(t.Context(), test.password, test.hash); err != nil || got != (Verdict{}) {
				t.Errorf("Verify gives %+v and %v, want it wrong", got, err)
			}
		})
	}
}
