package platform

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/weboffice"
)

func newTestServer(t *testing.T, kind Kind, handler http.HandlerFunc) *server {
	return &server{kind: kind, handler: handler,
		logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func jsonLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, pair := range pairs {
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func TestDetect(t *testing.T) {
	for want, environments := range map[Kind][][]string{
		Plain: {nil, {"FC_CUSTOM_LISTEN_PORT=9000"}, {"FC_REGION=cn-shanghai"},
			{"AWS_REGION=eu-central-1"}, {"FC_RUNTIME_API="}},
		FunctionCompute: {{"FC_RUNTIME_API=127.0.0.1:9000"},
			{"FC_FUNCTION_NAME=f", "FC_RUNTIME_API=127.0.0.1:9000", "FC_CUSTOM_LISTEN_PORT=9000"}},
		CustomRuntime: {{"FC_FUNCTION_NAME=f"},
			{"FC_FUNCTION_NAME=f", "FC_CUSTOM_LISTEN_PORT=9000"}},
		Lambda: {{"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001"}},
	} {
		for _, environment := range environments {
			if got := Detect(env(environment...)); got != want {
				t.Errorf("%q: %v, want %v", environment, got, want)
			}
		}
	}
}

// TestPortOpenedToTheWorld: nothing but what an operator or a platform sets for this purpose makes
// the server leave loopback.
func TestPortOpenedToTheWorld(t *testing.T) {
	const fc = "FC_FUNCTION_NAME=f"
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "127.0.0.1:8080"},
		{[]string{"FC_CUSTOM_LISTEN_PORT=9001"}, "127.0.0.1:8080"},
		{[]string{"WEBOFFICE_ADDR=127.0.0.1:0"}, "127.0.0.1:0"},
		{[]string{"WEBOFFICE_ADDR=[::1]:80", "PORT=9077"}, "[::1]:80"},
		{[]string{"WEBOFFICE_ADDR=:80"}, ":80"},
		{[]string{"PORT=9077"}, "0.0.0.0:9077"},
		{[]string{fc, "FC_CUSTOM_LISTEN_PORT=9001"}, "0.0.0.0:9001"},
		{[]string{fc, "FC_CUSTOM_LISTEN_PORT=9001", "WEBOFFICE_ADDR=127.0.0.1:1"}, "0.0.0.0:9001"},
		{[]string{fc, "PORT=nonsense"}, "0.0.0.0:9000"}, // it is not looked at
	} {
		getenv := env(c.env...)
		where, err := ReadListen(getenv)
		if err != nil {
			t.Errorf("%q: %v", c.env, err)
		}
		o := Options{Getenv: getenv, Listen: where}
		if got, err := listenAddress(Detect(getenv), o); got != c.want || err != nil {
			t.Errorf("%q: %q, %v, want %q", c.env, got, err, c.want)
		}
	}
}

func TestListenProblemsNameTheirVariable(t *testing.T) {
	for name, values := range map[string][]string{
		"WEBOFFICE_ADDR":            {"8080", "0.0.0.0", "host:http", "a:b:1", ":65536", "[::1]"},
		"PORT":                      {"0", "65536", "http", ":80", "-1"},
		"WEBOFFICE_TRUSTED_PROXIES": {"one", "-1", "17", "1.5", " 1"},
	} {
		for _, value := range values {
			_, err := ReadListen(env(name + "=" + value))
			if err == nil || !strings.HasPrefix(err.Error(), name+" must be ") {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		}
	}
	_, err := ReadListen(env("PORT=x", "WEBOFFICE_TRUSTED_PROXIES=x"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two problems: %v", err)
	}
	for _, port := range []string{"0", "65536", ":80"} {
		o := Options{Getenv: env("FC_CUSTOM_LISTEN_PORT=" + port)}
		if _, err := listenAddress(CustomRuntime, o); err == nil ||
			!strings.HasPrefix(err.Error(), "FC_CUSTOM_LISTEN_PORT must be ") {
			t.Errorf("FC_CUSTOM_LISTEN_PORT=%s: %v", port, err)
		}
	}
}

func TestServeCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	where := Listen{Addr: taken.Addr().String()}
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	_ = closed.Close()
	defer taken.Close()
	for want, o := range map[string]Options{
		"listening":             {Getenv: env(), Listen: where},
		"FC_CUSTOM_LISTEN_PORT": {Getenv: env("FC_FUNCTION_NAME=f", "FC_CUSTOM_LISTEN_PORT=x")},
		net.ErrClosed.Error():   {Getenv: env(), Listener: closed},
	} {
		o.Logger = slog.New(slog.DiscardHandler)
		err := Serve(t.Context(), http.NotFoundHandler(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one with %q", err, want)
		}
	}
}

func TestWarmUp(t *testing.T) {
	var log bytes.Buffer
	s := &server{logger: jsonLogger(&log)}
	s.warmUp(t.Context()) // none
	for name, c := range map[string]struct {
		warm  func(context.Context) error
		parts []string // of the log; nil: nothing is logged
	}{
		"it has a deadline": {func(ctx context.Context) error {
			if end, ok := ctx.Deadline(); !ok || time.Until(end) > warmTimeout {
				return errors.New("no deadline")
			}
			return nil
		}, nil},
		"a failure": {func(context.Context) error {
			return &weboffice.Error{Kind: weboffice.Unavailable, Code: "ServiceUnavailable",
				Message: "m", Fix: "check the endpoint", Cause: io.EOF}
		}, []string{`"level":"WARN"`, "ServiceUnavailable", "check the endpoint", "EOF"}},
		"a panic": {func(context.Context) error { panic("s3cr3t") }, []string{`"msg":"panic"`}},
	} {
		log.Reset()
		s.warm = c.warm
		s.warmUp(t.Context())
		for _, part := range c.parts {
			if !strings.Contains(log.String(), part) {
				t.Errorf("%s: %q is not in %s", name, part, log.String())
			}
		}
		if c.parts == nil && log.Len() > 0 || strings.Contains(log.String(), "s3cr3t") {
			t.Errorf("%s: logged %s", name, log.String())
		}
	}
}

// listen serves s on a loopback port as Serve would, with what change makes of the server.
func listen(t *testing.T, s *server, change func(*http.Server)) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := s.webServer()
	change(web)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = web.Close()
		<-done
	})
	return listener.Addr().String()
}

// TestSlowBody: a client announces a body and sends it for ever. It holds a handler no longer than
// the bound.
func TestSlowBody(t *testing.T) {
	read := make(chan error, 1)
	s := newTestServer(t, Plain, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	address := listen(t, s, func(web *http.Server) { web.ReadTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow")
	var timeout net.Error
	if err := <-read; !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the handler read %v", err)
	}
	// Harmless twin: the same body at once, within the real bound.
	address = listen(t, s, func(*http.Server) {})
	if answer, err := http.Post("http://"+address, "text/plain",
		strings.NewReader(strings.Repeat("x", 100))); err != nil || <-read != nil {
		t.Errorf("%v, %v", answer, err)
	} else {
		_ = answer.Body.Close()
	}
}

// TestClientThatLeaves: a refresh that was sent must be finished, and a handler may take longer
// than a body may.
func TestClientThatLeaves(t *testing.T) {
	entered, left, after := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := newTestServer(t, Plain, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-left
		after <- r.Context().Err()
	})
	address := listen(t, s, func(web *http.Server) {
		inner := web.Handler
		web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			context.AfterFunc(r.Context(), func() { close(left) }) // net/http has noticed
			inner.ServeHTTP(w, r)
		})
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	_ = conn.Close()
	if err := <-after; err != nil {
		t.Errorf("the handler's context ended: %v", err)
	}
}

// TestHugeHeader: headers over the bound, whatever makes them long, are refused before the handler.
func TestHugeHeader(t *testing.T) {
	var served atomic.Int32
	s := newTestServer(t, Plain, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	address := listen(t, s, func(*http.Server) {})
	ask := func(header io.Reader) (status string, taken int64) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		written := make(chan int64)
		go func() {
			n, _ := io.Copy(conn, io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\n"),
				header, strings.NewReader("\r\n\r\n")))
			written <- n
		}()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_ = conn.Close()
		return strings.TrimSpace(line), <-written
	}
	for name, header := range map[string]string{
		"a proof of 64 KB": "Authorization: Bearer " + strings.Repeat("x", 64<<10),
		"a name of 64 KB":  strings.Repeat("x", 64<<10) + ": x",
		"ten thousand":     strings.Repeat("X-Flood: x\r\n", 10_000) + "X: x",
	} {
		if status, _ := ask(strings.NewReader(header)); !strings.Contains(status, " 431 ") {
			t.Errorf("%s: %s", name, status)
		}
	}
	// what the kernel buffers on the way is taken
	if status, taken := ask(zeros{}); !strings.Contains(status, " 431 ") || taken > 64<<20 {
		t.Errorf("without an end: %s after %d bytes", status, taken)
	}
	if served.Load() > 0 {
		t.Errorf("the handler has seen %d", served.Load())
	}
	for name, header := range map[string]string{ // the twins
		"a proof of 8 KB":  "Authorization: Bearer " + strings.Repeat("x", 8<<10),
		"a proof of 16 KB": "Authorization: Bearer " + strings.Repeat("x", 16<<10),
		"a hundred":        strings.Repeat("X-Header: x\r\n", 100) + "X: x",
	} {
		if status, _ := ask(strings.NewReader(header)); !strings.Contains(status, " 200 ") {
			t.Errorf("%s: %s", name, status)
		}
	}
}

// zeros is a name of a header that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte("0"), len(p))), nil
}

// TestConnectionsOutliveTheGateway: what the platform asks of a custom runtime's server.
func TestConnectionsOutliveTheGateway(t *testing.T) {
	web := newTestServer(t, CustomRuntime, nil).webServer()
	if web.IdleTimeout < 30*time.Minute || web.ReadHeaderTimeout <= 0 || web.ReadTimeout <= 0 ||
		web.WriteTimeout != 0 {
		t.Errorf("idle %v, header %v, read %v, write %v", web.IdleTimeout, web.ReadHeaderTimeout,
			web.ReadTimeout, web.WriteTimeout)
	}
}

// TestForwardedForInvented: whatever a client writes into X-Forwarded-For, it is taken for the
// address that the nearest trusted proxy appended, be that in a line of its own or not.
func TestForwardedForInvented(t *testing.T) {
	const peer = "127.0.0.1:1"
	for _, c := range []struct {
		kind    Kind
		proxies int
		lines   []string
		want    string
	}{
		{CustomRuntime, 0, []string{"192.0.2.1, 203.0.113.7"}, "203.0.113.7:0"},
		{CustomRuntime, 0, []string{"192.0.2.1, 192.0.2.2", "203.0.113.7"}, "203.0.113.7:0"},
		{CustomRuntime, 0, []string{"192.0.2.1, "}, ":0"},
		{CustomRuntime, 0, nil, peer},
		{Plain, 0, []string{"192.0.2.1"}, peer},
		{Plain, 1, []string{"192.0.2.1, 203.0.113.7"}, "203.0.113.7:0"},
		{Plain, 1, []string{"192.0.2.1", "203.0.113.7"}, "203.0.113.7:0"},
		{Plain, 2, []string{"192.0.2.1,203.0.113.7", "10.0.0.9"}, "203.0.113.7:0"},
		{Plain, 2, []string{"203.0.113.7, 10.0.0.9"}, "203.0.113.7:0"},
		{Plain, 2, []string{"203.0.113.7"}, peer}, // one of the two was passed by
		{Plain, 1, nil, peer},
		{Plain, 1, []string{"203.0.113.7:51234"}, "203.0.113.7:0"},
		{Plain, 1, []string{"[2001:db8::1]:443"}, "[2001:db8::1]:0"},
		{Plain, 1, []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{Plain, 1, []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		{Plain, 1, []string{"203.0.113.7, unknown"}, peer},
		{Plain, 1, []string{"203.0.113.7,"}, peer},
	} {
		got := ""
		s := newTestServer(t, c.kind, func(_ http.ResponseWriter, r *http.Request) {
			got = r.RemoteAddr
		})
		s.proxies = c.proxies
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = c.lines
		if s.serveRequest(httptest.NewRecorder(), r); got != c.want {
			t.Errorf("%v, %d proxies, %q: %q, want %q", c.kind, c.proxies, c.lines, got, c.want)
		}
	}
}

// TestStopWaitsForInvocations: what runs is finished, what comes later does not start.
func TestStopWaitsForInvocations(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := newTestServer(t, FunctionCompute, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	go s.serveEvent(t.Context(), []byte(`{"requestContext":{"http":{"method":"GET"}}}`), fcAnswer)
	<-entered
	if s.running.TryLock() {
		t.Fatal("nothing runs")
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.untilStopped(ctx) }()
	stop()
	for s.running.TryRLock() { // until the stop has begun
		s.running.RUnlock()
		runtime.Gosched()
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped before the end of an invocation: %v", err)
	default:
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
