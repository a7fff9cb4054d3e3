package lbproof_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// balancers are the names that only their own packages may use.
var balancers = func() []string {
	names := []string{"envoy"}
	for _, b := range lbconfigs.All {
		names = append(names, b.Name)
	}
	return names
}()

// Outside lbconfigs/<balancer> no code depends on which balancer it is: differences are data of the model, filled in by its
// reader.
func TestNobodyAsksWhichBalancer(t *testing.T) {
	eachFile(t, func(name string, file *ast.File, at func(ast.Node) string) {
		if slices.ContainsFunc(balancers, func(b string) bool { return strings.HasPrefix(name, "lbconfigs/"+b+"/") }) {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			for _, e := range compared(n) {
				assert.False(t, namesBalancer(e), "%s asks for a balancer's name: let its reader say what it does, in internal/model", at(n))
			}
			return true
		})
	})
}

// A field called Source holds text as the user wrote it: it is printed, never compared or parsed.
func TestSourcesAreOnlyPrinted(t *testing.T) {
	eachFile(t, func(name string, file *ast.File, at func(ast.Node) string) {
		if strings.HasPrefix(name, "lbconfigs/") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			used := compared(n)
			if call, ok := n.(*ast.CallExpr); ok && parses(call) {
				used = call.Args
			}
			for _, e := range used {
				if s, ok := e.(*ast.SelectorExpr); ok {
					assert.NotEqual(t, "Source", s.Sel.Name, "%s looks into a Source: give what it needs to know a type", at(n))
				}
			}
			return true
		})
	})
}

// The kit of the checks stays small: what only one family uses belongs to that family.
func TestKitStaysSmall(t *testing.T) {
	for dir, most := range map[string]int{"scenarios/checks/check": 100, "scenarios/checks/outage": 24} {
		var exported []string
		eachFile(t, func(name string, file *ast.File, _ func(ast.Node) string) {
			if path.Dir(name) == dir {
				exported = append(exported, exportedBy(file)...)
			}
		})
		assert.LessOrEqual(t, len(exported), most, "%s exports %d names", dir, len(exported))
	}
}

// compared lists the operands of a comparison, except with the empty string, and the cases of a switch.
func compared(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		empty, ok := n.Y.(*ast.BasicLit)
		if (n.Op == token.EQL || n.Op == token.NEQ) && !(ok && empty.Value == `""`) {
			return []ast.Expr{n.X, n.Y}
		}
	case *ast.CaseClause:
		return n.List
	}
	return nil
}

// namesBalancer reports whether an expression is a balancer's name, or the field that holds the name of the one at hand.
func namesBalancer(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return err == nil && slices.Contains(balancers, text)
	case *ast.SelectorExpr:
		dialect, ok := e.X.(*ast.SelectorExpr)
		return ok && dialect.Sel.Name == "Dialect" && e.Sel.Name == "Name"
	}
	return false
}

// parses reports whether a call inspects text: a function of package strings that does not only build text, or a regular
// expression.
func parses(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := f.X.(*ast.Ident)
	inStrings := ok && of.Name == "strings" && !slices.Contains([]string{"Join", "Repeat", "NewReader"}, f.Sel.Name)
	return inStrings || strings.HasPrefix(f.Sel.Name, "Find") && strings.Contains(f.Sel.Name, "String") || f.Sel.Name == "MatchString"
}

func exportedBy(file *ast.File) (names []string) {
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				names = append(names, exportedIn(s)...)
			}
		}
	}
	return names
}

func exportedIn(s ast.Spec) (names []string) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			names = append(names, s.Name.Name)
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// eachFile parses every non-test Go file; at returns the position of a node.
func eachFile(t *testing.T, visit func(name string, file *ast.File, at func(ast.Node) string)) {
	t.Helper()
	fset := token.NewFileSet()
	at := func(n ast.Node) string {
		p := fset.Position(n.Pos())
		return fmt.Sprintf("%s:%d", p.Filename, p.Line)
	}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return filepath.SkipDir
		case path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(name), file, at)
		return nil
	})
	require.NoError(t, err)
}
