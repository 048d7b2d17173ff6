package main

import (
	"context"
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weboffice-functions/scripts/command"
)

// source is one parsed Go file.
type source struct {
	name string
	text []byte
	set  *token.FileSet
	file *ast.File
}

func (s source) at(n ast.Node) place { return s.set.Position(n.Pos()) }

// code parses the project's Go files.
func (p project) code(r *report) (all []source) {
	for name, text := range p.texts() {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			r.add(place{Filename: name, Line: 1}, err.Error(), "correct the Go")
			continue
		}
		all = append(all, source{name, text, set, file})
	}
	return all
}

// How much fits: columns of a line, with tabs of four; of a row in a table, which a break would
// spoil; lines of a function outside tests, and of a main.
const (
	columns, rowColumns      = 100, 120
	functionLines, mainLines = 60, 20
)

// checkCode holds Go files to what fits.
func checkCode(_ context.Context, p project, r *report) {
	for _, s := range p.code(r) {
		s.widths(r)
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			length := s.set.Position(f.End()).Line - s.at(f).Line + 1
			switch isMain := f.Name.Name == "main" && f.Recv == nil; {
			case isMain && length > mainLines:
				r.add(s.at(f), fmt.Sprintf("main has %d lines, over %d", length, mainLines),
					"let it call run, which tests can call too")
			case !strings.HasSuffix(s.name, "_test.go") && length > functionLines:
				what := fmt.Sprintf("%s has %d lines, over %d", f.Name.Name, length, functionLines)
				r.add(s.at(f), what, "take a part out that has a name")
			}
		}
	}
}

// widths measures lines. Elements of a composite literal that stand on a line of their own are
// rows, and so is the text of a raw string, which cannot be broken.
func (s source) widths(r *report) {
	rows := map[int]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if line := s.at(e).Line; line == s.set.Position(e.End()).Line {
					rows[line] = true
				}
			}
		case *ast.BasicLit:
			end := s.set.Position(n.End()).Line
			for line := s.at(n).Line; n.Value[0] == '`' && line <= end; line++ {
				rows[line] = true
			}
		}
		return true
	})
	for i, line := range strings.Split(string(s.text), "\n") {
		most := columns
		if rows[i+1] {
			most = rowColumns
		}
		// four for a tab: Go indents with tabs alone
		n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
		if n > most {
			r.add(place{Filename: s.name, Line: i + 1}, fmt.Sprintf("the line has %d columns, over %d", n, most),
				"break it, or say it shorter")
		}
	}
}

//go:embed *.yaml
var embedded embed.FS

// layout is the architecture, layout.yaml.
type layout struct {
	Imports map[string][]string
	Top     []string
}

// checkImports reads the import lines themselves, of every file on every platform, so that a
// finding has a line.
func checkImports(_ context.Context, p project, r *report) {
	all := command.Data[layout](embedded, "layout.yaml").Imports
	for _, s := range p.code(r) {
		pkg := path.Dir(s.name)
		if strings.HasSuffix(s.name, "_test.go") || strings.HasPrefix(pkg, "shared/standin/") ||
			!strings.HasPrefix(pkg, "shared/") && !strings.HasPrefix(pkg, "functions/") {
			continue
		}
		may, listed := all[pkg]
		if !listed {
			r.add(s.at(s.file.Name), pkg+" is not in the list of packages",
				"say in scripts/check/layout.yaml what it may import")
		}
		for _, spec := range s.file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			name, ours := strings.CutPrefix(name, "weboffice-functions/")
			first, _, _ := strings.Cut(name, "/")
			if !ours && name != "net/http" && !strings.Contains(first, ".") {
				continue // the rest of the standard library
			}
			if !slices.ContainsFunc(append(may, "shared/weboffice"), func(one string) bool {
				return name == one || !ours && strings.HasPrefix(name, one+"/")
			}) {
				r.add(s.at(spec), pkg+" may not import "+name,
					"scripts/check/layout.yaml has who may; packages are joined in shared/app, "+
						"and stand-ins are for tests and scripts")
			}
		}
	}
}
