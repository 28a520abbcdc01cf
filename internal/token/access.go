package token

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// AccessType is the `typ` of an access token, by RFC 9068. A token of any other type is refused, so that none
	// issued for another purpose passes for one.
	AccessType = "at+jwt"
	// ClientID is the `client_id` of every token: the first-party application in front of this server.
	ClientID = "latchkey"
	// MaxAccessTTL bounds an access token's life, also for one that was validly signed.
	MaxAccessTTL = 15 * time.Minute
	// MaxAccessLength bounds an access token, in bytes, before anything of it is looked at.
	MaxAccessLength = 4096
	// Leeway is how far the clocks of two servers may differ.
	Leeway = 30 * time.Second
)

// ErrInvalidAccess says that a value is not an access token that this server accepts. It is the only error of Verify:
// a caller that could tell causes apart could tell them to a forger.
var ErrInvalidAccess = errors.New("token: not a valid access token")

// Access is what an access token says.
type Access struct {
	// ID is the token's own id, `jti`.
	ID        uuid.UUID
	UserID    uuid.UUID
	SessionID uuid.UUID
	// Generation is the issue within the session that the token came with, from 1.
	Generation int
	// Roles are the user's when the token was issued. They are for other services: this server reads the roles as
	// they stand now.
	Roles []string
	// ExpiresAt has whole seconds, as a JWT has.
	ExpiresAt time.Time
}

// claims is the payload, member by member. Times are whole seconds since 1970.
type claims struct {
	Issuer     string    `json:"iss"`
	Subject    uuid.UUID `json:"sub"`
	Audience   []string  `json:"aud"`
	ExpiresAt  int64     `json:"exp"`
	NotBefore  int64     `json:"nbf"`
	IssuedAt   int64     `json:"iat"`
	ID         uuid.UUID `json:"jti"`
	SessionID  uuid.UUID `json:"sid"`
	Generation int       `json:"gen"`
	ClientID   string    `json:"client_id"`
	Roles      []string  `json:"roles"`
}

// jwtClaims is claims as golang-jwt wants them.
type jwtClaims struct{ claims }

// UnmarshalJSON is strict, so that a token says one thing to everybody who reads it: no member twice, none in another
// case, none unknown, no text where a number belongs.
func (p *jwtClaims) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &p.claims, json.RejectUnknownMembers(true))
}

// MarshalJSON encodes the claims.
func (p jwtClaims) MarshalJSON() ([]byte, error) { return json.Marshal(p.claims) }

func (p jwtClaims) GetExpirationTime() (*jwt.NumericDate, error) { return date(p.ExpiresAt) }
func (p jwtClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return date(p.IssuedAt) }
func (p jwtClaims) GetNotBefore() (*jwt.NumericDate, error)      { return date(p.NotBefore) }
func (p jwtClaims) GetIssuer() (string, error)                   { return p.Issuer, nil }
func (p jwtClaims) GetSubject() (string, error)                  { return p.Subject.String(), nil }
func (p jwtClaims) GetAudience() (jwt.ClaimStrings, error)       { return p.Audience, nil }

func date(seconds int64) (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(seconds, 0)), nil
}

// Issuer signs and verifies access tokens. It is safe for concurrent use.
type Issuer struct {
	keys     atomic.Pointer[keySet]
	issuer   string
	audience string
	now      func() time.Time
	parser   *jwt.Parser
	// validator is the part of parser that checks the claims.
	validator *jwt.Validator
}

// keySet is what follows from the keys, computed once.
type keySet struct {
	keys     Keys
	byHeader map[string]Key
	jwks     []byte
	// verified are the tokens whose signature by one of the keys has been verified, by SHA-256 of the whole token. Only such
	// a token gets in, so nobody else can fill it, and when the keys change it begins anew. What depends on the time is
	// checked at each use.
	verified *lru.Cache[[sha256.Size]byte, claims]
}

// maxVerified bounds the tokens that are remembered, to some 20 MiB. Beyond it, those not seen for longest cost a verification again.
const maxVerified = 50_000

// NewIssuer makes an Issuer of keys as SetKeys takes them. now is the clock, for tests to set.
func NewIssuer(keys Keys, issuer, audience string, now func() time.Time) (*Issuer, error) {
	i := &Issuer{issuer: issuer, audience: audience, now: now}
	if err := i.SetKeys(keys); err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}),
		jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithNotBeforeRequired(),
		jwt.WithLeeway(Leeway), jwt.WithStrictDecoding(), jwt.WithTimeFunc(now),
	}
	i.parser, i.validator = jwt.NewParser(options...), jwt.NewValidator(options...)
	return i, nil
}

// SetKeys replaces the keys by at least one, oldest first. From then on tokens of any other key are refused. After an
// error, all is as it was before.
func (i *Issuer) SetKeys(keys Keys) error {
	if len(keys) == 0 {
		return ErrNoKeys
	}
	jwks, err := keys.jwks()
	if err != nil {
		return err
	}
	verified, err := lru.New[[sha256.Size]byte, claims](maxVerified)
	if err != nil {
		return fmt.Errorf("make room for verified tokens: %w", err)
	}
	set := &keySet{keys: slices.Clone(keys), byHeader: make(map[string]Key, len(keys)), jwks: jwks, verified: verified}
	for _, key := range keys {
		if _, twice := set.byHeader[key.header]; twice {
			return fmt.Errorf("%s is there twice: remove the file with the later time", key)
		}
		set.byHeader[key.header] = key
	}
	i.keys.Store(set)
	return nil
}

// JWKS returns the public key set of RFC 7517, as served at /.well-known/jwks.json. The caller must not change it.
func (i *Issuer) JWKS() []byte { return i.keys.Load().jwks }

// Sign issues an access token that expires at a.ExpiresAt. Its ID is made here.
func (i *Issuer) Sign(a Access) (string, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make a token id: %w", err)
	}
	now := i.now()
	key := i.keys.Load().keys.Signer(now)
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwtClaims{claims{
		Issuer: i.issuer, Subject: a.UserID, Audience: []string{i.audience},
		ExpiresAt: a.ExpiresAt.Unix(), NotBefore: now.Unix(), IssuedAt: now.Unix(),
		ID: id, SessionID: a.SessionID, Generation: a.Generation, ClientID: ClientID, Roles: a.Roles,
	}})
	t.Header["typ"] = AccessType
	t.Header["kid"] = key.ID
	signed, err := t.SignedString(key.private)
	if err != nil {
		return "", fmt.Errorf("sign an access token: %w", err)
	}
	return signed, nil
}

// Verify reads an access token that Sign made and that is in force now. Anything else is ErrInvalidAccess. A token that was
// verified before costs a hash.
func (i *Issuer) Verify(raw string) (Access, error) {
	if len(raw) > MaxAccessLength {
		return Access{}, ErrInvalidAccess
	}
	set, key := i.keys.Load(), sha256.Sum256([]byte(raw))
	c, known := set.verified.Get(key)
	if known {
		if err := i.validator.Validate(jwtClaims{c}); err != nil {
			return Access{}, ErrInvalidAccess
		}
		return c.access(), nil
	}
	c, err := i.verify(set, raw, i.parser)
	if err != nil {
		return Access{}, err
	}
	set.verified.Add(key, c)
	return c.access(), nil
}

// VerifyIgnoringTime is Verify for a token that may have expired: good enough to end the session that it names, and
// for nothing else.
func (i *Issuer) VerifyIgnoringTime(raw string) (Access, error) {
	c, err := i.verify(i.keys.Load(), raw, jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodES256.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()))
	if err != nil {
		return Access{}, err
	}
	return c.access(), nil
}

func (i *Issuer) verify(set *keySet, raw string, parser *jwt.Parser) (claims, error) {
	if len(raw) > MaxAccessLength || strings.Count(raw, ".") != 2 || !isTokenAlphabet(raw) {
		return claims{}, ErrInvalidAccess
	}
	// The header is not interpreted but compared: each key's tokens have one header, byte for byte. Everything that a
	// forger could say there (another algorithm, a key of their own, a path for a kid, crit) is just not that header.
	header, _, _ := strings.Cut(raw, ".")
	key, known := set.byHeader[header]
	if !known {
		return claims{}, ErrInvalidAccess
	}
	var p jwtClaims
	_, err := parser.ParseWithClaims(raw, &p, func(*jwt.Token) (any, error) { return &key.private.PublicKey, nil })
	if err != nil || !p.wellFormed(i) {
		return claims{}, ErrInvalidAccess
	}
	return p.claims, nil
}

func (c claims) access() Access {
	return Access{
		ID: c.ID, UserID: c.Subject, SessionID: c.SessionID, Generation: c.Generation, Roles: c.Roles,
		ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(),
	}
}

// wellFormed checks what the library leaves unchecked, or checks only where it validates the claims.
func (c claims) wellFormed(i *Issuer) bool {
	return c.Issuer == i.issuer && len(c.Audience) == 1 && c.Audience[0] == i.audience && c.ClientID == ClientID &&
		c.Subject != uuid.Nil && c.ID != uuid.Nil && c.SessionID != uuid.Nil && c.Generation >= 1 &&
		0 < c.IssuedAt && c.IssuedAt <= c.ExpiresAt && c.ExpiresAt-c.IssuedAt <= int64(MaxAccessTTL/time.Second) &&
		0 < c.NotBefore && c.NotBefore <= c.ExpiresAt
}

// isTokenAlphabet keeps out line breaks, which even strict base64 decoding skips.
func isTokenAlphabet(s string) bool {
	for _, c := range []byte(s) {
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
		if !ok {
			return false
		}
	}
	return true
}
