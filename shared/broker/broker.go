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

// Options is what a Broker needs; all are required.
type Options struct {
	Policy *policy.Policy
	IMM    *imm.Client
	Sealer *session.Sealer
	Now    func() time.Time
	Logger *slog.Logger
}

// Broker is safe for concurrent use; its Options stay as New got them.
type Broker struct {
	Options
	limits  *Limits
	flights singleflight.Group
	earlier *lru.Cache[id, earlier] // by sealed token
}

// New returns a Broker.
func New(o Options) *Broker {
	memory, _ := lru.New[id, earlier](remembered) // fails for a size below one alone
	return &Broker{Options: o, limits: NewLimits(o.Policy.Limits(), o.Logger), earlier: memory}
}

// Limits are what the edge asks before it reads a request.
func (b *Broker) Limits() *Limits { return b.limits }

// Visitor is who asks, and from where.
type Visitor struct {
	caller.Caller
	Address netip.Addr // of the client; limits guests
}

// identity is what a sealed token knows its caller by, within an issuer: a share link without a
// subject is its own. Package caller refuses a subject that begins so.
func (v Visitor) identity() string {
	if v.Link != nil && v.Subject == "" {
		return "link " + v.Link.ID
	}
	return v.Subject
}

// Answer is what a page gets.
type Answer struct {
	weboffice.Access // Life as it is now
	RefreshToken     session.Sealed
	Permission       weboffice.Permission
}

// request goes through a use case and collects what its audit line says.
type request struct {
	function        string
	visitor         Visitor
	came            time.Time
	document        string          // the URI, "" until it is known to be one
	session.Session                 // of the open document: as it was sealed, or as it begins
	sealed          session.Sealed  // the token that was shown
	decision        policy.Decision // of now, or what is known of a refusal
	digest          [32]byte        // of that decision; Session.Decision is of the one before
	answered        bool            // this instance has answered the sealed token before
	work
}

// work is what was done at IMM.
type work struct {
	outcome string // of an error its Code stands in the line instead
	billed  int    // calls that IMM charges for
	// one call more may have been charged, or both of a fallback: no answer, or a 4xx
	maybeBilled  bool
	spent        bool // the refresh token is of no use any more, or may be
	immRequestID string
	token        string // fingerprint of the access token
}

// opens says whether the request opens a document, and is no refresh.
func (r *request) opens() bool { return r.Issued.IsZero() }

// Generate decides what the visitor asked and gets the tokens for it. The errors are
// *weboffice.Error.
func (b *Broker) Generate(ctx context.Context, v Visitor, asked weboffice.Request) (
	answer Answer, err error) {
	r := &request{function: "generate", visitor: v, came: b.Now(), work: work{outcome: "opened"}}
	defer b.conclude(ctx, r, &err)
	r.Session = session.Session{Issuer: v.IssuerURL, Subject: v.identity(), Start: r.came,
		Asked: asked}
	if err := b.decide(r); err != nil {
		return Answer{}, err
	}
	return b.generate(ctx, r)
}

// decide admits a request and asks the policy. A document's URI reaches the log when it is known to
// be one: anything else may be a signed URL.
func (b *Broker) decide(r *request) error {
	document, bad := weboffice.ParseSourceURI(r.Asked.SourceURI)
	if bad == nil {
		r.document = r.Asked.SourceURI
	}
	if !r.opens() && !r.BelongsTo(r.visitor.IssuerURL, r.visitor.identity()) {
		return weboffice.ErrRefreshToken.New()
	}
	if err := b.limits.admit(r); err != nil {
		return err
	}
	if bad != nil {
		return bad
	}
	if r.opens() && r.visitor.User.ID == "" {
		r.Guest = weboffice.NewGuest()
	}
	var err error
	r.decision, err = b.Policy.Decide(policy.Question{Caller: r.visitor.Caller,
		Document: document, Asked: r.Asked, Start: r.Start, Guest: r.Guest}, b.Now())
	if err == nil {
		r.digest = digest(r.decision)
	}
	return err
}

// generate gets new tokens for a decision and seals them.
func (b *Broker) generate(ctx context.Context, r *request) (Answer, error) {
	tokens, err := b.call(r, true, func() (imm.Tokens, error) {
		return b.IMM.Generate(ctx, r.decision.Request)
	})
	if err != nil {
		return Answer{}, err
	}
	return b.seal(r, tokens)
}

// call makes one call to IMM where the limits have room for it, and accounts for what it may have
// cost. Should it end in a panic, nobody knows: all that it took stays taken.
func (b *Broker) call(r *request, generate bool, do func() (imm.Tokens, error)) (
	imm.Tokens, error) {
	held, err := b.limits.hold(r, generate, b.Now())
	if err != nil {
		return imm.Tokens{}, err
	}
	before := r.maybeBilled
	r.maybeBilled = true
	tokens, err := do()
	unsure := imm.MaybeBilled(err)
	r.maybeBilled = before || unsure || tokens.MaybeBilled
	if err == nil {
		r.billed++
	}
	b.limits.settle(r, held, err == nil || imm.RefusedToken(err), err == nil || unsure,
		tokens.MaybeBilled)
	return tokens, err
}

// seal turns IMM's tokens into an answer.
func (b *Broker) seal(r *request, t imm.Tokens) (Answer, error) {
	r.immRequestID, r.token = t.RequestID, fingerprint(t.AccessToken)
	s := r.Session
	if r.opens() {
		s.ID = session.NewID()
	}
	s.Access, s.RefreshToken, s.Issued, s.Decision = t.Access, t.RefreshToken, b.Now(), r.digest
	sealed, err := b.Sealer.Seal(s)
	if err != nil {
		return Answer{}, weboffice.AsError(err)
	}
	return r.answer(t.Access, sealed, 0), nil
}

// answer gives tokens of some age with what was decided.
func (r *request) answer(a weboffice.Access, token session.Sealed, age time.Duration) Answer {
	a.Life = max(a.Life-max(age, 0), 0)
	return Answer{a, token, *r.decision.Request.Permission}
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
