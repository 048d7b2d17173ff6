package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/weboffice"
)

// gate is an answer that waits: entered tells that a request has come, open lets it and all others
// pass.
type gate struct{ entered, open chan struct{} }

func newGate() gate { return gate{make(chan struct{}, 1000), make(chan struct{})} }

func (g gate) before(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		g.entered <- struct{}{}
		<-g.open
		h(w, r)
	}
}

func TestHundredColdCallersMakeOneExchange(t *testing.T) {
	c := newClouds(t)
	g := newGate()
	c.awsAnswers(g.before(func(w http.ResponseWriter, _ *http.Request) { c.awsToken(w, oidc) }))
	source := c.source(c.lambda())
	var started, done sync.WaitGroup
	for range 100 {
		started.Add(1)
		done.Go(func() {
			started.Done()
			if got, err := source.Credentials(context.Background()); err != nil ||
				got.AccessKeyID != "STS.1" {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	started.Wait()
	<-g.entered
	close(g.open)
	done.Wait()
	c.calls(1)
}

func TestOthersAreServedWhileOneRenews(t *testing.T) {
	c := newClouds(t)
	source := c.source(c.lambda())
	get(t, source)
	c.clock.advance(time.Hour - renewEarly - 2*time.Second)
	get(t, source)
	c.calls(1)

	c.clock.advance(3 * time.Second)
	g := newGate()
	c.answers(g.before(func(w http.ResponseWriter, _ *http.Request) {
		c.give(w, "STS.2", "s3cr3t", c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	renewing := make(chan Credentials)
	go func() { renewing <- get(t, source) }()
	<-g.entered
	var others sync.WaitGroup
	for range 100 {
		others.Go(func() {
			if got, err := source.Credentials(context.Background()); err != nil ||
				got.AccessKeyID != "STS.1" {
				t.Errorf("another caller got %v, %v", got, err)
			}
		})
	}
	others.Wait() // before the exchange is let go
	close(g.open)
	if got := <-renewing; got.AccessKeyID != "STS.2" {
		t.Errorf("the caller that renewed got %s", got.AccessKeyID)
	}
	if got := get(t, source); got.AccessKeyID != "STS.2" {
		t.Errorf("afterwards %s", got.AccessKeyID)
	}
	c.calls(2)
}

// A day of four callers a minute, with an STS that fails every other time: nobody ever fails, and
// nobody gets what has ended.
func TestNoRequestFailsAcrossRenewals(t *testing.T) {
	c := newClouds(t)
	source := c.source(c.lambda())
	get(t, source)
	var calls atomic.Int64
	c.answers(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1)%2 == 1 {
			refused(http.StatusServiceUnavailable, "ServiceUnavailable")(w, r)
			return
		}
		c.give(w, fmt.Sprintf("STS.%d", calls.Load()), "s3cr3t",
			c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	for range 24 * 60 {
		c.clock.advance(time.Minute)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				before := c.clock.now()
				got, err := source.Credentials(context.Background())
				if err != nil || !got.Expires.After(before) {
					t.Errorf("at %v: %v, %v", before, got, err)
				}
			})
		}
		all.Wait()
	}
	// An hour less five minutes, a failure, and a minute's step until the next attempt.
	if n := calls.Load(); n < 48 || n > 56 {
		t.Errorf("%d exchanges in a day", n)
	}
}

// Rounds of callers that come and go away, while the clock runs through several lives.
func TestRaces(t *testing.T) {
	c := newClouds(t)
	c.life = 40 * time.Second
	source := c.source(c.lambda())
	for range 20 {
		var round sync.WaitGroup
		for range 100 {
			round.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel()
				if got, err := source.Credentials(ctx); (err != nil || !got.complete()) &&
					!errors.Is(err, context.Canceled) {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		round.Wait()
		settle(source.(*cache))
		c.clock.advance(5 * time.Second)
	}
	c.calls(5)
}

// settle waits for an exchange that nobody waits for any more.
func settle(c *cache) {
	c.mu.Lock()
	running := c.running
	c.mu.Unlock()
	if running != nil {
		<-running
	}
}

func TestCallerThatGoesAway(t *testing.T) {
	c := newClouds(t)
	g := newGate()
	c.awsAnswers(g.before(func(w http.ResponseWriter, _ *http.Request) { c.awsToken(w, oidc) }))
	source := c.source(c.lambda())
	ctx, cancel := context.WithCancel(context.Background())
	gone, stays := make(chan error), make(chan Credentials)
	go func() { _, err := source.Credentials(ctx); gone <- err }()
	<-g.entered
	go func() { stays <- get(t, source) }()
	cancel()
	err := <-gone // while the exchange still hangs
	everything.record(err)
	if e := weboffice.AsError(err); !errors.Is(err, context.Canceled) ||
		e.Kind != weboffice.Timeout {
		t.Errorf("got %v", err)
	}
	close(g.open)
	if got := <-stays; got.AccessKeyID != "STS.1" {
		t.Errorf("got %v", got)
	}
	c.calls(1)
}

// synthetic is a cache whose exchange is a function and whose clock is the bubble's.
func synthetic(t *testing.T, exchange func(context.Context) (Credentials, error)) *cache {
	return &cache{exchange: exchange, name: "synthetic", now: time.Now, log: logger(t)}
}

func lasting(d time.Duration) Credentials {
	return Credentials{"STS.x", "s3cr3t", "s3cr3t", time.Now().Add(d)}
}

func TestRenewalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		hangs := make(chan struct{})
		c := synthetic(t, func(context.Context) (Credentials, error) {
			if calls++; calls > 1 {
				<-hangs
			}
			return lasting(time.Hour), nil
		})
		first := get(t, c)
		time.Sleep(time.Hour - renewEarly)
		started := time.Now()
		if got := get(t, c); got != first || time.Since(started) != patience {
			t.Errorf("got %v after %v", got, time.Since(started))
		}
		started = time.Now()
		if got := get(t, c); got != first || time.Since(started) != 0 {
			t.Errorf("the next caller got %v after %v", got, time.Since(started))
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if got, err := c.Credentials(ctx); err != nil || got != first {
			t.Errorf("got %v, %v", got, err)
		}
		// At the end of the old ones, a caller waits as long as its context lets it.
		time.Sleep(renewEarly)
		_, err := c.Credentials(ctx)
		if everything.record(err); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(hangs)
		if got := get(t, c); got == first || calls != 2 {
			t.Errorf("got %v after %d exchanges", got, calls)
		}
	})
}

func TestRenewalFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Duration
		var started time.Time
		healthy := true
		c := synthetic(t, func(context.Context) (Credentials, error) {
			if attempts = append(attempts, time.Since(started)); healthy {
				return lasting(time.Hour), nil
			}
			return Credentials{}, unavailable("mend it", errors.New("broken"))
		})
		first := get(t, c)
		time.Sleep(time.Hour - renewEarly)
		healthy, attempts, started = false, nil, time.Now()
		// ten callers a second, for as long as the old ones are valid
		for time.Since(started) < renewEarly {
			if got := get(t, c); got != first {
				t.Fatalf("got %v", got)
			}
			time.Sleep(100 * time.Millisecond)
		}
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(attempts, want) {
			t.Errorf("attempts at %v, not %v", attempts, want)
		}
		// Ended: callers fail at once, and are told when the next attempt is.
		_, err := c.Credentials(context.Background())
		if e := failed(t, err); e.Fix != "mend it" || e.RetryAfter != 3*time.Second {
			t.Errorf("fix %q, retry after %v", e.Fix, e.RetryAfter)
		}
		time.Sleep(3 * time.Second)
		healthy = true
		if got := get(t, c); got == first {
			t.Error("got what has ended")
		}
		// A success forgets the failures.
		time.Sleep(time.Hour)
		healthy = false
		_, err = c.Credentials(context.Background())
		if e := failed(t, err); e.RetryAfter != firstRetry {
			t.Errorf("retry after %v", e.RetryAfter)
		}
	})
}

func TestErrorsAreNotShared(t *testing.T) {
	c := synthetic(t, func(context.Context) (Credentials, error) {
		return Credentials{}, unavailable("mend it", errors.New("broken"))
	})
	_, first := c.Credentials(context.Background())
	failed(t, first).IMMRequestID = "changed by the edge"
	_, second := c.Credentials(context.Background())
	if id := failed(t, second).IMMRequestID; id != "" {
		t.Errorf("the next caller's error has RequestID %q", id)
	}
}

// Credentials that live shorter than twice the five minutes are renewed at half their life, not at
// every call.
func TestShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := synthetic(t, func(context.Context) (Credentials,
			error) {
			calls++
			return lasting(4 * time.Minute), nil
		})
		for range 8 * 60 {
			get(t, c)
			time.Sleep(time.Second)
		}
		if calls != 4 {
			t.Errorf("%d exchanges in eight minutes", calls)
		}
	})
}
