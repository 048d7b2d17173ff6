package policy

import (
	"reflect"
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
	anyone     bool
	issuer     string // the policy's name of it, or "links"
	conditions []condition
}

func (c callers) links() bool { return c.issuer == caller.LinkIssuer }

// admits says whether callers of this issuer ("" for guests) may match. Whoever bears a share link
// is judged by the rules for links alone, but anyone's deny holds for links too.
func (c callers) admits(issuer string, deny bool) bool {
	if c.anyone {
		return issuer != caller.LinkIssuer || deny
	}
	return issuer == c.issuer
}

func (r *rule) forAnyone() bool {
	return slices.ContainsFunc(r.callers, func(c callers) bool { return c.anyone })
}

// condition is what must hold, besides documents and issuer, for a rule to match. Whoever adds a
// kind is made to say here what it does to a question, and in narrow to the questions that remain
// where it holds or fails: warnings and diff know no other way to a rule.
type condition interface {
	failing(a *ask, deny bool) failure
	narrow(d *demands, deny, holds bool)
}

// failure is what the log shows of a condition that does not hold, without values: a sentence, in
// which {} stands for the claim's name. The zero value says that it holds.
type failure struct{ sentence, claim string }

func (f failure) String() string { return strings.Replace(f.sentence, "{}", f.claim, 1) }

var holds failure

// claimIs holds where a claim, or one element of a list claim, is one of the wanted values.
type claimIs struct {
	claim  string
	texts  []string // in each * stands for any text
	exact  bool     // in none it does
	fold   bool     // the case of A–Z does not count: texts are in lower case
	truths []bool
}

// segmentIs holds where the document's segment at a ${claim} is the claim or one of its elements.
type segmentIs struct {
	at    int // among the segments of a document's key
	claim string
}

// linkCovers holds where the share link is for the document.
type linkCovers struct{}

func (c *claimIs) failing(a *ask, deny bool) failure {
	switch value := a.claim(c.claim); {
	case c.holds(value, deny):
		return holds
	case value != nil:
		return failure{"the claim {} does not hold", c.claim}
	case c.claim == "email" && a.q.Caller.EmailIgnored != "":
		return failure{a.q.Caller.EmailIgnored, ""}
	}
	return failure{"the claim {} is missing or of another type", c.claim}
}

func (s segmentIs) failing(a *ask, deny bool) failure {
	is := claimIs{texts: a.segments[s.at : s.at+1], exact: true}
	if is.holds(a.claim(s.claim), deny) {
		return holds
	}
	return failure{"the segment ${{}} is not the caller's", s.claim}
}

func (linkCovers) failing(a *ask, _ bool) failure {
	if a.linkCovers() {
		return holds
	}
	return failure{sentence: "the link is for other documents"}
}

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
	for _, wanted := range c.texts {
		if wanted == text || !c.exact && strings.Contains(wanted, "*") && wildcard(wanted, text) {
			return true
		}
	}
	return false
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

func newAsk(q *Question) *ask { return &ask{q: q, uri: q.Document.String()} }

// ask is one question while rules look at it.
type ask struct {
	q        *Question
	uri      string
	segments []string // of the document's key, once a pattern matched
	claims   []found  // those that were looked up
	link     *bool    // whether the share link covers the document, once it was looked at
}

type found struct {
	name  string
	value any
}

// claim returns a claim as conditions compare it.
func (a *ask) claim(name string) any {
	for _, f := range a.claims {
		if f.name == name {
			return f.value
		}
	}
	value := a.q.Caller.Claims.Find(name)
	a.claims = append(a.claims, found{name, value})
	return value
}

func (a *ask) linkCovers() bool {
	if a.link == nil {
		covers := linkMatches(a.q.Caller.Link, a.uri)
		a.link = &covers
	}
	return *a.link
}

func linkMatches(link *caller.Link, uri string) bool {
	switch {
	case link == nil:
		return false
	case link.Document != "":
		return link.Document == uri
	}
	documents, err := parseLinkPattern(link.Documents)
	if err != nil {
		return false
	}
	_, ok := documents.match(uri)
	return ok
}

// firstFailing says which condition of the rule fails first, and whether its documents match.
func (a *ask) firstFailing(r *rule) (first failure, documents bool) {
	if a.segments, documents = r.pattern.match(a.uri); !documents {
		return failure{sentence: "the documents do not match"}, false
	}
	first.sentence = "the caller is not of this issuer"
	for _, c := range r.callers {
		switch {
		case c.admits(a.q.Caller.Issuer, r.deny):
			if first = a.failingOf(c, r.deny); first == holds {
				return holds, true
			}
		case c.anyone:
			first.sentence = "a share link is decided by rules for links alone"
		}
	}
	return first, true
}

func (a *ask) failingOf(c callers, deny bool) failure {
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

// taken is what the rule takes of a request: parameters that a caller may send.
func (r *rule) taken(asked weboffice.Request) weboffice.Request {
	for _, name := range asked.Sent() {
		if !r.takes(name) {
			reflect.ValueOf(&asked).Elem().FieldByName(name).SetZero()
		}
	}
	return asked
}

func (r *rule) takes(parameter string) bool {
	return slices.Contains(sendable, parameter) || slices.Contains(r.accept, parameter)
}

// admit refuses parameters that only the policy may set. given is what IMM would be sent if the
// caller sent nothing that it may not: a caller may repeat that, and ask for fewer PreviewPages.
func (r *rule) admit(asked, set, given weboffice.Request) error {
	for _, name := range asked.Sent() {
		sent := reflect.ValueOf(asked).FieldByName(name).Interface()
		fixed := reflect.ValueOf(set).FieldByName(name)
		switch {
		case reflect.DeepEqual(sent, reflect.ValueOf(given).FieldByName(name).Interface()):
		case !r.takes(name):
			return weboffice.ErrPolicyAlone.New(name,
				strings.Join(slices.Concat(sendable, r.accept), ", "))
		case fixed.IsZero():
		case name != "PreviewPages":
			return weboffice.ErrPolicyFixed.New(name)
		case *asked.PreviewPages > *set.PreviewPages:
			return weboffice.ErrPolicyPages.New(*set.PreviewPages)
		}
	}
	return nil
}
