package httpapi

import (
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/token"
	"latchkey/internal/token/tokentest"
)

// Tokens whose signature and claims are right, but not what they stand for: they get the answer that forged ones get.
func TestTokensThatNameNoLiveSessionGetThatAnswerToo(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"alice", "bob", "disabled", "deleted", "changed"} {
		f.signUp(t, name, "admin")
	}
	alice, bob := f.signIn(t, "alice"), f.signIn(t, "bob")
	disabled, deleted, changed := f.signIn(t, "disabled"), f.signIn(t, "deleted"), f.signIn(t, "changed")
	loggedOut, ended, replaced := f.signIn(t, "alice"), f.signIn(t, "alice"), f.signIn(t, "alice")
	refusal := f.refusal(t)
	key := f.signingKey(t)
	forger := tokentest.New(t, key, alice.access, bob.access, "")
	claim := func(h held, name string) string {
		t.Helper()
		return tokentest.New(t, key, h.access, h.access, "").Claim(name)
	}
	as := func(claim, value string) string { // alice's token but for one claim
		t.Helper()
		return forger.Sign(t, forger.Header, forger.Change(t, map[string]string{claim: value}))
	}
	nobody := `"` + uuid.Must(uuid.NewV7()).String() + `"`

	refused := func(name, token string) {
		t.Helper()
		if got := f.bearerAnswers(t, token); got != refusal {
			t.Errorf("%s gets\n%s\nand junk\n%s", name, got, refusal)
		}
	}
	// Each was good, so that the server remembers it, until the moment before it is refused.
	for name, c := range map[string]struct {
		held
		end func() error
	}{
		"a session that was logged out": {loggedOut, func() error {
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", f.cookieOf(loggedOut.refresh)...), http.StatusNoContent)
			return nil
		}},
		"a session that was ended from another": {ended, func() error {
			id := strings.Trim(claim(ended, "sid"), `"`)
			wantStatus(t, f.do(t, http.MethodDelete, "/api/user/sessions/"+id, "", bearerOf(alice.access)...), http.StatusNoContent)
			return nil
		}},
		"a session that a sign-in replaced": {replaced, func() error {
			body := credentialsOf("alice", goodPassword)
			wantStatus(t, f.do(t, http.MethodPost, "/api/user/login", body, f.cookieOf(replaced.refresh)...), http.StatusOK)
			return nil
		}},
		"an account that was disabled": {disabled, func() error {
			_, err := f.accounts.Disable(t.Context(), "disabled")
			return err
		}},
		"an account that was deleted": {deleted, func() error {
			_, err := f.accounts.Delete(t.Context(), "deleted")
			return err
		}},
		"an account whose password was set": {changed, func() error {
			_, err := f.accounts.SetPassword(t.Context(), "changed", goodPassword+"!")
			return err
		}},
	} {
		wantStatus(t, f.get(t, "/api/user/protected", c.access), http.StatusOK)
		if err := c.end(); err != nil {
			t.Fatal(err)
		}
		refused(name, c.access)
	}
	refused("a session that there never was", as("sid", nobody))
	refused("a user that there never was", as("sub", nobody))
	refused("another user's session", as("sid", claim(bob, "sid")))
	refused("another user for the session", as("sub", claim(bob, "sub")))
	refused("a user who is deleted, for a live session", as("sub", claim(deleted, "sub")))
	refused("a deleted user's session, for another", as("sid", claim(deleted, "sid")))
	for _, good := range []string{alice.access, bob.access, forger.Sign(t, forger.Header, forger.Claims)} {
		wantStatus(t, f.get(t, "/api/user/protected", good), http.StatusOK)
	}
}

// Accounts are known by their id, so a name that is free again and taken by somebody else gives no old token a new owner.
func TestTokenOfADeletedUserIsNotThatOfTheNextOneOfThisName(t *testing.T) {
	f := newFixture(t)
	first := f.signUp(t, "alice")
	old := f.signIn(t, "alice")
	if _, err := f.accounts.Delete(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if second := f.signUp(t, "alice"); second.ID == first.ID {
		t.Error("the id is assigned again")
	}
	f.wantDead(t, old)
	wantStatus(t, f.get(t, "/api/user/me", f.signIn(t, "alice").access), http.StatusOK)
}

func TestLeewayOfAccessTokensIsThirtySeconds(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice", "admin")
	alice := f.signIn(t, "alice")
	refusal := f.refusal(t)
	issued := f.clock.Now()
	forger := tokentest.New(t, f.signingKey(t), alice.access, alice.access, "")
	signed := func(claim string, at time.Duration) string {
		return forger.Sign(t, forger.Header, forger.Change(t, map[string]string{claim: forger.At(t, at)}))
	}
	expires := 10 * time.Minute
	for name, c := range map[string]struct {
		token string
		now   time.Duration // since it was issued
		good  bool
	}{
		"31 s before nbf":              {signed("nbf", time.Minute), 29 * time.Second, false},
		"30 s before nbf":              {signed("nbf", time.Minute), 30 * time.Second, true},
		"31 s before iat":              {signed("iat", time.Minute), 29 * time.Second, false},
		"30 s before iat":              {signed("iat", time.Minute), 30 * time.Second, true},
		"before exp":                   {alice.access, expires - time.Second, true},
		"at exp":                       {alice.access, expires, true},
		"29 s after exp":               {alice.access, expires + 29*time.Second, true},
		"a millisecond less than 30 s": {alice.access, expires + 30*time.Second - time.Millisecond, true},
		"30 s after exp":               {alice.access, expires + 30*time.Second, false},
		"31 s after exp":               {alice.access, expires + 31*time.Second, false},
		"a day after exp":              {alice.access, 24 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			f.clock.advance(issued.Add(c.now).Sub(f.clock.Now()))
			got := f.bearerAnswers(t, c.token)
			if good := strings.Count(got, "200 OK") == len(bearerPaths); good != c.good || !good && got != refusal {
				t.Errorf("good: %v, want %v\n%s", good, c.good, got)
			}
		})
	}
	f.Close()                             // the last line is there
	for _, entry := range f.refusals(t) { // nor is an expired token's claim to be somebody's taken for true
		if entry["result"] != "invalid" || entry["user_id"] != nil || entry["session_id"] != nil {
			t.Errorf("something of a refused token is in the log: %v", entry)
		}
	}
}

func TestTokensOfARetiredKeyAreRefused(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice", "admin")
	before := f.signIn(t, "alice")
	key, err := token.NewKey(f.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	f.keys = token.Keys{key}
	f.start(t)
	if got, refusal := f.bearerAnswers(t, before.access), f.refusal(t); got != refusal {
		t.Errorf("the retired key's token gets\n%s\nand junk\n%s", got, refusal)
	}
	after := f.refresh(t, before.refresh).held(t) // the session goes on, under the new key
	wantStatus(t, f.get(t, "/api/user/protected", after.access), http.StatusOK)
}

// Whoever has a token can compute its mirror image, (r, n - s), which ECDSA verifies too. It is another spelling of a
// token that its holder has anyway: it says just the same, and ends when that one ends, for nothing here goes by a
// token's text.
func TestMirroredSignatureEndsWithItsToken(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice", "admin")
	alice := f.signIn(t, "alice")
	at := strings.LastIndexByte(alice.access, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(alice.access[at:])
	if err != nil {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(signature[32:])
	mirrored := slices.Clone(signature)
	s.Sub(elliptic.P256().Params().N, s).FillBytes(mirrored[32:])
	image := alice.access[:at] + base64.RawURLEncoding.EncodeToString(mirrored)
	if got, want := f.bearerAnswers(t, image), f.bearerAnswers(t, alice.access); got != want {
		t.Errorf("the mirror image gets\n%s\nand the token\n%s", got, want)
	}
	wantStatus(t, f.do(t, http.MethodPost, "/api/user/logout", "", bearerOf(alice.access)...), http.StatusNoContent)
	if got, refusal := f.bearerAnswers(t, image), f.refusal(t); got != refusal {
		t.Errorf("after the logout the mirror image gets\n%s", got)
	}
}
