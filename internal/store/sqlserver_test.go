package store

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-sql/civil"
	"github.com/google/uuid"
	mssql "github.com/microsoft/go-mssqldb"
	"gorm.io/gorm"

	"latchkey/internal/audit"
)

func TestSQLServerURLErrorsHideThePassword(t *testing.T) {
	const password = "hunter2-canary"
	for _, url := range []string{
		"sqlserver://user:" + password + "@host:port/x",
		"sqlserver://user:" + password + "@host:99999999?database=d",
		"sqlserver://user:" + password + "@ho st",
		"sqlserver://user:%zz" + password + "@host",
		"sqlserver://user:" + password + "@[::1",
		"sqlserver://user:" + password + "@host?encrypt=perhaps",
		"sqlserver://user:" + password + "@host?dial timeout=" + password,
		"sqlserver://user:" + password + "\x7f@host",
		"sqlserver://user:" + password + "@host?certificate=/does/not/exist&encrypt=true",
		"sqlserver:user:" + password + "@host",
		"server=host;user id=user;password=" + password,
		"postgres://user:" + password + "@host/d",
	} {
		s, err := Open(url)
		if err == nil {
			_ = s.Close()
			t.Errorf("%q is accepted", url)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestSQLServerIsDescribedWithoutItsPassword(t *testing.T) {
	s, err := Open("sqlserver://user:hunter2-canary@db.example.com:1444?database=latchkey")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Description(), "SQL Server db.example.com:1444, database latchkey"; got != want {
		t.Errorf("the description is %q, want %q", got, want)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing a server that was never asked: %v", err)
	}
}

func TestSQLServerThatIsAwayIsUnavailable(t *testing.T) {
	s, err := Open("sqlserver://user:hunter2-canary@127.0.0.1:1?database=latchkey&dial+timeout=1&connection+timeout=1")
	if err != nil {
		t.Fatalf("opening a server that is away: %v", err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for name, err := range map[string]error{
		"Ready": s.Ready(ctx), "UserByID": func() error { _, err := s.UserByID(ctx, uuid.UUID{1}); return err }(),
	} {
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrSchemaBehind) {
			t.Errorf("%s gives %v, want ErrUnavailable", name, err)
		}
		if strings.Contains(fmt.Sprint(err), "canary") {
			t.Errorf("%s shows the password: %v", name, err)
		}
	}
}

// statement is one statement as it would go to SQL Server.
type statement struct {
	sql  string
	vars []any
}

// recordSQLServer gives a Store that builds its statements for SQL Server and sends none.
func recordSQLServer(t *testing.T) (*Store, *[]statement) {
	t.Helper()
	s, err := Open("sqlserver://user:password@127.0.0.1:1?database=latchkey")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var list []statement
	record := func(db *gorm.DB) { list = append(list, statement{db.Statement.SQL.String(), db.Statement.Vars}) }
	callbacks := s.writers.db.Callback()
	err = errors.Join(callbacks.Create().After("*").Register("record", record), callbacks.Update().After("*").Register("record", record),
		callbacks.Query().After("*").Register("record", record), callbacks.Delete().After("*").Register("record", record),
		callbacks.Row().After("*").Register("record", record), callbacks.Raw().After("*").Register("record", record))
	if err != nil {
		t.Fatal(err)
	}
	dry := s.writers.db.Session(&gorm.Session{DryRun: true})
	s.readers.db, s.writers.db = dry, dry
	return s, &list
}

// An untyped nil has no type that the server could store in a binary column (error 257), and a time with a zone loses
// its hours in a DATETIME2.
func TestParametersForSQLServerHaveTheirTypes(t *testing.T) {
	s, list := recordSQLServer(t)
	ctx := t.Context()
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	user := User{ID: uuid.UUID{1}, Username: "a", CanonicalName: "a", PasswordHash: "h", CreatedAt: now}
	session := Session{ID: uuid.UUID{2}, UserID: user.ID, Generation: 1, OldestGeneration: 1, CurrentHash: bytes.Repeat([]byte{1}, 32), IssuedAt: now, CreatedAt: now}
	ignore := func(_ any, err error) { _ = err } // without a server there are no rows
	_ = s.CreateUser(ctx, &user)
	_ = s.CreateSession(ctx, &session)
	ignore(s.AdvanceSession(ctx, session, session))
	acknowledged := session
	acknowledged.AcknowledgedAt, acknowledged.ParentHash = sql.NullTime{Time: now, Valid: true}, session.CurrentHash
	ignore(s.AdvanceSession(ctx, acknowledged, acknowledged))
	_ = s.SetDisabled(ctx, user.ID, sql.NullTime{})
	_ = s.SetRoles(ctx, user.ID, nil)
	ignore(s.RevokeUserSessions(ctx, user.ID, uuid.Nil, "x", now))
	ignore(s.BeginLogin(ctx, user.ID, "h", now))
	ignore(s.SetPasswordHash(ctx, user.ID, "h", "i"))
	ignore(s.LiveSessions(ctx, user.ID, now, now))
	ignore(s.UserByName(ctx, "a"))
	ignore(s.SessionByID(ctx, session.ID))
	_ = s.DeleteUser(ctx, user.ID)
	_ = s.AppendAuditEvents(ctx, []audit.Event{{ID: uuid.UUID{3}, At: now}, {ID: uuid.UUID{4}, At: now, UserID: user.ID, SessionID: session.ID}})
	ignore(s.AuditEvents(ctx, AuditFilter{UserID: user.ID, Action: audit.Login, Since: now, Before: uuid.UUID{9}}, 10))
	throttle := LoginThrottle{KeyHash: session.CurrentHash, Failures: 1, ChargedAt: now, BlockedUntil: now}
	ignore(s.LoginThrottle(ctx, throttle.KeyHash))
	ignore(s.AdvanceLoginThrottle(ctx, LoginThrottle{}, throttle))
	ignore(s.AdvanceLoginThrottle(ctx, throttle, throttle))
	_ = s.DeleteLoginThrottle(ctx, throttle.KeyHash)
	ignore(s.SignInAddresses(ctx, "a", now))
	_ = s.CreateUsers(ctx, []User{user, user})
	ignore(s.TakenNames(ctx, []string{"a", "b"}))
	ended := session
	ended.RevokedAt = sql.NullTime{Time: now, Valid: true}
	ignore(s.AdvanceSession(ctx, session, ended))
	ignore(s.RevokeAllSessions(ctx, "x", now))
	ignore(s.RevokeOldestSessions(ctx, session, 1, now, now, "x", now))
	ignore(s.DeleteSessions(ctx, now, 1))
	ignore(s.DeleteAuditEvents(ctx, now, 1))
	_, _, _ = s.DeleteLoginThrottles(ctx, nil, now, 1)
	ignore(s.TakeLease(ctx, "a", "b", now, now))
	_ = s.ReleaseLease(ctx, "a", "b")
	if len(*list) != 33 {
		t.Fatalf("%d statements were recorded, want 33: %v", len(*list), *list)
	}
	conn := new(mssql.Conn)
	for _, statement := range *list {
		for i, v := range statement.vars {
			named := driver.NamedValue{Ordinal: i + 1, Value: v}
			if err := conn.CheckNamedValue(&named); err != nil {
				t.Errorf("%s: parameter %d: %v", statement.sql, i+1, err)
			}
			if named.Value == nil {
				t.Errorf("%s: parameter %d is an untyped nil", statement.sql, i+1)
			}
			if valuer, ok := named.Value.(driver.Valuer); ok {
				inner, err := valuer.Value()
				if _, isTime := valuer.(mssql.NullDateTime); err != nil || inner == nil && !isTime {
					t.Errorf("%s: parameter %d, a %T, gives %v and %v", statement.sql, i+1, valuer, inner, err)
				}
				if inner != nil {
					named.Value = inner
				}
			}
			if at, ok := named.Value.(time.Time); ok {
				t.Errorf("%s: parameter %d goes over the wire as DATETIMEOFFSET: %v", statement.sql, i+1, at)
			}
			if reflect.TypeOf(named.Value) == reflect.TypeFor[uuid.UUID]() {
				t.Errorf("%s: parameter %d is a UUID, which goes over the wire as text", statement.sql, i+1)
			}
		}
		keys := 0
		for _, v := range statement.vars {
			if b, isBytes := v.([]byte); isBytes && len(b) > 0 {
				keys++
			}
		}
		if casts := strings.Count(statement.sql, " AS BINARY("); casts != keys {
			t.Errorf("%d of %d ids and hashes have their column's type: %s", casts, keys, statement.sql)
		}
		if strings.Contains(statement.sql, "MERGE") || strings.Contains(statement.sql, "RETURNING") {
			t.Errorf("a statement that SQL Server runs badly or not at all: %s", statement.sql)
		}
		// GORM adds this where a limit has no order; with DISTINCT it is error 145.
		if strings.Contains(statement.sql, "DISTINCT") && strings.Contains(statement.sql, "(SELECT NULL)") {
			t.Errorf("a statement that SQL Server refuses: %s", statement.sql)
		}
	}
}

func TestTimesGoToSQLServerInUTC(t *testing.T) {
	s, list := recordSQLServer(t)
	now := time.Date(2026, 1, 2, 5, 4, 5, 0, time.FixedZone("", 7200))
	ctx := t.Context()
	user := User{ID: uuid.UUID{1}, Username: "a", CanonicalName: "a", PasswordHash: "h", CreatedAt: now}
	session := Session{ID: uuid.UUID{2}, UserID: user.ID, Generation: 1, CurrentHash: make([]byte, 32), IssuedAt: now, CreatedAt: now}
	session.AcknowledgedAt = sql.NullTime{Time: now, Valid: true}
	_ = s.CreateUser(ctx, &user)
	_ = s.CreateSession(ctx, &session)
	_, _ = s.AdvanceSession(ctx, session, session)
	_ = s.SetDisabled(ctx, user.ID, sql.NullTime{Time: now, Valid: true})
	_, _ = s.RevokeUserSessions(ctx, user.ID, uuid.Nil, "x", now)
	_, _ = s.BeginLogin(ctx, user.ID, "h", now)
	_ = s.AppendAuditEvents(ctx, []audit.Event{{ID: uuid.UUID{3}, At: now}})
	want := civil.DateTime{Date: civil.Date{Year: 2026, Month: 1, Day: 2}, Time: civil.Time{Hour: 3, Minute: 4, Second: 5}}
	times := 0
	for _, statement := range *list {
		for i, v := range statement.vars {
			nullable, ok := v.(mssql.NullDateTime)
			if ok && nullable.Valid {
				v = nullable.DateTime
			}
			at, ok := v.(civil.DateTime)
			if ok {
				times++
			}
			if ok && at != want {
				t.Errorf("parameter %d is %v, want %v: %s", i+1, at, want, statement.sql)
			}
		}
	}
	if times != 11 {
		t.Errorf("%d times were sent, want 11", times)
	}
}

// A statement with more than 2,100 parameters is refused, and with it the whole batch.
func TestBatchesFitIntoAStatementOfSQLServer(t *testing.T) {
	s, list := recordSQLServer(t)
	_ = s.AppendAuditEvents(t.Context(), make([]audit.Event, 2*auditBatch+1))
	_ = s.CreateUsers(t.Context(), make([]User, UserBatch))
	_, _ = s.TakenNames(t.Context(), make([]string, UserBatch))
	if len(*list) != 5 {
		t.Errorf("%d statements were recorded, want 5", len(*list))
	}
	for _, statement := range *list {
		if n := len(statement.vars); n >= 2100 {
			t.Errorf("a statement has %d parameters", n)
		}
	}
}
