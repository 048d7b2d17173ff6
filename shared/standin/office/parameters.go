package office

import (
	_ "embed"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:embed parameters.json
var parametersJSON []byte

// fields is the shape of an action or a structure: each field's name, spelt exactly, to the name of
// a type, fields, or a list of the one shape that all elements of an array have.
type fields = map[string]any

// actions are the parameters of each action: the name of a type, or the fields of a JSON structure.
var actions = func() (all map[string]fields) {
	if err := json.Unmarshal(parametersJSON, &all); err != nil {
		panic(err) // embedded: it is good or nothing starts
	}
	return all
}()

// parse checks the required parameters, each one's type and the project, and returns the values:
// string, bool, int64, or a decoded structure. The caller holds the lock.
func (s *Server) parse(request *Request, required ...string) (map[string]any, *apiError) {
	for _, name := range required {
		if request.Parameters[name] == "" {
			return nil, missing(name)
		}
	}
	values := make(map[string]any, len(request.Parameters))
	for _, name := range slices.Sorted(maps.Keys(request.Parameters)) {
		raw, ok := request.Parameters[name], false
		switch shape := actions[request.Action][name]; shape {
		case "text":
			values[name], ok = raw, raw != "" && utf8.ValidString(raw)
		case "boolean":
			values[name], ok = raw == "true", raw == "true" || raw == "false"
		case "integer":
			n, err := strconv.ParseInt(raw, 10, 64)
			values[name], ok = n, err == nil && strconv.FormatInt(n, 10) == raw
		default: // never nil: verify refuses parameters that the table lacks
			if values[name], ok = parseStructure(raw, shape.(fields)); !ok {
				return nil, badRequest("InvalidJSON parsing error, "+name,
					"Specified parameter JSON parsing error, "+name+" is not valid.")
			}
		}
		if !ok {
			return nil, invalid(name)
		}
	}
	if project := request.Parameters["ProjectName"]; !s.projects[project] {
		return nil, notFound("acs:imm::0000000000000000:project/" + project)
	}
	return values, nil
}

// parseStructure reads one JSON object of exactly the given shape; a quoted boolean or number is
// not one.
func parseStructure(raw string, shape fields) (value map[string]any, ok bool) {
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil || value == nil {
		return nil, false
	}
	_, err := decoder.Token()
	return value, err == io.EOF && conforms(value, shape)
}

// conforms says whether a decoded JSON value has a shape. Null has none.
func conforms(value, shape any) bool {
	switch shape := shape.(type) {
	case fields:
		object, ok := value.(map[string]any)
		for name, field := range object {
			inner, known := shape[name]
			ok = ok && known && conforms(field, inner)
		}
		return ok
	case []any:
		elements, ok := value.([]any)
		for _, element := range elements {
			ok = ok && conforms(element, shape[0])
		}
		return ok
	}
	switch value := value.(type) {
	case string:
		return shape == "text"
	case bool:
		return shape == "boolean"
	case json.Number:
		_, err := value.Int64()
		return shape == "number" || shape == "integer" && err == nil
	}
	return false
}
