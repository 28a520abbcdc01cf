package httpapi

import (
	"net/http"

	"latchkey/internal/config"
	"latchkey/internal/session"
)

var sameSite = map[string]http.SameSite{
	"strict": http.SameSiteStrictMode,
	"lax":    http.SameSiteLaxMode,
	"none":   http.SameSiteNoneMode,
}

// cookieName has the prefix that makes browsers refuse the cookie unless it is Secure, for this host and for all paths,
// so that no other host under the same domain can plant one. Over plain http there is no such promise to make.
func cookieName(c *config.Config) string {
	if c.SecureCookies() {
		return "__Host-refresh_token"
	}
	return "refresh_token"
}

func (s *server) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure and SameSite come from the settings, which check them
		Name: cookieName(s.Config), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.Config.SecureCookies(), SameSite: sameSite[s.Config.CookieSameSite],
	}
}

// setRefreshToken hands the client the token of a grant, if there is one to hand over.
func (s *server) setRefreshToken(w http.ResponseWriter, g session.Grant) {
	if g.RefreshToken != "" {
		// 0 would leave Max-Age out, and the cookie would live as long as the browser.
		http.SetCookie(w, s.cookie(g.RefreshToken, max(1, int(g.RefreshExpiresIn.Seconds()))))
	}
}

func (s *server) clearRefreshToken(w http.ResponseWriter) { http.SetCookie(w, s.cookie("", -1)) }

// refreshTokens returns the values of the cookie, as many as were sent.
func (s *server) refreshTokens(r *http.Request) []string {
	var values []string
	for _, c := range r.CookiesNamed(cookieName(s.Config)) {
		values = append(values, c.Value)
	}
	return values
}

// refreshToken returns the value of the cookie. One that comes twice is none: another host has planted the second, and
// which is which cannot be told.
func (s *server) refreshToken(r *http.Request) string {
	if values := s.refreshTokens(r); len(values) == 1 {
		return values[0]
	}
	return ""
}
