package policy

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Finding is what is wrong, or worth a look, at one place of a policy file. Its text says what to
// type instead.
type Finding struct {
	Line, Column int // from 1; columns count characters
	Text         string
}

func (f Finding) Error() string { return fmt.Sprintf("%d:%d: %s", f.Line, f.Column, f.Text) }

func joined(findings []Finding) error {
	var all []error
	for _, f := range findings {
		all = append(all, f)
	}
	return errors.Join(all...)
}

// reader turns YAML nodes into the structs of a policy file and collects what is wrong.
type reader struct {
	root     *yaml.Node
	mistakes []Finding
	keys     map[reflect.Type][]string
	sets     map[string]*rule // what is set, by its JSON: rules repeat each other's
}

func newReader() *reader {
	return &reader{keys: map[reflect.Type][]string{}, sets: map[string]*rule{}}
}

// oneOrMore is a list in whose place a single element may stand.
type oneOrMore[T any] []T

func (oneOrMore[T]) single() {}

type oneOrMany interface{ single() }

// orAnyone is a map in whose place the word anyone may stand.
type orAnyone interface {
	sayAnyone() (form string) // makes it anyone, and tells what may stand there
}

// syntax gives YAML's errors our words: a part of the library's, and what to type.
//
//go:embed syntax.txt
var syntax string

// plainError keeps the place of a YAML error and says in our words what to type.
func plainError(data []byte, err error) Finding {
	text := strings.ToValidUTF8(string(data), "\x00")
	if i := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r < 0x80 && !strings.ContainsRune("\t\r\n", r)
	}); i >= 0 {
		before := text[strings.LastIndex(text[:i], "\n")+1 : i]
		return Finding{1 + strings.Count(text[:i], "\n"), 1 + utf8.RuneCountInString(before),
			"this is not UTF-8 text, or a control character: save the file as UTF-8"}
	}
	var located *yaml.LoadError
	if !errors.As(err, &located) {
		return Finding{1, 1, err.Error()}
	}
	at, what := located.Mark, located.Message
	if opened := located.ContextMark; opened.Line > 0 && (opened.Line < at.Line ||
		strings.Contains(what, "end of stream")) {
		at = opened // what is never closed
	}
	for line := range strings.Lines(syntax) {
		if part, says, _ := strings.Cut(line, " | "); strings.Contains(located.Message, part) {
			what = strings.TrimSpace(says)
			break
		}
	}
	return Finding{max(at.Line, 1), max(at.Column, 1), what}
}

// problem notes what is wrong at a place such as rules, 2, "documents". What is not there is
// reported at what would hold it.
func (r *reader) problem(what string, steps ...any) {
	node := r.root
	for _, step := range steps {
		node = cmp.Or(child(node, step), node)
	}
	r.note(node, what)
}

func child(node *yaml.Node, step any) *yaml.Node {
	if i, isIndex := step.(int); isIndex && node.Kind == yaml.SequenceNode {
		return node.Content[i]
	}
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		if node.Content[i].Value == step {
			return node.Content[i+1]
		}
	}
	return nil
}

// note notes what is wrong at a node, which does not fit then.
func (r *reader) note(node *yaml.Node, what string) (fits bool) {
	line, column := place(node)
	r.mistakes = append(r.mistakes, Finding{line, column, what})
	return false
}

// place is where a node begins: a map where its first key does.
func place(node *yaml.Node) (line, column int) {
	if node.Kind == yaml.MappingNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	return node.Line, node.Column
}

const noValue = "this key has no value: remove it or give it one, behind a colon and a space"

// read reads a node into a value and says whether all of it fits. Mistakes are unknown and repeated
// keys, values of the wrong type, values that are missing, and YAML by which one line changes
// another or a text is taken for something else.
func (r *reader) read(node *yaml.Node, into reflect.Value) bool {
	isList, isMap := node.Kind == yaml.SequenceNode, node.Kind == yaml.MappingNode
	kind, holder := into.Kind(), into
	switch {
	case !plain(node) || node.Kind == yaml.AliasNode:
		return r.note(node, "anchors, aliases and tags are not read: write the value out (text"+
			" that begins with & * or ! needs quotes)")
	case !isList && kind == reflect.Slice && into.Type().Implements(reflect.TypeFor[oneOrMany]()):
		into.Set(reflect.MakeSlice(into.Type(), 1, 1))
		return r.read(node, into.Index(0))
	case !isList && !isMap:
		return r.scalar(node, into)
	case kind == reflect.Interface && isList:
		holder = reflect.New(reflect.TypeFor[[]any]()).Elem()
	case kind == reflect.Interface:
		holder = reflect.New(reflect.TypeFor[map[string]any]()).Elem()
	case len(node.Content) == 0:
		r.note(node, noValue)
	}
	ok := true
	switch kind = holder.Kind(); {
	case isList && kind == reflect.Slice:
		holder.Set(reflect.MakeSlice(holder.Type(), len(node.Content), len(node.Content)))
		for i, element := range node.Content {
			ok = r.read(element, holder.Index(i)) && ok
		}
	case isMap && (kind == reflect.Map || kind == reflect.Struct):
		ok = r.entries(node, holder)
	case isList:
		return r.misfit(node, into, "a list")
	default:
		return r.misfit(node, into, "a map")
	}
	into.Set(holder)
	return ok
}

// plain says whether a node has neither anchor nor tag.
func plain(node *yaml.Node) bool {
	return node.Anchor == "" && node.Style&yaml.TaggedStyle == 0
}

// entries reads a map into one with any keys, or into a struct, whose tags say the keys.
func (r *reader) entries(node *yaml.Node, into reflect.Value) bool {
	keys, seen, ok := r.keysOf(into.Type()), map[string]bool{}, true
	if into.Kind() == reflect.Map {
		into.Set(reflect.MakeMapWithSize(into.Type(), len(node.Content)/2))
	}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := key.Value
		field := slices.Index(keys, name)
		switch {
		case key.Kind != yaml.ScalarNode || !plain(key) || key.Tag == "!!merge":
			ok = r.note(key, "a key is plain text: anchors, tags, merges and ? are not read")
		case seen[name]:
			ok = r.note(key, fmt.Sprintf("%q stands twice: remove one, or begin a list's next"+
				" entry with -", name))
		case into.Kind() == reflect.Map:
			entry := reflect.New(into.Type().Elem()).Elem()
			ok = r.read(value, entry) && ok
			into.SetMapIndex(reflect.ValueOf(name), entry)
		case field < 0 || name == "": // "" is what no file sets
			r.note(key, unknownKey(name, keys))
		default:
			ok = r.read(value, into.Field(field)) && ok
		}
		seen[name] = true
	}
	return ok
}

func unknownKey(key string, keys []string) string {
	known := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == "" })
	if before, _, cut := strings.Cut(key, ":"); cut && slices.Contains(known, before) {
		return fmt.Sprintf("unknown key %q: put a space behind the colon", key)
	}
	return fmt.Sprintf("unknown key %q: use %s", key, strings.Join(known, ", "))
}

// keysOf lists the keys of a struct's fields, "" for one that no file sets.
func (r *reader) keysOf(t reflect.Type) []string {
	keys, known := r.keys[t]
	if !known && t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			keys = append(keys, t.Field(i).Tag.Get("yaml"))
		}
		r.keys[t] = keys
	}
	return keys
}

// misfit notes a value of the wrong type.
func (r *reader) misfit(node *yaml.Node, into reflect.Value, found string) bool {
	if special, ok := into.Addr().Interface().(orAnyone); ok {
		return r.note(node, special.sayAnyone())
	}
	wanted, fix := "a map", ""
	switch kind := into.Kind(); {
	case kind == reflect.Bool:
		wanted = "true or false"
	case kind == reflect.String && node.Kind == yaml.ScalarNode:
		wanted, fix = "text", ": put it in quotes"
	case kind == reflect.String:
		wanted = "text"
	case kind == reflect.Slice && found == "text":
		wanted, fix = "a list", ": put [ ] around it"
	case kind == reflect.Slice:
		wanted = "a list"
	}
	return r.note(node, wanted+" belongs here, not "+found+fix)
}

var otherTruths = []string{"y", "yes", "n", "no", "on", "off", "true", "false"}

// scalar reads text, a number or a truth. What other YAML readers take for one of these and is not
// written as in JSON (0123, 1_000, yes) is a mistake. What has a form of its own, such as a
// duration, is read as it is written and judged later.
func (r *reader) scalar(node *yaml.Node, into reflect.Value) bool {
	value, found, kind := any(node.Value), "text", into.Kind()
	switch {
	case node.Tag == "!!null", node.Value == "" && kind != reflect.Interface:
		return r.note(node, noValue)
	case node.Tag == "!!str" && node.Style != 0, node.Tag == "!!timestamp":
	case node.Value == "true" || node.Value == "false":
		value, found = node.Value == "true", "true or false"
	case slices.Contains(otherTruths, strings.ToLower(node.Value)):
		return r.note(node, node.Value+" may be text or a truth: write true or false, or put it in"+
			" quotes")
	case node.Tag == "!!str":
	case json.Valid([]byte(node.Value)):
		value, found = json.Number(node.Value), "a number"
	default:
		return r.note(node, node.Value+" may be text or one of several numbers: write it in plain"+
			" digits, or put it in quotes")
	}
	switch {
	case kind == reflect.String && (found == "text" || into.Type() != reflect.TypeFor[string]()):
		into.SetString(node.Value)
	case kind == reflect.Interface, kind == reflect.Bool && found == "true or false":
		into.Set(reflect.ValueOf(value))
	default:
		special, ok := into.Addr().Interface().(orAnyone)
		if !ok || node.Value != "anyone" {
			return r.misfit(node, into, found)
		}
		special.sayAnyone()
	}
	return true
}
