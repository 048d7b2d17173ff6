package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/local"
)

// writer is a function that takes what is written.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestItPrintsWhatOnesOwnPageNeeds(t *testing.T) {
	key := local.NewKey()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it ends when it has printed
	for name, variables := range map[string]map[string]string{
		"ours": {}, "the shell's": {"WEBOFFICE_LINK_KEYS": key},
	} {
		var out bytes.Buffer
		if err := run(ctx, []string{"-addr", "127.0.0.1:0", "-imm-addr", "127.0.0.1:0"},
			func(name string) string { return variables[name] }, &out); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		for _, part := range []string{"/generate\n", "/refresh\n", "aliyun-web-office-sdk.min.js\n",
			"STS.local local-secret local-token", "scripts/policy link -document"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s is missing in %s", part, text)
			}
		}
		if strings.Contains(text, key) ||
			strings.Contains(text, "WEBOFFICE_LINK_KEYS=") != (name == "ours") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestFlags(t *testing.T) {
	folder := t.TempDir()
	none := func(string) string { return "" }
	o, _, err := options([]string{"-documents", folder, "-documents", "team-docs=" + folder}, none)
	if err != nil || len(o.Documents) != 2 ||
		o.Documents[0] != (local.Folder{Bucket: "test-bucket", Dir: folder}) ||
		o.Documents[1] != (local.Folder{Bucket: "team-docs", Dir: folder}) {
		t.Errorf("%+v, %v", o.Documents, err)
	}
	for _, args := range [][]string{{"-lifetime", "1s"}, {"-policy", "/nowhere.yaml"},
		{"-documents", "/nowhere"}, {"-documents", "B=/nowhere"}, {"policy.yaml"}} {
		if _, _, err := options(args, none); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}

// A site with a server of its own gets what it needs to open documents here.
func TestExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"plain/index.html": `<p>http://127.0.0.1:8080/generate</p>`,
		"backend/server.mjs": `import http from 'node:http'
http.createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('GENERATE is',
  process.env.GENERATE, process.env.REFRESH, process.env.SDK,
  process.env.WEBOFFICE_LINK_KEYS.length))`,
		"broken/server.mjs": `process.exit(3)`,
	} {
		file := filepath.Join(examples, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755),
			os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newExample("x"); err == nil ||
		!strings.Contains(err.Error(), "backend, broken, plain") {
		t.Errorf("an unknown example: %v", err)
	}
	none := func(string) string { return "" }
	o, _, err := options([]string{"-example", "plain"}, none)
	if err != nil || o.Site != filepath.Join(examples, "plain") || o.Origins != nil {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed: no example with a server is run")
	}
	free := []string{"-addr", "127.0.0.1:0", "-imm-addr", "127.0.0.1:0", "-example"}
	if err := run(t.Context(), append(free, "broken"), none, io.Discard); err == nil ||
		!strings.Contains(err.Error(), "node server.mjs") {
		t.Errorf("a server that ends: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, append(free, "backend"), none, write)
		ended <- errors.Join(err, write.Close())
	}()
	found := regexp.MustCompile(
		`GENERATE is http://127\S+/generate http://127\S+/refresh http://127\S+\.js 44`)
	var text bytes.Buffer
	_, err = io.Copy(writer(func(p []byte) {
		if text.Write(p); found.Match(text.Bytes()) {
			cancel()
		}
	}), read)
	if err := errors.Join(err, <-ended); err != nil || !found.Match(text.Bytes()) {
		t.Errorf("%v: %s", err, text.String())
	}
}

func TestTerminalSaysWhoAndWhy(t *testing.T) {
	var text bytes.Buffer
	at := time.Date(2026, 11, 2, 9, 5, 7, 0, time.UTC)
	logger := slog.New(newTerminal(&text, func() time.Time { return at }))
	logger.Info("decision", "function", "generate", "issuer", "staff", "subject", "ann",
		"document", "oss://b/a.docx", "rule", "team", "granted", "view copy", "outcome", "opened",
		"billed", 1)
	logger.Warn("decision", "function", "refresh", "issuer", "", "subject", "", "document",
		"oss://b/a.docx", "outcome", "Forbidden", "requestId", "R-1", "message", "No.",
		"rule: team", "the claim groups does not hold")
	logger.Warn("decision", "function", "generate", "outcome", "Forbidden.Origin", "message", "No.",
		"requestId", "R-2")
	logger.Info("imm stand-in", "action", "x")
	logger.Warn("left out", "files", 2)
	logger.Debug("request")
	want := "09:05:07  generate  opened        ann@staff  oss://b/a.docx" +
		"  by \"team\": view copy  (1 billed)\n" +
		"09:05:07  refresh   Forbidden     a guest  oss://b/a.docx  RequestId R-1\n" +
		"          No.\n          rule team: the claim groups does not hold\n" +
		"09:05:07  generate  Forbidden.Origin  a guest  RequestId R-2\n          No.\n" +
		"09:05:07  left out  files=2\n"
	if text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
}
