// Package audit owns the record of who did what to which account or session: one structured log line and one count for
// each act. A record names users and sessions by id and never holds a password, a token, a cookie or a hash.
package audit

import (
	"context"
	"log/slog"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// Action is what was done.
type Action string

// The actions, and the results that each can have.
const (
	Register       Action = "user.register"        // ok, taken, invalid
	Login          Action = "user.login"           // ok, unknown_user, wrong_password, unusable_hash, disabled, changed_meanwhile
	PasswordChange Action = "user.password_change" // ok, unknown_user, wrong_password, unusable_hash, changed_meanwhile
	Administer     Action = "user.administer"      // set_roles, disable, enable, set_password, delete, import
	Refresh        Action = "session.refresh"      // rotate, repeat, replay, recover, or why it was refused
	Reuse          Action = "session.reuse"        // revoked: the alarm, beside the refused Refresh
	End            Action = "session.end"          // why it ended: logout, ended, replaced, password, disabled, limit, admin
	Verify         Action = "token.verify"         // why an access token was refused
	Throttle       Action = "throttle"             // login, register, refresh: by address; account: by name
	CrossOrigin    Action = "cross_origin"         // refused

	// PasswordUpgrade is a hash of another form than today's that was replaced at a sign-in: ok, failed, changed_meanwhile.
	PasswordUpgrade Action = "user.password_upgrade"
)

// Event is one act.
type Event struct {
	Action Action
	// Result is one of the few words listed beside the action, so that it can be counted.
	Result string
	// UserID and SessionID are the nil UUID where there is none, or none is known.
	UserID, SessionID uuid.UUID
	// NameHash stands for the name that was given where no user is known by it: 32 hexadecimal digits, or "".
	NameHash string
}

// Log records events. It is safe for concurrent use.
type Log struct {
	logger *slog.Logger
	counts *prometheus.CounterVec
}

// New makes a Log that writes to logger and counts latchkey_events_total{action, result} in the registry.
func New(logger *slog.Logger, registry prometheus.Registerer) *Log {
	counts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "latchkey_events_total",
		Help: "Acts on accounts, sessions and tokens, by action and result.",
	}, []string{"action", "result"})
	registry.MustRegister(counts)
	return &Log{logger: logger, counts: counts}
}

// origin is the request that an event came with.
type origin struct{ requestID, address string }

type originKey struct{}

// WithOrigin returns a context whose events carry the id and the client address of a request.
func WithOrigin(ctx context.Context, requestID, address string) context.Context {
	return context.WithValue(ctx, originKey{}, origin{requestID, address})
}

// Record records an event.
func (l *Log) Record(ctx context.Context, e Event) {
	l.counts.WithLabelValues(string(e.Action), e.Result).Inc()
	level := slog.LevelInfo
	if e.Action == Reuse {
		level = slog.LevelWarn
	}
	attributes := []slog.Attr{slog.String("action", string(e.Action)), slog.String("result", e.Result)}
	if e.UserID != uuid.Nil {
		attributes = append(attributes, slog.String("user_id", e.UserID.String()))
	}
	if e.SessionID != uuid.Nil {
		attributes = append(attributes, slog.String("session_id", e.SessionID.String()))
	}
	if e.NameHash != "" {
		attributes = append(attributes, slog.String("name_hash", e.NameHash))
	}
	if o, ok := ctx.Value(originKey{}).(origin); ok {
		attributes = append(attributes, slog.String("address", o.address), slog.String("request_id", o.requestID))
	}
	l.logger.LogAttrs(ctx, level, "audit", attributes...)
}
