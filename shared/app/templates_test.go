package app_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// function is what a template says of one of the two functions.
type function struct {
	runtime, folder, handler string
	timeout                  time.Duration
	environment              map[string]string
}

func newFunction(t testing.TB, runtime, folder, handler, timeout, environment any) function {
	t.Helper()
	f := function{runtime: fmt.Sprint(runtime), handler: fmt.Sprint(handler),
		folder:      strings.TrimPrefix(strings.TrimPrefix(fmt.Sprint(folder), "./"), "dist/"),
		environment: map[string]string{}}
	for name, value := range environment.(map[string]any) {
		f.environment[name] = fmt.Sprint(value)
	}
	var err error
	if f.timeout, err = time.ParseDuration(fmt.Sprint(timeout) + "s"); err != nil {
		t.Fatal(err)
	}
	return f
}

// envReference is how s.yaml refers to the shell, with a default or without.
var envReference = regexp.MustCompile(`\$\{env\('([A-Z_]+)'(, '([^']*)')?\)\}`)

// serverlessDevs gives the functions that `s deploy` makes of s.yaml in a shell, with the variables
// that an adopter adds to their environment who shares links.
func serverlessDevs(t testing.TB, shell map[string]string) map[string]function {
	t.Helper()
	text := envReference.ReplaceAllStringFunc(read(t, "../../s.yaml"), func(found string) string {
		parts := envReference.FindStringSubmatch(found)
		value, set := shell[parts[1]]
		if !set && parts[2] == "" {
			t.Fatalf("%s is not set", parts[1])
		} else if !set {
			return parts[3]
		}
		return value
	})
	var file struct {
		Resources map[string]struct{ Props map[string]any }
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	functions := map[string]function{}
	for _, name := range []string{"generate", "refresh"} {
		p := file.Resources[name].Props
		f := newFunction(t, p["runtime"], p["code"], p["handler"], p["timeout"],
			p["environmentVariables"])
		f.environment["WEBOFFICE_LINK_KEYS"] = shell["WEBOFFICE_LINK_KEYS"]
		f.environment["WEBOFFICE_USER_SALT"] = shell["WEBOFFICE_USER_SALT"]
		functions[name] = f
	}
	return functions
}

func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sam is template.yml with its parameters' values and its intrinsic functions evaluated. Functions
// that only a deployment can evaluate stay as they are written.
type sam struct {
	parameters map[string]string
	conditions map[string]any
	text       any // the whole template
}

// newSAM evaluates the template for what it must have and these parameters, with the defaults of
// the others. A value that the template would not take ends the test.
func newSAM(t testing.TB, more map[string]string) *sam {
	t.Helper()
	given := map[string]string{"SessionKeys": newKey(), "ImmRegion": "cn-shanghai",
		"RamRoleArn": ramRole, "OidcProviderArn": oidcProvider}
	maps.Copy(given, more)
	var file struct {
		Parameters map[string]map[string]any `yaml:"Parameters"`
		Conditions yaml.Node                 `yaml:"Conditions"`
	}
	var whole yaml.Node
	for _, into := range []any{&file, &whole} {
		if err := yaml.Unmarshal([]byte(read(t, "../../template.yml")), into); err != nil {
			t.Fatal(err)
		}
	}
	s := &sam{parameters: map[string]string{}}
	for name, p := range file.Parameters {
		value, set := given[name]
		if byDefault, ok := p["Default"]; ok && !set {
			value, set = fmt.Sprint(byDefault), true
		}
		values, listed := p["AllowedValues"].([]any)
		known := func(v any) bool { return fmt.Sprint(v) == value }
		pattern, ok := p["AllowedPattern"].(string)
		if !set || listed && !slices.ContainsFunc(values, known) ||
			ok && !regexp.MustCompile("^(?:"+pattern+")$").MatchString(value) {
			t.Fatalf("parameter %s is missing or not allowed", name)
		}
		s.parameters[name] = value
	}
	s.conditions = s.value(&file.Conditions).(map[string]any)
	s.text = s.value(whole.Content[0])
	return s
}

// value is a map, a list, a text, or nil for AWS::NoValue. Names with the value nil are left out of
// maps.
func (s *sam) value(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		members := map[string]any{}
		for pair := range slices.Chunk(n.Content, 2) {
			if value := s.value(pair[1]); value != nil {
				members[pair[0].Value] = value
			}
		}
		return members
	case yaml.ScalarNode:
		if value, ok := s.parameters[n.Value]; ok && n.Tag == "!Ref" {
			return value
		} else if n.Value == "AWS::NoValue" {
			return nil
		}
		return n.Value
	}
	items := []any{}
	for _, item := range n.Content {
		items = append(items, s.value(item))
	}
	switch n.Tag {
	case "!Equals":
		return fmt.Sprint(items[0] == items[1])
	case "!Not":
		return fmt.Sprint(items[0] != "true")
	case "!If":
		if s.conditions[items[0].(string)] == "true" {
			return items[1]
		}
		return items[2]
	}
	return items
}

// get returns what stands under a path of keys, or nil.
func (s *sam) get(path ...string) any {
	value := s.text
	for _, key := range path {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

// functions are those that `sam deploy` makes.
func (s *sam) functions(t testing.TB) map[string]function {
	t.Helper()
	functions := map[string]function{}
	for name, resource := range map[string]string{"generate": "GenerateFunction",
		"refresh": "RefreshFunction"} {
		functions[name] = newFunction(t, s.get("Globals", "Function", "Runtime"),
			s.get("Resources", resource, "Properties", "CodeUri"),
			s.get("Globals", "Function", "Handler"), s.get("Globals", "Function", "Timeout"),
			s.get("Globals", "Function", "Environment", "Variables"))
	}
	return functions
}

// mayAsk returns the conditions under which the functions' AWS role may ask for an identity token.
func (s *sam) mayAsk() any {
	policies, _ := s.get("Resources", "FunctionRole", "Properties", "Policies").([]any)
	for _, policy := range policies {
		inner := &sam{text: policy}
		for _, statement := range inner.get("PolicyDocument", "Statement").([]any) {
			if one := statement.(map[string]any); one["Action"] == "sts:GetWebIdentityToken" {
				return one["Condition"]
			}
		}
	}
	return nil
}
