package broker

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

const tenAMinute = `
project: test-project
limits: {anyone: 10/m, caller: 60/m}
issuers:
  staff: {url: https://login.example.com, audience: weboffice}
rules:
  - {name: staff, documents: oss://test-bucket/**, callers: {issuer: staff}, grant: [view, edit]}
  - {name: links, documents: oss://test-bucket/**, callers: {issuer: links}, grant: [view, edit]}
  - {name: everything, documents: oss://test-bucket/**, callers: anyone, grant: [view, edit]}
`

// bank opens documents from one address, as fast as its limit lets them, and keeps all tokens until
// a refresh of the first calls IMM.
func (b *site) bank(v Visitor, n int) []weboffice.RefreshRequest {
	b.t.Helper()
	var tokens []weboffice.RefreshRequest
	for range n {
		tokens = append(tokens, b.mustGenerate(v))
		time.Sleep(6 * time.Second)
	}
	time.Sleep(11 * time.Minute)
	return tokens
}

// wave refreshes all tokens at once and returns how many calls that cost, and how many got answers.
func (b *site) wave(v Visitor, tokens []weboffice.RefreshRequest) (billed, ok int) {
	b.t.Helper()
	before := b.office.Calls().Billed()
	for _, token := range tokens {
		if _, err := b.Refresh(b.t.Context(), v, token); err == nil {
			ok++
		} else if weboffice.AsError(err).Kind != weboffice.Throttled {
			b.t.Fatal(err)
		}
	}
	return b.office.Calls().Billed() - before, ok
}

// Sealed tokens that were collected in an hour must not become as many billed calls in a minute,
// nor, spent, as many again.
func TestBankedSessionsAreBounded(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		tokens := b.bank(passerBy, 600)
		for n, most := range []int{300, 31, 31} {
			if billed, _ := b.wave(passerBy, tokens); billed > most {
				t.Errorf("wave %d was %d calls", n, billed)
			}
			time.Sleep(61 * time.Second)
		}
	})
}

// The harmless twin: an office of 300 people behind one address whose documents all come back after
// an outage.
func TestOfficeComesBackAfterAnOutage(t *testing.T) {
	for name, fault := range map[string]office.Fault{
		"throttled": office.Throttled(time.Second), "server errors": office.InternalError(),
		"no answers": office.Cut(), "no rights": office.NoPermission(),
	} {
		t.Run(name, func(t *testing.T) {
			at(t, tenAMinute, func(t *testing.T, b *site) {
				tokens := b.bank(passerBy, 300)
				b.office.Fail("", 0, fault)
				for range 3 {
					for _, token := range tokens {
						if _, err := b.Refresh(t.Context(), passerBy, token); err == nil {
							t.Fatal("no outage")
						}
					}
					time.Sleep(time.Minute)
				}
				b.office.ClearFaults()
				if _, ok := b.wave(passerBy, tokens); ok != 300 {
					t.Errorf("%d of 300 keep their documents", ok)
				}
			})
		})
	}
}

// All tokens of one open document, in whatever order and however often they are shown.
func TestTokensOfOneDocumentAreBounded(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		tokens := []weboffice.RefreshRequest{b.mustGenerate(ann)}
		for n := range 12 {
			time.Sleep(25 * time.Minute)
			tokens = append(tokens, shown(b.mustRefresh(b.Broker, ann, tokens[n])))
		}
		since := len(b.office.Requests())
		for range 60 {
			for _, token := range tokens {
				_, _ = b.Refresh(t.Context(), ann, token)
			}
			time.Sleep(time.Minute)
		}
		if most := most(b.office.Requests()[since:], 30*time.Minute); most > callsPerLife {
			t.Errorf("%d calls within half an hour", most)
		}
	})
}

// most is the largest number of requests in any span.
func most(requests []office.Request, span time.Duration) (n int) {
	for i, first := range requests {
		for j, r := range requests[i:] {
			if r.Time.Sub(first.Time) <= span {
				n = max(n, j+1)
			}
		}
	}
	return n
}

// The harmless twin: a page that loses every second answer, asks again from its other tab, and
// meets another instance each time, for eleven hours.
func TestPageThatLosesAnswersKeepsItsDocument(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		instances := []*Broker{b.Broker, b.instance(tenAMinute), b.instance(tenAMinute)}
		held := b.mustGenerate(ann)
		for turn := range 26 {
			time.Sleep(25 * time.Minute)
			one, other := instances[turn%3], instances[(turn+turn%2)%3]
			b.mustRefresh(one, ann, held) // and it is lost
			time.Sleep(time.Duration(turn%3) * 50 * time.Second)
			answer := b.mustRefresh(other, ann, held)
			if again := b.mustRefresh(other, ann, held); again.AccessToken != answer.AccessToken {
				t.Fatal("the other tab gets other tokens")
			}
			held = shown(answer)
		}
	})
}

// A generate for a token that was answered is one more opening, and counts as that.
func TestSpentTokenCountsAsAGenerate(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		tokens := b.bank(passerBy, 15)
		b.wave(passerBy, tokens)
		time.Sleep(2 * time.Minute)
		if billed, _ := b.wave(passerBy, tokens); billed != 10 {
			t.Errorf("%d spent tokens became calls", billed)
		}
		if _, err := b.generate(passerBy, document); err == nil {
			t.Error("the visitor's generates are not used up")
		}
		time.Sleep(7 * time.Second)
		b.mustGenerate(passerBy) // the harmless twin
	})
}

// limits.total is every visitor's together; what guests cost must not shut out who is signed in.
func TestThirtyGuestNetworksDoNotStarvePeople(t *testing.T) {
	rules := strings.Replace(tenAMinute, "caller: 60/m", "caller: 60/m, total: 60/m", 1)
	at(t, tenAMinute, func(t *testing.T, b *site) {
		var people, guests []weboffice.RefreshRequest
		for range 10 {
			people = append(people, b.mustGenerate(ann))
		}
		for i := range 40 {
			guests = append(guests, b.mustGenerate(from(fmt.Sprintf("198.51.100.%d", i))))
		}
		time.Sleep(15 * time.Minute)
		b.Broker = b.instance(rules)
		opened, since := 0, b.office.Calls().Billed()
		for i := range 300 {
			if _, err := b.generate(from(fmt.Sprintf("203.0.113.%d", i%30)), document); err == nil {
				opened++
			}
		}
		if opened != 30 {
			t.Errorf("guests opened %d documents, want half of 60", opened)
		}
		for i, token := range guests {
			_, _ = b.Refresh(t.Context(), from(fmt.Sprintf("198.51.100.%d", i)), token)
		}
		if billed := b.office.Calls().Billed() - since; billed != 40 {
			t.Errorf("guests are %d calls, want two thirds of 60", billed)
		}
		for range 100 {
			_, _ = b.generate(ann, document)
		}
		if billed := b.office.Calls().Billed() - since; billed != 50 {
			t.Errorf("with all generates it is %d calls, want 50", billed)
		}
		if _, ok := b.wave(ann, people); ok != 10 {
			t.Errorf("%d of 10 people keep their documents", ok)
		}
		time.Sleep(2 * time.Minute)
		b.mustGenerate(ann)
		begun := b.logged("limits.total is reached: calls are refused")
		ended := b.logged("limits.total has room again")
		if len(begun) != 1 || len(ended) != 1 || ended[0]["refused"].(float64) < 300 {
			t.Fatalf("%v, %v", begun, ended)
		}
		wantLine(t, begun[0], "level", "ERROR")
	})
}

// What limits.total refuses has not cost its visitor or its document anything.
func TestRefusalForAllCostsNoVisitorAnything(t *testing.T) {
	rates := twoAMinute
	rates.Total = policy.Rate{Events: 1, Per: time.Hour}
	l := newLimits(t, rates)
	calling := refreshing(ann, "one")
	if err := holding(l, refreshing(person("https://a.example", "bob"), "two"), noon); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		wantThrottled(t, holding(l, calling, noon), time.Hour)
	}
	l.shares = nil
	for range callsPerLife {
		if err := holding(l, calling, noon); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever holds a published link is limited by address, so that one holder does not lock the others
// out; all together have ten times a caller's limit.
func TestOneHolderOfALinkDoesNotLockTheOthersOut(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		link := func(i int) Visitor {
			v := holder("published", "")
			v.Address = netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
			return v
		}
		for range 100 {
			_, _ = b.generate(link(0), document)
		}
		b.calls(10, 0)
		for i := range 100 {
			_, _ = b.generate(link(1+i), document)
		}
		b.calls(110, 0)
		for i := range 1000 {
			_, _ = b.generate(link(i%256), document)
		}
		b.calls(600, 0)
		b.mustGenerate(holder("published", "bob")) // who is named on a link is nobody's crowd
		another := link(0)
		another.Link = holder("another", "").Link
		if _, err := b.generate(another, document); err == nil {
			t.Error("another link gives the address another limit")
		}
	})
}

// numbered is an address of a network of its own: a /64, and every 65,536 a /48.
func numbered(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0x20, 3: byte(n >> 24), 5: byte(n >> 16), 6: byte(n >> 8),
		7: byte(n)})
}

// Strangers fill the memory of limits, but nobody is forgotten because of them.
func TestStrangersDoNotMakeAnExhaustedAddressForgotten(t *testing.T) {
	l := newLimits(t, twoAMinute)
	exhaust(t, l, passerBy)
	exhaust(t, l, ann)
	for n := range 10 * remembered {
		_ = admit(l, Visitor{Address: numbered(n * 31)}, noon)
		_ = admit(l, person("https://a.example", fmt.Sprint(n)), noon)
	}
	wantThrottled(t, admit(l, passerBy, noon), 30*time.Second)
	wantThrottled(t, admit(l, ann, noon), 30*time.Second)
	if kept := len(l.generates.address.fullAt); kept > remembered+crowds {
		t.Errorf("%d buckets", kept)
	}
	// The harmless twin: what has refilled is forgotten, and who comes new has a bucket alone.
	later := noon.Add(2 * time.Minute)
	for n := range 100 {
		exhaustAt(t, l, Visitor{Address: numbered(1<<30*(n%2) + n)}, later)
	}
	if kept := len(l.generates.address.fullAt); kept > 100 {
		t.Errorf("%d buckets", kept)
	}
}

// Whoever comes while the memory is full is bounded all the same.
func TestCrowdAtAFullMemoryIsBounded(t *testing.T) {
	l := newLimits(t, twoAMinute)
	for n := range remembered {
		_ = admit(l, Visitor{Address: numbered(n)}, noon)
	}
	let := 0
	for n := range 10 * remembered {
		if admit(l, Visitor{Address: numbered(remembered + n)}, noon) == nil {
			let++
		}
	}
	if let > 2*crowds || let < crowds {
		t.Errorf("%d were let in", let)
	}
}

// The window of a document is forgotten when no span reaches its calls, and not before.
func TestDocumentsCallsAreRemembered(t *testing.T) {
	l := newLimits(t, twoAMinute)
	opened := func(n int) *request {
		return refreshing(person("https://a.example", fmt.Sprint(n)), fmt.Sprint(n))
	}
	for range callsPerLife {
		if _, err := l.hold(opened(-1), false, noon); err != nil {
			t.Fatal(err)
		}
	}
	for n := range openDocuments + 100 {
		if _, err := l.hold(opened(n), false, noon); err != nil {
			t.Fatal(n, err)
		}
	}
	wantThrottled(t, holding(l, opened(-1), noon), 30*time.Minute)
	if kept := len(l.calls.fullAt); kept != openDocuments {
		t.Errorf("%d documents", kept)
	}
	later := noon.Add(30*time.Minute + time.Second)
	if err := holding(l, opened(-1), later); err != nil {
		t.Error(err)
	}
	if err := holding(l, opened(openDocuments+200), later); err != nil || len(l.calls.fullAt) > 2 {
		t.Errorf("%v, %d documents", err, len(l.calls.fullAt))
	}
}

// refreshing is a request for an open document.
func refreshing(v Visitor, id string) *request {
	r := &request{visitor: v, Session: session.Session{ID: id}}
	r.Issued, r.came = noon, noon
	return r
}

func holding(l *Limits, r *request, now time.Time) error {
	_, err := l.hold(r, false, now)
	return err
}

// After a clock was put back nobody waits longer than an empty bucket needs.
func TestClockThatIsPutBackLocksNobodyOut(t *testing.T) {
	l := newLimits(t, twoAMinute)
	exhaustAt(t, l, ann, noon.Add(24*time.Hour))
	wantThrottled(t, admit(l, ann, noon), 30*time.Second)
	if err := admit(l, ann, noon.Add(30*time.Second)); err != nil {
		t.Error(err)
	}
}

// Requests without a proof that are refused over and over are not read for a while; what they ask
// of the other function, and who comes from elsewhere, is.
func TestRefusedStrangersWait(t *testing.T) {
	l := newLimits(t, twoAMinute)
	address := netip.MustParseAddr("192.0.2.1")
	for range refusals.Events {
		refused, err := l.AdmitStranger("generate", address, noon)
		if err != nil {
			t.Fatal(err)
		}
		refused()
	}
	admit := func(function string, address netip.Addr, now time.Time) error {
		_, err := l.AdmitStranger(function, address, now)
		return err
	}
	err := admit("generate", address, noon)
	wantThrottled(t, err, time.Second)
	var over OverLimit
	if !errors.As(err, &over) {
		t.Error("the log does not learn which limit it was")
	}
	for name, err := range map[string]error{
		"the other function": admit("refresh", address, noon),
		"another address":    admit("generate", netip.MustParseAddr("192.0.2.2"), noon),
		"later":              admit("generate", address, noon.Add(time.Second)),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A name that IMM refuses is sent once more in another spelling: both calls are accounted for.
func TestRefusedNameCostsTwoCalls(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		b.office.SetSwitches(office.Switches{UserNameStrict: true})
		narrowed := b.instance(strings.NewReplacer("grant: [view, edit]", "grant: [view]",
			"caller: 60/m", "caller: 60/m, total: 4/h").Replace(tenAMinute))
		ann := ann
		ann.User.Name = "安娜"
		opened := b.mustGenerate(ann)
		wantLine(t, b.logged("decision")[0], "billed", 1.0, "maybeBilled", true)
		time.Sleep(time.Minute)
		ann.User.Name = "陈小明" // the next name, and a refresh that generates
		b.mustRefresh(narrowed, ann, opened)
		kept := narrowed.limits.calls.fullAt
		for _, window := range kept {
			if window[1] == 0 || window[2] != 0 {
				t.Errorf("%v", window)
			}
		}
		if len(kept) != 1 || b.office.Calls().Billed() != 4 {
			t.Errorf("%d documents, %+v", len(kept), b.office.Calls())
		}
		ann.User.Name = "Ann" // a third of total is left for refreshes alone
		if _, err := narrowed.Generate(t.Context(), ann,
			weboffice.Request{SourceURI: document}); err == nil {
			t.Error("the second call is not in total")
		}
	})
}
