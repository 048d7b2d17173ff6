package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Change is what a new policy means to one kind of caller in one part of the documents.
type Change struct {
	Old, New       string // the rules that decide before and after; "" for none
	Who, Documents string
	What           []string // such as "loses edit, print"
	// a question that shows it, in JSON, as `tests` write one; "" where the search took too long,
	// and a person has to judge
	Example string
}

// Difference is what a new policy means, for whoever reviews it.
type Difference struct {
	Settings []string // lines that are gone, with "- ", and lines that are new, with "+ "
	Changes  []Change // in the order of the old rules, then of the new ones
}

// Diff says who gains and who loses what from one policy to another. For each kind of caller and
// each pair of rules, one of each file, it looks for a question that both decide, and asks Decide
// of both files whether that comes to the same.
func Diff(old, new *Policy) Difference {
	d := differ{old: old, new: new}
	was, is := settingsOf(old), settingsOf(new)
	d.out.Settings = append(without("- ", was, is), without("+ ", is, was)...)
	none := &rule{deny: true} // behind the rules of each
	olds, news := append(slices.Clip(old.rules), none), append(slices.Clip(new.rules), none)
	kinds := kindsOf(old, new)
	for i, before := range olds {
		for j, after := range news {
			for _, kind := range kinds {
				var over []*rule // none of a policy that refuses the caller's proof
				if was := old.issuer(kind.issuer); was != nil {
					over = append(over, olds[:i]...)
				} else if before != none {
					continue
				}
				if is := new.issuer(kind.issuer); is != nil {
					over = append(over, news[:j]...)
				} else if after != none {
					continue
				}
				d.pair(*kind, before, after, over)
			}
		}
	}
	return d.out
}

type differ struct {
	old, new *Policy
	out      Difference
}

// settingsOf lists what stands beside the rules.
func settingsOf(p *Policy) []string {
	text := fmt.Sprintf("origins: %v\nquickStart: %v\nlimits: %+v\nstandIn: %v\nrevokedLinks: %v",
		p.written.Origins, p.written.QuickStart, p.limits, p.written.StandIn,
		p.written.RevokedLinks)
	for _, i := range p.issuers {
		text += fmt.Sprintf("\nissuer %+v", i)
	}
	return strings.Split(text, "\n")
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

// pair compares what two rules make of the questions that they decide: that no rule before them
// matches.
func (d *differ) pair(m meeting, before, after *rule, over []*rule) {
	if before.deny && after.deny || d.alike(before, after) {
		return
	}
	c := Change{Old: before.name, New: after.name}
	in := slices.DeleteFunc([]*rule{before, after}, func(r *rule) bool { return r.name == "" })
	for _, r := range in {
		if slices.ContainsFunc(over, func(o *rule) bool { // it matches the same, at a look
			return r.pattern.text == o.pattern.text && r.deny == o.deny &&
				reflect.DeepEqual(r.callers, o.callers)
		}) {
			return
		}
		m.extra = append(m.extra, r.filledFrom()...)
	}
	for _, one := range alternatives(in, m.issuer) {
		first, last := one[0], one[len(one)-1]
		a, b := first.callers[0].String(), last.callers[0].String()
		c.Who = common(a, b, a == b || b == "anyone", a == "anyone")
		c.Documents = common(first.pattern.text, last.pattern.text,
			last.pattern.covers(first.pattern), first.pattern.covers(last.pattern))
		if !slices.ContainsFunc(d.out.Changes, func(known Change) bool {
			return known.Old == c.Old && known.New == c.New && known.Who == c.Who
		}) {
			d.compare(m, one, over, c)
		}
	}
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
// in documents of every format, of a caller with all claims that are filled in somewhere.
func (d *differ) compare(m meeting, in, out []*rule, c Change) {
	for _, m.ending = range endings() {
		for _, m.plain = range []bool{true, false} {
			q, sure := m.find(in, out)
			switch {
			case !sure:
				c.What = []string{"not judged, it would take too long: compare the rules by hand"}
			case q == nil && m.ending == "" && !m.plain: // nor is there one with any ending
				return
			case q == nil || !d.shows(*q, &c):
				continue
			}
			d.out.Changes = append(d.out.Changes, c)
			return
		}
	}
}

// asked are requests that show what a policy gives: all of it, what is shown while reading, and one
// parameter each.
func asked() (all []weboffice.Request) {
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
	was, is := d.old.issuer(issuer), d.new.issuer(issuer)
	if was != nil && is != nil && (was.URL != is.URL || was.User != is.User) {
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
	text, _ := json.Marshal(example) // claims and requests always marshal
	return string(text)
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
	return strings.TrimSuffix(c.Issuer+" with "+strings.Join(claims, ", "), " with ")
}

// common says what two rules have in common: one of them, where the other is wider, or both.
func common(first, last string, lastWider, firstWider bool) string {
	switch {
	case lastWider:
		return first
	case firstWider:
		return last
	}
	return first + " and " + last
}
