package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const keyFile = "20260102T030405Z.pem"

func write(t *testing.T, dir, name, content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// pkcs8 is a private key as a PEM file.
func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func sec1(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("EC PRIVATE KEY", der)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestSavedKeysLoadInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	var want []string
	for _, offset := range []time.Duration{time.Hour, 0, -time.Hour} {
		key, err := NewKey(testTime.Add(offset).In(time.FixedZone("", 7200)))
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Save(dir); err != nil {
			t.Fatal(err)
		}
		want = append([]string{key.ID}, want...)
	}
	keys, err := LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, key := range keys {
		got = append(got, key.ID)
		if from := testTime.Add(time.Duration(i-1) * time.Hour); !key.SignsFrom.Equal(from) {
			t.Errorf("key %d signs from %v, want %v", i, key.SignsFrom, from)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the keys load as %v, want %v, oldest first", got, want)
	}
}

func TestLoadedKeySignsWhatTheSavedOneVerifies(t *testing.T) {
	now := testTime
	saved, dir := fixedKey(t, 1), t.TempDir()
	if err := saved.Save(dir); err != nil {
		t.Fatal(err)
	}
	keys, err := LoadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newTestIssuer(t, &now, saved).Verify(sign(t, newTestIssuer(t, &now, keys...))); err != nil {
		t.Error(err)
	}
}

func TestSaveKeepsOthersOutAndOverwritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	key := fixedKey(t, 1)
	if err := key.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := fixedKey(t, 2).Save(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second key of the same second: %v, want fs.ErrExist", err)
	}
	wantMode(t, dir, 0o700)
	wantMode(t, filepath.Join(dir, keyFile), 0o600)
	keys, err := LoadKeys(dir)
	if err != nil || len(keys) != 1 || keys[0].ID != key.ID {
		t.Errorf("the folder holds %v (%v), want the first key", keys, err)
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %04o, want %04o", path, got, want)
	}
}

func TestLoadKeysTakesBothEncodings(t *testing.T) {
	key := fixedKey(t, 1)
	for name, text := range map[string]string{"PKCS #8": pkcs8(t, key.private), "SEC 1": sec1(t, key.private), "with white space": pkcs8(t, key.private) + "\n \n"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, keyFile, text, 0o600)
			keys, err := LoadKeys(dir)
			if err != nil || len(keys) != 1 || keys[0].ID != key.ID {
				t.Errorf("LoadKeys gives %v and %v", keys, err)
			}
		})
	}
}

func TestLoadKeysRefusesWhatItCannotUse(t *testing.T) {
	key := fixedKey(t, 1)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := pkcs8(t, key.private)
	tests := map[string]struct {
		name, text string
		mode       os.FileMode
		want       string // a part of the message that helps the operator
	}{
		"a group-readable file":  {keyFile, good, 0o640, "chmod 600"},
		"a world-readable file":  {keyFile, good, 0o604, "chmod 600"},
		"a group-writable file":  {keyFile, good, 0o620, "chmod 600"},
		"an executable for all":  {keyFile, good, 0o701, "chmod 600"},
		"an empty file":          {keyFile, "", 0o600, "not one PEM block"},
		"garbage":                {keyFile, "garbage\n", 0o600, "not one PEM block"},
		"a cut file":             {keyFile, good[:len(good)/2], 0o600, "not one PEM block"},
		"two keys":               {keyFile, good + good, 0o600, "not one PEM block"},
		"a key and text":         {keyFile, good + "text", 0o600, "not one PEM block"},
		"a broken block":         {keyFile, block("PRIVATE KEY", []byte("broken")), 0o600, "P-256"},
		"a broken SEC 1 block":   {keyFile, block("EC PRIVATE KEY", []byte("broken")), 0o600, "P-256"},
		"a public key":           {keyFile, block("PUBLIC KEY", public), 0o600, "P-256"},
		"an RSA key":             {keyFile, pkcs8(t, rsaKey), 0o600, "P-256"},
		"an RSA key as PKCS #1":  {keyFile, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), 0o600, "P-256"},
		"a P-384 key":            {keyFile, pkcs8(t, p384), 0o600, "P-256"},
		"a P-384 key as SEC 1":   {keyFile, sec1(t, p384), 0o600, "P-256"},
		"a name that is no time": {"signing.pem", good, 0o600, "rename it"},
		"a name without a zone":  {"20260102T030405.pem", good, 0o600, "rename it"},
		"a name of a false date": {"20260230T030405Z.pem", good, 0o600, "rename it"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "20260101T000000Z.pem", pkcs8(t, fixedKey(t, 2).private), 0o600)
			write(t, dir, test.name, test.text, test.mode)
			_, err := LoadKeys(dir)
			if err == nil {
				t.Fatal("there is no error: tokens of that key would be refused")
			}
			if message := err.Error(); !strings.Contains(message, filepath.Join(dir, test.name)) || !strings.Contains(message, test.want) {
				t.Errorf("the message must name the file and say %q: %s", test.want, message)
			}
		})
	}
}

func TestLoadKeysNamesEveryFault(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.pem", "", 0o600)
	write(t, dir, keyFile, "", 0o644)
	_, err := LoadKeys(dir)
	if err == nil || !strings.Contains(err.Error(), "a.pem") || !strings.Contains(err.Error(), keyFile) {
		t.Errorf("LoadKeys gives %v, want both files named", err)
	}
}

func TestLoadKeysPassesOverOtherFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, keyFile, pkcs8(t, fixedKey(t, 1).private), 0o600)
	write(t, dir, "refresh.secret", "x", 0o600)
	write(t, dir, "."+keyFile+"-123", "half-written", 0o600)
	if keys, err := LoadKeys(dir); err != nil || len(keys) != 1 {
		t.Errorf("LoadKeys gives %v and %v", keys, err)
	}
}

func TestFolderWithoutAKeyIsErrNoKeys(t *testing.T) {
	for name, dir := range map[string]string{"an empty folder": t.TempDir(), "no folder": filepath.Join(t.TempDir(), "none")} {
		if _, err := LoadKeys(dir); !errors.Is(err, ErrNoKeys) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want ErrNoKeys that names the folder", name, err)
		}
	}
}

func TestFolderMayHaveAnyName(t *testing.T) {
	for _, name := range []string{"[keys]", "keys[", "k*ys?", `back\slash`, "with space", "ключи", "%20"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			if err := fixedKey(t, 1).Save(dir); err != nil {
				t.Fatal(err)
			}
			if keys, err := LoadKeys(dir); err != nil || len(keys) != 1 {
				t.Errorf("LoadKeys gives %v and %v, want the key that was saved", keys, err)
			}
		})
	}
}

func TestSignerIsTheNewestWhoseTimeHasCome(t *testing.T) {
	var keys Keys
	for i, offset := range []time.Duration{-time.Hour, 0, time.Hour} {
		key := fixedKey(t, byte(i+1))
		key.SignsFrom = testTime.Add(offset)
		keys = append(keys, key)
	}
	for name, test := range map[string]struct {
		now  time.Duration
		want int
	}{
		"before all keys the oldest signs":  {-2 * time.Hour, 0},
		"at the oldest's time":              {-time.Hour, 0},
		"just before the second's time":     {-time.Nanosecond, 0},
		"at the second's time":              {0, 1},
		"between the second and the newest": {time.Minute, 1},
		"at the newest's time":              {time.Hour, 2},
		"long after":                        {24 * time.Hour, 2},
	} {
		if got := keys.Signer(testTime.Add(test.now)); got.ID != keys[test.want].ID {
			t.Errorf("%s: another key than number %d signs", name, test.want)
		}
	}
}

func TestSigningKeysDoNotPrint(t *testing.T) {
	key := fixedKey(t, 0xA7)
	now := testTime
	private, err := key.private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	issuer := newTestIssuer(t, &now, key)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(format, key) + fmt.Sprintf(format, &key) + fmt.Sprintf(format, Keys{key}) + fmt.Sprintf(format, issuer)
		for _, secret := range []string{
			new(big.Int).SetBytes(private).String()[:20], hex.EncodeToString(private[:8]), base64.StdEncoding.EncodeToString(private)[:10],
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows the private part: %s", format, text)
			}
		}
	}
	if text := key.String(); !strings.Contains(text, key.ID) {
		t.Errorf("String is %q and does not name the key", text)
	}
}
