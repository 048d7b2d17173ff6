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
	"syscall"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/standin/cloud"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/weboffice"
)

// raw is a page's POST as bytes.
func raw(path string, proof weboffice.Secret, body string) (head, text string) {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: f\r\nOrigin: %s\r\n"+
		"Content-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n",
		path, origin, proof.Reveal(), len(body)), body
}

func (s *instance) dial() *net.TCPConn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// answer reads one answer from a connection.
func (s *instance) answer(c net.Conn) reply {
	s.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(response)
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

// patient is a listener whose connections take their time limits by a clock that the test moves.
type patient struct {
	net.Listener
	mu    sync.Mutex
	now   time.Duration
	conns map[*patientConn]bool
}

type patientConn struct {
	net.Conn
	patient *patient
	due     time.Duration // 0: no limit
}

func (p *patient) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	made := &patientConn{Conn: c, patient: p}
	p.conns[made] = true
	return made, nil
}

func (c *patientConn) SetReadDeadline(at time.Time) error {
	c.patient.mu.Lock()
	defer c.patient.mu.Unlock()
	left := time.Until(at)
	if c.due = 0; at.IsZero() || left <= 0 {
		return c.Conn.SetReadDeadline(at)
	}
	c.due = c.patient.now + left.Round(time.Second)
	return c.Conn.SetReadDeadline(time.Time{})
}

// pass lets time pass for all connections.
func (p *patient) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += d
	for c := range p.conns {
		if c.due > 0 && c.due <= p.now {
			_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// TestSlowloris: a hundred clients send half of a header, a hundred half of a body, and then
// nothing more. Each is cut off at the server's bound, ten seconds for headers and thirty for all;
// nothing of theirs reaches IMM, and honest pages are served meanwhile.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &patient{Listener: listener, conns: map[*patientConn]bool{}}
	s.serve(slow)
	proof := s.proof("ann")
	head, body := raw("/generate", proof, source(plan))
	var headers, bodies []net.Conn
	for range 100 {
		headers, bodies = append(headers, s.dial()), append(bodies, s.dial())
		_, _ = io.WriteString(headers[len(headers)-1], head[:len(head)/2])
		_, _ = io.WriteString(bodies[len(bodies)-1], head+body[:len(body)/2])
	}
	for range 20 {
		s.open(proof, plan)
	}
	for _, c := range headers {
		slow.pass(11 * time.Second) // again for those that the server has not accepted before
		if text := readAll(t, c); text != "" {
			t.Errorf("half a header is answered with %s", text)
		}
	}
	s.open(proof, plan)
	for _, c := range bodies {
		slow.pass(31 * time.Second)
		if text := readAll(t, c); !strings.HasPrefix(text, "HTTP/1.1 400 ") ||
			!strings.Contains(text, "Connection: close") {
			t.Errorf("half a body is answered with %s", text)
		}
	}
	s.calls(t, 21, 0)
}

// TestHeaderFloods: too many headers, too long ones and ones without an end are refused before the
// functions see the request.
func TestHeaderFloods(t *testing.T) {
	t.Parallel()
	s := start(t)
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
		c1 := s.dial()
		go func() {
			_, _ = io.WriteString(c1, first+"\r\nConnection: close\r\n"+c.flood+rest+
				body)
		}()
		if text := readAll(t, c1); !strings.HasPrefix(text, "HTTP/1.1 "+c.status+" ") {
			t.Errorf("%s: %.100q", name, text)
		}
	}
	endless := s.dial()
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
	s := start(t)
	head, _ := raw("/generate", s.proof("ann"), "")
	c := s.dial()
	go func() {
		_, _ = io.WriteString(c, strings.Replace(head, "Content-Length: 0",
			"Transfer-Encoding: chunked", 1))
		chunk := "1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n"
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, chunk)
		}
	}()
	s.answer(c).want(t, 413, "RequestTooLarge")
	_ = c.Close()
	s.untouched(t)
}

// TestBodyCutOff: half a body is a 400 to whoever still listens, and nothing is asked of IMM,
// nothing spent.
func TestBodyCutOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.page()
	p.body = source(plan)
	for i, path := range []string{"/generate", "/refresh"} {
		body := p.body
		if path == "/refresh" {
			s.advance(sdkRefreshes)
			body = tokensOf(p.last)
		}
		before := s.IMM.Calls()
		head, text := raw(path, p.proof(), body)
		half := s.dial()
		_, _ = io.WriteString(half, head+text[:len(text)/2])
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		s.answer(half).want(t, 400, "InvalidArgument")
		gone := s.dial() // and one who does not
		_, _ = io.WriteString(gone, head+text[:len(text)/2])
		_ = gone.Close()
		if after := s.IMM.Calls(); after != before || len(s.decisions()) != i {
			t.Errorf("%s: %+v, %d decisions", path, after, len(s.decisions()))
		}
		if asked, got := p.ask(); got.status != 200 || "/"+asked != path {
			t.Errorf("%s: %v", asked, got)
		}
		p.wantOpen()
	}
	s.calls(t, 1, 1)
	lines := s.logs.lines("request")
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
	s := start(t)
	p := s.page()
	leave := func(path, body string) {
		release, entered := make(chan struct{}), make(chan struct{})
		s.gate.answerNext(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			s.IMM.ServeHTTP(w, r)
		})
		head, text := raw(path, p.proof(), body)
		c := s.dial()
		_, _ = io.WriteString(c, head+text)
		<-entered
		_ = c.Close()
		close(release)
		s.gate.settle()
	}
	leave("/generate", p.body)
	if asked, got := p.ask(); asked != "generate" || got.status != 200 {
		t.Errorf("%v", got)
	}
	s.calls(t, 2, 0)
	p.wantOpen()
	s.advance(sdkRefreshes)
	leave("/refresh", tokensOf(p.last))
	if asked, got := p.ask(); asked != "refresh" || got.status != 200 {
		t.Errorf("%v", got)
	}
	s.calls(t, 2, 1)
	p.wantOpen()
	if len(s.IMM.DoubleSpends()) != 0 {
		t.Error("a refresh token was sent again")
	}
}

// TestSlowClientHoldsUpNobody: it sends half of its body and the other half when everybody else has
// been answered.
func TestSlowClientHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.page()
	p.body = source(plan)
	for _, path := range []string{"/generate", "/refresh"} {
		body := source(budget)
		if path == "/refresh" {
			body = tokensOf(s.open(p.proof(), budget))
			s.advance(sdkRefreshes)
		}
		head, text := raw(path, p.proof(), body)
		slow := s.dial()
		_, _ = io.WriteString(slow, head+text[:1])
		for range 20 {
			if _, got := p.ask(); got.status != 200 {
				t.Errorf("%v", got)
			}
		}
		_, _ = io.WriteString(slow, text[1:])
		s.answer(slow).want(t, 200, "")
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
	options := platform.Options{Getenv: os.Getenv, Logger: logger,
		Listen: platform.Listen{Addr: "127.0.0.1:0"}}
	// the platform would open it to the world
	if port := os.Getenv("FC_CUSTOM_LISTEN_PORT"); port != "" {
		if options.Listener, err = net.Listen("tcp", "127.0.0.1:"+port); err != nil {
			t.Fatal(err)
		}
	}
	both := &local.Functions{Generate: generate.New(built), Refresh: refresh.New(built)}
	if err := platform.Serve(ctx, both.Handler(), options); err != nil {
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
			s := start(t)
			// a process lives by the machine's clock
			s.advance(time.Since(s.clock.Now()) - sdkRefreshes)
			pages := make([]*page, 2*each)
			for i := range pages {
				pages[i] = s.page()
				if pages[i].body = source(plan); i%2 == 0 {
					pages[i].ask()
				}
			}
			s.advance(sdkRefreshes)
			child := s.child(newRuntime)
			entered, release := s.gate.hold(len(pages))
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
			release()
			all.Wait()
			if err := <-child.ended; err != nil {
				t.Errorf("the process ended with %v", err)
			}
			if lines := s.logs.lines("decision"); len(lines) != len(pages)+each {
				t.Errorf("%d decision lines", len(lines))
			}
			s.calls(t, 2*each, each)
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
	printed chan string // each line
	ended   chan error
}

// child starts a process of the instance's deployment on one platform, nil being none, and sends
// the instance's pages there.
func (s *instance) child(newRuntime func() (*cloud.Runtime, error)) *childProcess {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &childProcess{command: exec.Command(self, "-test.run=^TestChild$"),
		ended: make(chan error, 1), printed: make(chan string, 1000)}
	c.command.Env = []string{childVariable + "=1", "AWS_LAMBDA_MAX_CONCURRENCY=10"}
	for name, value := range s.Functions.Environment {
		if name != "FC_FUNCTION_NAME" {
			c.command.Env = append(c.command.Env, name+"="+value)
		}
	}
	host := ""
	if newRuntime != nil {
		runtime, err := newRuntime()
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(runtime.Close)
		keys := s.IMM.Credentials()
		runtime.Role = cloud.Role{AccessKeyID: keys.AccessKeyID, AccessKeySecret: keys.Secret,
			SecurityToken: keys.SecurityToken}
		c.command.Env = append(c.command.Env, runtime.Env()...)
		s.client, host = &http.Client{Transport: runtime}, "http://functions.example.com"
	}
	c.start(s)
	if newRuntime == nil {
		_, rest, _ := strings.Cut(c.await(s.t, `"address":"`), `"address":"`)
		address, _, _ := strings.Cut(rest, `"`)
		host = "http://" + address
	}
	s.generateURL, s.refreshURL = host+"/generate", host+"/refresh"
	return c
}

// start runs the process, whose log becomes the instance's.
func (c *childProcess) start(s *instance) {
	s.t.Helper()
	out, err := c.command.StderrPipe()
	if err == nil {
		err = c.command.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(c.printed)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			// Function Compute's SDK prints marks of its own
			if line := scanner.Text(); strings.HasPrefix(line, "{") {
				_, _ = io.WriteString(s.logs, line+"\n")
				c.printed <- line
			}
		}
		c.ended <- c.command.Wait()
	}()
	s.t.Cleanup(func() {
		_ = c.command.Process.Kill() // where it has not ended yet
	})
}

// await returns the next line that holds a text.
func (c *childProcess) await(t testing.TB, text string) string {
	t.Helper()
	for line := range c.printed {
		if strings.Contains(line, text) {
			return line
		}
	}
	t.Fatalf("the process ended without printing %q", text)
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
