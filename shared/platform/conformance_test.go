package platform_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestEveryHandlerSeesTheSame sends the same requests through every platform.
func TestEveryHandlerSeesTheSame(t *testing.T) {
	type query = map[string][]string
	const docs = "https://docs.example.com"
	requests := []struct {
		name, method, path, body string
		header                   []string
		seenPath                 string // unescaped, where it is not the path
		query, go1               query  // go1 has one value per name, as the package comment says
		cookies                  map[string]string
	}{
		{name: "a preflight", method: "OPTIONS", path: "/generate", header: []string{"Origin", docs,
			"Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,content-type"}},
		{name: "JSON", method: "POST", path: "/", body: `{"SourceURI":"oss://test-bucket/中文 <&>.docx"}`,
			header: []string{"Content-Type", "application/json", "Authorization", "Bearer a.b.c"}},
		{name: "no path", method: "GET", seenPath: "/"},
		{name: "a binary body", method: "PUT", path: "/b", body: "\x00\xff\xfe\"\\\n\x80"},
		{name: "a text body that looks like base64", method: "POST", path: "/b", body: "aGVsbG8="},
		{name: "an escaped path", method: "GET", path: "/a%2Fb/%2e%2e/c%20d/%E4%B8%AD",
			seenPath: "/a/b/../c d/中"},
		{name: "a path that looks like a host", method: "GET", path: "//evil.example.com/x"},
		{name: "a query", method: "GET",
			path: "/?SourceURI=oss%3A%2F%2Ftest-bucket%2Fa%2520b.docx&Empty=&plus=a+b&pct=%252F",
			query: query{"SourceURI": {"oss://test-bucket/a%20b.docx"}, "Empty": {""}, "plus": {"a b"},
				"pct": {"%2F"}}},
		{name: "a repeated parameter", method: "GET", path: "/?a=1&b=x&a=2",
			query: query{"a": {"1", "2"}, "b": {"x"}}, go1: query{"a": {"1,2"}, "b": {"x"}}},
		{name: "cookies", method: "GET", path: "/c", header: []string{"Cookie", "a=1; b=x=y"},
			cookies: map[string]string{"a": "1", "b": "x=y"}},
		{name: "repeated headers", method: "GET", path: "/h", header: []string{"X-List", "1", "X-List",
			"2", "Accept-Language", "de", "Accept-Language", "zh"}},
		{name: "the connection's headers", method: "GET", path: "/h", header: []string{"Te", "trailers",
			"Proxy-Authorization", "Basic x", "X-Kept", "1"}},
	}
	everywhere(t, func(t *testing.T, on *target) {
		for _, c := range requests {
			t.Run(c.name, func(t *testing.T) {
				r := on.request(t, c.method, c.path, []byte(c.body), c.header...)
				got := on.look(t, r)
				path, _, _ := strings.Cut(c.path, "?")
				path = max(path, "/")
				want := seen{Method: c.method, Path: path, EscapedPath: path, Query: c.query,
					Header: query{}, Cookies: c.cookies, ContentLength: int64(len(c.body))}
				if c.seenPath != "" {
					want.Path = c.seenPath
				}
				if on.name == "go1" && c.go1 != nil {
					want.Query = c.go1
				}
				for name, values := range r.Header {
					if name != "Te" && name != "Proxy-Authorization" {
						want.Header[name] = []string{strings.Join(values, ",")}
					}
				}
				peer := "127.0.0.1:"
				if on.runtime != nil {
					peer = on.runtime.ClientIP + ":0"
					want.Header["X-Forwarded-For"] = []string{on.runtime.ClientIP}
				}
				if got.Host != r.URL.Host || got.RequestID == "" || string(got.Body) != c.body ||
					!strings.HasPrefix(got.RequestURI, path) ||
					!strings.HasPrefix(got.RemoteAddr, peer) {
					t.Errorf("host %q, request id %q, URI %q, client %q, body %q", got.Host,
						got.RequestID, got.RequestURI, got.RemoteAddr, got.Body)
				}
				if got := got.common(); !reflect.DeepEqual(got, want) {
					t.Errorf("the handler saw\n%+v, want\n%+v", got, want)
				}
			})
		}
	})
}

// common is what every platform must agree on, once empty maps are none: platforms differ in the
// space after the comma of a joined header, which means nothing.
func (s seen) common() seen {
	common := seen{Method: s.Method, Path: s.Path, EscapedPath: s.EscapedPath,
		Header: map[string][]string{}, ContentLength: s.ContentLength}
	for name, values := range s.Header {
		common.Header[name] = []string{strings.ReplaceAll(strings.Join(values, "\x00"), ", ", ",")}
	}
	if len(s.Query) > 0 {
		common.Query = s.Query
	}
	if len(s.Cookies) > 0 {
		common.Cookies = s.Cookies
	}
	return common
}

// TestEveryClientGetsTheSame answers the same on every platform.
func TestEveryClientGetsTheSame(t *testing.T) {
	type header = map[string][]string
	cookies := []string{"a=1; Expires=Wed, 21 Oct 2037 07:28:00 GMT", "b=2; Secure"}
	everywhere(t, func(t *testing.T, on *target) {
		kept := cookies
		if on.name == "go1" {
			kept = cookies[:1] // the event has room for one
		}
		for _, c := range []struct {
			name, method string
			status       int
			header       header
			body         string
			got          header // nil: as it was sent; no value: absent
		}{
			{"JSON", "POST", 200, header{"Content-Type": {"application/json"}}, `{"a":"中 <&>"}`, nil},
			{"binary", "GET", 200, header{"Content-Type": {"image/png"}}, "\x89PNG\x00\xff", nil},
			{"a type that nobody set", "GET", 200, nil, "<!DOCTYPE html>",
				header{"Content-Type": {"text/html; charset=utf-8"}}},
			{"repeated Vary", "GET", 200, header{"Vary": {"Origin", "Accept"}}, "",
				header{"Vary": {"Origin, Accept"}}},
			{"an error with Retry-After", "POST", 429, header{"Retry-After": {"7"}}, "{}", nil},
			{"no content", "OPTIONS", 204, header{"Vary": {"Origin"}}, "",
				header{"Vary": {"Origin"}, "Content-Type": {}}},
			{"a redirection", "GET", 303, header{"Location": {"https://docs.example.com/"}}, "", nil},
			{"HEAD", "HEAD", 200, header{"Content-Type": {"text/plain"}}, "", nil},
			{"what belongs to the platform", "GET", 200, header{"X-Fc-Status": {"404"}, "X-Mine": {"1"}},
				"", header{"X-Fc-Status": {}, "X-Mine": {"1"}}},
			{"two cookies", "GET", 200, header{"Set-Cookie": cookies}, "", header{"Set-Cookie": kept}},
		} {
			t.Run(c.name, func(t *testing.T) {
				want := wanted{Status: c.status, Header: c.header, Body: []byte(c.body)}
				if c.method == "HEAD" {
					want.Body = []byte("hidden")
				}
				answer, body := on.ask(t, on.request(t, c.method, "/", nil, "Want", want.String()))
				if answer.StatusCode != c.status || string(body) != c.body {
					t.Errorf("%d %q", answer.StatusCode, body)
				}
				if c.got == nil {
					c.got = c.header
				}
				for name, want := range c.got {
					got := answer.Header.Values(name)
					if name == "Vary" {
						got = []string{strings.Join(got, ", ")}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
			})
		}
	})
}

// TestPanicTakesTheProcessDown: one request panics after half an answer, the others and the process
// go on.
func TestPanicTakesTheProcessDown(t *testing.T) {
	everywhere(t, func(t *testing.T, on *target) {
		var wait sync.WaitGroup
		for i := range 20 {
			want, status := wanted{Status: 200, Body: []byte("fine")}, 200
			if i%2 == 0 {
				want.Panic, status = true, 500
			}
			r := on.request(t, "GET", "/", nil, "Want", want.String())
			wait.Go(func() {
				answer, body := on.ask(t, r)
				var public struct{ RequestId, Code string }
				if answer.StatusCode != status || status == 500 &&
					(json.Unmarshal(body, &public) != nil || public.Code != "InternalError") {
					t.Errorf("%d, want %d: %s", answer.StatusCode, status, body)
				}
			})
		}
		wait.Wait()
		on.process.waitFor(t, `"msg":"panic"`, 10)
		if err := on.process.command.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("the process is gone: %v", err)
		}
	})
}

// TestFiftyAtOnce needs all 50 in the handler before the first is answered, where the platform
// gives that many to one process.
func TestFiftyAtOnce(t *testing.T) {
	const n, oneByOne = 50, "lambda, one at a time"
	for _, name := range append([]string{oneByOne}, platforms...) {
		t.Run(name, func(t *testing.T) {
			want, platform, env := wanted{UntilIn: n}, name, "AWS_LAMBDA_MAX_CONCURRENCY=50"
			if name == oneByOne {
				want, platform, env = wanted{}, "lambda", "AWS_LAMBDA_MAX_CONCURRENCY=1"
			}
			on := start(t, platform, env)
			var mu sync.Mutex
			var wait sync.WaitGroup
			unique := map[string]bool{}
			for i := range n {
				path, body := fmt.Sprintf("/%d", i), fmt.Sprintf("body %d", i)
				r := on.request(t, "POST", path, []byte(body), "Want", want.String())
				wait.Go(func() {
					got := on.look(t, r)
					if got.Path != path || string(got.Body) != body {
						t.Errorf("%d got the answer to %s %q", i, got.Path, got.Body)
					}
					mu.Lock()
					defer mu.Unlock()
					unique[got.RequestID] = true
				})
			}
			if wait.Wait(); len(unique) != n {
				t.Errorf("%d different request ids", len(unique))
			}
		})
	}
}

// TestDeadline: a handler that waits for the end of its context still answers before the platform
// gives up.
func TestDeadline(t *testing.T) {
	everywhere(t, func(t *testing.T, on *target) {
		left := on.look(t, on.request(t, "GET", "/", nil)).Left
		if !slices.Contains(invoked, on.name) {
			if left != 0 {
				t.Errorf("a deadline in %v", left)
			}
			return
		}
		if left <= 20*time.Second || left > 30*time.Second-300*time.Millisecond {
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
				answer, body := on.ask(t, r)
				if answer.StatusCode != 200 || string(body) != "finished" {
					t.Errorf("%d %q", answer.StatusCode, body)
				}
			})
		}
		on.process.waitFor(t, "waiting for the end", requests)
		if code := on.process.stop(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		wait.Wait()
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
			for _, c := range []struct{ id, secret, token string }{
				{"STS.local", "local-secret", "local-token"},
				{"STS.renewed", "local-secret", "renewed-token"},
				{"LTAI", "local-secret", ""}, // a long-lived AccessKey
				{"", "", ""},                 // no role
			} {
				on.runtime.Role.AccessKeyID, on.runtime.Role.AccessKeySecret = c.id, c.secret
				on.runtime.Role.SecurityToken = c.token
				var want []string
				if c.token != "" {
					want = []string{c.id, c.secret, c.token}
				}
				got := on.look(t, on.request(t, "GET", "/", nil)).Credentials
				if !slices.Equal(got, want) {
					t.Errorf("%+v: %q", c, got)
				}
			}
		})
	}
}

// TestPlatformHeadersInvented: off Function Compute the headers are a client's. They are neither
// believed nor shown, and neither is an address. The harmless twin is the platform's own.
func TestPlatformHeadersInvented(t *testing.T) {
	invented := []string{"X-Fc-Access-Key-Id", "LTAI", "X-Fc-Access-Key-Secret", "s",
		"X-Fc-Security-Token", "t", "x_fc_security_token", "t", "X-Fc-Request-Id", "chosen-by-me",
		"X-Fc-Function-Timeout", "1", "X-Kept", "1", "X-Forwarded-For", "192.0.2.1",
		"X-Forwarded-For", "192.0.2.2, 192.0.2.3", "X-Real-Ip", "192.0.2.4"}
	everywhere(t, func(t *testing.T, on *target) {
		got := on.look(t, on.request(t, "GET", "/", nil, invented...))
		for name := range got.Header {
			if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-fc-") {
				t.Errorf("the handler sees %s", name)
			}
		}
		var role []string
		if on.name == "go1" || on.name == "custom" {
			role = []string{"STS.local", "local-secret", "local-token"}
		}
		peer := "203.0.113.7:0"
		if on.name == "plain" {
			peer = "127.0.0.1:"
		}
		if got.Header["X-Kept"] == nil || got.RequestID == "chosen-by-me" ||
			!slices.Equal(got.Credentials, role) || !strings.HasPrefix(got.RemoteAddr, peer) ||
			got.Left > 0 != slices.Contains(invoked, on.name) {
			t.Errorf("%+v", got)
		}
	})
}

// TestHooksRequestedByClient: /invoke and the hooks are the platform's only where the platform says
// so.
func TestHooksRequestedByClient(t *testing.T) {
	const event = `{"rawPath":"/from-the-event","requestContext":{"http":{"method":"PUT"}}}`
	everywhere(t, func(t *testing.T, on *target) {
		warmed := on.look(t, on.request(t, "GET", "/", nil)).Warmed
		for _, path := range []string{"/invoke", "/initialize", "/pre-stop"} {
			got := on.look(t, on.request(t, "POST", path, []byte(event), "X-Fc-Control-Path", path))
			if got.Path != path || got.Method != "POST" || string(got.Body) != event ||
				got.Warmed != warmed {
				t.Errorf("%s: %+v", path, got)
			}
		}
	})
}

// TestInvokeFunction: an InvokeFunction event enters by the same door as a page, and is answered in
// the same form everywhere.
func TestInvokeFunction(t *testing.T) {
	event := `{"rawPath":"/from%2Fevent","headers":{"Origin":"https://docs.example.com",` +
		`"x-fc-security-token":"t"},"body":"` + encoded("hi") + `","isBase64Encoded":true,` +
		`"requestContext":{"http":{"method":"PUT","sourceIp":"192.0.2.1"}}}`
	for _, name := range invoked {
		t.Run(name, func(t *testing.T) {
			on := start(t, name)
			invoke := func(event string) (answer struct {
				StatusCode int
				Body       string
			}) {
				t.Helper()
				payload, err := on.runtime.Invoke(t.Context(), []byte(event))
				if err == nil {
					err = json.Unmarshal(payload, &answer)
				}
				if err != nil {
					t.Fatalf("the invocation failed: %v, %q", err, payload)
				}
				return answer
			}
			var got seen
			answer := invoke(event)
			err := json.Unmarshal([]byte(answer.Body), &got)
			if err != nil || answer.StatusCode != 200 {
				t.Fatalf("%+v", answer)
			}
			origin := map[string][]string{"Origin": {"https://docs.example.com"}}
			if got.Path != "/from/event" || got.Method != "PUT" || string(got.Body) != "hi" ||
				got.RemoteAddr != "192.0.2.1:0" || !reflect.DeepEqual(got.Header, origin) ||
				got.RequestID == "" {
				t.Errorf("%+v", got)
			}
			bad := []string{`{}`, `"text"`, "not JSON"}
			if name == "lambda" { // whose events are JSON
				bad = bad[:2]
			}
			for _, event := range bad {
				answer := invoke(event)
				if answer.StatusCode != 400 || !strings.Contains(answer.Body, `"Code":"InvalidArgument"`) {
					t.Errorf("%s: %+v", event, answer)
				}
			}
			on.process.waitFor(t, "refused event", len(bad))
		})
	}
}

// TestInitializer: the hooks run Warm, a failure of it is a warning and nothing else.
func TestInitializer(t *testing.T) {
	for _, mode := range []string{"warm", "cold"} {
		for _, name := range platforms {
			t.Run(mode+"/"+name, func(t *testing.T) {
				on, want := start(t, name, serveVariable+"="+mode), int64(0)
				if slices.Contains(invoked, name) {
					want = 1
				}
				hook := func(call func() error) {
					if err := call(); err != nil {
						t.Error(err)
					}
				}
				if on.runtime != nil {
					hook(func() error { return on.runtime.Initialize(t.Context()) })
					defer hook(func() error { return on.runtime.PreStop(t.Context()) })
				}
				if got := on.look(t, on.request(t, "GET", "/", nil)); got.Warmed != want {
					t.Errorf("warmed %d times, want %d", got.Warmed, want)
				}
				warned := strings.Contains(on.process.output(), "warm-up of the test failed")
				if warned != (mode == "cold" && want == 1) {
					t.Errorf("warned: %v", warned)
				}
			})
		}
	}
}
