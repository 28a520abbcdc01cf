package session

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// stepper is a wall clock that can be set, beside one that cannot.
type stepper struct {
	now     time.Time
	elapsed time.Duration
}

func (s *stepper) clock() *clock {
	return newClock(Options{Now: func() time.Time { return s.now }, Elapsed: func() time.Duration { return s.elapsed }})
}

func (s *stepper) wait(d time.Duration) { s.now, s.elapsed = s.now.Add(d), s.elapsed+d }

// event is when something was written.
type event struct {
	wall    time.Time
	elapsed time.Duration
}

func TestClockTellsHowLongAgoSomethingWasWritten(t *testing.T) {
	type move struct{ step, wait time.Duration }
	for name, tc := range map[string]struct {
		moves []move
		// young are the ages, at the end, of what was written after some of the moves, where that is not the time that has
		// passed: the clock has come to that time again.
		young map[int]time.Duration
	}{
		"never set":                {moves: []move{{0, time.Second}, {0, time.Hour}, {0, 48 * time.Hour}}},
		"set ahead":                {moves: []move{{0, time.Second}, {time.Hour, 10 * time.Second}, {0, time.Minute}}},
		"set ahead twice":          {moves: []move{{0, time.Second}, {time.Hour, time.Second}, {2 * time.Hour, time.Second}, {0, time.Minute}}},
		"set ahead by a day":       {moves: []move{{0, time.Second}, {24 * time.Hour, time.Second}, {0, time.Minute}}},
		"set ahead long ago":       {moves: []move{{0, time.Second}, {time.Hour, time.Second}, {0, 24 * time.Hour}}},
		"set back":                 {moves: []move{{0, time.Second}, {-time.Hour, 10 * time.Second}, {0, time.Minute}}},
		"set back and ahead again": {moves: []move{{0, time.Minute}, {-time.Hour, time.Minute}, {time.Hour, time.Minute}, {0, time.Minute}}},
		"set ahead and back again": {moves: []move{{0, time.Minute}, {time.Hour, time.Minute}, {-time.Hour, time.Minute}, {0, time.Minute}}},
		"set back, and come to where it was": {
			moves: []move{{0, time.Hour}, {-10 * time.Minute, time.Minute}, {0, 12 * time.Minute}},
			young: map[int]time.Duration{0: 3 * time.Minute},
		},
		"off by little, again and again": {
			moves: []move{{500 * ms, time.Second}, {400 * ms, time.Second}, {100 * ms, time.Second}, {-time.Second, time.Second}},
			young: map[int]time.Duration{0: 2500 * ms, 1: 1100 * ms, 2: 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stepper{now: signIn}
			c := s.clock()
			var events []event
			var at instant
			for _, m := range tc.moves {
				s.now = s.now.Add(m.step)
				c.read()
				s.wait(m.wait)
				at = c.read()
				events = append(events, event{at.wall, at.elapsed})
			}
			for i, e := range events {
				want, isYoung := tc.young[i]
				if !isYoung {
					want = s.elapsed - e.elapsed
				}
				if got := at.since(e.wall); got != want {
					t.Errorf("what was written after move %d is %s old, want %s", i, got, want)
				}
			}
		})
	}
}

// Other replicas' clocks stand differently, and what they write must not stay young for ever, nor look older than a clock
// can tell.
func TestTimesThatTheClockHasNotSeen(t *testing.T) {
	s := &stepper{now: signIn}
	c := s.clock()
	c.read()
	s.now = s.now.Add(time.Hour)
	s.wait(time.Second)
	at := c.read()
	s.wait(time.Minute)
	for name, tc := range map[string]struct {
		then time.Time
		want time.Duration
	}{
		"in the future":                {s.now.Add(time.Minute), 0},
		"in what it jumped over":       {signIn.Add(30 * time.Minute), time.Minute + 2*time.Second}, // from before the reading
		"just before the service":      {signIn.Add(-time.Second), time.Minute + 2*time.Second},
		"a year before the service":    {signIn.AddDate(-1, 0, 0), time.Minute + time.Second + signIn.Sub(signIn.AddDate(-1, 0, 0))},
		"at the moment of the reading": {at.wall, time.Minute},
	} {
		if got := c.read().since(tc.then); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// All clocks are set back by the same step, and another replica's is ahead by little, as it always was. What it has just
// written is not what this one's clock showed before the step.
func TestWhatAnotherReplicaHasJustWrittenIsYoungAfterAStepBack(t *testing.T) {
	for _, ahead := range []time.Duration{-ms, 0, ms, time.Second, maxSkew} {
		s := &stepper{now: signIn}
		c := s.clock()
		s.wait(time.Hour)
		c.read()
		s.now = s.now.Add(-time.Minute)
		for range 50 {
			s.wait(time.Second)
			if age := c.read().since(s.now.Add(ahead)); age > ms || age < 0 {
				t.Fatalf("with a clock that is ahead by %s it looks %s old", ahead, age)
			}
		}
	}
}

// Whenever the clock is set and read, nothing that was written by it looks older than it is.
func TestPropertyNothingLooksOlderThanItIs(t *testing.T) {
	pauses := rapid.SampledFrom([]time.Duration{
		0, ms, 100 * ms, time.Second, 5 * time.Second, time.Minute, 15 * time.Minute, 25 * time.Hour,
	})
	jumps := rapid.SampledFrom([]time.Duration{
		2 * time.Second, time.Minute, 10 * time.Minute, 24 * time.Hour, -2 * time.Second, -time.Minute, -10 * time.Minute, -24 * time.Hour,
	})
	rapid.Check(t, func(t *rapid.T) {
		s := &stepper{now: signIn}
		c := s.clock()
		var events []event
		for range rapid.IntRange(1, maxStretches-1).Draw(t, "jumps") {
			c.read() // once between two jumps: see WatchClock
			s.now = s.now.Add(jumps.Draw(t, "jump"))
			for range rapid.IntRange(0, 3).Draw(t, "events") {
				s.wait(pauses.Draw(t, "pause"))
				events = append(events, event{s.now, s.elapsed}) // also another replica's, while this one does not look
				if rapid.Bool().Draw(t, "read") {
					c.read()
				}
			}
			s.wait(pauses.Draw(t, "pause"))
			at := c.read()
			for i, e := range events {
				if got, passed := at.since(e.wall), s.elapsed-e.elapsed; got > passed+maxDrift {
					t.Fatalf("event %d of %v ago looks %v old", i, passed, got)
				}
			}
		}
	})
}

// Two requests read the clock on both sides of a jump, and the later reading is judged first.
func TestReadingThatWasOvertakenIsNoJumpBack(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			s := &stepper{now: signIn}
			c := s.clock()
			s.wait(time.Second)
			written := c.read().wall
			s.wait(time.Second)
			before := *s
			s.wait(time.Second)
			s.now = s.now.Add(jump)
			for _, reading := range []stepper{*s, before, *s} {
				now := reading
				c.now, c.elapsed = func() time.Time { return now.now }, func() time.Duration { return now.elapsed }
				at := c.read()
				if got, want := at.since(written), now.elapsed-time.Second; got != want || len(at.stretches) != 2 {
					t.Errorf("at %s what was written at 1s is %s old, want %s; %d stretches", now.elapsed, got, want, len(at.stretches))
				}
			}
		})
	}
}

func TestClockRemembersOnlySoManyJumps(t *testing.T) {
	s := &stepper{now: signIn}
	c := s.clock()
	for i := range 10 * maxStretches {
		s.wait(time.Minute)
		s.now = s.now.Add(time.Duration(1-2*(i%2)) * time.Hour)
		if at := c.read(); len(at.stretches) > maxStretches {
			t.Fatalf("it remembers %d stretches", len(at.stretches))
		}
	}
	written := c.read().wall
	s.wait(time.Minute)
	if age := c.read().since(written); age != time.Minute {
		t.Errorf("what was written a minute ago is %s old", age)
	}
}

// Without a clock of its own for that, the service takes the time that has passed from time.Now itself.
func TestClockOfTheMachineDoesNotJump(t *testing.T) {
	c := newClock(Options{Now: time.Now})
	for range 1000 {
		if at := c.read(); len(at.stretches) != 1 || at.elapsed <= 0 || at.since(at.wall) != 0 {
			t.Fatalf("it reads %+v", at)
		}
	}
	if at := c.read(); at.started.String() == c.started.String() { // which shows a monotonic reading
		t.Error("the start has no monotonic reading")
	}
}
