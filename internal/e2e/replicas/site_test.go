//go:build e2e

package replicas

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

// buildDir is where programs are built, once for all tests.
var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "latchkey-replicas-"); err != nil {
		panic(err)
	}
	status := m.Run()
	_ = os.RemoveAll(buildDir)
	os.Exit(status)
}

// program builds the program as it is here.
var program = sync.OnceValues(func() (string, error) { return build(".", filepath.Join(buildDir, "latchkey")) })

// build builds the program of a folder of the module.
func build(folder, binary string) (string, error) {
	command := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", binary, "latchkey/cmd/latchkey")
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// unlimited lets clients do as much as they like, and rotates at each refresh, so that one that was lost or came twice
// shows at once.
var unlimited = []string{
	"LATCHKEY_LIMIT_LOGIN=off", "LATCHKEY_LIMIT_REGISTER=off", "LATCHKEY_LIMIT_REFRESH=off", "LATCHKEY_REFRESH_GRACE=0s",
}

// site is an installation in production: one database, keys, and two replicas behind nginx.
type site struct {
	url      string // by way of nginx
	folder   string
	settings []string
	binary   string // of the operator's commands
	replicas [2]*replica
}

// newSite makes a site whose replicas run.
func newSite(t *testing.T, settings ...string) *site {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := prepareSite(t, binary, settings...)
	s.operate(t, "migrate", "up")
	for _, r := range s.replicas {
		r.start(t)
	}
	return s
}

// prepareSite makes a site of that program, whose database is empty and whose replicas have not been started.
func prepareSite(t *testing.T, binary string, settings ...string) *site {
	t.Helper()
	port := freePort(t)
	s := &site{url: fmt.Sprintf("http://localhost:%d", port), folder: t.TempDir(), binary: binary}
	secret := filepath.Join(s.folder, "refresh.secret")
	write(t, secret, config.FormatRefreshSecrets([]config.RefreshSecret{{Value: config.Secret(token.NewSecret())}}))
	s.settings = append([]string{
		"LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=" + s.url, "LATCHKEY_DATABASE_URL=" + storetest.URL(t),
		"LATCHKEY_KEYS_DIR=" + s.keysDir(), "LATCHKEY_REFRESH_SECRET_FILE=" + secret, "LATCHKEY_TRUSTED_PROXIES=127.0.0.1/32",
	}, settings...)
	for i := range s.replicas {
		s.replicas[i] = &replica{site: s, binary: binary, address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	}
	startNginx(t, port, s.replicas[0].address, s.replicas[1].address)
	s.operate(t, "keys", "rotate")
	return s
}

func (s *site) keysDir() string { return filepath.Join(s.folder, "keys") }

// operate runs a command of the operator, which must succeed, and returns its standard output.
func (s *site) operate(t *testing.T, arguments ...string) string {
	return s.operateBy(t, s.binary, arguments...)
}

func (s *site) operateBy(t *testing.T, binary string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, arguments...)
	command.Dir, command.Env = s.folder, s.settings
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("latchkey %q: %v\n%s", arguments, err, &stderr)
	}
	return string(out)
}

// replica is one server of a site, which can be stopped and started again at its address.
type replica struct {
	site    *site
	binary  string
	address string
	process *exec.Cmd
	ended   chan struct{}
	log     *os.File
}

func (r *replica) url() string { return "http://" + r.address }

// start starts the replica, and returns when it is ready.
func (r *replica) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(r.site.folder, r.address+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(context.WithoutCancel(t.Context()), r.binary, "serve")
	command.Dir, command.Env = r.site.folder, append([]string{"LATCHKEY_ADDR=" + r.address}, r.site.settings...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	r.process, r.ended, r.log = command, ended, log
	go func() {
		_ = command.Wait() // those who want to know ask for ProcessState
		_ = log.Close()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill() // most have ended already
		<-ended
		if t.Failed() {
			r.showFaults(t)
		}
	})
	await(t, r.address+" is ready", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended with %v", r.address, command.ProcessState)
		default:
		}
		return answers(t, r.url()+"/readyz")
	})
}

// showFaults shows what a replica's log has of faults.
func (r *replica) showFaults(t *testing.T) {
	log, _ := os.ReadFile(r.log.Name())
	var faults []byte
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, `"level":"INFO"`) {
			faults = append(faults, line...)
		}
	}
	t.Logf("%s:\n%s", r.address, tail(faults, 20))
}

// awaitCalls waits until nginx has found out that the replica is there, and sends it requests.
func (r *replica) awaitCalls(t *testing.T) {
	t.Helper()
	seen := r.calls(t)
	await(t, "nginx sends requests to "+r.address, func() bool { return r.calls(t) > seen })
}

func (r *replica) calls(t *testing.T) int {
	t.Helper()
	log, err := os.ReadFile(r.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(log, []byte(`"route":"/api/user/`))
}

// signal sends a signal.
func (r *replica) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := r.process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// stop stops the replica as an operator does, and returns when it has ended, which it must do in good order.
func (r *replica) stop(t *testing.T) {
	t.Helper()
	r.signal(t, syscall.SIGTERM)
	r.await(t)
	if code := r.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with %v", r.address, r.process.ProcessState)
	}
}

// kill ends the replica in the middle of what it does.
func (r *replica) kill(t *testing.T) {
	t.Helper()
	r.signal(t, syscall.SIGKILL)
	r.await(t)
}

func (r *replica) await(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatalf("%s does not end", r.address)
	}
}
