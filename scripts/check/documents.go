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

// node is a value of a YAML file and where it stands: its key, or the entry of its list. A map has
// fields, a list items, a scalar a value; what is null or missing has nothing.
type node struct {
	place
	fields map[string]node
	items  []node
	value  any
}

// readYAML reads a file's one document. Anchors and merge keys are resolved, and CloudFormation's
// short forms (!Ref X) have become the long ones (Ref: X). Where nothing can be read it reports
// why, and there is nothing in the node.
func readYAML(r *report, files fs.FS, name string) node {
	text, err := fs.ReadFile(files, name)
	if err != nil {
		r.add(place{Filename: name, Line: 1}, "the file is not there", "add it")
		return node{place: place{Filename: name, Line: 1}}
	}
	return parseYAML(r, name, text)
}

func parseYAML(r *report, name string, text []byte) node {
	var root yaml.Node
	var value any
	err := yaml.Load(text, &root)
	if err == nil {
		err = root.Load(&value) // finds what goes in a circle, or repeats itself too often
	}
	if err == nil {
		return nodeOf(name, root.Content[0], root.Content[0])
	}
	at, what := place{Filename: name, Line: 1}, err.Error()
	if found, ok := errors.AsType[*yaml.LoadError](err); ok && found.Mark.Line > 0 {
		at.Line, at.Column, what = found.Mark.Line, found.Mark.Column, found.Message
	}
	r.add(at, what, "correct the YAML")
	return node{place: place{Filename: name, Line: 1}}
}

// nodeOf takes what y holds; it stands at key.
func nodeOf(file string, key, y *yaml.Node) (n node) {
	n.place = place{Filename: file, Line: key.Line, Column: key.Column}
	name, tagged := strings.CutPrefix(y.Tag, "!")
	tagged = tagged && !strings.HasPrefix(name, "!")
	switch y.Kind {
	case yaml.AliasNode:
		return nodeOf(file, key, y.Alias)
	case yaml.ScalarNode:
		if _ = y.Load(&n.value); tagged { // it was loaded once, with the document
			n.value = y.Value
		}
	case yaml.SequenceNode:
		n.items = []node{}
		for _, item := range y.Content {
			n.items = append(n.items, nodeOf(file, item, item))
		}
	case yaml.MappingNode:
		n.fields = map[string]node{}
		var merged []node
		for i := 0; i+1 < len(y.Content); i += 2 {
			key := y.Content[i]
			if field := nodeOf(file, key, y.Content[i+1]); key.Value == "<<" {
				merged = append(append(merged, field), field.items...)
			} else {
				n.fields[key.Value] = field
			}
		}
		for _, m := range merged { // what stands in the map itself wins, then what comes first
			fields := maps.Clone(m.fields)
			maps.Copy(fields, n.fields)
			n.fields = fields
		}
	}
	if tagged {
		if name != "Ref" && name != "Condition" {
			name = "Fn::" + name
		}
		n = node{place: n.place, fields: map[string]node{name: n}}
	}
	return n
}

// under lays n under a path in maps that stand nowhere.
func (n node) under(path ...string) node {
	for _, step := range slices.Backward(path) {
		n = node{fields: map[string]node{step: n}}
	}
	return n
}

// empty says whether there is nothing, or null.
func (n node) empty() bool { return n.fields == nil && n.items == nil && n.value == nil }

// at returns what is under a path of keys and indices. Where that is missing it is empty, and
// stands where it is missing from.
func (n node) at(path ...string) node {
	for _, step := range path {
		next, found := n.fields[step]
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.items) {
			next, found = n.items[i], true
		}
		if !found {
			return node{place: n.place}
		}
		n = next
	}
	return n
}

// text returns a scalar as it is written; of all else nothing.
func (n node) text(path ...string) string {
	if n = n.at(path...); n.value == nil {
		return ""
	}
	return fmt.Sprint(n.value)
}

// keys are a map's, in order; of anything else there are none.
func (n node) keys() []string { return slices.Sorted(maps.Keys(n.fields)) }

// with lays over on top of n: maps are merged, everything else is replaced.
func (n node) with(over node) node {
	switch {
	case over.empty():
		n.place = cmp.Or(n.place, over.place)
		return n
	case n.fields == nil || over.fields == nil:
		return over
	}
	n.fields, n.place = maps.Clone(n.fields), cmp.Or(over.place, n.place)
	for key, field := range over.fields {
		n.fields[key] = n.fields[key].with(field)
	}
	return n
}

// walk visits n and everything under it, each with its path.
func (n node) walk(path []string, visit func(path []string, n node)) {
	visit(path, n)
	for _, key := range n.keys() {
		n.fields[key].walk(append(slices.Clip(path), key), visit)
	}
	for i, item := range n.items {
		item.walk(append(slices.Clip(path), strconv.Itoa(i)), visit)
	}
}

// call returns the name and the argument if n is a call of one of CloudFormation's functions.
func (n node) call() (name string, argument node) {
	if keys := n.keys(); len(keys) == 1 {
		if name = strings.TrimPrefix(keys[0], "Fn::"); name != keys[0] || name == "Ref" {
			return name, n.fields[keys[0]]
		}
	}
	return "", node{}
}

// plain is n as encoding/json would read it.
func (n node) plain() any {
	switch {
	case n.fields != nil:
		all := map[string]any{}
		for key, field := range n.fields {
			all[key] = field.plain()
		}
		return all
	case n.items != nil:
		all := []any{}
		for _, item := range n.items {
			all = append(all, item.plain())
		}
		return all
	}
	return n.value
}

// schemas are the JSON Schemas in this folder, NAME.schema.yaml. A description in one is the fix.
var schemas = sync.OnceValue(func() *jsonschema.Compiler {
	compiler := jsonschema.NewCompiler()
	for _, name := range []string{"serverless", "environments", "template"} {
		value := readYAML(&report{}, embedded, name+".schema.yaml").plain()
		if err := compiler.AddResource("schema:"+name, value); err != nil {
			panic(err) // it is a part of the program
		}
	}
	return compiler
})

// validate reports where a value, which stands at n, does not keep to a schema.
func (r *report) validate(n node, value any, schema string) {
	err := schemas().MustCompile("schema:" + schema).Validate(value)
	if failed, ok := err.(*jsonschema.ValidationError); ok && !n.empty() {
		r.explain(n, failed)
	}
}

func (r *report) explain(n node, failed *jsonschema.ValidationError) {
	switch failed.ErrorKind.(type) {
	case *kind.Contains, *kind.AnyOf: // their causes say why none of many fits
		failed.Causes = nil
	}
	for _, cause := range failed.Causes {
		r.explain(n, cause)
	}
	path := failed.InstanceLocation
	if extra, ok := failed.ErrorKind.(*kind.AdditionalProperties); ok {
		for _, name := range extra.Properties {
			at := append(slices.Clip(path), name)
			r.add(n.at(at...).place,
				strings.Join(at, ".")+": this is not a property that is known here",
				"correct its name, or take it out")
		}
	} else if len(failed.Causes) == 0 {
		what := failed.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		fix := schemas().MustCompile(failed.SchemaURL).Description
		r.add(n.at(path...).place, strings.Join(path, ".")+": "+what, cmp.Or(fix, "correct it"))
	}
}
