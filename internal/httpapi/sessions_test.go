package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestSessions(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	f.signUp(t, "mallory")
	laptop := f.signIn(t, "alice")
	f.clock.advance(time.Minute)
	phone := f.do(t, http.MethodPost, "/api/user/login", credentialsOf("alice", goodPassword),
		"User-Agent", "Phone\t\xc3\xa9/1 "+strings.Repeat("x", 300)).held(t)
	mallory := f.signIn(t, "mallory")

	list := f.sessionsOf(t, laptop)
	if len(list) != 2 || !list[1].Current || list[0].Current {
		t.Fatalf("%+v", list)
	}
	newest := list[0]
	if newest.UserAgent != "Phone??/1 "+strings.Repeat("x", 244) || newest.IP != "127.0.0.1" ||
		!newest.CreatedAt.Equal(f.clock.Now()) || !newest.ExpiresAt.Equal(f.clock.Now().Add(168*time.Hour).Truncate(time.Hour).Add(time.Hour)) {
		t.Errorf("%+v", newest)
	}

	end := func(by held, id string) answer {
		return f.do(t, http.MethodDelete, "/api/user/sessions/"+id, "", bearerOf(by.access)...)
	}
	theirs := f.sessionsOf(t, mallory)[0].ID.String()
	for name, id := range map[string]string{
		"another user's":                 theirs,
		"nobody's":                       uuid.Must(uuid.NewV7()).String(),
		"no UUID":                        "1",
		"a UUID and more":                newest.ID.String() + "0",
		"the nil UUID":                   uuid.Nil.String(),
		"an encoded slash":               "a%2Fb",
		"a traversal":                    "..%2F" + theirs,
		"an SQL expression":              "1'%20OR%201=1--",
		"a name that is longer than any": strings.Repeat("a", 4000),
	} {
		t.Run(name+" is not found", func(t *testing.T) {
			wantProblem(t, end(laptop, id), http.StatusNotFound, "not_found")
		})
	}
	wantStatus(t, f.get(t, "/api/user/me", mallory.access), http.StatusOK)

	wantStatus(t, end(laptop, newest.ID.String()), http.StatusNoContent)
	f.wantDead(t, phone)
	wantProblem(t, end(laptop, newest.ID.String()), http.StatusNotFound, "not_found") // it has ended already

	tablet, desktop := f.signIn(t, "alice"), f.signIn(t, "alice")
	wantStatus(t, f.do(t, http.MethodDelete, "/api/user/sessions", "", bearerOf(laptop.access)...), http.StatusNoContent)
	f.wantDead(t, tablet)
	f.wantDead(t, desktop)
	if list := f.sessionsOf(t, laptop); len(list) != 1 || !list[0].Current {
		t.Errorf("left are %+v", list)
	}
	wantStatus(t, f.get(t, "/api/user/me", mallory.access), http.StatusOK)

	wantStatus(t, end(laptop, f.sessionsOf(t, laptop)[0].ID.String()), http.StatusNoContent) // one's own may end too
	f.wantDead(t, laptop)
}

// The document says that ids are UUIDs, which have one spelling there.
func TestSessionIDsHaveOneSpelling(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	for name, spelling := range map[string]func(id string) string{
		"without hyphens":       func(id string) string { return strings.ReplaceAll(id, "-", "") },
		"as a URN":              func(id string) string { return "urn:uuid:" + id },
		"in braces":             func(id string) string { return "%7B" + id + "%7D" },
		"between any two bytes": func(id string) string { return "x" + id + "y" },
	} {
		t.Run(name+" is not found", func(t *testing.T) {
			h := f.signIn(t, "alice")
			id := spelling(f.sessionsOf(t, h)[0].ID.String())
			wantProblem(t, f.do(t, http.MethodDelete, "/api/user/sessions/"+id, "", bearerOf(h.access)...),
				http.StatusNotFound, "not_found")
		})
	}
}

func (f *fixture) sessionsOf(t testing.TB, h held) []sessionBody {
	t.Helper()
	a := f.get(t, "/api/user/sessions", h.access)
	wantStatus(t, a, http.StatusOK)
	var body sessionsBody
	a.decode(t, &body)
	return body.Sessions
}

func TestSessionHasTheAddressWithoutItsZone(t *testing.T) {
	f := newFixture(t)
	f.signUp(t, "alice")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/user/login", strings.NewReader(credentialsOf("alice", goodPassword)))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = "[fe80:1234:5678:9abc:def0:1234:5678:9abc%a-long-interface]:1234"
	f.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
	list := f.sessionsOf(t, f.signIn(t, "alice"))
	if len(list) != 2 || list[1].IP != "fe80:1234:5678:9abc:def0:1234:5678:9abc" {
		t.Errorf("the sessions are %+v", list)
	}
}
