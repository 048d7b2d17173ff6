package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/standin/local"
)

// screen is a terminal that tells of each write.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.written <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func TestItPrintsWhatOnesOwnPageNeeds(t *testing.T) {
	key := local.NewKey()
	for name, variables := range map[string]map[string]string{
		"ours": {}, "the shell's": {"WEBOFFICE_LINK_KEYS": key},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		s := &screen{written: make(chan struct{}, 1)}
		done := make(chan error, 1)
		go func() {
			done <- run(ctx, []string{"-addr", "127.0.0.1:0", "-imm-addr", "127.0.0.1:0"},
				func(name string) string { return variables[name] }, s)
		}()
		<-s.written
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		text := s.text.String()
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
	o, err := options([]string{"-documents", folder, "-documents", "team-docs=" + folder}, none)
	if err != nil || len(o.Documents) != 2 ||
		o.Documents[0] != (local.Folder{Bucket: "test-bucket", Dir: folder}) ||
		o.Documents[1] != (local.Folder{Bucket: "team-docs", Dir: folder}) {
		t.Errorf("%+v, %v", o.Documents, err)
	}
	for _, args := range [][]string{{"-lifetime", "1s"}, {"-policy", "/nowhere.yaml"},
		{"-documents", "/nowhere"}, {"-documents", "B=/nowhere"}, {"policy.yaml"}} {
		if _, err := options(args, none); err == nil {
			t.Errorf("%v is taken", args)
		}
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
	logger.Info("imm stand-in", "action", "x")
	logger.Warn("left out", "files", 2)
	logger.Debug("request")
	want := "09:05:07  generate  opened        ann@staff  oss://b/a.docx  by \"team\": view copy  (1 billed)\n" +
		"09:05:07  refresh   Forbidden     a guest  oss://b/a.docx  RequestId R-1\n" +
		"          No.\n          rule team: the claim groups does not hold\n" +
		"09:05:07  left out  files=2\n"
	if text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
}
