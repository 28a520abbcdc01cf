package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// usage is what a process has used of the machine: processor time, memory now, and the most that it ever had, in bytes.
type usage struct {
	CPU          time.Duration
	Memory, Peak uint64
}

// process is a server under test, or the limit that it is compared with.
type process struct {
	command *exec.Cmd
	address string
	// operations is the address of its profiles, or "".
	operations string
	// started is how long it took from the start to the first answer.
	started time.Duration
	ended   chan error
}

// pinned says that servers have the first processor to themselves and the load the second. Otherwise they share.
var pinned bool

// pin moves this process, and each thread that it will have, to the second processor.
func pin(ctx context.Context) {
	if _, err := exec.LookPath("taskset"); err != nil || runtime.NumCPU() < 2 {
		return
	}
	pinned = exec.CommandContext(ctx, "taskset", "-a", "-c", "-p", "1", strconv.Itoa(os.Getpid())).Run() == nil //nolint:gosec // our own number
}

// cores says which processors a process gets.
type cores string

const (
	oneCore  cores = "0"
	allCores cores = "0,1"
)

// command is a command with these settings and no others.
func command(ctx context.Context, on cores, settings []string, arguments ...string) *exec.Cmd {
	if pinned {
		arguments = append([]string{"taskset", "-c", string(on)}, arguments...)
	}
	c := exec.CommandContext(ctx, arguments[0], arguments[1:]...) //nolint:gosec // what is to be measured
	c.Env = settings
	c.Dir = os.TempDir() // where no .env has more settings
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = patience
	return c
}

// start starts a server and waits for it to answer a GET of path.
func start(ctx context.Context, on cores, log *os.File, settings []string, address, path string, arguments ...string) (*process, error) {
	p := &process{command: command(ctx, on, settings, arguments...), address: address, ended: make(chan error, 1)}
	p.command.Stdout, p.command.Stderr = log, log
	began := time.Now()
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() { p.ended <- p.command.Wait() }()
	for time.Since(began) < patience {
		select {
		case err := <-p.ended:
			return nil, fmt.Errorf("%s ended: %w\n%s", arguments[0], err, lastOf(log))
		default:
		}
		if answers(ctx, "http://"+address+path) {
			p.started = time.Since(began)
			return p, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("%s does not answer\n%s", arguments[0], lastOf(log)), p.stop())
}

// lastOf returns the end of a log: its folder is gone when the error is read.
func lastOf(log *os.File) string {
	text, err := os.ReadFile(log.Name())
	if err != nil { // of a limit: that writes to the terminal
		return ""
	}
	return string(text[max(0, len(text)-2000):])
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// profiles is the folder of profiles, or "".
var profiles string

// profile keeps a profile of the processor's time, named by when it began.
func (p *process) profile(begin time.Time, during time.Duration) error {
	time.Sleep(time.Until(begin))
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.operations, max(1, int(during.Seconds())))
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	return errors.Join(err, os.WriteFile(filepath.Join(profiles, begin.Format("150405")+".pprof"), content, 0o600))
}

// stop ends the process and waits for its end.
func (p *process) stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-p.ended
}

func usageOf(pid int) (usage, error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return usage{}, err
	}
	stat, err := proc.Stat()
	if err != nil {
		return usage{}, err
	}
	status, err := proc.NewStatus()
	if err != nil {
		return usage{}, err
	}
	return usage{CPU: time.Duration(stat.CPUTime() * float64(time.Second)), Memory: status.VmRSS, Peak: status.VmHWM}, nil
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
