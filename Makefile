# The targets that a developer needs. `make help` lists them.

# Pure Go: no C compiler is needed, but for the race detector.
export CGO_ENABLED ?= 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
SQLSERVER_TESTS := ./internal/store/... ./internal/session ./internal/account ./internal/retention ./internal/httpapi ./cmd/latchkey
LINT    := go tool -modfile=.ci/tools/go.mod golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/latchkey
	go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/latchkey ./cmd/latchkey

.PHONY: run
run: build ## run the server, on SQLite in data/, without any settings
	./bin/latchkey serve

.PHONY: test
test: ## run the tests; RACE=1 adds the race detector, which needs a C compiler
	$(if $(RACE),CGO_ENABLED=1) go test $(if $(RACE),-race) -timeout 20m ./...

# Every test that needs a database, and those that are of SQL Server alone.
.PHONY: test-sqlserver
test-sqlserver: ## run the tests of the database on the server that LATCHKEY_TEST_DATABASE_URL names
	@test -n "$$LATCHKEY_TEST_DATABASE_URL" || \
		{ echo 'set LATCHKEY_TEST_DATABASE_URL=sqlserver://USER:PASSWORD@HOST:1433, of a login that may make databases' >&2; exit 2; }
	go test -tags sqlserver -count=1 -p 2 -timeout 30m $(SQLSERVER_TESTS)

.PHONY: e2e
e2e: ## run the browser tests, which need Chromium and npm
	go test -tags e2e -count=1 -timeout 20m ./internal/e2e

.PHONY: e2e-replicas
e2e-replicas: ## run the tests of several servers behind nginx, which need nginx
	go test -tags e2e -count=1 -timeout 10m -parallel $(if $(LATCHKEY_TEST_DATABASE_URL),1,8) -v ./internal/e2e/replicas

.PHONY: cover
cover: ## show how much of the code the tests reach
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -1

.PHONY: bench
bench: ## run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: load
load: build ## measure the server beside the limits of this machine; LOAD='-h' lists what can be chosen
	go run ./internal/load $(LOAD)

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
