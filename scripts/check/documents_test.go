package main

import (
	"context"
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v4"
)

// shipped are this repository's own templates, with the environments as they ship: the file in use
// belongs to the adopter.
func shipped(t testing.TB) map[string]string {
	t.Helper()
	files := map[string]string{}
	for name, source := range map[string]string{"s.yaml": "../../s.yaml",
		"template.yml": "../../template.yml", "scripts/env.yaml": "testdata/env.yaml"} {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	return files
}

// findings runs a check on a project of these files.
func findings(t testing.TB, check func(context.Context, project, *report),
	files map[string]string) (all string) {
	t.Helper()
	r, system := &report{}, fstest.MapFS{}
	for name, text := range files {
		system[name] = &fstest.MapFile{Data: []byte(text)}
	}
	check(t.Context(), project{files: system, names: slices.Sorted(maps.Keys(files))}, r)
	for _, f := range r.findings {
		if all += f.String() + "\n"; !findingLine.MatchString(f.String()) {
			t.Errorf("%q is not file:line:column: what — fix", f)
		}
	}
	return all
}

// expect checks that the findings hold a text, or that there are none.
func expect(t *testing.T, check func(context.Context, project, *report), files map[string]string,
	want string) {
	t.Helper()
	got := findings(t, check, files)
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var findingLine = regexp.MustCompile(`^[\w./-]+:\d+(:\d+)?: (?s:.+) — .+$`)

// TestMutations: each change of testdata/mutations.yaml alone causes its finding.
func TestMutations(t *testing.T) {
	var all map[string][][3]string
	text, err := os.ReadFile("testdata/mutations.yaml")
	if err = errors.Join(err, yaml.Load(text, &all)); err != nil || len(all) != 3 {
		t.Fatalf("%v: %d files", err, len(all))
	}
	files := shipped(t)
	for file, mutations := range all {
		check := checkServerless
		if file == "template.yml" {
			check = checkTemplate
		}
		expect(t, check, files, "")
		for _, m := range mutations {
			t.Run(m[1], func(t *testing.T) {
				changed := maps.Clone(files)
				changed[file] = strings.Replace(files[file], m[0], m[1], 1)
				if expect(t, check, changed, m[2]); changed[file] == files[file] {
					t.Errorf("nothing was changed: there is no %q", m[0])
				}
			})
		}
	}
	// The other form in which a secret may reach a function.
	files["template.yml"] = strings.Replace(files["template.yml"], "[HasUserSalt, !Ref UserSalt,",
		"[HasUserSalt, '{{resolve:secretsmanager:weboffice:SecretString:salt}}',", 1)
	expect(t, checkTemplate, files, "")
}

func TestPlacesThroughAnchorsAndMerges(t *testing.T) {
	r := &report{}
	d := parseYAML(r, "x.yaml", []byte("base: &base\n  cpu: 0.2\n  deep: {a: 1, b: [x, y]}\n"+
		"other:\n  <<: *base\n  cpu: 0.3\nagain: *base\n"))
	for _, c := range []struct {
		path, text   string
		line, column int
	}{
		{"other cpu", "0.3", 6, 3}, {"other deep b 1", "y", 3, 23}, {"again deep a", "1", 3, 10},
		{"base cpu", "0.2", 2, 3}, {"other deep nowhere else", "", 3, 3}, {"", "", 1, 1},
	} {
		path := strings.Fields(c.path)
		want := place{Filename: "x.yaml", Line: c.line, Column: c.column}
		if n := d.at(path...); n.place != want || n.text() != c.text {
			t.Errorf("%s: %q at %v, want %v", c.path, n.text(), n.place, want)
		}
	}
	if len(r.findings) > 0 {
		t.Error(r.findings)
	}
}

func TestShortFormsOfIntrinsicFunctions(t *testing.T) {
	read := func(text string) any { return parseYAML(&report{}, "x", []byte(text)).plain() }
	short := read("a: !Ref X\nb: !GetAtt X.Arn\nc: !If [C, 1, !Ref AWS::NoValue]\nd: !Sub\n")
	long := read("a: {Ref: X}\nb: {'Fn::GetAtt': X.Arn}\n" +
		"c: {'Fn::If': [C, 1, {Ref: 'AWS::NoValue'}]}\nd: {'Fn::Sub': ''}\n")
	if !reflect.DeepEqual(short, long) || short == nil {
		t.Errorf("%v, want %v", short, long)
	}
}

func TestYAMLThatIsNone(t *testing.T) {
	for text, want := range map[string]string{
		"a: [1\nb: 2\n":     "x.yaml:2:2: did not find expected ',' or ']'",
		"a: *nobody\n":      "x.yaml:1:4: unknown anchor 'nobody' referenced",
		"a: {b: 1, b: 2}\n": `mapping key "b" already defined`,
		"":                  "no documents in stream",
		"a: 1\n---\nb: 2\n": "expected single document",
		"a:\n  <<: 1\n":     "map merge requires map",
		"a: &a [*a]":        "value contains itself",
		"a: &a " + wide("1") + "\nb: &b " + wide("*a") + "\nc: &c " + wide("*b") +
			"\nd: &d " + wide("*c") + "\ne: " + wide("*d"): "excessive aliasing",
	} {
		r := &report{}
		d := readYAML(r, fstest.MapFS{"x.yaml": {Data: []byte(text)}}, "x.yaml")
		if !d.empty() || len(r.findings) != 1 ||
			!strings.Contains(r.findings[0].String(), want) {
			t.Errorf("%.40q: got %v, want one with %q", text, r.findings, want)
		}
	}
}

// wide is a list of twenty times the same.
func wide(item string) string { return "[" + strings.Repeat(item+", ", 19) + item + "]" }

// TestLinesOfEnvironments takes the "# " off as the first lines of scripts/env.yaml say.
func TestLinesOfEnvironments(t *testing.T) {
	for name, c := range map[string]struct {
		lines string // the keys of the lines
		props map[string]string
	}{
		"the step to the custom runtime": {"runtime|instanceConcurrency|cpu|memorySize", map[string]string{
			"runtime": "custom.debian11", "instanceConcurrency": "20", "cpu": "0.35",
			"memorySize": "384", "handler": "bootstrap"}},
		"variables": {"WEBOFFICE_[A-Z_]+", map[string]string{
			"WEBOFFICE_LINK_KEYS":    "${env('WEBOFFICE_LINK_KEYS')}",
			"WEBOFFICE_USER_SALT":    "${env('WEBOFFICE_USER_SALT')}",
			"WEBOFFICE_SESSION_KEYS": "${env('WEBOFFICE_SESSION_KEYS')}"}},
		"all of them": {"[A-Za-z_]+", map[string]string{"runtime": "custom.debian11",
			"WEBOFFICE_LINK_KEYS": "${env('WEBOFFICE_LINK_KEYS')}"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := shipped(t)
			line := regexp.MustCompile(`(?m)^( +)# ((?:` + c.lines + `): .*)$`)
			files["scripts/env.yaml"] = line.ReplaceAllString(files["scripts/env.yaml"], "$1$2")
			expect(t, checkServerless, files, "")
			var all []environment
			findings(t, func(_ context.Context, p project, r *report) {
				all = environments(p.files, r)
			}, files)
			if len(all) != 3 {
				t.Fatalf("%d environments, want s.yaml's own, test and production", len(all))
			}
			for _, e := range all[1:] {
				for _, resource := range []string{"generate", "refresh"} {
					props := e.at("resources", resource, "props")
					for name, want := range c.props {
						if props.text(name) != want &&
							props.text("environmentVariables", name) != want {
							t.Errorf("%s/%s: no %s: %s in\n%v", e.name, resource, name, want, props)
						}
					}
				}
			}
			if all[0].text("resources", "generate", "props", "runtime") != "go1" {
				t.Error("s.yaml itself changed")
			}
		})
	}
}

// FuzzTemplates: whatever the files hold, the checks end, and report instead of failing.
func FuzzTemplates(f *testing.F) {
	own := shipped(f)
	f.Add(own["s.yaml"], own["scripts/env.yaml"], own["template.yml"])
	f.Add("resources: {a: {component: fc3, props: {code: !Ref}}}\nvars: {a: '${vars.b}'}",
		"environments: [1]",
		"Resources: {F: {Type: AWS::Serverless::Function, Properties: {Role: !GetAtt }}}")
	f.Add("a: &a [*a]", "environments: {}",
		"Resources: !If\nGlobals: {Function: {Timeout: !If [a]}}")
	f.Add("flow: 1\nresources: []", "? [a]\n: b",
		"Parameters: []\nResources: {R: {Type: AWS::IAM::Role, Properties: !Ref X}}")
	f.Fuzz(func(t *testing.T, serverless, environments, template string) {
		files := map[string]string{"s.yaml": serverless, "scripts/env.yaml": environments,
			"template.yml": template}
		findings(t, checkServerless, files)
		findings(t, checkTemplate, files)
	})
}
