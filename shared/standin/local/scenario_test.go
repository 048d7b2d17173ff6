package local_test

import (
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// frameworkPages are made by shared/web/frameworks/pack.
const (
	frameworkPages = "../../web/frameworks/dist"
	axe            = "../../web/frameworks/node_modules/axe-core/axe.min.js"
)

var needFrameworks = flag.Bool("frameworks", false,
	"fail where the pages of "+frameworkPages+" were not built: they are skipped otherwise")

var engines = flag.String("engines", "chromium",
	"the `browsers` that play testdata/scenarios.js: chromium, firefox, webkit")

// engine is a browser that can show a page and say its title.
type engine interface {
	// play shows a page of its own and gives its title as soon as done says so.
	play(t *testing.T, address string, done func(title string) bool) (title string, err error)
}

// engineOf starts a browser, or ends the test.
func engineOf(t *testing.T, name string) engine {
	t.Helper()
	switch name {
	case "chromium":
		return chromiumEngine{}
	case "firefox":
		return startFirefox(t)
	case "webkit":
		return startWebKit(t)
	}
	t.Fatalf("-engines %s: there are chromium, firefox and webkit", name)
	return nil
}

// TestScenarios plays each of testdata/scenarios.js, on a stage of its own.
func TestScenarios(t *testing.T) {
	_, text, _ := strings.Cut(readFile(t, "testdata/scenarios.js"), "export const scenarios = {")
	names := regexp.MustCompile(`(?m)^  async '(.+)'\(stage`).FindAllStringSubmatch(text, -1)
	if len(names) < 20 {
		t.Fatalf("only %d scenarios", len(names))
	}
	for _, name := range strings.Split(*engines, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			browser := engineOf(t, name)
			for _, scenario := range names {
				with := []string{""}
				if strings.HasPrefix(scenario[1], "framework: ") {
					with = []string{"react", "vue", "svelte"}
				}
				for _, with := range with {
					t.Run(strings.TrimSpace(scenario[1]+" "+with), func(t *testing.T) {
						if name == "chromium" { // the others show one page at a time
							t.Parallel()
						}
						playScenario(t, browser, scenario[1], with)
					})
				}
			}
		})
	}
}

func playScenario(t *testing.T, browser engine, name, with string) {
	needs := ""
	if with != "" {
		needs = filepath.Join(frameworkPages, with+".html")
	} else if strings.HasPrefix(name, "axe: ") {
		needs = axe
	}
	if _, err := os.Stat(needs); needs != "" && err != nil {
		if *needFrameworks {
			t.Fatal(err)
		}
		t.Skip("run shared/web/frameworks/pack first: ", err)
	}
	origin := ""
	if strings.HasPrefix(name, "a wrong origin") {
		origin = "https://docs.example.com"
	}
	s := newStageFor(t, 30*time.Minute, origin)
	s.site.add("/plain.html", s.plainPage())
	address := s.site.URL + "/scenario.html?" + url.Values{"name": {name}, "with": {with}}.Encode()
	title, err := browser.play(t, address, func(title string) bool {
		return title == "passed" || strings.HasPrefix(title, "failed")
	})
	if err != nil || title != "passed" {
		t.Errorf("%s %v", title, err)
	}
}

// chromiumEngine is the browser that all other tests here use too.
type chromiumEngine struct{}

func (chromiumEngine) play(t *testing.T, address string, done func(string) bool) (string, error) {
	b := newTab(t)
	b.open(address)
	title := ""
	for end := time.Now().Add(patience); !done(title); time.Sleep(20 * time.Millisecond) {
		if title = value[string](b, "document.title"); time.Now().After(end) {
			break
		}
	}
	return title, nil
}
