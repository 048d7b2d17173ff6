package caller_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

var discard = slog.New(slog.DiscardHandler)

func TestAttackThousandUnknownKeyIDs(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	s.accepted(t, p.Token(nil))
	unknown := func() {
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				token := p.Sign(map[string]any{"kid": fmt.Sprint("unknown", i)},
					[]byte(honest(s.clock, nil)))
				if _, err := s.Verify(t.Context(), token); weboffice.AsError(
					err).Kind != weboffice.Unauthenticated {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
	}
	unknown() // within a minute of the first fetch
	if got := p.Requests(issuer.KeysPath); got != 1 {
		t.Errorf("%d fetches, want the first alone", got)
	}
	s.clock.Advance(time.Minute)
	unknown()
	if got := p.Requests(issuer.KeysPath); got != 2 {
		t.Errorf("%d fetches, want 1 for 1,000 unknown key ids", got)
	}
	s.clock.Advance(59 * time.Second)
	unknown()
	if got := p.Requests(issuer.KeysPath); got != 2 {
		t.Errorf("%d fetches, want no second one within a minute", got)
	}
	p.SetFault(issuer.Outage)
	s.clock.Advance(time.Minute)
	unknown()
	s.accepted(t, p.Token(nil)) // the twin: the good key is still there
}

func TestRotationIsFollowed(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	old := p.Token(nil)
	s.accepted(t, old)
	p.Rotate()
	s.clock.Advance(time.Minute)
	s.accepted(t, p.Token(nil))
	s.refused(t, old) // its key has left the set
	if got := p.Requests(issuer.KeysPath); got != 2 {
		t.Errorf("%d fetches, want 2", got)
	}
}

func TestAttackRemovedKeyAfterAnHour(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	old := p.Token(map[string]any{"exp": s.clock.unix(3 * time.Hour)})
	s.accepted(t, old)
	p.Rotate()
	s.clock.Advance(59 * time.Minute)
	s.accepted(t, old) // nothing has asked for new keys
	s.clock.Advance(time.Minute)
	s.refused(t, old)
	s.accepted(t, p.Token(nil))
}

func TestOutageIsSurvived(t *testing.T) {
	for _, fault := range []issuer.Fault{
		issuer.Outage, issuer.Cut, issuer.Huge, issuer.Endless, issuer.WrongIssuer,
		issuer.Malformed, issuer.Redirect,
	} {
		t.Run(string(fault), func(t *testing.T) {
			s, p := started(t)
			token := func() weboffice.Secret { return p.Token(nil) }
			s.accepted(t, token())
			if p.SetFault(fault); fault == issuer.Redirect {
				p.RedirectTo("http://localhost:1")
			}
			for range 5 {
				s.clock.Advance(time.Hour)
				s.accepted(t, token())
				s.accepted(t, token())
			}
			if !strings.Contains(s.log.String(), "keysKept=1") ||
				strings.Contains(s.log.String(), p.URL()+"/.") {
				t.Errorf("log: %s", s.log)
			}
			// discovery, and where that is well the key set
			if got := s.wire.count(); got < 2+5 || got > 2+2*5 {
				t.Errorf("%d requests, want one fetch an hour", got)
			}
			p.SetFault(issuer.None)
			p.Rotate()
			s.clock.Advance(time.Minute)
			s.accepted(t, token())
		})
	}
}

func TestProviderDownFromTheStart(t *testing.T) {
	for _, fault := range []issuer.Fault{
		issuer.Outage, issuer.Cut, issuer.Huge, issuer.Endless, issuer.WrongIssuer,
		issuer.Malformed,
	} {
		t.Run(string(fault), func(t *testing.T) {
			s, p := started(t)
			p.SetFault(fault)
			public := s.unavailable(t, p.Token(nil))
			if !strings.Contains(public.Fix, p.URL()) ||
				strings.Contains(public.Message, p.URL()) || public.RetryAfter <= 0 ||
				public.Cause == nil {
				t.Errorf("got %+v", public)
			}
			fetches := p.Requests(issuer.DiscoveryPath)
			s.unavailable(t, p.Token(nil))
			if got := p.Requests(issuer.DiscoveryPath); got != fetches {
				t.Errorf("%d more fetches within five seconds", got-fetches)
			}
			p.SetFault(issuer.None)
			s.clock.Advance(5 * time.Second)
			s.accepted(t, p.Token(nil))
		})
	}
}

func TestManyColdCallersShareOneFetch(t *testing.T) {
	s, p := started(t)
	p.SetFault(issuer.Slow)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { s.accepted(t, p.Token(nil)) })
	}
	if err := p.AwaitRequests(t.Context(), issuer.DiscoveryPath, 1); err != nil {
		t.Fatal(err)
	}
	p.SetFault(issuer.None)
	all.Wait()
	if d, k := p.Requests(issuer.DiscoveryPath), p.Requests(issuer.KeysPath); d != 1 || k != 1 {
		t.Errorf("%d and %d requests, want 1 and 1", d, k)
	}
}

func TestFetchOutlivesTheCallerThatLeft(t *testing.T) {
	s, p := started(t)
	p.SetFault(issuer.Slow)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := s.Verify(ctx, p.Token(nil))
		left <- err
	}()
	if err := p.AwaitRequests(t.Context(), issuer.DiscoveryPath, 1); err != nil {
		t.Fatal(err)
	}
	leave()
	if err := <-left; weboffice.AsError(err).Kind != weboffice.Unavailable ||
		!errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	p.SetFault(issuer.None)
	s.accepted(t, p.Token(nil)) // joins the fetch that is under way
	if got := p.Requests(issuer.DiscoveryPath); got != 1 {
		t.Errorf("%d fetches, want 1", got)
	}
}

func TestSlowProviderHoldsOneCallerOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock of this test moves when everybody waits
		c, k := newClock(), newECKey(t, "k")
		s := newScene(t, caller.Issuer{}, c, inProcess{published(k.public())})
		token := k.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil))
		s.accepted(t, token)
		s.wire.next = blocked{}
		c.Advance(time.Hour)
		start := time.Now()
		var first sync.WaitGroup
		first.Go(func() { s.accepted(t, token) })
		synctest.Wait() // the first caller waits for new keys
		s.accepted(t, token)
		if took := time.Since(start); took != 0 {
			t.Errorf("the second caller waited %v", took)
		}
		first.Wait()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the first caller waited %v", took)
		}
	})
}

// blocked is a transport to a provider that never answers.
type blocked struct{}

func (blocked) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// drip is a body that gives a byte a second.
type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (drip) Close() error { return nil }

type dripping struct{}

func (dripping) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: drip{r.Context()},
		Request: r}, nil
}

func TestAttackSlowProvider(t *testing.T) {
	for name, transport := range map[string]http.RoundTripper{"no answer": blocked{},
		"a byte a second": dripping{}} {
		t.Run(name, func(t *testing.T) {
			// the clock of this test moves when everybody waits
			synctest.Test(t, func(t *testing.T) {
				c, k := newClock(), newECKey(t, "k")
				s := newScene(t, caller.Issuer{}, c, transport)
				start := time.Now()
				public := s.unavailable(t, k.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil)))
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("took %v", took)
				}
				if !errors.Is(public, context.DeadlineExceeded) {
					t.Errorf("got %v", public.Cause)
				}
			})
		})
	}
}

func TestAttackRedirectToAnotherHost(t *testing.T) {
	var reached int
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached++
	}))
	defer elsewhere.Close()
	for name, target := range map[string]string{
		"another port": elsewhere.URL, "another name": strings.Replace(elsewhere.URL, "127.0.0.1",
			"localhost", 1),
		"metadata service": "http://169.254.169.254", "file": "file:///etc/passwd",
		"the same host for ever": "",
	} {
		t.Run(name, func(t *testing.T) {
			s, p := started(t)
			p.RedirectTo(target)
			s.unavailable(t, p.Token(nil))
			if asked := s.wire.count(); asked > 4 || asked > 1 && target != "" {
				t.Errorf("requests left: %v", s.wire.requests)
			}
		})
	}
	if reached != 0 {
		t.Errorf("%d requests reached the other host", reached)
	}
	t.Run("another scheme", func(t *testing.T) {
		c, k := newClock(), newECKey(t, "k")
		s := newScene(t, caller.Issuer{}, c,
			inProcess{http.RedirectHandler("http://login.example.com/", http.StatusFound)})
		s.unavailable(t, k.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil)))
		if s.wire.count() != 1 {
			t.Errorf("requests left: %v", s.wire.requests)
		}
	})
	t.Run("twin: the same host", func(t *testing.T) {
		s, p := provided(t, caller.Issuer{})
		token := p.Token(nil)
		s = newScene(t, caller.Issuer{}, s.clock,
			inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "" {
					http.Redirect(w, r, r.URL.Path+"?again", http.StatusFound)
					return
				}
				p.ServeHTTP(w, r)
			})})
		s.accepted(t, token)
	})
}

func TestAttackKeySetAddress(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	token := k.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil))
	for address, good := range map[string]bool{
		"https://keys.example.net/set?v=3": true, "http://keys.example.net/set": false,
		"http://127.0.0.1/set":                false,
		"http://localhost/set":                false,
		"https://ann:pw@keys.example.net/set": false, "file:///set": false, "": false,
		"/set": false, "://": false,
	} {
		t.Run(address, func(t *testing.T) {
			keys := published(k.public())
			s := newScene(t, caller.Issuer{}, c,
				inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == issuer.DiscoveryPath {
						_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuerURL, address)
						return
					}
					r.URL.Path = "/keys"
					keys.ServeHTTP(w, r)
				})})
			if good {
				s.accepted(t, token)
				return
			}
			s.unavailable(t, token)
			if s.wire.count() != 1 {
				t.Errorf("requests left: %v", s.wire.requests)
			}
		})
	}
}

func TestAttackEndlessBody(t *testing.T) {
	s, p := started(t)
	p.SetFault(issuer.Endless)
	s.unavailable(t, p.Token(nil))
	if s.wire.read < 1<<20 || s.wire.read > 1<<20+1 {
		t.Errorf("%d bytes were read", s.wire.read)
	}
}

func TestAttackHugeKeySet(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	token := k.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil))
	for size, good := range map[int]bool{1: true, 100: true, 101: false, 3000: false, 0: false} {
		keys := make([]any, size)
		for i := range keys {
			keys[i] = k.public()
		}
		s := newScene(t, caller.Issuer{}, c, inProcess{published(keys...)})
		if good {
			s.accepted(t, token)
		} else {
			s.unavailable(t, token)
		}
	}
	weak := must(rsa.GenerateKey(rand.Reader, 1536))
	weakJWK := map[string]any{"kty": "RSA", "kid": "k", "n": b64(string(weak.N.Bytes())),
		"e": "AQAB"}
	s := newScene(t, caller.Issuer{}, c, inProcess{published(weakJWK)})
	s.unavailable(t, token)
}

// leaky is a transport whose errors tell too much.
type leaky struct{}

func (leaky) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: io.ErrUnexpectedEOF}
}

func TestFetchErrorsHoldNoURL(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	s := newScene(t, caller.Issuer{URL: issuerURL + "/private-path"}, c, leaky{})
	token := k.sign(`{"alg":"ES256","kid":"k"}`,
		honest(c, map[string]any{"iss": issuerURL + "/private-path"}))
	public := s.unavailable(t, token)
	shown := public.Error() + public.Cause.Error() + s.log.String()
	if strings.Contains(shown, "private-path") || !strings.Contains(shown, "unexpected EOF") {
		t.Errorf("got %s", shown)
	}
}

func TestIssuerURLWithTrailingSlash(t *testing.T) {
	c := newClock()
	p := issuer.New(issuer.Options{Now: c.Now, Algorithm: "ES256"})
	p.SetURL(issuerURL + "/")
	s := newScene(t, caller.Issuer{URL: issuerURL + "/"}, c,
		inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = strings.Replace(r.URL.Path, "//", "/", 1)
			p.ServeHTTP(w, r)
		})})
	s.accepted(t, p.Token(nil))
	s.refused(t, p.Token(map[string]any{"iss": issuerURL}))
	if s.wire.requests[0] != issuerURL+issuer.DiscoveryPath {
		t.Errorf("got %v", s.wire.requests)
	}
}
