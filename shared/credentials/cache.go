package credentials

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"weboffice-functions/shared/weboffice"
)

const (
	renewEarly = 5 * time.Minute
	patience   = 2 * time.Second // for a renewal, of the caller that could do without it
	firstRetry = time.Second     // doubled at each failure
	lastRetry  = time.Minute
)

// cache keeps credentials that cost an exchange, and never runs two exchanges at once. It renews
// them five minutes before their end, or when half of a shorter life is left.
type cache struct {
	fetch func(context.Context) (Credentials, error) // an exchange
	name  string
	now   func() time.Time
	log   *slog.Logger

	mu       sync.Mutex
	current  Credentials
	failure  *weboffice.Error // what to say when current is not valid
	failures int              // one after the other
	next     time.Time        // no exchange before
	running  chan struct{}    // closed at the end of the exchange under way; nil: none
}

func (c *cache) String() string { return c.name }

// Credentials implements Source. One caller starts the exchange. While the old credentials are
// valid, it waits for two seconds at most and the others not at all: Lambda stops the process
// between two requests, which would cut an exchange that nobody waits for. Without valid ones all
// wait.
func (c *cache) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	now := c.now()
	valid, mine := now.Before(c.current.Expires), c.running == nil && !now.Before(c.next)
	if mine {
		c.running = make(chan struct{})
		go c.renew()
	}
	running := c.running
	c.mu.Unlock()
	if running != nil && (mine || !valid) {
		var enough <-chan time.Time
		if valid {
			enough = time.After(patience)
		}
		select {
		case <-running:
		case <-enough:
		case <-ctx.Done():
		}
	}
	return c.result(ctx)
}

// renew makes one exchange. Its context is nobody's, so that no caller who goes away makes the
// others fail.
func (c *cache) renew() {
	got, err := c.fetch(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.running)
	c.running = nil
	now := c.now()
	c.failure = unavailable("check that this machine's clock is right",
		errors.New("the credentials have ended already"))
	if life := got.Expires.Sub(now); err == nil && life > 0 {
		c.current, c.failures, c.next = got, 0, got.Expires.Add(-min(renewEarly, life/2))
		c.log.Debug("credentials renewed", "source", c.name, "expires", got.Expires)
		return
	}
	if err != nil {
		c.failure = weboffice.AsError(err)
	}
	wait := min(firstRetry<<min(c.failures, 10), lastRetry)
	c.failures, c.next = c.failures+1, now.Add(wait)
	c.log.Warn("credentials not renewed", "source", c.name, "fix", c.failure.Fix,
		"cause", c.failure.Cause, "retryIn", wait, "stillValid", now.Before(c.current.Expires))
}

// result gives what is valid now, or says why nothing is.
func (c *cache) result(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Before(c.current.Expires) {
		return c.current, nil
	}
	if ctx.Err() != nil {
		gone := unavailable("", ctx.Err())
		gone.Kind, gone.Code = weboffice.Timeout, "ServiceTimeout"
		return Credentials{}, gone
	}
	failure := *c.failure // a copy for each caller, who may fill in more
	failure.RetryAfter = max(c.next.Sub(now), 0)
	return Credentials{}, &failure
}
