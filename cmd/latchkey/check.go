package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

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
			var faults []error
			report := func(what string, err error) {
				if err != nil {
					faults = append(faults, fmt.Errorf("%s: %w", what, err))
					return
				}
				c.Printf("%-8s  ok\n", what)
			}
			if _, err = token.LoadKeys(settings.KeysDir); errors.Is(err, token.ErrNoKeys) {
				err = fmt.Errorf("%w: `latchkey serve` makes one in development, `latchkey keys rotate` everywhere", err)
			}
			report("keys", err)
			if _, err = loadRefreshKeys(settings); errors.Is(err, fs.ErrNotExist) { // not in production: see the settings
				c.Printf("%-8s  none yet: the first start makes it\n", "secret")
			} else {
				report("secret", err)
			}
			report("database", checkDatabase(c, string(settings.DatabaseURL)))
			return errors.Join(faults...)
		}}
}

func checkDatabase(c *cobra.Command, url string) error {
	st, err := store.OpenExisting(url)
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	return requireSchema(c.Context(), st)
}
