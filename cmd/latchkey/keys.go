package main

import (
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/token"
)

// rotationLead is how long a new key is published before it signs: time to restart every server, so that all of them
// know it by then, and for other services to fetch it.
const rotationLead = time.Hour

type keyRow struct {
	ID        string    `json:"kid"`
	SignsFrom time.Time `json:"signs_from"`
	Signing   bool      `json:"signing"`
}

func keysCommand(env environment) *cobra.Command {
	var asJSON bool
	list := &cobra.Command{Use: "list", Short: "List the signing keys", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			keys, err := token.LoadKeys(settings.KeysDir)
			if err != nil {
				return err
			}
			signer := keys.Signer(time.Now())
			rows := make([]keyRow, len(keys))
			for i, key := range keys {
				rows[i] = keyRow{ID: key.ID, SignsFrom: key.SignsFrom, Signing: key.ID == signer.ID}
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			for _, row := range rows {
				state := "verifies"
				if row.Signing {
					state = "signs"
				}
				c.Printf("%s  from %s  %s\n", row.ID, row.SignsFrom.Format(time.RFC3339), state)
			}
			return nil
		}}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	rotate := &cobra.Command{Use: "rotate", Short: "Add a signing key, which signs in an hour, or now if it is the first", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			signsFrom, advice := time.Now(), "now"
			if _, err := token.LoadKeys(settings.KeysDir); err == nil {
				signsFrom = signsFrom.Add(rotationLead)
				advice = "from " + signsFrom.UTC().Format(time.RFC3339) + " on: restart every server before then"
			} else if !errors.Is(err, token.ErrNoKeys) {
				return err
			}
			key, err := token.NewKey(signsFrom)
			if err != nil {
				return err
			}
			if err := key.Save(settings.KeysDir); errors.Is(err, fs.ErrExist) {
				return errors.New("a key was made in this very second: try again")
			} else if err != nil {
				return err
			}
			c.Printf("added %s in %s; it signs %s\n", key.ID, settings.KeysDir, advice)
			return nil
		}}
	return group("keys", "Look after the signing keys of access tokens", list, rotate)
}
