package local_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/web"
)

const document = "oss://test-bucket/test-object.docx"

// rules are those of the tests; SITES become the origins of pages.
const rules = `
standIn: true
quickStart: true
project: test-project
origins: [SITES]
limits: {anyone: 6000/m, caller: 6000/m}
issuers:
  people: {url: "http://127.0.0.1:8080/people", audience: weboffice}
rules:
  - name: readers for a minute
    documents: oss://test-bucket/test-object.xlsx
    callers: {issuer: people, claims: {groups: [editors, viewers]}}
    grant: [view, edit, copy]
    session: 1m
  - name: editors
    documents: oss://test-bucket/**
    callers: {issuer: people, claims: {groups: editors}}
    grant: [view, edit, rename, history, copy, print, export]
  - name: viewers
    documents: oss://test-bucket/**
    callers: {issuer: people, claims: {groups: viewers}}
    grant: [view, copy]
  - name: share links
    documents: oss://test-bucket/**
    callers: {issuer: links}
    grant: [view, edit, copy, print]
  - name: anyone
    documents: oss://test-bucket/test-object.docx
    callers: anyone
    grant: [view, copy]
  - {name: handbook, documents: oss://team-docs/**, callers: anyone, grant: [view, copy]}
`

// clock is this machine's, moved forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// stage is what most tests play on: the functions and the stand-in, and a site of another origin
// whose pages open documents.
type stage struct {
	*local.Local
	t     *testing.T
	clock *clock
	site  *site
}

// newStage starts a stage whose access tokens live for a while, for a test in Chromium.
func newStage(t *testing.T, lifetime time.Duration) *stage {
	t.Helper()
	browser(t) // or no test at all
	return newStageFor(t, lifetime, "")
}

// newStageFor starts a stage whose policy lets pages of an origin in, default the site's own.
func newStageFor(t *testing.T, lifetime time.Duration, origin string) *stage {
	t.Helper()
	s := &stage{t: t, clock: &clock{}, site: newSite(t)}
	policy := strings.ReplaceAll(rules, "SITES", cmp.Or(origin, s.site.URL))
	s.Local = start(t, local.Options{Policy: []byte(policy), Lifetime: lifetime, Now: s.clock.now})
	s.site.setting["generate"], s.site.setting["refresh"] = s.URL+"/generate", s.URL+"/refresh"
	s.site.setting["sdk"], s.site.setting["document"] = s.IMMURL+office.SDKPath, document
	s.site.people = s.Local
	s.site.control = s.controls()
	return s
}

// start runs everything until the test ends. Without a Logger trouble goes to the test's log.
func start(t *testing.T, o local.Options) *local.Local {
	t.Helper()
	if o.Logger == nil {
		log := &testLog{t: t}
		t.Cleanup(log.end)
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	o.Generate, o.Refresh = generate.New, refresh.New
	l, err := local.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// testLog writes a test's log, until the test ends: a request may end later.
type testLog struct {
	t     *testing.T
	mu    sync.Mutex
	ended bool
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.t.Log(strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// tab opens a page of the site in a tab of its own.
func (s *stage) tab(path string) *tab {
	s.t.Helper()
	b := newTab(s.t)
	b.open(s.site.URL + path)
	return b
}

// opened opens the site's page in a tab of its own and waits for the document.
func (s *stage) opened(path string) *tab {
	s.t.Helper()
	b := s.tab(path)
	b.until(`window.session?.state === 'open'`)
	return b
}

// sleep lets a while pass in which a tab's machine sleeps, and wakes it.
func (s *stage) sleep(b *tab, d time.Duration) {
	s.t.Helper()
	s.clock.move(d)
	b.wake(d)
}

// wake ends the sleep of a tab's machine.
func (b *tab) wake(d time.Duration) {
	b.t.Helper()
	b.run(
		fmt.Sprintf(
			`sleepFor(%d); document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))`,
			d.Milliseconds()))
}

// calls compares what was billed.
func (s *stage) calls(generates, refreshes int) {
	s.t.Helper()
	if got := s.IMM.Calls(); got.Generate != generates || got.Refresh != refreshes {
		s.t.Errorf("%d generates and %d refreshes are billed, want %d and %d", got.Generate,
			got.Refresh, generates, refreshes)
	}
	if spends := s.IMM.DoubleSpends(); len(spends) > 0 {
		s.t.Errorf("%d refresh tokens were used twice", len(spends))
	}
}

// site is a static site: its page from testdata, and weboffice.js beside it as an adopter would
// copy it.
type site struct {
	*httptest.Server
	people *local.Local

	mu      sync.Mutex
	setting map[string]any
	policy  string            // Content-Security-Policy of all pages
	allowed map[string]string // of one page, by path
	pages   map[string]string // further ones, by path
	control map[string]func(json.RawMessage) (any, error)
	claims  map[string]any // of whoever looks at the page; nil: nobody in particular
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{setting: map[string]any{}, pages: map[string]string{}, allowed: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /setting.json", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.setting)
	})
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.claims != nil {
			_, _ = fmt.Fprint(w, s.people.People.Token(s.claims).Reveal())
		}
	})
	mux.Handle("GET /weboffice.js", web.Handler(""))
	mux.HandleFunc("POST /control/{what}", s.serveControl)
	mux.HandleFunc("GET /axe.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, axe)
	})
	mux.Handle("GET /frameworks/",
		http.StripPrefix("/frameworks/", http.FileServer(http.Dir(frameworkPages))))
	files := http.FileServer(http.Dir("testdata"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		text, ok := s.pages[r.URL.Path]
		if policy := cmp.Or(s.allowed[r.URL.Path], s.policy); policy != "" {
			w.Header().Set("Content-Security-Policy", policy)
		}
		s.mu.Unlock()
		w.Header().Set("Cache-Control", "no-cache")
		if !ok {
			files.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, text)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(s.Close)
	return s
}

// become changes who looks at the page. Without groups it is nobody in particular.
func (s *site) become(groups ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims = nil; len(groups) > 0 {
		s.claims = map[string]any{"sub": "erin", "name": "Erin", "groups": groups}
	}
}

// add lays a page on the site.
func (s *site) add(path, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = text
}

// allow sets the site's Content-Security-Policy.
func (s *site) allow(policy string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = policy
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
