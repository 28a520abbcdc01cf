package httpapi

import (
	"net/http"
	"testing"

	"latchkey/internal/store/storetest"
)

// What helps developers and operators is not there for the public, unless the settings say so. A server to test on may
// lack the TLS that production asks for.
func TestProductionShowsNoPages(t *testing.T) {
	f := newFixture(t, "LATCHKEY_ENV=production", "LATCHKEY_PUBLIC_URL=https://auth.example.com", "LATCHKEY_DATABASE_URL="+storetest.SQLite(t),
		"LATCHKEY_REFRESH_SECRET=q5cJ0mPz8Xb1y3nW7uVtR6sKdA2eLhGfZxQoYiNp4Tk=")
	for _, path := range []string{
		"/swagger", "/swagger/", "/swagger/index.html", "/swagger/swagger-ui.css", "/openapi.yaml", "/openapi.json", "/demo", "/demo/",
		"/", "/demo/demo.js", "/demo/index.html",
		"/metrics", "/debug", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/vars", "/.git/config", "/.env",
	} {
		wantProblem(t, f.do(t, http.MethodGet, path, ""), http.StatusNotFound, "not_found")
	}
	wantStatus(t, f.do(t, http.MethodGet, "/livez", ""), http.StatusOK)
	wantStatus(t, f.do(t, http.MethodGet, "/client.js", ""), http.StatusOK)
}
