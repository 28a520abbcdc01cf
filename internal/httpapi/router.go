// Package httpapi owns everything that is HTTP: the routes and the middleware around them, the wire types, the cookie,
// the limits per client, and the one table that turns errors into answers. The rules behind a call are elsewhere.
//
// Whatever comes in, every answer has the security headers, and every refusal is a problem document with a stable code.
package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"latchkey/api"
	"latchkey/internal/account"
	"latchkey/internal/audit"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/store"
)

// errPanic is in no table, so it is a 500.
var errPanic = errors.New("panic")

// Dependencies are what the API is made of.
type Dependencies struct {
	Config   *config.Config
	Store    *store.Store
	Accounts *account.Service
	Sessions *session.Service
	Audit    *audit.Log
	Logger   *slog.Logger
	// JWKS returns the published key set, as it is now.
	JWKS func() []byte
	// Draining is closed when the process begins to stop: then it is unready.
	Draining <-chan struct{}
	// Parting is closed when no new connections are taken any more: then each answer closes its connection.
	Parting <-chan struct{}
	// Now is the clock of the limits.
	Now func() time.Time
}

type server struct {
	Dependencies
	logins, registrations, refreshes *limiter
}

// New returns the public handler.
func New(d Dependencies) http.Handler {
	s := &server{
		Dependencies:  d,
		logins:        newLimiter(d.Config.LimitLogin, d.Now),
		registrations: newLimiter(d.Config.LimitRegister, d.Now),
		refreshes:     newLimiter(d.Config.LimitRefresh, d.Now),
	}
	return s.routes()
}

// routes shows every route and the middleware around it, in order.
func (s *server) routes() chi.Router {
	r := chi.NewRouter()
	r.Use(
		s.partWithConnections,
		s.identify,
		s.observe,
		s.secure,
		s.recoverPanic,
		s.sharedWithOrigins(),
		s.refuseCrossOrigin,
		s.limitSize,
		middleware.GetHead,
	)
	r.NotFound(s.handle(func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	r.MethodNotAllowed(s.handle(func(w http.ResponseWriter, req *http.Request) error {
		methods := allowed(r, req)
		if methods == "" { // chi comes here for any method that it does not know, whatever the path
			return errNotFound
		}
		w.Header().Set("Allow", methods)
		return errMethod
	}))

	r.Post("/api/user/register", s.handle(s.register))
	r.Post("/api/user/login", s.handle(s.login))
	r.Post("/api/user/refresh", s.handle(s.refresh))
	r.Post("/api/user/logout", s.handle(s.logout))
	r.Group(func(r chi.Router) {
		r.Use(s.authenticate)
		r.Get("/api/user/me", s.handle(s.me))
		r.Get("/api/user/sessions", s.handle(s.listSessions))
		r.Delete("/api/user/sessions", s.handle(s.endOtherSessions))
		r.Delete("/api/user/sessions/{id}", s.handle(s.endSession))
		r.Post("/api/user/password", s.handle(s.changePassword))
		r.Group(func(r chi.Router) {
			r.Use(s.requireRole("admin"))
			r.Get("/api/user/protected", s.handle(s.protected))
			r.Get("/api/admin/audit", s.handle(s.listEvents))
		})
	})
	r.Get("/.well-known/jwks.json", s.handle(s.jwks))
	r.Get("/livez", s.handle(s.live))
	r.Get("/readyz", s.handle(s.ready))
	r.Group(func(r chi.Router) {
		r.Use(wholeFiles, compressed)
		r.Get("/client.js", file("client.js", api.Client))
		if s.Config.Demo {
			s.demo(r)
		}
		if s.Config.Swagger {
			r.Get("/openapi.yaml", s.handle(s.openapi))
			s.swaggerUI(r)
		}
	})
	return r
}

// handle makes a handler of a function that returns an error, which becomes the answer by the table of problems.
func (s *server) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.writeProblem(w, r, err)
		}
	}
}

// allowed lists the methods that a path knows, for the Allow header.
func allowed(routes chi.Routes, r *http.Request) string {
	path := r.URL.RawPath // as chi routes it
	if path == "" {
		path = r.URL.Path
	}
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), m, path) {
			methods = append(methods, m)
			if m == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
		}
	}
	return strings.Join(methods, ", ")
}
