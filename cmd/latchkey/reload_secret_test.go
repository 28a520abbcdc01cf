package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"latchkey/internal/config"
	"latchkey/internal/token"
)

const (
	secretA = "q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGfZxQoYiNp4Tk="
	secretB = "VZ9ZQG1n0yUuGz3nqgO3o3wC8pM5m2dQH4rJ6tKxEvA="
	secretC = "Yt0kq3ZC1xPz5bRr8mVvN7uJd2sLhGfEaQoWiTp9KcM="
)

func TestReloadTakesOverASecretThatSaysWhenItIsUsed(t *testing.T) {
	r := newRing(t, config.Config{})
	r.writeSecrets(t, secretA)
	r.look(t)
	session := r.refresh.Encode(r.refresh.First(uuid.New()))
	r.writeSecrets(t, "20260102T040405Z:"+secretB+",\n"+secretA) // in an hour
	if log := r.look(t); !strings.Contains(log, "refresh_secrets=2") || !strings.Contains(log, "result=loaded") || strings.Contains(log, secretB) {
		t.Errorf("the log says %s", log)
	}
	r.mustBegin(t, secretA)
	r.clock = r.clock.Add(time.Hour - time.Nanosecond)
	r.mustBegin(t, secretA)
	r.clock = r.clock.Add(time.Nanosecond)
	r.mustBegin(t, secretB)
	if _, err := r.refresh.Parse(session); err != nil {
		t.Errorf("a session of the first secret: %v", err)
	}
}

// Whoever writes NEW,OLD by hand must not make one server begin sessions that another one refuses.
func TestReloadMakesANewSecretWithoutATimeWait(t *testing.T) {
	r := newRing(t, config.Config{})
	r.writeSecrets(t, secretA)
	r.look(t)
	r.clock = r.clock.Add(2 * time.Hour)
	r.mustBegin(t, secretA)
	r.writeSecrets(t, secretB+","+secretA)
	r.look(t)
	r.mustBegin(t, secretA)
	r.clock = r.clock.Add(rotationLead / 2)
	r.writeSecrets(t, secretC+","+secretB+","+secretA) // does not put the second one off
	r.look(t)
	r.clock = r.clock.Add(rotationLead / 2)
	r.mustBegin(t, secretB)
	r.clock = r.clock.Add(rotationLead / 2)
	r.mustBegin(t, secretC)
	r.writeSecrets(t, secretC)
	r.look(t)
	r.mustBegin(t, secretC)
	r.writeSecrets(t, secretA) // nothing else is there to wait with
	r.look(t)
	r.mustBegin(t, secretA)
}

func TestReloadFollowsTheFileOfTheSettingsAndNotTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { // as secrets of Docker and Kubernetes often are
			t.Fatal(err)
		}
	}
	write(secretA)
	both, err := config.ParseRefreshSecrets(secretA)
	if err != nil {
		t.Fatal(err)
	}
	r := newRing(t, config.Config{RefreshSecretFile: file, RefreshSecrets: both})
	r.mustBegin(t, secretA)
	write(secretB)
	r.look(t)
	r.mustBegin(t, secretB)

	r = newRing(t, config.Config{RefreshSecrets: both})
	r.writeSecrets(t, secretB)
	if log := r.look(t); log != "" {
		t.Errorf("the secrets come from the environment, and the log says %s", log)
	}
	r.mustBegin(t, secretA)
}

// A pipe, as of a shell's <(…), has given what it had to the settings: whoever reads it again waits, or gets nothing.
func TestReloadDoesNotReadAPipeAgain(t *testing.T) {
	secrets, err := config.ParseRefreshSecrets(secretA)
	if err != nil {
		t.Fatal(err)
	}
	settings := config.Config{RefreshSecretFile: os.DevNull, RefreshSecrets: secrets} // no regular file either, but it never blocks
	r := newRing(t, settings)
	if log := r.look(t); log != "" {
		t.Errorf("the secrets were read already, and the log says %s", log)
	}
	r.mustBegin(t, secretA)
	if _, err := readSecretList(&settings); !errors.Is(err, errSecretsInPipe) {
		t.Errorf("a command that would change them gets %v", err)
	}
}

func TestPruneRemovesWhatIsNotNeededAtTheVeryBoundary(t *testing.T) {
	r := newRing(t, config.Config{})
	fresh := r.save(t, 0)
	end := r.clock.Add(token.MaxAccessTTL + token.Leeway + time.Minute)
	for now, want := range map[time.Time]int{end.Add(-time.Nanosecond): 2, end: 1} {
		if got := len(r.prune(t, now)); got != want {
			t.Errorf("at %v %d keys are left, want %d", now, got, want)
		}
		r.writeFirst(t)
	}
	if left := r.prune(t, end.AddDate(10, 0, 0)); len(left) != 1 || left[0].ID != fresh.ID {
		t.Errorf("ten years later %v are left, want the newest", left)
	}
}

// prune removes signing keys as the command does at a time, and returns those that are left.
func (r *ring) prune(t *testing.T, now time.Time) token.Keys {
	t.Helper()
	var first, second cobra.Command // two operators at once
	for _, c := range []*cobra.Command{&first, &second} {
		c.SetOut(&r.logs)
		if err := pruneSigningKeys(c, r.dir, now); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := token.LoadKeys(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// writeFirst puts the first key, which the ring still has, back.
func (r *ring) writeFirst(t *testing.T) {
	t.Helper()
	if err := r.keys[0].Save(r.dir); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

func TestPruneOfSecretsWaitsForTheLastSession(t *testing.T) {
	r := newRing(t, config.Config{})
	settings := &config.Config{KeysDir: r.dir, SessionTTL: 24 * time.Hour}
	list := "20260103T000000Z:" + secretC + ",20260102T000000Z:" + secretB + "," + secretA
	usedFrom := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		after time.Duration
		want  int
	}{
		"while sessions of the first may live":   {23 * time.Hour, 3},
		"when the third is used":                 {24*time.Hour + secretMargin - time.Nanosecond, 3},
		"a moment before the third is used long": {48*time.Hour + secretMargin - time.Nanosecond, 3},
		"when the third has been used so long":   {48*time.Hour + secretMargin, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r.writeSecrets(t, list)
			var c cobra.Command
			c.SetOut(&r.logs)
			if err := pruneRefreshSecrets(&c, settings, usedFrom.Add(test.after)); err != nil {
				t.Fatal(err)
			}
			left, err := loadSecrets(settings)
			if err != nil || len(left) != test.want {
				t.Errorf("%d secrets are left (%v), want %d", len(left), err, test.want)
			}
		})
	}
}

// One secret in 256 has the key id of another, and beside many secrets many have.
func TestRotateMakesASecretThatFitsTheOthers(t *testing.T) {
	r := newRing(t, config.Config{})
	settings := &config.Config{KeysDir: r.dir}
	var secrets []config.RefreshSecret
	for len(secrets) < 128 {
		more := append(secrets, config.RefreshSecret{Value: config.Secret(token.NewSecret())})
		if _, err := token.NewRefreshKeys(tokenSecrets(more), time.Now); err == nil {
			secrets = more
		}
	}
	r.writeSecrets(t, config.FormatRefreshSecrets(secrets))
	for range 10 {
		var c cobra.Command
		c.SetOut(&r.logs)
		if err := addRefreshSecret(&c, settings, r.clock, false); err != nil {
			t.Fatal(err)
		}
	}
	left, err := loadSecrets(settings)
	if err != nil || len(left) != 138 {
		t.Errorf("there are %d secrets (%v), want 138", len(left), err)
	}
}
