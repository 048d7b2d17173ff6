package caller

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"weboffice-functions/shared/weboffice"
)

// rememberedProofs is how many accepted proofs a Verifier keeps decoded, each of at most
// rememberedSize bytes: some MB at worst.
const (
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
// on with the old. A fetch is a discovery document and a key set (the key set alone where the
// issuer names its Keys), within 5 s together and 1 MiB each, over https, without redirects to
// other hosts; it goes on when the caller that caused it leaves. An unknown kid, and a signature
// that does not fit, cause at most one fetch a minute. A fetch that fails leaves the keys as they
// are. Keys that were last read over a day ago verify nothing.
//
// A page shows the same proof again and again, so an accepted one is remembered by its hash: next
// time its times are looked at, and its signature only where the issuer's key has changed.
type Verifier struct {
	trusted  map[string]*keySource // by iss
	revoked  map[string]bool
	now      func() time.Time
	accepted *lru.Cache[[sha256.Size]byte, *proof] // by SHA-256 of its text
}

// NewVerifier checks the options and makes no request. Its error names every problem.
func NewVerifier(o Options) (*Verifier, error) {
	if o.Now == nil || len(o.Issuers) > 0 && (o.Client == nil || o.Logger == nil) {
		return nil, errors.New("caller: Now is required, Client and Logger with Issuers")
	}
	memory, err := lru.New[[sha256.Size]byte, *proof](rememberedProofs)
	problems := []error{err}
	v := &Verifier{map[string]*keySource{}, map[string]bool{}, o.Now, memory}
	for _, issuer := range o.Issuers {
		if err := issuer.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("issuer %s: %w", issuer.Name, err))
		}
		if v.trusted[issuer.URL] != nil {
			problems = append(problems, errors.New("issuer "+issuer.Name+
				": another issuer has the same url"))
		}
		v.trusted[issuer.URL] = &keySource{issuer: issuer, now: o.Now, logger: o.Logger,
			client: &http.Client{Transport: o.Client.Transport, CheckRedirect: sameHost}}
	}
	if len(o.LinkKeys) > 0 {
		links, err := linkSource(o.LinkKeys)
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
// or a 503 while there are no keys of the issuer that were read within a day. On error the Caller
// is the zero value, which means "guest": always check the error.
func (v *Verifier) Verify(ctx context.Context, token weboffice.Secret) (Caller, error) {
	var sum [sha256.Size]byte
	if len(token) <= rememberedSize {
		sum = sha256.Sum256([]byte(token.Reveal())) // the signature is part of the text
		if known, seen := v.accepted.Get(sum); seen && v.holds(ctx, known) {
			return known.Caller, nil
		}
	}
	p, source, err := v.read(token)
	if err != nil { // before the key: a proof that no signature could save causes no fetch
		return Caller{}, Unauthenticated(err.Error())
	}
	if p.key, err = source.verify(ctx, p); err != nil {
		return Caller{}, err
	}
	if len(token) <= rememberedSize {
		p.signed, p.signature = nil, nil // of a secret its hash alone is kept
		v.accepted.Add(sum, p)
	}
	return p.Caller, nil
}

// holds says whether a remembered proof is still valid and its key still the issuer's.
func (v *Verifier) holds(ctx context.Context, known *proof) bool {
	source := v.trusted[known.IssuerURL]
	return known.check(source.issuer.MaxAge, v.now()) == nil &&
		slices.Contains(source.current(ctx, false), known.key)
}

// Inspect reads a proof without its signature, for a person who asks why it is refused. The error
// is why Verify would refuse it before it looks at the signature. The Caller holds what could be
// read and must not be trusted, with or without an error.
func (v *Verifier) Inspect(token weboffice.Secret) (Caller, error) {
	p, _, err := v.read(token)
	return p.Caller, err
}

// ReadKeys reads the keys of the issuer with this URL, for checking a deployment. The error is the
// 503 that Verify gives where that has never worked.
func (v *Verifier) ReadKeys(ctx context.Context, url string) error {
	source, known := v.trusted[url]
	if !known {
		return errors.New("the policy has no issuer with this url")
	}
	if len(source.current(ctx, true)) == 0 {
		return source.unread(ctx.Err())
	}
	return nil
}

// read decodes a proof, says who its bearer would be to its issuer, and holds it to what that one
// demands, short of the signature.
func (v *Verifier) read(token weboffice.Secret) (*proof, *keySource, error) {
	p, err := decode(token)
	if p.Claims == nil {
		return p, nil, err
	}
	name, _ := p.Claims["iss"].(string)
	source, known := v.trusted[name]
	if !known {
		source = &keySource{}
		wanted := fmt.Sprintf("%+q", slices.Sorted(maps.Keys(v.trusted)))
		err = cmp.Or(err, fmt.Errorf("found iss %s, and the policy's issuers are %s",
			shown(p.Claims["iss"]), wanted[:min(len(wanted), 10*maxShown)]))
	}
	trusted := source.issuer
	err = cmp.Or(err, p.checkAudience(trusted), p.check(trusted.MaxAge, v.now()),
		p.checkAlgorithm(trusted))
	return p, source, errors.Join(err, trusted.identify(&p.Caller, v.revoked))
}
