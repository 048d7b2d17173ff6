package main

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "weboffice-functions/"

// layers says which packages of the module each package may import, weboffice aside, which all may:
// the arrows of the architecture. A package that is not here (scripts, test servers) may import
// what it likes.
func layers() map[string][]string {
	return map[string][]string{
		"shared/weboffice": {}, "shared/credentials": {}, "shared/session": {}, "shared/web": {},
		"shared/recent":   {},
		"shared/caller":   {"shared/recent"},
		"shared/policy":   {"shared/caller"},
		"shared/imm":      {"shared/credentials"},
		"shared/platform": {"shared/credentials"},
		"shared/broker": {"shared/caller", "shared/imm", "shared/policy", "shared/recent",
			"shared/session"},
		"shared/httpapi": {"shared/broker", "shared/caller"},
		"shared/app": {"shared/broker", "shared/caller", "shared/credentials", "shared/httpapi",
			"shared/imm", "shared/platform", "shared/policy",
			"shared/session"},
		"functions/generate":           {"shared/app", "shared/httpapi"},
		"functions/generate/bootstrap": {"shared/app", "functions/generate"},
		"functions/refresh":            {"shared/app", "shared/httpapi"},
		"functions/refresh/bootstrap":  {"shared/app", "functions/refresh"},
	}
}

// owners says which packages of functions and shared may import other modules, by the start of
// their path.
func owners() map[string][]string {
	return map[string][]string{
		"github.com/alibabacloud-go/":         {"shared/imm", "shared/credentials"},
		"github.com/aliyun/credentials-go":    {"shared/imm", "shared/credentials"},
		"github.com/aws/aws-sdk-go-v2":        {"shared/credentials"},
		"github.com/aws/smithy-go":            {"shared/credentials"},
		"github.com/aliyun/fc-runtime-go-sdk": {"shared/platform"},
		"github.com/aws/aws-lambda-go":        {"shared/platform"},
		"github.com/go-jose/":                 {"shared/caller"},
		"github.com/hashicorp/golang-lru/v2":  {"shared/broker", "shared/caller", "shared/imm"},
		"github.com/goccy/go-yaml":            {"shared/policy"},
		"golang.org/x/sync": {"shared/broker", "shared/caller",
			"shared/credentials", "shared/imm"},
		"golang.org/x/time": {"shared/broker"},
	}
}

// writers are the packages that answer HTTP, test servers aside; web serves the sample page.
func writers() []string {
	return []string{"shared/httpapi", "shared/platform", "shared/web", "functions/generate",
		"functions/refresh"}
}

// knowNoHTTP are the packages that decide, and that do it alike on any transport.
func knowNoHTTP() []string {
	return []string{"shared/weboffice", "shared/policy", "shared/recent", "shared/session",
		"shared/broker"}
}

// testServer says whether a package is a stand-in for tests and scripts, such as office.
func testServer(pkg string) bool {
	return strings.HasPrefix(pkg, "shared/standin/")
}

// checkImports reads the import lines themselves, of every file on every platform, so that a
// finding has a line.
func checkImports(_ context.Context, p project, r *report) string {
	for _, name := range p.names {
		pkg := path.Dir(name)
		inside := strings.HasPrefix(name, "shared/") || strings.HasPrefix(name, "functions/")
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !inside ||
			testServer(pkg) || strings.Contains(name, "/testdata/") {
			continue
		}
		set := token.NewFileSet()
		data, err := fs.ReadFile(p.files, name)
		if err != nil {
			continue // deleted, and not yet committed so
		}
		file, err := parser.ParseFile(set, name, data, parser.SkipObjectResolution)
		if err != nil {
			r.add(place{file: name, line: 1}, err.Error(), "")
			continue
		}
		at := func(n ast.Node) place {
			position := set.Position(n.Pos())
			return place{name, position.Line, position.Column}
		}
		if _, listed := layers()[pkg]; !listed {
			r.add(at(file.Name), pkg+" is not in the list of packages",
				"say in scripts/check/imports.go what it may import")
		}
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if why, fix := importProblem(pkg, imported); why != "" {
				r.add(at(spec), why, fix)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "ResponseWriter" &&
				!slices.Contains(writers(), pkg) {
				r.add(at(n), pkg+" writes HTTP",
					"leave answers to httpapi, platform and the functions")
			}
			return true
		})
	}
	return ""
}

func importProblem(pkg, imported string) (what, fix string) {
	if own, ok := strings.CutPrefix(imported, module); ok {
		switch {
		case testServer(own):
			return own + " is for tests and scripts", "import it in a _test.go file"
		case own != "shared/weboffice" && !slices.Contains(layers()[pkg], own):
			return pkg + " may not import " + own,
				"packages are joined in shared/app; scripts/check/imports.go has the arrows"
		}
		return "", ""
	}
	if imported == "net/http" && slices.Contains(knowNoHTTP(), pkg) {
		return pkg + " imports net/http", "it decides, and knows no HTTP"
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "", ""
	}
	for prefix, may := range owners() {
		if strings.HasPrefix(imported, prefix) {
			if !slices.Contains(may, pkg) {
				return pkg + " may not import " + imported, "only " + strings.Join(may, " and ") +
					" know it"
			}
			return "", ""
		}
	}
	return imported + " is a module that nothing here should need",
		"use the standard library, or give it an owner in scripts/check/imports.go"
}
