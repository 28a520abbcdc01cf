package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "latchkey/"

// layers are the packages of the program, from the outside to the inside. A package imports only what stands below it,
// and packages of one layer do not import each other, so those of the last one are leaves.
var layers = [][]string{
	{"cmd/latchkey", "internal/load"},
	{"internal/httpapi", "internal/retention"},
	{"internal/account"},
	{"internal/session"},
	{"internal/store"},
	{"internal/token", "internal/password", "internal/audit", "internal/config", "migrations", "api"},
}

// forTests are packages that only tests import.
var forTests = []string{"internal/store/storetest", "internal/token/tokentest", "internal/e2e"}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string // those that are built: no tests
	Imports    []string // of GoFiles
}

// path is the package's path within the module.
func (p goPackage) path() string { return strings.TrimPrefix(p.ImportPath, module) }

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"...")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 { // else it consists of tests
			packages = append(packages, p)
		}
		// The go command repeats an old result of this test unless something changes that the test itself has looked at.
		for _, file := range append(p.GoFiles, ".", "..") {
			if _, err := os.Stat(filepath.Join(p.Dir, file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(packages) < 10 { // an empty list would pass every test
		t.Fatalf("go list found %d packages only", len(packages))
	}
	return packages
}

// layer returns how deep a package stands, or -1.
func layer(path string) int {
	return slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, path) })
}

func TestArchitecture(t *testing.T) {
	packages := listPackages(t)

	t.Run("imports run one way", func(t *testing.T) {
		for _, p := range packages {
			if slices.Contains(forTests, p.path()) {
				continue
			}
			own := layer(p.path())
			if own < 0 {
				t.Errorf("%s is in no layer: say in this file where it belongs", p.path())
				continue
			}
			for _, imported := range p.Imports {
				inner, isOurs := strings.CutPrefix(imported, module)
				if isOurs && layer(inner) <= own {
					t.Errorf("%s imports %s, which does not stand below it", p.path(), inner)
				}
			}
		}
	})
	t.Run("only the store knows the database", func(t *testing.T) {
		for _, p := range packages {
			for _, imported := range p.Imports {
				for _, prefix := range []string{"gorm.io/", "modernc.org/sqlite", "github.com/pressly/goose"} {
					if !strings.HasPrefix(p.path(), "internal/store") && p.path() != "internal/load" && strings.HasPrefix(imported, prefix) {
						t.Errorf("%s imports %s", p.path(), imported)
					}
				}
			}
		}
	})
	t.Run("only the API and the commands know HTTP", func(t *testing.T) {
		for _, p := range packages {
			if slices.Contains(p.Imports, "net/http") && !slices.Contains([]string{"internal/httpapi", "cmd/latchkey", "internal/load"}, p.path()) {
				t.Errorf("%s imports net/http", p.path())
			}
		}
	})
	t.Run("packages are named for what they do", func(t *testing.T) {
		for _, p := range packages {
			switch path.Base(p.ImportPath) {
			case "util", "utils", "common", "helper", "helpers", "model", "models", "misc", "shared":
				t.Errorf("%s says nothing about what it does", p.path())
			}
		}
	})
}
