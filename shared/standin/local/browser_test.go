package local_test

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"weboffice-functions/shared/standin/office"
)

// The button that brings the document back hides: the focus goes with the person, into the
// document.
func TestFocusAfterTryAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := newTab(t)
	b.open(s.site.URL + "/page.html?src=" + url.QueryEscape("oss://test-bucket/test-object.pptx"))
	b.until(`window.session?.state === 'signin'`)
	s.site.become("editors")
	b.run(`(way => { way.focus(); way.click(); })(element.shadowRoot.getElementById('way'))`)
	b.until(`session.state === 'open' && document.activeElement.tagName === 'IFRAME'`)
	equal(b, `document.activeElement.title`, "WebOffice")
}

func TestThreeRefreshes(t *testing.T) {
	t.Parallel()
	s := newStage(t, life)
	b := s.opened("/page.html")
	b.until(`times('refreshed') === 3`)
	equal(b, `seen.join()`, "frame,open,refreshed,refreshed,refreshed")
	s.calls(1, 3)
	if n := s.IMM.Openings(document); n != 1 {
		t.Errorf("%d frames opened the document, want one that goes on", n)
	}
	b.quiet()
}

// A page as the vendor's quick start writes it works; one with the usual mistake, an async
// callback, loses the document.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query, frame string
		refreshes    int
	}{
		"as it is printed":       {"", "open", 3},
		"with an async callback": {"?callback=async", "expired", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, life)
			b := newTab(t)
			b.open(s.URL + "/quickstart/" + c.query)
			b.until(`document.getElementById('state').textContent === 'open'`)
			b.until(fmt.Sprintf(`document.getElementById('refreshes').value >= %d`, c.refreshes))
			b.untilInFrame(`document.body.dataset.state === '` + c.frame + `'`)
			if got := s.IMM.Calls(); got.Generate != 1 || got.Refresh < c.refreshes ||
				c.refreshes == 0 && got.Refresh > 0 {
				t.Errorf("%+v", got)
			}
			b.quiet()
		})
	}
}

// The same token opened elsewhere takes the document: it is taken back once, then it is the
// person's choice.
func TestAccessTakenElsewhere(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute) // the frame looks every two seconds, and nothing is due
	b := s.opened("/page.html")
	take := func() {
		t.Helper()
		kept := value[string](b, `JSON.stringify(JSON.parse(sessionStorage.weboffice).answer)`)
		thief := s.tab("/elsewhere.html#" + url.PathEscape(kept))
		thief.until(`document.title === 'open'`)
	}
	take()
	b.until(`times('frame') === 2 && session.state === 'open'`)
	s.calls(2, 0)
	take()
	b.until(`session.state === 'taken'`)
	equal(b, `says('way')`, "Continue here")
	s.calls(2, 0)
	b.run(`session.retry()`)
	b.until(`session.state === 'open'`)
	s.calls(3, 0)
}

// Offline for longer than a token lives: the document comes back, and what was written meanwhile is
// in it.
func TestOffline(t *testing.T) {
	t.Parallel()
	s := newStage(t, life)
	s.site.become("editors")
	b := s.opened("/page.html")
	b.do(chromedp.EmulateViewport(1000, 700))
	b.offline(true)
	s.typeText(b, "On the train. ")
	b.until(`session.state === 'expired'`)
	equal(b, `says('title')`, "Connection lost. Trying again…")
	b.offline(false)
	b.until(`session.state === 'open' && times('refreshed') > 0`)
	equal(b, `says('title') + says('detail')`, "")
	s.eventually("what was written offline is saved",
		func() bool { return strings.Contains(s.IMM.Text(document), "On the train.") })
	if got := s.IMM.Calls(); got.Generate != 1 {
		t.Errorf("%+v", got)
	}
}

// The function's own answer got lost: asked again it repeats it, and nothing is billed twice.
func TestAnswerLostBeforeThePage(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	lost := b.intercept(s.URL+"/refresh", fetch.RequestStageResponse,
		func(_ fetch.EventRequestPaused, n int) any {
			if n == 1 {
				return fetch.FailRequestParams{ErrorReason: network.ErrorReasonConnectionReset}
			}
			return nil
		})
	s.sleep(b, 25*time.Minute)
	b.until(`times('retrying') === 1 && times('refreshed') === 1 && session.state === 'open'`)
	s.calls(1, 1)
	if n := lost(); n != 2 {
		t.Errorf("%d answers, want the lost one and its repetition", n)
	}
	b.quiet("ERR_CONNECTION_RESET", "Failed to load resource", "Network: no answer")
}

func TestTwoTabs(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	tabs := []*tab{s.opened("/page.html"), s.opened("/page.html")}
	for i := range 2 {
		s.clock.move(25 * time.Minute)
		for _, b := range tabs {
			b.wake(25 * time.Minute)
			b.until(fmt.Sprintf(`times('refreshed') === %d`, i+1))
		}
	}
	for _, b := range tabs {
		equal(b, `seen.join()`, "frame,open,refreshed,refreshed")
	}
	s.calls(2, 4)
}

// A duplicated tab has a copy of its first one's storage: it gets a session of its own and takes
// nothing away.
func TestDuplicatedTab(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("editors")
	first := s.opened("/page.html")
	second := first.popup(`window.open(location.href), undefined`)
	second.until(`window.session?.state === 'open'`)
	s.calls(2, 0)
	for _, b := range []*tab{first, second} {
		b.front()
		s.typeText(b, " Mine.")
		b.until(`says('file') === 'Saved'`)
		equal(b, `seen.filter(one => one !== 'open').join()`, "frame")
	}
	second.do(chromedp.Reload())
	second.until(`window.session?.state === 'open'`)
	s.calls(2, 0) // and its own reload is free
}

func TestBlockedSDK(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := newTab(t)
	b.block("*://*:*/IMM/*")
	b.open(s.site.URL + "/page.html")
	b.until(`window.session?.state === 'failed'`)
	equal(b, `session.error.code`, "SDK")
	equal(b, `says('detail')`, "Blocked. Allow "+s.IMMURL+office.SDKPath)
	b.block()
	b.run(`element.shadowRoot.getElementById('way').click()`)
	b.until(`session.state === 'open'`)
	s.calls(1, 0) // the tokens were good all the time
	b.quiet("ERR_BLOCKED_BY_CLIENT", "Failed to load resource", "SDK: ")
}

// An image of another site's page sends no Origin; it opens nothing and costs nothing.
func TestImageOfAnotherSite(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.tab("/page.css")
	b.run(
		fmt.Sprintf(`new Promise(done => Object.assign(new Image(), {onerror: done, src: %q}))`,
			s.URL+"/generate?SourceURI="+url.QueryEscape(document)))
	if got := s.IMM.Calls(); got != (office.Calls{}) {
		t.Errorf("%+v", got)
	}
	b.open(s.URL + "/quickstart/") // twin: the same request by the quick start's page
	b.until(`document.getElementById('state').textContent === 'open'`)
	s.calls(1, 0)
}

// guide is what adopters of the element read.
const guide = "../../web/README.md"

// guidePolicy is the Content-Security-Policy that the guide names, for these hosts.
func (s *stage) guidePolicy(sdk string) string {
	s.t.Helper()
	said := regexp.MustCompile("\\*\\*CSP\\*\\* that the page needs:\n" +
		"`(.* connect-src)` the two\nfunctions")
	found := said.FindStringSubmatch(readFile(s.t, guide))
	if found == nil {
		s.t.Fatal("the guide does not say which CSP a page needs")
	}
	return strings.NewReplacer("https://g.alicdn.com", sdk, "https://*.imm.aliyuncs.com",
		s.IMMURL).Replace(found[1]) + " " + s.URL
}

// plainPage is a page without a script or style of its own.
func (s *stage) plainPage() string {
	return fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8">
<link rel="icon" href="data:,"><script type="module" src="weboffice.js"></script>
<weboffice-document src=%q generate="%[2]s/generate" refresh="%[2]s/refresh" sdk=%[3]q>
</weboffice-document>`,
		document, s.URL, s.IMMURL+office.SDKPath)
}

const plainSession = `document.querySelector('weboffice-document').session`

// typeText writes at the end of the document's first page, in the frame.
func (s *stage) typeText(b *tab, text string) {
	s.t.Helper()
	at := value[[]float64](b, `(({left, top, width}) => [left + width / 2, top + 250])(
		document.querySelector('iframe').getBoundingClientRect())`)
	b.do(chromedp.MouseClickXY(at[0], at[1]),
		chromedp.KeyEvent(kb.End, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	for _, letter := range text {
		b.do(chromedp.KeyEvent(string(letter)))
	}
}

// untilInFrame waits for something in the page's frame.
func (b *tab) untilInFrame(holds string) {
	b.t.Helper()
	frame, err := chromedp.Run(b.ctx, chromedp.Nodes(chromedp.CSS("iframe")))
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.Poll[chromedp.Void](holds, chromedp.WithPollingInFrame(frame[0])))
}

// front brings the tab before the others of its window.
func (b *tab) front() {
	b.t.Helper()
	b.call(func(ctx context.Context, s *chromedp.Target) error {
		_, err := cdp.Call(ctx, s, page.BringToFront, cdp.Empty{})
		return err
	})
}

// eventually waits for what no page shows.
func (s *stage) eventually(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not yet: %s", what)
		}
	}
}

// block lets the browser refuse addresses, as an ad-blocker does.
func (b *tab) block(patterns ...string) {
	b.t.Helper()
	blocked := []*network.BlockPattern{}
	for _, pattern := range patterns {
		blocked = append(blocked, &network.BlockPattern{URLPattern: pattern, Block: true})
	}
	b.call(func(ctx context.Context, s *chromedp.Target) error {
		_, err := cdp.Call(ctx, s, network.SetBlockedURLs,
			network.SetBlockedURLsParams{URLPatterns: blocked})
		return err
	})
}

// intercept hands requests, but no preflights, to decide, which says how each goes on: with its
// number, from 1. The function that comes back counts them.
func (b *tab) intercept(pattern string, stage fetch.RequestStage,
	decide func(e fetch.EventRequestPaused, n int) any) (count func() int) {
	b.t.Helper()
	paused := chromedp.Events(b.ctx, fetch.RequestPaused)
	b.call(func(ctx context.Context, s *chromedp.Target) error {
		_, err := cdp.Call(ctx, s, fetch.Enable,
			fetch.EnableParams{Patterns: []*fetch.RequestPattern{
				{URLPattern: pattern, RequestStage: stage}}})
		return err
	})
	numbers := make(chan int, 1)
	numbers <- 0
	go func() {
		for e, err := range paused {
			if err != nil {
				return
			}
			var how any
			if e.Request.Method != "OPTIONS" {
				n := <-numbers + 1
				numbers <- n
				how = decide(e, n)
			}
			switch p := how.(type) {
			case fetch.FailRequestParams:
				p.RequestID = e.RequestID
				_, err = chromedp.Call(b.ctx, fetch.FailRequest, p)
			case fetch.FulfillRequestParams:
				p.RequestID = e.RequestID
				_, err = chromedp.Call(b.ctx, fetch.FulfillRequest, p)
			default:
				_, err = chromedp.Call(b.ctx, fetch.ContinueRequest,
					fetch.ContinueRequestParams{RequestID: e.RequestID})
			}
			if err != nil {
				return // the tab is closed
			}
		}
	}()
	return func() int {
		n := <-numbers
		numbers <- n
		return n
	}
}
