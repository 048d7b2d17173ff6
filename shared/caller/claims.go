package caller

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
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

// maxExponent bounds how many zeros a number like 1e9 may stand for.
const maxExponent = 64

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

// CheckClaimName says why Find could not mean one claim by this name. A pointer of a single step is
// refused: what is promised of a claim, such as email's verification, is bound to its plain name.
func CheckClaimName(name string) error {
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(name)
	switch {
	case name == "":
		return errors.New("a claim needs a name")
	case !strings.HasPrefix(name, "/"):
		return nil
	case strings.Contains(rest, "~"):
		return errors.New("in a JSON Pointer ~ is written as ~0, and / inside a name as ~1")
	case strings.Count(name, "/") == 1:
		return errors.New("a JSON Pointer is for nested claims: write " +
			strconv.Quote(pointerStep.Replace(name[1:])) + ", the claim's own name")
	}
	return nil
}

func simplify(value any) any {
	if text, isText := text(value); isText {
		return text
	}
	var list List
	switch v := value.(type) {
	case bool:
		return v
	case []any:
		list.Texts = []string{}
		for _, element := range v {
			if text, isText := text(element); isText {
				list.Texts = append(list.Texts, text)
			} else {
				list.Odd = true
			}
		}
		return list
	case map[string]any:
		for name, member := range v {
			if saysYes(member) {
				list.Texts = append(list.Texts, name)
				_, isText := member.(string)
				_, isNumber := member.(json.Number)
				list.Odd = list.Odd || isText || isNumber
			}
		}
		if slices.Sort(list.Texts); list.Texts != nil {
			return list
		}
	}
	return nil
}

// text returns a string as it is and a whole number as its digits.
func text(value any) (string, bool) {
	if number, isNumber := value.(json.Number); isNumber {
		return whole(number)
	}
	text, isText := value.(string)
	return text, isText
}

func saysYes(value any) bool {
	switch v := value.(type) {
	case json.Number:
		digits, isWhole := whole(v)
		return !isWhole || digits != "0"
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return value != nil && value != false && value != ""
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
