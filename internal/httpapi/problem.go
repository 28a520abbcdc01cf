package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"latchkey/internal/account"
	"latchkey/internal/password"
	"latchkey/internal/session"
	"latchkey/internal/store"
)

// What only HTTP can get wrong.
var (
	errNoToken         = errors.New("no access token")
	errWrongPassword   = errors.New("current password wrong")
	errForbidden       = errors.New("role missing")
	errRegistration    = errors.New("registration closed")
	errCrossOrigin     = errors.New("cross-origin request")
	errNotFound        = errors.New("no such path")
	errMethod          = errors.New("method not allowed")
	errBodyTooSlow     = errors.New("body too slow")
	errBodyTooLarge    = errors.New("body too large")
	errMediaType       = errors.New("unsupported media type")
	errHeadersTooLarge = errors.New("headers too large")
	errDraining        = errors.New("shutting down")
)

// problem is an RFC 9457 answer. Its texts are fixed, but for a malformedError's detail and a ValidationError's fields:
// nothing of a cause or of the input ever reaches the client.
type problem struct {
	status       int
	code, detail string
}

// problems is the one table from errors to answers; docs/errors.md explains it. An error that is not in it is a 500,
// whose cause is logged and never sent.
var problems = []struct {
	err error
	problem
}{
	{session.ErrInvalidRefresh, problem{400, "invalid_refresh_token", "The refresh token is missing or no longer valid: log in again"}},
	{account.ErrInvalidCredentials, problem{401, "invalid_credentials", "Username or password is wrong"}},
	{errWrongPassword, problem{401, "invalid_credentials", "The current password is wrong"}},
	{errNoToken, problem{401, "invalid_token", "The access token is missing or not valid: refresh it or log in"}},
	{session.ErrInvalidAccess, problem{401, "invalid_token", "The access token is missing or not valid: refresh it or log in"}},
	{errForbidden, problem{403, "forbidden", "You are not authorized to access this resource"}},
	{errRegistration, problem{403, "registration_closed", "Registration is closed: ask an administrator for an account"}},
	{errCrossOrigin, problem{403, "cross_origin", "Calls from this origin are not allowed"}},
	{errNotFound, problem{404, "not_found", "There is nothing at this address"}},
	{session.ErrNotFound, problem{404, "not_found", "You have no such session"}},
	{errMethod, problem{405, "method_not_allowed", "This address does not know the method: see the Allow header"}},
	{errBodyTooSlow, problem{408, "request_timeout", "The request body did not come in time"}},
	{account.ErrUsernameTaken, problem{409, "username_taken", "Username already exists"}},
	{errBodyTooLarge, problem{413, "payload_too_large", "The request body is larger than 16 KiB"}},
	{errMediaType, problem{415, "unsupported_media_type", "The request body must be application/json, not compressed"}},
	{errHeadersTooLarge, problem{431, "headers_too_large", "The request line and the headers, cookies included, are larger than 16 KiB"}},
	{password.ErrBusy, problem{503, "unavailable", "The server is busy: try again soon"}},
	{store.ErrUnavailable, problem{503, "unavailable", "The server cannot do this at the moment: try again soon"}},
	{store.ErrSchemaBehind, problem{503, "unavailable", "The server cannot do this at the moment: try again soon"}},
	{context.DeadlineExceeded, problem{503, "unavailable", "The server cannot do this at the moment: try again soon"}},
	{context.Canceled, problem{503, "unavailable", "The server cannot do this at the moment: try again soon"}},
	{errDraining, problem{503, "unavailable", "The server is shutting down"}},
}

// retryAfter is what a client is told to wait where nothing better is known.
const retryAfter = 2 * time.Second

// malformedError says what is wrong with a request, in words that are safe to send.
type malformedError struct{ detail string }

func (e malformedError) Error() string { return "malformed request: " + e.detail }

// limitError says that an address has used up a limit.
type limitError struct{ wait time.Duration }

func (e limitError) Error() string { return fmt.Sprintf("too many requests, wait %s", e.wait) }

type fieldError struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

type problemBody struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail"`
	Code      string       `json:"code"`
	RequestID string       `json:"request_id"`
	Errors    []fieldError `json:"errors,omitempty"`
}

// writeProblem answers with what an error means to the client, and logs what went wrong on this side.
func (s *server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p, wait := problem{500, "internal", "Something went wrong on the server"}, retryAfter
	var fields []fieldError
	var malformed malformedError
	var limit limitError
	var throttled *account.ThrottledError
	var invalid *account.ValidationError
	switch {
	case errors.As(err, &malformed):
		p = problem{400, "malformed_request", malformed.detail}
	case errors.As(err, &limit):
		p, wait = problem{429, "too_many_requests", "Too many requests: wait as long as the Retry-After header says"}, limit.wait
	case errors.As(err, &throttled):
		p, wait = problem{429, "too_many_requests", "Too many wrong passwords for this name: wait as long as the Retry-After header says"}, throttled.Wait
	case errors.As(err, &invalid):
		p = problem{422, "validation_failed", "Some fields cannot be accepted: see errors"}
		for _, f := range invalid.Fields {
			fields = append(fields, fieldError(f))
		}
	default:
		for _, row := range problems {
			if errors.Is(err, row.err) {
				p = row.problem
				break
			}
		}
	}
	switch p.status {
	case http.StatusUnauthorized:
		challenge := `Bearer error="invalid_token"`
		if errors.Is(err, errNoToken) || p.code == "invalid_credentials" { // RFC 6750, section 3.1: no code where no token was sent
			challenge = "Bearer"
		}
		w.Header().Set("WWW-Authenticate", challenge)
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		w.Header().Set("Connection", "close") // the rest of the request is not read
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	if p.status >= 500 {
		level := slog.LevelError
		if errors.Is(err, context.Canceled) || errors.Is(err, errDraining) || errors.Is(err, password.ErrBusy) {
			level = slog.LevelInfo // the client left, or was told to come back: nothing is broken
		}
		s.Logger.Log(r.Context(), level, "request failed", "error", err, "request_id", requestID(r.Context()))
	}
	s.writeJSON(w, r, p.status, "application/problem+json", problemBody{
		Type: "about:blank", Title: http.StatusText(p.status), Status: p.status, Detail: p.detail, Code: p.code,
		RequestID: requestID(r.Context()), Errors: fields,
	})
}

func (s *server) writeJSON(w http.ResponseWriter, r *http.Request, status int, mediaType string, body any) {
	encoded, err := json.Marshal(body)
	if err != nil { // only if a wire type cannot be encoded at all
		panic(err)
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	if _, err := w.Write(append(encoded, '\n')); err != nil {
		s.Logger.Debug("client left before the answer", "error", err, "request_id", requestID(r.Context()))
	}
}
