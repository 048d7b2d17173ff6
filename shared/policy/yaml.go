package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
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

// oneOrMany is a list in whose place a single element may stand.
type oneOrMany interface{ oneOrMany() }

// wordOr is a map, or what holds maps, in whose place one word may stand.
type wordOr interface {
	word(text string) bool // takes the word, and false any other text
	form() string          // says what may stand there
}

// syntax gives YAML's errors our words: what to type. The keys are parts of the library's.
var syntax = []struct{ part, says string }{
	{"mapping values are not allowed", "a second colon in one line, or a line that is indented" +
		" too far: put the text in quotes, or indent by two"},
	{"did not find expected ',' or", "{ or [ is not closed here, or a comma is missing: inside" +
		" { } and [ ] put text that holds { } [ ] or a comma in quotes"},
	{"did not find expected node content", "a value is missing here: write one, or put the text" +
		" in quotes"},
	{"did not find expected", "this line does not fit those above it: indent by two, and put" +
		" text that holds quotes in quotes as a whole"},
	{"unknown anchor", "text that begins with * needs quotes"},
	{"unexpected end of stream", "the quotes that open here are never closed"},
	{"unknown escape character", `\ is special in "…": write '…' instead`},
	{"block sequence entries", "a list begins on a line of its own, indented by two"},
	{"could not find expected ':'", "a key needs a colon and a space behind it"},
	{"incompatible YAML document", "leave the %YAML line out"},
	{"single document", "a policy is one YAML document: leave out the second ---"},
	{"no documents", "a policy is one YAML document, and this file is empty"},
	{"exceeded max depth", "nested too deeply"},
	{"tab character", "a tab: indent with spaces, by two"},
	{"cannot start any token", "text cannot begin with this character: put it in quotes (a tab:" +
		" indent with spaces)"},
}

// plainError keeps the place of a YAML error and says in our words what to type.
func plainError(data []byte, err error) Finding {
	for n, line := range strings.Split(string(data), "\n") {
		column := 0
		for i, r := range line {
			column++
			if r < ' ' && r != '\t' && r != '\r' || r == 0x7f ||
				r == utf8.RuneError && line[i] != "\ufffd"[0] {
				return Finding{n + 1, column, "this is not UTF-8 text, or a control character:" +
					" save the file as UTF-8"}
			}
		}
	}
	var located *yaml.LoadError
	if !errors.As(err, &located) {
		return Finding{1, 1, err.Error()}
	}
	at := located.Mark
	if opened := located.ContextMark; opened.Line > 0 && (opened.Line < at.Line ||
		strings.Contains(located.Message, "end of stream")) {
		at = opened // what is never closed
	}
	for _, s := range syntax {
		if strings.Contains(located.Message, s.part) {
			return Finding{max(at.Line, 1), max(at.Column, 1), s.says}
		}
	}
	return Finding{max(at.Line, 1), max(at.Column, 1), located.Message}
}

// problem notes what is wrong at a place such as rules, 2, "documents". What is not there is
// reported at what would hold it.
func (r *reader) problem(what string, place ...any) {
	node := r.root
	for _, step := range place {
		if found := child(node, step); found != nil {
			node = found
		}
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

// note notes what is wrong at a node. A map begins where its first key does.
func (r *reader) note(node *yaml.Node, what string) {
	if node.Kind == yaml.MappingNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	r.mistakes = append(r.mistakes, Finding{node.Line, node.Column, what})
}

// read reads a node into a value and says whether all of it fits. Mistakes are unknown and repeated
// keys, values of the wrong type, values that are missing, and YAML by which one line changes
// another or a text is taken for something else.
func (r *reader) read(node *yaml.Node, into reflect.Value) bool {
	if node.Kind == yaml.AliasNode || node.Anchor != "" || node.Style&yaml.TaggedStyle != 0 {
		r.note(node, "anchors, aliases and tags are not read: write the value out (text that"+
			" begins with & * or ! needs quotes)")
		return false
	}
	switch {
	case node.Kind == yaml.SequenceNode:
		return r.list(node, into)
	case into.Kind() == reflect.Slice && into.Type().Implements(reflect.TypeFor[oneOrMany]()):
		into.Set(reflect.MakeSlice(into.Type(), 1, 1))
		return r.read(node, into.Index(0))
	case node.Kind == yaml.MappingNode && into.Kind() == reflect.Struct:
		return r.members(node, into)
	case node.Kind == yaml.MappingNode:
		return r.entries(node, into)
	}
	return r.scalar(node, into)
}

// kind is the word for what a value may be.
func kind(k reflect.Kind) string {
	switch k {
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	}
	return "a map"
}

// fits notes a value of the wrong type. What is wanted may be anything.
func (r *reader) fits(node *yaml.Node, into reflect.Value, found string) bool {
	wanted, fix := kind(into.Kind()), ""
	if into.Kind() == reflect.Interface || wanted == found {
		return true
	}
	if special, ok := into.Addr().Interface().(wordOr); ok {
		r.note(node, special.form())
		return false
	}
	switch {
	case into.Type() == reflect.TypeFor[durationText]():
		fix = ": write 30m or 8h"
	case into.Type() == reflect.TypeFor[rateText]():
		fix = ": write 10/s, 10/m or 10/h"
	case wanted == "text" && node.Kind == yaml.ScalarNode:
		fix = ": put it in quotes"
	case wanted == "a list" && found == "text":
		fix = ": put [ ] around it"
	}
	r.note(node, wanted+" belongs here, not "+found+fix)
	return false
}

const noValue = "this key has no value: remove it or give it one"

func (r *reader) list(node *yaml.Node, into reflect.Value) bool {
	if len(node.Content) == 0 && into.Kind() != reflect.Interface {
		r.note(node, noValue)
	}
	if !r.fits(node, into, "a list") {
		return false
	}
	list, ok := into, true
	if into.Kind() == reflect.Interface {
		list = reflect.New(reflect.TypeFor[[]any]()).Elem()
	}
	list.Set(reflect.MakeSlice(list.Type(), len(node.Content), len(node.Content)))
	for i, element := range node.Content {
		ok = r.read(element, list.Index(i)) && ok
	}
	into.Set(list)
	return ok
}

// key notes a key that is no plain text or stands twice.
func (r *reader) key(key *yaml.Node, twice bool) bool {
	switch {
	case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 ||
		key.Tag == "!!merge":
		r.note(key, "a key is plain text: anchors, tags, merges and ? are not read")
		return false
	case twice:
		r.note(key, fmt.Sprintf("%q stands twice: remove one, or begin a list's next entry with -",
			key.Value))
		return false
	}
	return true
}

// members reads a map into a struct, whose tags say the keys.
func (r *reader) members(node *yaml.Node, into reflect.Value) bool {
	keys, seen, ok := r.keysOf(into.Type()), uint64(0), true
	if len(node.Content) == 0 {
		r.note(node, noValue)
	}
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i]
		field := slices.Index(keys, key.Value)
		bit := uint64(1) << max(field, 0)
		switch {
		case !r.key(key, field >= 0 && seen&bit != 0):
			ok = false
		case field < 0 || key.Value == "": // "" is what no file sets
			r.note(key, unknownKey(key.Value, keys))
		default:
			seen |= bit
			ok = r.read(node.Content[i+1], into.Field(field)) && ok
		}
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
	if r.keys[t] == nil {
		keys := make([]string, t.NumField())
		for i := range keys {
			keys[i] = t.Field(i).Tag.Get("yaml")
		}
		r.keys[t] = keys
	}
	return r.keys[t]
}

// entries reads a map with any keys.
func (r *reader) entries(node *yaml.Node, into reflect.Value) bool {
	if len(node.Content) == 0 && into.Kind() != reflect.Interface {
		r.note(node, noValue)
	}
	if !r.fits(node, into, "a map") {
		return false
	}
	entries, ok := into, true
	if into.Kind() == reflect.Interface {
		entries = reflect.New(reflect.TypeFor[map[string]any]()).Elem()
	}
	entries.Set(reflect.MakeMapWithSize(entries.Type(), len(node.Content)/2))
	for i := 0; i < len(node.Content); i += 2 {
		value := reflect.New(entries.Type().Elem()).Elem()
		key := reflect.ValueOf(node.Content[i].Value)
		ok = r.key(node.Content[i], entries.MapIndex(key).IsValid()) &&
			r.read(node.Content[i+1], value) && ok
		entries.SetMapIndex(key, value)
	}
	into.Set(entries)
	return ok
}

var otherTruths = []string{"y", "yes", "n", "no", "on", "off", "true", "false"}

// scalar reads text, a number or a truth. What other YAML readers take for one of these and is not
// written as in JSON (0123, 1_000, yes) is a mistake.
func (r *reader) scalar(node *yaml.Node, into reflect.Value) bool {
	var value any = node.Value
	found := "text"
	switch {
	case node.Tag == "!!null":
		r.note(node, noValue)
		return false
	case node.Value == "" && into.Kind() != reflect.Interface:
		r.note(node, noValue)
	case node.Tag == "!!str" && node.Style != 0, node.Tag == "!!timestamp":
	case node.Value == "true" || node.Value == "false":
		value, found = node.Value == "true", "true or false"
	case slices.Contains(otherTruths, strings.ToLower(node.Value)):
		r.note(node, node.Value+" may be text or a truth: write true or false, or put it in quotes")
		return false
	case node.Tag == "!!str":
	case json.Valid([]byte(node.Value)):
		value, found = json.Number(node.Value), "a number"
	default:
		r.note(node, node.Value+" may be text or one of several numbers: write it in plain digits,"+
			" or put it in quotes")
		return false
	}
	if into.Kind() == reflect.String && found == "text" { // most of a policy
		into.SetString(node.Value)
		return true
	}
	if special, ok := into.Addr().Interface().(wordOr); ok && found == "text" &&
		special.word(node.Value) {
		return true
	}
	if !r.fits(node, into, found) {
		return false
	}
	into.Set(reflect.ValueOf(value).Convert(into.Type()))
	return true
}
