package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode"

	"weboffice-functions/shared/weboffice"
)

// hole finds ${…} inside a text of `set`, one that is never closed included: Parse refuses that.
var hole = regexp.MustCompile(`\$\{[^}]*\}?`)

// fill returns the rule's set with every ${claim}, ${document.bucket} and ${document.key} replaced.
// A claim that is not text is refused, and so is one that nobody would see, such as a watermark's
// name that is a space. Inside CredentialConfig the text goes escaped into its JSON, and what could
// widen a RAM policy there (* ? $) is refused.
func (a *ask) fill(r *rule) (weboffice.Request, error) {
	if !r.holes {
		return r.set, nil
	}
	var failed error
	filled := mapTexts(reflect.ValueOf(r.set), "", func(parameter, text string) string {
		return hole.ReplaceAllStringFunc(text, func(found string) string {
			name := found[2 : len(found)-1]
			value, isText := a.claims[name].(string)
			switch name {
			case "document.bucket":
				value, isText = a.doc.Bucket, true
			case "document.key":
				value, isText = a.doc.Key, true
			}
			if !isText || !strings.ContainsFunc(value, visible) {
				failed = unresolvable(fmt.Errorf("%s in %s has no text value, or a blank one",
					found, parameter))
				return ""
			}
			if parameter != "CredentialConfig" {
				return value
			}
			if strings.ContainsAny(value, "*?$") {
				failed = unresolvable(fmt.Errorf(
					"%s holds *, ? or $, which would widen a RAM policy", found))
			}
			escaped, _ := json.Marshal(value) // text always marshals
			return string(escaped[1 : len(escaped)-1])
		})
	})
	return filled.Interface().(weboffice.Request), failed
}

func visible(r rune) bool { return unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// mapTexts copies v with every text in it mapped; parameter is the name of the outermost field. The
// copy shares nothing that changes.
func mapTexts(v reflect.Value, parameter string,
	change func(parameter, text string) string) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		c.SetString(change(parameter, v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			c.Set(reflect.New(v.Type().Elem()))
			c.Elem().Set(mapTexts(v.Elem(), parameter, change))
		}
	case reflect.Slice:
		for i := range v.Len() {
			c = reflect.Append(c, mapTexts(v.Index(i), parameter, change))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name := parameter
			if name == "" {
				name = v.Type().Field(i).Name
			}
			c.Field(i).Set(mapTexts(v.Field(i), name, change))
		}
	default:
		c.Set(v)
	}
	return c
}

func unresolvable(cause error) *weboffice.Error {
	return weboffice.ErrUnfilled.Because(cause)
}

// holes lists every ${…} in the texts of a request.
func holes(set weboffice.Request) []string {
	var found []string
	mapTexts(reflect.ValueOf(set), "", func(_, text string) string {
		found = append(found, hole.FindAllString(text, -1)...)
		return text
	})
	return found
}
