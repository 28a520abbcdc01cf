package httpapi

import (
	"context"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"latchkey/api"
)

// readyDeadline bounds the question whether the database answers.
const readyDeadline = time.Second

type statusBody struct {
	Status string `json:"status"`
}

// live says that the process answers. It asks nobody else: a database that is away is no reason to restart this.
func (s *server) live(w http.ResponseWriter, r *http.Request) error {
	s.writeJSON(w, r, http.StatusOK, "application/json", statusBody{"ok"})
	return nil
}

// ready says whether this process should get requests: the database answers, its schema is there, and no stop is under way.
func (s *server) ready(w http.ResponseWriter, r *http.Request) error {
	select {
	case <-s.Draining:
		return errDraining
	default:
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyDeadline)
	defer cancel()
	if err := s.Store.Ready(ctx); err != nil {
		return err
	}
	s.writeJSON(w, r, http.StatusOK, "application/json", statusBody{"ok"})
	return nil
}

// jwks publishes the public keys. It may be cached for a short time: a new key is published an hour before it signs.
func (s *server) jwks(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(s.JWKS()) // an error means that the client left
	return nil
}

func (s *server) openapi(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(api.Document) // an error means that the client left
	return nil
}

// Operations returns the handler of the operations listener: metrics and profiles, for the operator alone.
func Operations(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return mux
}
