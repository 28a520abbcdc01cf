package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/session"
)

type credentials struct {
	Username *string `json:"username"`
	Password *string `json:"password"`
}

type passwordChange struct {
	CurrentPassword *string `json:"current_password"`
	NewPassword     *string `json:"new_password"`
}

type userBody struct {
	ID        uuid.UUID `json:"id"`
	Username  string    `json:"username"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"created_at"`
}

type tokensBody struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"` // seconds
}

type messageBody struct {
	Message string `json:"message"`
}

func (s *server) register(w http.ResponseWriter, r *http.Request) error {
	if !s.Config.RegistrationOpen {
		s.Audit.Record(r.Context(), audit.Event{Action: audit.Register, Result: "closed"})
		return errRegistration
	}
	var in credentials
	if err := decode(r, &in); err != nil {
		return err
	}
	address := clientAddress(r)
	if err := s.throttle(r, s.registrations, "register"); err != nil {
		return err
	}
	user, err := s.Accounts.Register(r.Context(), *in.Username, *in.Password)
	if err != nil {
		if !errors.Is(err, account.ErrUsernameTaken) && !errors.Is(err, context.Canceled) {
			s.registrations.refund(address) // no account came of it, and no word about which names are taken
		}
		return err
	}
	s.writeJSON(w, r, http.StatusCreated, "application/json", userBody{user.ID, user.Username, user.Roles, user.CreatedAt})
	return nil
}

func (s *server) login(w http.ResponseWriter, r *http.Request) error {
	var in credentials
	if err := decode(r, &in); err != nil {
		return err
	}
	address := clientAddress(r)
	if err := s.throttle(r, s.logins, "login"); err != nil {
		return err
	}
	client := session.Client{UserAgent: printable(r.UserAgent(), 255), IP: withoutZone(address)}
	grant, err := s.Accounts.Login(r.Context(), *in.Username, *in.Password, client, s.refreshToken(r))
	if !isGuess(err) {
		s.logins.refund(address)
	}
	if err != nil {
		return err
	}
	s.writeGrant(w, r, grant)
	return nil
}

// isGuess tells whether an attempt counts against its address: one that was wrong, one at a closed name, and one whose
// client did not wait for the answer, for it has had its work.
func isGuess(err error) bool {
	var throttled *account.ThrottledError
	return errors.Is(err, account.ErrInvalidCredentials) || errors.As(err, &throttled) || errors.Is(err, context.Canceled)
}

func (s *server) refresh(w http.ResponseWriter, r *http.Request) error {
	if err := s.throttle(r, s.refreshes, "refresh"); err != nil {
		return err
	}
	grant, err := s.Sessions.Refresh(r.Context(), s.refreshToken(r))
	if err != nil {
		return err
	}
	s.writeGrant(w, r, grant)
	return nil
}

func (s *server) writeGrant(w http.ResponseWriter, r *http.Request, g session.Grant) {
	s.setRefreshToken(w, g)
	s.writeJSON(w, r, http.StatusOK, "application/json",
		tokensBody{AccessToken: g.AccessToken, TokenType: "Bearer", ExpiresIn: int(g.ExpiresIn.Seconds())})
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) error {
	token, err := bearer(r)
	if err != nil && !errors.Is(err, errNoToken) {
		return err
	}
	// A cookie that comes twice is no reason to stay signed in.
	for _, refreshToken := range append(s.refreshTokens(r), "") {
		if err := s.Sessions.Logout(r.Context(), refreshToken, token); err != nil {
			return err
		}
		token = ""
	}
	s.clearRefreshToken(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) me(w http.ResponseWriter, r *http.Request) error {
	p := principal(r)
	s.writeJSON(w, r, http.StatusOK, "application/json", userBody{p.UserID, p.Username, p.Roles, p.CreatedAt})
	return nil
}

func (s *server) protected(w http.ResponseWriter, r *http.Request) error {
	s.writeJSON(w, r, http.StatusOK, "application/json",
		messageBody{"Protected Resource. You are authorized to access this resource"})
	return nil
}

func (s *server) changePassword(w http.ResponseWriter, r *http.Request) error {
	var in passwordChange
	if err := decode(r, &in); err != nil {
		return err
	}
	// A wrong current password is a guess like one at login.
	if err := s.throttle(r, s.logins, "login"); err != nil {
		return err
	}
	err := s.Accounts.ChangePassword(r.Context(), principal(r), *in.CurrentPassword, *in.NewPassword)
	if !isGuess(err) {
		s.logins.refund(clientAddress(r))
	}
	if errors.Is(err, account.ErrInvalidCredentials) {
		return errWrongPassword
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) throttle(r *http.Request, l *limiter, name string) error {
	err := l.charge(clientAddress(r))
	if err != nil {
		s.Audit.Record(r.Context(), audit.Event{Action: audit.Throttle, Result: name})
	}
	return err
}

// withoutZone is an address as it is stored: the name of this machine's interface, which a link-local one has, says
// nothing about the client and could be longer than the column.
func withoutZone(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.WithZone("").String()
}

// printable returns the first n characters of a header, with anything but printable ASCII replaced: it is stored,
// listed and logged.
func printable(s string, n int) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s[:min(len(s), n)])
}
