package token

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// SecretSize is the length of a refresh secret, in bytes.
const SecretSize = 32

const (
	refreshTagSize = 16
	refreshSize    = 1 + 16 + SecretSize + refreshTagSize // 65 bytes
)

// RefreshLength is the length of an encoded refresh token, in characters.
const RefreshLength = 87

// ErrMalformedRefresh says that a value is not a refresh token that this server issued: wrong length or alphabet, an
// unknown key id, or a tag that does not verify. Such a value names no session, whatever session id it carries.
var ErrMalformedRefresh = errors.New("token: not a refresh token of this server")

// strictBase64 refuses set bits after the last full byte and line breaks, so that one token has one spelling.
var strictBase64 = base64.RawURLEncoding.Strict()

// Refresh is a refresh token whose tag has been verified, or a new one. docs/rotation.md describes the format.
type Refresh struct {
	SessionID uuid.UUID
	key       *refreshKey // a request ends with the key that it began with, whatever SetSecrets does meanwhile
	secret    [SecretSize]byte
}

// Hash is what the database keeps of the token: SHA-256 of its secret. The secret has 256 bits of entropy, so a plain
// hash is enough.
func (r Refresh) Hash() [sha256.Size]byte { return sha256.Sum256(r.secret[:]) }

// String keeps the secret out of logs.
func (r Refresh) String() string { return "refresh token of session " + r.SessionID.String() }

// GoString keeps the secret out of %#v.
func (r Refresh) GoString() string { return r.String() }

// RefreshSecret is one of the secrets behind refresh tokens.
type RefreshSecret struct {
	// Value has SecretSize bytes.
	Value []byte
	// UsedFrom is when new sessions begin to use it; the zero time is long ago. It is accepted before, too: another
	// replica's clock may be ahead.
	UsedFrom time.Time
}

// String keeps the secret out of logs.
func (s RefreshSecret) String() string {
	return "refresh secret used from " + s.UsedFrom.Format(time.RFC3339)
}

// GoString keeps the secret out of %#v.
func (s RefreshSecret) GoString() string { return s.String() }

// RefreshKeys makes, reads and succeeds refresh tokens. It holds the keys that are kept outside the database; whoever
// has the database alone, or these keys alone, has no token. It is safe for concurrent use.
type RefreshKeys struct {
	keys atomic.Pointer[[]*refreshKey] // newest first, at least one
	now  func() time.Time
}

type refreshKey struct {
	id              byte
	usedFrom        time.Time
	tag, next, name []byte
}

// String keeps the keys out of logs.
func (k *RefreshKeys) String() string { return fmt.Sprintf("%d refresh key(s)", len(*k.keys.Load())) }

// GoString keeps the keys out of %#v.
func (k *RefreshKeys) GoString() string { return k.String() }

// NewRefreshKeys derives the keys from secrets as SetSecrets takes them. now is the clock, for tests to set.
func NewRefreshKeys(secrets []RefreshSecret, now func() time.Time) (*RefreshKeys, error) {
	k := &RefreshKeys{now: now}
	if err := k.SetSecrets(secrets); err != nil {
		return nil, err
	}
	return k, nil
}

// SetSecrets replaces the secrets by one or more, newest first: new sessions use the first one whose time has come, and
// a session keeps the one that it began with. Key ids are derived from the secrets, not from their order, so adding one
// changes none of the others. Two secrets whose ids collide are refused (one chance in 256: make another one). After an
// error, all is as it was before.
func (k *RefreshKeys) SetSecrets(secrets []RefreshSecret) error {
	if len(secrets) == 0 {
		return errors.New("token: no refresh secret")
	}
	keys := make([]*refreshKey, len(secrets))
	for i, secret := range secrets {
		if len(secret.Value) != SecretSize {
			return fmt.Errorf("token: refresh secret %d has %d bytes, want %d", i+1, len(secret.Value), SecretSize)
		}
		keys[i] = &refreshKey{
			id:       derive(secret.Value, "latchkey refresh key id", 1)[0],
			usedFrom: secret.UsedFrom,
			tag:      derive(secret.Value, "latchkey refresh tag", sha256.Size),
			next:     derive(secret.Value, "latchkey refresh successor", sha256.Size),
			name:     derive(secret.Value, "latchkey name hash", sha256.Size),
		}
		if find(keys[:i], keys[i].id) != nil {
			return fmt.Errorf("token: refresh secret %d has the same key id as one before it: replace the newer of the two", i+1)
		}
	}
	k.keys.Store(&keys)
	return nil
}

// InUse returns the place, from 0, of the secret that new sessions use now: the first one whose time has come, or the
// last one if none has.
func (k *RefreshKeys) InUse() int { return due(*k.keys.Load(), k.now()) }

func due(keys []*refreshKey, now time.Time) int {
	i := slices.IndexFunc(keys, func(key *refreshKey) bool { return !key.usedFrom.After(now) })
	if i < 0 {
		return len(keys) - 1
	}
	return i
}

func (k *RefreshKeys) inUse() *refreshKey {
	keys := *k.keys.Load()
	return keys[due(keys, k.now())]
}

// find returns the key with an id, or nil.
func find(keys []*refreshKey, id byte) *refreshKey {
	for _, key := range keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

func derive(secret []byte, purpose string, size int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, size)
	if err != nil {
		panic(err) // only for sizes beyond 255 hashes
	}
	return key
}

// First makes the first token of a session from crypto/rand.
func (k *RefreshKeys) First(session uuid.UUID) Refresh {
	r := Refresh{SessionID: session, key: k.inUse()}
	_, _ = rand.Read(r.secret[:]) // never fails: it ends the program rather than return weak bytes
	return r
}

// Successor derives the token that follows r: always the same one, on every replica and at any time, so that a retry
// gets what the first attempt got although no secret is stored.
func (k *RefreshKeys) Successor(r Refresh) Refresh {
	next := Refresh{SessionID: r.SessionID, key: r.key}
	copy(next.secret[:], mac(r.key.next, r))
	return next
}

// Encode returns the token as the client holds it: 87 characters of unpadded base64url.
func (k *RefreshKeys) Encode(r Refresh) string {
	b := make([]byte, 0, refreshSize)
	b = append(b, r.key.id)
	b = append(b, r.SessionID[:]...)
	b = append(b, r.secret[:]...)
	b = append(b, tag(r)...)
	return strictBase64.EncodeToString(b)
}

// Parse reads a token that Encode made. Anything else is ErrMalformedRefresh, found without any query.
func (k *RefreshKeys) Parse(s string) (Refresh, error) {
	// The length is checked first: DecodeString's work and memory grow with its input, and it skips line breaks.
	if len(s) != RefreshLength {
		return Refresh{}, ErrMalformedRefresh
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil || len(b) != refreshSize {
		return Refresh{}, ErrMalformedRefresh
	}
	r := Refresh{key: find(*k.keys.Load(), b[0]), SessionID: uuid.UUID(b[1:17])}
	copy(r.secret[:], b[17:17+SecretSize])
	if r.key == nil {
		return Refresh{}, ErrMalformedRefresh
	}
	// In constant time: a byte-wise comparison would tell a forger how many bytes of the tag are right.
	if !hmac.Equal(b[17+SecretSize:], tag(r)) {
		return Refresh{}, ErrMalformedRefresh
	}
	return r, nil
}

// NameHash stands for a user name where the name itself should not be kept: a name that nobody has may be a password
// typed into the wrong field. It is HMAC-SHA-256 under a key of the secret in use, so that without that secret nobody
// can try out names, and all replicas agree; with another secret in use the same name has another hash.
func (k *RefreshKeys) NameHash(canonicalName string) [sha256.Size]byte {
	return k.inUse().hash(canonicalName)
}

// NameHashes returns the hashes of a name under all secrets, in use or not.
func (k *RefreshKeys) NameHashes(canonicalName string) [][sha256.Size]byte {
	keys := *k.keys.Load()
	hashes := make([][sha256.Size]byte, len(keys))
	for i, key := range keys {
		hashes[i] = key.hash(canonicalName)
	}
	return hashes
}

func (key *refreshKey) hash(canonicalName string) [sha256.Size]byte {
	h := hmac.New(sha256.New, key.name)
	h.Write([]byte(canonicalName))
	return [sha256.Size]byte(h.Sum(nil))
}

func tag(r Refresh) []byte { return mac(r.key.tag, r)[:refreshTagSize] }

// mac is HMAC-SHA-256(key, key id ‖ session id ‖ secret).
func mac(key []byte, r Refresh) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte{r.key.id})
	h.Write(r.SessionID[:])
	h.Write(r.secret[:])
	return h.Sum(nil)
}

// NewSecret makes a refresh secret of SecretSize random bytes.
func NewSecret() []byte {
	secret := make([]byte, SecretSize)
	_, _ = rand.Read(secret) // never fails: it ends the program rather than return weak bytes
	return secret
}
