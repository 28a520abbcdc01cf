package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Secret is text that must not be seen: however it is printed, *** appears.
type Secret string

// String returns ***.
func (Secret) String() string { return "***" }

// GoString returns ***.
func (Secret) GoString() string { return "***" }

// LogValue returns ***.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText returns ***, for encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// RefreshSecret is one of the secrets behind refresh tokens. Two of them can be compared with ==.
type RefreshSecret struct {
	// UsedFrom is when new sessions begin to use it, in UTC and whole seconds. The zero time says that it may be used at
	// once.
	UsedFrom time.Time
	// Value has 32 bytes, decoded.
	Value Secret
}

// secretTime is how a time stands before a secret: like the times in the names of key files.
const secretTime = "20060102T150405Z"

// ParseRefreshSecrets reads a list as LATCHKEY_REFRESH_SECRET has it: secrets separated by commas, newest first, each 32
// bytes in base64, before which the time can stand from which it is used (20260102T150405Z:…). There must be one at
// least, and none that can be guessed. The error tells all that is wrong and shows no secret.
func ParseRefreshSecrets(list string) ([]RefreshSecret, error) {
	secrets, faults := parseRefreshSecrets(list)
	if len(faults) == 0 && len(secrets) == 0 {
		faults = []string{"it is empty"}
	}
	if len(faults) > 0 {
		return nil, errors.New(strings.Join(faults, "; "))
	}
	return secrets, nil
}

// FormatRefreshSecrets writes a list as ParseRefreshSecrets reads it, a secret a line.
func FormatRefreshSecrets(secrets []RefreshSecret) string {
	lines := make([]string, len(secrets))
	for i, secret := range secrets {
		if !secret.UsedFrom.IsZero() {
			lines[i] = secret.UsedFrom.Format(secretTime) + ":"
		}
		lines[i] += base64.StdEncoding.EncodeToString([]byte(secret.Value))
	}
	return strings.Join(lines, ",\n") + "\n"
}

func parseRefreshSecrets(list string) (secrets []RefreshSecret, faults []string) {
	for i, entry := range splitList(list) {
		var usedFrom time.Time
		from, encoded, timed := strings.Cut(entry, ":")
		if !timed {
			encoded = entry
		} else if t, err := time.Parse(secretTime, from); err == nil && t.Format(secretTime) == from {
			usedFrom = t
		} else {
			faults = append(faults, fmt.Sprintf("value %d must begin with a time in UTC like 20260102T150405Z, or have no colon", i+1))
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		switch {
		case err != nil || len(raw) != 32:
			faults = append(faults, fmt.Sprintf("value %d must be 32 bytes in base64: make one with `openssl rand -base64 32`", i+1))
		case isGuessable(raw):
			faults = append(faults, fmt.Sprintf("value %d is not random: make one with `openssl rand -base64 32`", i+1))
		default:
			secrets = append(secrets, RefreshSecret{UsedFrom: usedFrom, Value: Secret(raw)})
		}
	}
	return secrets, faults
}

// isGuessable finds placeholders: of 32 random bytes nearly all differ, and hardly ever are all of them printable.
func isGuessable(secret []byte) bool {
	distinct := map[byte]bool{}
	printable := true
	for _, b := range secret {
		distinct[b] = true
		printable = printable && ' ' <= b && b <= '~'
	}
	return len(distinct) < 16 || printable
}
