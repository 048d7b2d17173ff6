// Command check is what runs before the tests, here and in CI: format, vet, staticcheck, import
// rules, the list of dependencies, s.yaml with its environments, template.yml, the workflows, the
// policies and what README names.
//
// Every finding is one line, `file:line:column: what — fix`; all of them are printed, and one is
// enough for exit status 1. Checks of this project's own need nothing but the files. Tools of
// others (staticcheck, actionlint, go-licenses, govulncheck, Serverless Devs, cfn-lint) run at
// pinned versions; the last three are skipped, with a line that says so, where the database of
// vulnerabilities, npm or cfn-lint is not there.
//
// `-update` writes scripts/check/dependencies.txt anew: the modules that are linked into the two
// functions, for a reviewer's eye.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"time"
)

// finding is one thing that is wrong.
type finding struct {
	place
	what, fix string
}

func (f finding) String() string {
	at := fmt.Sprintf("%s:%d", f.file, max(f.line, 1))
	if f.column > 0 {
		at += fmt.Sprintf(":%d", f.column)
	}
	if f.fix == "" {
		return at + ": " + f.what
	}
	return at + ": " + f.what + " — " + f.fix
}

// report collects findings. The same one twice (s.yaml is checked once for each environment) counts
// once.
type report struct{ findings []finding }

func (r *report) add(at place, what, fix string) {
	if f := (finding{at, what, fix}); !slices.Contains(r.findings, f) {
		r.findings = append(r.findings, f)
	}
}

// project is what the checks look at: the files of the module at root, and the names of those that
// belong to it.
type project struct {
	root   string
	files  fs.FS
	names  []string
	update bool
}

// check looks at one side of the project. What it returns is printed behind its name: a reason to
// skip, or nothing.
type check struct {
	name string
	run  func(ctx context.Context, p project, r *report) (skipped string)
}

func checks() []check {
	return []check{
		{"files", checkFiles},
		{"gofmt", checkFormat},
		{"imports", checkImports},
		{"policies", checkPolicies},
		{"README", checkReadme},
		{"workflows", checkWorkflows},
		{"s.yaml", checkServerless},
		{"template.yml", checkTemplate},
		{"build", checkBuild},
		{"dependencies", checkDependencies},
		{"licences", checkLicences},
		{"vulnerabilities", checkVulnerabilities},
		{"vet", checkVet},
		{"staticcheck", checkStaticcheck},
		{"actionlint", checkActionlint},
		{"serverless devs", checkRendering},
		{"cfn-lint", checkCfnLint},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	count, err := run(ctx, ".", os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	if count > 0 {
		os.Exit(1)
	}
}

// run runs every check on the module at root and returns the number of findings.
func run(ctx context.Context, root string, args []string, stdout io.Writer) (int, error) {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(stdout)
	update := flags.Bool("update", false, "write scripts/check/dependencies.txt anew")
	if err := flags.Parse(args); err != nil {
		return 0, err
	}
	p := project{root: root, files: os.DirFS(root), update: *update}
	var err error
	if p.names, err = fileNames(ctx, root); err != nil {
		return 0, err
	}
	total := 0
	for _, c := range checks() {
		start, r := time.Now(), &report{}
		skipped := c.run(ctx, p, r)
		slices.SortStableFunc(r.findings, func(a, b finding) int {
			return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line),
				cmp.Compare(a.column, b.column))
		})
		result := "ok"
		if skipped != "" {
			result = "skipped: " + skipped
		}
		if n := len(r.findings); n > 0 {
			result = fmt.Sprintf("%d found", n)
		}
		fmt.Fprintf(stdout, "%-16s %s (%.1fs)\n", c.name, result, time.Since(start).Seconds())
		for _, f := range r.findings {
			fmt.Fprintln(stdout, f)
		}
		total += len(r.findings)
	}
	return total, ctx.Err()
}
