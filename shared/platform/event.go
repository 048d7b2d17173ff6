package platform

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"weboffice-functions/shared/weboffice"
)

// event is an HTTP request as Function Compute's HTTP trigger (version v1) and Lambda's function
// URL (payload version 2.0) write it, which agree in all but the query and the cookies. Every field
// may be missing or null but the method; what is not needed here is not read, so that its form
// cannot fail a request.
type event struct {
	RawPath  string `json:"rawPath"` // as it was escaped on the wire
	RawQuery string `json:"rawQueryString"`
	// Function Compute, in place of RawQuery; unescaped
	Query           map[string]string `json:"queryParameters"`
	Headers         map[string]string `json:"headers"`
	Cookies         []string          `json:"cookies"` // Lambda, in place of a header
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	Context         struct {
		HTTP struct{ Method, SourceIP string } `json:"http"`
	} `json:"requestContext"`
}

// parseEvent reads a payload as a request of net/http's server. An error is a 400.
func parseEvent(ctx context.Context, payload []byte) (*http.Request, *weboffice.Error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil || e.Context.HTTP.Method == "" {
		return nil, badEvent("expected the JSON of a Function Compute HTTP trigger (version v1) " +
			"or a Lambda function URL (payload 2.0): rawPath, queryParameters or rawQueryString, " +
			"headers, body, isBase64Encoded, requestContext.http.method and .sourceIp.")
	}
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, badEvent("isBase64Encoded is true, and body is not standard base64.")
		}
	}
	r, err := http.NewRequestWithContext(ctx, e.Context.HTTP.Method, "/", bytes.NewReader(body))
	if err != nil {
		return nil, badEvent("requestContext.http.method is not an HTTP method.")
	}
	// The parser of request lines: //host/path stays a path, and %2F stays apart from /.
	if r.URL, err = url.ParseRequestURI("/" + strings.TrimPrefix(e.RawPath, "/")); err != nil {
		return nil, badEvent("rawPath is not the path of a URL.")
	}
	if r.URL.RawQuery = e.RawQuery; e.RawQuery == "" {
		query := url.Values{}
		for name, value := range e.Query {
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
	r.Header, r.RemoteAddr = cleaned(header), remoteAddr(e.Context.HTTP.SourceIP)
	return r, nil
}

func badEvent(message string) *weboffice.Error {
	return weboffice.ErrEvent.New(message)
}

// serveEvent answers one event. It has no error: whatever is wrong with the event is a 400 in the
// platform's own form, since a failed invocation would reach a page as a 502 that says nothing.
func (s *server) serveEvent(ctx context.Context, payload []byte,
	encode func(*answer) any) json.RawMessage {
	s.running.RLock()
	defer s.running.RUnlock()
	var a *answer
	if r, err := parseEvent(ctx, payload); err != nil {
		s.logger.WarnContext(ctx, "refused event", "requestId", weboffice.RequestID(ctx), "error",
			err.Error())
		a = errorAnswer(ctx, http.StatusBadRequest, err)
	} else {
		a = s.answer(r)
	}
	encoded, _ := json.Marshal(encode(a)) // strings and a number: it cannot fail
	return encoded
}

// eventParts gives an answer the form that both platforms take: one value per header, and a body
// that JSON carries unchanged.
func (a *answer) eventParts() (headers map[string]string, body string, isBase64 bool) {
	headers = map[string]string{}
	for name, values := range a.sent {
		headers[name] = strings.Join(values, ", ")
	}
	if utf8.Valid(a.body.Bytes()) {
		return headers, a.body.String(), false
	}
	return headers, base64.StdEncoding.EncodeToString(a.body.Bytes()), true
}
