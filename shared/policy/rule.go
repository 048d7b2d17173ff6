package policy

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// rule is one entry of a policy's `rules`.
type rule struct {
	name         string
	line, column int
	pattern      *pattern
	callers      []callers // any of them
	deny         bool
	grant        weboffice.Permission
	set          weboffice.Request
	filled       map[string][]piece // the texts of set that hold a ${…}
	accept       []string
	project      string
	session      time.Duration
}

// callers is one alternative of a rule's `callers`.
type callers struct {
	Issuer     string                    `yaml:"issuer"` // the policy's name of it, or "links"
	Claims     map[string]oneOrMore[any] `yaml:"claims"`
	anyone     bool
	conditions []condition // of Claims, the documents and a link's scope
}

func (c *callers) sayAnyone() string {
	c.anyone = true
	return "callers is anyone, {issuer: NAME, claims: {…}} or a list of such maps"
}

func (c callers) links() bool { return c.Issuer == caller.LinkIssuer }

// admits says whether callers of this issuer ("" for guests) may match. Whoever bears a share link
// is judged by the rules for links alone, but anyone's deny holds for links too.
func (c callers) admits(issuer string, deny bool) bool {
	if c.anyone {
		return issuer != caller.LinkIssuer || deny
	}
	return issuer == c.Issuer
}

func (r *rule) forAnyone() bool {
	return slices.ContainsFunc(r.callers, func(c callers) bool { return c.anyone })
}

// condition is what must hold, besides documents and issuer, for a rule to match. Whoever adds a
// kind is made to say here what it does to a question, and in narrow to the questions that remain
// where it holds or fails: warnings and diff know no other way to a rule.
type condition interface {
	// failing says for the log, without values, why the condition does not hold
	failing(a *ask, deny bool) string
	narrow(d *demands, deny, holds bool)
}

// holds is what a condition that holds says of itself.
const holds = ""

// claimIs holds where a claim, or one element of a list claim, is one of the wanted values.
type claimIs struct {
	claim  string
	texts  []string // in each * stands for any text
	exact  bool     // in none it does
	fold   bool     // the case of A–Z does not count: texts are in lower case
	truths []bool
	// matches the texts; nil where none has a *
	compiled func() *regexp.Regexp
}

// segmentIs holds where the document's segment at a ${claim} is the claim or one of its elements.
type segmentIs struct {
	at    int // among the segments of a document's key
	claim string
}

// linkCovers holds where the share link is for the document.
type linkCovers struct{}

func (c *claimIs) failing(a *ask, deny bool) string {
	switch value := a.claim(c.claim); {
	case c.holds(value, deny):
		return holds
	case value != nil:
		return "the claim " + c.claim + " does not hold"
	}
	return a.missing(c.claim)
}

func (s segmentIs) failing(a *ask, deny bool) string {
	is := claimIs{texts: a.segments[s.at : s.at+1], exact: true}
	switch value := a.claim(s.claim); {
	case is.holds(value, deny):
		return holds
	case value == nil:
		return a.missing(s.claim)
	}
	return "the segment ${" + s.claim + "} is not the caller's"
}

func (linkCovers) failing(a *ask, _ bool) string { return a.uncovered }

// holds compares a claim, in the form that Find gives it. For a deny rule it holds as well where
// the claim is missing or of another type than every wanted value. In a deny rule a list is
// compared element by element; one without a wanted value, even an empty one, is not denied.
func (c *claimIs) holds(claim any, deny bool) bool {
	switch value := claim.(type) {
	case string:
		return c.matches(value) || deny && len(c.texts) == 0
	case bool:
		return slices.Contains(c.truths, value) || deny && len(c.truths) == 0
	case caller.List:
		return slices.ContainsFunc(value.Texts, c.matches) ||
			deny && (value.Odd || len(c.texts) == 0)
	}
	return deny
}

func (c *claimIs) matches(text string) bool {
	if c.fold {
		text = lower(text)
	}
	return slices.Contains(c.texts, text) || c.compiled != nil && c.compiled().MatchString(text)
}

// lower turns A–Z into lower case, and nothing else: U+212A is not a k.
func lower(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, text)
}

// ask is one question while rules look at it.
type ask struct {
	q        *Question
	uri      string
	segments []string       // of the document's key, once a pattern matched
	claims   map[string]any // those that were looked up
	// why the share link does not cover the document
	uncovered string
}

func newAsk(q *Question) *ask {
	uri := q.Document.String()
	return &ask{q: q, uri: uri, uncovered: linkFails(q.Caller.Link, uri), claims: map[string]any{}}
}

// claim returns a claim as conditions compare it.
func (a *ask) claim(name string) any {
	value, seen := a.claims[name]
	if !seen {
		value = a.q.Caller.Claims.Find(name)
		a.claims[name] = value
	}
	return value
}

// linkFails says why a share link does not cover a document: once, however many rules ask.
func linkFails(link *caller.Link, uri string) string {
	switch {
	case link == nil:
	case link.Document != "":
		if link.Document == uri {
			return holds
		}
	default:
		documents, err := parsePattern(link.Documents)
		if err != nil || len(documents.claims) > 0 { // a link has no claims to equal
			return "the link's documents are no pattern as in a rule"
		}
		if _, ok := documents.match(uri); ok {
			return holds
		}
	}
	return "the link is for other documents"
}

// missing says why there is no claim to compare.
func (a *ask) missing(claim string) string {
	if claim == "email" && a.q.Caller.EmailIgnored != "" {
		return a.q.Caller.EmailIgnored
	}
	return "the claim " + claim + " is missing or of another type"
}

// firstFailing says which condition of the rule fails first, and whether its documents match.
func (a *ask) firstFailing(r *rule) (first string, documents bool) {
	if a.segments, documents = r.pattern.match(a.uri); !documents {
		return "the documents do not match", false
	}
	first = "the caller is not of this issuer"
	for _, c := range r.callers {
		switch {
		case c.admits(a.q.Caller.Issuer, r.deny):
			if first = a.failingOf(c, r.deny); first == holds {
				return holds, true
			}
		case c.anyone:
			first = "a share link is decided by rules for links alone"
		}
	}
	return first, true
}

func (a *ask) failingOf(c callers, deny bool) string {
	for _, condition := range c.conditions {
		if failing := condition.failing(a, deny); failing != holds {
			return failing
		}
	}
	return holds
}

// sendable lists what any caller may send; everything else must stand in the rule's `accept` or
// repeat what the policy gives.
var sendable = []string{"SourceURI", "Filename", "Password", "Permission", "Hidecmb",
	"PreviewPages"}

func (r *rule) takes(parameter string) bool {
	return slices.Contains(sendable, parameter) || slices.Contains(r.accept, parameter)
}

// admit refuses parameters that only the policy may set. unasked is what IMM would be sent if the
// caller sent nothing: a caller may repeat that, and ask for fewer PreviewPages.
func (r *rule) admit(asked, set, unasked weboffice.Request) error {
	for _, name := range asked.Sent() {
		takes, fixed := r.takes(name), !reflect.ValueOf(set).FieldByName(name).IsZero()
		switch {
		case takes && !fixed: // nearly always
		case reflect.DeepEqual(reflect.ValueOf(asked).FieldByName(name).Interface(),
			reflect.ValueOf(unasked).FieldByName(name).Interface()):
		case !takes:
			return weboffice.ErrPolicyAlone.New(name,
				strings.Join(slices.Concat(sendable, r.accept), ", "))
		case name != "PreviewPages":
			return weboffice.ErrPolicyFixed.New(name)
		case *asked.PreviewPages > *set.PreviewPages:
			return weboffice.ErrPolicyPages.New(*set.PreviewPages)
		}
	}
	return nil
}
