# The targets that a developer needs. `make help` lists them.

# Pure Go: no C compiler is needed, but for the race detector.
export CGO_ENABLED ?= 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LINT    := go tool -modfile=.ci/tools/go.mod golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/latchkey
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/latchkey ./cmd/latchkey

.PHONY: run
run: build ## run the server, on SQLite in data/, without any settings
	./bin/latchkey serve

.PHONY: test
test: ## run the tests; RACE=1 adds the race detector, which needs a C compiler
	$(if $(RACE),CGO_ENABLED=1) go test $(if $(RACE),-race) -timeout 20m ./...

.PHONY: e2e
e2e: ## run the browser tests, which need Chromium
	go test -tags e2e -count=1 -timeout 10m ./internal/e2e/...

.PHONY: cover
cover: ## show how much of the code the tests reach
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -1

.PHONY: bench
bench: ## run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz: ## fuzz each parser of input for FUZZTIME (30s)
	go test -run '^$$' -fuzz FuzzParseRefresh -fuzztime $(FUZZTIME) ./internal/token
	go test -run '^$$' -fuzz FuzzVerifyAccess -fuzztime $(FUZZTIME) ./internal/token
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) ./internal/httpapi
	go test -run '^$$' -fuzz FuzzLogLines -fuzztime $(FUZZTIME) ./cmd/latchkey

.PHONY: lint
lint: ## check form and style
	gofmt -l . | (! grep .)
	go vet ./...
	$(LINT) run
