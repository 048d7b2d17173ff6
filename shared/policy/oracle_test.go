package policy_test

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"math"
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

type model struct {
	Project string
	Issuers map[string]modelIssuer
	Rules   []modelRule
}

type modelIssuer struct {
	URL        string
	TrustEmail bool
	ID, Name   string // the claims of user; "" is the default
}

type modelRule struct {
	Name     string
	Bucket   string
	Segments []string
	Callers  []modelCallers // none: anyone
	Deny     bool
	Grant    []string
	// Hidecmb bool, PreviewPages int, Filename, Watermark and UserData string
	Set     map[string]any
	Accept  []string
	Project string
	Hours   int // of the session; 0 is the default
}

type modelCallers struct {
	Issuer string
	Claims map[string][]any
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
	Code, Rule, Project, Filename, UserData, Watermark string
	Grants                                             string
	User                                               weboffice.User
	PreviewPages                                       int64 // 0: none
	Hidecmb                                            string
	End                                                time.Time
}

// judge is the oracle.
func (m model) judge(p *person, asked weboffice.Request) verdict {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(asked.SourceURI, "oss://"), "/")
	for _, r := range m.Rules {
		if !m.fits(r, p, bucket, strings.Split(key, "/")) {
			continue
		}
		if r.Deny {
			break
		}
		return m.open(r, p, asked, bucket, key)
	}
	if p == nil {
		return verdict{Code: "Unauthenticated"}
	}
	return verdict{Code: "Forbidden"}
}

func (m model) fits(r modelRule, p *person, bucket string, key []string) bool {
	claim := func(string) any { return nil }
	if p != nil {
		claim = m.claims(p)
	}
	if r.Bucket != bucket || !path(r.Segments, key, claim, r.Deny) {
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
			return p.Document == "oss://"+bucket+"/"+strings.Join(key, "/")
		}
		linkBucket, linkKey, _ := strings.Cut(strings.TrimPrefix(p.Documents, "oss://"), "/")
		return !strings.Contains(linkKey, "${") && linkBucket == bucket &&
			path(strings.Split(linkKey, "/"), key, claim, false)
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

// claims gives the claims as they count.
func (m model) claims(p *person) func(string) any {
	return func(name string) any {
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

// open settles what a rule gives.
func (m model) open(r modelRule, p *person, asked weboffice.Request, bucket, key string) verdict {
	sent := map[string]any{}
	if asked.Hidecmb != nil {
		sent["Hidecmb"] = *asked.Hidecmb
	}
	if asked.PreviewPages != nil {
		sent["PreviewPages"] = int(*asked.PreviewPages)
	}
	if asked.Filename != "" {
		sent["Filename"] = asked.Filename
	}
	if asked.UserData != "" {
		sent["UserData"] = asked.UserData
	}
	if asked.Watermark != nil {
		sent["Watermark"] = asked.Watermark.Value
	}
	if asked.ProjectName != "" {
		sent["ProjectName"] = asked.ProjectName
	}
	if asked.User != nil {
		sent["User"] = *asked.User
	}
	if asked.CachePreview != nil {
		sent["CachePreview"] = *asked.CachePreview
	}
	out, given, unfilled := map[string]any{}, map[string]any{"ProjectName": m.Project}, false
	if r.Project != "" {
		given["ProjectName"] = r.Project
	}
	claim := func(string) any { return nil }
	if p != nil {
		claim = m.claims(p)
	}
	for name, value := range r.Set {
		given[name] = value
		if template, isText := value.(string); isText && name != "Filename" {
			filled, ok := fill(template, claim, bucket, key)
			given[name] = filled
			unfilled = unfilled || !ok || name == "Watermark" &&
				strings.ContainsFunc(filled, unicode.IsControl)
		}
	}
	for _, name := range []string{"ProjectName", "Filename", "CachePreview", "UserData",
		"PreviewPages", "Hidecmb", "User", "Watermark"} {
		value, isSent := sent[name]
		fixed, isFixed := r.Set[name]
		repeats := isSent && value == given[name] && name != "Watermark" // it is sent without Type
		if isSent && !repeats && !has(r.Accept, name) &&
			!has([]string{"Filename", "PreviewPages", "Hidecmb"}, name) {
			return verdict{Code: "Forbidden." + name}
		}
		switch {
		case isSent && isFixed && name == "PreviewPages" && value.(int) <= fixed.(int):
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
		if !has(p.Grant, "view") {
			return verdict{Code: "Forbidden"}
		}
		for g := range grants {
			grants[g] = has(p.Grant, g)
		}
	}
	if a := asked.Permission; a != nil {
		for g, wanted := range map[string]bool{"edit": !a.Readonly, "rename": a.Rename,
			"history": a.History, "copy": a.Copy, "print": a.Print, "export": a.Export} {
			grants[g] = grants[g] && wanted
		}
	}

	v := verdict{Rule: r.Name}
	v.Project, _ = given["ProjectName"].(string)
	v.Filename, _ = out["Filename"].(string)
	v.UserData, _ = out["UserData"].(string)
	v.Watermark, _ = out["Watermark"].(string)
	if given, isGiven := out["ProjectName"].(string); isGiven {
		v.Project = given
	}
	shown := v.Filename
	if shown == "" {
		shown = key[strings.LastIndex(key, "/")+1:]
	}
	dot := strings.LastIndex(shown, ".")
	if extension := shown[dot:]; extension != strings.ToLower(extension) {
		v.Filename = shown[:dot] + strings.ToLower(extension)
	}
	formats := strings.ToLower(shown[dot:] + key[strings.LastIndex(key, "."):])
	if pages, isSet := out["PreviewPages"].(int); isSet {
		v.PreviewPages = int64(pages)
	}
	cached := out["CachePreview"] == true
	if v.PreviewPages > 0 || cached || strings.Contains(formats, ".pdf") ||
		strings.Contains(formats, ".txt") {
		grants["edit"] = false
	}
	grants["print"] = grants["print"] && !cached
	grants["export"] = grants["export"] && grants["print"] && !strings.Contains(formats, ".pdf")
	grants["history"] = grants["history"] && grants["edit"]
	v.Grants = "view"
	for _, g := range []string{"edit", "rename", "history", "copy", "print", "export"} {
		if grants[g] {
			v.Grants += " " + g
		}
	}
	if hide, isSet := out["Hidecmb"].(bool); isSet && !grants["edit"] {
		v.Hidecmb = map[bool]string{true: "true", false: "false"}[hide]
	}
	hours := 12
	if r.Hours > 0 {
		hours = r.Hours
	}
	v.End = start.Add(time.Duration(hours) * time.Hour)
	v.User = m.user(p)
	if given, isGiven := out["User"].(weboffice.User); isGiven {
		if given.Id != "" {
			v.User.Id = given.Id
		}
		if given.Name != "" {
			v.User.Name = shownName(given.Name)
		}
	}
	return v
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
	if issuer.ID != "" {
		idClaim, nameClaim = issuer.ID, issuer.Name
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
func fill(template string, claim func(string) any, bucket, key string) (string, bool) {
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
		value, isText = bucket, true
	case "document.key":
		value, isText = key, true
	}
	seen := strings.TrimFunc(value, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.In(r, unicode.C) || r == 0x3164 || r == 0x2800
	}) != ""
	tail, ok := fill(after, claim, bucket, key)
	return before + value + tail, isText && seen && ok
}

func has(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// yaml writes the model as a policy. JSON is YAML.
func (m model) yaml() []byte {
	issuers := map[string]any{}
	for name, i := range m.Issuers {
		text := map[string]any{"url": i.URL, "audience": "weboffice"}
		if i.TrustEmail {
			text["trustEmail"] = true
		}
		if i.ID != "" {
			text["user"] = map[string]any{"id": i.ID, "name": i.Name}
		}
		issuers[name] = text
	}
	rules := []any{}
	for _, r := range m.Rules {
		text := map[string]any{"name": r.Name, "documents": "oss://" + r.Bucket + "/" +
			strings.Join(r.Segments, "/"), "callers": "anyone"}
		callers := []any{}
		for _, c := range r.Callers {
			one := map[string]any{"issuer": c.Issuer}
			if len(c.Claims) > 0 {
				claims := map[string]any{}
				for name, wants := range c.Claims {
					claims[name] = wants
					if len(wants) == 1 {
						claims[name] = wants[0]
					}
				}
				one["claims"] = claims
			}
			callers = append(callers, one)
		}
		switch len(callers) {
		case 0:
		case 1:
			text["callers"] = callers[0]
		default:
			text["callers"] = callers
		}
		if r.Deny {
			text["deny"] = true
		} else {
			text["grant"] = r.Grant
			if len(r.Set) > 0 {
				set := map[string]any{}
				for name, value := range r.Set {
					set[name] = value
					if name == "Watermark" {
						set[name] = map[string]any{"Type": 1, "Value": value}
					}
				}
				text["set"] = set
			}
			if len(r.Accept) > 0 {
				text["accept"] = r.Accept
			}
			if r.Project != "" {
				text["project"] = r.Project
			}
			if r.Hours > 0 {
				text["session"] = (time.Duration(r.Hours) * time.Hour).String()
			}
		}
		rules = append(rules, text)
	}
	data, err := json.Marshal(map[string]any{"project": m.Project, "issuers": issuers,
		"rules": rules})
	if err != nil {
		panic(err)
	}
	return data
}
