package local_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/web"
)

const document = "oss://test-bucket/test-object.docx"

// stage is what most tests play on: the functions and the stand-in on this machine's clock, moved
// forward, and a static site of another origin whose pages open documents: testdata, with
// weboffice.js beside it as an adopter would copy it.
type stage struct {
	*local.Local
	t       *testing.T
	ahead   atomic.Int64 // nanoseconds
	site    *httptest.Server
	verdict chan string // of the scenario that is played
	back    string      // where it sends its browser

	mu       sync.Mutex
	claims   map[string]any    // of whoever looks at the page; nil: nobody in particular
	pages    map[string]string // of the site besides testdata, by path
	policies map[string]string // Content-Security-Policy, by path
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
	s := &stage{t: t, verdict: make(chan string, 1), pages: map[string]string{},
		policies: map[string]string{}}
	s.site = httptest.NewServer(s.siteHandler())
	t.Cleanup(s.site.Close)
	t.Cleanup(s.site.CloseClientConnections)
	s.run(local.Options{Policy: policyFor(t, cmp.Or(origin, s.site.URL)), Lifetime: lifetime})
	return s
}

// run starts everything on the stage's clock.
func (s *stage) run(o local.Options) {
	s.t.Helper()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.Local = start(s.t, o)
}

// start runs everything until the test ends. Without a Logger trouble goes to the test's log.
func start(t *testing.T, o local.Options) *local.Local {
	t.Helper()
	if o.Logger == nil {
		var level slog.LevelVar
		level.Set(slog.LevelWarn)
		t.Cleanup(func() { level.Set(slog.LevelError + 1) }) // a request may end after its test
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: &level}))
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

// siteHandler is the static site's server.
func (s *stage) siteHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /setting.json", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"generate": s.URL + "/generate",
			"refresh": s.URL + "/refresh", "sdk": s.SDK(), "document": document})
	})
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.claims != nil {
			_, _ = fmt.Fprint(w, s.People.Token(s.claims).Reveal())
		}
	})
	mux.Handle("GET /weboffice.js", web.Handler(""))
	mux.HandleFunc("POST /control", func(w http.ResponseWriter, r *http.Request) {
		var c control
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&c)
		var answer any
		if err == nil {
			answer, err = s.move(c)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("GET /axe.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, axe)
	})
	mux.Handle("GET /frameworks/",
		http.StripPrefix("/frameworks/", http.FileServer(http.Dir(frameworkPages))))
	files := http.FileServer(http.Dir("testdata"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		text, ok := s.pages[r.URL.Path]
		if policy := s.policies[r.URL.Path]; policy != "" {
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
	return mux
}

// control is what a scenario asks of the other side, one of these at a time.
type control struct {
	Become   []string // the groups of whoever looks at the page
	Sleep    float64  // milliseconds
	Calls    bool
	Lay      *struct{ URI, Password string }
	Text     bool
	Token    map[string]any // claims
	Link     bool
	Fault    string
	Switches *office.Switches
	Policies map[string]string
	Steal    json.RawMessage // a frame's call of the stand-in
	Verdict  string
}

// move does what a scenario asks for.
func (s *stage) move(c control) (answer any, err error) {
	switch {
	case c.Become != nil:
		s.become(c.Become...)
	case c.Sleep != 0:
		s.ahead.Add(int64(c.Sleep * 1e6))
	case c.Calls:
		calls := s.IMM.Calls()
		return []int{calls.Generate, calls.Refresh, len(s.IMM.DoubleSpends())}, nil
	case c.Lay != nil:
		return nil, s.IMM.AddDocument(c.Lay.URI,
			office.Document{Text: "Welcome", Password: c.Lay.Password})
	case c.Text:
		return s.IMM.Text(document), nil
	case c.Token != nil:
		return s.People.Token(c.Token).Reveal(), nil
	case c.Link:
		link, err := s.Token("link", document)
		return link.Reveal(), err
	case c.Fault != "":
		fault, known := faults[c.Fault]
		if !known {
			return nil, fmt.Errorf("no fault %q", c.Fault)
		}
		s.IMM.Fail(office.Refresh, 1, fault)
	case c.Switches != nil:
		s.IMM.SetSwitches(*c.Switches)
	case c.Policies != nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.policies = c.Policies
	case c.Steal != nil:
		answer, err := http.Post(s.IMMURL+"/office/session", "application/json",
			bytes.NewReader(c.Steal))
		if err == nil {
			err = answer.Body.Close()
		}
		return nil, err
	case c.Verdict != "":
		s.verdict <- c.Verdict
		return s.back, nil
	}
	return nil, nil
}

// become changes who looks at the page. Without groups it is nobody in particular.
func (s *stage) become(groups ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims = nil; len(groups) > 0 {
		s.claims = map[string]any{"sub": "erin", "name": "Erin", "groups": groups}
	}
}

// add lays a page on the site.
func (s *stage) add(path, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[path] = text
}

// tab opens a page of the site in a tab of its own and waits for the document.
func (s *stage) opened(path string) *tab {
	s.t.Helper()
	b := newTab(s.t)
	b.open(s.site.URL + path)
	b.until(`window.session?.state === 'open'`)
	return b
}

// sleep lets a while pass in which a tab's machine sleeps, and wakes it.
func (s *stage) sleep(b *tab, d time.Duration) {
	s.t.Helper()
	s.ahead.Add(int64(d))
	b.wake(d)
}

// wake ends the sleep of a tab's machine.
func (b *tab) wake(d time.Duration) {
	b.t.Helper()
	b.run(fmt.Sprintf(`sleepFor(%d);
		document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))`, d.Milliseconds()))
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

// policyFor lets pages of an origin in.
func policyFor(t *testing.T, origin string) []byte {
	t.Helper()
	return []byte(strings.ReplaceAll(readFile(t, "testdata/rules.yaml"), "SITES", origin))
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
