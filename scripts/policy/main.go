// Command policy tries a policy before it is deployed, with the code that the functions run:
//
//	policy test [-stand-in] [FILE...]
//	        mistakes, the policy's own tests and warnings; default functions/*.yaml. Mistakes and failed tests make exit status 1.
//	policy explain [-policy FILE] [-token FILE | -claims JSON] [-permission view,copy] [-stand-in] URI
//	        which rule decides for a document and a caller, why each one before it does not, and what IMM would be sent. Without a
//	        token or claims the caller is anyone. A token is read without its signature: what it shows is no proof.
//	policy link -document URI -grant view,copy [-sub ID] [-name NAME] [-expires 24h] [-id JTI]
//	        a share link's token, signed with the first key of WEBOFFICE_LINK_KEYS
//
// It reads WEBOFFICE_PROJECT and WEBOFFICE_USER_SALT as the functions do; without the salt of the
// deployment a User.Id is another one.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Getenv, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "policy:", err)
		os.Exit(1)
	}
}

// tool is what the three commands share.
type tool struct {
	flags   *flag.FlagSet
	standIn *bool
	getenv  func(string) string
	stdout  io.Writer
}

func run(_ context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	commands := map[string]func(*tool, []string) error{"test": (*tool).test,
		"explain": (*tool).explain, "link": (*tool).link}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("say what to do: test, explain or link (each with -h)")
	}
	t := &tool{flags: flag.NewFlagSet("policy "+args[0], flag.ContinueOnError), getenv: getenv,
		stdout: stdout}
	if args[0] != "link" {
		t.standIn = t.flags.Bool("stand-in", false,
			"the policy is for a stand-in on this machine: it may say standIn")
	}
	return commands[args[0]](t, args[1:])
}

// read parses a policy as a function with this environment would. Where the environment names no
// project, the deployment's will.
func (t *tool) read(file string) (*policy.Policy, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return policy.Parse(text, t.options())
}

func (t *tool) options() policy.Options {
	project := cmp.Or(t.getenv("WEBOFFICE_PROJECT"), "from-the-environment")
	return policy.Options{Project: project,
		Salt: weboffice.Secret(t.getenv("WEBOFFICE_USER_SALT")), Loopback: *t.standIn}
}

func (t *tool) test(args []string) error {
	if err := t.flags.Parse(args); err != nil {
		return err
	}
	files := t.flags.Args()
	if len(files) == 0 {
		files, _ = filepath.Glob("functions/*.yaml") // the pattern is a good one
	}
	if len(files) == 0 {
		return errors.New(
			"there is no functions/*.yaml here: run it where go.mod is, or name a file")
	}
	bad := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			bad++
			fmt.Fprintf(t.stdout, "%s: %v\n", file, err)
			continue
		}
		report := policy.Check(text, t.options())
		for _, found := range append(report.Mistakes, report.Failures...) {
			fmt.Fprintf(t.stdout, "%s:%v\n", file, found)
		}
		for _, found := range report.Warnings {
			fmt.Fprintf(t.stdout, "%s:%d:%d: warning: %s\n", file, found.Line, found.Column,
				found.Text)
		}
		if report.Err() != nil {
			bad++
		}
		if report.Policy != nil {
			result := "ok"
			if n := len(report.Failures); n > 0 {
				result = fmt.Sprintf("%d failed", n)
			}
			fmt.Fprintf(t.stdout, "%s: %d rules, %d tests, %s\n", file, report.Policy.Rules(),
				report.Tests, result)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d policies cannot go out like this", bad, len(files))
	}
	return nil
}

func (t *tool) explain(args []string) error {
	file := t.flags.String("policy", "functions/policy.yaml", "the policy `file`")
	token := t.flags.String("token", "", "a `file` with the caller's proof")
	claims := t.flags.String("claims", "",
		`the caller's claims as JSON, such as {"issuer": "staff", "sub": "ann"}`)
	permission := t.flags.String("permission", "",
		"what the page asks for, such as `view,copy`; default: everything")
	if err := t.flags.Parse(args); err != nil {
		return err
	}
	if t.flags.NArg() != 1 || *token != "" && *claims != "" {
		return errors.New(
			"explain takes one document, oss://bucket/object, behind its flags, and one of -token and -claims or neither")
	}
	p, err := t.read(*file)
	if err != nil {
		return fmt.Errorf("%s is no policy:\n%w", *file, err)
	}
	document, err := weboffice.ParseSourceURI(t.flags.Arg(0))
	if err != nil {
		return err
	}
	q := policy.Question{Asked: weboffice.Request{SourceURI: document.String()},
		Document: document, Start: time.Now(), Guest: weboffice.NewGuest()}
	if *permission != "" {
		asked, err := weboffice.PermissionOf(strings.Split(*permission, ","))
		if err != nil {
			return err
		}
		q.Asked.Permission = &asked
	}
	switch {
	case *token != "":
		q.Caller, err = t.inspect(p, *token)
	case *claims != "":
		if q.Caller, err = claimed(p, *claims); err != nil {
			err = fmt.Errorf("-claims: %w", err)
		}
	}
	if err != nil {
		return err
	}
	t.show(p, q)
	return nil
}

// inspect reads a proof without its signature. It prints why the functions would refuse it, where
// they would.
func (t *tool) inspect(p *policy.Policy, file string) (caller.Caller, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return caller.Caller{}, err
	}
	// without a link key it would not know share links; Inspect uses no key
	v, err := caller.NewVerifier(caller.Options{
		Issuers: p.Issuers(), LinkKeys: []weboffice.Secret{
			weboffice.Secret(strings.Repeat("-", 32))}, RevokedLinks: p.RevokedLinks(),
		Client: &http.Client{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return caller.Caller{}, err
	}
	c, err := v.Inspect(weboffice.Secret(strings.TrimPrefix(strings.TrimSpace(string(text)),
		"Bearer ")))
	if err != nil && c.Guest() {
		return c, fmt.Errorf("the proof is refused (401) before any rule: %w", err)
	}
	if err != nil {
		fmt.Fprintf(t.stdout, "The proof is refused (401) before any rule: %s\nWere it good:\n",
			strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	fmt.Fprintln(t.stdout,
		"The proof's signature was not looked at: what follows proves nothing about its bearer.")
	return c, nil
}

// claimed makes a caller of claims in JSON.
func claimed(p *policy.Policy, text string) (caller.Caller, error) {
	var claims map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil {
		return caller.Caller{}, errors.New("not one JSON object")
	}
	return p.CallerOf(claims)
}

// show prints what the policy makes of a question.
func (t *tool) show(p *policy.Policy, q policy.Question) {
	say := func(name, format string, args ...any) {
		fmt.Fprintf(t.stdout, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	say("document", "%s", q.Asked.SourceURI)
	if q.Caller.Guest() {
		say("caller", "anyone, without a proof")
	} else {
		say("caller", "%q of %s", q.Caller.Subject, q.Caller.Issuer)
	}
	for _, step := range p.Explain(q) {
		switch {
		case step.Decides && step.Deny:
			step.Why = "decides: refused"
		case step.Decides:
			step.Why = "decides"
		}
		say("rule", "%s: %s", step.Rule, step.Why)
	}
	d, err := p.Decide(q, q.Start)
	if err != nil {
		refusal := weboffice.AsError(err)
		say("refused", "%s", refusal)
		if refusal.Fix != "" {
			say("fix", "%s (%v)", refusal.Fix, refusal.Cause)
		}
		return
	}
	sent, _ := json.MarshalIndent(d.Request, "", "  ") // a Request always marshals
	say("granted", "%s", strings.Join(d.Request.Permission.Grants(), " "))
	if user := d.Request.User.Id; user != q.Guest.Id {
		say("User.Id", "%s", user)
	} else {
		say("User.Id", "another with each opening, such as %s", user)
	}
	say("session", "ends %v after it begins", d.End.Sub(q.Start))
	say("sent", "%s", sent)
}

func (t *tool) link(args []string) error {
	c := caller.LinkClaims{IssuedAt: time.Now()}
	t.flags.StringVar(&c.Document, "document", "", "a document, oss://bucket/object, or a pattern")
	t.flags.StringVar(&c.Subject, "sub", "",
		"whom the link is for; without it each opening is a guest's")
	t.flags.StringVar(&c.Name, "name", "", "the name that the editor shows")
	t.flags.StringVar(&c.ID, "id", rand.Text(), "the link's jti, by which revokedLinks ends it")
	grant := t.flags.String("grant", "", "what the link gives, such as `view,copy`")
	expires := t.flags.Duration("expires", 24*time.Hour, "how long the link works, at most 720h")
	if err := t.flags.Parse(args); err != nil {
		return err
	}
	if c.Grant = strings.Split(*grant, ","); !slices.Contains(c.Grant, "view") ||
		t.flags.NArg() > 0 {
		return errors.New(
			"link needs -document URI and -grant with view, such as view,copy, and nothing behind its flags")
	}
	quoted, _ := json.Marshal(c.Document) // text always marshals; JSON's quotes are YAML's
	rule := fmt.Appendf(nil,
		"rules: [{name: link, documents: %s, callers: anyone, grant: [view], project: any}]",
		quoted)
	if _, err := policy.Parse(rule, policy.Options{}); err != nil {
		_, why, _ := strings.Cut(err.Error(), ": ")
		return fmt.Errorf("-document: a link to it opens nothing: %s", why)
	}
	keys, err := app.LinkKeys(t.getenv)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New(
			"WEBOFFICE_LINK_KEYS is not set: it holds the deployment's keys; openssl rand -base64 32 makes one")
	}
	c.Expires = c.IssuedAt.Add(*expires)
	token, err := caller.MintLink(keys[0], c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.stdout, token.Reveal())
	return err
}
