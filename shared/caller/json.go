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
	r := reader{left: values + 1, Decoder: jsontext.NewDecoder(bytes.NewBuffer(raw),
		jsontext.AllowDuplicateNames(only != nil))}
	value, err := r.value(true, only)
	object, isObject := value.(map[string]any)
	if err == nil {
		_, err = r.ReadToken()
	}
	switch {
	case errors.Is(err, io.EOF) && isObject:
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

// value returns the next value, or something else where it is not to be kept. Only names what is
// kept of an object; nil: everything.
func (r *reader) value(keep bool, only map[string]bool) (any, error) {
	if r.left--; r.left < 0 || r.StackDepth() > maxDepth {
		return nil, errTooMuch
	}
	token, err := r.ReadToken()
	switch kind := token.Kind(); {
	case err != nil:
		return nil, err
	case kind == '{':
		object := map[string]any{}
		for r.PeekKind() != '}' {
			if err := r.member(object, keep, only); err != nil {
				return nil, err
			}
		}
		_, err = r.ReadToken()
		return object, err
	case kind == '[':
		list := []any{}
		for r.PeekKind() != ']' {
			element, err := r.value(keep, nil)
			if err != nil {
				return nil, err
			}
			if keep {
				list = append(list, element)
			}
		}
		_, err = r.ReadToken()
		return list, err
	case kind == '"' && keep:
		return token.String(), nil
	case kind == '0' && keep:
		return json.Number(token.String()), nil
	case kind == 't' || kind == 'f':
		return token.Bool(), nil
	}
	return nil, nil
}

// member reads a name and its value into object where they are kept. It makes no string of a name
// that is not.
func (r *reader) member(object map[string]any, keep bool, only map[string]bool) error {
	raw, err := r.ReadValue()
	name := bytes.Trim(raw, `"`)
	if err == nil && bytes.IndexByte(raw, '\\') >= 0 {
		name, err = jsontext.AppendUnquote(nil, raw)
	}
	if err != nil {
		return err
	}
	if keep = keep && (only == nil || only[string(name)]); !keep {
		_, err = r.value(false, nil)
		return err
	}
	text := string(name) // its bytes do not outlive the next read
	object[text], err = r.value(true, nil)
	return err
}
