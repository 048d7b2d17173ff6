package web

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestModule runs the module's own tests with node's runner.
func TestModule(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(
				"node is not installed, and CI must test weboffice.js: install node 20 or newer")
		}
		t.Skip("node is not installed: weboffice.js is not tested here")
	}
	files, err := filepath.Glob("test/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatal("no tests", err)
	}
	// also tells go test that its result depends on these files
	for _, file := range append(files, "test/world.mjs", "weboffice.js", "package.json") {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, node, append([]string{"--test"}, files...)...).
		CombinedOutput()
	passed := regexp.MustCompile(`(?m)^\S pass (\d+)$`).FindSubmatch(output)
	if err != nil || passed == nil || string(passed[1]) == "0" {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Logf("%s tests passed in node", passed[1])
}

func get(t *testing.T, server *httptest.Server, path string) (*http.Response, string) {
	t.Helper()
	answer, err := server.Client().Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestHandler(t *testing.T) {
	server := httptest.NewServer(Handler("http://127.0.0.1:1"))
	defer server.Close()
	for path, contentType := range map[string]string{
		"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript",
		"/weboffice.js": "text/javascript",
		"/icon.svg":     "image/svg+xml",
	} {
		answer, body := get(t, server, path)
		if answer.StatusCode != http.StatusOK || body == "" ||
			!strings.HasPrefix(answer.Header.Get("Content-Type"), contentType) {
			t.Errorf("%s: %d %s", path, answer.StatusCode, answer.Header.Get("Content-Type"))
		}
		policy := answer.Header.Get("Content-Security-Policy")
		for _, part := range []string{
			"default-src 'none'", "script-src 'self' http://127.0.0.1:1;",
			"frame-src http://127.0.0.1:1;", "connect-src 'self';",
		} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: policy %q lacks %q", path, policy, part)
			}
		}
		if strings.Contains(policy, "unsafe") ||
			answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, answer.Header)
		}
	}
	for _, path := range []string{"/web.go", "/test/world.mjs", "/nothing", "/../web.go"} {
		if answer, _ := get(t, server, path); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, answer.StatusCode)
		}
	}
}

// TestPageKeepsItsPolicy finds what the policy would block, and files that are not there.
func TestPageKeepsItsPolicy(t *testing.T) {
	read := func(name string) string {
		content, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	page := read("index.html")
	if found := regexp.MustCompile(
		`<style|\sstyle=|\son[a-z]+=|<script(?: [^>]*)?>[^<]|javascript:`).FindString(
		page); found != "" {
		t.Errorf("index.html has %q, which its policy blocks", found)
	}
	for _, match := range regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(page,
		-1) {
		read(match[1])
	}
	known := regexp.MustCompile(
		`http://www\.w3\.org/2000/svg|https://g\.alicdn\.com/IMM/|https://…`)
	for _, name := range []string{"index.html", "page.css", "page.js", "weboffice.js", "icon.svg"} {
		if found := regexp.MustCompile(`https?://\S*|@import|url\(`).FindString(
			known.ReplaceAllString(read(name), "")); found != "" {
			t.Errorf("%s asks another host: %q", name, found)
		}
	}
	for _, match := range regexp.MustCompile(`byID\('([^']+)'\)`).FindAllStringSubmatch(
		read("page.js"), -1) {
		if !strings.Contains(page, `id="`+match[1]+`"`) {
			t.Errorf("page.js asks for #%s, which index.html does not have", match[1])
		}
	}
}
