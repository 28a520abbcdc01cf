package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"latchkey/internal/config"
)

// healthPatience is how long healthcheck waits for an answer.
const healthPatience = 3 * time.Second

// healthcheckCommand is for images without a shell and without curl. It asks /livez, not /readyz: whoever acts on it ends
// servers and starts others, which brings back no database that is away.
func healthcheckCommand(env environment) *cobra.Command {
	return &cobra.Command{Use: "healthcheck", Short: "Ask the server that runs with these settings whether it is alive", Args: noArguments,
		Long: "Ask the server that runs on this machine with these settings whether it is alive, at /livez; whether its database\n" +
			"is there does not count. For the health checks of containers. Of the settings only LATCHKEY_ADDR is looked at.",
		RunE: func(c *cobra.Command, _ []string) error {
			addr, err := config.LoadAddr(env.environ, ".")
			if err != nil {
				return err
			}
			if err := askAlive(c.Context(), addr); err != nil {
				return err
			}
			c.Println("alive")
			return nil
		}}
}

// askAlive asks the server at an address as LATCHKEY_ADDR has it. One of all interfaces means this machine when it is
// dialed, too.
func askAlive(ctx context.Context, addr string) error {
	if strings.HasSuffix(addr, ":0") {
		return fmt.Errorf("LATCHKEY_ADDR %s takes any free port: nobody else can tell which", addr)
	}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/livez", nil)
	if err != nil {
		return fmt.Errorf("no server can be at %s: %w", addr, err)
	}
	response, err := (&http.Transport{}).RoundTrip(request) // by no proxy that the environment names
	if err != nil {
		return fmt.Errorf("no answer from the server at %s: %w", addr, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server at %s answers %s", addr, response.Status)
	}
	return nil
}
