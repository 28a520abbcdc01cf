// Package migrations holds the database schema as versioned SQL, one folder for each kind of database. A file, once
// released, is never changed: a change to the schema is a new file, in both folders, under one number.
package migrations

import "embed"

// FS holds sqlite/*.sql and sqlserver/*.sql, in goose's format.
//
//go:embed sqlite/*.sql sqlserver/*.sql
var FS embed.FS
