package caller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of a token's claims, wide of what people's tokens hold: providers stop listing groups
// at about 200. They keep what a token costs within three times that of an ordinary one.
const (
	maxDepth  = 32
	maxValues = 512
)

var errTooMuch = errors.New("too many levels or values")

// readObject reads a JSON object of at most maxDepth levels and so many values. No two readers may
// read it in two ways: it is UTF-8, also behind its escapes, and nothing follows it.
//
// With only, it builds the top-level members of those names alone, at a cost that the others do not
// raise, and does not see that a name occurs twice. With nil it builds everything, and a name that
// occurs twice at any depth is an error.
func readObject(raw []byte, values int, only map[string]bool) (map[string]any, error) {
	r := reader{left: values, Decoder: jsontext.NewDecoder(bytes.NewBuffer(raw),
		jsontext.AllowDuplicateNames(only != nil))}
	if r.PeekKind() != '{' {
		return nil, errors.New("no JSON object")
	}
	_, err := r.ReadToken()
	object, err := r.members(only, true)
	if err == nil {
		_, err = r.ReadToken()
	}
	switch {
	case errors.Is(err, io.EOF):
		return object, nil
	case errors.Is(err, errTooMuch):
		return nil, fmt.Errorf("more than %d levels or %d values", maxDepth, values)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return nil, errors.New("a name occurs twice")
	}
	return nil, errors.New("not one JSON object in UTF-8") // the library's text quotes it
}

// reader reads the values of one text, and counts them.
type reader struct {
	*jsontext.Decoder
	left int
}

// value returns nil for a value that is not to be kept.
func (r *reader) value(keep bool) (any, error) {
	if r.left--; r.left < 0 || r.StackDepth() > maxDepth {
		return nil, errTooMuch
	}
	token, err := r.ReadToken()
	if err != nil {
		return nil, err
	}
	switch kind := token.Kind(); {
	case kind == '{':
		return r.members(nil, keep)
	case kind == '[':
		return r.elements(keep)
	case kind == '"' && keep:
		return token.String(), nil
	case kind == '0' && keep:
		return json.Number(token.String()), nil
	case kind == 't' || kind == 'f':
		return token.Bool(), nil
	}
	return nil, nil
}

func (r *reader) elements(keep bool) (any, error) {
	list := []any{}
	for r.PeekKind() != ']' {
		element, err := r.value(keep)
		if err != nil {
			return nil, err
		}
		if keep {
			list = append(list, element)
		}
	}
	_, err := r.ReadToken()
	return list, err
}

func (r *reader) members(only map[string]bool, keep bool) (map[string]any, error) {
	var object map[string]any
	if keep {
		object = map[string]any{}
	}
	for r.PeekKind() != '}' {
		name, err := r.ReadValue()
		if err == nil && bytes.IndexByte(name, '\\') >= 0 {
			name, err = jsontext.AppendUnquote(nil, name)
		} else if err == nil {
			name = name[1 : len(name)-1]
		}
		if err != nil {
			return nil, err
		}
		if !keep || only != nil && !only[string(name)] {
			if _, err = r.value(false); err != nil {
				return nil, err
			}
			continue
		}
		text := string(name) // the decoder's bytes do not outlive the next read
		if object[text], err = r.value(true); err != nil {
			return nil, err
		}
	}
	_, err := r.ReadToken()
	return object, err
}
