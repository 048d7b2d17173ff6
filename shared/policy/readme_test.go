package policy_test

import (
	"bytes"
	"encoding/json"
	"os"
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

func TestReadmeExplainsEveryKey(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(policy.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(t, "", schema) {
		if !bytes.Contains(text, []byte("\n| `"+key+"` |")) {
			t.Errorf("%s has no line in README.md", key)
		}
	}
}

// keysOf lists the keys that a schema describes. Each must have a description.
func keysOf(t *testing.T, path string, schema map[string]any) (keys []string) {
	for name, inner := range schema {
		switch value := inner.(type) {
		case []any:
			for _, one := range value {
				if object, ok := one.(map[string]any); ok {
					keys = append(keys, keysOf(t, path, object)...)
				}
			}
		case map[string]any:
			if name != "properties" {
				keys = append(keys, keysOf(t, path, value)...)
				continue
			}
			for key, property := range value {
				object := property.(map[string]any)
				if path == "rules.set" || path == "tests.ask" {
					continue // IMM's parameters, which the vendor describes
				}
				at := strings.TrimPrefix(path+"."+key, ".")
				if text, _ := object["description"].(string); text == "" {
					t.Errorf("%s has no description", at)
				}
				keys = append(append(keys, at), keysOf(t, at, object)...)
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
	} {
		if judge(text) == nil {
			t.Errorf("not marked:\n%s", text)
		}
	}
}
