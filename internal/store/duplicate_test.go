package store

import (
	"errors"
	"testing"

	mssql "github.com/microsoft/go-mssqldb"
	"gorm.io/gorm"
)

// SQL Server reports a primary key or unique constraint as 2627 and a unique index as 2601. Errors that the driver gives
// take this way through GORM.
func TestDuplicateKeysOfSQLServerAreErrDuplicate(t *testing.T) {
	s, err := Open("sqlserver://user:password@127.0.0.1:1?database=latchkey")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for number, duplicate := range map[int32]bool{2627: true, 2601: true, 547: false, 1205: false} {
		want := ErrUnavailable
		if duplicate {
			want = ErrDuplicate
		}
		db := s.writers.db.Session(&gorm.Session{NewDB: true})
		if got := wrap(db.AddError(mssql.Error{Number: number})); !errors.Is(got, want) {
			t.Errorf("error %d gives %v, want %v", number, got, want)
		}
	}
}
