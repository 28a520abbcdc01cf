package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"latchkey/internal/store"
)

// seen is what passed through a fixture that its log must hold, or must not.
type seen struct {
	mu       sync.Mutex
	requests map[string]int  // by request id
	secrets  map[string]bool // passwords, tokens, query strings
}

func newSeen() *seen { return &seen{requests: map[string]int{}, secrets: map[string]bool{}} }

var passwordMember = regexp.MustCompile(`"(?:current_|new_)?password"\s*:\s*("(?:[^"\\]|\\.)*")`)

// note keeps what is secret in an exchange.
func (s *seen) note(a answer) {
	secrets := []string{a.Request.URL.RawQuery, accessTokenOf(a.body)}
	for _, member := range passwordMember.FindAllStringSubmatch(bodyOf(a.Request), -1) {
		var password string
		if json.Unmarshal([]byte(member[1]), &password) == nil {
			secrets = append(secrets, password)
		}
	}
	for _, value := range a.Request.Header.Values("Authorization") {
		_, credentials, _ := strings.Cut(value, " ")
		secrets = append(secrets, strings.TrimSpace(credentials))
	}
	for _, cookie := range append(a.Request.Cookies(), a.Cookies()...) {
		secrets = append(secrets, cookie.Value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := a.Header.Get("X-Request-Id"); id != "" {
		s.requests[id]++
	}
	for _, secret := range secrets {
		if len(secret) >= 8 { // anything shorter is in the log by chance
			s.secrets[secret] = true
		}
	}
}

// faults says what is wrong with a log: a line that is not JSON, a request without just one line, a secret.
func (s *seen) faults(log string) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var faults []error
	logged := map[string]int{}
	for line := range strings.Lines(log) {
		var entry struct {
			Message   string `json:"msg"`
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			faults = append(faults, fmt.Errorf("a log line is not JSON: %w: %s", err, line))
		} else if entry.Message == "request" {
			logged[entry.RequestID]++
		}
	}
	for id, n := range s.requests {
		if logged[id] != n {
			faults = append(faults, fmt.Errorf("%d request(s) with the id %s have %d log line(s)", n, id, logged[id]))
		}
	}
	for secret := range s.secrets {
		if at := strings.Index(log, secret); at >= 0 {
			faults = append(faults, fmt.Errorf("the secret %q is in the log: …%.300s", secret, log[max(0, at-200):]))
		}
	}
	return faults
}

// faultsInTable names the secrets that are in the audit table of a database. One that cannot be read has none to tell.
func (s *seen) faultsInTable(st *store.Store) []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, err := st.AuditEvents(context.Background(), store.AuditFilter{}, 100_000)
	if err != nil {
		return nil
	}
	var faults []error
	for _, e := range events {
		row := fmt.Sprintf("%+v", e)
		for secret := range s.secrets {
			if strings.Contains(row, secret) {
				faults = append(faults, fmt.Errorf("the secret %q is in the audit table: %s", secret, row))
			}
		}
	}
	return faults
}

func bodyOf(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	all, _ := io.ReadAll(body) // from memory
	return string(all)
}

func accessTokenOf(body string) string {
	var tokens tokensBody
	_ = json.Unmarshal([]byte(body), &tokens) // a body that is something else has no token
	return tokens.AccessToken
}
