package httpapi

import (
	"encoding/json"
	"net/http"
	"testing"

	"latchkey/internal/store"
)

// goodPassword is every test account's.
const goodPassword = "correct horse battery staple"

// signUp makes an account with goodPassword.
func (f *fixture) signUp(t testing.TB, name string, roles ...string) store.User {
	t.Helper()
	user, err := f.accounts.Create(t.Context(), name, goodPassword, roles)
	if err != nil {
		t.Fatal(err)
	}
	return user
}

// held is what a client holds after a sign-in or a refresh.
type held struct{ access, refresh string }

// signIn logs an account of signUp in.
func (f *fixture) signIn(t testing.TB, name string) held {
	t.Helper()
	a := f.do(t, http.MethodPost, "/api/user/login", credentialsOf(name, goodPassword))
	wantStatus(t, a, http.StatusOK)
	return a.held(t)
}

// refresh presents a refresh token.
func (f *fixture) refresh(t testing.TB, refreshToken string) answer {
	t.Helper()
	return f.do(t, http.MethodPost, "/api/user/refresh", "", f.cookieOf(refreshToken)...)
}

// get asks for a path with an access token.
func (f *fixture) get(t testing.TB, path, accessToken string) answer {
	t.Helper()
	return f.do(t, http.MethodGet, path, "", bearerOf(accessToken)...)
}

func (f *fixture) cookieOf(refreshToken string) []string {
	return []string{"Cookie", cookieName(f.config) + "=" + refreshToken}
}

func bearerOf(accessToken string) []string { return []string{"Authorization", "Bearer " + accessToken} }

func credentialsOf(name, pass string) string {
	b, err := json.Marshal(map[string]string{"username": name, "password": pass})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func passwordChangeOf(current, replacement string) string {
	b, err := json.Marshal(map[string]string{"current_password": current, "new_password": replacement})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// decode reads the body as JSON.
func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

// held returns what the answer hands over; the refresh token is empty where it sets no cookie.
func (a answer) held(t testing.TB) held {
	t.Helper()
	var body tokensBody
	a.decode(t, &body)
	h := held{access: body.AccessToken}
	if c := a.cookie(t); c != nil {
		h.refresh = c.Value
	}
	return h
}

// cookie returns the one cookie that the answer sets, or nil.
func (a answer) cookie(t testing.TB) *http.Cookie {
	t.Helper()
	switch set := a.Cookies(); len(set) {
	case 0:
		return nil
	case 1:
		return set[0]
	default:
		t.Fatalf("%d cookies are set: %q", len(set), a.Header.Values("Set-Cookie"))
		return nil
	}
}

func wantStatus(t testing.TB, a answer, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: %d, want %d\n%s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
}

// wantProblem wants a refusal by its status and code.
func wantProblem(t testing.TB, a answer, status int, code string) problemBody {
	t.Helper()
	var body problemBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.StatusCode != status || body.Code != code {
		t.Errorf("%s %s: %d, want %d %s\n%s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, code, a.body)
	}
	return body
}
