package session_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/internal/session"
)

// party is one of the two who hold a session: its user, or who has copied the user's jar.
type party struct {
	name   string
	tokens []string // every refresh token it has held
	access []accessToken
	// usedAt is when it first used an access token that came with the successor of a refresh token.
	usedAt map[string]time.Time
	uses   int // how many of its access tokens were accepted, and how often
}

type accessToken struct {
	raw  string
	from string // the refresh token whose successor it came with; "" after a repeat
	gone bool   // the refresh token that it came for has been recovered since
}

func (p *party) jar() string { return p.tokens[len(p.tokens)-1] }

// thieves plays victim and thief on random replicas.
type thieves struct {
	w       *world
	t       *rapid.T
	parties []*party
}

func newThieves(t *rapid.T, w *world) *thieves {
	grant := w.login(t)
	s := &thieves{w: w, t: t}
	victim := &party{name: "victim", tokens: []string{grant.RefreshToken}, usedAt: map[string]time.Time{}}
	s.parties = []*party{victim}
	for range rapid.IntRange(0, 5).Draw(t, "steps before the theft") {
		w.clock.advance(pauses.Draw(t, "pause"))
		s.refresh(victim, victim.jar())
		s.useLast(victim)
	}
	s.parties = append(s.parties, &party{name: "thief", tokens: []string{victim.jar()}, usedAt: map[string]time.Time{}})
	return s
}

func (s *thieves) replica() *session.Service {
	return s.w.replicas[rapid.IntRange(0, len(s.w.replicas)-1).Draw(s.t, "replica")]
}

func (s *thieves) other(p *party) *party {
	for _, o := range s.parties {
		if o != p {
			return o
		}
	}
	return &party{}
}

// refresh presents a token and returns whether it was answered. It holds the first half of the property: a use of what
// one party got for a token makes the other's refresh with that token, outside the grace, the session's end.
func (s *thieves) refresh(p *party, presented string) bool {
	before := s.w.row(s.t, presented)
	grant, err := s.replica().Refresh(context.Background(), presented)
	after := s.w.row(s.t, presented)
	used, otherUsed := s.other(p).usedAt[presented]
	mustEnd := otherUsed && s.w.clock.Now().Sub(used) > grace
	if err != nil {
		if !errors.Is(err, session.ErrInvalidRefresh) {
			s.t.Fatalf("refresh: %v", err)
		}
		if !after.RevokedAt.Valid {
			s.t.Fatalf("the %s was refused and the session goes on", p.name)
		}
		return false
	}
	if mustEnd {
		s.t.Fatalf("the %s was answered %s after the other had used what it got for the same token", p.name, s.w.clock.Now().Sub(used))
	}
	token := accessToken{raw: grant.AccessToken}
	if grant.RefreshToken != "" {
		token.from = presented
		p.tokens = append(p.tokens, grant.RefreshToken)
	}
	if after.OldestGeneration > before.OldestGeneration {
		for _, anyone := range s.parties {
			for i := range anyone.access {
				anyone.access[i].gone = anyone.access[i].gone || anyone.access[i].from == presented
			}
		}
	}
	p.access = append(p.access, token)
	return true
}

// use presents an access token. It holds the other half: what was issued for a token before a recover with it is
// refused, at once and on every replica.
func (s *thieves) use(p *party, token accessToken) {
	if !s.accepted(token) {
		return
	}
	if token.gone {
		s.t.Fatalf("the %s's access token was accepted after a recover", p.name)
	}
	p.uses++
	if _, before := p.usedAt[token.from]; token.from != "" && !before {
		p.usedAt[token.from] = s.w.clock.Now()
	}
}

func (s *thieves) accepted(token accessToken) bool {
	_, err := s.replica().Authenticate(context.Background(), token.raw)
	if err != nil && !errors.Is(err, session.ErrInvalidAccess) {
		s.t.Fatalf("use: %v", err)
	}
	return err == nil
}

func (s *thieves) useLast(p *party) {
	if n := len(p.access); n > 0 {
		s.use(p, p.access[n-1])
	}
}

// dead wants every token that anybody ever held refused, from the revocation delay on.
func (s *thieves) dead() {
	s.w.clock.advance(delay)
	for _, p := range s.parties {
		for _, token := range p.tokens {
			if _, err := s.replica().Refresh(context.Background(), token); !errors.Is(err, session.ErrInvalidRefresh) {
				s.t.Fatalf("a refresh token of the %s after the end: %v", p.name, err)
			}
		}
		for _, token := range p.access {
			if s.accepted(token) {
				s.t.Fatalf("an access token of the %s was accepted after the end", p.name)
			}
		}
	}
}

// Two parties do as they please, with any token that they have held.
func TestPropertyAThiefIsSeen(t *testing.T) {
	w := newWorld(t, 2, nil)
	ends := 0
	rapid.Check(t, func(t *rapid.T) {
		s := newThieves(t, w)
		for range rapid.IntRange(2, 30).Draw(t, "steps") {
			w.clock.advance(pauses.Draw(t, "pause"))
			p := rapid.SampledFrom(s.parties).Draw(t, "party")
			switch rapid.IntRange(0, 3).Draw(t, "action") {
			case 0:
				s.useLast(p)
			case 1:
				if len(p.access) > 0 {
					s.use(p, rapid.SampledFrom(p.access).Draw(t, "access token"))
				}
			default:
				presented := p.jar()
				if rapid.IntRange(0, 4).Draw(t, "retry of an old one") == 0 {
					presented = rapid.SampledFrom(p.tokens).Draw(t, "token")
				}
				if !s.refresh(p, presented) {
					ends++
					s.dead()
					return
				}
			}
		}
	})
	if ends == 0 {
		t.Error("no history ended in the session's end: the test shows nothing")
	}
}

// A victim who refreshes every ten minutes, and a thief of each kind who stays outside the grace of those refreshes:
// the session ends, and everything that belongs to it. The patient one, which uses nothing before the victim's next
// refresh, either ends it too or never has an access token accepted.
func TestPropertyEachKindOfThiefEndsTheSession(t *testing.T) {
	for kind, rounds := range map[string]int{"greedy": 20, "patient": 3, "in lock step": 20, "at random": 20} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, 2, nil)
			rapid.Check(t, func(t *rapid.T) {
				s := newThieves(t, w)
				victim, thief := s.parties[0], s.parties[1]
				for range rounds {
					// The victim's turn comes at the full ten minutes, the thief's at any time in between.
					offset := rapid.IntRange(31, 569).Draw(t, "thief's offset")
					used := math.MaxInt // seconds after the thief's refresh, if within the round
					switch kind {
					case "greedy":
						used = 0
					case "in lock step":
						offset, used = 300, 0
					case "at random":
						used = rapid.SampledFrom([]int{0, 1, 31, math.MaxInt}).Draw(t, "used after")
					}
					w.clock.advance(time.Duration(offset) * time.Second)
					rest := time.Duration(600-offset) * time.Second
					if !s.refresh(thief, thief.jar()) {
						s.dead()
						return
					}
					if used != math.MaxInt && time.Duration(used)*time.Second < rest {
						w.clock.advance(time.Duration(used) * time.Second)
						rest -= time.Duration(used) * time.Second
						s.useLast(thief)
					}
					w.clock.advance(rest)
					if !s.refresh(victim, victim.jar()) {
						s.dead()
						return
					}
					s.useLast(victim)
					if kind == "patient" {
						w.clock.advance(time.Second)
						s.useLast(thief)
					}
				}
				if kind != "patient" || thief.uses > 0 {
					t.Fatalf("in %d rounds the thief was not seen, and had %d uses", rounds, thief.uses)
				}
			})
		})
	}
}

// The victim's answer is lost, or a thief was faster: the recover takes the value from what was issued before it.
func TestAThiefThatWaitsForTheRecoverFindsItsAccessTokenRefused(t *testing.T) {
	w := newWorld(t, 2, nil)
	grant := w.login(t)
	stolen := grant.RefreshToken
	thiefs := w.mustRefresh(t, stolen)
	w.clock.advance(grace + time.Millisecond)
	for _, replica := range w.replicas { // the old row is in every memory
		if _, err := replica.Authenticate(t.Context(), grant.AccessToken); err != nil {
			t.Fatal(err)
		}
	}
	victims := w.mustRefresh(t, stolen)
	for i, replica := range w.replicas {
		if _, err := replica.Authenticate(t.Context(), thiefs.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
			t.Errorf("replica %d on the thief's access token: %v, want a refusal", i, err)
		}
	}
	w.mustUse(t, victims.AccessToken)
}
