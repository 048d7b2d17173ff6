package caller

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Claims are the claims of a verified proof, as its JSON has them; numbers are json.Number. They
// are never changed.
type Claims map[string]any

// List is a claim with several values.
type List struct {
	Texts []string // strings as they are, whole numbers as their digits
	// the claim has elements that cannot be compared and are left out of Texts, or it is an object
	// that holds text or a number: a record such as {"type": "contractor"}, and no set of names
	Odd bool
}

// The bounds of a token's header and claims, wide of what people's tokens hold: providers stop
// listing groups at about 200. They keep what a token costs within three times that of an ordinary
// one.
const (
	maxDepth  = 32
	maxValues = 512
	// how many zeros a number like 1e9 may stand for
	maxExponent = 64
)

// pointerStep undoes the escapes of RFC 6901.
var pointerStep = strings.NewReplacer("~1", "/", "~0", "~")

// Find returns a claim in the form in which conditions compare it:
//
//   - a string, which for a whole number holds its digits (42, 42.0 and 4.2e1 are "42");
//   - a bool;
//   - a List, for a list of strings and whole numbers, and for an object that has members whose
//     value is not false, null, 0, "", [] or {}: their names, sorted;
//   - nil for whatever is missing, null or none of these.
//
// A name that begins with "/" is a JSON Pointer (RFC 6901) that passes through objects only. Any
// other name is the claim's whole name, dots and colons included.
//
// A rule that allows treats nil, and what Odd stands for, as no match. A rule that denies must
// treat both as of another type than any wanted value, and so as a match: otherwise a claim in a
// form that nobody expected would end a denial.
func (c Claims) Find(name string) any {
	if !strings.HasPrefix(name, "/") {
		return simplify(c[name])
	}
	value := any(map[string]any(c))
	for step := range strings.SplitSeq(name[1:], "/") {
		object, _ := value.(map[string]any)
		value = object[pointerStep.Replace(step)]
	}
	return simplify(value)
}

// text returns a claim that Find gives as a string, or "".
func (c Claims) text(name string) string {
	text, _ := c.Find(name).(string)
	return text
}

// CheckClaimName says why Find could not mean one claim by this name. A pointer of a single step is
// refused: what is promised of a claim, such as email's verification, is bound to its plain name.
func CheckClaimName(name string) error {
	switch {
	case name == "":
		return errors.New("a claim needs a name")
	case !strings.HasPrefix(name, "/"):
		return nil
	case strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(name), "~"):
		return errors.New("in a JSON Pointer ~ is written as ~0, and / inside a name as ~1")
	case strings.Count(name, "/") == 1:
		return fmt.Errorf("a JSON Pointer is for nested claims: write %q, the claim's own name",
			pointerStep.Replace(name[1:]))
	}
	return nil
}

func simplify(value any) any {
	switch v := value.(type) {
	case string, bool:
		return v
	case json.Number:
		if digits, isWhole := whole(v); isWhole {
			return digits
		}
	case []any:
		list := List{Texts: []string{}}
		for _, element := range v {
			if text, isText := simplify(element).(string); isText {
				list.Texts = append(list.Texts, text)
			} else {
				list.Odd = true
			}
		}
		return list
	case map[string]any:
		var list List
		for name, member := range v {
			yes, record := saysYes(member)
			if yes {
				list.Texts = append(list.Texts, name)
			}
			list.Odd = list.Odd || yes && record
		}
		if slices.Sort(list.Texts); list.Texts != nil {
			return list
		}
	}
	return nil
}

// saysYes judges a member of an object, and whether it is one of a record, text or a number.
func saysYes(value any) (yes, record bool) {
	switch v := value.(type) {
	case string:
		return v != "", true
	case json.Number:
		return simplify(v) != "0", true
	case []any:
		return len(v) > 0, false
	case map[string]any:
		return len(v) > 0, false
	}
	return value == true, false
}

// whole returns the digits of a whole number, the same for each spelling of its value. It works on
// the text: a float would round what lies beyond 2^53.
func whole(number json.Number) (string, bool) {
	mantissa, power, _ := strings.Cut(strings.ToLower(number.String()), "e")
	exponent, err := strconv.Atoi(cmp.Or(power, "0"))
	unsigned := strings.TrimPrefix(mantissa, "-")
	integer, fraction, _ := strings.Cut(unsigned, ".")
	digits := strings.TrimLeft(integer+fraction, "0")
	if digits == "" {
		return "0", true // whatever the exponent
	}
	significant := strings.TrimRight(digits, "0")
	zeros := exponent - len(fraction) + len(digits) - len(significant)
	if err != nil || exponent > maxExponent || zeros < 0 {
		return "", false
	}
	sign := mantissa[:len(mantissa)-len(unsigned)]
	return sign + significant + strings.Repeat("0", zeros), true
}

var (
	errTooMuch = errors.New("too many levels or values")
	errTwice   = errors.New("a name occurs twice")
)

// readObject reads a JSON object of at most maxDepth levels and so many values. No two readers may
// read it in two ways: it is UTF-8, also behind its escapes, no name occurs twice in an object, and
// nothing follows it.
func readObject(raw []byte, values int) (Claims, error) {
	r := reader{left: 1 + values, members: min(bytes.Count(raw, []byte(",")), values),
		decoder: jsontext.NewDecoder(bytes.NewBuffer(raw),
			jsontext.AllowDuplicateNames(true))} // the map finds them sooner
	object, isObject := r.value().(map[string]any)
	_, end := r.decoder.ReadToken()
	switch {
	case r.err == nil && isObject && end == io.EOF:
		return object, nil
	case r.err == errTooMuch:
		return nil, fmt.Errorf("more than %d levels or %d values", maxDepth, values)
	case r.err == errTwice:
		return nil, errTwice
	}
	return nil, errors.New("not one JSON object in UTF-8") // the library's text quotes it
}

// reader reads JSON values until the first error.
type reader struct {
	decoder *jsontext.Decoder
	left    int // values
	members int // that the next object may have: a map that grows costs twice as much
	err     error
}

func (r *reader) token() jsontext.Token {
	token, err := r.decoder.ReadToken()
	r.err = cmp.Or(r.err, err)
	return token
}

func (r *reader) value() any {
	if r.left--; r.left < 0 || r.decoder.StackDepth() > maxDepth {
		r.err = cmp.Or(r.err, errTooMuch)
	}
	token := r.token()
	if r.err != nil {
		return nil
	}
	switch token.Kind() {
	case '{':
		object := make(map[string]any, r.members)
		for r.members = 0; r.err == nil && r.decoder.PeekKind() != '}'; {
			name := r.token().String()
			if _, twice := object[name]; twice {
				r.err = errTwice
			}
			object[name] = r.value()
		}
		r.token()
		return object
	case '[':
		list := []any{}
		for r.err == nil && r.decoder.PeekKind() != ']' {
			list = append(list, r.value())
		}
		r.token()
		return list
	case '"':
		return token.String()
	case '0':
		return json.Number(token.String())
	case 't', 'f':
		return token.Bool()
	}
	return nil
}
