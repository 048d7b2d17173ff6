package httpapi_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"weboffice-functions/shared/broker"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// edge is an Endpoint whose parameters are the body, or what a query stands for, as text.
type edge struct {
	httpapi.Endpoint[string]
	log bytes.Buffer
}

// using gives an edge that serves the quick start too; do looks at its visitor and parameters.
func using(t *testing.T, do func(v broker.Visitor, text string) error) *edge {
	t.Helper()
	e := &edge{}
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(&e.log, t.Output()),
		&slog.HandlerOptions{Level: slog.LevelDebug}))
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	verifier, err := caller.NewVerifier(caller.Options{Now: now,
		LinkKeys: []weboffice.Secret{linkKey}})
	if err != nil {
		t.Fatal(err)
	}
	e.Endpoint = httpapi.Endpoint[string]{
		Edge: &httpapi.Edge{Origins: []string{origin}, QuickStart: true, Verifier: verifier,
			Now: now, Logger: logger, Limits: broker.NewLimits(policy.Limits{}, logger)},
		Decode: func(body []byte) (string, error) { return string(body), nil },
		Use: func(_ context.Context, v broker.Visitor, text string) (broker.Answer, error) {
			return broker.Answer{}, do(v, text)
		},
	}
	return e
}

func failing(t *testing.T, err error) *edge {
	return using(t, func(broker.Visitor, string) error { return err })
}

func (e *edge) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func post(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// post serves a request of a page.
func (e *edge) post(header ...string) *httptest.ResponseRecorder {
	r := post(strings.NewReader("{}"))
	r.Header.Set("Origin", origin)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return e.serve(r)
}

// errorOf reads an error body, which has these four members and no other.
func errorOf(t *testing.T, w *httptest.ResponseRecorder) (id, code, message, recommend string) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body) != 4 {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return body["RequestId"], body["Code"], body["Message"], body["Recommend"]
}

// readable says whether the page that asked may read an answer, and when to come again.
func readable(w *httptest.ResponseRecorder) bool {
	return w.Header().Get("Access-Control-Allow-Origin") == origin &&
		w.Header().Get("Access-Control-Expose-Headers") == "Retry-After"
}

func TestUnknownFailureIsANeutral500WithoutItsValue(t *testing.T) {
	for name, do := range map[string]func(broker.Visitor, string) error{
		"a panic": func(broker.Visitor, string) error { panic("hunter2-token") },
		"an error": func(broker.Visitor, string) error {
			return fmt.Errorf("dial https://imm.example/?Password=%s", "hunter2")
		},
	} {
		e := using(t, do)
		w := e.post()
		id, code, _, _ := errorOf(t, w)
		if w.Code != 500 || code != "InternalError" || id == "" || !readable(w) ||
			w.Header().Get("Cache-Control") != "no-store" ||
			strings.Contains(w.Body.String()+e.log.String(), "hunter2") {
			t.Errorf("%s: %d %s %v", name, w.Code, w.Body, w.Header())
		}
		where := strings.Contains(e.log.String(), id) &&
			strings.Contains(e.log.String(), "a value of type string") &&
			strings.Contains(e.log.String(), "httpapi_test")
		if where != (name == "a panic") { // the use case logs its errors
			t.Errorf("%s: the log has %s", name, &e.log)
		}
	}
}

// A page sees Code, Message and Recommend; Fix and Cause are the operator's, as IMM's RequestId is.
func TestEveryKindHasItsStatusAndKeepsItsCause(t *testing.T) {
	for kind, status := range map[weboffice.Kind]int{
		weboffice.Internal: 500, weboffice.Invalid: 400, weboffice.Unauthenticated: 401,
		weboffice.Forbidden: 403, weboffice.NotFound: 404, weboffice.MethodNotAllowed: 405,
		weboffice.SessionEnded: 410, weboffice.TooLarge: 413, weboffice.MediaType: 415,
		weboffice.Throttled: 429, weboffice.BadGateway: 502, weboffice.Unavailable: 503,
		weboffice.Timeout: 504,
	} {
		w := failing(t, &weboffice.Error{Kind: kind, Code: "C", Message: "M", Recommend: "R",
			Fix: "the fix", Cause: errors.New("the cause"), IMMRequestID: "the id"}).post()
		_, code, message, recommend := errorOf(t, w)
		if !readable(w) || w.Code != status || strings.Contains(w.Body.String(), "the ") ||
			code != "C" || message != "M" || recommend != "R" ||
			(w.Header().Get("WWW-Authenticate") == "Bearer") != (status == 401) ||
			(w.Header().Get("Retry-After") != "") != (status == 429) {
			t.Errorf("%v: %d %s %v", kind, w.Code, w.Body, w.Header())
		}
	}
}

func TestRetryAfterIsWholeSecondsRoundedUp(t *testing.T) {
	for _, c := range []struct {
		kind weboffice.Kind
		wait time.Duration
		want string
	}{
		{weboffice.Throttled, 0, "2"}, {weboffice.Throttled, -time.Second, "2"},
		{weboffice.Throttled, time.Nanosecond, "1"}, {weboffice.Throttled, time.Second, "1"},
		{weboffice.Throttled, 1500 * time.Millisecond, "2"},
		{weboffice.Throttled, time.Minute, "60"}, {weboffice.Unavailable, 5 * time.Second, "5"},
	} {
		w := failing(t, &weboffice.Error{Kind: c.kind, RetryAfter: c.wait}).post()
		if got := w.Header().Get("Retry-After"); got != c.want {
			t.Errorf("%v: %q, want %s", c.wait, got, c.want)
		}
	}
}

func TestRequestIDIsThePlatformsOrOurs(t *testing.T) {
	var seen string
	e := failing(t, nil)
	e.Use = func(ctx context.Context, _ broker.Visitor, _ string) (broker.Answer, error) {
		seen = weboffice.RequestID(ctx)
		return broker.Answer{}, weboffice.ErrForbidden.New()
	}
	r := post(nil)
	r = r.WithContext(weboffice.WithRequestID(r.Context(), "1-platform"))
	if id, _, _, _ := errorOf(t, e.serve(r)); id != "1-platform" || seen != id {
		t.Errorf("%q, %q", id, seen)
	}
	own, _, _, _ := errorOf(t, e.post())
	if next, _, _, _ := errorOf(t, e.post()); len(own) != 36 || next == own || seen != next {
		t.Errorf("our own are %q and %q", own, next)
	}
}

func TestAddressIsTheConnectionsAndNoHeaders(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[2001:db8::1]:1": "2001:db8::1",
		"[fe80::1%eth0]:1": "fe80::1%eth0", "192.0.2.7": "invalid IP",
		"": "invalid IP", "@": "invalid IP",
	} {
		var got string
		e := using(t, func(v broker.Visitor, _ string) error {
			got = v.Address.String()
			return nil
		})
		r := post(nil)
		r.RemoteAddr = remote
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded",
			"X_Forwarded_For", "True-Client-Ip", "X-Fc-Client-Ip"} {
			r.Header.Set(name, "198.51.100.1")
		}
		if w := e.serve(r); w.Code != 200 || got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
}

func TestAnswerOnTheWire(t *testing.T) {
	expires := time.Date(2026, 1, 2, 3, 4, 5, 856132358, time.FixedZone("CST", 8*3600))
	access := weboffice.Access{
		WebofficeURL: "https://office.example.com/w/1?a=1&b=<2>", AccessToken: "access-1",
		AccessTokenExpiredTime: expires, RefreshTokenExpiredTime: expires.Add(time.Hour),
		Life: 1799999500 * time.Microsecond,
	}
	sealer, err := session.NewSealer([][]byte{make([]byte, session.KeySize)}, "p", "r")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := sealer.Seal(session.Session{Access: access})
	if err != nil {
		t.Fatal(err)
	}
	e := failing(t, nil)
	e.Use = func(context.Context, broker.Visitor, string) (broker.Answer, error) {
		return broker.Answer{Access: access, RefreshToken: sealed,
			Permission: weboffice.Permission{Readonly: true, Copy: true}}, nil
	}
	r := post(nil)
	w := e.serve(r.WithContext(weboffice.WithRequestID(r.Context(), "R")))
	want := `{"RequestId":"R","WebofficeURL":"https://office.example.com/w/1?a=1&b=<2>",` +
		`"AccessToken":"access-1","RefreshToken":"` + sealed.Reveal() + `",` +
		`"AccessTokenExpiredTime":"2026-01-01T19:04:05.856132358Z",` +
		`"RefreshTokenExpiredTime":"2026-01-01T20:04:05.856132358Z","Timeout":1799999,` +
		`"Permission":{"Readonly":true,"Rename":false,"History":false,"Copy":true,` +
		`"Export":false,"Print":false}}` + "\n"
	if w.Code != 200 || w.Body.String() != want ||
		w.Header().Get("Content-Type") != "application/json" ||
		w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %s%v", w.Code, w.Body, w.Header())
	}
	if e.log.Len() != 0 {
		t.Errorf("the edge logs what the use case has logged: %s", &e.log)
	}
}

// counted is a body, and how much of it was read.
type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

// The largest body passes, one byte more does not, however its length is announced; no more of it
// is read than that. What has a body's form, but no sense, is the decoder's to refuse.
func TestBodyIsBounded(t *testing.T) {
	text, largest := strings.NewReader, strings.Repeat("x", httpapi.MaxBody)
	for name, c := range map[string]struct {
		body      io.Reader
		announced int64
		status    int
	}{
		"half an object":        {text(`{"SourceURI":`), -1, 200},
		"the largest":           {text(largest), httpapi.MaxBody, 200},
		"the largest, silently": {text(largest), -1, 200},
		"one byte more":         {text(largest + "x"), -1, 413},
		"announced":             {rand.Reader, httpapi.MaxBody + 1, 413},
		"without an end":        {rand.Reader, -1, 413},
		"broken off": {io.MultiReader(text(`{"SourceURI":`),
			iotest.ErrReader(io.ErrUnexpectedEOF)), -1, 400},
	} {
		got := 0
		e := using(t, func(_ broker.Visitor, text string) error { got = len(text); return nil })
		body := &counted{Reader: c.body}
		r := post(body)
		r.ContentLength = c.announced
		if w := e.serve(r); w.Code != c.status || body.read > 2*httpapi.MaxBody ||
			(got > 0 && got == body.read) != (c.status == 200) {
			t.Errorf("%s: %d, %d of %d bytes", name, w.Code, got, body.read)
		}
	}
}

// What is refused by its head alone is refused before its body costs anything. It has one line in
// the log, without anything of the query, the headers or the body.
func TestRefusedByItsHead(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		change  func(*http.Request)
		status  int
		outcome string
	}{
		"origin": {header("Origin", "https://hunter2.example"), 403, "Forbidden.Origin"},
		"method": {func(r *http.Request) { r.Method = "PUT" }, 405, "MethodNotAllowed"},
		"proof":  {header("Authorization", "Bearer hunter2"), 401, "Unauthenticated"},
		"length": {func(r *http.Request) { r.ContentLength = httpapi.MaxBody + 1 }, 413,
			"RequestTooLarge"},
		"media": {header("Content-Type", "text/hunter2"), 415, "UnsupportedMediaType"},
		"query": {func(r *http.Request) { r.URL.RawQuery = "hunter2=1" }, 400, "InvalidArgument"},
		"proof before all": {func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer hunter2")
			r.Header.Set("Content-Type", "text/plain")
			r.ContentLength = httpapi.MaxBody + 1
		}, 401, "Unauthenticated"},
	} {
		e := using(t, func(broker.Visitor, string) error { t.Error(name); return nil })
		body := &counted{Reader: strings.NewReader("hunter2")}
		r := post(body)
		r.Header.Set("Origin", origin)
		c.change(r)
		w := e.serve(r)
		id, _, _, _ := errorOf(t, w)
		if w.Code != c.status || readable(w) != (name != "origin") || body.read > 0 {
			t.Errorf("%s: %d, %d bytes read", name, w.Code, body.read)
		}
		if line := e.log.String(); strings.Count(line, "\n") != 1 ||
			!strings.Contains(line, "outcome="+c.outcome+" ") || !strings.Contains(line, id) ||
			strings.Contains(line, "hunter2") {
			t.Errorf("%s: %s", name, line)
		}
	}
}

func TestProofs(t *testing.T) {
	good, notOne := "Bearer "+linkProof(t), "not one Bearer token"
	for _, c := range []struct {
		proofs []string
		status int
		why    string // in the log
	}{
		{[]string{good}, 200, ""}, {nil, 200, ""}, {[]string{good, good}, 401, notOne},
		{[]string{"Bearer " + strings.Repeat("x", 1<<20)}, 401, "longer than 8192 bytes"},
		{[]string{"Bearer " + strings.Repeat("x", 9600)}, 401, "longer than 8192 bytes"},
		{[]string{"Bearer"}, 401, notOne}, {[]string{"Bearer "}, 401, notOne},
		{[]string{"Basic eDp4"}, 401, notOne}, {[]string{""}, 401, notOne},
		{[]string{"BearerX"}, 401, notOne}, {[]string{"Token x"}, 401, notOne},
		{[]string{"bearer  x"}, 401, ""}, {[]string{"Bearer a b"}, 401, ""},
	} {
		e, r := failing(t, nil), post(nil)
		r.Header["Authorization"] = c.proofs
		if w := e.serve(r); w.Code != c.status || !strings.Contains(e.log.String(), c.why) {
			t.Errorf("%.30q: %d, logged %.300s", c.proofs, w.Code, &e.log)
		}
	}
}

// What nobody has shown a proof for is not read while its address was refused over and over.
// Colleagues behind that address who bear a proof are served; so are guests of elsewhere, which is
// a test of broker.Limits. Only who is at fault is slowed down: not a guest whose request IMM
// failed or throttled, or whose document is not there.
func TestRefusedStrangersAreNotRead(t *testing.T) {
	for _, c := range []struct {
		failure error
		slowed  bool
	}{{weboffice.ErrUnauthenticated.New(), true}, {weboffice.ErrSessionEnded.New(), true},
		{weboffice.ErrThrottled.Because(broker.OverLimit("generates")), true},
		{weboffice.ErrIMMBusy.New(), false}, {weboffice.ErrIMMFailed.New(), false},
		{weboffice.ErrIMMDocument.New(), false}, {weboffice.ErrInternal.New(), false}} {
		used := 0
		e := using(t, func(v broker.Visitor, _ string) error {
			if used++; v.Guest() {
				return c.failure
			}
			return nil
		})
		for n := range 1000 {
			w := e.serve(post(nil))
			if used <= n && (w.Code != 429 || w.Header().Get("Retry-After") != "1") {
				t.Fatal(w.Code, w.Header())
			}
		}
		if (used <= 300) != c.slowed || (used < 1000) != c.slowed ||
			strings.Contains(e.log.String(), "refused requests of one address") != c.slowed {
			t.Errorf("%v: %d of 1000 were read", c.failure, used)
		}
		colleague := post(nil)
		colleague.Header.Set("Authorization", "Bearer "+linkProof(t))
		if w := e.serve(colleague); w.Code != 200 {
			t.Errorf("a colleague: %d %s", w.Code, w.Body)
		}
	}
}

var linkKey = weboffice.Secret("0123456789abcdef0123456789ABCDEF")

func linkProof(t *testing.T) string {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	link, err := caller.MintLink(linkKey, caller.LinkClaims{ID: "l", Document: "oss://b-1/a.docx",
		Grant: []string{"view"}, IssuedAt: now, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return link.Reveal()
}

const origin = "https://docs.example.com"

// rows are the lines of a file of test cases, with what stands between their bars.
func rows(t *testing.T, file string) (all [][]string) {
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.Split(line, "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		if !strings.HasPrefix(line, "#") {
			all = append(all, parts)
		}
	}
	return all
}

// words are the words of a cell, of which "" is an empty one.
func words(cell string) (all []string) {
	for word := range strings.FieldsSeq(cell) {
		all = append(all, strings.Trim(word, `"`))
	}
	return all
}

// Pages of exactly the policy's origins may call, and read what they get.
func TestOtherOriginsAreRefused(t *testing.T) {
	for _, row := range rows(t, "origins.txt") {
		name, origins, site, want := row[0], words(row[1]), words(row[2]), row[3]
		allowed := ""
		if want == "200" && len(origins) == 1 {
			allowed = origin
		}
		for _, method := range []string{http.MethodPost, http.MethodOptions} {
			reached := false
			e := using(t, func(broker.Visitor, string) error { reached = true; return nil })
			r := post(nil)
			r.Method = method
			r.Header["Origin"], r.Header["Sec-Fetch-Site"] = origins, site
			w := e.serve(r)
			status := want
			if want == "200" && method == http.MethodOptions {
				status = "204"
			}
			header := w.Header()
			if strconv.Itoa(w.Code) != status ||
				header.Get("Access-Control-Allow-Origin") != allowed ||
				header.Get("Vary") != "Origin" || header.Get("Cache-Control") != "no-store" ||
				reached != (status == "200") ||
				header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: %d %v", method, name, w.Code, header)
			}
			if status == "204" && (w.Body.Len() != 0 ||
				!strings.Contains(e.log.String(), "level=DEBUG") ||
				header.Get("Access-Control-Allow-Methods") != "POST, GET, OPTIONS" ||
				header.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" ||
				header.Get("Access-Control-Max-Age") != "86400") { // for it costs an invocation
				t.Errorf("%s: %v, logged %s", name, header, &e.log)
			}
		}
	}
}

func TestMethodsAndMediaTypes(t *testing.T) {
	for _, row := range rows(t, "methods.txt") {
		request := strings.Fields(row[1])
		e := failing(t, nil)
		e.Edge.QuickStart = slices.Contains(request, "quick-start")
		r := httptest.NewRequest(request[0], request[1], strings.NewReader("{}"))
		r.Header.Set("Content-Type", row[2])
		if slices.Contains(request, "proof") {
			r.Header.Set("Authorization", "Bearer "+linkProof(t))
		}
		w := e.serve(r)
		status, allow, _ := strings.Cut(row[3], " ")
		if strconv.Itoa(w.Code) != status || w.Header().Get("Allow") != allow {
			t.Errorf("%s: %d %s %v", row[0], w.Code, w.Body, w.Header())
		}
	}
}
