package platform_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/standin/cloud"
	"weboffice-functions/shared/weboffice"
)

// The test binary is also the program under test: with this variable it serves instead of testing.
const serveVariable = "PLATFORM_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveVariable) != "" {
		if err := serveForTest(); err != nil {
			slog.Error("serve", "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveForTest is the program: as app.Main does, it ends its context at SIGTERM.
func serveForTest() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	where, err := platform.ReadListen(os.Getenv)
	where.Addr = cmp.Or(where.Addr, "127.0.0.1:0")
	var warmed atomic.Int64
	options := platform.Options{
		Getenv: os.Getenv, Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil)), Listen: where,
		Warm: func(context.Context) error {
			warmed.Add(1)
			return errors.New("warm-up of the test failed")
		},
	}
	// the real server would listen on every interface
	if port := os.Getenv("FC_CUSTOM_LISTEN_PORT"); port != "" && err == nil {
		options.Listener, err = net.Listen("tcp", "127.0.0.1:"+port)
	}
	if err != nil {
		return err
	}
	return platform.Serve(ctx, testHandler(ctx, &warmed), options)
}

// seen is what the handler saw of a request.
type seen struct {
	Method, Path, EscapedPath, Host, RemoteAddr, RequestID string
	Query, Header                                          map[string][]string
	Body                                                   []byte
	ContentLength, Warmed                                  int64
	Credentials                                            []string      // nil: none
	Left                                                   time.Duration // 0: no deadline
}

// wanted says, in a request header, what to answer; without it the handler answers what it saw.
type wanted struct {
	Status  int
	Header  map[string][]string
	Body    []byte
	Panic   bool
	UntilIn int    // wait until that many requests are in the handler
	Until   string // "deadline": wait for the end of the context; "stopped": for SIGTERM
}

func testHandler(stopped context.Context, warmed *atomic.Int64) http.Handler {
	var mu sync.Mutex
	in, all := 0, make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var want wanted
		_ = json.Unmarshal([]byte(r.Header.Get("Want")), &want)
		if mu.Lock(); want.UntilIn > 0 {
			if in++; in == want.UntilIn {
				close(all)
			}
		}
		mu.Unlock()
		switch {
		case want.UntilIn > 0:
			<-all
		case want.Until == "deadline":
			<-r.Context().Done()
		case want.Until == "stopped":
			slog.Info("waiting for the end")
			<-stopped.Done()
		}
		for name, values := range want.Header {
			w.Header()[name] = values
		}
		if want.Status != 0 {
			w.WriteHeader(want.Status)
			_, _ = w.Write(want.Body)
		} else {
			got := see(r)
			got.Warmed = warmed.Load()
			_ = json.NewEncoder(w).Encode(got)
		}
		if want.Panic {
			panic("s3cr3t")
		}
	})
}

func see(r *http.Request) seen {
	s := seen{
		Method: r.Method, Path: r.URL.Path, EscapedPath: r.URL.EscapedPath(), Query: r.URL.Query(),
		Host: r.Host, RemoteAddr: r.RemoteAddr, Header: r.Header, ContentLength: r.ContentLength,
		RequestID: weboffice.RequestID(r.Context()),
	}
	s.Body, _ = io.ReadAll(r.Body)
	if c, ok := credentials.FromContext(r.Context()); ok {
		s.Credentials = []string{c.AccessKeyID, c.AccessKeySecret.Reveal(), c.SecurityToken.Reveal()}
	}
	if deadline, ok := r.Context().Deadline(); ok {
		s.Left = time.Until(deadline)
	}
	return s
}

// target is the program running on one platform, and a client of it.
type target struct {
	name    string
	runtime *cloud.Runtime // nil: plain HTTP
	process *process
	client  *http.Client
	url     string // without a path
}

var (
	platforms = []string{"plain", "container", "go1", "custom", "lambda", "lambda of many"}
	invoked   = platforms[2:] // those with invocations, and with a deadline for each
)

func start(t *testing.T, name string) *target {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	on := &target{name: name, url: "http://function.example.com",
		client: &http.Client{CheckRedirect: stay, Transport: transport}}
	env := []string{serveVariable + "=1"}
	if name == "lambda of many" {
		env = append(env, "AWS_LAMBDA_MAX_CONCURRENCY=50")
	}
	newRuntime := map[string]func() (*cloud.Runtime, error){"go1": cloud.NewFunctionCompute,
		"custom": cloud.NewCustomRuntime, "container": cloud.NewContainer,
		"lambda": cloud.NewLambda, "lambda of many": cloud.NewLambda}
	if newRuntime[name] != nil {
		runtime, err := newRuntime[name]()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(runtime.Close)
		on.runtime, on.client.Transport = runtime, runtime
		env = append(env, runtime.Env()...)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if on.process = run(t, self, env...); on.runtime == nil {
		on.process.waitFor(t, `"address":"`, 1)
		_, address, _ := strings.Cut(on.process.output(), `"address":"`)
		address, _, _ = strings.Cut(address, `"`)
		on.url = "http://" + address
	}
	return on
}

// ask sends a request and returns the answer with its body read. It may be called from any
// goroutine.
func (on *target) ask(t *testing.T, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	answer, err := on.client.Do(r)
	if err != nil {
		t.Error(err)
		return &http.Response{Status: "none"}, nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer, body
}

// look sends a request and returns what the handler saw.
func (on *target) look(t *testing.T, r *http.Request) (s seen) {
	t.Helper()
	answer, body := on.ask(t, r)
	if err := json.Unmarshal(body, &s); err != nil {
		t.Errorf("%s: %v in %q", answer.Status, err, body)
	}
	return s
}

func (on *target) request(t *testing.T, method, path string, body []byte,
	header ...string) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, on.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "test")
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func (w wanted) String() string {
	text, _ := json.Marshal(w)
	return string(text)
}

// process is a started program and what it printed.
type process struct {
	*exec.Cmd
	ended   chan struct{}
	changed chan struct{} // has a value when something was printed since it was last read
	mu      sync.Mutex
	printed bytes.Buffer
}

func run(t *testing.T, program string, env ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(program), ended: make(chan struct{}),
		changed: make(chan struct{}, 1)}
	p.Env, p.Stdout, p.Stderr = env, p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		if <-p.ended; t.Failed() {
			t.Logf("%s printed:\n%s", program, p.output())
		}
	})
	return p
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return p.printed.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.String()
}

// waitFor waits until the process has printed the text n times.
func (p *process) waitFor(t *testing.T, text string, n int) {
	t.Helper()
	for strings.Count(p.output(), text) < n {
		select {
		case <-p.changed:
		case <-p.ended:
			t.Fatalf("the process ended without printing %q: %s", text, p.output())
		}
	}
}
