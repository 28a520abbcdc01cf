package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	validatorconfig "github.com/pb33f/libopenapi-validator/config"
	validatorerrors "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"latchkey/api"
)

// apiDocument is api/openapi.yaml as tests use it.
type apiDocument struct {
	model     *v3.Document
	problem   *base.Schema
	mu        sync.Mutex // the library does not say that its validators may be shared
	responses validator.Validator
	schemas   schema_validation.SchemaValidator
}

// document reads the API document, once for all tests.
var document = sync.OnceValues(func() (*apiDocument, error) {
	parsed, err := libopenapi.NewDocument(api.Document)
	if err != nil {
		return nil, err
	}
	model, err := parsed.BuildV3Model()
	if err != nil {
		return nil, err
	}
	responses, faults := validator.NewValidator(parsed, validatorconfig.WithFormatAssertions())
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &apiDocument{
		model: &model.Model, problem: model.Model.Components.Schemas.GetOrZero("Problem").Schema(),
		responses: responses, schemas: schema_validation.NewSchemaValidator(validatorconfig.WithFormatAssertions()),
	}, nil
})

// isPage tells what is for browsers and no part of the API.
func isPage(path string) bool {
	return path == "/" || path == "/client.js" || strings.HasPrefix(path, "/demo") || strings.HasPrefix(path, "/swagger")
}

var pathParameter = regexp.MustCompile(`\\\{[^}]*\\\}`) // in a quoted template

// operation returns what the document says of a call, or nil.
func (d *apiDocument) operation(method, path string) *v3.Operation {
	if method != strings.ToUpper(method) { // methods are case-sensitive
		return nil
	}
	for template, item := range d.model.Paths.PathItems.FromOldest() {
		pattern := pathParameter.ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		if regexp.MustCompile("^" + pattern + "$").MatchString(path) {
			return item.GetOperations().GetOrZero(strings.ToLower(method))
		}
	}
	return nil
}

// check says how an answer differs from the document.
func (d *apiDocument) check(a answer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	method, path := a.Request.Method, a.Request.URL.EscapedPath()
	var faults []error
	switch operation, get := d.operation(method, path), d.operation(http.MethodGet, path); {
	case operation != nil:
		response := *a.Response
		response.Body = io.NopCloser(bytes.NewReader([]byte(a.body)))
		if ok, found := d.responses.ValidateHttpResponse(a.Request, &response); !ok {
			faults = append(faults, listed(found))
		}
		if (a.StatusCode == http.StatusNoContent) != (a.body == "") { // the library lets an empty body pass for any JSON
			faults = append(faults, fmt.Errorf("a %d has a body of %d bytes", a.StatusCode, len(a.body)))
		}
	case method == http.MethodHead && get != nil: // the document leaves HEAD to HTTP: as GET, without the body
		if get.Responses.Codes.GetOrZero(fmt.Sprint(a.StatusCode)) == nil || a.body != "" {
			faults = append(faults, errors.New("the answer to HEAD is none that GET could have"))
		}
	case method == http.MethodOptions && a.StatusCode == http.StatusNoContent && a.body == "": // a preflight
	case isPage(path) && a.StatusCode < 400:
	case a.StatusCode < 400:
		faults = append(faults, errors.New("the document does not know this call, yet it succeeded"))
	}
	if a.StatusCode >= 400 && method != http.MethodHead {
		faults = append(faults, d.checkProblem(a))
	}
	return errors.Join(faults...)
}

// internals are words of what no client has to know: causes, libraries, places in the source or on the disk.
var internals = []string{
	"sql", "gorm", "constraint", "database", "goose", "argon", "panic", "runtime error", "goroutine", "stack", ".go", "0x",
	"/tmp", "/root", "/home", "/var", "latchkey/", "context", "deadline", "i/o", "jsontext", "canary",
}

// checkProblem says what is wrong with a refusal, whether or not the document knows the call.
func (d *apiDocument) checkProblem(a answer) error {
	var faults []error
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		faults = append(faults, fmt.Errorf("the media type is %q", got))
	}
	var body problemBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		return errors.Join(append(faults, err)...)
	}
	if ok, found := d.schemas.ValidateSchemaString(d.problem, a.body); !ok {
		faults = append(faults, listed(found))
	}
	if body.Status != a.StatusCode || body.Title != http.StatusText(a.StatusCode) {
		faults = append(faults, fmt.Errorf("the body says %d %q", body.Status, body.Title))
	}
	if id := a.Header.Get("X-Request-Id"); body.RequestID != id {
		faults = append(faults, fmt.Errorf("the body has the request id %q, the header %q", body.RequestID, id))
	}
	for _, word := range internals {
		if strings.Contains(strings.ToLower(body.Detail), word) {
			faults = append(faults, fmt.Errorf("the detail has %q, which is an internal", word))
		}
	}
	if (body.Code == "validation_failed") != (len(body.Errors) > 0) {
		faults = append(faults, fmt.Errorf("%s has %d errors", body.Code, len(body.Errors)))
	}
	return errors.Join(faults...)
}

// listed makes one error of the library's list, which says only in its details what is wrong.
func listed(found []*validatorerrors.ValidationError) error {
	var faults []error
	for _, e := range found {
		fault := e.Message + ": " + e.Reason
		for _, detail := range e.SchemaValidationErrors {
			fault += "; " + detail.Reason + " at " + detail.KeywordLocation
		}
		faults = append(faults, errors.New(fault))
	}
	return errors.Join(faults...)
}

// checkHeaders says which of the headers that every answer has are missing or wrong.
func checkHeaders(a answer, https bool) error {
	var faults []error
	want := map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
		"Strict-Transport-Security":    "",
		"Server":                       "",
		"X-Powered-By":                 "",
	}
	if https {
		want["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
	}
	path, refused := a.Request.URL.Path, a.StatusCode >= 400
	switch {
	case path == "/.well-known/jwks.json" && !refused:
		want["Cache-Control"] = "public, max-age=300"
	case isPage(path) && !refused: // pages_test.go and swagger_test.go have their headers
		delete(want, "Cache-Control")
		delete(want, "Content-Security-Policy")
	}
	for name, value := range want {
		if got := strings.Join(a.Header.Values(name), " | "); got != value {
			faults = append(faults, fmt.Errorf("%s is %q, want %q", name, got, value))
		}
	}
	for name, has := range map[string]bool{
		"Retry-After":      a.StatusCode == http.StatusTooManyRequests || a.StatusCode == http.StatusServiceUnavailable,
		"WWW-Authenticate": a.StatusCode == http.StatusUnauthorized,
		"Allow":            a.StatusCode == http.StatusMethodNotAllowed,
		"X-Request-Id":     true,
	} {
		if (a.Header.Get(name) != "") != has {
			faults = append(faults, fmt.Errorf("a %d has %s %q", a.StatusCode, name, a.Header.Values(name)))
		}
	}
	switch a.StatusCode {
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		if !a.Close { // what is left of the request would be read as the next one
			faults = append(faults, fmt.Errorf("a %d leaves the connection open", a.StatusCode))
		}
	}
	for _, c := range a.Cookies() {
		prefixed := strings.HasPrefix(c.Name, "__Host-")
		if strings.TrimPrefix(c.Name, "__Host-") != "refresh_token" || prefixed != https || c.Secure != https || !c.HttpOnly ||
			c.SameSite == 0 || c.Path != "/" || c.Domain != "" || c.MaxAge == 0 || len(c.Raw) > 4096 {
			faults = append(faults, fmt.Errorf("the cookie is %s", c.Raw))
		}
		if c.Value != "" && strings.Contains(a.body, c.Value) {
			faults = append(faults, errors.New("the cookie's value is in the body"))
		}
	}
	if refused && a.Header.Get("Set-Cookie") != "" {
		faults = append(faults, errors.New("a refusal sets a cookie"))
	}
	return errors.Join(faults...)
}
