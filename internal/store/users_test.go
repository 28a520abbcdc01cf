package store_test

import (
	"database/sql"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/store"
	"latchkey/internal/store/storetest"
)

func TestUserReadsBackAsItWasWritten(t *testing.T) {
	s := storetest.Open(t)
	full := newUser(1)
	full.Username, full.CanonicalName = "Ren\u00e9e \U0001F511", "ren\u00e9e \U0001F511"
	full.LastLoginAt = sql.NullTime{Time: testTime.Add(time.Millisecond), Valid: true}
	full.DisabledAt = sql.NullTime{Time: testTime.Add(2 * time.Millisecond), Valid: true}
	bare := newUser(2)
	bare.Roles = []string{}
	for _, want := range []store.User{full, bare} {
		if err := s.CreateUser(t.Context(), &want); err != nil {
			t.Fatal(err)
		}
		byID, err := s.UserByID(t.Context(), want.ID)
		if err != nil || !reflect.DeepEqual(byID, want) {
			t.Errorf("UserByID gives\n%+v (%v), want\n%+v", byID, err, want)
		}
		byName, err := s.UserByName(t.Context(), want.CanonicalName)
		if err != nil || !reflect.DeepEqual(byName, want) {
			t.Errorf("UserByName gives\n%+v (%v), want\n%+v", byName, err, want)
		}
	}
}

func TestUserWithNilRolesHasNone(t *testing.T) {
	s := storetest.Open(t)
	user := newUser(1)
	user.Roles = nil
	if err := s.CreateUser(t.Context(), &user); err != nil {
		t.Fatal(err)
	}
	if read, err := s.UserByID(t.Context(), user.ID); err != nil || len(read.Roles) != 0 {
		t.Errorf("the roles are %v (%v), want none", read.Roles, err)
	}
}

func TestMissingUserIsErrNotFound(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	ctx := t.Context()
	_, byName := s.UserByName(ctx, "nobody")
	_, byCase := s.UserByName(ctx, "USER001")
	_, bySpace := s.UserByName(ctx, "user001 ")
	_, byNothing := s.UserByName(ctx, "")
	_, byID := s.UserByID(ctx, id(2))
	_, byNil := s.UserByID(ctx, uuid.Nil)
	for name, err := range map[string]error{
		"UserByName": byName, "UserByName in another case": byCase, "UserByName with a space": bySpace, "UserByName of nothing": byNothing,
		"UserByID": byID, "UserByID of nothing": byNil,
		"SetRoles": s.SetRoles(ctx, id(2), []string{"a"}), "SetDisabled": s.SetDisabled(ctx, id(2), sql.NullTime{}),
		"DeleteUser": s.DeleteUser(ctx, id(2)), "DeleteUser of nothing": s.DeleteUser(ctx, uuid.Nil),
		"SetRoles of nothing": s.SetRoles(ctx, uuid.Nil, nil),
	} {
		if !errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s gives %v, want ErrNotFound", name, err)
		}
	}
	if _, err := s.UserByID(ctx, id(1)); err != nil {
		t.Errorf("the account that is there: %v", err)
	}
}

func TestTakenKeysAreErrDuplicate(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	sameName, sameID := newUser(2), newUser(1)
	sameName.CanonicalName = "user001"
	sameID.CanonicalName = "another"
	for name, user := range map[string]store.User{"the name": sameName, "the id": sameID} {
		if err := s.CreateUser(t.Context(), &user); !errors.Is(err, store.ErrDuplicate) {
			t.Errorf("%s is taken: %v, want ErrDuplicate", name, err)
		}
	}
	sameUsername := newUser(3)
	sameUsername.Username = "User001"
	if err := s.CreateUser(t.Context(), &sameUsername); err != nil {
		t.Errorf("only the canonical name is unique: %v", err)
	}
}

func TestOtherBrokenConstraintsAreNoDuplicates(t *testing.T) {
	s := storetest.Open(t)
	orphan := newSession(9, 1)
	if err := s.CreateSession(t.Context(), &orphan); err == nil || errors.Is(err, store.ErrDuplicate) {
		t.Errorf("a session of nobody: %v, want an error that is not ErrDuplicate", err)
	}
	createUser(t, s, 1)
	long := newSession(1, 1)
	long.CurrentHash = append(long.CurrentHash, 0)
	if err := s.CreateSession(t.Context(), &long); err == nil || errors.Is(err, store.ErrDuplicate) {
		t.Errorf("a hash of 33 bytes: %v, want an error that is not ErrDuplicate", err)
	}
}

func TestParallelCreatesOfOneNameLetOneWin(t *testing.T) {
	s := storetest.Open(t)
	callers := storetest.Crowd(t, 32, s)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			user := newUser(i + 1)
			user.CanonicalName = "one"
			switch err := s.CreateUser(t.Context(), &user); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrDuplicate):
				t.Errorf("a loser gets %v, want ErrDuplicate", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of %d won", won.Load(), callers)
	}
}

func TestCreateUsersAddsAllOrNone(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	var users []store.User
	for n := range store.UserBatch {
		users = append(users, newUser(n+2))
	}
	if err := s.CreateUsers(t.Context(), users); err != nil {
		t.Fatal(err)
	}
	if got, err := s.UserByID(t.Context(), id(2)); err != nil || !reflect.DeepEqual(got, users[0]) {
		t.Errorf("UserByID gives\n%+v (%v), want\n%+v", got, err, users[0])
	}
	free, taken := newUser(900), newUser(901)
	taken.CanonicalName = users[7].CanonicalName
	if err := s.CreateUsers(t.Context(), []store.User{free, taken}); !errors.Is(err, store.ErrDuplicate) {
		t.Errorf("CreateUsers with a name that is taken gives %v", err)
	}
	if list, err := s.ListUsers(t.Context(), "", 1000); err != nil || len(list) != store.UserBatch+1 {
		t.Errorf("there are %d accounts (%v), want %d", len(list), err, store.UserBatch+1)
	}
}

func TestTakenNamesSeesTheTransactionItIsIn(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	names := []string{"user003", "USER001", "user001", "nobody", "user002"}
	for n := range store.UserBatch - len(names) {
		names = append(names, newUser(n+100).CanonicalName)
	}
	err := s.InTx(t.Context(), func(tx *store.Store) error {
		if err := tx.CreateUsers(t.Context(), []store.User{newUser(2), newUser(3)}); err != nil {
			return err
		}
		taken, err := tx.TakenNames(t.Context(), names)
		slices.Sort(taken)
		if want := []string{"user001", "user002", "user003"}; !slices.Equal(taken, want) {
			t.Errorf("TakenNames gives %v, want %v", taken, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if taken, err := s.TakenNames(t.Context(), []string{"nobody"}); err != nil || len(taken) != 0 {
		t.Errorf("TakenNames gives %v and %v for a free name", taken, err)
	}
}

func TestListUsersPages(t *testing.T) {
	s := storetest.Open(t)
	for _, n := range []int{3, 1, 5, 2, 4} {
		createUser(t, s, n)
	}
	for name, test := range map[string]struct {
		after string
		limit int
		want  []string
	}{
		"the first page":                 {"", 2, []string{"user001", "user002"}},
		"the next":                       {"user002", 2, []string{"user003", "user004"}},
		"the last, which is not full":    {"user004", 2, []string{"user005"}},
		"beyond the last":                {"user005", 2, nil},
		"after a name that is not there": {"user0025", 1, []string{"user003"}},
		"all":                            {"", 100, []string{"user001", "user002", "user003", "user004", "user005"}},
	} {
		t.Run(name, func(t *testing.T) {
			users, err := s.ListUsers(t.Context(), test.after, test.limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, user := range users {
				got = append(got, user.CanonicalName)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("it holds %v, want %v", got, test.want)
			}
		})
	}
}

func TestChangesTouchOneUserAndOneColumn(t *testing.T) {
	s := storetest.Open(t)
	ctx := t.Context()
	want := createUser(t, s, 1)
	bystander := createUser(t, s, 2)
	check := func(step string) {
		t.Helper()
		if got, err := s.UserByID(ctx, want.ID); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("after %s the row is\n%+v (%v), want\n%+v", step, got, err, want)
		}
		if got, err := s.UserByID(ctx, bystander.ID); err != nil || !reflect.DeepEqual(got, bystander) {
			t.Errorf("after %s another row is\n%+v (%v)", step, got, err)
		}
	}
	if err := s.SetRoles(ctx, want.ID, []string{"b", "c"}); err != nil {
		t.Fatal(err)
	}
	want.Roles = []string{"b", "c"}
	check("SetRoles")
	if err := s.SetRoles(ctx, want.ID, nil); err != nil {
		t.Fatal(err)
	}
	want.Roles = []string{}
	check("SetRoles to none")
	want.DisabledAt = sql.NullTime{Time: testTime.Add(time.Hour), Valid: true}
	if err := s.SetDisabled(ctx, want.ID, want.DisabledAt); err != nil {
		t.Fatal(err)
	}
	check("SetDisabled")
	want.DisabledAt = sql.NullTime{}
	for range 2 { // a row that is already so is found all the same
		if err := s.SetDisabled(ctx, want.ID, want.DisabledAt); err != nil {
			t.Fatal(err)
		}
	}
	check("SetDisabled to null")
	if ok, err := s.SetPasswordHash(ctx, want.ID, want.PasswordHash, "another"); !ok || err != nil {
		t.Fatalf("SetPasswordHash gives %v and %v", ok, err)
	}
	want.PasswordHash = "another"
	check("SetPasswordHash")
	want.LastLoginAt = sql.NullTime{Time: testTime.Add(time.Minute), Valid: true}
	if ok, err := s.BeginLogin(ctx, want.ID, "another", want.LastLoginAt.Time); !ok || err != nil {
		t.Fatalf("BeginLogin gives %v and %v", ok, err)
	}
	check("BeginLogin")
}

func TestConditionalChangesOfAUserSayFalse(t *testing.T) {
	s := storetest.Open(t)
	ctx := t.Context()
	user := createUser(t, s, 1)
	disabled := createUser(t, s, 2)
	if err := s.SetDisabled(ctx, disabled.ID, sql.NullTime{Time: testTime, Valid: true}); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() (bool, error){
		"SetPasswordHash from another hash":    func() (bool, error) { return s.SetPasswordHash(ctx, user.ID, "other", "new") },
		"SetPasswordHash from the case-folded": func() (bool, error) { return s.SetPasswordHash(ctx, user.ID, "HASH OF USER001", "new") },
		"SetPasswordHash of nobody":            func() (bool, error) { return s.SetPasswordHash(ctx, id(9), user.PasswordHash, "new") },
		"BeginLogin with another hash":         func() (bool, error) { return s.BeginLogin(ctx, user.ID, "other", testTime) },
		"BeginLogin of nobody":                 func() (bool, error) { return s.BeginLogin(ctx, id(9), user.PasswordHash, testTime) },
		"BeginLogin of a disabled account":     func() (bool, error) { return s.BeginLogin(ctx, disabled.ID, disabled.PasswordHash, testTime) },
	} {
		if ok, err := do(); ok || err != nil {
			t.Errorf("%s gives %v and %v, want false", name, ok, err)
		}
	}
	if got, err := s.UserByID(ctx, user.ID); err != nil || !reflect.DeepEqual(got, user) {
		t.Errorf("the row is %+v (%v), want it as it was", got, err)
	}
}

func TestDeletedUserTakesTheSessionsAlong(t *testing.T) {
	s := storetest.Open(t)
	createUser(t, s, 1)
	createUser(t, s, 2)
	createSession(t, s, newSession(1, 11))
	createSession(t, s, newSession(1, 12))
	createSession(t, s, newSession(2, 21))
	if err := s.DeleteUser(t.Context(), id(1)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{11, 12} {
		if _, err := s.SessionByID(t.Context(), id(n)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("session %d: %v, want ErrNotFound", n, err)
		}
	}
	again := createUser(t, s, 1) // under the same id, so that a row left behind would show
	if list, err := s.LiveSessions(t.Context(), again.ID, time.Time{}, time.Time{}); err != nil || len(list) != 0 {
		t.Errorf("sessions are left behind: %v (%v)", list, err)
	}
	readSession(t, s, id(21))
}
