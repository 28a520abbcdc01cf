package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/rs/cors"

	"latchkey/internal/audit"
	"latchkey/internal/session"
)

// requestDeadline bounds a request, database and all.
const requestDeadline = 10 * time.Second

// partWithConnections has each answer close its connection once the server is parting, so that the client sends nothing
// more on it: what it sent while the server closes the connection would be lost. That is decided when the answer begins,
// for its request may have come long before.
func (s *server) partWithConnections(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(partingWriter{w, s.Parting}, r)
	})
}

// partingWriter stands under observe's writer, which calls WriteHeader before anything is written.
type partingWriter struct {
	http.ResponseWriter
	parting <-chan struct{}
}

// WriteHeader begins the answer.
func (w partingWriter) WriteHeader(status int) {
	select {
	case <-w.parting:
		w.Header().Set("Connection", "close")
	default:
	}
	w.ResponseWriter.WriteHeader(status)
}

// requestID returns the id of the request that a context belongs to.
func requestID(ctx context.Context) string { return audit.OriginOf(ctx).RequestID }

// clientAddress returns the address of a request's client, which is not valid if it is not known.
func clientAddress(r *http.Request) netip.Addr {
	address, _ := netip.ParseAddr(audit.OriginOf(r.Context()).Address)
	return address
}

var wellFormedID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify says where a request comes from: its id, which is the client's, if it cannot forge or break a log line, or a new
// one, and the client's address. It also gives the request its deadline, so that all of this is one context.
func (s *server) identify(next http.Handler) http.Handler {
	return s.behindProxies(func(w http.ResponseWriter, r *http.Request, client netip.Addr) {
		origin := audit.Origin{RequestID: r.Header.Get("X-Request-Id")}
		if !wellFormedID.MatchString(origin.RequestID) {
			origin.RequestID = uuid.NewString()
		}
		if client.IsValid() {
			origin.Address = client.String()
		}
		w.Header().Set("X-Request-Id", origin.RequestID)
		ctx, cancel := context.WithTimeout(audit.WithOrigin(r.Context(), origin), requestDeadline)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// behindProxies finds the client: the peer of the connection, or, where that is a trusted proxy, the last hop of
// X-Forwarded-For that is not one; where that header says nothing usable, the proxy itself.
func (s *server) behindProxies(next func(http.ResponseWriter, *http.Request, netip.Addr)) http.Handler {
	peer := func(w http.ResponseWriter, r *http.Request) {
		address, _ := netip.ParseAddrPort(r.RemoteAddr)
		next(w, r, address.Addr().Unmap())
	}
	if len(s.Config.TrustedProxies) == 0 {
		return http.HandlerFunc(peer)
	}
	forwarded := middleware.ClientIPFromXFF(s.Config.TrustedProxies...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client := middleware.GetClientIPAddr(r.Context()); client.IsValid() {
			next(w, r, client)
			return
		}
		peer(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hops := r.Header["X-Forwarded-For"]; len(hops) > 0 {
			r.Header["X-Forwarded-For"] = []string{withoutPorts(strings.Join(hops, ","))}
		}
		forwarded.ServeHTTP(w, r)
	})
}

// withoutPorts takes the ports, and the brackets that go with them, off a list of addresses. Azure's proxies write
// 203.0.113.7:51234 into X-Forwarded-For; not understood, all their clients would share one count.
func withoutPorts(hops string) string {
	list := strings.Split(hops, ",")
	for i, hop := range list {
		hop = strings.TrimSpace(hop)
		if withPort, err := netip.ParseAddrPort(hop); err == nil {
			list[i] = withPort.Addr().String()
		} else if inner, bracketed := strings.CutPrefix(hop, "["); bracketed {
			list[i] = strings.TrimSuffix(inner, "]")
		}
	}
	return strings.Join(list, ",")
}

// observe logs each request. The path is logged as the route that matched, so that nothing a client puts into a path or a
// query gets into the log.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		wrapped := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(wrapped, r)
		route := "none"
		if matched := chi.RouteContext(r.Context()); matched != nil && matched.RoutePattern() != "" {
			route = matched.RoutePattern()
		}
		origin := audit.OriginOf(r.Context())
		attributes := make([]slog.Attr, 0, 7)
		attributes = append(attributes,
			slog.String("method", knownMethod(r.Method)), slog.String("route", route), slog.Int("status", wrapped.Status()),
			slog.Float64("took_ms", float64(time.Since(started).Microseconds())/1000),
			slog.String("address", origin.Address), slog.String("request_id", origin.RequestID))
		if errors.Is(r.Context().Err(), context.Canceled) { // then the status tells nothing about the server, and nobody has seen it
			attributes = append(attributes, slog.Bool("client_left", true))
		}
		s.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request", attributes...)
	})
}

// knownMethod keeps made-up methods out of the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// recoverPanic answers 500 to a request whose handler panicked, once, and logs it once with its stack.
func (s *server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch cause := recover(); cause {
			case nil:
			case http.ErrAbortHandler:
				panic(cause)
			default:
				s.Logger.Error("panic", "cause", cause, "stack", string(debug.Stack()), "request_id", requestID(r.Context()))
				if wrapped, ok := w.(middleware.WrapResponseWriter); !ok || wrapped.Status() == 0 {
					s.writeProblem(w, r, errPanic)
				}
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// secure sets the headers of every answer. There is nothing here to cache, to frame or to run; pages that are
// documents set a policy of their own.
func (s *server) secure(next http.Handler) http.Handler {
	headers := http.Header{
		"Cache-Control":                {"no-store"},
		"X-Content-Type-Options":       {"nosniff"},
		"Referrer-Policy":              {"no-referrer"},
		"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
		"Cross-Origin-Opener-Policy":   {"same-origin"},
		"Cross-Origin-Resource-Policy": {"same-origin"},
	}
	if s.Config.SecureCookies() {
		headers["Strict-Transport-Security"] = []string{"max-age=31536000; includeSubDomains"}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), headers) // the values are shared: whoever wants others sets them, and changes none
		next.ServeHTTP(w, r)
	})
}

// sharedWithOrigins lets pages of the allowed origins, and of no others, call with credentials and read the answers.
func (s *server) sharedWithOrigins() func(http.Handler) http.Handler {
	if len(s.Config.AllowedOrigins) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return cors.New(cors.Options{
		// Not AllowedOrigins: an empty list would mean all, and letters would be compared without their case.
		AllowOriginFunc:  func(origin string) bool { return slices.Contains(s.Config.AllowedOrigins, origin) },
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders:   []string{"Authorization", "Content-Type", "X-Request-Id"},
		ExposedHeaders:   []string{"Retry-After", "WWW-Authenticate", "X-Request-Id"},
		AllowCredentials: true,
		MaxAge:           600,
	}).Handler
}

// refuseCrossOrigin keeps pages of other origins from acting with the cookie of whoever visits them. A body-less POST
// such as refresh or logout is sent without any preflight, so CORS alone would not.
func (s *server) refuseCrossOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range append([]string{s.Config.Origin()}, s.Config.AllowedOrigins...) {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			panic(err) // config has checked that it is an origin
		}
	}
	protection.SetDenyHandler(s.handle(func(_ http.ResponseWriter, r *http.Request) error {
		s.Audit.Record(r.Context(), audit.Event{Action: audit.CrossOrigin, Result: "refused"})
		return errCrossOrigin
	}))
	return protection.Handler(next)
}

// maxHeaders is the most that a request line and the headers may have, in bytes. serve allows net/http more, so that it
// is this server that answers.
const maxHeaders = 16 << 10

// limitSize refuses headers that are too large, as a browser's are where others on this host have set too many cookies,
// and bounds what is read of a body; one that says beforehand that it is too large is not read at all.
func (s *server) limitSize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case headerBytes(r) > maxHeaders:
			s.writeProblem(w, r, errHeadersTooLarge)
		case r.ContentLength > maxBody:
			s.writeProblem(w, r, errBodyTooLarge)
		default:
			if r.Body != http.NoBody {
				r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			}
			next.ServeHTTP(w, r)
		}
	})
}

// headerBytes returns how many bytes the request line and the headers had on the wire, or a few less: net/http has taken
// those out that it has dealt with itself.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(" ") + len(r.RequestURI) + len(" ") + len(r.Proto) + len("\r\n") + len("Host: \r\n") + len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			n += len(name) + len(": ") + len(value) + len("\r\n")
		}
	}
	return n
}

// bearer returns the access token of the Authorization header, the one place where it counts (RFC 6750, section 2.1).
func bearer(r *http.Request) (string, error) {
	sent := r.Header.Values("Authorization")
	if len(sent) > 1 {
		return "", malformedError{"The Authorization header was sent twice"}
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	return strings.TrimSpace(token), nil
}

type principalKey struct{}

// authenticate lets a request with a good access token pass.
func (s *server) authenticate(next http.Handler) http.Handler {
	return s.handle(func(w http.ResponseWriter, r *http.Request) error {
		token, err := bearer(r)
		if err != nil {
			return err
		}
		p, err := s.Sessions.Authenticate(r.Context(), token)
		if err != nil {
			return err
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
		return nil
	})
}

// principal returns who authenticate let pass.
func principal(r *http.Request) session.Principal {
	p, ok := r.Context().Value(principalKey{}).(session.Principal)
	if !ok {
		panic("a route that needs a principal stands outside authenticate")
	}
	return p
}

// requireRole lets a principal with a role pass, as the roles stand now. It stands behind authenticate.
func (s *server) requireRole(role string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return s.handle(func(w http.ResponseWriter, r *http.Request) error {
			if p := principal(r); !slices.Contains(p.Roles, role) {
				s.Audit.Record(r.Context(), audit.Event{Action: audit.Forbidden, Result: "role", UserID: p.UserID, SessionID: p.SessionID})
				return errForbidden
			}
			next.ServeHTTP(w, r)
			return nil
		})
	}
}
