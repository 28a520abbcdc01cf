package session

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"time"

	"latchkey/internal/store"
)

// Policy is the numbers of the protocol.
type Policy struct {
	// Grace is how long after an acknowledgement requests that were already under way may still come with the parent,
	// from 0 (strict) to a minute. A longer one forgives slower networks and sees a thief later.
	Grace time.Duration
	// Idle is how long a session lives without a refresh.
	Idle time.Duration
	// Absolute is how long a session lives at all, from the sign-in.
	Absolute time.Duration
}

// Outcome is what becomes of a presented refresh token.
type Outcome string

// The outcomes, by docs/rotation.md. The first four are answered with an access token; of those all but Repeat set the
// cookie. The others are refusals, which look the same from outside.
const (
	Rotate  Outcome = "rotate"
	Repeat  Outcome = "repeat"
	Replay  Outcome = "replay"
	Recover Outcome = "recover"

	Reuse         Outcome = "reuse"
	Revoked       Outcome = "revoked"
	IdleLimit     Outcome = "idle_limit"
	AbsoluteLimit Outcome = "absolute_limit"
	UserDisabled  Outcome = "user_disabled"
)

// Ages are how long ago a session's current generation was issued, and first seen in use, if it was. That is not always the
// difference of two times of day: a clock may have been set in between. Negative ones are within any grace.
type Ages struct{ SinceIssue, SinceUse time.Duration }

// Decide says what becomes of a refresh token that is presented at a time, and how the row is to be afterwards; a row
// that stays as it is needs no write. presented and successor are hashes, of that token and of the one that follows
// it. It is the table of docs/rotation.md, row by row, and depends on nothing else.
func (p Policy) Decide(row store.OwnedSession, presented, successor [sha256.Size]byte, now time.Time, ages Ages) (Outcome, store.Session) {
	next := row.Session
	if refusal, dead := p.dead(row, now); dead {
		return refusal, next
	}
	acknowledged := row.AcknowledgedAt.Valid
	// No grace is none at all: not even for a request in the millisecond of the acknowledgement.
	inGrace := acknowledged && p.Grace > 0 && ages.SinceUse <= p.Grace
	switch {
	case bytes.Equal(presented[:], row.CurrentHash):
		canRepeat := row.Generation > 1 && p.Grace > 0
		switch {
		// Until three graces after the issue a request with the parent may be under way: a replay at the end of the
		// first, its answer under way for the second, a request that left just before it for the third. Rotating
		// sooner would make that request's token an older one, and an honest client a thief.
		case canRepeat && !acknowledged && ages.SinceIssue <= 3*p.Grace:
			next.AcknowledgedAt = at(now)
			return Repeat, next
		case canRepeat && inGrace:
			return Repeat, next
		}
		next.ParentHash, next.CurrentHash = row.CurrentHash, successor[:]
		next.Generation++
		next.AcknowledgedAt, next.IssuedAt = sql.NullTime{}, now
		return Rotate, next

	case bytes.Equal(presented[:], row.ParentHash):
		switch {
		case !acknowledged && ages.SinceIssue <= p.Grace, inGrace:
			return Replay, next
		case !acknowledged:
			next.Generation++
			next.OldestGeneration, next.IssuedAt = next.Generation, now
			return Recover, next
		}
	}
	// The parent, although its successor has long been in use, or an older one: two parties hold this session.
	next.RevokedAt, next.RevokedReason = at(now), string(Reuse)
	return Reuse, next
}

// dead says whether the session can no longer be used, whoever asks, and why.
func (p Policy) dead(row store.OwnedSession, now time.Time) (Outcome, bool) {
	switch {
	case row.RevokedAt.Valid:
		return Revoked, true
	case row.DisabledAt.Valid:
		return UserDisabled, true
	case !now.Before(row.CreatedAt.Add(p.Absolute)):
		return AbsoluteLimit, true
	case !now.Before(row.IssuedAt.Add(p.Idle)):
		return IdleLimit, true
	}
	return "", false
}

// ExpiresAt returns when the session ends unless it is refreshed before.
func (p Policy) ExpiresAt(s store.Session) time.Time {
	idle, absolute := s.IssuedAt.Add(p.Idle), s.CreatedAt.Add(p.Absolute)
	if idle.Before(absolute) {
		return idle
	}
	return absolute
}

func at(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: true} }
