package policy_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"weboffice-functions/shared/weboffice"
)

// This file is a second implementation of what the package promises, written for the property test:
// slow, plain, and with nothing of the package in it. It works on its own model of a policy; only
// the request's types are shared.

// model is a policy. Its JSON is one that Parse reads: JSON is YAML.
type model struct {
	Project string                 `json:"project"`
	Issuers map[string]modelIssuer `json:"issuers"`
	Rules   []modelRule            `json:"rules"`
}

type modelIssuer struct {
	URL        string    `json:"url"`
	Audience   string    `json:"audience"`
	TrustEmail bool      `json:"trustEmail"`
	User       modelUser `json:"user,omitzero"`
}

// modelUser names the claims of a user; "" is the default.
type modelUser struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type modelRule struct {
	Name      string         `json:"name"`
	Documents string         `json:"documents"`
	Callers   anyOf          `json:"callers"`
	Deny      bool           `json:"deny"`
	Grant     []string       `json:"grant,omitempty"`
	Set       map[string]any `json:"set,omitempty"` // as JSON has it
	Accept    []string       `json:"accept,omitempty"`
	Project   string         `json:"project,omitempty"`
	Session   string         `json:"session,omitempty"`
}

// anyOf is empty for anyone.
type anyOf []modelCallers

type modelCallers struct {
	Issuer string           `json:"issuer"`
	Claims map[string][]any `json:"claims,omitempty"`
}

func (c anyOf) MarshalJSON() ([]byte, error) {
	if len(c) == 0 {
		return []byte(`"anyone"`), nil
	}
	return json.Marshal([]modelCallers(c))
}

func (m model) yaml() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return text
}

// person is who asks. A nil person is a guest.
type person struct {
	Issuer string
	Claims map[string]any
	// of a link: one of the two
	Document, Documents string
	Grant               []string // of a link
}

// verdict is what the oracle says of a question: the code of a refusal, or what is granted.
type verdict struct {
	Code, Rule, Grants string
	Parameters         string // the others, in JSON
	User               weboffice.User
	End                time.Time
}

// judge is the oracle.
func (m model) judge(p *person, asked weboffice.Request) verdict {
	for _, r := range m.Rules {
		if m.fits(r, p, asked.SourceURI) {
			if r.Deny {
				break
			}
			return m.open(r, p, asked)
		}
	}
	if p == nil {
		return verdict{Code: "Unauthenticated"}
	}
	return verdict{Code: "Forbidden"}
}

func (m model) fits(r modelRule, p *person, uri string) bool {
	claim := m.claims(p)
	if !path(strings.Split(r.Documents, "/"), strings.Split(uri, "/"), claim, r.Deny) {
		return false
	}
	welcome := len(r.Callers) == 0 && (p == nil || p.Issuer != "links" || r.Deny)
	for _, c := range r.Callers {
		all := p != nil && p.Issuer == c.Issuer
		for name, wants := range c.Claims {
			value := claim(name)
			if address, isText := value.(string); name == "email" && isText {
				value, wants = lowered(address), slices.Clone(wants)
				for i, want := range wants {
					wants[i] = lowered(want.(string))
				}
			}
			all = all && meets(value, wants, r.Deny, false)
		}
		welcome = welcome || all
	}
	if !welcome {
		return false
	}
	if p != nil && p.Issuer == "links" && !r.Deny {
		if p.Document != "" {
			return p.Document == uri
		}
		return !strings.Contains(p.Documents, "${") &&
			path(strings.Split(p.Documents, "/"), strings.Split(uri, "/"), claim, false)
	}
	return true
}

// lowered is an address with A–Z in lower case.
func lowered(address string) string {
	letters := []byte(address)
	for i, c := range letters {
		if c >= 'A' && c <= 'Z' {
			letters[i] = c - 'A' + 'a'
		}
	}
	return string(letters)
}

// claims gives the claims as they count: a guest has none.
func (m model) claims(p *person) func(string) any {
	return func(name string) any {
		if p == nil {
			return nil
		}
		value := p.Claims[name]
		if outer, inner, nested := strings.Cut(strings.TrimPrefix(name, "/"), "/"); nested &&
			name[0] == '/' {
			object, _ := p.Claims[outer].(map[string]any)
			return object[inner]
		}
		if name != "email" {
			return value
		}
		address, _ := value.(string)
		verified := p.Claims["email_verified"] == true || p.Claims["email_verified"] == "true" ||
			m.Issuers[p.Issuer].TrustEmail
		local, domain, _ := strings.Cut(address, "@")
		if !verified || local == "" || domain == "" || strings.Contains(domain, "@") ||
			strings.ContainsAny(address, " \"<>(),:;\\[]\t\n") {
			return nil
		}
		return address
	}
}

// path says whether the key's segments fit the pattern's.
func path(pattern, key []string, claim func(string) any, deny bool) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	if len(key) == 0 {
		return false
	}
	first := pattern[0]
	if first == "**" {
		return path(pattern[1:], key[1:], claim, deny) || path(pattern, key[1:], claim, deny)
	}
	if name, isClaim := strings.CutPrefix(first, "${"); isClaim {
		return meets(claim(strings.TrimSuffix(name, "}")), []any{key[0]}, deny, true) &&
			path(pattern[1:], key[1:], claim, deny)
	}
	return starred(first, key[0]) && path(pattern[1:], key[1:], claim, deny)
}

// starred says whether text fits a pattern in which * is any text.
func starred(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		return starred(pattern[1:], text) || text != "" && starred(pattern, text[1:])
	}
	return text != "" && text[0] == pattern[0] && starred(pattern[1:], text[1:])
}

// counted is a claim as it is compared: texts, a truth, or neither. odd: something in it could not
// be compared.
func counted(claim any) (texts []string, isTexts, truth, isTruth, odd bool) {
	switch c := claim.(type) {
	case string:
		return []string{c}, true, false, false, false
	case bool:
		return nil, false, c, true, false
	case float64:
		if c == math.Floor(c) {
			return []string{strconv.FormatInt(int64(c), 10)}, true, false, false, false
		}
	case []any:
		for _, element := range c {
			one, isText, _, _, _ := counted(element)
			if _, nested := element.([]any); nested || !isText {
				odd = true
			} else {
				texts = append(texts, one...)
			}
		}
		return texts, true, false, false, odd
	case map[string]any:
		for name, member := range c {
			switch fmt.Sprint(member) {
			case "false", "<nil>", "0", "", "[]", "map[]":
				continue
			}
			texts = append(texts, name)
			switch member.(type) {
			case string, float64:
				odd = true
			}
		}
		return texts, len(texts) > 0, false, false, odd
	}
	return nil, false, false, false, false
}

// meets says whether a claim is one of the wanted values; literal: without patterns.
func meets(claim any, wants []any, deny, literal bool) bool {
	texts, isTexts, truth, isTruth, odd := counted(claim)
	comparable := false
	for _, want := range wants {
		switch w := want.(type) {
		case bool:
			comparable = comparable || isTruth
			if isTruth && truth == w {
				return true
			}
		default:
			comparable = comparable || isTexts && !odd
			for _, text := range texts {
				if wanted := fmt.Sprint(w); text == wanted || !literal && starred(wanted, text) {
					return true
				}
			}
		}
	}
	return deny && !comparable
}

// object is what something is in JSON.
func object(value any) (fields map[string]any) {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	if err != nil {
		panic(err)
	}
	return fields
}

// open settles what a rule gives.
func (m model) open(r modelRule, p *person, asked weboffice.Request) verdict {
	sent, set := object(asked), object(r.Set)
	out, given, unfilled := map[string]any{}, map[string]any{"ProjectName": m.Project}, false
	if r.Project != "" {
		given["ProjectName"] = r.Project
	}
	full := func(text any) string {
		filled, ok := fill(text.(string), m.claims(p), asked.SourceURI)
		unfilled = unfilled || !ok
		return filled
	}
	for name, value := range set {
		switch name {
		case "UserData":
			value = full(value)
		case "Watermark":
			watermark := value.(map[string]any)
			text := full(watermark["Value"])
			unfilled = unfilled || strings.ContainsFunc(text, unicode.IsControl)
			watermark["Value"] = text
		}
		given[name] = value
	}
	for _, name := range []string{"ProjectName", "Filename", "CachePreview", "UserData",
		"PreviewPages", "Hidecmb", "User", "Watermark"} {
		value, isSent := sent[name]
		fixed, isFixed := set[name]
		repeats := isSent && reflect.DeepEqual(value, given[name])
		if isSent && !repeats && !slices.Contains(r.Accept, name) &&
			!slices.Contains([]string{"Filename", "PreviewPages", "Hidecmb"}, name) {
			return verdict{Code: "Forbidden." + name}
		}
		switch {
		case isSent && isFixed && name == "PreviewPages" && value.(float64) <= fixed.(float64):
			out[name] = value
		case isSent && isFixed && !repeats:
			return verdict{Code: "Forbidden." + name}
		case isFixed:
			out[name] = given[name]
		case isSent:
			out[name] = value
		}
	}
	if unfilled {
		return verdict{Code: "Forbidden"}
	}

	grants := map[string]bool{}
	for _, g := range r.Grant {
		grants[g] = true
	}
	if p != nil && p.Issuer == "links" {
		if !slices.Contains(p.Grant, "view") {
			return verdict{Code: "Forbidden"}
		}
		for g := range grants {
			grants[g] = slices.Contains(p.Grant, g)
		}
	}
	if a := asked.Permission; a != nil {
		for g, wanted := range map[string]bool{"edit": !a.Readonly, "rename": a.Rename,
			"history": a.History, "copy": a.Copy, "print": a.Print, "export": a.Export} {
			grants[g] = grants[g] && wanted
		}
	}

	out["ProjectName"] = cmp.Or(out["ProjectName"], given["ProjectName"])
	key := asked.SourceURI[strings.LastIndex(asked.SourceURI, "/")+1:]
	shown := cmp.Or(out["Filename"], any(key)).(string)
	dot := strings.LastIndex(shown, ".")
	if extension := shown[dot:]; extension != strings.ToLower(extension) {
		out["Filename"] = shown[:dot] + strings.ToLower(extension)
	}
	formats := strings.ToLower(shown[dot:] + key[strings.LastIndex(key, "."):])
	cached := out["CachePreview"] == true
	if out["PreviewPages"] != nil || cached || strings.Contains(formats, ".pdf") ||
		strings.Contains(formats, ".txt") {
		grants["edit"] = false
	}
	grants["print"] = grants["print"] && !cached
	grants["export"] = grants["export"] && grants["print"] && !strings.Contains(formats, ".pdf")
	grants["history"] = grants["history"] && grants["edit"]
	v := verdict{Rule: r.Name, Grants: "view", User: m.user(p)}
	for _, g := range []string{"edit", "rename", "history", "copy", "print", "export"} {
		if grants[g] {
			v.Grants += " " + g
		}
	}
	if grants["edit"] {
		delete(out, "Hidecmb")
	}
	session, _ := time.ParseDuration(cmp.Or(r.Session, "12h"))
	v.End = start.Add(session)
	user, _ := out["User"].(map[string]any)
	if id, _ := user["Id"].(string); id != "" {
		v.User.Id = id
	}
	if name, _ := user["Name"].(string); name != "" {
		v.User.Name = shownName(name)
	}
	v.Parameters = parameters(out)
	return v
}

// parameters puts in one form what there is beside SourceURI, Permission and User.
func parameters(request any) string {
	fields := object(request)
	for _, name := range []string{"SourceURI", "Permission", "User"} {
		delete(fields, name)
	}
	text, _ := json.Marshal(fields)
	return string(text)
}

func (m model) user(p *person) weboffice.User {
	if p == nil {
		return guest
	}
	issuer := m.Issuers[p.Issuer]
	if p.Issuer == "links" {
		issuer = modelIssuer{URL: "links"}
	}
	idClaim, nameClaim := "sub", "name"
	if issuer.User.ID != "" {
		idClaim, nameClaim = issuer.User.ID, issuer.User.Name
	}
	text := func(claim any) string {
		switch c := claim.(type) {
		case string:
			return c
		case float64:
			return fmt.Sprint(c)
		}
		return ""
	}
	id, name := text(p.Claims[idClaim]), text(p.Claims[nameClaim])
	if id == "" { // a link without a subject
		u := guest
		if name != "" {
			u.Name = shownName(name)
		}
		return u
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{salt.Reveal(), issuer.URL, id}, "\x00")))
	return weboffice.User{Id: base32.StdEncoding.EncodeToString(sum[:])[:15], Name: shownName(name)}
}

func shownName(name string) string {
	kept := []rune{}
	for _, r := range strings.TrimSpace(name) {
		if !unicode.IsControl(r) && len(kept) < 32 {
			kept = append(kept, r)
		}
	}
	if len(kept) == 0 {
		return "User"
	}
	return string(kept)
}

// fill puts claims into a template.
func fill(template string, claim func(string) any, uri string) (string, bool) {
	before, rest, found := strings.Cut(template, "${")
	if !found {
		return template, true
	}
	name, after, _ := strings.Cut(rest, "}")
	texts, isText, _, _, _ := counted(claim(name))
	if _, isList := claim(name).([]any); isList || len(texts) != 1 {
		texts, isText = []string{""}, false
	}
	if _, isObject := claim(name).(map[string]any); isObject {
		isText = false
	}
	value := texts[0]
	switch name {
	case "document.bucket":
		value, isText = strings.Split(uri, "/")[2], true
	case "document.key":
		value, isText = strings.SplitN(uri, "/", 4)[3], true
	}
	seen := strings.TrimFunc(value, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.C) || r == 0x3164 || r == 0x2800
	}) != ""
	tail, ok := fill(after, claim, uri)
	return before + value + tail, isText && seen && ok
}
