package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"latchkey/internal/account"
	"latchkey/internal/store"
)

// userPage is how many users are read at a time.
const userPage = 500

type userRow struct {
	ID          string     `json:"id"`
	Username    string     `json:"username"`
	Roles       []string   `json:"roles"`
	CreatedAt   time.Time  `json:"created_at"`
	LastLoginAt *time.Time `json:"last_login_at"`
	DisabledAt  *time.Time `json:"disabled_at"`
}

func newUserRow(u store.User) userRow {
	row := userRow{ID: u.ID.String(), Username: u.Username, Roles: u.Roles, CreatedAt: u.CreatedAt}
	if row.Roles == nil {
		row.Roles = []string{}
	}
	if u.LastLoginAt.Valid {
		row.LastLoginAt = &u.LastLoginAt.Time
	}
	if u.DisabledAt.Valid {
		row.DisabledAt = &u.DisabledAt.Time
	}
	return row
}

func userCommand(env environment) *cobra.Command {
	return group("user", "Look after accounts",
		userCreate(env), userImport(env), userList(env), userShow(env), userSetRoles(env), userSetPassword(env),
		changeUser(env, "disable", "Keep an account from being used, and end its sessions", (*account.Service).Disable),
		changeUser(env, "enable", "Let a disabled account be used again", (*account.Service).Enable),
		changeUser(env, "delete", "Delete an account and its sessions", (*account.Service).Delete),
	)
}

// withServices opens everything for a command on an up-to-date schema. Its audit events go to stderr, and are in the
// database when the command has ended.
func withServices(env environment, open openStore, f func(*cobra.Command, *services, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		settings, err := env.loadConfig()
		if err != nil {
			return err
		}
		s, err := openServices(settings, env.stderr, open)
		if err != nil {
			return err
		}
		defer func() {
			if err := s.close(c.Context()); err != nil { // what was done is done
				_, _ = fmt.Fprintf(env.stderr, "latchkey: %v: they stand above, and nowhere else\n", err)
			}
		}()
		if err := prepareSchema(c.Context(), s); err != nil {
			return err
		}
		return f(c, s, args)
	}
}

// withPassword is withServices for a command that needs a password, which it reads before it opens anything.
func withPassword(env environment, fromStdin *bool, open openStore,
	f func(*cobra.Command, *services, []string, string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		pass, err := readPassword(env, *fromStdin)
		if err != nil {
			return err
		}
		return withServices(env, open, func(c *cobra.Command, s *services, args []string) error { return f(c, s, args, pass) })(c, args)
	}
}

func userCreate(env environment) *cobra.Command {
	var roles []string
	var fromStdin, asJSON bool
	c := &cobra.Command{Use: "create NAME", Short: "Make an account", Args: exactly(1, "one user name"),
		RunE: withPassword(env, &fromStdin, store.Open, func(c *cobra.Command, s *services, args []string, pass string) error {
			user, err := s.accounts.Create(c.Context(), args[0], pass, roles)
			if err != nil {
				return explain(err, args[0])
			}
			return printUser(c, user, asJSON, "created")
		})}
	c.Flags().StringSliceVar(&roles, "role", nil, "a role, such as admin; may be given again")
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input, one line")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func userList(env environment) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "list", Short: "List all accounts", Args: noArguments,
		RunE: withServices(env, store.OpenExisting, func(c *cobra.Command, s *services, _ []string) error {
			rows := []userRow{}
			for after := ""; ; {
				page, err := s.accounts.List(c.Context(), after, userPage)
				if err != nil {
					return err
				}
				for _, user := range page {
					if !asJSON {
						c.Println(describe(user))
						continue
					}
					rows = append(rows, newUserRow(user))
				}
				if len(page) < userPage {
					break
				}
				after = page[len(page)-1].CanonicalName
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), rows)
			}
			return nil
		})}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func userShow(env environment) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "show NAME", Short: "Show an account", Args: exactly(1, "one user name"),
		RunE: withServices(env, store.OpenExisting, func(c *cobra.Command, s *services, args []string) error {
			user, err := s.accounts.Find(c.Context(), args[0])
			if err != nil {
				return explain(err, args[0])
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), newUserRow(user))
			}
			login := "none yet"
			if user.LastLoginAt.Valid {
				login = user.LastLoginAt.Time.Format(time.RFC3339)
			}
			c.Printf("%s\n  created:      %s\n  last sign-in: %s\n", describe(user), user.CreatedAt.Format(time.RFC3339), login)
			return nil
		})}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func userSetRoles(env environment) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "set-roles NAME [ROLE...]", Short: "Replace an account's roles, by none if none is given",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("want a user name and its roles")}
			}
			return nil
		},
		RunE: withServices(env, store.OpenExisting, func(c *cobra.Command, s *services, args []string) error {
			user, err := s.accounts.SetRoles(c.Context(), args[0], args[1:])
			if err != nil {
				return explain(err, args[0])
			}
			return printUser(c, user, asJSON, "changed")
		})}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func userSetPassword(env environment) *cobra.Command {
	var fromStdin bool
	c := &cobra.Command{Use: "set-password NAME", Short: "Replace an account's password, and end its sessions",
		Args: exactly(1, "one user name"),
		RunE: withPassword(env, &fromStdin, store.OpenExisting, func(c *cobra.Command, s *services, args []string, pass string) error {
			user, err := s.accounts.SetPassword(c.Context(), args[0], pass)
			if err != nil {
				return explain(err, args[0])
			}
			return printUser(c, user, false, "changed")
		})}
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input, one line")
	return c
}

// changeUser is a command that does one thing to one account.
func changeUser(env environment, name, short string,
	change func(*account.Service, context.Context, string) (store.User, error)) *cobra.Command {
	return &cobra.Command{Use: name + " NAME", Short: short, Args: exactly(1, "one user name"),
		RunE: withServices(env, store.OpenExisting, func(c *cobra.Command, s *services, args []string) error {
			user, err := change(s.accounts, c.Context(), args[0])
			if err != nil {
				return explain(err, args[0])
			}
			return printUser(c, user, false, name+"d")
		})}
}

func printUser(c *cobra.Command, user store.User, asJSON bool, done string) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), newUserRow(user))
	}
	c.Println(done, describe(user))
	return nil
}

func describe(user store.User) string {
	text := fmt.Sprintf("%s  %s", user.ID, user.Username)
	if len(user.Roles) > 0 {
		text += "  roles: " + strings.Join(user.Roles, ", ")
	}
	if user.DisabledAt.Valid {
		text += "  disabled"
	}
	return text
}

// explain says what to do about an error, in the words of a command line.
func explain(err error, name string) error {
	switch {
	case errors.Is(err, account.ErrUsernameTaken):
		return fmt.Errorf("the user name %q is taken: choose another, or see `latchkey user show`", name)
	case errors.Is(err, account.ErrNotFound):
		return fmt.Errorf("there is no user %q: `latchkey user list` shows all", name)
	}
	return err
}

// readPassword reads a password from standard input, or asks for it at the terminal, twice and without showing it.
func readPassword(env environment, fromStdin bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(io.LimitReader(env.stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
	}
	terminal, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", usageError{errors.New("there is no terminal to ask for the password: give it by --password-stdin")}
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		_, _ = fmt.Fprint(env.stderr, prompt)
		b, err := term.ReadPassword(int(terminal.Fd()))
		_, _ = fmt.Fprintln(env.stderr)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return typed[0], nil
}
