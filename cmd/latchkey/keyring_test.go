package main

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/token"
)

// A key's file is named after a second. First starts on both sides of the end of one must not make a key each: the
// server that has read its own alone would refuse the tokens of the other.
func TestFirstStartsAcrossASecondAgreeOnTheKeys(t *testing.T) {
	t.Parallel()
	const rounds, starts, apart = 6, 12, 300 * time.Microsecond
	for range rounds {
		c := &config.Config{KeysDir: t.TempDir()}
		keys := make([]token.Keys, starts)
		boundary := time.Now().Truncate(time.Second).Add(time.Second)
		var all sync.WaitGroup
		for i := range starts {
			all.Go(func() {
				time.Sleep(time.Until(boundary.Add(time.Duration(i-starts/2) * apart)))
				var err error
				if keys[i], err = openKeys(c, slog.New(slog.DiscardHandler)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i := range keys {
			if a, b := keySet(t, keys[i]), keySet(t, keys[0]); a != b {
				t.Fatalf("one start has the keys\n%s\nand another\n%s", a, b)
			}
		}
	}
}

func keySet(t *testing.T, keys token.Keys) string {
	t.Helper()
	issuer, err := token.NewIssuer(keys, "issuer", "audience", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return string(issuer.JWKS())
}
