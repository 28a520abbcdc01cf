package account

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestCanonicalName(t *testing.T) {
	tests := map[string]struct{ name, want string }{
		"nothing":                                  {"", ""},
		"small letters":                            {"alice", "alice"},
		"capital letters":                          {"ALICE", "alice"},
		"mixed letters":                            {"aLiCe", "alice"},
		"full-width letters":                       {"Ａｌｉｃｅ", "alice"},
		"full-width digits":                        {"user１２３", "user123"},
		"a ligature":                               {"ﬁona", "fiona"},
		"a ligature of three letters":              {"oﬃce", "office"},
		"circled letters":                          {"ⒶⓁⒾⒸⒺ", "alice"},
		"mathematical letters":                     {"𝐀𝐥𝐢𝐜𝐞", "alice"},
		"superscript digits":                       {"bob²", "bob2"},
		"sharp s":                                  {"straße", "strasse"},
		"capital sharp s":                          {"STRAẞE", "strasse"},
		"sharp s written out":                      {"STRASSE", "strasse"},
		"Turkish dotted capital I":                 {"İstanbul", "i̇stanbul"},
		"Turkish dotless i stays another letter":   {"ısparta", "ısparta"},
		"capital I is a dotted one, as in English": {"ISPARTA", "isparta"},
		"Greek final sigma":                        {"ΟΔΥΣΣΕΥΣ", "οδυσσευσ"},
		"Greek final sigma in small letters":       {"οδυσσευς", "οδυσσευσ"},
		"Greek iota subscript":                     {"ᾳβγ", "αιβγ"},
		"Kelvin sign":                              {"\u212Aelvin", "kelvin"},
		"Angstrom sign":                            {"\u212Bngstrom", "\u00e5ngstrom"},
		"long s":                                   {"ſam", "sam"},
		"a composed letter":                        {"Ren\u00e9e", "ren\u00e9e"},
		"a decomposed letter":                      {"Rene\u0301e", "ren\u00e9e"},
		"marks in another order":                   {"a\u0323\u0307bc", "\u1ea1\u0307bc"},
		"marks in the canonical order":             {"a\u0307\u0323bc", "\u1ea1\u0307bc"},
		"Hangul in parts":                          {"\u1112\u1161\u11ab글", "한글"},
		"half-width Katakana":                      {"ｱﾘｽ", "アリス"},
		"surrounding spaces":                       {"  alice\t\n", "alice"},
		"surrounding no-break spaces":              {"\u00a0alice\u202f", "alice"},
		"surrounding ideographic spaces":           {"\u3000alice\u3000", "alice"},
		"a space inside stays":                     {"alice b", "alice b"},
		"a no-break space inside is a space":       {"alice\u00a0b", "alice b"},
		"an emoji":                                 {"\U0001F511key", "\U0001F511key"},
		"Cyrillic stays another alphabet":          {"АЛИСА", "алиса"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := CanonicalName(test.name); got != test.want {
				t.Errorf("CanonicalName(%q) is %+q, want %+q", test.name, got, test.want)
			}
		})
	}
}

// Every letter by itself and among marks that move and fold: a canonical name has no other canonical name.
func TestCanonicalNameOfEveryLetter(t *testing.T) {
	faults := 0
	for r := rune(0); r <= 0x1FFFF && faults < 20; r++ { // beyond, nothing has a case
		plain := 0x3400 <= r && r <= 0xD7A3 || 0x17000 <= r && r <= 0x18FFF // ideographs and syllables
		if plain && r%16 != 0 || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z) {
			continue
		}
		for _, name := range []string{string(r), "a" + string(r) + "\u0345\u0301b"} {
			once := CanonicalName(name)
			for variant, other := range map[string]string{"canonical": once, "decomposed": norm.NFD.String(name), "compatible": norm.NFKC.String(name)} {
				if got := CanonicalName(other); got != once {
					t.Errorf("%U: its %s spelling is %+q, not %+q", r, variant, got, once)
					faults++
				}
			}
		}
	}
}

func TestCanonicalNameIsOneForAllSpellings(t *testing.T) {
	marks := []rune{'\u0301', '\u0323', '\u0307', '\u0345', '\u0308', '\u0327'}
	letter := rapid.OneOf(
		rapid.RuneFrom(nil, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Hangul, unicode.Armenian, unicode.Cherokee),
		rapid.RuneFrom(marks), rapid.RuneFrom([]rune("aAiIİıſßẞςσﬁＡ \u00a0\u3000")), rapid.Rune(),
	)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(letter).Draw(t, "name")
		want := CanonicalName(name)
		for variant, other := range map[string]string{
			"canonical": want, "composed": norm.NFC.String(name), "decomposed": norm.NFD.String(name),
			"compatible": norm.NFKC.String(name), "compatible and decomposed": norm.NFKD.String(name),
			"spaced": " \u00a0" + name + "\u3000\t",
		} {
			if got := CanonicalName(other); got != want {
				t.Errorf("the %s spelling of %+q is %+q, not %+q", variant, name, got, want)
			}
		}
		if !norm.NFKC.IsNormalString(want) {
			t.Errorf("%+q is not in the form NFKC", want)
		}
		if want != strings.TrimSpace(want) {
			t.Errorf("%+q has space around it", want)
		}
	})
}

// Simple upper and lower case are what people and keyboards make. A few letters have more than one small form, so this
// holds for ASCII words with anything else between.
func TestCaseDoesNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.RuneFrom([]rune("abcxyzABCXYZ019._- äöüÄÖÜéÉñÑøØжЖяЯωΩ"))).Draw(t, "name")
		want := CanonicalName(name)
		for _, other := range []string{strings.ToUpper(name), strings.ToLower(name)} {
			if got := CanonicalName(other); got != want {
				t.Errorf("%q gives %q, %q gives %q", name, want, other, got)
			}
		}
	})
}

func TestCheckName(t *testing.T) {
	tests := map[string]struct{ name, fault string }{
		"nothing":                                 {"", "too_short"},
		"2 letters":                               {"ab", "too_short"},
		"3 letters":                               {"abc", ""},
		"2 letters and space":                     {"ab   ", "too_short"},
		"only spaces":                             {"        ", "too_short"},
		"3 emoji":                                 {"\U0001F511\U0001F511\U0001F511", ""},
		"64 letters":                              {strings.Repeat("a", 64), ""},
		"65 letters":                              {strings.Repeat("a", 65), "too_long"},
		"64 letters and a space":                  {strings.Repeat("a", 64) + " ", "too_long"},
		"64 letters of four bytes":                {strings.Repeat("\U0001F511", 64), ""},
		"33 sharp s, 66 letters in their form":    {strings.Repeat("ß", 33), "too_long"},
		"a letter that becomes 18, four times":    {strings.Repeat("\ufdfa", 4), "too_long"},
		"a megabyte":                              {strings.Repeat("a", 1<<20), "too_long"},
		"an ordinary name":                        {"Alice O'Brien-Smith_2", ""},
		"an address":                              {"alice@example.com", ""},
		"Chinese":                                 {"王小明", ""},
		"Arabic":                                  {"محمد", ""},
		"Devanagari with its marks":               {"हिन्दी", ""},
		"a no-break space":                        {"alice\u00a0b", ""},
		"NUL":                                     {"ali\x00ce", "invalid_characters"},
		"a line break":                            {"ali\nce", "invalid_characters"},
		"a line break at the end":                 {"alice\n", "invalid_characters"},
		"a tab":                                   {"ali\tce", "invalid_characters"},
		"an escape":                               {"\x1b[31malice", "invalid_characters"},
		"delete":                                  {"ali\x7fce", "invalid_characters"},
		"a C1 control":                            {"ali\u0085ce", "invalid_characters"},
		"a zero-width space":                      {"ali\u200bce", "invalid_characters"},
		"a zero-width joiner":                     {"ali\u200dce", "invalid_characters"},
		"a zero-width no-break space":             {"\ufeffalice", "invalid_characters"},
		"a word joiner":                           {"ali\u2060ce", "invalid_characters"},
		"a soft hyphen":                           {"ali\u00adce", "invalid_characters"},
		"right-to-left override":                  {"ali\u202ece", "invalid_characters"},
		"right-to-left mark":                      {"ali\u200fce", "invalid_characters"},
		"a bidi isolate":                          {"ali\u2066ce", "invalid_characters"},
		"an Arabic letter mark":                   {"ali\u061cce", "invalid_characters"},
		"a line separator":                        {"ali\u2028ce", "invalid_characters"},
		"a paragraph separator":                   {"ali\u2029ce", "invalid_characters"},
		"a tag character":                         {"alice\U000E0061", "invalid_characters"},
		"private use":                             {"ali\ue000ce", "invalid_characters"},
		"private use beyond the first plane":      {"ali\U000F0000ce", "invalid_characters"},
		"an unassigned code point":                {"ali\u0378ce", "invalid_characters"},
		"a noncharacter":                          {"ali\uffffce", "invalid_characters"},
		"the replacement character":               {"ali\ufffdce", "invalid_characters"},
		"a byte that is no UTF-8":                 {"ali\xffce", "invalid_characters"},
		"half of a character":                     {"alice\xc3", "invalid_characters"},
		"a surrogate in UTF-8":                    {"ali\xed\xa0\x80ce", "invalid_characters"},
		"two spaces in a row":                     {"mal  lory", "invalid_characters"},
		"two spaces, one of them wide":            {"mal \u3000lory", "invalid_characters"},
		"a Braille blank":                         {"alice\u2800", "invalid_characters"},
		"an object replacement":                   {"alice\ufffc", "invalid_characters"},
		"a null notehead":                         {"alice\U0001d159", "invalid_characters"},
		"a variation selector, which is unseen":   {"alice\ufe00", "invalid_characters"},
		"an emoji's selector after a letter":      {"alice\ufe0f", "invalid_characters"},
		"a selector beyond the first plane":       {"alice\U000E0100", "invalid_characters"},
		"a grapheme joiner, which is unseen":      {"ali\u034fce", "invalid_characters"},
		"a Hangul filler, which is unseen":        {"alice\u3164", "invalid_characters"},
		"a Hangul Choseong filler, unseen":        {"alice\u115f", "invalid_characters"},
		"a half-width Hangul filler, unseen":      {"alice\uffa0", "invalid_characters"},
		"a Mongolian selector, which is unseen":   {"alice\u180b", "invalid_characters"},
		"a Khmer inherent vowel, which is unseen": {"alice\u17b4", "invalid_characters"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			canonical, fault := checkName(test.name)
			if fault != test.fault {
				t.Errorf("checkName(%+q) finds %q, want %q", test.name, fault, test.fault)
			}
			if fault == "" && canonical != CanonicalName(test.name) {
				t.Errorf("checkName gives %q beside it", canonical)
			}
			if fault != "" && nameMessages[fault] == "" {
				t.Errorf("%q has no message", fault)
			}
		})
	}
}

func TestAcceptedNamesFitTheColumn(t *testing.T) {
	// NVARCHAR(128) counts UTF-16 units: two for a code point beyond the first plane.
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOf(rapid.Rune()).Draw(t, "name")
		canonical, fault := checkName(name)
		if fault != "" {
			return
		}
		for _, s := range []string{name, canonical} {
			if n := utf8.RuneCountInString(s); n > MaxName || !utf8.ValidString(s) {
				t.Errorf("%+q is accepted with %d code points", s, n)
			}
		}
	})
}
