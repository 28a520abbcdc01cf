package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/netutil"

	"latchkey/internal/config"
	"latchkey/internal/httpapi"
	"latchkey/internal/store"
)

// The limits of a connection. Clients that send or read slower than this are cut off.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	// More than httpapi accepts: what is larger still is refused by net/http, without any of our headers.
	maxHeaderBytes = 32 << 10
)

// maxConnections bounds the memory that clients can hold by connections alone, to some 350 MiB. Further ones wait in the
// kernel until others end, as the limits above make them do.
const maxConnections = 10_000

// heapFloor is the size of an object that nobody touches, so that it takes no memory. The garbage collector counts it, and
// collects when the heap has doubled: without it, that is at a few MiB, many times a second under load.
const heapFloor = 32 << 20

// The steps of a stop. The first two are production's, which has a load balancer to tell.
const (
	// unreadyTime is how long the server goes on as before but for being unready, so that a load balancer that asks sends
	// requests elsewhere before connections are refused.
	unreadyTime = 3 * time.Second
	// partingTime is how long connections live on when new ones are refused. Each answer closes its connection, and those
	// that nobody uses the load balancer closes itself, if it keeps them for less than this: whoever closes a connection
	// on which a request may be under way loses it.
	partingTime = 3 * time.Second
	// drainTime is how long requests under way may take to finish after that.
	drainTime = 25 * time.Second
)

func serveCommand(env environment) *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Serve the API (the default)", Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := env.loadConfig()
			if err != nil {
				return err
			}
			signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no reason to die
			logs := newLogSink(settings, env.stderr)
			defer logs.Close()
			if err := serve(c.Context(), settings, logs); err != nil {
				_, _ = fmt.Fprintf(logs, "latchkey: %v\n", err) // behind the lines that led to it, and as little in the way
				return reportedError{err}
			}
			return nil
		},
	}
}

// serve runs the server until SIGTERM or SIGINT, and then until requests under way have finished. A second signal ends
// the process at once.
func serve(ctx context.Context, c *config.Config, logs *logSink) error {
	hangups := make(chan os.Signal, 1) // caught from the start: a hangup asks to reload the keys and never ends the process
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	// Who waits for the disk keeps a thread for a while, which on a machine with one processor must not be the last, and
	// hashes, where more are allowed than there are processors, must not have them all.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), c.HashConcurrency) + 1)
	ballast := make([]byte, heapFloor)
	defer runtime.KeepAlive(ballast)
	s, err := openServices(c, logs, store.Open)
	if err != nil {
		return err
	}
	s.registry.MustRegister(logs.dropped)
	defer func() {
		if err := s.close(ctx); err != nil {
			s.logger.Error("the last audit events stand in this log alone", "error", err)
		}
	}()
	var purging sync.WaitGroup
	defer purging.Wait() // it uses the database
	following, unfollow := context.WithCancel(ctx)
	defer unfollow() // not before the last request has finished
	go s.keys.follow(following, time.Tick(reloadInterval), hangups)
	go s.sessions.WatchClock(following, time.Tick(time.Second), func(by time.Duration) {
		s.logger.Warn("the clock was set, or this machine was suspended", "by_seconds", by.Seconds())
	})
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	prepared, ready, err := s.prepare(ctx)
	if err != nil || ctx.Err() != nil {
		return err
	}
	draining, parting := make(chan struct{}), make(chan struct{})
	running, err := s.listenAndServe(ctx, draining, parting)
	if err != nil {
		return err
	}
	purger := newPurger(c, s.store, s.registry)
	purging.Go(func() { purger.Run(ctx, s.logger) })
	s.announce(running.public.Addr(), logs, ready)
	if ready {
		s.invite(ctx, logs)
	}
	for ctx.Err() == nil {
		select {
		case err := <-running.failed:
			return fmt.Errorf("serve: %w", err)
		case err := <-prepared:
			if err != nil {
				return err
			}
			prepared, ready = nil, ctx.Err() == nil
			s.invite(ctx, logs)
		case <-ctx.Done():
		}
	}
	stop() // a second signal is not caught any more: it ends the process
	s.logger.Info("stopping", "requests_may_take_seconds", drainTime.Seconds())
	close(draining)
	if c.Production && ready { // one that was never ready has no requests to be sent elsewhere
		time.Sleep(unreadyTime)
		_ = running.public.Close() // first: each connection that an answer closes comes back as a new one
		close(parting)
		time.Sleep(partingTime)
	}
	return s.drain(context.WithoutCancel(ctx), running.servers)
}

// running is a server at work: its public listener, and where an error of one of its listeners comes from.
type running struct {
	servers []*http.Server
	public  net.Listener
	failed  <-chan error
}

// listenAndServe begins to serve on both listeners, when both are known.
func (s *services) listenAndServe(ctx context.Context, draining, parting <-chan struct{}) (*running, error) {
	public, err := listen(ctx, s.config.Addr, maxConnections)
	if err != nil {
		return nil, err
	}
	listeners := []net.Listener{public}
	servers := []*http.Server{newServer(httpapi.New(httpapi.Dependencies{
		Config: s.config, Store: s.store, Accounts: s.accounts, Sessions: s.sessions, Audit: s.audit, Logger: s.logger,
		JWKS: s.keys.access.JWKS, Draining: draining, Parting: parting, Now: time.Now,
	}), s.logger)}
	if s.config.OpsAddr != "" {
		ops, err := listen(ctx, s.config.OpsAddr, maxConnections)
		if err != nil {
			return nil, err
		}
		operations := newServer(httpapi.Operations(s.registry), s.logger)
		operations.WriteTimeout = 0 // a profile takes as long as it was asked to
		listeners, servers = append(listeners, ops), append(servers, operations)
	}
	failed := make(chan error, len(servers))
	for i, server := range servers {
		go func() { failed <- server.Serve(listeners[i]) }()
	}
	return &running{servers: servers, public: public, failed: failed}, nil
}

// drain stops the servers when requests under way have finished, which takes no longer than drainTime.
func (s *services) drain(ctx context.Context, servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	var faults []error
	for _, server := range servers {
		faults = append(faults, server.Shutdown(ctx))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("requests were still under way after %s: %w", drainTime, err)
	}
	s.logger.Info("stopped")
	return nil
}

func listen(ctx context.Context, address string, connections int) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: stop the other program, or set LATCHKEY_ADDR, and LATCHKEY_PUBLIC_URL with it, "+
			"or LATCHKEY_OPS_ADDR to another address", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return netutil.LimitListener(listener, connections), nil
}

func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// net/http would answer OPTIONS * by itself, without our headers.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelDebug), // what strangers' connections do wrong
	}
}

// announce tells the log, and in development the person at the terminal, where everything is. ready says that the
// database has answered.
func (s *services) announce(address net.Addr, logs io.Writer, ready bool) {
	s.logger.Info("listening", "address", address.String(), "public_url", s.config.PublicURL.String(), "database", s.store.Description())
	if s.config.Production {
		return
	}
	base := "http://" + address.String()
	_, port, _ := net.SplitHostPort(address.String())
	if s.config.Addr == config.DefaultAddr || s.config.PublicURL.Port() == port { // pages of another origin are refused
		base = s.config.PublicURL.String()
	}
	lines := []string{
		"",
		"  Latchkey, in development, listens on " + base,
	}
	if s.config.Demo {
		lines = append(lines, "  Demo:        "+base+"/demo/")
	}
	if s.config.Swagger {
		lines = append(lines, "  Swagger UI:  "+base+"/swagger/")
	}
	lines = append(lines,
		"  Data:        "+s.store.Description(),
		"  Keys:        "+s.config.KeysDir)
	if !ready {
		lines = append(lines, "", "  The database does not answer yet, so nobody can register or log in: the log above says why.")
	}
	_, _ = fmt.Fprintln(logs, strings.Join(append(lines, ""), "\n"))
}

// invite tells the person at the terminal what to do first, where nobody has an account. The database has answered.
func (s *services) invite(ctx context.Context, logs io.Writer) {
	if s.config.Production {
		return
	}
	if users, err := s.accounts.List(ctx, "", 1); err == nil && len(users) == 0 {
		_, _ = fmt.Fprintln(logs, "  There are no users yet. In another terminal, make an admin:\n"+
			"    "+os.Args[0]+" user create NAME --role admin\n")
	}
}
