package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/klauspost/compress/gzhttp"

	"latchkey/api"
)

// demoPolicy is the Content-Security-Policy of the demo page: its own files, its own server, and no text that becomes markup
// or script.
var demoPolicy = strings.Join([]string{
	"default-src 'none'",
	"script-src 'self'",
	"style-src 'self'",
	"img-src 'self'",
	"connect-src 'self'",
	"object-src 'none'",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
	"require-trusted-types-for 'script'",
	"trusted-types 'none'",
}, "; ")

var fileTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// demo serves the demo page below /demo/, and shows it to whoever opens the server's address.
func (s *server) demo(r chi.Router) {
	r.Method(http.MethodGet, "/", http.RedirectHandler("/demo/", http.StatusFound))
	r.Method(http.MethodGet, "/demo", http.RedirectHandler("/demo/", http.StatusMovedPermanently))
	names, err := fs.Glob(api.Demo, "demo/*")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	for _, name := range names {
		body, err := api.Demo.ReadFile(name)
		if err != nil {
			panic(err) // it is in the program
		}
		r.Get("/"+strings.TrimSuffix(name, "index.html"), file(name, body))
	}
}

// file answers with a file that is in the program. A browser asks each time whether it has changed, so that after an upgrade
// nobody goes on with the one of before.
func file(name string, body []byte) http.HandlerFunc {
	sum := sha256.Sum256(body)
	tag := `W/"` + hex.EncodeToString(sum[:8]) + `"` // weak, as it stands for the compressed file too
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", fileTypes[path.Ext(name)])
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		if strings.HasSuffix(name, ".html") {
			h.Set("Content-Security-Policy", demoPolicy)
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	}
}

// compressed sends files by gzip to whoever takes it: Swagger UI has megabytes.
func compressed(next http.Handler) http.Handler { return gzhttp.GzipHandler(next) }

// wholeFiles has every file sent as a whole. A range that is none would be answered by net/http, in a form of its own.
func wholeFiles(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
}
