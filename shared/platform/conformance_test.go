package platform_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weboffice-functions/shared/standin/cloud"
)

// TestEveryPlatform runs the program on each platform and holds it to what the package promises of
// all of them.
func TestEveryPlatform(t *testing.T) {
	for _, name := range platforms {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each in a process of its own
			on := start(t, name)
			for _, promise := range []struct {
				name string
				hold func(*testing.T, *target)
			}{
				{"initializer", initializer},
				{"every handler sees the same", handlerSeesTheSame},
				{"every client gets the same", clientGetsTheSame},
				{"platform headers invented", platformHeadersInvented},
				{"hooks requested by a client", hooksRequestedByClient},
				{"an invocation's credentials", invocationCredentials},
				{"InvokeFunction", invokeFunction},
				{"a panic takes the process down", panicTakesTheProcessDown},
				{"fifty at once", fiftyAtOnce},
				{"deadline", deadline},
				{"termination", termination},
			} {
				t.Run(promise.name, func(t *testing.T) { promise.hold(t, on) })
			}
		})
	}
}

// handlerSeesTheSame sends requests, and has the handler see what the client has made.
func handlerSeesTheSame(t *testing.T, on *target) {
	for name, c := range map[string]struct {
		line, body string
		header     []string
	}{
		"a preflight": {line: "OPTIONS /generate", header: []string{
			"Origin", "https://docs.example.com", "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,content-type"}},
		"JSON": {"POST /", `{"SourceURI":"oss://test-bucket/中文 <&>.docx"}`, []string{
			"Content-Type", "application/json", "Authorization", "Bearer a.b.c"}},
		"no path":                       {line: "GET "},
		"a binary body":                 {line: "PUT /b", body: "\x00\xff\xfe\"\\\n\x80"},
		"a text that looks like base64": {line: "POST /b", body: "aGVsbG8="},
		"an escaped path":               {line: "GET /a%2Fb/%2e%2e/c%20d/%E4%B8%AD"},
		"a path that looks like a host": {line: "GET //evil.example.com/x"},
		"a query":                       {line: "GET /?URI=oss%3A%2F%2Fb%2Fa%2520b&Empty=&p=a+b&q=%252F"},
		"a repeated parameter":          {line: "GET /?a=1&b=x&a=2"},
		"cookies":                       {line: "GET /c", header: []string{"Cookie", "a=1; b=x=y"}},
		"repeated headers": {line: "GET /h", header: []string{"X-List", "1", "X-List", "2",
			"Accept-Language", "de", "Accept-Language", "zh"}},
		"the connection's headers": {line: "GET /h", header: []string{"Te", "trailers",
			"Proxy-Authorization", "Basic x", "X-Kept", "1"}},
	} {
		method, path, _ := strings.Cut(c.line, " ")
		r := on.request(t, method, path, []byte(c.body), c.header...)
		got, want := on.look(t, r), see(r.Clone(t.Context()))
		want.Body, want.Path = []byte(c.body), max(want.Path, "/")
		want.EscapedPath = max(want.EscapedPath, "/")
		peer := "127.0.0.1:"
		if on.runtime != nil {
			peer = on.runtime.ClientIP + ":0"
			want.Header["X-Forwarded-For"] = []string{on.runtime.ClientIP}
		}
		for name, values := range want.Query {
			if on.name == "go1" { // has one value per name, as the package comment says
				want.Query[name] = []string{strings.Join(values, ",")}
			}
		}
		delete(want.Header, "Te")
		delete(want.Header, "Proxy-Authorization")
		for name, values := range want.Header {
			want.Header[name] = []string{strings.Join(values, ",")}
		}
		for _, values := range got.Header { // a space after a comma means nothing
			values[0] = strings.ReplaceAll(values[0], ", ", ",")
		}
		if got.String() != want.String() || got.RequestID == "" ||
			!strings.HasPrefix(got.RemoteAddr, peer) {
			t.Errorf("%s: the handler saw\n%v, want\n%v\nrequest id %q, client %q", name, got, want,
				got.RequestID, got.RemoteAddr)
		}
	}
}

func (s seen) String() string {
	return fmt.Sprintf("%s %s (%s) %q of %q, %q, %d bytes: %q", s.Method, s.Path, s.EscapedPath,
		s.Query, s.Host, s.Header, s.ContentLength, s.Body)
}

func clientGetsTheSame(t *testing.T, on *target) {
	type header = map[string][]string
	cookies := []string{"a=1; Expires=Wed, 21 Oct 2037 07:28:00 GMT", "b=2; Secure"}
	kept := cookies
	if on.name == "go1" {
		kept = cookies[:1] // the event has room for one
	}
	for name, c := range map[string]struct {
		method string
		status int
		header header
		body   string
		got    header // nil: as it was sent; no value: absent
	}{
		"JSON":   {"POST", 200, header{"Content-Type": {"application/json"}}, `{"a":"中 <&>"}`, nil},
		"binary": {"GET", 200, header{"Content-Type": {"image/png"}}, "\x89PNG\x00\xff", nil},
		"a type that nobody set": {"GET", 200, nil, "<!DOCTYPE html>",
			header{"Content-Type": {"text/html; charset=utf-8"}}},
		"repeated Vary": {"GET", 200, header{"Vary": {"Origin", "Accept"}}, "",
			header{"Vary": {"Origin, Accept"}}},
		"an error with Retry-After": {"POST", 429, header{"Retry-After": {"7"}}, "{}", nil},
		"no content": {"OPTIONS", 204, header{"Vary": {"Origin"}}, "",
			header{"Vary": {"Origin"}, "Content-Type": {}}},
		"a redirection": {"GET", 303, header{"Location": {"https://docs.example.com/"}}, "", nil},
		"HEAD":          {"HEAD", 200, header{"Content-Type": {"text/plain"}}, "", nil},
		"what belongs to the platform": {"GET", 200, header{"X-Fc-Status": {"404"},
			"X-Mine": {"1"}}, "", header{"X-Fc-Status": {}, "X-Mine": {"1"}}},
		"two cookies": {"GET", 200, header{"Set-Cookie": cookies}, "",
			header{"Set-Cookie": kept}},
	} {
		want := wanted{Status: c.status, Header: c.header, Body: []byte(c.body)}
		if c.method == "HEAD" {
			want.Body = []byte("hidden")
		}
		answer, body := on.ask(t, on.request(t, c.method, "/", nil, "Want", want.String()))
		if answer.StatusCode != c.status || string(body) != c.body {
			t.Errorf("%s: %d %q", name, answer.StatusCode, body)
		}
		if c.got == nil {
			c.got = c.header
		}
		for field, want := range c.got {
			got := answer.Header.Values(field)
			if field == "Vary" {
				got = []string{strings.Join(got, ", ")}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s: %q, want %q", name, field, got, want)
			}
		}
	}
}

// panicTakesTheProcessDown has requests that panic after half an answer: the others and the process
// go on.
func panicTakesTheProcessDown(t *testing.T, on *target) {
	var wait sync.WaitGroup
	for i := range 20 {
		want, status := wanted{Status: 200, Body: []byte("fine")}, 200
		if i%2 == 0 {
			want.Panic, status = true, 500
		}
		r := on.request(t, "GET", "/", nil, "Want", want.String())
		wait.Go(func() {
			answer, body := on.ask(t, r)
			if answer.StatusCode != status || status == 500 &&
				!strings.Contains(string(body), `"Code":"InternalError"`) {
				t.Errorf("%d, want %d: %s", answer.StatusCode, status, body)
			}
		})
	}
	wait.Wait()
	on.process.waitFor(t, `"msg":"panic"`, 10)
	if err := on.process.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process is gone: %v", err)
	}
}

// deadline: a handler that waits for the end of its context still answers before the platform gives
// up.
func deadline(t *testing.T, on *target) {
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
	on.runtime.Timeout = 30 * time.Second
}

// termination: at SIGTERM what is under way is answered, then the process ends without an error.
func termination(t *testing.T, on *target) {
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
	if err := on.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-on.process.ended; on.process.ProcessState.ExitCode() != 0 {
		t.Errorf("it ended with %v", on.process.ProcessState)
	}
	wait.Wait()
}

// platformHeadersInvented: off Function Compute the headers are a client's. They are neither
// believed nor shown, and neither is an address. The harmless twin is the platform's own.
func platformHeadersInvented(t *testing.T, on *target) {
	got := on.look(t, on.request(t, "GET", "/", nil, "X-Fc-Access-Key-Id", "LTAI",
		"X-Fc-Access-Key-Secret", "s", "X-Fc-Security-Token", "t", "x_fc_security_token", "t",
		"X-Fc-Request-Id", "chosen-by-me", "X-Fc-Function-Timeout", "1", "X-Kept", "1",
		"X-Forwarded-For", "192.0.2.1", "X-Forwarded-For", "192.0.2.2, 192.0.2.3",
		"X-Real-Ip", "192.0.2.4"))
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
}

// hooksRequestedByClient: /invoke and the hooks are the platform's only where the platform says so.
func hooksRequestedByClient(t *testing.T, on *target) {
	const event = `{"rawPath":"/from-the-event","requestContext":{"http":{"method":"PUT"}}}`
	warmed := on.look(t, on.request(t, "GET", "/", nil)).Warmed
	for _, path := range []string{"/invoke", "/initialize", "/pre-stop"} {
		got := on.look(t, on.request(t, "POST", path, []byte(event), "X-Fc-Control-Path", path))
		if got.Path != path || got.Method != "POST" || string(got.Body) != event ||
			got.Warmed != warmed {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// fiftyAtOnce needs all 50 in the handler before the first is answered, where the platform gives
// that many to one process.
func fiftyAtOnce(t *testing.T, on *target) {
	const n = 50
	want := wanted{UntilIn: n}
	if on.name == "lambda" {
		want = wanted{}
	}
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
}

// TestRuntimeAPILost: Lambda's process ends by itself when its runtime API does.
func TestRuntimeAPILost(t *testing.T) {
	on := start(t, "lambda")
	on.look(t, on.request(t, "GET", "/", nil))
	on.runtime.Close()
	if <-on.process.ended; on.process.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", on.process.ProcessState)
	}
	if _, err := on.runtime.Invoke(t.Context(), []byte("{}")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("an invocation after the end: %v", err)
	}
}

// invocationCredentials: each invocation's role reaches the handler, an incomplete one does not.
func invocationCredentials(t *testing.T, on *target) {
	if on.name != "go1" && on.name != "custom" {
		return
	}
	first := on.runtime.Role
	defer func() { on.runtime.Role = first }()
	for _, role := range []cloud.Role{
		{AccessKeyID: "STS.renewed", AccessKeySecret: "secret", SecurityToken: "renewed-token"},
		{AccessKeyID: "LTAI", AccessKeySecret: "secret"}, // a long-lived AccessKey
		{}, // no role
	} {
		on.runtime.Role = role
		var want []string
		if role.SecurityToken != "" {
			want = []string{role.AccessKeyID, role.AccessKeySecret, role.SecurityToken}
		}
		got := on.look(t, on.request(t, "GET", "/", nil)).Credentials
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %q", role, got)
		}
	}
}

// invokeFunction: an InvokeFunction event enters by the same door as a page, and is answered in the
// same form everywhere.
func invokeFunction(t *testing.T, on *target) {
	if !slices.Contains(invoked, on.name) {
		return
	}
	events := []string{`{"rawPath":"/from%2Fevent","headers":{"Origin":"https://docs.example.com",` +
		`"x-fc-security-token":"t"},"body":"aGk=","isBase64Encoded":true,` +
		`"requestContext":{"http":{"method":"PUT","sourceIp":"192.0.2.1"}}}`,
		`{}`, `"text"`, "not JSON"}
	if strings.HasPrefix(on.name, "lambda") { // whose events are JSON
		events = events[:3]
	}
	for i, event := range events {
		payload, err := on.runtime.Invoke(t.Context(), []byte(event))
		var answer struct {
			StatusCode int
			Body       string
		}
		if err := errors.Join(err, json.Unmarshal(payload, &answer)); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if answer.StatusCode != 400 ||
				!strings.Contains(answer.Body, `"Code":"InvalidArgument"`) {
				t.Errorf("%s: %+v", event, answer)
			}
			continue
		}
		var got seen
		_ = json.Unmarshal([]byte(answer.Body), &got)
		want := `PUT /from/event (/from%2Fevent) map[] of "", map["Origin":["https://docs` +
			`.example.com"]], 2 bytes: "hi"`
		if got.String() != want || got.RemoteAddr != "192.0.2.1:0" || got.RequestID == "" ||
			answer.StatusCode != 200 {
			t.Errorf("%d, %v from %s, want %s", answer.StatusCode, got, got.RemoteAddr, want)
		}
	}
	on.process.waitFor(t, "refused event", len(events)-1)
}

// initializer: the hooks run Warm; that it fails is a warning and nothing else, as all that follows
// shows.
func initializer(t *testing.T, on *target) {
	want := 0
	if slices.Contains(invoked, on.name) {
		want = 1
	}
	for _, hook := range []string{"/initialize", "/pre-stop"} {
		if on.runtime == nil {
			break
		}
		if err := on.runtime.Hook(t.Context(), hook); err != nil {
			t.Errorf("%s: %v", hook, err)
		}
	}
	got := on.look(t, on.request(t, "GET", "/", nil))
	on.process.waitFor(t, "warm-up of the test failed", want)
	warned := strings.Count(on.process.output(), "warm-up of the test failed")
	if got.Warmed != int64(want) || warned != want {
		t.Errorf("warmed %d times and warned %d times, want %d", got.Warmed, warned, want)
	}
}
