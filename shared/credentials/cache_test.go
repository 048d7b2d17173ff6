package credentials

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/weboffice"
)

// synthetic is a cache in a bubble of its own, whose clock moves when everybody waits. Its exchange
// is a function, which gets the number of the call; the credentials' key tells that number too.
type synthetic struct {
	*cache
	calls int
}

func inBubble(t *testing.T, fetch func(call int) (time.Duration, error),
	test func(*testing.T, *synthetic)) {
	synctest.Test(t, func(t *testing.T) {
		s := &synthetic{}
		s.cache = &cache{name: "synthetic", now: time.Now, log: logger(t),
			fetch: func(context.Context) (Credentials, error) {
				s.calls++
				id := fmt.Sprint("STS.", s.calls)
				life, err := fetch(s.calls)
				if err != nil {
					return Credentials{}, err
				}
				return Credentials{id, "s3cr3t", "s3cr3t", time.Now().Add(life)}, nil
			}}
		test(t, s)
	})
}

// hundred lets a hundred callers get these credentials at once.
func hundred(t *testing.T, s Source, keyID string) {
	t.Helper()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if got, err := s.Credentials(t.Context()); err != nil || got.AccessKeyID != keyID {
				t.Errorf("got %v, %v, not %s", got, err, keyID)
			}
		})
	}
	all.Wait()
}

func slowly(int) (time.Duration, error) {
	time.Sleep(time.Second)
	return time.Hour, nil
}

func TestOneExchangeForAll(t *testing.T) {
	inBubble(t, slowly, func(t *testing.T, s *synthetic) {
		started := time.Now()
		passed := func(want time.Duration) {
			t.Helper()
			if took := time.Since(started); took != want {
				t.Errorf("after %v, not %v", took, want)
			}
			started = time.Now()
		}
		hundred(t, s, "STS.1") // all wait where there is nothing yet
		passed(time.Second)
		time.Sleep(time.Hour - renewEarly - time.Second)
		hundred(t, s, "STS.1")
		passed(time.Hour - renewEarly - time.Second)
		time.Sleep(time.Second)
		started = time.Now()
		var renewing sync.WaitGroup
		renewing.Go(func() {
			if got := get(t, s); got.AccessKeyID != "STS.2" {
				t.Errorf("the caller that renewed got %s", got.AccessKeyID)
			}
		})
		synctest.Wait()
		hundred(t, s, "STS.1") // while one renews
		passed(0)
		renewing.Wait()
		passed(time.Second)
		hundred(t, s, "STS.2")
		if passed(0); s.calls != 2 {
			t.Errorf("%d exchanges", s.calls)
		}
	})
}

// A day of four callers a minute, with exchanges that fail every other time: nobody ever fails, and
// nobody gets what has ended.
func TestNoRequestFailsAcrossRenewals(t *testing.T) {
	everyOther := func(call int) (time.Duration, error) {
		if call%2 == 0 {
			return 0, unavailable("mend it", errors.New("broken"))
		}
		return time.Hour, nil
	}
	inBubble(t, everyOther, func(t *testing.T, s *synthetic) {
		for range 24 * 60 {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if got := get(t, s); !got.Expires.After(time.Now()) {
						t.Errorf("at %v: %v", time.Now(), got)
					}
				})
			}
			all.Wait()
			time.Sleep(time.Minute)
		}
		// An hour less five minutes, a failure, and a minute's step until the next attempt.
		if s.calls < 48 || s.calls > 56 {
			t.Errorf("%d exchanges in a day", s.calls)
		}
	})
}

// Rounds of callers that come and go away, while the clock runs through several lives. Credentials
// that live shorter than twice the five minutes are renewed at half their life, not at every call.
func TestRaces(t *testing.T) {
	short := func(int) (time.Duration, error) { return 40 * time.Second, nil }
	inBubble(t, short, func(t *testing.T, s *synthetic) {
		for range 20 {
			for range 100 {
				go func() {
					ctx, cancel := context.WithCancel(t.Context())
					go cancel()
					got, err := s.Credentials(ctx)
					if (err != nil || !got.complete()) && !errors.Is(err, context.Canceled) {
						t.Errorf("got %v, %v", got, err)
					}
				}()
			}
			time.Sleep(5 * time.Second)
		}
		if s.calls != 5 {
			t.Errorf("%d exchanges", s.calls)
		}
	})
}

func TestRenewalThatHangs(t *testing.T) {
	inBubble(t, func(call int) (time.Duration, error) {
		if call > 1 {
			time.Sleep(renewEarly + time.Minute)
		}
		return time.Hour, nil
	}, func(t *testing.T, s *synthetic) {
		first := get(t, s)
		time.Sleep(time.Hour - renewEarly)
		for _, wait := range []time.Duration{patience, 0} { // of the one that renews, of the next
			started := time.Now()
			if got := get(t, s); got != first || time.Since(started) != wait {
				t.Errorf("got %v after %v", got, time.Since(started))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if got, err := s.Credentials(ctx); err != nil || got != first {
			t.Errorf("got %v, %v", got, err)
		}
		// At the end of the old ones, a caller waits as long as its context lets it; the exchange
		// goes on.
		time.Sleep(renewEarly - patience)
		_, err := s.Credentials(ctx)
		if hunt(t, err); !errors.Is(err, context.DeadlineExceeded) ||
			weboffice.AsError(err).Kind != weboffice.Timeout {
			t.Errorf("got %v", err)
		}
		if hundred(t, s, "STS.2"); s.calls != 2 {
			t.Errorf("%d exchanges", s.calls)
		}
	})
}

func TestRenewalFailuresBackOff(t *testing.T) {
	var attempts []time.Duration
	var started time.Time
	healthy := true
	inBubble(t, func(int) (time.Duration, error) {
		if attempts = append(attempts, time.Since(started)); healthy {
			return time.Hour, nil
		}
		return 0, unavailable("mend it", errors.New("broken"))
	}, func(t *testing.T, s *synthetic) {
		first := get(t, s)
		time.Sleep(time.Hour - renewEarly)
		healthy, attempts, started = false, nil, time.Now()
		// ten callers a second, for as long as the old ones are valid
		for time.Since(started) < renewEarly {
			if got := get(t, s); got != first {
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
		if e := fails(t, s); e.Fix != "mend it" || e.RetryAfter != 3*time.Second {
			t.Errorf("fix %q, retry after %v", e.Fix, e.RetryAfter)
		}
		time.Sleep(3 * time.Second)
		healthy = true
		if got := get(t, s); got == first {
			t.Error("got what has ended")
		}
		time.Sleep(time.Hour) // a success forgets the failures
		healthy = false
		if e := fails(t, s); e.RetryAfter != firstRetry {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		// what one caller's layers fill in is in no other caller's error
		fails(t, s).IMMRequestID = "changed by the edge"
		if id := fails(t, s).IMMRequestID; id != "" {
			t.Errorf("the next caller's error has IMMRequestID %q", id)
		}
	})
}
