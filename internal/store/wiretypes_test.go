package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/audit"
	"latchkey/internal/store"
	"latchkey/migrations"
)

// Where the type of a parameter comes before that of the column in SQL Server's order of types, it converts the column,
// in every row, and reads the whole index for that. So each method is called, and what the driver declares held against
// the columns. A statement that follows only where a row was found is not seen.
func TestParametersForSQLServerHaveTheTypesOfTheirColumns(t *testing.T) {
	s, w := openWire(t)
	columns := sqlServerColumns(t)
	methods := reflect.ValueOf(s)
	for i := range methods.NumMethod() {
		name, method := methods.Type().Method(i).Name, methods.Method(i)
		if slices.Contains([]string{"InTx", "Migrate", "MigrateDown", "Migrations", "Ready", "SchemaVersion"}, name) ||
			method.Type().NumIn() == 0 || method.Type().In(0) != reflect.TypeFor[context.Context]() {
			continue // it says nothing of its own
		}
		parameters := []reflect.Value{reflect.ValueOf(t.Context())}
		for j := 1; j < method.Type().NumIn(); j++ {
			parameters = append(parameters, sample(t, method.Type().In(j)))
		}
		method.Call(parameters) // it finds no row, which is an error here and there
		statements := w.take(t)
		if len(statements) == 0 {
			t.Errorf("%s says nothing", name)
		}
		for _, statement := range statements {
			checkTypes(t, name, statement, columns)
		}
	}
}

// sample makes a value for a parameter of a method.
func sample(t *testing.T, kind reflect.Type) reflect.Value {
	t.Helper()
	session := newSession(1, 2)
	session.ParentHash, session.AcknowledgedAt, session.RevokedAt = session.CurrentHash, at(testTime), at(testTime)
	session.RevokedReason = "logout"
	user := newUser(1)
	for _, value := range []any{
		id(1), testTime, at(testTime), "a", 1, int64(1), []string{"a", "b"}, bytes.Repeat([]byte{1}, 32), user, &user, []store.User{user, user},
		session, &session, newThrottle(1), newEvents(2, testTime),
		store.AuditFilter{UserID: id(1), Action: audit.Login, Since: testTime, Before: id(9)},
	} {
		if reflect.TypeOf(value) == kind {
			return reflect.ValueOf(value)
		}
	}
	t.Fatalf("there is no sample of a %s: add one", kind)
	return reflect.Value{}
}

var (
	declaredColumn    = regexp.MustCompile(`(?m)^(?:    |ALTER TABLE \w+ ADD )(\w+) +((?:BIG|SMALL|TINY)?INT|BIT|(?:VAR)?BINARY\(\d+\)|N?VARCHAR\(\d+\)|DATETIME2\(\d\))`)
	declaredIndex     = regexp.MustCompile(`(?m)^CREATE (?:UNIQUE )?INDEX \w+ ON \w+ \(([^)]*)\)`)
	declaredParameter = regexp.MustCompile(`@p(\d+) (\w+)(?:\((\w+)\))?`)
	insertion         = regexp.MustCompile(`^INSERT INTO "\w+" \(([^)]*)\)`)
	used              = regexp.MustCompile(`"?(\w+)"? ?(?:=|<>|<=|>=|<|>|IN) ?\(?((?:(?:CAST\()?@p\d+(?: AS BINARY\(\d+\)\))?,?)+)`)
	parameter         = regexp.MustCompile(`@p(\d+)`)
)

// sqlServerColumns lists the types of all columns in the migrations; columns of one name have one type.
func sqlServerColumns(t *testing.T) map[string]string {
	t.Helper()
	files, err := fs.Glob(migrations.FS, "sqlserver/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(migrations.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range declaredColumn.FindAllStringSubmatch(string(text), -1) {
			if before := columns[c[1]]; before != "" && before != c[2] {
				t.Fatalf("%s: %s is %s here and %s elsewhere", file, c[1], c[2], before)
			}
			columns[c[1]] = c[2]
		}
		for _, index := range declaredIndex.FindAllStringSubmatch(string(text), -1) {
			for column := range strings.SplitSeq(index[1], ", ") {
				if columns[column] == "" || columns[column] == "INT" { // parameters are BIGINT
					t.Errorf("%s: an index has %s, of type %q", file, column, columns[column])
				}
			}
		}
	}
	if len(columns) < 25 {
		t.Fatalf("only %d columns were found", len(columns))
	}
	return columns
}

// checkTypes holds the parameters of a statement against the columns that they are compared with or become.
func checkTypes(t *testing.T, method string, s wireStatement, columns map[string]string) {
	t.Helper()
	compared, written := parametersByUse(s.text)
	for _, p := range declaredParameter.FindAllStringSubmatch(s.declarations, -1) {
		n, kind, size := p[1], p[2], p[3]
		column, isCompared := compared[n]
		if !isCompared {
			column = written[n]
		}
		want, length, _ := strings.Cut(strings.TrimSuffix(columns[column], ")"), "(")
		var fits bool
		switch want {
		case "BINARY": // the driver knows no BINARY: what is compared, the statement has to make one
			isCast := strings.Contains(s.text, "CAST(@p"+n+" AS BINARY("+length+"))")
			fits = kind == "varbinary" && size == length && (isCast || !isCompared)
		case "NVARCHAR":
			given, err := strconv.Atoi(size)
			most, mostErr := strconv.Atoi(length)
			fits = kind == "nvarchar" && err == nil && mostErr == nil && given <= most
		case "DATETIME2":
			fits = kind == "datetime2"
		case "INT": // of one family with BIGINT, and no index has one
			fits = kind == "bigint"
		}
		// The driver has no length for null and for empty text, which does no harm to what is written.
		if !fits && (isCompared || size != "max" || !strings.HasSuffix(strings.ToLower(want), strings.TrimPrefix(kind, "var"))) {
			t.Errorf("%s: @p%s is %s(%s), for the column %q of type %s: %s", method, n, kind, size, column, columns[column], s.text)
		}
	}
}

// parametersByUse finds the columns of parameters, by their numbers.
func parametersByUse(text string) (compared, written map[string]string) {
	compared, written = map[string]string{}, map[string]string{}
	if names := insertion.FindStringSubmatch(text); names != nil {
		list := strings.Split(strings.ReplaceAll(names[1], `"`, ""), ",")
		for i, p := range parameter.FindAllStringSubmatch(text, -1) {
			written[p[1]] = list[i%len(list)]
		}
		return compared, written
	}
	sets, conditions, isUpdate := strings.Cut(text, " WHERE ")
	if !isUpdate || !strings.HasPrefix(text, "UPDATE") {
		sets, conditions = "", text
	}
	for into, part := range map[*map[string]string]string{&compared: conditions, &written: sets} {
		for _, use := range used.FindAllStringSubmatch(part, -1) {
			for _, p := range parameter.FindAllStringSubmatch(use[2], -1) {
				(*into)[p[1]] = use[1]
			}
		}
	}
	return compared, written
}

// An untyped null is text to the driver, which SQL Server does not put into a binary column.
func TestNullsForSQLServerHaveTheTypesOfTheirColumns(t *testing.T) {
	s, w := openWire(t)
	session := newSession(1, 2)
	next := session
	next.Generation++
	_, moved := s.AdvanceSession(t.Context(), session, next)
	_, counted := s.AdvanceLoginThrottle(t.Context(), store.LoginThrottle{}, newThrottle(1))
	err := errors.Join(moved, counted, s.CreateSession(t.Context(), &session), s.AppendAuditEvents(t.Context(), newEvents(1, testTime)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetRoles(t.Context(), id(1), nil); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	columns, statements := sqlServerColumns(t), w.take(t)
	if len(statements) != 5 {
		t.Fatalf("there are %d statements, want 5", len(statements))
	}
	for _, statement := range statements {
		checkTypes(t, "a null", statement, columns)
	}
}
