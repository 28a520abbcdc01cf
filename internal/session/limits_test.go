package session_test

import (
	"errors"
	"testing"
	"time"

	"latchkey/internal/session"
)

// The tests in this file hold on to where the protocol's promises end, so that the documents cannot promise more.

// A client keeps its session as long as each request and its answer together take no longer than the grace. A bound on
// the requests alone is not enough: a late answer puts an old cookie back into the jar.
func TestLimitAnAnswerThatArrivesLaterThanTheGraceCanLogOut(t *testing.T) {
	w := newWorld(t, 1, nil)
	first := w.login(t).RefreshToken
	second := w.mustRefresh(t, first)
	late := w.mustRefresh(t, first) // a duplicate, whose answer is still on its way
	w.mustUse(t, second.AccessToken)

	w.clock.advance(grace + time.Millisecond)
	third := w.mustRefresh(t, second.RefreshToken)
	w.mustUse(t, third.AccessToken)
	jar := third.RefreshToken
	if late.RefreshToken == jar {
		t.Fatal("the late answer must carry an old token")
	}
	jar = late.RefreshToken // now it arrives

	w.clock.advance(grace + time.Millisecond)
	if _, err := w.replicas[0].Refresh(t.Context(), jar); !errors.Is(err, session.ErrInvalidRefresh) {
		t.Errorf("refresh with the token of the late answer: %v, want a refusal", err)
	}
	if row := w.row(t, jar); row.RevokedReason != string(session.Reuse) {
		t.Errorf("the session was revoked for %q, want reuse", row.RevokedReason)
	}
}

// A slow answer and another tab's slow request add up to three graces after the issue: until then the new token is not
// rotated, for the other tab's would become an older one. Each round trip here takes no longer than the grace.
func TestASlowAnswerAndAnotherSlowRequestDoNotLogOut(t *testing.T) {
	w := newWorld(t, 1, nil)
	first := w.mustRefresh(t, w.login(t).RefreshToken)
	w.mustUse(t, first.AccessToken)
	w.clock.advance(grace + time.Millisecond)

	w.mustRefresh(t, first.RefreshToken) // at 0: its answer is lost
	w.clock.advance(grace)
	slow := w.mustRefresh(t, first.RefreshToken) // at 30 s: a replay, whose answer takes 30 s
	w.clock.advance(grace)                       // at 60 s another tab sends first.RefreshToken; then the answer comes
	w.clock.advance(time.Millisecond)            // at 60.001 s the jar's token comes in
	if again := w.mustRefresh(t, slow.RefreshToken); again.RefreshToken != "" {
		t.Error("the token was rotated while its parent was under way")
	}
	w.clock.advance(grace - time.Millisecond) // at 90 s the other tab's request arrives, 30 s under way
	if late := w.mustRefresh(t, first.RefreshToken); late.RefreshToken != slow.RefreshToken {
		t.Error("the late request got another successor")
	}
}

// A browser that crashes may come up with the cookies of half a minute ago, which is the same as a late answer.
func TestLimitAJarRestoredFromBeforeAnAcknowledgedRefreshLogsOut(t *testing.T) {
	w := newWorld(t, 1, nil)
	onDisk := w.login(t).RefreshToken
	w.mustUse(t, w.mustRefresh(t, onDisk).AccessToken)
	w.clock.advance(grace)
	w.mustRefresh(t, onDisk) // within the grace it is a replay
	w.clock.advance(time.Millisecond)
	if _, err := w.replicas[0].Refresh(t.Context(), onDisk); !errors.Is(err, session.ErrInvalidRefresh) {
		t.Errorf("refresh: %v, want a refusal", err)
	}
}

// A repeat brings an access token but no successor, so using it shows nothing: whoever comes next with the same token
// rotates. Only from then on do the two differ.
func TestLimitTheUseOfARepeatDoesNotShowAThief(t *testing.T) {
	w := newWorld(t, 1, nil)
	stolen := w.mustRefresh(t, w.login(t).RefreshToken).RefreshToken
	repeat := w.mustRefresh(t, stolen)
	if repeat.RefreshToken != "" {
		t.Fatal("a repeat carries no refresh token")
	}
	w.mustUse(t, repeat.AccessToken) // the thief's

	w.clock.advance(grace + time.Millisecond)
	victims := w.mustRefresh(t, stolen)
	w.mustUse(t, victims.AccessToken)
	w.clock.advance(grace + time.Millisecond)
	if _, err := w.replicas[0].Refresh(t.Context(), stolen); !errors.Is(err, session.ErrInvalidRefresh) {
		t.Errorf("the thief's next refresh: %v, want a refusal", err)
	}
}

// A thief who knows to the half minute when the victim refreshes looks like a second tab, for as long as that lasts.
// Without a grace it is seen at once.
func TestLimitAThiefWithinTheGraceOfEachRefreshIsNotSeen(t *testing.T) {
	for name, tc := range map[string]struct {
		grace time.Duration
		seen  bool
	}{"with a grace": {grace, false}, "without": {0, true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, func(o *session.Options) { o.Grace = tc.grace })
			victim := w.login(t).RefreshToken
			thief := victim
			for range 100 {
				w.clock.advance(10 * time.Minute)
				answer := w.mustRefresh(t, victim)
				w.mustUse(t, answer.AccessToken)
				victim = answer.RefreshToken

				w.clock.advance(20 * time.Second)
				answer, err := w.replicas[0].Refresh(t.Context(), thief)
				if err != nil {
					if !tc.seen {
						t.Fatalf("the thief was seen: %v", err)
					}
					return
				}
				w.mustUse(t, answer.AccessToken)
				thief = answer.RefreshToken
			}
			if tc.seen {
				t.Error("the thief was never seen")
			}
		})
	}
}
