package credentials

import (
	"context"
	"errors"
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

// all100 lets a hundred callers get these credentials at once.
func all100(t *testing.T, s Source, keyID string) *sync.WaitGroup {
	var started, done sync.WaitGroup
	for range 100 {
		started.Add(1)
		done.Go(func() {
			started.Done()
			got, err := s.Credentials(context.Background())
			if err != nil || got.AccessKeyID != keyID {
				t.Errorf("got %v, %v, not %s", got, err, keyID)
			}
		})
	}
	started.Wait()
	return &done
}

func TestHundredColdCallersMakeOneExchange(t *testing.T) {
	r, g := newRig(t), newGate()
	r.answerForAWS(g.before(r.giveToken))
	done := all100(t, r.source(r.lambda(), nil), "STS.1")
	<-g.entered
	close(g.open)
	done.Wait()
	r.calls(1, 1)
}

func TestOthersAreServedWhileOneRenews(t *testing.T) {
	r, g := newRig(t), newGate()
	source := r.source(r.lambda(), nil)
	get(t, source)
	r.advance(time.Hour - renewEarly - 2*time.Second)
	get(t, source)
	r.calls(1, 1)

	r.advance(3 * time.Second)
	r.answer(g.before(r.gives("STS.2")))
	renewing := make(chan Credentials)
	go func() { renewing <- get(t, source) }()
	<-g.entered
	all100(t, source, "STS.1").Wait() // before the exchange is let go
	close(g.open)
	if got := <-renewing; got.AccessKeyID != "STS.2" {
		t.Errorf("the caller that renewed got %s", got.AccessKeyID)
	}
	all100(t, source, "STS.2").Wait()
	r.calls(2, 2)
}

// A day of four callers a minute, with an STS that fails every other time: nobody ever fails, and
// nobody gets what has ended.
func TestNoRequestFailsAcrossRenewals(t *testing.T) {
	r := newRig(t)
	source := r.source(r.lambda(), nil)
	get(t, source)
	var calls atomic.Int64
	r.answer(func(w http.ResponseWriter, q *http.Request) {
		if calls.Add(1)%2 == 1 {
			refused(http.StatusServiceUnavailable, "ServiceUnavailable")(w, q)
			return
		}
		r.gives("STS.n")(w, q)
	})
	for range 24 * 60 {
		r.advance(time.Minute)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				before := r.now()
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
	r := newRig(t)
	r.life = 40 * time.Second
	source := r.source(r.lambda(), nil).(*cache)
	for range 20 {
		var round sync.WaitGroup
		for range 100 {
			round.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel()
				got, err := source.Credentials(ctx)
				if (err != nil || !got.complete()) && !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		round.Wait()
		source.mu.Lock()
		running := source.running
		source.mu.Unlock()
		if running != nil { // an exchange that nobody waits for any more
			<-running
		}
		r.advance(5 * time.Second)
	}
	r.calls(5, 5)
}

func TestCallerThatGoesAway(t *testing.T) {
	r, g := newRig(t), newGate()
	r.answerForAWS(g.before(r.giveToken))
	source := r.source(r.lambda(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	gone, stays := make(chan error), make(chan Credentials)
	go func() { _, err := source.Credentials(ctx); gone <- err }()
	<-g.entered
	go func() { stays <- get(t, source) }()
	cancel()
	err := <-gone // while the exchange still hangs
	hunt(t, err)
	if !errors.Is(err, context.Canceled) || weboffice.AsError(err).Kind != weboffice.Timeout {
		t.Errorf("got %v", err)
	}
	close(g.open)
	if got := <-stays; got.AccessKeyID != "STS.1" {
		t.Errorf("got %v", got)
	}
	r.calls(1, 1)
}

// synthetic is a cache whose exchange is a function and whose clock is the bubble's.
func synthetic(t *testing.T, fetch func() (Credentials, error)) *cache {
	return &cache{fetch: func(context.Context) (Credentials, error) { return fetch() },
		name: "synthetic", now: time.Now, log: logger(t)}
}

func lasting(d time.Duration) Credentials {
	return Credentials{"STS.x", "s3cr3t", "s3cr3t", time.Now().Add(d)}
}

func TestRenewalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		hangs := make(chan struct{})
		c := synthetic(t, func() (Credentials, error) {
			if calls++; calls > 1 {
				<-hangs
			}
			return lasting(time.Hour), nil
		})
		first := get(t, c)
		time.Sleep(time.Hour - renewEarly)
		for _, wait := range []time.Duration{patience, 0} { // of the one that renews, of the next
			started := time.Now()
			if got := get(t, c); got != first || time.Since(started) != wait {
				t.Errorf("got %v after %v", got, time.Since(started))
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if got, err := c.Credentials(ctx); err != nil || got != first {
			t.Errorf("got %v, %v", got, err)
		}
		// At the end of the old ones, a caller waits as long as its context lets it.
		time.Sleep(renewEarly)
		_, err := c.Credentials(ctx)
		if hunt(t, err); !errors.Is(err, context.DeadlineExceeded) {
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
		c := synthetic(t, func() (Credentials, error) {
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
		if e := fails(t, c); e.Fix != "mend it" || e.RetryAfter != 3*time.Second {
			t.Errorf("fix %q, retry after %v", e.Fix, e.RetryAfter)
		}
		time.Sleep(3 * time.Second)
		healthy = true
		if got := get(t, c); got == first {
			t.Error("got what has ended")
		}
		time.Sleep(time.Hour) // a success forgets the failures
		healthy = false
		if e := fails(t, c); e.RetryAfter != firstRetry {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		// what one caller's layers fill in is in no other caller's error
		fails(t, c).IMMRequestID = "changed by the edge"
		if id := fails(t, c).IMMRequestID; id != "" {
			t.Errorf("the next caller's error has IMMRequestID %q", id)
		}
	})
}

// Credentials that live shorter than twice the five minutes are renewed at half their life, not at
// every call.
func TestShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := synthetic(t, func() (Credentials, error) {
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
