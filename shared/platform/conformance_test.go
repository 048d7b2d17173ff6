package platform_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestEveryHandlerSeesTheSame sends the same requests through every platform.
func TestEveryHandlerSeesTheSame(t *testing.T) {
	binary := []byte{0, 0xff, 0xfe, '"', '\\', '\n', 0x80}
	requests := []struct {
		name, method, path string
		body               []byte
		header             []string
		want               seen // what does not follow from the fields before
		go1                map[string][]string
	}{
		{name: "a preflight", method: "OPTIONS", path: "/generate", header: []string{
			"Origin", "https://docs.example.com", "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,content-type"},
			want: seen{Path: "/generate", EscapedPath: "/generate"}},
		{name: "JSON", method: "POST", path: "/",
			body: []byte(`{"SourceURI":"oss://test-bucket/中文 <&>.docx"}`), header: []string{
				"Content-Type", "application/json", "Authorization", "Bearer a.b.c", "Origin",
				"https://docs.example.com"},
			want: seen{Path: "/", EscapedPath: "/"}},
		{name: "no path", method: "GET", want: seen{Path: "/", EscapedPath: "/"}},
		{name: "a binary body", method: "PUT", path: "/b", body: binary,
			want: seen{Path: "/b", EscapedPath: "/b"}},
		{name: "a text body that looks like base64", method: "POST", path: "/b",
			body: []byte("aGVsbG8="), want: seen{Path: "/b", EscapedPath: "/b"}},
		{name: "an escaped path", method: "GET", path: "/a%2Fb/%2e%2e/c%20d/%E4%B8%AD", want: seen{
			Path: "/a/b/../c d/中", EscapedPath: "/a%2Fb/%2e%2e/c%20d/%E4%B8%AD"}},
		{name: "a path that looks like a host", method: "GET", path: "//evil.example.com/x",
			want: seen{
				Path: "//evil.example.com/x", EscapedPath: "//evil.example.com/x"}},
		{name: "a query", method: "GET",
			path: "/?SourceURI=oss%3A%2F%2Ftest-bucket%2Fa%2520b.docx&Empty=&plus=a+b&pct=%252F",
			want: seen{
				Path: "/", EscapedPath: "/", Query: map[string][]string{
					"SourceURI": {"oss://test-bucket/a%20b.docx"}, "Empty": {""}, "plus": {"a b"},
					"pct": {"%2F"}}}},
		{name: "a repeated parameter", method: "GET", path: "/?a=1&b=x&a=2", want: seen{
			Path: "/", EscapedPath: "/", Query: map[string][]string{"a": {"1", "2"}, "b": {"x"}}},
			go1: map[string][]string{"a": {"1,2"}, "b": {"x"}}}, // what the package comment says
		{name: "cookies", method: "GET", path: "/c", header: []string{"Cookie", "a=1; b=x=y"},
			want: seen{Path: "/c", EscapedPath: "/c",
				Cookies: map[string]string{"a": "1", "b": "x=y"}}},
		{name: "repeated headers", method: "GET", path: "/h",
			header: []string{"X-List", "1", "X-List", "2", "Accept-Language", "de",
				"Accept-Language", "zh"},
			want: seen{Path: "/h", EscapedPath: "/h"}},
		{name: "the connection's headers", method: "GET", path: "/h",
			header: []string{"Te", "trailers", "Proxy-Authorization", "Basic x", "X-Kept", "1"},
			want:   seen{Path: "/h", EscapedPath: "/h"}},
	}
	everywhere(t, func(t *testing.T, on *target) {
		for _, c := range requests {
			t.Run(c.name, func(t *testing.T) {
				r := on.request(t, c.method, c.path, c.body, c.header...)
				got := on.look(t, r)
				want := c.want
				want.Method, want.Body, want.ContentLength = c.method, c.body, int64(len(c.body))
				if want.Query == nil {
					want.Query = map[string][]string{}
				}
				if on.name == "go1" && c.go1 != nil {
					want.Query = c.go1
				}
				if want.Cookies == nil {
					want.Cookies = map[string]string{}
				}
				want.Header = map[string][]string{}
				for name, values := range r.Header {
					if name != "Te" && name != "Proxy-Authorization" {
						want.Header[name] = []string{strings.Join(values, ",")}
					}
				}
				// platforms differ in the space after the comma, which means nothing
				for name, values := range got.Header {
					got.Header[name] = []string{strings.ReplaceAll(strings.Join(values, "\x00"),
						", ", ",")}
				}
				if on.runtime != nil {
					want.Header["X-Forwarded-For"] = []string{on.runtime.ClientIP}
					if want.RemoteAddr = on.runtime.ClientIP +
						":0"; got.RemoteAddr != want.RemoteAddr {
						t.Errorf("client %q, want %q", got.RemoteAddr, want.RemoteAddr)
					}
				} else if !strings.HasPrefix(got.RemoteAddr, "127.0.0.1:") {
					t.Errorf("client %q", got.RemoteAddr)
				}
				if got.Host != r.URL.Host || got.RequestID == "" ||
					!strings.HasPrefix(got.RequestURI, want.EscapedPath) {
					t.Errorf("host %q, request id %q, URI %q", got.Host, got.RequestID,
						got.RequestURI)
				}
				if len(got.Body) == 0 {
					got.Body = nil
				}
				common := func(s seen) seen { // what every platform must agree on
					return seen{Method: s.Method, Path: s.Path, EscapedPath: s.EscapedPath,
						Query: s.Query, Header: s.Header,
						Cookies: s.Cookies, Body: s.Body, ContentLength: s.ContentLength}
				}
				if !reflect.DeepEqual(common(got), common(want)) {
					t.Errorf("the handler saw\n%+v, want\n%+v", common(got), common(want))
				}
			})
		}
	})
}

// TestEveryClientGetsTheSame answers the same on every platform.
func TestEveryClientGetsTheSame(t *testing.T) {
	answers := []struct {
		name   string
		method string
		wanted wanted
		header map[string]string // in the answer; "" is absent
		body   string
	}{
		{"JSON", "POST", wanted{Status: 200,
			Header: map[string][]string{"Content-Type": {"application/json"}},
			Body:   []byte(`{"a":"中 <&>"}`)},
			map[string]string{"Content-Type": "application/json"}, `{"a":"中 <&>"}`},
		{"binary", "GET", wanted{Status: 200,
			Header: map[string][]string{"Content-Type": {"image/png"}},
			Body:   []byte("\x89PNG\x00\xff")},
			map[string]string{"Content-Type": "image/png"}, "\x89PNG\x00\xff"},
		{"a type that nobody set", "GET", wanted{Status: 200, Body: []byte("<!DOCTYPE html>")},
			map[string]string{"Content-Type": "text/html; charset=utf-8"}, "<!DOCTYPE html>"},
		{"repeated Vary", "GET", wanted{Status: 200,
			Header: map[string][]string{"Vary": {"Origin", "Accept"}}},
			map[string]string{"Vary": "Origin, Accept"}, ""},
		{"an error with Retry-After", "POST",
			wanted{Status: 429, Header: map[string][]string{"Retry-After": {"7"}},
				Body: []byte("{}")},
			map[string]string{"Retry-After": "7"}, "{}"},
		{"no content", "OPTIONS", wanted{Status: 204,
			Header: map[string][]string{
				"Access-Control-Allow-Origin": {"https://docs.example.com"}}},
			map[string]string{"Access-Control-Allow-Origin": "https://docs.example.com",
				"Content-Type": ""}, ""},
		{"a redirection", "GET", wanted{Status: 303,
			Header: map[string][]string{"Location": {"https://docs.example.com/"}}},
			map[string]string{"Location": "https://docs.example.com/"}, ""},
		{"HEAD", "HEAD", wanted{Status: 200,
			Header: map[string][]string{"Content-Type": {"text/plain"}}, Body: []byte("hidden")},
			map[string]string{"Content-Type": "text/plain"}, ""},
		{"what belongs to the platform", "GET",
			wanted{Status: 200, Header: map[string][]string{"X-Fc-Status": {"404"},
				"X-Mine": {"1"}}},
			map[string]string{"X-Fc-Status": "", "X-Mine": "1"}, ""},
	}
	everywhere(t, func(t *testing.T, on *target) {
		for _, c := range answers {
			t.Run(c.name, func(t *testing.T) {
				answer, body := on.ask(t, on.request(t, c.method, "/", nil, "Want",
					c.wanted.String()))
				if answer.StatusCode != c.wanted.Status || string(body) != c.body {
					t.Errorf("%d %q", answer.StatusCode, body)
				}
				for name, want := range c.header {
					if got := strings.Join(answer.Header.Values(name), ", "); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
			})
		}
		t.Run("two cookies", func(t *testing.T) {
			cookies := []string{"a=1; Expires=Wed, 21 Oct 2037 07:28:00 GMT", "b=2; Secure"}
			answer, _ := on.ask(t, on.request(t, "GET", "/", nil, "Want",
				wanted{Status: 200, Header: map[string][]string{"Set-Cookie": cookies}}.String()))
			if on.name == "go1" {
				cookies = cookies[:1] // the event has room for one
			}
			if got := answer.Header.Values("Set-Cookie"); !reflect.DeepEqual(got, cookies) {
				t.Errorf("%q, want %q", got, cookies)
			}
		})
	})
}

// TestPanicTakesTheProcessDown: one request panics after half an answer, the others and the process
// go on.
func TestPanicTakesTheProcessDown(t *testing.T) {
	everywhere(t, func(t *testing.T, on *target) {
		before := on.process.command.Process.Pid
		var wait sync.WaitGroup
		for i := range 20 {
			want, status := wanted{Status: 200, Body: []byte("fine")}, 200
			if i%2 == 0 {
				want.Panic, status = true, 500
			}
			r := on.request(t, "GET", "/", nil, "Want", want.String())
			wait.Go(func() {
				answer, body := on.ask(t, r)
				if answer.StatusCode != status {
					t.Errorf("%d, want %d: %s", answer.StatusCode, status, body)
				}
				var public struct{ RequestId, Code string }
				if status == 500 && (json.Unmarshal(body, &public) != nil ||
					public.Code != "InternalError" || public.RequestId == "") {
					t.Errorf("%q", body)
				}
			})
		}
		wait.Wait()
		on.process.waitFor(t, `"msg":"panic"`, 10)
		if output := on.process.output(); strings.Contains(output, "s3cr3t") ||
			!strings.Contains(output, "process_test.go") {
			t.Errorf("log: %s", output)
		}
		if err := on.process.command.Process.Signal(syscall.Signal(0)); err != nil ||
			before != on.process.command.Process.Pid {
			t.Errorf("the process is gone: %v", err)
		}
	})
}

// TestFiftyAtOnce needs all 50 in the handler before the first is answered, where the platform
// gives that many to one process.
func TestFiftyAtOnce(t *testing.T) {
	const n = 50
	for _, name := range append([]string{"lambda, one at a time"}, platforms...) {
		t.Run(name, func(t *testing.T) {
			want, platform, env := wanted{UntilIn: n}, name, "AWS_LAMBDA_MAX_CONCURRENCY=50"
			if name == "lambda, one at a time" {
				want, platform, env = wanted{}, "lambda", "AWS_LAMBDA_MAX_CONCURRENCY=1"
			}
			on := start(t, platform, env)
			ids := make([]string, n)
			var wait sync.WaitGroup
			for i := range n {
				r := on.request(t, "POST", fmt.Sprintf("/%d", i), fmt.Appendf(nil, "body %d", i),
					"Want", want.String())
				wait.Go(func() {
					got := on.look(t, r)
					if got.Path != fmt.Sprintf("/%d", i) ||
						string(got.Body) != fmt.Sprintf("body %d", i) {
						t.Errorf("%d got the answer to %s %q", i, got.Path, got.Body)
					}
					ids[i] = got.RequestID
				})
			}
			wait.Wait()
			unique := map[string]bool{}
			for _, id := range ids {
				unique[id] = true
			}
			if len(unique) != n {
				t.Errorf("%d different request ids", len(unique))
			}
		})
	}
}

// TestDeadline: a handler that waits for the end of its context still answers before the platform
// gives up.
func TestDeadline(t *testing.T) {
	for _, name := range invoked {
		t.Run(name, func(t *testing.T) {
			on := start(t, name)
			if left := on.look(t, on.request(t, "GET", "/", nil)).Left; left <= 20*time.Second ||
				left > 30*time.Second-300*time.Millisecond {
				t.Errorf("%v left of 30s", left)
			}
			on.runtime.Timeout = time.Second // the shortest that a custom runtime can be told
			answer, body := on.ask(t, on.request(t, "GET", "/", nil, "Want",
				wanted{Until: "deadline", Status: 504, Body: []byte("late")}.String()))
			if answer.StatusCode != 504 || string(body) != "late" {
				t.Errorf("%d %q", answer.StatusCode, body)
			}
		})
	}
	if left := start(t, "plain").look(t, start(t, "plain").request(t, "GET", "/",
		nil)).Left; left != 0 {
		t.Errorf("plain HTTP: a deadline in %v", left)
	}
}

// TestTermination: at SIGTERM what is under way is answered, then the process ends without an
// error.
func TestTermination(t *testing.T) {
	everywhere(t, func(t *testing.T, on *target) {
		requests := 3
		if on.name == "lambda" {
			requests = 1 // it gives a process one at a time
		}
		var wait sync.WaitGroup
		for range requests {
			r := on.request(t, "GET", "/", nil, "Want",
				wanted{Until: "stopped", Status: 200, Body: []byte("finished")}.String())
			wait.Go(func() {
				if answer, body := on.ask(t, r); answer.StatusCode != 200 ||
					string(body) != "finished" {
					t.Errorf("%d %q", answer.StatusCode, body)
				}
			})
		}
		on.process.waitFor(t, "waiting for the end", requests)
		if code := on.process.stop(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		wait.Wait()
		if on.name == "plain" {
			if _, err := on.client.Get(on.url); err == nil {
				t.Error("it still serves")
			}
		}
	})
}

// TestRuntimeAPILost: Lambda's process ends by itself when its runtime API does.
func TestRuntimeAPILost(t *testing.T) {
	on := start(t, "lambda")
	on.look(t, on.request(t, "GET", "/", nil))
	on.runtime.Close()
	<-on.process.ended
	if code := on.process.command.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if _, err := on.runtime.Invoke(t.Context(), []byte("{}")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an invocation after the end: %v", err)
	}
}

// TestInvocationCredentials: each invocation's role reaches the handler, an incomplete one does
// not.
func TestInvocationCredentials(t *testing.T) {
	for _, name := range []string{"go1", "custom"} {
		t.Run(name, func(t *testing.T) {
			on := start(t, name)
			look := func() []string {
				return on.look(t,
					on.request(t, "GET", "/", nil)).Credentials
			}
			if got := look(); !reflect.DeepEqual(got,
				[]string{"STS.local", "local-secret", "local-token"}) {
				t.Errorf("%q", got)
			}
			on.runtime.Role.AccessKeyID, on.runtime.Role.SecurityToken = "STS.renewed",
				"renewed-token"
			if got := look(); !reflect.DeepEqual(got,
				[]string{"STS.renewed", "local-secret", "renewed-token"}) {
				t.Errorf("after a renewal: %q", got)
			}
			on.runtime.Role.SecurityToken = "" // a long-lived AccessKey
			if got := look(); got != nil {
				t.Errorf("without a security token: %q", got)
			}
			on.runtime.Role.AccessKeyID, on.runtime.Role.AccessKeySecret = "", "" // no role
			if got := look(); got != nil {
				t.Errorf("without a role: %q", got)
			}
		})
	}
}

// TestCredentialsSpoofed: off Function Compute the headers are a client's. They are neither
// believed nor shown.
func TestCredentialsSpoofed(t *testing.T) {
	spoofed := []string{"X-Fc-Access-Key-Id", "LTAI", "X-Fc-Access-Key-Secret", "s",
		"X-Fc-Security-Token", "t",
		"x_fc_security_token", "t", "X-Fc-Request-Id", "chosen-by-me", "X-Fc-Function-Timeout", "1",
		"X-Kept", "1"}
	everywhere(t, func(t *testing.T, on *target) {
		got := on.look(t, on.request(t, "GET", "/", nil, spoofed...))
		for name := range got.Header {
			if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-fc-") {
				t.Errorf("the handler sees %s", name)
			}
		}
		if got.Header["X-Kept"] == nil || got.RequestID == "chosen-by-me" {
			t.Errorf("request id %q, headers %v", got.RequestID, got.Header)
		}
		switch on.name {
		case "plain", "container", "lambda":
			if got.Credentials != nil {
				t.Errorf("believed %q", got.Credentials)
			}
		default: // harmless twin: the platform's own
			if !reflect.DeepEqual(got.Credentials,
				[]string{"STS.local", "local-secret", "local-token"}) {
				t.Errorf("%q", got.Credentials)
			}
		}
		if (on.name == "plain" || on.name == "container") && got.Left != 0 {
			t.Errorf("a client set a deadline: %v", got.Left)
		}
	})
}

// TestClientAddressSpoofed: a client that invents X-Forwarded-For keeps the address that the
// platform saw.
func TestClientAddressSpoofed(t *testing.T) {
	everywhere(t, func(t *testing.T, on *target) {
		got := on.look(t, on.request(t, "GET", "/", nil, "X-Forwarded-For", "192.0.2.1",
			"X-Forwarded-For", "192.0.2.2, 192.0.2.3", "X-Real-Ip", "192.0.2.4"))
		want := "203.0.113.7:0"
		if on.name == "plain" {
			want = "127.0.0.1:"
		}
		if !strings.HasPrefix(got.RemoteAddr, want) {
			t.Errorf("client %q, want %q", got.RemoteAddr, want)
		}
	})
}

// TestHooksRequestedByClient: /invoke and the hooks are the platform's only where the platform says
// so.
func TestHooksRequestedByClient(t *testing.T) {
	event := []byte(
		`{"rawPath":"/from-the-event","requestContext":{"http":{"method":"PUT","sourceIp":"192.0.2.1"}}}`)
	everywhere(t, func(t *testing.T, on *target) {
		warmed := on.look(t, on.request(t, "GET", "/", nil)).Warmed
		for _, path := range []string{"/invoke", "/initialize", "/pre-stop"} {
			got := on.look(t, on.request(t, "POST", path, event, "X-Fc-Control-Path", path))
			if got.Path != path || got.Method != "POST" || string(got.Body) != string(event) ||
				got.Warmed != warmed {
				t.Errorf("%s: %+v", path, got)
			}
		}
	})
	t.Run("harmless twin", func(t *testing.T) {
		on := start(t, "custom")
		if err := on.runtime.Initialize(t.Context()); err != nil {
			t.Error(err)
		}
		if got := on.look(t, on.request(t, "GET", "/initialize", nil)); got.Warmed != 1 ||
			got.Path != "/initialize" {
			t.Errorf("%+v", got)
		}
	})
}

// TestInvokeFunction: an InvokeFunction event enters by the same door as a page, and is answered in
// the same form everywhere.
func TestInvokeFunction(t *testing.T) {
	event := `{"rawPath":"/from%2Fevent","headers":{"Origin":"https://docs.example.com","x-fc-security-token":"t"},"body":"` + encoded("hi") +
		`","isBase64Encoded":true,"requestContext":{"http":{"method":"PUT","sourceIp":"192.0.2.1"}}}`
	for _, name := range invoked {
		t.Run(name, func(t *testing.T) {
			on := start(t, name)
			invoke := func(event string) (status int, body string) {
				t.Helper()
				payload, err := on.runtime.Invoke(t.Context(), []byte(event))
				if err != nil {
					t.Fatalf("the invocation failed: %v", err)
				}
				var answer struct {
					StatusCode int
					Body       string
				}
				if err := json.Unmarshal(payload, &answer); err != nil {
					t.Fatalf("%v in %q", err, payload)
				}
				return answer.StatusCode, answer.Body
			}
			var got seen
			status, body := invoke(event)
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			if got.Path != "/from/event" || got.Method != "PUT" || string(got.Body) != "hi" ||
				got.RemoteAddr != "192.0.2.1:0" ||
				!reflect.DeepEqual(got.Header,
					map[string][]string{"Origin": {"https://docs.example.com"}}) ||
				got.RequestID == "" {
				t.Errorf("%+v", got)
			}
			for _, bad := range []string{`{}`, `"text"`,
				`{"body":"%","isBase64Encoded":true,"requestContext":{"http":{"method":"PUT"}}}`} {
				if status, body := invoke(bad); status != 400 ||
					!strings.Contains(body, `"Code":"InvalidArgument"`) {
					t.Errorf("%s: %d %s", bad, status, body)
				}
			}
			on.process.waitFor(t, "refused event", 3)
			if name != "lambda" { // whose events are JSON
				if status, body := invoke("not JSON"); status != 400 ||
					!strings.Contains(body, "HTTP trigger") {
					t.Errorf("not JSON: %d %s", status, body)
				}
			}
		})
	}
}

// TestInitializer: the hooks run Warm, a failure of it is a warning and nothing else.
func TestInitializer(t *testing.T) {
	for _, mode := range []string{"warm", "cold"} {
		for _, name := range platforms {
			t.Run(mode+"/"+name, func(t *testing.T) {
				on := start(t, name, serveVariable+"="+mode)
				if on.runtime != nil {
					if err := on.runtime.Initialize(t.Context()); err != nil {
						t.Error(err)
					}
				}
				want := int64(1)
				if name == "plain" || name == "container" {
					want = 0
				}
				if got := on.look(t, on.request(t, "GET", "/", nil)); got.Warmed != want {
					t.Errorf("warmed %d times, want %d", got.Warmed, want)
				}
				if warned := strings.Contains(on.process.output(),
					"warm-up of the test failed"); warned != (mode == "cold" && want == 1) {
					t.Errorf("warned: %v", warned)
				}
				if on.runtime != nil {
					if err := on.runtime.PreStop(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}
