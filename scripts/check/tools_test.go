package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var errFailed = errors.New("exit status 1")

func TestForeignLicenceIsFound(t *testing.T) {
	r := &report{}
	licences(r,
		"W1 library.go:101] \"x\" contains non-Go code\nNot allowed license GPL-3.0 found for library github.com/a/b\n"+
			"Not allowed license  found for library github.com/c/d/sub\nexit status 1", errFailed)
	if text := fmt.Sprint(r.findings); len(r.findings) != 2 ||
		!strings.Contains(text, `github.com/a/b has the licence "GPL-3.0"`) ||
		!strings.Contains(text, `github.com/c/d/sub has the licence ""`) {
		t.Errorf("%v", text)
	}
	r = &report{}
	if licences(r, "W1 library.go:101] contains non-Go code", nil); len(r.findings) != 0 {
		t.Errorf("a harmless warning: %v", r.findings)
	}
	if licences(r, "no such module", errFailed); len(r.findings) != 1 {
		t.Errorf("a tool that does not run is no finding: %v", r.findings)
	}
}

func TestVulnerabilityIsFound(t *testing.T) {
	const output = `=== Symbol Results ===

Vulnerability #1: GO-2099-0001
    Panic in a parser in example.com/yaml
  More info: https://pkg.go.dev/vuln/GO-2099-0001
  Module: example.com/yaml
    Found in: example.com/yaml@v1.0.0
    Fixed in: example.com/yaml@v1.0.1
    Example traces found:
      #1: functions/generate/handler.go:1:2: generate.New calls yaml.Parse

Vulnerability #2: GO-2099-0002
    Endless loop in example.com/loop
  More info: https://pkg.go.dev/vuln/GO-2099-0002
  Module: example.com/loop
    Found in: example.com/loop@v1.0.0
    Fixed in: N/A

Your code is affected by 2 vulnerabilities from 2 modules.
exit status 3`
	r := &report{}
	skipped := vulnerabilities(r, output, errFailed)
	text := fmt.Sprint(r.findings)
	if skipped != "" || len(r.findings) != 2 ||
		!strings.Contains(text,
			"GO-2099-0001: Panic in a parser in example.com/yaml — take example.com/yaml@v1.0.1") ||
		!strings.Contains(text, "GO-2099-0002: Endless loop in example.com/loop — no version") ||
		strings.Contains(text, "https:") {
		t.Errorf("%q, %v", skipped, text)
	}
	r = &report{}
	if skipped = vulnerabilities(r, "No vulnerabilities found.", nil); skipped != "" ||
		len(r.findings) != 0 {
		t.Errorf("%q, %v", skipped, r.findings)
	}
	unreachable := `govulncheck: fetching vulnerabilities: Get "https://vuln.example/index/modules.json.gz": no such host`
	if skipped = vulnerabilities(r, unreachable, errFailed); !strings.Contains(skipped,
		"nothing was looked up") || len(r.findings) != 0 {
		t.Errorf("%q, %v", skipped, r.findings)
	}
	if skipped = vulnerabilities(r, "it does not build", errFailed); skipped != "" ||
		len(r.findings) != 1 {
		t.Errorf("a tool that does not run: %q, %v", skipped, r.findings)
	}
}
