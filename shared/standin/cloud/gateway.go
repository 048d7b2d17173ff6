package cloud

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// RoundTrip implements http.RoundTripper: the platform's HTTP gateway in front of the function.
// Host and scheme of the URL do not matter. A failed invocation is a 502, as on the platforms; the
// error is for the end of the request's context only.
func (r *Runtime) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		defer req.Body.Close()
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	header := req.Header.Clone()
	header.Set("X-Forwarded-For", strings.Join(append(header.Values("X-Forwarded-For"), r.ClientIP),
		", "))
	if r.client != nil {
		return r.forward(req, header, body)
	}
	header.Set("Host", req.URL.Host)
	payload, err := json.Marshal(r.event(req, header, body))
	if err != nil {
		return nil, err
	}
	var answer struct {
		StatusCode      int               `json:"statusCode"`
		Headers         map[string]string `json:"headers"`
		Cookies         []string          `json:"cookies"`
		Body            string            `json:"body"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	payload, err = r.Invoke(req.Context(), payload)
	if req.Context().Err() != nil {
		return nil, err
	}
	if err == nil {
		err = json.Unmarshal(payload, &answer)
	}
	content := []byte(answer.Body)
	if err == nil && answer.IsBase64Encoded {
		content, err = base64.StdEncoding.DecodeString(answer.Body)
	}
	if err != nil {
		answer.StatusCode, answer.Headers, content = http.StatusBadGateway, nil, []byte(err.Error())
	}
	out := http.Header{"Set-Cookie": answer.Cookies}
	for name, value := range answer.Headers {
		out.Set(name, value)
	}
	return &http.Response{
		Status:     strconv.Itoa(answer.StatusCode) + " " + http.StatusText(answer.StatusCode),
		StatusCode: answer.StatusCode,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: out, Request: req,
		Body: io.NopCloser(bytes.NewReader(content)), ContentLength: int64(len(content)),
	}, nil
}

// forward passes a request on to a process with a port of its own.
func (r *Runtime) forward(req *http.Request, header http.Header, body []byte) (*http.Response,
	error) {
	onward := req.Clone(req.Context())
	onward.Header, onward.Body, onward.ContentLength = header, io.NopCloser(bytes.NewReader(body)),
		int64(len(body))
	onward.Host, onward.URL.Scheme, onward.URL.Host = req.URL.Host, "http", r.address
	if r.platform == customRuntime {
		r.tell(onward.Header, "/http-invoke")
	}
	answer, err := r.client.Transport.RoundTrip(onward)
	if err == nil {
		answer.Request = req
	}
	return answer, err
}

// event is an HTTP trigger's, version v1, or a function URL's, payload version 2.0: with header
// names in lower case and cookies apart.
func (r *Runtime) event(req *http.Request, header http.Header, body []byte) map[string]any {
	text, isBase64 := string(body), !utf8.Valid(body)
	if isBase64 {
		text = base64.StdEncoding.EncodeToString(body)
	}
	event := map[string]any{
		"version": "v1", "rawPath": req.URL.EscapedPath(), "headers": joined(header), "body": text,
		"isBase64Encoded": isBase64,
		"requestContext": map[string]any{
			"accountId": "1234567890123456", "domainName": req.URL.Host, "domainPrefix": "function",
			"requestId": "of-the-gateway",
			"time":      time.Now().UTC().Format(time.RFC3339),
			"http": map[string]any{
				"method": req.Method, "path": req.URL.Path, "protocol": "HTTP/1.1",
				"sourceIp": r.ClientIP, "userAgent": req.UserAgent(),
			},
		},
	}
	if r.platform == functionCompute {
		event["queryParameters"] = joined(req.URL.Query())
		return event
	}
	lower, cookies := map[string]string{}, []string{}
	for name, value := range joined(header) {
		lower[strings.ToLower(name)] = value
	}
	for _, line := range header.Values("Cookie") {
		cookies = append(cookies, strings.Split(line, "; ")...)
	}
	delete(lower, "cookie")
	maps.Copy(event, map[string]any{"version": "2.0", "routeKey": "$default", "headers": lower,
		"rawQueryString": req.URL.RawQuery, "cookies": cookies})
	return event
}

// joined gives each name one value, as the platforms do.
func joined(values map[string][]string) map[string]string {
	out := map[string]string{}
	for name, list := range values {
		out[name] = strings.Join(list, ",")
	}
	return out
}
