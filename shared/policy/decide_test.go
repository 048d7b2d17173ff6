package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// TestDecisions holds Decide to testdata/decisions.txt, which says how to read it.
func TestDecisions(t *testing.T) {
	always := map[string]string{"staff": `"sub": "ann"`, "partners": `"sub": "x", "oid": "x"`,
		"links": `"jti": "any"`}
	all := `{"Permission": {"Rename": true, "History": true, "Copy": true, "Export": true, "Print": true}}`
	for _, c := range cases(t, "testdata/decisions.txt") {
		rows := strings.Split(strings.TrimSpace(c.lines), "\n? ")
		p := rules(t, "  "+rows[0]+"\n")
		for _, row := range rows[1:] {
			column := strings.Split(strings.Join(strings.Fields(row), " ")+" | {}", " | ")
			open, ask, _ := strings.Cut(column[2], " ")
			if !strings.HasPrefix(open, "oss://") {
				open = "oss://team-docs/" + open
			}
			as := ""
			if issuer, claims, some := strings.Cut(column[1], " "); issuer != "anyone" {
				if as = fmt.Sprintf(`{"issuer": %q, %s`, issuer, always[issuer]); some {
					as += ", " + claims
				}
				as += "}"
			}
			t.Run(c.name+"/"+column[0], func(t *testing.T) {
				q := question(t, who(t, p, as), open, strings.Replace(ask, "ALL", all, 1))
				d, err := decide(p, q)
				if wrong := unlike(d, err, column[3], column[4]); wrong != "" {
					t.Errorf("%s, want %s\n%+v\n%+v", wrong, column[3:], p.Explain(q), err)
				}
			})
		}
	}
}

// unlike says in what a decision is not as wanted: the rule and its grants, or the code of a
// refusal and what the log says of it; sent are parameters for IMM.
func unlike(d policy.Decision, err error, want, sent string) string {
	if err != nil {
		public, said := weboffice.AsError(err), fmt.Sprint(weboffice.AsError(err).Cause, d.Steps)
		code, why, _ := strings.Cut(want, ": ")
		if public.Code != code || !strings.Contains(said, why) || strings.Contains(said, "Ann") ||
			public.Message == "" {
			return public.Code + ": " + said
		}
		return ""
	}
	if got := d.Rule + ": " + strings.Join(d.Request.Permission.Grants(), " "); got != want {
		return got
	}
	var wanted, got map[string]any
	text, _ := json.Marshal(d.Request)
	if err := json.Unmarshal([]byte(sent), &wanted); err != nil {
		return err.Error()
	}
	_ = json.Unmarshal(text, &got)
	if password := d.Request.Password.Reveal(); password != "" { // has no JSON form
		got["Password"] = password
	}
	for name, value := range wanted {
		if !reflect.DeepEqual(got[name], value) {
			return fmt.Sprintf("%s is %v", name, got[name])
		}
	}
	return ""
}

// columns divides the lines of a file at their bars.
func columns(t *testing.T, file string) (all [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	letters := strings.NewReplacer(`\u00e9`, "\u00e9", `\u0301`, "\u0301")
	for line := range strings.Lines(letters.Replace(string(text))) {
		// an empty last column ends in its bar
		column := strings.Split(strings.TrimSpace(line)+" ", " | ")
		if len(column) > 1 && line[0] != '#' {
			all = append(all, column)
		}
	}
	return all
}

// TestPatterns holds patterns to testdata/patterns.txt, which says how to read it.
func TestPatterns(t *testing.T) {
	for _, column := range columns(t, "testdata/patterns.txt") {
		pattern := column[0]
		matches := func(bucket, key string) bool {
			matched, err := policy.Match("oss://team-docs/"+pattern, "oss://"+bucket+"/"+key)
			if err != nil {
				t.Fatal(err)
			}
			return matched
		}
		for _, key := range strings.Fields(column[1]) {
			if !matches("team-docs", key) {
				t.Errorf("%s does not match %s", pattern, key)
			}
			if matches("team-docs2", key) || matches("eam-docs", key) {
				t.Errorf("%s matches %s in another bucket", pattern, key)
			}
		}
		for _, key := range strings.Fields(column[2]) {
			if matches("team-docs", key) {
				t.Errorf("%s matches %s", pattern, key)
			}
		}
	}
}

func staff(claims string) string { return `{"issuer": "staff", "sub": "ann", ` + claims + `}` }

// A claim that holds a pattern opens the segment of that very name, and nothing else.
func TestClaimOpensExactlyItsOwnSegment(t *testing.T) {
	p := rules(t, `
  - {name: teams, documents: 'oss://team-docs/teams/${team}/**', callers: {issuer: staff}, grant: [view]}
`)
	segments := []string{"red", "blue", "r", "red/plans", "{red,blue}", "re[d", "r*", "**", ".*",
		"(i)red", "red|blue", "RED", "$1", "caf\u00e9", "cafe\u0301"}
	for _, claim := range append([]string{"{red", "r?d", "re[d]", "[", "*", "red*", "*/*", "**/**",
		"(?i)red", "red/", "/red", "..", "../red", ".", "", "r%65d", `r\ed`, "${team}", "red\x00",
		"red ", " red", "\\Qred\\E", "red\n"}, segments...) {
		text, _ := json.Marshal(claim)
		caller := who(t, p, staff(`"team": `+string(text)))
		for _, segment := range segments {
			uri := "oss://team-docs/teams/" + segment + "/plan.docx"
			_, err := decide(p, question(t, caller, uri, ""))
			folder, _, _ := strings.Cut(segment, "/")
			if opens := claim == folder; (err == nil) != opens ||
				!opens && weboffice.AsError(err).Code != "Forbidden" {
				t.Errorf("the claim %q at %s: %v", claim, segment, err)
			}
		}
	}
}

// TestConditions holds conditions to testdata/conditions.txt, which says how to read it.
func TestConditions(t *testing.T) {
	text, names, claims := "", []string{}, [][]string{}
	for _, column := range columns(t, "testdata/conditions.txt") {
		if name, isCondition := strings.CutPrefix(column[0], "condition "); isCondition {
			names = append(names, name)
			text += fmt.Sprintf("  - {name: %s, documents: oss://team-docs/%[1]s/*, callers:"+
				" {issuer: staff, claims: {role: %s}}, grant: [view]}\n", name, column[1])
		} else {
			claims = append(claims, column)
		}
	}
	p := rules(t, text)
	for _, column := range claims {
		as, holds := who(t, p, staff(`"role": `+column[0])), strings.Fields(column[1])
		for _, rule := range names {
			_, err := decide(p, question(t, as, "oss://team-docs/"+rule+"/x.docx", ""))
			if want := slices.Contains(holds, rule); (err == nil) != want {
				t.Errorf("the claim %s at the condition %s: opens %v, want %v", column[0], rule,
					err == nil, want)
			}
		}
	}
}

func TestDeniedAndUnknownDocumentsAnswerAlike(t *testing.T) {
	p := rules(t, `
  - {name: closed, documents: oss://team-docs/pay/**, callers: {issuer: staff}, deny: true}
  - {name: open, documents: oss://team-docs/x.docx, callers: {issuer: staff}, grant: [view]}
`)
	for _, as := range []string{"", staff(`"x": 1`)} {
		var answers []string
		for _, uri := range []string{"oss://team-docs/pay/2026.xlsx",
			"oss://team-docs/pay/no-such.xlsx", "oss://team-docs/other.docx",
			"oss://no-such-bucket/x.docx"} {
			_, err := decide(p, question(t, who(t, p, as), uri, ""))
			public := weboffice.AsError(err)
			answers = append(answers, fmt.Sprint(public.Kind, public.Code, public.Message,
				public.Recommend))
		}
		for _, answer := range answers[1:] {
			if answer != answers[0] {
				t.Errorf("%q differs from %q", answer, answers[0])
			}
		}
	}
	decided(t, p, staff(`"x": 1`), "oss://team-docs/x.docx", "")
}

func TestParametersOnlyThePolicyMaySet(t *testing.T) {
	p := rules(t, `
  - {name: plain, documents: oss://team-docs/plain/*, callers: anyone, grant: [view, edit]}
  - name: servers
    documents: oss://team-docs/servers/*
    callers: {issuer: staff}
    grant: [view, edit]
    accept: [ProjectName, CachePreview, Referer, UserData, ExternalUploaded, NotifyTopicName, User, Watermark,
      CredentialConfig, Notification]
`)
	values := map[string]string{"Filename": `"x.docx"`, "Password": `"x"`, "Permission": `{}`,
		"Hidecmb": `true`, "PreviewPages": `1`}
	others := map[string]string{
		"ProjectName": `"other"`, "CachePreview": `true`, "Referer": `"https://docs.example.com"`,
		"UserData": `"x"`, "ExternalUploaded": `true`, "NotifyTopicName": `"topic"`,
		"User": `{"Id": "boss"}`, "Watermark": `{"Type": 0}`,
		"CredentialConfig": `{"ServiceRole": "r"}`, "Notification": `{"MNS": {"TopicName": "t"}}`,
	}
	for _, name := range weboffice.ParameterNames()[2:] {
		if value, may := values[name]; may {
			decided(t, p, "", "oss://team-docs/plain/x.docx", `{"`+name+`": `+value+`}`)
			continue
		}
		ask := `{"` + name + `": ` + others[name] + `}`
		_, err := decide(p, question(t, caller.Caller{}, "oss://team-docs/plain/x.docx", ask))
		public := weboffice.AsError(err)
		if public.Kind != weboffice.Forbidden || public.Code != "Forbidden."+name ||
			!strings.Contains(public.Recommend, "Permission, Hidecmb, PreviewPages") {
			t.Errorf("%s: got %+v", ask, public)
		}
		decided(t, p, staff(`"x": 1`), "oss://team-docs/servers/x.docx", ask)
	}
}

// Whoever may choose a name must not choose what the JSON around it says.
func TestClaimThatWouldEndTheJSONAroundIt(t *testing.T) {
	p := rules(t, `
  - name: r
    documents: oss://docs/*
    callers: {issuer: staff}
    grant: [view]
    set:
      UserData: '{"name":"${name}","of":["${document.key}"],"inner":"{\"name\":\"${name}\"}"}'
      Watermark: {Value: 'by "${name}"'}
      CredentialConfig: {Policy: '{"n":1e999,"name":"${name}","of":["${document.key}"]}'}
`)
	for _, name := range []string{`x","role":"admin`, `x\","role":"admin`, "Ann", `"`, "<&>",
		`"},{\ \n`} {
		text, _ := json.Marshal(name)
		key := `x"}],"y":[{"` + "z.docx"
		d := decided(t, p, staff(`"name": `+string(text)), "oss://docs/"+key, "")
		again := decided(t, p, staff(`"name": `+string(text)), "oss://docs/"+key, "")
		if d.Request.Watermark == again.Request.Watermark {
			t.Error("two decisions share a structure")
		}
		read := func(text string, members int) map[string]any {
			var object map[string]any
			decoder := json.NewDecoder(strings.NewReader(text))
			decoder.UseNumber()
			if err := decoder.Decode(&object); err != nil || len(object) != members ||
				object["name"] != name {
				t.Errorf("%s became %s: %v", name, text, err)
			}
			return object
		}
		outer := read(d.Request.UserData, 3)
		read(fmt.Sprint(outer["inner"]), 1)
		policy := read(d.Request.CredentialConfig.Policy, 3)
		if want := []any{key}; !reflect.DeepEqual(outer["of"], want) ||
			!reflect.DeepEqual(policy["of"], want) {
			t.Errorf("the key became %v and %v", outer["of"], policy["of"])
		}
		if d.Request.Watermark.Value != `by "`+name+`"` {
			t.Errorf("%s became %s, which is not JSON", name, d.Request.Watermark.Value)
		}
	}
}

func TestSessionEnd(t *testing.T) {
	p := rules(t, `
  - {name: eight, documents: oss://team-docs/eight/*, callers: anyone, grant: [view], session: 8h}
  - {name: default, documents: oss://team-docs/default/*, callers: anyone, grant: [view]}
`)
	for folder, want := range map[string]time.Duration{"eight": 8 * time.Hour,
		"default": policy.DefaultSession} {
		d := decided(t, p, "", "oss://team-docs/"+folder+"/x.docx", "")
		if d.End != start.Add(want) {
			t.Errorf("%s: ends %v after the start", folder, d.End.Sub(start))
		}
		q := question(t, caller.Caller{}, "oss://team-docs/"+folder+"/x.docx", "")
		if _, err := p.Decide(q, d.End.Add(-time.Nanosecond)); err != nil {
			t.Errorf("%s: just before its end: %v", folder, err)
		}
		ended, err := p.Decide(q, d.End)
		if weboffice.AsError(err).Kind != weboffice.SessionEnded || ended.Rule != folder ||
			len(ended.Steps) != 1 || ended.Request.User != nil {
			t.Errorf("%s: at its end: %+v, %v", folder, ended, err)
		}
	}
}

func TestExplainStopsAtTheRuleThatDecides(t *testing.T) {
	p := rules(t, `
  - {name: a, documents: oss://team-docs/a/*, callers: anyone, grant: [view]}
  - {name: b, documents: oss://team-docs/**, callers: {issuer: partners}, grant: [view]}
  - {name: c, documents: oss://team-docs/**, callers: {issuer: staff, claims: {role: editor}}, grant: [view]}
  - {name: d, documents: 'oss://team-docs/${team}/*', callers: {issuer: staff}, grant: [view]}
  - {name: e, documents: oss://team-docs/**, callers: {issuer: staff}, deny: true}
  - {name: f, documents: oss://team-docs/**, callers: {issuer: staff}, grant: [view]}
`)
	got := p.Explain(question(t, who(t, p, staff(`"role": "viewer", "team": "red"`)),
		"oss://team-docs/b/x.docx", ""))
	want := []policy.Step{
		{Rule: "a", Why: "the documents do not match"},
		{Rule: "b", Why: "the caller is not of this issuer"},
		{Rule: "c", Why: "the claim role does not hold"},
		{Rule: "d", Why: "the segment ${team} is not the caller's"},
		{Rule: "e", Decides: true, Deny: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	links := p.Explain(question(t, who(t, p,
		`{"issuer": "links", "documents": "oss://team-docs/**", "grant": ["view"]}`),
		"oss://team-docs/a/x.docx", ""))
	if len(links) != 6 || links[0].Why != "a share link is decided by rules for links alone" {
		t.Errorf("got %+v", links)
	}
}

func TestWhatAPolicySaysOfItself(t *testing.T) {
	p := mustParse(t, `
project: test-project
origins: [https://docs.example.com, "http://127.0.0.1:8080"]
quickStart: true
limits: {anyone: 3/s, caller: 1000/h, total: 5000/h}
issuers:
  b: {url: urn:b, audience: [weboffice, app], audienceClaim: azp, keys: https://b.example/jwks}
  a: {url: "http://127.0.0.1:9000/a", audience: x, maxAge: 30m, trustEmail: true, user: {id: oid}}
revokedLinks: [one, two]
rules:
  - {name: l, documents: oss://team-docs/*, callers: [{issuer: a}, {issuer: links}], grant: [view]}
`)
	wantLimits := policy.Limits{Anyone: policy.Rate{Events: 3, Per: time.Second},
		Caller: policy.Rate{Events: 1000, Per: time.Hour},
		Total:  policy.Rate{Events: 5000, Per: time.Hour}}
	wantIssuers := []caller.Issuer{
		{Name: "a", URL: "http://127.0.0.1:9000/a", Audience: []string{"x"}, MaxAge: 30 * time.Minute,
			TrustEmail: true, User: caller.UserClaims{ID: "oid"}},
		{Name: "b", URL: "urn:b", Audience: []string{"weboffice", "app"}, AudienceClaim: "azp",
			Keys: "https://b.example/jwks", MaxAge: 24 * time.Hour},
	}
	if p.Limits() != wantLimits || !reflect.DeepEqual(p.Issuers(), wantIssuers) ||
		!p.QuickStart() || !p.UsesLinks() || p.Rules() != 1 ||
		!reflect.DeepEqual(p.Origins(), []string{"https://docs.example.com",
			"http://127.0.0.1:8080"}) ||
		!reflect.DeepEqual(p.RevokedLinks(), []string{"one", "two"}) {
		t.Errorf("got %+v", p)
	}
	p.Origins()[0], p.RevokedLinks()[0], p.Issuers()[0].URL = "https://evil.example", "three",
		"https://evil.example"
	if p.Origins()[0] != "https://docs.example.com" || p.RevokedLinks()[0] != "one" ||
		p.Issuers()[0].URL != wantIssuers[0].URL {
		t.Error("a caller changed the policy")
	}
	projects, err := policy.Parse([]byte(`rules:
  - {name: a, project: of-rule, documents: oss://b-1/a/*, callers: anyone, grant: [view]}
  - {name: b, set: {ProjectName: of-set}, documents: oss://b-2/b/*, callers: anyone, grant: [view]}
  - {name: c, documents: oss://b-1/c/*, callers: anyone, grant: [view]}
`), policy.Options{Project: "of-options"})
	got := fmt.Sprintln(projects.Projects(), projects.Buckets(), projects.Project())
	opened := decided(t, projects, "", "oss://b-1/c/x.docx", "").Request.ProjectName
	if err != nil || got != "[of-rule of-set of-options] [b-1 b-2] of-options\n" ||
		opened != "of-options" {
		t.Errorf("%v: %s", err, got)
	}
	plain := mustParse(t, "limits: {anyone: 1/m}\n")
	if plain.Limits().Caller != (policy.Rate{Events: 60, Per: time.Minute}) || plain.UsesLinks() ||
		plain.QuickStart() {
		t.Errorf("the defaults: %+v", plain)
	}
}
