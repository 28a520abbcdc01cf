package store

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"latchkey/migrations"
)

// Both databases must have the same history: what is read of a file is each table with its columns, and what is taken
// back.
func TestBothDatabasesHaveTheSameTables(t *testing.T) {
	one, other := schemas(t, "sqlite"), schemas(t, "sqlserver")
	if len(one) == 0 || len(one) != len(other) {
		t.Fatalf("sqlite has %d migrations and sqlserver %d", len(one), len(other))
	}
	for name, schema := range one {
		if schema == "" || other[name] != schema {
			t.Errorf("%s: sqlite has\n%s\nand sqlserver\n%s", name, schema, other[name])
		}
	}
}

// schemas gives for each file of a folder its tables and columns, one a line, with "null" for those that may be null.
func schemas(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := fs.Glob(migrations.FS, folder+"/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	created := regexp.MustCompile(`(?ms)^CREATE TABLE (\w+) \(\n(.*?)^\)`)
	column := regexp.MustCompile(`(?m)^    (\w+) .*(?:\n {8,}.*)*`)
	other := regexp.MustCompile(`(?m)^(?:CREATE (?:UNIQUE )?INDEX|DROP TABLE|ALTER TABLE)[^;(]*(?:\([^)]*\))?(?: WHERE [^;]*)?`)
	result := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(migrations.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, table := range created.FindAllStringSubmatch(string(text), -1) {
			for _, c := range column.FindAllStringSubmatch(table[2], -1) {
				line := table[1] + "." + c[1]
				if !strings.Contains(c[0], "NOT NULL") {
					line += " null"
				}
				for _, word := range []string{"PRIMARY KEY", "UNIQUE", "REFERENCES users (id) ON DELETE CASCADE", "DEFAULT"} {
					if strings.Contains(c[0], word) {
						line += " " + word
					}
				}
				lines = append(lines, line)
			}
		}
		lines = append(lines, other.FindAllString(string(text), -1)...)
		_, name, _ := strings.Cut(file, "/")
		result[name] = strings.Join(lines, "\n")
	}
	return result
}
