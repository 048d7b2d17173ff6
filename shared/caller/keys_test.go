package caller_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

func TestAttackThousandUnknownKeyIDs(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	r.accepted(t, p.Token(nil))
	unknown := func() {
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				token := p.Sign(map[string]any{"kid": fmt.Sprint("unknown", i)},
					[]byte(honest(r.clock, nil)))
				_, err := r.Verify(t.Context(), token)
				if weboffice.AsError(err).Kind != weboffice.Unauthenticated {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
	}
	unknown() // within a minute of the first fetch
	r.requested(t, 2)
	r.clock.Advance(time.Minute)
	unknown()
	r.requested(t, 4)
	r.clock.Advance(59 * time.Second)
	unknown()
	r.requested(t, 4)
	p.SetFault(issuer.Outage)
	r.clock.Advance(time.Minute)
	unknown()
	r.accepted(t, p.Token(nil)) // the twin: the good key is still there
}

func TestRotationIsFollowed(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	old := p.Token(nil)
	r.accepted(t, old)
	p.Rotate()
	r.clock.Advance(time.Minute)
	r.accepted(t, p.Token(nil))
	r.refused(t, old) // its key has left the set
	r.requested(t, 4)
}

func TestAttackRemovedKeyAfterAnHour(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	old := p.Token(map[string]any{"exp": r.clock.unix(3 * time.Hour)})
	r.accepted(t, old)
	p.Rotate()
	r.clock.Advance(59 * time.Minute)
	r.accepted(t, old) // nothing has asked for new keys
	r.clock.Advance(time.Minute)
	r.refused(t, old)
	r.accepted(t, p.Token(nil))
}

// A key may be replaced under its kid: by somebody who restores a backup, or who names keys "1".
func TestKeyReplacedUnderItsKeyID(t *testing.T) {
	r, old := signing(t, caller.Issuer{})
	next := newECKey(t, "k")
	claims := honest(r.clock, map[string]any{"exp": r.clock.unix(3 * time.Hour)})
	before, after := old.sign(header, claims), next.sign(header, claims)
	r.accepted(t, before)
	r.wire.answerWith(published(next.public()))
	r.refused(t, after) // the keys were read a moment ago
	r.clock.Advance(time.Minute)
	r.accepted(t, after)
	r.refused(t, before) // the removed key opens nothing, a remembered proof neither
	r.requested(t, 4)
}

func TestAttackSignaturesThatDoNotFit(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	good := k.sign(header, honest(r.clock, nil))
	evil := newECKey(t, "k")
	r.accepted(t, good)
	flood := func() {
		for i := range 100 {
			r.refused(t, evil.sign(header, honest(r.clock, map[string]any{"jti": i})))
			r.accepted(t, good) // the twin
		}
	}
	for minutes := range 3 { // one fetch a minute at most
		flood()
		r.requested(t, 2+2*minutes)
		r.clock.Advance(time.Minute)
	}
	r.wire.answerWith(http.NotFoundHandler()) // a fetch that fails evicts nothing
	flood()
}

func TestAttackKeysOfLongAgo(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	r.accepted(t, p.Token(nil))
	remembered := p.Token(map[string]any{"exp": r.clock.unix(48 * time.Hour)})
	r.accepted(t, remembered)
	p.SetFault(issuer.Outage)
	r.clock.Advance(24 * time.Hour)
	r.accepted(t, p.Token(nil))
	r.clock.Advance(time.Second)
	r.unavailable(t, p.Token(nil))
	public := r.unavailable(t, remembered)
	if !strings.Contains(public.Cause.Error(), "503") || public.RetryAfter != 5*time.Second {
		t.Errorf("got %+v", public)
	}
	p.SetFault(issuer.None)
	r.clock.Advance(time.Minute)
	r.accepted(t, p.Token(nil)) // the twin
	r.accepted(t, remembered)
}

// Where the key set is named, nothing is discovered and iss may be any text.
func TestKeySetNamedByThePolicy(t *testing.T) {
	const iss = "http://adfs.example.com/adfs/services/trust"
	trusted := caller.Issuer{URL: iss, Keys: issuerURL + "/keys"}
	r, k := signing(t, trusted)
	claims := honest(r.clock, map[string]any{"iss": iss})
	r.accepted(t, k.sign(header, claims))
	r.refused(t, k.sign(header, honest(r.clock, nil)), "found iss")
	r.refused(t, newECKey(t, "k").sign(header, claims))
	r.requested(t, 1, issuerURL+"/keys")
	closed := newRig(t, trusted, http.NotFoundHandler())
	public := closed.unavailable(t, k.sign(header, claims))
	if !strings.Contains(public.Fix, trusted.Keys) || !strings.Contains(public.Fix, iss) {
		t.Errorf("the fix does not name the key set: %s", public.Fix)
	}
}

// A provider that fails from the start is a 503. One that fails later keeps nobody out.
func TestOutageOfAProvider(t *testing.T) {
	for _, fault := range []issuer.Fault{issuer.Outage, issuer.Cut, issuer.Huge, issuer.Endless,
		issuer.WrongIssuer, issuer.Malformed, issuer.Redirect} {
		t.Run(string(fault), func(t *testing.T) {
			r, p := started(t)
			fail := func() {
				if p.SetFault(fault); fault == issuer.Redirect {
					p.RedirectTo("http://localhost:1")
				}
			}
			fail()
			public := r.unavailable(t, p.Token(nil))
			if !strings.Contains(public.Fix, p.URL()) || public.RetryAfter <= 0 ||
				strings.Contains(public.Message, p.URL()) || public.Cause == nil {
				t.Errorf("got %+v", public)
			}
			asked := r.wire.count()
			r.unavailable(t, p.Token(nil))
			r.requested(t, asked) // none within five seconds
			p.SetFault(issuer.None)
			r.clock.Advance(5 * time.Second)
			r.accepted(t, p.Token(nil))

			fail()
			asked = r.wire.count()
			for range 5 {
				r.clock.Advance(time.Hour)
				r.accepted(t, p.Token(nil))
				r.accepted(t, p.Token(nil))
			}
			if !strings.Contains(r.log.String(), "keysKept=1") ||
				strings.Contains(r.log.String(), p.URL()+"/.") {
				t.Errorf("log: %s", r.log)
			}
			// discovery, and where that is well the key set
			if got := r.wire.count() - asked; got < 5 || got > 2*5 {
				t.Errorf("%d requests, want one fetch an hour", got)
			}
			p.SetFault(issuer.None)
			p.Rotate()
			r.clock.Advance(time.Minute)
			r.accepted(t, p.Token(nil))
		})
	}
}

func TestManyColdCallersShareOneFetch(t *testing.T) {
	r, p := started(t)
	p.SetFault(issuer.Slow)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { r.accepted(t, p.Token(nil)) })
	}
	if err := p.AwaitRequests(t.Context(), issuer.DiscoveryPath, 1); err != nil {
		t.Fatal(err)
	}
	p.SetFault(issuer.None)
	all.Wait()
	r.requested(t, 2)
}

func TestFetchOutlivesTheCallerThatLeft(t *testing.T) {
	r, p := started(t)
	p.SetFault(issuer.Slow)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.Verify(ctx, p.Token(nil))
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
	r.accepted(t, p.Token(nil)) // joins the fetch that is under way
	r.requested(t, 2)
}

// Whoever needs new keys waits for them, and nobody who brings a key that is known.
func TestSlowProviderHoldsOneCallerOnly(t *testing.T) {
	for passed, id := range map[time.Duration]string{time.Hour: "k", 2 * time.Minute: "unknown"} {
		synctest.Test(t, func(t *testing.T) { // the clock of this test moves when everybody waits
			r, k := signing(t, caller.Issuer{})
			token := k.sign(header, honest(r.clock, nil))
			r.accepted(t, token)
			r.wire.next = blocked
			r.clock.Advance(passed)
			start := time.Now()
			var first sync.WaitGroup
			first.Go(func() {
				named := k.sign(`{"alg":"ES256","kid":"`+id+`"}`, honest(r.clock, nil))
				r.verified(t, named, id == "k")
			})
			synctest.Wait() // the first caller waits for new keys
			r.accepted(t, token)
			if took := time.Since(start); took != 0 {
				t.Errorf("key %s: the second caller waited %v", id, took)
			}
			first.Wait()
			if took := time.Since(start); took != 5*time.Second {
				t.Errorf("key %s: the first caller waited %v", id, took)
			}
		})
	}
}

// transport is an http.RoundTripper made of its method.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// blocked is the way to a provider that never answers.
var blocked = transport(func(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
})

// dripping is the way to one that gives a byte a second.
var dripping = transport(func(r *http.Request) (*http.Response, error) {
	body := io.NopCloser(drip{r.Context()})
	return &http.Response{StatusCode: http.StatusOK, Body: body, Request: r}, nil
})

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

func TestAttackSlowProvider(t *testing.T) {
	for name, way := range map[string]transport{"no answer": blocked, "a byte a second": dripping} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its clock moves when everybody waits
				r, k := signing(t, caller.Issuer{})
				r.wire.next = way
				start := time.Now()
				public := r.unavailable(t, k.sign(header, honest(r.clock, nil)))
				if took := time.Since(start); took != 5*time.Second ||
					!errors.Is(public, context.DeadlineExceeded) {
					t.Errorf("got %v after %v", public.Cause, took)
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
			r, p := started(t)
			p.RedirectTo(target)
			r.unavailable(t, p.Token(nil))
			if asked := r.wire.count(); asked > 4 || asked > 1 && target != "" {
				t.Errorf("requests left: %v", r.wire.requests)
			}
		})
	}
	if reached != 0 {
		t.Errorf("%d requests reached the other host", reached)
	}
	t.Run("another scheme", func(t *testing.T) {
		r, k := signing(t, caller.Issuer{})
		r.wire.answerWith(http.RedirectHandler("http://login.example.com/", http.StatusFound))
		r.unavailable(t, k.sign(header, honest(r.clock, nil)))
		r.requested(t, 1)
	})
	t.Run("twin: the same host", func(t *testing.T) {
		r, p := provided(t, caller.Issuer{})
		r.wire.answerWith(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, r.URL.Path+"?again", http.StatusFound)
				return
			}
			p.ServeHTTP(w, r)
		}))
		r.accepted(t, p.Token(nil))
	})
}

func TestAttackKeySetAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"https://keys.example.net/set?v=3": true, "http://keys.example.net/set": false,
		"http://127.0.0.1/set": false, "http://localhost/set": false,
		"https://ann:pw@keys.example.net/set": false, "file:///set": false, "": false,
		"/set": false, "://": false,
	} {
		t.Run(address, func(t *testing.T) {
			r, k := signing(t, caller.Issuer{})
			r.wire.answerWith(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == issuer.DiscoveryPath {
					_, _ = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuerURL, address)
					return
				}
				r.URL.Path = "/keys"
				published(k.public()).ServeHTTP(w, r)
			}))
			token := k.sign(header, honest(r.clock, nil))
			if good {
				r.accepted(t, token)
				return
			}
			r.unavailable(t, token)
			r.requested(t, 1)
		})
	}
}

func TestAttackEndlessBody(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	r.wire.next = transport(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: endless{}, Request: r}, nil
	})
	r.unavailable(t, k.sign(header, honest(r.clock, nil)))
	if read := r.wire.read.Load(); read < 1<<20 || read > 1<<20+1 {
		t.Errorf("%d bytes were read", read)
	}
}

// endless is a body of white space, in which a JSON value may begin at any time.
type endless struct{}

func (endless) Close() error { return nil }

func (endless) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

func TestAttackHugeKeySet(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	token := k.sign(header, honest(r.clock, nil))
	for size, good := range map[int]bool{1: true, 100: true, 101: false, 3000: false, 0: false} {
		r := newRig(t, caller.Issuer{}, published(slices.Repeat([]any{k.public()}, size)...))
		if good {
			r.accepted(t, token)
		} else {
			r.unavailable(t, token)
		}
	}
	weak := jwk(must(rsa.GenerateKey(rand.Reader, 1536)).Public(), "k", "")
	newRig(t, caller.Issuer{}, published(weak)).unavailable(t, token)
}

func TestFetchErrorsHoldNoURL(t *testing.T) {
	const url = issuerURL + "/private-path"
	r, k := signing(t, caller.Issuer{URL: url})
	r.wire.next = transport(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: io.ErrUnexpectedEOF}
	})
	public := r.unavailable(t, k.sign(header, honest(r.clock, map[string]any{"iss": url})))
	shown := public.Error() + public.Cause.Error() + r.log.String()
	if strings.Contains(shown, "private-path") || !strings.Contains(shown, "unexpected EOF") {
		t.Errorf("got %s", shown)
	}
}

func TestIssuerURLWithTrailingSlash(t *testing.T) {
	r, p := provided(t, caller.Issuer{URL: issuerURL + "/"})
	p.SetURL(issuerURL + "/")
	r.wire.answerWith(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "//", "/", 1) // that of its key set
		p.ServeHTTP(w, r)
	}))
	r.accepted(t, p.Token(nil))
	r.refused(t, p.Token(map[string]any{"iss": issuerURL}))
	r.requested(t, 2, issuerURL+issuer.DiscoveryPath)
}
