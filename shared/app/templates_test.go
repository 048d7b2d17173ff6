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

// serverlessDevs gives the functions that `s deploy` makes of s.yaml, with an adopter's environment
// laid over it and ${env('X')} as the shell has it.
func serverlessDevs(over map[string]any, shell map[string]string) (map[string]function, error) {
	var file struct {
		Vars      map[string]string
		Resources map[string]struct{ Props map[string]any }
	}
	text, err := os.ReadFile("../../s.yaml")
	if err := errors.Join(err, yaml.Unmarshal(text, &file)); err != nil {
		return nil, err
	}
	functions := map[string]function{}
	for _, resource := range []string{"generate", "refresh"} {
		all, err := expanded(laidOver(file.Resources[resource].Props, over), file.Vars, shell)
		if err != nil {
			return nil, err
		}
		p := all.(map[string]any)
		if functions[resource], err = newFunction(p["runtime"], p["code"], p["handler"],
			p["timeout"], p["environmentVariables"]); err != nil {
			return nil, err
		}
	}
	return functions, nil
}

// laidOver merges maps; everything else is replaced.
func laidOver(base any, over map[string]any) any {
	merged := maps.Clone(base.(map[string]any))
	for key, value := range over {
		if inner, ok := value.(map[string]any); ok && merged[key] != nil {
			value = laidOver(merged[key], inner)
		}
		merged[key] = value
	}
	return merged
}

var (
	reference   = regexp.MustCompile(`\$\{([^}]*)\}`)
	environment = regexp.MustCompile(`^env\('([A-Z_]+)'(, '([^']*)')?\)$`)
)

// expanded replaces the references in every text below a value.
func expanded(value any, vars, shell map[string]string) (_ any, err error) {
	switch value := value.(type) {
	case map[string]any:
		made := map[string]any{}
		for key, inner := range value {
			got, failure := expanded(inner, vars, shell)
			made[key], err = got, errors.Join(err, failure)
		}
		return made, err
	case string:
		return reference.ReplaceAllStringFunc(value, func(written string) string {
			inside := reference.FindStringSubmatch(written)[1]
			if name, ok := strings.CutPrefix(inside, "vars."); ok {
				text, failure := expanded(vars[name], nil, shell)
				err = errors.Join(err, failure)
				return fmt.Sprint(text)
			}
			env := environment.FindStringSubmatch(inside)
			if env == nil {
				err = errors.Join(err, fmt.Errorf("%s is not understood", written))
				return ""
			}
			text, set := shell[env[1]]
			if !set && env[2] == "" {
				err = errors.Join(err, fmt.Errorf("%s is not set", env[1]))
			}
			if !set {
				return env[3]
			}
			return text
		}), err
	}
	return value, nil
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
	s := &sam{parameters: map[string]string{}}
	for name, p := range file.Parameters {
		value, set := given[name]
		if byDefault, ok := p["Default"]; !set && ok {
			value, set = fmt.Sprint(byDefault), true
		}
		if pattern, ok := p["AllowedPattern"]; !set || ok &&
			!regexp.MustCompile("^(?:"+fmt.Sprint(pattern)+")$").MatchString(value) {
			err = errors.Join(err, fmt.Errorf("parameter %s is missing or not allowed", name))
		}
		s.parameters[name] = value
	}
	for name := range given {
		if file.Parameters[name] == nil {
			err = errors.Join(err, fmt.Errorf("there is no parameter %s", name))
		}
	}
	s.conditions = s.value(&file.Conditions).(map[string]any)
	s.text = s.value(whole.Content[0]).(map[string]any)
	return s, err
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
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return s.intrinsic(n.Tag, made)
	}
	return made
}

func (s *sam) intrinsic(name string, argument any) any {
	list, _ := argument.([]any)
	switch name {
	case "!Ref":
		if argument == "AWS::NoValue" {
			return nil
		}
		if value, ok := s.parameters[fmt.Sprint(argument)]; ok {
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
	return fmt.Sprint(name, " ", argument)
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
		var err error
		functions[name], err = newFunction(s.get("Globals", "Function", "Runtime"),
			s.get("Resources", resource, "Properties", "CodeUri"),
			s.get("Globals", "Function", "Handler"), s.get("Globals", "Function", "Timeout"),
			s.get("Globals", "Function", "Environment", "Variables"))
		if err != nil {
			return nil, err
		}
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

// samParameters are what template.yml must have.
func samParameters() map[string]string {
	return map[string]string{
		"SessionKeys": newKey(), "LinkKeys": newKey(), "Region": "cn-shanghai",
		"RamRoleArn": ramRole, "OidcProviderArn": oidcProvider,
	}
}

// lambdaTemplate evaluates template.yml with what it must have, and more.
func lambdaTemplate(t testing.TB, more map[string]string) (*sam, map[string]function) {
	t.Helper()
	parameters := samParameters()
	maps.Copy(parameters, more)
	template, err := newSAM(parameters)
	if err != nil {
		t.Fatal(err)
	}
	functions, err := template.functions()
	if err != nil {
		t.Fatal(err)
	}
	return template, functions
}

func TestTemplatesAreReadAsTheirToolsReadThem(t *testing.T) {
	t.Parallel()
	shell := map[string]string{"WEBOFFICE_SESSION_KEYS": "key"}
	for level, over := range map[string]map[string]any{"INFO": nil,
		"DEBUG": {"environmentVariables": map[string]any{"LOG_LEVEL": "DEBUG"}}} {
		functions, err := serverlessDevs(over, shell)
		if err != nil {
			t.Fatal(err)
		}
		f := functions["refresh"]
		if f.runtime != "go1" || f.folder != "dist/fc/refresh" || f.timeout != 30*time.Second ||
			f.environment["WEBOFFICE_SESSION_KEYS"] != "key" || f.environment["LOG_LEVEL"] != level {
			t.Errorf("%s: %+v", level, f)
		}
	}
	if _, err := serverlessDevs(nil, nil); err == nil ||
		err.Error() != "WEBOFFICE_SESSION_KEYS is not set" {
		t.Errorf("without keys: %v", err)
	}
	if _, err := newSAM(nil); err == nil || !strings.Contains(err.Error(), "SessionKeys") ||
		strings.Contains(err.Error(), "LogLevel") {
		t.Errorf("template.yml without parameters: %v", err)
	}
	bad := samParameters()
	bad["Region"] = "us-east_1"
	if _, err := newSAM(bad); err == nil ||
		err.Error() != "parameter Region is missing or not allowed" {
		t.Errorf("a region that is none: %v", err)
	}
	linkKey := newKey()
	variables := []string{"Globals", "Function", "Environment", "Variables", "WEBOFFICE_LINK_KEYS"}
	without, _ := lambdaTemplate(t, map[string]string{"LinkKeys": "none"})
	with, _ := lambdaTemplate(t, map[string]string{"LinkKeys": linkKey, "ReservedConcurrency": "5"})
	if without.get(variables...) != nil || with.get(variables...) != linkKey {
		t.Errorf("link keys: %v and %v", without.get(variables...), with.get(variables...))
	}
	if got := with.get("Globals", "Function", "ReservedConcurrentExecutions"); got != "5" {
		t.Errorf("reserved concurrency: %v", got)
	}
}
