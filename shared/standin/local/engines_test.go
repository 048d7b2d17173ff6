package local_test

import (
	"bufio"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
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

// needs ends the test where a file that shared/web/frameworks/pack makes is not there.
func needs(t *testing.T, file string) {
	t.Helper()
	if _, err := os.Stat(file); err != nil && *needFrameworks {
		t.Fatal(err)
	} else if err != nil {
		t.Skip("run shared/web/frameworks/pack first: ", err)
	}
}

// TestScenarios plays each of testdata/scenarios.js, on a stage of its own.
func TestScenarios(t *testing.T) {
	_, text, _ := strings.Cut(readFile(t, "testdata/scenarios.js"), "export const scenarios = {")
	names := regexp.MustCompile(`(?m)^  async '(.+)'\(`).FindAllStringSubmatch(text, -1)
	if len(names) < 20 {
		t.Fatalf("only %d scenarios", len(names))
	}
	for _, name := range strings.Split(*engines, ",") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := startEngine(t, name)
			for _, scenario := range names {
				with := []string{""}
				if strings.HasPrefix(scenario[1], "framework: ") {
					with = []string{"react", "vue", "svelte"}
				}
				for _, with := range with {
					t.Run(strings.TrimSpace(scenario[1]+" "+with), func(t *testing.T) {
						if engine == nil { // the others show one page at a time
							t.Parallel()
						}
						playScenario(t, engine, scenario[1], with)
					})
				}
			}
		})
	}
}

func playScenario(t *testing.T, engine *traveller, name, with string) {
	if with != "" {
		needs(t, filepath.Join(frameworkPages, with+".html"))
	} else if strings.HasPrefix(name, "axe: ") {
		needs(t, axe)
	}
	origin := map[bool]string{true: "https://docs.example.com"}[strings.HasPrefix(name,
		"a wrong origin")]
	s := newStageFor(t, 30*time.Minute, origin)
	s.add("/plain.html", s.plainPage())
	address := s.site.URL + "/scenario.html?" + url.Values{"name": {name}, "with": {with}}.Encode()
	var next chan<- string
	if engine == nil {
		newTab(t).open(address)
	} else {
		next, s.back = engine.next, engine.URL
	}
	for late := time.After(patience); ; {
		select {
		case next <- address:
			next = nil
		case verdict := <-s.verdict:
			if verdict != "passed" {
				t.Error(verdict)
			}
			return
		case <-late:
			if engine == nil || engine.lost {
				t.Fatal("no verdict")
			}
			engine.lost = true
			engine.restart()
			playScenario(t, engine, name, with)
			return
		}
	}
}

// traveller is a browser that nobody drives: it begins at a server that sends it on to the next
// scenario, and each scenario sends it back there.
type traveller struct {
	*httptest.Server
	next    chan string // addresses
	restart func()      // frees it from a page that does not end
	lost    bool        // a page: WebKit does that, once in many runs
}

// startEngine starts a browser, or ends the test; nil is the Chromium of all other tests here.
func startEngine(t *testing.T, name string) *traveller {
	t.Helper()
	if name == "chromium" {
		browser(t)
		return nil
	}
	prepare := map[string]func(t *testing.T, address string) func() *exec.Cmd{
		"firefox": firefox, "webkit": webKit}[name]
	if prepare == nil {
		t.Fatalf("-engines %s: there are chromium, firefox and webkit", name)
	}
	e := &traveller{next: make(chan string)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		select {
		case address := <-e.next:
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, address, http.StatusFound)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(e.Close)
	t.Cleanup(e.CloseClientConnections)
	command := prepare(t, e.URL)
	running := startProcess(t, command())
	e.restart = func() {
		stopProcess(running)
		running = startProcess(t, command())
	}
	return e
}

func startProcess(t *testing.T, command *exec.Cmd) *exec.Cmd {
	t.Helper()
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopProcess(command) })
	return command
}

// stopProcess ends a program with its helpers, which would go on to write into its folder.
func stopProcess(command *exec.Cmd) {
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	_ = command.Wait()
}

// installed finds a program by one of its names, or ends the test, which CI may not leave out.
func installed(t *testing.T, what string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: none of %q", what, names)
	}
	t.Skipf("%s is not installed: none of %q", what, names)
	return ""
}

func firefox(t *testing.T, address string) func() *exec.Cmd {
	program := installed(t, "Firefox", "firefox", "firefox-esr")
	quiet := readFile(t, "testdata/firefox.js")
	return func() *exec.Cmd {
		profile := t.TempDir()
		if err := os.WriteFile(profile+"/user.js", []byte(quiet), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(program, "--headless", "--no-remote", "--profile", profile, address)
		command.Env = append(os.Environ(), "HOME="+profile)
		return command
	}
}

func webKit(t *testing.T, address string) func() *exec.Cmd {
	t.Helper()
	program := installed(t, "WebKit's MiniBrowser",
		"/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
		"/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser")
	screen := exec.Command(installed(t, "a display", "Xvfb"), "-displayfd", "1",
		"-screen", "0", "1280x900x24", "-nolisten", "tcp")
	number, _ := screen.StdoutPipe() // fails for one that has begun
	startProcess(t, screen)
	display, err := bufio.NewReader(number).ReadString('\n')
	if err != nil {
		t.Fatal("Xvfb tells no display: ", err)
	}
	return func() *exec.Cmd {
		command := exec.Command(program, address)
		command.Env = append(os.Environ(), "DISPLAY=:"+strings.TrimSpace(display),
			"HOME="+t.TempDir(), "GDK_BACKEND=x11", "WEBKIT_DISABLE_COMPOSITING_MODE=1",
			"LIBGL_ALWAYS_SOFTWARE=1")
		return command
	}
}
