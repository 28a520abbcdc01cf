package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withDotEnv returns a folder with this .env.
func withDotEnv(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDotEnvCountsInDevelopment(t *testing.T) {
	dir := withDotEnv(t, `# a comment
LATCHKEY_ADDR=127.0.0.1:9000
export LATCHKEY_KEYS_DIR="my keys"

LATCHKEY_SWAGGER=
OTHER=settings of another program
`)
	c, err := Load([]string{"HOME=/root"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:9000" || c.KeysDir != "my keys" || !c.Swagger {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironmentCountsBeforeDotEnv(t *testing.T) {
	dir := withDotEnv(t, "LATCHKEY_ADDR=127.0.0.1:9000\nLATCHKEY_KEYS_DIR=k\n")
	c, err := Load([]string{"LATCHKEY_ADDR=127.0.0.1:7000"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:7000" || c.KeysDir != "k" {
		t.Errorf("got address %q and keys in %q", c.Addr, c.KeysDir)
	}
}

func TestDotEnvDoesNotCountInProduction(t *testing.T) {
	c, err := Load(production, withDotEnv(t, "LATCHKEY_ADDR=127.0.0.1:9000\nLATCHKEY_NONSENSE=1\nnot a setting"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != DefaultAddr {
		t.Errorf("the address is %q, from .env", c.Addr)
	}
}

func TestDotEnvIsNotNeeded(t *testing.T) { load(t) }

func TestFaultsOfDotEnv(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		words   []string
	}{
		"production cannot be set there":       {"LATCHKEY_ENV=production\n", []string{"LATCHKEY_ENV", ".env", "environment"}},
		"nor what is no environment":           {"LATCHKEY_ENV=prod\n", []string{"LATCHKEY_ENV"}},
		"an unknown setting":                   {"LATCHKEY_NONSENSE=canary\n", []string{"LATCHKEY_NONSENSE"}},
		"a malformed setting":                  {"LATCHKEY_ACCESS_TOKEN_TTL=canary\n", []string{"LATCHKEY_ACCESS_TOKEN_TTL"}},
		"a line that is no setting":            {"LATCHKEY_REFRESH_SECRET canary\n", []string{".env", "NAME=value"}},
		"a quote that does not end":            {"LATCHKEY_REFRESH_SECRET=\"canary\n", []string{".env", "NAME=value"}},
		"a secret and its file, in two places": {"LATCHKEY_REFRESH_SECRET_FILE=x\n", []string{"both set"}},
	} {
		t.Run(name, func(t *testing.T) {
			var environ []string
			if strings.Contains(test.content, "_FILE") {
				environ = []string{"LATCHKEY_REFRESH_SECRET=" + goodSecret}
			}
			_, err := Load(environ, withDotEnv(t, test.content))
			if err == nil {
				t.Fatal("it is accepted")
			}
			mustMention(t, err.Error(), append(test.words, "1 fault")...)
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("a value, perhaps a secret, is shown:\n%v", err)
			}
		})
	}
}

func TestDotEnvThatCannotBeReadIsAFault(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".env"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Load(nil, dir)
	if err == nil {
		t.Fatal("a folder for a file is accepted")
	}
	mustMention(t, err.Error(), "1 fault", "- .env ")
}
