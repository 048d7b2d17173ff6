// Package issuer is an OIDC provider for tests and for trying things out on one machine. It serves
// a discovery document and a key set, signs any token that it is asked for, and can be told to fail
// in the ways that providers fail. It authenticates nobody: whoever holds a Provider can be anyone.
// It keeps no secrets and must not be reachable from elsewhere; Start listens on loopback only.
package issuer

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"weboffice-functions/shared/weboffice"
)

// The paths that a Provider serves below its URL.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/keys"
)

// Fault is a way to fail.
type Fault string

// The faults. They hold for both paths unless they say otherwise.
const (
	None        Fault = ""
	Outage      Fault = "outage"       // HTTP 503
	Cut         Fault = "cut"          // the connection ends without an answer
	Slow        Fault = "slow"         // no answer until the fault changes or the client leaves
	Huge        Fault = "huge"         // a key set of a thousand keys
	Endless     Fault = "endless"      // a body without an end
	Redirect    Fault = "redirect"     // to the URL that RedirectTo was given
	WrongIssuer Fault = "wrong issuer" // discovery names another issuer
	Malformed   Fault = "malformed"    // no JSON
)

// Options are what a Provider needs. Each may be left out.
type Options struct {
	Now       func() time.Time // default time.Now; the clock of iat and exp
	Algorithm string           // RS256 (default), ES256, ES384 or EdDSA
	RSA       *rsa.PrivateKey  // the first key for RS256, default made: which takes time
	Shape     string           // one of Shapes, whose URL, key set and tokens it has; default none
}

// Provider is an OIDC provider. It is an http.Handler for the paths below its URL and safe for
// concurrent use.
type Provider struct {
	options         Options
	shape           *shape
	keys            string // URL; "": KeysPath below the issuer's
	discovery, path string // the paths of the two documents

	mu       sync.Mutex
	url      string
	server   *http.Server
	signer   crypto.Signer // nil until it is first needed: RSA keys take time
	fault    Fault
	target   string         // of Redirect
	changed  chan struct{}  // closed when the fault changes
	requests map[string]int // by path
	arrived  chan struct{}  // has something after a request arrived; for one that waits
}

// New returns a provider that has no URL yet: call Start, or mount it somewhere and call SetURL.
func New(o Options) *Provider {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Algorithm = cmp.Or(o.Algorithm, "RS256")
	p := &Provider{options: o, changed: make(chan struct{}), arrived: make(chan struct{}, 1),
		requests: map[string]int{}, discovery: DiscoveryPath, path: KeysPath}
	if o.Shape != "" {
		p.shape = shapes()[o.Shape]
		p.url, p.keys = p.shape.URL, p.shape.Keys
		p.discovery = strings.TrimSuffix(must(url.Parse(p.url)).Path, "/") + DiscoveryPath
		p.path = must(url.Parse(p.keys)).Path
		p.options.Algorithm = cmp.Or(p.shape.Algorithm, o.Algorithm)
	}
	return p
}

// Start serves on a free port of 127.0.0.1, which sets the URL, until Close.
func (p *Provider) Start() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.SetURL("http://" + listener.Addr().String())
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(listener) }()
	return nil
}

// Close ends what Start began, open requests included.
func (p *Provider) Close() error { return p.server.Close() }

func (p *Provider) locked(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// SetURL says under which URL the provider is mounted. It is the issuer of the tokens signed from
// now on.
func (p *Provider) SetURL(url string) { p.locked(func() { p.url = url }) }

// URL is the issuer.
func (p *Provider) URL() (url string) { p.locked(func() { url = p.url }); return url }

// SetFault makes the provider fail, or work again with None. Requests that Slow holds go on.
func (p *Provider) SetFault(f Fault) { p.setFault(f, "") }

// RedirectTo makes the provider redirect every request to the same path under another URL.
func (p *Provider) RedirectTo(url string) { p.setFault(Redirect, url) }

func (p *Provider) setFault(f Fault, target string) {
	p.locked(func() {
		p.fault, p.target = f, target
		close(p.changed)
		p.changed = make(chan struct{})
	})
}

// Rotate replaces the signing key. The old one leaves the key set at once.
func (p *Provider) Rotate() { p.locked(func() { p.signer = nil }) }

// Requests says how many requests a path has had.
func (p *Provider) Requests(path string) (n int) {
	p.locked(func() { n = p.requests[path] })
	return n
}

// AwaitRequests waits until a path has had n requests.
func (p *Provider) AwaitRequests(ctx context.Context, path string, n int) error {
	for p.Requests(path) < n {
		select {
		case <-p.arrived:
		case <-ctx.Done():
			return fmt.Errorf("fewer than %d requests for %s: %w", n, path, ctx.Err())
		}
	}
	return nil
}

// Token signs a token of an hour with iss, aud "weboffice", sub "ann", iat and exp, or with the
// claims of the shape. The claims are added; one that is nil is left out.
func (p *Provider) Token(claims map[string]any) weboffice.Secret {
	now := p.options.Now()
	all := map[string]any{"aud": "weboffice", "sub": "ann", "iat": now.Unix(),
		"exp": now.Add(time.Hour).Unix()}
	if p.shape != nil {
		all = p.shape.claims(now.Unix())
	}
	all["iss"] = p.URL()
	return p.Sign(nil, changed(all, claims))
}

// Sign signs any payload with the current key. The header's alg, kid and typ are those of an honest
// token, unless header has others; one that is nil is left out. The signature is always made with
// the provider's own algorithm, whatever the header says.
func (p *Provider) Sign(header map[string]any, payload []byte) weboffice.Secret {
	signer, public := p.key()
	all := map[string]any{"alg": public.Algorithm, "kid": public.KeyID, "typ": "JWT"}
	if p.shape != nil {
		maps.Copy(all, p.shape.Header)
	}
	input := encode(changed(all, header)) + "." + encode(payload)
	return weboffice.Secret(input + "." + encode(sign(signer, []byte(input))))
}

// changed is an object with changes, as JSON; nil removes a member.
func changed(object, changes map[string]any) []byte {
	maps.Copy(object, changes)
	maps.DeleteFunc(object, func(_ string, value any) bool { return value == nil })
	return must(json.Marshal(object))
}

// PublicKey is the public half of the current key, as the key set shows it.
func (p *Provider) PublicKey() jose.JSONWebKey {
	_, public := p.key()
	return public
}

// ServeHTTP answers the two paths, with the fault that is set.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, target, changed := p.arrive(r.URL.Path)
	switch fault {
	case Outage:
		http.Error(w, "out of service", http.StatusServiceUnavailable)
		return
	case Cut:
		panic(http.ErrAbortHandler)
	case Slow:
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	case Endless:
		for err := error(nil); err == nil; { // until the client leaves
			_, err = w.Write(make([]byte, 64<<10))
		}
		return
	case Redirect:
		http.Redirect(w, r, target+r.URL.Path, http.StatusFound)
		return
	case Malformed:
		_, _ = w.Write([]byte(`{"issuer": "`))
		return
	}
	p.serve(w, r, fault)
}

// serve answers as a provider without fault does, apart from the content that Huge and WrongIssuer
// change.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request, fault Fault) {
	issuer, document := p.URL(), any(nil)
	_, public := p.key()
	keys := cmp.Or(p.keys, issuer+KeysPath)
	switch r.URL.Path {
	case p.discovery:
		named := issuer
		if fault == WrongIssuer {
			named += "/another"
		}
		document = map[string]any{"issuer": named, "jwks_uri": keys,
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{public.Algorithm},
		}
	case p.path:
		if p.shape != nil {
			document = p.shape.published(p)
			break
		}
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}
		for i := 0; fault == Huge && i < 1000; i++ {
			another := public
			another.KeyID = fmt.Sprint(i)
			set.Keys = append(set.Keys, another)
		}
		document = set
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	_, _ = w.Write(must(json.Marshal(document)))
}

// arrive counts a request and says what happens to it.
func (p *Provider) arrive(path string) (Fault, string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests[path]++
	select {
	case p.arrived <- struct{}{}:
	default:
	}
	return p.fault, p.target, p.changed
}

// key returns the current key, which it makes when there is none.
func (p *Provider) key() (crypto.Signer, jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.options.RSA != nil && p.options.Algorithm == "RS256" {
		p.signer, p.options.RSA = p.options.RSA, nil
	}
	if p.signer == nil {
		p.signer = newSigner(p.options.Algorithm)
	}
	public := jose.JSONWebKey{Key: p.signer.Public(), Use: "sig", Algorithm: p.options.Algorithm}
	// so that a provider started anew does not reuse a key id
	thumbprint := must(public.Thumbprint(crypto.SHA256))
	public.KeyID = encode(thumbprint[:12])
	if p.shape != nil && p.shape.KeyID != "" {
		public.KeyID = p.shape.KeyID
	}
	return p.signer, public
}

func newSigner(algorithm string) crypto.Signer {
	switch algorithm {
	case "RS256":
		return must(rsa.GenerateKey(rand.Reader, 2048))
	case "ES256":
		return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ES384":
		return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return must(private, err)
	}
	panic("issuer: Algorithm must be RS256, ES256, ES384 or EdDSA")
}

// sign makes the signature of RFC 7518 for the key's type.
func sign(signer crypto.Signer, input []byte) []byte {
	short, long := sha256.Sum256(input), sha512.Sum384(input)
	switch private := signer.(type) {
	case *rsa.PrivateKey:
		return must(rsa.SignPKCS1v15(nil, private, crypto.SHA256, short[:]))
	case *ecdsa.PrivateKey:
		half := private.Params().BitSize / 8
		digest := map[int][]byte{32: short[:], 48: long[:]}[half]
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		must(0, err)
		return append(r.FillBytes(make([]byte, half)), s.FillBytes(make([]byte, half))...)
	default:
		return must(signer.Sign(rand.Reader, input, crypto.Hash(0)))
	}
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// must is for what cannot fail unless a test asks for something impossible.
func must[T any](value T, err error) T {
	if err != nil {
		panic("issuer: " + err.Error())
	}
	return value
}
