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
	d := differ{old: old, new: new, endings: endings()}
	was, is := settingsOf(old), settingsOf(new)
	d.out.Settings = append(without("- ", was, is), without("+ ", is, was)...)
	kinds := kindsOf(old, new)
	for i := range len(old.rules) + 1 {
		for j := range len(new.rules) + 1 {
			for _, kind := range kinds {
				d.pair(kind, i, j)
			}
		}
	}
	return d.out
}

type differ struct {
	old, new *Policy
	endings  []string
	out      Difference
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

// without lists, with a sign before each, what is in one list and not in another.
func without(sign string, list, other []string) (rest []string) {
	for _, text := range list {
		if !slices.Contains(other, text) {
			rest = append(rest, sign+text)
		}
	}
	return rest
}

// upTo returns rule i as callers of an issuer meet it, or nil for none, and the rules before it. It
// is not there for callers whose proof the policy refuses.
func (p *Policy) upTo(i int, issuer string) (r *rule, before []*rule, there bool) {
	switch _, known := p.issuer(issuer); {
	case !known:
		return nil, nil, i == len(p.rules)
	case i == len(p.rules):
		return nil, p.rules, true
	}
	return p.rules[i], p.rules[:i], true
}

// issuer returns an issuer, and whether a proof of it, or none, is more than a 401.
func (p *Policy) issuer(name string) (issuer caller.Issuer, known bool) {
	i := slices.IndexFunc(p.issuers, func(i caller.Issuer) bool { return i.Name == name })
	if i >= 0 {
		issuer = p.issuers[i]
	}
	return issuer, i >= 0 || name == "" || name == caller.LinkIssuer
}

// pair compares what rule i of the old file and rule j of the new one make of the questions that
// they decide.
func (d *differ) pair(kind *meeting, i, j int) {
	before, above, thereBefore := d.old.upTo(i, kind.issuer)
	after, over, thereAfter := d.new.upTo(j, kind.issuer)
	refused := func(r *rule) bool { return r == nil || r.deny }
	if !thereBefore || !thereAfter || refused(before) && refused(after) ||
		before != nil && (slices.ContainsFunc(over, before.asksLike) ||
			after != nil && d.alike(before, after)) ||
		after != nil && slices.ContainsFunc(above, after.asksLike) {
		return
	}
	in := slices.DeleteFunc([]*rule{before, after}, func(r *rule) bool { return r == nil })
	for _, one := range alternatives(in, kind.issuer) {
		c := Change{Who: whoAre(one), Documents: documentsOf(kind, one)}
		if before != nil {
			c.Old = before.name
		}
		if after != nil {
			c.New = after.name
		}
		d.compare(*kind, one, slices.Concat(above, over), c)
	}
}

// asksLike says whether two rules match the same questions, at a look.
func (r *rule) asksLike(other *rule) bool {
	return r.pattern.text == other.pattern.text && r.deny == other.deny &&
		reflect.DeepEqual(r.callers, other.callers)
}

// alike says whether two rules give the same to whoever they match.
func (d *differ) alike(before, after *rule) bool {
	was, is := *before, *after
	was.project, is.project = d.old.projectOf(before), d.new.projectOf(after)
	for _, r := range []*rule{&was, &is} {
		r.name, r.line, r.column, r.pattern, r.callers = "", 0, 0, nil, nil
	}
	return reflect.DeepEqual(was, is)
}

// compare looks for a question that the rules of in decide, and that the policies decide otherwise:
// in documents of every format, with claims of every form.
func (d *differ) compare(m meeting, in, out []*rule, c Change) {
	if slices.ContainsFunc(d.out.Changes, func(o Change) bool {
		return o.Old == c.Old && o.New == c.New && o.Who == c.Who
	}) {
		return
	}
	var names []string
	for _, r := range in {
		names = append(names, fmt.Sprintf("%q", r.name))
		m.extra = append(m.extra, r.filledFrom()...)
	}
	for _, m.ending = range d.endings {
		for m.form = range 3 {
			q, sure := m.find(in, out)
			switch pair := strings.Join(names, " and "); {
			case !sure:
				if !slices.Contains(d.out.Unsure, pair) {
					d.out.Unsure = append(d.out.Unsure, pair)
				}
				return
			case q == nil && m.ending == "": // nor is there one with any ending
				return
			case q != nil && d.shows(*q, &c):
				d.out.Changes = append(d.out.Changes, c)
				return
			}
		}
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

// shows notes what the policies make of a question, and says whether they differ.
func (d *differ) shows(q Question, c *Change) bool {
	q.Start, q.Guest = time.Unix(0, 0), weboffice.User{Id: "GUEST", Name: "Guest"}
	for _, q.Asked = range asked() {
		q.Asked.SourceURI = q.Document.String()
		was, wasErr := d.decide(d.old, q)
		is, isErr := d.decide(d.new, q)
		what := unlike(q, was, is, wasErr, isErr)
		if len(what) > 0 && c.Example == "" {
			c.Example = exampleOf(q)
		}
		c.What = append(c.What, without("", what, c.What)...)
		if (wasErr == nil) != (isErr == nil) && len(q.Asked.Sent()) == 1 {
			break // who is refused gets nothing, whatever is asked
		}
	}
	return c.Example != ""
}

// decide answers for one policy, to which the caller may be nobody.
func (d *differ) decide(p *Policy, q Question) (decision Decision, err error) {
	issuer := q.Caller.Issuer
	if issuer != "" {
		if q.Caller, err = p.CallerOf(proofOf(q)); err != nil {
			return Decision{}, err
		}
	}
	decision, err = p.Decide(q, q.Start)
	was, _ := d.old.issuer(issuer)
	is, _ := d.new.issuer(issuer)
	if was.URL != is.URL || was.User != is.User {
		decision.Request.User = nil // it is another for everybody: the settings say so
	}
	return decision, err
}

// proofOf is what a test of a policy says of the question's caller: its claims and issuer.
func proofOf(q Question) map[string]any {
	claims := maps.Clone(map[string]any(q.Caller.Claims))
	claims["issuer"] = q.Caller.Issuer
	if claims["email"] != nil && claims["email_verified"] == nil {
		claims["email_verified"] = true
	}
	if link := q.Caller.Link; link != nil {
		claims["document"], claims["grant"] = link.Document, link.Grant
	}
	return claims
}

// exampleOf writes a question as `tests` do.
func exampleOf(q Question) string {
	example := map[string]any{"as": "anyone", "open": q.Document.String()}
	if !q.Caller.Guest() {
		example["as"] = proofOf(q)
	}
	if q.Asked.SourceURI = ""; len(q.Asked.Sent()) > 0 {
		example["ask"] = q.Asked
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(example) // claims and requests always marshal
	return strings.TrimSpace(text.String())
}

// unlike says what is unlike in two decisions of a question.
func unlike(q Question, was, is Decision, wasErr, isErr error) (what []string) {
	if wasErr != nil && isErr != nil {
		return nil
	}
	if wasErr != nil || isErr != nil {
		verb, decision := "gains ", is
		if isErr != nil {
			verb, decision = "loses ", was
		}
		sent := without("", q.Asked.Sent(), []string{"SourceURI", "Permission"})
		if len(sent) > 0 {
			return []string{verb + "the right to send " + strings.Join(sent, ", ")}
		}
		return []string{verb + "all: " + strings.Join(decision.Request.Permission.Grants(), ", ")}
	}
	before, after := was.Request.Permission.Grants(), is.Request.Permission.Grants()
	if gained := without("", after, before); gained != nil {
		what = append(what, "gains "+strings.Join(gained, ", "))
	}
	if lost := without("", before, after); lost != nil {
		what = append(what, "loses "+strings.Join(lost, ", "))
	}
	if was.Request.Password != is.Request.Password {
		what = append(what, "Password is another")
	}
	was.Request.Permission, is.Request.Permission = nil, nil
	was.Request.Password, is.Request.Password = "", ""
	for _, name := range weboffice.ParameterNames() {
		if a, b := shown(was.Request, name), shown(is.Request, name); a != b {
			what = append(what, name+": "+a+" → "+b)
		}
	}
	if was.End != is.End {
		what = append(what, fmt.Sprintf("session: %v → %v", was.End.Sub(q.Start),
			is.End.Sub(q.Start)))
	}
	return what
}

// shown is the value of a parameter, without secrets.
func shown(r weboffice.Request, name string) string {
	value := reflect.ValueOf(r).FieldByName(name)
	if value.IsZero() {
		return "none"
	}
	text, _ := json.Marshal(value.Interface()) // a Request always marshals
	return string(text)
}

// whoAre says who the rules with one alternative each are for.
func whoAre(in []*rule) string {
	first, last := in[0].callers[0].String(), in[len(in)-1].callers[0].String()
	switch {
	case first == last, last == "anyone": // a rule for anyone meets others too
		return first
	case first == "anyone":
		return last
	}
	return first + " and " + last
}

func (c callers) String() string {
	switch {
	case c.anyone:
		return "anyone"
	case c.links():
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
func documentsOf(m *meeting, in []*rule) string {
	first, last := in[0].pattern, in[len(in)-1].pattern
	switch {
	case m.covers(first, last):
		return last.text
	case m.covers(last, first):
		return first.text
	}
	return first.text + " and " + last.text
}
