package app_test

import (
	"errors"
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

func newFunction(runtime, folder, handler, timeout, environment any) (f function, err error) {
	f = function{
		runtime: fmt.Sprint(runtime), folder: strings.TrimPrefix(fmt.Sprint(folder), "./"),
		handler: fmt.Sprint(handler), environment: map[string]string{},
	}
	variables, ok := environment.(map[string]any)
	if !ok {
		return f, errors.New("there is no environment")
	}
	for name, value := range variables {
		f.environment[name] = fmt.Sprint(value)
	}
	f.timeout, err = time.ParseDuration(fmt.Sprint(timeout) + "s")
	return f, err
}

// envReference is how s.yaml refers to the shell, with a default or without.
var envReference = regexp.MustCompile(`\$\{env\('([A-Z_]+)'(?:, '([^']*)')?\)\}`)

// serverlessDevs gives the functions that `s deploy` makes of s.yaml in a shell, with variables
// that an adopter adds to their environment, on this runtime.
func serverlessDevs(runtime string, added, shell map[string]string) (map[string]function, error) {
	text, err := os.ReadFile("../../s.yaml")
	if err != nil {
		return nil, err
	}
	var missing error
	expanded := envReference.ReplaceAllStringFunc(string(text), func(written string) string {
		parts := envReference.FindStringSubmatch(written)
		if value, set := shell[parts[1]]; set {
			return value
		}
		if !strings.Contains(written, ",") {
			missing = fmt.Errorf("%s is not set", parts[1])
		}
		return parts[2]
	})
	var file struct {
		Resources map[string]struct{ Props map[string]any }
	}
	if err := errors.Join(missing, yaml.Unmarshal([]byte(expanded), &file)); err != nil {
		return nil, err
	}
	functions := map[string]function{}
	for _, resource := range []string{"generate", "refresh"} {
		p := file.Resources[resource].Props
		f, err := newFunction(p["runtime"], p["code"], p["handler"], p["timeout"],
			p["environmentVariables"])
		if err != nil {
			return nil, err
		}
		if runtime != "" {
			f.runtime = runtime
		}
		maps.Copy(f.environment, added)
		functions[resource] = f
	}
	return functions, nil
}

// sam is template.yml with its parameters' values and its intrinsic functions evaluated. Functions
// that only a deployment can evaluate stay as they are written.
type sam struct {
	parameters map[string]string
	conditions map[string]any
	text       map[string]any // the whole template
}

// newSAM evaluates the template for these parameters, with the defaults of the others. A value that
// the template would not take is an error.
func newSAM(given map[string]string) (*sam, error) {
	text, err := os.ReadFile("../../template.yml")
	if err != nil {
		return nil, err
	}
	var file struct {
		Parameters map[string]map[string]any `yaml:"Parameters"`
		Conditions yaml.Node                 `yaml:"Conditions"`
	}
	var whole yaml.Node
	if err := errors.Join(yaml.Unmarshal(text, &file), yaml.Unmarshal(text, &whole)); err != nil {
		return nil, err
	}
	s := &sam{parameters: maps.Clone(given)}
	for name, p := range file.Parameters {
		value, set := given[name]
		if byDefault, ok := p["Default"]; !set && ok {
			value, set = fmt.Sprint(byDefault), true
		}
		if !set || !allowed(p, value) {
			err = errors.Join(err, fmt.Errorf("parameter %s is missing or not allowed", name))
		}
		s.parameters[name] = value
	}
	if len(s.parameters) > len(file.Parameters) {
		err = errors.Join(err, errors.New("there is no such parameter"))
	}
	s.conditions = s.value(&file.Conditions).(map[string]any)
	s.text = s.value(whole.Content[0]).(map[string]any)
	return s, err
}

// allowed says whether a parameter may have a value.
func allowed(parameter map[string]any, value string) bool {
	values, listed := parameter["AllowedValues"].([]any)
	known := func(v any) bool { return fmt.Sprint(v) == value }
	pattern, ok := parameter["AllowedPattern"]
	return (!listed || slices.ContainsFunc(values, known)) &&
		(!ok || regexp.MustCompile("^(?:"+fmt.Sprint(pattern)+")$").MatchString(value))
}

// value is a map, a list, a text, or nil for AWS::NoValue. Names with the value nil are left out of
// maps.
func (s *sam) value(n *yaml.Node) (made any) {
	switch n.Kind {
	case yaml.MappingNode:
		members := map[string]any{}
		for pair := range slices.Chunk(n.Content, 2) {
			if value := s.value(pair[1]); value != nil {
				members[pair[0].Value] = value
			}
		}
		made = members
	case yaml.SequenceNode:
		items := []any{}
		for _, item := range n.Content {
			items = append(items, s.value(item))
		}
		made = items
	default:
		made = n.Value
	}
	list, _ := made.([]any)
	switch n.Tag {
	case "!Ref":
		if made == "AWS::NoValue" {
			return nil
		}
		if value, ok := s.parameters[fmt.Sprint(made)]; ok {
			return value
		}
	case "!Equals":
		return fmt.Sprint(list[0] == list[1])
	case "!Not":
		return fmt.Sprint(list[0] != "true")
	case "!If":
		if s.conditions[fmt.Sprint(list[0])] == "true" {
			return list[1]
		}
		return list[2]
	}
	return made
}

// get returns what stands under a path of keys, or nil.
func (s *sam) get(path ...string) any {
	var value any = s.text
	for _, key := range path {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

// functions are those that `sam deploy` makes.
func (s *sam) functions() (map[string]function, error) {
	functions := map[string]function{}
	for name, resource := range map[string]string{"generate": "GenerateFunction",
		"refresh": "RefreshFunction"} {
		f, err := newFunction(s.get("Globals", "Function", "Runtime"),
			s.get("Resources", resource, "Properties", "CodeUri"),
			s.get("Globals", "Function", "Handler"), s.get("Globals", "Function", "Timeout"),
			s.get("Globals", "Function", "Environment", "Variables"))
		if err != nil {
			return nil, err
		}
		functions[name] = f
	}
	return functions, nil
}

// mayAsk returns the conditions under which the functions' AWS role may ask for an identity token.
func (s *sam) mayAsk() map[string]any {
	policies, _ := s.get("Resources", "FunctionRole", "Properties", "Policies").([]any)
	for _, policy := range policies {
		document, _ := policy.(map[string]any)["PolicyDocument"].(map[string]any)
		for _, statement := range document["Statement"].([]any) {
			if one := statement.(map[string]any); one["Action"] == "sts:GetWebIdentityToken" {
				return one["Condition"].(map[string]any)
			}
		}
	}
	return nil
}

// lambdaTemplate evaluates template.yml with what it must have, and more.
func lambdaTemplate(more map[string]string) (*sam, error) {
	parameters := map[string]string{"SessionKeys": newKey(), "LinkKeys": newKey(),
		"ImmRegion": "cn-shanghai", "RamRoleArn": ramRole, "OidcProviderArn": oidcProvider}
	maps.Copy(parameters, more)
	return newSAM(parameters)
}

func TestTemplatesAreReadAsTheirToolsReadThem(t *testing.T) {
	t.Parallel()
	functions, err := serverlessDevs("", nil, map[string]string{"WEBOFFICE_SESSION_KEYS": "key"})
	if err != nil {
		t.Fatal(err)
	}
	f := functions["refresh"]
	if f.runtime != "go1" || f.folder != "dist/fc/refresh" || f.timeout != 30*time.Second ||
		f.environment["WEBOFFICE_SESSION_KEYS"] != "key" || f.environment["LOG_LEVEL"] != "INFO" {
		t.Errorf("%+v", f)
	}
	if _, err := serverlessDevs("", nil, nil); err == nil ||
		err.Error() != "WEBOFFICE_SESSION_KEYS is not set" {
		t.Errorf("without keys: %v", err)
	}
	if _, err := newSAM(map[string]string{}); err == nil ||
		!strings.Contains(err.Error(), "SessionKeys") ||
		strings.Contains(err.Error(), "LogLevel") {
		t.Errorf("template.yml without parameters: %v", err)
	}
	if _, err := lambdaTemplate(map[string]string{"ImmRegion": "us-east-2"}); err == nil {
		t.Error("a region that is none is taken")
	}
	linkKey := newKey()
	for given, want := range map[string]any{"none": nil, linkKey: linkKey} {
		template, err := lambdaTemplate(map[string]string{"LinkKeys": given})
		if err != nil {
			t.Fatal(err)
		}
		if got := template.get("Globals", "Function", "Environment", "Variables",
			"WEBOFFICE_LINK_KEYS"); got != want {
			t.Errorf("link keys are %v", got)
		}
	}
}
