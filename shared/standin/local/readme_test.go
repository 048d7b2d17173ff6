package local_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/fetch"

	"weboffice-functions/shared/standin/office"
)

// vendorSDK is where pages get the vendor's SDK; in these tests the stand-in's comes from there.
const vendorSDK = "https://g.alicdn.com" + office.SDKPath

// printed is the first block of a language in the guide, with the functions' real addresses.
func (s *stage) printed(language string) string {
	s.t.Helper()
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(
		readFile(s.t, guide))
	if block == nil {
		s.t.Fatalf("the guide has no page in %s", language)
	}
	text := strings.ReplaceAll(block[1], "https://…", s.URL)
	for _, uri := range regexp.MustCompile(`oss://[^"']+`).FindAllString(text, -1) {
		if err := s.IMM.AddDocument(uri, office.Document{Text: "Welcome"}); err != nil {
			s.t.Fatal(err)
		}
	}
	return text
}

// vendor gives the tab the stand-in's SDK at the vendor's address.
func (s *stage) vendor(b *tab) (requests func() int) {
	s.t.Helper()
	answer, err := http.Get(s.IMMURL + office.SDKPath)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	script, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return b.intercept("https://*", fetch.RequestStageRequest,
		func(e fetch.EventRequestPaused, _ int) any {
			if e.Request.URL != vendorSDK {
				return fetch.FulfillRequestParams{ResponseCode: http.StatusNotFound}
			}
			return fetch.FulfillRequestParams{
				ResponseCode: http.StatusOK,
				ResponseHeaders: []*fetch.HeaderEntry{
					{Name: "Content-Type", Value: "text/javascript"}}, Body: script,
			}
		})
}

// The guide's page of five lines, as it is printed but for the functions' addresses, under the
// policy that it names.
func TestGuidePage(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	text := s.printed("html")
	if lines := strings.Count(text, "\n"); lines != 5 {
		t.Errorf("the page of five lines has %d", lines)
	}
	s.site.add("/", text)
	s.site.allow(s.guidePolicy("https://g.alicdn.com"))
	b := newTab(t)
	requests := s.vendor(b)
	b.open(s.site.URL + "/")
	b.until(plainSession + `?.state === 'open'`)
	equal(b, `document.querySelector('weboffice-document').getBoundingClientRect().height`,
		value[float64](b, `innerHeight`))
	if n := requests(); n != 1 {
		t.Errorf("%d requests to other hosts, want one for the SDK", n)
	}
	s.calls(1, 0)
	b.quiet("favicon")
}

// The guide's script, likewise.
func TestGuideScript(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	s.site.become("editors")
	s.site.add("/", fmt.Sprintf(`<!doctype html><meta charset="utf-8">
<link rel="icon" href="data:,"><div id="editor"></div>
<script>const auth = { getToken: async () => (await fetch('token')).text() };</script>
<script type="module">%s
window.session = session;</script>`, s.printed("js")))
	b := newTab(t)
	s.vendor(b)
	b.open(s.site.URL + "/")
	b.until(`window.session?.state === 'open'`)
	equal(b, `session.permission.Readonly`, true) // as the script asks
	s.calls(1, 0)
	b.quiet()
}

// The page of one's own that README has readers write, in both languages.
func TestOwnPage(t *testing.T) {
	for _, guide := range []string{"README.md", ".github/zh-CN.md"} {
		t.Run(guide, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, 30*time.Minute)
			_, text, found := strings.Cut(readFile(t, "../../../"+guide), "```html\n")
			text, _, closed := strings.Cut(text, "```")
			if !found || !closed {
				t.Fatal("it has no page")
			}
			s.site.add("/", strings.NewReplacer("http://127.0.0.1:8080", s.URL,
				"http://127.0.0.1:8081", s.IMMURL).Replace(text))
			const uri = "oss://team-docs/handbook/welcome.txt"
			if err := s.IMM.AddDocument(uri, office.Document{Text: "Welcome"}); err != nil {
				t.Fatal(err)
			}
			b := newTab(t)
			b.open(s.site.URL + "/")
			b.until(plainSession + `?.state === 'open'`)
			s.calls(1, 0)
			b.quiet("favicon")
		})
	}
}
