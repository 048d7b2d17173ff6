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

// The curl command that README shows gives the fields that README lists.
func TestReadmeFields(t *testing.T) {
	t.Parallel()
	s := newStage(t, 30*time.Minute)
	readme := readFile(t, "../../../README.md")
	command := regexp.MustCompile(`curl -s http://127\.0\.0\.1:8080/generate ` +
		`-H 'Content-Type: application/json' -d '(.*)'`).FindStringSubmatch(readme)
	fields := regexp.MustCompile(`(?m)^\{("RequestId".*)\}$`).FindStringSubmatch(readme)
	if command == nil || fields == nil {
		t.Fatal("README has no curl command, or no fields")
	}
	answer, err := http.Post(s.URL+"/generate", "application/json", strings.NewReader(command[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", answer.StatusCode, body, err)
	}
	for _, field := range strings.Split(fields[1], ",") {
		if !strings.Contains(string(body), field+":") {
			t.Errorf("%s is not in the answer", field)
		}
	}
}
