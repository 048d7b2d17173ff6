package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"weboffice-functions/shared/weboffice"
)

// piece is a ${…} of a text of `set`, and the literal text behind it. The first of a text has no
// name.
type piece struct {
	name   string
	quoted int // inside how many layers of JSON strings it stands
	behind string
}

// templates cuts the texts that hold ${…} into their pieces, and says what is wrong with them.
func templates(set weboffice.Request, anyone bool) (found map[string][]piece, problems []string) {
	found = map[string][]piece{}
	eachText(&set, func(parameter, text string) string {
		parts := strings.Split(text, "${")
		pieces, done, zeros, bare := []piece{{behind: parts[0]}}, parts[0], parts[0], false
		for _, part := range parts[1:] {
			name, behind, closed := strings.Cut(part, "}")
			p := piece{name: name, behind: behind}
			switch ofDocument := name == "document.bucket" || name == "document.key"; {
			case !closed || checkClaim(name) != nil ||
				!ofDocument && strings.HasPrefix(name, "document."):
				problems = append(problems, "${"+name+"} names no claim, nor document.bucket or"+
					" document.key")
			case anyone && !ofDocument:
				problems = append(problems, "${"+name+"} can never be filled for callers: anyone")
			default:
				p.quoted = layers(done + marker + text[len(done+"${"+name+"}"):])
			}
			pieces, done, zeros = append(pieces, p), done+"${"+part, zeros+"0"+behind
			bare = bare || p.quoted == 0
		}
		if bare && strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(zeros)) &&
			parameter != "CredentialConfig" { // whose policy must be JSON anyway
			problems = append(problems, parameter+": text is filled into JSON: put each ${…} of"+
				" it inside quotes")
		}
		found[text] = pieces
		return text
	})
	return found, problems
}

// eachText puts what visit makes of each text with ${…} in its place. What holds texts is copied
// first: set may share it.
func eachText(set *weboffice.Request, visit func(parameter, text string) string) {
	for _, name := range set.Sent() {
		inOwn(reflect.ValueOf(set).Elem().FieldByName(name), func(text string) string {
			return visit(name, text)
		})
	}
}

func inOwn(v reflect.Value, visit func(text string) string) {
	switch v.Kind() {
	case reflect.String:
		if text := v.String(); strings.Contains(text, "${") {
			v.SetString(visit(text))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			own := reflect.New(v.Type().Elem())
			own.Elem().Set(v.Elem())
			v.Set(own)
			inOwn(own.Elem(), visit)
		}
	case reflect.Slice:
		v.Set(reflect.AppendSlice(reflect.Zero(v.Type()), v))
		for i := range v.Len() {
			inOwn(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			inOwn(v.Field(i), visit)
		}
	}
}

const marker = "${}" // no text of a policy holds it: it names no claim

// layers says inside how many JSON strings, one in the other, the marker stands: 0 where the text
// is no JSON.
func layers(text string) int {
	if !json.Valid([]byte(text)) { // nor is JSON with the marker outside of its strings
		return 0
	}
	tokens := json.NewDecoder(strings.NewReader(text))
	tokens.UseNumber()
	for token, err := tokens.Token(); err == nil; token, err = tokens.Token() {
		if inner, isText := token.(string); isText && strings.Contains(inner, marker) {
			return 1 + layers(inner)
		}
	}
	return 0
}

// fill returns the rule's set with every ${claim}, ${document.bucket} and ${document.key} replaced.
// A claim that is not text is refused, and so is one that nobody would see, such as a watermark's
// name that is a space. Where the text around it is JSON it goes in escaped. Inside
// CredentialConfig what could widen a RAM policy (* ? $) is refused. Beside an error every text
// that could be filled is: a caller may repeat it.
func (a *ask) fill(r *rule) (filled weboffice.Request, unfilled error) {
	filled = r.set
	if len(r.filled) == 0 {
		return filled, nil
	}
	eachText(&filled, func(parameter, text string) string {
		full, err := a.fillText(parameter, r.filled[text])
		if err != nil {
			unfilled = cmp.Or(unfilled, error(weboffice.ErrUnfilled.Because(err)))
			return text
		}
		return full
	})
	return filled, unfilled
}

func (a *ask) fillText(parameter string, pieces []piece) (string, error) {
	var text strings.Builder
	text.WriteString(pieces[0].behind)
	for _, p := range pieces[1:] {
		value, isText := a.claim(p.name).(string)
		switch {
		case p.name == "document.bucket":
			value, isText = a.q.Document.Bucket, true
		case p.name == "document.key":
			value, isText = a.q.Document.Key, true
		case p.name == "email" && a.q.Caller.EmailIgnored != "":
			return "", fmt.Errorf("${email} in %s: %s", parameter, a.q.Caller.EmailIgnored)
		}
		if !isText || !strings.ContainsFunc(value, visible) {
			return "", fmt.Errorf("${%s} in %s has no text value, or a blank one", p.name,
				parameter)
		}
		if parameter == "CredentialConfig" && strings.ContainsAny(value, "*?$") {
			return "", fmt.Errorf("${%s} holds *, ? or $, which would widen a RAM policy", p.name)
		}
		for range p.quoted {
			escaped, _ := json.Marshal(value) // text always marshals
			value = string(escaped[1 : len(escaped)-1])
		}
		text.WriteString(value + p.behind)
	}
	return text.String(), nil
}

// visible says whether a character can be seen by itself: a letter, a digit or a sign, and none of
// those that look like nothing.
func visible(r rune) bool {
	return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) &&
		!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !strings.ContainsRune(
		"\u2800\U0001D159\U00013441\U00013442", r)
}
