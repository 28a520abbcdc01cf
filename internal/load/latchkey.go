package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"

	"latchkey/internal/token"
)

// site is a place where the program under test runs: its settings, and a folder for what it keeps.
type site struct {
	program, folder, address, url, operations, database string
	on                                                  cores
	log                                                 *os.File
	settings                                            []string
}

// newSite makes a site with a database and an administrator, admin, in a folder of its own. database is "" for a file there.
func newSite(ctx context.Context, program, parent, name, database string, on cores) (*site, error) {
	s := &site{program: program, folder: filepath.Join(parent, name), database: database, on: on}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return nil, err
	}
	if database == "" {
		s.database = "sqlite:" + filepath.Join(s.folder, "latchkey.db")
	}
	var err error
	if s.log, err = os.Create(filepath.Join(s.folder, "log")); err != nil {
		return nil, err
	}
	if s.address, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if s.operations, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil, err
	}
	s.url = "http://localhost:" + port
	s.settings = []string{
		"LATCHKEY_ADDR=" + s.address, "LATCHKEY_OPS_ADDR=" + s.operations, "LATCHKEY_PUBLIC_URL=" + s.url, "LATCHKEY_DATABASE_URL=" + s.database,
		"LATCHKEY_KEYS_DIR=" + s.keys(), "LATCHKEY_LIMIT_LOGIN=off", "LATCHKEY_LIMIT_REGISTER=off", "LATCHKEY_LIMIT_REFRESH=off",
		"LATCHKEY_REFRESH_GRACE=0s", // each refresh rotates: within a grace the next one is told that it has the token already
	}
	if err := s.run(ctx, "", "migrate", "up"); err != nil {
		return nil, err
	}
	return s, s.run(ctx, password+"\n", "user", "create", "admin", "--role", "admin", "--password-stdin")
}

func (s *site) keys() string { return filepath.Join(s.folder, "keys") }

// run runs a command of the program's.
func (s *site) run(ctx context.Context, input string, arguments ...string) error {
	c := command(ctx, allCores, s.settings, append([]string{s.program}, arguments...)...)
	c.Stdin = strings.NewReader(input)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(arguments, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// start starts the server.
func (s *site) start(ctx context.Context) (*process, error) {
	p, err := start(ctx, s.on, s.log, s.settings, s.address, "/readyz", s.program, "serve")
	if err == nil {
		p.operations = s.operations
	}
	return p, err
}

// populate imports so many users, user-0 and on, who all have the password.
func (s *site) populate(ctx context.Context, users int) error {
	salt := []byte("a salt for tests")
	encode := base64.RawStdEncoding.EncodeToString
	hash := fmt.Sprintf("$argon2id$v=19$m=19456,t=2,p=1$%s$%s", encode(salt), encode(argon2.IDKey([]byte(password), salt, 2, 19*1024, 1, 32)))
	var lines bytes.Buffer
	for n := range users {
		fmt.Fprintf(&lines, "{\"username\": \"user-%d\", \"hash\": %q}\n", n, hash)
	}
	file := filepath.Join(s.folder, "users.jsonl")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		return err
	}
	return s.run(ctx, "", "user", "import", file)
}

// fill stores so many sessions, twenty for each user.
func (s *site) fill(ctx context.Context, sessions int) error {
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(s.database, "sqlite:"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	const numbers = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ?) "
	now := time.Now().UnixMilli()
	if _, err := db.ExecContext(ctx, numbers+`INSERT INTO users (id, username, canonical_name, password_hash, created_at)
		SELECT unhex(printf('%032d', i)), 'u' || i, 'u' || i, 'none', ? FROM numbers`, sessions/20, now); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, numbers+`INSERT INTO sessions (id, user_id, generation, oldest_generation, current_hash, issued_at, created_at,
			user_agent, ip)
		SELECT unhex(printf('%032d', i)), unhex(printf('%032d', 1 + (i - 1) / 20)), 1, 1, randomblob(32), ?, ?,
			'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '192.0.2.1' FROM numbers`, sessions, now, now)
	return err
}

// signedIn returns so many clients of users whom populate has made, or of one user, who have signed in.
func (s *site) signedIn(n int, name func(n int) string) ([]*client, error) {
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = newClient(s.address, name(i))
		if err := clients[i].login(); err != nil {
			return nil, fmt.Errorf("%s signs in: %w", name(i), err)
		}
	}
	return clients, nil
}

func user(n int) string { return fmt.Sprintf("user-%d", n) }

func admin(int) string { return "admin" }

// more makes n more access tokens for the session of one.
func (s *site) more(held string, n int) ([]string, error) {
	var claims struct {
		Subject    uuid.UUID `json:"sub"`
		Session    uuid.UUID `json:"sid"`
		Generation int       `json:"gen"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(held, ".")[1])
	if err = errors.Join(err, json.Unmarshal(payload, &claims)); err != nil {
		return nil, err
	}
	return s.sign(n, func(int) token.Access {
		return token.Access{UserID: claims.Subject, SessionID: claims.Session, Generation: claims.Generation, Roles: []string{"admin"}}
	})
}

// first makes the access tokens of the first n sessions of fill.
func (s *site) first(n int) ([]string, error) {
	return s.sign(n, func(i int) token.Access {
		return token.Access{UserID: filled(1 + i/20), SessionID: filled(1 + i), Generation: 1}
	})
}

// filled is the id of a row of fill.
func filled(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("%032d", n)) }

func (s *site) sign(n int, access func(i int) token.Access) ([]string, error) {
	keys, err := token.LoadKeys(s.keys())
	if err != nil {
		return nil, err
	}
	issuer, err := token.NewIssuer(keys, s.url, s.url, time.Now)
	if err != nil {
		return nil, err
	}
	list, expires := make([]string, n), time.Now().Add(token.MaxAccessTTL-time.Minute)
	for i := range list {
		a := access(i)
		a.ExpiresAt = expires
		if list[i], err = issuer.Sign(a); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// loadKey reads the one signing key of a folder.
func loadKey(folder string) (*ecdsa.PrivateKey, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.pem"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("%d keys in %s, want one: %w", len(files), folder, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	return jwt.ParseECPrivateKeyFromPEM(text)
}
