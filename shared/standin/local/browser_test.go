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

func TestOpenAsWhoeverAsks(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	for _, c := range []struct{ way, group, role string }{
		{"/page.html", "", "Read-only"}, {"/page.html", "viewers", "Read-only"},
		{"/page.html", "editors", "Editing"},
		{"/page.html?readonly", "editors", "Read-only"},
	} {
		s.site.become(strings.Fields(c.group)...)
		b := s.opened(c.way)
		equal(b, `says('role')`, c.role)
		equal(b, `session.permission.Readonly`, c.role == "Read-only")
		equal(b, `seen.join()`, "frame,open")
		b.quiet()
	}
	s.calls(4, 0)
	if n := s.IMM.Openings(document); n != 4 {
		t.Errorf("%d frames opened the document, want 4", n)
	}
}

// A document that is not open to anyone asks for a proof, and opens when one comes.
func TestSignIn(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := newTab(t)
	b.open(s.site.URL + "/page.html?src=" + url.QueryEscape("oss://test-bucket/test-object.pptx"))
	b.until(`window.session?.state === 'signin'`)
	equal(b, `says('way')`, "Try again")
	s.site.become("editors")
	b.run(`element.shadowRoot.getElementById('way').click()`)
	b.until(`session.state === 'open'`)
	equal(b, `says('role')`, "Editing")
	s.calls(1, 0)
}

// Whoever signs in after the document has opened for a guest gets what a rule grants them.
func TestSignInLater(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	equal(b, `says('role')`, "Read-only")
	s.site.become("editors")
	b.run(`session.retry(true)`)
	b.until(`session.state === 'open' && says('role') === 'Editing'`)
	s.calls(2, 0)
	b.run(`session.retry(true)`) // the same person: nothing to do
	b.until(`session.state === 'open'`)
	s.calls(2, 0)
	b.quiet()
}

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
		query, state string
		refreshes    int
	}{"as it is printed": {"", "open", 3}, "with an async callback": {"?callback=async", "lost",
		0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, life)
			b := newTab(t)
			b.open(s.URL + "/quickstart/" + c.query)
			b.until(fmt.Sprintf(`document.getElementById('state').textContent === %q`, c.state))
			b.until(fmt.Sprintf(`document.getElementById('refreshes').value >= %d`, c.refreshes))
			equal(b, `document.getElementById('state').textContent`, c.state)
			if got := s.IMM.Calls(); got.Generate != 1 || got.Refresh < c.refreshes ||
				c.refreshes == 0 && got.Refresh > 0 {
				t.Errorf("%+v", got)
			}
			b.quiet()
		})
	}
}

func TestChangedRights(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("editors")
	b := s.opened("/page.html")
	s.typeText(b, " While I may.") // and the right ends before the frame has saved it by itself
	for i, c := range []struct{ group, role string }{{"viewers", "Read-only"},
		{"editors", "Editing"}} {
		s.site.become(c.group)
		s.sleep(b, 25*time.Minute)
		b.until(fmt.Sprintf(`times('changed') === %d && session.state === 'open'`, i+1))
		b.until(`says('role') === '` + c.role + `'`)
		s.calls(2+i, 0)
		if !strings.Contains(s.IMM.Text(document), "While I may.") {
			t.Errorf("%s: what was written is not saved", c.group)
		}
	}
	equal(b, `times('frame')`, 1) // the same address: the frame stays
	s.typeText(b, " And again.")
	b.until(`says('file') === 'Saved'`)
	b.quiet()
}

// Whoever lost the last rule loses the document at the next refresh.
func TestRightThatEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("viewers")
	b := s.opened("/page.html?src=" + url.QueryEscape("oss://test-bucket/test-object.pptx"))
	s.site.become("nobody")
	s.sleep(b, 25*time.Minute)
	b.until(`session.state === 'refused' && !session.instance`)
	says := value[string](b, `[says('title'), says('detail'), says('request')].join('|')`)
	if !regexp.MustCompile(`^You have no access\|You .*\|RequestId \S+$`).MatchString(says) {
		t.Errorf("%q", says)
	}
	s.calls(1, 0)
	b.quiet("403")
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

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("editors")
	// its rule has session: 1m
	b := s.opened("/page.html?src=" + url.QueryEscape("oss://test-bucket/test-object.xlsx"))
	s.sleep(b, 26*time.Minute)
	b.until(`session.state === 'ended' && !session.instance`)
	equal(b, `session.error.status`, 410)
	equal(b, `says('way')`, "Continue here")
	s.calls(1, 0)
	b.run(`session.retry()`)
	b.until(`session.state === 'open'`)
	s.calls(2, 0)
	b.quiet("410")
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

// A machine that slept past its token's end: the document is there when it wakes.
func TestSleep(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	s.sleep(b, 8*time.Hour)
	// a reader's frame is made anew
	b.until(`times('refreshed') === 1 && times('frame') === 2 && session.state === 'open'`)
	s.calls(1, 1)
	s.sleep(b, 11*time.Minute) // not yet due
	s.sleep(b, 14*time.Minute)
	b.until(`times('refreshed') === 2`)
	equal(b, `times('frame')`, 2)
	s.calls(1, 2)
	b.quiet()
}

// IMM did the work and its answer got lost: the function generates in the same request, and no
// token is used twice.
func TestAnswerLostBehindTheFunction(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	s.IMM.Fail(office.Refresh, 1, office.Cut().AfterWork())
	s.sleep(b, 25*time.Minute)
	b.until(`times('refreshed') === 1 && session.state === 'open'`)
	equal(b, `seen.join()`, "frame,open,refreshed")
	s.calls(2, 1)
	b.quiet()
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

// 429: asked again, not before the time that Retry-After names. Another origin's page can read it.
func TestThrottledThenFine(t *testing.T) {
	t.Parallel()
	const wait = 3 * time.Second
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	s.IMM.Fail(office.Refresh, 1, office.Throttled(wait))
	s.sleep(b, 25*time.Minute)
	b.until(`session.state === 'retrying' && session.error.status === 429`)
	equal(b, `session.error.wait`, 3000)
	// waking is no reason to ask sooner
	b.run(`dispatchEvent(new Event('online')); session.retry()`)
	b.until(`times('refreshed') === 1 && session.state === 'open'`)
	var asked []time.Time
	for _, request := range s.IMM.Requests() {
		if request.Action == office.Refresh {
			asked = append(asked, request.Time)
		}
	}
	if len(asked) != 2 || asked[1].Sub(asked[0]) < wait-50*time.Millisecond {
		t.Errorf("asked at %v, want a second time after %v", asked, wait)
	}
	s.calls(1, 1)
	b.quiet("429")
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

func TestReload(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("editors")
	b := s.opened("/page.html")
	for range 3 {
		b.do(chromedp.Reload())
		b.until(`window.session?.state === 'open'`)
		equal(b, `says('role')`, "Editing")
	}
	s.calls(1, 0)
	s.sleep(b, 25*time.Minute)
	b.until(`times('refreshed') === 1`) // the refresh comes when it would have come
	s.calls(1, 1)
	if n := s.IMM.Openings(document); n != 4 {
		t.Errorf("%d frames opened the document, want 4", n)
	}
	b.quiet()
}

// Another person in the same tab does not get what the first one had opened.
func TestReloadAsSomebodyElse(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("editors")
	b := s.opened("/page.html")
	s.site.become()
	b.do(chromedp.Reload())
	b.until(`window.session?.state === 'open'`)
	equal(b, `says('role')`, "Read-only")
	s.calls(2, 0)
}

// A share link's token is the proof, and leaves the address bar before anything else happens.
func TestShareLink(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	link, err := s.Token("link", document)
	if err != nil {
		t.Fatal(err)
	}
	b := s.opened("/page.html#part=2&link=" + link.Reveal())
	equal(b, `location.href`, s.site.URL+"/page.html#part=2")
	equal(b, `says('role')`, "Editing")
	kept := value[string](b, `JSON.stringify([{...sessionStorage}, {...localStorage}])`)
	if signature := strings.Split(link.Reveal(), ".")[2]; strings.Contains(kept, signature) {
		t.Error("the link is kept outside its history entry")
	}
	b.do(chromedp.Reload())
	b.until(`window.session?.state === 'open'`)
	equal(b, `location.href`, s.site.URL+"/page.html#part=2")
	s.calls(1, 0)
	s.sleep(b, 25*time.Minute)
	b.until(`times('refreshed') === 1`) // also where anyone may read: the holder stays one
	equal(b, `says('role')`, "Editing")
	s.calls(1, 1)
	b.quiet()
}

func TestBlockedSDK(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := newTab(t)
	b.block("*://*:*/IMM/*")
	b.open(s.site.URL + "/page.html")
	b.until(`window.session?.state === 'failed'`)
	equal(b, `session.error.code`, "SDK")
	equal(b, `says('detail')`, "Blocked. Please allow "+s.IMMURL+office.SDKPath)
	b.block()
	b.run(`element.shadowRoot.getElementById('way').click()`)
	b.until(`session.state === 'open'`)
	s.calls(1, 0) // the tokens were good all the time
	b.quiet("ERR_BLOCKED_BY_CLIENT", "Failed to load resource", "SDK: ")
}

func TestWrongOrigin(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	other := newSite(t)
	other.setting, other.people = s.site.setting, s.Local
	b := newTab(t)
	b.open(other.URL + "/page.html")
	b.until(`window.session?.state === 'failed'`)
	equal(b, `session.error.code`, "Network")
	message := value[string](b, `session.error.message`)
	if !strings.Contains(message, "origins") || !strings.Contains(message, other.URL) {
		t.Errorf("%q does not say what to add where", message)
	}
	if says := value[string](b, `says('detail')`); says !=
		"No connection: "+s.URL+" to "+other.URL {
		t.Errorf("readers are told %q", says)
	}
	if got := s.IMM.Calls(); got != (office.Calls{}) {
		t.Errorf("%+v", got)
	}
	b.quiet("CORS", "Failed to load resource", "Network: no answer")
}

// An image of another site's page sends no Origin; it opens nothing and costs nothing.
func TestImageOfAnotherSite(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.tab("/page.css")
	b.run(
		fmt.Sprintf(
			`new Promise(done => { const image = new Image(); image.onerror = done; image.src = %q; })`,
			s.URL+"/generate?SourceURI="+url.QueryEscape(document)))
	if got := s.IMM.Calls(); got != (office.Calls{}) {
		t.Errorf("%+v", got)
	}
	b.open(s.URL + "/quickstart/") // twin: the same request by the quick start's page
	b.until(`document.getElementById('state').textContent === 'open'`)
	s.calls(1, 0)
}

// readmePolicy is the Content-Security-Policy that README names, for these hosts.
func (s *stage) readmePolicy(sdk string) string {
	s.t.Helper()
	readme := readFile(s.t, "../../../README.md")
	found := regexp.MustCompile(
		"\\*\\*CSP\\*\\* that the page needs: `(.* connect-src)` the two functions").FindStringSubmatch(readme)
	if found == nil {
		s.t.Fatal("README does not say which CSP a page needs")
	}
	return strings.NewReplacer("https://g.alicdn.com", sdk, "https://*.imm.aliyuncs.com",
		s.IMMURL).Replace(found[1]) + " " + s.URL
}

// strictPolicy allows what README names and nothing besides.
func (s *stage) strictPolicy() string {
	s.t.Helper()
	return "default-src 'none'; base-uri 'none'; form-action 'none'; " + s.readmePolicy(s.IMMURL)
}

// plainPage is a page without a script or style of its own.
func (s *stage) plainPage() string {
	return fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="module" src="weboffice.js"></script>
<weboffice-document src=%q generate="%[2]s/generate" refresh="%[2]s/refresh" sdk=%[3]q></weboffice-document>`,
		document, s.URL, s.IMMURL+office.SDKPath)
}

const plainSession = `document.querySelector('weboffice-document').session`

func TestStrictCSP(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.add("/plain.html", s.plainPage())
	s.site.allow(s.strictPolicy() + "; img-src data:")
	b := s.tab("/plain.html")
	b.until(plainSession + `?.state === 'open'`)
	frame := value[float64](b,
		`document.querySelector('weboffice-document iframe').getBoundingClientRect().height`)
	if frame < 200 {
		t.Errorf("the frame is %v high", frame)
	}
	s.calls(1, 0)
	b.quiet()
}

// What a policy lacks is named, and costs at most the one call that came before.
func TestCSPThatLacksSomething(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.add("/plain.html", s.plainPage())
	strict := s.strictPolicy()
	for _, c := range []struct{ directive, host string }{{"script-src", s.IMMURL},
		{"frame-src", s.IMMURL}, {"connect-src", s.URL}} {
		s.site.allow(regexp.MustCompile(c.directive+`[^;]*`).ReplaceAllStringFunc(strict,
			func(directive string) string {
				return strings.ReplaceAll(directive, c.host, "")
			}))
		b := s.tab("/plain.html")
		b.until(plainSession + `?.state === 'failed'`)
		equal(b, plainSession+`.error.code + ' ' + `+plainSession+`.error.value`,
			"CSP "+c.directive+" "+c.host)
		b.quiet("Content Security Policy", "violates", "CSP: this page lacks")
	}
	if got := s.IMM.Calls(); got.Generate > 2 || got.Refresh > 0 {
		t.Errorf("%+v", got)
	}
}

// Another WebofficeURL needs another frame.
func TestRemount(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.IMM.SetSwitches(office.Switches{NewURLEachTime: true})
	s.site.become("editors")
	b := s.opened("/page.html")
	first := value[string](b, `session.instance.url`)
	s.sleep(b, 25*time.Minute)
	b.until(`times('refreshed') === 1`)
	equal(b, `times('frame')`, 1) // a refresh keeps its address
	s.typeText(b, "Kept. ")
	s.site.become("viewers")
	s.sleep(b, 25*time.Minute)
	b.until(`times('frame') === 2 && session.state === 'open'`)
	if second := value[string](b, `session.instance.url`); first == second {
		t.Error("the same address")
	}
	equal(b, `document.querySelectorAll('iframe').length`, 1)
	equal(b, `says('role')`, "Read-only")
	if !strings.Contains(s.IMM.Text(document), "Kept.") {
		t.Error("what was written is not saved")
	}
	s.calls(2, 1)
	b.quiet()
}

func TestElementRemovedAndInsertedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	b.run(`element.remove()`)
	b.until(`session === null`)
	b.run(`place.append(element)`)
	b.until(`session?.state === 'open'`)
	b.run(`document.body.prepend(element)`) // out and in at once
	b.until(`times('frame') === 3 && session?.state === 'open'`)
	s.calls(1, 0)
	equal(b, `document.querySelectorAll('iframe').length`, 1)
	b.quiet()
}

// A second document in one page waits for the first to leave.
func TestSecondElement(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	b := s.opened("/page.html")
	b.run(`window.second = element.cloneNode(false); document.body.append(second)`)
	b.until(`second.getAttribute('state') === 'waiting'`)
	equal(b, `session.state`, "open")
	b.run(`element.remove()`)
	b.until(`second.getAttribute('state') === 'open'`)
	s.calls(1, 0)
}

// typeText writes at the end of the document's first page, in the frame.
func (s *stage) typeText(b *tab, text string) {
	s.t.Helper()
	at := value[[]float64](b,
		`(({left, top, width}) => [left + width / 2, top + 250])(document.querySelector('iframe').getBoundingClientRect())`)
	b.do(chromedp.MouseClickXY(at[0], at[1]),
		chromedp.KeyEvent(kb.End, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	for _, letter := range text {
		b.do(chromedp.KeyEvent(string(letter)))
	}
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
