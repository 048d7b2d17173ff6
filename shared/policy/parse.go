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

	"go.yaml.in/yaml/v4"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

const maxPolicy = 1 << 20 // bytes

// file is a policy file as it is written. Its JSON Schema is made from these structs.
type file struct {
	Project      string                `yaml:"project"`
	Origins      []string              `yaml:"origins"`
	Limits       limitsText            `yaml:"limits"`
	QuickStart   bool                  `yaml:"quickStart"`
	StandIn      bool                  `yaml:"standIn"`
	Issuers      map[string]issuerText `yaml:"issuers"`
	Rules        []ruleText            `yaml:"rules"`
	RevokedLinks []string              `yaml:"revokedLinks"`
	Tests        []testText            `yaml:"tests"`
}

type limitsText struct {
	Anyone rateText `yaml:"anyone"`
	Caller rateText `yaml:"caller"`
	Total  rateText `yaml:"total"`
}

type issuerText struct {
	URL           string            `yaml:"url"`
	Audience      oneOrMore[string] `yaml:"audience"`
	AudienceClaim string            `yaml:"audienceClaim"`
	Keys          string            `yaml:"keys"`
	MaxAge        durationText      `yaml:"maxAge"`
	TrustEmail    bool              `yaml:"trustEmail"`
	User          struct {
		ID     string `yaml:"id"`
		Name   string `yaml:"name"`
		Avatar string `yaml:"avatar"`
	} `yaml:"user"`
}

type ruleText struct {
	Name      string             `yaml:"name"`
	Documents string             `yaml:"documents"`
	Callers   oneOrMore[callers] `yaml:"callers"`
	Deny      bool               `yaml:"deny"`
	Grant     []string           `yaml:"grant"`
	Set       map[string]any     `yaml:"set"`
	Accept    []string           `yaml:"accept"`
	Project   string             `yaml:"project"`
	Session   durationText       `yaml:"session"`
}

// Texts with a form of their own.
type (
	rateText     string // 10/m
	durationText string // 8h
)

// Parse reads a policy as a function that starts does. The error joins every mistake found, each a
// Finding, in the order of the file. The policy's own tests are left to Check.
func Parse(data []byte, o Options) (*Policy, error) {
	r := newReader()
	if p, _ := r.parse(data, o); len(r.mistakes) == 0 {
		return p, nil
	}
	return nil, joined(r.findings())
}

// parse returns the policy and the file that it was read from. They are to be used only where no
// mistake was noted.
func (r *reader) parse(data []byte, o Options) (*Policy, file) {
	var text file
	var document yaml.Node
	if len(data) > maxPolicy {
		r.mistakes = []Finding{{1, 1, fmt.Sprintf("a policy is at most %d bytes", maxPolicy)}}
		return nil, text
	}
	if err := yaml.Load(data, &document); err != nil {
		r.mistakes = []Finding{plainError(data, err)}
		return nil, text
	}
	if r.root = document.Content[0]; !r.read(r.root, reflect.ValueOf(&text).Elem()) {
		return nil, text
	}
	return r.policy(text, o), text
}

// findings takes what was noted so far, in the order of the file.
func (r *reader) findings() (noted []Finding) {
	noted, r.mistakes = r.mistakes, nil
	slices.SortStableFunc(noted, func(a, b Finding) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
	return noted
}

func (r *reader) policy(text file, o Options) *Policy {
	p := &Policy{written: text, options: o, limits: Limits{
		Anyone: r.limit(text.Limits.Anyone, Rate{10, time.Minute}, "anyone"),
		Caller: r.limit(text.Limits.Caller, Rate{60, time.Minute}, "caller"),
		Total:  r.limit(text.Limits.Total, Rate{}, "total"),
	}}
	if text.StandIn && !o.Loopback {
		r.problem("standIn is for a stand-in on this machine: the IMM endpoint is not a loopback"+
			" address", "standIn")
	}
	for i, origin := range text.Origins {
		if err := checkOrigin(origin); err != nil {
			r.problem(err.Error(), "origins", i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(text.Issuers)) {
		issuer := r.issuer(name, text.Issuers[name])
		if i := slices.IndexFunc(p.issuers, func(other caller.Issuer) bool {
			return other.URL == issuer.URL
		}); i >= 0 {
			r.problem("issuer "+p.issuers[i].Name+" has the same url: give one of them both"+
				" audiences", "issuers", name, "url")
		}
		p.issuers = append(p.issuers, issuer)
	}
	r.rules(text.Rules, p)
	return p
}

func (r *reader) rules(texts []ruleText, p *Policy) {
	lines := map[string]int{}
	for i, t := range texts {
		problem := func(what string, steps ...any) {
			r.problem(what, append([]any{"rules", i}, steps...)...)
		}
		out := r.rule(t, p, problem)
		out.line, out.column = place(child(child(r.root, "rules"), i))
		switch line := lines[t.Name]; {
		case t.Name == "" || t.Name == refused:
			problem("a rule needs a name of its own, other than "+refused, "name")
		case line > 0:
			problem(fmt.Sprintf("the rule in line %d has the same name: a rule needs a name of its"+
				" own", line), "name")
		default:
			lines[t.Name] = out.line
		}
		p.rules = append(p.rules, out)
		if p.options.NoLinkKeys && slices.ContainsFunc(out.callers, callers.links) {
			problem("WEBOFFICE_LINK_KEYS is not set, but this rule is for share links: make a key"+
				" with `openssl rand -base64 32` and give it to the functions", "callers")
		}
	}
	homeless := func(r *rule) bool {
		return !r.deny && p.projectOf(r) == "" && !slices.Contains(r.accept, "ProjectName")
	}
	if i := slices.IndexFunc(p.rules, homeless); i >= 0 {
		r.problem("no IMM project: set WEBOFFICE_PROJECT, or write a line `project: NAME` at the"+
			" top of the policy or in the rule", "rules", i)
	}
}

// limit reads N/s, N/m and N/h.
func (r *reader) limit(text rateText, otherwise Rate, key string) Rate {
	if text == "" {
		return otherwise
	}
	number, unit, _ := strings.Cut(string(text), "/")
	events, err := strconv.Atoi(number)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || events < 1 || events > 1_000_000 || per == 0 {
		r.problem("a limit is written as 10/s, 10/m or 10/h", "limits", key)
	}
	return Rate{events, per}
}

// checkOrigin takes an origin only in the form in which browsers send it: in lower case, other
// alphabets as xn--.
func checkOrigin(origin string) error {
	// compiled here, for a policy has few origins, and not whenever a program starts
	form := regexp.MustCompile(`^https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$`)
	u, err := url.Parse(origin)
	switch {
	case err == nil && !form.MatchString(origin) && form.MatchString(lower(u.Scheme+"://"+u.Host)):
		return errors.New("browsers send this origin as " + lower(u.Scheme+"://"+u.Host) +
			": no path, and lower case")
	case err != nil || !form.MatchString(origin):
		return errors.New("an origin is written as browsers send it: https://host or" +
			" https://host:port, and no *")
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return errors.New("browsers leave the default port out of an origin: do the same")
	case u.Scheme == "http" && !weboffice.Loopback(u.Hostname()):
		return errors.New("an origin is https, or http on a loopback address")
	}
	return nil
}

func (r *reader) issuer(name string, t issuerText) caller.Issuer {
	problem := func(what string, key ...any) {
		r.problem(what, append([]any{"issuers", name}, key...)...)
	}
	if name == "" || len(name) > 32 || name == caller.LinkIssuer || name == "anyone" ||
		name[0] < 'a' || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		problem("an issuer's name is at most 32 lower-case letters, digits and -, begins with a" +
			" letter and is neither links nor anyone")
	}
	out := caller.Issuer{
		Name: name, URL: t.URL, Audience: t.Audience, AudienceClaim: t.AudienceClaim,
		Keys: t.Keys, TrustEmail: t.TrustEmail, User: caller.UserClaims(t.User),
		MaxAge: duration(cmp.Or(t.MaxAge, "24h"), problem, "maxAge"),
	}
	if err := out.Validate(); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			key, _, _ := strings.Cut(strings.TrimSuffix(line, ":"), " ")
			if key != "an" { // the name's own, which stands above
				problem(line, strings.TrimSuffix(key, ":"))
			}
		}
	}
	return out
}

// issuerNames lists what an issuer may be called where it is named.
func issuerNames(p *Policy) string {
	names := "links"
	for _, issuer := range p.issuers {
		names += ", " + issuer.Name
	}
	return "one of " + names + " (`issuers` has their names)"
}

// problems takes what is wrong at a place below an issuer or a rule.
type problems func(what string, steps ...any)

func duration(text durationText, problem problems, key string) time.Duration {
	d, err := time.ParseDuration(string(text))
	if err != nil || d < time.Minute || d > 366*24*time.Hour {
		problem("a duration is written as 30m or 8h, at least 1m and at most a year", key)
	}
	return d
}

// guestsNever lists what a rule for anyone must not accept.
var guestsNever = []string{"User", "ProjectName", "CredentialConfig", "Notification",
	"NotifyTopicName"}

func (r *reader) rule(t ruleText, p *Policy, problem problems) *rule {
	out := &rule{name: t.Name, deny: t.Deny, accept: t.Accept, project: t.Project,
		session: DefaultSession}
	if t.Session != "" {
		out.session = duration(t.Session, problem, "session")
	}
	var err error
	if out.pattern, err = parsePattern(t.Documents); err != nil {
		problem(err.Error(), "documents")
		out.pattern = &pattern{}
	}
	callersOf(out, t.Callers, p, problem)
	if out.forAnyone() && len(out.pattern.claims) > 0 {
		problem("${"+out.pattern.claims[0]+"} can never match for callers: anyone", "documents")
	}
	if out.grant, err = weboffice.PermissionOf(t.Grant); err != nil {
		problem(err.Error(), "grant")
	} else if !t.Deny && !slices.Contains(t.Grant, "view") {
		problem("grant must hold view, the right to open at all (or the rule is a `deny: true`)",
			"grant")
	}
	if t.Deny && (t.Grant != nil || t.Set != nil || t.Accept != nil || t.Session != "" ||
		t.Project != "") {
		problem("a deny rule gives nothing: it has name, documents, callers and deny only", "deny")
	}
	for j, name := range out.accept {
		if !slices.Contains(weboffice.ParameterNames(), name) {
			problem("accept: "+name+" is not a parameter of GenerateWebofficeToken: use "+
				strings.Join(weboffice.ParameterNames(), ", "), "accept", j)
		} else if out.forAnyone() && !p.written.StandIn && slices.Contains(guestsNever, name) {
			problem("accept: "+name+" cannot be left to anyone", "accept", j)
		}
	}
	if t.Set != nil {
		r.set(out, t.Set, problem)
	}
	return out
}

// callersOf reads who a rule is for. The segments and the link's scope belong to each alternative.
func callersOf(out *rule, written []callers, p *Policy, problem problems) {
	if len(written) == 0 {
		problem(new(callers).sayAnyone(), "callers")
	}
	for j, c := range written {
		if c.anyone && len(written) > 1 {
			problem(c.sayAnyone(), "callers", j)
		}
		if !c.anyone && c.Issuer != caller.LinkIssuer && !slices.ContainsFunc(p.issuers,
			func(known caller.Issuer) bool { return known.Name == c.Issuer }) {
			problem("issuer must be "+issuerNames(p), "callers", j, "issuer")
		}
		for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
			if err := checkClaim(name); err != nil {
				problem(err.Error(), "callers", j, "claims", name)
			}
			is := &claimIs{claim: name, fold: name == "email"}
			for i, value := range c.Claims[name] {
				if what := is.or(value); what != "" {
					problem(what, "callers", j, "claims", name, i)
				}
			}
			c.conditions = append(c.conditions, is)
		}
		c.conditions = append(c.conditions, out.pattern.conditions...)
		if c.links() && !out.deny {
			c.conditions = append(c.conditions, linkCovers{})
		}
		out.callers = append(out.callers, c)
	}
}

// or adds a value that the claim may have, or says why it cannot be one.
func (c *claimIs) or(value any) (wrong string) {
	text, isText := value.(string)
	truth, isTruth := value.(bool)
	number, isNumber := value.(json.Number)
	switch {
	case !isText && !isTruth && (!isNumber || strings.ContainsAny(number.String(), ".eE")):
		return "a claim is compared with text, true, false, a whole number or a list of these"
	case strings.Contains(text, "${"):
		return "only * is special in a claim pattern: a claim cannot be compared with another one"
	case c.claim == "email" && (!isText || !emailPattern(text)):
		return `email takes an address, a pattern such as "*@example.com" or "*@*.example.com",` +
			` or "*"`
	case c.claim == "sub" && isTruth:
		return "sub is always text"
	case isTruth:
		c.truths = append(c.truths, truth)
		return ""
	}
	if text += number.String(); c.fold { // one of the two is empty
		text = lower(text)
	}
	if c.texts = append(c.texts, text); strings.Contains(text, "*") {
		c.compiled = compiled(c.expression)
	}
	return ""
}

// emailPattern says whether a condition may compare addresses with text. "*example.com" would let
// evilexample.com in, and "*@example.*" example.evil.
func emailPattern(text string) bool {
	local, domain, cut := strings.Cut(text, "@")
	rest, any := strings.CutPrefix(domain, "*")
	return text == "*" || cut && local != "" && domain != "" && !strings.Contains(rest, "*") &&
		(rest == "" || any == (rest[0] == '.') && rest != ".") &&
		!strings.ContainsAny(local+domain, "@\"<>(),:;\\[] \t\n")
}

func (r *reader) set(out *rule, written map[string]any, problem problems) {
	body, err := json.Marshal(written)
	again := fmt.Sprintf("%v%s", out.forAnyone(), body)
	if same := r.sets[again]; same != nil {
		out.set, out.filled = same.set, same.filled
		return
	}
	mistakes := len(r.mistakes)
	if err == nil {
		out.set, err = weboffice.ParseRequest(body)
	}
	if err == nil {
		err = out.set.Validate()
	}
	if err != nil {
		public := weboffice.AsError(err)
		problem("set: "+public.Message+" "+public.Recommend, "set")
		return
	}
	for name := range written {
		if name == "SourceURI" || name == "Permission" {
			problem("set cannot hold "+name+": documents and grant say that", "set", name)
		} else if !slices.Contains(out.set.Sent(), name) {
			problem("set: "+name+" holds no value, so nothing would be fixed", "set", name)
		}
	}
	if w := out.set.Watermark; w != nil && w.Value == "" && (w.Type == nil || *w.Type != 0) {
		problem("set: Watermark needs a Value, the text to show (or Type: 0 for none)", "set",
			"Watermark")
	}
	if c := out.set.CredentialConfig; c != nil && c.Policy != "" && !json.Valid([]byte(c.Policy)) {
		problem("set: CredentialConfig.Policy must be JSON, with ${…} inside its quotes", "set",
			"CredentialConfig", "Policy")
	}
	filled, wrong := templates(out.set, out.forAnyone())
	for _, what := range wrong {
		problem("set: "+what, "set")
	}
	if out.filled = filled; len(r.mistakes) == mistakes {
		r.sets[again] = out
	}
}
