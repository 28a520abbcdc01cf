// Package api holds the description of the HTTP API for everybody who calls it.
package api

import _ "embed"

// Document is the OpenAPI 3.1 document, which the server serves at /openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte
