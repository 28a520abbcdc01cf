package session

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
)

func ownedRow(id, user byte) store.OwnedSession {
	return store.OwnedSession{Session: store.Session{ID: uuid.UUID{id}, UserID: uuid.UUID{user}, Generation: 1}}
}

// moment is a time after the sign-in on which both clocks agree.
func moment(sinceSignIn time.Duration) instant {
	return instant{wall: signIn.Add(sinceSignIn), elapsed: sinceSignIn}
}

func knows(m *memory, id byte, now instant) bool {
	_, ok, _ := m.recall(uuid.UUID{id}, now)
	return ok
}

// epochOf is what a request gets that is about to read a session.
func epochOf(m *memory, id byte, now instant) uint64 {
	_, _, epoch := m.recall(uuid.UUID{id}, now)
	return epoch
}

func TestMemoryLastsForTheDelay(t *testing.T) {
	const delay = 2 * time.Second
	for name, tc := range map[string]struct {
		delay, age time.Duration
		jump       time.Duration // of the wall clock meanwhile
		want       bool
	}{
		"at once":                                      {delay, 0, 0, true},
		"a millisecond before the delay":               {delay, delay - ms, 0, true},
		"not at the delay":                             {delay, delay, 0, false},
		"not when the clock was set back":              {delay, 0, -ms, false},
		"not longer when it was set back a little":     {delay, delay, -time.Second, false},
		"until then when it was set back a little":     {delay, delay - ms, -time.Second, true},
		"not when the machine was suspended meanwhile": {delay, 0, time.Hour, false},
		"not without a delay, even at once":            {0, 0, 0, false},
		"not without a delay on a clock set back":      {0, 0, -ms, false},
		"not an hour later, whatever the delay is":     {delay, time.Hour, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(tc.delay)
			m.remember(remembered{ownedRow(1, 1), moment(0)}, epochOf(m, 1, moment(0)))
			now := moment(tc.age)
			now.wall = now.wall.Add(tc.jump)
			if got := knows(m, 1, now); got != tc.want {
				t.Errorf("known: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestMemoryForgets(t *testing.T) {
	for name, tc := range map[string]struct {
		forget func(*memory)
		want   [3]bool // sessions 1 and 2 are of user 1, session 3 is of user 2
	}{
		"one session":            {func(m *memory) { m.forget(uuid.UUID{1}) }, [3]bool{false, true, true}},
		"the sessions of a user": {func(m *memory) { m.forgetUser(uuid.UUID{1}) }, [3]bool{false, false, true}},
		"everything":             {func(m *memory) { m.forgetUser(uuid.Nil) }, [3]bool{}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(time.Minute)
			for id, user := range map[byte]byte{1: 1, 2: 1, 3: 2} {
				m.remember(remembered{ownedRow(id, user), moment(0)}, epochOf(m, id, moment(0)))
			}
			tc.forget(m)
			if got := [3]bool{knows(m, 1, moment(0)), knows(m, 2, moment(0)), knows(m, 3, moment(0))}; got != tc.want {
				t.Errorf("known: %v, want %v", got, tc.want)
			}
		})
	}
}

// A request reads a row; the session ends and is forgotten; only then is the row remembered. It must not be.
func TestMemoryLosesNoChangeBetweenReadingAndRemembering(t *testing.T) {
	for name, change := range map[string]func(*memory){
		"of the session":                  func(m *memory) { m.forget(uuid.UUID{1}) },
		"of the user":                     func(m *memory) { m.forgetUser(uuid.UUID{1}) },
		"of everybody":                    func(m *memory) { m.forgetUser(uuid.Nil) },
		"of a user unknown to the memory": func(m *memory) { m.forgetUser(uuid.UUID{9}) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(time.Minute)
			beforeReading := epochOf(m, 1, moment(0))
			change(m)
			m.remember(remembered{ownedRow(1, 1), moment(0)}, beforeReading)
			if knows(m, 1, moment(0)) {
				t.Error("a row from before the change is remembered")
			}
			m.remember(remembered{ownedRow(1, 1), moment(0)}, epochOf(m, 1, moment(0)))
			if !knows(m, 1, moment(0)) {
				t.Error("a row from after the change is not remembered")
			}
		})
	}
}

func fullMemory() *memory {
	m := newMemory(2 * time.Second)
	for i := range uint32(maxRemembered) {
		row := ownedRow(0, 1)
		binary.BigEndian.PutUint32(row.ID[12:], i)
		m.remember(remembered{row, moment(0)}, 0)
	}
	return m
}

func TestMemoryIsBounded(t *testing.T) {
	m := fullMemory()
	now := moment(time.Second)
	m.remember(remembered{ownedRow(1, 1), now}, epochOf(m, 1, now))
	if len(m.rows) != maxRemembered || knows(m, 1, now) {
		t.Errorf("%d sessions are remembered, at most %d may be", len(m.rows), maxRemembered)
	}
	now = moment(4 * time.Second)
	m.remember(remembered{ownedRow(1, 1), now}, epochOf(m, 1, now))
	if len(m.rows) != 1 || !knows(m, 1, now) {
		t.Errorf("%d sessions are remembered after all but one went out of date", len(m.rows))
	}
}

// Otherwise a session whose acknowledgement came just as the memory filled up would be asked for at each request.
func TestMemoryThatIsFullStillUpdatesWhatItHolds(t *testing.T) {
	m := fullMemory()
	row := ownedRow(0, 1)
	row.Generation = 2
	m.remember(remembered{row, moment(0)}, epochOf(m, 0, moment(0)))
	if held, ok, _ := m.recall(row.ID, moment(0)); !ok || held.row.Generation != 2 {
		t.Errorf("remembered: %v, generation %d, want generation 2", ok, held.row.Generation)
	}
}
