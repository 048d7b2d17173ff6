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

	"golang.org/x/sync/singleflight"

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

// keySource is the cache of one issuer's keys; Verifier's comment says how it behaves.
type keySource struct {
	issuer Issuer
	client *http.Client // nil: the keys are given, not fetched
	now    func() time.Time
	logger *slog.Logger
	flight singleflight.Group

	mu       sync.Mutex
	keys     []*key    // replaced whole, never changed
	read     time.Time // when
	next     time.Time // no fetch before
	fetching bool
	failure  error // of the last fetch
}

func newKeySource(issuer Issuer, o Options) *keySource {
	sameHost := func(next *http.Request, via []*http.Request) error {
		if first := via[0].URL; next.URL.Host != first.Host || next.URL.Scheme != first.Scheme ||
			len(via) > 3 {
			return errors.New("redirected to another host, another scheme or too often")
		}
		return nil
	}
	return &keySource{issuer: issuer, now: o.Now, logger: o.Logger,
		client: &http.Client{Transport: o.Client.Transport, CheckRedirect: sameHost}}
}

// verify returns the key that made the proof's signature. The issuer's keys are fetched anew where
// they are old, and where none of them fits: it may have a new one by now, even under an old kid.
func (s *keySource) verify(ctx context.Context, p proof) (*key, error) {
	tried := s.current(ctx, p)
	if k := p.signer(tried); k != nil {
		return k, nil
	}
	s.refresh(ctx)
	fitting, _ := s.lookup(p)
	if !slices.Equal(fitting, tried) {
		if k := p.signer(fitting); k != nil {
			return k, nil
		}
	}
	return nil, s.noKey(ctx, len(fitting) > 0)
}

// current returns the keys that fit a proof, after a fetch where that is due.
func (s *keySource) current(ctx context.Context, p proof) []*key {
	fitting, due := s.lookup(p)
	if due {
		s.refresh(ctx)
		fitting, _ = s.lookup(p)
	}
	return fitting
}

// lookup finds the keys of a proof's kid and algorithm, those of the algorithm where it names no
// kid. due says that the caller should fetch the keys anew.
func (s *keySource) lookup(p proof) (fitting []*key, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, k := range s.good(now) {
		if slices.Contains(k.algorithms, p.algorithm) && (p.keyID == k.id ||
			p.keyID == "" && s.client != nil) && len(fitting) < maxTried {
			fitting = append(fitting, k)
		}
	}
	return fitting, s.client != nil && !now.Before(s.read.Add(keysFresh)) && !now.Before(s.next)
}

// good returns the keys, unless they are too old to be believed. The caller holds the lock.
func (s *keySource) good(now time.Time) []*key {
	if s.client != nil && now.Sub(s.read) > keysGood {
		return nil
	}
	return s.keys
}

// noKey says why no key has made a signature.
func (s *keySource) noKey(ctx context.Context, fitted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case fitted:
		return Unauthenticated("the signature is not that of the issuer's key")
	case len(s.good(s.now())) > 0:
		return Unauthenticated("the issuer has no key of this kid and algorithm")
	}
	return s.unread(ctx.Err())
}

// check reads the keys and says why that fails.
func (s *keySource) check(ctx context.Context) error {
	s.refresh(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil || len(s.good(s.now())) == 0 {
		return s.unread(ctx.Err())
	}
	return nil
}

// unread is the 503 of keys that could not be read. The caller holds the lock.
func (s *keySource) unread(cause error) error {
	public := weboffice.ErrIssuer.Because(errors.Join(s.failure, cause), s.issuer.URL,
		cmp.Or(s.issuer.Keys, discoveryPath))
	public.RetryAfter = coldPause
	return public
}

// refresh fetches the keys, unless that was tried a moment ago, and waits for a fetch that is under
// way.
func (s *keySource) refresh(ctx context.Context) {
	s.mu.Lock()
	idle := !s.fetching && s.now().Before(s.next)
	s.mu.Unlock()
	if idle || s.client == nil {
		return
	}
	select {
	case <-s.flight.DoChan("", func() (any, error) { s.replace(ctx); return nil, nil }):
	case <-ctx.Done():
	}
}

// replace puts fetched keys in the place of the old ones. It never runs twice at once.
func (s *keySource) replace(ctx context.Context) {
	s.mu.Lock()
	if s.now().Before(s.next) {
		s.mu.Unlock()
		return
	}
	s.next, s.fetching = s.now().Add(fetchPause), true
	s.mu.Unlock()
	keys, dropped, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure, s.fetching = err, false
	report := []any{"issuer", s.issuer.Name, "dropped", dropped}
	if err != nil {
		kept := s.good(s.now())
		if len(kept) == 0 {
			s.next = s.now().Add(coldPause)
		}
		s.logger.WarnContext(ctx, "issuer's keys not read",
			append(report, "error", err.Error(), "keysKept", len(kept))...)
		return
	}
	s.keys, s.read = keys, s.now()
	s.logger.InfoContext(ctx, "issuer's keys read", append(report, "keys", len(keys))...)
}

// fetch reads the key set, which may be on another host than the issuer. dropped says which of its
// keys are left out, and why. It outlives the caller of ctx.
func (s *keySource) fetch(ctx context.Context) (keys []*key, dropped string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	address := s.issuer.Keys
	if address == "" {
		if address, err = s.discover(ctx); err != nil {
			return nil, "", fmt.Errorf("discovery: %w", err)
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, address, &set); err != nil {
		return nil, "", fmt.Errorf("key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, "", fmt.Errorf("key set: %d keys, more than %d", len(set.Keys), maxKeys)
	}
	keys, dropped = readKeys(set.Keys)
	if len(keys) == 0 {
		return nil, dropped, fmt.Errorf("key set: %d keys, none of use", len(set.Keys))
	}
	return keys, dropped, nil
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
		return "", fmt.Errorf("the document is of another issuer, %s", shown(document.Issuer))
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
