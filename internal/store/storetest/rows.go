package storetest

import (
	"context"
	"database/sql"
	"fmt"
)

// Rows returns what a statement finds, a line each with every column in hexadecimal: two dumps are equal if nothing
// changed in between. t is a test's or a property's.
func Rows(t interface {
	Helper()
	Fatal(arguments ...any)
}, db *sql.DB, statement string) (lines []string) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), statement)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }() // what fails in between, rows.Err has
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, targets := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%x", values))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
