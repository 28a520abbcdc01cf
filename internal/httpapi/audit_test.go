package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
)

// auditor makes a server with an admin and n old events: every other one is alice's, and every tenth the alarm. It
// returns the events, newest first, and the admin's access token.
func auditor(t *testing.T, n int) (*fixture, []audit.Event, string) {
	t.Helper()
	f := newFixture(t)
	alice := f.signUp(t, "alice")
	f.signUp(t, "root", "admin")
	events := make([]audit.Event, n)
	for i := range events {
		at := f.clock.Now().Add(time.Duration(i-n)*time.Hour + 5*time.Millisecond)
		e := audit.Event{ID: audit.FirstID(at), At: at, Action: audit.Login, Result: "unknown_user", NameHash: "0123456789abcdef0123456789abcdef"}
		if i%2 == 0 {
			e.UserID, e.SessionID, e.NameHash, e.Result = alice.ID, uuid.UUID{1, 15: byte(i)}, "", "ok"
			e.Address, e.RequestID = "2001:db8::1", fmt.Sprint("request-", i)
		}
		if i%10 == 0 {
			e.Action = audit.Reuse
		}
		events[i] = e
	}
	if err := f.store.AppendAuditEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(events)
	return f, events, f.signIn(t, "root").access
}

// events asks for a page. The events of the test's own calls come in between, unless it asks for what is older.
func (f *fixture) events(t *testing.T, query, accessToken string) eventsBody {
	t.Helper()
	a := f.get(t, "/api/admin/audit"+query, accessToken)
	wantStatus(t, a, http.StatusOK)
	var body eventsBody
	a.decode(t, &body)
	return body
}

func TestAuditListsTheNewestFirst(t *testing.T) {
	f, events, admin := auditor(t, 50)
	var body eventsBody
	var got struct{ Events []map[string]any }
	a := f.get(t, "/api/admin/audit?limit=50&after="+audit.FirstID(f.clock.Now()).String(), admin)
	a.decode(t, &body)
	a.decode(t, &got)
	if len(body.Events) != 50 || body.Next != nil {
		t.Fatalf("%d events, next %v", len(body.Events), body.Next)
	}
	for i, e := range events {
		want, err := json.Marshal(NewEvent(e))
		if err != nil {
			t.Fatal(err)
		}
		if have, err := json.Marshal(body.Events[i]); err != nil || string(have) != string(want) {
			t.Errorf("event %d is %s, want %s (%v)", i, have, want, err)
		}
	}
	if known, unknown := got.Events[1], got.Events[0]; known["user_id"] != events[1].UserID.String() || known["name_hash"] != nil ||
		unknown["user_id"] != nil || unknown["session_id"] != nil || unknown["name_hash"] != events[0].NameHash {
		t.Errorf("what is not known is not null: %v, %v", known, unknown)
	}
}

func TestAuditPagesMeetWithoutGapAndOverlap(t *testing.T) {
	f, events, admin := auditor(t, 25)
	alice := events[0].UserID
	if alice == uuid.Nil {
		alice = events[1].UserID
	}
	for name, test := range map[string]struct {
		query  string
		wanted func(audit.Event) bool
	}{
		"of all":                  {"", func(audit.Event) bool { return true }},
		"of one user":             {"&user_id=" + alice.String(), func(e audit.Event) bool { return e.UserID == alice }},
		"of one action":           {"&action=session.reuse", func(e audit.Event) bool { return e.Action == audit.Reuse }},
		"of one user's action":    {"&action=user.login&user_id=" + alice.String(), func(e audit.Event) bool { return e.UserID == alice && e.Action == audit.Login }},
		"of nobody":               {"&user_id=" + uuid.Must(uuid.NewV7()).String(), func(audit.Event) bool { return false }},
		"of what nobody ever did": {"&action=cross_origin", func(audit.Event) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want, got []uuid.UUID
			for _, e := range events {
				if test.wanted(e) {
					want = append(want, e.ID)
				}
			}
			after := audit.FirstID(f.clock.Now()).String()
			for pages := 0; after != ""; pages++ {
				body := f.events(t, "?limit=5&after="+after+test.query, admin)
				if len(body.Events) > 5 || pages > 10 {
					t.Fatalf("page %d has %d events", pages, len(body.Events))
				}
				for _, e := range body.Events {
					got = append(got, e.ID)
				}
				after = ""
				if body.Next != nil {
					after = body.Next.String()
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d events, want %d", len(got), len(want))
			}
		})
	}
}

func TestAuditHasAHundredEventsUnlessAskedForMore(t *testing.T) {
	f, _, admin := auditor(t, 200)
	if body := f.events(t, "", admin); len(body.Events) != 100 || body.Next == nil {
		t.Errorf("%d events, next %v", len(body.Events), body.Next)
	}
	if body := f.events(t, "?limit=1000", admin); len(body.Events) < 200 || body.Next != nil {
		t.Errorf("%d events, next %v", len(body.Events), body.Next)
	}
}

func TestAuditIsForAdminsAlone(t *testing.T) {
	f, _, admin := auditor(t, 1)
	wantProblem(t, f.do(t, http.MethodGet, "/api/admin/audit", ""), http.StatusUnauthorized, "invalid_token")
	alice := f.signIn(t, "alice").access
	wantProblem(t, f.get(t, "/api/admin/audit", alice), http.StatusForbidden, "forbidden")
	wantProblem(t, f.get(t, "/api/admin/audit?nonsense", alice), http.StatusForbidden, "forbidden")
	if _, err := f.accounts.SetRoles(t.Context(), "root", []string{"auditor"}); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, f.get(t, "/api/admin/audit", admin), http.StatusForbidden, "forbidden") // the token still has the role
}

// A filter that were silently left out would show an innocent list.
func TestAuditRefusesQueriesThatItDoesNotUnderstand(t *testing.T) {
	f, _, admin := auditor(t, 1)
	for query, says := range map[string]string{
		"user=alice":                         "user_id, action, limit and after",
		"User_id=x":                          "user_id, action, limit and after",
		"since=1h":                           "user_id, action, limit and after",
		"user_id=alice":                      "user_id",
		"user_id=":                           "user_id",
		"user_id=" + uuid.Nil.String():       "user_id",
		"user_id={" + uuid.NewString() + "}": "user_id",
		"action=login":                       "action",
		"action=":                            "action",
		"action=SESSION.REUSE":               "action",
		"limit=0":                            "1 to 1000",
		"limit=1001":                         "1 to 1000",
		"limit=-1":                           "1 to 1000",
		"limit=ten":                          "1 to 1000",
		"limit=99999999999999999999":         "1 to 1000",
		"after=" + uuid.NewString()[:35]:     "after",
		"after=%00":                          "after",
		"limit=1&limit=2":                    "twice",
		"limit=%zz":                          "encoded",
		"limit=1;action=user.login":          "encoded",
	} {
		t.Run(query, func(t *testing.T) {
			problem := wantProblem(t, f.get(t, "/api/admin/audit?"+query, admin), http.StatusBadRequest, "malformed_request")
			if !strings.Contains(problem.Detail, says) {
				t.Errorf("the detail %q does not say %q", problem.Detail, says)
			}
		})
	}
	if body := f.events(t, "?", admin); len(body.Events) == 0 {
		t.Error("an empty query has no events")
	}
}

func TestDocumentListsTheActions(t *testing.T) {
	var documented, known []string
	for _, node := range testDocument(t).model.Components.Schemas.GetOrZero("AuditAction").Schema().Enum {
		documented = append(documented, node.Value)
	}
	for _, action := range audit.Actions() {
		known = append(known, string(action))
	}
	if !slices.Equal(documented, known) {
		t.Errorf("the document lists %v, want %v", documented, known)
	}
}
