// Package api_test compares what the public packages export with the files beside it.
package api_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the files anew")

// TestTheAPIIsTheOneOfTheFiles fails when an exported name comes, goes or changes. Lines that are
// missing break the programs that use them: CHANGELOG.md must say so. To write the files anew:
//
//	go test ./api -update
func TestTheAPIIsTheOneOfTheFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"schema", "publisher", "publisher/publishertest"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			file := filepath.Base(dir) + ".txt"
			got := exported(t, filepath.Join("..", filepath.FromSlash(dir)))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(strings.Join(got, "\n")+"\n"), 0o600))
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			want := strings.Split(strings.TrimSpace(string(text)), "\n")
			require.Empty(t, without(want, got),
				"gone or changed: programs may need them; see the comment of this test")
			require.Empty(t, without(got, want), "new or changed; see the comment of this test")
		})
	}
}

// without are the lines of all that are not among some.
func without(all, some []string) (rest []string) {
	for _, line := range all {
		if !slices.Contains(some, line) {
			rest = append(rest, line)
		}
	}
	return rest
}

// exported lists what a package exports, a line each.
func exported(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	l := list{fset: token.NewFileSet()}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(l.fset, file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			l.declaration(d)
		}
	}
	require.NotEmpty(t, l.lines)
	slices.Sort(l.lines)
	return l.lines
}

type list struct {
	fset  *token.FileSet
	lines []string
}

func (l *list) add(words ...string) {
	l.lines = append(l.lines, strings.Join(strings.Fields(strings.Join(words, " ")), " "))
}

// text is a node in one line.
func (l *list) text(node any) string {
	var b bytes.Buffer
	_ = printer.Fprint(&b, l.fset, node) // into memory
	return b.String()
}

func (l *list) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		l.function(d)
	case *ast.GenDecl:
		var kind ast.Expr // of constants that do not repeat it
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				l.typ(s)
			case *ast.ValueSpec:
				if s.Type != nil || len(s.Values) > 0 {
					kind = s.Type
				}
				l.values(d.Tok.String(), s, kind)
			}
		}
	}
}

func (l *list) function(d *ast.FuncDecl) {
	if !d.Name.IsExported() {
		return
	}
	signature := l.signature(d.Type)
	if d.Recv == nil {
		l.add("func", d.Name.Name+signature)
		return
	}
	receiver := l.text(d.Recv.List[0].Type)
	if ast.IsExported(strings.TrimPrefix(receiver, "*")) {
		l.add("method ("+receiver+")", d.Name.Name+signature)
	}
}

// signature is a function's parameters and results without their names, which nobody depends on.
func (l *list) signature(f *ast.FuncType) string {
	results := l.types(f.Results)
	switch len(results) {
	case 0:
		return "(" + strings.Join(l.types(f.Params), ", ") + ")"
	case 1:
		return "(" + strings.Join(l.types(f.Params), ", ") + ") " + results[0]
	}
	return "(" + strings.Join(l.types(f.Params), ", ") + ") (" + strings.Join(results, ", ") + ")"
}

func (l *list) types(fields *ast.FieldList) (out []string) {
	if fields == nil {
		return nil
	}
	for _, f := range fields.List {
		for range max(1, len(f.Names)) {
			out = append(out, l.text(f.Type))
		}
	}
	return out
}

func (l *list) values(keyword string, s *ast.ValueSpec, kind ast.Expr) {
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		words := []string{keyword, name.Name}
		if kind != nil {
			words = append(words, l.text(kind))
		}
		if keyword == "const" && i < len(s.Values) {
			words = append(words, "=", l.text(s.Values[i]))
		}
		l.add(words...)
	}
}

func (l *list) typ(s *ast.TypeSpec) {
	if !s.Name.IsExported() {
		return
	}
	name := "type " + s.Name.Name
	switch t := s.Type.(type) {
	case *ast.StructType:
		l.add(name, "struct")
		l.fields(name+" struct,", t.Fields)
	case *ast.InterfaceType:
		l.add(name, "interface")
		l.fields(name+" interface,", t.Methods)
	default:
		if s.Assign.IsValid() {
			name += " ="
		}
		l.add(name, l.text(s.Type))
	}
}

// fields are those of a struct or the methods of an interface. That there are some that are not
// exported counts: of an interface with one nobody else can have another implementation.
func (l *list) fields(owner string, fields *ast.FieldList) {
	hidden := false
	for _, f := range fields.List {
		kind := l.text(f.Type)
		if method, ok := f.Type.(*ast.FuncType); ok && len(f.Names) > 0 {
			kind = l.signature(method)
		}
		if f.Tag != nil {
			kind += " " + f.Tag.Value
		}
		if len(f.Names) == 0 {
			l.add(owner, "embedded", kind)
		}
		for _, name := range f.Names {
			if name.IsExported() {
				l.add(owner, name.Name, kind)
			} else {
				hidden = true
			}
		}
	}
	if hidden {
		l.add(owner, "and what is not exported")
	}
}
