package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// Change is what a new policy means to one kind of caller in one part of the documents.
type Change struct {
	Old, New       string // the rules that decide before and after; "" for none
	Who, Documents string
	What           []string // such as "loses edit, print"
	Example        string   // a question that shows it, in JSON, as `tests` write one
}

// Difference is what a new policy means, for whoever reviews it.
type Difference struct {
	Settings []string // lines that are gone, with "- ", and lines that are new, with "+ "
	Changes  []Change // in the order of the old rules, then of the new ones
	// pairs of rules for which the search took too long: a person has to judge them
	Unsure []string
}

// Diff says who gains and who loses what from one policy to another. For each pair of rules, one of
// each file, and each kind of caller it looks for a question that both decide, and asks Decide of
// both files whether that comes to the same.
func Diff(old, new *Policy) Difference {
	d := newDiffer(old, new)
	for i := range len(old.rules) + 1 {
		for j := range len(new.rules) + 1 {
			d.pair(i, j)
		}
	}
	return d.out
}

// side is one of the two policies, with what makes most pairs of rules need no search.
type side struct {
	*Policy
	first map[string]int // the first rule with these conditions
	asks  []string       // of each rule, what it asks of a question
	gives []string       // of each rule, what it gives
}

type differ struct {
	old, new side
	kinds    []*meeting
	out      Difference
}

func newDiffer(old, new *Policy) *differ {
	d := &differ{old: newSide(old), new: newSide(new), kinds: kindsOf(old)}
	for _, kind := range kindsOf(new) {
		i := slices.IndexFunc(d.kinds, func(k *meeting) bool { return k.issuer == kind.issuer })
		if i < 0 {
			i, d.kinds = len(d.kinds), append(d.kinds, kind)
		}
		d.kinds[i].required = append(d.kinds[i].required, kind.required...)
	}
	was, is := settingsOf(old), settingsOf(new)
	d.out.Settings = append(without("- ", was, is), without("+ ", is, was)...)
	return d
}

func newSide(p *Policy) side {
	s := side{Policy: p, first: map[string]int{}}
	for i, r := range p.rules {
		asks := fmt.Sprint(r.pattern.text, r.deny)
		for _, c := range r.callers {
			asks += fmt.Sprint("\n", c.anyone, c.issuer)
			for _, condition := range c.conditions {
				asks += fmt.Sprintf(" %T%+v", condition, condition)
			}
		}
		if _, seen := s.first[asks]; !seen {
			s.first[asks] = i
		}
		set, _ := json.Marshal(r.set) // a Request always marshals
		s.asks = append(s.asks, asks)
		s.gives = append(s.gives, fmt.Sprint(r.deny, r.grant, string(set), r.set.Password.Reveal(),
			r.accept, p.projectOf(r), r.session))
	}
	return s
}

// settingsOf lists what stands beside the rules.
func settingsOf(p *Policy) []string {
	settings := []string{
		fmt.Sprintf("origins: %v", p.origins), fmt.Sprintf("quickStart: %v", p.quickStart),
		fmt.Sprintf("limits: %+v", p.limits), fmt.Sprintf("standIn: %v", p.standIn),
		fmt.Sprintf("revokedLinks: %v", p.revokedLinks),
	}
	for _, i := range p.issuers {
		settings = append(settings, fmt.Sprintf("issuer %+v", i))
	}
	return settings
}

// without lists, with a sign before each, the settings of one policy that another has not.
func without(sign string, settings, other []string) []string {
	var rest []string
	for _, text := range settings {
		if !slices.Contains(other, text) {
			rest = append(rest, sign+text)
		}
	}
	return rest
}

// rule returns rule i of a policy, or nil for none, and those before it.
func (s side) rule(i int) (*rule, []*rule) {
	if i == len(s.rules) {
		return nil, s.rules
	}
	return s.rules[i], s.rules[:i]
}

// decides says whether rule i of a policy may decide a question that a rule with these conditions
// matches: not behind one that asks the same.
func (s side) decides(i int, asks string) bool {
	first, known := s.first[asks]
	return !known || first >= i
}

// pair compares what rule i of the old file and rule j of the new one make of the questions that
// they decide.
func (d *differ) pair(i, j int) {
	before, above := d.old.rule(i)
	after, over := d.new.rule(j)
	refused := func(r *rule) bool { return r == nil || r.deny }
	switch {
	case refused(before) && refused(after),
		before != nil && !d.new.decides(j, d.old.asks[i]),
		after != nil && !d.old.decides(i, d.new.asks[j]),
		before != nil && after != nil && (d.old.gives[i] == d.new.gives[j] ||
			!before.pattern.mayMeet(after.pattern)):
		return
	}
	var in []*rule
	for _, r := range []*rule{before, after} {
		if r != nil {
			in = append(in, r)
		}
	}
	for _, kind := range d.kinds {
		var out []*rule
		if d.old.knows(kind.issuer) {
			out = append(out, above...)
		} else if before != nil {
			continue
		}
		if d.new.knows(kind.issuer) {
			out = append(out, over...)
		} else if after != nil {
			continue
		}
		out = slices.DeleteFunc(out, func(r *rule) bool {
			return !r.pattern.mayMeet(in[0].pattern) || r.pattern.bucket != in[0].pattern.bucket
		})
		for _, one := range alternatives(in, kind.issuer) {
			d.compare(kind, one, out, before, after)
		}
	}
}

// issuer returns an issuer, or the zero value for one that the policy does not know.
func (s side) issuer(name string) (known caller.Issuer) {
	for _, i := range s.issuers {
		if i.Name == name {
			known = i
		}
	}
	return known
}

// knows says whether a proof of this issuer is more than a 401.
func (s side) knows(issuer string) bool {
	return issuer == "" || issuer == caller.LinkIssuer || s.issuer(issuer).Name != ""
}

// alternatives gives the rules with one alternative of callers each, in every combination that
// admits callers of this issuer.
func alternatives(rules []*rule, issuer string) [][]*rule {
	if len(rules) == 0 {
		return [][]*rule{nil}
	}
	var all [][]*rule
	for _, c := range rules[0].callers {
		if !c.admits(issuer, rules[0].deny) {
			continue
		}
		one := *rules[0]
		one.callers = []callers{c}
		for _, rest := range alternatives(rules[1:], issuer) {
			all = append(all, append([]*rule{&one}, rest...))
		}
	}
	return all
}

// compare looks for a question that the rules of in decide, and that the policies decide otherwise:
// in documents of every format, with claims of every form.
func (d *differ) compare(kind *meeting, in, out []*rule, before, after *rule) {
	m := *kind
	var named []string
	for _, r := range in {
		for _, pieces := range r.filled {
			for _, p := range pieces {
				if p.name != "" && !strings.HasPrefix(p.name, "document.") {
					named = append(named, p.name)
				}
			}
		}
	}
	for _, m.ending = range endings() {
		for _, m.extra = range [][]string{named, nil} {
			for _, m.lists = range []bool{false, true} {
				q, sure := m.find(in, out)
				if !sure {
					d.unsure(in)
					return
				}
				if q != nil && d.show(*q, in, before, after) {
					return
				}
			}
		}
	}
}

func (d *differ) unsure(in []*rule) {
	var names []string
	for _, r := range in {
		names = append(names, fmt.Sprintf("%q", r.name))
	}
	if pair := strings.Join(names, " and "); !slices.Contains(d.out.Unsure, pair) {
		d.out.Unsure = append(d.out.Unsure, pair)
	}
}

// asked are requests that show what a policy gives: all of it, what is shown while reading, and one
// parameter each.
func asked() []weboffice.Request {
	var all []weboffice.Request
	for _, body := range []string{`{}`, `{"Permission":{"Readonly":true}}`,
		`{"ProjectName":"another"}`, `{"CachePreview":true}`, `{"Referer":"https://a.example"}`,
		`{"UserData":"another"}`, `{"ExternalUploaded":true}`, `{"NotifyTopicName":"another"}`,
		`{"User":{"Id":"another"}}`, `{"Watermark":{"Type":1,"Value":"another"}}`,
		`{"CredentialConfig":{"ServiceRole":"another"}}`, `{"Filename":"another.docx"}`,
		`{"Notification":{"MNS":{"TopicName":"another"}}}`} {
		request, _ := weboffice.ParseRequest([]byte(body)) // each is a right one
		all = append(all, request)
	}
	return all
}

// show notes what the policies make of a question, and says whether they differ.
func (d *differ) show(q Question, in []*rule, before, after *rule) bool {
	c := Change{Who: whoAre(in), Documents: documentsOf(in)}
	if before != nil {
		c.Old = before.name
	}
	if after != nil {
		c.New = after.name
	}
	for _, request := range asked() {
		request.SourceURI = q.Document.String()
		q.Asked, q.Start = request, time.Unix(0, 0)
		q.Guest = weboffice.User{Id: "GUEST", Name: "Guest"}
		was, wasErr := d.decide(d.old, q)
		is, isErr := d.decide(d.new, q)
		what := unlikeDecisions(q, was, is, wasErr, isErr)
		if len(what) == 0 {
			continue
		}
		if c.Example == "" {
			c.Example = exampleOf(q)
		}
		for _, line := range what {
			if !slices.Contains(c.What, line) {
				c.What = append(c.What, line)
			}
		}
		if (wasErr == nil) != (isErr == nil) && len(request.Sent()) == 1 {
			break // who is refused gets nothing, whatever is asked
		}
	}
	if c.Example == "" {
		return false
	}
	if !slices.ContainsFunc(d.out.Changes, func(o Change) bool {
		return o.Old == c.Old && o.New == c.New && o.Who == c.Who
	}) {
		d.out.Changes = append(d.out.Changes, c)
	}
	return true
}

// decide answers for one policy, to which the caller may be nobody.
func (d *differ) decide(s side, q Question) (Decision, error) {
	if q.Caller.Guest() {
		return s.Decide(q, q.Start)
	}
	var err error
	if q.Caller, err = s.callerOf(q.Caller.Issuer, claimsOf(q)); err != nil {
		return Decision{}, err
	}
	decision, err := s.Decide(q, q.Start)
	was, is := d.old.issuer(q.Caller.Issuer), d.new.issuer(q.Caller.Issuer)
	if was.URL != is.URL || was.User != is.User {
		decision.Request.User = nil // it is another for everybody: the settings say so
	}
	return decision, err
}

// claimsOf is what a proof of the question's caller says.
func claimsOf(q Question) map[string]any {
	claims := maps.Clone(map[string]any(q.Caller.Claims))
	if claims["email"] != nil && claims["email_verified"] == nil {
		claims["email_verified"] = true
	}
	if link := q.Caller.Link; link != nil {
		claims["document"], claims["grant"] = link.Document, link.Grant
	}
	return claims
}

func exampleOf(q Question) string {
	example := map[string]any{"as": "anyone", "open": q.Document.String()}
	if !q.Caller.Guest() {
		claims := claimsOf(q)
		claims["issuer"] = q.Caller.Issuer
		example["as"] = claims
	}
	q.Asked.SourceURI = ""
	if len(q.Asked.Sent()) > 0 {
		example["ask"] = q.Asked
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(example) // claims and requests always marshal
	return strings.TrimSpace(text.String())
}

// unlikeDecisions says what is unlike in two decisions of a question.
func unlikeDecisions(q Question, was, is Decision, wasErr, isErr error) []string {
	switch {
	case wasErr != nil && isErr != nil:
		return nil
	case wasErr != nil || isErr != nil:
		sent := slices.DeleteFunc(q.Asked.Sent(), func(name string) bool {
			return name == "SourceURI" || name == "Permission"
		})
		verb, grants := "gains ", is.Request.Permission
		if isErr != nil {
			verb, grants = "loses ", was.Request.Permission
		}
		if len(sent) > 0 {
			return []string{verb + "the right to send " + strings.Join(sent, ", ")}
		}
		return []string{verb + "all: " + strings.Join(grants.Grants(), ", ")}
	}
	var what []string
	before, after := was.Request.Permission.Grants(), is.Request.Permission.Grants()
	for _, change := range []struct {
		verb     string
		from, to []string
	}{{"gains ", after, before}, {"loses ", before, after}} {
		if rest := slices.DeleteFunc(slices.Clone(change.from), func(g string) bool {
			return slices.Contains(change.to, g)
		}); len(rest) > 0 {
			what = append(what, change.verb+strings.Join(rest, ", "))
		}
	}
	was.Request.Permission, is.Request.Permission = nil, nil
	shown := func(r weboffice.Request, name string) string {
		value := reflect.ValueOf(r).FieldByName(name)
		if value.IsZero() {
			return "none"
		}
		text, _ := json.Marshal(value.Interface())
		return string(text)
	}
	for _, name := range weboffice.ParameterNames() {
		a, b := shown(was.Request, name), shown(is.Request, name)
		switch {
		case name == "Password" && was.Request.Password != is.Request.Password:
			what = append(what, "Password is another")
		case a != b:
			what = append(what, name+": "+a+" → "+b)
		}
	}
	if was.End != is.End {
		what = append(what, fmt.Sprintf("session: %v → %v", was.End.Sub(q.Start),
			is.End.Sub(q.Start)))
	}
	return what
}

// whoAre says who the rules with one alternative each are for.
func whoAre(in []*rule) string {
	var all []string
	for _, r := range in {
		if text := r.callers[0].String(); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	if len(all) > 1 { // whom a rule for anyone meets too
		all = slices.DeleteFunc(all, func(text string) bool { return text == "anyone" })
	}
	return strings.Join(all, " and ")
}

func (c callers) String() string {
	switch {
	case c.anyone:
		return "anyone"
	case c.issuer == caller.LinkIssuer:
		return "share links"
	}
	var claims []string
	for _, condition := range c.conditions {
		if is, ok := condition.(*claimIs); ok {
			values := slices.Clone(is.texts)
			for _, truth := range is.truths {
				values = append(values, fmt.Sprint(truth))
			}
			claims = append(claims, is.claim+": "+strings.Join(values, " or "))
		}
	}
	return strings.TrimSuffix(c.issuer+" with "+strings.Join(claims, ", "), " with ")
}

// documentsOf says which documents the rules have in common: one of the patterns, where it says
// all, or both.
func documentsOf(in []*rule) string {
	first, last := in[0], in[len(in)-1]
	l := linter{kinds: []*meeting{{known: map[string]string{}}}}
	switch {
	case l.covers(first, last):
		return last.pattern.text
	case l.covers(last, first):
		return first.pattern.text
	}
	return first.pattern.text + " and " + last.pattern.text
}
