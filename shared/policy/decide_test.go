package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// TestDecisions holds Decide to testdata/decisions.txt, which says how to read it.
func TestDecisions(t *testing.T) {
	text, err := os.ReadFile("testdata/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	always := map[string]string{"staff": `"sub": "ann"`, "partners": `"sub": "x", "oid": "x"`,
		"links": `"jti": "any"`}
	all := `{"Permission": {"Rename": true, "History": true, "Copy": true, "Export": true, "Print": true}}`
	for _, part := range strings.Split(string(text), "\n-- ")[1:] {
		title, lines, _ := strings.Cut(part, "\n")
		rows := strings.Split(strings.TrimSpace(lines), "\n? ")
		t.Run(title, func(t *testing.T) {
			p := rules(t, "  "+rows[0]+"\n")
			var table []visit
			for _, row := range rows[1:] {
				column := strings.Split(strings.Join(strings.Fields(row), " "), " | ")
				open, ask, _ := strings.Cut(column[2], " ")
				v := visit{name: column[0], open: open, ask: strings.Replace(ask, "ALL", all, 1),
					want: column[3]}
				issuer, claims, some := strings.Cut(column[1], " ")
				if some {
					claims = ", " + claims
				}
				if issuer != "anyone" {
					v.as = fmt.Sprintf(`{"issuer": %q, %s%s}`, issuer, always[issuer], claims)
				}
				if !strings.HasPrefix(open, "oss://") {
					v.open = "oss://team-docs/" + open
				}
				table = append(table, v)
			}
			visits(t, p, table)
		})
	}
}

func TestPatterns(t *testing.T) {
	for pattern, keys := range map[string]struct{ open, closed []string }{
		"plan.docx": {[]string{"plan.docx"}, []string{"Plan.docx", "plan.doc", "a/plan.docx",
			"plan.docx/plan.docx", "planXdocx"}},
		"*.docx": {[]string{"a.docx", ".docx", "a b.docx", "ä.docx"},
			[]string{"a/b.docx", "a.DOCX", "a.docx.docm"}},
		"a*c/*.docx": {[]string{"ac/x.docx", "abc/x.docx", "a c/x.docx"},
			[]string{"abd/x.docx", "a/c/x.docx", "abc/d/x.docx", "abc.docx"}},
		"dir/*": {[]string{"dir/x.docx"},
			[]string{"dir.docx", "dir/a/x.docx", "dirx/x.docx"}},
		"dir/**": {[]string{"dir/x.docx", "dir/a/b/c.docx"},
			[]string{"dir.docx", "dirx/x.docx", "x/dir/x.docx", "Dir/x.docx"}},
		"dir.docx/**": {[]string{"dir.docx/x.docx"}, []string{"dir.docx"}},
		"**":          {[]string{"x.docx", "a/x.docx", "a/b/x.docx"}, nil},
		"**/x.docx": {[]string{"a/x.docx", "a/b/x.docx"},
			[]string{"x.docx", "a/ax.docx", "a/x.docx/x.docm"}},
		"a/**/b/*.docx": {[]string{"a/x/b/1.docx", "a/x/y/b/1.docx", "a/b/b/1.docx"},
			[]string{"a/b/1.docx", "a/x/b/c/1.docx", "a/xb/1.docx"}},
		"**/a/**": {[]string{"x/a/y.docx", "x/y/a/b/z.docx"},
			[]string{"a/y.docx", "x/a.docx", "x/ab/y.docx"}},
		"team-a/**": {[]string{"team-a/x.docx"}, []string{"team-ab/x.docx", "team-a.docx",
			"team-/a/x.docx"}},
		"a.b+c(d)^$.xls": {[]string{"a.b+c(d)^$.xls"}, []string{"aXb+c(d)^$.xls", "a.bbc(d)^$.xls",
			"a.b+cd^$.xls"}},
		"[ab]{c,d}|e.xls": {
			[]string{"[ab]{c,d}|e.xls"}, []string{"ac.xls", "[ab]{c,d}", "e.xls", "bd|e.xls"},
		},
	} {
		p := rules(t, fmt.Sprintf("  - {name: r, documents: %q, callers: anyone, grant: [view]}\n",
			"oss://team-docs/"+pattern))
		opens := func(uri string) bool {
			_, err := decide(p, question(t, caller.Caller{}, uri, `{"Filename": "x.docx"}`))
			if err != nil && weboffice.AsError(err).Kind != weboffice.Unauthenticated {
				t.Errorf("%s: %s: %v", pattern, uri, err)
			}
			return err == nil
		}
		for _, key := range keys.open {
			if !opens("oss://team-docs/" + key) {
				t.Errorf("%s does not match %s", pattern, key)
			}
			if opens("oss://team-docs2/"+key) || opens("oss://eam-docs/"+key) {
				t.Errorf("%s matches %s in another bucket", pattern, key)
			}
		}
		for _, key := range keys.closed {
			if opens("oss://team-docs/" + key) {
				t.Errorf("%s matches %s", pattern, key)
			}
		}
	}
}

// teams is a policy in which a document's segment is a claim.
func teams(t testing.TB) *policy.Policy {
	return rules(t, `
  - name: teams
    documents: oss://team-docs/teams/${team}/**
    callers: {issuer: staff}
    grant: [view]
`)
}

func staff(claims string) string { return `{"issuer": "staff", "sub": "ann", ` + claims + `}` }

func TestClaimThatHoldsAPatternOpensNothingElse(t *testing.T) {
	p := teams(t)
	for _, claim := range []string{
		"{red,blue}", "{red", "r?d", "re[d]", "re[d", "[", "*", "**", "r*", "red*", "*/*", "**/**",
		".*", "(?i)red", "red|blue", "red/", "/red", "red/plans",
		"..", "../red", ".", "", "r%65d", `r\ed`, "${team}", "red\x00", "red ", " red", "RED",
		"\\Qred\\E", "red\n",
	} {
		as := staff(fmt.Sprintf(`"team": %q`, claim))
		if strings.ContainsAny(claim, "\x00") {
			as = staff(`"team": "red\u0000"`)
		}
		for _, segment := range []string{"red", "blue", "r", "red/plans"} {
			_, err := decide(p, question(t, who(t, p, as), "oss://team-docs/teams/"+segment+
				"/plan.docx", ""))
			if got := weboffice.AsError(err).Code; got != "Forbidden" {
				t.Errorf("the claim %q at %s: got %s", claim, segment, got)
			}
		}
	}
}

func TestClaimOpensExactlyItsOwnSegment(t *testing.T) {
	p := teams(t)
	for _, claim := range []string{"red", "{red,blue}", "re[d", "r*", "**", ".*", "(i)red",
		"red|blue", "RED", "$1", "rød"} {
		as := staff(fmt.Sprintf(`"team": %q`, claim))
		d := decided(t, p, as, "oss://team-docs/teams/"+claim+"/a/plan.docx", "")
		if d.Rule != "teams" {
			t.Errorf("%q: got %s", claim, d.Rule)
		}
		if _, err := decide(p, question(t, who(t, p, as), "oss://team-docs/teams/"+claim+
			"x/a/plan.docx", "")); err == nil {
			t.Errorf("%q opens %sx", claim, claim)
		}
	}
}

func TestUnicodeFormsAreDifferentDocuments(t *testing.T) {
	const composed, decomposed = "caf\u00e9", "cafe\u0301"
	for pattern, other := range map[string]string{composed: decomposed, decomposed: composed} {
		p := rules(t, "  - {name: r, documents: 'oss://team-docs/"+pattern+
			"/*', callers: anyone, grant: [view]}\n")
		visits(t, p, []visit{
			{"the same form", "", "oss://team-docs/" + pattern + "/x.docx", "", "r: view"},
			{"the other form", "", "oss://team-docs/" + other + "/x.docx", "", "Unauthenticated"},
		})
		visits(t, teams(t), []visit{
			{"a claim in the same form", staff(`"team": "` + pattern + `"`),
				"oss://team-docs/teams/" + pattern + "/x.docx", "", "teams: view"},
			{"a claim in the other form", staff(`"team": "` + other + `"`),
				"oss://team-docs/teams/" + pattern + "/x.docx", "", "Forbidden"},
		})
	}
}

// conditions is a policy with a rule for each kind of condition, told apart by folders.
func conditions(t testing.TB) *policy.Policy {
	return rules(t, `
  - {name: text, documents: oss://team-docs/text/*, callers: {issuer: staff, claims: {role: editor}},
     grant: [view]}
  - {name: star, documents: oss://team-docs/star/*, callers: {issuer: staff, claims: {role: "ed*or"}},
     grant: [view]}
  - {name: any, documents: oss://team-docs/any/*, callers: {issuer: staff, claims: {role: "*"}},
     grant: [view]}
  - {name: list, documents: oss://team-docs/list/*, callers: {issuer: staff, claims: {role: [editor,
     "lead-*"]}}, grant: [view]}
  - {name: bool, documents: oss://team-docs/bool/*, callers: {issuer: staff, claims: {role: true}},
     grant: [view]}
  - {name: number, documents: oss://team-docs/number/*, callers: {issuer: staff, claims: {role: [7, -1]}},
     grant: [view]}
  - {name: mixed, documents: oss://team-docs/mixed/*, callers: {issuer: staff, claims: {role: [7, true,
     editor]}}, grant: [view]}
  - {name: both, documents: oss://team-docs/both/*, callers: {issuer: staff, claims: {role: editor,
     level: 2}}, grant: [view]}
`)
}

func TestConditions(t *testing.T) {
	p := conditions(t)
	for claim, holds := range map[string]string{
		`"editor"`:             "text star any list mixed",
		`"edxor"`:              "star any",
		`"edor"`:               "star any",
		`"ed/or"`:              "star any",
		`"lead-"`:              "any list",
		`"lead-of-all"`:        "any list",
		`"Editor"`:             "any",
		`"editor "`:            "any",
		`""`:                   "any",
		`"*"`:                  "any",
		`"true"`:               "any",
		`"7"`:                  "any number mixed",
		`["x", "editor"]`:      "text star any list mixed",
		`["x", "lead-1"]`:      "any list",
		`[]`:                   "",
		`["editor", 7]`:        "text star any list number mixed",
		`["editor", null]`:     "text star any list mixed",
		`[["editor"]]`:         "",
		`{"editor": {"a": 1}}`: "text star any list mixed",
		`{"editor": false}`:    "",
		`{"role": "editor"}`:   "any",
		`true`:                 "bool mixed",
		`false`:                "",
		`7`:                    "any number mixed",
		`7.0`:                  "any number mixed",
		`70e-1`:                "any number mixed",
		`-1`:                   "any number",
		`7.5`:                  "",
		`8`:                    "any",
		`null`:                 "",
	} {
		as := staff(`"role": ` + claim)
		for _, rule := range strings.Fields("text star any list bool number mixed both") {
			_, err := decide(p, question(t, who(t, p, as), "oss://team-docs/"+rule+"/x.docx", ""))
			if want := strings.Contains(" "+holds+" ", " "+rule+" "); (err == nil) != want {
				t.Errorf("the claim %s at the condition %s: opens %v, want %v", claim, rule,
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

func TestShareLinkIsHeldToItsDocumentAndGrants(t *testing.T) {
	p := rules(t, `
  - {name: closed, documents: oss://team-docs/closed/**, callers: anyone, deny: true}
  - {name: no staff, documents: oss://team-docs/staffless/**, callers: {issuer: staff}, deny: true}
  - {name: links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view, edit, copy, print]}
  - {name: handbook, documents: oss://team-docs/handbook/**, callers: anyone, grant: [view, edit, rename,
     history, copy, print, export]}
  - {name: elsewhere, documents: oss://other-docs/**, callers: anyone, grant: [view]}
`)
	link := func(document, grant string) string {
		claim := "document"
		if strings.Contains(document, "*") {
			claim = "documents"
		}
		return fmt.Sprintf(`{"issuer": "links", %q: %q, "grant": [%s]}`, claim, document, grant)
	}
	const a, view = "oss://team-docs/handbook/a.docx", `"view"`
	if got := decided(t, p, link(a, view), a, "").Request.User; *got != guest {
		t.Errorf("a link without sub: %+v, want the guest", got)
	}
	named := decided(t, p, `{"issuer": "links", "name": "Ann\u202e", "document": "`+a+
		`", "grant": ["view"]}`, a, "").Request.User
	if *named != (weboffice.User{Id: guest.Id, Name: "Ann"}) {
		t.Errorf("a link with a name alone: %+v", named)
	}
	person := decided(t, p, `{"issuer": "links", "sub": "ann", "name": "Ann", "document": "`+a+
		`", "grant": ["view"]}`, a, "").Request.User
	if *person != (weboffice.User{Id: weboffice.UserID(salt, "links", "ann"), Name: "Ann"}) {
		t.Errorf("a link with sub: %+v", person)
	}
}

func TestParametersOnlyThePolicyMaySet(t *testing.T) {
	p := rules(t, `
  - {name: plain, documents: oss://team-docs/plain/*, callers: anyone, grant: [view, edit]}
  - {name: fixed, documents: oss://team-docs/fixed/*, callers: anyone, grant: [view], set: {Hidecmb: true,
     Filename: shown.docx, PreviewPages: 20, Password: secret}}
  - name: servers
    documents: oss://team-docs/servers/*
    callers: {issuer: staff}
    grant: [view, edit]
    accept: [ProjectName, CachePreview, Referer, UserData, ExternalUploaded, NotifyTopicName, User, Watermark,
      CredentialConfig, Notification]
    set: {Referer: "https://docs.example.com"}
`)
	others := map[string]string{
		"ProjectName": `"other"`, "CachePreview": `true`, "Referer": `"https://docs.example.com"`,
		"UserData": `"x"`, "ExternalUploaded": `true`,
		"NotifyTopicName": `"topic"`, "User": `{"Id": "boss"}`, "Watermark": `{"Type": 0}`,
		"CredentialConfig": `{"ServiceRole": "r"}`,
		"Notification":     `{"MNS": {"TopicName": "t"}}`,
	}
	may := map[string]string{"Filename": `"x.docx"`, "Password": `"x"`, "Permission": `{}`,
		"Hidecmb": `true`, "PreviewPages": `1`}
	for _, name := range weboffice.ParameterNames() {
		if name == "SourceURI" {
			continue
		}
		if value, ok := may[name]; ok {
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
	const fixed, servers = "oss://team-docs/fixed/x.docx", "oss://team-docs/servers/x.docx"
	if d := decided(t, p, "", fixed, ""); *d.Request.PreviewPages != 20 || !*d.Request.Hidecmb ||
		d.Request.Filename != "shown.docx" || d.Request.Password != "secret" {
		t.Errorf("set gave %+v", d.Request)
	}
	if d := decided(t, p, "", fixed, `{"PreviewPages": 5}`); *d.Request.PreviewPages != 5 {
		t.Errorf("PreviewPages %d, want 5", *d.Request.PreviewPages)
	}
	d := decided(t, p, staff(`"x": 1`), servers,
		`{"ProjectName": "other", "User": {"Id": "boss", "Name": "Boss\u0007"}, "CachePreview": true}`)
	if d.Request.ProjectName != "other" ||
		*d.Request.User != (weboffice.User{Id: "boss", Name: "Boss"}) ||
		!d.Request.Permission.Readonly {
		t.Errorf("accepted parameters gave %+v %+v", d.Request, d.Request.User)
	}
	d = decided(t, p, staff(`"name": "Ann"`), servers, `{"User": {"Name": "Ann of Sales"}}`)
	if *d.Request.User != (weboffice.User{Id: weboffice.UserID(salt, "https://login.example.com",
		"ann"), Name: "Ann of Sales"}) {
		t.Errorf("a part of User gave %+v", d.Request.User)
	}
}

func TestHidecmbOnlyInPreviews(t *testing.T) {
	p := rules(t, "  - {name: r, documents: oss://team-docs/*, callers: anyone,"+
		" grant: [view, edit], set: {Hidecmb: true}}\n")
	if d := decided(t, p, "", "oss://team-docs/x.docx", ""); d.Request.Hidecmb != nil {
		t.Error("Hidecmb while editing")
	}
	if d := decided(t, p, "", "oss://team-docs/x.docx",
		`{"Permission": {"Readonly": true}}`); d.Request.Hidecmb == nil || !*d.Request.Hidecmb {
		t.Error("no Hidecmb in a preview")
	}
}

func TestSetIsFilledFromClaims(t *testing.T) {
	p := rules(t, `
  - name: r
    documents: oss://team-docs/*
    callers: [{issuer: staff}, {issuer: links}]
    grant: [view, edit]
    set:
      Watermark: {Type: 1, Value: "${name} · ${email} · ${document.bucket}/${document.key}", Rotate: -0.5,
        Horizontal: 50}
      UserData: "{\"team\": \"${team}\"}"
      User: {Name: "${name} (${team})"}
      CredentialConfig: {Chain: [{Role: fixed}, {Role: "role-${team}", AssumeRoleFor: "${team}"}]}
`)
	full := `"name": "Ann", "email": "ann@example.com", "email_verified": true, "team": "red"`
	d := decided(t, p, staff(full), "oss://team-docs/a b.docx", "")
	want := weboffice.Watermark{
		Type: new(int64(1)), Value: "Ann · ann@example.com · team-docs/a b.docx", Rotate: new(-0.5),
		Horizontal: new(int64(50)),
	}
	if !reflect.DeepEqual(*d.Request.Watermark, want) || d.Request.UserData != `{"team": "red"}` ||
		d.Request.User.Name != "Ann (red)" || !reflect.DeepEqual(d.Request.CredentialConfig.Chain,
		[]weboffice.CredentialConfigChain{{Role: "fixed"}, {Role: "role-red", AssumeRoleFor: "red"}}) {
		t.Errorf("got %+v %s %+v", d.Request.Watermark, d.Request.UserData, d.Request.User)
	}
	again := decided(t, p, strings.Replace(staff(full), "Ann", "${email}", 1),
		"oss://team-docs/a b.docx", "")
	if got := again.Request.Watermark.Value; !strings.HasPrefix(got, "${email} · ann@example.com") {
		t.Errorf("a claim was filled in twice: %s", got)
	}
	for name, claims := range map[string]string{
		"missing":         `"name": "Ann", "email": "ann@example.com", "email_verified": true`,
		"null":            strings.Replace(full, `"red"`, `null`, 1),
		"half a number":   strings.Replace(full, `"red"`, `5.5`, 1),
		"a list":          strings.Replace(full, `"red"`, `["red"]`, 1),
		"blank":           strings.Replace(full, `"red"`, `" \u00a0"`, 1),
		"empty":           strings.Replace(full, `"red"`, `""`, 1),
		"a Hangul filler": strings.Replace(full, `"red"`, `"\u3164\uffa0\u115f"`, 1),
		"blank Braille":   strings.Replace(full, `"red"`, `"\u2800 \u034f\ufe0f"`, 1),
		"invisible":       strings.Replace(full, `"red"`, `"\u200b\u0007"`, 1),
		"a bell":          strings.Replace(full, `"Ann"`, `"Ann\u0007"`, 1),
		"unverified mail": strings.Replace(full, `true`, `false`, 1),
		"quoted mail":     strings.Replace(full, `ann@example.com`, `\"ann\"@example.com`, 1),
		"too long":        strings.Replace(full, `"Ann"`, `"`+strings.Repeat("x", 1100)+`"`, 1),
	} {
		_, err := decide(p, question(t, who(t, p, staff(claims)), "oss://team-docs/x.docx", ""))
		if public := weboffice.AsError(err); public.Code != "Forbidden" || public.Fix == "" ||
			public.Cause == nil {
			t.Errorf("%s: got %+v", name, public)
		} else if strings.Contains(public.Cause.Error(), "red") ||
			strings.Contains(public.Cause.Error(), "Ann") {
			t.Errorf("%s: a claim's value in %v", name, public.Cause)
		}
	}
	if first, second := decided(t, p, staff(full), "oss://team-docs/x.docx", ""),
		decided(t, p, staff(full), "oss://team-docs/x.docx",
			""); first.Request.Watermark == second.Request.Watermark ||
		&first.Request.CredentialConfig.Chain[0] == &second.Request.CredentialConfig.Chain[0] {
		t.Error("two decisions share a structure")
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
`)
	for _, name := range []string{`x","role":"admin`, `x\","role":"admin`, "Ann", `"`, "<&>"} {
		text, _ := json.Marshal(name)
		d := decided(t, p, staff(`"name": `+string(text)), "oss://docs/a.docx", "")
		var outer, inner map[string]any
		if err := json.Unmarshal([]byte(d.Request.UserData), &outer); err != nil {
			t.Fatalf("%v: %s", err, d.Request.UserData)
		}
		if err := json.Unmarshal([]byte(fmt.Sprint(outer["inner"])), &inner); err != nil {
			t.Fatalf("%v: %s", err, outer["inner"])
		}
		if len(outer) != 3 || outer["name"] != name || len(inner) != 1 || inner["name"] != name {
			t.Errorf("%s became %v and %v", name, outer, inner)
		}
		if d.Request.Watermark.Value != `by "`+name+`"` {
			t.Errorf("%s became %s, which is not JSON", name, d.Request.Watermark.Value)
		}
	}
}

func TestUnverifiedAddressIsExplained(t *testing.T) {
	p := rules(t, `
  - {name: mail, documents: oss://docs/mail/*, callers: {issuer: staff, claims: {email: "*@example.com"}},
     grant: [view]}
  - {name: mark, documents: oss://docs/**, callers: {issuer: staff}, grant: [view],
     set: {Watermark: {Value: "${email}"}}}
`)
	ann := who(t, p, staff(`"email": "ann@example.com"`))
	d, err := decide(p, question(t, ann, "oss://docs/mail/x.docx", ""))
	cause := fmt.Sprint(weboffice.AsError(err).Cause)
	for _, said := range []string{d.Steps[0].Why, cause} {
		if !strings.Contains(said, "email_verified is missing") ||
			!strings.Contains(said, "trustEmail: true") {
			t.Errorf("said %q", said)
		}
	}
}

func TestClaimThatWouldWidenACredentialPolicy(t *testing.T) {
	p := rules(t, `
  - name: r
    documents: oss://team-docs/**
    callers: {issuer: staff}
    grant: [view]
    set:
      CredentialConfig:
        ServiceRole: reader
        Policy: '{"Effect":"Allow","Resource":"acs:oss:*:*:${document.bucket}/${document.key}","x":["${team}"]}'
`)
	policyOf := func(key, team string) (string, error) {
		d, err := decide(p, question(t, who(t, p, staff(`"team": `+team)), "oss://team-docs/"+key,
			""))
		if err != nil {
			return "", err
		}
		return d.Request.CredentialConfig.Policy, nil
	}
	for _, attack := range []struct{ key, team string }{
		{"a/*.docx", `"red"`}, {"a$.docx", `"red"`}, {"x.docx", `"*"`}, {"x.docx", `"r?d"`},
		{"x.docx", `"${acs:SourceIp}"`}, {"x.docx", `""`}, {"x.docx", `["red"]`},
	} {
		if text, err := policyOf(attack.key, attack.team); weboffice.AsError(
			err).Code != "Forbidden" || weboffice.AsError(err).Fix == "" {
			t.Errorf("%+v: got %s, %v", attack, text, err)
		}
	}
	const around = `{"Effect":"Allow","Resource":"acs:oss:*:*:team-docs/%s","x":["%s"]}`
	for _, twin := range []struct{ key, team, wantKey, wantTeam string }{
		{"a/x.docx", `"red"`, "a/x.docx", "red"},
		{`x"}],"y":[{"z":".docx`, `"red"`, `x\"}],\"y\":[{\"z\":\".docx`, "red"},
		{"x.docx", `"red\"},{\\ \n"`, "x.docx", `red\"},{\\ \n`},
		{"<x>.docx", `"rød"`, `\u003cx\u003e.docx`, "rød"},
	} {
		text, err := policyOf(twin.key, twin.team)
		if want := fmt.Sprintf(around, twin.wantKey, twin.wantTeam); err != nil || text != want {
			t.Errorf("%+v: got %s, %v", twin, text, err)
		}
	}
}

func TestUserIds(t *testing.T) {
	p := rules(t, `
  - name: r
    documents: oss://team-docs/*
    callers: [{issuer: staff}, {issuer: partners}, {issuer: links}]
    grant: [view]
  - {name: g, documents: oss://team-docs/*, callers: anyone, grant: [view]}
`)
	user := func(as string) weboffice.User {
		return *decided(t, p, as, "oss://team-docs/x.docx",
			"").Request.User
	}
	ann := user(
		`{"issuer": "staff", "sub": "ann", "name": "Ann", "picture": "https://example.com/ann.png"}`)
	want := weboffice.User{Id: weboffice.UserID(salt, "https://login.example.com", "ann"),
		Name: "Ann", Avatar: "https://example.com/ann.png"}
	if ann != want {
		t.Errorf("got %+v, want %+v", ann, want)
	}
	if later := user(
		`{"issuer": "staff", "sub": "ann", "name": "Ann Smith", "role": "x"}`); later.Id != ann.Id {
		t.Error("the Id changed with other claims")
	}
	same := user(
		`{"issuer": "partners", "sub": "x", "oid": "ann", "nick": "Annie", "name": "not asked for",` +
			` "image": "http://example.com/a.png"}`)
	if same.Id == ann.Id || same.Name != "Annie" || same.Avatar != "" {
		t.Errorf("two issuers' equal subjects, and the claims that user names: %+v and %+v", ann,
			same)
	}
	if again := user(
		`{"issuer": "partners", "sub": "another", "oid": "ann"}`); again.Id != same.Id {
		t.Error("the Id depends on sub although user.id names oid")
	}
	link := user(`{"issuer": "links", "sub": "ann", "documents": "oss://team-docs/**",` +
		` "grant": ["view"]}`)
	if link.Id == ann.Id || link.Id == same.Id {
		t.Error("a link's subject is an issuer's")
	}
	if got := user(""); got != guest {
		t.Errorf("a guest: %+v", got)
	}
	for name, shown := range map[string]string{
		`"Ann"`: "Ann", `"  Ann  "`: "Ann", `"A\u0000n\nn\u202e"`: "Ann", `"张伟 <x>"`: "张伟 <x>",
		`""`: "User", `"\u0007"`: "User", `5`: "5", `true`: "User",
		`"` + strings.Repeat("é", 40) + `"`: strings.Repeat("é", 32),
	} {
		if got := user(staff(`"name": ` + name)).Name; got != shown {
			t.Errorf("the name %s became %q, want %q", name, got, shown)
		}
	}
	salted, err := policy.Parse([]byte(head+
		"rules:\n  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff},"+
		" grant: [view]}\n"), policy.Options{Salt: "another"})
	if err != nil {
		t.Fatal(err)
	}
	if got := decided(t, salted, staff(`"name": "Ann"`), "oss://team-docs/x.docx",
		"").Request.User.Id; got == ann.Id {
		t.Error("the salt does not matter")
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

func TestProjects(t *testing.T) {
	text := "rules:\n"
	for _, r := range []string{"name: a, project: of-rule, documents: oss://team-docs/a/*",
		"name: b, set: {ProjectName: of-set}, documents: oss://team-docs/b/*",
		"name: c, documents: oss://team-docs/c/*"} {
		text += "  - {" + r + ", callers: anyone, grant: [view]}\n"
	}
	for policyProject, want := range map[string]string{"project: of-policy\n": "of-policy",
		"": "of-options"} {
		p, err := policy.Parse([]byte(policyProject+text), policy.Options{Project: "of-options"})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(p.Projects(), " "); got != "of-rule of-set "+want ||
			p.Project() != want {
			t.Errorf("projects %s, project %s", got, p.Project())
		}
		for folder, project := range map[string]string{"a": "of-rule", "b": "of-set", "c": want} {
			if got := decided(t, p, "", "oss://team-docs/"+folder+"/x.docx",
				"").Request.ProjectName; got != project {
				t.Errorf("%s: project %s, want %s", folder, got, project)
			}
		}
	}
}

func TestInvalidInputIs400BeforeAnyRule(t *testing.T) {
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff}, grant: [view]}\n")
	for _, ask := range []string{`{"PreviewPages": 6000}`, `{"Filename": "a/b.docx"}`,
		`{"Filename": "x.exe"}`, `{"Password": "\u0000"}`} {
		_, err := decide(p, question(t, caller.Caller{}, "oss://team-docs/x.docx", ask))
		if weboffice.AsError(err).Kind != weboffice.Invalid {
			t.Errorf("%s: got %v", ask, err)
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

func TestErrorsAreForTheEdge(t *testing.T) {
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/a/*, callers: {issuer: staff}, grant: [view]}\n")
	for as, kind := range map[string]weboffice.Kind{"": weboffice.Unauthenticated,
		staff(`"x": 1`): weboffice.Forbidden} {
		_, err := decide(p, question(t, who(t, p, as), "oss://team-docs/b/x.docx", ""))
		var public *weboffice.Error
		if !errors.As(err, &public) || public.Kind != kind || public.Message == "" {
			t.Errorf("got %+v", err)
		}
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
	plain := mustParse(t, "limits: {anyone: 1/m}\n")
	if plain.Limits().Caller != (policy.Rate{Events: 60, Per: time.Minute}) || plain.UsesLinks() ||
		plain.QuickStart() {
		t.Errorf("the defaults: %+v", plain)
	}
}
