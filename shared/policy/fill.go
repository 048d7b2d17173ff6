package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"weboffice-functions/shared/weboffice"
)

// template is one text of `set` that holds ${…}.
type template struct {
	path      []int // to the text: fields of structs and places in lists, from the Request on
	parameter string
	pieces    []piece
}

// piece is literal text and the ${…} behind it, which is "" at the end.
type piece struct {
	before, name string
	quoted       int // inside how many layers of JSON strings it stands
}

// templates finds the texts with ${…}, and says what is wrong with them.
func templates(set weboffice.Request, anyone bool) (found []template, problems []string) {
	eachText(reflect.ValueOf(set), make([]int, 0, 8), func(path []int, text string) {
		if !strings.Contains(text, "${") {
			return
		}
		parameter := reflect.TypeFor[weboffice.Request]().Field(path[0]).Name
		t := template{path: slices.Clone(path), parameter: parameter}
		rest := text
		for {
			before, after, more := strings.Cut(rest, "${")
			name, behind, closed := strings.Cut(after, "}")
			if !more {
				t.pieces = append(t.pieces, piece{before: before})
				break
			}
			ofDocument := name == "document.bucket" || name == "document.key"
			switch err := checkClaim(name); {
			case !closed || err != nil || !ofDocument && strings.HasPrefix(name, "document."):
				problems = append(problems, "${"+name+"} names no claim, nor document.bucket or"+
					" document.key")
			case anyone && !ofDocument:
				problems = append(problems, "${"+name+"} can never be filled for callers: anyone")
			}
			begin := len(text) - len(rest) + len(before)
			t.pieces = append(t.pieces, piece{before, name,
				layers(text[:begin], text[len(text)-len(behind):])})
			rest = behind
		}
		if object := strings.HasPrefix(strings.TrimSpace(text), "{"); object && t.bare() &&
			parameter != "CredentialConfig" { // whose policy must be JSON anyway
			problems = append(problems, parameter+": text is filled into JSON: put each ${…} of"+
				" it inside quotes")
		}
		found = append(found, t)
	})
	return found, problems
}

// eachText visits the texts in v. The path is good until visit returns.
func eachText(v reflect.Value, path []int, visit func(path []int, text string)) {
	switch v.Kind() {
	case reflect.String:
		visit(path, v.String())
	case reflect.Pointer:
		if !v.IsNil() {
			eachText(v.Elem(), path, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachText(v.Index(i), append(path, i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			eachText(v.Field(i), append(path, i), visit)
		}
	}
}

const marker = "${}" // no text of a policy holds it: it names no claim

// layers says inside how many JSON strings, one in the other, the place between two texts stands: 0
// where the text is no JSON.
func layers(before, after string) int {
	whole := before + marker + after
	var value any
	if !strings.ContainsRune(`{["`, rune(strings.TrimLeft(whole, " \t\r\n")[0])) ||
		json.Unmarshal([]byte(whole), &value) != nil {
		return 0
	}
	inner := markedText(value)
	before, after, _ = strings.Cut(inner, marker)
	return 1 + layers(before, after)
}

// markedText finds the text with the marker inside a JSON value, names of members included.
func markedText(value any) string {
	switch v := value.(type) {
	case string:
		if strings.Contains(v, marker) {
			return v
		}
	case []any:
		for _, element := range v {
			if text := markedText(element); text != "" {
				return text
			}
		}
	case map[string]any:
		for name, member := range v {
			if text := markedText(name) + markedText(member); text != "" {
				return text
			}
		}
	}
	return ""
}

// bare says whether the template is JSON but for a ${…} outside of its strings.
func (t template) bare() bool {
	var zeros strings.Builder
	outside := false
	for _, p := range t.pieces {
		zeros.WriteString(p.before)
		if p.name != "" {
			zeros.WriteString("0")
			outside = outside || p.quoted == 0
		}
	}
	return outside && json.Valid([]byte(zeros.String()))
}

// fill returns the rule's set with every ${claim}, ${document.bucket} and ${document.key} replaced.
// A claim that is not text is refused, and so is one that nobody would see, such as a watermark's
// name that is a space. Where the text around it is JSON it goes in escaped. Inside
// CredentialConfig what could widen a RAM policy (* ? $) is refused. Beside an error every text
// that could be filled is: a caller may repeat it.
func (a *ask) fill(r *rule) (weboffice.Request, error) {
	filled, shared, unfilled := r.set, r.set, error(nil)
	for _, t := range r.filled {
		text, err := a.fillText(t)
		if err != nil {
			unfilled = cmp.Or(unfilled, error(weboffice.ErrUnfilled.Because(err)))
			continue
		}
		own(reflect.ValueOf(&filled).Elem(), reflect.ValueOf(shared), t.path).SetString(text)
	}
	return filled, unfilled
}

func (a *ask) fillText(t template) (string, error) {
	var text strings.Builder
	for _, p := range t.pieces {
		text.WriteString(p.before)
		if p.name == "" {
			break
		}
		value, isText := a.claim(p.name).(string)
		switch {
		case p.name == "document.bucket":
			value, isText = a.q.Document.Bucket, true
		case p.name == "document.key":
			value, isText = a.q.Document.Key, true
		case p.name == "email" && a.q.Caller.EmailIgnored != "":
			return "", fmt.Errorf("${email} in %s: %s", t.parameter, a.q.Caller.EmailIgnored)
		}
		if !isText || !strings.ContainsFunc(value, visible) {
			return "", fmt.Errorf("${%s} in %s has no text value, or a blank one", p.name,
				t.parameter)
		}
		if t.parameter == "CredentialConfig" && strings.ContainsAny(value, "*?$") {
			return "", fmt.Errorf("${%s} holds *, ? or $, which would widen a RAM policy", p.name)
		}
		for range p.quoted {
			escaped, _ := json.Marshal(value) // text always marshals
			value = string(escaped[1 : len(escaped)-1])
		}
		text.WriteString(value)
	}
	return text.String(), nil
}

// own returns the text at a path of v, with what leads there copied first where v still shares it.
func own(v, shared reflect.Value, path []int) reflect.Value {
	for {
		switch v.Kind() {
		case reflect.Pointer:
			if v.Pointer() == shared.Pointer() {
				copied := reflect.New(v.Type().Elem())
				copied.Elem().Set(v.Elem())
				v.Set(copied)
			}
			v, shared = v.Elem(), shared.Elem()
		case reflect.Slice:
			if v.Pointer() == shared.Pointer() {
				v.Set(reflect.AppendSlice(reflect.Zero(v.Type()), v))
			}
			v, shared, path = v.Index(path[0]), shared.Index(path[0]), path[1:]
		case reflect.Struct:
			v, shared, path = v.Field(path[0]), shared.Field(path[0]), path[1:]
		default:
			return v
		}
	}
}

// visible says whether a character can be seen by itself: a letter, a digit or a sign, and none of
// those that look like nothing.
func visible(r rune) bool {
	return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) &&
		!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !strings.ContainsRune(
		"\u2800\U0001D159\U00013441\U00013442", r)
}
