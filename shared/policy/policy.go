// Package policy says who may open which document with which rights. Parse reads a policy file into
// an immutable Policy; Decide answers one question; Explain says for the same question why each
// rule decided or did not. Server, tests of a policy and command line share these three, so what
// was tested is what runs. README.md is for whoever writes a policy.
//
// Check is Parse for people: it runs the policy's own tests, and warns of what is allowed and
// probably not meant. Diff says what a change means. Both ask Decide and the rules themselves,
// about questions that a search finds (meet.go).
//
// Promises: the first rule that matches decides, and without one the answer is no. What a caller
// gets is never more than the rule's grant, never more than what was asked and never more than the
// format allows. A claim is compared, never put into a pattern. A condition whose claim is missing,
// null or of another type does not match; in a deny rule it does. Mistakes in a file are reported
// with line and column, all of a kind together: the YAML, then the kinds of values, then what they
// say.
//
// Limits: a policy is at most 1 MiB; documents are judged by their URI alone, nothing is asked of
// OSS.
package policy

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// DefaultSession is the longest a document stays open, from its first generate, when a rule says
// nothing.
const DefaultSession = 12 * time.Hour

// Policy is a parsed policy. It never changes and is safe for concurrent use.
type Policy struct {
	written file
	limits  Limits
	issuers []caller.Issuer
	rules   []*rule
	options Options
}

// Options is what a policy file does not say itself.
type Options struct {
	Project string           // the project where neither rule nor policy names one
	Salt    weboffice.Secret // goes into every User.Id
	// the IMM endpoint is a loopback address, so `standIn: true` is allowed
	Loopback bool
	// nothing verifies share links: rules for them are mistakes
	NoLinkKeys bool
}

// Limits are the requests that one instance answers.
type Limits struct {
	Anyone Rate // generates of each guest address
	Caller Rate // generates of each verified caller
	Total  Rate // billed calls of all together; zero: no limit
}

// Rate is a number of requests in a span of time.
type Rate struct {
	Events int
	Per    time.Duration
}

// String writes the rate as a policy does; "" for none.
func (r Rate) String() string {
	unit := map[time.Duration]string{time.Second: "/s", time.Minute: "/m", time.Hour: "/h"}[r.Per]
	if r.Events == 0 {
		return ""
	}
	return strconv.Itoa(r.Events) + unit
}

// Origins lists the web origins that may call, exact.
func (p *Policy) Origins() []string { return slices.Clone(p.written.Origins) }

// QuickStart says whether GET with query parameters is served.
func (p *Policy) QuickStart() bool { return p.written.QuickStart }

// Limits returns the limits.
func (p *Policy) Limits() Limits { return p.limits }

// Issuers lists the issuers whose proofs count, share links left out.
func (p *Policy) Issuers() []caller.Issuer { return slices.Clone(p.issuers) }

// RevokedLinks lists the jti of share links that have been ended.
func (p *Policy) RevokedLinks() []string { return slices.Clone(p.written.RevokedLinks) }

// UsesLinks says whether a rule lets share links in.
func (p *Policy) UsesLinks() bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool {
		return slices.ContainsFunc(r.callers, callers.links)
	})
}

// Rules is the number of rules.
func (p *Policy) Rules() int { return len(p.rules) }

// Project is the IMM project where a rule names none; it may be empty when every rule names one.
func (p *Policy) Project() string { return cmp.Or(p.written.Project, p.options.Project) }

// Projects lists the IMM projects that rules use.
func (p *Policy) Projects() (projects []string) {
	for _, r := range p.rules {
		if name := p.projectOf(r); name != "" && !slices.Contains(projects, name) {
			projects = append(projects, name)
		}
	}
	return projects
}

// Buckets lists the buckets that rules open documents of.
func (p *Policy) Buckets() (buckets []string) {
	for _, r := range p.rules {
		if !slices.Contains(buckets, r.pattern.bucket) {
			buckets = append(buckets, r.pattern.bucket)
		}
	}
	return buckets
}

func (p *Policy) projectOf(r *rule) string {
	return cmp.Or(r.set.ProjectName, r.project, p.Project())
}

// Question is what is asked of a policy. A proof's claims are in Caller, already verified.
type Question struct {
	Caller   caller.Caller
	Asked    weboffice.Request  // what the caller sent
	Document weboffice.Document // Asked.SourceURI, parsed
	Start    time.Time          // the first generate of the session
	Guest    weboffice.User     // the User of a caller who is not a person the policy knows
}

// Decision is the right that a rule gives. Of a refusal only Steps is set, and Rule where the
// session has ended.
type Decision struct {
	Rule string
	// of a refusal: the rules whose documents matched, up to the one that decided
	Steps []Step
	// complete: what to send to GenerateWebofficeToken; never changed, it may share structures with
	// the policy
	Request weboffice.Request
	End     time.Time // the absolute end of the session
}

// Step is what one rule made of a question.
type Step struct {
	Rule    string
	Decides bool
	Deny    bool
	Why     string // the first condition that failed, without values; "" where the rule decides
}

// Decide answers q as of now. The errors are *weboffice.Error: 400 for input that no rule could
// accept, 401 for a guest whom no rule lets in, 403 Forbidden for a caller whom none does, the same
// whether the document exists or not, 403 Forbidden.PARAMETER for a parameter that only the policy
// may set, and 410 for a session that is past its end.
func (p *Policy) Decide(q Question, now time.Time) (Decision, error) {
	if err := q.Asked.Validate(); err != nil {
		return Decision{}, err
	}
	a := newAsk(&q)
	r, steps := p.judge(a, false)
	d, err := Decision{}, error(nil)
	switch {
	case r != nil && !r.deny:
		d, err = p.grant(r, a)
	case q.Caller.Guest():
		err = caller.Unauthenticated("no rule lets a guest in")
	default:
		err = weboffice.ErrForbidden.New()
	}
	if err == nil && !now.Before(d.End) {
		d, err = Decision{Rule: r.name}, weboffice.ErrSessionEnded.New()
	}
	if err != nil {
		d.Steps = steps
	}
	return d, err
}

// Explain gives every rule up to the one that decides, those for other documents included.
func (p *Policy) Explain(q Question) []Step {
	_, steps := p.judge(newAsk(&q), true)
	return steps
}

// judge finds the first rule that matches, or nil, and what the rules up to it made of the
// question: those whose documents match, or all.
func (p *Policy) judge(a *ask, all bool) (decides *rule, steps []Step) {
	for _, r := range p.rules {
		if !all && !strings.HasPrefix(a.uri, r.pattern.prefix) { // most of a long policy
			continue
		}
		why, documents := a.firstFailing(r)
		if documents || all {
			steps = append(steps, Step{r.name, why == holds, r.deny, why})
		}
		if why == holds {
			return r, steps
		}
	}
	return nil, steps
}

// grant settles what the matching rule gives.
func (p *Policy) grant(r *rule, a *ask) (Decision, error) {
	asked := a.q.Asked
	set, unfilled := a.fill(r)
	user, unasked := p.user(*a.q), set
	unasked.ProjectName = cmp.Or(set.ProjectName, p.projectOf(r))
	unasked.User = over(user, set.User)
	if err := cmp.Or(r.admit(asked, set, unasked), unfilled); err != nil {
		return Decision{}, err
	}
	given := asked.With(set)
	given.ProjectName = cmp.Or(given.ProjectName, unasked.ProjectName)
	given.User = over(user, given.User)
	granted := r.grant
	if link := a.q.Caller.Link; link != nil {
		linked, err := weboffice.PermissionOf(link.Grant)
		if err != nil || !slices.Contains(link.Grant, "view") {
			why := errors.New("the link's grant must hold view, the right to open at all")
			return Decision{}, weboffice.ErrForbidden.Because(why)
		}
		granted = granted.And(linked)
	}
	if asked.Permission != nil {
		granted = granted.And(*asked.Permission)
	}
	given.Permission = &granted
	if asked.PreviewPages != nil {
		given.PreviewPages = asked.PreviewPages // admit has held it to what is set
	}
	request, err := given.Settle(a.q.Document,
		set.Filename != "" || slices.Contains(r.accept, "Filename"))
	if err != nil {
		return Decision{}, err
	}
	// claims may have made a set text too long, or brought control characters
	if err := request.Validate(); err != nil {
		return Decision{}, weboffice.ErrUnfilled.Because(err)
	}
	return Decision{Rule: r.name, Request: request, End: a.q.Start.Add(r.session)}, nil
}

// user is the User that a caller is to the editor.
func (p *Policy) user(q Question) weboffice.User {
	user, person := q.Guest, q.Caller.User
	if person.ID != "" {
		user = weboffice.User{Id: weboffice.UserID(p.options.Salt, q.Caller.IssuerURL, person.ID),
			Avatar: person.Avatar}
	}
	if person.ID != "" || person.Name != "" { // a share link may name its guest
		user.Name = weboffice.CleanName(person.Name)
	}
	return user
}

// over puts what a rule sets or accepts of a User over that of the caller.
func over(user weboffice.User, given *weboffice.User) *weboffice.User {
	if given != nil {
		user.Id, user.Avatar = cmp.Or(given.Id, user.Id), cmp.Or(given.Avatar, user.Avatar)
		if given.Name != "" {
			user.Name = weboffice.CleanName(given.Name)
		}
	}
	return &user
}
