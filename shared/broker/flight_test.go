package broker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// result is what one of many requests got.
type result struct {
	Answer
	err error
}

// refreshes starts n refreshes with one sealed token and waits until all of them wait.
func (b *site) refreshes(ctx context.Context, n int,
	tokens weboffice.RefreshRequest) <-chan result {
	results := make(chan result, n)
	for range n {
		go func() {
			answer, err := b.Refresh(ctx, passerBy, tokens)
			results <- result{answer, err}
		}()
	}
	synctest.Wait()
	return results
}

// Fifty refreshes at once are one call. It goes on when the page that began it is closed.
func TestFiftyRefreshesAtOnceAreOneCall(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		release := make(chan struct{})
		b.office.Fail(office.Refresh, 1, office.Slow(release))
		leaving, leave := context.WithCancel(t.Context())
		gone := b.refreshes(leaving, 1, tokens)
		waiting := b.refreshes(t.Context(), 49, tokens)
		leave()
		wantKind(t, (<-gone).err, weboffice.Timeout)
		wantLine(t, b.lines()[0], "maybeBilled", true) // by the call that goes on
		close(release)
		first := <-waiting
		for range 48 {
			if other := <-waiting; other.err != nil || other.Answer != first.Answer {
				t.Fatalf("%+v differs from %+v", other, first)
			}
		}
		if late := b.mustRefresh(b.Broker, passerBy, tokens); shown(late) != shown(first.Answer) {
			t.Errorf("%+v", late)
		}
		b.calls(1, 1)
		for _, line := range b.lines()[1:] {
			wantLine(t, line, "maybeBilled", false, "billed", 0.0, "outcome", "replayed",
				"token", fingerprint(first.AccessToken))
		}
		if n := len(b.lines()); n != 51 {
			t.Errorf("%d lines", n)
		}
	})
}

// A refresh that is not answered may have spent its token: half of the time is kept for a Generate.
func TestRefreshWithoutAnAnswerGeneratesInTime(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		b.office.Fail(office.Refresh, 1, office.Slow(nil))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		answer, err := b.Refresh(ctx, passerBy, tokens)
		if err != nil || answer.WebofficeURL == "" || time.Since(start) != 5*time.Second {
			t.Fatalf("%+v, %v after %v", answer, err, time.Since(start))
		}
		b.calls(2, 0)
		wantLine(t, b.lines()[0], "outcome", "fallback", "fallback", true, "billed", 1.0,
			"maybeBilled", true)
		warned := b.logged("the refresh failed, generating instead")
		if len(warned) != 1 || warned[0]["level"] != "WARN" || warned[0]["cause"] == "" {
			t.Errorf("%v", warned)
		}
	})
}

func TestSilentIMMEndsInATimeout(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		b.office.Fail("", 0, office.Slow(nil))
		start := time.Now()
		_, err := b.Refresh(t.Context(), passerBy, tokens) // without a deadline of the platform's
		wantKind(t, err, weboffice.Timeout)
		if took := time.Since(start); took > flightTime {
			t.Errorf("after %v", took)
		}
		wantLine(t, b.lines()[0], "maybeBilled", true, "billed", 0.0, "outcome", "ServiceTimeout")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		_, err = b.Generate(ctx, passerBy, weboffice.Request{SourceURI: document})
		wantKind(t, err, weboffice.Timeout)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("after %v", took)
		}
		wantLine(t, b.lines()[1], "maybeBilled", true)
		b.office.ClearFaults()
		b.mustRefresh(b.Broker, passerBy, tokens)
	})
}

// An answer is repeated for a minute. After that the instance still knows that it has used the
// refresh token.
func TestSpentTokenIsNotSentAgain(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		first := b.mustRefresh(b.Broker, passerBy, tokens)
		time.Sleep(replayFor - time.Second)
		again := b.mustRefresh(b.Broker, passerBy, tokens)
		if shown(again) != shown(first) || first.Life-again.Life != replayFor-time.Second {
			t.Fatalf("%+v, then %+v", first, again)
		}
		b.calls(1, 1)
		time.Sleep(time.Second)
		for range 2 { // the second from memory
			if later := b.mustRefresh(b.Broker, passerBy, tokens); shown(later) == shown(first) {
				t.Fatalf("%+v", later)
			}
			b.calls(2, 1)
		}
		if spends := b.office.DoubleSpends(); len(spends) != 0 || b.office.Calls().Failed != 0 {
			t.Errorf("%d double spends", len(spends))
		}
		for n, outcome := range []string{"refreshed", "replayed", "fallback", "replayed"} {
			wantLine(t, b.lines()[n], "outcome", outcome, "billed", float64((n+1)%2))
		}
		time.Sleep(time.Hour)
		b.office.Fail(office.Generate, 1, office.InternalError())
		_, err := b.Refresh(t.Context(), passerBy, tokens)
		wantKind(t, err, weboffice.BadGateway)
		if known, _ := b.earlier.Get(idOf(tokens.RefreshToken.Reveal())); !known.answered() {
			t.Error("a failure makes the answers before it forgotten")
		}
	})
}

// A panic in a flight would end the process, and one in a decision must not leave an audit line
// that says that all went well. Nobody knows how far a call came that ended in a panic: a refresh
// token may be spent.
func TestPanicIsAnErrorInTheAudit(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens, client := b.open(), b.IMM
		b.IMM = nil // whatever is called now panics
		results := b.refreshes(t.Context(), 2, tokens)
		for range 2 {
			wantKind(t, (<-results).err, weboffice.Internal)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the edge does not learn of the panic")
				}
			}()
			_, _ = b.generate(passerBy, document)
		}()
		for n, line := range b.lines() {
			wantLine(t, line, "outcome", "InternalError", "level", "ERROR")
			if n == 2 { // of the two refreshes one led the other
				wantLine(t, line, "maybeBilled", true)
			}
		}
		b.IMM = client
		b.mustRefresh(b.Broker, passerBy, tokens)
		b.calls(2, 0)
		wantLine(t, b.lines()[3], "outcome", "fallback", "billed", 1.0)
	})
}

// A refresh token whose refresh ended so that it may be spent is not sent again, whatever became of
// the generate in its place; what was refused before any work is sent again.
func TestTokenThatMayBeSpentIsNotSentAgain(t *testing.T) {
	cut, failed, silent := office.Cut(), office.InternalError(), office.Slow(nil)
	for name, c := range map[string]struct {
		faults               []office.Fault
		generates, refreshes int // until the page has its tokens
	}{
		"no answer twice":           {[]office.Fault{cut, cut}, 2, 0},
		"done but no answer, twice": {[]office.Fault{cut.AfterWork(), cut.AfterWork()}, 3, 1},
		"a failure":                 {[]office.Fault{failed}, 2, 0},
		"a failure after the work":  {[]office.Fault{failed.AfterWork()}, 2, 1},
		"refused, and the generate throttled": {[]office.Fault{
			office.Refused(400, "InvalidRefreshToken", "no"), office.Throttled(0)}, 2, 0},
		"silence until the deadline, twice":  {[]office.Fault{silent, silent}, 2, 0},
		"throttled: nothing done":            {[]office.Fault{office.Throttled(0)}, 1, 1},
		"credentials ended: nothing done":    {[]office.Fault{office.SecurityTokenExpired()}, 1, 1},
		"the right is missing: nothing done": {[]office.Fault{office.NoPermission()}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			at(t, openToAnyone, func(t *testing.T, b *site) {
				tokens := b.open()
				for _, f := range c.faults {
					b.office.Fail("", 1, f)
				}
				if answer, err := b.Refresh(t.Context(), passerBy, tokens); err == nil {
					t.Fatalf("%+v", answer)
				}
				synctest.Wait() // until the flight has landed
				b.mustRefresh(b.Broker, passerBy, tokens)
				b.calls(c.generates, c.refreshes)
				if spends := b.office.DoubleSpends(); len(spends) != 0 {
					t.Errorf("%d double spends", len(spends))
				}
			})
		})
	}
}
