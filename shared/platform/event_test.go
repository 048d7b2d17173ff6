package platform

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	fcevents "github.com/aliyun/fc-runtime-go-sdk/events"
	lambdaevents "github.com/aws/aws-lambda-go/events"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/weboffice"
)

func read(t testing.TB, file string) []byte {
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// eventBlocks are testdata/events.txt: names, payloads and what they mean.
func eventBlocks(t testing.TB) (blocks [][]string) {
	for block := range strings.SplitSeq(strings.TrimSpace(string(read(t, "events.txt"))), "\n\n") {
		if lines := strings.Split(block, "\n"); len(lines) == 3 {
			blocks = append(blocks, lines)
		}
	}
	return blocks
}

// meaning is all that the handler sees of an event, in a line, and the answer to it.
func meaning(t *testing.T, payload []byte) (saw string, answer eventAnswer) {
	t.Helper()
	s := newTestServer(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		query := r.URL.Query().Encode()
		if query != "" {
			query = "?" + query
		}
		path, _, _ := strings.Cut(r.RequestURI, "?")
		saw = fmt.Sprintf("%s %s of %q from %s, headers %v, body %q", r.Method, path+query, r.Host,
			r.RemoteAddr, r.Header, body)
		if r.URL.EscapedPath() != path || r.URL.Host != "" || r.ContentLength != int64(len(body)) {
			t.Errorf("%s: %q, %d bytes", saw, r.URL, r.ContentLength)
		}
	})
	ctx, cancel := invocation(t.Context(), "id-1", "", "", "")
	defer cancel()
	return saw, s.serveEvent(ctx, payload)
}

func TestEvents(t *testing.T) {
	for _, block := range eventBlocks(t) {
		name, want := block[0], block[2]
		saw, answer := meaning(t, []byte(block[1]))
		says, refused := strings.CutPrefix(want, "400 ")
		if !refused {
			if saw != want || answer.StatusCode != 200 {
				t.Errorf("%s: the handler saw\n%s, want\n%s", name, saw, want)
			}
			continue
		}
		var body struct{ RequestId, Code, Message string }
		if err := json.Unmarshal([]byte(answer.Body), &body); err != nil || saw != "" ||
			answer.StatusCode != 400 || body.RequestId != "id-1" ||
			body.Code != "InvalidArgument" || !strings.Contains(body.Message, says) ||
			answer.Headers["Content-Type"] != "application/json" ||
			answer.Headers["Cache-Control"] != "no-store" {
			t.Errorf("%s: %q, %+v", name, saw, answer)
		}
	}
}

// TestRecordedEvents feeds both platforms' events for one request, as they were recorded and as the
// SDKs' own types write them. The handler must not be able to tell them apart but by the headers
// that gateways add.
func TestRecordedEvents(t *testing.T) {
	for file, c := range map[string]struct {
		sdk         any
		host, extra string
	}{
		"fc-http-trigger.json": {&fcevents.HTTPTriggerEvent{},
			"weboffice-generate-abcdefgh.cn-shanghai.fcapp.run", ""},
		"lambda-function-url.json": {&lambdaevents.LambdaFunctionURLRequest{},
			"abcdefghijklmnop.lambda-url.eu-central-1.on.aws",
			" X-Forwarded-Port:[443] X-Forwarded-Proto:[https]"},
	} {
		want := `POST /open/a%2Fb?Empty=&SourceURI=oss%3A%2F%2Ftest-bucket%2Fa+b.docx of "` +
			c.host + `" from 203.0.113.8:0, headers map[Accept:[application/json] ` +
			`Authorization:[Bearer of-the-page] Content-Type:[application/json] ` +
			`Cookie:[a=1; b=2] Origin:[https://docs.example.com] User-Agent:[Mozilla/5.0] ` +
			`X-Forwarded-For:[198.51.100.9]` + c.extra +
			`], body "{\"SourceURI\":\"oss://test-bucket/a.docx\"}"`
		recorded := read(t, file)
		err := json.Unmarshal(recorded, c.sdk)
		written, errWriting := json.Marshal(c.sdk)
		if err := errors.Join(err, errWriting); err != nil {
			t.Fatal(err)
		}
		for _, payload := range [][]byte{recorded, written} {
			if saw, _ := meaning(t, payload); saw != want {
				t.Errorf("%s: the handler saw\n%s, want\n%s", payload, saw, want)
			}
		}
	}
}

// TestHeadersThatHandlersSee has attacks, each with its harmless twin: a client lists Origin in
// Connection, so that the edge would take it for no browser; two lines of one header must not be
// the first here and the last there; no spelling makes a header the platform's.
func TestHeadersThatHandlersSee(t *testing.T) {
	for in, want := range map[string]string{
		"Connection: close, Origin\nOrigin: https://evil.example": "Origin: https://evil.example",
		"Authorization: Bearer good\nAuthorization: Bearer evil\nAccept: a": "Accept: a\n" +
			"Authorization: Bearer good, Bearer evil",
		"Cookie: a=1\nCookie: b=2": "Cookie: a=1; b=2",
		"X-Fc-Security-Token: x\nx-fc-access-key-id: x\nX_FC_ACCESS_KEY_ID: x\n" +
			"X-Fc_Request-Id: x\nx_fc-control-path: x\nX-Amzn-Trace-Id: x\nX_Amzn_X: x": "",
		"X-Fcc: kind\nX-Requested-With: x": "X-Fcc: kind\nX-Requested-With: x",
	} {
		header := http.Header{}
		for line := range strings.SplitSeq(in, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			header.Add(name, value)
		}
		var got strings.Builder
		_ = cleaned(header).Write(&got)
		if strings.TrimSpace(strings.ReplaceAll(got.String(), "\r", "")) != want {
			t.Errorf("%s\nbecame\n%s", in, got.String())
		}
	}
}

// TestAnswers are those of net/http's server where a handler does what is seldom.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		handler func(w http.ResponseWriter)
		status  int
		header  map[string]string
	}{
		"nothing written": {func(http.ResponseWriter) {}, 200, nil},
		"a header after the status is late": {func(w http.ResponseWriter) {
			w.WriteHeader(201)
			w.Header().Set("Late", "1")
			w.WriteHeader(500)
		}, 201, nil},
		"an interim answer is not kept": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(202)
		}, 202, nil},
		"204 has no body": {func(w http.ResponseWriter) {
			w.WriteHeader(204)
			_, _ = io.WriteString(w, "hi")
		}, 204, nil},
		"the connection's headers stay here": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "7")
			w.Header().Set("Connection", "close")
			w.Header().Set("Vary", "Origin")
		}, 200, map[string]string{"Vary": "Origin"}},
	} {
		s := newTestServer(t, func(w http.ResponseWriter, _ *http.Request) { c.handler(w) })
		got := s.serveEvent(t.Context(), []byte(`{"requestContext":{"http":{"method":"GET"}}}`))
		if got.StatusCode != c.status || got.Body != "" || !maps.Equal(got.Headers, c.header) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestPanicTellsSecrets: what a handler wrote before its panic is not sent. weboffice tests what a
// log tells of a panic's value.
func TestPanicTellsSecrets(t *testing.T) {
	for _, value := range []any{"token is s3cr3t", http.ErrAbortHandler} {
		var log bytes.Buffer
		s := newTestServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Token", "s3cr3t")
			_, _ = io.WriteString(w, `{"AccessToken":"s3cr3t`)
			panic(value)
		})
		s.Logger = jsonLogger(&log)
		ctx, cancel := invocation(t.Context(), "id-2", "", "", "")
		got := s.serveEvent(ctx, []byte(`{"requestContext":{"http":{"method":"GET"}}}`))
		cancel()
		if got.StatusCode != 500 || got.Headers["Content-Type"] != "application/json" ||
			got.Headers["X-Token"] != "" ||
			!strings.Contains(got.Body, `"RequestId":"id-2","Code":"InternalError"`) {
			t.Errorf("%+v", got)
		}
		if line := log.String(); strings.Contains(line+got.Body, "s3cr3t") ||
			strings.Count(line, "\n") != 1 || !strings.Contains(line, "id-2") {
			t.Errorf("logged %s", line)
		}
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

// TestCustomRuntimeTells: what the platform's headers say reaches the handler's context, by a
// request and by an invocation, with the margin before the deadline.
func TestCustomRuntimeTells(t *testing.T) {
	const event = `{"rawPath":"/of/the/event","requestContext":{"http":{"method":"POST"}}}`
	for path, control := range map[string]string{"/page": "/http-invoke", "/invoke": "/invoke"} {
		s := newTestServer(t, func(w http.ResponseWriter, r *http.Request) {
			end, _ := r.Context().Deadline()
			role, _ := credentials.FromContext(r.Context())
			_, _ = fmt.Fprint(w, r.URL, weboffice.RequestID(r.Context()), role.AccessKeyID,
				time.Until(end).Truncate(100*time.Millisecond))
		})
		s.kind = CustomRuntime
		r := httptest.NewRequest("POST", path, strings.NewReader(event))
		for name, value := range map[string]string{"control-path": control, "request-id": "id-3",
			"access-key-id": "STS.local", "access-key-secret": "s", "security-token": "t",
			"function-timeout": "3600"} {
			r.Header.Set("X-Fc-"+name, value)
		}
		w := httptest.NewRecorder()
		s.serveRequest(w, r)
		want := "id-3STS.local59m59.6s"
		if got := w.Body.String(); !strings.Contains(got, want) ||
			strings.Contains(got, "/of/the/event") != (path == "/invoke") {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// FuzzEvent: every payload is refused in the platform's form, or the handler sees a request as
// net/http's server would make it, and the client gets the bytes that the handler wrote.
func FuzzEvent(f *testing.F) {
	f.Add(read(f, "fc-http-trigger.json"))
	f.Add(read(f, "lambda-function-url.json"))
	for _, block := range eventBlocks(f) {
		f.Add([]byte(block[1]))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var wrote []byte
		called, head := false, false
		s := newTestServer(t, func(w http.ResponseWriter, r *http.Request) {
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
		written, err := json.Marshal(s.serveEvent(t.Context(), payload))
		var fc fcevents.HTTPTriggerResponse
		var lambda lambdaevents.LambdaFunctionURLResponse
		if err := errors.Join(err, json.Unmarshal(written, &fc),
			json.Unmarshal(written, &lambda)); err != nil {
			t.Fatal(err)
		}
		if fc.StatusCode != lambda.StatusCode || fc.Body != lambda.Body ||
			fc.IsBase64Encoded != lambda.IsBase64Encoded {
			t.Errorf("the SDKs read %+v and %+v", fc, lambda)
		}
		if !called {
			if fc.StatusCode != 400 || !strings.Contains(fc.Body, "InvalidArgument") {
				t.Errorf("%d %s", fc.StatusCode, fc.Body)
			}
			return
		}
		got := []byte(fc.Body)
		if fc.IsBase64Encoded {
			if got, err = base64.StdEncoding.DecodeString(fc.Body); err != nil {
				t.Error(err)
			}
		}
		if head {
			wrote = nil
		}
		if fc.StatusCode != 200 || !bytes.Equal(got, wrote) {
			t.Errorf("%d %q, the handler wrote %q", fc.StatusCode, got, wrote)
		}
	})
}
