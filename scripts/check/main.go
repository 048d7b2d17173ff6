// Command check is what runs before the tests, here and in CI: format, width, vet, staticcheck,
// import rules, the list of dependencies, s.yaml with its environments, template.yml, the
// workflows, the policies and what the guides name.
//
// Every finding is one line, `file:line:column: what — fix`; all of them are printed, and one is
// enough for exit status 1. Tools of others (staticcheck, actionlint, go-licenses, govulncheck,
// Serverless Devs, cfn-lint) run at pinned versions. One that cannot be fetched is skipped, with
// the reason. -quick runs what needs no network.
//
// The rules lie beside the program: layout.yaml (packages and arrows), lines.yaml, tools.yaml, and
// the JSON Schemas of s.yaml, scripts/env.yaml and template.yml.
//
// -update writes scripts/check/dependencies.txt anew: the modules that are linked into the two
// functions, for a reviewer's eye.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"time"
)

// place is where something stands. Line and column count from 1; 0 is not known.
type place struct {
	file         string
	line, column int
}

// finding is one thing that is wrong.
type finding struct {
	place
	what, fix string
}

func (f finding) String() string {
	text := f.file
	for _, n := range []int{f.line, f.column} {
		if n > 0 {
			text += fmt.Sprintf(":%d", n)
		}
	}
	if text += ": " + f.what; f.fix != "" {
		text += " — " + f.fix
	}
	return text
}

// report collects findings. The same one twice (s.yaml is checked once for each environment) counts
// once.
type report struct{ findings []finding }

func (r *report) add(at place, what, fix string) {
	if f := (finding{at, what, fix}); !slices.Contains(r.findings, f) {
		r.findings = append(r.findings, f)
	}
}

// project is what the checks look at: the module's files, and the names of those that
// belong to it.
type project struct {
	files  fs.FS
	names  []string
	update bool
}

// check looks at one side of the project. It returns a reason to skip, or nothing.
type check struct {
	name  string
	doing string // of a check that takes seconds
	fetch bool   // it needs the network
	run   func(ctx context.Context, p project, r *report) (skipped string)
}

func checks() []check {
	all := []check{
		{"files", "", false, checkFiles},
		{"code", "", false, checkCode},
		{"imports", "", false, checkImports},
		{"policies", "", false, checkPolicies},
		{"guides", "", false, checkGuides},
		{"s.yaml", "", false, checkServerless},
		{"template.yml", "", false, checkTemplate},
	}
	for _, t := range embeddedYAML[[]tool]("tools.yaml") {
		all = append(all, check{t.Name, t.Doing, t.Fetch != "" || t.Optional, t.check})
	}
	return append(all,
		check{"serverless devs", "fetching it, rendering s.yaml", true, checkRendering})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

// run runs the checks on the module in the current folder. Findings are an error.
func run(ctx context.Context, args []string, _ func(string) string, stdout io.Writer) error {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(stdout)
	quick := flags.Bool("quick", false, "only what needs no network")
	update := flags.Bool("update", false, "write scripts/check/dependencies.txt anew")
	if err := flags.Parse(args); err != nil {
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
		skipped := c.run(ctx, p, r)
		r.print(stdout, skipped, time.Since(start))
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
func (r *report) print(w io.Writer, skipped string, took time.Duration) {
	slices.SortStableFunc(r.findings, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line),
			cmp.Compare(a.column, b.column))
	})
	result := "ok"
	if n := len(r.findings); n > 0 {
		result = fmt.Sprintf("%d found", n)
	} else if skipped != "" {
		result = "skipped: " + skipped
	}
	fmt.Fprintf(w, "%s (%.1fs)\n", result, took.Seconds())
	for _, f := range r.findings {
		fmt.Fprintln(w, f)
	}
}
