package policy_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// random makes policies, callers and questions of a small world, so that they meet often.
type random struct{ *rand.Rand }

func pick[T any](d random, of ...T) T { return of[d.IntN(len(of))] }

// one is true once in n times.
func (d random) one(n int) bool { return d.IntN(n) == 0 }

func (d random) some(of ...string) []string {
	return slices.DeleteFunc(of, func(string) bool { return d.one(2) })
}

// choice is a field that an object has in so many of a hundred cases, and what it may be.
type choice struct {
	percent int
	name    string
	of      []any
}

func (d random) object(fields ...choice) map[string]any {
	drawn := map[string]any{}
	for _, f := range fields {
		if d.IntN(100) < f.percent {
			drawn[f.name] = pick(d, f.of...)
		}
	}
	return drawn
}

func (d random) uri() string {
	folders := make([]string, d.IntN(3))
	for i := range folders {
		folders[i] = pick(d, "red", "blue", "team-a", "team-ab", "r*d")
	}
	name := pick(d, "plan.docx", "plan.docx", "plan.xlsx", "PLAN.DOCX", "plan.pdf", "note.txt",
		"red.pptx")
	return "oss://" + pick(d, "team-docs", "team-docs", "team-docs", "other-docs") + "/" +
		strings.Join(append(folders, name), "/")
}

// pattern makes a document's URI more general, a step at a time.
func (d random) pattern(claims bool) string {
	uri := strings.Split(d.uri(), "/")
	segments, crossed := []string{}, false
	for _, segment := range uri[3:] {
		switch d.IntN(6) {
		case 0:
			segment = "*"
		case 1:
			segment = segment[:1] + "*" + segment[len(segment)-1:]
		case 2:
			segment, crossed = "**", true
		case 3:
			if claims && !crossed {
				segment = pick(d, "${team}", "${sub}", "${level}", "${urn:x:roles}")
			}
		}
		segments = append(segments, segment)
	}
	if d.one(2) {
		segments = append(segments[:d.IntN(len(segments))], "**")
	}
	return strings.Join(append(uri[:3], segments...), "/")
}

func (d random) condition(name string) []any {
	values := map[string][]any{
		"email":        {"*@example.com", "ann@EXAMPLE.com", "*"},
		"/realm/roles": {"editors", "ed*", true}, "urn:x:roles": {"editors", "viewers", 1},
		"groups": {"editors", "viewers", "ed*", "*s", "*"}, "level": {1, 2, 0, true, "1", "*"},
		"staff": {true, false, "true"}, "team": {"red", "r*", "blue", "r*d"},
	}[name]
	var wants []any
	for range 1 + d.IntN(2) {
		wants = append(wants, pick(d, values...))
	}
	return wants
}

func (d random) rule(name string) modelRule {
	r := modelRule{Name: name, Deny: d.one(7)}
	for range d.IntN(3) {
		c := modelCallers{Issuer: pick(d, "staff", "staff", "partners", "links"),
			Claims: map[string][]any{}}
		for _, claim := range d.some("email", "groups", "level", "staff", "team", "/realm/roles",
			"urn:x:roles") {
			if d.one(3) {
				c.Claims[claim] = d.condition(claim)
			}
		}
		if r.Deny && len(c.Claims) == 0 {
			claim := pick(d, "groups", "team", "/realm/roles")
			c.Claims[claim] = d.condition(claim)
		}
		r.Callers = append(r.Callers, c)
	}
	r.Documents = d.pattern(len(r.Callers) > 0)
	if r.Deny {
		return r
	}
	r.Grant = append([]string{"view"}, d.some("edit", "edit", "rename", "history", "copy", "print",
		"print", "export")...)
	marks := []any{"internal", "${document.key} of ${document.bucket}"}
	if len(r.Callers) > 0 {
		marks = append(marks, "${name} ${email}", "<${team}>", "${level}", "${/realm/roles}")
	}
	for i, text := range marks {
		marks[i] = map[string]any{"Type": 1, "Value": text}
	}
	r.Set = d.object(choice{25, "Hidecmb", []any{true, false}},
		choice{15, "PreviewPages", []any{1, 5, 20}}, choice{30, "Watermark", marks},
		choice{10, "Filename", []any{"shown.docx", "shown.pdf", "SHOWN.XLSX"}},
		choice{12, "UserData", []any{"of ${document.key}"}})
	if d.one(3) {
		r.Accept = d.some("Watermark", "UserData", "CachePreview")
		if len(r.Callers) > 0 {
			r.Accept = append(r.Accept, d.some("User", "ProjectName")...)
		}
	}
	r.Project, r.Session = pick(d, "", "", "of-rule"), pick(d, "", "", "1h", "8h")
	return r
}

func (d random) model() model {
	m := model{Project: "of-policy", Issuers: map[string]modelIssuer{
		"staff": {URL: "https://login.example.com", Audience: "weboffice"},
		"partners": {URL: "https://id.partners.example", Audience: "weboffice", TrustEmail: true,
			User: modelUser{"oid", "nick"}},
	}}
	for i := range 1 + d.IntN(6) {
		m.Rules = append(m.Rules, d.rule("r"+strconv.Itoa(i)))
	}
	return m
}

func (d random) person() *person {
	if d.one(4) {
		return nil
	}
	names := []any{"Ann", "", " ", "a\u0007b", strings.Repeat("long name ", 5), 5.0, nil, "\u3164",
		"\u2800"}
	roles := []any{"editors", []any{"editors"}, map[string]any{"editors": map[string]any{"a": 1.0}},
		map[string]any{"editors": false}, map[string]any{"type": "editors"},
		map[string]any{"viewers": true}, 1.0, nil, true}
	p := &person{Issuer: pick(d, "staff", "staff", "partners", "links"), Claims: d.object(
		choice{100, "sub", []any{"ann", "red", "team-a"}}, choice{100, "oid", []any{"ann", "o1"}},
		choice{75, "email", []any{"ann@example.com", "Ann@Example.COM", `"x"@example.com`,
			"a@b@example.com", "x@other.example", true, []any{"ann@example.com"}}},
		choice{75, "email_verified", []any{true, true, false, "true"}},
		choice{75, "groups", []any{"editors", []any{"viewers", "editors"}, []any{"viewers"},
			[]any{}, []any{"editors", 1.0}, []any{"viewers", 0.5}, "Editors", nil}},
		choice{75, "level", []any{1.0, 2.0, 0.0, 1.5, "1", true, nil, "red"}},
		choice{75, "staff", []any{true, false, "true", 1.0, nil}},
		choice{75, "team", []any{"red", "blue", "team-a", []any{"red", "team-ab"}, "r*d", "*",
			"**", "{red,blue}", "", 5.0, nil, []any{}}},
		choice{75, "name", names}, choice{75, "nick", names}, choice{75, "urn:x:roles", roles},
		choice{75, "realm", []any{map[string]any{"roles": pick(d, roles...)}, "editors", nil}})}
	if p.Issuer == "links" {
		if d.one(2) {
			delete(p.Claims, "sub")
		}
		if _, isText := p.Claims["name"].(string); !isText {
			delete(p.Claims, "name")
		}
		p.Document = d.uri()
		if d.one(2) {
			p.Document, p.Documents = "", d.pattern(d.one(10))
		}
		p.Grant = d.some("view", "view", "edit", "rename", "history", "copy", "print", "export")
		if len(p.Grant) == 0 {
			p.Grant = []string{"view", "copy"}
		}
	}
	return p
}

func (d random) request() weboffice.Request {
	uri := d.uri()
	asked := d.object(choice{15, "Hidecmb", []any{true, false}},
		choice{12, "PreviewPages", []any{1, 5, 7}}, choice{4, "CachePreview", []any{true, false}},
		choice{12, "Filename", []any{"shown.docx", "other.pdf", "OTHER.DOCX"}},
		choice{4, "User", []any{map[string]any{"Id": "boss"}, map[string]any{"Name": "Boss"}}},
		choice{4, "Watermark", []any{map[string]any{"Value": "mine"}}},
		choice{4, "ProjectName", []any{"mine", "of-policy", "of-rule"}},
		choice{4, "UserData", []any{"mine", "of " + strings.SplitN(uri, "/", 4)[3]}})
	asked["SourceURI"] = uri
	if d.one(2) {
		yes := func() bool { return !d.one(3) }
		asked["Permission"] = weboffice.Permission{Readonly: d.one(3), Rename: yes(),
			History: yes(), Copy: yes(), Export: yes(), Print: yes()}
	}
	text, err := json.Marshal(asked)
	if err != nil {
		panic(err)
	}
	r, err := weboffice.ParseRequest(text)
	if err != nil {
		panic(err)
	}
	return r
}

// aim turns a caller and a question towards a rule, so that enough of them meet it.
func (d random) aim(r modelRule, p *person, asked *weboffice.Request) *person {
	if len(r.Callers) > 0 {
		if p == nil {
			return nil
		}
		c := pick(d, r.Callers...)
		if c.Issuer != "links" && p.Issuer != "links" {
			p.Issuer = c.Issuer
		}
		for _, name := range slices.Sorted(maps.Keys(c.Claims)) {
			want := pick(d, c.Claims[name]...)
			switch w := want.(type) {
			case string:
				want = strings.ReplaceAll(w, "*", "e")
			case int:
				want = float64(w)
			}
			if r.Deny && d.one(2) { // a claim that a deny rule cannot compare, or not wholly
				want = pick(d, []any{[]any{"nobody", 0.5}, map[string]any{"nobody": "yes"}, 0.5, nil}...)
			}
			if name == "/realm/roles" {
				name, want = "realm", map[string]any{"roles": want}
			}
			p.Claims[name] = want
		}
	} else if p != nil && p.Issuer != "links" && d.one(2) {
		p = nil
	}
	pattern := strings.Split(r.Documents, "/")
	var key []string
	for _, segment := range pattern {
		if name, isClaim := strings.CutPrefix(segment, "${"); isClaim {
			segment = "red"
			if text, isText := p.Claims[strings.TrimSuffix(name, "}")].(string); isText &&
				text != "" {
				segment = text
			}
		}
		if segment == "*" || segment == "**" {
			segment = pick(d, "red", "plan.docx")
		}
		key = append(key, strings.Replace(segment, "*", "e", 1))
	}
	last := key[len(key)-1]
	switch ending := pattern[len(key)-1]; {
	case ending == "*" || ending == "**":
		last = pick(d, "plan.docx", "plan.xlsx", "plan.pdf")
	case strings.HasSuffix(ending, "*x"):
		last = strings.Replace(ending, "*x", "e.docx", 1)
	case strings.HasSuffix(ending, "*t"):
		last = strings.Replace(ending, "*t", "e.txt", 1)
	case !strings.Contains(last, "."):
		return p
	}
	asked.SourceURI = strings.Join(append(key[:len(key)-1], last), "/")
	if p != nil && p.Issuer == "links" && !d.one(3) {
		p.Document, p.Documents = asked.SourceURI, ""
	}
	return p
}

// changed is a policy after somebody has edited it, or as it was.
func (d random) changed(m model) model {
	m.Rules = slices.Clone(m.Rules)
	at := d.IntN(len(m.Rules))
	switch d.IntN(6) {
	case 4:
		other := d.IntN(len(m.Rules))
		m.Rules[at], m.Rules[other] = m.Rules[other], m.Rules[at]
	case 5:
		drawn := d.rule(m.Rules[at].Name)
		drawn.Documents = m.Rules[at].Documents
		if len(m.Rules[at].Callers) > 0 && len(drawn.Callers) > 0 {
			m.Rules[at] = drawn
		}
	case 0:
		m.Rules = slices.Delete(m.Rules, at, at+1)
		if len(m.Rules) == 0 {
			m.Rules = []modelRule{d.rule("other")}
		}
	case 1:
		m.Rules = slices.Insert(m.Rules, at, d.rule("new "+strconv.Itoa(len(m.Rules))))
	case 2:
		if !m.Rules[at].Deny {
			m.Rules[at].Grant = append([]string{"view"}, d.some("edit", "copy", "print")...)
		}
	}
	return m
}

// verdictOf puts a decision in the oracle's form.
func verdictOf(d policy.Decision, err error) verdict {
	if err != nil {
		return verdict{Code: weboffice.AsError(err).Code}
	}
	return verdict{Rule: d.Rule, Grants: strings.Join(d.Request.Permission.Grants(), " "),
		Parameters: parameters(d.Request), User: *d.Request.User, End: d.End}
}

func (p *person) claims() map[string]any {
	claims := maps.Clone(p.Claims)
	claims["issuer"] = p.Issuer
	if p.Issuer == "links" {
		claims["grant"] = p.Grant
		if claims["document"] = p.Document; p.Document == "" {
			delete(claims, "document")
			claims["documents"] = p.Documents
		}
	}
	return claims
}

func TestDecideEqualsTheOracle(t *testing.T) {
	policies, seeds := 400, []uint64{1, seed(t), 13848204365043022529}
	if testing.Short() {
		policies, seeds = 300, seeds[:2]
	}
	for _, seed := range seeds {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			d, count := random{rand.New(rand.NewPCG(seed, 0))}, map[string]int{}
			for range policies {
				compare(t, d, count)
				if t.Failed() {
					return
				}
			}
			t.Log(count)
			least := map[string]int{"opened": count["asked"] * 3 / 10, "hidden": 1}
			for _, grant := range weboffice.Grants()[1:] {
				least["gave "+grant] = count["opened"] / 100
				least["withheld "+grant] = count["opened"] / 100
			}
			for _, parameter := range []string{"PreviewPages", "Hidecmb", "Filename", "User",
				"Watermark", "ProjectName", "UserData", "CachePreview"} {
				least["Forbidden."+parameter] = 1
			}
			for what, n := range least {
				if count[what] < n {
					t.Errorf("%s came up %d times", what, count[what])
				}
			}
		})
	}
}

// compare asks a random policy random questions and compares with the oracle.
func compare(t *testing.T, d random, count map[string]int) {
	m := d.model()
	text := m.yaml()
	p := mustParse(t, string(text))
	shown, hidden := withoutHidden(t, m)
	count["hidden"] += hidden
	for range 12 {
		visitor, asked := d.person(), d.request()
		if !d.one(6) {
			visitor = d.aim(pick(d, m.Rules...), visitor, &asked)
		}
		q := question(t, who(t, p, ""), asked.SourceURI, "")
		q.Asked = asked
		if visitor != nil {
			var err error
			if q.Caller, err = p.CallerOf(visitor.claims()); err != nil {
				t.Fatalf("%v\n%+v", err, visitor)
			}
		}
		want, got := m.judge(visitor, asked), verdictOf(decide(p, q))
		if got != want {
			claims, _ := json.Marshal(visitor)
			request, _ := json.Marshal(asked)
			t.Fatalf("got  %+v\nwant %+v\n%s\n%s\n%s", got, want, text, claims, request)
		}
		if again := verdictOf(decide(p, q)); again != got {
			t.Fatalf("the second time %+v, after %+v", again, got)
		}
		if without := verdictOf(decide(shown, q)); without != got {
			t.Fatalf("without the hidden rules %+v, with them %+v\n%s\n%v", without, got, text,
				warnings(t, string(text)))
		}
		explained(t, p.Explain(q), m, got)
		count["asked"]++
		count[cmp.Or(got.Code, "opened")]++
		for _, grant := range weboffice.Grants() {
			switch {
			case got.Code != "":
			case slices.Contains(strings.Fields(got.Grants), grant):
				count["gave "+grant]++
			default:
				count["withheld "+grant]++
			}
		}
	}
}

// withoutHidden is the policy without the rules that its warnings call hidden.
func withoutHidden(t *testing.T, m model) (*policy.Policy, int) {
	hidden := map[string]bool{}
	for _, warning := range warnings(t, string(m.yaml())) {
		if before, _, found := strings.Cut(warning, `" is hidden by `); found {
			_, rule, _ := strings.Cut(before, `rule "`)
			hidden[rule] = true
		}
	}
	m.Rules = slices.DeleteFunc(slices.Clone(m.Rules),
		func(r modelRule) bool { return hidden[r.Name] })
	return mustParse(t, string(m.yaml())), len(hidden)
}

// explained checks that an explanation names every rule up to the one that decided, and that one
// only.
func explained(t *testing.T, steps []policy.Step, m model, got verdict) {
	t.Helper()
	for i, step := range steps {
		if step.Rule != m.Rules[i].Name || step.Deny != m.Rules[i].Deny ||
			step.Decides != (step.Why == "") || step.Decides && i != len(steps)-1 {
			t.Fatalf("step %d of %+v", i, steps)
		}
	}
	last := steps[len(steps)-1]
	if got.Rule != "" && (!last.Decides || last.Rule != got.Rule) || !last.Decides &&
		len(steps) != len(m.Rules) {
		t.Fatalf("%+v explains %+v", steps, got)
	}
}
