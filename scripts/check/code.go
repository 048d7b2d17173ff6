package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// source is one parsed Go file.
type source struct {
	name string
	text []byte
	set  *token.FileSet
	file *ast.File
}

func (s source) at(n ast.Node) place {
	position := s.set.Position(n.Pos())
	return place{s.name, position.Line, position.Column}
}

// code parses the project's Go files.
func (p project) code(r *report) (all []source) {
	for _, name := range p.names {
		text, err := fs.ReadFile(p.files, name)
		if err != nil || path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			continue // err: deleted, and not yet committed so
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments)
		if err != nil {
			r.add(place{file: name, line: 1}, err.Error(), "")
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

// checkCode holds Go files to gofmt and to what fits.
func checkCode(_ context.Context, p project, r *report) string {
	for _, s := range p.code(r) {
		if formatted, err := format.Source(s.text); err != nil || !bytes.Equal(s.text, formatted) {
			r.add(place{file: s.name, line: 1}, "it is not formatted", "gofmt -w "+s.name)
		}
		s.widths(r)
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			length := s.set.Position(f.End()).Line - s.at(f).line + 1
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
	return ""
}

// widths measures lines. Elements of a composite literal that stand on a line of their own are
// rows, and so is the text of a raw string, which cannot be broken.
func (s source) widths(r *report) {
	rows := map[int]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if line := s.at(e).line; line == s.set.Position(e.End()).Line {
					rows[line] = true
				}
			}
		case *ast.BasicLit:
			end := s.set.Position(n.End()).Line
			for line := s.at(n).line; n.Value[0] == '`' && line <= end; line++ {
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
			r.add(place{s.name, i + 1, 0}, fmt.Sprintf("the line has %d columns, over %d", n, most),
				"break it, or say it shorter")
		}
	}
}

//go:embed *.yaml
var embedded embed.FS

// layout is the architecture, layout.yaml.
type layout struct {
	Imports, Modules       map[string][]string
	Writers, Deciders, Top []string
}

// embeddedYAML reads a file of this folder, which is a part of the program.
func embeddedYAML[T any](name string) (value T) {
	text, err := embedded.ReadFile(name)
	if err == nil {
		err = yaml.Load(text, &value)
	}
	if err != nil {
		panic(err)
	}
	return value
}

// checkImports reads the import lines themselves, of every file on every platform, so that a
// finding has a line.
func checkImports(_ context.Context, p project, r *report) string {
	l := embeddedYAML[layout]("layout.yaml")
	for _, s := range p.code(r) {
		pkg := path.Dir(s.name)
		if strings.HasSuffix(s.name, "_test.go") || strings.Contains(s.name, "/testdata/") ||
			strings.HasPrefix(pkg, "shared/standin/") ||
			!strings.HasPrefix(pkg, "shared/") && !strings.HasPrefix(pkg, "functions/") {
			continue
		}
		if _, listed := l.Imports[pkg]; !listed {
			r.add(s.at(s.file.Name), pkg+" is not in the list of packages",
				"say in scripts/check/layout.yaml what it may import")
		}
		for _, spec := range s.file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if why, fix := l.problem(pkg, imported); why != "" {
				r.add(s.at(spec), why, fix)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if ok && selector.Sel.Name == "ResponseWriter" && !slices.Contains(l.Writers, pkg) {
				r.add(s.at(n), pkg+" writes HTTP",
					"leave answers to httpapi, platform and the functions")
			}
			return true
		})
	}
	return ""
}

func (l layout) problem(pkg, imported string) (what, fix string) {
	if own, ok := strings.CutPrefix(imported, "weboffice-functions/"); ok {
		switch {
		case strings.HasPrefix(own, "shared/standin/"):
			return own + " is for tests and scripts", "import it in a _test.go file"
		case own != "shared/weboffice" && !slices.Contains(l.Imports[pkg], own):
			return pkg + " may not import " + own,
				"packages are joined in shared/app; scripts/check/layout.yaml has the arrows"
		}
		return "", ""
	}
	if imported == "net/http" && slices.Contains(l.Deciders, pkg) {
		return pkg + " imports net/http", "it decides, and knows no HTTP"
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "", ""
	}
	for prefix, may := range l.Modules {
		if strings.HasPrefix(imported, prefix) {
			if slices.Contains(may, pkg) {
				return "", ""
			}
			return pkg + " may not import " + imported,
				"only " + strings.Join(may, " and ") + " know it"
		}
	}
	return imported + " is a module that nothing here should need",
		"use the standard library, or give it an owner in scripts/check/layout.yaml"
}
