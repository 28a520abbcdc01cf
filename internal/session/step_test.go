package session_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"latchkey/internal/audit"
	"latchkey/internal/session"
	"latchkey/internal/token"
)

// decades keep the limits of a session out of tests in which the clock is set ahead by days.
func decades(o *session.Options) { o.Idle, o.Absolute = 10*365*24*time.Hour, 20*365*24*time.Hour }

// steps are how far a wall clock is set at once.
var steps = []time.Duration{
	2 * time.Second, grace - time.Second, grace + time.Second, 3*grace + time.Second, 10 * time.Minute, 24 * time.Hour,
	-2 * time.Second, -grace - time.Second, -3*grace - time.Second, -10 * time.Minute, -24 * time.Hour,
}

// watchers has each replica look at the clock at the call of the function that it returns, as a server does each second.
func watchers(t *testing.T, w *world) (look func()) {
	t.Helper()
	var ticks []chan time.Time
	for _, replica := range w.replicas {
		tick := make(chan time.Time)
		ticks = append(ticks, tick)
		go replica.WatchClock(t.Context(), tick, func(time.Duration) {})
	}
	return func() {
		for _, tick := range ticks {
			tick <- time.Time{}
			tick <- time.Time{} // taken when the first look is over
		}
	}
}

// The clock is set at any moment, also while requests and answers are under way, and some of the replicas learn of it late.
func TestPropertyHonestClientsStaySignedInWhateverTheClockDoes(t *testing.T) {
	w := newWorld(t, 2, decades)
	look := watchers(t, w)
	rapid.Check(t, func(t *rapid.T) {
		b := newBrowser(t, w)
		for range rapid.IntRange(10, 50).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "clock") == 0 {
				by := rapid.SampledFrom(steps).Draw(t, "step")
				look() // what happens within a second counts as one step
				w.clock.step(by)
				b.note("the clock is set by %s", by)
			}
			b.step()
		}
		b.wait(2 * grace)
		grant, err := b.replica().Refresh(context.Background(), b.jar)
		if err != nil {
			t.Fatalf("the last refresh: %v\n%s", err, b.story())
		}
		b.checkSuccessor(b.jar, grant)
		if grant.ExpiresIn <= 0 || grant.RefreshExpiresIn <= 0 {
			t.Fatalf("it expires in %s and %s\n%s", grant.ExpiresIn, grant.RefreshExpiresIn, b.story())
		}
		if _, err := b.replica().Authenticate(context.Background(), grant.AccessToken); err != nil {
			t.Fatalf("the last access token: %v\n%s", err, b.story())
		}
	})
}

// What the clock did must not hide a thief: one that comes beside the owner ends the session as ever.
func TestPropertyAThiefIsSeenAfterTheClockWasSet(t *testing.T) {
	w := newWorld(t, 2, decades)
	look := watchers(t, w)
	rapid.Check(t, func(t *rapid.T) {
		b := newBrowser(t, w)
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			by := rapid.SampledFrom(steps).Draw(t, "step")
			look()
			w.clock.step(by)
			b.note("the clock is set by %s", by)
			b.step()
		}
		b.wait(2 * grace)
		held := b.jar
		answer := func() bool {
			grant, err := b.replica().Refresh(context.Background(), held)
			if err != nil && !errors.Is(err, session.ErrInvalidRefresh) {
				t.Fatal(err)
			}
			if err == nil {
				_, _ = b.replica().Authenticate(context.Background(), grant.AccessToken) // refused after a recover
			}
			return err == nil
		}
		// Both hold the same token: one refreshes and goes on, the other comes when no request can be under way any more.
		for round := 0; answer(); round++ {
			if round == 3 {
				t.Fatalf("two parties have used one token for %d rounds\n%s", round, b.story())
			}
			b.wait(3*grace + time.Second)
		}
		if reason := w.row(t, held).RevokedReason; reason != string(session.Reuse) {
			t.Fatalf("the session ended for %q", reason)
		}
	})
}

// Two tabs, one of whose requests is under way when the clock is set ahead, or the machine is suspended.
func TestRequestUnderWayWhenTheClockJumpsAheadIsNoReuse(t *testing.T) {
	for _, jump := range []time.Duration{grace, 10 * time.Minute, 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			w := newWorld(t, 2, nil)
			parent := w.login(t).RefreshToken
			answer := w.mustRefresh(t, parent)
			w.mustUse(t, answer.AccessToken)
			w.clock.advance(5 * time.Second)
			w.clock.step(jump)
			for i, replica := range w.replicas {
				late, err := replica.Refresh(t.Context(), parent)
				if err != nil || late.RefreshToken != answer.RefreshToken {
					t.Errorf("replica %d gives the request that was under way %v, or another token", i, err)
				}
			}
			w.clock.advance(grace - 5*time.Second)
			for i, replica := range w.replicas {
				if _, err := replica.Refresh(t.Context(), parent); err != nil {
					t.Errorf("replica %d gives another one, a grace after its successor was used, %v", i, err)
				}
			}
			w.clock.advance(time.Millisecond)
			if _, err := w.replicas[1].Refresh(t.Context(), parent); !errors.Is(err, session.ErrInvalidRefresh) {
				t.Errorf("after the grace the same token gets %v, want a refusal", err)
			}
			if reason := w.row(t, parent).RevokedReason; reason != string(session.Reuse) {
				t.Errorf("the session ended for %q, want reuse", reason)
			}
		})
	}
}

// After a jump two replicas must take the same row for as old, also if one of them has not looked at the clock for long:
// if the one gave a retry a replay and the other rotated what that brought, another tab's request would be reuse.
func TestReplicasAgreeOnAgesAfterAJump(t *testing.T) {
	w := newWorld(t, 2, nil)
	parent := w.login(t).RefreshToken
	refresh := func(replica int) session.Grant {
		t.Helper()
		grant, err := w.replicas[replica].Refresh(t.Context(), parent)
		if err != nil {
			t.Fatal(err)
		}
		return grant
	}
	w.clock.step(24 * time.Hour)
	w.clock.advance(time.Second)
	lost := refresh(0)
	w.clock.advance(5 * time.Minute)
	found := refresh(1) // it learns of the jump only now
	if n := w.counted(t, audit.Refresh, string(session.Recover)); n != 1 {
		t.Errorf("the retry of five minutes later counts as %d recovers, want one", n)
	}
	for _, replica := range w.replicas {
		again, err := replica.Refresh(t.Context(), found.RefreshToken)
		if err != nil || again.RefreshToken != "" {
			t.Errorf("what the retry brought is rotated under other requests: %v", err)
		}
	}
	w.clock.advance(grace)
	if late := refresh(0); late.RefreshToken != lost.RefreshToken {
		t.Error("a request that was under way got another successor")
	}
}

// Access tokens from before the step look as if they came from the future, beyond what clocks may differ. The client does
// what it does at any 401: it refreshes, and goes on.
func TestClientGoesOnWhenTheClockIsSetBack(t *testing.T) {
	for _, back := range []time.Duration{time.Second, token.Leeway, token.Leeway + time.Second, 10 * time.Minute, 24 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			w := newWorld(t, 2, nil)
			first := w.login(t)
			held := w.mustRefresh(t, first.RefreshToken)
			w.clock.advance(grace / 2)
			w.mustUse(t, held.AccessToken)
			w.clock.step(-back)
			if _, err := w.replicas[1].Authenticate(t.Context(), held.AccessToken); (err != nil) != (back > token.Leeway+grace/2) {
				t.Errorf("the access token from before gets %v", err)
			}
			jar := held.RefreshToken
			for _, presented := range []string{jar, first.RefreshToken, jar} { // the parent is another tab's
				for _, replica := range w.replicas {
					grant, err := replica.Refresh(t.Context(), presented)
					if err != nil {
						t.Fatalf("refresh: %v", err)
					}
					if grant.ExpiresIn != accessTTL || grant.RefreshExpiresIn <= 0 {
						t.Errorf("the answer expires in %s and %s", grant.ExpiresIn, grant.RefreshExpiresIn)
					}
					if grant.RefreshToken != "" && grant.RefreshToken != jar {
						t.Error("there are two successors")
					}
					w.mustUse(t, grant.AccessToken)
				}
				w.clock.advance(time.Second)
			}
			// When the clock has come to where it was, all is as ever.
			w.clock.advance(back + 3*grace + time.Second)
			next := w.mustRefresh(t, jar)
			if next.RefreshToken == "" || next.RefreshToken == jar {
				t.Error("the token is never rotated again")
			}
			w.mustUse(t, next.AccessToken)
		})
	}
}

func TestWatchedClockTellsOfJumps(t *testing.T) {
	w := newWorld(t, 1, nil)
	ticks, told := make(chan time.Time), []time.Duration(nil)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		w.replicas[0].WatchClock(ctx, ticks, func(by time.Duration) { told = append(told, by) })
	}()
	grant := w.login(t)
	for _, by := range []time.Duration{0, time.Hour, 500 * time.Millisecond, -2 * time.Hour} {
		w.clock.advance(time.Second)
		w.clock.step(by)
		if by == time.Hour { // also of one that a request notices first
			w.mustRefresh(t, grant.RefreshToken)
		}
		ticks <- time.Time{}
		ticks <- time.Time{}
	}
	cancel()
	<-ended
	if want := []time.Duration{time.Hour, -2*time.Hour + 500*time.Millisecond}; !slices.Equal(told, want) {
		t.Errorf("it tells of %v, want %v", told, want)
	}
}
