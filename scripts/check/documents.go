package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// document is a YAML value as it is used, and the files that it is made of.
type document struct {
	value any
	parts []part // a later one lies over an earlier one
}

// part is a piece of a file, and the path at which it lies in a document.
type part struct {
	file string
	root *yaml.Node
	at   []string
}

// readYAML reads a file's one document. Anchors and merge keys are resolved, and CloudFormation's
// short forms (!Ref X) have become the long ones (Ref: X). Where nothing can be read it reports
// why, and the value is nil.
func readYAML(r *report, files fs.FS, name string) document {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		r.add(place{file: name, line: 1}, "the file is not there", "add it")
		return document{parts: []part{{name, &yaml.Node{Line: 1}, nil}}}
	}
	return parseYAML(r, name, text)
}

func parseYAML(r *report, name string, text []byte) (d document) {
	var root yaml.Node
	err := yaml.Load(text, &root)
	longForms(&root)
	d.parts = []part{{name, &root, nil}}
	if err == nil {
		err = root.Load(&d.value)
	}
	if err != nil {
		at, what := place{file: name, line: 1}, err.Error()
		if found, ok := errors.AsType[*yaml.LoadError](err); ok && found.Mark.Line > 0 {
			at.line, at.column, what = found.Mark.Line, found.Mark.Column, found.Message
		}
		r.add(at, what, "correct the YAML")
		d.value = nil
	}
	return d
}

// longForms turns !Ref X into Ref: X, in place. The file's own tags are gone then.
func longForms(n *yaml.Node) {
	for _, child := range n.Content {
		longForms(child)
	}
	name, tagged := strings.CutPrefix(n.Tag, "!")
	if !tagged || strings.HasPrefix(name, "!") {
		return
	}
	if name != "Ref" && name != "Condition" {
		name = "Fn::" + name
	}
	argument := *n
	if argument.Tag = ""; n.Kind == yaml.ScalarNode {
		argument.Tag = "!!str"
	}
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Line: n.Line, Column: n.Column}
	*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column,
		Content: []*yaml.Node{key, &argument}}
}

// place is where a value stands: its key, or the list's entry; where it is missing, what it is
// missing from.
func (d document) place(path ...string) place {
	for n := len(path); n >= 0; n-- {
		for _, p := range slices.Backward(d.parts) {
			if len(p.at) > n || !slices.Equal(p.at, path[:len(p.at)]) {
				continue
			}
			if key, _ := entryAt(p.root, path[len(p.at):n]); key != nil {
				return place{p.file, key.Line, key.Column}
			}
		}
	}
	return place{}
}

// entryAt finds the key under which a path ends, and the value; nil where there is none.
func entryAt(n *yaml.Node, path []string) (key, value *yaml.Node) {
	key = n
	for _, step := range path {
		if key, n = entry(n, step); key == nil {
			return nil, &yaml.Node{}
		}
	}
	return key, n
}

// entry finds one step of a path. What stands in a map wins over what is merged into it.
func entry(n *yaml.Node, step string) (key, value *yaml.Node) {
	switch n.Kind {
	case yaml.DocumentNode:
		return entry(n.Content[0], step)
	case yaml.AliasNode:
		return entry(n.Alias, step)
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch n.Content[i].Value {
			case step:
				return n.Content[i], n.Content[i+1]
			case "<<":
				if k, v := entry(n.Content[i+1], step); key == nil {
					key, value = k, v
				}
			}
		}
	}
	return key, value
}

// get returns what stands under a path of keys and indices in a value as encoding/json reads it, or
// nil.
func get(value any, path ...string) any {
	for _, step := range path {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// text returns a scalar as it is written; of maps, lists and nil nothing.
func text(value any, path ...string) string {
	switch v := get(value, path...).(type) {
	case nil, map[string]any, []any:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// keys are a map's, in order; of anything else there are none.
func keys(value any) []string {
	of, _ := value.(map[string]any)
	return slices.Sorted(maps.Keys(of))
}

// merged lays over on top of value: maps are merged, everything else is replaced.
func merged(value, over any) any {
	below, ok := value.(map[string]any)
	above, ok2 := over.(map[string]any)
	switch {
	case over == nil:
		return value
	case !ok || !ok2:
		return over
	}
	both := maps.Clone(below)
	for key, v := range above {
		both[key] = merged(below[key], v)
	}
	return both
}

// walk visits value and everything under it, with its path.
func walk(value any, path []string, visit func(path []string, value any)) {
	visit(path, value)
	for _, key := range keys(value) {
		walk(get(value, key), append(slices.Clip(path), key), visit)
	}
	list, _ := value.([]any)
	for i, each := range list {
		walk(each, append(slices.Clip(path), strconv.Itoa(i)), visit)
	}
}

// call returns the name and the argument if value is a call of one of CloudFormation's functions.
func call(value any) (name string, argument any) {
	if all := keys(value); len(all) == 1 {
		if name = strings.TrimPrefix(all[0], "Fn::"); name != all[0] || name == "Ref" {
			return name, get(value, all[0])
		}
	}
	return "", nil
}

// schema is one of the JSON Schemas in this folder. A description in it is the fix.
type schema struct {
	compiler *jsonschema.Compiler
	root     *jsonschema.Schema
}

// readSchema compiles a schema, once.
func readSchema(name string) func() schema {
	return sync.OnceValue(func() schema {
		compiler, url := jsonschema.NewCompiler(), "schema:"+name
		if err := compiler.AddResource(url, readYAML(&report{}, embedded, name).value); err != nil {
			panic(err) // it is a part of the program
		}
		return schema{compiler, compiler.MustCompile(url)}
	})
}

var (
	serverlessRules   = readSchema("serverless.schema.yaml")
	environmentsRules = readSchema("environments.schema.yaml")
	templateRules     = readSchema("template.schema.yaml")
)

// validate reports where a document that could be read does not keep to a schema.
func (r *report) validate(d document, s schema) {
	failed, ok := s.root.Validate(d.value).(*jsonschema.ValidationError)
	if ok && d.value != nil {
		r.explain(d, s, failed)
	}
}

func (r *report) explain(d document, s schema, failed *jsonschema.ValidationError) {
	switch failed.ErrorKind.(type) {
	case *kind.Contains, *kind.AnyOf: // their causes say why none of many fits
		failed.Causes = nil
	}
	if len(failed.Causes) > 0 {
		for _, cause := range failed.Causes {
			r.explain(d, s, cause)
		}
		return
	}
	path := failed.InstanceLocation
	if extra, ok := failed.ErrorKind.(*kind.AdditionalProperties); ok {
		for _, name := range extra.Properties {
			at := append(slices.Clip(path), name)
			r.add(d.place(at...),
				strings.Join(at, ".")+": this is not a property that is known here",
				"correct its name, or take it out")
		}
		return
	}
	what := failed.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	fix := s.compiler.MustCompile(failed.SchemaURL).Description
	r.add(d.place(path...), strings.Join(path, ".")+": "+what, cmp.Or(fix, "correct it"))
}
