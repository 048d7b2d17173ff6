package weboffice

import (
	"bytes"
	"encoding/json"
	"iter"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decode reads a body, strictly to its end.
func decode[T any](body []byte) (r T, err error) {
	if err = check(body, ""); err == nil {
		err = decodeMembers(body, "", reflect.ValueOf(&r).Elem())
	}
	if err != nil {
		r = *new(T)
	}
	return r, err
}

// What a text may hold before anything is built of it. A request with every parameter has four
// levels and under a hundred values.
const (
	maxDepth  = 8
	maxValues = 100
	// bytes of a text with escapes, which are read one by one: the longest that Validate accepts
	// has 2,048, of six characters at most
	maxEscaped = 6*MaxUserData + 2
	maxSpelled = 2 * maxStructure // bytes of a structure that stands in a text
)

// check holds a JSON text to what every reader reads alike: one value, by the grammar to its last
// byte, in UTF-8, without lone surrogates. It scans and builds nothing, so that a text costs its
// sender more than us. path names what it is the text of, "" the whole body.
func check(text []byte, path string) error {
	deepest, values := 0, 0
	for _, m := range marks(text) {
		deepest = max(deepest, m.depth)
		if m.char == '{' || m.char == '[' || m.char == ',' {
			values++
		}
	}
	switch {
	case deepest > maxDepth || values > maxValues:
		return ErrTooMany.of(path, "", maxDepth, maxValues)
	case !json.Valid(text):
		return notJSON(path)
	case !utf8.Valid(text) || loneSurrogate(text):
		return ErrNotUnicode.of(path, "")
	}
	return nil
}

func notJSON(path string) *Error {
	if path == "" {
		return ErrNotJSON.New()
	}
	return ErrParameterNotJSON.of(path, "")
}

// loneSurrogate says whether a valid JSON text escapes half of a UTF-16 pair, which encoding/json
// would replace silently.
func loneSurrogate(text []byte) bool {
	if bytes.IndexByte(text, '\\') < 0 {
		return false
	}
	waits := false // a first half, for its second
	for i := 0; i < len(text); i++ {
		var unit uint64
		if text[i] == '\\' {
			if i++; text[i] == 'u' {
				unit, _ = strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
				i += 4
			}
		}
		if second := unit>>10 == 0xDC00>>10; second != waits {
			return true
		}
		waits = unit>>10 == 0xD800>>10
	}
	return waits
}

// mark is a bracket, a comma or a colon of a JSON text.
type mark struct {
	char  byte
	depth int // of what the bracket begins or ends, or of what stands around the other
}

// marks yields the marks outside quotes, with their places.
func marks(text []byte) iter.Seq2[int, mark] {
	return func(yield func(int, mark) bool) {
		depth, quoted := 0, false
		for i := 0; i < len(text); i++ {
			switch c := text[i]; c {
			case '\\':
				i++ // the grammar allows it inside quotes alone
			case '"':
				quoted = !quoted
			case '{', '[', '}', ']', ',', ':':
				if quoted {
					continue
				}
				if c == '{' || c == '[' {
					depth++
				}
				if !yield(i, mark{c, depth}) {
					return
				}
				if c == '}' || c == ']' {
					depth--
				}
			}
		}
	}
}

// members yields the members of an object, or the elements of a list, without names. raw has passed
// check.
func members(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		var name []byte
		start := 0
		for i, m := range marks(raw) {
			if m.depth > 1 {
				continue
			}
			part := bytes.TrimSpace(raw[start:i])
			start = i + 1
			switch {
			case m.char == ':':
				name = part
			case len(part) > 0 && !yield(name, part): // there is none at the beginning, and in {}
				return
			}
		}
	}
}

// decodeMembers reads an object into a struct, or a list into a slice: the one lenient decoder for
// requests and for a policy's `set`. path names it as User.Name is named, "" the whole body.
// Names are compared exactly: encoding/json also takes other case, so that two spellings of one
// parameter would both be read. raw has passed check.
func decodeMembers(raw []byte, path string, into reflect.Value) error {
	isList, begin := into.Kind() == reflect.Slice, byte('{')
	if isList {
		begin = '['
	}
	if bytes.TrimSpace(raw)[0] != begin {
		return notJSON(path)
	}
	var seen [32]bool // by field
	for name, value := range members(raw) {
		if isList {
			into.Set(reflect.Append(into, reflect.Zero(into.Type().Elem())))
			if err := decodeValue(value, path, "", into.Index(into.Len()-1)); err != nil {
				return err
			}
			continue
		}
		name, _ := unquote(name)
		field, known := into.Type().FieldByName(name)
		if !known {
			return unknown(name, path, into.Type())
		}
		if seen[field.Index[0]] {
			return ErrRepeated.of(path, name)
		}
		seen[field.Index[0]] = true
		if err := decodeValue(value, path, name, into.FieldByIndex(field.Index)); err != nil {
			return err
		}
	}
	return nil
}

func decodeValue(raw []byte, path, name string, into reflect.Value) error {
	if bytes.Equal(raw, []byte("null")) {
		return nil // as if not sent
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if bytes.IndexByte(raw, '\\') >= 0 && len(raw) > maxEscaped {
		return ErrText.of(path, name, MaxUserData)
	}
	text, quoted := unquote(raw)
	switch into.Kind() {
	case reflect.String:
		if !quoted {
			return ErrNotText.of(path, name)
		}
		into.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return ErrNotTruth.of(path, name)
		}
		into.SetBool(text == "true")
	case reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil && name == "PreviewPages":
			return ErrPreviewPages.New()
		case err != nil:
			return ErrNotWhole.of(path, name)
		}
		into.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return ErrNotNumber.of(path, name)
		}
		into.SetFloat(f)
	default:
		path = strings.Trim(path+"."+name, ".")
		if quoted {
			var err error
			if raw, err = spelled(text, path); err != nil {
				return err
			}
		}
		return decodeMembers(raw, path, into)
	}
	return nil
}

// unquote returns the text of a JSON string, or the raw text of anything else.
func unquote(raw []byte) (text string, quoted bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw), false
	}
	if bytes.IndexByte(raw, '\\') < 0 { // as it stands: a sealed token is long
		return string(raw[1 : len(raw)-1]), true
	}
	_ = json.Unmarshal(raw, &text) // check has seen that it is a string
	return text, true
}

// spelled gives the JSON of a structure that stands in a text, in either quotes. It is held to what
// the body was held to.
func spelled(text, path string) ([]byte, error) {
	if len(text) > maxSpelled {
		return nil, ErrStructure.of(path, "", maxStructure)
	}
	structure := []byte(text)
	if !json.Valid(structure) {
		structure = doubleQuoted(structure)
	}
	return structure, check(structure, path)
}

// doubleQuoted rewrites single-quoted text, as the vendor's scenarios spell structures, as JSON.
// Text inside double quotes stays.
func doubleQuoted(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	var open byte // the quote that is open, 0 outside
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && open != 0 && i+1 < len(text):
			i++
			if text[i] != '\'' { // which JSON does not escape
				out = append(out, c)
			}
			c = text[i]
		case c == open:
			open, c = 0, '"'
		case open == 0 && (c == '\'' || c == '"'):
			open, c = c, '"'
		case open == '\'' && c == '"':
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return out
}

// showable says whether a name may be shown back to whoever sent it.
func showable(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return name != "" && len(name) <= 40 && strings.Trim(name, letters+"0123456789_") == ""
}

func unknown(name, path string, t reflect.Type) *Error {
	names := fieldNames(t)
	for _, known := range names {
		if strings.EqualFold(name, known) {
			names = []string{known} // the likely intention
		}
	}
	known := strings.Join(names, ", ")
	if !showable(name) {
		name = "A name"
	}
	if path != "" {
		return ErrUnknownMember.of(path, "", name, known)
	}
	e := ErrUnknown.New(name, known)
	e.Code, _, _ = strings.Cut(e.Code, ".A name")
	return e
}

func fieldNames(t reflect.Type) (names []string) {
	for field := range t.Fields() {
		names = append(names, field.Name)
	}
	return names
}
