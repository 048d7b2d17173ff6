package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"weboffice-functions/shared/weboffice"
)

// answer is a whole answer, kept until the handler has returned.
type answer struct {
	header http.Header // what the handler writes to
	sent   http.Header // what header was at WriteHeader: later changes do not count, as in net/http
	status int         // 0: nothing written yet
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 { // an interim answer cannot be kept
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// answer runs the handler. It always gives a complete answer: with what net/http's server would add
// and without what belongs to a connection.
func (s *server) answer(r *http.Request) *answer {
	a := &answer{header: http.Header{}}
	func() {
		defer s.recovered(r.Context(), func() {
			a = errorAnswer(r.Context(), weboffice.ErrInternal.New())
		})
		s.handler.ServeHTTP(a, r)
	}()
	a.WriteHeader(http.StatusOK)
	maps.DeleteFunc(a.sent, func(name string, _ []string) bool { return dropped(name) })
	if r.Method == http.MethodHead || a.status == http.StatusNoContent ||
		a.status == http.StatusNotModified {
		a.body.Reset()
	}
	if _, typed := a.sent["Content-Type"]; !typed && a.body.Len() > 0 {
		a.sent.Set("Content-Type", http.DetectContentType(a.body.Bytes()))
	}
	return a
}

// errorAnswer is an answer that the handler did not give, in the form of all error answers.
func errorAnswer(ctx context.Context, err *weboffice.Error) *answer {
	a := &answer{header: http.Header{"Content-Type": {"application/json"},
		"Cache-Control": {"no-store"}}}
	a.WriteHeader(err.Kind.Status)
	_ = json.NewEncoder(a).Encode(err.Body(ctx))
	return a
}

// recovered, deferred, turns a panic into one log line and a call of then.
func (s *server) recovered(ctx context.Context, then func()) {
	if value := recover(); value != nil {
		weboffice.LogPanic(ctx, s.Logger, value)
		then()
	}
}

// cleaned returns the headers that the handler sees, each name once.
func cleaned(header http.Header) http.Header {
	clean := make(http.Header, len(header))
	for name, values := range header {
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		if len(values) > 1 {
			values = []string{strings.Join(values, separator)}
		}
		if !dropped(name) {
			clean[name] = values
		}
	}
	return clean
}

// dropped says whether a header belongs to one connection or to the platform. _ counts as -, as
// gateways may rewrite it. Names listed in a Connection header do not count: they would let a
// client make its Origin disappear.
func dropped(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch name {
	case "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
		"proxy-connection", "te", "trailer",
		"transfer-encoding", "upgrade", "content-length", "host":
		return true
	}
	return strings.HasPrefix(name, "x-fc-") || strings.HasPrefix(name, "x-amzn-")
}

// noAddr is one name for all clients whose address is unusable.
const noAddr = ":0"

// remoteAddr gives a client address the form that net/http's server gives it, or noAddr.
func remoteAddr(ip string) string {
	addr, err := netip.ParseAddr(strings.TrimSpace(ip))
	if err != nil {
		return noAddr
	}
	return net.JoinHostPort(addr.Unmap().WithZone("").String(), "0")
}
