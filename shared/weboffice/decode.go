package weboffice

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// decode reads a body, strictly to its end.
func decode[T any](body []byte) (T, error) {
	var r, none T
	if err := check(body, ""); err != nil {
		return none, err
	}
	if err := decodeObject(body, "", reflect.ValueOf(&r).Elem()); err != nil {
		return none, err
	}
	return r, nil
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
// sender more than us. parameter names the parameter whose text it is, "" the whole body.
func check(text []byte, parameter string) error {
	depth, deepest, values, quoted := 0, 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++ // grammar allows it inside quotes alone
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth, values = depth+1, values+1
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
	}
	switch {
	case deepest > maxDepth || values > maxValues:
		return about(parameter, ErrTooMany, ErrParameterTooMany, maxDepth, maxValues)
	case !json.Valid(text):
		return notJSON(parameter)
	case !utf8.Valid(text) || loneSurrogate(text):
		return about(parameter, ErrNotUnicode, ErrParameterNotUnicode)
	}
	return nil
}

// about makes an error of the whole body, or of the parameter whose text it is.
func about(parameter string, body, one Failure, values ...any) *Error {
	if parameter == "" {
		return body.New(values...)
	}
	return one.New(append([]any{parameter}, values...)...)
}

func notJSON(parameter string) *Error { return about(parameter, ErrNotJSON, ErrParameterNotJSON) }

// loneSurrogate says whether a valid JSON text escapes half of a UTF-16 pair, which encoding/json
// would replace silently.
func loneSurrogate(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return false
		}
		if text = text[i+1:]; text[0] != 'u' {
			text = text[1:]
			continue
		}
		first := escaped(text)
		if text = text[5:]; !utf16.IsSurrogate(first) {
			continue
		}
		if !bytes.HasPrefix(text, []byte(`\u`)) ||
			utf16.DecodeRune(first, escaped(text[1:])) == unicode.ReplacementChar {
			return true
		}
		text = text[6:]
	}
}

// escaped reads the four digits behind the u of an escape.
func escaped(text []byte) rune {
	var unit [2]byte
	_, _ = hex.Decode(unit[:], text[1:5]) // the grammar wants digits there
	return rune(unit[0])<<8 | rune(unit[1])
}

// decodeObject reads an object into a struct: the one lenient decoder for requests and for a
// policy's `set`. parameter is the outermost parameter's name, "" at the top. Names are compared
// exactly: encoding/json also takes other case, so that two spellings of one parameter would both
// be read. raw has passed check.
func decodeObject(raw []byte, parameter string, into reflect.Value) error {
	r := reader{raw}
	if !r.skip('{') {
		return notJSON(parameter)
	}
	var seen [32]bool // by field
	for !r.skip('}') {
		name, _ := unquote(r.value())
		r.skip(':')
		value := r.value()
		r.skip(',')
		outermost := cmp.Or(parameter, name)
		field, known := into.Type().FieldByName(name)
		switch {
		case !known:
			return unknown(name, parameter, into.Type())
		case seen[field.Index[0]]:
			return repeated(outermost)
		}
		seen[field.Index[0]] = true
		if err := decodeValue(value, outermost, into.FieldByIndex(field.Index)); err != nil {
			return err
		}
	}
	return nil
}

// reader walks through a JSON text that has passed check: whatever begins in it ends in it.
type reader struct{ rest []byte }

const space = " \t\r\n"

// skip goes past c, if that comes next.
func (r *reader) skip(c byte) bool {
	r.rest = bytes.TrimLeft(r.rest, space)
	if len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// value goes past the next value, or name, and returns its text.
func (r *reader) value() []byte {
	depth, quoted, i := 0, false, 0
scan:
	for ; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']'):
			break scan
		case c == '}' || c == ']':
			depth--
		}
	}
	value := r.rest[:i]
	r.rest = r.rest[i:]
	return bytes.Trim(value, space)
}

func decodeValue(raw []byte, parameter string, into reflect.Value) error {
	if bytes.Equal(raw, []byte("null")) {
		return nil // as if not sent
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	if bytes.IndexByte(raw, '\\') >= 0 && len(raw) > maxEscaped {
		return ErrText.New(parameter, MaxUserData)
	}
	text, quoted := unquote(raw)
	switch into.Kind() {
	case reflect.String:
		if !quoted {
			return ErrNotText.New(parameter)
		}
		into.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return ErrNotTruth.New(parameter)
		}
		into.SetBool(text == "true")
	case reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil && parameter == "PreviewPages":
			return ErrPreviewPages.New()
		case err != nil:
			return ErrNotWhole.New(parameter)
		}
		into.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return ErrNotNumber.New(parameter)
		}
		into.SetFloat(f)
	default:
		structure, err := structure(raw, text, quoted, parameter)
		switch {
		case err != nil:
			return err
		case into.Kind() == reflect.Slice:
			return decodeList(structure, parameter, into)
		}
		return decodeObject(structure, parameter, into)
	}
	return nil
}

func decodeList(raw []byte, parameter string, into reflect.Value) error {
	r := reader{raw}
	if !r.skip('[') {
		return notJSON(parameter)
	}
	into.Set(reflect.MakeSlice(into.Type(), 0, 0))
	for !r.skip(']') {
		element := reflect.New(into.Type().Elem()).Elem()
		if err := decodeValue(r.value(), parameter, element); err != nil {
			return err
		}
		into.Set(reflect.Append(into, element))
		r.skip(',')
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

// structure gives the JSON of a structure in any of its three spellings. One that stands in a text
// is held to what the body was held to.
func structure(raw []byte, text string, quoted bool, parameter string) ([]byte, error) {
	if !quoted {
		return raw, nil
	}
	if len(text) > maxSpelled {
		return nil, ErrStructure.New(parameter, maxStructure)
	}
	spelled := []byte(text)
	if !json.Valid(spelled) {
		spelled = doubleQuoted(spelled)
	}
	return spelled, check(spelled, parameter)
}

// doubleQuoted rewrites single-quoted text, as the vendor's scenarios spell structures, as JSON.
// Text inside double quotes stays.
func doubleQuoted(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	var open byte // the quote that is open, 0 outside
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && open != 0 && i+1 < len(text):
			i++
			if text[i] != '\'' {
				out = append(out, c)
			}
			out = append(out, text[i])
		case open == 0 && (c == '\'' || c == '"'):
			open = c
			out = append(out, '"')
		case c == open:
			open = 0
			out = append(out, '"')
		case open == '\'' && c == '"':
			out = append(out, `\"`...)
		default:
			out = append(out, c)
		}
	}
	return out
}

func repeated(name string) *Error {
	if !showable(name) {
		return ErrRepeatedUnnamed.New()
	}
	return ErrRepeated.New(name)
}

var plainName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)
})

// showable says whether a name may be shown back to whoever sent it.
func showable(name string) bool { return len(name) <= 40 && plainName().MatchString(name) }

func unknown(name, parameter string, t reflect.Type) *Error {
	var known []string
	for i := range t.NumField() {
		known = append(known, t.Field(i).Name)
		if strings.EqualFold(name, t.Field(i).Name) {
			known = []string{t.Field(i).Name} // the likely intention
			break
		}
	}
	names := strings.Join(known, ", ")
	switch {
	case parameter == "" && !showable(name):
		return ErrUnknownUnnamed.New(names)
	case parameter == "":
		return ErrUnknown.New(name, names)
	case !showable(name):
		name = "A name"
	}
	return ErrUnknownMember.New(parameter, name, names)
}
