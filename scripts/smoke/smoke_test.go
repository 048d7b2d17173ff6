package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weboffice-functions/scripts/dev/local"
)

func TestEverythingOnThisMachinePasses(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-json"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	refusals, cases := 0, 0
	for decoder := json.NewDecoder(&out); decoder.More(); cases++ {
		var r result
		if err := decoder.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.Got, "4") {
			refusals++
		}
	}
	if refusals < 30 || refusals*2 < cases {
		t.Errorf("%d refusals of %d cases", refusals, cases)
	}
}

// TestDeployedFunctions goes the way of a deployment: URLs, a document and a proof from a file.
func TestDeployedFunctions(t *testing.T) {
	l, err := local.Start(local.Options{Policy: []byte(smokePolicy), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	token, err := l.Token("editor", "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	flags := []string{"-generate", l.URL + "/generate", "-refresh", l.URL + "/refresh", "-document", "oss://test-bucket/test-object.docx", "-origin", l.URL, "-token", file}
	if err := run(t.Context(), flags, &out); err != nil || !strings.Contains(out.String(), " passed, 0 failed") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), token.Reveal()) {
		t.Error("the proof is in the output")
	}
}

// TestCarelessFunctionsFail: functions that open everything to everybody pass almost no case.
func TestCarelessFunctionsFail(t *testing.T) {
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"AccessToken":"a","RefreshToken":"rrrrrrrrrrrrrrrrrrrr"}`))
	}))
	defer careless.Close()
	var out bytes.Buffer
	err := run(t.Context(), []string{"-generate", careless.URL, "-refresh", careless.URL, "-document", "oss://test-bucket/a.docx"}, &out)
	if err == nil || strings.Contains(out.String(), "ok  ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestFlagsThatBelongTogether(t *testing.T) {
	for _, flags := range [][]string{{"-generate", "https://x.example"}, {"-token", "nowhere"}, {"-load", "-1"}, {"-load", "100001"}} {
		if err := run(t.Context(), flags, &bytes.Buffer{}); err == nil {
			t.Errorf("%v accepted", flags)
		}
	}
}

func TestPlotIsDrawnFromAllPoints(t *testing.T) {
	drawn := string(plot([]point{{rate: 100, p50: 1, p99: 2}, {rate: 500, p50: 1.5, p99: 4}}))
	for _, part := range []string{"<svg", "</svg>", ">100<", ">500<", "p50", "p99"} {
		if !strings.Contains(drawn, part) {
			t.Errorf("%s is missing", part)
		}
	}
	if strings.Contains(drawn, "NaN") || strings.Contains(string(plot(nil)), "NaN") {
		t.Error("a number is none")
	}
}

func TestQuantiles(t *testing.T) {
	times := []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond, 100 * time.Millisecond}
	if quantile(times, 0.5) != 3 || quantile(times, 1) != 100 || quantile(nil, 0.5) != 0 {
		t.Errorf("%v %v", quantile(times, 0.5), quantile(times, 1))
	}
}
