package caller

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"weboffice-functions/shared/recent"
	"weboffice-functions/shared/weboffice"
)

const (
	maxID     = 255  // bytes of sub, a user's id and jti; OIDC's limit for sub
	maxAvatar = 1024 // bytes

	// rememberedProofs is how many accepted proofs a Verifier keeps decoded, each of at most
	// rememberedSize bytes: some MB at worst.
	rememberedProofs = 1024
	rememberedSize   = 2 << 10
)

// Options are what a Verifier needs.
type Options struct {
	Issuers      []Issuer
	LinkKeys     []weboffice.Secret // 32 raw bytes each; any of them verifies a share link
	RevokedLinks []string           // jti
	// its Transport carries the requests for keys; required with Issuers
	Client *http.Client
	Now    func() time.Time // required
	Logger *slog.Logger     // gets the outcome of every fetch; required with Issuers
}

// Verifier verifies proofs. It is safe for concurrent use.
//
// It keeps each issuer's keys for an hour; then one caller waits for new ones while the others go
// on with the old. A fetch is a discovery document and a key set, within 5 s together and 1 MiB
// each, over https, without redirects to other hosts; it goes on when the caller that caused it
// leaves. An unknown kid causes at most one fetch a minute. A fetch that fails leaves the keys as
// they are.
//
// A page shows the same proof again and again, so an accepted one is remembered by its hash: next
// time its times are looked at, and its signature only where the issuer's keys have been read anew.
type Verifier struct {
	trusted  map[string]trust // by iss
	revoked  map[string]bool
	now      func() time.Time
	accepted *recent.Map[accepted] // by SHA-256 of the proof
}

// accepted is what one proof said, and the key that verified it.
type accepted struct {
	proof  proof
	caller Caller
	key    *key
}

// trust is an issuer and the way to its keys.
type trust struct {
	Issuer
	key func(ctx context.Context, id, algorithm string) (*key, error)
}

// NewVerifier checks the options and makes no request. Its error names every problem.
func NewVerifier(o Options) (*Verifier, error) {
	if o.Now == nil || len(o.Issuers) > 0 && (o.Client == nil || o.Logger == nil) {
		return nil, errors.New("caller: Now is required, Client and Logger with Issuers")
	}
	v := &Verifier{trusted: map[string]trust{}, revoked: map[string]bool{}, now: o.Now,
		accepted: recent.New[accepted](rememberedProofs)}
	var problems []error
	for _, issuer := range o.Issuers {
		if err := issuer.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("issuer %s: %w", issuer.Name, err))
		}
		if _, twice := v.trusted[issuer.URL]; twice {
			problems = append(problems, fmt.Errorf("issuer %s: another issuer has the same url",
				issuer.Name))
		}
		v.trusted[issuer.URL] = trust{issuer, newKeySource(issuer, o).key}
	}
	if len(o.LinkKeys) > 0 {
		links, err := linkTrust(o.LinkKeys)
		v.trusted[LinkIssuer], problems = links, append(problems, err)
	}
	for _, id := range o.RevokedLinks {
		v.revoked[id] = true
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return v, nil
}

// Verify turns a proof into a Caller. The error is a *weboffice.Error: the 401 of Unauthenticated,
// or a 503 while the issuer's keys have never been read and cannot be. The Caller is then empty,
// which reads as a guest: look at the error first.
func (v *Verifier) Verify(ctx context.Context, token weboffice.Secret) (Caller, error) {
	sum := sha256.Sum256([]byte(token.Reveal())) // the signature is part of the text
	known, seen := v.accepted.Get(sum)
	var err error
	if seen {
		err = known.proof.check(v.trusted[known.caller.IssuerURL].Issuer, v.now())
	} else {
		known.proof, known.caller, err = v.read(token)
	}
	if err != nil { // before the key: a proof that no signature could save causes no fetch
		return Caller{}, Unauthenticated(err.Error())
	}
	k, err := v.trusted[known.caller.IssuerURL].key(ctx, known.proof.keyID, known.proof.algorithm)
	if err != nil {
		return Caller{}, err
	}
	if k == known.key {
		return known.caller, nil
	}
	if err := verifySignature(token, k); err != nil {
		return Caller{}, Unauthenticated(err.Error())
	}
	if known.key, known.proof.payload = k, nil; len(token) <= rememberedSize {
		v.accepted.Put(sum, known)
	}
	return known.caller, nil
}

// Inspect reads a proof without its signature, for a person who asks why it is refused. The error
// is why Verify would refuse it before it looks at the signature. The Caller holds what could be
// read and must not be trusted, with or without an error.
func (v *Verifier) Inspect(token weboffice.Secret) (Caller, error) {
	_, c, err := v.read(token)
	return c, err
}

// read decodes a proof and holds its claims to the rules of its issuer.
func (v *Verifier) read(token weboffice.Secret) (proof, Caller, error) {
	p, err := decodeProof(token)
	if err != nil {
		return p, Caller{}, err
	}
	c := Caller{
		Subject: p.registered.Subject, Claims: p.claims, IssuedAt: p.registered.IssuedAt.Time(),
		Expires: p.registered.Expiry.Time(),
	}
	issuer, known := v.trusted[p.registered.Issuer]
	if !known {
		return p, c, errors.New("iss is not an issuer of the policy")
	}
	return p, c, errors.Join(c.identify(issuer.Issuer, p, v.revoked),
		p.check(issuer.Issuer, v.now()))
}

// CallerFor returns the caller that a proof of this issuer with these claims, a JSON object, would
// make: for trying out a policy. Share links have the issuer whose Name and URL are LinkIssuer. Neither
// times nor audience are looked at.
func (i Issuer) CallerFor(claims []byte) (Caller, error) {
	var p proof
	if err := p.decodeClaims(claims); err != nil {
		return Caller{}, err
	}
	c := Caller{Subject: p.registered.Subject, Claims: p.claims}
	return c, c.identify(i, p, nil)
}

// identify says who the caller is to this issuer.
func (c *Caller) identify(i Issuer, p proof, revoked map[string]bool) error {
	c.Issuer, c.IssuerURL = i.Name, i.URL
	if c.EmailIgnored = c.whyNoEmail(i.TrustEmail); c.EmailIgnored != "" {
		delete(c.Claims, "email")
	}
	if c.Issuer == LinkIssuer {
		return c.identifyLink(p, revoked)
	}
	return c.identifyPerson(i.User)
}

// plainEmail is an address without quotes, spaces or a second @: `*@example.com` must not let
// "a@evil.example"@example.com in.
var plainEmail = regexp.MustCompile(`^[^\s@"<>(),:;\\\[\]]+@[^\s@"<>(),:;\\\[\]]+$`)

// whyNoEmail says why the proof's email does not count. It counts only when the issuer vouches for
// it: whoever may write any address into an account's profile could be anybody.
func (c *Caller) whyNoEmail(trusted bool) string {
	email, there := c.Claims["email"]
	text, _ := email.(string)
	name := "email_verified"
	if _, usual := c.Claims[name]; !usual {
		name = "emailVerified"
	}
	verified, known := c.Claims[name]
	switch {
	case !there:
		return ""
	case !plainEmail.MatchString(text):
		return "email does not count: it is not one plain address"
	case trusted || verified == true || verified == "true":
		return ""
	case !known:
		name = "email_verified is missing"
	default:
		name += " is not true"
	}
	return "email does not count: " + name +
		" (if the issuer verifies every address, say trustEmail: true under it)"
}

// identifyPerson fills User from the claims that the policy names.
func (c *Caller) identifyPerson(names UserClaims) error {
	c.User.ID, _ = c.Claims[cmp.Or(names.ID, "sub")].(string)
	c.User.Name, _ = c.Claims[cmp.Or(names.Name, "name")].(string)
	if avatar, _ := c.Claims[cmp.Or(names.Avatar, "picture")].(string); len(avatar) <= maxAvatar &&
		fetchable(avatar, false) {
		c.User.Avatar = avatar
	}
	if c.Subject == "" || c.User.ID == "" || max(len(c.Subject), len(c.User.ID)) > maxID {
		return errors.New(
			"sub, or the claim that user.id names, is missing, longer than 255 bytes or no string")
	}
	return nil
}
