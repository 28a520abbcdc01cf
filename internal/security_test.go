package internal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// requirements is how many there are of each kind: PW-01 to PW-11, and so on.
var requirements = map[string]int{
	"PW": 11, "LG": 11, "AT": 12, "RT": 10, "CK": 4, "TH": 5, "IN": 7, "RC": 3, "MF": 1, "KS": 4, "LA": 5, "DP": 4, "AV": 9, "SC": 4,
}

var (
	requirementRow = regexp.MustCompile(`(?m)^\| ([A-Z]{2}-\d{2}) \| [^|]+ \| (met|met in part|not met|not applicable) \| ([^|]+) \|$`)
	// reference is a package, which what follows belongs to, a test, a script or a step of .ci/run.
	reference = regexp.MustCompile("`(\\w+)`: |\\b((?:Test|Fuzz)\\w+)|`(\\w+\\.txtar)`|`\\.ci/run: ([^`]+)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// testsOf lists the tests of a package as docs/security.md names it.
func testsOf(t *testing.T, name string) (tests []string) {
	t.Helper()
	folder := map[string]string{"latchkey": "../cmd/latchkey", "internal": ".", "replicas": "e2e/replicas"}[name]
	if folder == "" {
		folder = name
	}
	files, err := filepath.Glob(folder + "/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, found := range testFunc.FindAllStringSubmatch(read(t, file), -1) {
			tests = append(tests, found[1])
		}
	}
	return tests
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What docs/security.md claims is shown by a test that is there.
func TestSecurityPageNamesEachRequirementAndNoTestThatIsGone(t *testing.T) {
	rows := requirementRow.FindAllStringSubmatch(read(t, "../docs/security.md"), -1)
	times := map[string]int{}
	steps := read(t, "../.ci/run")
	for _, row := range rows {
		id, state, shown := row[1], row[2], row[3]
		times[id]++
		var in string
		var named int
		for _, found := range reference.FindAllStringSubmatch(shown, -1) {
			var there bool
			switch pkg, test, script, step := found[1], found[2], found[3], found[4]; {
			case pkg != "":
				in = pkg
				continue
			case test != "":
				there = slices.Contains(testsOf(t, in), test)
			case script != "":
				_, err := os.Stat("../cmd/latchkey/testdata/" + script)
				there = err == nil
			default:
				there = strings.Contains(steps, "\nstep '"+step+"'\n")
			}
			if named++; !there {
				t.Errorf("%s: there is no %s in %s", id, found[0], in)
			}
		}
		if named == 0 && state == "met" {
			t.Errorf("%s is met, and no test shows it", id)
		}
	}
	for kind, n := range requirements {
		for i := range n {
			if id := fmt.Sprintf("%s-%02d", kind, i+1); times[id] != 1 {
				t.Errorf("%s has %d well-formed rows, want 1", id, times[id])
			}
		}
	}
	if len(rows) != 90 {
		t.Errorf("there are %d rows, want 90", len(rows))
	}
}
