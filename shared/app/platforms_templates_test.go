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

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
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
		handler:     fmt.Sprint(handler),
		environment: map[string]string{},
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

// serverlessDevs gives the functions that `s deploy` makes of s.yaml: with an environment of
// envFile laid over it, "" for none, then with added, what an adopter adds to that environment, and
// with ${env('X')} as the shell has it.
func serverlessDevs(envFile, name string, added map[string]any, shell map[string]string) (
	map[string]function, error) {
	var file struct {
		Vars      map[string]string
		Resources map[string]struct{ Props map[string]any }
	}
	var environments struct {
		Environments []struct {
			Name     string
			Overlays struct{ Resources map[string]map[string]any }
		}
	}
	text, err := os.ReadFile("../../s.yaml")
	if err := errors.Join(err, yaml.Unmarshal(text, &file),
		yaml.Unmarshal([]byte(envFile), &environments)); err != nil {
		return nil, err
	}
	functions := map[string]function{}
	for _, resource := range []string{"generate", "refresh"} {
		var props any = file.Resources[resource].Props
		for _, e := range environments.Environments {
			if e.Name == name {
				props = laidOver(props, e.Overlays.Resources[resource])
			}
		}
		all, err := expanded(laidOver(props, added), file.Vars, shell)
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
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	sections := map[string]ast.Node{}
	for _, pair := range file.Docs[0].Body.(*ast.MappingNode).Values {
		sections[pair.Key.GetToken().Value] = pair.Value
	}
	s := &sam{parameters: map[string]string{}}
	declared := s.value(sections["Parameters"]).(map[string]any)
	for name, parameter := range declared {
		p := parameter.(map[string]any)
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
		if declared[name] == nil {
			err = errors.Join(err, fmt.Errorf("there is no parameter %s", name))
		}
	}
	s.conditions = s.value(sections["Conditions"]).(map[string]any)
	s.text = s.value(file.Docs[0].Body).(map[string]any)
	return s, err
}

// value is a map, a list, a text, or nil for AWS::NoValue. Names with the value nil are left out of
// maps.
func (s *sam) value(n ast.Node) any {
	switch n := n.(type) {
	case *ast.MappingNode:
		made := map[string]any{}
		for _, pair := range n.Values {
			if value := s.value(pair.Value); value != nil {
				made[pair.Key.GetToken().Value] = value
			}
		}
		return made
	case *ast.MappingValueNode:
		return s.value(&ast.MappingNode{Values: []*ast.MappingValueNode{n}})
	case *ast.SequenceNode:
		made := []any{}
		for _, item := range n.Values {
			made = append(made, s.value(item))
		}
		return made
	case *ast.TagNode:
		return s.intrinsic(n.Start.Value, s.value(n.Value))
	}
	return n.GetToken().Value
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

func TestTemplatesAreReadAsTheirToolsReadThem(t *testing.T) {
	t.Parallel()
	own, err := os.ReadFile("../../scripts/env.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "test", "production"} {
		shell := map[string]string{"WEBOFFICE_SESSION_KEYS": "key"}
		functions, err := serverlessDevs(string(own), name, nil, shell)
		if err != nil {
			t.Fatal(err)
		}
		f := functions["refresh"]
		if f.runtime != "go1" || f.folder != "dist/fc/refresh" || f.timeout != 30*time.Second ||
			f.environment["WEBOFFICE_SESSION_KEYS"] != "key" {
			t.Errorf("%q: %+v", name, f)
		}
		if level := f.environment["LOG_LEVEL"]; level != map[string]string{"": "INFO",
			"production": "INFO", "test": "DEBUG"}[name] {
			t.Errorf("%q: LOG_LEVEL %s", name, level)
		}
		if _, err := serverlessDevs(string(own), name, nil, nil); err == nil ||
			err.Error() != "WEBOFFICE_SESSION_KEYS is not set" {
			t.Errorf("%q without keys: %v", name, err)
		}
	}
	if _, err := newSAM(nil); err == nil || !strings.Contains(err.Error(), "SessionKeys") ||
		strings.Contains(err.Error(), "LogLevel") {
		t.Errorf("template.yml without parameters: %v", err)
	}
	given := map[string]string{
		"SessionKeys": encodeKey(newKey()), "Region": "cn-shanghai",
		"RamRoleArn": "acs:ram::1:role/a", "OidcProviderArn": "acs:ram::1:oidc-provider/a",
	}
	with := func(more ...string) *sam {
		all := maps.Clone(given)
		for pair := range slices.Chunk(more, 2) {
			all[pair[0]] = pair[1]
		}
		s, err := newSAM(all)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	linkKey := encodeKey(newKey())
	if got := with().get("Globals", "Function", "Environment", "Variables",
		"WEBOFFICE_LINK_KEYS"); got != nil {
		t.Errorf("link keys that nobody gave: %v", got)
	}
	if got := with("LinkKeys", linkKey).get("Globals", "Function", "Environment", "Variables",
		"WEBOFFICE_LINK_KEYS"); got != linkKey {
		t.Errorf("link keys: %v", got)
	}
	if got := with("ReservedConcurrency", "5").get("Globals", "Function",
		"ReservedConcurrentExecutions"); got != "5" {
		t.Errorf("reserved concurrency: %v", got)
	}
	given["Region"] = "us-east_1"
	if _, err := newSAM(given); err == nil ||
		err.Error() != "parameter Region is missing or not allowed" {
		t.Errorf("a region that is none: %v", err)
	}
}
