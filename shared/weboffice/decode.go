package weboffice

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeObject reads an object into a struct: the one lenient decoder for requests and for a
// policy's `set`. parameter is the outermost parameter's name, "" at the top.
func decodeObject(raw []byte, parameter string, into reflect.Value) error {
	seen := map[string]bool{}
	return eachMember(raw, parameter, func(name string, value json.RawMessage) error {
		field := fieldNamed(into, name)
		outermost := parameter
		if parameter == "" {
			outermost = name
		}
		switch {
		case !field.IsValid():
			return unknown(name, parameter, into.Type())
		case seen[name]:
			return repeated(outermost)
		}
		seen[name] = true
		return decodeValue(value, outermost, field)
	})
}

// fieldNamed finds the field by its exact name: unlike encoding/json, which also takes other case,
// so that two spellings of one parameter can never both be read.
func fieldNamed(v reflect.Value, name string) reflect.Value {
	if field, ok := v.Type().FieldByName(name); ok {
		return v.FieldByIndex(field.Index)
	}
	return reflect.Value{}
}

func eachMember(raw []byte, parameter string, visit func(string, json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return notJSON(parameter)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return notJSON(parameter)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return notJSON(parameter)
		}
		// an object's keys are strings, or Token fails
		if err := visit(name.(string), value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return notJSON(parameter)
	}
	if _, err := d.Token(); err == nil {
		return notJSON(parameter) // something follows the object
	}
	return nil
}

func decodeValue(raw json.RawMessage, parameter string, into reflect.Value) error {
	if bytes.Equal(raw, []byte("null")) {
		return nil // as if not sent
	}
	text, quoted := unquote(raw)
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return decodeValue(raw, parameter, into.Elem())
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
		if err != nil {
			if parameter == "PreviewPages" {
				return ErrPreviewPages.New()
			}
			return ErrNotWhole.New(parameter)
		}
		into.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return ErrNotNumber.New(parameter)
		}
		into.SetFloat(f)
	case reflect.Slice:
		var elements []json.RawMessage
		if err := json.Unmarshal([]byte(jsonText(raw, text, quoted)), &elements); err != nil {
			return notJSON(parameter)
		}
		into.Set(reflect.MakeSlice(into.Type(), len(elements), len(elements)))
		for i, element := range elements {
			if err := decodeValue(element, parameter, into.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return decodeObject([]byte(jsonText(raw, text, quoted)), parameter, into)
	}
	return nil
}

// unquote returns the text of a JSON string, or the raw text of anything else.
func unquote(raw json.RawMessage) (text string, quoted bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw), false
	}
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) { // as it stands: a sealed token is long
		return string(raw[1 : len(raw)-1]), true
	}
	if err := json.Unmarshal(raw, &text); err != nil {
		return "", true
	}
	return text, true
}

// jsonText gives the JSON of a structure in any of its three spellings.
func jsonText(raw json.RawMessage, text string, quoted bool) string {
	if !quoted {
		return string(raw)
	}
	if json.Valid([]byte(text)) {
		return text
	}
	return doubleQuoted(text)
}

// doubleQuoted rewrites single-quoted text, as the vendor's scenarios spell structures, as JSON.
// Text inside double quotes stays.
func doubleQuoted(text string) string {
	var b strings.Builder
	var open byte // the quote that is open, 0 outside
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && open != 0 && i+1 < len(text):
			i++
			if text[i] == '\'' {
				b.WriteByte('\'')
			} else {
				b.WriteByte('\\')
				b.WriteByte(text[i])
			}
		case open == 0 && (c == '\'' || c == '"'):
			open = c
			b.WriteByte('"')
		case c == open:
			open = 0
			b.WriteByte('"')
		case open == '\'' && c == '"':
			b.WriteString(`\"`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func notJSON(parameter string) *Error {
	if parameter == "" {
		return ErrNotJSON.New()
	}
	return ErrParameterNotJSON.New(parameter)
}

func repeated(name string) *Error {
	if !showable(name) {
		return ErrRepeatedUnnamed.New()
	}
	return ErrRepeated.New(name)
}

var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// showable says whether a name may be shown back to whoever sent it.
func showable(name string) bool { return len(name) <= 40 && plainName.MatchString(name) }

func unknown(name, parameter string, t reflect.Type) *Error {
	var known []string
	for i := range t.NumField() {
		known = append(known, t.Field(i).Name)
		if strings.EqualFold(name, t.Field(i).Name) {
			known = []string{t.Field(i).Name} // the likely intention
			break
		}
	}
	names, shown := strings.Join(known, ", "), showable(name)
	switch {
	case parameter != "" && shown:
		return ErrUnknownMember.New(parameter, name, names)
	case parameter != "":
		return ErrUnknownMember.New(parameter, "A name", names)
	case shown:
		return ErrUnknown.New(name, names)
	}
	return ErrUnknownUnnamed.New(names)
}
