package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/standin/office"
)

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
			inBubble(t, func(t *testing.T, b *bubble) {
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
	inBubble(t, func(t *testing.T, b *bubble) {
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
