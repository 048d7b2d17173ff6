package app_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// hurried is a listener for whose connections every time limit comes a hundred times sooner: what
// the real server waits for in seconds ends in hundredths of them.
type hurried struct{ net.Listener }

type hurriedConn struct{ net.Conn }

func listenHurried(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return hurried{listener}
}

func (h hurried) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	return hurriedConn{c}, err
}

func (c hurriedConn) SetReadDeadline(at time.Time) error {
	if left := time.Until(at); left > 0 {
		at = time.Now().Add(left / 100)
	}
	return c.Conn.SetReadDeadline(at)
}

// readAll reads what a server sends until it ends the connection.
func readAll(t *testing.T, c net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return string(text)
}

// TestSlowloris: a hundred clients send half of a header, a hundred half of a body, and then
// nothing more. Each is cut off at the server's bound (ten seconds for headers, thirty for all, a
// hundredth of it here), nothing of theirs reaches IMM, and honest pages are served.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	address, _ := s.host(listenHurried(t))
	proof := s.proof("ann")
	head, body := raw("/generate", proof, source(plan))
	begin := time.Now()
	var headers, bodies []net.Conn
	for range 100 {
		headers, bodies = append(headers, dial(t, address)), append(bodies, dial(t, address))
		_, _ = io.WriteString(headers[len(headers)-1], head[:len(head)/2])
		_, _ = io.WriteString(bodies[len(bodies)-1], head+body[:len(body)/2])
	}
	s.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		s.open(proof, plan)
	}
	for _, c := range headers {
		if text := readAll(t, c); text != "" {
			t.Errorf("half a header is answered with %s", text)
		}
	}
	for _, c := range bodies {
		if text := readAll(t, c); !strings.HasPrefix(text, "HTTP/1.1 400 ") ||
			!strings.Contains(text, "Connection: close") {
			t.Errorf("half a body is answered with %s", text)
		}
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("all were cut off after %v", took)
	}
	s.calls(t, 20, 0)
}

// TestHeaderFloods: too many headers, too long ones and ones without an end are refused before the
// functions see the request.
func TestHeaderFloods(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	address, _ := s.host(nil)
	head, body := raw("/generate", s.proof("ann"), source(plan))
	first, rest, _ := strings.Cut(head, "\r\n")
	for name, c := range map[string]struct {
		flood  string
		status string
	}{
		"one of 64 KB":    {"X-Flood: " + strings.Repeat("x", 64<<10) + "\r\n", "431"},
		"ten thousand":    {strings.Repeat("X-Flood: x\r\n", 10_000), "431"},
		"a name of 64 KB": {strings.Repeat("x", 64<<10) + ": x\r\n", "431"},
		"a proof of 64 KB": {"Authorization: Bearer " + strings.Repeat("x", 64<<10) + "\r\n",
			"431"},
		"a hundred, harmless":  {strings.Repeat("X-Header: x\r\n", 100), "200"},
		"a cookie of 4 KB too": {"Cookie: a=" + strings.Repeat("x", 4<<10) + "\r\n", "200"},
	} {
		c1 := dial(t, address)
		go func() {
			_, _ = io.WriteString(c1, first+"\r\nConnection: close\r\n"+c.flood+rest+
				body)
		}()
		if text := readAll(t, c1); !strings.HasPrefix(text, "HTTP/1.1 "+c.status+" ") {
			t.Errorf("%s: %.100q", name, text)
		}
	}
	endless := dial(t, address)
	written := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(endless, io.MultiReader(strings.NewReader(first+"\r\nX-Endless: "),
			zeros{}))
		written <- n
	}()
	if text := readAll(t, endless); !strings.HasPrefix(text, "HTTP/1.1 431 ") {
		t.Errorf("%.100q", text)
	}
	_ = endless.Close()
	if n := <-written; n > 64<<20 { // what the kernel buffers on the way
		t.Errorf("%d bytes of a header were taken", n)
	}
	s.calls(t, 2, 0)
	if len(s.decisions()) != 2 {
		t.Errorf("%d decisions", len(s.decisions()))
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// TestBodyWithoutAnEnd: a body of no announced length is read up to the bound, and the connection
// ends there.
func TestBodyWithoutAnEnd(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	address, _ := s.host(nil)
	head, _ := raw("/generate", s.proof("ann"), "")
	c := dial(t, address)
	go func() {
		_, _ = io.WriteString(c, strings.Replace(head, "Content-Length: 0",
			"Transfer-Encoding: chunked", 1))
		chunk := "1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n"
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, chunk)
		}
	}()
	answer(t, c).want(t, 413, "RequestTooLarge")
	_ = c.Close()
	s.untouched(t)
}

// TestOversizedClaims: a proof has 8 KB at most, what it says of a person is cut to what IMM takes,
// and none of it swells what the page carries, what IMM gets or what is logged. A proof that is too
// long, or nested without end, makes no request to anybody.
func TestOversizedClaims(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	s.host(nil)
	long := strings.Repeat("z", 1800)
	large := s.proof("ann", map[string]any{"name": "Ann " + long,
		"picture": "https://people.example.com/" + long, "note": long})
	opened := s.open(large, plan)
	if n := len(large); n < 7<<10 || n > 8<<10 {
		t.Fatalf("a proof of %d bytes proves nothing", n)
	}
	if user := s.sentUser(t); len(user.Name) != 32 || user.Avatar != "" ||
		len(opened.RefreshToken) > 2000 {
		t.Errorf("%+v, a sealed token of %d characters", user, len(opened.RefreshToken))
	}
	if strings.Contains(s.logs.String(), "zzzz") {
		t.Error("claims are in the log")
	}
	fetches := s.people.Requests(issuer.KeysPath)
	for name, proof := range map[string]weboffice.Secret{
		"over 8 KB": s.proof("ann", map[string]any{"note": strings.Repeat(long, 5)}),
		"a subject": s.proof(strings.Repeat("a", 256)),
		"nested": s.people.Sign(nil,
			[]byte(`{"iss":"`+s.people.URL()+`","x":`+strings.Repeat("[", 5000))),
		"nested, in form": s.people.Sign(nil,
			[]byte(`{"x":`+strings.Repeat("[", 2500)+strings.Repeat("]", 2500)+`}`)),
	} {
		if got := s.generate(proof, source(plan)); got.status != 401 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if s.people.Requests(issuer.KeysPath) != fetches {
		t.Error("they cause requests")
	}
	s.calls(t, 1, 0)
}

// burst is a crowd of pages, of which most meet a failure.
func (x *rig) burst(n int) {
	faults := []office.Fault{
		office.Cut(), office.Cut().AfterWork(), office.Slow(nil), office.Throttled(time.Second),
		office.InternalError(), office.Unavailable(), office.HTML(),
		office.Truncated(), office.WrongTypes(), office.SecurityTokenExpired(),
		office.NoPermission(), office.Slow(nil).AfterWork(),
	}
	address, _ := strings.CutPrefix(x.generateURL, "http://")
	var all sync.WaitGroup
	pages := make([]*page, n)
	for i := range pages {
		pages[i] = x.page(x.advance)
		all.Go(func() { pages[i].ask() })
	}
	all.Wait()
	x.advance(25 * time.Minute) // what comes now are refreshes
	for i, p := range pages {
		x.office.Fail("", 1, faults[i%len(faults)])
		all.Go(func() {
			if p.last.RefreshToken != "" {
				x.refresh("not a proof", p.last)
			}
			p.ask()
			head, body := raw("/", p.proof(), p.body)
			// a client that leaves, in the middle or before the answer
			if c, err := net.Dial("tcp", address); err == nil {
				_, _ = io.WriteString(c, (head + body)[:len(head)+len(body)*(i%2)])
				_ = c.Close()
			}
		})
	}
	all.Wait()
	x.office.ClearFaults()
	x.front.settle()
}

// rest closes what pools keep open.
func (x *rig) rest() {
	x.client.CloseIdleConnections()
	x.transport.CloseIdleConnections()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
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

// settled waits until a count has come down. Pools are closed again and again, since a connection
// may come to them late: one that was dialled for a request which found another.
func settled(most int, rest func(), count func() int) bool {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		rest()
		if count() <= most {
			return true
		}
	}
	return false
}

// TestNothingLeaks runs before the package's parallel tests begin: a burst full of failures leaves
// no goroutine and no descriptor behind.
func TestNothingLeaks(t *testing.T) {
	x := newRig(t, rigOptions{deadline: 500 * time.Millisecond})
	goroutines, files := runtime.NumGoroutine(), descriptors()
	x.burst(240)
	during, calls := descriptors(), x.office.Calls()
	if files > 0 && during <= files || calls.Generate < 240 || calls.Refresh == 0 {
		t.Errorf(
			"%d descriptors before the pools are closed, %d before the burst, %+v: nothing is measured", during, files, calls)
	}
	if !settled(goroutines, x.rest, runtime.NumGoroutine) {
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Errorf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), goroutines, &stacks)
	}
	if !settled(files, x.rest, descriptors) {
		t.Errorf("%d descriptors, %d before", descriptors(), files)
	}
	if spends := x.office.DoubleSpends(); len(spends) != 0 {
		t.Errorf("%d double spends", len(spends))
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

// memoryInUse is the heap in MB that the stand-in did not take: it keeps every request's nonce for
// half an hour. The profile is a sample, and is scaled as pprof does it.
func memoryInUse() (mb float64) {
	runtime.GC()
	runtime.GC() // the profile is that of the collection before the last
	records := make([]runtime.MemProfileRecord, 100_000)
	n, _ := runtime.MemProfile(records, false)
	for _, r := range records[:min(n, len(records))] {
		standIn, frames := false, runtime.CallersFrames(r.Stack())
		for more := true; more && !standIn; {
			var frame runtime.Frame
			frame, more = frames.Next()
			standIn = strings.Contains(frame.Function, "/office.")
		}
		if bytes, objects := float64(r.InUseBytes()), float64(r.InUseObjects()); objects > 0 &&
			!standIn {
			mb += bytes / (1 - math.Exp(-bytes/objects/float64(runtime.MemProfileRate))) / 1e6
		}
	}
	return mb
}

// soakVariable is how long TestSoak goes on, such as 10m; without it the test makes a few rounds.
const soakVariable = "FUNCTIONS_TEST_SOAK"

// TestSoak lets pages live their hours while everything around the functions fails at random: each
// keeps its document or comes back to it, no refresh token is sent twice, and memory and goroutines
// are as flat at the end as in the middle.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(soakVariable))
	if err != nil && os.Getenv(soakVariable) != "" {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	const pages = 40
	x := newRig(t, rigOptions{deadline: time.Second})
	x.host(nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	all := make([]*page, pages)
	for i := range all {
		all[i] = x.page(x.advance)
		proof := func() weboffice.Secret {
			return x.proof("ann", map[string]any{"sub": fmt.Sprint("ann ", i)})
		}
		all[i].proof = proof
		if i%2 == 0 {
			all[i].body = source(plan)
		}
	}
	faults := []office.Fault{
		office.Cut(), office.Cut().AfterWork(), office.Throttled(0), office.Throttled(time.Second),
		office.InternalError(), office.InternalError().AfterWork(),
		office.Unavailable(), office.HTML(), office.Truncated(), office.WrongTypes(),
		office.SecurityTokenExpired(), office.NoPermission(),
	}
	var requests atomic.Int64
	// round is a few minutes, in which some pages ask, all at once, and some of what they ask
	// fails.
	round := func() {
		x.advance(time.Duration(random.IntN(12)) * time.Minute)
		switch random.IntN(20) {
		case 0: // a freeze
			x.client.CloseIdleConnections()
			x.web.CloseClientConnections()
			x.advance(time.Hour)
		case 1: // the role is renewed, and the instance learns of it a little late
			keys := x.office.Credentials()
			keys.SecurityToken += "x"
			x.office.SetCredentials(keys)
			x.role.renew(x.world)
		case 2:
			x.people.Rotate()
			x.advance(time.Minute)
		}
		for range random.IntN(8) {
			x.office.Fail("", 1, faults[random.IntN(len(faults))])
		}
		x.office.Fail(office.Refresh, random.IntN(2)+1, office.Refused(400, "InvalidRefreshToken",
			"no"))
		var asking sync.WaitGroup
		for _, p := range all {
			if random.IntN(2) == 0 {
				continue
			}
			asking.Go(func() {
				requests.Add(1)
				p.live()
			})
		}
		asking.Wait()
		x.office.ClearFaults()
		x.mu.Lock()
		x.replies = nil
		x.mu.Unlock()
		x.logs.mu.Lock()
		x.logs.text.Reset()
		x.logs.mu.Unlock()
	}
	// The memories of an instance drop their older half when they are full, so that the heap goes
	// up and down: its peaks are compared, of which the first tenth of the time has none yet.
	const samples = 60
	var heaps []float64
	var goroutines []int
	begin, rounds := time.Now(), 0
	for ; !t.Failed() && (rounds < 20 || time.Since(begin) < length); rounds++ {
		if time.Since(begin) > length/samples*time.Duration(len(heaps)+1) {
			x.rest()
			heaps, goroutines = append(heaps, memoryInUse()),
				append(goroutines, runtime.NumGoroutine())
		}
		round()
	}
	t.Logf("%d rounds, %d requests, %+v, heap in MB %.1f, goroutines %v", rounds, requests.Load(),
		x.office.Calls(), heaps, goroutines)
	if spends := x.office.DoubleSpends(); len(spends) != 0 {
		t.Errorf("%d double spends", len(spends))
	}
	if n := len(heaps); !t.Failed() && length >= time.Minute {
		early, late := heaps[n/10:n/2], heaps[n/2:]
		if slices.Max(late) > slices.Max(early)*1.2+4 ||
			slices.Max(goroutines[n/2:]) > slices.Max(goroutines[n/10:n/2])+pages/2 {
			t.Error("memory or goroutines grow")
		}
	}
	x.advance(20 * time.Minute)
	for _, p := range all {
		p.live()
		if state := p.frame("open"); state != "open" {
			t.Errorf("a page's document is %s", state)
		}
	}
}
