package caller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"weboffice-functions/shared/weboffice"
)

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysFresh     = time.Hour
	keysGood      = 24 * time.Hour  // after that they verify nothing
	fetchPause    = time.Minute     // between two fetches from one issuer
	coldPause     = 5 * time.Second // after one that failed while there are no good keys
	fetchTimeout  = 5 * time.Second // discovery and key set together
	maxBody       = 1 << 20         // bytes, of each
	maxKeys       = 100             // in one key set
	maxTried      = 8               // keys for one signature
)

// keySource is an issuer with its keys; Verifier's comment says how it behaves.
type keySource struct {
	issuer Issuer
	client *http.Client // nil: the keys are given, not fetched
	now    func() time.Time
	logger *slog.Logger

	mu      sync.Mutex
	keys    []*key        // replaced whole, never changed
	read    time.Time     // when
	next    time.Time     // no fetch before
	running chan struct{} // closed at the end of the fetch under way; nil: none
	failure error         // of the last fetch
}

// sameHost lets a few redirects pass that stay where the policy sends us.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if next.URL.Host == first.Host && next.URL.Scheme == first.Scheme && len(via) <= 3 {
		return nil
	}
	return errors.New("redirected to another host, another scheme or too often")
}

// verify returns the key that made the proof's signature. The keys are fetched anew where they are
// old, and where none of them fits: the issuer may have a new one by now, even under an old kid.
func (s *keySource) verify(ctx context.Context, p *proof) (*key, error) {
	keys := s.current(ctx, false)
	k, fits := s.signer(p, keys)
	if k == nil {
		if fresh := s.current(ctx, true); !slices.Equal(fresh, keys) {
			keys = fresh
			k, fits = s.signer(p, keys)
		}
	}
	switch {
	case k != nil:
		return k, nil
	case fits:
		return nil, Unauthenticated("the signature is not that of the issuer's key")
	case len(keys) > 0:
		return nil, Unauthenticated("the issuer has no key of this kid and algorithm: found kid " +
			shown(p.keyID) + ", alg " + shown(p.algorithm))
	}
	return nil, s.unread(ctx.Err())
}

// signer returns the first key that made the proof's signature, of those that fit: that have its
// kid and algorithm, or its algorithm where it names no kid. A link must name the kid.
func (s *keySource) signer(p *proof, keys []*key) (signer *key, fits bool) {
	tried := 0
	for _, k := range keys {
		named := p.keyID == k.id || p.keyID == "" && p.Issuer != LinkIssuer
		if named && slices.Contains(k.algorithms, p.algorithm) && tried < maxTried {
			if tried++; k.signed(p) {
				return k, true
			}
		}
	}
	return nil, tried > 0
}

// current returns the keys, unless they are too old to be believed. They are fetched first where
// they are due, or where the caller needs others, unless that was tried a moment ago. One caller
// waits for the fetch, and whoever needs others; it goes on when its caller leaves.
func (s *keySource) current(ctx context.Context, others bool) []*key {
	if s.client == nil { // the keys are at hand, as those of share links
		return s.keys
	}
	s.mu.Lock()
	now := s.now()
	due := (others || now.Sub(s.read) >= keysFresh) && !now.Before(s.next)
	if due && s.running == nil {
		s.next, s.running = now.Add(fetchPause), make(chan struct{})
		go s.replace(context.WithoutCancel(ctx))
	}
	running := s.running
	s.mu.Unlock()
	if running != nil && (due || others) {
		select {
		case <-running:
		case <-ctx.Done():
		}
	}
	return s.good()
}

func (s *keySource) good() []*key {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.read) > keysGood {
		return nil
	}
	return s.keys
}

// unread is the 503 of keys that could not be read.
func (s *keySource) unread(cause error) *weboffice.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	public := weboffice.ErrIssuer.Because(errors.Join(s.failure, cause), s.issuer.URL,
		cmp.Or(s.issuer.Keys, discoveryPath))
	public.RetryAfter = coldPause
	return public
}

// replace puts fetched keys in the place of the old ones, which stay where that fails.
func (s *keySource) replace(ctx context.Context) {
	keys, dropped, err := s.fetch(ctx)
	kept := s.good()
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.running)
	s.running, s.failure = nil, err
	log := s.logger.With("issuer", s.issuer.Name, "dropped", dropped)
	if err == nil {
		s.keys, s.read = keys, s.now()
		log.InfoContext(ctx, "issuer's keys read", "keys", len(keys))
		return
	}
	if len(kept) == 0 {
		s.next = s.now().Add(coldPause)
	}
	log.WarnContext(ctx, "issuer's keys not read", "error", err.Error(), "keysKept", len(kept))
}

// fetch reads the key set, which may be on another host than the issuer. dropped says which of its
// keys are left out, and why.
func (s *keySource) fetch(ctx context.Context) (keys []*key, dropped string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	address := s.issuer.Keys
	if address == "" {
		if address, err = s.discover(ctx); err != nil {
			return nil, "", fmt.Errorf("discovery: %w", err)
		}
	}
	var set struct{ Keys []json.RawMessage }
	if err := s.get(ctx, address, &set); err != nil {
		return nil, "", fmt.Errorf("key set: %w", err)
	}
	if len(set.Keys) <= maxKeys {
		keys, dropped = readKeys(set.Keys)
	}
	if len(keys) == 0 {
		err = fmt.Errorf("key set: %d keys, none of use or more than %d", len(set.Keys), maxKeys)
	}
	return keys, dropped, err
}

// discover returns the address of the key set.
func (s *keySource) discover(ctx context.Context) (string, error) {
	var document struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	address := strings.TrimSuffix(s.issuer.URL, "/") + discoveryPath
	if err := s.get(ctx, address, &document); err != nil {
		return "", err
	}
	if document.Issuer != s.issuer.URL {
		return "", fmt.Errorf("the document is of another issuer, %s: write url so, or name the"+
			" key set in keys", shown(document.Issuer))
	}
	if !fetchable(document.KeysURL, strings.HasPrefix(s.issuer.URL, "http:")) {
		return "", errors.New("jwks_uri must be https; another key set can be named in keys")
	}
	return document.KeysURL, nil
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
