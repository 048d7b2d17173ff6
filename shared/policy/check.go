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

// test is one entry of a policy's `tests`.
type test struct {
	question Question
	expect   string                // a rule's name or "refused"
	granted  *weboffice.Permission // nil: not asked
}

type testText struct {
	As      any            `yaml:"as"`
	Open    string         `yaml:"open"`
	Ask     map[string]any `yaml:"ask"`
	Expect  string         `yaml:"expect"`
	Granted []string       `yaml:"granted"`
}

func (r *reader) test(t testText, p *Policy, rules map[string]bool, i int) test {
	at := func(key string) []any { return []any{"tests", i, key} }
	out := test{expect: t.Expect, question: Question{Start: time.Unix(0, 0)}}
	q := &out.question
	if !rules[t.Expect] && t.Expect != refused {
		r.problem("expect is the name of a rule, or refused", at("expect")...)
	}
	var err error
	if q.Document, err = weboffice.ParseSourceURI(t.Open); err != nil {
		r.problem("open: "+weboffice.AsError(err).Message, at("open")...)
	}
	if granted, err := weboffice.PermissionOf(t.Granted); err != nil {
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
	if t.As == "anyone" {
		return out
	}
	if claims, isMap := t.As.(map[string]any); !isMap {
		r.problem("as is anyone or a map of an issuer's claims, with issuer: NAME", at("as")...)
	} else if q.Caller, err = p.CallerOf(claims); err != nil {
		r.problem("as: "+err.Error(), at("as")...)
	}
	return out
}

// CallerOf returns the caller that a verified proof with these claims would be. claims["issuer"] is
// the policy's name of the issuer.
func (p *Policy) CallerOf(claims map[string]any) (caller.Caller, error) {
	name, _ := claims["issuer"].(string)
	claims = maps.Clone(claims)
	delete(claims, "issuer")
	if _, named := claims["jti"]; name == caller.LinkIssuer && !named {
		claims["jti"] = "any" // every link has one, and no rule looks at it
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return caller.Caller{}, errors.New("the claims cannot be read")
	}
	for _, issuer := range append(p.Issuers(),
		caller.Issuer{Name: caller.LinkIssuer, URL: caller.LinkIssuer}) {
		if issuer.Name == name {
			return issuer.CallerFor(body)
		}
	}
	return caller.Caller{}, errors.New("issuer must be links or a name under `issuers`")
}

// Test runs the policy's own tests and returns what failed. A request that is no good for any rule
// is no refusal.
func (p *Policy) Test() (ran int, failures []string) {
	for i, t := range p.tests {
		fail := func(expected, got string) {
			failures = append(failures, fmt.Sprintf("test %d: %s: expected %s, got %s", i+1,
				t.question.Document, expected, got))
		}
		q := t.question
		q.Guest = weboffice.NewGuest()
		d, err := p.Decide(q, q.Start)
		got := d.Rule
		if public := weboffice.AsError(err); err != nil && public.Kind == weboffice.Invalid {
			got = public.Error()
		} else if err != nil {
			got = refused
		}
		if got != t.expect {
			fail(t.expect, got+whys(p.Explain(q), err))
		} else if t.granted != nil && *d.Request.Permission != *t.granted {
			fail("the grants "+strings.Join(t.granted.Grants(), " "),
				strings.Join(d.Request.Permission.Grants(), " "))
		}
	}
	return len(p.tests), failures
}

func whys(steps []Step, err error) string {
	var b strings.Builder
	for _, s := range steps {
		if s.Why != "" {
			fmt.Fprintf(&b, "\n  %s: %s", s.Rule, s.Why)
		}
	}
	if refusal := weboffice.AsError(err); err != nil && len(steps) > 0 &&
		steps[len(steps)-1].Decides {
		fmt.Fprintf(&b, "\n  %s: %s", steps[len(steps)-1].Rule,
			cmp.Or(refusal.Fix, refusal.Message))
	}
	return b.String()
}

// Warnings lists what is allowed and probably not meant.
func (p *Policy) Warnings() []string {
	var warnings []string
	warn := func(format string, args ...any) {
		warnings = append(warnings, fmt.Sprintf(format, args...))
	}
	if len(p.rules) > 0 && len(p.origins) == 0 {
		warn("no origins: no web page may call, only servers")
	}
	for j, later := range p.rules {
		for _, earlier := range p.rules[:j] {
			covers := earlier.pattern.covers(later.pattern)
			switch {
			case covers && hides(earlier, later):
				warn("rule %q is hidden by %q before it: it changes nothing", later.name,
					earlier.name)
			case covers && !earlier.deny && !later.deny && callersMeet(earlier, later) &&
				earlier.grant.And(later.grant) != later.grant:
				warn(
					"rule %q grants less than %q behind it, whose documents it covers: whoever fits both gets less", earlier.name, later.name)
			}
			if isAnyone(earlier) && !earlier.deny && !onlyLinks(later) &&
				(!isAnyone(later) || covers && later.deny) {
				warn("rule %q is for anyone and stands before %q: anyone comes last", earlier.name,
					later.name)
			}
		}
	}
	return warnings
}

func isAnyone(r *rule) bool {
	return slices.ContainsFunc(r.callers, func(c callers) bool { return c.anyone })
}

func onlyLinks(r *rule) bool {
	return !slices.ContainsFunc(r.callers,
		func(c callers) bool { return c.issuer != caller.LinkIssuer })
}

// hides says whether b decides nothing behind a, which covers its documents. A deny rule matches
// more than its conditions say: callers without the claims too, and share links where it is for
// anyone.
func hides(a, b *rule) bool {
	wider := b.deny && !a.deny
	return !(wider && len(a.pattern.claims) > 0) &&
		!slices.ContainsFunc(b.callers, func(cb callers) bool {
			return !slices.ContainsFunc(a.callers, func(ca callers) bool {
				if ca.anyone {
					return a.deny || cb.issuer != caller.LinkIssuer && !(cb.anyone && wider)
				}
				return ca.issuer == cb.issuer && !(wider && len(ca.claims) > 0) &&
					claimsCover(ca.claims, cb.claims)
			})
		})
}

// claimsCover says whether every condition of a is met by whoever meets b.
func claimsCover(a, b []condition) bool {
	return !slices.ContainsFunc(a, func(wide condition) bool {
		return !slices.ContainsFunc(b, func(narrow condition) bool {
			return wide.claim == narrow.claim &&
				!slices.ContainsFunc(wide.any,
					func(w wanted) bool { return !narrow.wants(w.value) }) &&
				!slices.ContainsFunc(narrow.any,
					func(n wanted) bool { return !wide.covers(n.value) })
		})
	})
}

func (c condition) covers(value any) bool {
	text, isText := value.(string)
	return slices.ContainsFunc(c.any, func(w wanted) bool {
		pattern, isPattern := w.value.(string)
		return w.value == value || isText && isPattern && textCovers(pattern, text)
	})
}

// callersMeet says whether somebody may fit both rules.
func callersMeet(a, b *rule) bool {
	return slices.ContainsFunc(a.callers, func(ca callers) bool {
		return slices.ContainsFunc(b.callers, func(cb callers) bool {
			return ca.issuer == cb.issuer || ca.anyone && cb.issuer != caller.LinkIssuer ||
				cb.anyone && ca.issuer != caller.LinkIssuer
		})
	})
}
