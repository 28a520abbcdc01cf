package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/internal/config"
)

// environment is what the process is given from outside. Results go to stdout, everything else to stderr.
type environment struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// The exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

// reportedError is a failure that stands on standard error already.
type reportedError struct{ error }

// run is the whole program: it returns the exit status.
func run(ctx context.Context, args []string, env environment) int {
	root := rootCommand(env)
	root.SetArgs(args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	command, err := root.ExecuteContextC(ctx)
	var usage usageError
	var reported reportedError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &reported):
		return exitFailure
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(env.stderr, "latchkey: %v\nTry '%s --help'.\n", err, command.CommandPath())
		return exitUsage
	default:
		_, _ = fmt.Fprintf(env.stderr, "latchkey: %v\n", err)
		return exitFailure
	}
}

func rootCommand(env environment) *cobra.Command {
	serve := serveCommand(env)
	root := &cobra.Command{
		Use:   "latchkey",
		Short: "A first-party authentication server",
		Long: "Latchkey is a first-party authentication server. Without a command it serves.\n\n" +
			"Settings come from the environment: see .env.example.",
		Args:          noArguments,
		RunE:          serve.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			about, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no command %q", strings.Join(args, " "))}
			}
			return about.Help()
		}})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serve, migrateCommand(env), userCommand(env), sessionsCommand(env), keysCommand(env), auditCommand(env),
		purgeCommand(env), checkCommand(env), healthcheckCommand(env), versionCommand())
	return root
}

// loadConfig reads the settings, and .env in the working directory.
func (e environment) loadConfig() (*config.Config, error) { return config.Load(e.environ, ".") }

func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && c.HasParent():
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	case len(args) > 0:
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())}
	}
	return nil
}

// notEmpty keeps a script whose variable is not set from meaning everybody or everything.
func notEmpty(flags ...string) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		for _, flag := range flags {
			if c.Flags().Changed(flag) && c.Flags().Lookup(flag).Value.String() == "" {
				return usageError{fmt.Errorf("--%s is empty", flag)}
			}
		}
		return nil
	}
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("want %s", what)}
		}
		return nil
	}
}

// group is a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())}
		}
		return usageError{fmt.Errorf("%q needs a command", c.CommandPath())}
	}}
	c.AddCommand(commands...)
	return c
}

// printJSON writes a result that is data.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
