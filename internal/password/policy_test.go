package password

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestCheckCountsCodePoints(t *testing.T) {
	p := NewPolicy(8)
	emoji := "\U0001F511" // four bytes, one code point
	tests := map[string]struct {
		password string
		want     error
	}{
		"nothing":                             {"", ErrTooShort},
		"7 letters":                           {strings.Repeat("a", 7), ErrTooShort},
		"8 letters":                           {"zygotenx", nil},
		"7 emoji, 28 bytes":                   {strings.Repeat(emoji, 7), ErrTooShort},
		"8 emoji":                             {strings.Repeat(emoji, 8), nil},
		"7 letters of two bytes":              {strings.Repeat("ä", 7), ErrTooShort},
		"8 letters of two bytes":              {strings.Repeat("ä", 8), nil},
		"8 spaces":                            {strings.Repeat(" ", 8), nil},
		"8 NULs":                              {strings.Repeat("\x00", 8), nil},
		"19 emoji, more than bcrypt can take": {strings.Repeat(emoji, 19), nil},
		"64 letters":                          {strings.Repeat("a", 64), nil},
		"128 letters":                         {strings.Repeat("a", 128), nil},
		"129 letters":                         {strings.Repeat("a", 129), ErrTooLong},
		"128 emoji, 512 bytes":                {strings.Repeat(emoji, 128), nil},
		"129 emoji, 516 bytes":                {strings.Repeat(emoji, 129), ErrTooLong},
		"100,000 letters":                     {strings.Repeat("a", 100_000), ErrTooLong},
		"small letters alone":                 {"correcthorsebatterystaple", nil},
		"digits alone":                        {"82640173", nil},
		"Latin-1, which JSON cannot carry":    {"p\xe4ssword1", ErrNotText},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := p.Check(test.password, "alice"); !errors.Is(err, test.want) {
				t.Errorf("Check gives %v, want %v", err, test.want)
			}
		})
	}
}

// A code point has at most four bytes, so 512 bytes are never too many within 128 code points: the bound on bytes
// stands for the day when the bound on code points is raised.
func TestBoundsAgree(t *testing.T) {
	if MaxBytes != 4*MaxLength {
		t.Errorf("MaxBytes is %d: a password of %d code points may have %d bytes", MaxBytes, MaxLength, 4*MaxLength)
	}
	if err := NewPolicy(8).Check(strings.Repeat("\xff", MaxBytes+1), "alice"); !errors.Is(err, ErrTooLong) {
		t.Errorf("513 bytes that are no UTF-8: %v, want ErrTooLong", err)
	}
}

func TestMinimumIsTheConfiguredOneAndNeverLess(t *testing.T) {
	for configured, least := range map[int]int{-1: 8, 0: 8, 7: 8, 8: 8, 15: 15, 64: 64} {
		p := NewPolicy(configured)
		word := strings.Repeat("\U0001F511", least)
		if err := p.Check(word, "alice"); err != nil {
			t.Errorf("minimum %d: %d code points give %v", configured, least, err)
		}
		err := p.Check(strings.TrimSuffix(word, "\U0001F511"), "alice")
		if want := fmt.Sprintf("must have at least %d characters", least); !errors.Is(err, ErrTooShort) || err.Error() != want {
			t.Errorf("minimum %d: one code point less gives %v, want ErrTooShort: %q", configured, err, want)
		}
	}
}

// ASVS 6.2.4 asks for 3,000 at least that the other rules do not refuse anyhow.
func TestListOfCommonPasswords(t *testing.T) {
	p := NewPolicy(MinLength, "latchkey", "localhost")
	list := strings.Split(strings.TrimSuffix(common, "\n"), "\n")
	if len(list) != 17950 {
		t.Errorf("the list has %d entries, want 17,950", len(list))
	}
	seen := map[string]bool{}
	for _, word := range list {
		if utf8.RuneCountInString(word) < MinLength || fold(word) != word || seen[word] {
			t.Errorf("%q is too short to matter, not in the form that is compared, or there twice", word)
		}
		seen[word] = true
		for _, variant := range []string{word, strings.ToUpper(word)} {
			if err := p.Check(variant, "somebody else"); !errors.Is(err, ErrCommon) {
				t.Fatalf("%q is on the list, and Check gives %v", variant, err)
			}
		}
	}
}

func TestCommonPasswordsAreComparedWhole(t *testing.T) {
	for password, want := range map[string]error{
		"password":            ErrCommon,
		"PassWord":            ErrCommon,
		"ｐａｓｓｗｏｒｄ":            ErrCommon, // full-width
		"dimazarya":           ErrCommon, // near the end of the list
		"87654321vv":          ErrCommon, // and at it
		" password":           nil,
		"password ":           nil,
		"password\n":          nil,
		"password\n12345678":  nil, // two lines of the list
		"\npassword":          nil,
		"assword1234x":        nil,
		"qwertyuiopasdfghjk¡": nil,
	} {
		if err := NewPolicy(8).Check(password, "alice"); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: Check gives %v, want %v", password, err, want)
		}
	}
}

func TestNamesAreNoPasswords(t *testing.T) {
	p := NewPolicy(8, "latchkey", "auth.EXAMPLE.com")
	tests := map[string]struct {
		password, username string
		want               error
	}{
		"the user's name":                        {"zygmuntka", "zygmuntka", ErrObvious},
		"the user's name in capitals":            {"ZYGMUNTKA", "zygmuntka", ErrObvious},
		"the password's in full width":           {"ｚｙｇｍｕｎｔｋａ", "Zygmuntka", ErrObvious},
		"the user's name and digits":             {"zygmuntka2026", "zygmuntka", ErrObvious},
		"digits, the user's name and a sign":     {"2026zygmuntka!", "zygmuntka", ErrObvious},
		"a short name and digits":                {"bob82641", "bob", ErrObvious},
		"a name with digits, and others":         {"alice2027", "alice2026", ErrObvious},
		"a name of digits alone":                 {"602214076123", "602214076123", ErrObvious},
		"a name with space around it":            {"zygmuntka", " zygmuntka ", ErrObvious},
		"the local part of an address":           {"zygmuntka_1", "Zygmuntka@example.org", ErrObvious},
		"the whole address":                      {"zygmuntka@example.org", "zygmuntka@example.org", ErrObvious},
		"the service":                            {"latchkey", "alice", ErrObvious},
		"the service and digits":                 {"Latchkey-2026", "alice", ErrObvious},
		"the host":                               {"auth.example.com", "alice", ErrObvious},
		"a part of the host":                     {"example1", "alice", ErrObvious},
		"another part of the host":               {"auth1234!", "alice", ErrObvious},
		"a part of three letters":                {"com-8264!", "alice", nil},
		"another's name":                         {"zygmuntka2026", "alice", nil},
		"a name within":                          {"xzygmuntkax", "zygmuntka", nil},
		"a name twice":                           {"zygmuntkazygmuntka", "zygmuntka", nil},
		"a name and a vowel sign":                {"नमस्ते2026", "नमस्त", nil},
		"other digits than a name of digits":     {"299792458000", "602214076123", nil},
		"digits and signs, where there are none": {"2718-2818!", "alice", nil},
		"no name":                                {"2718-2818!", "", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := p.Check(test.password, test.username); !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("Check gives %v, want %v", err, test.want)
			}
		})
	}
}

// Nothing else is asked of a password: no kinds of characters, no changes of case.
func TestAnyOtherTextIsAPassword(t *testing.T) {
	p := NewPolicy(8, "latchkey", "auth.example.com")
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringOfN(rapid.Rune(), MinLength, MaxLength, MaxBytes).Draw(t, "password")
		lower := strings.ToLower(norm.NFKC.String(password))
		for _, word := range []string{"alice", "latchkey", "auth", "example"} {
			if strings.Contains(lower, word) {
				t.Skip("has a word of the context")
			}
		}
		if strings.Contains("\n"+common, "\n"+lower+"\n") {
			t.Skip("is common")
		}
		if err := p.Check(password, "alice"); err != nil {
			t.Errorf("%q is refused: %v", password, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	p := NewPolicy(8, "latchkey", "auth.example.com")
	for name, password := range map[string]string{"short": "correct horse battery", "long": strings.Repeat("\U0001F511", 128)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Check(password, "alice"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
