package internal_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	createTable = regexp.MustCompile(`(?m)^CREATE TABLE (\w+)`)
	grant       = regexp.MustCompile(`(?m)^GRANT ([A-Z, ]+) ON dbo\.(\w+) TO latchkey_server;$`)
)

// A table that the server has no rights on is found when its first statement fails, in production.
func TestServerIsGrantedRowsOfEveryTableAndNothingElse(t *testing.T) {
	files, err := filepath.Glob("../migrations/sqlserver/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]bool{"goose_db_version": true}
	for _, file := range files {
		for _, found := range createTable.FindAllStringSubmatch(read(t, file), -1) {
			tables[found[1]] = true
		}
	}
	text := read(t, "../docs/deploy/grants.sql")
	granted := map[string][]string{}
	for _, found := range grant.FindAllStringSubmatch(text, -1) {
		granted[found[2]] = strings.Split(found[1], ", ")
	}
	if got, want := slices.Sorted(maps.Keys(granted)), slices.Sorted(maps.Keys(tables)); !slices.Equal(got, want) || len(want) < 6 {
		t.Errorf("docs/deploy/grants.sql is about the tables %q, and the migrations make %q", got, want)
	}
	if statements := strings.Count(text, ";"); statements != len(granted) {
		t.Errorf("docs/deploy/grants.sql has %d statements, of which %d grant rights on a table", statements, len(granted))
	}
	may := map[string][]string{"goose_db_version": {"SELECT"}, "audit_events": {"SELECT", "INSERT", "DELETE"}}
	for table, rights := range granted {
		want := may[table]
		if want == nil {
			want = []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
		}
		if !slices.Equal(rights, want) {
			t.Errorf("the server may %q %s, want %q", rights, table, want)
		}
	}
}
