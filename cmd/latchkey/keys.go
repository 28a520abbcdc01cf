package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/config"
	"latchkey/internal/token"
)

// secretMargin is how much longer than the last session that it began a refresh secret is kept: for clocks that differ,
// and for servers that learned late of the next secret.
const secretMargin = 2 * time.Minute

type keyRow struct {
	ID          string     `json:"kid"`
	File        string     `json:"file"`
	SignsFrom   time.Time  `json:"signs_from"`
	State       string     `json:"state"`
	NeededUntil *time.Time `json:"needed_until"` // null for the newest one, which has no end
}

// outlook is the state, and for a key that still has a use and an end, when that is.
func (r keyRow) outlook() string {
	if r.NeededUntil == nil || r.State == "retired" {
		return r.State
	}
	return r.State + ", needed until " + r.NeededUntil.Format(time.RFC3339)
}

// keyRows says what each key is for at a time: next (it will sign), signs, verifies, or retired (nothing needs it).
func keyRows(keys token.Keys, dir string, now time.Time) []keyRow {
	signer := keys.Signer(now)
	rows := make([]keyRow, len(keys))
	for i, key := range keys {
		rows[i] = keyRow{ID: key.ID, File: key.File(dir), SignsFrom: key.SignsFrom, State: "verifies"}
		end, ends := keys.NeededUntil(i)
		if ends {
			rows[i].NeededUntil = &end
		}
		switch {
		case key.ID == signer.ID:
			rows[i].State = "signs"
		case key.SignsFrom.After(now):
			rows[i].State = "next"
		case ends && !end.After(now):
			rows[i].State = "retired"
		}
	}
	return rows
}

// loadKeys is token.LoadKeys that says where a first key comes from.
func loadKeys(dir string) (token.Keys, error) {
	keys, err := token.LoadKeys(dir)
	if errors.Is(err, token.ErrNoKeys) {
		err = fmt.Errorf("%w: `latchkey serve` makes one in development, `latchkey keys rotate` everywhere", err)
	}
	return keys, err
}

func keysCommand(env environment) *cobra.Command {
	return group("keys", "Look after the keys of access tokens and the secrets of refresh tokens",
		listKeysCommand(env), rotateCommand(env), pruneCommand(env))
}

func listKeysCommand(env environment) *cobra.Command {
	var asJSON bool
	list := &cobra.Command{Use: "list", Short: "List the signing keys", Args: noArguments,
		Long: "List the signing keys, oldest first, each with its state:\n\n" +
			"  next      will sign from the time shown\n" +
			"  signs     signs new tokens\n" +
			"  verifies  signs no more, but tokens that it signed may still be good\n" +
			"  retired   is not needed any more: `latchkey keys prune` removes it",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			keys, err := loadKeys(settings.KeysDir)
			if err != nil {
				return err
			}
			rows := keyRows(keys, settings.KeysDir, time.Now())
			if asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			for _, row := range rows {
				from := row.SignsFrom.Format(time.RFC3339)
				if row.SignsFrom.Unix() == 0 { // the key that the first start made
					from = "the start"
				}
				c.Printf("%s  from %s  %s\n", row.ID, from, row.outlook())
			}
			return nil
		}}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return list
}

func rotateCommand(env environment) *cobra.Command {
	var secret, now bool
	rotate := &cobra.Command{Use: "rotate", Short: "Add a signing key, or a refresh secret, that is used from an hour from now", Args: noArguments,
		Long: "Add a signing key that signs from an hour from now, or at once if it is the first; or a refresh secret that new\n" +
			"sessions use from then on. Running servers take it over by themselves. See docs/keys.md.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			lead := rotationLead
			if now {
				lead = urgentLead
			}
			usedFrom := time.Now().UTC().Add(lead)
			if secret {
				return addRefreshSecret(c, settings, usedFrom.Truncate(time.Second), now)
			}
			return addSigningKey(c, settings.KeysDir, usedFrom, now)
		}}
	rotate.Flags().BoolVar(&secret, "refresh-secret", false, "add a refresh secret, not a signing key")
	rotate.Flags().BoolVar(&now, "now", false, "use it in "+urgentLead.String()+", because the present one was stolen")
	return rotate
}

func addSigningKey(c *cobra.Command, dir string, signsFrom time.Time, now bool) error {
	keys, err := token.LoadKeys(dir)
	first := errors.Is(err, token.ErrNoKeys)
	if err != nil && !first {
		return err
	}
	if first {
		signsFrom = time.Now()
	}
	key, err := token.NewKey(signsFrom)
	if err != nil {
		return err
	}
	if err := key.Save(dir); errors.Is(err, fs.ErrExist) {
		return errors.New("a key was made in this very second: try again")
	} else if err != nil {
		return err
	}
	added := fmt.Sprintf("added %s as %s; it signs", key.ID, key.File(dir))
	if first {
		c.Println(added, "now")
		return nil
	}
	c.Println(added, "from", signsFrom.Format(time.RFC3339), "on: every server must have its file by then")
	if now {
		warnOfKeys(c, keys, dir, time.Now())
	} else if last := keys[len(keys)-1]; last.SignsFrom.After(time.Now()) {
		c.PrintErrf("One waits already, from %s.\n", last.SignsFrom.Format(time.RFC3339))
	}
	return nil
}

// warnOfKeys tells an operator who replaces a stolen key what the keys that there were go on doing: whoever had one may
// have had them all.
func warnOfKeys(c *cobra.Command, keys token.Keys, dir string, now time.Time) {
	signer := keys.Signer(now)
	c.PrintErrf("Servers that do not have it by then refuse its tokens until they do.\n"+
		"The key before it is still accepted. If it was stolen, remove it then, which clients answer with a refresh:\n  rm '%s'\n",
		signer.File(dir))
	accepted := "Other keys are still accepted"
	var files []string
	for _, key := range keys {
		if key.ID == signer.ID {
			continue
		}
		files = append(files, "'"+key.File(dir)+"'")
		if key.SignsFrom.After(now) {
			accepted += ", and " + key.ID + " signs from " + key.SignsFrom.Format(time.RFC3339)
		}
	}
	if len(files) > 0 {
		c.PrintErrf("%s: if they may be stolen too, remove them:\n  rm %s\n", accepted, strings.Join(files, " "))
	}
}

func addRefreshSecret(c *cobra.Command, settings *config.Config, usedFrom time.Time, now bool) error {
	list, err := readSecretList(settings)
	if err != nil {
		return err
	}
	secrets := list.secrets
	for attempt := 1; ; attempt++ { // one secret in 256 has the key id of another one
		added := append([]config.RefreshSecret{{UsedFrom: usedFrom, Value: config.Secret(token.NewSecret())}}, secrets...)
		if _, err = token.NewRefreshKeys(tokenSecrets(added), time.Now); err == nil {
			secrets = added
			break
		}
		if attempt == 100 {
			return err
		}
	}
	if err := list.replace(secrets); err != nil {
		return err
	}
	c.Printf("added a refresh secret in %s; new sessions use it from %s on: every server must have the file by then\n",
		list.file, usedFrom.Format(time.RFC3339))
	if now {
		c.PrintErrf("Servers that do not have it by then refuse the sessions that begin with it until they do.\n"+
			"The file has %d more, still accepted, but no session begins with them any more then, nor with one that waited.\n"+
			"If one was stolen, remove it from the file then, which ends its sessions.\n", len(secrets)-1)
	} else if before := secrets[1].UsedFrom; before.After(time.Now()) {
		c.PrintErrf("One waits already, from %s.\n", before.Format(time.RFC3339))
	}
	return nil
}

func pruneCommand(env environment) *cobra.Command {
	var secret bool
	prune := &cobra.Command{Use: "prune", Short: "Remove signing keys, or refresh secrets, that nothing needs any more", Args: noArguments,
		Long: "Remove the signing keys whose last token has expired; or the refresh secrets under which no session can live any\n" +
			"more, by LATCHKEY_SESSION_TTL. What is in use, or will be, stays.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			if secret {
				return pruneRefreshSecrets(c, settings, time.Now())
			}
			return pruneSigningKeys(c, settings.KeysDir, time.Now())
		}}
	prune.Flags().BoolVar(&secret, "refresh-secret", false, "remove refresh secrets, not signing keys")
	return prune
}

func pruneSigningKeys(c *cobra.Command, dir string, now time.Time) error {
	keys, err := loadKeys(dir)
	if err != nil {
		return err
	}
	for i, row := range keyRows(keys, dir, now) {
		if row.State != "retired" {
			c.Printf("kept     %s  %s\n", row.ID, row.outlook())
			continue
		}
		if err := keys[i].Remove(dir); err != nil {
			return err
		}
		c.Printf("removed  %s\n", row.ID)
	}
	return nil
}

func pruneRefreshSecrets(c *cobra.Command, settings *config.Config, now time.Time) error {
	list, err := readSecretList(settings)
	if err != nil {
		return err
	}
	secrets := list.secrets
	keys, err := token.NewRefreshKeys(tokenSecrets(secrets), func() time.Time { return now })
	if err != nil {
		return err
	}
	inUse := secrets[keys.InUse()]
	older := len(secrets) - 1 - keys.InUse()
	end := inUse.UsedFrom.Add(settings.SessionTTL + secretMargin)
	switch {
	case older == 0:
		c.Printf("kept all %d: none is older than the one in use\n", len(secrets))
	case inUse.UsedFrom.IsZero():
		c.Printf("kept all %d: nothing tells since when the one in use has been, so take the older ones out of %s yourself, "+
			"when it has been for %s\n", len(secrets), list.file, settings.SessionTTL)
	case end.After(now):
		c.Printf("kept all %d: sessions of an older one may live until %s\n", len(secrets), end.Format(time.RFC3339))
	default:
		if err := list.replace(secrets[:len(secrets)-older]); err != nil {
			return err
		}
		c.Printf("removed %d, kept %d\n", older, len(secrets)-older)
	}
	return nil
}

// secretList is the file of the refresh secrets, as it was read.
type secretList struct {
	file    string
	seen    fs.FileInfo
	secrets []config.RefreshSecret
}

// readSecretList reads the refresh secrets from the file in which they can be changed.
func readSecretList(settings *config.Config) (l secretList, err error) {
	if l.file, err = secretsFile(settings); err != nil {
		return l, fmt.Errorf("%w, which no command can change: change it yourself, as docs/keys.md says, or move them into a file "+
			"that LATCHKEY_REFRESH_SECRET_FILE names", err)
	}
	if l.seen, err = os.Stat(l.file); errors.Is(err, fs.ErrNotExist) { // development's own: the settings are refused where they name a file that is gone
		return l, fmt.Errorf("%w: restore it from a backup, or let the next start make one, which ends all sessions", err)
	} else if err != nil {
		return l, fmt.Errorf("look for the refresh secrets: %w", err)
	}
	l.secrets, err = loadSecrets(settings)
	return l, err
}

// replace puts other secrets in the place of those that were read, unless another command has been faster.
func (l secretList) replace(secrets []config.RefreshSecret) error {
	err := token.ReplaceSecret(l.file, l.seen, []byte(config.FormatRefreshSecrets(secrets)))
	switch {
	case errors.Is(err, token.ErrReplaced):
		return fmt.Errorf("%w, and nothing was changed: try again", err)
	case err != nil:
		return fmt.Errorf("%w: change the file where it is made, as docs/keys.md says", err)
	}
	return nil
}
