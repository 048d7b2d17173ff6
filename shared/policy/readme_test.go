package policy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"weboffice-functions/shared/policy"
)

// examples are the policies in README.md.
func examples(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, part := range strings.Split(string(text), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(part, "```")
		all = append(all, example)
	}
	return all
}

func TestExamplesOfTheReadmeRun(t *testing.T) {
	for _, example := range examples(t) {
		if !strings.Contains(example, "origins:") {
			example += "origins: [https://docs.example.com]\n"
		}
		r := policy.Check([]byte(example), policy.Options{Project: "p"})
		if r.Err() != nil || r.Warnings != nil || r.Tests == 0 {
			t.Errorf("%v %v, %d tests\n%s", r.Err(), r.Warnings, r.Tests, example)
		}
	}
}

// TestReadmeExplainsEveryKey: each key has its line in README.md, and each line is about a key. The
// schema takes its descriptions from there.
func TestReadmeExplainsEveryKey(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var explained []string
	_, table, _ := strings.Cut(string(text), "\n## Keys\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .")
	for _, row := range rows.FindAllStringSubmatch(table, -1) {
		explained = append(explained, row[1])
	}
	var schema map[string]any
	if err := json.Unmarshal(policy.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	keys := keysOf("", schema)
	slices.Sort(explained)
	slices.Sort(keys)
	if keys = slices.Compact(keys); !slices.Equal(keys, explained) {
		t.Errorf("README.md explains\n%q, but the keys are\n%q", explained, keys)
	}
	if !bytes.Contains(policy.Schema(), []byte(
		`"description": "the oldest sign-in that counts, by iat (default: 24h)"`)) {
		t.Error("the schema does not say what README.md says")
	}
}

// keysOf lists the keys that a schema describes.
func keysOf(path string, schema any) (keys []string) {
	switch value := schema.(type) {
	case []any:
		for _, one := range value {
			keys = append(keys, keysOf(path, one)...)
		}
	case map[string]any:
		for name, inner := range value {
			properties, isMap := inner.(map[string]any)
			if name != "properties" || !isMap {
				keys = append(keys, keysOf(path, inner)...)
				continue
			}
			for key, property := range properties {
				if path != "rules.set" && path != "tests.ask" { // the vendor describes those
					at := strings.TrimPrefix(path+"."+key, ".")
					keys = append(append(keys, at), keysOf(at, property)...)
				}
			}
		}
	}
	return keys
}

// TestSchemaAcceptsPoliciesAndMarksMistakes: an editor marks nothing in what Parse reads, and marks
// what a person may mistype.
func TestSchemaAcceptsPoliciesAndMarksMistakes(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("policy.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	judge := func(text string) error {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	for _, text := range append(examples(t), string(manyRules(3)), head,
		"quickStart: true\nlimits: {total: 600/h}\n", rule("callers: [{issuer: links}]")) {
		if err := judge(text); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for _, text := range []string{
		"proyect: p\n", "limits: {anyone: 10}\n", "limits: {anyone: 10/d}\n", "origins: []\n",
		issuer("staff: {url: https://a.example}"), rule("grant: [view, wiew]"),
		rule("caller: anyone"), rule("callers: everybody"), rule("callers: {claims: {a: b}}"),
		rule("callers: {issuer: staff, claims: {a: {b: c}}}"), rule("set: {hidecmb: true}"),
		rule("set: {Watermark: {Text: x}}"), rule("accept: [Userdata]"), rule("session: 8"),
		testing1("{as: somebody, open: oss://team-docs/x.docx, expect: r}"),
		testing1("{as: anyone, expect: r}"),
		testing1("{as: anyone, open: oss://team-docs/x.docx, expect: r, granted: [see]}"),
	} {
		if judge(text) == nil {
			t.Errorf("not marked:\n%s", text)
		}
	}
}
