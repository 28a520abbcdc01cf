//go:build e2e

package replicas

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The previous release: the commit that it was built from, and how far its migrations go.
const (
	previousRelease = "5ac7de6"
	previousSchema  = 4
)

// buildPrevious builds the previous release from the history.
func buildPrevious(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	archive := filepath.Join(folder, "source.tar")
	for _, command := range [][]string{
		{"git", "-C", "../../..", "archive", "--output", archive, previousRelease},
		{"tar", "-x", "-f", archive, "-C", folder},
	} {
		if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s\nThis test builds the previous release, commit %s, from the history. "+
				"In a shallow clone, fetch it: git fetch --unshallow", command, err, out, previousRelease)
		}
	}
	binary, err := build(folder, filepath.Join(folder, "latchkey-previous"))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// schema returns how many migrations have been applied, of those that this program knows, and how many those are.
func (s *site) schema(t *testing.T, binary string) (applied, known int) {
	t.Helper()
	for line := range strings.Lines(s.operateBy(t, binary, "migrate", "status")) {
		known++
		if !strings.Contains(line, "pending") {
			applied++
		}
	}
	return applied, known
}

// The database is migrated under the previous release, which goes on serving, also beside this one and, when this one is
// taken back, alone. Sessions that began at either go on at the other, and no request fails.
func TestPreviousReleaseRunsBesideThisOne(t *testing.T) {
	t.Parallel()
	current, err := program()
	if err != nil {
		t.Fatal(err)
	}
	previous := buildPrevious(t)
	s := prepareSite(t, previous, unlimited...)
	first, second := s.replicas[0], s.replicas[1]
	s.operate(t, "migrate", "up")
	if applied, known := s.schema(t, previous); applied != previousSchema || known != previousSchema {
		t.Fatalf("the previous release has applied %d of its %d migrations, want %d", applied, known, previousSchema)
	}
	first.start(t)
	alice := s.client()
	alice.signUp(t, "alice")

	files, err := filepath.Glob("../../../migrations/sqlite/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	if applied, known := s.schema(t, current); applied != previousSchema || known != len(files) {
		t.Fatalf("this release finds %d of its %d migrations applied, want %d of %d", applied, known, previousSchema, len(files))
	}
	l := s.startLoad(t)
	l.run(t, 50)
	s.operateBy(t, current, "migrate", "up") // the previous release is at work
	if applied, _ := s.schema(t, current); applied != len(files) {
		t.Fatalf("this release has applied %d migrations of %d", applied, len(files))
	}
	if !answers(t, first.url()+"/readyz") {
		t.Error("the previous release is not ready on the schema of this one")
	}
	second.binary = current
	second.start(t)
	second.awaitCalls(t)
	l.run(t, 300) // by turns at either

	bob, carol := second.client(), first.client()
	bob.signUp(t, "bob")
	carol.signUp(t, "carol")
	for range 2 {
		for _, r := range s.replicas {
			for _, c := range []*client{alice, bob, carol} {
				there := c.at(r)
				there.wantSignedIn(t)
				c.cookie, c.access = there.cookie, there.access
			}
		}
	}
	lost := *alice // this release has rotated, and the answer was lost: the previous one gives the same
	atSecond, atFirst := alice.at(second), lost.at(first)
	atSecond.want(t, http.StatusOK, "POST", "/api/user/refresh", "")
	atFirst.want(t, http.StatusOK, "POST", "/api/user/refresh", "")
	if atFirst.cookie != atSecond.cookie {
		t.Error("the releases derive different successors")
	}
	alice.cookie = atFirst.cookie

	// Back to the previous release.
	second.stop(t)
	second.binary = previous
	second.start(t)
	second.awaitCalls(t)
	l.run(t, 300)
	l.wantNoFault(t)
	for _, c := range []*client{alice, bob, carol} {
		c.base = s.url
		c.wantSignedIn(t)
	}
	// An account that this release has made is the previous one's as any other.
	bob.want(t, http.StatusOK, "POST", "/api/user/login", credentials("bob"))
	bob.want(t, http.StatusNoContent, "POST", "/api/user/logout", "")
	wantRefused(t, bob, "POST", "/api/user/refresh")
}
