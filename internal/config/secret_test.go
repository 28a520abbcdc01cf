package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSecretDoesNotPrint(t *testing.T) {
	const canary = "canary"
	type nested struct {
		One  Secret
		Many []Secret
		Map  map[string]Secret
	}
	for what, value := range map[string]any{
		"a secret":             Secret(canary),
		"a pointer to one":     new(Secret(canary)),
		"a structure of them":  nested{canary, []Secret{canary}, map[string]Secret{"k": canary}},
		"a pointer to it":      &nested{canary, []Secret{canary}, map[string]Secret{"k": canary}},
		"a Config":             Config{DatabaseURL: canary, RefreshSecrets: []RefreshSecret{{Value: canary}}},
		"a pointer to it, too": &Config{DatabaseURL: canary, RefreshSecrets: []RefreshSecret{{Value: canary}}},
	} {
		printed := map[string]string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
			printed[verb] = fmt.Sprintf(verb, value)
		}
		var text, structured bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "value", value)
		slog.New(slog.NewJSONHandler(&structured, nil)).Info("x", "value", value)
		printed["slog's text"], printed["slog's JSON"] = text.String(), structured.String()
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		printed["encoding/json"] = string(encoded)
		for how, out := range printed {
			t.Run(what+" by "+how, func(t *testing.T) {
				if strings.Contains(out, canary) || strings.Contains(strings.ToLower(out), fmt.Sprintf("%x", canary)) {
					t.Errorf("the secret is seen: %s", out)
				}
			})
		}
	}
}

func TestRefreshSecretIsDecoded(t *testing.T) {
	other := "VZ9ZQG1n0yUuGz3nqgO3o3wC8pM5m2dQH4rJ6tKxEvA="
	c := load(t, "LATCHKEY_REFRESH_SECRET="+goodSecret+" , "+other)
	if len(c.RefreshSecrets) != 2 || base64.StdEncoding.EncodeToString([]byte(c.RefreshSecrets[0].Value)) != goodSecret ||
		base64.StdEncoding.EncodeToString([]byte(c.RefreshSecrets[1].Value)) != other {
		t.Error("the two secrets are not there, newest first")
	}
}

func TestGuessableRefreshSecretsAreRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"32 zero bytes":                 strings.Repeat("\x00", 32),
		"32 equal bytes":                strings.Repeat("\xaa", 32),
		"two bytes in turn":             strings.Repeat("\x01\xfe", 16),
		"a repeated short secret":       strings.Repeat("\x81\x42\x13\xf4\x25\xc6\x97\x08", 4),
		"placeholder text":              "change-me-please-change-me-pleas",
		"placeholder text, all unlike":  "abcdefghijklmnopqrstuvwxyz012345",
		"the hex of 16 bytes":           "0123456789abcdef0f1e2d3c4b5a6978",
		"the base64 of 24 random bytes": "q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGf",
	} {
		t.Run(name, func(t *testing.T) {
			encoded := base64.StdEncoding.EncodeToString([]byte(raw))
			message := refused(t, "LATCHKEY_REFRESH_SECRET="+goodSecret+","+encoded)
			mustMention(t, message, "LATCHKEY_REFRESH_SECRET value 2 is not random", "openssl rand -base64 32")
			if strings.Contains(message, encoded) || strings.Contains(message, raw) {
				t.Errorf("the secret is shown:\n%s", message)
			}
		})
	}
}

func TestRefusedSecretsAreNotShown(t *testing.T) {
	for _, environ := range [][]string{
		{"LATCHKEY_REFRESH_SECRET=canary"},
		{"LATCHKEY_REFRESH_SECRET=canary", "LATCHKEY_REFRESH_SECRET_FILE=/etc/hostname"},
		{"LATCHKEY_DATABASE_URL=postgres://u:canary@host/db"},
		{"LATCHKEY_DATABASE_URL=sqlserver://u:canary%zz@host"},
		{"LATCHKEY_DATABASE_URL=sqlserver://u:canary@host:port"},
		{"LATCHKEY_DATABASE_URL=sqlserver://u:canary@host?encrypt=maybe"},
		{"LATCHKEY_DATABASE_URL=canary"},
	} {
		t.Run(environ[0], func(t *testing.T) {
			if message := refused(t, environ...); strings.Contains(message, "canary") {
				t.Errorf("the secret is shown:\n%s", message)
			}
		})
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Run("a refresh secret, whatever ends the line", func(t *testing.T) {
		for _, end := range []string{"", "\n", "\r\n", "\n\n"} {
			c := load(t, "LATCHKEY_REFRESH_SECRET_FILE="+write("secret", goodSecret+end))
			if len(c.RefreshSecrets) != 1 || base64.StdEncoding.EncodeToString([]byte(c.RefreshSecrets[0].Value)) != goodSecret {
				t.Errorf("with %q at the end, it is not the secret of the file", end)
			}
		}
	})
	t.Run("a database URL", func(t *testing.T) {
		c := load(t, "LATCHKEY_DATABASE_URL_FILE="+write("url", "sqlite:/srv/l.db\n"))
		if string(c.DatabaseURL) != "sqlite:/srv/l.db" {
			t.Error("it is not the URL of the file")
		}
	})
	t.Run("is enough in production", func(t *testing.T) {
		load(t, append(production[:2:2], "LATCHKEY_REFRESH_SECRET_FILE="+write("secret", goodSecret+"\n"))...)
	})
	t.Run("beside an empty setting", func(t *testing.T) {
		load(t, "LATCHKEY_REFRESH_SECRET=", "LATCHKEY_REFRESH_SECRET_FILE="+write("secret", goodSecret))
	})
	t.Run("and from the setting too is a fault", func(t *testing.T) {
		message := refused(t, "LATCHKEY_DATABASE_URL=sqlite:a.db", "LATCHKEY_DATABASE_URL_FILE="+write("url", "sqlite:a.db"))
		mustMention(t, message, "1 fault", "LATCHKEY_DATABASE_URL and LATCHKEY_DATABASE_URL_FILE", "both set")
	})
	t.Run("a missing file is a fault", func(t *testing.T) {
		message := refused(t, append(production[:2:2], "LATCHKEY_REFRESH_SECRET_FILE="+filepath.Join(dir, "missing"))...)
		mustMention(t, message, "1 fault", "LATCHKEY_REFRESH_SECRET_FILE", filepath.Join(dir, "missing"), "no such file")
	})
	t.Run("an empty file is a fault in production", func(t *testing.T) {
		message := refused(t, append(production[:2:2], "LATCHKEY_REFRESH_SECRET_FILE="+write("empty", "\n"))...)
		mustMention(t, message, "1 fault", "LATCHKEY_REFRESH_SECRET")
	})
	t.Run("an empty file is a fault in development", func(t *testing.T) {
		mustMention(t, refused(t, "LATCHKEY_REFRESH_SECRET_FILE="+write("empty", "\n")), "1 fault", "LATCHKEY_REFRESH_SECRET")
		mustMention(t, refused(t, "LATCHKEY_DATABASE_URL_FILE="+write("empty", "\n")), "1 fault", "LATCHKEY_DATABASE_URL")
	})
	t.Run("garbage in a file is a fault that does not show it", func(t *testing.T) {
		message := refused(t, "LATCHKEY_REFRESH_SECRET_FILE="+write("garbage", "canary"))
		mustMention(t, message, "1 fault", "LATCHKEY_REFRESH_SECRET")
		if strings.Contains(message, "canary") {
			t.Errorf("the secret is shown:\n%s", message)
		}
	})
}

func TestRefreshSecretsMaySayFromWhenTheyAreUsed(t *testing.T) {
	const other = "VZ9ZQG1n0yUuGz3nqgO3o3wC8pM5m2dQH4rJ6tKxEvA="
	c := load(t, "LATCHKEY_REFRESH_SECRET=20260102T150405Z:"+other+",\n"+goodSecret)
	if want := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC); len(c.RefreshSecrets) != 2 ||
		!c.RefreshSecrets[0].UsedFrom.Equal(want) || !c.RefreshSecrets[1].UsedFrom.IsZero() {
		t.Fatalf("got %+v", c.RefreshSecrets)
	}
	again, err := ParseRefreshSecrets(FormatRefreshSecrets(c.RefreshSecrets))
	if err != nil || !slices.Equal(again, c.RefreshSecrets) {
		t.Errorf("written and read again they are others: %v", err)
	}
	for name, bad := range map[string]string{
		"no time":            ":" + goodSecret,
		"another time":       "2026-01-02:" + goodSecret,
		"a time of no zone":  "20260102T150405:" + goodSecret,
		"half a second":      "20260102T150405.5Z:" + goodSecret,
		"a false date":       "20260230T150405Z:" + goodSecret,
		"a secret as a time": goodSecret + ":" + other,
	} {
		t.Run(name, func(t *testing.T) {
			message := refused(t, "LATCHKEY_REFRESH_SECRET="+other+","+bad)
			mustMention(t, message, "1 fault", "LATCHKEY_REFRESH_SECRET value 2 ", "like 20260102T150405Z")
			if strings.Contains(message, goodSecret[:8]) {
				t.Errorf("the secret is shown:\n%s", message)
			}
		})
	}
}

func TestParseRefreshSecretsNamesEveryFault(t *testing.T) {
	for name, test := range map[string]struct {
		list string
		want []string
	}{
		"nothing":               {"\n", []string{"empty"}},
		"only commas":           {",,", []string{"empty"}},
		"a short and a bad one": {"c2hvcnQ=," + strings.Repeat("A", 43) + "=", []string{"value 1 must be 32 bytes", "value 2 is not random"}},
	} {
		secrets, err := ParseRefreshSecrets(test.list)
		if err == nil || secrets != nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		mustMention(t, err.Error(), test.want...)
	}
}

func TestConfigNamesTheFileOfTheRefreshSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(goodSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := load(t, "LATCHKEY_REFRESH_SECRET_FILE="+file); c.RefreshSecretFile != file {
		t.Errorf("it names %q", c.RefreshSecretFile)
	}
	if c := load(t, "LATCHKEY_REFRESH_SECRET="+goodSecret); c.RefreshSecretFile != "" {
		t.Errorf("without one, it names %q", c.RefreshSecretFile)
	}
}
