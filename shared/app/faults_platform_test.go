package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/standin/cloud"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// identityFaults: the provider fails, for an instance that has read its keys or for a cold one. A
// cell's log is that of the edge where the request ends there.
var identityFaults = []struct {
	name              string
	cold              bool // the instance has not read any keys yet
	deadline          time.Duration
	begin, end        func(*site)
	generate, refresh cell
}{
	{
		name: "outage, keys known", begin: failing(issuer.Outage),
		generate: cell{"200", "G done", "opened, 1 billed", "", "2+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "1+1"},
	},
	{
		name: "outage of two hours, keys known",
		begin: func(s *site) {
			s.people.SetFault(issuer.Outage)
			s.clock.Advance(
				2 * time.Hour)
		},
		generate: cell{"200", "G done", "opened, 1 billed", "", "2+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "1+1"},
	},
	{
		name: "outage, cold instance", cold: true, begin: failing(issuer.Outage),
		end: failing(issuer.None),
		generate: cell{"503 ServiceUnavailable, retry after 5", "", "ServiceUnavailable",
			"generate", "2+0"},
		refresh: cell{"503 ServiceUnavailable, retry after 5", "", "ServiceUnavailable", "refresh",
			"1+1"},
	},
	{
		name: "cut, cold instance", cold: true, begin: failing(issuer.Cut),
		end: failing(issuer.None),
		generate: cell{"503 ServiceUnavailable, retry after 5", "", "ServiceUnavailable",
			"generate", "2+0"},
		refresh: cell{"503 ServiceUnavailable, retry after 5", "", "ServiceUnavailable", "refresh",
			"1+1"},
	},
	{
		name: "slow, keys known", begin: failing(issuer.Slow),
		generate: cell{"200", "G done", "opened, 1 billed", "", "2+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "1+1"},
	},
	{
		name: "slow beyond the deadline, cold instance", cold: true,
		deadline: 300 * time.Millisecond, begin: failing(issuer.Slow), end: failing(issuer.None),
		generate: cell{"503 ServiceUnavailable, retry after 5", "", "ServiceUnavailable",
			"generate", "2+0"},
		refresh: cell{"503 ServiceUnavailable, retry after 5", "", "ServiceUnavailable", "refresh",
			"1+1"},
	},
	{
		name: "rotated", begin: func(s *site) { s.clock.Advance(time.Minute); s.people.Rotate() },
		generate: cell{"200", "G done", "opened, 1 billed", "", "2+0"},
		refresh:  cell{"200", "R done", "refreshed, 1 billed", "", "1+1"},
	},
	// the one fault that needs the person: a page stops at the second 401, the document stays open,
	// and a minute later signing in helps
	{
		name: "rotated within a minute of reading the keys", cold: true,
		end: func(s *site) { s.clock.Advance(time.Minute) },
		begin: func(s *site) {
			s.generate(s.proof("bob"), source(bluePlan)).want(s.t, 403, "Forbidden")
			s.people.Rotate()
		},
		generate: cell{"401 Unauthenticated", "", "Unauthenticated", "generate", "2+0"},
		refresh:  cell{"401 Unauthenticated", "", "Unauthenticated", "refresh", "1+1"},
	},
}

func failing(f issuer.Fault) func(*site) { return func(s *site) { s.people.SetFault(f) } }

// TestIdentityProviderFaults: whoever has proved who they are goes on, and who cannot be checked is
// told to come again.
func TestIdentityProviderFaults(t *testing.T) {
	t.Parallel()
	for _, f := range identityFaults {
		for function, want := range map[string]cell{"generate": f.generate, "refresh": f.refresh} {
			t.Run(f.name+"/"+function, func(t *testing.T) {
				t.Parallel()
				s := start(t, teamPolicy)
				p := s.page(s.clock.Advance)
				p.body = source(plan)
				if _, got := p.ask(); got.status != 200 || p.frame("open") != "open" {
					t.Fatal(got)
				}
				s.clock.Advance(25 * time.Minute)
				if f.cold {
					p.site = s.another(teamPolicy)
				}
				if f.deadline > 0 {
					p.generateURL, p.refreshURL = serve(t, within(f.deadline, p.generator)),
						serve(t, within(f.deadline, p.refresher))
				}
				if function == "generate" { // another tab
					p.last = reply{}
				}
				f.begin(p.site)
				requests, lines := len(s.office.Requests()), len(p.decisions())+
					len(p.logs.lines(t, "request"))
				asked, got := p.ask()
				edge, decided := p.logs.lines(t, "request"), p.decisions()
				if len(edge)+len(decided) != lines+1 || asked != function {
					t.Fatalf("%s: %d and %d lines", asked, len(edge), len(decided))
				}
				met := cell{answer: summary(got), imm: wire(s.office.Requests()[requests:])}
				if len(edge) > 0 && got.status != 200 {
					met.log = fmt.Sprint(edge[len(edge)-1]["outcome"])
				} else {
					met.log = audited(decided[len(decided)-1])
				}
				if held := p.last; got.status != 200 && held.AccessToken != "" &&
					p.frame("check") != "open" {
					t.Error("what was open is not")
				}
				if f.end != nil {
					f.end(p.site)
				}
				met.then = p.carryOn(got)
				calls := s.office.Calls()
				if met.billed = fmt.Sprintf("%d+%d", calls.Generate, calls.Refresh); met != want {
					t.Errorf("\n got %+v\nwant %+v", met, want)
				}
				p.wantOpen()
				if len(s.office.DoubleSpends()) != 0 {
					t.Error("a refresh token was sent again")
				}
			})
		}
	}
}

// A slow provider holds up whoever is the first to need new keys, and nobody who comes with one
// that is known.
func TestSlowProviderHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	old := s.proof("ann")
	s.open(old, plan)
	s.clock.Advance(2 * time.Minute)
	s.people.SetFault(issuer.Slow)
	s.people.Rotate()
	fetches := s.people.Requests(issuer.DiscoveryPath)
	fresh, answered := s.proof("bob"), make(chan reply, 1)
	go func() { answered <- s.generate(fresh, source(budget)) }()
	if err := s.people.AwaitRequests(t.Context(), issuer.DiscoveryPath, fetches+1); err != nil {
		t.Fatal(err)
	}
	s.open(old, plan)
	s.people.SetFault(issuer.None)
	(<-answered).want(t, 200, "")
	s.calls(t, 3, 0)
}

// host serves a site's two functions as Function Compute's custom runtime does, at /generate and
// /refresh, until stop, its SIGTERM.
func (s *site) host(listener net.Listener) (address string, stop func() error) {
	s.t.Helper()
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			s.t.Fatal(err)
		}
	}
	getenv := func(name string) string {
		return map[string]string{"FC_FUNCTION_NAME": "weboffice"}[name]
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- platform.Serve(ctx, both(s.generator, s.refresher), platform.Options{
			Getenv: getenv, Logger: slog.New(slog.NewJSONHandler(s.logs, nil)), Listener: listener,
		})
	}()
	stop = sync.OnceValue(func() error { cancel(); return <-served })
	s.t.Cleanup(func() { _ = stop() })
	address = listener.Addr().String()
	s.generateURL, s.refreshURL = "http://"+address+"/generate", "http://"+address+"/refresh"
	return address, stop
}

func both(generator, refresher http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/generate", generator)
	mux.Handle("/refresh", refresher)
	return mux
}

// TestDeadlineShorterThanTheCall: the platform says how long a request may take, and a page gets an
// answer before that.
func TestDeadlineShorterThanTheCall(t *testing.T) {
	t.Parallel()
	// second, the shortest that a custom runtime can be told
	soon := header("X-Fc-Function-Timeout", "1")
	for _, c := range []struct {
		name, function, answer, billed string
		slow                           int // calls
	}{
		{"generate", "generate", "504 ServiceTimeout", "2+0", 1},
		{"refresh", "refresh", "200", "2+0", 1},
		{"refresh and the generate in its place", "refresh", "504 ServiceTimeout", "2+0", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, teamPolicy)
			s.host(nil)
			p := s.page(s.clock.Advance)
			p.body = source(plan)
			p.ask()
			s.clock.Advance(25 * time.Minute)
			s.office.Fail("", c.slow, office.Slow(nil))
			var got reply
			if c.function == "generate" {
				p.last = reply{}
				got = s.generate(p.proof(), p.body, soon)
			} else {
				got = s.refresh(p.proof(), p.last, soon)
			}
			if summary(got) != c.answer {
				t.Errorf("%v", got)
			}
			if got.status == 200 {
				p.last = got
			}
			if line := s.decision(); line["maybeBilled"] != true {
				t.Errorf("%v", line)
			}
			p.carryOn(got)
			if calls := s.office.Calls(); fmt.Sprintf("%d+%d", calls.Generate,
				calls.Refresh) != c.billed {
				t.Errorf("%+v", calls)
			}
			p.wantOpen()
			if len(s.office.DoubleSpends()) != 0 {
				t.Error("a refresh token was sent again")
			}
		})
	}
}

// bursting panics at the first decision about a document, wherever its line is written, as a fault
// in any handler would.
type bursting struct {
	slog.Handler
	document string
	burst    *atomic.Bool
}

func (b bursting) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "document" && a.Value.String() == b.document &&
			b.burst.CompareAndSwap(false, true) {
			panic("panic-value-8Xb3 " + documentPassword)
		}
		return true
	})
	return b.Handler.Handle(ctx, r)
}

// TestPanicInAHandlerIsOneFailedRequest: 20 requests, of which one panics. It is a 500, the others
// and the process go on, and the page that got it loses nothing.
func TestPanicInAHandlerIsOneFailedRequest(t *testing.T) {
	t.Parallel()
	for _, function := range []string{"generate", "refresh"} {
		t.Run(function, func(t *testing.T) {
			t.Parallel()
			var burst atomic.Bool
			burst.Store(true)
			x := newRig(t, rigOptions{log: func(h slog.Handler) slog.Handler {
				return bursting{h, locked, &burst}
			}})
			x.host(nil)
			p, others := x.page(x.advance), make([]*page, 19)
			for i := range others {
				others[i] = x.page(x.advance)
				others[i].body = source(plan)
			}
			if function == "refresh" {
				p.ask()
				for _, other := range others {
					other.ask()
				}
				x.advance(25 * time.Minute)
			}
			burst.Store(false)
			var all sync.WaitGroup
			var failed reply
			all.Go(func() { _, failed = p.ask() })
			for _, other := range others {
				all.Go(func() {
					if _, got := other.ask(); got.status != 200 {
						t.Errorf("another request: %v", got)
					}
				})
			}
			all.Wait()
			failed.want(t, 500, "InternalError")
			if lines := x.logs.lines(t, "panic"); len(lines) != 1 ||
				lines[0]["requestId"] != failed.RequestId || lines[0]["panic"] != "a value of type string" {
				t.Errorf("%v", lines)
			}
			if strings.Contains(x.logs.String()+failed.body, "panic-value-8Xb3") {
				t.Error("the panic's value is shown")
			}
			x.wantNoSecret()
			if by := p.carryOn(failed); by != function {
				t.Errorf("by %q", by)
			}
			calls, want := x.office.Calls(), office.Calls{Generate: 21}
			if function == "refresh" { // the answer was there, and is given again
				want = office.Calls{Generate: 20, Refresh: 20}
			}
			if calls != want || len(x.office.DoubleSpends()) != 0 {
				t.Errorf("%+v, want %+v", calls, want)
			}
			p.frame("open")
			p.wantOpen()
		})
	}
}

// TestThousandAtOnce: a thousand people open a document at once, and a thousand refreshes come at
// once.
func TestThousandAtOnce(t *testing.T) {
	t.Parallel()
	n := 1000
	// under the race detector a thousand take this machine's two processors for too long
	if testing.Short() {
		n = 200
	}
	s := start(t, teamPolicy)
	s.host(nil)
	transport := &http.Transport{MaxIdleConnsPerHost: n}
	s.client = &http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	pages := make([]*page, n)
	for i := range pages {
		pages[i] = s.page(s.clock.Advance)
		pages[i].body = source(plan)
		proof := s.proof("ann", map[string]any{"sub": fmt.Sprint("ann ", i)})
		pages[i].proof = func() weboffice.Secret { return proof }
	}
	for i, want := range []office.Calls{{Generate: n}, {Generate: n, Refresh: n}} {
		start, begun := make(chan struct{}), sync.WaitGroup{}
		var all sync.WaitGroup
		for _, p := range pages {
			begun.Add(1)
			all.Go(func() {
				begun.Done()
				<-start
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
		begun.Wait()
		close(start)
		all.Wait()
		if calls := s.office.Calls(); calls != want {
			t.Errorf("round %d: %+v, want %+v", i, calls, want)
		}
		s.clock.Advance(25 * time.Minute)
	}
	ids, tokens, billed := map[string]bool{}, map[string]bool{}, 0.0
	for _, got := range s.replies {
		if got.status == 200 {
			ids[got.RequestId], tokens[got.AccessToken] = true, true
		}
	}
	for _, decision := range s.decisions() {
		billed += decision["billed"].(float64)
	}
	if len(ids) != 2*n || len(tokens) != 2*n || billed != float64(2*n) ||
		len(s.office.DoubleSpends()) != 0 {
		t.Errorf("%d RequestIds, %d access tokens, %v billed, %d double spends", len(ids),
			len(tokens), billed, len(s.office.DoubleSpends()))
	}
}

// raw is a page's POST as bytes.
func raw(path string, proof weboffice.Secret, body string) (head, text string) {
	return fmt.Sprintf(
		"POST %s HTTP/1.1\r\nHost: f\r\nOrigin: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n",
		path, origin, proof.Reveal(), len(body)), body
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// answer reads one answer from a connection.
func answer(t *testing.T, c net.Conn) reply {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

// TestBodyCutOff: half a body is a 400 to whoever still listens, and nothing is asked of IMM,
// nothing spent.
func TestBodyCutOff(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	address, _ := s.host(nil)
	p := s.page(s.clock.Advance)
	p.body = source(plan)
	for i, path := range []string{"/generate", "/refresh"} {
		body := p.body
		if path == "/refresh" {
			s.clock.Advance(25 * time.Minute)
			body = tokensOf(p.last)
		}
		before := s.office.Calls()
		head, text := raw(path, p.proof(), body)
		half := dial(t, address)
		_, _ = io.WriteString(half, head+text[:len(text)/2])
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer(t, half).want(t, 400, "InvalidArgument")
		gone := dial(t, address) // and one who does not
		_, _ = io.WriteString(gone, head+text[:len(text)/2])
		_ = gone.Close()
		if after := s.office.Calls(); after != before || len(s.decisions()) != i {
			t.Errorf("%s: %+v, %d decisions", path, after, len(s.decisions()))
		}
		if asked, got := p.ask(); got.status != 200 || "/"+asked != path {
			t.Errorf("%s: %v", asked, got)
		}
		p.wantOpen()
	}
	s.calls(t, 1, 1)
	lines := s.logs.lines(t, "request")
	seen := map[any]bool{}
	for _, line := range lines {
		if line["outcome"] != "InvalidArgument" || line["message"] != "The body broke off." ||
			line["requestId"] == "" {
			t.Errorf("%v", line)
		}
		seen[line["function"]] = true
	}
	if !seen["generate"] || !seen["refresh"] {
		t.Errorf("lines of %v", seen)
	}
}

// TestAnswerThatNobodyReads: the page is gone before the answer. What was asked of IMM is finished,
// and a page that comes again with the same tokens gets that answer: the refresh token was spent
// once. A generate is made anew.
func TestAnswerThatNobodyReads(t *testing.T) {
	t.Parallel()
	x := newRig(t, rigOptions{})
	address, _ := x.host(nil)
	p := x.page(x.advance)
	leave := func(path, body string) {
		release, entered := make(chan struct{}), make(chan struct{})
		x.front.answerNext(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			x.office.ServeHTTP(w, r)
		})
		head, text := raw(path, p.proof(), body)
		c := dial(t, address)
		_, _ = io.WriteString(c, head+text)
		<-entered
		_ = c.Close()
		close(release)
		x.front.settle()
	}
	leave("/generate", p.body)
	if asked, got := p.ask(); asked != "generate" || got.status != 200 {
		t.Errorf("%v", got)
	}
	x.calls(t, 2, 0)
	p.wantOpen()
	x.advance(25 * time.Minute)
	leave("/refresh", tokensOf(p.last))
	if asked, got := p.ask(); asked != "refresh" || got.status != 200 {
		t.Errorf("%v", got)
	}
	x.calls(t, 2, 1)
	p.wantOpen()
	if len(x.office.DoubleSpends()) != 0 {
		t.Error("a refresh token was sent again")
	}
}

// TestSlowClientHoldsUpNobody: it sends half of its body and the other half when everybody else has
// been answered.
func TestSlowClientHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	address, _ := s.host(nil)
	p := s.page(s.clock.Advance)
	p.body = source(plan)
	for _, path := range []string{"/generate", "/refresh"} {
		body := source(budget)
		if path == "/refresh" {
			body = tokensOf(s.open(p.proof(), budget))
			s.clock.Advance(25 * time.Minute)
		}
		head, text := raw(path, p.proof(), body)
		slow := dial(t, address)
		_, _ = io.WriteString(slow, head+text[:1])
		for range 20 {
			if _, got := p.ask(); got.status != 200 {
				t.Errorf("%v", got)
			}
		}
		_, _ = io.WriteString(slow, text[1:])
		answer(t, slow).want(t, 200, "")
	}
	s.calls(t, 3, 2) // the page's own 38 other requests were too early for a refresh
}

// childVariable makes the test binary serve both functions until SIGTERM: a process of its own.
const childVariable = "FUNCTIONS_TEST_SERVE"

func TestChild(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("it is the process that TestTerminationWithRequestsInFlight starts")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	context.AfterFunc(ctx, func() { logger.Info("terminating") })
	built, err := app.New(os.Getenv, time.Now, logger)
	if err != nil {
		t.Fatal(err)
	}
	options := platform.Options{Getenv: os.Getenv, Logger: logger, Listen: platform.Listen{Addr: "127.0.0.1:0"}}
	// the platform would open it to the world
	if port := os.Getenv("FC_CUSTOM_LISTEN_PORT"); port != "" {
		if options.Listener, err = net.Listen("tcp", "127.0.0.1:"+port); err != nil {
			t.Fatal(err)
		}
	}
	if err := platform.Serve(ctx, both(generate.New(built), refresh.New(built)),
		options); err != nil {
		t.Fatal(err)
	}
}

// TestTerminationWithRequestsInFlight: SIGTERM comes while generates and refreshes wait for IMM.
// All are answered with working tokens, and the process ends without an error.
func TestTerminationWithRequestsInFlight(t *testing.T) {
	t.Parallel()
	for name, newRuntime := range map[string]func() (*cloud.Runtime, error){
		"plain HTTP": nil, "go1": cloud.NewFunctionCompute,
		"custom runtime": cloud.NewCustomRuntime, "Lambda": cloud.NewLambda,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const each = 3
			x := newRig(t, rigOptions{})
			// a process lives by the machine's clock
			x.clock.Advance(time.Since(x.clock.Now()) - 25*time.Minute)
			x.immClock.Advance(x.clock.Now().Sub(x.immClock.Now()))
			pages := make([]*page, 2*each)
			for i := range pages {
				pages[i] = x.page(x.advance)
				if pages[i].body = source(plan); i%2 == 0 {
					pages[i].ask()
				}
			}
			x.advance(25 * time.Minute)
			child := x.child(newRuntime)
			release, entered := make(chan struct{}), make(chan struct{}, len(pages))
			for range pages {
				x.front.answerNext(func(w http.ResponseWriter, r *http.Request) {
					entered <- struct{}{}
					<-release
					x.office.ServeHTTP(w, r)
				})
			}
			var all sync.WaitGroup
			for _, p := range pages {
				all.Go(func() {
					if asked, got := p.ask(); got.status != 200 {
						t.Errorf("%s: %v", asked, got)
					}
				})
			}
			for range pages {
				<-entered
			}
			child.terminate(t)
			close(release)
			all.Wait()
			if err := <-child.ended; err != nil {
				t.Errorf("the process ended with %v: %s", err, child.logs)
			}
			if lines := child.logs.lines(t, "decision"); len(lines) != len(pages) {
				t.Errorf("%d decision lines", len(lines))
			}
			x.calls(t, 2*each, each)
			// each is a session of its own, and the last opener of a file wins its frame
			for _, p := range pages {
				if state := p.frame("open"); state != "open" {
					t.Errorf("the document is %s", state)
				}
			}
		})
	}
}

// childProcess is the test binary, serving.
type childProcess struct {
	command *exec.Cmd
	logs    *logs
	printed chan string // each line
	ended   chan error
}

// child starts a process with the rig's keys on one platform, nil being none, and sends the rig's
// pages there.
func (x *rig) child(newRuntime func() (*cloud.Runtime, error)) *childProcess {
	t := x.t
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &childProcess{command: exec.Command(self, "-test.run=^TestChild$"), logs: &logs{},
		ended: make(chan error, 1), printed: make(chan string, 1000)}
	policy := t.TempDir() + "/policy.yaml"
	if err := os.WriteFile(policy, []byte(strings.ReplaceAll(teamPolicy, "ISSUER", x.people.URL())),
		0o600); err != nil {
		t.Fatal(err)
	}
	keys := x.office.Credentials()
	c.command.Env = []string{
		childVariable + "=1", "WEBOFFICE_SESSION_KEYS=" + x.session, "WEBOFFICE_LINK_KEYS=" +
			encodeKey(x.linkKey), "WEBOFFICE_USER_SALT=user-salt-3Kd8",
		"WEBOFFICE_REGION=cn-shanghai", "WEBOFFICE_IMM_ENDPOINT=" + x.officeURL,
		"WEBOFFICE_POLICY_FILE=" + policy, "AWS_LAMBDA_MAX_CONCURRENCY=10",
		"ALIBABA_CLOUD_ACCESS_KEY_ID=" + keys.AccessKeyID, "ALIBABA_CLOUD_ACCESS_KEY_SECRET=" +
			keys.Secret, "ALIBABA_CLOUD_SECURITY_TOKEN=" + keys.SecurityToken,
	}
	host := ""
	if newRuntime != nil {
		runtime, err := newRuntime()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(runtime.Close)
		runtime.Role = cloud.Role{AccessKeyID: keys.AccessKeyID, AccessKeySecret: keys.Secret,
			SecurityToken: keys.SecurityToken}
		c.command.Env = append(c.command.Env, runtime.Env()...)
		x.client, host = &http.Client{Transport: runtime}, "http://functions.example.com"
	}
	out, err := c.command.StderrPipe()
	if err == nil {
		err = c.command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.printed)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			// Function Compute's SDK prints marks of its own
			if line := scanner.Text(); strings.HasPrefix(line, "{") {
				_, _ = io.WriteString(c.logs, line+"\n")
				c.printed <- line
			}
		}
		c.ended <- c.command.Wait()
	}()
	t.Cleanup(func() {
		_ = c.command.Process.Kill() // where it has not ended yet
	})
	printed(t, c.logs)
	if newRuntime == nil {
		_, rest, _ := strings.Cut(c.await(t, `"address":"`), `"address":"`)
		address, _, _ := strings.Cut(rest, `"`)
		host = "http://" + address
	}
	x.generateURL, x.refreshURL = host+"/generate", host+"/refresh"
	return c
}

// await returns the next line that holds a text.
func (c *childProcess) await(t *testing.T, text string) string {
	t.Helper()
	for line := range c.printed {
		if strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("the process ended without printing %q: %s", text, c.logs)
	return ""
}

// terminate sends SIGTERM and returns when the process has taken notice.
func (c *childProcess) terminate(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil &&
		!errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	c.await(t, `"terminating"`)
}
