package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	httpSwagger "github.com/swaggo/http-swagger/v2"
)

// swaggerScript defines AutoAuthorize, the plugin that fills and empties "Authorize".
//
//go:embed swagger.js
var swaggerScript string

// swaggerAssets are the files the page loads. The module embeds more, which stays unserved: megabytes of
// source maps, and pages of its own that open the pet store's document.
var swaggerAssets = []string{
	"swagger-ui.css",
	"swagger-ui-bundle.js",
	"swagger-ui-standalone-preset.js",
	"favicon-16x16.png",
	"favicon-32x32.png",
}

// inlineScript matches the scripts a Content-Security-Policy has to name by their hashes.
var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// swaggerUI serves Swagger UI for /openapi.yaml below /swagger/.
//
// http-swagger never sees what the client asked for. It works on the raw request target, on which it
// panics, redirects to other hosts or takes a query for a file, depending on the target; so the page is
// rendered once, here, and each asset is asked for by a request of our own making.
func (s *server) swaggerUI(r chi.Router) {
	ui := httpSwagger.Handler(
		httpSwagger.URL("/openapi.yaml"),
		httpSwagger.Layout(httpSwagger.BaseLayout),
		httpSwagger.DefaultModelsExpandDepth(httpSwagger.HideModel),
		httpSwagger.BeforeScript(swaggerScript),
		httpSwagger.Plugins([]string{"AutoAuthorize"}),
		httpSwagger.UIConfig(map[string]string{
			"tryItOutEnabled":        "true",
			"displayRequestDuration": "true",
		}),
	)
	index := bodyRecorder{header: http.Header{}}
	ui(&index, swaggerRequest(&http.Request{}, "index.html"))
	page, policy := index.Bytes(), swaggerPolicy(index.Bytes())

	// The page names its assets relative to its own address, so it has only one.
	toPage := http.RedirectHandler("/swagger/", http.StatusMovedPermanently)
	r.Method(http.MethodGet, "/swagger", toPage)
	r.Method(http.MethodGet, "/swagger/index.html", toPage)
	r.Get("/swagger/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(page) // an error means that the client left
	})
	r.Get("/swagger/{asset}", s.handle(func(w http.ResponseWriter, r *http.Request) error {
		name := chi.URLParam(r, "asset")
		if !slices.Contains(swaggerAssets, name) {
			return errNotFound
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		ui(w, swaggerRequest(r, name))
		return nil
	}))
}

// swaggerRequest returns a GET request for one of http-swagger's files, with the headers of r.
func swaggerRequest(r *http.Request, name string) *http.Request {
	out := r.Clone(r.Context())
	out.Method = http.MethodGet // For HEAD too, which http-swagger refuses; net/http drops the body.
	out.RequestURI = "/" + name
	out.URL = &url.URL{Path: "/" + name}
	return out
}

// swaggerPolicy is the page's Content-Security-Policy: nothing from, and nothing to, any other host, and no
// script but the server's own files and the inline ones in page. Styles may be inline, as http-swagger's
// page has a style element and a style attribute.
func swaggerPolicy(page []byte) string {
	scripts := "script-src 'self'"
	for _, match := range inlineScript.FindAllSubmatch(page, -1) {
		sum := sha256.Sum256(match[1])
		scripts += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return strings.Join([]string{
		"default-src 'none'",
		scripts,
		"style-src 'self' 'unsafe-inline'",
		"img-src 'self' data:",
		"connect-src 'self'",
		"object-src 'none'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

// bodyRecorder is an http.ResponseWriter that keeps the body.
type bodyRecorder struct {
	bytes.Buffer
	header http.Header
}

func (b *bodyRecorder) Header() http.Header { return b.header }

func (b *bodyRecorder) WriteHeader(int) {}
