//go:build sqlserver

package main

import (
	"net/url"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/internal/store/storetest"
)

// TestScriptsOnSQLServer runs the scripts in testdata/sqlserver on an empty database.
func TestScriptsOnSQLServer(t *testing.T) {
	server, err := url.Parse(storetest.Server(t))
	if err != nil {
		t.Fatal("the server's URL is not understood")
	}
	server.User = url.UserPassword("nobody", "canary")
	p := scripts("testdata/sqlserver")
	setup, database := p.Setup, storetest.Empty(t)
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("LATCHKEY_DATABASE_URL", database)
		env.Setenv("NOWHERE", server.String())
		return setup(env)
	}
	testscript.Run(t, p)
}
