// Package platform runs one http.Handler wherever the program finds itself: as a Function Compute
// go1 function, on a Function Compute custom runtime, as a Lambda function behind a function URL,
// or as a plain HTTP server.
//
// One look at the environment decides (Detect). Whatever it finds, the handler meets the same
// request:
//   - method, path as it was escaped, query, headers, cookies and body. Repeated header lines are
//     joined into one, so that "the first Authorization" and "the last" cannot differ between
//     platforms. Hop-by-hop and platform headers are gone, every x-fc-* one among them: on Function
//     Compute they carry credentials, elsewhere any client can forge them.
//   - RemoteAddr holds the client address that the platform vouches for, never one that a client
//     can write. For plain HTTP that is the peer, or what the trusted proxies have appended to
//     X-Forwarded-For (Listen).
//   - The context carries the platform's request id (weboffice.RequestID), the invocation's RAM
//     credentials where the platform brings them (credentials.FromContext), and the platform's
//     deadline less a margin in which an answer can still be sent. It does not end when the client
//     goes away: a refresh that was sent must be finished, its token works only once.
//
// An answer is sent when the handler has returned. A panic, even after half an answer, is a 500 in
// JSON and one log line; the process and the other requests go on. Nothing streams.
//
// An event of a go1 or a Lambda function, and the body of a custom runtime's /invoke, is an HTTP
// event: a caller of InvokeFunction enters by the same door as a page. Anything else is a 400 that
// says what was expected.
//
// Limits: a go1 event has one value per query parameter, repeated ones joined by commas, and no raw
// query, so that the order of parameters is lost; its answer has one value per header, so that of
// several Set-Cookie lines only the first is sent.
//
// The two runtimes' SDKs read FC_RUNTIME_API and AWS_LAMBDA_RUNTIME_API from the process's own
// environment, take over the standard logger's flags (Function Compute's), and end the process when
// their runtime API is lost (Lambda's).
package platform

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Kind is a platform.
type Kind string

// The platforms.
const (
	Plain           Kind = "plain HTTP" // for development and for containers behind a proxy
	FunctionCompute Kind = "Function Compute go1"
	CustomRuntime   Kind = "Function Compute custom runtime"
	Lambda          Kind = "Lambda" // function URL in BUFFERED mode
)

// Detect says which platform the environment shows. Both of Function Compute's runtimes set
// FC_FUNCTION_NAME, only go1 has a runtime API. FC_CUSTOM_LISTEN_PORT alone proves nothing: it must
// never open a port on a developer's machine.
func Detect(getenv func(string) string) Kind {
	switch {
	case getenv("FC_RUNTIME_API") != "":
		return FunctionCompute
	case getenv("FC_FUNCTION_NAME") != "":
		return CustomRuntime
	case getenv("AWS_LAMBDA_RUNTIME_API") != "":
		return Lambda
	}
	return Plain
}

// Options say how to serve. Getenv and Logger are required.
type Options struct {
	Getenv func(string) string
	Logger *slog.Logger

	// Warm prepares for the first request, such as by opening the connection to IMM. It runs in
	// Function Compute's initializer hook and while Lambda starts, within 5 seconds. A failure is
	// logged and changes nothing else. Its error must be safe to log.
	Warm func(context.Context) error

	// Where plain HTTP and the custom runtime listen. Listener, when set, is used in place of
	// listening; Serve closes it.
	Listen   Listen
	Listener net.Listener
}

const (
	// before the platform's deadline, to send what the handler answers
	answerMargin = 300 * time.Millisecond
	warmTimeout  = 5 * time.Second
	stopTimeout  = 30 * time.Second
	// The SDKs send an answer after our handler has returned it, and tell nobody when they have.
	sendWindow = time.Second
)

// Serve runs the handler until ctx ends, lets the requests under way finish, and returns nil. On a
// runtime API a process serves once. An error means that serving could not start or that requests
// did not finish within 30 seconds.
func Serve(ctx context.Context, handler http.Handler, o Options) error {
	s := &server{Options: o, kind: Detect(o.Getenv), handler: handler}
	switch s.kind {
	case FunctionCompute:
		return s.serveFunctionCompute(ctx)
	case Lambda:
		return s.serveLambda(ctx)
	case CustomRuntime:
		s.Listen.Proxies = 1 // the platform's gateway
	}
	return s.serveHTTP(ctx)
}

type server struct {
	Options
	kind    Kind
	handler http.Handler
	running sync.RWMutex // held for reading by every invocation of an SDK
}

// warmUp runs Warm. Not even a panic in it keeps the function from serving.
func (s *server) warmUp(ctx context.Context) {
	if s.Warm == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, warmTimeout)
	defer cancel()
	defer s.recovered(ctx, func() {})
	if err := s.Warm(ctx); err != nil {
		public := weboffice.AsError(err)
		s.Logger.WarnContext(ctx, "warm-up failed, the first request will connect",
			"requestId", weboffice.RequestID(ctx), "error", public.Error(), "fix", public.Fix,
			"cause", public.Cause)
	}
}
