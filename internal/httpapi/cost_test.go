package httpapi

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"latchkey/internal/store/storetest"
)

// What a request costs is counted and not timed, so that the hour does not matter. A call with a token that was seen a moment
// ago asks the database nothing.
func TestHotCallCostsNoStatementAndFewAllocations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	counts := storetest.CountStatements(t, path)
	f := newFixture(t, "LATCHKEY_DATABASE_URL=sqlite:"+path)
	f.signUp(t, "alice", "admin")
	token := f.signIn(t, "alice").access
	for _, path := range []string{"/api/user/me", "/api/user/protected"} {
		h, r := quiet(f), httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		call := func() {
			if status, _ := direct(h, r); status != http.StatusOK {
				t.Fatal(status)
			}
		}
		call()
		f.closeAudit(t, f.audit) // its table would be counted, too
		counts.Take()
		wantAllocations(t, path, 40, call)
		if got := counts.Take(); got != (storetest.Count{}) {
			t.Errorf("%s costs %+v", path, got)
		}
	}
}

// A refresh is one read and one conditional write, which package session counts.
func TestRefreshCostsFewAllocations(t *testing.T) {
	f := newFixture(t, "LATCHKEY_REFRESH_GRACE=0s", "LATCHKEY_DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "latchkey.db")) // drivers differ
	f.signUp(t, "alice")
	h, r := quiet(f), httptest.NewRequest(http.MethodPost, "/api/user/refresh", http.NoBody)
	r.Header.Set("Cookie", f.cookieOf(f.signIn(t, "alice").refresh)[1])
	f.closeAudit(t, f.audit)
	wantAllocations(t, "refresh", 400, func() { refreshDirectly(t, h, r) })
}

// wantAllocations allows a tenth more than there are without the race detector, which has a few of its own.
func wantAllocations(t *testing.T, what string, most float64, call func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, call); got > most {
		t.Errorf("%s allocates %.0f times, want %.0f at most", what, got, most)
	}
}
