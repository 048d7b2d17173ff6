package broker

import (
	"crypto/sha256"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/recent"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// limiters bound what one instance does for one visitor: a guest by address, a verified caller by
// identity, and every open document by itself, so that many people behind one address do not take
// each other's refreshes. An office that opens many documents at once as guests waits; what is open
// stays open.
type limiters struct {
	rates   policy.Limits
	buckets *recent.Map[*rate.Limiter]
}

func newLimiters(rates policy.Limits) limiters {
	return limiters{rates: rates, buckets: recent.New[*rate.Limiter](remembered)}
}

// admit counts one generate.
func (l limiters) admit(v Visitor, now time.Time) error {
	if v.Guest() {
		return l.take("guest "+network(v.Address), l.rates.Anyone, now)
	}
	return l.take("caller "+v.IssuerURL+"\x00"+identity(v.Caller), l.rates.Caller, now)
}

// admitSession counts one refresh of one open document.
func (l limiters) admitSession(v Visitor, s session.Session, now time.Time) error {
	limit := l.rates.Caller
	if v.Guest() {
		limit = l.rates.Anyone
	}
	id := s.Issuer + "\x00" + s.Subject + "\x00" + s.Guest.Id + "\x00" + s.Asked.SourceURI +
		"\x00" + strconv.FormatInt(s.Start.UnixMilli(), 36)
	return l.take("session "+id, limit, now)
}

func (l limiters) take(key string, limit policy.Rate, now time.Time) error {
	every := limit.Per / time.Duration(limit.Events)
	bucket := l.buckets.GetOr(sha256.Sum256([]byte(key)),
		func() *rate.Limiter { return rate.NewLimiter(rate.Every(every), limit.Events) })
	// not a reservation: those of a crowd that is turned away would leave a debt
	if bucket.AllowN(now, 1) {
		return nil
	}
	throttled := weboffice.ErrThrottled.New()
	throttled.RetryAfter = time.Duration((1 - bucket.TokensAt(now)) * float64(every))
	return throttled
}

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
