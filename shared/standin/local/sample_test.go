package local_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"weboffice-functions/shared/standin/local"
)

// devStage is scripts/dev as it is started, on a clock that can be moved.
func devStage(t *testing.T, o local.Options) *stage {
	t.Helper()
	browser(t)
	s := &stage{t: t}
	o.Policy = []byte(readFile(t, "../../../scripts/dev/policy.yaml"))
	s.run(o)
	return s
}

const (
	sampleSession = `document.querySelector('weboffice-document')?.session`
	samplePart    = `document.querySelector('weboffice-document').shadowRoot`
)

// sample opens the sample page as somebody, and waits for the document.
func (s *stage) sample(as string) *tab {
	s.t.Helper()
	b := newTab(s.t)
	b.do(chromedp.EmulateViewport(1280, 860))
	b.open(s.URL + "/?" + url.Values{"as": {as}, "open": {document}}.Encode())
	b.until(sampleSession + `?.state === 'open'`)
	return b
}

// untilRule waits for the page to say which rule opened its document.
func (b *tab) untilRule(name string) {
	b.t.Helper()
	b.until(`document.getElementById('rule').textContent === '` + name + `'`)
}

// Every persona and another document can be chosen, one after the other, and the page says what
// that gave and cost. A guest does not bear the link that the page followed a moment ago.
func TestSamplePageChoices(t *testing.T) {
	t.Parallel()
	s := devStage(t, local.Options{})
	b := s.sample("viewer")
	for i, c := range []struct{ as, open, rule, role, rights string }{
		{"editor", document, "editors", "Editing",
			"Edit, Rename, History, Copy, Export, Print"},
		{"link", document, "share links", "Editing", "Edit, Copy"},
		{"guest", document, "anyone", "Read-only", "Copy"},
		{"viewer", "oss://test-bucket/ten-pages.docx", "viewers", "Read-only", "Copy"},
	} {
		b.run(fmt.Sprintf(`for (const value of [%q, %q])
			document.querySelector('#choices [value="' + value + '"]').checked = true`, c.as, c.open))
		before := value[float64](b, `performance.timeOrigin`)
		b.run(`document.querySelector('#choices button').click()`)
		b.until(fmt.Sprintf(`performance.timeOrigin !== %f`, before))
		b.until(sampleSession + `?.state === 'open'`)
		b.untilRule(c.rule)
		equal(b, `[...document.querySelectorAll('#rights .granted')].
			map(one => one.textContent).join(', ')`, c.rights)
		equal(b, samplePart+`.getElementById('role').textContent`, c.role)
		equal(b, `document.querySelector('#people :checked').value`, c.as)
		equal(b, `document.querySelector('[name=open]:checked').value`, c.open)
		equal(b, `document.querySelector('pre code').textContent.includes('src="`+c.open+`"')`, true)
		b.until(`/^1 billed call so far/.test(document.getElementById('cost-text').textContent)`)
		s.calls(i+2, 0)
		equal(b, `location.hash`, "")
	}
	b.quiet()
}

// A page's tokens are good over its reloads, a link holder's too, and the rights go on.
func TestSamplePageReloadsAndRefreshes(t *testing.T) {
	for _, as := range []string{"editor", "link"} {
		t.Run(as, func(t *testing.T) {
			t.Parallel()
			s := devStage(t, local.Options{})
			b := s.sample(as)
			for i := range 2 {
				b.do(chromedp.Reload())
				b.until(sampleSession + `?.state === 'open'`)
				// none got lost between two looks
				b.until(fmt.Sprintf(`JSON.parse(sessionStorage.ledger || '{}').opens?.length === %d`,
					i+2))
			}
			s.calls(1, 0)
			for range 2 {
				s.sleep(b, 25*time.Minute)
				b.until(sampleSession + `.left() > 29 * 60e3`)
			}
			s.calls(1, 2)
			equal(b, sampleSession+`.permission.Readonly`, false)
			b.until(`document.getElementById('refreshes').textContent === '2'`)
			// over the reloads
			b.until(`/^3 billed calls so far; .* would have made [5-9]\./.
				test(document.getElementById('cost-text').textContent)`)
			b.until(`document.querySelectorAll('#log .billed').length === 3`)
			equal(b, `document.querySelectorAll('#chart path').length`, 4)
			b.open(s.URL + "/?as=guest") // who comes anew begins anew
			b.until(sampleSession + `?.state === 'open'`)
			b.until(`/^1 billed call so far/.test(document.getElementById('cost-text').textContent)`)
			b.quiet()
		})
	}
}

// controls are the roles that need a name of their own.
var controls = []string{
	"button", "link", "radio", "checkbox", "textbox", "combobox", "Iframe", "image", "img",
	"region", "group", "complementary", "form", "main", "heading",
}

func TestSamplePageIsForEverybody(t *testing.T) {
	t.Parallel()
	s := devStage(t, local.Options{})
	b := s.sample("editor")
	b.untilRule("editors")
	for _, state := range []string{"open", "refused"} {
		if state == "refused" { // the cover with its words and its button
			b.run(
				`document.querySelector('weboffice-document').
					setAttribute('src', 'oss://nowhere/x.docx')`)
			b.until(sampleSession + `?.state === 'refused'`)
		}
		names := map[string]int{}
		tree := call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		for _, node := range tree.Nodes {
			if node.Ignored || node.Role == nil {
				continue
			}
			role := text(node.Role)
			if names[role]++; slices.Contains(controls, role) && text(node.Name) == "" {
				t.Errorf("%s: a %s has no name (node %d)", state, role, node.BackendDOMNodeID)
			}
		}
		if names["radio"] < 10 || names["heading"] < 6 || state == "open" && names["Iframe"] != 1 ||
			state == "refused" && names["button"] != 2 {
			t.Errorf("%s: %v", state, names)
		}
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			for _, width := range []int64{1280, 820, 390} {
				b.do(chromedp.EmulateViewport(width, 860))
				seen := value[struct {
					Texts int      `json:"texts"`
					Faint []string `json:"faint"`
				}](b, readFile(t, "testdata/contrast.js"))
				if seen.Texts < 40 {
					t.Errorf("%s, %s, %d: only %d texts", state, scheme, width, seen.Texts)
				}
				for _, one := range seen.Faint {
					t.Errorf("%s, %s, %d: %s", state, scheme, width, one)
				}
				for _, direction := range []string{"rtl", "ltr"} {
					b.run(`document.documentElement.dir = '` + direction + `'`)
					if wide := value[int64](b,
						`document.documentElement.scrollWidth`); wide > width {
						t.Errorf("%s, %s: %d wide in a window of %d", state, direction, wide, width)
					}
				}
			}
		}
		b.do(chromedp.EmulateViewport(1280, 860))
	}
	b.quiet("403")
}

// Nothing jumps while the page loads: a cumulative layout shift over 0.1 is poor.
func TestSamplePageDoesNotJump(t *testing.T) {
	t.Parallel()
	s := devStage(t, local.Options{})
	for _, width := range []int64{1280, 390} {
		b := newTab(t)
		b.do(chromedp.EmulateViewport(width, 860))
		b.open(s.URL + "/?as=editor")
		b.untilRule("editors")
		shift := value[float64](b, `new Promise(done => new PerformanceObserver(list => {
			done(list.getEntries().reduce((sum, one) => sum + one.value, 0));
		}).observe({type: 'layout-shift', buffered: true}) || setTimeout(done, 500, 0))`)
		if shift > .1 {
			t.Errorf("%d wide: a shift of %.2f", width, shift)
		}
		top := value[float64](b, `document.querySelector('main').getBoundingClientRect().top`)
		if top > 430 {
			t.Errorf("%d wide: the document begins at %v", width, top)
		}
	}
}

// axe looks at the pages that scripts/dev serves.
func TestServedPagesWithAxe(t *testing.T) {
	t.Parallel()
	needs(t, axe)
	script := readFile(t, axe)
	s := devStage(t, local.Options{})
	for path, ready := range map[string]string{
		"/?as=editor":  `document.getElementById('rule').textContent === 'editors'`,
		"/quickstart/": `document.getElementById('state').textContent === 'open'`,
	} {
		for _, scheme := range []string{"light", "dark"} {
			b := newTab(t)
			b.scheme(scheme)
			b.open(s.URL + path)
			b.until(ready)
			b.run(script + "; undefined")
			equal(b, `axe.run(document, {iframes: false}).then(({violations}) => violations.map(
				({id, nodes}) => id + ': ' + nodes.map(node => node.html)).join('; '))`, "")
		}
	}
}

// The skip link comes first, and all choices can be made from the keyboard.
func TestSamplePageFromTheKeyboard(t *testing.T) {
	t.Parallel()
	s := devStage(t, local.Options{})
	b := s.sample("editor")
	b.do(chromedp.KeyEvent("\t"))
	equal(b, `document.activeElement.className`, "skip")
	equal(b, `document.activeElement.getBoundingClientRect().left >= 0`, true) // it shows itself
	b.do(chromedp.KeyEvent("\t"))
	equal(b, `document.activeElement.name + ' ' + document.activeElement.value`, "as editor")
	equal(b, `getComputedStyle(document.activeElement.closest('label')).outlineStyle`, "solid")
	for range 2 { // the arrow keys walk, and bill nothing
		b.do(chromedp.KeyEvent(kb.ArrowUp))
	}
	s.calls(1, 0)
	b.do(chromedp.KeyEvent("\r"))
	b.untilRule("share links")
	s.calls(2, 0)
	b.quiet()
}

// TestPictures makes pictures of the sample page; page.png is README's. go test
// ./shared/standin/local -run Pictures -pictures FOLDER
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("no -pictures")
	}
	s := devStage(t, local.Options{})
	b := s.sample("editor")
	for range 3 {
		s.sleep(b, 25*time.Minute)
		b.until(sampleSession + `?.left() > 29 * 60e3 && ` + sampleSession + `.state === 'open'`)
	}
	s.typeText(b, " Ours is called Tuppence.")
	b.until(
		samplePart + `.getElementById('file').textContent === 'Saved'`)
	s.sleep(b, 6*time.Minute)
	b.until(`/^4 billed calls/.test(document.getElementById('cost-text').textContent)`)
	b.until(`document.getElementById('clock').textContent.startsWith('23:')`)
	// The frame's own clock, which the stand-in sets every five seconds.
	b.untilInFrame(`document.getElementById('life').textContent.startsWith('Token 23:')`)
	b.run(`document.querySelector('.left').getAnimations().map(one => one.finish())`)
	b.picture("page.png")
	b.scheme("dark")
	b.picture("page-dark.png")
	b.scheme("light")
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.picture("page-phone.png")
	b.run(`document.querySelector('main').scrollIntoView()`)
	b.picture("page-phone-document.png")
	b.run(`document.querySelector('aside').scrollIntoView()`)
	b.picture("page-phone-margin.png")
}

func (b *tab) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// picture keeps what the tab shows.
func (b *tab) picture(name string) {
	b.t.Helper()
	b.run(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))`)
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// text is a value of the accessibility tree.
func text(v *accessibility.Value) string {
	var s string
	if v == nil || json.Unmarshal(v.Value, &s) != nil {
		return ""
	}
	return strings.TrimSpace(s)
}

// TestStatePictures makes a picture of each state of the element, for -pictures.
func TestStatePictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("no -pictures")
	}
	states := []string{"opening", "waiting", "open", "retrying", "expired", "signin",
		"signin over the document", "refused", "ended", "failed", "taken"}
	for _, look := range []struct {
		name, scheme  string
		width, height int64
		query         url.Values
	}{
		{"light", "light", 900, 560, nil}, {"dark", "dark", 900, 560, nil},
		{"phone", "light", 390, 560, nil},
		{"chinese", "light", 390, 560, url.Values{"lang": {"zh"}}},
		{"arabic", "light", 390, 560, url.Values{"lang": {"ar"}, "dir": {"rtl"}}},
	} {
		for _, state := range states {
			t.Run(look.name+" "+state, func(t *testing.T) {
				s := newStageFor(t, 30*time.Minute, "")
				b := newTab(t)
				b.scheme(look.scheme)
				b.do(chromedp.EmulateViewport(look.width, look.height))
				what := url.Values{"state": {state}, "width": {fmt.Sprint(look.width)},
					"height": {fmt.Sprint(look.height)}}
				maps.Copy(what, look.query)
				b.open(s.site.URL + "/scenario.html?" + url.Values{"name": {"picture"},
					"with": {what.Encode()}}.Encode())
				b.until(`document.title !== 'running'`)
				equal(b, `document.title`, "passed")
				b.picture(look.name + "-" + strings.ReplaceAll(state, " ", "-") + ".png")
			})
		}
	}
}
