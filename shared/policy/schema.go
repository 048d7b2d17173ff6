package policy

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"

	"weboffice-functions/shared/weboffice"
)

//go:embed README.md
var readme string

// guide is what README's table says of each key of a policy file, and its default.
type guide map[string]described

type described struct{ says, otherwise string }

// Schema returns the JSON Schema of a policy file, made from the structs that Parse reads and from
// README, for editors that complete and check while one types. What it cannot say Parse does.
func Schema() []byte {
	g := guide{}
	for line := range strings.Lines(strings.ReplaceAll(readme, "`", "")) {
		if column := strings.Split(line, " | "); len(column) == 3 {
			g[strings.TrimPrefix(column[0], "| ")] = described{column[1],
				strings.Trim(column[2], "| \n")}
		}
	}
	schema := g.schema(reflect.TypeFor[file](), "")
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Who may open which document with which rights"
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(schema) // maps, lists and texts always marshal
	return text.Bytes()
}

type object = map[string]any

// schema says what may stand at a path of keys, which is read as t.
func (g guide) schema(t reflect.Type, path string) (schema object) {
	switch t.Kind() {
	case reflect.Struct:
		schema = g.members(t, path)
	case reflect.Map:
		if path == "rules.set" || path == "tests.ask" {
			schema = parameters(reflect.TypeFor[weboffice.Request]())
			delete(schema["properties"].(object), "SourceURI")
			if path == "rules.set" {
				delete(schema["properties"].(object), "Permission")
			}
			return schema
		}
		schema = object{"type": "object", "additionalProperties": g.schema(t.Elem(), path)}
	case reflect.Slice:
		element := g.schema(t.Elem(), path)
		schema = object{"type": "array", "items": element, "minItems": 1}
		if t.Implements(reflect.TypeFor[oneOrMany]()) {
			schema = object{"anyOf": []any{element, schema}}
		}
	case reflect.Bool:
		schema = object{"type": "boolean"}
	default:
		schema = leaf(t, path)
	}
	if _, ok := reflect.New(t).Interface().(orAnyone); ok {
		schema = object{"anyOf": []any{object{"const": "anyone"}, schema}}
	}
	return schema
}

func leaf(t reflect.Type, path string) object {
	switch {
	case t == reflect.TypeFor[rateText]():
		return object{"type": "string", "pattern": "^[1-9][0-9]*/[smh]$"}
	case t == reflect.TypeFor[durationText]():
		return object{"type": "string", "pattern": `^([0-9.]+(h|m|s))+$`}
	case path == "rules.grant", path == "tests.granted":
		return object{"enum": weboffice.Grants()}
	case path == "rules.accept":
		return object{"enum": weboffice.ParameterNames()}
	case path == "rules.callers.claims":
		return object{"type": []string{"string", "boolean", "integer"}}
	case t.Kind() == reflect.String:
		return object{"type": "string", "minLength": 1}
	}
	return object{} // anything
}

func (g guide) members(t reflect.Type, path string) object {
	properties, schema := object{}, object{"type": "object", "additionalProperties": false}
	var required []string
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "" {
			continue
		}
		at := strings.TrimPrefix(path+"."+key, ".")
		property, about := g.schema(t.Field(i).Type, at), g[at]
		switch {
		case about.otherwise == "required":
			required = append(required, key)
		case about.otherwise != "":
			about.says += " (default: " + about.otherwise + ")"
		}
		property["description"] = about.says
		properties[key] = property
	}
	if schema["properties"] = properties; required != nil {
		schema["required"] = required
	}
	return schema
}

// parameters is the schema of parameters, or of the members of one. Each may be written as text.
func parameters(t reflect.Type) object {
	switch t.Kind() {
	case reflect.Pointer:
		return parameters(t.Elem())
	case reflect.Bool:
		return object{"type": []string{"boolean", "string"}}
	case reflect.Int64, reflect.Float64:
		return object{"type": []string{"number", "string"}}
	case reflect.Slice:
		return object{"type": []string{"array", "string"}, "items": parameters(t.Elem())}
	case reflect.Struct:
		properties := object{}
		for i := range t.NumField() {
			properties[t.Field(i).Name] = parameters(t.Field(i).Type)
		}
		return object{"type": []string{"object", "string"}, "properties": properties,
			"additionalProperties": false}
	}
	return object{"type": "string"}
}
