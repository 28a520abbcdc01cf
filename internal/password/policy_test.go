package password

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckCountsCodePoints(t *testing.T) {
	emoji := "\U0001F511" // four bytes, one code point
	tests := map[string]struct {
		password string
		want     error
	}{
		"nothing":                             {"", ErrTooShort},
		"7 letters":                           {strings.Repeat("a", 7), ErrTooShort},
		"8 letters":                           {strings.Repeat("a", 8), nil},
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
		"digits alone":                        {"13579135", nil},
		"Latin-1, which JSON cannot carry":    {"p\xe4ssword1", ErrNotText},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if err := Check(test.password); !errors.Is(err, test.want) {
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
	if err := Check(strings.Repeat("\xff", MaxBytes+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("513 bytes that are no UTF-8: %v, want ErrTooLong", err)
	}
}
