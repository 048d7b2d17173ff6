package imm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout = 4 * time.Second
	maxAnswer   = 1 << 20 // bytes
	// maxConnections is more than a platform gives one instance at once (200). A larger crowd waits
	// for a connection that is there: when every request of it dials, the handshakes hold each
	// other up until some of them end in a timeout.
	maxConnections = 256
	// staleAfter is how long a connection may rest. A frozen instance wakes with connections that
	// the other side has long given up; a request on one would be lost without a word, so they are
	// dropped first.
	staleAfter = 15 * time.Second
)

// wire is the connection pool that all calls share.
type wire struct {
	// asked directly: an http.Client would follow redirects and put the URL, tokens included, into
	// its errors
	transport *http.Transport
	now       func() time.Time
	mu        sync.Mutex
	lastUse   time.Time
}

func newWire(t *http.Transport, now func() time.Time) *wire {
	if t == nil {
		t = &http.Transport{
			DialContext: (&net.Dialer{Timeout: dialTimeout,
				KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: staleAfter,
			MaxIdleConns: maxConnections, MaxIdleConnsPerHost: maxConnections,
			MaxConnsPerHost: maxConnections,
		}
	}
	return &wire{transport: t, now: now, lastUse: now()}
}

// touch drops resting connections after a pause, before anybody who comes at the same moment can
// take one.
func (w *wire) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if now.Sub(w.lastUse) > staleAfter {
		w.transport.CloseIdleConnections()
	}
	w.lastUse = now
}

// warm makes the transport dial, with an unsigned HEAD, which is no call of the API. The connection
// then rests in the pool.
func (w *wire) warm(ctx context.Context, scheme, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx,
		&httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodHead,
		(&url.URL{Scheme: scheme, Host: host, Path: "/"}).String(), nil)
	if err != nil {
		return err
	}
	w.touch()
	response, err := w.transport.RoundTrip(request)
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
		_ = response.Body.Close()
	}
	if !connected.Load() {
		return errors.New("no connection to IMM: " + reason(err))
	}
	return nil
}

// exchange is the SDK's HTTP client for one call, and what is known of that call afterwards.
type exchange struct {
	wire   *wire
	sent   atomic.Bool // the first byte may have left
	status int         // 0: no answer
	header http.Header
	body   []byte
}

// Call implements the SDK's HttpClient. The SDK's own transport is not used: it has no bounds and
// no shared pool.
func (e *exchange) Call(request *http.Request, _ *http.Transport) (*http.Response, error) {
	e.wire.touch()
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { e.sent.Store(true) }}
	response, err := e.wire.transport.RoundTrip(
		request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return nil, err
	}
	e.status, e.header = response.StatusCode, response.Header
	e.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	_ = response.Body.Close()
	if err != nil || len(e.body) > maxAnswer {
		return nil, errors.New("the answer broke off or was too long")
	}
	response.Body = io.NopCloser(bytes.NewReader(e.body))
	return response, nil
}

// clock is IMM's time at the answer: its Date, which has whole seconds, or our own time where that
// says the same.
func (e *exchange) clock(now func() time.Time) time.Time {
	ours := now()
	date, err := http.ParseTime(e.header.Get("Date"))
	if err != nil || ours.Sub(date) > -time.Second && ours.Sub(date) < 2*time.Second {
		return ours
	}
	return date
}
