package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// exampleLine is a setting in .env.example, commented out.
var exampleLine = regexp.MustCompile(`(?m)^#(LATCHKEY_[A-Z_]+)=(.*)$`)

func readExample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// knownSettings are the names that Load asks for.
func knownSettings() []string {
	r := &reader{values: map[string]string{}}
	r.oneOf("LATCHKEY_ENV", "development", "development", "production") // Load asks for it before everything else
	(&Config{}).read(r)
	return r.known
}

func TestExampleListsEverySettingOnceAndNoOther(t *testing.T) {
	var listed []string
	for _, line := range exampleLine.FindAllStringSubmatch(readExample(t), -1) {
		listed = append(listed, line[1])
	}
	known := knownSettings()
	slices.Sort(listed)
	slices.Sort(known)
	if !slices.Equal(listed, known) {
		t.Errorf(".env.example lists\n%q\nbut Load knows\n%q", listed, known)
	}
}

func TestExampleNamesNoSettingThatDoesNotExist(t *testing.T) {
	known := knownSettings()
	for _, name := range regexp.MustCompile(`LATCHKEY_[A-Z_]+`).FindAllString(readExample(t), -1) {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no setting", name)
		}
	}
}

func TestExampleUncommentedLoadsTheDefaults(t *testing.T) {
	dir := t.TempDir()
	uncommented := exampleLine.ReplaceAllString(readExample(t), "$1=$2")
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(uncommented), 0o600); err != nil {
		t.Fatal(err)
	}
	fromExample, err := Load(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	fromNothing, err := Load(nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromExample, fromNothing) {
		t.Errorf("uncommented, .env.example loads as\n%+v\nbut an empty environment as\n%+v", fromExample, fromNothing)
	}
}

// An empty value loads as the default, whatever that is, so the test above would pass a file that shows none.
func TestExampleShowsEveryDefaultThatIsAFixedValue(t *testing.T) {
	empty := []string{ // off, or derived from something else
		"LATCHKEY_OPS_ADDR", "LATCHKEY_DATABASE_URL_FILE", "LATCHKEY_ISSUER", "LATCHKEY_AUDIENCE",
		"LATCHKEY_REFRESH_SECRET", "LATCHKEY_REFRESH_SECRET_FILE", "LATCHKEY_ALLOWED_ORIGINS",
		"LATCHKEY_TRUSTED_PROXIES", "LATCHKEY_HASH_CONCURRENCY",
	}
	for _, line := range exampleLine.FindAllStringSubmatch(readExample(t), -1) {
		if name, value := line[1], line[2]; (value == "") != slices.Contains(empty, name) {
			t.Errorf("%s is shown with the default %q", name, value)
		}
	}
}

func TestExampleExplainsEverySetting(t *testing.T) {
	// A block is what stands between empty lines: its comment lines and then one or more settings.
	for _, block := range regexp.MustCompile(`\n\n+`).Split(readExample(t), -1) {
		if exampleLine.MatchString(block) && !regexp.MustCompile(`^# \S`).MatchString(block) {
			t.Errorf("a setting without an explanation:\n%s", block)
		}
	}
}
