package password

import (
	_ "embed" // the common passwords
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The bounds of a password: at least 8 code points (ASVS 6.2.1), at most 128 and 512 bytes so that no request costs more
// than another. There is no rule of composition (ASVS 6.2.5, NIST SP 800-63B-4 section 3.1.1.2).
const (
	MinLength = 8
	MaxLength = 128
	MaxBytes  = 512
)

var (
	// ErrTooShort says that a password has fewer code points than the policy asks for. The text of what Check returns
	// names the number.
	ErrTooShort = errors.New("is too short")
	// ErrTooLong says that a password has more than MaxLength code points or MaxBytes bytes.
	ErrTooLong = fmt.Errorf("must have at most %d characters and %d bytes", MaxLength, MaxBytes)
	// ErrNotText says that a password is not valid UTF-8, so that no JSON could ever carry it.
	ErrNotText = errors.New("must be text in UTF-8")
	// ErrCommon says that a password is on the list of common ones.
	ErrCommon = errors.New("is one of the passwords that attackers try first: choose another")
	// ErrObvious says that a password is the name of the user or of the service, perhaps with digits or signs around it.
	ErrObvious = errors.New("must not be the name of the user or of the service, with or without digits and signs around it")
)

// tooShort is ErrTooShort with the number of code points that a password must have.
type tooShort int

func (e tooShort) Error() string { return fmt.Sprintf("must have at least %d characters", int(e)) }

// Is makes it an ErrTooShort.
func (tooShort) Is(target error) bool { return target == ErrTooShort }

// common are the common passwords of 8 code points and more, folded, a line each, with the commonest first. They are the
// list "passwords-common" of zxcvbn-ts (github.com/zxcvbn-ts/zxcvbn, language-common 4.1.3, MIT: see common/LICENSE). It
// stays in the program's file until it is looked at, and takes no memory.
//
//go:embed common/passwords.txt
var common string

// Policy decides which passwords are accepted. It is safe for concurrent use.
type Policy struct {
	minLength int
	words     []string // folded and trimmed
}

// NewPolicy makes a Policy that asks for minLength code points, and for MinLength if that is more. Passwords that
// consist of a name of the service are refused; of a name with dots, such as a host, each part of four letters or more
// counts too.
func NewPolicy(minLength int, serviceNames ...string) *Policy {
	p := &Policy{minLength: max(minLength, MinLength)}
	for _, name := range serviceNames {
		for _, word := range append(strings.Split(name, "."), name) {
			if word = trim(fold(word)); utf8.RuneCountInString(word) >= 4 {
				p.words = append(p.words, word)
			}
		}
	}
	return p
}

// Check returns nil for a password that may be a new one of the user, and ErrTooShort, ErrTooLong, ErrNotText,
// ErrCommon or ErrObvious otherwise, whose text completes "password …".
func (p *Policy) Check(password, username string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < p.minLength:
		return tooShort(p.minLength)
	case tooLong(password):
		return ErrTooLong
	case !utf8.ValidString(password):
		return ErrNotText
	}
	folded := fold(password)
	if isCommon(folded) {
		return ErrCommon
	}
	if p.isObvious(folded, fold(username)) {
		return ErrObvious
	}
	return nil
}

func isCommon(folded string) bool {
	line := folded + "\n"
	if strings.Count(line, "\n") > 1 { // it could be found across two lines
		return false
	}
	return strings.HasPrefix(common, line) || strings.Contains(common, "\n"+line)
}

func (p *Policy) isObvious(password, username string) bool {
	localPart, _, _ := strings.Cut(username, "@")
	if password == username || password == localPart {
		return true // also one of digits alone, of which trim leaves nothing
	}
	word := trim(password)
	return word != "" && (word == trim(username) || word == trim(localPart) || slices.Contains(p.words, word))
}

// tooLong says whether no password that was ever set can have been this one.
func tooLong(password string) bool {
	return len(password) > MaxBytes || utf8.RuneCountInString(password) > MaxLength
}

// fold returns the form in which passwords are compared with words: without regard to case and to compatible spellings.
func fold(s string) string { return cases.Fold().String(norm.NFKC.String(s)) }

// trim takes away what stands before the first letter and after the last one.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) })
}
