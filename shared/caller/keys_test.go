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
	r, k := signing(t, caller.Issuer{})
	good, serves := k.sign(header, honest(r.clock, nil)), r.wire.next
	r.accepted(t, good)
	unknown := func(requests int) {
		t.Helper()
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				token := k.sign(fmt.Sprintf(`{"alg":"ES256","kid":"unknown%d"}`, i),
					honest(r.clock, nil))
				_, err := r.Verify(t.Context(), token)
				if weboffice.AsError(err).Kind != weboffice.Unauthenticated {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		r.requested(t, requests)
	}
	unknown(2) // within a minute of the first fetch
	r.clock.Advance(time.Minute)
	unknown(4)
	r.clock.Advance(59 * time.Second)
	unknown(4)
	r.wire.next = outage
	r.clock.Advance(time.Minute)
	unknown(5)
	r.accepted(t, good) // the twin: the good key is still there
	r.wire.next = serves
	r.clock.Advance(time.Minute)
	unknown(7)
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
	r.wire.next = outage // a fetch that fails evicts nothing
	flood()
}

// An issuer may give its next key another name, or the same: somebody restores a backup, or names
// keys "1".
func TestKeyIsReplaced(t *testing.T) {
	for _, id := range []string{"k", "next"} {
		r, old := signing(t, caller.Issuer{})
		next := newECKey(t, id)
		claims := honest(r.clock, map[string]any{"exp": r.clock.unix(3 * time.Hour)})
		before, after := old.sign(header, claims), next.sign(`{"alg":"ES256"}`, claims)
		r.accepted(t, before)
		r.wire.next = inProcess{published(next.public())}
		r.refused(t, after) // the keys were read a moment ago
		r.clock.Advance(time.Minute)
		r.accepted(t, before) // nothing has asked for new keys
		r.accepted(t, after)
		r.refused(t, before) // the removed key opens nothing, a remembered proof neither
		r.requested(t, 4)
	}
}

func TestAttackRemovedKeyAfterAnHour(t *testing.T) {
	r, old := signing(t, caller.Issuer{})
	token := old.sign(header, honest(r.clock, map[string]any{"exp": r.clock.unix(3 * time.Hour)}))
	r.accepted(t, token)
	r.wire.next = inProcess{published(newECKey(t, "next").public())}
	r.clock.Advance(59 * time.Minute)
	r.accepted(t, token)
	r.clock.Advance(time.Minute)
	r.refused(t, token)
}

func TestAttackKeysOfLongAgo(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	serves, claims := r.wire.next, map[string]any{"exp": r.clock.unix(48 * time.Hour)}
	remembered := k.sign(header, honest(r.clock, claims))
	r.accepted(t, remembered)
	r.wire.next = outage
	r.clock.Advance(24 * time.Hour)
	r.accepted(t, k.sign(header, honest(r.clock, nil)))
	r.clock.Advance(time.Second)
	r.unavailable(t, k.sign(header, honest(r.clock, nil)))
	public := r.unavailable(t, remembered)
	if !strings.Contains(public.Cause.Error(), "503") || public.RetryAfter != 5*time.Second {
		t.Errorf("got %+v", public)
	}
	r.wire.next = serves
	r.clock.Advance(time.Minute)
	r.accepted(t, k.sign(header, honest(r.clock, nil))) // the twin
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

// transport is an http.RoundTripper made of its method.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answers is the way to a provider with one answer for everything.
func answers(status int, body func(context.Context) io.Reader) transport {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: io.NopCloser(body(r.Context())), Request: r},
			nil
	}
}

func text(text string) func(context.Context) io.Reader {
	return func(context.Context) io.Reader { return strings.NewReader(text) }
}

var outage = answers(http.StatusServiceUnavailable, text(""))

// endless is a body of white space, in which a JSON value may begin at any time.
type endless struct{ read *int }

func (e endless) Read(p []byte) (int, error) {
	*e.read += len(p)
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

// dripping is a body that gives a byte a second.
type dripping struct{ context.Context }

func (d dripping) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		return copy(p, " "), nil
	case <-d.Done():
		return 0, d.Err()
	}
}

// A provider that fails from the start is a 503. One that fails later keeps nobody out.
func TestOutageOfAProvider(t *testing.T) {
	k, read := newECKey(t, "k"), 0
	for name, way := range map[string]http.RoundTripper{
		"outage": outage, "HTML": answers(200, text("<html>")), "nothing": answers(200, text("")),
		"cut": answers(200, text(`{"issuer":`)), "a list": answers(200, text(`[]`)),
		"more behind":    answers(200, text(`{"issuer":"`+issuerURL+`","jwks_uri":"`+issuerURL+`/keys"}x`)),
		"endless":        answers(200, func(context.Context) io.Reader { return endless{&read} }),
		"another issuer": inProcess{discovered("https://other.example", issuerURL+"/keys", k.public())},
		"redirect":       inProcess{http.RedirectHandler("https://evil.example/", http.StatusFound)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, caller.Issuer{}, nil)
			good := func() weboffice.Secret { return k.sign(header, honest(r.clock, nil)) }
			r.wire.next = way
			public := r.unavailable(t, good())
			if !strings.Contains(public.Fix, issuerURL) || public.RetryAfter <= 0 ||
				strings.Contains(public.Message, issuerURL) || public.Cause == nil {
				t.Errorf("got %+v", public)
			}
			r.requested(t, 1)
			r.unavailable(t, good())
			r.requested(t, 1) // none within five seconds
			r.wire.next = inProcess{published(k.public())}
			r.clock.Advance(5 * time.Second)
			r.accepted(t, good())
			r.requested(t, 3)
			r.wire.next = way
			for range 5 { // one fetch an hour
				r.clock.Advance(time.Hour)
				r.accepted(t, good())
				r.accepted(t, good())
			}
			r.requested(t, 8)
			if !strings.Contains(r.log.String(), "keysKept=1") ||
				strings.Contains(r.log.String(), issuerURL+"/.") {
				t.Errorf("log: %s", r.log)
			}
		})
	}
	if each := read / 6; each < 1<<20 || each > 1<<20+1<<10 { // in as many fetches
		t.Errorf("%d bytes of an endless body were read", each)
	}
}

func TestManyColdCallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock moves when everybody waits
		r, k := signing(t, caller.Issuer{})
		serves := r.wire.next
		r.wire.next = transport(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(2 * time.Second):
				return serves.RoundTrip(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		start, token := time.Now(), k.sign(header, honest(r.clock, nil))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_, err := r.Verify(ctx, token) // the fetch outlives the caller that left
		if weboffice.AsError(err).Kind != weboffice.Unavailable ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { r.accepted(t, token) })
		}
		all.Wait()
		if r.requested(t, 2); time.Since(start) != 4*time.Second {
			t.Errorf("they waited %v", time.Since(start))
		}
	})
}

// Whoever needs new keys waits for them, five seconds at most, and nobody who brings a key that is
// known.
func TestAttackSlowProvider(t *testing.T) {
	for passed, id := range map[time.Duration]string{time.Hour: "k", 2 * time.Minute: "unknown"} {
		for _, way := range []transport{
			func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			},
			answers(200, func(ctx context.Context) io.Reader { return dripping{ctx} }),
		} {
			synctest.Test(t, func(t *testing.T) {
				r, k := signing(t, caller.Issuer{})
				serves, token := r.wire.next, k.sign(header, honest(r.clock, nil))
				start := time.Now()
				waited := func(want time.Duration) {
					t.Helper()
					if took := time.Since(start); took != want {
						t.Errorf("key %s: waited %v", id, took)
					}
					start = time.Now()
				}
				r.wire.next = way
				if !errors.Is(r.unavailable(t, token), context.DeadlineExceeded) {
					t.Error("no word of the deadline")
				}
				waited(5 * time.Second)
				r.wire.next = serves
				r.clock.Advance(5 * time.Second)
				r.accepted(t, token)
				r.wire.next = way
				r.clock.Advance(passed)
				var first sync.WaitGroup
				first.Go(func() {
					named := k.sign(`{"alg":"ES256","kid":"`+id+`"}`, honest(r.clock, nil))
					r.verified(t, named, id == "k")
				})
				synctest.Wait() // the first caller waits for new keys
				token = k.sign(header, honest(r.clock, nil))
				r.accepted(t, token)
				waited(0)
				first.Wait()
				waited(5 * time.Second)
			})
		}
	}
}

func TestAttackRedirects(t *testing.T) {
	for target, requests := range map[string]int{
		"http://login.example.com/": 1, "https://login.example.com:444/": 1,
		"https://evil.example/": 1, "http://169.254.169.254/": 1, "file:///etc/passwd": 1,
		"/for/ever": 4,
	} {
		r, k := signing(t, caller.Issuer{})
		r.wire.next = inProcess{http.RedirectHandler(target, http.StatusFound)}
		r.unavailable(t, k.sign(header, honest(r.clock, nil)))
		r.requested(t, requests)
	}
	r, k := signing(t, caller.Issuer{}) // the twin: the same host
	r.wire.next = inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			http.Redirect(w, r, r.URL.Path+"?again", http.StatusFound)
			return
		}
		published(k.public()).ServeHTTP(w, r)
	})}
	r.accepted(t, k.sign(header, honest(r.clock, nil)))
}

func TestAttackKeySetAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"https://keys.example.net/set?v=3": true, "http://keys.example.net/set": false,
		"http://127.0.0.1/set": false, "http://localhost/set": false,
		"https://ann:pw@keys.example.net/set": false, "file:///set": false, "": false,
		"/set": false, "://": false,
	} {
		r, k := signing(t, caller.Issuer{})
		r.wire.next = inProcess{discovered(issuerURL, address, k.public())}
		if token := k.sign(header, honest(r.clock, nil)); good {
			r.accepted(t, token)
		} else {
			r.unavailable(t, token)
			r.requested(t, 1)
		}
	}
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
	r, k := signing(t, caller.Issuer{URL: issuerURL + "/"})
	r.wire.next = inProcess{discovered(issuerURL+"/", issuerURL+"/keys", k.public())}
	r.accepted(t, k.sign(header, honest(r.clock, map[string]any{"iss": issuerURL + "/"})))
	r.refused(t, k.sign(header, honest(r.clock, nil)))
	r.requested(t, 2, issuerURL+issuer.DiscoveryPath)
}
