// Load drives a Latchkey server from outside and says how far it is from what the machine can do. Each figure is a ratio of
// two measurements taken back to back, of the server and of a program that does only what the call cannot do without: the
// speed of a disk or a shared processor differs from one hour to the next, the ratio does not.
//
// Each client waits for its answer before it asks again (a closed loop). So times are those of that many clients who take
// turns, not of users who come whether or not the server keeps up: while it stands still, nobody asks, and its p99 looks
// better than theirs would. A call that is under way at the end is not counted. It needs Linux, for its /proc.
//
//	go run ./internal/load -server bin/latchkey
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "limit" {
		err = runLimit(context.Background(), os.Args[2:]) // until a signal ends it
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		if err = run(ctx); err != nil && ctx.Err() != nil {
			err = errors.New("interrupted")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// bench is one run of this program.
type bench struct {
	program, self, folder, database string
	during                          time.Duration
	rounds                          int
	report                          *report
}

func run(ctx context.Context) error {
	var b bench
	var only, folder, pictures string
	var soak time.Duration
	flag.StringVar(&b.program, "server", "bin/latchkey", "the `program` to measure")
	flag.StringVar(&b.database, "database", "", "the `URL` of an empty database on SQL Server, to measure refreshes there, too")
	flag.DurationVar(&b.during, "for", 5*time.Second, "how long each measurement takes")
	flag.IntVar(&b.rounds, "rounds", 3, "how often each is taken, its limit and it in turn; the median counts")
	flag.StringVar(&only, "only", "", "measure what matches this `expression` only")
	flag.DurationVar(&soak, "soak", 0, "instead, drive a mix of calls for so long, and tell the memory each minute")
	flag.StringVar(&profiles, "profiles", "", "write a processor profile of each measurement of the server into this `folder`")
	flag.StringVar(&pictures, "pictures", "", "draw what was measured into this `folder`, too")
	flag.StringVar(&folder, "folder", "", "where databases and logs are kept; a temporary `folder` if empty")
	flag.Parse()
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	if b.during <= 0 || b.rounds < 1 || flag.NArg() > 0 {
		return errors.New("-for and -rounds must be above zero, and there are no arguments: see -h")
	}
	if b.folder = folder; folder == "" {
		if b.folder, err = os.MkdirTemp("", "latchkey-load-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(b.folder) }()
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	for _, path := range []*string{&b.program, &b.folder, &profiles, &pictures} {
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return err
			}
		}
	}
	pin(ctx)
	if !pinned {
		fmt.Fprintln(os.Stderr, "load: without taskset and a second processor the load takes time from what it measures")
	}
	b.report = newReport(os.Stdout)
	if soak > 0 {
		return b.soak(ctx, soak)
	}
	measurements := slices.DeleteFunc(b.measurements(), func(m measurement) bool { return !chosen.MatchString(m.name) })
	if len(measurements) == 0 {
		return fmt.Errorf("no measurement matches %q", only)
	}
	for _, m := range measurements {
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	if pictures == "" {
		return nil
	}
	return b.report.pictures(pictures)
}

// measurement is a part of a run that can be chosen by name.
type measurement struct {
	name string
	run  func(ctx context.Context) error
}

func (b *bench) measurements() []measurement {
	all := []measurement{
		{"start", b.start},
		{"me", b.hot("me", "/api/user/me", user, (*client).me)},
		{"protected", b.hot("protected", "/api/user/protected", admin, (*client).protected)},
		{"first sight", b.firstSight},
		{"refresh", b.refresh},
		{"growth", b.growth},
		{"memory", b.memory},
		{"login", b.login},
		{"register", b.register},
		{"mix", b.mix},
		{"storm", b.storm},
	}
	if b.database != "" {
		all = append(all, measurement{"sql server", b.sqlServer})
	}
	return all
}

// a side of a comparison is measured for so long each time.
type side func(during time.Duration) (result, error)

// compare measures the limit and the subject in turn, and reports the median of the ratios of their rates.
func (b *bench) compare(c comparison, subject, limit side) error {
	for range b.rounds {
		l, err := limit(b.during)
		if err != nil {
			return fmt.Errorf("the limit: %w", err)
		}
		s, err := subject(b.during)
		if err != nil {
			return err
		}
		c.rounds = append(c.rounds, round{subject: s, limit: l})
	}
	return b.report.comparison(c)
}

// limit starts a limit that serves.
func (b *bench) limit(ctx context.Context, name string, arguments ...string) (*process, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	return start(ctx, oneCore, os.Stderr, []string{"GOMAXPROCS=2"}, address, "/livez", append([]string{b.self, "limit", name, address}, arguments...)...)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
