package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The bounds of a user name, in code points of its canonical form and of the form that was given.
const (
	MinName = 3
	MaxName = 64
)

// CanonicalName returns the one form in which user names are compared: without regard to case, to compatible spellings
// (full-width letters, ligatures, composed or not) or to surrounding space. It is its own canonical form. Every look-up
// goes through it, so that both databases, whatever their collation, give the same verdict. U+0000, which no name has and
// which SQL Server gives no meaning, is U+FFFD in it.
func CanonicalName(name string) string {
	fold := cases.Fold()
	// Unicode's compatibility caseless match (definition D146) folds twice, because a decomposition can bring out
	// letters that fold again.
	folded := fold.String(norm.NFKD.String(fold.String(norm.NFD.String(name))))
	return strings.TrimSpace(strings.ReplaceAll(norm.NFKC.String(folded), "\x00", string(utf8.RuneError)))
}

// checkName returns the canonical form of a name for a new account, and what is wrong with it, or "".
func checkName(name string) (canonical, fault string) {
	canonical = CanonicalName(name)
	switch given, n := utf8.RuneCountInString(name), utf8.RuneCountInString(canonical); {
	case n < MinName:
		return canonical, "too_short"
	case n > MaxName || given > MaxName:
		return canonical, "too_long"
	case strings.ContainsFunc(name, forbidden) || strings.Contains(canonical, "  ") || !utf8.ValidString(name):
		return canonical, "invalid_characters"
	}
	return canonical, ""
}

// forbidden characters are those that nobody sees: control and formatting characters, fillers and variation selectors,
// which let two names look alike or a log line break, and code points that mean nothing (yet).
func forbidden(r rune) bool {
	unseen := unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
	return unseen || strings.ContainsRune(blanks, r) || r == utf8.RuneError || !unicode.IsPrint(r) && !unicode.IsSpace(r)
}

// blanks are the characters that Unicode counts as visible and fonts draw as nothing: the Braille blank, the object
// replacement, the null notehead, a hieroglyphic filler, the Khitan filler.
const blanks = "\u2800\ufffc\U0001d159\U00013441\U00013442\U00016fe4"
