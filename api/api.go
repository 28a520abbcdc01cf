// Package api holds what callers of the HTTP API are given: its description, the client for browsers, and a page that
// shows the client at work.
package api

import "embed"

// Document is the OpenAPI 3.1 document, which the server serves at /openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte

// Client is the ES module for browsers, which the server serves at /client.js.
//
//go:embed client/client.js
var Client []byte

// Demo has the files of the demo page, below demo/, which the server serves at /demo/.
//
//go:embed demo/index.html demo/demo.css demo/demo.js demo/icon.svg
var Demo embed.FS
