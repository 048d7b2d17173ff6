package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/broker"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// rig is a site of which everything between the functions and IMM can break: the network, a
// gateway, the clock, the role.
type rig struct {
	*site
	network   *network
	front     *front
	web       *httptest.Server // IMM's, with the front in it
	role      *role
	transport *http.Transport
	immClock  *clock // of tokens and Date headers
	// nanoseconds by which IMM's clock is ahead of the one that requests are signed by
	signed   atomic.Int64
	deadline time.Duration // of every request, as a platform sets it
	session  string        // key
}

// rigOptions are the parts of a rig that are made once.
type rigOptions struct {
	ahead    time.Duration                   // of IMM's clock before everybody else's
	deadline time.Duration                   // default ten seconds
	log      func(slog.Handler) slog.Handler // around the site's own
}

// newRig joins the packages as app.New does, with a network and a role that tests hold in their
// hands.
func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	x := &rig{network: &network{connections: map[*connection]bool{}}, role: &role{},
		immClock: &clock{}, deadline: o.deadline}
	w := newWorld(t, office.Options{Now: x.immClock.Now,
		SignatureNow: func() time.Time { return x.clock.Now().Add(time.Duration(x.signed.Load())) }})
	x.immClock.now = w.clock.Now().Add(o.ahead)
	x.front = newFront(w.office)
	if err := w.office.AddDocument(locked,
		office.Document{Text: "text", Password: documentPassword}); err != nil {
		t.Fatal(err)
	}
	if x.deadline == 0 {
		x.deadline = 10 * time.Second
	}
	x.role.renew(w)
	x.site = &site{t: t, world: w, policy: teamPolicy, logs: &logs{}, client: &http.Client{}}
	x.web = httptest.NewServer(x.front)
	t.Cleanup(x.web.Close)
	w.officeURL = x.web.URL
	var handler slog.Handler = slog.NewJSONHandler(x.logs,
		&slog.HandlerOptions{Level: slog.LevelDebug})
	if o.log != nil {
		handler = o.log(handler)
	}
	built := x.build(slog.New(handler))
	x.generator, x.refresher = generate.New(built), refresh.New(built)
	x.generateURL, x.refreshURL = serve(t, x.bounded(x.generator)), serve(t, x.bounded(x.refresher))
	pages := &http.Transport{}
	x.client = &http.Client{Transport: pages}
	t.Cleanup(pages.CloseIdleConnections)
	t.Cleanup(x.transport.CloseIdleConnections)
	printed(t, x.logs)
	return x
}

// build makes one instance of the functions.
func (x *rig) build(logger *slog.Logger) *app.App {
	x.t.Helper()
	now, salt := x.clock.Now, weboffice.Secret("user-salt-3Kd8")
	rules, err := policy.Parse([]byte(strings.ReplaceAll(teamPolicy, "ISSUER", x.people.URL())),
		policy.Options{Salt: salt, Loopback: true})
	if err != nil {
		x.t.Fatal(err)
	}
	x.linkKey = newKey()
	verifier, err := caller.NewVerifier(caller.Options{
		Issuers: rules.Issuers(), LinkKeys: []weboffice.Secret{x.linkKey}, Client: &http.Client{},
		Now: now, Logger: logger,
	})
	if err != nil {
		x.t.Fatal(err)
	}
	x.transport = &http.Transport{DialContext: x.network.dial, MaxIdleConnsPerHost: 256}
	client, err := imm.New(imm.Options{Endpoint: x.officeURL, Region: "cn-shanghai",
		Credentials: x.role, Now: now, Logger: logger, Transport: x.transport})
	if err != nil {
		x.t.Fatal(err)
	}
	key := newKey()
	x.session = encodeKey(key)
	sealer, err := session.NewSealer([][]byte{[]byte(key.Reveal())}, rules.Project(), "cn-shanghai")
	if err != nil {
		x.t.Fatal(err)
	}
	return &app.App{
		Policy: rules, Edge: &httpapi.Edge{Origins: rules.Origins(), Verifier: verifier, Now: now,
			Logger: logger},
		Broker: broker.New(broker.Options{Policy: rules, IMM: client, Sealer: sealer, Now: now,
			Logger: logger}),
	}
}

// bounded gives every request the deadline of the platform.
func (x *rig) bounded(h http.Handler) http.Handler { return within(x.deadline, h) }

func within(d time.Duration, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// advance lets time pass for everybody, however wrong their clocks are.
func (x *rig) advance(d time.Duration) {
	x.clock.Advance(d)
	x.immClock.Advance(d)
}

// role is the RAM role's credentials, which end when they are told to.
type role struct {
	now atomic.Pointer[credentials.Credentials]
}

func (r *role) Credentials(context.Context) (credentials.Credentials, error) {
	return *r.now.Load(), nil
}

// renew takes what IMM accepts at this moment.
func (r *role) renew(w *world) {
	keys := w.office.Credentials()
	r.now.Store(&credentials.Credentials{
		AccessKeyID: keys.AccessKeyID, AccessKeySecret: weboffice.Secret(keys.Secret),
		SecurityToken: weboffice.Secret(keys.SecurityToken),
	})
}

// network is the way from the functions to IMM.
type network struct {
	mu          sync.Mutex
	broken      func(ctx context.Context) (net.Conn, error) // nil: it works
	connections map[*connection]bool                        // that are open
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	broken := n.broken
	n.mu.Unlock()
	if broken != nil {
		return broken(ctx)
	}
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: raw, network: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connections[c] = true
	return c, nil
}

func (n *network) set(broken func(ctx context.Context) (net.Conn, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.broken = broken
}

// refuse: nobody listens at the address, which is the case at port 1 of this machine.
func refuse(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", "127.0.0.1:1")
}

// loseName: no name server answers.
func loseName(ctx context.Context) (net.Conn, error) {
	silent := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn,
		error) {
		return refuse(ctx)
	}}
	return (&net.Dialer{Resolver: silent}).DialContext(ctx, "tcp", "imm.cn-shanghai.invalid:443")
}

// forget makes every connection half open: this side holds it for alive, the other has forgotten it
// and answers nothing.
func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.connections {
		c.forgotten.Store(true)
	}
}

type connection struct {
	net.Conn
	network   *network
	forgotten atomic.Bool
}

func (c *connection) Close() error {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.connections, c)
	return c.Conn.Close()
}

func (c *connection) Write(p []byte) (int, error) {
	if c.forgotten.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// front stands before the stand-in: a gateway that can answer in its place, and that knows when it
// has come to rest.
type front struct {
	office  http.Handler
	mu      sync.Mutex
	rest    *sync.Cond
	busy    int
	instead []http.HandlerFunc
}

func newFront(office http.Handler) *front {
	f := &front{office: office}
	f.rest = sync.NewCond(&f.mu)
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.busy++
	answer := f.office.ServeHTTP
	if r.URL.Path == "/" && len(f.instead) > 0 {
		answer, f.instead = f.instead[0], f.instead[1:]
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy--
		f.rest.Broadcast()
	}()
	answer(w, r)
}

func (f *front) answerNext(with http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = append(f.instead, with)
}

// settle waits until IMM has noticed that whoever left has left.
func (f *front) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy > 0 {
		f.rest.Wait()
	}
}

// locked is a document that opens with a password, so that the password travels through every
// fault.
const (
	locked           = "oss://team-docs/teams/red/locked.docx"
	documentPassword = "document-password-5Tz1"
)

// page does what a page does that follows the rule: it asks refresh while it holds tokens and
// generate before, fetches a new proof after a 401 and tries once more, stops at 403 and 410,
// generates once when its sealed token cannot be opened, and comes again after every 429 and 5xx
// when Retry-After is over, or a second.
type page struct {
	*site
	proof   func() weboffice.Secret
	body    string // of its generate
	last    reply  // that brought tokens
	viewer  *http.Client
	advance func(time.Duration)
}

func (s *site) page(advance func(time.Duration)) *page {
	return &page{
		site: s, advance: advance, viewer: s.client,
		proof: func() weboffice.Secret { return s.proof("ann") },
		body:  object("SourceURI", locked, "Password", documentPassword),
	}
}

// ask is the request that is due: who was asked and what came.
func (p *page) ask() (asked string, got reply) {
	p.t.Helper()
	asked = "refresh"
	if p.last.RefreshToken == "" {
		asked, got = "generate", p.generate(p.proof(), p.body)
	} else {
		got = p.refresh(p.proof(), p.last)
	}
	if got.status == 200 {
		p.last = got
	}
	return asked, got
}

// carryOn follows the rule from an answer on, until the page holds tokens again or must stop. It
// returns who gave the tokens, "" where the answer did, or the status at which it stopped.
func (p *page) carryOn(got reply) (by string) {
	p.t.Helper()
	refused := 0
	for range 10 {
		switch {
		case got.status == 200:
			return by
		case got.status == 401 && refused == 0:
			refused++
		case got.Code == "InvalidArgument.RefreshToken":
			p.last.RefreshToken = ""
		case got.status == 429, got.status >= 500:
			wait, _ := time.ParseDuration(got.header.Get("Retry-After") + "s")
			p.advance(max(wait, time.Second))
		default:
			return fmt.Sprintf("stops at %d", got.status)
		}
		by, got = p.ask()
	}
	p.t.Fatalf("after ten more requests still %v", got)
	return ""
}

// frame asks the stand-in's editor frame, which is what decides whether a person sees the document.
func (p *page) frame(action string) (state string) {
	p.t.Helper()
	text, _ := json.Marshal(map[string]string{ // texts always marshal
		"Action": action, "Frame": "the one", "Token": p.last.AccessToken,
		"File": path.Base(strings.Split(p.last.WebofficeURL, "?")[0]),
	})
	base, _, _ := strings.Cut(p.last.WebofficeURL, "/office/")
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost,
		base+"/office/session", bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := p.viewer.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		State     string
		ExpiresIn int64
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		p.t.Fatal(err)
	}
	if answer.State == "open" && answer.ExpiresIn <= 0 {
		p.t.Errorf("open for %d ms", answer.ExpiresIn)
	}
	return answer.State
}

// wantOpen wants that the person sees the document, in the frame that is there or a new one, and
// that the tokens are new, or given again within the minute in which that is done.
func (p *page) wantOpen() {
	p.t.Helper()
	if state := p.frame("renew"); state != "open" {
		if state = p.frame("open"); state != "open" {
			p.t.Errorf("the document is %q", state)
		}
	}
	if p.last.Timeout > 30*60*1000 || p.last.Timeout < 29*60*1000 || p.last.RefreshToken == "" ||
		p.last.WebofficeURL == "" {
		p.t.Errorf("the page cannot go on with %s", p.last.body)
	}
}

// wantNoSecret wants none of what the rig's requests made secret in the log or in an error.
func (x *rig) wantNoSecret() {
	x.t.Helper()
	h := &hunt{forms: map[string]string{}}
	h.add("the document's password", documentPassword)
	h.add("the role's secret", x.role.now.Load().AccessKeySecret.Reveal())
	h.add("the role's token", x.role.now.Load().SecurityToken.Reveal())
	h.add("the session key", x.session)
	raw, _ := base64.StdEncoding.DecodeString(x.session) // as it was encoded
	h.add("the session key", string(raw))
	for _, request := range x.office.Requests() {
		for _, name := range []string{"AccessToken", "RefreshToken"} {
			if value := request.Parameters[name]; value != "" {
				h.add("IMM's "+name, value)
			}
		}
	}
	errors := ""
	for _, got := range x.replies {
		if got.status == 200 {
			h.add("a sealed token", got.RefreshToken)
			h.add("an access token", got.AccessToken)
		} else {
			errors += got.body + "\n"
		}
	}
	for line := range strings.Lines(x.logs.String() + errors) {
		if names := h.found(line); names != nil || strings.Contains(line, "Bearer ey") ||
			strings.Contains(line, x.officeURL) {
			x.t.Errorf("%v, a proof or a URL in %s", names, line)
		}
	}
}

// cell is what is expected of one fault at one function.
type cell struct {
	answer string // status, Code and Retry-After of the request that meets the fault
	// what IMM was asked for it, and with what end: done, or a Code; nothing where it never got
	// there
	imm string
	log string // the one decision line: outcome, calls billed, "maybe" one more, "fallback"
	// by which further request the page comes to its tokens; nothing where it has them already
	then string
	// what IMM charges until the page has its tokens: generates + refreshes, with the one that
	// opened the document
	billed string
}

// fault is a row of the matrix: a fault that begins just before a request and ends just after it.
type fault struct {
	name              string
	options           rigOptions
	begin, end        func(*rig)
	fix               bool // the log says what the operator should do
	generate, refresh cell
}

// TestFaults: whatever fails, a person who may see the document comes to see it, and one who sees
// it goes on to; no refresh token is sent twice by an instance that can know; nothing but failures
// is tried again; each request is one decision line.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, f := range slices.Concat(networkFaults, answerFaults, doubleFaults, clockFaults) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			if f.generate != (cell{}) {
				t.Run("generate", func(t *testing.T) {
					t.Parallel()
					f.strike(newRig(t, f.options), f.generate)
				})
			}
			t.Run("refresh", func(t *testing.T) {
				t.Parallel()
				x := newRig(t, f.options)
				p := x.page(x.advance)
				if asked, got := p.ask(); asked != "generate" || got.status != 200 ||
					p.frame("open") != "open" {
					t.Fatalf("before the fault: %v", got)
				}
				x.advance(25 * time.Minute) // the page's SDK asks five minutes before the end
				f.strikeAt(x, p, f.refresh)
			})
		})
	}
}

func (f fault) strike(x *rig, want cell) { f.strikeAt(x, x.page(x.advance), want) }

// strikeAt lets the fault meet the page's next request, mends it, and lets the page carry on.
func (f fault) strikeAt(x *rig, p *page, want cell) {
	t := x.t
	t.Helper()
	f.begin(x)
	requests, decisions, held := len(x.office.Requests()), len(x.decisions()), p.last
	asked, got := p.ask()
	x.front.settle()
	lines := x.decisions()[decisions:]
	if len(lines) != 1 || lines[0]["function"] != asked || lines[0]["requestId"] == "" {
		t.Fatalf("%d decision lines: %v", len(lines), lines)
	}
	met := cell{answer: summary(got), imm: wire(x.office.Requests()[requests:]),
		log: audited(lines[0])}
	if _, fix := lines[0]["fix"]; fix != f.fix {
		t.Errorf("the log has a fix: %v, want %v", fix, f.fix)
	}
	if got.status != 200 && held.AccessToken != "" &&
		x.immClock.Now().Before(held.AccessTokenExpiredTime) && p.frame("check") != "open" {
		t.Error("what was open is not while the fault lasts")
	}
	if f.end != nil {
		f.end(x)
	}
	met.then = p.carryOn(got)
	x.front.settle()
	calls := x.office.Calls()
	met.billed = fmt.Sprintf("%d+%d", calls.Generate, calls.Refresh)
	if met != want {
		t.Errorf("\n got %+v\nwant %+v", met, want)
	}
	p.wantOpen()
	if spends := x.office.DoubleSpends(); len(spends) != 0 {
		t.Errorf("%d refresh tokens were sent again", len(spends))
	}
	if all := x.decisions(); len(all) != len(x.replies) {
		t.Errorf("%d requests, %d decision lines", len(x.replies), len(all))
	}
	x.wantNoSecret()

	// The document lives on: the next refresh is an ordinary one.
	x.advance(25 * time.Minute)
	calls = x.office.Calls()
	if asked, got := p.ask(); asked != "refresh" || got.status != 200 ||
		got.WebofficeURL != p.last.WebofficeURL {
		t.Errorf("the refresh after it: %v", got)
	}
	if after := x.office.Calls(); after.Refresh != calls.Refresh+1 ||
		after.Generate != calls.Generate || after.Failed != calls.Failed {
		t.Errorf("the refresh after it made %+v of %+v", after, calls)
	}
	p.wantOpen()
}

// summary is an answer in a few words.
func summary(r reply) string {
	text := strings.TrimSpace(fmt.Sprint(r.status, " ", r.Code))
	if wait := r.header.Get("Retry-After"); wait != "" {
		text += ", retry after " + wait
	}
	return text
}

// wire is what IMM got, refreshes first: a refresh that is given up may end after the generate in
// its place.
func wire(requests []office.Request) string {
	var words []string
	for _, r := range requests {
		end := r.Code
		if end == "" {
			end = "done"
		}
		words = append(words, map[string]string{office.Generate: "G ",
			office.Refresh: "R "}[r.Action]+end)
	}
	slices.SortStableFunc(words, func(a, b string) int { return strings.Compare(b[:1], a[:1]) })
	return strings.Join(words, ", ")
}

// audited is a decision line in a few words. A deadline that ends a refresh ends it at two places
// at once, of which only one knows of the generate in its place, so that "fallback" is left out
// there.
func audited(line map[string]any) string {
	text := fmt.Sprintf("%v, %v billed", line["outcome"], line["billed"])
	if line["maybeBilled"] == true {
		text += ", maybe 1 more"
	}
	if line["fallback"] == true && line["outcome"] != "fallback" &&
		line["outcome"] != "ServiceTimeout" {
		text += ", fallback"
	}
	return text
}
