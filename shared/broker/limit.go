package broker

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

const (
	// callsPerLife bounds the calls that IMM answers for one open document within the life of an
	// access token. Its opening is not among them.
	callsPerLife = 4
	usualLife    = 30 * time.Minute // where IMM's clock says nonsense
	// A visitor's billed refreshes are this many times its limit at once, for an office that comes
	// back after an outage, refilled at this many times its rate.
	refreshesAtOnce, refreshRate = 30, 2
	// linkCrowd is how many times a caller's limit all holders of a share link have together.
	linkCrowd = 10
)

// refusals bounds, for one address and function, the requests that bear no proof and are refused:
// nobody pays for what they cost.
var refusals = limit{size: 300, every: time.Second}

// Limits bound what one instance does for one visitor, for one open document and for all together.
// Guests are known by address, verified callers by identity, and each has a memory of its own, so
// that neither can make another's be forgotten. A Limits is safe for concurrent use.
type Limits struct {
	rates policy.Limits
	log   *slog.Logger

	mu       sync.Mutex
	guests   struct{ generates, refreshes, refusals buckets } // by address
	callers  struct{ generates, refreshes buckets }           // by identity, or by share link
	requests buckets                                          // by open document
	calls    windows                                          // by open document
	total    buckets                                          // by share

	refused int       // calls since limits.total was reached
	reached time.Time // when it last was
}

// NewLimits returns Limits by the rates of a policy.
func NewLimits(rates policy.Limits, log *slog.Logger) *Limits {
	return &Limits{rates: rates, log: log}
}

// OverLimit says which limit a Throttling error of this package comes from, as its cause.
type OverLimit string

// Error implements error.
func (o OverLimit) Error() string { return "over the limit of " + string(o) }

func throttled(name string, wait time.Duration) error {
	err := weboffice.ErrThrottled.Because(OverLimit(name))
	err.RetryAfter = wait
	return err
}

// take counts one event in all of the draws, or in none when one of them has no room.
func take(draws []draw, now time.Time) error {
	for i := range draws {
		if wait := draws[i].wait(now); wait > 0 {
			return throttled(draws[i].name, wait)
		}
	}
	for i := range draws {
		draws[i].take(now)
	}
	return nil
}

func giveBack(draws []draw) {
	for i := range draws {
		draws[i].giveBack()
	}
}

// byVisitor gives the buckets of a visitor: those of its generates, which are counted whatever
// becomes of them, or those of its billed refreshes. Guests on a share link have an address as
// guests have, and their link.
func (l *Limits) byVisitor(v Visitor, refreshes bool) []draw {
	guests, callers, events := &l.guests.generates, &l.callers.generates, "generates"
	size, rate := 1, 1
	if refreshes {
		guests, callers, events = &l.guests.refreshes, &l.callers.refreshes, "billed refreshes"
		size, rate = refreshesAtOnce, refreshRate
	}
	anyone := limitOf(l.rates.Anyone).times(size, rate)
	caller := limitOf(l.rates.Caller).times(size, rate)
	who := idOf(v.IssuerURL + "\x00" + identity(v.Caller))
	if !v.anonymous() {
		return []draw{{callers, who, caller, events + " of one caller"}}
	}
	draws := []draw{{guests, idOf(network(v.Address)), anyone, events + " of one address"}}
	if v.Link != nil {
		crowd := caller.times(linkCrowd, linkCrowd)
		draws = append(draws, draw{callers, who, crowd, events + " of one share link"})
	}
	return draws
}

// admit counts one generate.
func (l *Limits) admit(v Visitor, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return take(l.byVisitor(v, false), now)
}

// admitRequest counts one request for one open document, billed or not. Open documents do not take
// each other's.
func (l *Limits) admitRequest(v Visitor, s session.Session, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := limitOf(l.rates.Caller)
	if v.Guest() {
		limit = limitOf(l.rates.Anyone)
	}
	return take([]draw{{&l.requests, idOf(s.ID), limit, "requests for one open document"}}, now)
}

// AdmitStranger says whether a request of this address, which bears no proof, may be read: 429
// while too many of its like were refused.
func (l *Limits) AdmitStranger(function string, address netip.Addr, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.stranger(function, address)
	if wait := d.wait(now); wait > 0 {
		return throttled(d.name, wait)
	}
	return nil
}

// StrangerRefused counts a request that AdmitStranger let through and that was refused.
func (l *Limits) StrangerRefused(function string, address netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = take([]draw{l.stranger(function, address)}, now) // those beside it may have filled it
}

func (l *Limits) stranger(function string, address netip.Addr) draw {
	return draw{&l.guests.refusals, idOf(function + " " + network(address)), refusals,
		"refused requests of one address"}
}

// call is one call to IMM before it is made.
type call struct {
	visitor  Visitor
	generate bool             // GenerateWebofficeToken
	opened   *session.Session // whose document the call is for; nil: it is opened by the call
	answered bool             // this instance has answered the sealed token before
}

// life is the span within which the calls for the document are counted.
func (c call) life() time.Duration {
	if c.opened.Life <= 0 {
		return usualLife
	}
	return c.opened.Life
}

// held is the room that a call has taken, before it is sent.
type held struct {
	call
	at             time.Time
	visitor, total []draw
}

// hold takes room for a call in every limit that concerns it, or in none.
func (l *Limits) hold(c call, now time.Time) (*held, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &held{call: c, at: now, total: l.shares(c)}
	if c.opened != nil {
		if wait := l.calls.wait(idOf(c.opened.ID), c.life(), now); wait > 0 {
			return nil, throttled("calls for one open document", wait)
		}
		h.visitor = l.byVisitor(c.visitor, !c.answered)
	}
	if err := take(h.visitor, now); err != nil {
		return nil, err
	}
	if err := take(h.total, now); err != nil {
		giveBack(h.visitor)
		l.totalReached(now, err)
		return nil, err
	}
	l.totalHasRoom(now)
	if c.opened != nil {
		l.calls.take(idOf(c.opened.ID), c.life(), now)
	}
	return h, nil
}

// settle gives back what a call has turned out not to cost: its document's and its visitor's room
// where IMM neither did nor refused what it asked for, the room in total where IMM charges nothing.
// twice says that IMM was called, and may charge, once more than was held.
func (l *Limits) settle(h *held, counted, charged, twice bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !counted {
		giveBack(h.visitor)
		if h.opened != nil {
			l.calls.giveBack(idOf(h.opened.ID), h.at)
		}
	}
	if !charged {
		giveBack(h.total)
	}
	if twice {
		for i := range h.total {
			h.total[i].take(h.at)
		}
		if h.opened != nil {
			l.calls.take(idOf(h.opened.ID), h.life(), h.at)
		}
	}
}

// shares are the parts of limits.total that a call must have room in: all calls together have the
// whole, generates two thirds, so that a third is left for refreshes, those of guests a half; and
// whatever guests do leaves a third to the people who are signed in.
func (l *Limits) shares(c call) []draw {
	if l.rates.Total.Events == 0 {
		return nil
	}
	whole := limitOf(l.rates.Total)
	shares := []draw{{&l.total, id{1}, whole, "total"}}
	guest := c.visitor.anonymous()
	if c.generate {
		shares = append(shares, draw{&l.total, id{2}, whole.share(2, 3), "total, for generates"})
	}
	if guest {
		shares = append(shares, draw{&l.total, id{3}, whole.share(2, 3), "total, for guests"})
	}
	if guest && c.generate {
		shares = append(shares,
			draw{&l.total, id{4}, whole.share(1, 2), "total, for guests' generates"})
	}
	return shares
}

// totalReached says once, loudly, that calls are refused because all of them together are too many.
func (l *Limits) totalReached(now time.Time, err error) {
	if l.refused == 0 {
		l.log.Error("limits.total is reached: calls are refused", "cause", errors.Unwrap(err),
			"events", l.rates.Total.Events, "per", l.rates.Total.Per.String(),
			"fix", "see in the decision lines whose calls they are, and raise limits.total if due")
	}
	l.refused, l.reached = l.refused+1, now
}

// totalHasRoom says once that no call was refused for as long as the limit's span.
func (l *Limits) totalHasRoom(now time.Time) {
	if l.refused > 0 && now.Sub(l.reached) >= l.rates.Total.Per {
		l.log.Error("limits.total has room again", "refused", l.refused)
		l.refused = 0
	}
}

// anonymous says whether the visitor is known by address alone: a guest, or whoever holds a share
// link that names nobody.
func (v Visitor) anonymous() bool { return v.Guest() || v.Link != nil && v.Subject == "" }

// network is what a guest is known by: an IPv4 address, or the /64 that an IPv6 client can choose
// addresses from at will.
func network(address netip.Addr) string {
	address = address.Unmap()
	if address.Is6() {
		if prefix, err := address.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.String()
}
