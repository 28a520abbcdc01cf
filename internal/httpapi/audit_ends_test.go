package httpapi

import (
	"net/http"
	"slices"
	"testing"
)

// wantKept wants the table to have just these events, without those of sign-ins.
func (f *fixture) wantKept(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range f.kept(t) {
		if e.Action != "user.login" && e.Action != "user.administer" {
			got = append(got, string(e.Action)+" "+e.Result)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the table has %q, want %q", got, want)
	}
}

func TestSessionsThatTheirUserEndsAreKept(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	this := f.signIn(t, "alice")
	f.signIn(t, "alice")
	for _, s := range f.sessionsOf(t, this) {
		if !s.Current {
			wantStatus(t, f.do(t, http.MethodDelete, "/api/user/sessions/"+s.ID.String(), "", bearerOf(this.access)...), http.StatusNoContent)
		}
	}
	f.signIn(t, "alice")
	wantStatus(t, f.do(t, http.MethodDelete, "/api/user/sessions", "", bearerOf(this.access)...), http.StatusNoContent)
	f.wantKept(t, "session.end ended", "session.end ended")
}

func TestLimitsThatAnAddressHitsAreKept(t *testing.T) {
	f := newFixture(t, "LATCHKEY_LIMIT_REGISTER=1/1h", "LATCHKEY_LIMIT_REFRESH=1/1h")
	for _, name := range []string{"alice", "bob"} {
		f.do(t, http.MethodPost, "/api/user/register", credentialsOf(name, goodPassword))
	}
	f.refresh(t, "junk")
	f.refresh(t, "junk")
	f.wantKept(t, "user.register ok", "throttle register", "session.refresh malformed", "throttle refresh")
}
