// Command doctor checks what a deployment needs, with whatever credentials the deployer has: the
// environment, the policy with its tests and warnings, the issuers' keys, the clock, the identity,
// one document, the functions' URLs.
//
// Settings come from the environment, as for the functions. Each line is ok, a warning or a
// failure, with its fix; a failure makes exit status 1. What could not be looked at from here is a
// line marked unseen, and no failure; a line marked run has a command for what would need another
// SDK here, and what to look for in its answer.
//
// Promises: no secret is printed. Nothing is billed but one GenerateWebofficeToken for -document,
// for viewing only, and one for -outside. The functions are sent what they must refuse; opening
// documents through them is for scripts/smoke.
//
// With -print-policies it checks nothing, and prints this account's RAM and IAM policies, ready to
// paste.
package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v4"

	"weboffice-functions/scripts/command"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/policy"
)

func main() { command.Main(run) }

// doctor is one run: its settings, and what a check found out for those behind it.
type doctor struct {
	*flag.FlagSet
	settings                 []setting
	asJSON, lambda, policies bool

	getenv func(string) string // the flags over the environment
	now    func() time.Time
	log    *slog.Logger
	out    io.Writer
	counts map[string]int // of lines, by status
	wanted []string       // what to put into the shell, or to give as a flag, to see all

	sentences map[string]sentence // of sentences.yaml

	config app.Config
	debug  bool               // the SDK would print secrets
	text   []byte             // of the policy
	rules  *policy.Policy     // nil: none that can be used
	caller caller.Caller      // the bearer of -token, else a guest
	source credentials.Source // nil: none that works
}

// files are the program's texts.
//
//go:embed *.yaml *.tmpl
var files embed.FS

type sentence struct{ Status, Says, Fix, Give string }

// setting is an entry of flags.yaml, a flag.
type setting struct {
	Name, Default, Use, Form, Such string
	Shell                          []string
	Lambda                         bool
}

func (d *doctor) flags(getenv func(string) string) *flag.FlagSet {
	d.FlagSet = flag.NewFlagSet("doctor", flag.ContinueOnError)
	d.sentences = command.Data[map[string]sentence](files, "sentences.yaml")
	d.settings = command.Data[[]setting](files, "flags.yaml")
	for _, s := range d.settings {
		for _, name := range slices.Backward(s.Shell) {
			s.Default = cmp.Or(getenv(name), s.Default)
		}
		d.String(s.Name, s.Default, s.Use)
	}
	d.BoolVar(&d.asJSON, "json", false, "a JSON object for each line")
	d.BoolVar(&d.policies, "print-policies", false,
		"print RAM and IAM policies to paste, and check nothing: with -account, -region and "+
			"-project, for Lambda also with -aws-account, -aws-region, -issuer, -audience and "+
			"-stack")
	return d.FlagSet
}

// given is what a flag was set to.
func (d *doctor) given(name string) string { return d.Lookup(name).Value.String() }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	d := &doctor{now: time.Now, log: slog.New(slog.DiscardHandler), out: stdout,
		counts: map[string]int{}}
	if err := command.ParseAll(d.flags(getenv), args, stdout); err != nil {
		return err
	}
	given := map[string]string{"WEBOFFICE_POLICY_FILE": d.given("policy"),
		"WEBOFFICE_REGION": d.given("region"), "WEBOFFICE_PROJECT": d.given("project")}
	d.getenv = func(name string) string { return cmp.Or(given[name], getenv(name)) }
	d.lambda = d.given("aws-account")+d.given("issuer") != "" ||
		!d.policies && getenv("ALIBABA_CLOUD_ROLE_ARN") != ""
	if d.policies {
		return d.printPolicies()
	}
	d.checkEnvironment()
	d.checkPolicy()
	d.checkIssuers(ctx)
	d.checkClock(ctx)
	d.checkIdentity(ctx)
	d.checkDocument(ctx)
	d.checkFunctions(ctx)
	d.listCommands()
	if !d.asJSON {
		fmt.Fprintf(stdout, "%d ok, %d warnings, %d failures, %d not seen\n", d.counts[fine],
			d.counts[warning], d.counts[failure], d.counts[unseen])
	}
	if len(d.wanted) > 0 && !d.asJSON {
		fmt.Fprintf(stdout, "to see all, give %s\n", strings.Join(d.wanted, ", "))
	}
	if n := d.counts[failure]; n > 0 {
		return fmt.Errorf("%d checks failed", n)
	}
	return nil
}

// The statuses of a line.
const fine, warning, failure, unseen, todo = "ok", "warning", "failure", "unseen", "run"

// add prints one line. The fix of a todo is the command to run.
func (d *doctor) add(status, check, found, fix string) {
	d.counts[status]++
	if d.asJSON {
		line := struct{ Check, Status, Found, Fix string }{check, status, found, fix}
		_ = json.NewEncoder(d.out).Encode(line) // texts always encode
		return
	}
	text := strings.TrimSuffix(check+": "+found, ": ")
	switch {
	case status == todo:
		text += "\n$ " + fix
	case status == unseen:
		text += "\n" + fix
	case fix != "":
		text += "\nfix: " + fix
	}
	fmt.Fprintf(d.out, "%-8s %s\n", status, strings.ReplaceAll(text, "\n", "\n         "))
}

// say prints a sentence of sentences.yaml.
func (d *doctor) say(name string, args ...any) {
	s := d.sentences[name]
	check, found, _ := strings.Cut(fmt.Sprintf(s.Says, args...), ": ")
	fix := os.Expand(s.Fix, d.given)
	if s.Give != "" {
		give := fmt.Sprintf(s.Give, args...)
		fix = "to see it, give " + give
		if !slices.Contains(d.wanted, give) {
			d.wanted = append(d.wanted, give)
		}
	}
	d.add(cmp.Or(s.Status, unseen), check, found, fix)
}

// addProblem prints a problem in the words of app and credentials: VARIABLE, what is wrong, what to
// do.
func (d *doctor) addProblem(status, problem string) {
	variable, rest, _ := strings.Cut(problem, " ")
	found, fix, both := strings.Cut(rest, ": ")
	if !both {
		found, fix = "", rest
	}
	d.add(status, strings.TrimSuffix(variable, ":"), found, fix)
}

// each takes joined errors apart.
func each(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// fill fills a template with what the deployment consists of.
func (d *doctor) fill(name string) string {
	base := func(variable, otherwise string) string { // of an ARN or a name
		value := d.getenv(variable)
		return cmp.Or(value[strings.LastIndex(value, "/")+1:], otherwise)
	}
	stack := d.given("stack")
	return execute(name, map[string]any{
		"Account": d.given("account"), "Region": cmp.Or(d.given("region"), d.config.Region),
		"Projects": d.projects(), "Histories": d.histories(), "Lambda": d.lambda, "Stack": stack,
		"Audience": d.given("audience"), "Issuer": d.given("issuer"),
		"Provider": base("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "aws"),
		"Role":     base("ALIBABA_CLOUD_ROLE_ARN", base("WEBOFFICE_ROLE", "weboffice-functions")),
		"Subject": fmt.Sprintf("arn:aws:iam::%s:role/%s-%s", d.given("aws-account"), stack,
			d.given("aws-region")),
	})
}

func execute(name string, with map[string]any) string {
	var filled strings.Builder
	// neither map nor builder fails
	_ = template.Must(template.ParseFS(files, name)).Execute(&filled, with)
	return filled.String()
}

// projects are the IMM projects of the policy, else the one of the settings.
func (d *doctor) projects() (all []string) {
	if d.rules != nil {
		all = slices.DeleteFunc(d.rules.Projects(), func(p string) bool { return p == unnamed })
	}
	if len(all) == 0 {
		return []string{d.given("project")}
	}
	return all
}

// histories says for each bucket of the policy whether a rule shows versions in it.
func (d *doctor) histories() map[string]bool {
	var file struct {
		Rules []struct {
			Documents string
			Grant     []string
		}
	}
	_ = yaml.Load(d.text, &file) // the policy package has said what is wrong with it
	buckets := map[string]bool{}
	for _, rule := range file.Rules {
		bucket, _, _ := strings.Cut(strings.TrimPrefix(rule.Documents, "oss://"), "/")
		buckets[bucket] = buckets[bucket] || slices.Contains(rule.Grant, "history")
	}
	return buckets
}

// listCommands prints how to see what would need another SDK here. The templates leave out what
// would have a hole.
func (d *doctor) listCommands() {
	if d.config.Region == "" {
		d.say("no region")
	}
	if d.lambda && d.given("stack") == "" {
		d.say("no stack")
	}
	for text := range strings.Lines(d.fill("commands.tmpl")) {
		if parts := strings.SplitN(strings.TrimSpace(text), "|", 3); len(parts) == 3 {
			d.add(todo, parts[0], "look for "+parts[1], parts[2])
		}
	}
}

// printPolicies prints the policies to paste. What would widen one, such as a wildcard in a name,
// is refused.
func (d *doctor) printPolicies() error {
	if report := d.readPolicy(); d.rules == nil {
		return fmt.Errorf("%s names the projects: %w", d.given("policy"), report.Err())
	}
	var problems []error
	for _, s := range d.settings {
		value := d.given(s.Name)
		if s.Name == "project" {
			value = strings.Join(d.projects(), " ")
		}
		if s.Form != "" && (d.lambda || !s.Lambda) &&
			!regexp.MustCompile(`^(`+s.Form+`)$`).MatchString(value) {
			problems = append(problems, fmt.Errorf("-print-policies needs -%s, such as %s", s.Name,
				s.Such))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	_, err := io.WriteString(d.out, d.fill("policies.tmpl"))
	return err
}
