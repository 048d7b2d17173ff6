package policy

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// linter looks for what a policy allows and its author probably does not mean.
type linter struct {
	policy   *Policy
	tests    []test
	kinds    []*meeting // one for each kind of caller
	warnings []Finding
}

func (l *linter) lint(text file, r *reader) []Finding {
	l.kinds = kindsOf(l.policy)
	if len(l.policy.rules) > 0 && len(l.policy.origins) == 0 {
		l.warnAt(1, 1, "no origins: no web page may call, only servers (add a line `origins:"+
			" [https://your.site]`)")
	}
	l.settings(text, r)
	for j, later := range l.policy.rules {
		l.rule(later)
		hidden := l.hidden(later, l.policy.rules[:j])
		for _, earlier := range l.policy.rules[:j] {
			if earlier.pattern.bucket == later.pattern.bucket || earlier.forAnyone() {
				l.pair(earlier, later, hidden)
			}
		}
	}
	slices.SortStableFunc(l.warnings, func(a, b Finding) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
	return l.warnings
}

// kindsOf makes a search for each kind of caller that a policy tells apart.
func kindsOf(p *Policy) []*meeting {
	known := map[string]string{}
	kinds := []*meeting{{known: known}}
	for _, i := range p.issuers {
		kinds = append(kinds, &meeting{issuer: i.Name, known: known,
			required: slices.Compact([]string{"sub", cmp.Or(i.User.ID, "sub")})})
	}
	return append(kinds, &meeting{issuer: caller.LinkIssuer, known: known})
}

func (l *linter) warnAt(line, column int, format string, args ...any) {
	l.warnings = append(l.warnings, Finding{line, column, fmt.Sprintf(format, args...)})
}

func (l *linter) warn(r *rule, format string, args ...any) {
	l.warnAt(r.line, r.column, "rule %q "+format, append([]any{r.name}, args...)...)
}

// hidden says whether the rules before a rule decide all that it could.
func (l *linter) hidden(r *rule, before []*rule) bool {
	near := slices.DeleteFunc(slices.Clone(before), func(b *rule) bool {
		return b.pattern.bucket != r.pattern.bucket || !b.pattern.mayMeet(r.pattern)
	})
	if len(near) == 0 || !l.decidesNothing(r, near) {
		return false
	}
	for _, b := range near {
		if l.decidesNothing(r, []*rule{b}) {
			l.warn(r, "is hidden by %q before it (line %d): it changes nothing. Put it first, or"+
				" remove it", b.name, b.line)
			return true
		}
	}
	l.warn(r, "is hidden by the rules before it together: it changes nothing. Put it first, or"+
		" remove it")
	return true
}

func (l *linter) decidesNothing(r *rule, before []*rule) bool {
	return !slices.ContainsFunc(l.kinds, func(kind *meeting) bool {
		q, sure := kind.find([]*rule{r}, before)
		return q != nil || !sure
	})
}

// meet returns a question that both rules match, or nil: one for a docx where there is any.
func (l *linter) meet(a, b *rule) *Question {
	for _, kind := range l.kinds {
		if q, _ := kind.find([]*rule{a, b}, nil); q != nil {
			named := *kind
			named.ending = endings()[0]
			better, _ := named.find([]*rule{a, b}, nil)
			return cmp.Or(better, q)
		}
	}
	return nil
}

// pair compares two rules.
func (l *linter) pair(earlier, later *rule, hidden bool) {
	if earlier.forAnyone() && !earlier.deny && !onlyLinks(later) &&
		(!later.forAnyone() || later.deny && l.covers(earlier, later)) {
		l.warn(earlier, "is for anyone and stands before %q (line %d): anyone comes last",
			later.name, later.line)
		return
	}
	if !earlier.pattern.mayMeet(later.pattern) {
		return
	}
	both := func(t *Question) bool {
		return newAsk(t).matches(earlier) && newAsk(t).matches(later)
	}
	switch {
	case hidden:
	case later.deny && !earlier.deny:
		if q := l.meet(earlier, later); q != nil && !l.expected(earlier, both) {
			l.warn(later, "denies what %q (line %d) allows before it, such as %s for %s: put the"+
				" deny first, or add a test of such a document that expects %[2]q", earlier.name,
				earlier.line, q.Document, who(*q))
		}
	case !later.deny && !earlier.deny && earlier.grant.And(later.grant) != later.grant &&
		l.covers(earlier, later) && l.meet(earlier, later) != nil &&
		!l.expected(earlier, both):
		l.warn(earlier, "grants less than %q (line %d) behind it, whose documents it covers:"+
			" whoever fits both gets less. Put %[2]q first, or add a test of such a caller that"+
			" expects %[1]q", later.name, later.line)
	}
	if later.forAnyone() && !later.deny && !earlier.forAnyone() {
		l.evaded(earlier, later)
	}
}

// evaded warns of what known callers are refused, or made to take, and anyone is not.
func (l *linter) evaded(known, anyone *rule) {
	what := "denies"
	if !known.deny {
		if what = "sets " + unlike(known.set, anyone.set); what == "sets " {
			return
		}
	}
	both := draft{in: []*pattern{known.pattern, anyone.pattern}}
	named := *l.kinds[0]
	named.ending = endings()[0]
	key := cmp.Or(named.document(both, nil), l.kinds[0].document(both, nil))
	if key == "" || l.expected(anyone, func(t *Question) bool {
		_, first := known.pattern.match(t.Document.String())
		_, second := anyone.pattern.match(t.Document.String())
		return first && second && t.Caller.Guest()
	}) {
		return
	}
	l.warn(known, "%s for callers that it knows, but %q (line %d) opens the same documents to"+
		" anyone, such as oss://%s/%s: whoever leaves the proof out is anyone. Deny `callers:"+
		" anyone` there too, or add a test `as: anyone` of such a document that expects %[3]q",
		what, anyone.name, anyone.line, known.pattern.bucket, key)
}

// unlike lists the parameters that a sets and b does not set to the same.
func unlike(a, b weboffice.Request) string {
	return strings.Join(slices.DeleteFunc(a.Sent(), func(name string) bool {
		return reflect.DeepEqual(reflect.ValueOf(a).FieldByName(name).Interface(),
			reflect.ValueOf(b).FieldByName(name).Interface())
	}), ", ")
}

// expected says whether a test asks such a question and expects the rule.
func (l *linter) expected(r *rule, such func(*Question) bool) bool {
	return slices.ContainsFunc(l.tests, func(t test) bool {
		return t.expect == r.name && such(&t.question)
	})
}

func (a *ask) matches(r *rule) bool {
	first, _ := a.firstFailing(r)
	return first == holds
}

// covers says whether every document of b is one of a. What a says in ${…} b must say too.
func (l *linter) covers(a, b *rule) bool {
	for at, segment := range a.pattern.segments {
		if placeholder(segment) != "" && (at >= len(b.pattern.segments) ||
			b.pattern.segments[at] != segment) {
			return false
		}
	}
	m := l.kinds[0]
	m.gaveUp = false
	return a.pattern.bucket == b.pattern.bucket &&
		m.document(draft{in: []*pattern{b.pattern}, out: []*pattern{a.pattern}}, nil) == "" &&
		!m.gaveUp
}

func onlyLinks(r *rule) bool {
	return !slices.ContainsFunc(r.callers, func(c callers) bool { return !c.links() })
}

// who says in a few words who asks.
func who(q Question) string {
	switch q.Caller.Issuer {
	case "":
		return "anyone"
	case caller.LinkIssuer:
		return "a share link"
	}
	var claims []string
	for _, name := range slices.Sorted(maps.Keys(q.Caller.Claims)) {
		if name != "sub" {
			claims = append(claims, fmt.Sprintf("%s: %v", name, q.Caller.Claims[name]))
		}
	}
	return strings.TrimSuffix(q.Caller.Issuer+" with "+strings.Join(claims, ", "), " with ")
}

// dotted says whether a claim's name may be meant as a path: realm_access.roles, and not a URL.
func dotted(name string) bool {
	steps := strings.Split(name, ".")
	return len(steps) > 1 && !slices.Contains(steps, "") && !strings.ContainsAny(name, ":/ ")
}

// rule looks at one rule by itself.
func (l *linter) rule(r *rule) {
	if found := regexp.MustCompile(`\{[^{}]*,[^{}]*\}`).FindString(r.pattern.text); found != "" {
		l.warn(r, "has %s in its documents: braces and commas are letters there. Write a rule for"+
			" each of them", found)
	}
	named := slices.Clone(r.pattern.claims)
	for _, c := range r.callers {
		for _, condition := range c.conditions {
			if is, ok := condition.(*claimIs); ok {
				named = append(named, is.claim)
			}
		}
	}
	for _, pieces := range r.filled {
		for _, p := range pieces {
			if p.name != "document.key" && p.name != "document.bucket" {
				named = append(named, p.name)
			}
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(named))) {
		if dotted(name) {
			l.warn(r, "names a claim %s: dots are part of a claim's name. If it is nested, write"+
				" /%s", name, strings.ReplaceAll(name, ".", "/"))
		}
	}
	if !r.deny {
		l.served(r)
	}
}

// settings looks at what stands beside the rules.
func (l *linter) settings(text file, r *reader) {
	warn := func(what string, at ...any) {
		before := len(r.mistakes)
		r.problem(what, at...)
		l.warnings = append(l.warnings, r.mistakes[before])
	}
	for name, issuer := range text.Issuers {
		if slices.Contains(issuer.Audience, "account") {
			warn("audience account is in every token of a Keycloak realm, for whatever service:"+
				" write the client's name, and `audienceClaim: azp`", "issuers", name, "audience")
		}
		for key, claim := range map[string]string{"id": issuer.User.ID, "name": issuer.User.Name,
			"avatar": issuer.User.Avatar} {
			if dotted(claim) {
				warn("dots are part of a claim's name: if it is nested, write /"+
					strings.ReplaceAll(claim, ".", "/"), "issuers", name, "user", key)
			}
		}
	}
	limits := l.policy.limits
	perHour := func(rate Rate) float64 { return float64(rate.Events) / rate.Per.Hours() }
	if limits.Total.Events > 0 && perHour(limits.Total) < perHour(limits.Caller) {
		warn("total is below caller: one caller can use all of it up", "limits", "total")
	}
}

// served warns of grants, and of set parameters, that IMM serves for no document of the rule.
func (l *linter) served(r *rule) {
	needs := map[string]string{
		"export": "print, and a format other than pdf", "history": "edit",
		"edit":  "a format that can be edited, and neither PreviewPages nor CachePreview",
		"print": "no CachePreview",
	}
	never := r.grant.Grants()
	m, opens := *l.kinds[0], false
	for _, m.ending = range endings() {
		key := m.document(draft{in: []*pattern{r.pattern}}, nil)
		request := r.set
		request.Permission = &r.grant
		request, err := request.Settle(weboffice.Document{Bucket: r.pattern.bucket, Key: key},
			r.set.Filename != "")
		if key == "" || err != nil {
			continue
		}
		opens = true
		served := request.Permission.Grants()
		never = slices.DeleteFunc(never, func(g string) bool { return slices.Contains(served, g) })
	}
	if !opens && !slices.Contains(r.accept, "Filename") {
		l.warn(r, "matches no document with a supported extension, such as docx, xlsx, pptx and"+
			" pdf: correct its documents")
		return
	}
	for _, grant := range never {
		if grant != "view" {
			l.warn(r, "grants %s, which is never served: it needs %s", grant, needs[grant])
		}
	}
	notified := r.set.Notification != nil || r.set.NotifyTopicName != "" ||
		slices.Contains(r.accept, "Notification") || slices.Contains(r.accept, "NotifyTopicName")
	if r.set.UserData != "" && !notified {
		l.warn(r, "sets UserData, which comes back in notifications only: set Notification or"+
			" NotifyTopicName too")
	}
	if r.set.Hidecmb != nil && *r.set.Hidecmb && !r.grant.Readonly &&
		!slices.Contains(never, "edit") {
		l.warn(r, "sets Hidecmb, which IMM takes while reading only: it is left out for whoever"+
			" edits")
	}
}
