package session_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store/storetest"
)

func TestRefreshesOfOneTokenAtOnceGetOneSuccessorByOneRotation(t *testing.T) {
	w := newWorld(t, 2, nil)
	first := w.login(t).RefreshToken
	callers := storetest.Crowd(t, 64, w.stores...)
	grants, errs := make([]session.Grant, callers), make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() { grants[i], errs[i] = w.replicas[i%2].Refresh(t.Context(), first) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		if grants[i].RefreshToken == "" || grants[i].RefreshToken != grants[0].RefreshToken {
			t.Fatalf("answers %d and 0 carry different refresh tokens", i)
		}
		if _, err := w.replicas[i%2].Authenticate(t.Context(), grants[i].AccessToken); err != nil {
			t.Errorf("the access token of answer %d: %v", i, err)
		}
	}
	if rotated, replayed := w.counted(t, audit.Refresh, "rotate"), w.counted(t, audit.Refresh, "replay"); rotated != 1 || replayed != callers-1 {
		t.Errorf("%d rotations and %d replays, want 1 and %d", rotated, replayed, callers-1)
	}
	if g := w.row(t, first).Generation; g != 2 {
		t.Errorf("the session is in generation %d, want 2", g)
	}
}

// Whatever is under way when a session ends, nothing of it is accepted afterwards, and its row stays as it ended.
func TestPropertyDeadIsDead(t *testing.T) {
	w := newWorld(t, 2, nil)
	for name, end := range map[string]func(session.Grant, session.Principal) error{
		"logout": func(g session.Grant, _ session.Principal) error {
			return w.replicas[0].Logout(t.Context(), g.RefreshToken, g.AccessToken)
		},
		"end": func(_ session.Grant, p session.Principal) error {
			return w.replicas[0].End(t.Context(), p, p.SessionID)
		},
		"end others": func(_ session.Grant, p session.Principal) error {
			p.SessionID[0]++
			return w.replicas[0].EndOthers(t.Context(), p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			endedSo := 0
			for range 20 {
				first := w.login(t)
				p := w.mustUse(t, first.AccessToken)
				w.clock.advance(grace + time.Millisecond)

				var mu sync.Mutex
				refreshTokens, accessTokens := []string{first.RefreshToken}, []string{first.AccessToken}
				begin, ended := make(chan struct{}), make(chan struct{})
				var group sync.WaitGroup
				for i := range 6 { // each follows the chain, and uses what it gets
					group.Go(func() {
						<-begin
						held := first.RefreshToken
						for range 5 {
							w.clock.advance(4 * time.Second)
							grant, err := w.replicas[i%2].Refresh(t.Context(), held)
							if err != nil {
								return
							}
							mu.Lock()
							accessTokens = append(accessTokens, grant.AccessToken)
							if grant.RefreshToken != "" {
								held = grant.RefreshToken
								refreshTokens = append(refreshTokens, held)
							}
							mu.Unlock()
							_, _ = w.replicas[i%2].Authenticate(t.Context(), grant.AccessToken) // either answer is in order
						}
					})
				}
				group.Go(func() {
					defer close(ended)
					<-begin
					// A refresh may have found reuse first: the clock runs for all.
					if err := end(first, p); err != nil && !errors.Is(err, session.ErrNotFound) {
						t.Errorf("end: %v", err)
					}
				})
				close(begin)
				<-ended
				after := w.row(t, first.RefreshToken)
				if !after.RevokedAt.Valid {
					t.Fatal("the session was not revoked when the call returned")
				}
				if _, err := w.replicas[0].Authenticate(t.Context(), first.AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
					t.Fatalf("an access token, at once: %v", err)
				}
				group.Wait()

				for _, token := range accessTokens {
					if _, err := w.replicas[0].Authenticate(t.Context(), token); !errors.Is(err, session.ErrInvalidAccess) {
						t.Fatalf("an access token where the session was ended: %v", err)
					}
				}
				w.clock.advance(delay)
				for _, replica := range w.replicas {
					for _, token := range refreshTokens {
						if _, err := replica.Refresh(t.Context(), token); !errors.Is(err, session.ErrInvalidRefresh) {
							t.Fatalf("a refresh token after the end: %v", err)
						}
					}
					for _, token := range accessTokens {
						if _, err := replica.Authenticate(t.Context(), token); !errors.Is(err, session.ErrInvalidAccess) {
							t.Fatalf("an access token after the end: %v", err)
						}
					}
				}
				if row := w.row(t, first.RefreshToken); row.RevokedReason != after.RevokedReason || row.RevokedAt != after.RevokedAt ||
					row.Generation != after.Generation || row.AcknowledgedAt != after.AcknowledgedAt {
					t.Fatalf("a late write changed the row from\n%+v to\n%+v", after.Session, row.Session)
				}
				if after.RevokedReason != string(session.Reuse) {
					endedSo++
				}
			}
			if endedSo == 0 {
				t.Error("in every round reuse was faster: the test shows nothing")
			}
		})
	}
}

// No session that was begun with the old password lives once the password has been changed.
func TestPropertyNoSignInOutlivesThePasswordItWasMadeWith(t *testing.T) {
	w := newWorld(t, 2, nil)
	hasher := password.NewHasher(4)
	accounts := make([]*account.Service, len(w.replicas))
	for i, replica := range w.replicas {
		accounts[i] = account.NewService(account.Dependencies{
			Store: w.store, Hasher: hasher, Policy: password.NewPolicy(8), Sessions: replica, Names: w.refresh, Audit: w.audit, Now: w.clock.Now,
		})
	}
	const name = "alice"
	passwords := []string{"correct horse 0", "correct horse 1"}
	if _, err := accounts[0].Create(t.Context(), name, passwords[0], nil); err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		from, to := passwords[round%2], passwords[(round+1)%2]
		grants, errs := make([]session.Grant, 3), make([]error, 3)
		var group sync.WaitGroup
		for i := range grants {
			group.Go(func() { grants[i], errs[i] = accounts[i%2].Login(t.Context(), name, from, client, "") })
		}
		group.Go(func() {
			if _, err := accounts[0].SetPassword(t.Context(), name, to); err != nil {
				t.Errorf("set the password: %v", err)
			}
		})
		group.Wait()
		w.clock.advance(delay)
		for i, err := range errs {
			var throttled *account.ThrottledError
			switch {
			case errors.Is(err, account.ErrInvalidCredentials) || errors.As(err, &throttled):
				continue
			case err != nil:
				t.Fatal(err)
			}
			for _, replica := range w.replicas {
				if _, err := replica.Authenticate(t.Context(), grants[i].AccessToken); !errors.Is(err, session.ErrInvalidAccess) {
					t.Errorf("round %d: an access token of the old password: %v", round, err)
				}
				if _, err := replica.Refresh(t.Context(), grants[i].RefreshToken); !errors.Is(err, session.ErrInvalidRefresh) {
					t.Errorf("round %d: a refresh token of the old password: %v", round, err)
				}
			}
		}
	}
}
