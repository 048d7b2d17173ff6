package broker

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

var twoAMinute = policy.Limits{Anyone: policy.Rate{Events: 2, Per: time.Minute},
	Caller: policy.Rate{Events: 2, Per: time.Minute}}

func admit(l *Limits, v Visitor, now time.Time) error {
	return l.admit(&request{visitor: v, came: now})
}

func newLimits(t *testing.T, rates policy.Limits) *Limits {
	return NewLimits(rates, slog.New(slog.NewJSONHandler(t.Output(), nil)))
}

// exhaust uses up what a visitor may do.
func exhaust(t *testing.T, l *Limits, v Visitor) { t.Helper(); exhaustAt(t, l, v, noon) }

func exhaustAt(t *testing.T, l *Limits, v Visitor, now time.Time) {
	t.Helper()
	for range 2 {
		if err := admit(l, v, now); err != nil {
			t.Fatal(err)
		}
	}
	wantThrottled(t, admit(l, v, now), 30*time.Second)
}

func wantThrottled(t *testing.T, err error, wait time.Duration) {
	t.Helper()
	got := wantKind(t, err, weboffice.Throttled).RetryAfter
	if (got - wait).Abs() > time.Millisecond {
		t.Fatalf("%v, want to come again after %v", got, wait)
	}
}

func TestOneVisitorsLimitIsNotAnothers(t *testing.T) {
	for name, c := range map[string]struct{ loud, other Visitor }{
		"subjects":                   {ann, person(ann.IssuerURL, "bob")},
		"issuers":                    {ann, person("https://b.example", "ann")},
		"the border moved":           {ann, person(ann.IssuerURL+"\x00", "ann")},
		"a person and a guest":       {ann, from("192.0.2.1")},
		"two IPv4 addresses":         {from("192.0.2.1"), from("192.0.2.2")},
		"two IPv6 networks":          {from("2001:db8:0:1::1"), from("2001:db8:0:2::1")},
		"two people with one link":   {holder("one", "ann"), holder("one", "bob")},
		"a link and a person":        {holder("one", ""), person("https://a.example", "one")},
		"a guest of no address":      {Visitor{}, from("192.0.2.1")},
		"IPv4 and IPv6, both mapped": {from("::ffff:192.0.2.1"), from("::ffff:192.0.2.2")},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimits(t, twoAMinute)
			exhaust(t, l, c.loud)
			exhaust(t, l, c.other)
		})
	}
}

// Addresses that one client can choose among are one client.
func TestGuestWhoChangesAddressesIsOneGuest(t *testing.T) {
	for name, c := range map[string]struct{ first, second string }{
		"within a /64":             {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"},
		"the same":                 {"192.0.2.1", "192.0.2.1"},
		"mapped":                   {"192.0.2.1", "::ffff:192.0.2.1"},
		"with a zone":              {"fe80::1%eth0", "fe80::2%eth1"},
		"loopback in both clothes": {"127.0.0.1", "::ffff:127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimits(t, twoAMinute)
			exhaust(t, l, from(c.first))
			wantThrottled(t, admit(l, from(c.second), noon), 30*time.Second)
		})
	}
}

func TestLimitRefills(t *testing.T) {
	l := newLimits(t, twoAMinute)
	exhaust(t, l, ann)
	wantThrottled(t, admit(l, ann, noon.Add(10*time.Second)), 20*time.Second)
	if err := admit(l, ann, noon.Add(30*time.Second)); err != nil {
		t.Error(err)
	}
	wantThrottled(t, admit(l, ann, noon.Add(30*time.Second)), 30*time.Second)
	exhaustAt(t, l, ann, noon.Add(time.Hour))
}

// A crowd that is turned away must not push the time further off at which the visitor may come
// again.
func TestCrowdThatIsTurnedAwayLeavesNoDebt(t *testing.T) {
	l := newLimits(t, twoAMinute)
	var admitted atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5000 {
				if admit(l, ann, noon) == nil {
					admitted.Add(1)
				}
			}
		})
	}
	all.Wait()
	if admitted.Load() != 2 {
		t.Errorf("%d were let in", admitted.Load())
	}
	wantThrottled(t, admit(l, ann, noon), 30*time.Second)
	if err := admit(l, ann, noon.Add(30*time.Second)); err != nil {
		t.Error(err)
	}
}

// Open documents do not take each other's refreshes, neither those of one person nor those behind
// one address.
func TestEachOpenDocumentHasItsOwnLimit(t *testing.T) {
	for name, v := range map[string]Visitor{
		"of one person": ann, "behind one address": from("192.0.2.1"),
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimits(t, twoAMinute)
			exhaust(t, l, v) // what is open stays open when nothing more may be opened
			for _, s := range []string{"one", "other"} {
				for range 2 {
					if err := l.admit(refreshing(v, s)); err != nil {
						t.Fatal(err)
					}
				}
				wantThrottled(t, l.admit(refreshing(v, s)), 30*time.Second)
			}
		})
	}
}
