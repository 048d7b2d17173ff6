package local_test

import (
	"fmt"
	"io"
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
	s := devStage(t, local.Options{Site: filepath.Join(examples, "plain")})
	b := newTab(t)
	b.open(s.URL + "/")
	b.until(sampleSession + `?.state === 'open'`)
	b.run(`document.querySelector('[href="#xlsx"]').click()`)
	b.until(sampleSession + `?.state === 'open' && document.querySelector('weboffice-document').
		getAttribute('src').endsWith('.xlsx')`)
	s.calls(2, 0)
	b.quiet()
}

func TestBackendExample(t *testing.T) {
	t.Parallel()
	node := installed(t, "node 20 or newer", "node")
	free := httptest.NewServer(nil)
	free.Close()
	address := free.URL
	s := devStage(t, local.Options{Origins: []string{address}})
	command := exec.Command(node, "server.mjs")
	command.Dir = filepath.Join(examples, "backend")
	command.Stderr = t.Output()
	command.Env = append(os.Environ(), "PORT="+address[strings.LastIndex(address, ":")+1:],
		"GENERATE="+s.URL+"/generate", "REFRESH="+s.URL+"/refresh", "SDK="+s.SDK(),
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
	needs(t, filepath.Join(folder, "index.html"))
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	s := devStage(t, local.Options{Origins: []string{site.URL}})
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
