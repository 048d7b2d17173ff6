package app_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// crowd is the pages of so many people, half of them with documents that have a password.
func (s *instance) crowd(n int) []*page {
	pages := make([]*page, n)
	for i := range pages {
		p := s.page()
		p.proof = func() weboffice.Secret {
			return s.proof("ann", map[string]any{"sub": fmt.Sprint("ann ", i)})
		}
		if i%2 == 0 {
			p.body = source(plan)
		}
		pages[i] = p
	}
	return pages
}

// TestThousandAtOnce: a thousand people open a document at once, and a thousand refreshes come at
// once.
func TestThousandAtOnce(t *testing.T) {
	t.Parallel()
	n := 1000
	if testing.Short() { // under the race detector a thousand take two processors for too long
		n = 200
	}
	s := start(t)
	s.client.Transport.(*http.Transport).MaxIdleConnsPerHost = n
	pages := s.crowd(n)
	for i, want := range []office.Calls{{Generate: n}, {Generate: n, Refresh: n}} {
		var asking sync.WaitGroup
		for _, p := range pages {
			asking.Go(func() {
				_, got := p.ask()
				// nothing was sent: on a busy machine a connection may come late
				for tries := 0; got.status == 503 && tries < 20; tries++ {
					_, got = p.ask()
				}
				if got.status != 200 {
					t.Errorf("%v", got)
				}
			})
		}
		asking.Wait()
		if calls := s.IMM.Calls(); calls != want {
			t.Errorf("round %d: %+v, want %+v", i, calls, want)
		}
		s.advance(sdkRefreshes)
	}
	ids, tokens := map[string]bool{}, map[string]bool{}
	for _, got := range s.replies {
		ids[got.RequestId], tokens[got.AccessToken] = true, true
	}
	// answers that came again on a busy machine have an id, and no token
	if delete(tokens, ""); len(ids) != len(s.replies) || len(tokens) != 2*n {
		t.Errorf("%d RequestIds and %d access tokens", len(ids), len(tokens))
	}
}

// live asks and carries on; after its session's eight hours, which may end while it does so, the
// person opens the document anew.
func (p *page) live() {
	p.t.Helper()
	_, got := p.ask()
	by := p.carryOn(got)
	if by == "stops at 410" {
		p.last = reply{}
		_, got = p.ask()
		by = p.carryOn(got)
	}
	if strings.HasPrefix(by, "stops") {
		p.t.Errorf("a page %s", by)
	}
}

// stormFaults are what meets a crowd.
var stormFaults = []office.Fault{
	office.Cut(), office.Cut().AfterWork(), office.Throttled(0), office.Throttled(time.Second),
	office.InternalError(), office.InternalError().AfterWork(), office.Unavailable(),
	office.HTML(), office.Truncated(), office.WrongTypes(), office.SecurityTokenExpired(),
	office.NoPermission(),
}

// quiesce closes what pools and IMM keep open.
func (s *instance) quiesce() {
	s.client.CloseIdleConnections()
	s.network.cut(false)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// settled waits until a count has come down, however long the machine takes; go test ends it at
// last. Pools are closed again and again: a connection may come to them late.
func (s *instance) settled(most int, count func() int) bool {
	for begin := time.Now(); time.Since(begin) < 2*time.Minute; runtime.Gosched() {
		s.quiesce()
		if count() <= most {
			return true
		}
	}
	return false
}

// descriptors counts this process's open files, connections among them; 0 where the system does not
// list them.
func descriptors() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(files)
}

// soakVariable is how long TestSoak goes on, such as 10m; without it the test makes a few rounds.
const soakVariable = "FUNCTIONS_TEST_SOAK"

// TestSoak lets pages live their hours while everything around the functions fails at random, and
// others leave before their answer: each keeps its document or comes back to it, no refresh token
// is sent twice, memory and goroutines are as flat at the end as in the middle, and no goroutine or
// descriptor is left behind. It runs before the package's parallel tests begin.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(soakVariable))
	if err != nil && os.Getenv(soakVariable) != "" {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	const pages, samples, fewest = 40, 60, 12
	s := start(t)
	s.open(s.proof("ann"), plan) // what begins with the first request stays
	s.quiesce()
	goroutines, files, most := runtime.NumGoroutine(), descriptors(), 0
	seed := uint64(time.Now().UnixNano())
	storm := &storm{instance: s, random: rand.New(rand.NewPCG(seed, seed)), pages: s.crowd(pages)}
	// The memories of an instance drop their older half when they are full, so that the heap goes
	// up and down: its peaks are compared, of which the first tenth of the time has none yet.
	var heaps []float64
	var running []int
	begin, rounds := time.Now(), 0
	for ; !t.Failed() && (rounds < fewest || time.Since(begin) < length); rounds++ {
		if time.Since(begin) > length/samples*time.Duration(len(heaps)+1) {
			s.quiesce()
			heaps, running = append(heaps, memoryInUse()), append(running, runtime.NumGoroutine())
		}
		storm.round()
		most = max(most, descriptors())
	}
	t.Logf("seed %d, %d rounds, %d requests, %+v, heap in MB %.1f, goroutines %v", seed, rounds,
		storm.requests.Load(), s.IMM.Calls(), heaps, running)
	if n := len(heaps); !t.Failed() && length >= time.Minute {
		if slices.Max(heaps[n/2:]) > slices.Max(heaps[n/10:n/2])*1.2+4 ||
			slices.Max(running[n/2:]) > slices.Max(running[n/10:n/2])+pages/2 {
			t.Error("memory or goroutines grow")
		}
	}
	s.advance(20 * time.Minute)
	for _, p := range storm.pages {
		p.live()
		if state := p.frame("open"); state != "open" {
			t.Errorf("a page's document is %s", state)
		}
	}
	s.network.settle()
	if files > 0 && most <= files {
		t.Errorf("%d descriptors at most, %d before: nothing is measured", most, files)
	}
	if !s.settled(goroutines, runtime.NumGoroutine) || !s.settled(files, descriptors) {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Errorf("%d goroutines and %d descriptors, before %d and %d\n%s", runtime.NumGoroutine(),
			descriptors(), goroutines, files, &stacks)
	}
}

type storm struct {
	*instance
	random   *rand.Rand
	pages    []*page
	requests atomic.Int64
}

// round is a few minutes, in which some pages ask, all at once, and some of what they ask fails.
func (s *storm) round() {
	s.advance(time.Duration(s.random.IntN(12)) * time.Minute)
	switch s.random.IntN(20) {
	case 0: // a freeze
		s.client.CloseIdleConnections()
		s.network.cut(false)
		s.advance(time.Hour)
	case 1:
		s.People.Rotate()
		s.advance(time.Minute)
	}
	for range s.random.IntN(8) {
		s.IMM.Fail("", 1, stormFaults[s.random.IntN(len(stormFaults))])
	}
	s.IMM.Fail(office.Refresh, s.random.IntN(2)+1, office.Refused(400, "InvalidRefreshToken", "no"))
	var asking sync.WaitGroup
	for _, p := range s.pages {
		switch s.random.IntN(8) {
		case 0, 1, 2, 3:
			asking.Go(func() { s.requests.Add(1); p.live() })
		case 4: // somebody leaves, in the middle or before the answer
			head, body := (&page{instance: s.instance, proof: p.proof, body: p.body}).due()
			_ = s.send((head + body)[:len(head)+len(body)*s.random.IntN(2)]).Close()
		}
	}
	asking.Wait()
	s.IMM.ClearFaults()
	s.wantNoSecret()
	s.mu.Lock()
	s.replies = nil
	s.mu.Unlock()
	s.logs.mu.Lock()
	s.logs.text.Reset()
	s.logs.mu.Unlock()
}

// memoryInUse is the heap in MB.
func memoryInUse() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}
