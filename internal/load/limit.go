package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"
)

// The limits are what Latchkey is compared with: each does the one thing that a call cannot do without, by the same
// libraries, and nothing else. They are processes of their own, so that they get the processor that the server gets.

// runLimit is the limit that the arguments name. Those that serve end by a signal, the others print what they came to.
func runLimit(ctx context.Context, arguments []string) error {
	var name, place, size, during string
	for i, into := range []*string{&name, &place, &size, &during} {
		if i < len(arguments) {
			*into = arguments[i]
		}
	}
	switch name {
	case "chi":
		return serve(place, func(*http.Request) bool { return true })
	case "chi+jwt":
		return serveVerified(place, size)
	case "chi+jwt+pair":
		return serveRefresh(ctx, place, size, during)
	case "argon2id":
		return printLoop(ctx, size, during, func(int) error {
			argon2.IDKey([]byte(password), make([]byte, 16), 2, 19*1024, 1, 32)
			return nil
		})
	case "pair":
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		pair, err := openPair(ctx, place, n)
		if err != nil {
			return err
		}
		return printLoop(ctx, size, during, func(i int) error { return pair.step(ctx, i) })
	}
	return errors.New("no such limit")
}

// printLoop has so many callers take steps for so long, and prints the result.
func printLoop(ctx context.Context, callers, during string, step func(caller int) error) error {
	n, err := strconv.Atoi(callers)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(during)
	if err != nil {
		return err
	}
	results := make([]result, n)
	var wait sync.WaitGroup
	for i := range n { // a connection for each, before anything counts
		wait.Go(func() { _ = step(i) }) // what fails here fails again
	}
	wait.Wait()
	begin := time.Now().Add(warmUp)
	for i := range results {
		wait.Go(func() { results[i] = loop(ctx, begin, begin.Add(d), 0, func() error { return step(i) }) })
	}
	used, err := usedBetween(ctx, os.Getpid(), begin, begin.Add(d))
	wait.Wait()
	if err != nil {
		return err
	}
	all := merge(results, d)
	all.usage = used
	return json.NewEncoder(os.Stdout).Encode(all)
}

type answer struct {
	ID        uuid.UUID `json:"id"`
	Username  string    `json:"username"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"created_at"`
}

// serve is chi and encoding/json: an answer like that of /api/user/me to whoever is let in.
func serve(address string, admit func(*http.Request) bool) error {
	r := chi.NewRouter()
	user := answer{ID: uuid.New(), Username: "user-1", Roles: []string{}, CreatedAt: time.Now().UTC()}
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r.Get("/api/user/*", func(w http.ResponseWriter, r *http.Request) {
		if !admit(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		writeJSON(w, user)
	})
	return http.ListenAndServe(address, r) //nolint:gosec // on the loopback address, for the load beside it
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a client that has left is no fault of this program
}

// serveVerified is serve with the verification of each token by golang-jwt.
func serveVerified(address, keys string) error {
	key, err := loadKey(keys)
	if err != nil {
		return err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}))
	return serve(address, func(r *http.Request) bool {
		const scheme = "Bearer "
		header := r.Header.Get("Authorization")
		if len(header) < len(scheme) {
			return false
		}
		_, err := parser.ParseWithClaims(header[len(scheme):], &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return key.Public(), nil })
		return err == nil
	})
}

// serveRefresh is a handler that reads a row, changes it and signs a token, without a protocol.
func serveRefresh(ctx context.Context, address, url, keys string) error {
	key, err := loadKey(keys)
	if err != nil {
		return err
	}
	const rows = 1000
	pair, err := openPair(ctx, url, rows)
	if err != nil {
		return err
	}
	r := chi.NewRouter()
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r.Post("/api/user/refresh", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("refresh_token")
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		n, err := strconv.Atoi(cookie.Value)
		if err == nil {
			err = pair.step(r.Context(), n%rows)
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		now := time.Now()
		signed, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
			Issuer: "load", Subject: uuid.NewString(), Audience: jwt.ClaimStrings{"load"}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		}).SignedString(key)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		cookie.Path, cookie.HttpOnly, cookie.SameSite = "/", true, http.SameSiteStrictMode
		http.SetCookie(w, cookie)
		writeJSON(w, map[string]any{"access_token": signed, "token_type": "Bearer", "expires_in": 60})
	})
	return http.ListenAndServe(address, r) //nolint:gosec // on the loopback address, for the load beside it
}
