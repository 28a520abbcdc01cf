package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/config"
	"latchkey/internal/store"
	"latchkey/internal/token"
)

// checkCommand looks at everything that a start needs, changes nothing, and reports all that is wrong.
func checkCommand(env environment) *cobra.Command {
	return &cobra.Command{Use: "check", Short: "Check settings, database, schema and keys, and change nothing", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			c.Printf("%-8s  ok\n", "settings")
			var faults []string
			report := func(what, state string, err error) {
				if err != nil {
					faults = append(faults, "\n  - "+what+": "+strings.ReplaceAll(err.Error(), "\n", "\n    "))
					return
				}
				c.Printf("%-8s  %s\n", what, state)
			}
			keys, err := checkKeys(settings)
			report("keys", keys, err)
			secrets, err := checkSecrets(settings)
			report("secret", secrets, err)
			report("database", "ok", checkDatabase(c, string(settings.DatabaseURL)))
			if len(faults) > 0 {
				return fmt.Errorf("there are %d fault(s):%s", len(faults), strings.Join(faults, ""))
			}
			return nil
		}}
}

func checkKeys(settings *config.Config) (state string, err error) {
	keys, err := loadKeys(settings.KeysDir)
	if err != nil {
		return "", err
	}
	if _, err := token.NewIssuer(keys, settings.Issuer, settings.Audience, time.Now); err != nil {
		return "", err
	}
	counts := map[string]int{}
	for _, row := range keyRows(keys, settings.KeysDir, time.Now()) {
		counts[row.State]++
	}
	state = "ok"
	if n := counts["next"]; n > 0 {
		state += fmt.Sprintf(", %d will sign later", n)
	}
	if n := counts["retired"]; n > 0 {
		state += fmt.Sprintf(", %d not needed any more: `latchkey keys prune` removes what is not", n)
	}
	return state, nil
}

func checkSecrets(settings *config.Config) (state string, err error) {
	secrets, err := loadSecrets(settings)
	if errors.Is(err, fs.ErrNotExist) && settings.RefreshSecretFile == "" { // not in production: see the settings
		return "none: the next start makes one", nil
	}
	if err != nil {
		return "", err
	}
	keys, err := token.NewRefreshKeys(tokenSecrets(secrets), time.Now)
	if err != nil || len(secrets) == 1 {
		return "ok", err
	}
	return fmt.Sprintf("ok, number %d of %d is in use", keys.InUse()+1, len(secrets)), nil
}

func checkDatabase(c *cobra.Command, url string) error {
	st, err := store.OpenExisting(url)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := requireSchema(c.Context(), st); err != nil {
		return err
	}
	return explainDenied(st.CheckRights(c.Context()))
}
