package session_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/internal/session"
	"latchkey/internal/store/storetest"
	"latchkey/internal/token"
)

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func decode(t tester, refreshToken string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(refreshToken)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// keysWithTheSameID makes the keys of another secret whose key id happens to be that of the world's.
func keysWithTheSameID(t tester, w *world, refreshToken string) *token.RefreshKeys {
	t.Helper()
	for {
		keys, err := token.NewRefreshKeys([]token.RefreshSecret{{Value: token.NewSecret()}}, w.clock.Now)
		if err != nil {
			t.Fatal(err)
		}
		if decode(t, keys.Encode(keys.First(w.sessionID(t, refreshToken))))[0] == decode(t, refreshToken)[0] {
			return keys
		}
	}
}

// A session is in the middle of its life, with a current and a parent token. What the server did not issue neither
// reads nor writes anything, whatever session it names.
func TestPropertyJunkIsHarmless(t *testing.T) {
	w := newWorld(t, 1, nil)
	oldest := w.login(t).RefreshToken
	parent := w.mustRefresh(t, oldest).RefreshToken
	w.clock.advance(3*grace + time.Millisecond)
	current := w.mustRefresh(t, parent).RefreshToken
	w.clock.advance(3*grace + time.Millisecond)
	issued := []string{oldest, parent, current}
	foreign := keysWithTheSameID(t, w, current)
	before := w.dump(t)
	if w.counts != nil {
		w.counts.Take()
	}

	rapid.Check(t, func(t *rapid.T) {
		valid := rapid.SampledFrom(issued).Draw(t, "token")
		bytes16 := rapid.SliceOfN(rapid.Byte(), 16, 16)
		junk := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[A-Za-z0-9_-]{87}`),
			rapid.Custom(func(t *rapid.T) string { // one character is another
				changed := []byte(valid)
				changed[rapid.IntRange(0, len(changed)-1).Draw(t, "place")] = base64url[rapid.IntRange(0, 63).Draw(t, "character")]
				return string(changed)
			}),
			rapid.Custom(func(t *rapid.T) string { // one bit is another
				raw := decode(t, valid)
				bit := rapid.IntRange(0, len(raw)*8-1).Draw(t, "bit")
				raw[bit/8] ^= 1 << (bit % 8)
				return base64.RawURLEncoding.EncodeToString(raw)
			}),
			rapid.Custom(func(t *rapid.T) string { // the right session and secret under a wrong tag
				raw := decode(t, valid)
				return base64.RawURLEncoding.EncodeToString(append(raw[:49], bytes16.Draw(t, "tag")...))
			}),
			rapid.Custom(func(t *rapid.T) string { // the secret of one token under the tag of another
				raw, other := decode(t, valid), decode(t, rapid.SampledFrom(issued).Draw(t, "other"))
				return base64.RawURLEncoding.EncodeToString(append(raw[:49], other[49:]...))
			}),
			rapid.Custom(func(t *rapid.T) string { // cut off, or something added
				n := rapid.IntRange(0, len(valid)).Draw(t, "length")
				return rapid.SampledFrom([]string{valid[:n], valid + valid[:n], valid + "=", " " + valid, valid + "\n"}).Draw(t, "form")
			}),
			rapid.Just(foreign.Encode(foreign.First(w.sessionID(t, valid)))), // well formed, by another server
		).Filter(func(s string) bool { return s != oldest && s != parent && s != current }).Draw(t, "junk")

		if _, err := w.replicas[0].Refresh(context.Background(), junk); !errors.Is(err, session.ErrInvalidRefresh) {
			t.Fatalf("refresh: %v, want ErrInvalidRefresh", err)
		}
		if err := w.replicas[0].Logout(context.Background(), junk, junk); err != nil {
			t.Fatalf("logout: %v", err)
		}
		if _, err := w.replicas[0].Authenticate(context.Background(), junk); !errors.Is(err, session.ErrInvalidAccess) {
			t.Fatalf("authenticate: %v, want ErrInvalidAccess", err)
		}
		if w.counts == nil {
			return
		}
		if got := w.counts.Take(); got != (storetest.Count{}) {
			t.Fatalf("junk cost %+v", got)
		}
	})
	wantUnchanged(t, w, before)
	if grant := w.mustRefresh(t, current); grant.RefreshToken == "" {
		t.Error("the session does not go on as it would have")
	}
}

// refreshTokens plays a session through every outcome and returns all its refresh tokens, the current one last.
func refreshTokens(t *testing.T, w *world) []string {
	t.Helper()
	held := []string{w.login(t).RefreshToken}
	for i := range 12 {
		presented := held[len(held)-1]
		if grant := w.mustRefresh(t, presented); grant.RefreshToken != "" {
			held = append(held, grant.RefreshToken)
		}
		if i%2 == 0 {
			w.clock.advance(grace + time.Millisecond)
			w.mustRefresh(t, presented)
		}
		w.mustUse(t, w.mustRefresh(t, held[len(held)-1]).AccessToken)
		w.clock.advance(grace + time.Millisecond)
	}
	return held
}

// stored returns what a thief of the database gets: SQLite's files, which also hold what was changed since, or SQL
// Server's rows.
func (w *world) stored(t *testing.T) []byte {
	t.Helper()
	path, isFile := strings.CutPrefix(w.url, "sqlite:")
	if !isFile {
		var all []byte
		for _, line := range w.dump(t) {
			for field := range strings.FieldsSeq(strings.Trim(line, "[]")) {
				if value, err := hex.DecodeString(field); err == nil { // else it is null
					all = append(all, value...)
				}
			}
		}
		return all
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("the database's files: %v, %v", files, err)
	}
	var all []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	return all
}

func TestPropertyNothingToStealAtRest(t *testing.T) {
	w := newWorld(t, 1, nil)
	held := refreshTokens(t, w)
	if len(held) < 5 {
		t.Fatalf("only %d tokens were issued", len(held))
	}
	stored := w.stored(t)
	row := w.row(t, held[0])
	if !bytes.Contains(stored, row.CurrentHash) || !bytes.Contains(stored, row.ID[:]) {
		t.Fatal("this does not hold the rows: looking for secrets in it proves nothing")
	}
	for i, refreshToken := range held {
		raw := decode(t, refreshToken)
		secret, tag := raw[17:49], raw[49:]
		for name, part := range map[string][]byte{"secret": secret, "tag": tag} {
			for from := range len(part) - 7 { // any eight bytes
				for form, text := range map[string][]byte{
					"as it is": part[from : from+8], "in hex": []byte(hex.EncodeToString(part[from : from+8])),
				} {
					if bytes.Contains(stored, text) {
						t.Errorf("token %d: bytes %d to %d of the %s are stored %s", i, from, from+7, name, form)
					}
				}
			}
		}
		for from := 24; from+12 <= len(refreshToken); from++ { // beyond key id and session id
			if bytes.Contains(stored, []byte(refreshToken[from:from+12])) {
				t.Errorf("token %d: characters %d to %d are stored", i, from, from+11)
			}
		}
	}
	if bytes.Contains(stored, w.secret) {
		t.Error("the refresh secret is stored")
	}
}

// A thief of the database puts what is stored where the secret should be: without the keys there is no tag for it, and
// even with the keys it is not what the row holds the hash of.
func TestPropertyStoredHashesAreNotTokens(t *testing.T) {
	w := newWorld(t, 1, nil)
	held := refreshTokens(t, w)
	current := decode(t, held[len(held)-1])
	row := w.row(t, held[0])
	key, err := hkdf.Key(sha256.New, w.secret, nil, "latchkey refresh tag", sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	tagged := func(body []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(body)
		return append(bytes.Clone(body), mac.Sum(nil)[:16]...)
	}
	if !bytes.Equal(tagged(current[:49]), current) {
		t.Fatal("the tag is not the one that docs/rotation.md describes")
	}
	before := w.dump(t)
	for name, hash := range map[string][]byte{"current": row.CurrentHash, "parent": row.ParentHash} {
		body := append(bytes.Clone(current[:17]), hash...)
		again := sha256.Sum256(hash)
		for form, raw := range map[string][]byte{
			"with the tag of a token that was issued": append(bytes.Clone(body), current[49:]...),
			"with the hash's own bytes for a tag":     append(bytes.Clone(body), hash[:16]...),
			"with a hash of the hash for a tag":       append(bytes.Clone(body), again[:16]...),
			"with no tag":                             append(bytes.Clone(body), make([]byte, 16)...),
		} {
			if _, err := w.replicas[0].Refresh(t.Context(), base64.RawURLEncoding.EncodeToString(raw)); !errors.Is(err, session.ErrInvalidRefresh) {
				t.Errorf("the %s hash %s: %v", name, form, err)
			}
		}
		wantUnchanged(t, w, before)
	}
	forged := tagged(append(bytes.Clone(current[:17]), row.CurrentHash...))
	if _, err := w.replicas[0].Refresh(t.Context(), base64.RawURLEncoding.EncodeToString(forged)); !errors.Is(err, session.ErrInvalidRefresh) {
		t.Errorf("the current hash with a right tag: %v", err)
	}
}

// At most one read and one conditional write, without a transaction, whatever the session's age and outcome.
func TestPropertyFlatCost(t *testing.T) {
	w := newCountedWorld(t, nil)
	for range 200 { // a table that is not empty
		w.login(t)
	}
	rapid.Check(t, func(t *rapid.T) {
		grant := w.login(t)
		held := []string{grant.RefreshToken}
		for range rapid.IntRange(1, 15).Draw(t, "refreshes") {
			w.clock.advance(pauses.Draw(t, "pause"))
			presented := held[len(held)-1]
			if rapid.IntRange(0, 3).Draw(t, "retry") == 0 {
				presented = rapid.SampledFrom(held[max(0, len(held)-2):]).Draw(t, "token")
			}
			w.counts.Take()
			grant, err := w.replicas[0].Refresh(context.Background(), presented)
			if got := w.counts.Take(); got.Reads > 1 || got.Writes > 1 || got.Explicit > 0 {
				t.Fatalf("a refresh cost %+v", got)
			}
			if err != nil {
				return
			}
			if grant.RefreshToken != "" {
				held = append(held, grant.RefreshToken)
			}
			if rapid.Bool().Draw(t, "used") {
				w.mustUse(t, grant.AccessToken)
			}
		}
	})
}

func TestWhatEachOutcomeCosts(t *testing.T) {
	w := newCountedWorld(t, nil)
	cost := func(name, presented string, want storetest.Count) session.Grant {
		t.Helper()
		w.counts.Take()
		grant, _ := w.replicas[0].Refresh(t.Context(), presented) // the outcomes are tested elsewhere
		if got := w.counts.Take(); got != want {
			t.Errorf("%s cost %+v, want %+v", name, got, want)
		}
		return grant
	}
	first := w.login(t).RefreshToken
	second := cost("rotate", first, storetest.Count{Reads: 1, Writes: 1}).RefreshToken
	cost("replay", first, storetest.Count{Reads: 1})
	w.clock.advance(grace + time.Millisecond)
	cost("recover", first, storetest.Count{Reads: 1, Writes: 1})
	cost("repeat that acknowledges", second, storetest.Count{Reads: 1, Writes: 1})
	cost("repeat", second, storetest.Count{Reads: 1})
	w.clock.advance(grace + time.Millisecond)
	cost("reuse", first, storetest.Count{Reads: 1, Writes: 1})
	cost("a refusal", second, storetest.Count{Reads: 1})
}
