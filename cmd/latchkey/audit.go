package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/httpapi"
	"latchkey/internal/store"
)

// maxAuditEvents is the most that one command prints: it holds them in memory.
const maxAuditEvents = 100_000

// auditTimes has all its digits always, so that lines stand under each other.
const auditTimes = "2006-01-02T15:04:05.000Z07:00"

// auditFlags are what the command line asks for.
type auditFlags struct {
	user, userID, action, since, limit string
}

func auditCommand(env environment) *cobra.Command {
	var flags auditFlags
	var asJSON bool
	c := &cobra.Command{Use: "audit", Short: "List what was done, the newest last", Args: noArguments,
		PreRunE: notEmpty("user", "user-id", "action", "since", "limit"),
		RunE: func(c *cobra.Command, args []string) error {
			filter, limit, err := flags.filter(time.Now())
			if err != nil {
				return usageError{err}
			}
			return withStore(env, store.OpenExisting, func(c *cobra.Command, st *store.Store) error {
				if err := requireSchema(c.Context(), st); err != nil {
					return err
				}
				if flags.user != "" {
					user, err := st.UserByName(c.Context(), account.CanonicalName(flags.user))
					if errors.Is(err, store.ErrNotFound) {
						return fmt.Errorf("there is no user %q: those who were deleted are found by --user-id", flags.user)
					}
					if err != nil {
						return err
					}
					filter.UserID = user.ID
				}
				events, err := st.AuditEvents(c.Context(), filter, limit+1) // one more tells whether there is more
				if err != nil {
					return err
				}
				if len(events) > limit {
					events = events[:limit]
					c.PrintErrf("These are the newest %d: --limit, up to %d, shows more.\n", limit, maxAuditEvents)
				}
				slices.Reverse(events)
				return printEvents(c, events, asJSON)
			})(c, args)
		}}
	c.Flags().StringVar(&flags.user, "user", "", "only what concerns the user of this name")
	c.Flags().StringVar(&flags.userID, "user-id", "", "only what concerns the user of this id, who may have been deleted")
	c.Flags().StringVar(&flags.action, "action", "", "only this action, such as session.reuse")
	c.Flags().StringVar(&flags.since, "since", "", "only what is no older than this `time`, such as 24h")
	c.Flags().StringVar(&flags.limit, "limit", "100", "at most this `number`, the newest ones")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// filter says what the flags ask for, but for the user's name.
func (f auditFlags) filter(now time.Time) (filter store.AuditFilter, limit int, err error) {
	filter.Action = audit.Action(f.action)
	if f.user != "" && f.userID != "" {
		return filter, 0, errors.New("want --user or --user-id, not both")
	}
	if f.userID != "" {
		id, err := uuid.Parse(f.userID)
		if err != nil || id == uuid.Nil {
			return filter, 0, fmt.Errorf("--user-id %q is no id", f.userID)
		}
		filter.UserID = id
	}
	if known := audit.Actions(); f.action != "" && !slices.Contains(known, filter.Action) {
		var words []string
		for _, action := range known {
			words = append(words, string(action))
		}
		return filter, 0, fmt.Errorf("there is no action %q: want one of %s", f.action, strings.Join(words, ", "))
	}
	limit, err = strconv.Atoi(f.limit)
	if err != nil || limit < 1 || limit > maxAuditEvents {
		return filter, 0, fmt.Errorf("--limit wants a number from 1 to %d", maxAuditEvents)
	}
	if f.since != "" {
		since, err := time.ParseDuration(f.since)
		if err != nil || since <= 0 {
			return filter, 0, errors.New("--since wants a time like 24h or 90m")
		}
		filter.Since = now.Add(-since)
	}
	return filter, limit, nil
}

func printEvents(c *cobra.Command, events []audit.Event, asJSON bool) error {
	if asJSON {
		rows := make([]httpapi.Event, len(events))
		for i, e := range events {
			rows[i] = httpapi.NewEvent(e)
		}
		return printJSON(c.OutOrStdout(), rows)
	}
	width := 0
	for _, action := range audit.Actions() {
		width = max(width, len(action))
	}
	for _, e := range events {
		line := fmt.Sprintf("%s  %-*s  %-17s", e.At.UTC().Format(auditTimes), width, e.Action, e.Result)
		for _, detail := range e.Details() {
			line += "  " + detail.String()
		}
		c.Println(strings.TrimRight(line, " "))
	}
	return nil
}
