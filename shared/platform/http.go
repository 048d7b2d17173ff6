package platform

import (
	"cmp"
	"context"
	"encoding/json"
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

// serveHTTP serves plain HTTP and Function Compute's custom runtime.
func (s *server) serveHTTP(ctx context.Context) error {
	listener := s.Listener
	if listener == nil {
		var err error
		listener, err = net.Listen("tcp", cmp.Or(s.Listen.Addr, "127.0.0.1:8080"))
		if err != nil {
			return fmt.Errorf("listening, where WEBOFFICE_ADDR or PORT says: %w", err)
		}
	}
	web := s.webServer()
	s.Logger.InfoContext(ctx, "serving", "platform", string(s.kind),
		"address", listener.Addr().String(), "trustedProxies", s.Listen.Proxies,
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

// Listen says where to listen and which proxies to believe.
type Listen struct {
	Addr    string // host:port; empty: 127.0.0.1:8080
	Proxies int    // that stand before the program; each appends its peer to X-Forwarded-For
}

const maxProxies = 16

// ReadListen reads WEBOFFICE_ADDR, else PORT, which opens every interface, and
// WEBOFFICE_TRUSTED_PROXIES; on a custom runtime, which is reached from outside the instance,
// FC_CUSTOM_LISTEN_PORT alone. Where there is a runtime API there is nothing to read. The error
// joins all problems, each with its variable.
func ReadListen(getenv func(string) string) (l Listen, err error) {
	var problems []error
	problem := func(format string, values ...any) {
		problems = append(problems, fmt.Errorf(format, values...))
	}
	everywhere := func(variable, port string) {
		if l.Addr = net.JoinHostPort("0.0.0.0", port); !isPort(port) {
			problem("%s must be a port from 1 to 65535", variable)
		}
	}
	kind := Detect(getenv)
	if kind == CustomRuntime {
		everywhere("FC_CUSTOM_LISTEN_PORT", cmp.Or(getenv("FC_CUSTOM_LISTEN_PORT"), "9000"))
	}
	if kind != Plain {
		return l, errors.Join(problems...)
	}
	if l.Addr = getenv("WEBOFFICE_ADDR"); l.Addr != "" {
		_, port, err := net.SplitHostPort(l.Addr)
		if err != nil || !isPort(port) && port != "0" { // 0 takes any free one
			problem("WEBOFFICE_ADDR must be host:port, such as 0.0.0.0:8080")
		}
	} else if port := getenv("PORT"); port != "" {
		everywhere("PORT", port)
	}
	if text := getenv("WEBOFFICE_TRUSTED_PROXIES"); text != "" {
		n, err := strconv.ParseUint(text, 10, 8)
		if l.Proxies = int(n); err != nil || n > maxProxies {
			problem("WEBOFFICE_TRUSTED_PROXIES must be how many proxies stand before the program,"+
				" from 0 to %d", maxProxies)
		}
	}
	return l, errors.Join(problems...)
}

// isPort says whether text is a port that a client can name.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
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
		ErrorLog:       slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn),
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
		_ = json.NewEncoder(w).Encode(s.serveEvent(ctx, payload))
	default:
		r = r.WithContext(ctx)
		r.RemoteAddr = s.client(r)
		r.Header = cleaned(r.Header)
		a := s.answer(r)
		maps.Copy(w.Header(), a.sent)
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body.Bytes()) // the client may have gone
	}
}

// client is the address of who sent a request. Each proxy appends the address that it saw to
// X-Forwarded-For; what stands further left is the client's own invention.
func (s *server) client(r *http.Request) string {
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if s.Listen.Proxies == 0 || len(hops) < s.Listen.Proxies {
		return r.RemoteAddr
	}
	hop := strings.TrimSpace(hops[len(hops)-s.Listen.Proxies])
	if host, _, err := net.SplitHostPort(hop); err == nil {
		hop = host
	}
	if found := remoteAddr(strings.Trim(hop, "[]")); found != noAddr {
		return found
	}
	return r.RemoteAddr
}
