package policy

import (
	"fmt"
	"maps"
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
	issuer   string            // "" for guests
	required []string          // claims that every such caller has as text
	extra    []string          // claims to add that no condition asks for
	lists    bool              // claims are lists where they can be
	ending   ending            // of the document's name
	draws    int               // of this search, so far
	gaveUp   bool              // this search took too long: what it did not find may exist
	known    map[string]string // keys that were found, by what was wanted
}

// ending is how the names of documents of one format end; the zero value is any name.
type ending struct {
	format weboffice.Format
	any    []glob
}

// endings are those that IMM treats alike, and any name.
func endings() []ending {
	var all []ending
	for _, extension := range append([]string{"docx"}, weboffice.Extensions()...) {
		format, _ := weboffice.FormatOf("x." + extension)
		i := slices.IndexFunc(all, func(e ending) bool { return e.format == format })
		if i < 0 { // the one to try first has a name that reads well
			first := append(glob{anyText, {segment: true}}, literal("."+extension)...)
			i, all = len(all), append(all, ending{format, []glob{first}})
		}
		all[i].any = append(all[i].any, starred("*."+extension, anyText, true))
	}
	return append(all, ending{})
}

// find finds a key with this ending; most patterns leave room for the first.
func (e ending) find(w wanted) string {
	if e.any == nil {
		return w.text()
	}
	one := w
	one.groups = append(slices.Clip(w.groups), e.any[:1])
	if key := one.text(); key != "" {
		return key
	}
	w.groups = append(slices.Clip(w.groups), e.any)
	return w.text()
}

// impossible is a quick look at whether a pattern says another ending by itself.
func (e ending) impossible(p *pattern) bool {
	last := p.segments[len(p.segments)-1]
	format, known := weboffice.FormatOf(last)
	return e.any != nil && !strings.Contains(last, "*") && placeholder(last) == "" &&
		(!known || format != e.format)
}

// maxDraws bounds a search. Policies that people write need a few.
const maxDraws = 4000

// draft is what must hold and what must fail.
type draft struct {
	in, out []*pattern
	marks   []mark
}

// mark says of one condition of a rule whether it shall hold.
type mark struct {
	condition
	deny, holds bool
}

func (d draft) with(m mark) draft {
	d.marks = append(slices.Clip(d.marks), m)
	return d
}

// find returns a question that every rule of in matches and none of out, or nil; sure says that
// there is none then. in has at least one rule.
func (m *meeting) find(in, out []*rule) (q *Question, sure bool) {
	m.draws, m.gaveUp = 0, false
	if q = m.choose(draft{}, in, out); q == nil {
		return nil, !m.gaveUp
	}
	a := newAsk(q)
	for _, r := range in { // nested claims may be in each other's way
		if !a.matches(r) {
			return nil, false
		}
	}
	return q, true
}

// choose tries each alternative of callers by which the rules of in may match.
func (m *meeting) choose(d draft, in, out []*rule) *Question {
	if len(in) == 0 {
		return m.draw(d, out)
	}
	r := in[0]
	if len(d.in) > 0 && !d.in[0].mayMeet(r.pattern) {
		return nil
	}
	for _, c := range r.callers {
		if !c.admits(m.issuer, r.deny) {
			continue
		}
		chosen := draft{append(slices.Clip(d.in), r.pattern), d.out, d.marks}
		for _, condition := range c.conditions {
			chosen = chosen.with(mark{condition, r.deny, true})
		}
		if q := m.choose(chosen, in[1:], out); q != nil {
			return q
		}
	}
	return nil
}

// mayMeet is a cheap first look at whether two patterns have documents in common.
func (p *pattern) mayMeet(q *pattern) bool {
	return strings.HasPrefix(p.prefix, q.prefix) || strings.HasPrefix(q.prefix, p.prefix)
}

// draw draws a question and mends it until no rule of out matches.
func (m *meeting) draw(d draft, out []*rule) *Question {
	q := m.question(d)
	if q == nil {
		return nil
	}
	a := newAsk(q)
	for _, r := range out {
		var documents bool
		if a.segments, documents = r.pattern.match(a.uri); !documents {
			continue
		}
		i := slices.IndexFunc(r.callers, func(c callers) bool {
			return c.admits(m.issuer, r.deny) && a.failingOf(c, r.deny) == holds
		})
		if i < 0 {
			continue
		}
		if slices.Contains(d.out, r.pattern) { // it says of a document what its glob does not
			m.gaveUp = true
			return nil
		}
		for _, condition := range r.callers[i].conditions {
			if mended := m.draw(d.with(mark{condition, r.deny, false}), out); mended != nil {
				return mended
			}
		}
		d.out = append(slices.Clip(d.out), r.pattern)
		return m.draw(d, out)
	}
	return q
}

// demands are what the marks of a draft ask of a question.
type demands struct {
	claims   map[string][]need
	segments []segmentNeed
	link     map[bool]bool // whether the link must cover the document, or must not
}

// need is one comparison of a claim.
type need struct {
	is          *claimIs
	deny, holds bool
}

// segmentNeed asks the same of a claim and the segment of the document at a place.
type segmentNeed struct {
	at          int
	claim       string
	deny, holds bool
}

func (c *claimIs) narrow(d *demands, deny, holds bool) {
	d.claims[c.claim] = append(d.claims[c.claim], need{c, deny, holds})
}

func (s segmentIs) narrow(d *demands, deny, holds bool) {
	d.segments = append(d.segments, segmentNeed{s.at, s.claim, deny, holds})
	if d.claims[s.claim] == nil {
		d.claims[s.claim] = []need{}
	}
}

func (linkCovers) narrow(d *demands, _, holds bool) { d.link[holds] = true }

// question draws a question that meets a draft, or nil.
func (m *meeting) question(d draft) *Question {
	wants := &demands{claims: map[string][]need{}, link: map[bool]bool{}}
	for _, name := range slices.Concat(m.required, m.extra) {
		wants.claims[name] = nil
	}
	for _, k := range d.marks {
		k.narrow(wants, k.deny, k.holds)
	}
	if len(wants.link) > 1 {
		return nil
	}
	places := map[int]bool{}
	for _, s := range wants.segments {
		places[s.at] = true
	}
	var found *Question
	m.eachSegments(d, wants, slices.Sorted(maps.Keys(places)), func(fixed map[int]string) bool {
		found = m.fit(d, wants, fixed)
		return found != nil || m.gaveUp
	})
	return found
}

// fit draws a question whose document has these segments.
func (m *meeting) fit(d draft, wants *demands, fixed map[int]string) *Question {
	if m.draws++; m.draws > maxDraws {
		m.gaveUp = true
		return nil
	}
	key := m.document(d, fixed)
	if key == "" {
		return nil
	}
	q := &Question{Document: weboffice.Document{Bucket: d.in[0].bucket, Key: key}}
	q.Asked.SourceURI = q.Document.String()
	if q.Caller.Issuer = m.issuer; m.issuer == "" {
		return q
	}
	needs := maps.Clone(wants.claims)
	for _, s := range wants.segments {
		is := &claimIs{texts: []string{fixed[s.at]}, exact: true}
		needs[s.claim] = append(slices.Clip(needs[s.claim]), need{is, s.deny, s.holds})
	}
	q.Caller.Claims = caller.Claims{}
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		value, ok := m.value(name, needs[name])
		if !ok {
			return nil
		}
		if value != nil && !put(q.Caller.Claims, name, value) {
			m.gaveUp = true
			return nil
		}
	}
	if m.issuer == caller.LinkIssuer {
		q.Caller.Link = &caller.Link{ID: "any", Document: q.Asked.SourceURI,
			Grant: weboffice.Grants()}
		if wants.link[false] {
			q.Caller.Link.Document += ".other"
		}
	}
	return q
}

// document finds an object's key.
func (m *meeting) document(d draft, fixed map[int]string) string {
	w := wanted{key: true, gaveUp: &m.gaveUp}
	var about strings.Builder
	for _, p := range d.in {
		if p.bucket != d.in[0].bucket || m.ending.impossible(p) {
			return ""
		}
		w.groups = append(w.groups, []glob{p.glob()})
		about.WriteString(p.text + "\n")
	}
	for _, p := range d.out {
		if p.bucket == d.in[0].bucket {
			w.avoid = append(w.avoid, p.glob())
			about.WriteString("not " + p.text + "\n")
		}
	}
	fmt.Fprintln(&about, m.ending.any != nil, m.ending.format)
	for _, at := range slices.Sorted(maps.Keys(fixed)) {
		var g glob
		for range at {
			g = append(g, token{segment: true}, anySegment, token{letter: '/'})
		}
		g = append(g, literal(fixed[at])...)
		w.groups = append(w.groups, []glob{g, append(slices.Clip(g), token{letter: '/'}, anyText)})
		fmt.Fprintln(&about, at, fixed[at])
	}
	key, seen := m.known[about.String()]
	if !seen {
		if key = m.ending.find(w); !m.gaveUp {
			m.known[about.String()] = key
		}
	}
	return key
}

// eachSegments tries texts for the segments that are compared with claims: of every way in which
// the patterns and conditions at hand can tell texts apart, two.
func (m *meeting) eachSegments(d draft, wants *demands, places []int,
	try func(fixed map[int]string) (enough bool)) {
	if len(places) == 0 {
		try(nil)
		return
	}
	w := wanted{key: true, gaveUp: &m.gaveUp}
	for _, p := range slices.Concat(d.in, d.out) {
		for _, segment := range p.segments {
			if segment != "**" && placeholder(segment) == "" {
				w.avoid = append(w.avoid, starred(segment, anySegment, false))
			}
		}
	}
	for _, s := range wants.segments {
		for _, n := range wants.claims[s.claim] {
			w.avoid = append(w.avoid, n.is.globs()...)
		}
	}
	w.avoid = append(w.avoid, glob{anyText, token{letter: '/'}, anyText})
	var texts []string
	for range 2 {
		seen := map[string]bool{}
		w.search(func(text string, matched []bool) bool {
			way := fmt.Sprint(matched)
			if !matched[len(matched)-1] && !seen[way] && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
			seen[way] = true
			return false
		})
		for _, text := range texts {
			w.avoid = slices.Insert(w.avoid, 0, literal(text))
		}
	}
	choice := make([]int, len(places))
	for {
		fixed := map[int]string{}
		for i, at := range places {
			fixed[at] = texts[choice[i]]
		}
		if len(texts) == 0 || try(fixed) {
			return
		}
		i := 0
		for ; i < len(choice); i++ {
			if choice[i]++; choice[i] < len(texts) {
				break
			}
			choice[i] = 0
		}
		if i == len(choice) {
			return
		}
	}
}

// globs are the texts that the condition compares with, to find others.
func (c *claimIs) globs() []glob {
	var all []glob
	for _, text := range c.texts {
		if c.exact {
			all = append(all, literal(text))
		} else {
			all = append(all, starred(text, anyText, c.fold))
		}
	}
	return all
}

// value finds what a claim may be, and nil for a claim that is missing: it tries every form that
// Find tells apart.
func (m *meeting) value(name string, needs []need) (value any, ok bool) {
	w := wanted{gaveUp: &m.gaveUp, groups: [][]glob{{{token{}, anyText}}}}
	if name == "email" { // of which caller lets only plain addresses through
		w.groups = [][]glob{{{token{}, anyText, token{letter: '@'}, token{}, anyText}}}
		w.avoid = []glob{starred("*@*@*", anyText, false)}
	}
	for _, n := range needs {
		if !n.holds {
			w.avoid = append(w.avoid, n.is.globs()...)
		}
	}
	var elements, odd []any
	whole := w
	for _, n := range needs {
		if n.holds && len(n.is.texts) > 0 {
			one := w
			one.groups = append(slices.Clip(w.groups), n.is.globs())
			whole.groups = append(slices.Clip(whole.groups), n.is.globs())
			text := any(one.text())
			if !slices.Contains(elements, text) {
				elements = append(elements, text)
			}
			if !n.deny {
				odd = append(odd, text)
			}
		}
	}
	text := whole.text()
	if len(needs) == 0 {
		text = example(name)
	}
	forms := []any{text, elements, nil, true, false, append(odd, 0.5)}
	switch {
	case slices.Contains(m.required, name):
		forms = forms[:1]
	case name == "email":
		forms = []any{text, nil}
	case m.lists && elements == nil:
		forms[0] = []any{text}
	case m.lists:
		forms[0], forms[1] = forms[1], forms[0]
	}
	for _, form := range forms {
		if form != "" && meets(form, needs) {
			return form, true
		}
	}
	return nil, false
}

// meets says whether a claim of this value is what is needed.
func meets(value any, needs []need) bool {
	found := caller.Claims{"": value}.Find("")
	return !slices.ContainsFunc(needs, func(n need) bool {
		return n.is.holds(found, n.deny) != n.holds
	})
}

// example is the value of a claim of which nothing is asked.
func example(name string) string {
	switch name {
	case "sub":
		return "ann"
	case "email":
		return "ann@example.com"
	}
	return name[strings.LastIndexAny(name, "/:.")+1:] + "-1"
}

// put makes claims in which Find gives value for name, and says whether it could.
func put(claims caller.Claims, name string, value any) bool {
	if !strings.HasPrefix(name, "/") {
		claims[name] = value
		return true
	}
	object := map[string]any(claims)
	steps := strings.Split(name[1:], "/")
	for i, step := range steps {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		if i == len(steps)-1 {
			object[step] = value
			break
		}
		if object[step] == nil {
			object[step] = map[string]any{}
		}
		inner, isObject := object[step].(map[string]any)
		if !isObject {
			return false
		}
		object = inner
	}
	return true
}
