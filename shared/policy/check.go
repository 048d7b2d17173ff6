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
func Check(data []byte, o Options) Report {
	r := newReader()
	p, text := r.parse(data, o)
	var tests []test
	if p != nil {
		for i, t := range text.Tests {
			tests = append(tests, r.test(t, p, i))
		}
	}
	if len(r.mistakes) > 0 {
		return Report{Mistakes: r.sorted()}
	}
	report := Report{Policy: p, Tests: len(tests)}
	for i, t := range tests {
		if failed := p.run(t); failed != "" {
			report.Failures = append(report.Failures, Finding{t.line, t.column,
				fmt.Sprintf("test %d: %s: %s", i+1, t.question.Document, failed)})
		}
	}
	l := &linter{policy: p, tests: tests}
	report.Warnings = l.lint(text, r)
	return report
}

// testText is one entry of `tests` as it is written.
type testText struct {
	As      asText      `yaml:"as"`
	Open    string      `yaml:"open"`
	Ask     askText     `yaml:"ask"`
	Expect  string      `yaml:"expect"`
	Granted []grantText `yaml:"granted"`
}

// asText is the claims of a caller, with issuer: NAME, or anyone, which is empty.
type asText map[string]any

func (a *asText) word(text string) bool {
	*a = asText{}
	return text == "anyone"
}

func (*asText) form() string {
	return "as is anyone or a map of an issuer's claims, with issuer: NAME"
}

// test is one entry of a policy's `tests`.
type test struct {
	line, column int
	question     Question
	expect       string                // a rule's name or "refused"
	granted      *weboffice.Permission // nil: not asked
}

func (r *reader) test(t testText, p *Policy, i int) test {
	at := func(key string) []any { return []any{"tests", i, key} }
	out := test{expect: t.Expect, question: Question{Start: time.Unix(0, 0)}}
	out.line, out.column = place(child(child(r.root, "tests"), i))
	q := &out.question
	known := func(r *rule) bool { return r.name == t.Expect }
	if t.Expect != refused && !slices.ContainsFunc(p.rules, known) {
		names := []string{refused}
		for _, r := range p.rules {
			names = append(names, fmt.Sprintf("%q", r.name))
		}
		if len(names) > 10 {
			names = append(names[:10], "…")
		}
		r.problem("expect is the name of a rule, or refused: "+strings.Join(names, ", "),
			at("expect")...)
	}
	var err error
	if q.Document, err = weboffice.ParseSourceURI(t.Open); err != nil {
		r.problem("open: "+weboffice.AsError(err).Message, at("open")...)
	}
	if granted, err := weboffice.PermissionOf(texts(t.Granted)); err != nil {
		r.problem(err.Error(), at("granted")...)
	} else if t.Granted != nil {
		out.granted = &granted
	}
	if t.Granted != nil && t.Expect == refused {
		r.problem("granted means nothing where the test expects a refusal", at("granted")...)
	}
	body, err := json.Marshal(t.Ask)
	if err == nil && t.Ask != nil {
		q.Asked, err = weboffice.ParseRequest(body)
	}
	if err != nil {
		r.problem("ask: "+weboffice.AsError(err).Message, at("ask")...)
	}
	q.Asked.SourceURI = t.Open
	if t.As == nil {
		r.problem(t.As.form(), at("as")...)
	} else if len(t.As) > 0 {
		if q.Caller, err = p.CallerOf(t.As); err != nil {
			r.problem("as: "+err.Error(), at("as")...)
		}
	}
	return out
}

// CallerOf returns the caller that a verified proof with these claims would be. claims["issuer"] is
// the policy's name of the issuer.
func (p *Policy) CallerOf(claims map[string]any) (caller.Caller, error) {
	name, _ := claims["issuer"].(string)
	claims = maps.Clone(claims)
	delete(claims, "issuer")
	known, _ := p.issuer(name)
	switch {
	case name == caller.LinkIssuer:
		known = caller.Issuer{Name: name, URL: name}
		if claims["jti"] == nil {
			claims["jti"] = "any" // every link has one, and no rule looks at it
		}
	case known.Name == "":
		return caller.Caller{}, errors.New("issuer must be " + issuerNames(p))
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return caller.Caller{}, errors.New("the claims cannot be read")
	}
	return known.CallerFor(body)
}

// run says how a test failed, "" where it passed. A request that is no good for any rule is not a
// refusal.
func (p *Policy) run(t test) string {
	q := t.question
	q.Guest = weboffice.NewGuest()
	d, err := p.Decide(q, q.Start)
	got := cmp.Or(d.Rule, refused)
	if public := weboffice.AsError(err); err != nil && public.Kind == weboffice.Invalid {
		got = public.Error()
	}
	switch {
	case got != t.expect:
		return "expected " + t.expect + ", got " + got + whys(p.Explain(q), err)
	case t.granted != nil && *d.Request.Permission != *t.granted:
		return "expected the grants " + strings.Join(t.granted.Grants(), " ") + ", got " +
			strings.Join(d.Request.Permission.Grants(), " ")
	}
	return ""
}

// whys says what each rule made of a question, a line each.
func whys(steps []Step, err error) string {
	var b strings.Builder
	for _, s := range steps {
		if s.Why == "" && err != nil {
			refusal := weboffice.AsError(err)
			s.Why = cmp.Or(refusal.Fix, refusal.Message)
			if refusal.Cause != nil {
				s.Why += " (" + refusal.Cause.Error() + ")"
			}
		}
		if s.Why != "" {
			fmt.Fprintf(&b, "\n  %s: %s", s.Rule, s.Why)
		}
	}
	return b.String()
}
