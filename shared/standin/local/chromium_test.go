package local_test

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"weboffice-functions/shared/standin/office"
)

// patience is how long a test waits for something that must come. Nothing is measured by it.
const patience = 40 * time.Second

var pictures = flag.String("pictures", "", "a `folder` that gets pictures of the sample page")

func TestMain(m *testing.M) {
	flag.Parse()
	// These tests wait more than they work: more of them at a time than there are processors.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("6")
	}
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

// One browser serves all tests, each in tabs of its own. It reaches this machine and nothing else;
// what pages get from the vendor's host is the stand-in's.
var (
	chromium     = sync.OnceValues(startChromium)
	stopChromium = func() {}
)

func startChromium() (context.Context, error) {
	vendor := httptest.NewTLSServer(office.New(office.Options{}))
	options := []chromedp.ExecAllocatorOption{
		chromedp.Headless, chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.DisableGPU,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("host-resolver-rules", "MAP g.alicdn.com "+vendor.Listener.Addr().String()+
			", MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("lang", "en-US"),
	}
	for _, name := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync",
		"disable-default-apps", "disable-extensions",
		"disable-dev-shm-usage", "disable-background-timer-throttling",
		"disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
		"disable-popup-blocking", "ignore-certificate-errors",
	} {
		options = append(options, chromedp.Flag(name, true))
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	// what matters comes back as an error
	ctx, stop := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	stopChromium = func() { stop(); stopAllocator(); vendor.Close() }
	return ctx, chromedp.Do(ctx)
}

// browser returns the one browser, or ends the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: not tested in a browser")
	}
	installed(t, "Chromium", "chromium", "chromium-browser", "google-chrome",
		"google-chrome-stable", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
	ctx, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is one tab of the browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what its console shows as errors and warnings
}

// newTab opens an empty tab, which lives as long as the test.
func newTab(t *testing.T) *tab {
	t.Helper()
	return attach(t, browser(t))
}

func attach(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.hear))...)
	t.Cleanup(cancel)
	b.ctx = ctx
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	call(b, page.AddScriptToEvaluateOnNewDocument,
		page.AddScriptToEvaluateOnNewDocumentParams{Source: readFile(t, "testdata/sleep.js")})
	return b
}

// hear keeps what goes wrong in a page.
func (b *tab) hear(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error()
	case *runtime.EventConsoleAPICalled:
		if kind := string(e.Type); kind == "error" || kind == "warning" || kind == "assert" {
			problem = kind
			for _, argument := range e.Args {
				problem += " " + string(argument.Value) + argument.Description
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			problem = fmt.Sprintf("%s %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// quiet fails the test if the console has errors or warnings but those that hold one of the
// expected words.
func (b *tab) quiet(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		if !slices.ContainsFunc(expected,
			func(word string) bool { return strings.Contains(problem, word) }) {
			b.t.Errorf("the console says %q", problem)
		}
	}
}

// do runs actions one after the other.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v; %s", err, b.describe())
	}
}

// call sends the browser a command for the tab.
func call[P, R any](b *tab, command cdp.Command[P, R], parameters P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	answer, err := chromedp.Call(ctx, command, parameters)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// value is what a JavaScript expression gives, awaited.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v; %s", expression, err, b.describe())
	}
	return v
}

// run runs a script for what it does.
func (b *tab) run(script string) {
	b.t.Helper()
	value[chromedp.Void](b, script)
}

// until waits for an expression to be true, also over a reload.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	again := time.NewTicker(40 * time.Millisecond)
	defer again.Stop()
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if is {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			b.t.Fatalf("waited for %s: %v; %s", expression, err, b.describe())
		}
	}
}

// equal compares what an expression gives.
func equal[T comparable](b *tab, expression string, want T) {
	b.t.Helper()
	if got := value[T](b, expression); got != want {
		b.t.Errorf("%s: got %v, want %v; %s", expression, got, want, b.describe())
	}
}

// describe tells where the page stands, for a failure.
func (b *tab) describe() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`(session => JSON.stringify({
		url: location.href, state: session?.state, problem: session?.error?.message,
		seen: window.seen, text: document.body.innerText.slice(0, 1500),
	}))(window.session || document.querySelector('weboffice-document')?.session)`))
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("the page: %s; its console: %q", text, b.problems)
}

// offline cuts the tab off from the network, or connects it again.
func (b *tab) offline(off bool) {
	b.t.Helper()
	call(b, network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: off,
		DownloadThroughput: -1, UploadThroughput: -1})
	call(b, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Offline: off, DownloadThroughput: -1,
			UploadThroughput: -1}}})
}

// popup runs a script that opens a window, and returns that window's tab.
func (b *tab) popup(script string) *tab {
	b.t.Helper()
	found := chromedp.WaitNewTarget(b.ctx, func(info *target.Info) bool { return info.URL != "" })
	b.do(chromedp.Evaluate[chromedp.Void](script,
		func(p *runtime.EvaluateParams) { p.UserGesture = new(true) }))
	select {
	case id := <-found:
		return attach(b.t, b.ctx, chromedp.WithTargetID(id))
	case <-time.After(patience):
		b.t.Fatal("no window opened")
		return nil
	}
}
