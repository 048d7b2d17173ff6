package broker

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

const (
	// replayFor is how long a refresh is answered again from memory: an answer that was lost, or a
	// second tab.
	replayFor = time.Minute
	// flightTime bounds the work that several requests wait for, where no platform sets a deadline.
	flightTime = 20 * time.Second
)

// Options is what a Broker needs; all are required.
type Options struct {
	Policy *policy.Policy
	IMM    *imm.Client
	Sealer *session.Sealer
	Now    func() time.Time
	Logger *slog.Logger
}

// Broker is safe for concurrent use.
type Broker struct {
	policy  *policy.Policy
	imm     *imm.Client
	sealer  *session.Sealer
	now     func() time.Time
	log     *slog.Logger
	limits  *Limits
	flights singleflight.Group
	earlier *lru.Cache[id, earlier] // by sealed token
}

// New returns a Broker.
func New(o Options) *Broker {
	memory, err := lru.New[id, earlier](remembered)
	if err != nil {
		panic(err) // a size below one
	}
	return &Broker{
		policy: o.Policy, imm: o.IMM, sealer: o.Sealer, now: o.Now, log: o.Logger,
		limits: NewLimits(o.Policy.Limits(), o.Logger), earlier: memory,
	}
}

// Limits are what the edge asks before it reads a request.
func (b *Broker) Limits() *Limits { return b.limits }

// Visitor is who asks, and from where.
type Visitor struct {
	caller.Caller
	Address netip.Addr // of the client; limits guests
}

// Answer is what a page gets.
type Answer struct {
	weboffice.Access // Life as it is now
	RefreshToken     session.Sealed
	Permission       weboffice.Permission
}

// Generate decides what the visitor asked and gets the tokens for it. The errors are
// *weboffice.Error.
func (b *Broker) Generate(ctx context.Context, v Visitor, asked weboffice.Request) (
	answer Answer, err error) {
	rec := record{function: "generate", visitor: v, asked: asked, start: b.now()}
	defer b.conclude(ctx, &rec, &err)
	parsed, bad := rec.parse(asked.SourceURI)
	if err := b.limits.admit(v, b.now()); err != nil {
		return Answer{}, err
	}
	if bad != nil {
		return Answer{}, bad
	}
	r, err := b.decide(&rec, session.NewID(), policy.Question{Caller: v.Caller, Document: parsed,
		Asked: asked, Start: b.now(), Guest: weboffice.NewGuest()})
	if err != nil {
		return Answer{}, err
	}
	return b.generate(ctx, &rec.work, r, call{visitor: v})
}

// parse reads the document's URI. Only what is one reaches the log: anything else may be a signed
// URL.
func (r *record) parse(uri string) (weboffice.Document, error) {
	parsed, err := weboffice.ParseSourceURI(uri)
	if err == nil {
		r.document = uri
	}
	return parsed, err
}

// ruling is a question about an open document, and what was decided of it.
type ruling struct {
	document string // its session.ID
	question policy.Question
	decision policy.Decision
	digest   [32]byte // of the decision
}

// decide asks the policy and notes what it says: of a refusal why each rule for this document did
// not decide.
func (b *Broker) decide(rec *record, document string, q policy.Question) (ruling, error) {
	d, err := b.policy.Decide(q, b.now())
	rec.rule, rec.granted = d.Rule, d.Request.Permission
	if err != nil {
		rec.steps = d.Steps
		return ruling{}, err
	}
	if d.Request.User != nil {
		rec.user = d.Request.User.Id
	}
	return ruling{document, q, d, digest(d)}, nil
}

// generate gets new tokens for a decision and seals them.
func (b *Broker) generate(ctx context.Context, w *work, r ruling, c call) (Answer, error) {
	c.generate = true
	tokens, err := b.call(w, c, func() (imm.Tokens, error) {
		return b.imm.Generate(ctx, r.decision.Request)
	})
	if err != nil {
		return Answer{}, err
	}
	return b.seal(w, r, tokens)
}

// call makes one call to IMM where the limits have room for it, and accounts for what it may have
// cost. Should it end in a panic, nobody knows: all that it took stays taken.
func (b *Broker) call(w *work, c call, do func() (imm.Tokens, error)) (imm.Tokens, error) {
	held, err := b.limits.hold(c, b.now())
	if err != nil {
		return imm.Tokens{}, err
	}
	before := w.maybeBilled
	w.maybeBilled = true
	tokens, err := do()
	unsure := imm.MaybeBilled(err)
	w.maybeBilled = before || unsure || tokens.MaybeBilled
	if err == nil {
		w.billed++
	}
	b.limits.settle(held, err == nil || imm.RefusedToken(err), err == nil || unsure,
		tokens.MaybeBilled)
	return tokens, err
}

// seal turns IMM's tokens into an answer.
func (b *Broker) seal(w *work, r ruling, t imm.Tokens) (Answer, error) {
	w.immRequestID = t.RequestID
	w.token = fingerprint(t.AccessToken)
	q := r.question
	s := session.Session{
		ID:           r.document,
		Access:       t.Access,
		RefreshToken: t.RefreshToken,
		Issuer:       q.Caller.IssuerURL,
		Subject:      identity(q.Caller),
		Start:        q.Start,
		Issued:       b.now(),
		Asked:        q.Asked,
		Decision:     r.digest,
	}
	if q.Caller.User.ID == "" {
		s.Guest = q.Guest
	}
	sealed, err := b.sealer.Seal(s)
	if err != nil {
		return Answer{}, weboffice.AsError(err)
	}
	return r.answer(t.Access, sealed, t.Life), nil
}

// answer gives tokens with what was decided, and the life that they have left.
func (r ruling) answer(a weboffice.Access, token session.Sealed, left time.Duration) Answer {
	a.Life = max(left, 0)
	return Answer{a, token, *r.decision.Request.Permission}
}

// identity is what a sealed token knows its caller by, within an issuer: a share link without a
// subject is its own. Package caller refuses a subject that begins so.
func identity(c caller.Caller) string {
	if c.Link != nil && c.Subject == "" {
		return "link " + c.Link.ID
	}
	return c.Subject
}

// digest is a decision in 32 bytes, without what is only for display: a new picture is no reason to
// reopen a document.
func digest(d policy.Decision) [32]byte {
	r := d.Request
	if r.User != nil {
		r.User = &weboffice.User{Id: r.User.Id}
	}
	text, err := json.Marshal(struct {
		Request  weboffice.Request
		Password string
	}{r, r.Password.Reveal()})
	if err != nil {
		return [32]byte{} // a Request always marshals; an empty digest equals none that was sealed
	}
	return sha256.Sum256(text)
}
