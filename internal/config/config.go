// Package config owns the settings: it reads them from the environment, from .env in development and from files that
// hold secrets, checks them against each other and reports every fault at once.
//
// A Config that Load returned is consistent and, in production, safe. Secrets in it do not print.
package config

import (
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"time"
)

const prefix = "LATCHKEY_"

const maxClaim = 256

const maxHashes = 256

// DefaultAddr is the public listener where the settings name none.
const DefaultAddr = "127.0.0.1:8080"

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

	AuditRetention time.Duration // 0: for ever

	RegistrationOpen bool
	Issuer, Audience string
	AccessTokenTTL   time.Duration
	RefreshTokenTTL  time.Duration
	SessionTTL       time.Duration
	RefreshGrace     time.Duration
	RevocationDelay  time.Duration
	MaxSessions      int

	PasswordMinLength int // code points

	KeysDir           string
	RefreshSecrets    []RefreshSecret // newest first; empty: those beside the keys, in development
	RefreshSecretFile string          // where they come from; empty: not from a file

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
	c := &Config{}
	r := c.newReader(environ, dir)
	c.read(r)
	c.check(r)
	r.refuseUnknown()
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// LoadAddr reads LATCHKEY_ADDR as Load does, and looks at no other setting: the server that listens there may run well
// while a file of its secrets is being replaced.
func LoadAddr(environ []string, dir string) (string, error) {
	r := (&Config{}).newReader(environ, dir)
	addr := r.address("LATCHKEY_ADDR", DefaultAddr)
	return addr, r.err()
}

// newReader takes the settings out of the environment and, in development, .env.
func (c *Config) newReader(environ []string, dir string) *reader {
	r := &reader{values: map[string]string{}}
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, prefix) {
			r.values[name] = value
		}
	}
	c.Production = r.oneOf("LATCHKEY_ENV", "development", "development", "production") == "production"
	if !c.Production && r.wasRead("LATCHKEY_ENV") {
		r.readDotEnv(dir)
	}
	return r
}

func (c *Config) read(r *reader) {
	development := !c.Production
	c.Addr = r.address("LATCHKEY_ADDR", DefaultAddr)
	c.OpsAddr = r.address("LATCHKEY_OPS_ADDR", "")
	c.PublicURL = r.publicURL("LATCHKEY_PUBLIC_URL", "http://localhost:8080")
	c.DatabaseURL = Secret(r.secret("LATCHKEY_DATABASE_URL", "sqlite:data/latchkey.db"))
	c.AutoMigrate = r.boolean("LATCHKEY_AUTO_MIGRATE", development)
	c.AuditRetention = r.retention("LATCHKEY_AUDIT_RETENTION", "2160h", 24*time.Hour, 10*365*24*time.Hour)
	c.RegistrationOpen = r.oneOf("LATCHKEY_REGISTRATION", "open", "open", "closed") == "open"
	c.Issuer = r.claim("LATCHKEY_ISSUER", c.Origin())
	c.Audience = r.claim("LATCHKEY_AUDIENCE", c.Origin())
	c.AccessTokenTTL = r.duration("LATCHKEY_ACCESS_TOKEN_TTL", "10m", time.Second, 15*time.Minute)
	c.RefreshTokenTTL = r.duration("LATCHKEY_REFRESH_TOKEN_TTL", "168h", time.Minute, 400*24*time.Hour)
	c.SessionTTL = r.duration("LATCHKEY_SESSION_TTL", "720h", time.Minute, 400*24*time.Hour)
	c.RefreshGrace = r.duration("LATCHKEY_REFRESH_GRACE", "30s", 0, time.Minute)
	c.RevocationDelay = r.duration("LATCHKEY_REVOCATION_DELAY", "2s", 0, time.Minute)
	c.MaxSessions = r.integer("LATCHKEY_MAX_SESSIONS_PER_USER", 20, 1, 1000)
	c.PasswordMinLength = r.integer("LATCHKEY_PASSWORD_MIN_LENGTH", 8, 8, 64)
	c.KeysDir = r.text("LATCHKEY_KEYS_DIR", "data/keys")
	c.RefreshSecrets = r.refreshSecrets("LATCHKEY_REFRESH_SECRET")
	c.RefreshSecretFile = r.values["LATCHKEY_REFRESH_SECRET_FILE"]
	c.AllowedOrigins = r.list("LATCHKEY_ALLOWED_ORIGINS", checkOrigin)
	c.CookieSameSite = r.oneOf("LATCHKEY_COOKIE_SAMESITE", "strict", "strict", "lax", "none")
	c.TrustedProxies = r.list("LATCHKEY_TRUSTED_PROXIES", checkCIDR)
	c.LimitLogin = r.limit("LATCHKEY_LIMIT_LOGIN", "20/10m")
	c.LimitRegister = r.limit("LATCHKEY_LIMIT_REGISTER", "20/1h")
	c.LimitRefresh = r.limit("LATCHKEY_LIMIT_REFRESH", "120/1m")
	c.HashConcurrency = r.integer("LATCHKEY_HASH_CONCURRENCY", min(runtime.GOMAXPROCS(0), maxHashes), 1, maxHashes)
	c.Swagger = r.boolean("LATCHKEY_SWAGGER", development)
	c.Demo = r.boolean("LATCHKEY_DEMO", development)
	c.LogLevel = r.level("LATCHKEY_LOG_LEVEL", "info")
	format := "text"
	if c.Production {
		format = "json"
	}
	c.LogJSON = r.oneOf("LATCHKEY_LOG_FORMAT", format, "text", "json") == "json"
}
