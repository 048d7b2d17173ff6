package broker

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
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

func (m *meter) add(n int, now time.Time) (kept bool) {
	leaked := now.Sub(m.at).Seconds() * float64(m.limit.Events) / m.limit.Per.Seconds()
	m.level = max(m.level-leaked, 0) + float64(n)
	m.at = now
	return m.level <= float64(m.limit.Events)+1e-6
}

// banked is a sealed token that an adversary, or a page, keeps.
type banked struct {
	weboffice.RefreshRequest
	owner    int
	document *[]time.Time // when IMM was called for it
	answered bool
}

// adversary is random visitors that do at random times what costs most.
type adversary struct {
	*site
	dice     *rand.Rand
	visitors []Visitor
	opens    []*meter // and generates for tokens that were answered
	renews   []*meter
	all      *meter
	tokens   []banked
	outcomes map[string]int
}

const propertyTotal = 150 // a minute

func newAdversary(b *site, seed uint64) *adversary {
	a := &adversary{site: b, dice: rand.New(rand.NewPCG(seed, 1)), outcomes: map[string]int{}}
	anyone, staff := b.policy.Limits().Anyone, b.policy.Limits().Caller
	add := func(v Visitor, own policy.Rate) {
		a.visitors = append(a.visitors, v)
		a.opens = append(a.opens, &meter{limit: own})
		a.renews = append(a.renews, &meter{limit: times(own, refreshesAtOnce, refreshesAtOnce/refreshRate)})
	}
	for n := range 4 {
		add(Visitor{Address: numbered(n)}, anyone)
	}
	linked := holder("published", "")
	linked.Address = netip.MustParseAddr("198.51.100.7")
	add(linked, anyone)
	add(holder("for bob", "bob"), staff)
	add(person("https://login.example.com", "ann"), staff)
	add(person("https://login.example.com", "cy"), staff)
	total := policy.Rate{Events: propertyTotal, Per: time.Minute}
	rates := b.policy.Limits()
	rates.Total = total
	b.Broker.limits, b.Broker.log = NewLimits(rates, b.logger()), slog.New(slog.DiscardHandler)
	a.all = &meter{limit: total}
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
	opened, token, err := a.act()
	after := a.office.Calls()
	a.office.ClearFaults()
	counted := after.Generate + after.Refresh - after.Broken + after.Refused -
		(before.Generate + before.Refresh - before.Broken + before.Refused)
	if fault < 2 && after.Failed > before.Failed {
		counted-- // throttled, or no right
	}
	a.outcomes[outcome(err, counted)]++
	a.hold(opened, token, err, counted, after.Billed()-before.Billed())
}

// act opens a document or shows a token.
func (a *adversary) act() (opened bool, token *banked, err error) {
	if len(a.tokens) < 50 || a.dice.IntN(8) == 0 {
		owner := a.dice.IntN(len(a.visitors))
		tokens, err := a.generate(a.visitors[owner], document)
		if err == nil {
			a.keep(banked{RefreshRequest: tokens, owner: owner, document: &[]time.Time{}})
		}
		return true, &banked{owner: owner}, err
	}
	at := a.dice.IntN(len(a.tokens))
	token = &a.tokens[at]
	answer, err := a.Refresh(a.t.Context(), a.visitors[token.owner], token.RefreshRequest)
	if err == nil && answer.RefreshToken.Reveal() != token.RefreshToken.Reveal() {
		next := *token
		next.RefreshRequest, next.answered = shown(answer), false
		a.keep(next)
	}
	return false, token, err
}

func (a *adversary) keep(token banked) {
	if len(a.tokens) < 300 {
		a.tokens = append(a.tokens, token)
	}
}

func (a *adversary) hold(opened bool, token *banked, err error, counted, billed int) {
	a.t.Helper()
	now := time.Now()
	if !a.all.add(billed, now) {
		a.t.Fatalf("%v calls of all together", a.all.level)
	}
	own := a.renews[token.owner]
	if opened || token.answered {
		own = a.opens[token.owner]
	}
	if !own.add(counted, now) {
		a.t.Fatalf("visitor %d: %v calls, opened %v", token.owner, own.level, opened)
	}
	if opened {
		return
	}
	for range counted {
		*token.document = append(*token.document, now)
	}
	if calls := *token.document; len(calls) > callsPerLife &&
		now.Sub(calls[len(calls)-1-callsPerLife]) <= 30*time.Minute && counted > 0 {
		a.t.Fatalf("five calls for a document within %v", now.Sub(calls[len(calls)-1-callsPerLife]))
	}
	if counted > 0 && err == nil {
		token.answered = true
	}
	if err != nil && weboffice.AsError(err).Kind == weboffice.SessionEnded {
		*token = a.tokens[len(a.tokens)-1]
		a.tokens = a.tokens[:len(a.tokens)-1]
	}
}

func outcome(err error, counted int) string {
	if err != nil {
		return weboffice.AsError(err).Code
	}
	return [...]string{"free", "one call", "two calls"}[counted]
}

// Whoever comes, with whatever tokens, at whatever times: the bounds of limit.go hold for each
// visitor, each open document and all together.
func TestBoundsHoldForRandomVisitors(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 5_000
	}
	at(t, tenAMinute, func(t *testing.T, b *site) {
		a := newAdversary(b, 7)
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
