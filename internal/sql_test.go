package internal_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Where GORM and database/sql take text for SQL. GORM also builds SQL from a string among the conditions of First, Find
// or Delete, and from any value's map, so there nothing of that kind is allowed at all.
var (
	textFirst = words("Raw Exec Where Not Or Order Select Omit Distinct Group Having Joins InnerJoins Preload Table Pluck Update " +
		"UpdateColumn Expr Query QueryRow Prepare")
	textSecond   = words("ExecContext QueryContext QueryRowContext PrepareContext")
	noConditions = words("First Last Take Find Delete FirstOrInit FirstOrCreate FindInBatches Attrs Assign")
	columnMaps   = words("Updates UpdateColumns")
)

func words(s string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(s) {
		set[word] = true
	}
	return set
}

// variableSQL lists the places where something else than a constant could become SQL text.
func variableSQL(fset *token.FileSet, file *ast.File, info *types.Info) []string {
	var faults []string
	fault := func(n ast.Node, what string) {
		faults = append(faults, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
	}
	constant := func(e ast.Expr) bool { return info.Types[e].Value != nil }
	called := map[ast.Expr]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			callee, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || !takesSQL(info.Uses[callee.Sel]) {
				return true
			}
			called[callee] = true
			switch name := callee.Sel.Name; {
			case textFirst[name] && len(n.Args) > 0 && !constant(n.Args[0]),
				textSecond[name] && !constant(n.Args[1]):
				fault(n, name+" is given text that is not constant")
			case noConditions[name] && len(n.Args) > 1:
				fault(n, name+" is given a condition: use Where")
			case columnMaps[name] && !constantKeys(n.Args[0], constant):
				fault(n, name+" is given columns that are not constant")
			}
		case *ast.SelectorExpr: // a method as a value would be called out of sight
			restricted := textFirst[n.Sel.Name] || textSecond[n.Sel.Name] || noConditions[n.Sel.Name] || columnMaps[n.Sel.Name]
			if takesSQL(info.Uses[n.Sel]) && restricted && !called[n] {
				fault(n, n.Sel.Name+" is not called where it stands")
			}
		case *ast.CompositeLit:
			if named, ok := info.TypeOf(n).(*types.Named); ok && inPackage(named.Obj(), "gorm.io/gorm/clause") {
				fault(n, "a clause is built by hand")
			}
		}
		return true
	})
	return faults
}

// takesSQL says whether a name belongs to GORM or database/sql, as a function or as a method.
func takesSQL(object types.Object) bool {
	f, ok := object.(*types.Func)
	return ok && (inPackage(f, "gorm.io/gorm") || inPackage(f, "gorm.io/gorm/clause") || inPackage(f, "database/sql"))
}

func inPackage(o types.Object, path string) bool { return o.Pkg() != nil && o.Pkg().Path() == path }

// constantKeys says whether an expression is a map that is written out with constant keys.
func constantKeys(e ast.Expr, constant func(ast.Expr) bool) bool {
	literal, ok := e.(*ast.CompositeLit)
	if !ok {
		return false
	}
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); !ok || !constant(pair.Key) {
			return false
		}
	}
	return true
}

// storeExports returns the file of export data, as the compiler made it, of each package that the store needs.
var storeExports = sync.OnceValues(func() (map[string]string, error) {
	out, err := exec.CommandContext(context.Background(), "go", "list", "-export", "-deps",
		"-f", "{{.ImportPath}}={{.Export}}", module+"internal/store").Output()
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		exports[path] = file
	}
	return exports, err
})

// checkTypes type-checks files as the store's package.
func checkTypes(t *testing.T, fset *token.FileSet, files []*ast.File) *types.Info {
	t.Helper()
	exports, err := storeExports()
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	checker := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	if _, err := checker.Check(module+"internal/store", fset, files, info); err != nil {
		t.Fatal(err)
	}
	return info
}

// No linter knows which of GORM's arguments are SQL. Here none of them ever depends on input.
func TestStatementsAreConstant(t *testing.T) {
	fset := token.NewFileSet()
	paths, err := filepath.Glob("store/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		built, err := build.Default.MatchFile(filepath.Split(path)) // and not for another system
		if err != nil {
			t.Fatal(err)
		}
		if !built || strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	info := checkTypes(t, fset, files)
	calls := 0
	for _, file := range files {
		for _, fault := range variableSQL(fset, file, info) {
			t.Error(fault)
		}
	}
	for _, object := range info.Uses {
		if takesSQL(object) {
			calls++
		}
	}
	if calls < 50 { // a search that finds nothing passes anything
		t.Errorf("found only %d uses of GORM and database/sql", calls)
	}
}

func TestVariableStatementsAreFound(t *testing.T) {
	const head = `package store
		import ("context"; "database/sql"; "gorm.io/gorm"; "gorm.io/gorm/clause")
		const column = "a" + "b"
		type row struct{ A string }
		var _ = clause.Expr{}.SQL
		func f(ctx context.Context, db *gorm.DB, pool *sql.DB, in string, m map[string]any) any { r := &row{}; _ = r; return `
	for statement, want := range map[string]int{
		`db.Where("a = ?", in).Order(column).Take(r)`:             0,
		`db.Raw("SELECT 1 FROM " + column).Scan(r)`:               0,
		`db.Model(r).Updates(map[string]any{"a": in, column: 1})`: 0,
		`db.Model(r).UpdateColumn("a", in).Delete(r)`:             0,
		`pool.QueryRowContext(ctx, "SELECT ?", in)`:               0,
		`db.Where(in)`:                               1,
		`db.Where("a = " + in)`:                      1,
		`db.Where(m)`:                                1,
		`db.Where(db.Where("a"))`:                    1,
		`db.Not(in).Or(in)`:                          2,
		`db.Raw(in)`:                                 1,
		`db.Exec("DELETE FROM " + in)`:               1,
		`db.Order(in).Group(in).Having(in)`:          3,
		`db.Select(in).Joins(in).Table(in)`:          3,
		`db.Model(r).Update(in, 1)`:                  1,
		`db.Model(r).Updates(m)`:                     1,
		`db.Model(r).Updates(map[string]any{in: 1})`: 1,
		`db.First(r, in)`:                            1,
		`db.Delete(r, "a = ?", in)`:                  1,
		`db.Find(r, 1)`:                              1,
		`db.Update("a", gorm.Expr(in))`:              1,
		`db.Clauses(clause.Expr{SQL: in})`:           1,
		`db.Where("a IN (?)", gorm.Expr(in))`:        1,
		`pool.QueryRowContext(ctx, in)`:              1,
		`pool.QueryRow(in)`:                          1,
		`db.Where`:                                   1,
	} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "example.go", head+statement+" }", 0)
		if err != nil {
			t.Fatal(err)
		}
		allowed := 1 // the head's own clause
		if faults := variableSQL(fset, file, checkTypes(t, fset, []*ast.File{file})); len(faults)-allowed != want {
			t.Errorf("%s: %q, want %d", statement, faults, want)
		}
	}
}
