package session

import (
	"crypto/sha256"
	"database/sql"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
)

const ms = time.Millisecond

var (
	signIn = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	issued = signIn.Add(time.Hour)
	policy = Policy{Grace: 30 * time.Second, Idle: 7 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour}

	older, parent, current, successor = hashOf("older"), hashOf("parent"), hashOf("current"), hashOf("successor")
)

func hashOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// sessionRow is in its fifth generation, not acknowledged, and honours the third and later ones.
func sessionRow() store.OwnedSession {
	return store.OwnedSession{
		Session: store.Session{
			ID: uuid.UUID{1}, UserID: uuid.UUID{2}, Generation: 5, OldestGeneration: 3,
			CurrentHash: current[:], ParentHash: parent[:], IssuedAt: issued, CreatedAt: signIn,
			UserAgent: "browser", IP: "192.0.2.1",
		},
		Username: "alice", Roles: []string{"user"}, UserCreatedAt: signIn.Add(-time.Hour),
	}
}

func acknowledgedAt(t time.Time) func(*store.OwnedSession) {
	return func(r *store.OwnedSession) { r.AcknowledgedAt = sql.NullTime{Time: t, Valid: true} }
}

func firstGeneration(r *store.OwnedSession) {
	r.Generation, r.OldestGeneration, r.ParentHash = 1, 1, nil
}

// effects are what an outcome does to the row; every column that is not named stays as it is.
var effects = map[Outcome]func(s *store.Session, now time.Time){
	Rotate: func(s *store.Session, now time.Time) {
		s.ParentHash, s.CurrentHash = s.CurrentHash, successor[:]
		s.Generation++
		s.AcknowledgedAt, s.IssuedAt = sql.NullTime{}, now
	},
	Recover: func(s *store.Session, now time.Time) {
		s.Generation++
		s.OldestGeneration, s.IssuedAt = s.Generation, now
	},
	Reuse: func(s *store.Session, now time.Time) {
		s.RevokedAt, s.RevokedReason = sql.NullTime{Time: now, Valid: true}, "reuse"
	},
}

// agesAt are a row's ages at a time, to which the clock has jumped ahead by so much.
func agesAt(row store.OwnedSession, now time.Time, ahead time.Duration) Ages {
	now = now.Add(-ahead)
	return Ages{SinceIssue: now.Sub(row.IssuedAt), SinceUse: now.Sub(row.AcknowledgedAt.Time)}
}

type decision struct {
	name      string
	row       func(*store.OwnedSession)
	presented [sha256.Size]byte
	now       time.Time
	ahead     time.Duration
	want      Outcome
	// acknowledges says that a Repeat is the first sign that the current generation is in use.
	acknowledges bool
}

func (d decision) check(t *testing.T, p Policy) {
	t.Helper()
	row := sessionRow()
	if d.row != nil {
		d.row(&row)
	}
	before := row
	want := row.Session
	if effect := effects[d.want]; effect != nil {
		effect(&want, d.now)
	}
	if d.acknowledges {
		want.AcknowledgedAt = sql.NullTime{Time: d.now, Valid: true}
	}
	outcome, next := p.Decide(row, d.presented, successor, d.now, agesAt(row, d.now, d.ahead))
	if outcome != d.want {
		t.Errorf("outcome %s, want %s", outcome, d.want)
	}
	if !reflect.DeepEqual(next, want) {
		t.Errorf("row becomes\n%+v, want\n%+v", next, want)
	}
	if !reflect.DeepEqual(row, before) {
		t.Errorf("the row that was given changed to %+v", row)
	}
}

func TestDecideOnTheCurrentToken(t *testing.T) {
	const g = 30 * time.Second
	ack := issued.Add(10 * time.Minute)
	for _, d := range []decision{
		{name: "in generation 1 it rotates at once", row: firstGeneration, now: issued, want: Rotate},
		{name: "in generation 1 it rotates although acknowledged just now", now: issued, want: Rotate,
			row: func(r *store.OwnedSession) { firstGeneration(r); acknowledgedAt(issued)(r) }},
		{name: "in generation 1 it rotates although the clock was set back", row: firstGeneration, now: issued.Add(-ms), want: Rotate},
		{name: "in generation 2 it repeats", now: issued, want: Repeat, acknowledges: true,
			row: func(r *store.OwnedSession) { r.Generation = 2 }},

		{name: "unacknowledged at its issue repeats", now: issued, want: Repeat, acknowledges: true},
		{name: "unacknowledged, a millisecond before three graces, repeats", now: issued.Add(3*g - ms), want: Repeat, acknowledges: true},
		{name: "unacknowledged, at three graces, repeats", now: issued.Add(3 * g), want: Repeat, acknowledges: true},
		{name: "unacknowledged, a millisecond after three graces, rotates", now: issued.Add(3*g + ms), want: Rotate},
		{name: "unacknowledged, on a clock set back, repeats", now: issued.Add(-time.Minute), want: Repeat, acknowledges: true},

		{name: "acknowledged now repeats", row: acknowledgedAt(ack), now: ack, want: Repeat},
		{name: "acknowledged a millisecond less than a grace ago repeats", row: acknowledgedAt(ack), now: ack.Add(g - ms), want: Repeat},
		{name: "acknowledged a grace ago repeats", row: acknowledgedAt(ack), now: ack.Add(g), want: Repeat},
		{name: "acknowledged a millisecond more than a grace ago rotates", row: acknowledgedAt(ack), now: ack.Add(g + ms), want: Rotate},
		{name: "acknowledged, on a clock set back, repeats", row: acknowledgedAt(ack), now: ack.Add(-time.Minute), want: Repeat},
		{name: "unacknowledged, after three graces of which a jump of the clock made one, repeats", now: issued.Add(3*g + ms), ahead: g,
			want: Repeat, acknowledges: true},
		{name: "unacknowledged, after three graces and a jump, rotates", now: issued.Add(4*g + ms), ahead: g, want: Rotate},
		{name: "acknowledged two graces ago, of which a jump made one, repeats", row: acknowledgedAt(ack), now: ack.Add(2 * g), ahead: g, want: Repeat},
		{name: "acknowledged longer ago than a grace and a jump rotates", row: acknowledgedAt(ack), now: ack.Add(2*g + ms), ahead: g, want: Rotate},
		{name: "acknowledged at its issue, between one and three graces later, rotates", row: acknowledgedAt(issued), now: issued.Add(g + ms), want: Rotate},
	} {
		t.Run(d.name, func(t *testing.T) {
			d.presented = current
			d.check(t, policy)
		})
	}
}

func TestDecideOnTheParent(t *testing.T) {
	const g = 30 * time.Second
	ack := issued.Add(10 * time.Minute)
	for _, d := range []decision{
		{name: "unacknowledged at the issue replays", now: issued, want: Replay},
		{name: "unacknowledged a millisecond before the grace replays", now: issued.Add(g - ms), want: Replay},
		{name: "unacknowledged at the grace replays", now: issued.Add(g), want: Replay},
		{name: "unacknowledged a millisecond after the grace recovers", now: issued.Add(g + ms), want: Recover},
		{name: "unacknowledged days later recovers", now: issued.Add(6 * 24 * time.Hour), want: Recover},
		{name: "unacknowledged, on a clock set back, replays", now: issued.Add(-time.Minute), want: Replay},

		{name: "acknowledged now replays", row: acknowledgedAt(ack), now: ack, want: Replay},
		{name: "acknowledged a millisecond less than a grace ago replays", row: acknowledgedAt(ack), now: ack.Add(g - ms), want: Replay},
		{name: "acknowledged a grace ago replays", row: acknowledgedAt(ack), now: ack.Add(g), want: Replay},
		{name: "acknowledged a millisecond more than a grace ago is reuse", row: acknowledgedAt(ack), now: ack.Add(g + ms), want: Reuse},
		{name: "acknowledged, on a clock set back, replays", row: acknowledgedAt(ack), now: ack.Add(-time.Minute), want: Replay},
		{name: "unacknowledged after two graces, of which a jump made one, replays", now: issued.Add(2 * g), ahead: g, want: Replay},
		{name: "unacknowledged after more than a grace and a jump recovers", now: issued.Add(2*g + ms), ahead: g, want: Recover},
		{name: "acknowledged two graces ago, of which a jump made one, replays", row: acknowledgedAt(ack), now: ack.Add(2 * g), ahead: g, want: Replay},
		{name: "acknowledged longer ago than a grace and a jump is reuse", row: acknowledgedAt(ack), now: ack.Add(2*g + ms), ahead: g, want: Reuse},
		{name: "acknowledged at the issue, later than a grace, is reuse", row: acknowledgedAt(issued), now: issued.Add(g + ms), want: Reuse},
	} {
		t.Run(d.name, func(t *testing.T) {
			d.presented = parent
			d.check(t, policy)
		})
	}
}

func TestDecideOnAnOlderToken(t *testing.T) {
	for _, d := range []decision{
		{name: "unacknowledged at the issue is reuse", now: issued},
		{name: "acknowledged now is reuse", row: acknowledgedAt(issued), now: issued},
		{name: "on a clock set back is reuse", now: issued.Add(-time.Minute)},
		{name: "in generation 1 is reuse", row: firstGeneration, now: issued},
		{name: "equal to the successor, which was never issued, is reuse", presented: successor, now: issued},
	} {
		t.Run(d.name, func(t *testing.T) {
			if d.want = Reuse; d.presented == [sha256.Size]byte{} {
				d.presented = older
			}
			d.check(t, policy)
		})
	}
}

func TestDecideWithoutGrace(t *testing.T) {
	strict := policy
	strict.Grace = 0
	for _, d := range []decision{
		{name: "the parent, in the millisecond of the acknowledgement, is reuse", row: acknowledgedAt(issued), presented: parent,
			now: issued, want: Reuse},
		{name: "current, unacknowledged, rotates at its issue", presented: current, now: issued, want: Rotate},
		{name: "current, acknowledged, rotates at once", presented: current, row: acknowledgedAt(issued), now: issued, want: Rotate},
		{name: "parent, unacknowledged, replays within the millisecond of the issue", presented: parent, now: issued, want: Replay},
		{name: "parent, unacknowledged, recovers a millisecond later", presented: parent, now: issued.Add(ms), want: Recover},
		{name: "parent, acknowledged, is reuse a millisecond later", presented: parent, row: acknowledgedAt(issued),
			now: issued.Add(ms), want: Reuse},
		{name: "an older one is reuse", presented: older, now: issued, want: Reuse},
	} {
		t.Run(d.name, func(t *testing.T) { d.check(t, strict) })
	}
}

func TestDecideRefusesWhatIsDeadWhateverIsPresented(t *testing.T) {
	idleEnd, absoluteEnd := issued.Add(policy.Idle), signIn.Add(policy.Absolute)
	justIssued := func(r *store.OwnedSession) { r.IssuedAt = absoluteEnd.Add(-time.Hour) }
	revoked := func(r *store.OwnedSession) {
		r.RevokedAt, r.RevokedReason = sql.NullTime{Time: issued, Valid: true}, ReasonLogout
	}
	disabled := func(r *store.OwnedSession) { r.DisabledAt = sql.NullTime{Time: issued, Valid: true} }
	for _, d := range []decision{
		{name: "revoked", row: revoked, now: issued, want: Revoked},
		{name: "revoked, on a clock set back", row: revoked, now: issued.Add(-time.Hour), want: Revoked},
		{name: "revoked keeps its first reason after the limits", row: revoked, now: absoluteEnd.Add(time.Hour), want: Revoked},
		{name: "user disabled", row: disabled, now: issued, want: UserDisabled},
		{name: "at the idle limit", now: idleEnd, want: IdleLimit},
		{name: "a millisecond after the idle limit", now: idleEnd.Add(ms), want: IdleLimit},
		{name: "at the idle limit by a jump of the clock", now: idleEnd, ahead: time.Hour, want: IdleLimit},
		{name: "at the absolute limit by a jump of the clock", row: justIssued, now: absoluteEnd, ahead: time.Hour, want: AbsoluteLimit},
		{name: "at the idle limit although acknowledged since", row: acknowledgedAt(idleEnd.Add(-ms)), now: idleEnd, want: IdleLimit},
		{name: "at the absolute limit", row: justIssued, now: absoluteEnd, want: AbsoluteLimit},
		{name: "a millisecond after the absolute limit", row: justIssued, now: absoluteEnd.Add(ms), want: AbsoluteLimit},
	} {
		for who, presented := range map[string][sha256.Size]byte{"current": current, "parent": parent, "older": older} {
			t.Run(d.name+", "+who, func(t *testing.T) {
				d.presented = presented
				d.check(t, policy)
			})
		}
	}
	t.Run("a millisecond before the idle limit it lives", func(t *testing.T) {
		decision{presented: current, now: idleEnd.Add(-ms), want: Rotate}.check(t, policy)
	})
	t.Run("a millisecond before the absolute limit it lives", func(t *testing.T) {
		decision{row: justIssued, presented: current, now: absoluteEnd.Add(-ms), want: Rotate}.check(t, policy)
	})
}

func TestExpiresAtIsTheEarlierLimit(t *testing.T) {
	for name, tc := range map[string]struct{ issued, want time.Time }{
		"idle, when freshly signed in":   {signIn, signIn.Add(policy.Idle)},
		"idle, a millisecond before":     {signIn.Add(policy.Absolute - policy.Idle - ms), signIn.Add(policy.Absolute - ms)},
		"both, when they fall together":  {signIn.Add(policy.Absolute - policy.Idle), signIn.Add(policy.Absolute)},
		"absolute, when refreshed later": {signIn.Add(policy.Absolute - policy.Idle + ms), signIn.Add(policy.Absolute)},
	} {
		t.Run(name, func(t *testing.T) {
			row := sessionRow()
			row.IssuedAt = tc.issued
			end := policy.ExpiresAt(row.Session)
			if !end.Equal(tc.want) {
				t.Errorf("expires at %s, want %s", end, tc.want)
			}
			if _, dead := policy.dead(row, end.Add(-ms)); dead {
				t.Error("dead a millisecond before it expires")
			}
			if _, dead := policy.dead(row, end); !dead {
				t.Error("alive when it expires")
			}
		})
	}
}
