package caller

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/sync/singleflight"

	"weboffice-functions/shared/weboffice"
)

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysFresh     = time.Hour
	fetchPause    = time.Minute     // between two fetches from one issuer
	coldPause     = 5 * time.Second // after one that failed while there are no keys at all
	fetchTimeout  = 5 * time.Second // discovery and key set together
	maxBody       = 1 << 20         // bytes, of each
	maxKeys       = 100             // in one key set
	minRSA        = 2048            // bits; go-jose refuses more than 4,096
)

// rsaAlgorithms are what an RSA key's alg may say; without alg it is RS256, as OIDC has it.
var rsaAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256,
	jose.PS384, jose.PS512}

// key verifies signatures of one algorithm.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	material  any // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey; []byte for share links
}

// keySource is the cache of one issuer's keys; Verifier's comment says how it behaves.
type keySource struct {
	issuer Issuer
	client http.Client
	now    func() time.Time
	logger *slog.Logger
	flight singleflight.Group

	mu      sync.Mutex
	keys    []*key    // replaced whole, never changed
	stale   time.Time // from then on they should be fetched anew
	next    time.Time // no fetch before
	failure error     // of the last fetch
}

func newKeySource(issuer Issuer, o Options) *keySource {
	sameHost := func(next *http.Request, via []*http.Request) error {
		if first := via[0].URL; next.URL.Host != first.Host || next.URL.Scheme != first.Scheme ||
			len(via) > 3 {
			return errors.New("redirected to another host, another scheme or too often")
		}
		return nil
	}
	return &keySource{
		issuer: issuer, client: http.Client{Transport: o.Client.Transport, CheckRedirect: sameHost},
		now: o.Now, logger: o.Logger,
	}
}

// key returns the key that a proof names, and fetches the issuer's keys for it where that is due.
func (s *keySource) key(ctx context.Context, id, algorithm string) (*key, error) {
	k, found, due := s.lookup(id, algorithm)
	if due || !found { // a fetch that is under way may bring the key: wait for it
		select {
		case <-s.flight.DoChan("", func() (any, error) { s.refresh(ctx); return nil, nil }):
		case <-ctx.Done():
		}
		k, found, _ = s.lookup(id, algorithm)
	}
	if found {
		return k, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) > 0 {
		return nil, Unauthenticated("the issuer has no key of this kid and algorithm")
	}
	unread := weboffice.ErrIssuer.Because(errors.Join(s.failure, ctx.Err()), s.issuer.URL,
		discoveryPath)
	unread.RetryAfter = coldPause
	return nil, unread
}

// lookup finds the key of this id and algorithm; a proof without an id gets it only where it is the
// only one of its algorithm. due says that the caller should fetch the keys anew.
func (s *keySource) lookup(id, algorithm string) (match *key, found, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	matches := 0
	for _, k := range s.keys {
		if string(k.algorithm) == algorithm && (id == "" || id == k.id) {
			match, matches = k, matches+1
		}
	}
	now := s.now()
	return match, matches == 1 || matches > 1 && id != "", !now.Before(s.stale) &&
		!now.Before(s.next)
}

// refresh fetches the keys, unless that was tried a moment ago. It never runs twice at once.
func (s *keySource) refresh(ctx context.Context) {
	s.mu.Lock()
	if s.now().Before(s.next) {
		s.mu.Unlock()
		return
	}
	s.next = s.now().Add(fetchPause)
	s.mu.Unlock()
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = err; err != nil {
		if len(s.keys) == 0 {
			s.next = s.now().Add(coldPause)
		}
		s.logger.WarnContext(ctx, "issuer's keys not read", "issuer", s.issuer.Name, "error",
			err.Error(), "keysKept", len(s.keys))
		return
	}
	s.keys, s.stale = keys, s.now().Add(keysFresh)
	s.logger.InfoContext(ctx, "issuer's keys read", "issuer", s.issuer.Name, "keys", len(keys))
}

// fetch reads the discovery document and the key set that it names, which may be on another host.
// It outlives the caller of ctx.
func (s *keySource) fetch(ctx context.Context) ([]*key, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	var discovery struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	if err := s.get(ctx, strings.TrimSuffix(s.issuer.URL, "/")+discoveryPath,
		&discovery); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	if discovery.Issuer != s.issuer.URL {
		return nil, errors.New("discovery: the document is of another issuer")
	}
	if !fetchable(discovery.KeysURL, strings.HasPrefix(s.issuer.URL, "http:")) {
		return nil, errors.New("discovery: jwks_uri must be https")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, discovery.KeysURL, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys := usable(set.Keys[:min(len(set.Keys), maxKeys)])
	if len(keys) == 0 || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("key set: %d keys, none of use or more than %d", len(set.Keys),
			maxKeys)
	}
	return keys, nil
}

// get reads one JSON document.
func (s *keySource) get(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("no usable URL")
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return err
	}
	if len(body) > maxBody || json.Unmarshal(body, into) != nil {
		return errors.New("longer than 1 MiB or no JSON of the expected form")
	}
	return nil
}

// usable returns the keys that may verify signatures, each with its one algorithm. Keys for
// encryption, symmetric, private, weak and unknown ones are left out.
func usable(set []json.RawMessage) []*key {
	var keys []*key
	for _, raw := range set {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil || jwk.Use != "" && jwk.Use != "sig" {
			continue
		}
		var fitting []jose.SignatureAlgorithm
		switch public := jwk.Key.(type) {
		case *rsa.PublicKey:
			if public.N.BitLen() >= minRSA {
				fitting = rsaAlgorithms
			}
		case *ecdsa.PublicKey: // go-jose reads three curves
			fitting = map[int][]jose.SignatureAlgorithm{256: {jose.ES256}, 384: {jose.ES384},
				521: {jose.ES512}}[public.Params().BitSize]
		case ed25519.PublicKey:
			fitting = []jose.SignatureAlgorithm{jose.EdDSA}
		}
		for _, algorithm := range fitting {
			if jwk.Algorithm == "" || jwk.Algorithm == string(algorithm) {
				keys = append(keys, &key{jwk.KeyID, algorithm, jwk.Key})
				break
			}
		}
	}
	return keys
}
