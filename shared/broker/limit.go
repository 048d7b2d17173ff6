package broker

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

const (
	// callsPerLife bounds the calls that IMM answers for one open document within the life of an
	// access token. Its opening is not among them.
	callsPerLife = 4
	usualLife    = 30 * time.Minute // where IMM's clock says nonsense
	// openDocuments bounds the memory of those calls. A document that is open must not be lost to a
	// memory that strangers filled: while it is full, those that come new are not counted, and
	// their visitor's bucket holds all the same.
	openDocuments = 5 * remembered
	// A visitor's billed refreshes are this many times its limit at once, for an office that comes
	// back after an outage, refilled at this many times its rate.
	refreshesAtOnce, refreshRate = 30, 2
	// linkCrowd is how many times a caller's limit all holders of a share link have together.
	linkCrowd = 10
)

// refusals bounds, for one address and function, the requests that bear no proof and are refused:
// nobody pays for what they cost.
var refusals = policy.Rate{Events: 300, Per: 300 * time.Second}

// Limits bound what one instance does for one visitor, for one open document and for all together.
// Guests are known by address, verified callers by identity, and each has a memory of its own, so
// that neither can make another's be forgotten. A Limits is safe for concurrent use.
type Limits struct {
	mu                   sync.Mutex
	generates, refreshes visitors
	requests             visitors // by open document
	calls                *buckets // by open document
	refusals             *buckets
	shares               []share

	log     *slog.Logger
	total   policy.Rate
	refused int       // calls since limits.total was reached
	reached time.Time // when it last was
}

// visitors are the buckets of one kind of events.
type visitors struct{ address, caller, link *buckets }

// share is a part of limits.total that a call must have room in, if it is of this kind.
type share struct {
	guests, generates bool
	*buckets
}

// NewLimits returns Limits by the rates of a policy.
func NewLimits(rates policy.Limits, log *slog.Logger) *Limits {
	by := func(events string, size, per int) visitors {
		anyone, caller := times(rates.Anyone, size, per), times(rates.Caller, size, per)
		return visitors{
			address: newBuckets(events+" of one address", anyone),
			caller:  newBuckets(events+" of one caller", caller),
			link:    newBuckets(events+" of one share link", times(caller, linkCrowd, 1)),
		}
	}
	l := &Limits{
		generates: by("generates", 1, 1),
		refreshes: by("billed refreshes", refreshesAtOnce, refreshesAtOnce/refreshRate),
		requests:  by("requests for one open document", 1, 1),
		calls:     newBuckets("calls for one open document", policy.Rate{Events: 1}),
		refusals:  newBuckets("refused requests of one address", refusals),
		log:       log, total: rates.Total,
	}
	l.calls.each, l.calls.most, l.calls.crowds = callsPerLife, openDocuments, 0
	if rates.Total.Events > 0 {
		part := func(events int) policy.Rate {
			return policy.Rate{Events: max(events, 1), Per: rates.Total.Per}
		}
		// A third is left for refreshes, and whatever guests do a third for who is signed in.
		most := part(rates.Total.Events * 2 / 3)
		l.shares = []share{
			{false, false, newBuckets("total", rates.Total)},
			{false, true, newBuckets("total, for generates", most)},
			{true, false, newBuckets("total, for guests", most)},
			{true, true, newBuckets("total, for guests' generates", part(rates.Total.Events/2))},
		}
	}
	return l
}

// times gives a rate of so many times the events within so many times the span.
func times(r policy.Rate, events, per int) policy.Rate {
	return policy.Rate{Events: r.Events * events, Per: r.Per * time.Duration(per)}
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

// of gives the buckets of a visitor. Guests on a share link have an address as guests have, and
// their link.
func (b visitors) of(v Visitor, now time.Time) draws {
	who := idOf(v.IssuerURL + "\x00" + v.identity())
	if !v.anonymous() {
		return draws{b.caller.draw(who, now)}
	}
	all := draws{b.address.draw(idOf(network(v.Address)), now)}
	if v.Link != nil {
		all = append(all, b.link.draw(who, now))
	}
	return all
}

// admit counts a request: one that opens a document as a generate of its visitor, any other, billed
// or not, for its document. Open documents do not take each other's.
func (l *Limits) admit(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.opens() {
		return l.generates.of(r.visitor, r.came).count()
	}
	requests := l.requests.caller
	if r.visitor.Guest() {
		requests = l.requests.address
	}
	return draws{requests.draw(idOf(r.ID), r.came)}.count()
}

// AdmitStranger says whether a request of this address, which bears no proof, may be read: 429
// while too many of its like were refused. refused counts it, should it be refused too.
func (l *Limits) AdmitStranger(function string, address netip.Addr, now time.Time) (
	refused func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stranger := draws{l.refusals.draw(idOf(function+" "+network(address)), now)}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = stranger.count() // those beside it may have filled it
	}, stranger.room()
}

// held is the room that a call to IMM has taken before it is sent.
type held struct{ own, total draws }

// hold takes room for a call in every limit that concerns it, or in none. What opens a document was
// admitted before; a call that keeps it open counts for the document and for its visitor: as a
// generate where this instance has answered the sealed token before.
func (l *Limits) hold(r *request, generate bool, now time.Time) (h held, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !r.opens() {
		call := l.calls.draw(idOf(r.ID), now)
		call.rate.Per = r.Life + 1                // which both ends belong to
		if r.Life <= 0 || r.Life > 24*time.Hour { // a refresh token's
			call.rate.Per = usualLife
		}
		visitors := l.refreshes
		if r.answered {
			visitors = l.generates
		}
		h.own = append(draws{call}, visitors.of(r.visitor, now)...)
	}
	for _, s := range l.shares {
		if (generate || !s.generates) && (r.visitor.anonymous() || !s.guests) {
			h.total = append(h.total, s.draw(id{}, now))
		}
	}
	if err = h.own.count(); err != nil {
		return h, err
	}
	err = h.total.count()
	l.tell(err, now)
	if err != nil {
		h.own.giveBack()
	}
	return h, err
}

// settle gives back what a call has turned out not to cost: its document's and its visitor's room
// where IMM neither did nor refused what it asked for, the room in total where IMM charges nothing.
// twice says that IMM was called, and may charge, once more than was held: that counts as well.
func (l *Limits) settle(r *request, h held, counted, charged, twice bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !counted {
		h.own.giveBack()
	}
	if !charged {
		h.total.giveBack()
	}
	if twice {
		if r.opens() {
			h.own = l.generates.of(r.visitor, r.came)
		}
		h.own.take()
		h.total.take()
	}
}

// tell says once, loudly, that calls are refused because all of them together are too many, and
// once that none was for as long as the limit's span.
func (l *Limits) tell(overTotal error, now time.Time) {
	switch {
	case overTotal != nil:
		if l.refused == 0 {
			l.log.Error("limits.total is reached: calls are refused",
				"cause", errors.Unwrap(overTotal),
				"events", l.total.Events, "per", l.total.Per.String(), "fix",
				"see in the decision lines whose calls they are, and raise limits.total if due")
		}
		l.refused, l.reached = l.refused+1, now
	case l.refused > 0 && now.Sub(l.reached) >= l.total.Per:
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
	prefix, _ := address.Prefix(min(address.BitLen(), 64)) // never fails
	return prefix.String()
}
