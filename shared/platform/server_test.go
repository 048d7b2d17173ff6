package platform

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/weboffice"
)

func newTestServer(t *testing.T, handler http.HandlerFunc) *server {
	return &server{handler: handler,
		Options: Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}}
}

func jsonLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }

// TestEnvironments: nothing but what an operator or a platform sets for this purpose makes the
// server leave loopback, and each problem names its variable.
func TestEnvironments(t *testing.T) {
	for line := range strings.Lines(string(read(t, "environments.txt"))) {
		variables, want, row := strings.Cut(strings.TrimSuffix(line, "\n"), "| ")
		if !row {
			continue
		}
		getenv := env(strings.Fields(variables)...)
		where, err := ReadListen(getenv)
		got := string(Detect(getenv))
		if got == string(Plain) || got == string(CustomRuntime) {
			got += " " + cmp.Or(where.Addr, "127.0.0.1:8080")
		}
		if where.Proxies > 0 {
			got += " " + strconv.Itoa(where.Proxies)
		}
		if strings.HasSuffix(want, " must be") {
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v, want %s", variables, err, want)
			}
		} else if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", variables, got, err, want)
		}
	}
	_, err := ReadListen(env("PORT=x", "WEBOFFICE_TRUSTED_PROXIES=x"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two problems: %v", err)
	}
}

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
		"listening":           {Getenv: env(), Listen: where},
		net.ErrClosed.Error(): {Getenv: env(), Listener: closed},
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
	s := &server{Options: Options{Logger: jsonLogger(&log)}}
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
		s.Warm = c.warm
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

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestSlowBody: a client announces a body and sends it for ever. It holds a handler no longer than
// the bound.
func TestSlowBody(t *testing.T) {
	read := make(chan error, 1)
	s := newTestServer(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	address := listen(t, s, func(web *http.Server) { web.ReadTimeout = 50 * time.Millisecond })
	conn := dial(t, address)
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
	s := newTestServer(t, func(_ http.ResponseWriter, r *http.Request) {
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
	conn := dial(t, address)
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
	s := newTestServer(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	address := listen(t, s, func(*http.Server) {})
	ask := func(header io.Reader) (status string, taken int64) {
		conn := dial(t, address)
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
	for name, c := range map[string]struct{ header, status string }{
		"a proof of 64 KB": {"Authorization: Bearer " + strings.Repeat("x", 64<<10), " 431 "},
		"a name of 64 KB":  {strings.Repeat("x", 64<<10) + ": x", " 431 "},
		"ten thousand":     {strings.Repeat("X-Flood: x\r\n", 10_000) + "X: x", " 431 "},
		// the twins
		"a proof of 8 KB":  {"Authorization: Bearer " + strings.Repeat("x", 8<<10), " 200 "},
		"a proof of 16 KB": {"Authorization: Bearer " + strings.Repeat("x", 16<<10), " 200 "},
		"a hundred":        {strings.Repeat("X-Header: x\r\n", 100) + "X: x", " 200 "},
	} {
		served.Store(0)
		status, _ := ask(strings.NewReader(c.header))
		if !strings.Contains(status, c.status) || (served.Load() > 0) != (c.status == " 200 ") {
			t.Errorf("%s: %s, and the handler has seen %d", name, status, served.Load())
		}
	}
	// what the kernel buffers on the way is taken
	if status, taken := ask(zeros{}); !strings.Contains(status, " 431 ") || taken > 64<<20 {
		t.Errorf("without an end: %s after %d bytes", status, taken)
	}
}

// zeros is a name of a header that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte("0"), len(p))), nil
}

// TestConnectionsOutliveTheGateway: what the platform asks of a custom runtime's server.
func TestConnectionsOutliveTheGateway(t *testing.T) {
	web := newTestServer(t, nil).webServer()
	if web.IdleTimeout < 30*time.Minute || web.ReadHeaderTimeout <= 0 || web.ReadTimeout <= 0 ||
		web.WriteTimeout != 0 {
		t.Errorf("idle %v, header %v, read %v, write %v", web.IdleTimeout, web.ReadHeaderTimeout,
			web.ReadTimeout, web.WriteTimeout)
	}
}

// TestForwardedForInvented: whatever a client writes into X-Forwarded-For, it is taken for the
// address that the nearest trusted proxy appended, be that in a line of its own or not.
func TestForwardedForInvented(t *testing.T) {
	for line := range strings.Lines(string(read(t, "forwarded.txt"))) {
		row := strings.Split(strings.TrimSpace(line), " | ")
		proxies, err := strconv.Atoi(row[0])
		if err != nil {
			continue
		}
		last := len(row) - 1 // between them the lines of the header
		s := &server{Options: Options{Listen: Listen{Proxies: proxies}}}
		r := &http.Request{RemoteAddr: "127.0.0.1:1",
			Header: http.Header{"X-Forwarded-For": row[1:last]}}
		if got := s.client(r); got != row[last] {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// TestStopWaitsForInvocations: what runs is finished, what comes later does not start.
func TestStopWaitsForInvocations(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := newTestServer(t, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	go s.serveEvent(t.Context(), []byte(`{"requestContext":{"http":{"method":"GET"}}}`))
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
