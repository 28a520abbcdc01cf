package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/session"
)

// The policy counts wherever a password is set.
func TestBadNewPasswordsAreRefusedEverywhere(t *testing.T) {
	f := newFixture(t)
	f.create(t, "zygmunt")
	p := f.principal(t, f.login(t, "zygmunt", goodPassword))
	hash := f.hash(t, "zygmunt")
	for pass, code := range map[string]string{
		"7 chars":                "too_short",
		strings.Repeat("a", 129): "too_long",
		"p\xe4ssword 1":          "invalid_characters",
		"password":               "too_common",
		"PassWord":               "too_common",
		"zygmunt!":               "too_obvious",
		"Zygmunt-2026":           "too_obvious",
		"latchkey1":              "too_obvious",
		"example.":               "too_obvious",
	} {
		_, created := f.Create(t.Context(), "Zygmunt ", pass, nil) // a taken name, which would be said only later
		_, set := f.SetPassword(t.Context(), "ZYGMUNT", pass)
		for call, test := range map[string]struct {
			err   error
			field string
		}{
			"Create":         {created, "password"},
			"SetPassword":    {set, "password"},
			"ChangePassword": {f.ChangePassword(t.Context(), p, goodPassword, pass), "new_password"},
		} {
			var invalid *ValidationError
			if !errors.As(test.err, &invalid) || len(invalid.Fields) != 1 ||
				invalid.Fields[0].Field != test.field || invalid.Fields[0].Code != code || invalid.Fields[0].Message == "" {
				t.Errorf("%.20q: %s gives %+v, want %s %s", pass, call, test.err, test.field, code)
			}
		}
	}
	if f.hash(t, "zygmunt") != hash {
		t.Error("a refused password was set")
	}
}

// What is not common is compared neither folded nor trimmed when it is used.
func TestPasswordIsUsedExactlyAsItWasSet(t *testing.T) {
	f := newFixture(t)
	const pass = "  P\u00e4ss w\u00f6rd \U0001F511 and so on, for more than the seventy-two bytes that bcrypt knows "
	if _, err := f.Create(t.Context(), "alice", pass, nil); err != nil {
		t.Fatal(err)
	}
	f.login(t, "alice", pass)
	for _, other := range []string{
		pass + " ", strings.TrimSpace(pass), strings.ToLower(pass), strings.ToUpper(pass), pass[:72], pass[:len(pass)-1] + "x",
		strings.ReplaceAll(pass, "\u00e4", "a\u0308"),
	} {
		f.now = f.now.Add(time.Hour) // beyond the wait after wrong passwords
		if _, err := f.Login(t.Context(), "alice", other, session.Client{}, ""); !errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%q: Login gives %v", other, err)
		}
	}
}

func TestEveryLengthInBoundsSignsIn(t *testing.T) {
	f := newFixture(t)
	for i, pass := range []string{
		"zygotenx", strings.Repeat("\U0001F511", 19), strings.Repeat("a", 64), strings.Repeat("a", 128), strings.Repeat("\U0001F511", 128),
	} {
		name := fmt.Sprintf("alice%d", i)
		if _, err := f.Create(t.Context(), name, pass, nil); err != nil {
			t.Fatalf("%d bytes: %v", len(pass), err)
		}
		f.login(t, name, pass)
	}
}

// Time alone ends no password: nobody is made to change theirs.
func TestPasswordDoesNotExpire(t *testing.T) {
	f := newFixture(t)
	f.create(t, "alice")
	f.now = f.now.AddDate(2, 0, 0)
	f.logs.events(t)
	f.login(t, "alice", goodPassword)
	if got, want := f.logs.events(t), []string{"user.login ok"}; !slices.Equal(got, want) {
		t.Errorf("the audit log has %v, want %v", got, want)
	}
}
