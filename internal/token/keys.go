// Package token owns the two credentials: access tokens (signed JWTs, their keys and the published key set) and
// refresh tokens (their format, their tag and how each is derived from the one before).
//
// It keeps no state and asks no database: what it guarantees is that a value it accepts was issued by this server for
// the session it names. Whether that session still lives is the session package's to say.
package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keyFileTime is how a key file's name says from when on the key signs, in UTC: 20260102T150405Z.pem.
const keyFileTime = "20060102T150405Z"

// retirementMargin is how much longer than its last token a key is kept.
const retirementMargin = time.Minute

// maxSecretFile bounds what is read of a file, in bytes: a PEM key has 250.
const maxSecretFile = 64 << 10

var (
	// ErrNoKeys says that a folder holds no signing key, or does not exist.
	ErrNoKeys = errors.New("no signing key")
	// ErrReplaced says that a file was replaced by another one meanwhile.
	ErrReplaced = errors.New("the file was replaced meanwhile")
)

// Key is an ES256 signing key.
type Key struct {
	// ID is the key's RFC 7638 thumbprint, the `kid` of its tokens.
	ID string
	// SignsFrom is when the key begins to sign, in UTC. It verifies from the moment it is loaded.
	SignsFrom time.Time

	private *ecdsa.PrivateKey
	header  string // the one header that its tokens have, base64url
}

// NewKey makes a key.
func NewKey(signsFrom time.Time) (Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make a signing key: %w", err)
	}
	return newKey(private, signsFrom)
}

func newKey(private *ecdsa.PrivateKey, signsFrom time.Time) (Key, error) {
	if private.Curve != elliptic.P256() {
		return Key{}, errors.New("the key is not on the curve P-256 that ES256 needs")
	}
	key := Key{SignsFrom: signsFrom.UTC(), private: private}
	public, err := key.jwk()
	if err != nil {
		return Key{}, err
	}
	// RFC 7638, section 3: the required members in lexical order, without white space.
	thumbprint := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`,
		public.Curve, public.KeyType, public.X, public.Y))
	key.ID = base64.RawURLEncoding.EncodeToString(thumbprint[:])
	header, err := json.Marshal(map[string]any{"alg": "ES256", "kid": key.ID, "typ": AccessType})
	if err != nil {
		return Key{}, fmt.Errorf("encode a token header: %w", err)
	}
	key.header = base64.RawURLEncoding.EncodeToString(header)
	return key, nil
}

// String names the key without showing it.
func (k Key) String() string { return "signing key " + k.ID }

// GoString keeps the private part out of %#v.
func (k Key) GoString() string { return k.String() }

// JWK is the public part of a key as RFC 7517 writes it. There is no member that could hold a private part.
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

func (k Key) jwk() (JWK, error) {
	point, err := k.private.PublicKey.Bytes() // 0x04 ‖ X ‖ Y
	if err != nil {
		return JWK{}, fmt.Errorf("encode a public key: %w", err)
	}
	return JWK{
		KeyType: "EC", Curve: "P-256",
		X: base64.RawURLEncoding.EncodeToString(point[1:33]), Y: base64.RawURLEncoding.EncodeToString(point[33:]),
		ID: k.ID, Algorithm: "ES256", Use: "sig",
	}, nil
}

// Keys are the signing keys of a server, oldest first. All of them verify; one signs.
type Keys []Key

// Signer returns the newest key whose time to sign has come, or the oldest if the clock stands before all of them.
func (k Keys) Signer(now time.Time) Key {
	for _, key := range slices.Backward(k) {
		if !key.SignsFrom.After(now) {
			return key
		}
	}
	return k[0]
}

// NeededUntil returns when the key at place i has no token left that verifies, with a margin for clocks that differ and
// for servers that learn late of the key that follows it. The newest key has no end: there must always be a signer.
func (k Keys) NeededUntil(i int) (end time.Time, ends bool) {
	if i == len(k)-1 {
		return time.Time{}, false
	}
	return k[i+1].SignsFrom.Add(MaxAccessTTL + Leeway + retirementMargin), true
}

// jwks encodes the public keys.
func (k Keys) jwks() ([]byte, error) {
	set := struct {
		Keys []JWK `json:"keys"`
	}{}
	for _, key := range k {
		public, err := key.jwk()
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, public)
	}
	return json.Marshal(set)
}

// LoadKeys reads every *.pem file of the folder, in order of the time at which each begins to sign. A folder without
// one is ErrNoKeys. A file that cannot be used, or that others than its owner may read, is an error that names the
// file and what to do; no key is passed over in silence, for its tokens would be refused.
func LoadKeys(dir string) (Keys, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for signing keys: %w", err)
	}
	var keys Keys
	var faults []error
	for _, entry := range files {
		if filepath.Ext(entry.Name()) != ".pem" || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		file := filepath.Join(dir, entry.Name())
		key, err := loadKey(file)
		if errors.Is(err, fs.ErrNotExist) && entry.Type().IsRegular() {
			continue // removed since the folder was read
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("signing key %s: %w", file, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 && faults == nil {
		return nil, fmt.Errorf("%w in %s", ErrNoKeys, dir)
	}
	slices.SortFunc(keys, func(a, b Key) int { return a.SignsFrom.Compare(b.SignsFrom) })
	return keys, errors.Join(faults...)
}

func loadKey(file string) (Key, error) {
	name := strings.TrimSuffix(filepath.Base(file), ".pem")
	signsFrom, err := time.Parse(keyFileTime, name)
	if err != nil || signsFrom.Format(keyFileTime) != name { // Parse takes fractions of a second, too
		return Key{}, errors.New("the name must say from when on the key signs, in UTC, like 20260102T150405Z.pem: rename it")
	}
	text, err := ReadSecret(file)
	if err != nil {
		return Key{}, err
	}
	block, rest := pem.Decode(text)
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return Key{}, errors.New("it is not one PEM block: restore it from a backup, or remove it and run `latchkey keys rotate`")
	}
	private, err := parsePrivate(block)
	if err != nil {
		return Key{}, fmt.Errorf("%w: it must hold an EC private key on P-256, as PKCS #8 or SEC 1", err)
	}
	return newKey(private, signsFrom)
}

func parsePrivate(block *pem.Block) (*ecdsa.PrivateKey, error) {
	if block.Type == "EC PRIVATE KEY" {
		return x509.ParseECPrivateKey(block.Bytes)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it holds a %T", parsed)
	}
	return private, nil
}

// Save writes the key into the folder, which it makes if need be: file 0600, folder 0700. It never overwrites a file:
// where one stands already, the error is fs.ErrExist.
func (k Key) Save(dir string) error {
	der, err := x509.MarshalPKCS8PrivateKey(crypto.PrivateKey(k.private))
	if err != nil {
		return fmt.Errorf("encode a signing key: %w", err)
	}
	return WriteSecret(dir, filepath.Base(k.File(dir)), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Remove takes the key's file out of the folder. It is no error if it is not there any more.
func (k Key) Remove(dir string) error {
	if err := os.Remove(k.File(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a signing key: %w", err)
	}
	return nil
}

// File is the path of the key's file in the folder.
func (k Key) File(dir string) string {
	return filepath.Join(dir, k.SignsFrom.Format(keyFileTime)+".pem")
}

// ReadSecret reads a file that WriteSecret wrote. One that others than its owner may use is refused: what is in it may
// be known.
func ReadSecret(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecretFile { // a pipe would be waited for without end
		return nil, fmt.Errorf("it is no regular file of at most %d bytes: remove it", maxSecretFile)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("others than its owner may use it (mode %04o): chmod 600 it", mode)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own folder, named in the settings
	if err != nil {
		return nil, fmt.Errorf("%w: make it readable for the user that runs latchkey", err)
	}
	return text, nil
}

// WriteSecret puts a file that only its owner may read into the folder, which it makes if need be, in one step: the
// file is there whole or not at all, even if the process is killed or another one does the same. A file that is there
// already stays as it is, and the error is fs.ErrExist.
func WriteSecret(dir, name string, content []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for secrets: %w", err)
	}
	temporary, err := writeTemporary(dir, name, content, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary) }()
	// A link, unlike a rename, does not replace what another process has put there in the meantime.
	if err := os.Link(temporary, filepath.Join(dir, name)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), fs.ErrExist)
		}
		return fmt.Errorf("write a secret: %w", err)
	}
	return syncFolder(dir)
}

// ReplaceSecret gives a file that is there, perhaps behind a symbolic link, another content in one step: whoever reads
// it gets the old or the new one, whole. The file keeps its mode, and belongs to whoever replaced it.
//
// seen is the file as it was when its old content was read. ErrReplaced: it is another one by now.
func ReplaceSecret(file string, seen fs.FileInfo, content []byte) error {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("replace a secret: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("replace a secret: %w", err)
	}
	dir := filepath.Dir(file)
	temporary, err := writeTemporary(dir, filepath.Base(file), content, info.Mode().Perm())
	if err != nil {
		return err
	}
	if now, err := os.Stat(file); err != nil || !os.SameFile(now, seen) {
		return errors.Join(ErrReplaced, err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, file); err != nil {
		return errors.Join(fmt.Errorf("replace a secret: %w", err), os.Remove(temporary))
	}
	return syncFolder(dir)
}

// writeTemporary writes a hidden file, for the caller to put in its place, and returns its path.
func writeTemporary(dir, name string, content []byte, mode fs.FileMode) (string, error) {
	file, err := os.CreateTemp(dir, "."+name+"-*") // CreateTemp makes it 0600
	if err != nil {
		return "", fmt.Errorf("write a secret: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write a secret: %w", err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// syncFolder makes sure that a power cut cannot undo what was done to the files of a folder.
func syncFolder(dir string) error {
	folder, err := os.Open(dir) //nolint:gosec // the operator's own folder, named in the settings
	if err != nil {
		return fmt.Errorf("write a secret: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
