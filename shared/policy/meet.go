package policy

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// This file finds a question that some rules match and others do not, or says that there is none.
// Warnings and Diff rest on it. It draws a question from the conditions that must hold, asks the
// rules themselves what they make of it, and where one matches that must not, makes one more of its
// conditions fail and draws anew.

// meeting is the search for such questions among callers of one kind.
type meeting struct {
	issuer   string   // "" for guests
	required []string // claims that every such caller has as text
	extra    []string // claims to add that no condition asks for
	plain    bool     // the extra claims are texts, as what is filled in must be
	ending   string   // what the document's name must match, or "": any
	draws    int      // of this search, so far
	gaveUp   bool     // this search took too long: what it did not find may exist
}

// maxDraws bounds a search. Policies that people write need a few.
const maxDraws = 4000

// kindsOf makes a search for each kind of caller that some policies tell apart: guests first.
func kindsOf(policies ...*Policy) (kinds []*meeting) {
	required := map[string][]string{"": nil, caller.LinkIssuer: nil}
	for _, p := range policies {
		for _, i := range p.issuers {
			required[i.Name] = append(required[i.Name], "sub", cmp.Or(i.User.ID, "sub"))
		}
	}
	for _, issuer := range slices.Sorted(maps.Keys(required)) {
		kinds = append(kinds, &meeting{issuer: issuer, required: required[issuer]})
	}
	return kinds
}

// docx is an ending of documents that reads well.
const docx = `.*[^/]\.docx`

// endings are expressions for all documents, and for those that IMM treats alike.
func endings() []string {
	formats := map[weboffice.Format]string{}
	for _, extension := range weboffice.Extensions() {
		format, _ := weboffice.FormatOf("x." + extension)
		formats[format] += "|" + (&claimIs{texts: []string{"*." + extension}, fold: true}).expression()
	}
	return append([]string{"", docx}, slices.Sorted(maps.Values(formats))...)
}

// demands are what a question must be like.
type demands struct {
	in, out  []*pattern // of the document
	segments []string   // expressions for some of its segments
	claims   map[string][]need
	equal    map[int][]*claimIs // what shall compare a claim with the segment at a place
	never    bool               // a link for other documents is refused, whatever the rules say
}

// need is one comparison of a claim, and whether it shall hold.
type need struct {
	is          *claimIs
	deny, holds bool
}

// expression matches the texts that the condition compares with.
func (c *claimIs) expression() string {
	var all []string
	for _, text := range c.texts {
		text = regexp.QuoteMeta(text)
		if !c.exact {
			text = strings.ReplaceAll(text, `\*`, ".*")
		}
		if c.fold {
			for letter := 'a'; letter <= 'z'; letter++ {
				both := string([]rune{'[', letter, letter + 'A' - 'a', ']'})
				text = strings.ReplaceAll(text, string(letter), both)
			}
		}
		all = append(all, text)
	}
	return strings.Join(all, "|")
}

// expression matches the URIs of the pattern's documents; a ${claim} may be any segment.
func (p *pattern) expression() string {
	all := regexp.QuoteMeta("oss://" + p.bucket)
	for _, segment := range p.segments {
		switch {
		case segment == "**":
			all += "/.*"
		case placeholder(segment) != "":
			all += "/[^/]*"
		default:
			all += "/" + strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, "[^/]*")
		}
	}
	return all
}

func (c *claimIs) narrow(d *demands, deny, holds bool) {
	d.claims[c.claim] = append(slices.Clip(d.claims[c.claim]), need{c, deny, holds})
}

func (s segmentIs) narrow(d *demands, deny, holds bool) {
	is := &claimIs{claim: s.claim, exact: true}
	is.narrow(d, deny, holds)
	d.equal[s.at] = append(slices.Clip(d.equal[s.at]), is)
}

func (linkCovers) narrow(d *demands, _, holds bool) { d.never = d.never || !holds }

// demandsOf is what rules ask for, and that some claims are there.
func demandsOf(claims []string, rules ...*rule) demands {
	d := demands{claims: map[string][]need{}, equal: map[int][]*claimIs{}}
	for _, name := range claims {
		d.claims[name] = nil
	}
	for _, r := range rules {
		d.in = append(d.in, r.pattern)
		for _, c := range r.callers {
			for _, condition := range c.conditions {
				condition.narrow(&d, r.deny, true)
			}
		}
	}
	return d
}

// find returns a question that every rule of in matches and none of out, or nil; sure says that
// there is none then. in has at least one rule.
func (m *meeting) find(in, out []*rule) (q *Question, sure bool) {
	m.draws, m.gaveUp = 0, false
	for _, one := range alternatives(in, m.issuer) {
		d := demandsOf(slices.Concat(m.required, m.extra), one...)
		if q := m.draw(d, out); q != nil {
			return q, true
		}
	}
	return nil, !m.gaveUp
}

// alternatives gives the rules with one alternative of callers each, in every combination that
// admits callers of this issuer.
func alternatives(rules []*rule, issuer string) (all [][]*rule) {
	if len(rules) == 0 {
		return [][]*rule{nil}
	}
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

// draw draws a question and mends it until no rule of out matches. Where one does, one of its
// conditions is made to fail or, when none can, the document is kept out of its pattern.
func (m *meeting) draw(d demands, out []*rule) *Question {
	if d.never {
		return nil
	}
	q := m.choose(d, slices.Sorted(maps.Keys(d.equal)), m.texts(d))
	if q == nil {
		return nil
	}
	a := newAsk(q)
	i := slices.IndexFunc(out, a.matches)
	if i < 0 {
		return q
	}
	for _, c := range out[i].callers {
		if !c.admits(m.issuer, out[i].deny) || a.failingOf(c, out[i].deny) != holds {
			continue
		}
		for _, condition := range c.conditions {
			mended := d
			mended.claims, mended.equal = maps.Clone(d.claims), maps.Clone(d.equal)
			condition.narrow(&mended, out[i].deny, false)
			if q := m.draw(mended, out); q != nil {
				return q
			}
		}
	}
	if slices.Contains(d.out, out[i].pattern) { // it matches what its expression does not
		m.gaveUp = true
		return nil
	}
	d.out = append(slices.Clip(d.out), out[i].pattern)
	return m.draw(d, out)
}

// covers says whether every document of q is one of p. What p says in ${…} q must say too.
func (p *pattern) covers(q *pattern) bool {
	found, sure := (&meeting{}).find([]*rule{documents(q, q.conditions...)},
		[]*rule{documents(p, p.conditions...)})
	return found == nil && sure
}

// documents is a rule for guests: with conditions, for such as have claims.
func documents(p *pattern, conditions ...condition) *rule {
	return &rule{pattern: p, callers: []callers{{conditions: conditions}}}
}

func (a *ask) matches(r *rule) bool {
	first, _ := a.firstFailing(r)
	return first == holds
}

// choose draws a question, with texts for the segments at these places that are compared with
// claims.
func (m *meeting) choose(d demands, places []int, texts []string) *Question {
	if len(places) == 0 {
		return m.question(d)
	}
	for _, text := range texts {
		one := d
		one.segments = append(slices.Clip(d.segments), "oss://[^/]+/"+
			strings.Repeat("[^/]+/", places[0])+regexp.QuoteMeta(text)+"(/.*)?")
		for _, is := range d.equal[places[0]] {
			is.texts = []string{text}
		}
		if q := m.choose(one, places[1:], texts); q != nil || m.draws > maxDraws {
			return q
		}
	}
	return nil
}

// texts are texts of segments that are compared with claims: of every way in which the patterns and
// conditions at hand can tell texts apart, two.
func (m *meeting) texts(d demands) (texts []string) {
	if len(d.equal) == 0 {
		return nil
	}
	about := []string{}
	for _, p := range slices.Concat(d.in, d.out) {
		for _, segment := range p.segments {
			if segment != "**" && placeholder(segment) == "" {
				about = append(about, (&claimIs{texts: []string{segment}}).expression())
			}
		}
	}
	for _, equal := range d.equal {
		for _, n := range d.claims[equal[0].claim] {
			if !n.is.exact {
				about = append(about, n.is.expression())
			}
		}
	}
	about = append(about, m.ending) // the last segment's too
	slices.Sort(about)
	about = slices.Compact(about)
	for range 2 {
		seen := map[string]bool{}
		m.each([]string{oneSegment}, about, func(text, way string) bool {
			if !seen[way] && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
			seen[way] = true
			return false
		})
		about = append(about, (&claimIs{texts: texts, exact: true}).expression())
	}
	return texts
}

// Keys that ParseSourceURI takes, but for characters that it refuses: no segment is empty, . or ..,
// and none begins or ends with a space.
const (
	oneSegment = `([^/ .]([^/]*[^/ ])?|\.[^/ .]|\.[^/]+[^/ ])`
	anyURI     = `oss://[^/]+/` + oneSegment + `(/` + oneSegment + `)*`
)

// question draws a question that meets the demands, or nil.
func (m *meeting) question(d demands) *Question {
	if m.draws++; m.draws > maxDraws {
		m.gaveUp = true
		return nil
	}
	in, out := append([]string{anyURI}, d.segments...), []string(nil)
	if m.ending != "" {
		in = append(in, m.ending)
	}
	for _, p := range d.in {
		in = append(in, p.expression())
	}
	for _, p := range d.out {
		out = append(out, p.expression())
	}
	q := &Question{}
	q.Asked.SourceURI = m.text(in, out)
	var err error
	if q.Document, err = weboffice.ParseSourceURI(q.Asked.SourceURI); err != nil {
		m.gaveUp = m.gaveUp || q.Asked.SourceURI != ""
		return nil
	}
	q.Caller.Issuer, q.Caller.Claims = m.issuer, caller.Claims{}
	for _, name := range slices.Sorted(maps.Keys(d.claims)) {
		value, ok := m.value(name, d.claims[name])
		if !ok {
			return nil
		}
		if value != nil { // a file's tests take no null
			put(q.Caller.Claims, name, value)
		}
	}
	for name, needs := range d.claims { // nested claims may be in each other's way
		if !meets(q.Caller.Claims.Find(name), needs) {
			m.gaveUp = true
			return nil
		}
	}
	if m.issuer == caller.LinkIssuer {
		q.Caller.Link = &caller.Link{ID: "any", Document: q.Asked.SourceURI,
			Grant: weboffice.Grants()}
	}
	return q
}

// value finds what a claim may be, and nil for a claim that is missing: it tries every form that
// Find tells apart.
func (m *meeting) value(name string, needs []need) (value any, ok bool) {
	whole, out, list := []string{".+"}, []string(nil), []any(nil)
	if name == "email" { // of which caller lets only plain addresses through
		whole[0] = "[^@]+@[^@]+"
	}
	for _, n := range needs {
		switch {
		case len(n.is.texts) == 0:
		case n.holds:
			whole = append(whole, n.is.expression())
		default:
			out = append(out, n.is.expression())
		}
	}
	for _, expression := range whole[1:] {
		element := any(m.text([]string{whole[0], expression}, out))
		if element != "" && !slices.Contains(list, element) {
			list = append(list, element)
		}
	}
	text := m.text(whole, out)
	if len(needs) == 0 && name != "email" {
		text = "some " + name
	}
	// the last has an element that cannot be compared, which a deny rule takes for a match
	forms := []any{text, nil, list, true, false, append(slices.Clip(list), 0.5)}
	switch {
	case slices.Contains(m.required, name), m.plain && slices.Contains(m.extra, name):
		forms = forms[:1]
	case name == "email":
		forms = forms[:2]
	}
	for _, form := range forms {
		if form != "" && meets(caller.Claims{"": form}.Find(""), needs) {
			return form, true
		}
	}
	return nil, false
}

// meets says whether a claim is what is needed.
func meets(found any, needs []need) bool {
	return !slices.ContainsFunc(needs, func(n need) bool {
		return n.is.holds(found, n.deny) != n.holds
	})
}

// put makes claims in which Find gives value for name, unless another claim is in its way.
func put(claims map[string]any, name string, value any) {
	if steps := strings.Split(name, "/"); steps[0] == "" { // a pointer
		for _, step := range steps[1 : len(steps)-1] {
			inner, isObject := claims[unescaped.Replace(step)].(map[string]any)
			if !isObject {
				inner = map[string]any{}
				claims[unescaped.Replace(step)] = inner
			}
			claims = inner
		}
		name = unescaped.Replace(steps[len(steps)-1])
	}
	claims[name] = value
}

var unescaped = strings.NewReplacer("~1", "/", "~0", "~")
