package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// kind is what a YAML value is. An intrinsic is a function of CloudFormation, in its short form
// (!Ref X) or its long one (Ref: X).
type kind string

const (
	null      kind = "nothing"
	boolean   kind = "true or false"
	number    kind = "a number"
	text      kind = "text"
	list      kind = "a list"
	object    kind = "a map"
	intrinsic kind = "an intrinsic function"
)

// node is a YAML value with its place. Anchors, aliases and merge keys are resolved.
type node struct {
	kind   kind
	text   string // of a scalar; of an intrinsic its name, such as Ref
	items  []*node
	fields []field
	place
}

type field struct {
	key   string
	value *node
	place
}

type place struct {
	file         string
	line, column int
}

// get returns what stands under a path of keys, or nil. It may be called on nil.
func (n *node) get(path ...string) *node {
	for _, key := range path {
		if n == nil {
			return nil
		}
		var next *node
		for _, f := range n.fields {
			if f.key == key {
				next = f.value
			}
		}
		n = next
	}
	return n
}

// is says whether n is the text, number or truth value that s writes.
func (n *node) is(s string) bool {
	return n != nil && (n.kind == text || n.kind == number || n.kind == boolean) && n.text == s
}

// call returns the argument if n is the named intrinsic.
func (n *node) call(name string) *node {
	if n == nil || n.kind != intrinsic || n.text != name {
		return nil
	}
	return n.items[0]
}

// walk visits n and everything under it.
func (n *node) walk(visit func(*node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, item := range n.items {
		item.walk(visit)
	}
	for _, f := range n.fields {
		f.value.walk(visit)
	}
}

// merged lays over on top of n: maps are merged, everything else is replaced.
func (n *node) merged(over *node) *node {
	if n == nil || over == nil || n.kind != object || over.kind != object {
		if over == nil {
			return n
		}
		return over
	}
	both := *n
	both.fields = append([]field(nil), n.fields...)
	for _, f := range over.fields {
		both.set(field{f.key, n.get(f.key).merged(f.value), f.place})
	}
	return &both
}

func (n *node) set(f field) {
	for i := range n.fields {
		if n.fields[i].key == f.key {
			n.fields[i] = f
			return
		}
	}
	n.fields = append(n.fields, f)
}

// reader turns one file's syntax tree into nodes.
type reader struct {
	*report
	file    string
	anchors map[string]*node
}

// readYAML returns a file's one document, or nil after reporting why there is none.
func readYAML(r *report, files fs.FS, name string) *node {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		r.add(place{file: name, line: 1}, "the file is not there", "add it")
		return nil
	}
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		at := place{file: name, line: 1}
		var located yaml.Error
		if errors.As(err, &located) && located.GetToken() != nil {
			at.line, at.column = located.GetToken().Position.Line,
				located.GetToken().Position.Column
			err = errors.New(located.GetMessage())
		}
		r.add(at, err.Error(), "correct the YAML")
		return nil
	}
	if len(parsed.Docs) != 1 || parsed.Docs[0].Body == nil {
		r.add(place{file: name, line: 1}, "the file is not one YAML document", "leave one")
		return nil
	}
	reader := reader{r, name, map[string]*node{}}
	return reader.node(parsed.Docs[0].Body)
}

func (r *reader) place(n ast.Node) place {
	at := n.GetToken().Position
	return place{r.file, at.Line, at.Column}
}

func (r *reader) node(n ast.Node) *node {
	made := &node{place: r.place(n)}
	switch n := n.(type) {
	case *ast.MappingNode:
		r.object(made, n.Values)
	case *ast.MappingValueNode: // a map of one key, in older versions of the parser
		r.object(made, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		made.kind = list
		for _, item := range n.Values {
			made.items = append(made.items, r.node(item))
		}
	case *ast.AnchorNode:
		made = r.node(n.Value)
		r.anchors[n.Name.GetToken().Value] = made
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		if made = r.anchors[name]; made == nil {
			made = &node{kind: null, place: r.place(n)}
			r.add(made.place, "there is no anchor &"+name+" above", "name one that is there")
		}
	case *ast.TagNode:
		made.kind, made.text = intrinsic, strings.TrimPrefix(n.Start.Value, "!")
		made.items = []*node{r.node(n.Value)}
	case *ast.LiteralNode:
		made.kind, made.text = text, n.Value.Value
	case *ast.StringNode:
		made.kind, made.text = text, n.Value
	case *ast.BoolNode:
		made.kind, made.text = boolean, strconv.FormatBool(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		made.kind, made.text = number, n.GetToken().Value
	case *ast.NullNode:
		made.kind = null
	default:
		made.kind = null
		r.add(made.place, fmt.Sprintf("%s is not read here", n.Type()),
			"write plain text, numbers, lists and maps")
	}
	return made
}

// object fills made from the pairs of a map. What stands in the map wins over what is merged into
// it.
func (r *reader) object(made *node, pairs []*ast.MappingValueNode) {
	made.kind = object
	var own []field
	for i, pair := range pairs {
		at, value := r.place(pair.Key), r.node(pair.Value)
		if i == 0 {
			made.place = at // the syntax tree puts a map at its first colon
		}
		if pair.Key.Type() == ast.MergeKeyType {
			if value.kind != object {
				r.add(at, "<< merges maps only", "name the anchor of a map")
			}
			for _, f := range value.fields {
				made.set(f)
			}
			continue
		}
		own = append(own, field{pair.Key.GetToken().Value, value, at})
	}
	for _, f := range own {
		made.set(f)
	}
	if len(made.fields) == 1 && (made.fields[0].key == "Ref" ||
		strings.HasPrefix(made.fields[0].key, "Fn::")) {
		f := made.fields[0]
		*made = node{kind: intrinsic, text: strings.TrimPrefix(f.key, "Fn::"),
			items: []*node{f.value}, place: f.place}
	}
}
