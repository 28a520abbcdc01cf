package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"latchkey/internal/config"
	"latchkey/internal/retention"
	"latchkey/internal/store"
)

// newPurger deletes by the settings.
func newPurger(c *config.Config, st *store.Store, registry *prometheus.Registry) *retention.Purger {
	return retention.New(retention.Options{SessionTTL: c.SessionTTL, AuditEvents: c.AuditRetention, Now: time.Now}, st, registry)
}

func purgeCommand(env environment) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "purge", Short: "Delete what has expired, as servers do every hour", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			return useStore(c, settings, store.OpenExisting, func(c *cobra.Command, st *store.Store) error {
				if err := requireSchema(c.Context(), st); err != nil {
					return err
				}
				// So that whoever stops it lets the next one begin at once.
				ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM, syscall.SIGINT)
				defer stop()
				deleted, err := newPurger(settings, st, prometheus.NewRegistry()).Purge(ctx)
				switch {
				case errors.Is(err, retention.ErrBusy):
					err = errors.New("another process is deleting what has expired, or died while it did: after 2 minutes nothing is in the way of the next")
				case ctx.Err() != nil:
					err = errors.New("stopped before all was deleted: the next one goes on")
				}
				if err != nil && deleted == (retention.Deleted{}) {
					return err
				}
				return errors.Join(err, printDeleted(c, deleted, asJSON))
			})
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printDeleted(c *cobra.Command, d retention.Deleted, asJSON bool) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), struct {
			Sessions       int64 `json:"sessions"`
			LoginThrottles int64 `json:"login_throttles"`
			AuditEvents    int64 `json:"audit_events"`
		}(d))
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "deleted %d session(s), %d count(s) of failed sign-ins and %d audit event(s)\n",
		d.Sessions, d.LoginThrottles, d.AuditEvents)
	return err
}
