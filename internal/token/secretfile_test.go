package token

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
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

func TestRemoveTakesAwayThatKeyAndMayComeTwice(t *testing.T) {
	dir := t.TempDir()
	old, fresh := keyFrom(t, 1, 0), keyFrom(t, 2, time.Hour)
	for _, key := range []Key{old, fresh} {
		if err := key.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := old.Remove(dir); err != nil {
			t.Error(err)
		}
	}
	keys, err := LoadKeys(dir)
	if err != nil || len(keys) != 1 || keys[0].ID != fresh.ID {
		t.Errorf("the folder holds %v (%v), want the other key", keys, err)
	}
}

// A key in a file whose name Remove would not find could not be pruned, or another one would be.
func TestLoadKeysTakesTheOneSpellingOfATime(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "20260102T030405.5Z.pem", pkcs8(t, fixedKey(t, 1).private), 0o600)
	if _, err := LoadKeys(dir); err == nil || !strings.Contains(err.Error(), "rename it") {
		t.Errorf("a time with a fraction: %v", err)
	}
}

// Kubernetes hands out a folder of links into a hidden folder, which it exchanges as a whole.
func TestLoadKeysFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	key := fixedKey(t, 1)
	if err := key.Save(filepath.Join(dir, "..2026_01_02")); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"..data": "..2026_01_02", keyFile: "..data/" + keyFile} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	keys, err := LoadKeys(dir)
	if err != nil || len(keys) != 1 || keys[0].ID != key.ID {
		t.Errorf("LoadKeys gives %v and %v", keys, err)
	}
	if err := os.Remove(filepath.Join(dir, "..2026_01_02", keyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(dir); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoKeys) {
		t.Errorf("a link to nowhere: %v, want an error that says so", err)
	}
}

func TestReplaceSecretKeepsModeAndLinks(t *testing.T) {
	dir, behind := t.TempDir(), t.TempDir()
	write(t, behind, "s", "old", 0o640)
	link := filepath.Join(dir, "s")
	if err := os.Symlink(filepath.Join(behind, "s"), link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	seen, err := os.Stat(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := ReplaceSecret(link, seen, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceSecret(link, seen, []byte("newer")); !errors.Is(err, ErrReplaced) {
		t.Errorf("a file that was replaced meanwhile: %v, want ErrReplaced", err)
	}
	wantOnly(t, behind, "s", "new")
	wantMode(t, filepath.Join(behind, "s"), 0o640)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if err := ReplaceSecret(filepath.Join(dir, "none"), seen, []byte("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v, want fs.ErrNotExist", err)
	}
	if files, err := os.ReadDir(dir); err != nil || !slices.ContainsFunc(files, func(e fs.DirEntry) bool { return e.Name() == "s" }) || len(files) != 1 {
		t.Errorf("the folder holds %v (%v)", files, err)
	}
}

// A server that looks at the folder while an operator prunes it must not take that for a fault.
func TestLoadKeysWhileAKeyComesAndGoes(t *testing.T) {
	dir := t.TempDir()
	stays, goes := keyFrom(t, 1, 0), keyFrom(t, 2, time.Hour)
	if err := stays.Save(dir); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var operator sync.WaitGroup
	operator.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if err := errors.Join(goes.Save(dir), goes.Remove(dir)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2000 {
		if keys, err := LoadKeys(dir); err != nil || keys[0].ID != stays.ID {
			t.Errorf("LoadKeys gives %v and %v", keys, err)
			break
		}
	}
	close(done)
	operator.Wait()
}

// A pipe in the folder would be waited for without end, and a file of gigabytes be read into memory.
func TestLoadKeysReadsSmallFilesOnly(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"a large file": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, maxSecretFile+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "20260102T150405Z.pem")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadKeys(dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "no regular file") {
				t.Errorf("LoadKeys gives %v", err)
			}
		})
	}
}
