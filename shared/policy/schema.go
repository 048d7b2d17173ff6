package policy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"weboffice-functions/shared/weboffice"
)

// about says in one sentence what each key of a policy file is for.
var about = []struct{ key, text string }{
	{"project", "The IMM project where a rule names none. Default: WEBOFFICE_PROJECT."},
	{"origins", "The web origins that may call, exactly as browsers send them."},
	{"limits", "What one instance of a function answers."},
	{"limits.anyone", "Generates of one guest address. Default: 10/m."},
	{"limits.caller", "Generates of one verified caller. Default: 60/m."},
	{"limits.total", "Billed calls of all visitors together: guests' generates take at most" +
		" half, a third is kept for refreshes. Default: no limit."},
	{"quickStart", "Serve GET with query parameters, as pages built on the vendor's quick" +
		" start call: for documents open to anyone only."},
	{"standIn", "For scripts/dev alone: a guest may send every parameter. Refused unless the" +
		" IMM endpoint is a loopback address."},
	{"issuers", "Who signs in: OIDC issuers, by a name of your own."},
	{"issuers.url", "The issuer's https URL, exactly as its tokens' iss. With keys it may be" +
		" any text but links."},
	{"issuers.audience", "Whom a token must be for: one name or a list."},
	{"issuers.audienceClaim", "Where a token says whom it is for: aud (default), azp or" +
		" client_id. Such a token is usable at every API that receives it."},
	{"issuers.keys", "The https URL of the key set itself. Nothing is discovered then."},
	{"issuers.maxAge", "The oldest sign-in that counts, by iat. Default: 24h."},
	{"issuers.trustEmail", "Let email count without email_verified."},
	{"issuers.user", "The claims that say who a person is to the editor."},
	{"issuers.user.id", "Default: sub."},
	{"issuers.user.name", "Default: name."},
	{"issuers.user.avatar", "Default: picture."},
	{"rules", "The first rule that matches decides; without one the answer is no."},
	{"rules.name", "A name of its own, which logs and tests show."},
	{"rules.documents", "oss://bucket/key: * stays inside one segment, ** is one segment or" +
		" more, ${claim} is a segment that equals a verified claim."},
	{"rules.callers", "Whom the rule is for: anyone, {issuer: NAME, claims: {…}} or a list of" +
		" such maps."},
	{"rules.callers.issuer", "A name under issuers, or links for share links."},
	{"rules.callers.claims", "All must hold. A claim is named by its whole name, or by a JSON" +
		" Pointer such as /realm_access/roles."},
	{"rules.deny", "Refuse whoever matches. A claim that is missing, or of another type," +
		" matches here."},
	{"rules.grant", "What the rule gives, at most. view is always one of it."},
	{"rules.set", "Parameters of GenerateWebofficeToken that a page cannot choose; ${…} is a" +
		" claim."},
	{"rules.accept", "Parameters that callers of this rule may send, for callers that are" +
		" servers."},
	{"rules.project", "The IMM project of these documents."},
	{"rules.session", "The absolute end of an open document, from its first generate. Default:" +
		" 12h."},
	{"revokedLinks", "Share links that open nothing any more, by their jti."},
	{"tests", "Questions and what they must come to, run by `policy test`."},
	{"tests.as", "Who asks: anyone, or claims as the token has them, with issuer: NAME."},
	{"tests.open", "The document, oss://bucket/key."},
	{"tests.ask", "The parameters that are sent. Default: none."},
	{"tests.expect", "The name of the rule that must decide, or refused."},
	{"tests.granted", "The grants that must come out. Default: any."},
}

// required lists the keys that must stand where their map does.
func required(path string) []string {
	return map[string][]string{
		"issuers": {"url", "audience"}, "rules": {"name", "documents", "callers"},
		"rules.callers": {"issuer"}, "tests": {"as", "open", "expect"},
	}[path]
}

// Schema returns the JSON Schema of a policy file, made from the structs that Parse reads, for
// editors that complete and check while one types. What it cannot say Parse does.
func Schema() []byte {
	schema := schemaOf(reflect.TypeFor[file](), "")
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

func schemaOf(t reflect.Type, path string) object {
	schema := schemaByKind(t, path)
	if _, ok := reflect.New(t).Interface().(wordOr); ok {
		schema = object{"anyOf": []any{object{"const": "anyone"}, schema}}
	}
	return schema
}

func schemaByKind(t reflect.Type, path string) object {
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
		properties := object{}
		for i := range t.NumField() {
			key := t.Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			at := strings.TrimPrefix(path+"."+key, ".")
			properties[key] = schemaOf(t.Field(i).Type, at)
			for _, a := range about {
				if a.key == at {
					properties[key].(object)["description"] = a.text
				}
			}
		}
		schema := object{"type": "object", "properties": properties, "additionalProperties": false}
		if keys := required(path); keys != nil {
			schema["required"] = keys
		}
		return schema
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem(), path)}
	case reflect.Slice:
		element := schemaOf(t.Elem(), path)
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
