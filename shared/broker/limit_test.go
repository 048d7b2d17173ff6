package broker

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// The tests of this file are of Limits alone, from noon on: a guest may do two things a minute, a
// caller three.

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

var twoOrThree = policy.Limits{Anyone: policy.Rate{Events: 2, Per: time.Minute},
	Caller: policy.Rate{Events: 3, Per: time.Minute}}

func newLimits(t *testing.T, rates policy.Limits) *Limits {
	return NewLimits(rates, slog.New(slog.NewJSONHandler(t.Output(), nil)))
}

// opening is a visitor's request to open a document, refreshing one for an open document.
func opening(v Visitor, came time.Time) *request { return &request{visitor: v, came: came} }

func refreshing(v Visitor, document string) *request {
	r := opening(v, noon)
	r.ID, r.Issued, r.Life = document, noon, 30*time.Minute
	return r
}

func wantThrottled(t *testing.T, err error, wait time.Duration) {
	t.Helper()
	got := wantKind(t, err, weboffice.Throttled).RetryAfter
	if (got - wait).Abs() > time.Millisecond {
		t.Fatalf("%v, want to come again after %v", got, wait)
	}
}

// exhaust does something so many times, and the next time it is refused.
func exhaust(t *testing.T, times int, wait time.Duration, do func() error) {
	t.Helper()
	for range times {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	wantThrottled(t, do(), wait)
}

// requestOf reads a request of testdata/limits.txt, whose head says how they are written.
func requestOf(t *testing.T, word string) *request {
	t.Helper()
	word, document, refreshes := strings.Cut(word, "!")
	word, after, _ := strings.Cut(word, "+")
	passed, _ := time.ParseDuration(after)
	who, address, _ := strings.Cut(word, "@")
	var v Visitor
	if subject, issuer, signed := strings.Cut(who, "/"); signed {
		v = person("https://"+strings.ReplaceAll(issuer, "0", "\x00"), subject)
	} else if subject, link, held := strings.Cut(who, "~"); held {
		v = holder(link, subject)
	}
	if address != "" {
		v.Address = netip.MustParseAddr(address)
	}
	if refreshes {
		return refreshing(v, document)
	}
	return opening(v, noon.Add(passed))
}

func TestLimitsOfVisitors(t *testing.T) {
	text, err := os.ReadFile("testdata/limits.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		row := strings.Split(line, "|")
		if len(row) != 3 {
			continue
		}
		name, let := strings.TrimSpace(row[0]), strings.TrimSpace(row[1])
		var requests []*request
		for word := range strings.FieldsSeq(row[2]) {
			requests = append(requests, requestOf(t, word))
		}
		t.Run(name, func(t *testing.T) {
			l := newLimits(t, twoOrThree)
			var wait time.Duration
			for i, r := range requests {
				n, err := 0, l.admit(r)
				for ; err == nil; err = l.admit(r) {
					n++
				}
				wait = wantKind(t, err, weboffice.Throttled).RetryAfter
				if n != int(let[i]-'0') {
					t.Errorf("of number %d %d are let in", i, n)
				}
			}
			last := requests[len(requests)-1]
			last.came = last.came.Add(wait - time.Millisecond)
			wantThrottled(t, l.admit(last), time.Millisecond)
			if last.came = last.came.Add(time.Millisecond); l.admit(last) != nil {
				t.Errorf("refused after %v", wait)
			}
		})
	}
}

// A crowd that is turned away must not push the time further off at which the visitor may come
// again.
func TestCrowdThatIsTurnedAwayLeavesNoDebt(t *testing.T) {
	l := newLimits(t, twoOrThree)
	var admitted atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5000 {
				if l.admit(opening(ann, noon)) == nil {
					admitted.Add(1)
				}
			}
		})
	}
	all.Wait()
	if admitted.Load() != 3 {
		t.Errorf("%d were let in", admitted.Load())
	}
	wantThrottled(t, l.admit(opening(ann, noon)), 20*time.Second)
	if err := l.admit(opening(ann, noon.Add(20*time.Second))); err != nil {
		t.Error(err)
	}
}

// limits.total is every visitor's together; what guests cost must not shut out who is signed in.
func TestGuestsDoNotStarvePeople(t *testing.T) {
	var log bytes.Buffer
	rates := policy.Limits{Anyone: policy.Rate{Events: 300, Per: time.Minute},
		Caller: policy.Rate{Events: 300, Per: time.Minute},
		Total:  policy.Rate{Events: 60, Per: time.Minute}}
	l := NewLimits(rates, slog.New(slog.NewTextHandler(&log, nil)))
	for _, c := range []struct {
		who       Visitor
		generates bool
		let       int
	}{{passerBy, true, 30}, {passerBy, false, 10}, {ann, true, 10}, {ann, false, 10}} {
		let := 0
		for n := range 300 {
			if _, err := l.hold(refreshing(c.who, fmt.Sprint(n)), c.generates, noon); err == nil {
				let++
			}
		}
		if let != c.let {
			t.Errorf("guest %v, generates %v: %d calls, want %d", c.who.Guest(), c.generates, let,
				c.let)
		}
	}
	if _, err := l.hold(refreshing(ann, "one"), true, noon.Add(2*time.Minute)); err != nil {
		t.Error(err)
	}
	lines := strings.Split(log.String(), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "level=ERROR") ||
		!strings.Contains(lines[0], "limits.total is reached") ||
		!strings.Contains(lines[1], "has room again\" refused=1140") {
		t.Error(log.String())
	}
}

// What limits.total refuses has not cost its visitor or its document anything. A call that IMM does
// not charge has cost nobody anything.
func TestRefusalForAllCostsNoVisitorAnything(t *testing.T) {
	rates := twoOrThree
	rates.Total = policy.Rate{Events: 1, Per: time.Hour}
	l := newLimits(t, rates)
	var held held
	hold := func() (err error) {
		held, err = l.hold(refreshing(ann, "one"), false, noon)
		return err
	}
	for range 2 {
		if err := hold(); err != nil {
			t.Fatal(err)
		}
		last := held
		for range 100 {
			wantThrottled(t, hold(), time.Hour)
		}
		l.settle(refreshing(ann, "one"), last, false, false, false)
	}
	l.shares = nil
	exhaust(t, callsPerLife, 30*time.Minute, hold)
}

// numbered is an address of a network of its own: a /64, and every 65,536 a /48.
func numbered(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 3: byte(n >> 24), 5: byte(n >> 16), 6: byte(n >> 8),
		7: byte(n)})
}

// Strangers fill the memory of limits, but nobody is forgotten because of them. Whoever comes while
// it is full is bounded all the same.
func TestStrangersDoNotMakeAnExhaustedAddressForgotten(t *testing.T) {
	l, now, let := newLimits(t, twoOrThree), noon, 0
	admit := func(v Visitor) func() error {
		return func() error { return l.admit(opening(v, now)) }
	}
	exhaust(t, 2, 30*time.Second, admit(passerBy))
	exhaust(t, 3, 20*time.Second, admit(ann))
	for n := range 10 * remembered {
		if admit(Visitor{Address: numbered(n * 31)})() == nil {
			let++
		}
		_ = admit(person("https://a.example", fmt.Sprint(n)))()
	}
	exhaust(t, 0, 30*time.Second, admit(passerBy))
	exhaust(t, 0, 20*time.Second, admit(ann))
	if let > remembered+2*crowds || let < remembered+crowds {
		t.Errorf("%d were let in", let)
	}
	kept := l.generates.address.fullAt
	if len(kept) > remembered+crowds {
		t.Errorf("%d buckets", len(kept))
	}
	// The harmless twin: what has refilled is forgotten, and who comes new has a bucket alone.
	now = noon.Add(2 * time.Minute)
	for n := range 100 {
		exhaust(t, 2, 30*time.Second, admit(Visitor{Address: numbered(1<<30*(n%2) + n)}))
	}
	if len(kept) > 100 {
		t.Errorf("%d buckets", len(kept))
	}
}

// The calls of a document are forgotten when no span reaches them, and not before.
func TestDocumentsCallsAreRemembered(t *testing.T) {
	l, now := newLimits(t, twoOrThree), noon
	hold := func(n int, life time.Duration) func() error {
		r := refreshing(person("https://a.example", fmt.Sprint(n)), fmt.Sprint(n))
		r.Life = life
		return func() error { _, err := l.hold(r, false, now); return err }
	}
	exhaust(t, callsPerLife, usualLife, hold(-2, 0))
	exhaust(t, callsPerLife, usualLife, hold(-3, 1<<63-2))
	exhaust(t, callsPerLife, usualLife, hold(-1, usualLife))
	for n := range openDocuments + 100 {
		if err := hold(n, usualLife)(); err != nil {
			t.Fatal(n, err)
		}
	}
	exhaust(t, 0, usualLife, hold(-1, usualLife))
	if kept := len(l.calls.fullAt); kept != openDocuments {
		t.Errorf("%d documents", kept)
	}
	now = noon.Add(30*time.Minute + time.Second)
	exhaust(t, callsPerLife, usualLife, hold(-1, usualLife))
	if err := hold(openDocuments+200, usualLife)(); err != nil || len(l.calls.fullAt) > 2 {
		t.Errorf("%v, %d documents", err, len(l.calls.fullAt))
	}
}

// Requests without a proof that are refused over and over are not read for a while; what they ask
// of the other function, and who comes from elsewhere, is.
func TestRefusedStrangersWait(t *testing.T) {
	l := newLimits(t, twoOrThree)
	stranger := func(function, address string, now time.Time) error {
		refused, err := l.AdmitStranger(function, netip.MustParseAddr(address), now)
		if err == nil {
			refused()
		}
		return err
	}
	exhaust(t, refusals.Events, time.Second, func() error {
		return stranger("generate", "192.0.2.1", noon)
	})
	if err := stranger("generate", "192.0.2.1", noon); !errors.As(err, new(OverLimit)) {
		t.Error("the log does not learn which limit it was")
	}
	for name, err := range map[string]error{
		"the other function": stranger("refresh", "192.0.2.1", noon),
		"another address":    stranger("generate", "192.0.2.2", noon),
		"later":              stranger("generate", "192.0.2.1", noon.Add(time.Second)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
