package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestImportRules(t *testing.T) {
	const ours = `import "weboffice-functions/`
	for _, c := range []struct{ name, code, want string }{
		{"shared/broker/a.go", ours + `shared/policy"`, ""},
		{"shared/broker/a.go", ours + `shared/weboffice"`, ""},
		{"shared/policy/a.go", "import (\n\t\"strings\"\n\t\"weboffice-functions/shared/imm\"\n)",
			"shared/policy/a.go:4:2: shared/policy may not import shared/imm"},
		{"shared/imm/a.go", ours + `shared/standin/office"`, "may not import shared/standin/office"},
		{"functions/generate/bootstrap/main.go", ours + `shared/standin/issuer"`, "stand-ins are for tests"},
		{"functions/generate/bootstrap/main.go", ours + `functions/refresh"`, "may not import functions/refresh"},
		{"shared/imm/a_test.go", ours + `shared/standin/office"`, ""},
		{"shared/standin/office/a.go", ours + `shared/broker"`, ""},
		{"scripts/dev/main.go", ours + `shared/standin/office"`, ""},
		{"shared/broker/a.go", `import sdk "github.com/alibabacloud-go/imm-20200930/v4/client"`,
			"may not import github.com/"},
		{"shared/credentials/a.go", `import "github.com/aws/aws-sdk-go-v2/service/sts"`, ""},
		{"functions/refresh/bootstrap/main.go", ours + `functions/refresh/other"`, "may not import"},
		{"shared/imm/a.go", `import "github.com/aws/aws-sdk-go-v2/service/sts"`, "may not import github.com/"},
		{"shared/app/a.go", `import "github.com/aws/aws-lambda-go/lambda"`, "may not import github.com/"},
		{"shared/policy/a.go", `import "github.com/google/cel-go/cel"`, "may not import github.com/google/cel-go/cel"},
		{"shared/weboffice/a.go", `import "golang.org/x/sync/singleflight"`, "may not import golang.org/x"},
		{"shared/broker/a.go", `import "net/http"`, "shared/broker may not import net/http"},
		{"shared/imm/a.go", "import \"net/http\"\nvar c http.Client", ""},
		{"shared/newcomer/a.go", "", "shared/newcomer is not in the list of packages"},
		{"shared/policy/a.go", "func {", "expected"},
	} {
		t.Run(c.name+" "+c.want, func(t *testing.T) {
			expect(t, checkImports, map[string]string{c.name: "package a\n" + c.code + "\n"}, c.want)
		})
	}
}

func TestLinesThatDoNotBelong(t *testing.T) {
	complete := map[string]string{"functions/a": "", "shared/a": "", "scripts/a": "", "s.yaml": "",
		"template.yml": "", "go.mod": "", "go.sum": "", "README.md": "", ".gitignore": ""}
	const flow = ".github/workflows/ci.yml"
	const uses = "permissions:\njobs:\n      - uses: actions/checkout@"
	const commit = "de0fac2e4500dabe0009e67214ff5f5447ce83dd"
	for _, c := range []struct{ name, text, want string }{
		{"shared/b.go", "package shared\n", ""},
		{"Makefile", "all:\n", "Makefile:1: Makefile is not one of the project's entries"},
		{"docs/a.md", "", "docs is not one of"},
		{"shared/b.md", "one\ncd " + "/root" + "/project\n", "shared/b.md:2: "},
		{"shared/b.md", "open `" + "/home" + "/ann/notes`\n", "a path of one machine"},
		{"shared/b.md", "https://example.com" + "/root" + "/x and s3://bucket" + "/tmp" + "/x\n", ""},
		{"shared/b.go", "// TO" + "DO: later\n", "a note of work undone"},
		{"shared/b.json", `"https://registry.npm` + `js.org/x"`, "a registry's host"},
		{flow, uses + commit + " # v6.0.2", ""},
		{flow, "permissions:\n    uses: ./.github/workflows/ci.yml", ""},
		{flow, uses + "v6", flow + ":3: an action that can change under its name"},
		{flow, uses + commit, "with # vX.Y.Z behind it"},
		{flow, "permissions:\n  KEY: ${{ secrets.ALIYUN_ACCESS_KEY_SECRET }}", "a stored key of a cloud"},
		{flow, "jobs: {}\n", "the workflow has all permissions"},
		{"shared/imm/a.go", "func f(w http.ResponseWriter) {}", ":1: a package that writes HTTP"},
		{"shared/imm/a_test.go", "func f(w http.ResponseWriter) {}", ""},
		{"shared/httpapi/a.go", "func f(w http.ResponseWriter) {}", ""},
		{"shared/a/b.yml", strings.Repeat("x", 101), "a line of over 100 columns"},
		{"shared/a/README.md", strings.Repeat("界 ", 60) + "x", "a line of over 120 columns"},
		{"shared/a/README.md", "|" + strings.Repeat("x ", 61), ""},
		{"functions/policy.yaml", strings.Repeat("x", 200), ""}, // an adopter's
	} {
		t.Run(c.name+" "+c.want, func(t *testing.T) {
			files := maps.Clone(complete)
			files[c.name] = c.text
			expect(t, checkFiles, files, c.want)
		})
	}
	delete(complete, "functions/a")
	expect(t, checkFiles, complete, "functions:1: it is not there")
}

func TestCodeThatFits(t *testing.T) {
	long := "package main\n\nfunc main() {\n" + strings.Repeat("\tprintln()\n", 19) + "}\n"
	longer := strings.Replace(long, "main() {\n", "f() {\n"+strings.Repeat("\tprintln()\n", 40), 1)
	wide := "package a\n\n// " + strings.Repeat("x", 98) + "\n"
	row := "package a\n\nvar x = []string{\n\t\"" + strings.Repeat("y", 105) + "\",\n}\n"
	for _, c := range []struct{ name, text, want string }{
		{"a.go", "package a\n\nvar x = 1\n", ""},
		{"scripts/x/main.go", long, "scripts/x/main.go:3:1: main has 21 lines, over 20"},
		{"scripts/x/main.go", strings.Replace(long, "\tprintln()\n", "", 1), ""},
		{"a.go", longer, "f has 61 lines, over 60"},
		{"a_test.go", longer, ""},
		{"a.go", wide, "a.go:3: the line has 101 columns, over 100"},
		{"a.go", strings.Replace(wide, "x", "", 1), ""},
		{"a.go", row, ""},
		{"a.go", strings.Replace(row, "y", strings.Repeat("y", 10), 1), "columns, over 120"},
		{"a.go", "package a\n\nvar x = `\n" + strings.Repeat("y", 120) + "`\n", "columns, over 120"},
		{"a.go", "package a\n\nvar x = `\n" + strings.Repeat("y", 119) + "`\n", ""},
	} {
		t.Run(c.want, func(t *testing.T) {
			expect(t, checkCode, map[string]string{c.name: c.text}, c.want)
		})
	}
}

// TestFileNamesWithoutGit: a downloaded archive has no .git, and a small machine no git.
func TestFileNamesWithoutGit(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a.txt", "shared/b.go", "dist/fc/generate/bootstrap", ".git/HEAD",
		"node_modules/x/y.js", ".ci/run"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", "")
	names, err := fileNames(t.Context())
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{".ci/run", "a.txt", "shared/b.go"}) {
		t.Errorf("got %v, %v", names, err)
	}
}

// TestRun: every step has its line, its findings stand below it, and all of them are counted.
func TestRun(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("Makefile", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "")
	var out bytes.Buffer
	err := run(t.Context(), []string{"-quick"}, os.Getenv, &out)
	if err == nil || !strings.HasSuffix(err.Error(), " found") {
		t.Errorf("%v", err)
	}
	for _, line := range []string{"files            9 found (", "Makefile:1: Makefile is not one of",
		"\nREADME.md:1: it is not there — add it\n", "code             ok (",
		"\nvet              all packages… 1 found (", `vet: exec: "go": executable file not found`} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not in\n%s", line, out.String())
		}
	}
}

func TestFindingsAreLines(t *testing.T) {
	r := &report{}
	for range 2 {
		r.add(place{Filename: "s.yaml", Line: 3, Column: 7}, "it is wrong", "mend it")
	}
	if len(r.findings) != 1 || r.findings[0].String() != "s.yaml:3:7: it is wrong — mend it" {
		t.Errorf("got %v", r.findings)
	}
}
