package httpapi

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"latchkey/internal/session"
)

type sessionBody struct {
	ID         uuid.UUID `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	UserAgent  string    `json:"user_agent"`
	IP         string    `json:"ip"`
	Current    bool      `json:"current"`
}

type sessionsBody struct {
	Sessions []sessionBody `json:"sessions"`
}

func (s *server) listSessions(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Sessions.List(r.Context(), principal(r))
	if err != nil {
		return err
	}
	body := sessionsBody{Sessions: make([]sessionBody, len(list))}
	for i, item := range list {
		body.Sessions[i] = sessionBody{
			item.ID, item.CreatedAt, item.LastUsedAt, item.ExpiresAt, item.Client.UserAgent, item.Client.IP, item.Current,
		}
	}
	s.writeJSON(w, r, http.StatusOK, "application/json", body)
	return nil
}

func (s *server) endSession(w http.ResponseWriter, r *http.Request) error {
	id, ok := parseID(chi.URLParam(r, "id"))
	if !ok {
		return session.ErrNotFound
	}
	if err := s.Sessions.End(r.Context(), principal(r), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) endOtherSessions(w http.ResponseWriter, r *http.Request) error {
	if err := s.Sessions.EndOthers(r.Context(), principal(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
