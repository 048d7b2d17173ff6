package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// use is what a test's endpoint does with its parameters, which are the body or the query as text.
type use func(context.Context, broker.Visitor, string) (broker.Answer, error)

// endpoint is an Endpoint that serves the quick start too, and what it logs.
func endpoint(t *testing.T, do use) (http.Handler, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	return serving(t, true, io.MultiWriter(log, t.Output()), do), log
}

func serving(t testing.TB, quickStart bool, log io.Writer, do use) http.Handler {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	verifier, err := caller.NewVerifier(caller.Options{Now: now,
		LinkKeys: []weboffice.Secret{linkKey}})
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.Endpoint[string]{
		Edge: &httpapi.Edge{Origins: []string{origin}, QuickStart: quickStart,
			Verifier: verifier, Now: now, Logger: logger,
			Limits: broker.NewLimits(policy.Limits{}, logger)},
		Decode: func(body []byte) (string, error) { return string(body), nil },
		Use:    do,
	}
}

func post(body string) *http.Request { return posting(strings.NewReader(body)) }

func posting(body io.Reader) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", body)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func answers(context.Context, broker.Visitor, string) (broker.Answer, error) {
	return broker.Answer{}, nil
}

func fails(err error) use { return does(func(broker.Visitor, string) error { return err }) }

// does is a use that looks at its visitor and parameters alone.
func does(work func(v broker.Visitor, text string) error) use {
	return func(_ context.Context, v broker.Visitor, text string) (broker.Answer, error) {
		return broker.Answer{}, work(v, text)
	}
}

type errorBody struct{ RequestId, Code, Message, Recommend string }

func errorOf(t *testing.T, w *httptest.ResponseRecorder) errorBody {
	t.Helper()
	var members map[string]string
	var body errorBody
	if err := errors.Join(json.Unmarshal(w.Body.Bytes(), &members),
		json.Unmarshal(w.Body.Bytes(), &body)); err != nil || len(members) != 4 {
		t.Fatalf("%s: %v", w.Body, err)
	}
	return body
}

func TestPanicIsANeutral500WithoutItsValue(t *testing.T) {
	h, log := endpoint(t, does(func(broker.Visitor, string) error { panic("hunter2-token") }))
	w := serve(h, post(`{}`))
	body := errorOf(t, w)
	if w.Code != 500 || body.Code != "InternalError" || body.RequestId == "" ||
		strings.Contains(w.Body.String()+log.String(), "hunter2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), body.RequestId) ||
		!strings.Contains(log.String(), "a value of type string") ||
		!strings.Contains(log.String(), "httpapi_test") {
		t.Error("the log does not say where the panic was")
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("may be cached")
	}
}

func TestUnknownErrorIsANeutral500(t *testing.T) {
	h, _ := endpoint(t, fails(fmt.Errorf("dial https://imm.example/?Password=%s", "hunter2")))
	w := serve(h, post(`{}`))
	if body := errorOf(t, w); w.Code != 500 || body.Code != "InternalError" ||
		strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// readable says whether the page that asked may read an answer, and when to come again.
func readable(w *httptest.ResponseRecorder) bool {
	return w.Header().Get("Access-Control-Allow-Origin") == origin &&
		w.Header().Get("Access-Control-Expose-Headers") == "Retry-After"
}

// A page sees Code, Message and Recommend; Fix and Cause are the operator's.
func TestEveryKindHasItsStatusAndKeepsItsCause(t *testing.T) {
	statuses := map[weboffice.Kind]int{
		weboffice.Internal: 500, weboffice.Invalid: 400, weboffice.Unauthenticated: 401,
		weboffice.Forbidden: 403, weboffice.NotFound: 404, weboffice.MethodNotAllowed: 405,
		weboffice.SessionEnded: 410, weboffice.TooLarge: 413, weboffice.MediaType: 415,
		weboffice.Throttled: 429, weboffice.BadGateway: 502, weboffice.Unavailable: 503,
		weboffice.Timeout: 504,
	}
	for kind, status := range statuses {
		h, _ := endpoint(t, fails(&weboffice.Error{Kind: kind, Code: "C", Message: "M",
			Recommend: "R", Fix: "the fix", Cause: errors.New("the cause")}))
		r := post(`{}`)
		r.Header.Set("Origin", origin)
		w := serve(h, r)
		body := errorOf(t, w)
		if !readable(w) || w.Code != status || strings.Contains(w.Body.String(), "the ") ||
			body.Code != "C" || body.Message != "M" || body.Recommend != "R" {
			t.Errorf("%v: %d %s", kind, w.Code, w.Body)
		}
		if (w.Header().Get("WWW-Authenticate") == "Bearer") != (status == 401) ||
			(w.Header().Get("Retry-After") != "") != (status == 429) {
			t.Errorf("%d: %v", status, w.Header())
		}
	}
}

func TestRetryAfterIsWholeSecondsRoundedUp(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "2", -time.Second: "2",
		time.Nanosecond: "1", time.Second: "1", 1500 * time.Millisecond: "2", time.Minute: "60"} {
		h, _ := endpoint(t, fails(&weboffice.Error{Kind: weboffice.Throttled, RetryAfter: wait}))
		if got := serve(h, post(`{}`)).Header().Get("Retry-After"); got != want {
			t.Errorf("%v: %q, want %s", wait, got, want)
		}
	}
	h, _ := endpoint(t, fails(&weboffice.Error{Kind: weboffice.Unavailable,
		RetryAfter: 5 * time.Second}))
	if got := serve(h, post(`{}`)).Header().Get("Retry-After"); got != "5" {
		t.Errorf("503: %q", got)
	}
}

func TestRequestIDIsThePlatformsOrOurs(t *testing.T) {
	var seen string
	h, _ := endpoint(t, func(ctx context.Context, _ broker.Visitor, _ string) (
		broker.Answer, error) {
		seen = weboffice.RequestID(ctx)
		return broker.Answer{}, weboffice.ErrForbidden.New()
	})
	r := post(`{}`)
	r = r.WithContext(weboffice.WithRequestID(r.Context(), "1-platform"))
	if body := errorOf(t, serve(h, r)); body.RequestId != "1-platform" || seen != "1-platform" {
		t.Errorf("%q, %q", body.RequestId, seen)
	}
	own := errorOf(t, serve(h, post(`{}`))).RequestId
	if len(own) != 36 || own != seen || own == errorOf(t, serve(h, post(`{}`))).RequestId {
		t.Errorf("our own is %q", own)
	}
	h, _ = endpoint(t, fails(&weboffice.Error{Kind: weboffice.Internal,
		IMMRequestID: "IMM-1"})) // which is for the log
	if body := errorOf(t, serve(h, r)); body.RequestId != "1-platform" {
		t.Errorf("%q", body.RequestId)
	}
}

func TestAddressIsTheConnectionsAndNoHeaders(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[2001:db8::1]:1": "2001:db8::1",
		"[fe80::1%eth0]:1": "fe80::1%eth0", "192.0.2.7": "invalid IP",
		"": "invalid IP", "@": "invalid IP",
	} {
		var got string
		h, _ := endpoint(t, does(func(v broker.Visitor, _ string) error {
			got = v.Address.String()
			return nil
		}))
		r := post(`{}`)
		r.RemoteAddr = remote
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded",
			"X_Forwarded_For", "True-Client-Ip", "X-Fc-Client-Ip"} {
			r.Header.Set(name, "198.51.100.1")
		}
		if w := serve(h, r); w.Code != 200 || got != want {
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
	h, log := endpoint(t, func(context.Context, broker.Visitor, string) (broker.Answer, error) {
		return broker.Answer{Access: access, RefreshToken: sealed,
			Permission: weboffice.Permission{Readonly: true, Copy: true}}, nil
	})
	r := post(`{}`)
	w := serve(h, r.WithContext(weboffice.WithRequestID(r.Context(), "R")))
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
	if log.Len() != 0 {
		t.Errorf("the edge logs what the use case has logged: %s", log)
	}
}

func TestBodyThatBreaksOffIsA400(t *testing.T) {
	reached := false
	h, _ := endpoint(t, does(func(broker.Visitor, string) error { reached = true; return nil }))
	r := posting(
		io.MultiReader(strings.NewReader(`{"SourceURI":`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if w := serve(h, r); w.Code != 400 || reached {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// which is the decoder's to refuse
	if w := serve(h, post(`{"SourceURI":`)); w.Code != 200 || !reached {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The largest body passes, one byte more does not, however its length is announced.
func TestBodyIsBounded(t *testing.T) {
	var got int
	h, _ := endpoint(t, does(func(_ broker.Visitor, text string) error {
		got = len(text)
		return nil
	}))
	for size, status := range map[int]int{httpapi.MaxBody: 200, httpapi.MaxBody + 1: 413} {
		for _, announced := range []int{size, -1} {
			r := post(strings.Repeat("x", size))
			r.ContentLength = int64(announced)
			got = 0
			if w := serve(h, r); w.Code != status || (got == size) != (status == 200) {
				t.Errorf("%d bytes, announced %d: %d", size, announced, w.Code)
			}
		}
	}
}

// endless is a body of spaces, and how much of it was taken.
type endless struct{ taken int }

func (e *endless) Read(p []byte) (int, error) {
	e.taken += len(p)
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

// A body without an end is read up to the bound, and not to its end.
func TestAttackBodyWithoutAnEnd(t *testing.T) {
	h, _ := endpoint(t, answers)
	body := &endless{}
	r := posting(body)
	r.ContentLength = -1
	if w := serve(h, r); w.Code != 413 || body.taken > 2*httpapi.MaxBody {
		t.Errorf("%d after %d bytes", w.Code, body.taken)
	}
}

// unread is a body that fails the test when somebody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// What is refused by its head alone is refused before its body costs anything.
func TestBodyOfARefusedRequestIsNotRead(t *testing.T) {
	h, _ := endpoint(t, answers)
	for name, c := range map[string]struct {
		change func(*http.Request)
		status int
	}{
		"origin":       {func(r *http.Request) { r.Header.Set("Origin", "https://a.b") }, 403},
		"method":       {func(r *http.Request) { r.Method = http.MethodPut }, 405},
		"proof":        {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401},
		"length":       {func(r *http.Request) { r.ContentLength = httpapi.MaxBody + 1 }, 413},
		"content type": {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415},
		"query":        {func(r *http.Request) { r.URL.RawQuery = "a=b" }, 400},
		"proof before all": {func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer x")
			r.Header.Set("Content-Type", "text/plain")
			r.ContentLength = httpapi.MaxBody + 1
		}, 401},
	} {
		r := posting(unread{t})
		r.Header.Set("Origin", origin)
		c.change(r)
		if w := serve(h, r); w.Code != c.status || readable(w) != (name != "origin") {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// One line for each request that the use case did not see, without anything of the query, the
// headers or the body.
func TestEdgeLogsWhatItRefuses(t *testing.T) {
	for outcome, c := range map[string]struct{ method, target, header, value string }{
		"Unauthenticated":  {"POST", "/", "Authorization", "Bearer hunter2"},
		"MethodNotAllowed": {"PUT", "/?secret=hunter2", "X-Any", "hunter2"},
		"Forbidden.Origin": {"POST", "/", "Origin", "https://hunter2.example"},
		"InvalidArgument":  {"POST", "/?hunter2=1", "X-Any", "hunter2"},
	} {
		h, log := endpoint(t, answers)
		r := httptest.NewRequest(c.method, c.target, nil)
		r.Header.Set(c.header, c.value)
		w := serve(h, r)
		line := log.String()
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, "outcome="+outcome) ||
			!strings.Contains(line, errorOf(t, w).RequestId) || strings.Contains(line, "hunter2") {
			t.Errorf("%s: %s", outcome, line)
		}
	}
}

func TestProofOfAnyLengthIsBounded(t *testing.T) {
	h, log := endpoint(t, answers)
	for why, proofs := range map[string][]string{
		"longer than 8192 bytes": {"Bearer " + strings.Repeat("x", 1<<20),
			"Bearer " + strings.Repeat("x", 9600)},
		"not one Bearer token": {"Bearer", "Bearer ", "Basic eDp4", "", "BearerX", "Token x"},
		"":                     {"bearer  x", "Bearer a b"},
	} {
		for _, proof := range proofs {
			r := post(`{}`)
			r.Header["Authorization"] = []string{proof}
			log.Reset()
			if w := serve(h, r); w.Code != 401 || !strings.Contains(log.String(), why) {
				t.Errorf("%.20q: %d, logged %.300s", proof, w.Code, log)
			}
		}
	}
	r := post(`{}`) // each of the two is good
	r.Header["Authorization"] = []string{"Bearer " + linkProof(t), "Bearer " + linkProof(t)}
	if w := serve(h, r); w.Code != 401 {
		t.Errorf("two proofs: %d", w.Code)
	}
	if w := serve(h, post(`{}`)); w.Code != 200 {
		t.Errorf("no proof: %d", w.Code)
	}
}

// What nobody has shown a proof for is not read while its address was refused over and over.
// Colleagues behind that address who bear a proof are served, and so are guests of elsewhere.
func TestRefusedStrangersAreNotRead(t *testing.T) {
	read := 0
	h, log := endpoint(t, does(func(v broker.Visitor, _ string) error {
		if read++; v.Guest() && v.Address.String() == "192.0.2.1" {
			return weboffice.ErrUnauthenticated.New()
		}
		return nil
	}))
	request := func(address, proof string) *httptest.ResponseRecorder {
		r := post(`{}`)
		r.RemoteAddr = address
		if proof != "" {
			r.Header.Set("Authorization", "Bearer "+proof)
		}
		return serve(h, r)
	}
	refused := 0
	for range 1000 {
		switch w := request("192.0.2.1:1", ""); w.Code {
		case 401:
			refused++
		case 429:
			if w.Header().Get("Retry-After") != "1" {
				t.Fatal(w.Header())
			}
		default:
			t.Fatal(w.Code, w.Body)
		}
	}
	if refused != read || read > 300 {
		t.Errorf("%d of 1000 were read, %d refused", read, refused)
	}
	if !strings.Contains(log.String(), "refused requests of one address") {
		t.Error("the log does not say why")
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"a colleague": request("192.0.2.1:2", linkProof(t)),
		"elsewhere":   request("192.0.2.2:1", ""),
	} {
		if w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

var linkKey = weboffice.Secret("0123456789abcdef0123456789ABCDEF")

func linkProof(t testing.TB) string {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	link, err := caller.MintLink(linkKey, caller.LinkClaims{ID: "l", Document: "oss://b-1/a.docx",
		Grant: []string{"view"}, IssuedAt: now, Expires: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return link.Reveal()
}

// Only who is at fault is slowed down: not a guest whose request IMM failed or throttled, or whose
// document is not there.
func TestFailuresBehindTheFunctionsSlowNobodyDown(t *testing.T) {
	for _, failure := range []weboffice.Failure{weboffice.ErrIMMBusy, weboffice.ErrIMMFailed,
		weboffice.ErrIMMDocument, weboffice.ErrInternal, weboffice.ErrSessionEnded} {
		slowed := false
		h, _ := endpoint(t, fails(failure.New()))
		for range 1000 {
			slowed = slowed || strings.Contains(serve(h, post(`{}`)).Body.String(), "Too many")
		}
		if slowed != (failure == weboffice.ErrSessionEnded) {
			t.Errorf("%s: slowed %v", failure.Code, slowed)
		}
	}
}
