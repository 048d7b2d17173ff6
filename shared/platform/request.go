package platform

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/weboffice"
)

var requestIDForm = regexp.MustCompile(`^[0-9A-Za-z_-]+$`)

// invocation returns the context of one request: ctx with the platform's request id and role, and
// its deadline less the margin. A role that lacks a part is left out: without a security token it
// would be a long-lived AccessKey, and a function without a role brings empty ones.
func invocation(ctx context.Context, requestID, keyID, keySecret, token string) (context.Context,
	context.CancelFunc) {
	if len(requestID) > 128 || !requestIDForm.MatchString(requestID) {
		requestID = weboffice.NewRequestID()
	}
	ctx = weboffice.WithRequestID(ctx, requestID)
	if keyID != "" && keySecret != "" && token != "" {
		ctx = credentials.NewContext(ctx, credentials.Credentials{
			AccessKeyID: keyID, AccessKeySecret: weboffice.Secret(keySecret),
			SecurityToken: weboffice.Secret(token),
		})
	}
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-answerMargin))
	}
	return context.WithCancel(ctx)
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
