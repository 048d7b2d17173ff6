package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// these makes a project of the files given as name, text, name, text.
func these(pairs ...string) project {
	p := project{files: fstest.MapFS{}}
	for i := 0; i < len(pairs); i += 2 {
		p.names = append(p.names, pairs[i])
		p.files.(fstest.MapFS)[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return p
}

func ran(t *testing.T, check func(context.Context, project, *report) string, p project) string {
	t.Helper()
	r := &report{}
	check(t.Context(), p, r)
	all := ""
	for _, f := range r.findings {
		all += f.String() + "\n"
	}
	return all
}

// expect checks that the findings hold a text, or that there are none.
func expect(t *testing.T, got, want string) {
	t.Helper()
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestImportRules(t *testing.T) {
	for _, c := range []struct{ name, code, want string }{
		{"shared/broker/a.go", `import "weboffice-functions/shared/policy"`, ""},
		{"shared/broker/a.go", `import "weboffice-functions/shared/weboffice"`, ""},
		{"shared/policy/a.go", "import (\n\t\"strings\"\n\t\"weboffice-functions/shared/imm\"\n)",
			"shared/policy/a.go:4:2: shared/policy may not import shared/imm"},
		{"shared/imm/a.go", `import "weboffice-functions/shared/standin/office"`,
			"shared/standin/office is for tests and scripts"},
		{"functions/generate/bootstrap/main.go",
			`import "weboffice-functions/shared/standin/issuer"`, "for tests and scripts"},
		{"functions/generate/bootstrap/main.go", `import "weboffice-functions/functions/refresh"`,
			"may not import functions/refresh"},
		{"shared/imm/a_test.go", `import "weboffice-functions/shared/standin/office"`, ""},
		{"shared/standin/office/a.go", `import "weboffice-functions/shared/broker"`, ""},
		{"scripts/dev/main.go", `import "weboffice-functions/shared/standin/office"`, ""},
		{"shared/broker/a.go", `import sdk "github.com/alibabacloud-go/imm-20200930/v4/client"`,
			"only shared/imm and shared/credentials know it"},
		{"shared/imm/a.go", `import "github.com/aws/aws-sdk-go-v2/service/sts"`,
			"only shared/credentials know it"},
		{"shared/app/a.go", `import "github.com/aws/aws-lambda-go/lambda"`,
			"only shared/platform know it"},
		{"shared/app/a.go", `import "github.com/aws/aws-lambda-go/lambda"` + "\nvar _ = 1",
			"shared/app/a.go:2:8"},
		{"shared/policy/a.go", `import "github.com/google/cel-go/cel"`,
			"a module that nothing here should need"},
		{"shared/weboffice/a.go", `import "golang.org/x/sync/singleflight"`,
			"only shared/broker and"},
		{"shared/broker/a.go", `import "net/http"`, "shared/broker imports net/http"},
		{"shared/imm/a.go", "import \"net/http\"\nvar c http.Client", ""},
		{"shared/imm/a.go", "import \"net/http\"\nfunc f(w http.ResponseWriter) {}",
			"shared/imm/a.go:3:10: shared/imm writes HTTP"},
		{"shared/httpapi/a.go", "import \"net/http\"\nfunc f(w http.ResponseWriter) {}", ""},
		{"shared/newcomer/a.go", "", "shared/newcomer is not in the list of packages"},
		{"shared/policy/a.go", "func {", "expected"},
	} {
		t.Run(c.name+" "+c.want, func(t *testing.T) {
			expect(t, ran(t, checkImports, these(c.name, "package a\n"+c.code+"\n")), c.want)
		})
	}
}

func TestFilesThatDoNotBelong(t *testing.T) {
	complete := []string{"functions/a", "", "shared/a", "", "scripts/a", "", "s.yaml", "",
		"template.yml", "", "go.mod", "", "go.sum", "", "README.md", "", ".gitignore", ""}
	long := "package main\n\nfunc main() {\n" + strings.Repeat("\tprintln()\n", 19) + "}\n"
	for _, c := range []struct{ name, text, want string }{
		{"shared/b.go", "package shared\n", ""},
		{"Makefile", "all:\n", "Makefile:1: Makefile is not one of the project's entries"},
		{"docs/a.md", "", "docs is not one of"},
		{"shared/a.json", "{", "shared/a.json:1: this is not JSON"},
		{"shared/b.md", "one\ncd " + "/root" + "/project\n", "shared/b.md:2: "},
		{"shared/b.md", "open `" + "/home" + "/ann/notes`\n", "a path of one machine"},
		{"shared/b.md", "https://example.com" + "/root" + "/x and s3://bucket" + "/tmp" + "/x\n",
			""},
		{"shared/b.go", "// TO" + "DO: later\n", "a note of work undone"},
		{"scripts/x/main.go", long, "scripts/x/main.go:3: main has over 20 lines"},
		{"scripts/x/main.go", strings.Replace(long, "\tprintln()\n", "", 1), ""},
	} {
		t.Run(c.name+" "+c.want, func(t *testing.T) {
			expect(t, ran(t, checkFiles, these(append(slices.Clone(complete), c.name, c.text)...)),
				c.want)
		})
	}
	expect(t, ran(t, checkFiles, these(complete[2:]...)), "functions:1: it is not there")
}

func TestFormat(t *testing.T) {
	expect(t, ran(t, checkFormat, these("a.go", "package a\n\nvar x = 1\n")), "")
	expect(t, ran(t, checkFormat, these("a.go", "package a\nvar  x = 1\n")),
		"a.go:1: it is not formatted — gofmt -w a.go")
}

func TestPolicies(t *testing.T) {
	const closed = "tests:\n  - {as: anyone, open: oss://bucket/a.docx, expect: refused}\n"
	expect(t, ran(t, checkPolicies, these("functions/policy.yaml", closed)), "")
	expect(t, ran(t, checkPolicies, these("functions/policy.yaml", closed,
		"functions/policy-test.yaml", "limits: {anyone: many}\n")), "functions/policy-test.yaml:1:")
	open := closed +
		"rules:\n  - {name: all, documents: oss://bucket/**, callers: anyone, grant: [view]}\n"
	expect(t, ran(t, checkPolicies, these("functions/policy.yaml", open)),
		"expected refused, got all")
}

func TestReadme(t *testing.T) {
	const script = "package main\n\nvar f = flag.String(\"policy\", \"\", \"\")\n\nvar c = \"test\"\n"
	for line, want := range map[string]string{
		"run `go run ./scripts/build -policy FILE`":       "",
		"    go run ./scripts/build test && s deploy":     "",
		"run `go run ./scripts/biuld`":                    "README.md:1: there is no scripts/biuld",
		"run `go run ./scripts/build -polcy FILE`":        "scripts/build does not know -polcy",
		"run `go run ./scripts/build tset`":               "scripts/build does not know tset",
		"run `go run ./scripts/build [-polcy FILE]`":      "scripts/build does not know [-polcy",
		"see `scripts/build/main.go` and `scripts/build`": "",
		"see `scripts/build/mian.go`":                     "scripts/build/mian.go is not there",
		"`s deploy --env test`":                           "",
		"`s domain deploy --env tset`":                    "scripts/env.yaml has no environment tset",
	} {
		p := these("README.md", line, "scripts/build/main.go", script, "scripts/env.yaml",
			"environments:\n  - name: test\n")
		t.Run(line, func(t *testing.T) { expect(t, ran(t, checkReadme, p), want) })
	}
	if skipped := checkReadme(t.Context(), these("a", ""), &report{}); skipped == "" {
		t.Error("without a README the check does not say so")
	}
}

func TestWorkflows(t *testing.T) {
	const head = "permissions:\n  contents: read\njobs:\n"
	for line, want := range map[string]string{
		"      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2": "",
		"    uses: ./.github/workflows/ci.yml":                                             "",
		"      - uses: actions/checkout@v6":                                                ".github/workflows/ci.yml:4: actions/checkout@v6 can change under its name",
		"      - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd":          "with # vX.Y.Z behind it",
		"      - run: s deploy --env tset":                                                 "scripts/env.yaml has no environment tset",
		"        KEY: ${{ secrets.ALIYUN_ACCESS_KEY_SECRET }}":                             "secrets.ALIYUN_ACCESS_KEY_SECRET is a stored key",
	} {
		t.Run(line, func(t *testing.T) {
			expect(t, ran(t, checkWorkflows, these(".github/workflows/ci.yml", head+"  "+line+"\n",
				"scripts/env.yaml", "environments:\n  - name: test\n")), want)
		})
	}
	expect(t, ran(t, checkWorkflows, these(".github/workflows/ci.yml", "jobs: {}\n")),
		"the workflow has all permissions")
	own := project{files: os.DirFS("../..")}
	expect(t, ran(t, checkWorkflows, own), "")
}

func TestDependencyList(t *testing.T) {
	r := &report{}
	compareDependencies(r, []string{"a@v1", "b@v1"}, []string{"a@v1", "b@v1"})
	if len(r.findings) > 0 {
		t.Errorf("equal lists: %v", r.findings)
	}
	compareDependencies(r, []string{"a@v1", "b@v1"}, []string{"a@v1", "b@v2"})
	if len(r.findings) != 2 || !strings.Contains(r.findings[0].what, "b@v2 is linked") ||
		r.findings[1].line != 2 {
		t.Errorf("another version: %v", r.findings)
	}
}

func TestOutputOfTools(t *testing.T) {
	r := &report{}
	r.lines("vet",
		"# weboffice-functions/shared/x\nvet: shared/x/a.go:3:4: undefined: y\nshared/x/b.go:7: bad\n", os.ErrInvalid)
	if len(r.findings) != 2 || r.findings[0].String() != "shared/x/a.go:3:4: vet: undefined: y" ||
		r.findings[1].String() != "shared/x/b.go:7: vet: bad" {
		t.Errorf("got %v", r.findings)
	}
	silent := &report{}
	silent.lines("staticcheck", "no such host", os.ErrInvalid)
	if len(silent.findings) != 1 || !strings.Contains(silent.findings[0].what, "no such host") {
		t.Errorf("a tool that did not run: %v", silent.findings)
	}
	silent = &report{}
	silent.lines("vet", "a.go:1:1: a warning", nil)
	if len(silent.findings) != 0 {
		t.Errorf("a tool that found nothing: %v", silent.findings)
	}
}

func TestRenderingIsCompared(t *testing.T) {
	ours, _ := read(t, "resources: {a: {props: {cpu: 0.20, on: true, list: [x], none: null}}}")
	for preview, want := range map[string]string{
		`{"resources": {"a": {"props": {"cpu": 0.2, "on": true, "list": ["x"], "none": null}}}}`: "",
		"a warning\n" +
			`{"resources": {"a": {"props": {"cpu": 0.3, "on": true, "list": ["x"]}}}}`: "renders environment \"test\" otherwise",
		"no JSON": "is not JSON",
	} {
		r := &report{}
		compareRendering(r, environment{"test", ours}, []byte(preview), ours)
		got := ""
		for _, f := range r.findings {
			got += f.String()
		}
		expect(t, got, want)
	}
}

// TestFileNamesWithoutGit: a downloaded archive has no .git, and a small machine no git.
func TestFileNamesWithoutGit(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a.txt", "shared/b.go", "dist/fc/generate/bootstrap", ".git/HEAD",
		"node_modules/x/y.js", ".ci/run"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", "")
	names, err := fileNames(t.Context(), root)
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{".ci/run", "a.txt", "shared/b.go"}) {
		t.Errorf("got %v, %v", names, err)
	}
}

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	if _, err := run(t.Context(), t.TempDir(), []string{"-udpate"}, &out); err == nil ||
		!strings.Contains(out.String(), "-update") {
		t.Errorf("an unknown flag: %v\n%s", err, out.String())
	}
}

func TestFindingsAreLines(t *testing.T) {
	r := &report{}
	for range 2 {
		r.add(place{"s.yaml", 3, 7}, "it is wrong", "mend it")
	}
	if len(r.findings) != 1 || r.findings[0].String() != "s.yaml:3:7: it is wrong — mend it" {
		t.Errorf("got %v", r.findings)
	}
}
