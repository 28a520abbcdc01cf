package audit

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// FirstID returns the least id that an event of that moment or a later one can have.
func FirstID(at time.Time) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(max(0, at.UnixMilli()))<<16|0x7000)
	id[8] = 0x80
	return id
}

// sequence makes ids that sort by the time given and, within one millisecond, in the order in which they were made: the
// first of a millisecond is random, the next ones count on from it (RFC 9562, section 6.2, method 2).
type sequence struct {
	at   int64 // in milliseconds
	tail uint64
}

func (s *sequence) next(at time.Time) uuid.UUID {
	if ms := at.UnixMilli(); ms != s.at || s.tail == 0 {
		var random [8]byte
		_, _ = rand.Read(random[:])                                // it never fails
		s.at, s.tail = ms, binary.BigEndian.Uint64(random[:])>>3|1 // 61 bits: there is room to count
	} else {
		s.tail++
	}
	id := FirstID(at)
	binary.BigEndian.PutUint64(id[8:], 1<<63|s.tail)
	return id
}
