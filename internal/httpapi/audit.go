package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"latchkey/internal/audit"
	"latchkey/internal/store"
)

// How many events one answer has: by default, and at most.
const (
	defaultAuditLimit = 100
	maxAuditLimit     = 1000
)

// Event is an audit event in JSON. What is not known of it is null, or "" where it is always text.
type Event struct {
	ID        uuid.UUID    `json:"id"`
	At        time.Time    `json:"at"`
	Action    audit.Action `json:"action"`
	Result    string       `json:"result"`
	UserID    *uuid.UUID   `json:"user_id"`
	SessionID *uuid.UUID   `json:"session_id"`
	NameHash  *string      `json:"name_hash"`
	Address   string       `json:"address"`
	RequestID string       `json:"request_id"`
}

type eventsBody struct {
	Events []Event `json:"events"`
	// Next is what to ask for after this page, or null if there is no more.
	Next *uuid.UUID `json:"next"`
}

func (s *server) listEvents(w http.ResponseWriter, r *http.Request) error {
	filter, limit, err := auditQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	events, err := s.Store.AuditEvents(r.Context(), filter, limit+1) // one more tells whether there is a next page
	if err != nil {
		return err
	}
	var body eventsBody
	if len(events) > limit {
		events = events[:limit]
		body.Next = &events[limit-1].ID
	}
	body.Events = make([]Event, len(events))
	for i, e := range events {
		body.Events[i] = NewEvent(e)
	}
	s.writeJSON(w, r, http.StatusOK, "application/json", body)
	return nil
}

// NewEvent is the JSON form of an event.
func NewEvent(e audit.Event) Event {
	body := Event{ID: e.ID, At: e.At, Action: e.Action, Result: e.Result, Address: e.Address, RequestID: e.RequestID}
	if e.UserID != uuid.Nil {
		body.UserID = &e.UserID
	}
	if e.SessionID != uuid.Nil {
		body.SessionID = &e.SessionID
	}
	if e.NameHash != "" {
		body.NameHash = &e.NameHash
	}
	return body
}

// auditQuery reads the query. It is strict: a misspelt filter that were left out would show an innocent list.
func auditQuery(query string) (filter store.AuditFilter, limit int, err error) {
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return filter, 0, malformedError{"The query is not well encoded"}
	}
	limit = defaultAuditLimit
	for name, values := range parameters {
		if len(values) > 1 {
			return filter, 0, malformedError{"A query parameter was sent twice"}
		}
		var valid bool
		switch value := values[0]; name {
		case "user_id":
			filter.UserID, valid = parseID(value)
		case "after":
			filter.Before, valid = parseID(value)
		case "action":
			filter.Action = audit.Action(value)
			valid = slices.Contains(audit.Actions(), filter.Action)
		case "limit":
			limit, err = strconv.Atoi(value)
			valid = err == nil && limit >= 1 && limit <= maxAuditLimit
		default:
			return filter, 0, malformedError{"The query parameters are user_id, action, limit and after, and no others"}
		}
		if !valid {
			return filter, 0, malformedError{auditParameters[name]}
		}
	}
	return filter, limit, nil
}

// auditParameters say what each parameter of the query has to be.
var auditParameters = map[string]string{
	"user_id": "The query parameter user_id must be the id of a user",
	"after":   "The query parameter after must be what next was in the answer before",
	"action":  "The query parameter action must be one of those that the API document lists",
	"limit":   fmt.Sprintf("The query parameter limit must be a number from 1 to %d", maxAuditLimit),
}

// parseID reads an id in its one spelling: the library knows others too.
func parseID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == len(id.String()) && id != uuid.Nil
}
