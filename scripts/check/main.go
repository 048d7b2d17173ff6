// Command check is what runs before the tests, here and in CI: format, width, vet, staticcheck,
// import rules, the list of dependencies, s.yaml with its environments, template.yml, the
// workflows and the policies.
//
// Every finding is one line, `file:line:column: what — fix`; all of them are printed, and one is
// enough for exit status 1. Tools of others (staticcheck, actionlint, go-licenses, govulncheck,
// Serverless Devs, cfn-lint) run at pinned versions. One that cannot be fetched is skipped, with
// the reason. -quick runs what needs no network.
//
// The rules lie beside the program: layout.yaml (packages and arrows), lines.yaml, tools.yaml, and
// the JSON Schemas of s.yaml, scripts/env.yaml and template.yml.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"go/token"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"weboffice-functions/scripts/command"
)

// place is where something stands. Line and column count from 1; 0 is not known.
type place = token.Position

// finding is one thing that is wrong.
type finding struct {
	place
	what, fix string
}

func (f finding) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%v: %s — %s", f.place, f.what, f.fix), " — ")
}

// report collects findings, the same one (s.yaml is checked once for each environment) once.
type report struct {
	findings []finding
	skipped  string // the reason
}

func (r *report) add(at place, what, fix string) {
	if f := (finding{at, what, fix}); !slices.Contains(r.findings, f) {
		r.findings = append(r.findings, f)
	}
}

// project is what is checked: the module's files, and the names of those that belong to it.
type project struct {
	files  fs.FS
	names  []string
	update bool
}

// check looks at one side of the project.
type check struct {
	name  string
	run   func(ctx context.Context, p project, r *report)
	doing string // of a check that takes seconds
	fetch bool   // it needs the network
}

func checks() []check {
	all := []check{
		{name: "files", run: checkFiles},
		{name: "code", run: checkCode},
		{name: "imports", run: checkImports},
		{name: "s.yaml", run: checkServerless},
		{name: "template.yml", run: checkTemplate},
	}
	for _, t := range command.Data[[]tool](embedded, "tools.yaml") {
		all = append(all, check{t.Name, t.check, t.Doing, t.Fetch != "" || t.Optional})
	}
	return append(all,
		check{"serverless devs", checkRendering, "fetching it, rendering s.yaml", true})
}

func main() { command.Main(run) }

// run runs the checks on the module in the current folder. Findings are an error.
func run(ctx context.Context, args []string, _ func(string) string, stdout io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "only what needs no network")
	update := flags.Bool("update", false, "write scripts/check/dependencies.txt anew")
	if err := command.ParseAll(flags, args, stdout); err != nil {
		return err
	}
	names, err := fileNames(ctx)
	if err != nil {
		return err
	}
	p, total := project{files: os.DirFS("."), names: names, update: *update}, 0
	for _, c := range checks() {
		if *quick && c.fetch {
			continue
		}
		start, r := time.Now(), &report{}
		fmt.Fprintf(stdout, "%-16s ", c.name)
		if c.doing != "" {
			fmt.Fprint(stdout, c.doing, "… ")
		}
		c.run(ctx, p, r)
		r.print(stdout, time.Since(start))
		if total += len(r.findings); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if total > 0 {
		return fmt.Errorf("%d found", total)
	}
	return nil
}

// print ends a check's line and lists what was found.
func (r *report) print(w io.Writer, took time.Duration) {
	slices.SortStableFunc(r.findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Filename, b.Filename), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column))
	})
	result := "ok"
	if n := len(r.findings); n > 0 {
		result = fmt.Sprintf("%d found", n)
	} else if r.skipped != "" {
		result = "skipped: " + r.skipped
	}
	fmt.Fprintf(w, "%s (%.1fs)\n", result, took.Seconds())
	for _, f := range r.findings {
		fmt.Fprintln(w, f)
	}
}
