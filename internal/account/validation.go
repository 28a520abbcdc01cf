package account

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"latchkey/internal/password"
)

// ValidationError says which fields of a request cannot be accepted, all of them.
type ValidationError struct{ Fields []FieldError }

// FieldError is what is wrong with one field. Code is stable; Message is for people.
type FieldError struct{ Field, Code, Message string }

// Error lists the faults for people.
func (e *ValidationError) Error() string {
	faults := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		faults[i] = f.Field + " " + f.Message
	}
	return strings.Join(faults, "; ")
}

var nameMessages = map[string]string{
	"too_short":          fmt.Sprintf("must have at least %d characters", MinName),
	"too_long":           fmt.Sprintf("must have at most %d characters", MaxName),
	"invalid_characters": "must not contain control characters, invisible ones or two spaces in a row",
}

// passwordCodes are the stable names of what the policy finds.
var passwordCodes = map[error]string{
	password.ErrTooShort: "too_short",
	password.ErrTooLong:  "too_long",
	password.ErrNotText:  "invalid_characters",
	password.ErrCommon:   "too_common",
	password.ErrObvious:  "too_obvious",
}

// checkPassword says what is wrong with a new password of the user with this name, or nil.
func (s *Service) checkPassword(field, pass, username string) *FieldError {
	err := s.policy.Check(pass, username)
	if err == nil {
		return nil
	}
	fault := &FieldError{Field: field, Message: err.Error()}
	for kind, code := range passwordCodes {
		if errors.Is(err, kind) {
			fault.Code = code
		}
	}
	return fault
}

// The roles of an account are a few short words: they go into every access token and into one column of 255 characters.
var role = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

const maxRoles = 8

func checkRoles(roles []string) ([]string, *FieldError) {
	sorted := slices.Compact(slices.Sorted(slices.Values(roles)))
	if len(sorted) > maxRoles {
		return nil, &FieldError{"roles", "too_many", fmt.Sprintf("must be at most %d", maxRoles)}
	}
	for _, r := range sorted {
		if !role.MatchString(r) {
			return nil, &FieldError{"roles", "invalid", "must be words of lower-case letters, digits, - and _, at most 31 characters each"}
		}
	}
	return sorted, nil
}
