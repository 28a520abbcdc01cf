package session

import (
	"sync"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
)

// maxRemembered bounds the memory: about 50 MiB. Beyond it, sessions cost a query again.
const maxRemembered = 50_000

// memory holds sessions as they were read a short time ago, so that a busy one costs no query per request.
type memory struct {
	delay time.Duration // 0 remembers nothing

	mu    sync.Mutex
	rows  map[uuid.UUID]remembered
	epoch uint64 // counts what was forgotten
	swept instant
}

// remembered is a session and when it was read.
type remembered struct {
	row  store.OwnedSession
	read instant
}

func newMemory(delay time.Duration) *memory {
	return &memory{delay: delay, rows: make(map[uuid.UUID]remembered)}
}

// recall returns a session that was read within the delay, and the epoch to give to remember after reading one.
func (m *memory) recall(id uuid.UUID, now instant) (r remembered, ok bool, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok = m.rows[id]
	if ok && !m.isRecent(r.read, now) {
		delete(m.rows, id)
		ok = false
	}
	return r, ok, m.epoch
}

// remember keeps a row, unless something was forgotten since the epoch: the row may have been read before that change.
func (m *memory) remember(r remembered, epoch uint64) {
	if m.delay == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if epoch != m.epoch {
		return
	}
	if len(m.rows) >= maxRemembered {
		m.sweep(r.read)
	}
	if _, held := m.rows[r.row.ID]; held || len(m.rows) < maxRemembered {
		m.rows[r.row.ID] = r
	}
}

// sweep drops what is out of date, at most once in a delay.
func (m *memory) sweep(now instant) {
	if m.isRecent(m.swept, now) {
		return
	}
	m.swept = now
	for id, r := range m.rows {
		if !m.isRecent(r.read, now) {
			delete(m.rows, id)
		}
	}
}

// isRecent says that less than the delay has passed, by both clocks: the one that may be set back must not make a row last
// longer, nor the one that stands still while the machine is suspended.
func (m *memory) isRecent(then, now instant) bool {
	age := now.wall.Sub(then.wall)
	return 0 <= age && age < m.delay && now.elapsed-then.elapsed < m.delay
}

// forget drops a session.
func (m *memory) forget(id uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	delete(m.rows, id)
}

// forgetUser drops all sessions of a user, or, for the nil UUID, all.
func (m *memory) forgetUser(userID uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	for id, r := range m.rows {
		if r.row.UserID == userID || userID == uuid.Nil {
			delete(m.rows, id)
		}
	}
}
