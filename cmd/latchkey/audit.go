package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// maxAuditEvents is the most that one command prints: it holds them in memory.
const maxAuditEvents = 100_000

// auditTimes has all its digits always, so that lines stand under each other.
const auditTimes = "2006-01-02T15:04:05.000Z07:00"

type auditRow struct {
	ID        uuid.UUID    `json:"id"`
	At        time.Time    `json:"at"`
	Action    audit.Action `json:"action"`
	Result    string       `json:"result"`
	UserID    *uuid.UUID   `json:"user_id"`
	SessionID *uuid.UUID   `json:"session_id"`
	NameHash  *string      `json:"name_hash"`
	Address   string       `json:"address"`
	RequestID string       `json:"request_id"`
}

func newAuditRow(e audit.Event) auditRow {
	row := auditRow{ID: e.ID, At: e.At, Action: e.Action, Result: e.Result, Address: e.Address, RequestID: e.RequestID}
	if e.UserID != uuid.Nil {
		row.UserID = &e.UserID
	}
	if e.SessionID != uuid.Nil {
		row.SessionID = &e.SessionID
	}
	if e.NameHash != "" {
		row.NameHash = &e.NameHash
	}
	return row
}

// auditFlags are what the command line asks for.
type auditFlags struct {
	user, userID, action string
	since                time.Duration
	limit                int
}

func auditCommand(env environment) *cobra.Command {
	var flags auditFlags
	var asJSON bool
	c := &cobra.Command{Use: "audit", Short: "List what was done, the newest last", Args: noArguments,
		RunE: func(c *cobra.Command, args []string) error {
			filter, err := flags.filter(time.Now())
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
				events, err := st.AuditEvents(c.Context(), filter, flags.limit)
				if err != nil {
					return err
				}
				slices.Reverse(events)
				return printEvents(c, events, asJSON)
			})(c, args)
		}}
	c.Flags().StringVar(&flags.user, "user", "", "only what concerns the user of this name")
	c.Flags().StringVar(&flags.userID, "user-id", "", "only what concerns the user of this id, who may have been deleted")
	c.Flags().StringVar(&flags.action, "action", "", "only this action, such as session.reuse")
	c.Flags().DurationVar(&flags.since, "since", 0, "only what is no older than this, such as 24h")
	c.Flags().IntVar(&flags.limit, "limit", 100, "at most so many, the newest ones")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// filter says what the flags ask for, but for the user's name.
func (f auditFlags) filter(now time.Time) (store.AuditFilter, error) {
	filter := store.AuditFilter{Action: audit.Action(f.action)}
	if f.user != "" && f.userID != "" {
		return filter, errors.New("want --user or --user-id, not both")
	}
	if f.userID != "" {
		id, err := uuid.Parse(f.userID)
		if err != nil || id == uuid.Nil {
			return filter, fmt.Errorf("--user-id %q is no id", f.userID)
		}
		filter.UserID = id
	}
	if known := audit.Actions(); f.action != "" && !slices.Contains(known, filter.Action) {
		var words []string
		for _, action := range known {
			words = append(words, string(action))
		}
		return filter, fmt.Errorf("there is no action %q: want one of %s", f.action, strings.Join(words, ", "))
	}
	if f.limit < 1 || f.limit > maxAuditEvents {
		return filter, fmt.Errorf("want a --limit from 1 to %d", maxAuditEvents)
	}
	if f.since < 0 {
		return filter, errors.New("want a --since that is not negative")
	}
	if f.since > 0 {
		filter.Since = now.Add(-f.since)
	}
	return filter, nil
}

func printEvents(c *cobra.Command, events []audit.Event, asJSON bool) error {
	if asJSON {
		rows := make([]auditRow, len(events))
		for i, e := range events {
			rows[i] = newAuditRow(e)
		}
		return printJSON(c.OutOrStdout(), rows)
	}
	for _, e := range events {
		line := fmt.Sprintf("%s  %-20s  %-16s", e.At.UTC().Format(auditTimes), e.Action, e.Result)
		for _, field := range []struct{ name, value string }{
			{"user_id", known(e.UserID)}, {"session_id", known(e.SessionID)}, {"name_hash", e.NameHash}, {"address", e.Address}, {"request_id", e.RequestID},
		} {
			if field.value != "" {
				line += "  " + field.name + "=" + field.value
			}
		}
		c.Println(strings.TrimRight(line, " "))
	}
	return nil
}

// known is an id, or "" if it is the nil UUID.
func known(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}
