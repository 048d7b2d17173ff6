package platform

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aliyun/fc-runtime-go-sdk/fc"
	"github.com/aliyun/fc-runtime-go-sdk/fccontext"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/weboffice"
)

// maxEvent is Function Compute's own limit for the payload of a synchronous invocation.
const maxEvent = 32 << 20

// serveFunctionCompute polls go1's runtime API. The SDK runs each invocation in its own goroutine
// and logs the platform's markers.
func (s *server) serveFunctionCompute(ctx context.Context) error {
	invoked := func(ctx context.Context) (context.Context, context.CancelFunc) {
		sdk, _ := fccontext.FromContext(ctx) // the SDK always puts it there
		role := sdk.Credentials
		return invocation(ctx, sdk.RequestID, role.AccessKeyId, role.AccessKeySecret,
			role.SecurityToken)
	}
	fc.RegisterInitializerFunction(func(ctx context.Context) {
		ctx, cancel := invoked(ctx)
		defer cancel()
		s.warmUp(ctx)
	})
	// the SDK reports a configured hook without a function as a failure
	fc.RegisterPreStopFunction(func(context.Context) {})
	go fc.Start(func(ctx context.Context, payload []byte) (eventAnswer, error) {
		ctx, cancel := invoked(ctx)
		defer cancel()
		return s.serveEvent(ctx, payload), nil
	})
	return s.untilStopped(ctx)
}

// serveLambda polls Lambda's runtime API. The time before the first poll is the platform's
// initialisation.
func (s *server) serveLambda(ctx context.Context) error {
	s.warmUp(ctx)
	go lambda.StartWithOptions(func(ctx context.Context, payload json.RawMessage) (eventAnswer,
		error) {
		sdk, _ := lambdacontext.FromContext(ctx) // the SDK always puts it there
		ctx, cancel := invocation(ctx, sdk.AwsRequestID, "", "", "")
		defer cancel()
		return s.serveEvent(ctx, payload), nil
	})
	return s.untilStopped(ctx)
}

// untilStopped waits for the end of ctx and of the invocations under way.
func (s *server) untilStopped(ctx context.Context) error {
	<-ctx.Done()
	s.running.Lock() // for good: what arrives now must not start
	time.Sleep(sendWindow)
	return nil
}

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

// event is an HTTP request as Function Compute's HTTP trigger (version v1) and Lambda's function
// URL (payload version 2.0) write it, which agree in all but the query and the cookies. Every field
// may be missing or null but the method; what is not needed here is not read, so that its form
// cannot fail a request.
type event struct {
	RawPath         string // as it was escaped on the wire
	RawQueryString  string
	QueryParameters map[string]string // Function Compute's, in place of it; unescaped
	Headers         map[string]string
	Cookies         []string // Lambda's, in place of a header
	Body            string
	IsBase64Encoded bool
	RequestContext  struct {
		HTTP struct{ Method, SourceIP string }
	}
}

// eventAnswer is an answer in the form that both platforms take.
type eventAnswer struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies,omitempty"` // Lambda's, in place of a header
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
}

// serveEvent answers one event. It has no error: whatever is wrong with the event is a 400 in the
// platform's own form, since a failed invocation would reach a page as a 502 that says nothing.
func (s *server) serveEvent(ctx context.Context, payload []byte) eventAnswer {
	s.running.RLock()
	defer s.running.RUnlock()
	r, wrong := parseEvent(ctx, payload)
	if wrong != "" {
		err := weboffice.ErrEvent.New(wrong)
		s.Logger.WarnContext(ctx, "refused event", "requestId", weboffice.RequestID(ctx), "error",
			err.Error())
		return s.eventAnswer(errorAnswer(ctx, err))
	}
	return s.eventAnswer(s.answer(r))
}

// parseEvent reads a payload as a request of net/http's server, or says what is wrong with it.
func parseEvent(ctx context.Context, payload []byte) (r *http.Request, wrong string) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil || e.RequestContext.HTTP.Method == "" {
		return nil, "expected the JSON of a Function Compute HTTP trigger (version v1) or a" +
			" Lambda function URL (payload 2.0): rawPath, queryParameters or rawQueryString," +
			" headers, body, isBase64Encoded, requestContext.http.method and .sourceIp."
	}
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, "isBase64Encoded is true, and body is not standard base64."
		}
	}
	r, err := http.NewRequestWithContext(ctx, e.RequestContext.HTTP.Method, "/",
		bytes.NewReader(body))
	if err != nil {
		return nil, "requestContext.http.method is not an HTTP method."
	}
	// The parser of request lines: //host/path stays a path, and %2F stays apart from /.
	if r.URL, err = url.ParseRequestURI("/" + strings.TrimPrefix(e.RawPath, "/")); err != nil {
		return nil, "rawPath is not the path of a URL."
	}
	if r.URL.RawQuery = e.RawQueryString; e.RawQueryString == "" {
		query := url.Values{}
		for name, value := range e.QueryParameters {
			query.Set(name, value)
		}
		r.URL.RawQuery = query.Encode()
	}
	header := http.Header{}
	for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
		header.Add(name, e.Headers[name])
	}
	for _, cookie := range e.Cookies {
		header.Add("Cookie", cookie)
	}
	r.RequestURI, r.Host = r.URL.RequestURI(), header.Get("Host")
	r.Header, r.RemoteAddr = cleaned(header), remoteAddr(e.RequestContext.HTTP.SourceIP)
	return r, ""
}

// eventAnswer gives each header one value, and the body a form that JSON carries unchanged. Joined,
// the commas would spoil all cookies: Function Compute sends the first alone.
func (s *server) eventAnswer(a *answer) eventAnswer {
	out := eventAnswer{StatusCode: a.status, Headers: map[string]string{}, Body: a.body.String()}
	for name, values := range a.sent {
		out.Headers[name] = strings.Join(values, ", ")
	}
	if cookies := a.sent["Set-Cookie"]; s.kind == Lambda {
		delete(out.Headers, "Set-Cookie")
		out.Cookies = cookies
	} else if len(cookies) > 0 {
		out.Headers["Set-Cookie"] = cookies[0]
	}
	if out.IsBase64Encoded = !utf8.ValidString(out.Body); out.IsBase64Encoded {
		out.Body = base64.StdEncoding.EncodeToString(a.body.Bytes())
	}
	return out
}
