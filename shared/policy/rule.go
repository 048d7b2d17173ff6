package policy

import (
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// rule is one entry of a policy's `rules`.
type rule struct {
	name    string
	pattern *pattern
	callers []callers // any of them
	deny    bool
	grant   weboffice.Permission
	set     weboffice.Request
	holes   bool // set has a ${…} to fill
	accept  []string
	project string
	session time.Duration
}

// callers is one alternative of a rule's `callers`.
type callers struct {
	anyone bool
	issuer string // the policy's name of it, or "links"
	claims []condition
}

// condition is one claim that must hold.
type condition struct {
	claim  string
	any    []wanted
	failed string // said in the log when it does not hold
}

// wanted is one value that a claim may have.
type wanted struct {
	value any            // text, true or false, or a json.Number
	expr  *regexp.Regexp // of a text with *
}

// ask is one question while rules look at it.
type ask struct {
	caller   caller.Caller
	doc      weboffice.Document
	uri      string
	claims   map[string]any // those that can be compared, as usable gives them
	linkDocs *pattern       // a share link's own documents; nil where they cannot be read
}

func newAsk(q Question) *ask {
	c := q.Caller
	a := &ask{caller: c, doc: q.Document, uri: q.Document.String(), claims: map[string]any{}}
	for name, value := range c.Claims {
		if value = usable(name, value); value != nil {
			a.claims[name] = value
		}
	}
	if c.Link != nil {
		if docs, err := parsePattern(c.Link.Document); err == nil && len(docs.claims) == 0 {
			a.linkDocs = docs
		}
	}
	return a
}

// plainEmail is an address without quotes, spaces or a second @: `*@example.com` must not let
// "a@evil.example"@example.com in.
var plainEmail = regexp.MustCompile(`^[^\s@"<>(),:;\\\[\]]+@[^\s@"<>(),:;\\\[\]]+$`)

// usable returns what conditions can compare of a claim: text, true or false, a whole number by its
// value, a list of texts; else nil.
func usable(name string, claim any) any {
	switch value := claim.(type) {
	case string:
		if name != "email" || plainEmail.MatchString(value) {
			return value
		}
	case bool:
		return value
	case json.Number:
		if f, err := value.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return json.Number(strconv.FormatInt(int64(f), 10)) // 1.0 and 1e0 are 1
		}
		if !strings.ContainsAny(value.String(), ".eE") {
			return value
		}
	case []any:
		if name != "email" && !slices.ContainsFunc(value,
			func(element any) bool { return !sameType(element, "") }) {
			return value
		}
	}
	return nil
}

func sameType(a, b any) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }

// firstFailing says which condition of the rule fails first, or "" when all hold, and whether the
// documents match.
func (a *ask) firstFailing(r *rule) (failed string, documents bool) {
	captured, ok := r.pattern.match(a.uri)
	if !ok {
		return "the documents do not match", false
	}
	for _, c := range r.callers {
		if failed = a.failingCallers(c, r.deny); failed == "" {
			break
		}
	}
	if failed != "" {
		return failed, true
	}
	for i, name := range r.pattern.claims {
		segment := condition{any: []wanted{{value: captured[i]}}}
		if !segment.holds(a.claims[name], r.deny) {
			return "the segment ${" + name + "} is not the caller's", true
		}
	}
	if a.caller.Link != nil && !r.deny &&
		(a.linkDocs == nil || !a.linkDocs.compiled().MatchString(a.uri)) {
		return "the link is for other documents", true
	}
	return "", true
}

// failingCallers judges one alternative. Whoever bears a share link is judged by the rules for links
// alone, but anyone's deny holds for links too.
func (a *ask) failingCallers(c callers, deny bool) string {
	if c.anyone {
		if a.caller.Issuer == caller.LinkIssuer && !deny {
			return "a share link is decided by rules for links alone"
		}
		return ""
	}
	if a.caller.Issuer != c.issuer {
		return "the caller is not of this issuer"
	}
	for _, condition := range c.claims {
		if !condition.holds(a.claims[condition.claim], deny) {
			return condition.failed
		}
	}
	return ""
}

// holds says whether the claim, or one element of a list claim, is one of the wanted values. For a
// deny rule it holds as well where the claim is missing or none of the wanted values is of its
// type. A list counts as text: one that holds none of the wanted texts, an empty one too, is not
// denied.
func (c condition) holds(claim any, deny bool) bool {
	if list, isList := claim.([]any); isList {
		return slices.ContainsFunc(list,
			func(element any) bool { return c.holds(element, false) }) || deny && !c.wants("")
	}
	text, isText := claim.(string)
	for _, w := range c.any {
		if w.value == claim || isText && w.expr != nil && w.expr.MatchString(text) {
			return true
		}
	}
	return deny && !c.wants(claim)
}

// wants says whether a wanted value is of this one's type.
func (c condition) wants(value any) bool {
	return slices.ContainsFunc(c.any, func(w wanted) bool { return sameType(w.value, value) })
}

// sendable lists what any caller may send; everything else must stand in the rule's `accept`.
var sendable = []string{"SourceURI", "Filename", "Password", "Permission", "Hidecmb",
	"PreviewPages"}

// admit refuses parameters that only the policy may set. A caller may repeat the value that `set`
// fixes, and ask for fewer PreviewPages.
func (r *rule) admit(asked weboffice.Request) error {
	for _, name := range asked.Sent() {
		fixed := reflect.ValueOf(r.set).FieldByName(name)
		switch {
		case !slices.Contains(sendable, name) && !slices.Contains(r.accept, name):
			return weboffice.ErrPolicyAlone.New(name,
				strings.Join(slices.Concat(sendable, r.accept), ", "))
		case fixed.IsZero() || reflect.DeepEqual(fixed.Interface(),
			reflect.ValueOf(asked).FieldByName(name).Interface()):
			continue
		case name != "PreviewPages":
			return weboffice.ErrPolicyFixed.New(name)
		case *asked.PreviewPages > *r.set.PreviewPages:
			return weboffice.ErrPolicyPages.New(*r.set.PreviewPages)
		}
	}
	return nil
}
