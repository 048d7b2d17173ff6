// Package app_test proves both functions together over real HTTP on loopback: what a page sends,
// what it gets, and what reaches IMM's stand-in on the way. Every attack stands beside a harmless
// twin that passes.
package app_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// origin is the page's.
const origin = "https://docs.example.com"

// teamPolicy is the policy of most tests. ISSUER stands for the test provider's URL.
const teamPolicy = `
project: test-project
origins: [https://docs.example.com, "http://localhost:5173"]
limits: {anyone: 1000/m, caller: 1000/m}
issuers:
  staff: {url: "ISSUER", audience: weboffice, maxAge: 24h}
rules:
  - name: contractors never see pay
    documents: oss://team-docs/teams/pay/**
    callers: {issuer: staff, claims: {employment: contractor}}
    deny: true
  - name: team folders
    documents: oss://team-docs/teams/${team}/**
    callers: {issuer: staff, claims: {groups: editors}}
    grant: [view, edit, rename, history, copy, print, export]
    session: 8h
  - name: share links
    documents: oss://team-docs/**
    callers: {issuer: links}
    grant: [view, edit, copy, print]
  - name: handbook
    documents: oss://team-docs/handbook/**
    callers: anyone
    grant: [view, copy]
`

// The documents of teamPolicy. The last is open to anyone.
const (
	plan     = "oss://team-docs/teams/red/plan.docx"
	budget   = "oss://team-docs/teams/red/budget.xlsx"
	bluePlan = "oss://team-docs/teams/blue/plan.docx"
	pay      = "oss://team-docs/teams/pay/2026.xlsx"
	handbook = "oss://team-docs/handbook/welcome.docx"
)

// people are the claims of each persona besides sub, which is the name.
var people = map[string]map[string]any{
	"ann": {"name": "Ann", "team": "red", "groups": []string{"editors"}},
	"bob": {"name": "Bob", "team": "red", "groups": []string{"editors"}},
	"cara": {"name": "Cara", "team": "pay", "groups": []string{"editors"},
		"employment": "contractor"},
	"dan": {"name": "Dan", "team": "pay", "groups": []string{"editors"},
		"employment": "permanent"},
	"eve": {"name": "Eve", "team": "red"},
}

// clock is the one time that the functions, the stand-in and the provider live by.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// logs keeps what a site logs, as JSON lines at the level DEBUG.
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

// lines returns the attributes of all lines with this message.
func (l *logs) lines(t *testing.T, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var attributes map[string]any
		if err := json.Unmarshal([]byte(line), &attributes); err != nil {
			t.Fatalf("a log line is no JSON: %s", line)
		}
		if attributes["msg"] == message {
			found = append(found, attributes)
		}
	}
	return found
}

// world is what lies outside the functions.
type world struct {
	clock     *clock
	office    *office.Server
	officeURL string
	people    *issuer.Provider

	mu      sync.Mutex
	replies []reply // all that the functions answered by request
	logged  []*logs // of every process
}

// site is both functions, served as one process, in a world that other processes may share.
type site struct {
	*world
	t           *testing.T
	logs        *logs
	policy      string
	environment map[string]string
	linkKey     weboffice.Secret
	client      *http.Client
	generateURL string
	refreshURL  string
	generator   http.Handler // the same functions without a network between
	refresher   http.Handler
}

// start runs both functions with a policy. overrides are pairs of an environment variable and its
// value.
func start(t *testing.T, policy string, overrides ...string) *site {
	t.Helper()
	return startIn(t, newWorld(t, office.Options{}), policy, overrides...)
}

// newWorld starts the stand-in and the provider, and lays the documents of teamPolicy into the
// bucket.
func newWorld(t *testing.T, o office.Options) *world {
	t.Helper()
	w := &world{clock: &clock{now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)}}
	if o.Now == nil {
		o.Now = w.clock.Now
	}
	o.Credentials = office.Credentials{AccessKeyID: "STS.role", Secret: "role-key-secret-7Yw2",
		SecurityToken: "role-security-token-9Qp4"}
	w.office = office.New(o)
	web := httptest.NewServer(w.office)
	t.Cleanup(web.Close)
	w.officeURL = web.URL
	w.people = issuer.New(issuer.Options{Now: w.clock.Now, Algorithm: "ES256"})
	if err := w.people.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.people.Close() })
	for _, uri := range []string{plan, budget, bluePlan, pay, handbook} {
		if err := w.office.AddDocument(uri, office.Document{Text: "text"}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func startIn(t *testing.T, w *world, policy string, overrides ...string) *site {
	t.Helper()
	linkKey := newKey()
	keys := w.office.Credentials()
	s := &site{t: t, world: w, policy: policy, linkKey: linkKey, environment: map[string]string{
		"WEBOFFICE_SESSION_KEYS": encodeKey(newKey()), "WEBOFFICE_LINK_KEYS": encodeKey(linkKey),
		"WEBOFFICE_USER_SALT": "user-salt-3Kd8",
		"WEBOFFICE_REGION":    "cn-shanghai", "WEBOFFICE_IMM_ENDPOINT": w.officeURL,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     keys.AccessKeyID,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.Secret,
		"ALIBABA_CLOUD_SECURITY_TOKEN":    keys.SecurityToken,
	}}
	return s.another(policy, overrides...)
}

// another starts a further process in the same world: with the same environment but for overrides,
// and with this policy.
func (s *site) another(policy string, overrides ...string) *site {
	t := s.t
	t.Helper()
	next := &site{t: t, world: s.world, policy: policy, linkKey: s.linkKey, logs: &logs{},
		environment: maps.Clone(s.environment)}
	s.mu.Lock()
	s.logged = append(s.logged, next.logs)
	s.mu.Unlock()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(policy, "ISSUER", s.people.URL())),
		0o600); err != nil {
		t.Fatal(err)
	}
	next.environment["WEBOFFICE_POLICY_FILE"] = file
	for pair := range slices.Chunk(overrides, 2) {
		next.environment[pair[0]] = pair[1]
	}
	getenv := func(name string) string { return next.environment[name] }
	logger := slog.New(slog.NewJSONHandler(next.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	built, err := app.New(getenv, s.clock.Now, logger)
	if err != nil {
		t.Fatal(err)
	}
	next.generator, next.refresher = generate.New(built), refresh.New(built)
	transport := &http.Transport{}
	next.client = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	next.generateURL, next.refreshURL = serve(t, next.generator), serve(t, next.refresher)
	printed(t, next.logs)
	return next
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// newKey returns 32 random bytes.
func newKey() weboffice.Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return weboffice.Secret(key)
}

func encodeKey(key weboffice.Secret) string {
	return base64.StdEncoding.EncodeToString([]byte(key.Reveal()))
}

// reply is what a function answered.
type reply struct {
	status int
	header http.Header
	body   string
	// The fields of an answer, or of an error.
	RequestId, WebofficeURL, AccessToken, RefreshToken string
	AccessTokenExpiredTime, RefreshTokenExpiredTime    time.Time
	Timeout                                            int64
	Permission                                         weboffice.Permission
	Code, Message, Recommend                           string
}

func (r reply) String() string {
	return fmt.Sprintf("%d %s %s %v", r.status, r.Code, r.Message, r.Permission.Grants())
}

// withoutID is the body of an error with its RequestId left out: what two refusals must share.
func (r reply) withoutID() string { return strings.ReplaceAll(r.body, r.RequestId, "") }

// option changes a request before it is sent.
type option func(*http.Request)

func header(name, value string) option {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = []string{value} }
}

func without(name string) option { return func(r *http.Request) { r.Header.Del(name) } }

func alsoHeader(name, value string) option {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

// request sends a request as a page of origin does, with JSON and a proof, "" for none.
func (s *site) request(method, url string, proof weboffice.Secret, body io.Reader,
	options ...option) reply {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, url, body)
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
	}
	for _, change := range options {
		change(request)
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	r := read(s.t, response)
	r.checkForm(s.t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, r)
	return r
}

// checkForm holds every answer of this package's tests to what all answers share.
func (r reply) checkForm(t *testing.T) {
	t.Helper()
	if r.header.Get("Cache-Control") != "no-store" || r.header.Get("Vary") != "Origin" {
		t.Errorf("%v may be cached: %v", r, r.header)
	}
	if allowed := r.header.Values("Access-Control-Allow-Origin"); len(allowed) > 1 ||
		slices.Contains(allowed, "*") ||
		r.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%v lets other pages read it: %v", r, r.header)
	}
	if r.status < 400 || r.body == "" { // HEAD has no body
		return
	}
	members := decode[map[string]string](t, r.body)
	if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got,
		[]string{"Code", "Message", "Recommend", "RequestId"}) {
		t.Errorf("an error's body has %v", got)
	}
	if r.header.Get("Content-Type") != "application/json" || r.RequestId == "" || r.Code == "" ||
		r.Message == "" {
		t.Errorf("%v: %s %v", r, r.body, r.header)
	}
	if (r.header.Get("Retry-After") != "") != (r.status == 429) && r.status < 500 ||
		(r.header.Get("Allow") != "") != (r.status == 405) {
		t.Errorf("%v: %v", r, r.header)
	}
}

func read(t *testing.T, response *http.Response) reply {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	r := reply{status: response.StatusCode, header: response.Header, body: string(body)}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatalf("%d with a body that is no JSON: %s", r.status, body)
		}
	}
	return r
}

// generate posts a body.
func (s *site) generate(proof weboffice.Secret, body string, options ...option) reply {
	s.t.Helper()
	return s.request(http.MethodPost, s.generateURL, proof, strings.NewReader(body), options...)
}

// open posts a SourceURI and nothing else, and wants an answer.
func (s *site) open(proof weboffice.Secret, uri string) reply {
	s.t.Helper()
	return s.generate(proof, source(uri)).want(s.t, 200, "")
}

// refresh posts the tokens of the answer before.
func (s *site) refresh(proof weboffice.Secret, last reply, options ...option) reply {
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

// want fails the test when the answer is another than this, and returns it.
func (r reply) want(t *testing.T, status int, code string) reply {
	t.Helper()
	if r.status != status || r.Code != code {
		t.Fatalf("got %v, want %d %s", r, status, code)
	}
	return r
}

// proof is a persona's proof; more claims may be given, nil leaves one out.
func (s *site) proof(persona string, more ...map[string]any) weboffice.Secret {
	claims := map[string]any{"sub": persona}
	maps.Copy(claims, people[persona])
	for _, further := range more {
		maps.Copy(claims, further)
	}
	return s.people.Token(claims)
}

// withNull is a persona's proof in which a claim is there and null.
func (s *site) withNull(persona, claim string) weboffice.Secret {
	s.t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s.proof(persona).Reveal(),
		".")[1])
	if err != nil {
		s.t.Fatal(err)
	}
	claims := decode[map[string]json.RawMessage](s.t, string(payload))
	claims[claim] = json.RawMessage("null")
	text, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.people.Sign(nil, text)
}

// guest brings no proof.
const guest = weboffice.Secret("")

// link mints a share link for a week.
func (s *site) link(id, document string, grant ...string) weboffice.Secret {
	s.t.Helper()
	return s.mint(caller.LinkClaims{ID: id, Document: document, Grant: grant})
}

func (s *site) mint(claims caller.LinkClaims) weboffice.Secret {
	s.t.Helper()
	claims.IssuedAt = s.clock.Now()
	if claims.Expires.IsZero() {
		claims.Expires = claims.IssuedAt.Add(7 * 24 * time.Hour)
	}
	token, err := caller.MintLink(s.linkKey, claims)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// calls wants exactly so many calls of IMM since the start.
func (w *world) calls(t *testing.T, generates, refreshes int) {
	t.Helper()
	got := w.office.Calls()
	if got.Generate != generates || got.Refresh != refreshes {
		t.Fatalf("IMM did %d Generate and %d Refresh, want %d and %d", got.Generate, got.Refresh,
			generates, refreshes)
	}
}

// untouched wants that no request of the functions reached IMM since the start; a connection opened
// in advance is none.
func (w *world) untouched(t *testing.T) {
	t.Helper()
	if requests, calls := w.office.Requests(), w.office.Calls(); len(requests) != 0 ||
		calls.Generate+calls.Refresh != 0 {
		t.Fatalf("IMM was asked %d times, %+v", len(requests), calls)
	}
}

// last is the parameters of the newest request that IMM got.
func (w *world) last(t *testing.T) map[string]string {
	t.Helper()
	requests := w.office.Requests()
	if len(requests) == 0 {
		t.Fatal("IMM was not asked")
	}
	return requests[len(requests)-1].Parameters
}

// sentPermission is the Permission of the newest request that IMM got.
func (w *world) sentPermission(t *testing.T) weboffice.Permission {
	t.Helper()
	return decode[weboffice.Permission](t, w.last(t)["Permission"])
}

func (w *world) sentUser(t *testing.T) weboffice.User {
	t.Helper()
	return decode[weboffice.User](t, w.last(t)["User"])
}

func decode[T any](t *testing.T, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return value
}

// decisions are the audit lines so far.
func (s *site) decisions() []map[string]any {
	s.t.Helper()
	return s.logs.lines(s.t, "decision")
}

// decision is the newest audit line.
func (s *site) decision() map[string]any {
	s.t.Helper()
	all := s.decisions()
	if len(all) == 0 {
		s.t.Fatal("no decision is logged")
	}
	return all[len(all)-1]
}
