package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// tightPolicy lets three requests a minute through for each visitor.
var tightPolicy = strings.Replace(teamPolicy, "limits: {anyone: 1000/m, caller: 1000/m}",
	"limits: {anyone: 3/m, caller: 3/m}", 1)

// from sends a request to a handler as if it came from an address, without a network between.
func (s *site) from(address string, handler http.Handler, proof weboffice.Secret,
	body string) reply {
	s.t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	request.RemoteAddr = address
	request.Header.Set("Origin", origin)
	request.Header.Set("Content-Type", "application/json")
	if proof != "" {
		request.Header.Set("Authorization", "Bearer "+proof.Reveal())
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	r := read(s.t, recorder.Result())
	r.checkForm(s.t)
	return r
}

func TestCallerWhoAsksTooMuchWaits(t *testing.T) {
	t.Parallel()
	s := start(t, tightPolicy)
	for range 3 {
		s.open(s.proof("ann"), plan)
	}
	for range 5 {
		// another document and another proof are no other caller
		got := s.generate(s.proof("ann"), source(budget)).want(t, 429, "Throttling")
		if got.header.Get("Retry-After") != "20" ||
			got.header.Get("Access-Control-Expose-Headers") != "Retry-After" {
			t.Errorf("%v", got.header)
		}
	}
	s.calls(t, 3, 0)
	s.open(s.proof("bob"), plan)
	s.open(s.link("one", plan, "view"), plan)
	s.open(guest, handbook)
	s.clock.Advance(19 * time.Second)
	if got := s.generate(s.proof("ann"), source(plan)).want(t, 429, "Throttling"); got.header.Get(
		"Retry-After") != "1" {
		t.Errorf("%v", got.header)
	}
	s.clock.Advance(time.Second)
	s.open(s.proof("ann"), plan)
	s.calls(t, 7, 0)
}

// Refusals count too, or documents could be guessed at any speed.
func TestRefusedRequestsCount(t *testing.T) {
	t.Parallel()
	s := start(t, tightPolicy)
	for i := range 3 {
		s.generate(s.proof("ann"), source(fmt.Sprintf("oss://team-docs/teams/blue/%d.docx",
			i))).want(t, 403, "Forbidden")
	}
	s.generate(s.proof("ann"), source(plan)).want(t, 429, "Throttling")
	s.untouched(t)
	s.open(s.proof("bob"), plan)
}

func TestGuestsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s := start(t, tightPolicy)
	for name, c := range map[string]struct{ same, other string }{
		"IPv4":         {"192.0.2.1:%d", "192.0.2.2:1"},
		"IPv6 by /64":  {"[2001:db8:0:7::%x]:443", "[2001:db8:0:8::1]:443"},
		"mapped":       {"[::ffff:192.0.2.9]:%d", "[::ffff:192.0.2.10]:1"},
		"no address":   {"pipe %d", "192.0.2.3:1"},
		"other port":   {"198.51.100.1:%d", "198.51.100.2:1"},
		"private /64s": {"[fd00:1:2:3:%x::1]:1", "[fd00:1:2:4::1]:1"},
	} {
		for i := range 3 {
			s.from(fmt.Sprintf(c.same, i+1), s.generator, guest, source(handbook)).want(t, 200, "")
		}
		before := s.office.Calls()
		for i := range 3 {
			if got := s.from(fmt.Sprintf(c.same, i+4), s.generator, guest,
				source(handbook)); got.status != 429 ||
				got.header.Get("Retry-After") != "20" {
				t.Errorf("%s: %v", name, got)
			}
		}
		if s.office.Calls() != before {
			t.Errorf("%s: a billed call behind a 429", name)
		}
		s.from(c.other, s.generator, guest, source(handbook)).want(t, 200, "")
		// who shows a proof is no guest
		s.from(fmt.Sprintf(c.same, 1), s.generator, s.proof(fmt.Sprintf("person of %s", name),
			people["ann"]), source(plan)).want(t, 200, "")
	}
	// The mapped spelling of an IPv4 address is that address.
	s.from("[::ffff:192.0.2.1]:9", s.generator, guest, source(handbook)).want(t, 429, "Throttling")
}

// An office behind one address: nobody can open a fourth document at once, but all that are open
// stay open.
func TestOpenDocumentsAreNotStarved(t *testing.T) {
	t.Parallel()
	s := start(t, tightPolicy)
	const officeAddress = "192.0.2.1:1"
	var open []reply
	for range 4 {
		for range 3 {
			open = append(open, s.from(officeAddress, s.generator, guest, source(handbook)).want(t,
				200, ""))
		}
		s.clock.Advance(time.Minute)
	}
	s.clock.Advance(due)
	for range 3 {
		s.from(officeAddress, s.generator, guest, source(handbook)).want(t, 200, "")
	}
	s.from(officeAddress, s.generator, guest, source(handbook)).want(t, 429, "Throttling")
	for _, last := range open {
		s.from(officeAddress, s.refresher, guest, tokensOf(last)).want(t, 200, "")
	}
	s.calls(t, 15, 12)
	// One document that is refreshed again and again is stopped, and no other.
	for range 2 {
		s.from(officeAddress, s.refresher, guest, tokensOf(open[0])).want(t, 200, "")
	}
	if got := s.from("203.0.113.5:1", s.refresher, guest,
		tokensOf(open[0])).want(t, 429, "Throttling"); got.header.Get("Retry-After") != "20" {
		t.Errorf("%v", got.header)
	}
	s.from(officeAddress, s.refresher, guest, tokensOf(open[1])).want(t, 200, "")
	s.calls(t, 15, 12)
}

// A sealed token that is sent again and again, at whatever intervals, costs no more than the limit
// lets through.
func TestReplayedTokenIsLimited(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(teamPolicy, "anyone: 1000/m", "anyone: 3/h", 1))
	opened := s.open(guest, handbook)
	s.clock.Advance(due)
	throttled := 0
	for range 40 {
		s.clock.Advance(time.Minute)
		if got := s.refresh(guest, opened); got.status == 429 {
			throttled++
		}
	}
	if calls := s.office.Calls(); calls.Generate+calls.Refresh > 1+3+3 || throttled < 30 {
		t.Errorf("%+v, %d throttled", calls, throttled)
	}
	s.clock.Advance(time.Hour)
	s.refresh(guest, opened).want(t, 200, "")
}

// Who cannot show that a token is theirs must not use up its owner's refreshes.
func TestStrangersDoNotUseUpASession(t *testing.T) {
	t.Parallel()
	s := start(t, tightPolicy)
	opened := s.open(s.proof("ann"), plan)
	s.clock.Advance(due)
	for range 10 {
		s.refresh(s.proof("bob"), opened).want(t, 400, "InvalidArgument.RefreshToken")
		s.refresh(guest, opened).want(t, 400, "InvalidArgument.RefreshToken")
		s.refresh(s.proof("ann"), reply{AccessToken: "x", RefreshToken: opened.RefreshToken}).want(
			t, 400, "InvalidArgument.RefreshToken")
	}
	s.calls(t, 1, 0)
	s.refresh(s.proof("ann"), opened).want(t, 200, "")
}

func TestCrowdGetsWhatTheLimitLetsThrough(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(teamPolicy, "anyone: 1000/m", "anyone: 20/m", 1))
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 20 {
				got := s.generate(guest, source(handbook))
				mu.Lock()
				statuses[got.status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if statuses[200] != 20 || statuses[429] != 180 {
		t.Errorf("%v", statuses)
	}
	s.calls(t, 20, 0)
	s.clock.Advance(3 * time.Second) // the crowd has left no debt
	s.open(guest, handbook)
}

// IMM's own limit reaches the page with the time that IMM names.
func TestIMMsThrottlingIsPassedOn(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	for wait, want := range map[time.Duration]string{0: "2", 3 * time.Second: "3",
		time.Hour: "60"} {
		s.office.Fail(office.Generate, 1, office.Throttled(wait))
		if got := s.generate(guest, source(handbook)).want(t, 429, "Throttling"); got.header.Get(
			"Retry-After") != want {
			t.Errorf("%v: Retry-After %q", wait, got.header.Get("Retry-After"))
		}
	}
	s.calls(t, 0, 0)
	s.open(guest, handbook)
}
