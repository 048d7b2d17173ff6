package local_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"weboffice-functions/shared/standin/office"
)

// What the pages of scenarios.js cannot do, and the pages that guides print.

// A page as the vendor's quick start writes it works; one with the usual mistake, an async
// callback, loses the document. The frame's tokens end in real time here.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query, frame string
		refreshes    int
	}{
		"as it is printed":       {"", "open", 2},
		"with an async callback": {"?callback=async", "expired", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, 3*time.Second)
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

// Offline for longer than a token lives: the document comes back, and what was written meanwhile is
// in it.
func TestOffline(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.become("editors")
	b := s.opened("/page.html")
	b.do(chromedp.EmulateViewport(1000, 700))
	b.offline(true)
	s.typeText(b, "On the train. ")
	s.sleep(b, 26*time.Minute)
	b.until(`session.state === 'retrying'`)
	s.sleep(b, 5*time.Minute)
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

// A duplicated tab has a copy of its first one's storage: it gets a session of its own and takes
// nothing away. Each tab refreshes its own, and its reload is free.
func TestDuplicatedTab(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.become("editors")
	first := s.opened("/page.html")
	second := first.popup(`window.open(location.href), undefined`)
	second.until(`window.session?.state === 'open'`)
	s.calls(2, 0)
	tabs := []*tab{first, second}
	for _, b := range tabs {
		b.run(`session.instance.Application.StandIn.type(' Mine.')`)
		b.until(`says('file') === 'Saved'`)
	}
	second.do(chromedp.Reload())
	second.until(`window.session?.state === 'open'`)
	s.calls(2, 0)
	s.ahead.Add(int64(25 * time.Minute))
	for _, b := range tabs {
		call(b, page.BringToFront, cdp.Empty{})
		b.wake(25 * time.Minute)
		b.until(`times('refreshed') === 1`)
		equal(b, `seen.filter(one => one !== 'open').join()`, "frame,refreshed")
	}
	s.calls(2, 2)
}

// guide is what adopters of the element read.
const guide = "../../web/README.md"

// guidePolicy is the Content-Security-Policy that the guide names, for this stage.
func (s *stage) guidePolicy() string {
	s.t.Helper()
	said := regexp.MustCompile("\\*\\*CSP\\*\\* that the page needs:\n" +
		"`(.* connect-src)` the two\nfunctions")
	found := said.FindStringSubmatch(readFile(s.t, guide))
	if found == nil {
		s.t.Fatal("the guide does not say which CSP a page needs")
	}
	return strings.ReplaceAll(found[1], "https://*.imm.aliyuncs.com", s.IMMURL) + " " + s.URL
}

// printed is the first block of a language in a guide, with the addresses of this stage, where the
// documents that it names are laid.
func (s *stage) printed(guide, language string) string {
	s.t.Helper()
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(
		readFile(s.t, guide))
	if block == nil {
		s.t.Fatalf("%s has no page in %s", guide, language)
	}
	for _, uri := range regexp.MustCompile(`oss://[^"']+`).FindAllString(block[1], -1) {
		if err := s.IMM.AddDocument(uri, office.Document{Text: "Welcome"}); err != nil {
			s.t.Fatal(err)
		}
	}
	return strings.NewReplacer("https://…", s.URL, "http://127.0.0.1:8080", s.URL,
		"http://127.0.0.1:8081", s.IMMURL).Replace(block[1])
}

// TestPrintedPages: what guides print works as it is, but for the functions' addresses: the page of
// five lines under the policy that its guide names, the script, README's page in both languages.
func TestPrintedPages(t *testing.T) {
	t.Parallel()
	const script = `<!doctype html><meta charset="utf-8">
<link rel="icon" href="data:,"><div id="editor"></div>
<script>const auth = { getToken: async () => (await fetch('token')).text() };</script>
<script type="module">%s
window.session = session;</script>`
	const elements = `document.querySelector('weboffice-document').session`
	for name, c := range map[string]struct {
		guide, language, around, session string
		under                            func(*stage) string // Content-Security-Policy
	}{
		"five lines": {guide, "html", "%s", elements, (*stage).guidePolicy},
		"script":     {guide, "js", script, "session", nil},
		"README.md":  {"../../../README.md", "html", "%s", elements, nil},
		"zh-CN.md":   {"../../../.github/zh-CN.md", "html", "%s", elements, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, 30*time.Minute)
			s.become("editors")
			text := s.printed(c.guide, c.language)
			if lines := strings.Count(text, "\n"); name == "five lines" && lines != 5 {
				t.Errorf("the page of five lines has %d", lines)
			}
			s.add("/", fmt.Sprintf(c.around, text))
			if c.under != nil {
				s.policies["/"] = c.under(s)
			}
			b := newTab(t)
			b.open(s.site.URL + "/")
			b.until(`window.session?.state === 'open' || ` + c.session + `?.state === 'open'`)
			equal(b, c.session+`.permission.Readonly`, true) // a guest, or as the script asks
			if c.guide == guide {                            // README's has the stand-in's address
				equal(b, `performance.getEntriesByType('resource').map(({ name }) => name).
					filter(name => !name.startsWith('http://127.0.0.1')).join()`,
					"https://g.alicdn.com"+office.SDKPath)
			}
			if name == "five lines" {
				equal(b, `document.querySelector('iframe').getBoundingClientRect().height
					=== innerHeight - 44`, true) // the line's
			}
			s.calls(1, 0)
			b.quiet("favicon")
		})
	}
}

// plainPage is a page without a script or style of its own.
func (s *stage) plainPage() string {
	return fmt.Sprintf(`<!doctype html><html lang="en"><meta charset="utf-8">
<link rel="icon" href="data:,"><script type="module" src="weboffice.js"></script>
<weboffice-document src=%q generate="%[2]s/generate" refresh="%[2]s/refresh" sdk=%[3]q>
</weboffice-document>`,
		document, s.URL, s.SDK())
}

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

// eventually waits for what no page shows.
func (s *stage) eventually(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not yet: %s", what)
		}
	}
}
