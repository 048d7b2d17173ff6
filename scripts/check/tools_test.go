package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"weboffice-functions/scripts/command"
)

// reported gives a tool's findings in the output of a failed run, and why it was skipped.
func reported(t *testing.T, name, output string) (findings []string, skipped string) {
	t.Helper()
	all := command.Data[[]tool](embedded, "tools.yaml")
	i := slices.IndexFunc(all, func(t tool) bool { return t.Name == name })
	r := &report{}
	all[i].report(r, output, errors.New("exit status 1"))
	for _, f := range r.findings {
		findings = append(findings, f.String())
	}
	return findings, r.skipped
}

func TestOutputOfTools(t *testing.T) {
	for _, c := range []struct {
		name, tool, output string
		want               []string
		skipped            string
	}{
		{"places", "vet", "# x\nvet: shared/x/a.go:3:4: undefined: y\nshared/x/b.go:7: bad\n",
			[]string{"shared/x/a.go:3:4: vet: undefined: y", "shared/x/b.go:7: vet: bad"}, ""},
		{"dependencies", "dependencies", "2c2\n< b@v1\n---\n> b@v2", []string{
			"scripts/check/dependencies.txt:1: b@v1 < (> is linked", "b@v2 > (> is linked"}, ""},
		{"a policy's mistake", "policies", "functions/a.yaml:3:1: unknown key\nexit status 1", []string{
			"functions/a.yaml:3:1: policies: unknown key — go run ./scripts/policy test"}, ""},
		{"format", "gofmt", "shared/x/a.go\nshared/x/b.go",
			[]string{"shared/x/a.go:1: it is not formatted — gofmt -w shared/x/a.go", "b.go"}, ""},
		{"no place", "staticcheck", "it broke", []string{"staticcheck: exit status 1: it broke"}, ""},
		{"a foreign licence", "licences",
			"W1 library.go:101] \"x\" contains non-Go code\n" +
				"Not allowed license GPL-3.0 found for library github.com/a/b\n" +
				"Not allowed license  found for library github.com/c/d/sub\nexit status 1",
			[]string{`github.com/a/b has the licence "GPL-3.0"`, `github.com/c/d/sub has the licence ""`}, ""},
		{"a licence tool that broke", "licences", "no such module", []string{"no such module"}, ""},
		{"vulnerabilities", "vulnerabilities", vulnerable, []string{
			"go.mod:1: GO-2099-0001: Panic in a parser in example.com/yaml — take example.com/yaml@v1.0.1",
			"GO-2099-0002: Endless loop in example.com/loop — take N/A"}, ""},
		{"no database", "vulnerabilities",
			`govulncheck: fetching vulnerabilities: Get "https://vuln.example/index/modules.json.gz": no such host`,
			nil, "nothing was looked up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, skipped := reported(t, c.tool, c.output)
			if len(got) != len(c.want) || !strings.Contains(skipped, c.skipped) {
				t.Fatalf("got %q, skipped %q", got, skipped)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) || strings.Contains(got[i], "https:") {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
	r := &report{}
	if (tool{}).report(r, "a.go:1:1: a warning", nil); len(r.findings) != 0 {
		t.Errorf("a tool that found nothing: %v", r.findings)
	}
}

const vulnerable = `=== Symbol Results ===

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

// TestUnreachableToolIsSkipped: a tool that cannot be fetched says so, and is no finding.
func TestUnreachableToolIsSkipped(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	r := &report{}
	for _, c := range []struct {
		tool
		want string
	}{
		{tool{Fetch: "example.com/no/such/tool@v1.0.0", Run: []string{"tool"}},
			"example.com/no/such/tool@v1.0.0 cannot be fetched"},
		{tool{Optional: true, Run: []string{"no-such-tool"}}, "no-such-tool is not here"},
	} {
		c.check(t.Context(), project{}, r)
		if !strings.Contains(r.skipped, c.want) || len(r.findings) > 0 {
			t.Errorf("%q, %v", r.skipped, r.findings)
		}
	}
}
