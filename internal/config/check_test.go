package config

import (
	"slices"
	"strings"
	"testing"
)

// inProduction returns the least that production needs, with more settings, which win.
func inProduction(settings ...string) []string { return slices.Concat(production, settings) }

func TestContradictionsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		environ []string
		faults  []string
	}{
		"an idle limit beyond the absolute limit": {
			[]string{"LATCHKEY_SESSION_TTL=24h"},
			[]string{"LATCHKEY_REFRESH_TOKEN_TTL", "LATCHKEY_SESSION_TTL (24h0m0s)"},
		},
		"an idle limit of twice the grace": {
			[]string{"LATCHKEY_REFRESH_TOKEN_TTL=2m", "LATCHKEY_REFRESH_GRACE=60s"},
			[]string{"LATCHKEY_REFRESH_TOKEN_TTL", "LATCHKEY_REFRESH_GRACE (1m0s)"},
		},
		"SameSite=None over http": {
			[]string{"LATCHKEY_COOKIE_SAMESITE=none"},
			[]string{"LATCHKEY_COOKIE_SAMESITE", "https"},
		},
		"development on all addresses": {
			[]string{"LATCHKEY_ADDR=0.0.0.0:8080"},
			[]string{"LATCHKEY_ADDR", "loopback", "LATCHKEY_ENV=production"},
		},
		"development on all addresses, by an empty host": {
			[]string{"LATCHKEY_ADDR=:8080"},
			[]string{"LATCHKEY_ADDR", "loopback"},
		},
		"development on an address of the network": {
			[]string{"LATCHKEY_ADDR=192.168.1.2:8080"},
			[]string{"LATCHKEY_ADDR", "loopback"},
		},
		"development on a name that only begins like a loopback one": {
			[]string{"LATCHKEY_ADDR=localhost.example.com:8080"},
			[]string{"LATCHKEY_ADDR", "loopback"},
		},
		"development with operations on all addresses": {
			[]string{"LATCHKEY_OPS_ADDR=[::]:9090"},
			[]string{"LATCHKEY_OPS_ADDR", "loopback"},
		},
		"production over http": {
			inProduction("LATCHKEY_PUBLIC_URL=http://auth.example.com"),
			[]string{"LATCHKEY_PUBLIC_URL", "https"},
		},
		"production over http on a host that only ends like a loopback one": {
			inProduction("LATCHKEY_PUBLIC_URL=http://notlocalhost"),
			[]string{"LATCHKEY_PUBLIC_URL", "https"},
		},
		"production that does not say how browsers reach it": {
			inProduction("LATCHKEY_PUBLIC_URL=", "LATCHKEY_ADDR=:8080"),
			[]string{"LATCHKEY_PUBLIC_URL", "must be set in production"},
		},
		"production with an http page of another origin": {
			inProduction("LATCHKEY_ALLOWED_ORIGINS=http://app.example.com"),
			[]string{"LATCHKEY_ALLOWED_ORIGINS", "https"},
		},
		"an issuer that fills every access token": {
			[]string{"LATCHKEY_ISSUER=" + strings.Repeat("x", 257)},
			[]string{"LATCHKEY_ISSUER", "256"},
		},
		"production without a refresh secret": {
			production[:2],
			[]string{"LATCHKEY_REFRESH_SECRET", "openssl rand -base64 32", "LATCHKEY_REFRESH_SECRET_FILE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			mustMention(t, refused(t, test.environ...), append(test.faults, "1 fault")...)
		})
	}
}

func TestConsistentSettingsAreAccepted(t *testing.T) {
	for name, environ := range map[string][]string{
		"an idle limit of the absolute limit": {"LATCHKEY_SESSION_TTL=1h", "LATCHKEY_REFRESH_TOKEN_TTL=1h"},
		"SameSite=None over https": {
			"LATCHKEY_COOKIE_SAMESITE=none", "LATCHKEY_PUBLIC_URL=https://auth.example.com",
		},
		"production over http on a loopback host": inProduction(
			"LATCHKEY_PUBLIC_URL=http://localhost:8080"),
		"production over http on a loopback address": inProduction(
			"LATCHKEY_PUBLIC_URL=http://127.0.0.1:8080"),
		"production on all addresses": inProduction(
			"LATCHKEY_ADDR=:443", "LATCHKEY_OPS_ADDR=10.0.0.1:9090"),
	} {
		t.Run(name, func(t *testing.T) { load(t, environ...) })
	}
}

func TestSQLServerInProductionIsReachedByVerifiedTLSOnly(t *testing.T) {
	for parameters, accepted := range map[string]bool{
		"":                  false,
		"&encrypt=disable":  false,
		"&encrypt=false":    false, // encrypts the sign-in only
		"&encrypt=optional": false,
		"&encrypt=true":     true,
		"&encrypt=strict":   true,
		"&encrypt=true&TrustServerCertificate=true":  false,
		"&encrypt=true&trustservercertificate=true":  false,
		"&encrypt=true&TrustServerCertificate=false": true,
		// With strict, the driver verifies the certificate whatever else is said.
		"&encrypt=strict&TrustServerCertificate=true": true,
	} {
		database := "LATCHKEY_DATABASE_URL=sqlserver://sa:canary@db.example.com:1433?database=latchkey" + parameters
		t.Run("production with "+parameters, func(t *testing.T) {
			_, err := Load(inProduction(database), t.TempDir())
			if (err == nil) != accepted {
				t.Fatalf("accepted: %v, want %v: %v", err == nil, accepted, err)
			}
			if err != nil {
				mustMention(t, err.Error(), "1 fault", "- LATCHKEY_DATABASE_URL ", "encrypt=true")
				if strings.Contains(err.Error(), "canary") {
					t.Errorf("the password is shown:\n%v", err)
				}
			}
		})
		t.Run("development with "+parameters, func(t *testing.T) { load(t, database) })
	}
}

// The # ends the URL, and what stands before it would be looked up as a host.
func TestSQLServerPasswordThatIsNotEncodedIsRefused(t *testing.T) {
	message := refused(t, "LATCHKEY_DATABASE_URL=sqlserver://sa:Secr@canary#word@localhost:1?database=x")
	mustMention(t, message, "LATCHKEY_DATABASE_URL", "percent-encoded")
	if strings.Contains(message, "canary") {
		t.Errorf("the message shows a part of the password: %s", message)
	}
}

func TestSQLServerCertificateThatIsNotThereIsNamed(t *testing.T) {
	message := refused(t, "LATCHKEY_DATABASE_URL=sqlserver://sa:canary@db:1433?database=x&encrypt=true&Certificate=/no/such/ca.pem")
	mustMention(t, message, "LATCHKEY_DATABASE_URL", "/no/such/ca.pem", "no such file")
	if strings.Contains(message, "canary") {
		t.Errorf("the message shows the password: %s", message)
	}
}

func TestProductionRefusesEveryUnsafeConvenienceAtOnce(t *testing.T) {
	message := refused(t, "LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=http://auth.example.com",
		"LATCHKEY_DATABASE_URL=sqlserver://sa:canary@db?database=latchkey", "LATCHKEY_COOKIE_SAMESITE=none",
		"LATCHKEY_NONSENSE=x")
	mustMention(t, message, "5 fault", "- LATCHKEY_PUBLIC_URL ", "- LATCHKEY_REFRESH_SECRET ", "- LATCHKEY_DATABASE_URL ",
		"- LATCHKEY_COOKIE_SAMESITE ", "- LATCHKEY_NONSENSE ")
}
