//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// repository is the top of this clone.
var repository = sync.OnceValues(func() (string, error) { return filepath.Abs("../..") })

// npmPackages installs what npm/package-lock.json lists, if that has not been done since the file was changed, and returns
// the folder. No script of a package is run.
var npmPackages = sync.OnceValues(func() (string, error) {
	folder, err := filepath.Abs("npm/node_modules")
	if err != nil {
		return "", err
	}
	lock, err := os.Stat("npm/package-lock.json")
	if err != nil {
		return "", err
	}
	// npm writes this one when it has finished.
	installed, err := os.Stat(filepath.Join(folder, ".package-lock.json"))
	if err == nil && !installed.ModTime().Before(lock.ModTime()) {
		return folder, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	ci := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	ci.Dir = "npm"
	if out, err := ci.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return folder, nil
})

// app is the folder of an app of somebody else's. A clone of Latchkey is beside it, and it finds the packages of npm/.
type app struct {
	t      *testing.T
	folder string
}

func newApp(t *testing.T) app {
	t.Helper()
	packages, err := npmPackages()
	if err != nil {
		t.Fatal(err)
	}
	clone, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	above := t.TempDir()
	a := app{t, filepath.Join(above, "app")}
	for _, err := range []error{
		os.Mkdir(a.folder, 0o700),
		os.Symlink(packages, filepath.Join(above, "node_modules")),
		os.Symlink(clone, filepath.Join(above, "latchkey")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a.write("package.json", `{"name": "app", "private": true, "type": "module"}`)
	return a
}

func (a app) write(name, content string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.folder, name), []byte(content), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a app) read(name string) string {
	a.t.Helper()
	content, err := os.ReadFile(filepath.Join(a.folder, name))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(content)
}

// run runs commands of the shell in the app's folder, with the programs of its packages in the path, and returns what they
// print. The first one that fails ends the test.
func (a app) run(commands string) string {
	a.t.Helper()
	packages, err := npmPackages()
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-euc", commands)
	shell.Dir = a.folder
	shell.Env = append(os.Environ(), "PATH="+filepath.Join(packages, ".bin")+":"+os.Getenv("PATH"))
	var out, complaints bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &complaints
	if err := shell.Run(); err != nil {
		a.t.Fatalf("%s: %v\n%s%s", commands, err, &out, &complaints)
	}
	return out.String()
}

// The package is what its users need, and nothing else: no test, no lock file, nothing that somebody left in the folder.
func TestPackageOfTheClient(t *testing.T) {
	var packed []struct {
		Name  string
		Files []struct{ Path string }
	}
	out := newApp(t).run("cd ../latchkey/api/client && npm pack --dry-run --json")
	if err := json.Unmarshal([]byte(out), &packed); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(packed) != 1 || packed[0].Name != "latchkey-client" {
		t.Fatalf("packed are %v", packed)
	}
	var files []string
	for _, file := range packed[0].Files {
		files = append(files, file.Path)
	}
	slices.Sort(files)
	if got, want := strings.Join(files, " "), "LICENSE README.md client.d.ts client.js package.json"; got != want {
		t.Errorf("the package has %s, want %s", got, want)
	}
}
