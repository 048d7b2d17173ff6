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

func TestFiftyRefreshesAtOnceAreOneCall(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		release := make(chan struct{})
		b.office.Fail(office.Refresh, 1, office.Slow(release))
		results := b.refreshes(t.Context(), 50, tokens)
		close(release)
		first := <-results
		for range 49 {
			if other := <-results; other.err != nil || other.Answer != first.Answer {
				t.Fatalf("%+v differs from %+v", other, first)
			}
		}
		b.calls(1, 1)
		billed, replayed := 0, 0
		for _, line := range b.lines() {
			billed += int(line["billed"].(float64))
			if line["outcome"] == "replayed" {
				replayed++
			}
		}
		if billed != 1 || replayed != 49 || len(b.lines()) != 50 {
			t.Errorf("%d lines, %d billed, %d replayed", len(b.lines()), billed, replayed)
		}
	})
}

// The page that began a refresh may be closed while others wait for it.
func TestRefreshGoesOnWhenWhoBeganItLeaves(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		release := make(chan struct{})
		b.office.Fail(office.Refresh, 1, office.Slow(release))
		leaving, leave := context.WithCancel(t.Context())
		gone := b.refreshes(leaving, 1, tokens)
		waiting := b.refreshes(t.Context(), 2, tokens)
		leave()
		wantKind(t, (<-gone).err, weboffice.Timeout)
		wantLine(t, b.lines()[0], "maybeBilled", true) // by the call that goes on
		close(release)
		one, two := <-waiting, <-waiting
		if one.err != nil || one.Answer != two.Answer {
			t.Errorf("%+v and %+v", one, two)
		}
		if late := b.mustRefresh(b.Broker, passerBy, tokens); shown(late) != shown(one.Answer) {
			t.Errorf("%+v", late)
		}
		b.calls(1, 1)
		for _, line := range b.lines()[1:] {
			wantLine(t, line, "maybeBilled", false, "billed", 0.0, "outcome", "replayed")
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

// A failure is told to all who wait for it, and to nobody after that.
func TestFailureIsNotRemembered(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		b.office.Fail(office.Refresh, 1, office.Throttled(3*time.Second))
		_, err := b.Refresh(t.Context(), passerBy, tokens)
		wantThrottled(t, err, 3*time.Second)
		b.mustRefresh(b.Broker, passerBy, tokens)
		b.calls(1, 1)
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
		wantLine(t, b.lines()[2], "outcome", "fallback", "billed", 1.0)
	})
}

// A panic in a flight would end the process, and one in a decision must not leave an audit line
// that says that all went well.
func TestPanicIsAnErrorInTheAudit(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		b.Broker.imm = nil // whatever is called now panics
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
		lines := b.lines()
		if len(lines) != 3 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			wantLine(t, line, "outcome", "InternalError", "level", "ERROR")
		}
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
				time.Sleep(time.Hour)
				b.mustRefresh(b.Broker, passerBy, tokens)
				b.calls(c.generates, c.refreshes)
				if spends := b.office.DoubleSpends(); len(spends) != 0 {
					t.Errorf("%d double spends", len(spends))
				}
			})
		})
	}
}

// Nobody knows how far a call came that ended in a panic.
func TestPanicOfARefreshMaySpendItsToken(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens, client := b.open(), b.imm
		b.imm = nil // whatever is called now panics
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err == nil {
			t.Fatal("no error")
		}
		wantLine(t, b.lines()[0], "maybeBilled", true, "outcome", "InternalError")
		b.imm = client
		b.mustRefresh(b.Broker, passerBy, tokens)
		b.calls(2, 0)
		wantLine(t, b.lines()[1], "outcome", "fallback", "billed", 1.0)
	})
}
