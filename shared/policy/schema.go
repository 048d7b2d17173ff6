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

// described is what README's table says of a key of a policy file, and its default.
type described struct{ says, otherwise string }

func describedKeys() map[string]described {
	keys := map[string]described{}
	for line := range strings.Lines(strings.ReplaceAll(readme, "`", "")) {
		if column := strings.Split(line, " | "); len(column) == 3 {
			keys[strings.TrimPrefix(column[0], "| ")] = described{column[1],
				strings.Trim(column[2], "| \n")}
		}
	}
	return keys
}

// Schema returns the JSON Schema of a policy file, made from the structs that Parse reads and from
// README, for editors that complete and check while one types. What it cannot say Parse does.
func Schema() []byte {
	schema := schemaOf(reflect.TypeFor[file](), "", describedKeys())
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

func schemaOf(t reflect.Type, path string, keys map[string]described) object {
	schema := schemaByKind(t, path, keys)
	if _, ok := reflect.New(t).Interface().(wordOr); ok {
		schema = object{"anyOf": []any{object{"const": "anyone"}, schema}}
	}
	return schema
}

func schemaByKind(t reflect.Type, path string, keys map[string]described) object {
	switch t {
	case reflect.TypeFor[rateText]():
		return object{"type": "string", "pattern": "^[1-9][0-9]*/[smh]$"}
	case reflect.TypeFor[durationText]():
		return object{"type": "string", "pattern": `^([0-9.]+(h|m|s))+$`}
	case reflect.TypeFor[grantText]():
		return object{"enum": weboffice.Grants()}
	case reflect.TypeFor[acceptedText]():
		return object{"enum": weboffice.ParameterNames()}
	case reflect.TypeFor[wantedText]():
		one := object{"type": []string{"string", "boolean", "integer"}}
		return object{"anyOf": []any{one, object{"type": "array", "items": one, "minItems": 1}}}
	case reflect.TypeFor[setText](), reflect.TypeFor[askText]():
		schema := parameters(reflect.TypeFor[weboffice.Request]())
		delete(schema["properties"].(object), "SourceURI")
		if t == reflect.TypeFor[setText]() {
			delete(schema["properties"].(object), "Permission")
		}
		return schema
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t, path, keys)
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), path, keys)}
	case reflect.Slice:
		element := schemaOf(t.Elem(), path, keys)
		list := object{"type": "array", "items": element, "minItems": 1}
		if t.Implements(reflect.TypeFor[oneOrMany]()) {
			return object{"anyOf": []any{element, list}}
		}
		return list
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string", "minLength": 1}
	}
	return object{} // anything
}

func structSchema(t reflect.Type, path string, keys map[string]described) object {
	properties, schema := object{}, object{"type": "object", "additionalProperties": false}
	var required []string
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "" {
			continue
		}
		at := strings.TrimPrefix(path+"."+key, ".")
		property, about := schemaOf(t.Field(i).Type, at, keys), keys[at]
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
