package broker

import (
	"crypto/sha256"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

func from(address string) Visitor { return Visitor{Address: netip.MustParseAddr(address)} }

func person(issuer, subject string) Visitor {
	return Visitor{Caller: caller.Caller{Issuer: "staff", IssuerURL: issuer, Subject: subject},
		Address: netip.MustParseAddr("192.0.2.1")}
}

func holder(id, subject string) Visitor {
	return Visitor{Caller: caller.Caller{Issuer: caller.LinkIssuer, IssuerURL: caller.LinkIssuer,
		Subject: subject,
		Link:    &caller.Link{ID: id}}}
}

var twoAMinute = policy.Limits{Anyone: policy.Rate{Events: 2, Per: time.Minute},
	Caller: policy.Rate{Events: 2, Per: time.Minute}}

// exhaust uses up what a visitor may do.
func exhaust(t *testing.T, l limiters, v Visitor) {
	t.Helper()
	for range 2 {
		if err := l.admit(v, noon); err != nil {
			t.Fatal(err)
		}
	}
	throttled(t, l.admit(v, noon), 30*time.Second)
}

func throttled(t *testing.T, err error, wait time.Duration) {
	t.Helper()
	var public *weboffice.Error
	if !errors.As(err, &public) || public.Kind != weboffice.Throttled ||
		(public.RetryAfter-wait).Abs() > time.Millisecond {
		t.Fatalf("got %v, want 429 with %v", err, wait)
	}
}

func TestOneVisitorsLimitIsNotAnothers(t *testing.T) {
	for name, c := range map[string]struct{ loud, other Visitor }{
		"subjects": {person("https://a.example", "ann"),
			person("https://a.example", "bob")},
		"issuers": {person("https://a.example", "ann"),
			person("https://b.example", "ann")},
		"the border moved": {person("https://a.example", "ann"),
			person("https://a.example\x00", "ann")},
		"a person and a guest":       {person("https://a.example", "ann"), from("192.0.2.1")},
		"two IPv4 addresses":         {from("192.0.2.1"), from("192.0.2.2")},
		"two IPv6 networks":          {from("2001:db8:0:1::1"), from("2001:db8:0:2::1")},
		"two links":                  {holder("one", ""), holder("two", "")},
		"two people with one link":   {holder("one", "ann"), holder("one", "bob")},
		"a link and a person":        {holder("one", ""), person("https://a.example", "one")},
		"a guest of no address":      {Visitor{}, from("192.0.2.1")},
		"IPv4 and IPv6, both mapped": {from("::ffff:192.0.2.1"), from("::ffff:192.0.2.2")},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimiters(twoAMinute)
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
			l := newLimiters(twoAMinute)
			exhaust(t, l, from(c.first))
			throttled(t, l.admit(from(c.second), noon), 30*time.Second)
		})
	}
}

func TestLimitRefills(t *testing.T) {
	l := newLimiters(twoAMinute)
	ann := person("https://a.example", "ann")
	exhaust(t, l, ann)
	throttled(t, l.admit(ann, noon.Add(10*time.Second)), 20*time.Second)
	if err := l.admit(ann, noon.Add(30*time.Second)); err != nil {
		t.Error(err)
	}
	throttled(t, l.admit(ann, noon.Add(30*time.Second)), 30*time.Second)
	for range 2 {
		if err := l.admit(ann, noon.Add(time.Hour)); err != nil {
			t.Error(err)
		}
	}
	throttled(t, l.admit(ann, noon.Add(time.Hour)), 30*time.Second)
}

// A crowd that is turned away must not push the time further off at which the visitor may come
// again.
func TestCrowdThatIsTurnedAwayLeavesNoDebt(t *testing.T) {
	l := newLimiters(twoAMinute)
	ann := person("https://a.example", "ann")
	var admitted atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5000 {
				if l.admit(ann, noon) == nil {
					admitted.Add(1)
				}
			}
		})
	}
	all.Wait()
	if admitted.Load() != 2 {
		t.Errorf("%d were let in", admitted.Load())
	}
	throttled(t, l.admit(ann, noon), 30*time.Second)
	if err := l.admit(ann, noon.Add(30*time.Second)); err != nil {
		t.Error(err)
	}
}

// Open documents do not take each other's refreshes, neither those of one person nor those behind
// one address.
func TestEachOpenDocumentHasItsOwnLimit(t *testing.T) {
	base := session.Session{Issuer: "https://a.example", Subject: "ann", Start: noon,
		Asked: weboffice.Request{SourceURI: "oss://test-bucket/a.docx"}}
	guests := session.Session{Start: noon, Guest: weboffice.User{Id: "G1"}, Asked: base.Asked}
	change := func(s session.Session, by func(*session.Session)) session.Session {
		by(&s)
		return s
	}
	otherDocument := change(base, func(s *session.Session) {
		s.Asked.SourceURI = "oss://test-bucket/b.docx"
	})
	later := change(base, func(s *session.Session) { s.Start = noon.Add(time.Millisecond) })
	for name, c := range map[string]struct {
		v          Visitor
		one, other session.Session
	}{
		"another document": {person("https://a.example", "ann"), base, otherDocument},
		"opened later":     {person("https://a.example", "ann"), base, later},
		"another guest": {from("192.0.2.1"), guests,
			change(guests, func(s *session.Session) { s.Guest.Id = "G2" })},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimiters(twoAMinute)
			exhaust(t, l, c.v) // what is open stays open when nothing more may be opened
			for _, s := range []session.Session{c.one, c.other} {
				for range 2 {
					if err := l.admitSession(c.v, s, noon); err != nil {
						t.Fatal(err)
					}
				}
				throttled(t, l.admitSession(c.v, s, noon), 30*time.Second)
			}
		})
	}
}

func TestLimitersAreBoundedInMemory(t *testing.T) {
	l := newLimiters(twoAMinute)
	numbered := func(n int) netip.Addr {
		return netip.AddrFrom16([16]byte{0: 0x20, 5: byte(n >> 16), 6: byte(n >> 8), 7: byte(n)})
	}
	for n := range 3 * remembered {
		if err := l.admit(Visitor{Address: numbered(n)}, noon); err != nil {
			t.Fatal(n, err)
		}
	}
	buckets := 0
	for n := range 3 * remembered {
		if _, kept := l.buckets.Get(sha256.Sum256([]byte("guest " + network(numbered(n))))); kept {
			buckets++
		}
	}
	if buckets > remembered || buckets < remembered/2 {
		t.Errorf("%d buckets", buckets)
	}
	last := Visitor{Address: numbered(3*remembered - 1)}
	if l.admit(last, noon) != nil {
		t.Fatal("the second of two is refused")
	}
	throttled(t, l.admit(last, noon), 30*time.Second)
}
