package token

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestWriteSecretIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := WriteSecret(dir, "refresh.secret", []byte("content")); err != nil {
		t.Fatal(err)
	}
	wantMode(t, dir, 0o700)
	wantMode(t, filepath.Dir(dir), 0o700)
	wantMode(t, filepath.Join(dir, "refresh.secret"), 0o600)
}

func TestWriteSecretNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	if err := WriteSecret(dir, "s", []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := WriteSecret(dir, "s", []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second write gives %v, want fs.ErrExist", err)
	}
	wantOnly(t, dir, "s", "first")
}

func TestWriteSecretLeavesALinkAlone(t *testing.T) {
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(target, filepath.Join(dir, "s")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := WriteSecret(dir, "s", []byte("content")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a dangling link in the way gives %v, want fs.ErrExist", err)
	}
	if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the secret was written through the link, to where somebody else chose")
	}
}

func TestWriteSecretFailsWhereAFileIsInTheFoldersPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteSecret(path, "s", nil); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteSecret gives %v, want an error that does not say that the secret exists", err)
	}
}

func TestParallelWritersLeaveOneWholeSecret(t *testing.T) {
	const writers = 16
	for range 10 {
		dir := filepath.Join(t.TempDir(), "keys")
		var won atomic.Int32
		var winner atomic.Pointer[[]byte]
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range writers {
			content := bytes.Repeat([]byte{byte('a' + i)}, 100_000)
			wg.Go(func() {
				<-begin
				err := WriteSecret(dir, "s", content)
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(&content)
				case !errors.Is(err, fs.ErrExist):
					t.Errorf("a loser gets %v, want fs.ErrExist", err)
				default:
					// A loser goes on to read what the winner wrote: it must be whole by now.
					if got, err := os.ReadFile(filepath.Join(dir, "s")); err != nil || len(got) != len(content) {
						t.Errorf("a loser reads %d bytes (%v)", len(got), err)
					}
				}
			})
		}
		close(begin)
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of %d writers won", won.Load(), writers)
		}
		wantOnly(t, dir, "s", string(*winner.Load()))
	}
}

func wantOnly(t *testing.T, dir, name, content string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(got) != content {
		t.Errorf("%s holds %d bytes (%v) that are not what was written first", name, len(got), err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Errorf("the folder holds %v, want just %s: a half-written secret stays behind", files, name)
	}
}
