package broker

import (
	"context"
	"errors"
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
		var public *weboffice.Error
		if left := <-gone; !errors.As(left.err, &public) || public.Kind != weboffice.Timeout {
			t.Errorf("who left got %+v", left)
		}
		if line := b.lines()[0]; line["maybeBilled"] != true {
			t.Errorf("the call that goes on is in no audit line: %v", line)
		}
		close(release)
		one, two := <-waiting, <-waiting
		if one.err != nil || one.Answer != two.Answer {
			t.Errorf("%+v and %+v", one, two)
		}
		late, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil || late.AccessToken != one.AccessToken {
			t.Errorf("%+v, %v", late, err)
		}
		b.calls(1, 1)
		for _, line := range b.lines()[1:] {
			if line["maybeBilled"] != false || line["billed"] != 0.0 ||
				line["outcome"] != "replayed" {
				t.Errorf("%v", line)
			}
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
		if line := b.lines()[0]; line["outcome"] != "fallback" || line["fallback"] != true ||
			line["billed"] != 1.0 ||
			line["maybeBilled"] != true {
			t.Errorf("%v", line)
		}
		if warned := b.logged("the refresh failed, generating instead"); len(warned) != 1 ||
			warned[0]["level"] != "WARN" || warned[0]["cause"] == "" {
			t.Errorf("%v", warned)
		}
	})
}

// A failure is told to all who wait for it, and to nobody after that.
func TestFailureIsNotRemembered(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		b.office.Fail(office.Refresh, 1, office.Throttled(3*time.Second))
		var public *weboffice.Error
		if _, err := b.Refresh(t.Context(), passerBy, tokens); !errors.As(err, &public) ||
			public.Kind != weboffice.Throttled ||
			public.RetryAfter != 3*time.Second {
			t.Fatal(err)
		}
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Fatal(err)
		}
		b.calls(1, 1)
	})
}

func TestSilentIMMEndsInATimeout(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		b.office.Fail("", 0, office.Slow(nil))
		start := time.Now()
		_, err := b.Refresh(t.Context(), passerBy, tokens) // without a deadline of the platform's
		var public *weboffice.Error
		if !errors.As(err, &public) || public.Kind != weboffice.Timeout ||
			time.Since(start) > flightTime {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if line := b.lines()[0]; line["maybeBilled"] != true || line["billed"] != 0.0 ||
			line["outcome"] != "ServiceTimeout" {
			t.Errorf("%v", line)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		_, err = b.Generate(ctx, passerBy,
			weboffice.Request{SourceURI: "oss://test-bucket/test-object.docx"})
		if !errors.As(err, &public) || public.Kind != weboffice.Timeout ||
			time.Since(start) != 3*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if line := b.lines()[1]; line["maybeBilled"] != true {
			t.Errorf("a Generate that was sent and not answered: %v", line)
		}
		b.office.ClearFaults()
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Error("afterwards:", err)
		}
	})
}

// An answer is repeated for a minute. After that the instance still knows that it has used the
// refresh token.
func TestSpentTokenIsNotSentAgain(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		tokens := b.open()
		first, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(replayFor - time.Second)
		again, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil || again.AccessToken != first.AccessToken ||
			again.RefreshToken != first.RefreshToken ||
			first.Life-again.Life != replayFor-time.Second {
			t.Fatalf("%+v, %v", again, err)
		}
		b.calls(1, 1)
		time.Sleep(time.Second)
		later, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil || later.AccessToken == first.AccessToken {
			t.Fatalf("%+v, %v", later, err)
		}
		b.calls(2, 1)
		if spends := b.office.DoubleSpends(); len(spends) != 0 || b.office.Calls().Failed != 0 {
			t.Errorf("%d double spends", len(spends))
		}
		if line := b.lines()[2]; line["outcome"] != "fallback" || line["billed"] != 1.0 {
			t.Errorf("%v", line)
		}
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Fatal(err)
		}
		b.calls(2, 1)
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
			var public *weboffice.Error
			if got := <-results; !errors.As(got.err, &public) || public.Kind != weboffice.Internal {
				t.Errorf("%+v", got)
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the edge does not learn of the panic")
				}
			}()
			_, _ = b.Generate(t.Context(), passerBy,
				weboffice.Request{SourceURI: "oss://test-bucket/test-object.docx"})
		}()
		lines := b.lines()
		if len(lines) != 3 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			if line["outcome"] != "InternalError" || line["level"] != "ERROR" {
				t.Errorf("%v", line)
			}
		}
	})
}

// A refresh token whose refresh ended so that it may be spent is not sent again, whatever became of
// the generate in its place; what was refused before any work is sent again.
func TestTokenThatMayBeSpentIsNotSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		faults              []office.Fault
		generates, refreshs int // until the page has its tokens
	}{
		"no answer twice": {[]office.Fault{office.Cut(), office.Cut()}, 2, 0},
		"no answer but done, twice": {[]office.Fault{office.Cut().AfterWork(),
			office.Cut().AfterWork()}, 3, 1},
		"a server's failure": {[]office.Fault{office.InternalError()}, 2, 0},
		"a server's failure after the work": {
			[]office.Fault{office.InternalError().AfterWork()}, 2, 1},
		"refused, and the generate throttled": {
			[]office.Fault{office.Refused(400, "InvalidRefreshToken", "no"), office.Throttled(0)},
			2, 0},
		"silence until the deadline, twice": {[]office.Fault{office.Slow(nil),
			office.Slow(nil)}, 2, 0},
		"throttled: nothing was done": {[]office.Fault{office.Throttled(0)}, 1, 1},
		"credentials ended: nothing was done": {[]office.Fault{office.SecurityTokenExpired()}, 1,
			1},
		"the right is missing: nothing is done": {[]office.Fault{office.NoPermission()}, 1, 1},
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
				if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
					t.Fatal(err)
				}
				b.calls(c.generates, c.refreshs)
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
		if line := b.lines()[0]; line["maybeBilled"] != true || line["outcome"] != "InternalError" {
			t.Errorf("%v", line)
		}
		b.imm = client
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Fatal(err)
		}
		b.calls(2, 0)
		if line := b.lines()[1]; line["outcome"] != "fallback" || line["billed"] != 1.0 {
			t.Errorf("%v", line)
		}
	})
}
