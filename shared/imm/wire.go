package imm

import (
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
			Proxy: http.ProxyFromEnvironment, // for https alone: plain http stays on this machine
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
func (w *wire) warm(ctx context.Context, endpoint *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	request := &http.Request{Method: http.MethodHead, Header: http.Header{},
		URL: &url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host, Path: "/"}}
	if r, err := w.send(ctx, request); !r.sent {
		return errors.New("no connection to IMM: " + reason(err))
	}
	return nil
}

// reply is what came back for one request, and what is known of it when nothing came.
type reply struct {
	sent   bool // the first byte may have left
	status int  // 0: nothing came
	header http.Header
	body   []byte
}

// send makes one exchange. Its error may hold the request's URL, tokens included.
func (w *wire) send(ctx context.Context, request *http.Request) (r reply, err error) {
	w.touch()
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	response, err := w.transport.RoundTrip(
		request.WithContext(httptrace.WithClientTrace(ctx, trace)))
	r.sent = connected.Load()
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	r.status, r.header = response.StatusCode, response.Header
	r.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return r, err
}

// clock is IMM's time at the answer: its Date, which has whole seconds, or our own time where that
// says the same.
func (r reply) clock(ours time.Time) time.Time {
	said := r.header.Get("Date")
	if said == ours.UTC().Format(http.TimeFormat) { // nearly always, and sooner than reading it
		return ours
	}
	date, err := http.ParseTime(said)
	if err != nil || ours.Sub(date) > -time.Second && ours.Sub(date) < 2*time.Second {
		return ours
	}
	return date
}
