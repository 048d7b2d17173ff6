package main

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func read(t testing.TB, text string) (*node, *report) {
	t.Helper()
	r := &report{}
	return readYAML(r, fstest.MapFS{"x.yaml": {Data: []byte(text)}}, "x.yaml"), r
}

func TestYAMLKeepsPlacesThroughAnchorsAndMerges(t *testing.T) {
	file, r := read(t, `base: &base
  cpu: 0.2
  deep: {a: 1, b: two}
other:
  <<: *base
  cpu: 0.3
again: *base
`)
	for _, f := range r.findings {
		t.Error(f)
	}
	for _, c := range []struct {
		path         []string
		text         string
		kind         kind
		line, column int
	}{
		{[]string{"other", "cpu"}, "0.3", number, 6, 8},
		{[]string{"other", "deep", "b"}, "two", text, 3, 19},
		{[]string{"again", "deep", "a"}, "1", number, 3, 13},
		{[]string{"other"}, "", object, 5, 3},
	} {
		n := file.get(c.path...)
		if n == nil || n.kind != c.kind || n.text != c.text ||
			n.place != (place{"x.yaml", c.line, c.column}) {
			t.Errorf("%v: got %+v, want %s %q at %d:%d", c.path, n, c.kind, c.text, c.line,
				c.column)
		}
	}
	if file.get("nobody", "home") != nil {
		t.Error("a path that is not there gave a node")
	}
}

func TestIntrinsicsInBothForms(t *testing.T) {
	short, _ := read(t, "a: !Ref X\nb: !GetAtt X.Arn\nc: !If [C, 1, !Ref AWS::NoValue]\n")
	long,
		_ := read(t,
		"a: {Ref: X}\nb: {'Fn::GetAtt': X.Arn}\nc: {'Fn::If': [C, 1, {Ref: 'AWS::NoValue'}]}\n")
	for _, file := range []*node{short, long} {
		if !file.get("a").call("Ref").is("X") || !file.get("b").call("GetAtt").is("X.Arn") ||
			!file.get("c").call("If").items[2].call("Ref").is("AWS::NoValue") {
			t.Errorf("got %+v", file.fields)
		}
	}
}

func TestYAMLThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		"a: [1\nb: 2\n":     "correct the YAML",
		"a: *nobody\n":      "there is no anchor &nobody",
		"a: 1\na: 2\n":      "already defined",
		"":                  "not one YAML document",
		"a: 1\n---\nb: 2\n": "not one YAML document",
		"a:\n  <<: 1\n":     "merges maps only",
	} {
		_, r := read(t, text)
		if len(r.findings) == 0 || !strings.Contains(r.findings[0].String(), want) {
			t.Errorf("%q: got %v, want one with %q", text, r.findings, want)
		}
	}
}

// FuzzTemplates: whatever the files hold, the checks end, and report instead of failing.
func FuzzTemplates(f *testing.F) {
	own := map[string]string{}
	for _, name := range []string{"s.yaml", "scripts/env.yaml", "template.yml"} {
		data, err := os.ReadFile("../../" + name)
		if err != nil {
			f.Fatal(err)
		}
		own[name] = string(data)
	}
	f.Add(own["s.yaml"], own["scripts/env.yaml"], own["template.yml"])
	f.Add(
		"resources: {a: {component: fc3, props: {code: !Ref}}}\nvars: {a: '${vars.b}', b: '${vars.a}'}", "environments: [1]", "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Role: !GetAtt }}}")
	f.Add("a: &a [*a]", "environments: {}",
		"Resources: !If\nGlobals: {Function: {Timeout: !If [a]}}")
	f.Add("flow: 1\nresources: []", "? [a]\n: b",
		"Parameters: []\nResources: {R: {Type: AWS::IAM::Role, Properties: !Ref X}}")
	f.Fuzz(func(t *testing.T, serverless, environments, template string) {
		var files fs.FS = fstest.MapFS{
			"s.yaml": {Data: []byte(serverless)}, "scripts/env.yaml": {Data: []byte(environments)},
			"template.yml": {Data: []byte(template)},
		}
		r := &report{}
		checkServerless(t.Context(), project{files: files}, r)
		checkTemplate(t.Context(), project{files: files}, r)
		for _, finding := range r.findings {
			if finding.file == "" || finding.what == "" {
				t.Errorf("a finding without a place or a word: %+v", finding)
			}
		}
	})
}
