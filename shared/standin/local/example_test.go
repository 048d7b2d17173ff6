package local_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/local"
)

const examples = "../../web/examples"

// exampleStage runs the local site for an example.
func exampleStage(t *testing.T, change func(*local.Options)) *stage {
	t.Helper()
	browser(t)
	o := local.Options{Policy: []byte(readFile(t, "../../../scripts/dev/policy.yaml"))}
	change(&o)
	return &stage{t: t, clock: &clock{}, Local: start(t, o)}
}

// An example is there to be read in one screen.
func TestExamplesAreShort(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain/index.html", "backend/server.mjs", "react/main.jsx"} {
		if lines := strings.Count(readFile(t, filepath.Join(examples, name)), "\n"); lines >= 40 {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
}

func TestPlainExample(t *testing.T) {
	t.Parallel()
	s := exampleStage(t, func(o *local.Options) { o.Site = filepath.Join(examples, "plain") })
	b := newTab(t)
	b.open(s.URL + "/")
	b.until(sampleSession + `?.state === 'open'`)
	b.run(`document.querySelector('[href="#xlsx"]').click()`)
	b.until(sampleSession + `?.state === 'open' && document.querySelector('weboffice-document').
		getAttribute('src').endsWith('.xlsx')`)
	s.calls(2, 0)
	b.quiet("favicon")
}

func TestBackendExample(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("node is not installed: install node 20 or newer")
		}
		t.Skip("node is not installed: the example of a backend is not tested")
	}
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	address := "http://127.0.0.1:" + port
	s := exampleStage(t, func(o *local.Options) { o.Origins = []string{address} })
	command := exec.Command(node, "server.mjs")
	command.Dir = filepath.Join(examples, "backend")
	var said bytes.Buffer
	command.Stderr = &said
	command.Env = append(os.Environ(), "PORT="+port, "GENERATE="+s.URL+"/generate",
		"REFRESH="+s.URL+"/refresh", "SDK="+s.SDK(),
		"WEBOFFICE_LINK_KEYS="+s.Environment["WEBOFFICE_LINK_KEYS"])
	startProcess(t, command)
	s.eventually("the example's server answers", func() bool {
		answer, err := http.Get(address)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	})
	b := newTab(t)
	b.open(address + "/")
	b.run(`document.querySelector('a').click()`)
	b.until(sampleSession + `?.state === 'open'`)
	equal(b, sampleSession+`.permission.Readonly`, false)
	equal(b, `location.hash`, "")
	s.calls(1, 0)
	b.quiet()
}

func TestReactExample(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(frameworkPages, "example")
	if _, err := os.Stat(filepath.Join(folder, "index.html")); err != nil {
		if *needFrameworks {
			t.Fatal(err)
		}
		t.Skip("run shared/web/frameworks/pack first: ", err)
	}
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	s := exampleStage(t, func(o *local.Options) { o.Origins = []string{site.URL} })
	dev, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/dev/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(dev)
	}})
	mux.Handle("/assets/", http.FileServer(http.Dir(folder)))
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		setting := fmt.Sprintf(`<script>SETTING = {generate: "%[1]s/generate",
			refresh: "%[1]s/refresh", sdk: %[2]q}</script>`, s.URL, s.SDK())
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, strings.Replace(readFile(t, filepath.Join(folder, "index.html")),
			"<script", setting+"<script", 1))
	})
	b := newTab(t)
	b.open(site.URL + "/")
	b.until(sampleSession + `?.state === 'signin'`)
	s.calls(0, 0)
	b.run(`document.querySelector('button').click()`)
	b.until(sampleSession + `?.state === 'open'`)
	equal(b, sampleSession+`.permission.Readonly`, false)
	b.run(`document.querySelector('button').click()`) // signs out
	b.until(sampleSession + `?.state === 'signin' && !` + sampleSession + `.instance`)
	equal(b, `sessionStorage.weboffice === undefined`, true)
	s.calls(1, 0)
	b.quiet()
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
