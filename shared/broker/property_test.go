package broker

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// meter counts events as a bucket that leaks does: it never holds more than its size where the
// limit is kept.
type meter struct {
	limit policy.Rate
	level float64
	at    time.Time
}

func (m *meter) add(t *testing.T, n int, of string) {
	t.Helper()
	leaked := time.Since(m.at).Seconds() / m.limit.Per.Seconds() * float64(m.limit.Events)
	m.level, m.at = max(m.level-leaked, 0)+float64(n), time.Now()
	if m.level > float64(m.limit.Events)+1e-6 {
		t.Fatalf("%v calls for %s", m.level, of)
	}
}

// suspect is a visitor, with what it opens and its generates for tokens that were answered, and its
// other calls.
type suspect struct {
	Visitor
	opens, renews meter
}

// banked is a sealed token that a suspect keeps.
type banked struct {
	weboffice.RefreshRequest
	*suspect
	calls    *[]time.Time // that IMM answered for the document
	answered bool
}

// adversary is random visitors that do at random times what costs most.
type adversary struct {
	*site
	dice     *rand.Rand
	suspects []*suspect
	all      meter
	tokens   []*banked
	outcomes map[string]int
}

func newAdversary(b *site) *adversary {
	a := &adversary{site: b, dice: rand.New(rand.NewPCG(7, 1)), outcomes: map[string]int{}}
	rates := b.Policy.Limits()
	a.all.limit = rates.Total
	b.Broker.Logger = slog.New(slog.DiscardHandler) // 10^5 lines
	for _, v := range []Visitor{{Address: numbered(1)}, {Address: numbered(2)},
		{Address: numbered(3)}, {Address: numbered(4)}, holder("published", ""),
		holder("for bob", "bob"), ann, person(ann.IssuerURL, "cy")} {
		own := rates.Caller
		if v.anonymous() {
			own = rates.Anyone
		}
		a.suspects = append(a.suspects, &suspect{v, meter{limit: own},
			meter{limit: policy.Rate{Events: 30 * own.Events, Per: 15 * own.Per}}})
	}
	return a
}

// step does one thing and holds what it cost to the bounds.
func (a *adversary) step() {
	a.t.Helper()
	switch pause := a.dice.IntN(100); {
	case pause < 1:
		time.Sleep(time.Duration(a.dice.IntN(40)) * time.Minute)
	case pause < 40:
		time.Sleep(time.Duration(a.dice.IntN(4000)) * time.Millisecond)
	}
	faults := []office.Fault{office.Throttled(0), office.NoPermission(), office.InternalError(),
		office.InternalError().AfterWork(), office.Cut(),
		office.Refused(400, "InvalidRefreshToken", "no")}
	fault := a.dice.IntN(5 * len(faults))
	if fault < len(faults) {
		a.office.Fail("", 1, faults[fault])
	}
	before := a.office.Calls()
	token, err := a.act()
	after := a.office.Calls()
	a.office.ClearFaults()
	billed := after.Billed() - before.Billed()
	counted := billed
	if fault < 2 && after.Failed > before.Failed {
		counted-- // throttled, or no right
	}
	outcome := [...]string{"free", "one call", "two calls"}[counted]
	if err != nil {
		outcome = weboffice.AsError(err).Code
	}
	a.outcomes[outcome]++
	a.all.add(a.t, billed, "all together")
	a.hold(token, counted, err)
}

// act opens a document or shows a token.
func (a *adversary) act() (token *banked, err error) {
	if len(a.tokens) < 50 || a.dice.IntN(8) == 0 {
		token = &banked{suspect: a.suspects[a.dice.IntN(len(a.suspects))]}
		opened, err := a.generate(token.Visitor, document)
		if err == nil {
			a.keep(&banked{RefreshRequest: opened, suspect: token.suspect, calls: &[]time.Time{}})
		}
		return token, err
	}
	token = a.tokens[a.dice.IntN(len(a.tokens))]
	answer, err := a.Refresh(a.t.Context(), token.Visitor, token.RefreshRequest)
	if err == nil && shown(answer) != token.RefreshRequest {
		a.keep(&banked{RefreshRequest: shown(answer), suspect: token.suspect, calls: token.calls})
	}
	return token, err
}

func (a *adversary) keep(token *banked) {
	if len(a.tokens) < 300 {
		a.tokens = append(a.tokens, token)
	}
}

// hold holds the calls for a token, or for one that was to be, to the bounds of its visitor and its
// document.
func (a *adversary) hold(token *banked, counted int, err error) {
	a.t.Helper()
	if token.calls == nil || token.answered {
		token.opens.add(a.t, counted, "generates of "+token.Subject)
	} else {
		token.renews.add(a.t, counted, "refreshes of "+token.Subject)
	}
	if token.calls == nil || counted == 0 {
		if err != nil && weboffice.AsError(err).Kind == weboffice.SessionEnded {
			*token = *a.tokens[len(a.tokens)-1]
			a.tokens = a.tokens[:len(a.tokens)-1]
		}
		return
	}
	calls := *token.calls
	for range counted {
		calls = append(calls, time.Now())
	}
	*token.calls = calls
	if n := len(calls); n > 4 && calls[n-1].Sub(calls[n-5]) <= 30*time.Minute {
		a.t.Fatalf("five calls for a document within %v", calls[n-1].Sub(calls[n-5]))
	}
	token.answered = token.answered || err == nil
}

// Whoever comes, with whatever tokens, at whatever times: the bounds of limit.go hold for each
// visitor, each open document and all together.
func TestBoundsHoldForRandomVisitors(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 5_000
	}
	rules := strings.Replace(tenAMinute, "60/m", "60/m, total: 150/m", 1)
	at(t, rules, func(t *testing.T, b *site) {
		a := newAdversary(b)
		for range steps {
			a.step()
		}
		t.Log(a.outcomes)
		for _, wanted := range []string{"free", "one call", "two calls", "Throttling",
			"SessionEnded", "BadGateway", "ServiceMisconfigured"} {
			if a.outcomes[wanted] == 0 {
				t.Errorf("no step ended as %s", wanted)
			}
		}
	})
}
