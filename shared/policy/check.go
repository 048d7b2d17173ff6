package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// refused is what a test expects where no rule lets the caller in.
const refused = "refused"

// Report is what Check finds in a policy file, each list in the order of the file.
type Report struct {
	Policy   *Policy   // nil where there are mistakes
	Tests    int       // that ran
	Mistakes []Finding // a function would not start with them, or a test cannot run
	Failures []Finding // tests that came out otherwise than expected
	Warnings []Finding // what is allowed and probably not meant
}

// Err joins what keeps the policy from going out: mistakes and failed tests.
func (r Report) Err() error {
	return joined(append(r.Mistakes, r.Failures...))
}

// Check reads a policy, runs its own tests and looks for what is probably not meant.
func Check(data []byte, o Options) (report Report) {
	r := newReader()
	p, text := r.parse(data, o)
	l := &linter{reader: r, policy: p}
	if p != nil {
		for i, t := range text.Tests {
			l.tests = append(l.tests, r.test(t, p, i))
		}
	}
	if report.Mistakes = r.findings(); report.Mistakes != nil {
		return report
	}
	for i, t := range l.tests {
		if failed := p.run(t); failed != "" {
			r.problem(fmt.Sprintf("test %d: %s: %s", i+1, t.Open, failed), "tests", i)
		}
	}
	report.Policy, report.Tests, report.Failures = p, len(l.tests), r.findings()
	l.lint(text)
	report.Warnings = r.findings()
	return report
}

// testText is one entry of `tests` as it is written.
type testText struct {
	As      asText         `yaml:"as"`
	Open    string         `yaml:"open"`
	Ask     map[string]any `yaml:"ask"`
	Expect  string         `yaml:"expect"`
	Granted []string       `yaml:"granted"`
}

// asText is the claims of a caller, with issuer: NAME, or anyone, which is empty.
type asText map[string]any

func (a *asText) sayAnyone() string {
	*a = asText{}
	return "as is anyone or a map of an issuer's claims, with issuer: NAME"
}

// test is one entry of a policy's `tests`, and what it asks.
type test struct {
	testText
	question Question
}

func (r *reader) test(t testText, p *Policy, i int) test {
	problem := func(key, what string) { r.problem(key+what, "tests", i, key) }
	names := []string{refused}
	for _, r := range p.rules {
		if !r.deny { // what such a rule decides is refused
			names = append(names, r.name)
		}
	}
	if !slices.Contains(names, t.Expect) {
		problem("expect", fmt.Sprintf(" is the name of a rule that grants, or refused: one of %q",
			names[:min(len(names), 10)]))
	}
	q := Question{Start: time.Unix(0, 0)}
	var err error
	if q.Document, err = weboffice.ParseSourceURI(t.Open); err != nil {
		problem("open", ": "+weboffice.AsError(err).Message)
	}
	if _, err = weboffice.PermissionOf(t.Granted); err != nil {
		problem("granted", ": "+err.Error())
	}
	if t.Granted != nil && t.Expect == refused {
		problem("granted", " means nothing where the test expects a refusal")
	}
	body, err := json.Marshal(t.Ask)
	if err == nil && t.Ask != nil {
		q.Asked, err = weboffice.ParseRequest(body)
	}
	if err != nil {
		problem("ask", ": "+weboffice.AsError(err).Message)
	}
	q.Asked.SourceURI = t.Open
	if t.As == nil {
		r.problem(t.As.sayAnyone(), "tests", i, "as")
	} else if len(t.As) > 0 {
		if q.Caller, err = p.CallerOf(t.As); err != nil {
			problem("as", ": "+err.Error())
		}
	}
	return test{t, q}
}

// CallerOf returns the caller that a verified proof with these claims would be. claims["issuer"] is
// the policy's name of the issuer.
func (p *Policy) CallerOf(claims map[string]any) (caller.Caller, error) {
	name, _ := claims["issuer"].(string)
	claims = maps.Clone(claims)
	delete(claims, "issuer")
	known := p.issuer(name)
	if known == nil || name == "" {
		return caller.Caller{}, errors.New("issuer must be " + issuerNames(p))
	}
	if name == caller.LinkIssuer && claims["jti"] == nil {
		claims["jti"] = "any" // every link has one, and no rule looks at it
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return caller.Caller{}, errors.New("the claims cannot be read")
	}
	return known.CallerFor(body)
}

// issuer returns an issuer, that of guests and that of share links too, or nil.
func (p *Policy) issuer(name string) *caller.Issuer {
	links := caller.Issuer{Name: caller.LinkIssuer, URL: caller.LinkIssuer}
	for _, i := range append(p.Issuers(), caller.Issuer{}, links) {
		if i.Name == name {
			return &i
		}
	}
	return nil
}

// run says how a test failed, "" where it passed. A request that is no good for any rule is not a
// refusal.
func (p *Policy) run(t test) string {
	q := t.question
	q.Guest = weboffice.NewGuest()
	d, err := p.Decide(q, q.Start)
	got := cmp.Or(d.Rule, refused)
	public := weboffice.AsError(err)
	if err != nil && public.Kind == weboffice.Invalid {
		got = public.Error()
	}
	want, _ := weboffice.PermissionOf(t.Granted) // test has looked at it
	if got == t.Expect {
		if t.Granted != nil && *d.Request.Permission != want {
			return "expected the grants " + strings.Join(want.Grants(), " ") + ", got " +
				strings.Join(d.Request.Permission.Grants(), " ")
		}
		return ""
	}
	text := "expected " + t.Expect + ", got " + got
	for _, s := range p.Explain(q) { // a line for what each rule made of it
		if s.Decides && err != nil {
			s.Why = cmp.Or(public.Fix, public.Message)
			if public.Cause != nil {
				s.Why += " (" + public.Cause.Error() + ")"
			}
		}
		if s.Why != "" {
			text += "\n  " + s.Rule + ": " + s.Why
		}
	}
	return text
}
