package main

import (
	"errors"

	"github.com/spf13/cobra"

	"latchkey/internal/store"
)

func sessionsCommand(env environment) *cobra.Command {
	var name string
	var all bool
	revoke := &cobra.Command{Use: "revoke --user NAME | --all", Short: "End the sessions of one user, or of all", Args: noArguments,
		PreRunE: notEmpty("user"),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (name != "") {
				return usageError{errors.New("want either --user NAME or --all")}
			}
			return withServices(env, store.OpenExisting, func(c *cobra.Command, s *services, _ []string) error {
				n, err := s.accounts.EndSessions(c.Context(), name)
				if err != nil {
					return explain(err, name)
				}
				c.Printf("ended %d session(s)\n", n)
				return nil
			})(c, args)
		}}
	revoke.Flags().StringVar(&name, "user", "", "the user whose sessions end")
	revoke.Flags().BoolVar(&all, "all", false, "end everybody's sessions")
	return group("sessions", "Look after sign-ins", revoke)
}
