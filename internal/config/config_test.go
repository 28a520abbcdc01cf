package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// goodSecret is 32 bytes in base64, as random as a test can be.
const goodSecret = "q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGfZxQoYiNp4Tk="

// production is the least that a start in production needs.
var production = []string{
	"LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=https://auth.example.com", "LATCHKEY_REFRESH_SECRET=" + goodSecret,
}

func load(t *testing.T, environ ...string) *Config {
	t.Helper()
	c, err := Load(environ, t.TempDir())
	if err != nil {
		t.Fatalf("Load(%q): %v", environ, err)
	}
	return c
}

// refused returns the faults that Load finds in an environment.
func refused(t *testing.T, environ ...string) string {
	t.Helper()
	c, err := Load(environ, t.TempDir())
	if err == nil {
		t.Fatalf("Load(%q) accepted it", environ)
	}
	if c != nil {
		t.Errorf("Load(%q) returned both a Config and an error", environ)
	}
	return err.Error()
}

// mustMention checks that a message has all the words.
func mustMention(t *testing.T, message string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("want %q in:\n%s", word, message)
		}
	}
}

func TestDefaultsInDevelopment(t *testing.T) {
	want := &Config{
		Addr: "127.0.0.1:8080", PublicURL: &url.URL{Scheme: "http", Host: "localhost:8080"},
		DatabaseURL: "sqlite:data/latchkey.db",
		AutoMigrate: true, RegistrationOpen: true,
		Issuer: "http://localhost:8080", Audience: "http://localhost:8080",
		AccessTokenTTL: 10 * time.Minute, RefreshTokenTTL: 7 * 24 * time.Hour, SessionTTL: 30 * 24 * time.Hour,
		RefreshGrace: 30 * time.Second, RevocationDelay: 2 * time.Second, MaxSessions: 20,
		KeysDir: "data/keys", CookieSameSite: "strict", AuditRetention: 90 * 24 * time.Hour,
		LimitLogin:        Limit{20, 10 * time.Minute},
		LimitRegister:     Limit{20, time.Hour},
		LimitRefresh:      Limit{120, time.Minute},
		PasswordMinLength: 8,
		HashConcurrency:   runtime.GOMAXPROCS(0), Swagger: true, Demo: true, LogLevel: slog.LevelInfo,
	}
	for name, environ := range map[string][]string{
		"with nothing set":                  nil,
		"with other programs' settings":     {"HOME=/root", "LATCHKEYS=2", "latchkey_addr=1.2.3.4:5", "EMPTY="},
		"with development named":            {"LATCHKEY_ENV=development"},
		"with every setting set to nothing": emptied(),
	} {
		t.Run(name, func(t *testing.T) {
			if got := load(t, environ...); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

func emptied() []string {
	var environ []string
	for _, name := range knownSettings() {
		environ = append(environ, name+"=")
	}
	return environ
}

func TestDefaultsInProduction(t *testing.T) {
	c := load(t, production...)
	if !c.Production || c.AutoMigrate || c.Swagger || c.Demo || !c.LogJSON {
		t.Errorf("production with conveniences of development, or without its own: %+v", c)
	}
	if c.Issuer != "https://auth.example.com" || c.Audience != "https://auth.example.com" {
		t.Errorf("issuer %q and audience %q are not the public URL", c.Issuer, c.Audience)
	}
	if !c.SecureCookies() || c.Origin() != "https://auth.example.com" {
		t.Errorf("SecureCookies %v, Origin %q", c.SecureCookies(), c.Origin())
	}
}

func TestValidValues(t *testing.T) {
	for setting, change := range map[string]func(*Config){
		"LATCHKEY_REGISTRATION=closed":           func(c *Config) { c.RegistrationOpen = false },
		"LATCHKEY_ADDR=localhost:9000":           func(c *Config) { c.Addr = "localhost:9000" },
		"LATCHKEY_ADDR=[::1]:0":                  func(c *Config) { c.Addr = "[::1]:0" },
		"LATCHKEY_ADDR=127.3.2.1:65535":          func(c *Config) { c.Addr = "127.3.2.1:65535" },
		"LATCHKEY_OPS_ADDR=127.0.0.1:9090":       func(c *Config) { c.OpsAddr = "127.0.0.1:9090" },
		"LATCHKEY_DATABASE_URL=sqlite:/srv/l.db": func(c *Config) { c.DatabaseURL = "sqlite:/srv/l.db" },
		"LATCHKEY_DATABASE_URL=sqlserver://u:p@host?database=l": func(c *Config) {
			c.DatabaseURL = "sqlserver://u:p@host?database=l"
		},
		"LATCHKEY_AUTO_MIGRATE=false":          func(c *Config) { c.AutoMigrate = false },
		"LATCHKEY_AUDIT_RETENTION=24h":         func(c *Config) { c.AuditRetention = 24 * time.Hour },
		"LATCHKEY_AUDIT_RETENTION=87600h":      func(c *Config) { c.AuditRetention = 87600 * time.Hour },
		"LATCHKEY_AUDIT_RETENTION=off":         func(c *Config) { c.AuditRetention = 0 },
		"LATCHKEY_ISSUER=my-issuer":            func(c *Config) { c.Issuer = "my-issuer" },
		"LATCHKEY_AUDIENCE=my-api":             func(c *Config) { c.Audience = "my-api" },
		"LATCHKEY_ACCESS_TOKEN_TTL=1s":         func(c *Config) { c.AccessTokenTTL = time.Second },
		"LATCHKEY_ACCESS_TOKEN_TTL=15m":        func(c *Config) { c.AccessTokenTTL = 15 * time.Minute },
		"LATCHKEY_REFRESH_TOKEN_TTL=720h":      func(c *Config) { c.RefreshTokenTTL = 720 * time.Hour },
		"LATCHKEY_REFRESH_TOKEN_TTL=91s":       func(c *Config) { c.RefreshTokenTTL = 91 * time.Second },
		"LATCHKEY_SESSION_TTL=9600h":           func(c *Config) { c.SessionTTL = 9600 * time.Hour },
		"LATCHKEY_REFRESH_GRACE=0":             func(c *Config) { c.RefreshGrace = 0 },
		"LATCHKEY_REFRESH_GRACE=60s":           func(c *Config) { c.RefreshGrace = time.Minute },
		"LATCHKEY_REVOCATION_DELAY=0s":         func(c *Config) { c.RevocationDelay = 0 },
		"LATCHKEY_REVOCATION_DELAY=500ms":      func(c *Config) { c.RevocationDelay = 500 * time.Millisecond },
		"LATCHKEY_PASSWORD_MIN_LENGTH=8":       func(c *Config) { c.PasswordMinLength = 8 },
		"LATCHKEY_PASSWORD_MIN_LENGTH=64":      func(c *Config) { c.PasswordMinLength = 64 },
		"LATCHKEY_MAX_SESSIONS_PER_USER=1":     func(c *Config) { c.MaxSessions = 1 },
		"LATCHKEY_MAX_SESSIONS_PER_USER=1000":  func(c *Config) { c.MaxSessions = 1000 },
		"LATCHKEY_KEYS_DIR=/run/keys":          func(c *Config) { c.KeysDir = "/run/keys" },
		"LATCHKEY_ALLOWED_ORIGINS=https://a.b": func(c *Config) { c.AllowedOrigins = []string{"https://a.b"} },
		"LATCHKEY_ALLOWED_ORIGINS=https://a.b:8443, http://localhost:3000": func(c *Config) {
			c.AllowedOrigins = []string{"https://a.b:8443", "http://localhost:3000"}
		},
		"LATCHKEY_COOKIE_SAMESITE=lax": func(c *Config) { c.CookieSameSite = "lax" },
		"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8,::1/128": func(c *Config) {
			c.TrustedProxies = []string{"10.0.0.0/8", "::1/128"}
		},
		"LATCHKEY_LIMIT_LOGIN=off":             func(c *Config) { c.LimitLogin = Limit{} },
		"LATCHKEY_LIMIT_LOGIN=1/1s":            func(c *Config) { c.LimitLogin = Limit{1, time.Second} },
		"LATCHKEY_LIMIT_REGISTER=1000000/24h":  func(c *Config) { c.LimitRegister = Limit{1_000_000, 24 * time.Hour} },
		"LATCHKEY_LIMIT_REFRESH=5/1m30s":       func(c *Config) { c.LimitRefresh = Limit{5, 90 * time.Second} },
		"LATCHKEY_HASH_CONCURRENCY=256":        func(c *Config) { c.HashConcurrency = 256 },
		"LATCHKEY_SWAGGER=false":               func(c *Config) { c.Swagger = false },
		"LATCHKEY_DEMO=false":                  func(c *Config) { c.Demo = false },
		"LATCHKEY_LOG_LEVEL=debug":             func(c *Config) { c.LogLevel = slog.LevelDebug },
		"LATCHKEY_LOG_LEVEL=warn":              func(c *Config) { c.LogLevel = slog.LevelWarn },
		"LATCHKEY_LOG_LEVEL=error":             func(c *Config) { c.LogLevel = slog.LevelError },
		"LATCHKEY_LOG_FORMAT=json":             func(c *Config) { c.LogJSON = true },
		"LATCHKEY_PUBLIC_URL=http://[::1]:800": func(c *Config) { setPublicURL(c, "http", "[::1]:800") },
		"LATCHKEY_PUBLIC_URL=https://a.b:8443": func(c *Config) { setPublicURL(c, "https", "a.b:8443") },
	} {
		t.Run(setting, func(t *testing.T) {
			want := load(t)
			change(want)
			if got := load(t, setting); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// setPublicURL changes what the public URL decides: the issuer and the audience follow it.
func setPublicURL(c *Config, scheme, host string) {
	c.PublicURL = &url.URL{Scheme: scheme, Host: host}
	c.Issuer, c.Audience = c.Origin(), c.Origin()
}

func TestMalformedValues(t *testing.T) {
	for name, values := range map[string][]string{
		"LATCHKEY_ENV":          {"prod", "Production", "development "},
		"LATCHKEY_REGISTRATION": {"true", "Open"},
		"LATCHKEY_ADDR":         {"8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"},
		"LATCHKEY_OPS_ADDR":     {"off", "127.0.0.1"},
		"LATCHKEY_PUBLIC_URL": {
			"auth.example.com", "ftp://auth.example.com", "https://", "https://a.example/", "https://a.example/x",
			"https://a.example?x", "https://a.example#x", "https://u:p@a.example", "https://A.example",
			"https://a.example:443", "http://a.example:80", "http://a.example:", "https://*.example", "%zz",
		},
		"LATCHKEY_DATABASE_URL": {
			"data/latchkey.db", "sqlite:", "sqlite::memory:", "sqlite:file::memory:?cache=shared", "postgres://host/db",
			"sqlserver://host:port", "sqlserver://host?encrypt=perhaps",
		},
		"LATCHKEY_AUTO_MIGRATE":      {"yes", "1", "TRUE"},
		"LATCHKEY_AUDIT_RETENTION":   {"0", "23h59m59s", "87600h1s", "90d", "24h0.5s", "Off", "-2160h"},
		"LATCHKEY_ACCESS_TOKEN_TTL":  {"0", "10", "-1m", "15m1s", "500ms", "1.5s", "ten"},
		"LATCHKEY_REFRESH_TOKEN_TTL": {"59s", "9601h", "7d", "61.5s"},
		"LATCHKEY_SESSION_TTL":       {"0", "9601h", "forever"},
		"LATCHKEY_REFRESH_GRACE":     {"-1s", "61s", "30", "1us"},
		"LATCHKEY_REVOCATION_DELAY":  {"-1s", "61s", "2", "1500us"},

		"LATCHKEY_PASSWORD_MIN_LENGTH":   {"7", "0", "65", "eight"},
		"LATCHKEY_MAX_SESSIONS_PER_USER": {"0", "1001", "many", "1.5", "99999999999999999999"},
		"LATCHKEY_REFRESH_SECRET":        {"hello", goodSecret[:40], goodSecret + goodSecret},
		"LATCHKEY_ALLOWED_ORIGINS": {
			"*", "https://*.example.com", "app.example.com", "https://app.example.com/", "https://App.example.com",
			"https://app.example.com:443", "http://app.example.com:80", "null", "https://a.example https://b.example",
		},
		"LATCHKEY_COOKIE_SAMESITE": {"Strict", "off"},
		"LATCHKEY_TRUSTED_PROXIES": {"0.0.0.0/0", "::/0", "10.0.0.1", "10.0.0.1/8", "10.0.0.0/33", "*", "proxy.example.com"},
		"LATCHKEY_LIMIT_LOGIN": {
			"20", "20/", "/10m", "0/10m", "-1/10m", "20/10", "20/999ms", "20/25h", "1000001/1m", "none", "20/10m/1",
		},
		"LATCHKEY_LIMIT_REGISTER":   {"on"},
		"LATCHKEY_LIMIT_REFRESH":    {"0"},
		"LATCHKEY_HASH_CONCURRENCY": {"0", "257", "all"},
		"LATCHKEY_SWAGGER":          {"on"},
		"LATCHKEY_DEMO":             {"on"},
		"LATCHKEY_LOG_LEVEL":        {"INFO", "trace", "info+2"},
		"LATCHKEY_LOG_FORMAT":       {"logfmt"},
	} {
		for _, value := range values {
			t.Run(fmt.Sprintf("%s=%s is refused", name, value), func(t *testing.T) {
				message := refused(t, name+"="+value)
				mustMention(t, message, "1 fault", "\n  - "+name+" ")
			})
		}
	}
}

func TestUnknownSettingsAreNamed(t *testing.T) {
	message := refused(t, "LATCHKEY_PORT=canary", "LATCHKEY_=canary", "LATCHKEY_KEYS_DIR_FILE=canary",
		"LATCHKEY_DEMO=true")
	mustMention(t, message, "3 fault", "- LATCHKEY_ ", "- LATCHKEY_PORT ", "- LATCHKEY_KEYS_DIR_FILE ", ".env.example")
	if strings.Contains(message, "canary") {
		t.Errorf("the value of an unknown setting, perhaps a secret with a misspelt name, is shown:\n%s", message)
	}
}

func TestAllFaultsAreListedAtOnce(t *testing.T) {
	t.Run("malformed and unknown ones", func(t *testing.T) {
		message := refused(t, "LATCHKEY_ENV=prod", "LATCHKEY_ADDR=x", "LATCHKEY_LIMIT_LOGIN=x",
			"LATCHKEY_TRUSTED_PROXIES=x,y", "LATCHKEY_NONSENSE=x")
		mustMention(t, message, "6 fault", "- LATCHKEY_ENV ", "- LATCHKEY_ADDR ", "- LATCHKEY_LIMIT_LOGIN ",
			`- LATCHKEY_TRUSTED_PROXIES has "x"`, `- LATCHKEY_TRUSTED_PROXIES has "y"`, "- LATCHKEY_NONSENSE ")
	})
	t.Run("contradictory and unknown ones", func(t *testing.T) {
		message := refused(t, "LATCHKEY_ADDR=0.0.0.0:1", "LATCHKEY_COOKIE_SAMESITE=none", "LATCHKEY_SESSION_TTL=1h",
			"LATCHKEY_NONSENSE=x")
		mustMention(t, message, "4 fault", "- LATCHKEY_ADDR ", "- LATCHKEY_COOKIE_SAMESITE ",
			"- LATCHKEY_REFRESH_TOKEN_TTL ", "- LATCHKEY_NONSENSE ")
	})
	t.Run("malformed ones and contradictions between others", func(t *testing.T) {
		message := refused(t, "LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=http://auth.example.com",
			"LATCHKEY_LOG_LEVEL=loud")
		mustMention(t, message, "- LATCHKEY_LOG_LEVEL ", "- LATCHKEY_PUBLIC_URL ", "- LATCHKEY_REFRESH_SECRET ")
	})
}

func TestLoadAddrReadsNothingElse(t *testing.T) {
	dir := withDotEnv(t, "LATCHKEY_ADDR=127.0.0.1:9000")
	for environ, want := range map[string]string{
		"":                                     "127.0.0.1:9000",
		"LATCHKEY_ADDR=127.0.0.1:7000":         "127.0.0.1:7000",
		"LATCHKEY_ENV=production":              DefaultAddr,
		"LATCHKEY_REFRESH_SECRET_FILE=missing": "127.0.0.1:9000",
	} {
		if addr, err := LoadAddr([]string{environ}, dir); err != nil || addr != want {
			t.Errorf("with %q it is %q (%v), want %q", environ, addr, err, want)
		}
	}
	if _, err := LoadAddr([]string{"LATCHKEY_ADDR=nowhere"}, dir); err == nil {
		t.Error("an address without a port is accepted")
	}
}
