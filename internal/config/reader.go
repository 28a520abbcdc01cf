package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/joho/godotenv"
)

// reader takes settings out of an environment and collects what is wrong with them.
type reader struct {
	values map[string]string
	known  []string
	faults []string
}

func (r *reader) fault(name, format string, arguments ...any) {
	r.faults = append(r.faults, name+" "+fmt.Sprintf(format, arguments...))
}

// err lists the faults, nil if there are none.
func (r *reader) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	return fmt.Errorf("the settings have %d fault(s):\n  - %s", len(r.faults), strings.Join(r.faults, "\n  - "))
}

// wasRead says whether settings could be read: a contradiction to one that could not would only confuse.
func (r *reader) wasRead(names ...string) bool {
	return !slices.ContainsFunc(r.faults, func(fault string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			return strings.HasPrefix(fault, name+" ") || strings.HasPrefix(fault, name+"_FILE ")
		})
	})
}

// readDotEnv adds what the file says to what the environment does not say.
func (r *reader) readDotEnv(dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		r.fault(".env", "cannot be looked for: %v", err)
		return
	}
	defer func() { _ = root.Close() }()
	file, err := root.Open(".env")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.fault(".env", "cannot be read: %v", err)
		return
	}
	defer func() { _ = file.Close() }()
	values, err := godotenv.Parse(file)
	if err != nil {
		r.fault(".env", "cannot be understood: every line must be NAME=value or a comment that begins with #")
		return
	}
	if env := values["LATCHKEY_ENV"]; env != "" && env != "development" {
		r.fault("LATCHKEY_ENV", "in .env must be development: the file counts in development only, so set it in the environment")
	}
	for name, value := range values {
		if r.values[name] == "" && strings.HasPrefix(name, prefix) { // other programs may share the file
			r.values[name] = value
		}
	}
}

// refuseUnknown finds the misspelt setting that would otherwise silently not count.
func (r *reader) refuseUnknown() {
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if !slices.Contains(r.known, name) {
			r.fault(name, "is no setting of Latchkey: see .env.example for all that there are")
		}
	}
}

// text returns a setting; one that is set to nothing counts as not set.
func (r *reader) text(name, fallback string) string {
	r.known = append(r.known, name)
	if v := r.values[name]; v != "" {
		return v
	}
	return fallback
}

// claim returns a setting that goes into every access token, whose length is bounded.
func (r *reader) claim(name, fallback string) string {
	v := r.text(name, fallback)
	if len(v) > maxClaim {
		r.fault(name, "must have at most %d characters: it goes into every access token", maxClaim)
	}
	return v
}

// secret returns a setting that may also come from the file that NAME_FILE names.
func (r *reader) secret(name, fallback string) string {
	value, file := r.text(name, ""), r.text(name+"_FILE", "")
	switch {
	case file == "" && value == "":
		return fallback
	case file == "":
		return value
	case value != "":
		r.fault(name, "and %s_FILE are both set: keep one", name)
		return fallback
	}
	content, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		r.fault(name+"_FILE", "cannot be read: %v", err)
		return fallback
	}
	if value = strings.TrimSpace(string(content)); value == "" {
		r.fault(name+"_FILE", "names a file that is empty")
		return fallback
	}
	return value
}

func (r *reader) refreshSecrets(name string) []RefreshSecret {
	secrets, faults := parseRefreshSecrets(r.secret(name, ""))
	for _, fault := range faults {
		r.fault(name, "%s", fault)
	}
	return secrets
}

func (r *reader) oneOf(name, fallback string, choices ...string) string {
	v := r.text(name, fallback)
	if !slices.Contains(choices, v) {
		r.fault(name, "must be %s, not %q", strings.Join(choices, " or "), v)
		return fallback
	}
	return v
}

func (r *reader) boolean(name string, fallback bool) bool {
	return r.oneOf(name, strconv.FormatBool(fallback), "true", "false") == "true"
}

func (r *reader) integer(name string, fallback, least, most int) int {
	n, err := strconv.Atoi(r.text(name, strconv.Itoa(fallback)))
	if err != nil || n < least || n > most {
		r.fault(name, "must be a whole number from %d to %d", least, most)
		return fallback
	}
	return n
}

func (r *reader) duration(name, fallback string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(r.text(name, fallback))
	if err != nil || d < least || d > most || d%time.Millisecond != 0 || least >= time.Second && d%time.Second != 0 {
		r.fault(name, "must be a time from %s to %s, like %s, in whole %s", least, most, fallback,
			map[bool]string{true: "seconds", false: "milliseconds"}[least >= time.Second])
		d, _ = time.ParseDuration(fallback)
	}
	return d
}

// retention returns how long something is kept, or 0 for what is kept for ever.
func (r *reader) retention(name, fallback string, least, most time.Duration) time.Duration {
	v := r.text(name, fallback)
	if v == "off" {
		return 0
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < least || d > most || d%time.Second != 0 {
		r.fault(name, "must be a time from %s to %s, like %s, in whole seconds, or off", least, most, fallback)
	}
	return d
}

func (r *reader) limit(name, fallback string) Limit {
	v := r.text(name, fallback)
	if v == "off" {
		return Limit{}
	}
	count, per, _ := strings.Cut(v, "/")
	n, err := strconv.Atoi(count)
	d, perErr := time.ParseDuration(per)
	if err != nil || perErr != nil || n < 1 || n > 1_000_000 || d < time.Second || d > 24*time.Hour {
		r.fault(name, "must be a count in a time, like %s, or off", fallback)
	}
	return Limit{Count: n, Per: d}
}

func (r *reader) level(name, fallback string) slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(r.oneOf(name, fallback, "debug", "info", "warn", "error"))) // it knows all four
	return level
}

func (r *reader) address(name, fallback string) string {
	v := r.text(name, fallback)
	if v == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(v)
	if n, portErr := strconv.Atoi(port); err != nil || portErr != nil || n < 0 || n > 65535 {
		r.fault(name, "must be an address with a port, like 127.0.0.1:8080")
	}
	return v
}

func (r *reader) publicURL(name, fallback string) *url.URL {
	v := r.text(name, fallback)
	u, err := url.Parse(v)
	if err != nil || checkOrigin(v) != "" {
		r.fault(name, "must be the scheme, host and perhaps port by which browsers reach the server, like https://auth.example.com, without anything behind")
		u, _ = url.Parse(fallback)
	}
	return u
}

func (r *reader) list(name string, check func(string) string) []string {
	list := splitList(r.text(name, ""))
	for _, v := range list {
		if fault := check(v); fault != "" {
			r.fault(name, "has %q, which %s", v, fault)
		}
	}
	return list
}

func splitList(s string) []string {
	var list []string
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, v)
		}
	}
	return list
}
