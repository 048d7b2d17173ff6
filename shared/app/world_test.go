// Package app_test proves both functions together, over HTTP on loopback: what a page sends, what
// it gets, and what reaches IMM's stand-in on the way. What a reviewer wants to read is in
// testdata/script, as scripts of requests and expected answers; here are the parts that need Go.
package app_test

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// origin is the page's.
const origin = "https://docs.example.com"

//go:embed testdata/script/team.yaml
var teamPolicy string

//go:embed testdata/script/people.json
var peopleJSON []byte

// people are the claims of each persona besides sub, which is the name.
var people = func() (all map[string]map[string]any) {
	if err := json.Unmarshal(peopleJSON, &all); err != nil {
		panic(err)
	}
	return all
}()

// The documents of teamPolicy. The last is open to anyone.
const (
	plan     = "oss://team-docs/teams/red/plan.docx"
	budget   = "oss://team-docs/teams/red/budget.xlsx"
	locked   = "oss://team-docs/teams/red/locked.docx"
	bluePlan = "oss://team-docs/teams/blue/plan.docx"
	pay      = "oss://team-docs/teams/pay/2026.xlsx"
	handbook = "oss://team-docs/handbook/welcome.docx"
)

// documentPassword opens locked.
const documentPassword = "document-password-5Tz1"

// world is a local site whose functions are asked as Function Compute asks them, on a clock that
// stands still. What lies between the functions and IMM can break.
type world struct {
	*local.Local
	t        testing.TB
	clock    *local.Clock
	immClock *local.Clock // of tokens and Date headers
	network  *network
	signed   atomic.Int64 // nanoseconds by which IMM finds that signatures lie behind
	burst    atomic.Bool  // the next decision ends in a panic

	spends int // refresh tokens that may be sent twice

	mu      sync.Mutex
	replies []reply   // all that the functions answered
	logged  []*logs   // of every process
	asked   *instance // last
	passed  bool      // its log helps nobody
	hunt    hunt
}

// start runs a world with one instance.
func start(t testing.TB) *instance {
	t.Helper()
	begin := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	w := &world{t: t, clock: local.NewClock(begin), immClock: local.NewClock(begin)}
	w.run(local.Options{Now: w.clock.Now, IMM: office.Options{Now: w.immClock.Now,
		SignatureNow: func() time.Time {
			return w.clock.Now().Add(time.Duration(w.signed.Load()))
		}}})
	first, err := w.another(teamPolicy, nil)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

// run starts what is outside of the functions, and lays the documents of teamPolicy into the
// bucket. When the test ends, everything that was logged is searched for secrets, and no refresh
// token may have been sent twice.
func (w *world) run(o local.Options) {
	w.t.Helper()
	o.Policy = []byte(teamPolicy)
	o.IMM.Credentials = office.Credentials{AccessKeyID: "STS.role", Secret: "role-key-secret-7Yw2",
		SecurityToken: "role-security-token-9Qp4"}
	o.Generate, o.Refresh = generate.New, refresh.New
	o.Environment = map[string]string{"WEBOFFICE_USER_SALT": "user-salt-3Kd8",
		"FC_FUNCTION_NAME": "weboffice"}
	var err error
	if w.Local, err = local.Start(o); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.Close() })
	w.network = newNetwork(w.t, w.IMM)
	w.t.Cleanup(func() {
		w.wantNoSecret()
		if spends := w.IMM.DoubleSpends(); len(spends) != w.spends {
			w.t.Errorf("%d refresh tokens were sent twice", len(spends))
		}
	})
	for _, uri := range []string{plan, budget, bluePlan, pay, handbook} {
		w.document(uri, "")
	}
	w.document(locked, documentPassword)
	for _, name := range []string{"WEBOFFICE_SESSION_KEYS", "WEBOFFICE_LINK_KEYS",
		"WEBOFFICE_USER_SALT", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"} {
		w.hunt.add(name, w.Environment[name])
	}
}

func (w *world) document(uri, password string) {
	w.t.Helper()
	if err := w.IMM.AddDocument(uri, office.Document{Text: "text", Password: password}); err != nil {
		w.t.Fatal(err)
	}
}

// advance lets time pass for everybody, however wrong their clocks are.
func (w *world) advance(d time.Duration) {
	w.clock.Advance(d)
	w.immClock.Advance(d)
}

// instance is both functions as one process, and where a page asks them.
type instance struct {
	*world
	*local.Functions
	logs                    *logs
	logger                  *slog.Logger
	client                  *http.Client
	generateURL, refreshURL string
	address                 string
}

// another starts a further instance with a policy and changes of the environment.
func (w *world) another(policy string, changes map[string]string) (*instance, error) {
	s := &instance{world: w, logs: &logs{}}
	s.logger = slog.New(bursting{slog.NewJSONHandler(s.logs,
		&slog.HandlerOptions{Level: slog.LevelDebug}), &w.burst})
	w.mu.Lock()
	w.logged = append(w.logged, s.logs)
	w.mu.Unlock()
	all := map[string]string{"WEBOFFICE_IMM_ENDPOINT": w.network.url}
	maps.Copy(all, changes)
	var err error
	if s.Functions, err = w.Build([]byte(policy), all, s.logger); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.serve(listener)
	return s, nil
}

// serve runs the instance as its environment says: as Function Compute's custom runtime, if nothing
// else is said.
func (s *instance) serve(listener net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- platform.Serve(ctx, s.Handler(), platform.Options{
			Getenv: func(name string) string { return s.Functions.Environment[name] },
			Logger: s.logger, Listener: listener})
	}()
	s.address = listener.Addr().String()
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	s.generateURL, s.refreshURL = "http://"+s.address+"/generate", "http://"+s.address+"/refresh"
	s.t.Cleanup(func() {
		s.client.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			s.t.Error(err)
		}
	})
}

// bursting panics, when told to, where a decision has been logged.
type bursting struct {
	slog.Handler
	burst *atomic.Bool
}

func (b bursting) Handle(ctx context.Context, r slog.Record) error {
	err := b.Handler.Handle(ctx, r)
	if r.Message == "decision" && b.burst.CompareAndSwap(true, false) {
		panic("panic-value-8Xb3 " + documentPassword)
	}
	return err
}

// logs keeps what an instance logs, as JSON lines at the level DEBUG.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines returns the attributes of all lines with one of these messages.
func (l *logs) lines(messages ...string) (found []map[string]any) {
	for line := range strings.Lines(l.String()) {
		var attributes map[string]any
		if err := json.Unmarshal([]byte(line), &attributes); err != nil {
			panic("a log line is no JSON: " + line)
		}
		if message, _ := attributes["msg"].(string); slices.Contains(messages, message) {
			found = append(found, attributes)
		}
	}
	return found
}

// reply is what a function answered.
type reply struct {
	status int
	header http.Header
	body   string
	user   string // that IMM was last asked for, in scripts
	// The fields of an answer, or of an error.
	RequestId, WebofficeURL, AccessToken, RefreshToken string
	AccessTokenExpiredTime, RefreshTokenExpiredTime    time.Time
	Timeout                                            int64
	Permission                                         weboffice.Permission
	Code, Message, Recommend                           string
}

// String is the answer in a few words.
func (r reply) String() string {
	text := strings.TrimSpace(fmt.Sprint(r.status, " ", r.Code))
	if wait := r.header.Get("Retry-After"); wait != "" {
		text += ", retry after " + wait
	}
	return text
}

// want fails the test when the answer is another than this, and returns it.
func (r reply) want(t testing.TB, status int, code string) reply {
	t.Helper()
	if r.status != status || r.Code != code {
		t.Fatalf("got %v %s, want %d %s", r, r.Message, status, code)
	}
	return r
}

// checkForm holds every answer of this package's tests to what all answers share.
func (r reply) checkForm(t testing.TB) {
	t.Helper()
	if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Vary") != "Origin" {
		t.Errorf("%v may be cached: %v", r, r.header)
	}
	if allowed := r.header.Values("Access-Control-Allow-Origin"); len(allowed) > 1 ||
		slices.Contains(allowed, "*") || r.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v lets other pages read it: %v", r, r.header)
	}
	if r.body == "" { // of HEAD or a preflight
		return
	}
	want := []string{"Code", "Message", "Recommend", "RequestId"}
	if r.status < 400 {
		want = []string{"AccessToken", "AccessTokenExpiredTime", "Permission", "RefreshToken",
			"RefreshTokenExpiredTime", "RequestId", "Timeout", "WebofficeURL"}
	}
	members := decode[map[string]any](t, r.body)
	if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got, want) {
		t.Errorf("the body of %v has %v", r, got)
	}
	for name, member := range members {
		if (member == nil || member == "") && name != "Recommend" {
			t.Errorf("%s of %v is empty", name, r)
		}
	}
	if r.header.Get("Content-Type") != "application/json" ||
		(r.header.Get("Retry-After") != "") != (r.status == 429) && r.status < 500 ||
		(r.header.Get("Allow") != "") != (r.status == 405) {
		t.Errorf("%v: %v", r, r.header)
	}
}

func decode[T any](t testing.TB, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return value
}

// option changes a request before it is sent.
type option func(*http.Request)

func header(name, value string) option {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = []string{value} }
}

func without(name string) option { return func(r *http.Request) { r.Header.Del(name) } }

// request sends a request as a page of origin does, with JSON and a proof, "" for none.
func (s *instance) request(method, url string, proof weboffice.Secret, body io.Reader,
	options ...option) reply {
	s.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Origin", origin)
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	if proof != "" {
		request.Header.Set("Authorization", "Bearer "+proof.Reveal())
		s.hunt.add("a proof", proof.Reveal())
	}
	for _, change := range options {
		change(request)
	}
	s.mu.Lock()
	s.asked = s
	s.mu.Unlock()
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(response)
}

// read takes an answer in.
func (s *instance) read(response *http.Response) reply {
	s.t.Helper()
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	r := reply{status: response.StatusCode, header: response.Header, body: string(body)}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &r); err != nil {
			s.t.Fatalf("%d with a body that is no JSON: %s", r.status, body)
		}
	}
	r.checkForm(s.t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, r)
	return r
}

// generate posts a body.
func (s *instance) generate(proof weboffice.Secret, body string, options ...option) reply {
	s.t.Helper()
	return s.request(http.MethodPost, s.generateURL, proof, strings.NewReader(body), options...)
}

// open posts a SourceURI and nothing else, and wants an answer.
func (s *instance) open(proof weboffice.Secret, uri string) reply {
	s.t.Helper()
	return s.generate(proof, source(uri)).want(s.t, 200, "")
}

// refresh posts the tokens of the answer before.
func (s *instance) refresh(proof weboffice.Secret, last reply, options ...option) reply {
	s.t.Helper()
	return s.request(http.MethodPost, s.refreshURL, proof, strings.NewReader(tokensOf(last)),
		options...)
}

func source(uri string) string { return object("SourceURI", uri) }

func tokensOf(r reply) string {
	return object("AccessToken", r.AccessToken, "RefreshToken", r.RefreshToken)
}

// object is the JSON object of pairs of a name and a text.
func object(pairs ...string) string {
	members := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		members[pair[0]] = pair[1]
	}
	text, _ := json.Marshal(members) // texts always marshal
	return string(text)
}

// guest brings no proof.
const guest = weboffice.Secret("")

// proof is a fresh proof of a persona; more claims may be given, nil leaves one out.
func (w *world) proof(persona string, more ...map[string]any) weboffice.Secret {
	claims := map[string]any{"sub": persona}
	maps.Copy(claims, people[persona])
	for _, further := range more {
		maps.Copy(claims, further)
	}
	return w.People.Token(claims)
}

// mint makes a share link that begins now, for a week where no end is given.
func (w *world) mint(claims caller.LinkClaims) (weboffice.Secret, error) {
	claims.IssuedAt = w.clock.Now()
	if claims.Expires.IsZero() {
		claims.Expires = claims.IssuedAt.Add(7 * 24 * time.Hour)
	}
	return caller.MintLink(w.LinkKey, claims)
}

// calls wants exactly so many calls of IMM since the start.
func (w *world) calls(t testing.TB, generates, refreshes int) {
	t.Helper()
	if got := w.IMM.Calls(); got.Generate != generates || got.Refresh != refreshes {
		t.Fatalf("IMM did %d Generate and %d Refresh, want %d and %d", got.Generate, got.Refresh,
			generates, refreshes)
	}
}

// untouched wants that no request of the functions reached IMM since the start; a connection opened
// in advance is none.
func (w *world) untouched(t testing.TB) {
	t.Helper()
	if requests := w.IMM.Requests(); len(requests) != 0 {
		t.Fatalf("IMM was asked %d times", len(requests))
	}
}

// last is the parameters of the newest request that IMM got.
func (w *world) last() map[string]string {
	if requests := w.IMM.Requests(); len(requests) > 0 {
		return requests[len(requests)-1].Parameters
	}
	return nil
}

func newKey() string { return local.NewKey() }
