// Command doctor checks what a deployment needs, with whatever credentials the deployer has: the
// environment, the policy with its tests and warnings, the issuers' keys, the clock, the identity,
// one document, the functions' URLs.
//
// Settings come from the environment, as for the functions. Each line is ok, a warning or a
// failure, with its fix; a failure makes exit status 1. A line marked run has a command for what
// would need another SDK here, and what to look for in its answer.
//
// Promises: no secret is printed. Nothing is billed but the one GenerateWebofficeToken of
// -document, for viewing only. The functions are sent what they must refuse; opening documents
// through them is for scripts/smoke.
//
// With -print-policies it checks nothing, and prints this account's RAM and IAM policies, ready to
// paste.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/policy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil &&
		!errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// doctor is one run: its settings, and what a check found out for those behind it.
type doctor struct {
	file, generate, refresh, origin, document, token              string
	account, region, project, awsAccount, audience, issuer, stack string
	asJSON, lambda                                                bool
	// the flags over the environment
	getenv func(string) string
	now    func() time.Time
	log    *slog.Logger
	out    io.Writer
	// of lines, by status
	counts map[string]int

	config app.Config
	debug  bool               // the SDK would print secrets
	text   []byte             // of the policy
	rules  *policy.Policy     // nil: none that can be used
	caller caller.Caller      // the bearer of -token, else a guest
	source credentials.Source // nil: none that works
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	d := &doctor{now: time.Now, log: slog.New(slog.DiscardHandler), out: stdout,
		counts: map[string]int{}}
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(stdout)
	flags.StringVar(&d.file, "policy", "functions/policy.yaml",
		"the policy `file` that is deployed")
	flags.StringVar(&d.generate, "generate", "", "the `URL` of a deployed generate")
	flags.StringVar(&d.refresh, "refresh", "", "the `URL` of a deployed refresh")
	flags.StringVar(&d.origin, "origin", "",
		"an `origin` that may call; default: the policy's first")
	flags.StringVar(&d.document, "document", "",
		"an oss://… `URI` that the caller may open: one billed call")
	flags.StringVar(&d.token, "token", "",
		"a `file` with the caller's proof; none: the document is open to anyone")
	flags.BoolVar(&d.asJSON, "json", false, "a JSON object for each line")
	policies := flags.Bool("print-policies", false,
		"print RAM and IAM policies to paste, and check nothing: with -account, -region and -project,\n"+
			"for Lambda also with -aws-account, -issuer, -audience and -stack")
	flags.StringVar(&d.region, "region", getenv("WEBOFFICE_REGION"), "the IMM project's `region`")
	flags.StringVar(&d.project, "project", getenv("WEBOFFICE_PROJECT"),
		"the IMM project's `name`, where the policy names none")
	flags.StringVar(&d.account, "account", "", "the Alibaba Cloud account's `UID`")
	flags.StringVar(&d.awsAccount, "aws-account", "", "the AWS account's `ID`")
	flags.StringVar(&d.issuer, "issuer", "",
		"the AWS account's issuer, a `URL` https://ID.tokens.sts.global.api.aws")
	flags.StringVar(&d.audience, "audience", cmp.Or(getenv("ALIBABA_CLOUD_OIDC_AUDIENCE"),
		"weboffice-functions"), "the `audience` of AWS's tokens")
	flags.StringVar(&d.stack, "stack", "weboffice-functions", "the stack's `name` on AWS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	given := map[string]string{"WEBOFFICE_POLICY_FILE": d.file, "WEBOFFICE_REGION": d.region,
		"WEBOFFICE_PROJECT": d.project}
	d.getenv = func(name string) string { return cmp.Or(given[name], getenv(name)) }
	d.lambda = d.awsAccount+d.issuer != "" || !*policies && getenv("ALIBABA_CLOUD_ROLE_ARN") != ""
	if *policies {
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
		fmt.Fprintf(stdout, "%d ok, %d warnings, %d failures\n", d.counts[fine], d.counts[warning],
			d.counts[failure])
	}
	if n := d.counts[failure]; n > 0 {
		return fmt.Errorf("%d checks failed", n)
	}
	return nil
}

// The statuses of a line.
const fine, warning, failure, todo = "ok", "warning", "failure", "run"

// add prints one line. The fix of a todo is the command to run.
func (d *doctor) add(status, check, found, fix string) {
	d.counts[status]++
	if d.asJSON {
		// texts always marshal
		text, _ := json.Marshal(struct{ Check, Status, Found, Fix string }{check, status, found,
			fix})
		fmt.Fprintf(d.out, "%s\n", text)
		return
	}
	text := strings.TrimSuffix(check+": "+found, ": ")
	if status == todo {
		text += "\n$ " + fix
	} else if fix != "" {
		text += "\nfix: " + fix
	}
	fmt.Fprintf(d.out, "%-8s %s\n", status, strings.ReplaceAll(text, "\n", "\n         "))
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

var (
	//go:embed policies.tmpl
	policiesText string
	//go:embed commands.tmpl
	commandsText string
)

// fill fills a template with what the deployment consists of.
func (d *doctor) fill(text string) string {
	base := func(variable, otherwise string) string { // of an ARN or a name
		value := d.getenv(variable)
		return cmp.Or(value[strings.LastIndex(value, "/")+1:], otherwise)
	}
	var filled strings.Builder
	// neither map nor builder fails
	_ = template.Must(template.New("").Parse(text)).Execute(&filled, map[string]any{
		"Account": d.account, "Region": d.region, "Projects": d.projects(),
		"Histories": d.histories(), "Lambda": d.lambda, "Stack": d.stack,
		"Audience": d.audience, "Issuer": d.issuer,
		"Provider": base("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "aws"),
		"Role":     base("ALIBABA_CLOUD_ROLE_ARN", base("WEBOFFICE_ROLE", "weboffice-functions")),
		"Subject": "arn:aws:iam::" + d.awsAccount + ":role/" + d.stack + "-" +
			cmp.Or(d.getenv("AWS_REGION"), d.getenv("AWS_DEFAULT_REGION"), "us-east-1"),
	})
	return filled.String()
}

// projects are the IMM projects of the policy, else the one of the settings.
func (d *doctor) projects() []string {
	if d.rules != nil && len(d.rules.Projects()) > 0 {
		return d.rules.Projects()
	}
	return []string{d.project}
}

// histories says for each bucket of the policy whether a rule shows versions in it.
func (d *doctor) histories() map[string]bool {
	var file struct{ Rules []map[string]any }
	_ = yaml.Unmarshal(d.text, &file) // the policy package has said what is wrong with it
	buckets := map[string]bool{}
	for _, rule := range file.Rules {
		documents, _ := rule["documents"].(string)
		grant, _ := rule["grant"].([]any)
		bucket, _, _ := strings.Cut(strings.TrimPrefix(documents, "oss://"), "/")
		buckets[bucket] = buckets[bucket] || slices.Contains(grant, any("history"))
	}
	return buckets
}

// listCommands prints how to see what would need another SDK here.
func (d *doctor) listCommands() {
	for text := range strings.Lines(d.fill(commandsText)) {
		if parts := strings.SplitN(strings.TrimSpace(text), "|", 3); len(parts) == 3 {
			d.add(todo, parts[0], "look for "+parts[1], parts[2])
		}
	}
}

// printPolicies prints the policies to paste. What would widen one, such as a wildcard in a name,
// is refused.
func (d *doctor) printPolicies() error {
	_, err := d.readPolicy()
	if err != nil {
		return fmt.Errorf("%s names the projects: %w", d.file, err)
	}
	needed := [][4]string{
		{"account", d.account, `\d{1,20}`, "1234567890123456"},
		{"region", d.region, `[a-z]{2,4}(-[a-z0-9]+)+`, "cn-shanghai"},
		{"project", strings.Join(d.projects(), " "), `[\w-]+( [\w-]+)*`, "office-test"},
	}
	if d.lambda {
		needed = append(needed, [][4]string{
			{"aws-account", d.awsAccount, `\d{12}`, "123456789012"},
			{"issuer", d.issuer, `https://[\w.-]+(/[\w./~-]*)?`,
				"https://ID.tokens.sts.global.api.aws"},
			{"audience", d.audience, `[\w.:/-]{1,128}`, "weboffice-functions"},
			{"stack", d.stack, `[A-Za-z][A-Za-z0-9-]*`, "weboffice-functions"},
		}...)
	}
	var problems []error
	for _, n := range needed {
		if !regexp.MustCompile(`^` + n[2] + `$`).MatchString(n[1]) {
			problems = append(problems, fmt.Errorf("-print-policies needs -%s, such as %s", n[0],
				n[3]))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	_, err = io.WriteString(d.out, d.fill(policiesText))
	return err
}
