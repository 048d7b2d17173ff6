package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxEvent is Function Compute's own limit for the payload of a synchronous invocation.
const maxEvent = 32 << 20

// serveHTTP serves plain HTTP and Function Compute's custom runtime.
func (s *server) serveHTTP(ctx context.Context, o Options) error {
	listener := o.Listener
	if listener == nil {
		address, err := listenAddress(s.kind, o)
		if err != nil {
			return err
		}
		if listener, err = net.Listen("tcp", address); err != nil {
			return fmt.Errorf("listening: %w", err)
		}
	}
	web := s.webServer()
	s.logger.InfoContext(ctx, "serving", "platform", s.kind.String(), "address",
		listener.Addr().String(),
		"lookedFor", "FC_RUNTIME_API, FC_FUNCTION_NAME, AWS_LAMBDA_RUNTIME_API")
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := web.Shutdown(stop); err != nil {
		_ = web.Close()
		return fmt.Errorf("requests under way did not finish within %v: %w", stopTimeout, err)
	}
	return nil
}

// listenAddress is loopback off Function Compute. Its custom runtime is reached from outside the
// instance.
func listenAddress(kind Kind, o Options) (string, error) {
	if kind != CustomRuntime {
		return cmp.Or(o.Addr, "127.0.0.1:8080"), nil
	}
	port := cmp.Or(o.Getenv("FC_CUSTOM_LISTEN_PORT"), "9000") // the platform's default
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("FC_CUSTOM_LISTEN_PORT must be a port from 1 to 65535")
	}
	return net.JoinHostPort("0.0.0.0", port), nil
}

// webServer bounds what a slow or a large client can take. Answers are small and leave at once; a
// bound on writing them would only cut long function timeouts short.
func (s *server) webServer() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(s.serveRequest),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // headers and body
		// Function Compute keeps a connection 15 minutes; a POST on one that we closed is a 502
		IdleTimeout:    time.Hour,
		MaxHeaderBytes: 32 << 10, // a proof has up to 8 KB
		ErrorLog:       slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
}

// serveRequest answers one request. Function Compute tells a custom runtime about a request in
// headers that its clients cannot set. Anywhere else they are a client's own words, and mean
// nothing. Its calls of /invoke and the life-cycle hooks are known by x-fc-control-path: a page may
// request those paths too.
func (s *server) serveRequest(w http.ResponseWriter, r *http.Request) {
	told := http.Header{}
	if s.kind == CustomRuntime {
		told = r.Header
	}
	ctx := context.WithoutCancel(r.Context())
	if seconds, err := strconv.ParseUint(told.Get("X-Fc-Function-Timeout"), 10, 20); err == nil &&
		seconds > 0 {
		limited, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
		ctx = limited
	}
	ctx, cancel := invocation(ctx, told.Get("X-Fc-Request-Id"),
		told.Get("X-Fc-Access-Key-Id"), told.Get("X-Fc-Access-Key-Secret"),
		told.Get("X-Fc-Security-Token"))
	defer cancel()
	control := told.Get("X-Fc-Control-Path")
	switch {
	case control == "/initialize" && r.URL.Path == control:
		s.warmUp(ctx)
	case control == "/pre-stop" && r.URL.Path == control: // nothing to do; the platform wants a 200
	case control == "/invoke" && r.URL.Path == control:
		// cut short it is not JSON, and refused as that
		payload, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.serveEvent(ctx, payload, fcAnswer))
	default:
		r = r.WithContext(ctx)
		r.Header = cleaned(r.Header)
		if hops := told.Values("X-Forwarded-For"); len(hops) > 0 {
			last := hops[len(hops)-1] // the gateway appends; what stands before is the client's
			r.RemoteAddr = remoteAddr(last[strings.LastIndex(last, ",")+1:])
		}
		a := s.answer(r)
		maps.Copy(w.Header(), a.sent)
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // the client may have gone
	}
}
