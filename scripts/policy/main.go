// Command policy tries a policy before it is deployed, with the code that the functions run: test,
// explain, diff, link and schema, each with -h.
//
// They read WEBOFFICE_PROJECT, WEBOFFICE_USER_SALT and WEBOFFICE_LINK_KEYS as the functions do;
// without the salt of the deployment a User.Id is another one. Exit status 1: a mistake, a failed
// test, or a wrong use.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"weboffice-functions/scripts/command"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

func main() {
	command.Main(func(_ context.Context, args []string, getenv func(string) string,
		stdout io.Writer) error {
		return run(args, getenv, stdout, os.Stderr)
	})
}

var (
	//go:embed *.tmpl help.yaml
	files embed.FS
	texts = template.Must(template.ParseFS(files, "*.tmpl"))
)

// tool is what the commands share.
type tool struct {
	*flag.FlagSet
	policy         string // the file
	standIn        bool
	getenv         func(string) string
	stdout, stderr io.Writer
}

// commands are those of help.yaml.
var commands = map[string]func(*tool, []string) error{"test": (*tool).test,
	"explain": (*tool).explain, "diff": (*tool).diff, "link": (*tool).link, "schema": (*tool).schema}

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var help strings.Builder
	for _, c := range command.Data[[]struct{ Name, Use, About string }](files, "help.yaml") {
		fmt.Fprintf(&help, "policy %s %s\n", c.Name, c.Use)
		if len(args) == 0 || args[0] != c.Name {
			continue
		}
		t := &tool{FlagSet: flag.NewFlagSet("policy "+c.Name, flag.ContinueOnError),
			getenv: getenv, stdout: stdout, stderr: stderr}
		t.StringVar(&t.policy, "policy", "functions/policy.yaml", "the policy `FILE`")
		t.BoolVar(&t.standIn, "stand-in", false,
			"the policy is for a stand-in on this machine: it may say standIn")
		t.Usage = func() {
			fmt.Fprintf(t.Output(), "policy %s %s\n%s\n", c.Name, c.Use, c.About)
			t.PrintDefaults()
		}
		return commands[c.Name](t, args[1:])
	}
	if len(args) == 1 && slices.Contains([]string{"h", "help"}, strings.TrimLeft(args[0], "-")) {
		_, err := io.WriteString(stdout, help.String())
		return err
	}
	return errors.New("say what to do (each takes -h):\n" + strings.TrimSpace(help.String()))
}

func (t *tool) parse(args []string) error { return command.Parse(t.FlagSet, args, t.stdout) }

// given says whether a flag stands in the command.
func (t *tool) given(name string) (given bool) {
	t.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
}

// options are those of a function with this environment. Where that names no project and the
// command is not about whether a function would start, the deployment's will.
func (t *tool) options(project string) policy.Options {
	return policy.Options{Project: cmp.Or(t.getenv("WEBOFFICE_PROJECT"), project),
		Salt: weboffice.Secret(t.getenv("WEBOFFICE_USER_SALT")), Loopback: t.standIn}
}

// read parses a policy.
func (t *tool) read(file string) (*policy.Policy, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := policy.Parse(text, t.options("from-the-environment"))
	if err != nil {
		return nil, fmt.Errorf("%s has mistakes, at line:column:\n%w", file, err)
	}
	return p, nil
}

func (t *tool) test(args []string) error {
	t.Lookup("policy").DefValue = "functions/*.yaml" // for -h: all of them
	if err := t.parse(args); err != nil {
		return err
	}
	files := t.Args()
	if t.given("policy") {
		files = append(files, t.policy)
	}
	if len(files) == 0 {
		files, _ = filepath.Glob("functions/*.yaml") // the pattern is a good one
	}
	if len(files) == 0 {
		return errors.New("there is no functions/*.yaml here: run it where go.mod is, or name a" +
			" file with -policy")
	}
	_, err := app.LinkKeys(t.getenv)
	if err != nil { // a function would not start with them either
		fmt.Fprintln(t.stdout, err)
	}
	bad := 0
	for _, file := range files {
		if !t.testFile(file) {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d policies cannot go out like this", bad, len(files))
	}
	return err
}

// testFile prints what is wrong with one policy, and says whether it may go out.
func (t *tool) testFile(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintf(t.stdout, "%s: %v\n", file, err)
		return false
	}
	report := policy.Check(text, t.options(""))
	err = texts.ExecuteTemplate(t.stdout, "test.tmpl", map[string]any{"File": file,
		"Report": report, "NoLinkKey": t.getenv("WEBOFFICE_LINK_KEYS") == ""})
	return err == nil && report.Policy != nil && report.Failures == nil
}

func (t *tool) schema(args []string) error {
	if err := t.parse(args); err != nil {
		return err
	}
	_, err := t.stdout.Write(policy.Schema())
	return err
}
