package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/account"
	"latchkey/internal/store"
)

func userImport(env environment) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "import FILE", Short: "Import accounts with the password hashes of another program",
		Long: "Import accounts with the password hashes of another program: all of a file, or none.\n\n" +
			"The file has a JSON object in each line:\n\n" +
			`  {"username": "alice", "hash": "$2b$12$…", "roles": ["admin"]}` + "\n\n" +
			"Roles may be left out. A hash is of argon2id (PHC), bcrypt, or ASP.NET Core Identity (version 2 or 3); it is replaced\n" +
			"when its user signs in. While a SQLite database takes the accounts, nobody can sign in. See docs/passwords.md.",
		Args: exactly(1, "one file"),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := openImport(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			return withServices(env, store.Open, func(c *cobra.Command, s *services, _ []string) error {
				p := &importProgress{w: env.stderr, now: time.Now}
				n, err := s.accounts.Import(c.Context(), file, p.report)
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				p.end()
				if asJSON {
					return printJSON(c.OutOrStdout(), map[string]int{"imported": n})
				}
				c.Printf("imported %d account(s)\n", n)
				return nil
			})(c, args)
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// openImport opens a file that can be read twice.
func openImport(path string) (*os.File, error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe waits for its writer
	if err != nil {
		return nil, fmt.Errorf("open the file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file, and it is read twice: save it to one", path)
	}
	file, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, fmt.Errorf("open the file: %w", err)
	}
	return file, nil
}

// importProgress tells people how far an import is, once a second at most, and how far each step came.
type importProgress struct {
	w     io.Writer
	now   func() time.Time
	step  account.ImportStep
	lines int
	told  time.Time
}

func (p *importProgress) report(step account.ImportStep, lines int) {
	if step != p.step {
		p.end()
		p.told = p.now()
	}
	p.step, p.lines = step, lines
	if now := p.now(); now.Sub(p.told) >= time.Second {
		p.told = now
		p.print("…")
	}
}

// end tells how far the step under way came.
func (p *importProgress) end() {
	if p.step != "" {
		p.print("")
	}
}

func (p *importProgress) print(more string) {
	_, _ = fmt.Fprintf(p.w, "%s %d line(s)%s\n", p.step, p.lines, more)
}
