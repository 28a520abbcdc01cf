package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

func at(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: true} }

func TestSessionReadsBackAsItWasWrittenWithItsOwner(t *testing.T) {
	s := storetest.Open(t)
	user := createUser(t, s, 1)
	disabledAt := at(testTime.Add(time.Hour))
	bare, full := newSession(1, 2), newSession(1, 3)
	bare.UserAgent, bare.IP = "", ""
	full.Generation, full.OldestGeneration = 7, 5
	full.ParentHash = bytes.Repeat([]byte{9}, 32)
	full.IssuedAt, full.CreatedAt = testTime.Add(3*time.Millisecond), testTime.Add(time.Millisecond)
	full.AcknowledgedAt, full.RevokedAt, full.RevokedReason = at(testTime.Add(4*time.Millisecond)), at(testTime.Add(5*time.Millisecond)), "logout"
	for _, want := range []store.Session{bare, full} {
		createSession(t, s, want)
		row := readSession(t, s, want.ID)
		if !reflect.DeepEqual(row.Session, want) {
			t.Errorf("SessionByID gives\n%+v, want\n%+v", row.Session, want)
		}
		if row.Username != user.Username || !slices.Equal(row.Roles, user.Roles) || row.DisabledAt.Valid || !row.UserCreatedAt.Equal(user.CreatedAt) {
			t.Errorf("its owner is %q, %v, %v, %v", row.Username, row.Roles, row.DisabledAt, row.UserCreatedAt)
		}
	}
	if err := s.SetDisabled(t.Context(), user.ID, disabledAt); err != nil {
		t.Fatal(err)
	}
	if row := readSession(t, s, full.ID); row.DisabledAt != disabledAt {
		t.Errorf("the owner is disabled at %v, want %v", row.DisabledAt, disabledAt)
	}
}

func TestMissingSessionIsErrNotFound(t *testing.T) {
	s := storetest.Open(t)
	for _, missing := range []uuid.UUID{id(1), uuid.Nil} {
		if _, err := s.SessionByID(t.Context(), missing); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", missing, err)
		}
	}
}

func TestTakenSessionIDIsErrDuplicate(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	session := createSession(t, s, newSession(1, 2))
	if err := s.CreateSession(t.Context(), &session); !errors.Is(err, store.ErrDuplicate) {
		t.Errorf("CreateSession gives %v, want ErrDuplicate", err)
	}
}

// Times have the database's milliseconds in UTC, whatever the zone in which they were given, also around the change to
// summer time, where a wall clock shows an hour twice.
func TestTimesAreInstants(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here:", err)
	}
	s := storetest.Open(t)
	createUser(t, s, 1)
	for i, given := range []time.Time{
		testTime.In(berlin),
		testTime.In(time.FixedZone("", -11*3600)),
		time.Date(2026, 10, 25, 0, 30, 0, 1_000_000, time.UTC).In(berlin),
		time.Date(2026, 10, 25, 1, 30, 0, 999_000_000, time.UTC).In(berlin),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 14*3600)),
		time.Date(2099, 12, 31, 23, 59, 59, 999_000_000, time.UTC),
	} {
		session := newSession(1, i+10)
		session.IssuedAt, session.CreatedAt, session.AcknowledgedAt = given, given, at(given)
		createSession(t, s, session)
		row := readSession(t, s, session.ID)
		for name, read := range map[string]time.Time{"issued": row.IssuedAt, "created": row.CreatedAt, "acknowledged": row.AcknowledgedAt.Time} {
			if !read.Equal(given) || read.Location() != time.UTC {
				t.Errorf("%s at %v reads as %v, want the instant in UTC", name, given, read)
			}
		}
		if ok, err := s.AdvanceSession(t.Context(), session, row.Session); !ok || err != nil {
			t.Errorf("a row acknowledged at %v is not found by that time: %v, %v", given, ok, err)
		}
	}
}

func TestAdvanceSessionDependsOnWhatWasRead(t *testing.T) {
	acknowledged := at(testTime.Add(time.Second))
	read := newSession(1, 2)
	read.Generation, read.OldestGeneration, read.ParentHash = 3, 2, bytes.Repeat([]byte{7}, 32)
	change := func(f func(*store.Session)) store.Session { s := read; f(&s); return s }
	tests := map[string]struct {
		row, from store.Session
		want      bool
	}{
		"as it was read":                      {read, read, true},
		"acknowledged as it was read":         {change(func(s *store.Session) { s.AcknowledgedAt = acknowledged }), change(func(s *store.Session) { s.AcknowledgedAt = acknowledged }), true},
		"an older generation was read":        {read, change(func(s *store.Session) { s.Generation = 2 }), false},
		"a newer generation was read":         {read, change(func(s *store.Session) { s.Generation = 4 }), false},
		"acknowledged since":                  {change(func(s *store.Session) { s.AcknowledgedAt = acknowledged }), read, false},
		"no longer acknowledged":              {read, change(func(s *store.Session) { s.AcknowledgedAt = acknowledged }), false},
		"acknowledged a millisecond later":    {change(func(s *store.Session) { s.AcknowledgedAt = at(acknowledged.Time.Add(time.Millisecond)) }), change(func(s *store.Session) { s.AcknowledgedAt = acknowledged }), false},
		"revoked since":                       {change(func(s *store.Session) { s.RevokedAt = acknowledged }), read, false},
		"revoked, and read as revoked":        {change(func(s *store.Session) { s.RevokedAt = acknowledged }), change(func(s *store.Session) { s.RevokedAt = acknowledged }), false},
		"revoked and acknowledged since":      {change(func(s *store.Session) { s.RevokedAt, s.AcknowledgedAt = acknowledged, acknowledged }), read, false},
		"what is not compared may differ":     {change(func(s *store.Session) { s.OldestGeneration = 1 }), read, true},
		"gone":                                {newSession(1, 3), read, false},
		"acknowledged, read in another zone":  {change(func(s *store.Session) { s.AcknowledgedAt = acknowledged }), change(func(s *store.Session) { s.AcknowledgedAt = at(acknowledged.Time.In(time.FixedZone("", 3600))) }), true},
		"an invalid time is null, not a time": {read, change(func(s *store.Session) { s.AcknowledgedAt = sql.NullTime{Time: testTime} }), true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t)
			createUser(t, s, 1)
			createSession(t, s, test.row)
			to := test.row
			to.Generation, to.OldestGeneration = 9, 8
			to.CurrentHash, to.ParentHash = bytes.Repeat([]byte{0xA}, 32), bytes.Repeat([]byte{0xB}, 32)
			to.IssuedAt, to.AcknowledgedAt = testTime.Add(time.Hour), at(testTime.Add(2*time.Hour))
			advance := func(from, to, want store.Session) {
				t.Helper()
				if got, err := s.AdvanceSession(t.Context(), from, to); err != nil || got != test.want {
					t.Errorf("AdvanceSession gives %v and %v, want %v", got, err, test.want)
				}
				if !test.want {
					want = test.row
				}
				if row := readSession(t, s, test.row.ID); !reflect.DeepEqual(row.Session, want) {
					t.Errorf("the row is\n%+v, want\n%+v", row.Session, want)
				}
			}
			advance(test.from, to, to)
			if !test.want {
				to = test.from
			}
			ended, asked := to, to
			ended.RevokedAt, ended.RevokedReason = at(testTime.Add(3*time.Hour)), "reuse"
			asked.RevokedAt, asked.RevokedReason = ended.RevokedAt, ended.RevokedReason
			asked.OldestGeneration, asked.CurrentHash, asked.IssuedAt = 1, bytes.Repeat([]byte{0xC}, 32), testTime // stay as they are
			advance(to, asked, ended)
		})
	}
}

func TestAdvanceSessionWritesNulls(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	full := newSession(1, 2)
	full.Generation, full.ParentHash, full.AcknowledgedAt = 2, bytes.Repeat([]byte{7}, 32), at(testTime)
	createSession(t, s, full)
	bystander := createSession(t, s, newSession(1, 3))
	to := full
	to.Generation, to.ParentHash, to.AcknowledgedAt = 3, nil, sql.NullTime{}
	if ok, err := s.AdvanceSession(t.Context(), full, to); !ok || err != nil {
		t.Fatalf("AdvanceSession gives %v and %v", ok, err)
	}
	if row := readSession(t, s, full.ID); !reflect.DeepEqual(row.Session, to) {
		t.Errorf("the row is\n%+v, want\n%+v", row.Session, to)
	}
	if row := readSession(t, s, bystander.ID); !reflect.DeepEqual(row.Session, bystander) {
		t.Errorf("another row is\n%+v", row.Session)
	}
}

func TestAdvanceSessionLeavesTheRestOfTheRow(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	from := createSession(t, s, newSession(1, 2))
	to := from
	to.Generation, to.CreatedAt, to.UserAgent, to.IP, to.UserID = 2, testTime.Add(time.Hour), "another", "another", id(9)
	if ok, err := s.AdvanceSession(t.Context(), from, to); !ok || err != nil {
		t.Fatalf("AdvanceSession gives %v and %v", ok, err)
	}
	from.Generation = 2
	if row := readSession(t, s, from.ID); !reflect.DeepEqual(row.Session, from) {
		t.Errorf("the row is\n%+v, want\n%+v", row.Session, from)
	}
}

func TestRevocationIsForGood(t *testing.T) {
	s := storetest.Open(t)
	ctx := t.Context()
	createUser(t, s, 1)
	session := createSession(t, s, newSession(1, 2))
	first := testTime.Add(time.Minute)
	for i, want := range []bool{true, false, false} {
		now := first.Add(time.Duration(i) * time.Minute)
		if ended, err := s.RevokeSession(ctx, session.ID, fmt.Sprint("reason ", i), now); ended != want || err != nil {
			t.Errorf("revocation %d gives %v and %v, want %v", i, ended, err, want)
		}
	}
	if n, err := s.RevokeUserSessions(ctx, id(1), uuid.Nil, "again", first.Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("RevokeUserSessions gives %d and %v, want 0", n, err)
	}
	if row := readSession(t, s, session.ID); row.RevokedAt != at(first) || row.RevokedReason != "reason 0" {
		t.Errorf("it is revoked at %v for %q, want the first time and reason", row.RevokedAt, row.RevokedReason)
	}
	if ended, err := s.RevokeSession(ctx, id(9), "x", first); ended || err != nil {
		t.Errorf("a session that is not there gives %v and %v", ended, err)
	}
}

func TestRevocationsEndJustThoseNamed(t *testing.T) {
	for name, test := range map[string]struct {
		revoke func(*store.Store) (int64, error)
		n      int64
		ended  []int
	}{
		"one session": {func(s *store.Store) (int64, error) {
			ended, err := s.RevokeSession(t.Context(), id(11), "test", testTime)
			return map[bool]int64{true: 1}[ended], err
		}, 1, []int{11}},
		"a user's": {func(s *store.Store) (int64, error) {
			return s.RevokeUserSessions(t.Context(), id(1), uuid.Nil, "test", testTime)
		}, 3, []int{11, 12, 13}},
		"a user's but one": {func(s *store.Store) (int64, error) {
			return s.RevokeUserSessions(t.Context(), id(1), id(12), "test", testTime)
		}, 2, []int{11, 13}},
		"a user's but another's one": {func(s *store.Store) (int64, error) {
			return s.RevokeUserSessions(t.Context(), id(1), id(21), "test", testTime)
		}, 3, []int{11, 12, 13}},
		"nobody's": {func(s *store.Store) (int64, error) {
			return s.RevokeUserSessions(t.Context(), uuid.Nil, uuid.Nil, "test", testTime)
		}, 0, nil},
		"everybody's": {func(s *store.Store) (int64, error) {
			return s.RevokeAllSessions(t.Context(), "test", testTime)
		}, 5, []int{11, 12, 13, 21, 22}},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t)
			createUser(t, s, 1)
			createUser(t, s, 2)
			all := []int{11, 12, 13, 21, 22}
			for _, n := range all {
				createSession(t, s, newSession(n/10, n))
			}
			if n, err := test.revoke(s); n != test.n || err != nil {
				t.Errorf("it gives %d and %v, want %d", n, err, test.n)
			}
			var ended []int
			for _, n := range all {
				if readSession(t, s, id(n)).RevokedAt.Valid {
					ended = append(ended, n)
				}
			}
			if !slices.Equal(ended, test.ended) {
				t.Errorf("%v ended, want %v", ended, test.ended)
			}
		})
	}
}

func TestRevokeOldestSessionsKeepsTheNewest(t *testing.T) {
	const ever = -1000 * time.Hour
	for name, test := range map[string]struct {
		newest                    int
		keep                      int
		issuedAfter, createdAfter time.Duration
		ended                     []int
	}{
		"all but the newest and two":               {15, 2, ever, ever, []int{11, 12}},
		"all but the newest":                       {15, 0, ever, ever, []int{11, 12, 13, 14}},
		"all but the newest and one":               {15, 1, ever, ever, []int{11, 12, 13}},
		"as many as there are":                     {15, 4, ever, ever, nil},
		"more than there are":                      {15, 100, ever, ever, nil},
		"only those that began after then":         {15, 1, ever, 2 * time.Minute, []int{13}},
		"only those that were issued after then":   {15, 1, 2 * time.Minute, ever, []int{13}},
		"a new one that the clock put before all":  {11, 1, ever, ever, []int{12, 13, 14}},
		"a new one that the clock put before some": {13, 0, ever, ever, []int{11, 12, 14, 15}},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t)
			createUser(t, s, 1)
			createUser(t, s, 2)
			for _, n := range []int{13, 11, 15, 12, 14} { // whatever the order of insertion
				session := newSession(1, n)
				session.CreatedAt = testTime.Add(time.Duration(n-10) * time.Minute)
				if n >= 14 {
					session.CreatedAt = testTime.Add(4 * time.Minute) // together: then the id decides
				}
				session.IssuedAt = session.CreatedAt
				createSession(t, s, session)
			}
			revoked := newSession(1, 19)
			revoked.CreatedAt, revoked.IssuedAt, revoked.RevokedAt = testTime.Add(time.Hour), testTime.Add(time.Hour), at(testTime)
			createSession(t, s, revoked)
			createSession(t, s, newSession(2, 21))
			newest := readSession(t, s, id(test.newest)).Session
			n, err := s.RevokeOldestSessions(t.Context(), newest, test.keep,
				testTime.Add(test.issuedAfter), testTime.Add(test.createdAfter), "limit", testTime.Add(2*time.Hour))
			if err != nil || n != int64(len(test.ended)) {
				t.Errorf("it gives %d and %v, want %d", n, err, len(test.ended))
			}
			var ended []int
			for _, n := range []int{11, 12, 13, 14, 15, 21} {
				if readSession(t, s, id(n)).RevokedAt.Valid {
					ended = append(ended, n)
				}
			}
			if !slices.Equal(ended, test.ended) {
				t.Errorf("%v ended, want %v", ended, test.ended)
			}
			if row := readSession(t, s, id(19)); row.RevokedAt != at(testTime) {
				t.Error("one that had ended before was ended again")
			}
		})
	}
}

func TestLiveSessionsAreTheUsersNewestFirst(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	createUser(t, s, 2)
	for n, change := range map[int]func(*store.Session){
		11: func(*store.Session) {},
		12: func(s *store.Session) { s.CreatedAt = testTime.Add(2 * time.Minute) },
		13: func(s *store.Session) { s.CreatedAt = testTime.Add(time.Minute) },
		14: func(s *store.Session) { s.CreatedAt = testTime.Add(time.Minute) }, // together with 13: the id decides
		15: func(s *store.Session) { s.RevokedAt = at(testTime) },
		16: func(s *store.Session) { s.IssuedAt = testTime.Add(-time.Hour) },
		17: func(s *store.Session) { s.CreatedAt = testTime.Add(-time.Hour) },
		21: func(s *store.Session) { s.UserID = id(2) },
	} {
		session := newSession(1, n)
		change(&session)
		createSession(t, s, session)
	}
	list, err := s.LiveSessions(t.Context(), id(1), testTime.Add(-time.Hour), testTime.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	var got []uuid.UUID
	for _, session := range list {
		got = append(got, session.ID)
	}
	if want := []uuid.UUID{id(12), id(14), id(13), id(11)}; !slices.Equal(got, want) {
		t.Errorf("the list is %v, want %v", got, want)
	}
}
