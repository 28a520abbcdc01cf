// Package config owns the settings: it reads them from the environment, from .env in development and from files that
// hold secrets, checks them against each other and reports every fault at once.
//
// A Config that Load returned is consistent and, in production, safe. Secrets in it do not print.
package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joho/godotenv"
	"github.com/microsoft/go-mssqldb/msdsn"
)

const prefix = "LATCHKEY_"

const maxClaim = 256

// DefaultAddr is the public listener where the settings name none.
const DefaultAddr = "127.0.0.1:8080"

// Secret is text that must not be seen: however it is printed, *** appears.
type Secret string

// String returns ***.
func (Secret) String() string { return "***" }

// GoString returns ***.
func (Secret) GoString() string { return "***" }

// LogValue returns ***.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText returns ***, for encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Limit is how many events an address may cause in a period; a Count of 0 is no limit.
type Limit struct {
	Count int
	Per   time.Duration
}

// Config is the settings. The comments in .env.example say what each means.
type Config struct {
	Production  bool
	Addr        string
	OpsAddr     string // empty: no operations listener
	PublicURL   *url.URL
	DatabaseURL Secret // it may hold a password
	AutoMigrate bool

	RegistrationOpen bool
	Issuer, Audience string
	AccessTokenTTL   time.Duration
	RefreshTokenTTL  time.Duration
	SessionTTL       time.Duration
	RefreshGrace     time.Duration
	RevocationDelay  time.Duration
	MaxSessions      int

	KeysDir        string
	RefreshSecrets []Secret // 32 bytes each, decoded; empty: the one beside the keys, in development

	AllowedOrigins []string
	CookieSameSite string // strict, lax or none
	TrustedProxies []string

	LimitLogin, LimitRegister, LimitRefresh Limit
	HashConcurrency                         int

	Swagger, Demo bool
	LogLevel      slog.Level
	LogJSON       bool
}

// SecureCookies says whether browsers reach the server by https.
func (c *Config) SecureCookies() bool { return c.PublicURL.Scheme == "https" }

// Origin is the server's own origin, as browsers write it.
func (c *Config) Origin() string { return c.PublicURL.Scheme + "://" + c.PublicURL.Host }

// Load reads the settings from an environment, given as os.Environ gives it, over the file .env in dir, which counts in
// development only. The error lists every fault, a line each.
func Load(environ []string, dir string) (*Config, error) {
	r := &reader{values: map[string]string{}}
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, prefix) {
			r.values[name] = value
		}
	}
	c := &Config{}
	c.Production = r.oneOf("LATCHKEY_ENV", "development", "development", "production") == "production"
	if !c.Production && r.read("LATCHKEY_ENV") {
		r.readDotEnv(dir)
	}
	c.read(r)
	c.check(r)
	r.refuseUnknown()
	if len(r.faults) > 0 {
		return nil, fmt.Errorf("the settings have %d fault(s):\n  - %s", len(r.faults), strings.Join(r.faults, "\n  - "))
	}
	return c, nil
}

func (c *Config) read(r *reader) {
	development := !c.Production
	c.Addr = r.address("LATCHKEY_ADDR", DefaultAddr)
	c.OpsAddr = r.address("LATCHKEY_OPS_ADDR", "")
	c.PublicURL = r.publicURL("LATCHKEY_PUBLIC_URL", "http://localhost:8080")
	c.DatabaseURL = Secret(r.secret("LATCHKEY_DATABASE_URL", "sqlite:data/latchkey.db"))
	c.AutoMigrate = r.boolean("LATCHKEY_AUTO_MIGRATE", development)
	c.RegistrationOpen = r.oneOf("LATCHKEY_REGISTRATION", "open", "open", "closed") == "open"
	c.Issuer = r.claim("LATCHKEY_ISSUER", c.Origin())
	c.Audience = r.claim("LATCHKEY_AUDIENCE", c.Origin())
	c.AccessTokenTTL = r.duration("LATCHKEY_ACCESS_TOKEN_TTL", "10m", time.Second, 15*time.Minute)
	c.RefreshTokenTTL = r.duration("LATCHKEY_REFRESH_TOKEN_TTL", "168h", time.Minute, 400*24*time.Hour)
	c.SessionTTL = r.duration("LATCHKEY_SESSION_TTL", "720h", time.Minute, 400*24*time.Hour)
	c.RefreshGrace = r.duration("LATCHKEY_REFRESH_GRACE", "30s", 0, time.Minute)
	c.RevocationDelay = r.duration("LATCHKEY_REVOCATION_DELAY", "2s", 0, time.Minute)
	c.MaxSessions = r.integer("LATCHKEY_MAX_SESSIONS_PER_USER", 20, 1, 1000)
	c.KeysDir = r.text("LATCHKEY_KEYS_DIR", "data/keys")
	c.RefreshSecrets = r.secrets("LATCHKEY_REFRESH_SECRET")
	c.AllowedOrigins = r.list("LATCHKEY_ALLOWED_ORIGINS", checkOrigin)
	c.CookieSameSite = r.oneOf("LATCHKEY_COOKIE_SAMESITE", "strict", "strict", "lax", "none")
	c.TrustedProxies = r.list("LATCHKEY_TRUSTED_PROXIES", checkCIDR)
	c.LimitLogin = r.limit("LATCHKEY_LIMIT_LOGIN", "20/10m")
	c.LimitRegister = r.limit("LATCHKEY_LIMIT_REGISTER", "20/1h")
	c.LimitRefresh = r.limit("LATCHKEY_LIMIT_REFRESH", "120/1m")
	c.HashConcurrency = r.integer("LATCHKEY_HASH_CONCURRENCY", runtime.NumCPU(), 1, 256)
	c.Swagger = r.boolean("LATCHKEY_SWAGGER", development)
	c.Demo = r.boolean("LATCHKEY_DEMO", development)
	c.LogLevel = r.level("LATCHKEY_LOG_LEVEL", "info")
	format := "text"
	if c.Production {
		format = "json"
	}
	c.LogJSON = r.oneOf("LATCHKEY_LOG_FORMAT", format, "text", "json") == "json"
}

// check looks for values that contradict each other, and in production for conveniences that are unsafe.
func (c *Config) check(r *reader) {
	if r.read("LATCHKEY_REFRESH_TOKEN_TTL", "LATCHKEY_SESSION_TTL") && c.RefreshTokenTTL > c.SessionTTL {
		r.fault("LATCHKEY_REFRESH_TOKEN_TTL", "must not be longer than LATCHKEY_SESSION_TTL (%s): shorten it, or lengthen the other", c.SessionTTL)
	}
	if r.read("LATCHKEY_REFRESH_TOKEN_TTL", "LATCHKEY_REFRESH_GRACE") && c.RefreshTokenTTL <= 3*c.RefreshGrace {
		r.fault("LATCHKEY_REFRESH_TOKEN_TTL", "must be longer than three times LATCHKEY_REFRESH_GRACE (%s)", c.RefreshGrace)
	}
	if r.read("LATCHKEY_COOKIE_SAMESITE", "LATCHKEY_PUBLIC_URL") && c.CookieSameSite == "none" && !c.SecureCookies() {
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
	if !r.read("LATCHKEY_ENV") {
		return
	}
	if !c.Production {
		for _, name := range []string{"LATCHKEY_ADDR", "LATCHKEY_OPS_ADDR"} {
			addr := map[string]string{"LATCHKEY_ADDR": c.Addr, "LATCHKEY_OPS_ADDR": c.OpsAddr}[name]
			if r.read(name) && addr != "" && !isLoopbackAddress(addr) {
				r.fault(name, "must be on a loopback address (127.0.0.1, [::1], localhost) in development: set LATCHKEY_ENV=production to be reached from elsewhere")
			}
		}
		return
	}
	if r.read("LATCHKEY_PUBLIC_URL") && !c.SecureCookies() && !isLoopbackHost(c.PublicURL.Hostname()) {
		r.fault("LATCHKEY_PUBLIC_URL", "must be https in production: with http, passwords and tokens travel in the clear")
	}
	for _, origin := range c.AllowedOrigins {
		if u, err := url.Parse(origin); r.read("LATCHKEY_ALLOWED_ORIGINS") && err == nil && u.Scheme == "http" && !isLoopbackHost(u.Hostname()) {
			r.fault("LATCHKEY_ALLOWED_ORIGINS", "has %q, which must be https in production: whoever is on the way could change that page", origin)
		}
	}
	if r.read("LATCHKEY_REFRESH_SECRET") && len(c.RefreshSecrets) == 0 {
		r.fault("LATCHKEY_REFRESH_SECRET", "must be set in production: make one with `openssl rand -base64 32`, best in a file named by LATCHKEY_REFRESH_SECRET_FILE")
	}
}

func (c *Config) checkSQLServer(r *reader) {
	parsed, err := msdsn.Parse(string(c.DatabaseURL))
	if err != nil { // the driver's message may quote the password
		r.fault("LATCHKEY_DATABASE_URL", "is not understood: it must look like sqlserver://user:password@host:1433?database=latchkey&encrypt=true, with special characters percent-encoded")
		return
	}
	encrypted := parsed.Encryption == msdsn.EncryptionRequired || parsed.Encryption == msdsn.EncryptionStrict
	if c.Production && (!encrypted || parsed.TLSConfig == nil || parsed.TLSConfig.InsecureSkipVerify) {
		r.fault("LATCHKEY_DATABASE_URL", "must say encrypt=true or encrypt=strict, and not TrustServerCertificate=true, in production")
	}
}

// reader takes settings out of an environment and collects what is wrong with them.
type reader struct {
	values map[string]string
	known  []string
	faults []string
}

func (r *reader) fault(name, format string, arguments ...any) {
	r.faults = append(r.faults, name+" "+fmt.Sprintf(format, arguments...))
}

// read says whether settings could be read: a contradiction to one that could not would only confuse.
func (r *reader) read(names ...string) bool {
	return !slices.ContainsFunc(r.faults, func(fault string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.HasPrefix(fault, name+" ") || strings.HasPrefix(fault, name+"_FILE ")
		})
	})
}

// readDotEnv adds what the file says to what the environment does not say.
func (r *reader) readDotEnv(dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		r.fault(".env", "cannot be looked for: %v", err)
		return
	}
	defer func() { _ = root.Close() }()
	file, err := root.Open(".env")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.fault(".env", "cannot be read: %v", err)
		return
	}
	defer func() { _ = file.Close() }()
	values, err := godotenv.Parse(file)
	if err != nil {
		r.fault(".env", "cannot be understood: every line must be NAME=value or a comment that begins with #")
		return
	}
	if env := values["LATCHKEY_ENV"]; env != "" && env != "development" {
		r.fault("LATCHKEY_ENV", "in .env must be development: the file counts in development only, so set it in the environment")
	}
	for name, value := range values {
		if r.values[name] == "" && strings.HasPrefix(name, prefix) { // other programs may share the file
			r.values[name] = value
		}
	}
}

// refuseUnknown finds the misspelt setting that would otherwise silently not count.
func (r *reader) refuseUnknown() {
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if !slices.Contains(r.known, name) {
			r.fault(name, "is no setting of Latchkey: see .env.example for all that there are")
		}
	}
}

// text returns a setting; one that is set to nothing counts as not set.
func (r *reader) text(name, fallback string) string {
	r.known = append(r.known, name)
	if v := r.values[name]; v != "" {
		return v
	}
	return fallback
}

// claim returns a setting that goes into every access token, whose length is bounded.
func (r *reader) claim(name, fallback string) string {
	v := r.text(name, fallback)
	if len(v) > maxClaim {
		r.fault(name, "must have at most %d characters: it goes into every access token", maxClaim)
	}
	return v
}

// secret returns a setting that may also come from the file that NAME_FILE names.
func (r *reader) secret(name, fallback string) string {
	value, file := r.text(name, ""), r.text(name+"_FILE", "")
	switch {
	case file == "" && value == "":
		return fallback
	case file == "":
		return value
	case value != "":
		r.fault(name, "and %s_FILE are both set: keep one", name)
		return fallback
	}
	content, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		r.fault(name+"_FILE", "cannot be read: %v", err)
		return fallback
	}
	if value = strings.TrimSpace(string(content)); value == "" {
		r.fault(name+"_FILE", "names a file that is empty")
		return fallback
	}
	return value
}

func (r *reader) secrets(name string) []Secret {
	var list []Secret
	for i, encoded := range splitList(r.secret(name, "")) {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		switch {
		case err != nil || len(raw) != 32:
			r.fault(name, "value %d must be 32 bytes in base64: make one with `openssl rand -base64 32`", i+1)
		case isGuessable(raw):
			r.fault(name, "value %d is not random: make one with `openssl rand -base64 32`", i+1)
		default:
			list = append(list, Secret(raw))
		}
	}
	return list
}

// isGuessable finds placeholders: of 32 random bytes nearly all differ, and hardly ever are all of them printable.
func isGuessable(secret []byte) bool {
	distinct := map[byte]bool{}
	printable := true
	for _, b := range secret {
		distinct[b] = true
		printable = printable && ' ' <= b && b <= '~'
	}
	return len(distinct) < 16 || printable
}

func (r *reader) oneOf(name, fallback string, choices ...string) string {
	v := r.text(name, fallback)
	if !slices.Contains(choices, v) {
		r.fault(name, "must be %s, not %q", strings.Join(choices, " or "), v)
		return fallback
	}
	return v
}

func (r *reader) boolean(name string, fallback bool) bool {
	return r.oneOf(name, strconv.FormatBool(fallback), "true", "false") == "true"
}

func (r *reader) integer(name string, fallback, least, most int) int {
	n, err := strconv.Atoi(r.text(name, strconv.Itoa(fallback)))
	if err != nil || n < least || n > most {
		r.fault(name, "must be a whole number from %d to %d", least, most)
		return fallback
	}
	return n
}

func (r *reader) duration(name, fallback string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(r.text(name, fallback))
	if err != nil || d < least || d > most || d%time.Millisecond != 0 || least >= time.Second && d%time.Second != 0 {
		r.fault(name, "must be a time from %s to %s, like %s, in whole %s", least, most, fallback,
			map[bool]string{true: "seconds", false: "milliseconds"}[least >= time.Second])
		d, _ = time.ParseDuration(fallback)
	}
	return d
}

func (r *reader) limit(name, fallback string) Limit {
	v := r.text(name, fallback)
	if v == "off" {
		return Limit{}
	}
	count, per, _ := strings.Cut(v, "/")
	n, err := strconv.Atoi(count)
	d, perErr := time.ParseDuration(per)
	if err != nil || perErr != nil || n < 1 || n > 1_000_000 || d < time.Second || d > 24*time.Hour {
		r.fault(name, "must be a count in a time, like %s, or off", fallback)
	}
	return Limit{Count: n, Per: d}
}

func (r *reader) level(name, fallback string) slog.Level {
	var level slog.Level
	v := r.oneOf(name, fallback, "debug", "info", "warn", "error")
	if err := level.UnmarshalText([]byte(v)); err != nil {
		r.fault(name, "must be debug, info, warn or error")
	}
	return level
}

func (r *reader) address(name, fallback string) string {
	v := r.text(name, fallback)
	if v == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(v)
	if n, portErr := strconv.Atoi(port); err != nil || portErr != nil || n < 0 || n > 65535 {
		r.fault(name, "must be an address with a port, like 127.0.0.1:8080")
	}
	return v
}

func (r *reader) publicURL(name, fallback string) *url.URL {
	v := r.text(name, fallback)
	u, err := url.Parse(v)
	if err != nil || checkOrigin(v) != "" {
		r.fault(name, "must be the scheme, host and perhaps port by which browsers reach the server, like https://auth.example.com, without anything behind")
		u, _ = url.Parse(fallback)
	}
	return u
}

func (r *reader) list(name string, check func(string) string) []string {
	list := splitList(r.text(name, ""))
	for _, v := range list {
		if fault := check(v); fault != "" {
			r.fault(name, "has %q, which %s", v, fault)
		}
	}
	return list
}

func splitList(s string) []string {
	var list []string
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, v)
		}
	}
	return list
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
