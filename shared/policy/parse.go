package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

const maxPolicy = 1 << 20 // bytes

// document is a policy file as it is written.
type document struct {
	Project    string `yaml:"project"`
	QuickStart bool   `yaml:"quickStart"`
	StandIn    bool   `yaml:"standIn"`
	Limits     struct {
		Anyone string `yaml:"anyone"`
		Caller string `yaml:"caller"`
	} `yaml:"limits"`
	Origins      []string              `yaml:"origins"`
	Issuers      map[string]issuerText `yaml:"issuers"`
	Rules        []ruleText            `yaml:"rules"`
	RevokedLinks []string              `yaml:"revokedLinks"`
	Tests        []testText            `yaml:"tests"`
}

type issuerText struct {
	URL        string `yaml:"url"`
	Audience   string `yaml:"audience"`
	MaxAge     string `yaml:"maxAge"`
	TrustEmail bool   `yaml:"trustEmail"`
	User       struct {
		ID     string `yaml:"id"`
		Name   string `yaml:"name"`
		Avatar string `yaml:"avatar"`
	} `yaml:"user"`
}

type ruleText struct {
	Name      string         `yaml:"name"`
	Documents string         `yaml:"documents"`
	Callers   any            `yaml:"callers"`
	Deny      bool           `yaml:"deny"`
	Grant     []string       `yaml:"grant"`
	Set       map[string]any `yaml:"set"`
	Accept    []string       `yaml:"accept"`
	Project   string         `yaml:"project"`
	Session   string         `yaml:"session"`
}

// mistake is what is wrong at one place of the file.
type mistake struct {
	line, column int
	what         string
}

func (m mistake) Error() string { return fmt.Sprintf("%d:%d: %s", m.line, m.column, m.what) }

// reader turns the text into a Policy and collects what is wrong.
type reader struct {
	body      ast.Node
	mistakes  []error
	wildcards map[string]*regexp.Regexp // by their text
}

// Parse reads a policy. The error joins every mistake found, each as "line:column: what is wrong",
// in the order of the file.
func Parse(data []byte, o Options) (*Policy, error) {
	if len(data) > maxPolicy {
		return nil, fmt.Errorf("1:1: a policy is at most %d bytes", maxPolicy)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, plainYAMLError(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, errors.New("1:1: a policy is one YAML document")
	}
	r := &reader{body: file.Docs[0].Body, wildcards: map[string]*regexp.Regexp{}}
	var p *Policy
	var text document
	if r.read(r.body, reflect.ValueOf(&text).Elem()) {
		p = r.policy(text, o)
	}
	if len(r.mistakes) == 0 {
		return p, nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b error) int {
		x, y := a.(mistake), b.(mistake)
		return cmp.Or(x.line-y.line, x.column-y.column)
	})
	return nil, errors.Join(r.mistakes...)
}

// plainYAMLError keeps the library's sentence and place, without its excerpt of the file.
func plainYAMLError(err error) error {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		at := located.GetToken().Position
		return mistake{at.Line, at.Column, located.GetMessage()}
	}
	return err
}

// problem notes what is wrong at a place such as rules, 2, "documents". What is not there is
// reported at what would hold it.
func (r *reader) problem(what string, place ...any) {
	node := r.body
	for _, step := range place {
		if found := child(node, step); found != nil {
			node = found
		}
	}
	r.note(node, what)
}

func child(node ast.Node, step any) ast.Node {
	switch n := node.(type) {
	case *ast.SequenceNode:
		if i, isIndex := step.(int); isIndex {
			return n.Values[i]
		}
	case ast.MapNode:
		for entry := n.MapRange(); entry.Next(); {
			if entry.Key().GetToken().Value == step {
				return entry.Value()
			}
		}
	}
	return nil
}

// note notes what is wrong at a node. A map begins where its first key does.
func (r *reader) note(node ast.Node, what string) {
	if m, isMap := node.(ast.MapNode); isMap {
		if entry := m.MapRange(); entry.Next() {
			node = entry.Key()
		}
	}
	at := node.GetToken().Position
	r.mistakes = append(r.mistakes, mistake{at.Line, at.Column, what})
}

// read reads a node and holds it to the type that it goes into. Mistakes are unknown keys, values
// of another kind (true is no text, and neither is a number), what says nothing, and what lets one
// line change another. It says whether all was of the right kind.
func (r *reader) read(node ast.Node, into reflect.Value) bool {
	var value any
	kind, readable, empty := reflect.String, true, node.GetToken().Value == ""
	switch n := node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode, *ast.MappingKeyNode:
		r.note(node, "anchors, aliases, tags, merges and ? are not read: write the value out")
		return false
	case *ast.NullNode:
		kind, empty = into.Kind(), true
	case *ast.LiteralNode:
		value = n.Value.Value
	case *ast.SequenceNode:
		kind, empty = reflect.Slice, len(n.Values) == 0
		list := reflect.MakeSlice(holder(into.Type(), reflect.TypeFor[[]any]()), len(n.Values),
			len(n.Values))
		for i, element := range n.Values {
			readable = r.read(element, list.Index(i)) && readable
		}
		value = list.Interface()
	case ast.MapNode:
		kind, empty = reflect.Map, true
		var members, member reflect.Value
		if into.Kind() != reflect.Struct {
			members = reflect.MakeMap(holder(into.Type(), reflect.TypeFor[map[string]any]()))
			value = members.Interface()
		}
		for entry := n.MapRange(); entry.Next(); empty = false {
			if value == nil {
				member = r.field(into, entry.Key())
			} else {
				member = reflect.New(members.Type().Elem()).Elem()
			}
			var key any
			readable = r.read(entry.Key(), reflect.ValueOf(&key).Elem()) &&
				r.read(entry.Value(), member) && readable
			if value != nil {
				members.SetMapIndex(reflect.ValueOf(entry.Key().GetToken().Value), member)
			}
		}
	case ast.ScalarNode:
		switch value = n.GetValue(); value.(type) {
		case string:
		case bool:
			kind = reflect.Bool
		default:
			kind = reflect.Float64
		}
	}
	if empty && into.Kind() != reflect.Interface || empty && kind != reflect.String {
		r.note(node, "nothing stands here: leave the key out or fill it")
	}
	if words[into.Kind()] != words[kind] && into.Kind() != reflect.Interface {
		r.note(node, words[into.Kind()]+" belongs here, not "+words[kind])
		return false
	}
	if value != nil {
		into.Set(reflect.ValueOf(value))
	}
	return readable
}

var words = map[reflect.Kind]string{
	reflect.Struct: "a map", reflect.Map: "a map", reflect.Slice: "a list",
	reflect.Bool: "true or false", reflect.String: "text",
	reflect.Float64: "a number",
}

// holder is the type to read a list or a map into: the wanted one, or where something else is
// wanted one that holds anything.
func holder(wanted, anything reflect.Type) reflect.Type {
	if wanted.Kind() == anything.Kind() {
		return wanted
	}
	return anything
}

// field is the field of a struct that stands under a key, or for an unknown key, which is a
// mistake, a place for anything.
func (r *reader) field(of reflect.Value, key ast.Node) reflect.Value {
	keys := make([]string, of.NumField())
	for i := range keys {
		if keys[i] = of.Type().Field(i).Tag.Get("yaml"); keys[i] == key.GetToken().Value {
			return of.Field(i)
		}
	}
	r.note(key, fmt.Sprintf("unknown key %q: use %s", key.GetToken().Value,
		strings.Join(keys, ", ")))
	return reflect.New(reflect.TypeFor[any]()).Elem()
}

func (r *reader) policy(text document, o Options) *Policy {
	p := &Policy{
		project: text.Project, origins: text.Origins, quickStart: text.QuickStart,
		standIn:      text.StandIn,
		revokedLinks: text.RevokedLinks, options: o,
	}
	p.limits.Anyone = r.limit(text.Limits.Anyone, Rate{10, time.Minute}, "anyone")
	p.limits.Caller = r.limit(text.Limits.Caller, Rate{60, time.Minute}, "caller")
	if text.StandIn && !o.Loopback {
		r.problem(
			"standIn is for a stand-in on this machine: the IMM endpoint is not a loopback address",
			"standIn")
	}
	for i, origin := range text.Origins {
		if err := checkOrigin(origin); err != nil {
			r.problem(err.Error(), "origins", i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(text.Issuers)) {
		issuer := r.issuer(name, text.Issuers[name])
		if slices.ContainsFunc(p.issuers,
			func(other caller.Issuer) bool { return other.URL == issuer.URL }) {
			r.problem("another issuer has the same url", "issuers", name, "url")
		}
		p.issuers = append(p.issuers, issuer)
	}
	names := map[string]bool{}
	for i, t := range text.Rules {
		if t.Name == "" || names[t.Name] || t.Name == refused {
			r.problem("a rule needs a name of its own", "rules", i, "name")
		}
		names[t.Name] = true
		p.rules = append(p.rules, r.rule(t, p, i))
	}
	homeless := func(r *rule) bool {
		return !r.deny && p.projectOf(r) == "" && !slices.Contains(r.accept, "ProjectName")
	}
	if i := slices.IndexFunc(p.rules, homeless); i >= 0 {
		r.problem(
			"no IMM project: set WEBOFFICE_PROJECT, or name a `project` in the policy or in the rule", "rules", i)
	}
	for i, t := range text.Tests {
		p.tests = append(p.tests, r.test(t, p, names, i))
	}
	return p
}

// limit reads N/s, N/m and N/h.
func (r *reader) limit(text string, otherwise Rate, key string) Rate {
	if text == "" {
		return otherwise
	}
	number, unit, _ := strings.Cut(text, "/")
	events, err := strconv.Atoi(number)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || events < 1 || events > 1_000_000 || per == 0 {
		r.problem("a limit is written as 10/s, 10/m or 10/h", "limits", key)
	}
	return Rate{events, per}
}

// originForm is how browsers write an origin: in lower case, other alphabets as xn--.
var originForm = regexp.MustCompile(`^https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)

// checkOrigin takes an origin only in the form in which browsers send it.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	switch {
	case err != nil || !originForm.MatchString(origin):
		return errors.New(
			"an origin is written as browsers send it: https://host or https://host:port, lower case, no path and no *")
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return errors.New("browsers leave the default port out of an origin: do the same")
	case u.Scheme == "http" && !weboffice.Loopback(u.Hostname()):
		return errors.New("an origin is https, or http on a loopback address")
	}
	return nil
}

var issuerName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (r *reader) issuer(name string, t issuerText) caller.Issuer {
	at := func(key string) []any { return []any{"issuers", name, key} }
	if len(name) > 32 || !issuerName.MatchString(name) || name == caller.LinkIssuer ||
		name == "anyone" {
		r.problem(
			"an issuer's name is lower-case letters, digits and -, and neither links nor anyone",
			"issuers", name)
	}
	if (caller.Issuer{Name: "any", URL: t.URL, Audience: []string{"any"}}).Validate() != nil ||
		strings.ContainsAny(t.URL, `\@`) {
		r.problem(
			"url is the issuer's https URL (or http on loopback), without query or fragment, exactly as its tokens' iss", at("url")...)
	}
	if t.Audience == "" {
		r.problem("audience is required: tokens for other services must not open documents",
			at("audience")...)
	}
	return caller.Issuer{
		Name: name, URL: t.URL, Audience: []string{t.Audience}, TrustEmail: t.TrustEmail,
		MaxAge: r.duration(t.MaxAge, 24*time.Hour, at("maxAge")...),
		User:   caller.UserClaims(t.User),
	}
}

func (r *reader) duration(text string, otherwise time.Duration, place ...any) time.Duration {
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Minute || d > 366*24*time.Hour {
		r.problem("a duration is written as 30m or 8h, at least 1m and at most a year", place...)
	}
	return d
}

// guestsNever lists what a rule for anyone must not accept.
var guestsNever = []string{"User", "ProjectName", "CredentialConfig", "Notification",
	"NotifyTopicName"}

func (r *reader) rule(t ruleText, p *Policy, i int) *rule {
	at := func(steps ...any) []any { return append([]any{"rules", i}, steps...) }
	out := &rule{
		name: t.Name, deny: t.Deny, accept: t.Accept, project: t.Project,
		callers: r.callers(t.Callers, p, at),
		session: r.duration(t.Session, DefaultSession, at("session")...),
	}
	var err error
	if out.pattern, err = parsePattern(t.Documents); err != nil {
		r.problem(err.Error(), at("documents")...)
	} else if isAnyone(out) && len(out.pattern.claims) > 0 {
		r.problem("${"+out.pattern.claims[0]+"} can never match for callers: anyone",
			at("documents")...)
	}
	if out.grant, err = weboffice.PermissionOf(t.Grant); err != nil {
		r.problem(err.Error(), at("grant")...)
	} else if !t.Deny && !slices.Contains(t.Grant, "view") {
		r.problem("grant must hold view, the right to open at all (or the rule is a `deny: true`)",
			at("grant")...)
	}
	if t.Deny && (t.Grant != nil || t.Set != nil || t.Accept != nil || t.Session != "" ||
		t.Project != "") {
		r.problem("a deny rule gives nothing: it has name, documents, callers and deny only",
			at("deny")...)
	}
	for j, name := range t.Accept {
		if !slices.Contains(weboffice.ParameterNames(), name) {
			r.problem("accept: "+name+" is no parameter of GenerateWebofficeToken",
				at("accept", j)...)
		} else if isAnyone(out) && !p.standIn && slices.Contains(guestsNever, name) {
			r.problem("accept: "+name+" cannot be left to anyone", at("accept", j)...)
		}
	}
	if t.Set != nil {
		r.set(out, t.Set, at)
	}
	return out
}

func (r *reader) callers(written any, p *Policy, at func(...any) []any) (all []callers) {
	if written == "anyone" {
		return []callers{{anyone: true}}
	}
	list, isList := written.([]any)
	if !isList {
		list = []any{written}
	}
	for j, element := range list {
		if m, isMap := element.(map[string]any); isMap {
			all = append(all, r.callersOf(m, p, at("callers", j)))
		} else {
			r.problem("callers is anyone, {issuer: NAME, claims: {…}} or a list of such maps",
				at("callers", j)...)
		}
	}
	return all
}

func (r *reader) callersOf(m map[string]any, p *Policy, place []any) callers {
	c := callers{}
	c.issuer, _ = m["issuer"].(string)
	if c.issuer != caller.LinkIssuer && !slices.ContainsFunc(p.issuers,
		func(known caller.Issuer) bool { return known.Name == c.issuer }) {
		r.problem("issuer must be links or a name under `issuers`", append(place, "issuer")...)
	}
	for key := range m {
		if key != "issuer" && key != "claims" {
			r.problem("callers has issuer and claims", append(place, key)...)
		}
	}
	claims, ok := m["claims"].(map[string]any)
	if _, given := m["claims"]; given && !ok {
		r.problem("claims is a map from a claim to what it must be", append(place, "claims")...)
	}
	for name, written := range claims {
		list, isList := written.([]any)
		if !isList {
			list = []any{written}
		}
		c.claims = append(c.claims, r.condition(name, list, append(place, "claims", name)))
	}
	slices.SortFunc(c.claims, func(a, b condition) int { return strings.Compare(a.claim, b.claim) })
	return c
}

func (r *reader) condition(name string, written, place []any) condition {
	c := condition{claim: name, failed: "the claim " + name + " does not hold"}
	for i, value := range written {
		w := wanted{value: value}
		text, isText := value.(string)
		switch value.(type) {
		case string, bool:
		case uint64, int64:
			w.value = json.Number(fmt.Sprint(value))
		default:
			r.problem(
				"a claim is compared with text, true, false, a whole number or a list of these",
				append(place, i)...)
		}
		if strings.Contains(text, "${") {
			r.problem("a claim's pattern has * alone as special", append(place, i)...)
		}
		if strings.Contains(text, "*") {
			if r.wildcards[text] == nil { // rules repeat each other's
				r.wildcards[text] = wildcard(text)
			}
			w.expr = r.wildcards[text]
		}
		switch { // "*example.com" would let evilexample.com in
		case name == "email" && (!isText || text != "*" &&
			!plainEmail.MatchString(strings.ReplaceAll(text, "*", "x"))):
			r.problem(`email takes an address, a pattern with an @ such as "*@example.com", or "*"`,
				append(place, i)...)
		case name == "sub" && !isText:
			r.problem("sub is always text: put it in quotes", append(place, i)...)
		}
		c.any = append(c.any, w)
	}
	return c
}

func (r *reader) set(out *rule, written map[string]any, at func(...any) []any) {
	for _, never := range []string{"SourceURI", "Permission"} {
		if _, ok := written[never]; ok {
			r.problem("set cannot hold "+never+": documents and grant say that",
				at("set", never)...)
		}
	}
	body, err := json.Marshal(written)
	if err == nil {
		out.set, err = weboffice.ParseRequest(body)
	}
	if err == nil {
		err = out.set.Validate()
	}
	if err != nil {
		public := weboffice.AsError(err)
		r.problem("set: "+public.Message+" "+public.Recommend, at("set")...)
	}
	sent := out.set.Sent()
	for name := range written {
		if err == nil && !slices.Contains(sent, name) {
			r.problem("set: "+name+" holds no value, so nothing would be fixed", at("set", name)...)
		}
	}
	if c := out.set.CredentialConfig; c != nil && c.Policy != "" && !json.Valid([]byte(c.Policy)) {
		r.problem("CredentialConfig.Policy must be JSON, with ${…} inside its quotes",
			at("set", "CredentialConfig", "Policy")...)
	}
	for _, found := range holes(out.set) {
		out.holes = true
		name, named := placeholder(found)
		ofDocument := name == "document.bucket" || name == "document.key"
		if !named || !ofDocument && strings.HasPrefix(name, "document.") {
			r.problem(found+" names no claim", at("set")...)
		} else if isAnyone(out) && !ofDocument {
			r.problem(found+" can never be filled for callers: anyone", at("set")...)
		}
	}
}
