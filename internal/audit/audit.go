// Package audit owns the record of who did what to which account or session: one structured log line and one count for
// each act, and, where a program keeps it, one row in a table. A record names users and sessions by id and never holds a
// password, a token, a cookie or the hash of one.
//
// Recording never waits for the database or for whoever reads the log. docs/audit.md says what may be missing where.
package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// Action is what was done.
type Action string

// The actions, and the results that each can have.
const (
	Register        Action = "user.register"         // ok, taken, invalid, closed
	Login           Action = "user.login"            // ok, unknown_user, wrong_password, unusable_hash, disabled, changed_meanwhile
	PasswordChange  Action = "user.password_change"  // ok, invalid, unknown_user, wrong_password, unusable_hash, changed_meanwhile
	PasswordUpgrade Action = "user.password_upgrade" // ok, failed, changed_meanwhile: a hash of another form than today's, replaced at a sign-in
	Administer      Action = "user.administer"       // create, import, set_roles, disable, enable, set_password, delete, revoke_sessions
	Refresh         Action = "session.refresh"       // rotate, repeat, replay, recover, or why it was refused
	Reuse           Action = "session.reuse"         // revoked: the alarm, beside the refused Refresh
	End             Action = "session.end"           // why it ended: logout, ended, replaced, password, disabled, limit, admin
	Verify          Action = "token.verify"          // why an access token was refused
	Forbidden       Action = "forbidden"             // role: the user lacks it
	Throttle        Action = "throttle"              // login, register, refresh: by address; account: by name
	CrossOrigin     Action = "cross_origin"          // refused
	KeyChange       Action = "key.change"            // loaded, refused: a server's keys and what it found in their files
)

// Actions returns all of them.
func Actions() []Action {
	return []Action{
		Register, Login, PasswordChange, PasswordUpgrade, Administer, Refresh, Reuse, End, Verify, Forbidden, Throttle, CrossOrigin,
		KeyChange,
	}
}

// Event is one act. Whoever records it fills in the act and whom it concerns; Record adds the rest.
type Event struct {
	Action Action
	// Result is one of the few words listed beside the action, so that it can be counted.
	Result string
	// UserID and SessionID are the nil UUID where there is none, or none is known.
	UserID, SessionID uuid.UUID
	// NameHash stands for the name that was given where no user is known by it: 32 hexadecimal digits, or "".
	NameHash string

	// ID is a UUIDv7 of At's milliseconds, so that ids sort in order of time, and those of one process within a
	// millisecond in the order in which they were recorded.
	ID uuid.UUID
	// At is in UTC, with milliseconds.
	At time.Time
	// Address and RequestID are the client's address and the id of the request that the act came with, or "".
	Address, RequestID string
}

// Log records events. It is safe for concurrent use.
type Log struct {
	logger  *slog.Logger
	counts  *prometheus.CounterVec
	dropped *prometheus.CounterVec
	table   *table // nil if none is kept
}

// New makes a Log that writes to logger, and counts latchkey_events_total{action, result} in the registry. It keeps no
// table: see Keep.
func New(logger *slog.Logger, registry prometheus.Registerer) *Log {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_events_total",
		Help: "Acts on accounts, sessions and tokens, by action and result.",
	}, []string{"action", "result"})
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_audit_dropped_total",
		Help: "Events that are in the log but not in the audit table, by reason.",
	}, []string{"reason"})
	registry.MustRegister(counts, dropped)
	counts.WithLabelValues(string(Reuse), "revoked") // at 0: Prometheus sees no rise in what begins with 1
	return &Log{logger: logger, counts: counts, dropped: dropped}
}

// Origin is the request that an event came with: its id and its client's address, or "".
type Origin struct{ RequestID, Address string }

type originKey struct{}

// WithOrigin returns a context whose events carry an origin.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginOf returns the origin that a context carries.
func OriginOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// Record records an event.
func (l *Log) Record(ctx context.Context, e Event) {
	o := OriginOf(ctx)
	e.Address, e.RequestID = o.Address, o.RequestID
	l.counts.WithLabelValues(string(e.Action), e.Result).Inc()
	level := slog.LevelInfo
	if e.Action == Reuse {
		level = slog.LevelWarn
	}
	act := []slog.Attr{slog.String("action", string(e.Action)), slog.String("result", e.Result)}
	l.logger.LogAttrs(ctx, level, "audit", append(act, e.Details()...)...)
	if l.table != nil {
		l.table.add(e)
	}
}

// Details are whom the act concerned and where it came from, as far as that is known.
func (e Event) Details() []slog.Attr {
	var list []slog.Attr
	if e.UserID != uuid.Nil {
		list = append(list, slog.String("user_id", e.UserID.String()))
	}
	if e.SessionID != uuid.Nil {
		list = append(list, slog.String("session_id", e.SessionID.String()))
	}
	for _, field := range []struct{ name, value string }{
		{"name_hash", e.NameHash}, {"address", e.Address}, {"request_id", e.RequestID},
	} {
		if field.value != "" {
			list = append(list, slog.String(field.name, field.value))
		}
	}
	return list
}
