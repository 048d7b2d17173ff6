package broker

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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
// nor, spent, as many again: a generate for a token that was answered counts as one more opening.
func TestBankedSessionsAreBounded(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		tokens := b.bank(passerBy, 600)
		for n, wave := range []struct {
			tokens []weboffice.RefreshRequest
			most   int
		}{{tokens, 300}, {tokens[:300], 10}, {tokens, 51}} {
			if billed, _ := b.wave(passerBy, wave.tokens); billed > wave.most || billed < 10 {
				t.Errorf("wave %d was %d calls", n, billed)
			}
			if _, err := b.generate(passerBy, document); (err == nil) != (n == 0) {
				t.Errorf("after wave %d the visitor's generates: %v", n, err)
			}
			time.Sleep(61 * time.Second)
		}
		b.mustGenerate(passerBy) // the harmless twin
	})
}

// The harmless twin: an office of 300 people behind one address whose documents all come back after
// outages of every kind.
func TestOfficeComesBackAfterAnOutage(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		tokens := b.bank(passerBy, 300)
		for _, fault := range []office.Fault{office.Throttled(time.Second), office.NoPermission(),
			office.Cut(), office.InternalError()} {
			b.office.Fail("", 0, fault)
			for _, token := range tokens {
				if _, err := b.Refresh(t.Context(), passerBy, token); err == nil {
					t.Fatal("no outage")
				}
			}
			time.Sleep(time.Minute)
			b.office.ClearFaults()
		}
		if _, ok := b.wave(passerBy, tokens); ok != 300 {
			t.Errorf("%d of 300 keep their documents", ok)
		}
	})
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
		opens := slices.Collect(maps.Values(b.limits.generates.caller.fullAt))
		if opens[0][0] != time.Now().Add(2*time.Second).UnixNano() {
			t.Error("the second call is not its visitor's")
		}
		time.Sleep(time.Minute)
		ann.User.Name = "陈小明" // the next name, and a refresh that generates
		b.mustRefresh(narrowed, ann, opened)
		kept := slices.Collect(maps.Values(narrowed.limits.calls.fullAt))
		if len(kept) != 1 || kept[0][1] == 0 || kept[0][2] != 0 || b.office.Calls().Billed() != 4 {
			t.Errorf("%v, %+v", kept, b.office.Calls())
		}
		ann.User.Name = "Ann" // a third of total is left for refreshes alone
		again := weboffice.Request{SourceURI: document}
		_, err := narrowed.Generate(t.Context(), ann, again)
		wantKind(t, err, weboffice.Throttled) // the second call is in total
	})
}
