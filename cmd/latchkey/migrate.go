package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/config"
	"latchkey/internal/store"
)

func migrateCommand(env environment) *cobra.Command {
	up := &cobra.Command{Use: "up", Short: "Apply all pending migrations", Args: noArguments,
		RunE: withStore(env, store.Open, func(c *cobra.Command, st *store.Store) error {
			applied, err := st.Migrate(c.Context())
			for _, m := range applied {
				c.Printf("applied %s\n", m.Name)
			}
			if err == nil && len(applied) == 0 {
				c.Println("nothing to apply: the schema is up to date")
			}
			return err
		})}
	down := &cobra.Command{Use: "down", Short: "Take back the newest migration, with the data it holds", Args: noArguments,
		RunE: withStore(env, store.OpenExisting, func(c *cobra.Command, st *store.Store) error {
			m, err := st.MigrateDown(c.Context())
			if errors.Is(err, store.ErrNotFound) {
				return errors.New("no migration is applied")
			}
			if err == nil {
				c.Printf("took back %s\n", m.Name)
			}
			return err
		})}
	var asJSON bool
	status := &cobra.Command{Use: "status", Short: "List the migrations, applied and pending", Args: noArguments,
		RunE: withStore(env, store.Open, func(c *cobra.Command, st *store.Store) error {
			list, err := st.Migrations(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				type row struct {
					Version   int64      `json:"version"`
					Name      string     `json:"name"`
					AppliedAt *time.Time `json:"applied_at"`
				}
				rows := make([]row, len(list))
				for i, m := range list {
					rows[i] = row{Version: m.Version, Name: m.Name}
					if !m.AppliedAt.IsZero() {
						rows[i].AppliedAt = &m.AppliedAt
					}
				}
				return printJSON(c.OutOrStdout(), rows)
			}
			for _, m := range list {
				state := "pending"
				if !m.AppliedAt.IsZero() {
					state = "applied " + m.AppliedAt.UTC().Format(time.RFC3339)
				}
				c.Printf("%s  %s\n", m.Name, state)
			}
			return nil
		})}
	status.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return group("migrate", "Change the database schema", up, down, status)
}

// withStore opens the database, and nothing else, for a command.
func withStore(env environment, open openStore, f func(*cobra.Command, *store.Store) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		settings, err := env.loadConfig()
		if err != nil {
			return err
		}
		return useStore(c, settings, open, f)
	}
}

// useStore is withStore for a command that needs other settings too.
func useStore(c *cobra.Command, settings *config.Config, open openStore, f func(*cobra.Command, *store.Store) error) error {
	st, err := open(string(settings.DatabaseURL))
	if err != nil {
		return err
	}
	if err := f(c, st); err != nil {
		_ = st.Close()
		return err
	}
	if err := st.Close(); err != nil {
		return fmt.Errorf("close the database: %w", err)
	}
	return nil
}
