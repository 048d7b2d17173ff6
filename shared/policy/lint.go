package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// linter looks for what a policy allows and its author probably does not mean.
type linter struct {
	*reader // which notes it
	policy  *Policy
	tests   []test
	kinds   []*meeting // one for each kind of caller
}

func (l *linter) lint(text file) {
	l.kinds = kindsOf(l.policy)
	if len(l.policy.rules) > 0 && len(l.policy.written.Origins) == 0 {
		l.problem("no origins: no web page may call, only servers (add a line `origins:" +
			" [https://your.site]`)")
	}
	l.settings(text)
	for j, later := range l.policy.rules {
		l.alone(later)
		hidden := l.hidden(later, l.policy.rules[:j])
		for i := range j {
			l.pair(i, j, hidden)
		}
	}
}

func (l *linter) warn(r *rule, format string, args ...any) {
	l.mistakes = append(l.mistakes, Finding{r.line, r.column,
		fmt.Sprintf("rule %q "+format, append([]any{r.name}, args...)...)})
}

// find looks for a question of any kind of caller: where there is one, about a docx or another
// format that IMM knows, of somebody for whom `set` can be filled.
func (l *linter) find(in, out []*rule) (q *Question, sure bool) {
	sure = true
	for _, kind := range l.kinds {
		q, sureOf := kind.find(in, out)
		if q != nil {
			named := *kind
			named.plain = true
			for _, r := range in {
				named.extra = append(named.extra, r.filledFrom()...)
			}
			for _, named.ending = range endings()[1:] {
				if better, _ := named.find(in, out); better != nil {
					return better, true
				}
			}
			return q, true
		}
		sure = sure && sureOf
	}
	return nil, sure
}

// meet returns a question that two rules match and none of those before them, or nil: as well where
// a test asks one and expects it to be so.
func (l *linter) meet(a, b *rule, before []*rule, expect string) *Question {
	for _, t := range l.tests {
		asked := newAsk(&t.question)
		if t.Expect == expect && asked.matches(a) && asked.matches(b) {
			return nil
		}
	}
	q, _ := l.find([]*rule{a, b}, before)
	return q
}

// hidden says whether the rules before a rule decide all that it could.
func (l *linter) hidden(r *rule, before []*rule) bool {
	by := func(rules ...*rule) bool {
		q, sure := l.find([]*rule{r}, rules)
		return q == nil && sure
	}
	if len(before) == 0 || !by(before...) {
		return false
	}
	who := "the rules before it together"
	if i := slices.IndexFunc(before, func(b *rule) bool { return by(b) }); i >= 0 {
		who = fmt.Sprintf("%q before it (line %d)", before[i].name, before[i].line)
	}
	l.warn(r, "is hidden by %s: it changes nothing. Put it first, or remove it", who)
	return true
}

// pair compares two rules, by their places.
func (l *linter) pair(i, j int, hidden bool) {
	rules := l.policy.rules
	earlier, later := rules[i], rules[j]
	covers := func() bool { return earlier.pattern.covers(later.pattern) }
	notLinks := func(c callers) bool { return !c.links() }
	if earlier.forAnyone() && !earlier.deny && slices.ContainsFunc(later.callers, notLinks) &&
		(!later.forAnyone() || later.deny && covers()) {
		l.warn(earlier, "is for anyone and stands before %q (line %d): anyone comes last",
			later.name, later.line)
		return
	}
	less := earlier.grant.And(later.grant) != later.grant
	if !hidden && !earlier.deny && (later.deny || less && covers()) {
		switch q := l.meet(earlier, later, rules[:i], earlier.name); {
		case q == nil:
		case later.deny:
			l.warn(later, "denies what %q (line %d) allows before it, such as %s: put the deny"+
				" first, or add a test of such a document that expects %[2]q", earlier.name,
				earlier.line, exampleOf(*q))
		default:
			l.warn(earlier, "grants less than %q (line %d) behind it, whose documents it covers:"+
				" whoever fits both gets less. Put %[2]q first, or add a test of such a caller"+
				" that expects %[1]q", later.name, later.line)
		}
	}
	if later.forAnyone() && !later.deny && !earlier.forAnyone() {
		l.evaded(earlier, later, rules[:j])
	}
}

// evaded warns of what known callers are refused, or made to take, and anyone is not.
func (l *linter) evaded(known, anyone *rule, before []*rule) {
	what := "denies"
	if !known.deny {
		var others []string
		pages := anyone.set.PreviewPages
		for _, name := range known.set.Sent() {
			fewer := name == "PreviewPages" && pages != nil && *pages < *known.set.PreviewPages
			if !fewer && shown(known.set, name) != shown(anyone.set, name) {
				others = append(others, name)
			}
		}
		if what = "sets " + strings.Join(others, ", "); others == nil {
			return
		}
	}
	q := l.meet(documents(known.pattern), anyone, before, anyone.name)
	if q == nil {
		return
	}
	l.warn(known, "%s for callers that it knows, but %q (line %d) opens the same documents to"+
		" anyone, such as %s: whoever leaves the proof out is anyone. Deny `callers:"+
		" anyone` there too, or add a test `as: anyone` of such a document that expects %[3]q",
		what, anyone.name, anyone.line, q.Document)
}

// filledFrom lists the claims that set is filled from.
func (r *rule) filledFrom() (claims []string) {
	for _, pieces := range r.filled {
		for _, p := range pieces {
			if p.name != "" && !strings.HasPrefix(p.name, "document.") {
				claims = append(claims, p.name)
			}
		}
	}
	return claims
}

// dotted says what to write for a claim's name that may be meant as a path, realm_access.roles or
// realm_access/roles, and is no URL.
func dotted(name string) (advice string) {
	path := regexp.MustCompile(`^[^./: ]+(([.][^./: ]+)+|(/[^./: ]+)+)$`)
	if !path.MatchString(name) {
		return ""
	}
	marks := map[bool]string{false: "slashes", true: "dots"}[strings.Contains(name, ".")]
	return marks + " are part of a claim's name. If it is nested, write /" +
		strings.ReplaceAll(name, ".", "/")
}

// alone looks at one rule by itself.
func (l *linter) alone(r *rule) {
	// what other languages take for one of several, or for a variable
	other := regexp.MustCompile(`\{(\w*|[^{}]*,[^{}]*)\}|\[\^?\w-\w[^]]*\]|\([^()]*\|[^()]*\)`)
	if found := other.FindString(strings.ReplaceAll(r.pattern.text, "${", "")); found != "" {
		l.warn(r, "has %s in its documents: braces and commas are letters there. Write a rule for"+
			" each of them (brackets are letters too, and a claim is ${…})", found)
	}
	for _, name := range slices.Sorted(maps.Keys(demandsOf(r.filledFrom(), r).claims)) {
		if advice := dotted(name); advice != "" {
			l.warn(r, "names a claim %s: %s", name, advice)
		}
	}
	if !r.deny {
		l.served(r)
	}
}

// settings looks at what stands beside the rules.
func (l *linter) settings(text file) {
	for name, issuer := range text.Issuers {
		if slices.Contains(issuer.Audience, "account") {
			l.problem("audience account is in every token of a Keycloak realm, for whatever"+
				" service: write the client's name, and `audienceClaim: azp`", "issuers", name,
				"audience")
		}
		for key, claim := range map[string]string{"id": issuer.User.ID, "name": issuer.User.Name,
			"avatar": issuer.User.Avatar} {
			if advice := dotted(claim); advice != "" {
				l.problem(advice, "issuers", name, "user", key)
			}
		}
	}
	limits := l.policy.limits
	perHour := func(rate Rate) float64 { return float64(rate.Events) / rate.Per.Hours() }
	if limits.Total.Events > 0 && perHour(limits.Total) < perHour(limits.Caller) {
		l.problem("total is below caller: one caller can use all of it up", "limits", "total")
	}
}

// served warns of grants, and of set parameters, that IMM serves for no document of the rule.
func (l *linter) served(r *rule) {
	needs := map[string]string{
		"export": "print, and a format other than pdf", "history": "edit",
		"edit":  "a format that can be edited, and neither PreviewPages nor CachePreview",
		"print": "no CachePreview",
	}
	never, opens, guest := r.grant.Grants(), false, meeting{}
	for _, guest.ending = range endings() {
		if opens && len(never) == 0 {
			break
		}
		q, _ := guest.find([]*rule{documents(r.pattern)}, nil)
		if q == nil {
			continue
		}
		request := r.set
		request.Permission = &r.grant
		if request, err := request.Settle(q.Document, r.set.Filename != ""); err == nil {
			opens, never = true, without("", never, request.Permission.Grants())
		}
	}
	sent := append(r.set.Sent(), r.accept...)
	if !opens {
		if !slices.Contains(r.accept, "Filename") {
			l.warn(r, "matches no document with a supported extension, such as docx, xlsx, pptx"+
				" and pdf: correct its documents")
		}
		return
	}
	for _, grant := range never {
		l.warn(r, "grants %s, which is never served: it needs %s", grant, needs[grant])
	}
	if r.set.UserData != "" && !slices.Contains(sent, "Notification") &&
		!slices.Contains(sent, "NotifyTopicName") {
		l.warn(r, "sets UserData, which comes back in notifications only: set Notification or"+
			" NotifyTopicName too")
	}
	edits := !r.grant.Readonly && !slices.Contains(never, "edit")
	if edits && shown(r.set, "Hidecmb") == "true" {
		l.warn(r, "sets Hidecmb, which IMM takes while reading only: it is left out for whoever"+
			" edits")
	}
}
