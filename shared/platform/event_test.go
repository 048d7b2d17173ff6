package platform

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	fcevents "github.com/aliyun/fc-runtime-go-sdk/events"
	lambdaevents "github.com/aws/aws-lambda-go/events"

	"weboffice-functions/shared/weboffice"
)

// TestRecordedEvents feeds both platforms' events for one request. The handler must not be able to
// tell them apart.
func TestRecordedEvents(t *testing.T) {
	for _, file := range []string{"fc-http-trigger.json", "lambda-function-url.json"} {
		payload, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		r, bad := parseEvent(t.Context(), payload)
		if bad != nil {
			t.Fatal(bad)
		}
		body, _ := io.ReadAll(r.Body)
		path, _, _ := strings.Cut(r.RequestURI, "?")
		for _, c := range []struct{ what, got, want string }{
			{"method", r.Method, "POST"},
			{"path", r.URL.Path, "/open/a/b"},
			{"escaped path", r.URL.EscapedPath(), "/open/a%2Fb"},
			{"request URI without the query", path, "/open/a%2Fb"},
			{"query", r.URL.Query().Encode(), "Empty=&SourceURI=oss%3A%2F%2Ftest-bucket%2Fa+b.docx"},
			{"Origin", r.Header.Get("Origin"), "https://docs.example.com"},
			{"Authorization", r.Header.Get("Authorization"), "Bearer of-the-page"},
			{"Cookie", r.Header.Get("Cookie"), "a=1; b=2"},
			{"body", string(body), `{"SourceURI":"oss://test-bucket/a.docx"}`},
			{"length", strconv.FormatInt(r.ContentLength, 10), "40"},
			{"client", r.RemoteAddr, "203.0.113.8:0"},
			{"the connection's", r.Header.Get("Connection") + r.Header.Get("Host"), ""},
			{"the platform's", r.Header.Get("X-Fc-Log-Type") + r.Header.Get("X-Amzn-Trace-Id"), ""},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s: %q, want %q", file, c.what, c.got, c.want)
			}
		}
		if !strings.HasSuffix(r.Host, ".run") && !strings.HasSuffix(r.Host, ".aws") {
			t.Errorf("%s: host: %q", file, r.Host)
		}
	}
}

// TestEventsOfTheSDKs writes the SDKs' own event types and reads them back.
func TestEventsOfTheSDKs(t *testing.T) {
	p := func(s string) *string { return &s }
	yes := true
	var fc fcevents.HTTPTriggerEvent
	fc.Version, fc.RawPath, fc.Body, fc.IsBase64Encoded = p("v1"), p("/p"), p("aGk="), &yes
	fc.Headers, fc.QueryParameters = &map[string]string{"Origin": "o"}, &map[string]string{"q": "1"}
	fc.TriggerContext.Http.Method, fc.TriggerContext.Http.SourceIp = p("PUT"), p("2001:db8::1")
	var lambda lambdaevents.LambdaFunctionURLRequest
	lambda.Version, lambda.RawPath, lambda.Body, lambda.IsBase64Encoded = "2.0", "/p", "aGk=", true
	lambda.Headers, lambda.RawQueryString = map[string]string{"origin": "o"}, "q=1"
	lambda.RequestContext.HTTP.Method, lambda.RequestContext.HTTP.SourceIP = "PUT", "2001:db8::1"
	for _, in := range []any{fc, lambda} {
		payload, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		r, bad := parseEvent(t.Context(), payload)
		if bad != nil {
			t.Fatalf("%T: %v", in, bad)
		}
		body, _ := io.ReadAll(r.Body)
		got := []string{r.Method, r.URL.String(), r.Header.Get("Origin"), string(body),
			r.RemoteAddr}
		if want := []string{"PUT", "/p?q=1", "o", "hi", "[2001:db8::1]:0"}; !reflect.DeepEqual(got,
			want) {
			t.Errorf("%T: %q, want %q", in, got, want)
		}
	}
}

func TestEventsThatLackFields(t *testing.T) {
	for _, c := range []struct{ payload, uri string }{
		{`{"requestContext":{"http":{"method":"GET"}}}`, "/"},
		{`{"version":null,"rawPath":null,"body":null,"isBase64Encoded":null,"headers":null,` +
			`"queryParameters":null,"rawQueryString":null,"cookies":null,"requestContext":` +
			`{"accountId":null,"requestId":null,"http":{"method":"GET","path":null,"sourceIp":null}}}`, "/"},
		// other types where nothing is read
		{`{"version":2,"requestContext":{"time":{},"http":{"method":"GET","userAgent":[]}}}`, "/"},
		{`{"rawPath":"open","requestContext":{"http":{"method":"GET"}}}`, "/open"},
		{`{"rawPath":"/a?b","requestContext":{"http":{"method":"GET"}}}`, "/a"},
	} {
		r, bad := parseEvent(t.Context(), []byte(c.payload))
		if bad != nil || r.URL.String() != c.uri || r.URL.Host != "" || len(r.Header) != 0 ||
			r.ContentLength != 0 || r.RemoteAddr != ":0" {
			t.Errorf("%s: %v, %+v", c.payload, bad, r)
		}
	}
}

func TestEventsThatAreNoHTTPRequest(t *testing.T) {
	const post = `,"isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`
	const get = `"requestContext":{"http":{"method":"GET"}}}`
	for name, c := range map[string]struct{ payload, says string }{
		"nothing":                {``, "requestContext.http.method"},
		"text":                   {`hello`, "HTTP trigger"},
		"a timer's":              {`{"triggerTime":"2026-11-21T08:00:00Z","payload":"x"}`, "HTTP trigger"},
		"a list":                 {`[]`, "HTTP trigger"},
		"null":                   {`null`, "HTTP trigger"},
		"a REST API's":           {`{"httpMethod":"GET","path":"/"}`, "payload 2.0"},
		"more than one":          {`{` + get + `{}`, "HTTP trigger"},
		"headers as lists":       {`{"headers":{"A":["1"]},` + get, "headers"},
		"a method of two words":  {`{"requestContext":{"http":{"method":"GET /"}}}`, "not an HTTP method"},
		"a path that is not one": {`{"rawPath":"/%zz",` + get, "rawPath"},
		"a path with a control":  {`{"rawPath":"/\u0000",` + get, "rawPath"},
		"base64 that is not":     {`{"body":"%%%"` + post, "base64"},
		"base64 of the URL kind": {`{"body":"_-8="` + post, "base64"},
		"base64 that was cut":    {`{"body":"aGk"` + post, "base64"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestServer(t, Plain,
				func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })
			ctx, cancel := invocation(t.Context(), "id-1", "", "", "")
			defer cancel()
			var out fcevents.HTTPTriggerResponse
			var body struct{ RequestId, Code, Message string }
			err := json.Unmarshal(s.serveEvent(ctx, []byte(c.payload), fcAnswer), &out)
			if err := errors.Join(err, json.Unmarshal([]byte(out.Body), &body)); err != nil {
				t.Fatalf("%v in %q", err, out.Body)
			}
			if out.StatusCode != 400 || body.RequestId != "id-1" ||
				body.Code != "InvalidArgument" || !strings.Contains(body.Message, c.says) ||
				out.Headers["Content-Type"] != "application/json" ||
				out.Headers["Cache-Control"] != "no-store" {
				t.Errorf("%+v", out)
			}
		})
	}
}

// TestHeaderNamedByConnectionHidden: a client lists Origin in Connection, so that the edge would
// take it for no browser.
func TestHeaderNamedByConnectionHidden(t *testing.T) {
	clean := cleaned(http.Header{"Connection": {"close, Origin"},
		"Origin": {"https://evil.example.com"}})
	if clean.Get("Origin") != "https://evil.example.com" || clean.Get("Connection") != "" {
		t.Errorf("%v", clean)
	}
}

// TestSecondAuthorizationSmuggled: two lines of one header must not be read as the first here and
// the last there.
func TestSecondAuthorizationSmuggled(t *testing.T) {
	clean := cleaned(http.Header{"Authorization": {"Bearer good", "Bearer evil"}, "Accept": {"a"}})
	if got := clean["Authorization"]; len(got) != 1 || got[0] == "Bearer good" {
		t.Errorf("%q", got)
	}
	if got := clean["Accept"]; len(got) != 1 || got[0] != "a" {
		t.Errorf("harmless twin: %q", got)
	}
}

// TestPlatformHeadersSpoofed: whatever spelling a client finds, the handler never sees a platform's
// header.
func TestPlatformHeadersSpoofed(t *testing.T) {
	for _, name := range []string{"X-Fc-Security-Token", "x-fc-access-key-id", "X_FC_ACCESS_KEY_ID",
		"X-Fc_Request-Id", "x_fc-control-path", "X-Amzn-Trace-Id", "X_Amzn_X"} {
		header := http.Header{}
		header.Add(name, "evil")
		if clean := cleaned(header); len(clean) != 0 {
			t.Errorf("%s: %v", name, clean)
		}
	}
	if clean := cleaned(http.Header{"X-Fcc": {"kind"},
		"X-Requested-With": {"XMLHttpRequest"}}); len(clean) != 2 {
		t.Errorf("harmless twin: %v", clean)
	}
}

// TestAnswers are those of net/http's server where a handler does what is seldom.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		handler func(w http.ResponseWriter)
		status  int
		header  map[string]string
	}{
		"nothing written": {func(http.ResponseWriter) {}, 200, map[string]string{}},
		"a header after the status is late": {func(w http.ResponseWriter) {
			w.WriteHeader(201)
			w.Header().Set("Late", "1")
			w.WriteHeader(500)
		}, 201, map[string]string{}},
		"an interim answer is not kept": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(202)
		}, 202, map[string]string{}},
		"204 has no body": {func(w http.ResponseWriter) {
			w.WriteHeader(204)
			_, _ = io.WriteString(w, "hi")
		}, 204, map[string]string{}},
		"the connection's headers stay here": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "7")
			w.Header().Set("Connection", "close")
			w.Header().Set("Vary", "Origin")
		}, 200, map[string]string{"Vary": "Origin"}},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "/", nil)
		a := newTestServer(t, Plain, func(w http.ResponseWriter, _ *http.Request) {
			c.handler(w)
		}).answer(r)
		header, body, _ := a.eventParts()
		if a.status != c.status || body != "" || !maps.Equal(header, c.header) {
			t.Errorf("%s: %d %v %q", name, a.status, header, body)
		}
	}
}

// TestPanicTellsSecrets: a panic's value may quote a token; neither the answer nor the log does.
func TestPanicTellsSecrets(t *testing.T) {
	for name, handler := range map[string]func(w http.ResponseWriter){
		"text": func(http.ResponseWriter) { panic("token is s3cr3t") },
		"error": func(http.ResponseWriter) {
			panic(&url.Error{Op: "Get", URL: "https://x/?t=s3cr3t", Err: io.EOF})
		},
		"half an answer": func(w http.ResponseWriter) {
			w.Header().Set("X-Token", "s3cr3t")
			_, _ = io.WriteString(w, `{"AccessToken":"s3cr3t`)
			panic(http.ErrAbortHandler)
		},
		"index out of range [0] with length 0": func(http.ResponseWriter) { // harmless twin: quoted
			var none []int
			_ = none[len(none)]
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := newTestServer(t, Plain,
				func(w http.ResponseWriter, _ *http.Request) { handler(w) })
			s.logger = jsonLogger(&log)
			ctx, cancel := invocation(t.Context(), "id-2", "", "", "")
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, "GET", "/", nil)
			a := s.answer(r)
			header, body, _ := a.eventParts()
			if a.status != 500 || header["Content-Type"] != "application/json" ||
				header["X-Token"] != "" ||
				!strings.Contains(body, `"RequestId":"id-2","Code":"InternalError"`) {
				t.Errorf("%d %v %s", a.status, header, body)
			}
			if strings.Contains(log.String()+body, "s3cr3t") ||
				strings.Count(log.String(), "\n") != 1 ||
				!strings.Contains(log.String(), "event_test.go") ||
				!strings.Contains(log.String(), "id-2") ||
				strings.HasPrefix(name, "index") && !strings.Contains(log.String(), name) {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// TestRequestIDForged: an id that is not one is replaced before it reaches a log or a page.
func TestRequestIDForged(t *testing.T) {
	for given, kept := range map[string]bool{
		"1-67a59f35-150c1267-f381ba1c085c": true, "": false, "a b": false, "<script>": false,
		"x\ny": false, strings.Repeat("a", 129): false,
	} {
		ctx, cancel := invocation(t.Context(), given, "", "", "")
		cancel()
		if id := weboffice.RequestID(ctx); (id == given) != kept || id == "" {
			t.Errorf("%q became %q", given, id)
		}
	}
}

func TestDeadlineLeavesAMargin(t *testing.T) {
	parent, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	ctx, cancel := invocation(parent, "", "", "", "")
	defer cancel()
	platform, _ := parent.Deadline()
	if ours, ok := ctx.Deadline(); !ok || platform.Sub(ours) != 300*time.Millisecond {
		t.Errorf("%v before the platform's", platform.Sub(ours))
	}
	ctx, cancel = invocation(t.Context(), "", "", "", "")
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		t.Errorf("a deadline out of nowhere: %v", deadline)
	}
}

func TestRemoteAddr(t *testing.T) {
	for ip, want := range map[string]string{
		"203.0.113.8": "203.0.113.8:0", " 203.0.113.8 ": "203.0.113.8:0",
		"2001:DB8::1": "[2001:db8::1]:0", "::ffff:203.0.113.8": "203.0.113.8:0",
		"fe80::1%eth0": "[fe80::1]:0", "": ":0", "unknown": ":0", "203.0.113.8:443": ":0",
		"203.0.113.8, 198.51.100.1": ":0",
	} {
		if got := remoteAddr(ip); got != want {
			t.Errorf("%q: %q, want %q", ip, got, want)
		}
	}
}

func FuzzFunctionComputeEvent(f *testing.F) {
	seed, err := os.ReadFile("testdata/fc-http-trigger.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"queryParameters":{"a":"1,2","":"%2F"},"headers":{"origin":"a","Origin":"b",` +
		`"x_fc_request_id":"c"},"requestContext":{"http":{"method":"GET"}}}`))
	f.Add([]byte(`{"rawPath":"//a/%2e%2e","body":"AAECAw==","isBase64Encoded":true,` +
		`"requestContext":{"http":{"method":"POST","sourceIp":"::1%x"}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		fuzzEvent(t, payload, fcAnswer, func(payload []byte) (int, string, bool) {
			var out fcevents.HTTPTriggerResponse
			if err := json.Unmarshal(payload, &out); err != nil {
				t.Fatal(err)
			}
			return out.StatusCode, out.Body, out.IsBase64Encoded
		})
	})
}

func FuzzLambdaEvent(f *testing.F) {
	seed, err := os.ReadFile("testdata/lambda-function-url.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"rawQueryString":"a=1&a=%zz;&","cookies":["","a=1; b"],"headers":{"cookie":"c=3"},` +
		`"requestContext":{"http":{"method":"get"}}}`))
	f.Add([]byte(`{"rawPath":"/\u007f","requestContext":{"http":{"method":"M-SEARCH"}}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		fuzzEvent(t, payload, lambdaAnswer, func(payload []byte) (int, string, bool) {
			var out lambdaevents.LambdaFunctionURLResponse
			if err := json.Unmarshal(payload, &out); err != nil {
				t.Fatal(err)
			}
			return out.StatusCode, out.Body, out.IsBase64Encoded
		})
	})
}

// fuzzEvent says what holds for every payload: it is refused in the platform's form, or the handler
// sees a request as net/http's server would make it, and the client gets the bytes that the handler
// wrote.
func fuzzEvent(t *testing.T, payload []byte, encode func(*answer) any,
	decode func([]byte) (int, string, bool)) {
	var wrote []byte
	called, head := false, false
	s := newTestServer(t, Plain, func(w http.ResponseWriter, r *http.Request) {
		called, head = true, r.Method == http.MethodHead
		for name, values := range r.Header {
			if dropped(name) || len(values) != 1 {
				t.Errorf("header %q: %q", name, values)
			}
		}
		if !strings.HasPrefix(r.URL.Path, "/") || r.URL.Host != "" || r.URL.Scheme != "" ||
			r.URL.User != nil {
			t.Errorf("URL %q", r.URL)
		}
		if _, port, err := net.SplitHostPort(r.RemoteAddr); err != nil || port != "0" {
			t.Errorf("RemoteAddr %q", r.RemoteAddr)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || int64(len(body)) != r.ContentLength {
			t.Errorf("body of %d bytes, %d announced, %v", len(body), r.ContentLength, err)
		}
		wrote = append(body, r.URL.RawQuery...)
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(wrote)
	})
	status, body, isBase64 := decode(s.serveEvent(t.Context(), payload, encode))
	if !called {
		if status != 400 || !strings.Contains(body, "InvalidArgument") {
			t.Errorf("%d %s", status, body)
		}
		return
	}
	got := []byte(body)
	if isBase64 {
		var err error
		if got, err = base64.StdEncoding.DecodeString(body); err != nil {
			t.Error(err)
		}
	}
	if head {
		wrote = nil
	}
	if status != 200 || !bytes.Equal(got, wrote) {
		t.Errorf("%d %q, the handler wrote %q", status, got, wrote)
	}
}
