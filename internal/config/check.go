package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/microsoft/go-mssqldb/msdsn"
)

// check looks for values that contradict each other, and in production for conveniences that are unsafe.
func (c *Config) check(r *reader) {
	if r.wasRead("LATCHKEY_REFRESH_TOKEN_TTL", "LATCHKEY_SESSION_TTL") && c.RefreshTokenTTL > c.SessionTTL {
		r.fault("LATCHKEY_REFRESH_TOKEN_TTL", "must not be longer than LATCHKEY_SESSION_TTL (%s): shorten it, or lengthen the other", c.SessionTTL)
	}
	if r.wasRead("LATCHKEY_REFRESH_TOKEN_TTL", "LATCHKEY_REFRESH_GRACE") && c.RefreshTokenTTL <= 3*c.RefreshGrace {
		r.fault("LATCHKEY_REFRESH_TOKEN_TTL", "must be longer than three times LATCHKEY_REFRESH_GRACE (%s)", c.RefreshGrace)
	}
	if r.wasRead("LATCHKEY_COOKIE_SAMESITE", "LATCHKEY_PUBLIC_URL") && c.CookieSameSite == "none" && !c.SecureCookies() {
		r.fault("LATCHKEY_COOKIE_SAMESITE", "none needs https: browsers drop such a cookie without Secure. Use an https LATCHKEY_PUBLIC_URL, or lax or strict")
	}
	switch scheme, rest, _ := strings.Cut(string(c.DatabaseURL), ":"); scheme {
	case "sqlite":
		if rest == "" || strings.Contains(rest, ":memory:") {
			r.fault("LATCHKEY_DATABASE_URL", "needs a file, like sqlite:data/latchkey.db")
		}
	case "sqlserver":
		c.checkSQLServer(r)
	default:
		r.fault("LATCHKEY_DATABASE_URL", "must begin with sqlite: or sqlserver://, like sqlite:data/latchkey.db")
	}
	if c.OpsAddr != "" && c.OpsAddr == c.Addr {
		r.fault("LATCHKEY_OPS_ADDR", "must be another address than LATCHKEY_ADDR: metrics are not for the public")
	}
	if !r.wasRead("LATCHKEY_ENV") {
		return
	}
	if !c.Production {
		for _, listener := range []struct{ name, addr string }{{"LATCHKEY_ADDR", c.Addr}, {"LATCHKEY_OPS_ADDR", c.OpsAddr}} {
			if r.wasRead(listener.name) && listener.addr != "" && !isLoopbackAddress(listener.addr) {
				r.fault(listener.name, "must be on a loopback address (127.0.0.1, [::1], localhost) in development: set LATCHKEY_ENV=production to be reached from elsewhere")
			}
		}
		return
	}
	if r.values["LATCHKEY_PUBLIC_URL"] == "" {
		r.fault("LATCHKEY_PUBLIC_URL", "must be set in production, like https://auth.example.com: it decides the issuer, the cookie and the server's own origin")
	}
	if r.wasRead("LATCHKEY_PUBLIC_URL") && !c.SecureCookies() && !isLoopbackHost(c.PublicURL.Hostname()) {
		r.fault("LATCHKEY_PUBLIC_URL", "must be https in production: with http, passwords and tokens travel in the clear")
	}
	if r.wasRead("LATCHKEY_ALLOWED_ORIGINS") {
		for _, origin := range c.AllowedOrigins {
			if u, err := url.Parse(origin); err == nil && u.Scheme == "http" && !isLoopbackHost(u.Hostname()) {
				r.fault("LATCHKEY_ALLOWED_ORIGINS", "has %q, which must be https in production: whoever is on the way could change that page", origin)
			}
		}
	}
	if r.wasRead("LATCHKEY_REFRESH_SECRET") && len(c.RefreshSecrets) == 0 {
		r.fault("LATCHKEY_REFRESH_SECRET", "must be set in production: make one with `openssl rand -base64 32`, best in a file named by LATCHKEY_REFRESH_SECRET_FILE")
	}
}

func (c *Config) checkSQLServer(r *reader) {
	u, err := url.Parse(string(c.DatabaseURL))
	parsed, driverErr := msdsn.Parse(string(c.DatabaseURL))
	// A # in a password that is not encoded ends the URL there, and a part of the password becomes the host.
	if err == nil && u.Fragment == "" {
		for name, values := range u.Query() { // the driver reads it, and says no more of it than of a fault in the URL
			if !strings.EqualFold(name, "certificate") {
				continue
			}
			if _, fileErr := os.ReadFile(values[0]); fileErr != nil {
				r.fault("LATCHKEY_DATABASE_URL", "names a certificate that cannot be read: %v", fileErr)
				return
			}
		}
	}
	if err != nil || driverErr != nil || u.Fragment != "" { // not with their messages, which may quote the password
		r.fault("LATCHKEY_DATABASE_URL", "is not understood: it must look like sqlserver://user:password@host:1433?database=latchkey&encrypt=true, with special characters percent-encoded")
		return
	}
	encrypted := parsed.Encryption == msdsn.EncryptionRequired || parsed.Encryption == msdsn.EncryptionStrict
	if c.Production && (!encrypted || parsed.TLSConfig == nil || parsed.TLSConfig.InsecureSkipVerify) {
		r.fault("LATCHKEY_DATABASE_URL", "must say encrypt=true or encrypt=strict, and not TrustServerCertificate=true, in production")
	}
}

// checkOrigin says what is wrong with an origin, which is compared letter by letter with what browsers send.
func checkOrigin(v string) string {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		v != u.Scheme+"://"+u.Host || v != strings.ToLower(v) || strings.ContainsFunc(v, notInOrigins) {
		return "is no origin as browsers send it, like https://app.example.com or http://localhost:3000, in lower case, without a slash at the end, and an international name in its xn-- form"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "has a port that there cannot be"
		}
	}
	if port := u.Port(); strings.HasSuffix(u.Host, ":") || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return "has the scheme's own port, which browsers leave out: leave it out too"
	}
	return ""
}

func notInOrigins(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("*%", c) }

func checkCIDR(v string) string {
	p, err := netip.ParsePrefix(v)
	switch {
	case err != nil || p.Masked() != p:
		return "is no range of addresses, like 10.0.0.0/8 or 127.0.0.1/32"
	case p.Bits() == 0:
		return "is every address there is: then any client could choose its own"
	}
	return ""
}

func isLoopbackAddress(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && isLoopbackHost(host)
}

func isLoopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
