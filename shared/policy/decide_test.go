package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

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

func TestSegmentEqualsOneOfAList(t *testing.T) {
	visits(t, teams(t), []visit{
		{"first", staff(`"team": ["red", "blue"]`), "oss://team-docs/teams/red/x.docx", "",
			"teams: view"},
		{"last", staff(`"team": ["red", "blue"]`), "oss://team-docs/teams/blue/x.docx", "",
			"teams: view"},
		{"none", staff(`"team": ["red", "blue"]`), "oss://team-docs/teams/green/x.docx", "",
			"Forbidden"},
		{"not joined", staff(`"team": ["red", "blue"]`), "oss://team-docs/teams/red,blue/x.docx",
			"", "Forbidden"},
		{"not printed", staff(`"team": ["red"]`), "oss://team-docs/teams/[red]/x.docx", "",
			"Forbidden"},
		{"empty", staff(`"team": []`), "oss://team-docs/teams/red/x.docx", "", "Forbidden"},
		{"team-a is not team-ab", staff(`"team": "team-a"`), "oss://team-docs/teams/team-ab/x.docx",
			"", "Forbidden"},
		{"team-ab is not team-a", staff(`"team": "team-ab"`), "oss://team-docs/teams/team-a/x.docx",
			"", "Forbidden"},
		{"the folder alone", staff(`"team": "red"`), "oss://team-docs/teams/red", "", "Forbidden"},
		{"missing", staff(`"x": 1`), "oss://team-docs/teams/red/x.docx", "", "Forbidden"},
		{"null", staff(`"team": null`), "oss://team-docs/teams/null/x.docx", "", "Forbidden"},
		{"a number", staff(`"team": 5.0`), "oss://team-docs/teams/5/x.docx", "", "teams: view"},
		{"half a number", staff(`"team": 5.5`), "oss://team-docs/teams/5.5/x.docx", "",
			"Forbidden"},
		{"true", staff(`"team": true`), "oss://team-docs/teams/true/x.docx", "", "Forbidden"},
		{"a map that says yes", staff(`"team": {"red": {"id": 1}}`),
			"oss://team-docs/teams/red/x.docx", "", "teams: view"},
		{"a map that says no", staff(`"team": {"red": false}`), "oss://team-docs/teams/red/x.docx",
			"", "Forbidden"},
		{"a list with a number", staff(`"team": ["red", 1]`), "oss://team-docs/teams/1/x.docx",
			"", "teams: view"},
		{"a list of lists", staff(`"team": [["red"]]`), "oss://team-docs/teams/red/x.docx", "",
			"Forbidden"},
		{"upper case", staff(`"team": "red"`), "oss://team-docs/teams/RED/x.docx", "", "Forbidden"},
	})
	p := rules(t,
		"  - {name: two, documents: 'oss://team-docs/${team}/${sub}/*', callers: {issuer: staff}, grant: [view]}\n")
	visits(t, p, []visit{
		{"both", staff(`"team": "red"`), "oss://team-docs/red/ann/x.docx", "", "two: view"},
		{"the other way round", staff(`"team": "red"`), "oss://team-docs/ann/red/x.docx", "",
			"Forbidden"},
		{"the second is another's", staff(`"team": "red"`), "oss://team-docs/red/bob/x.docx", "",
			"Forbidden"},
	})
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
  - {name: text, documents: oss://team-docs/text/*, callers: {issuer: staff, claims: {role: editor}}, grant: [view]}
  - {name: star, documents: oss://team-docs/star/*, callers: {issuer: staff, claims: {role: "ed*or"}}, grant: [view]}
  - {name: any, documents: oss://team-docs/any/*, callers: {issuer: staff, claims: {role: "*"}}, grant: [view]}
  - {name: list, documents: oss://team-docs/list/*, callers: {issuer: staff, claims: {role: [editor, "lead-*"]}}, grant: [view]}
  - {name: bool, documents: oss://team-docs/bool/*, callers: {issuer: staff, claims: {role: true}}, grant: [view]}
  - {name: number, documents: oss://team-docs/number/*, callers: {issuer: staff, claims: {role: [7, -1]}}, grant: [view]}
  - {name: mixed, documents: oss://team-docs/mixed/*, callers: {issuer: staff, claims: {role: [7, true, editor]}}, grant: [view]}
  - {name: both, documents: oss://team-docs/both/*, callers: {issuer: staff, claims: {role: editor, level: 2}}, grant: [view]}
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
	visits(t, p, []visit{
		{"claims are all needed", staff(`"role": "editor", "level": 2`),
			"oss://team-docs/both/x.docx", "", "both: view"},
		{"one of them is not enough", staff(`"role": "editor", "level": 3`),
			"oss://team-docs/both/x.docx", "", "Forbidden"},
		{"nor is the other", staff(`"level": 2`), "oss://team-docs/both/x.docx", "", "Forbidden"},
		{"names have case", staff(`"Role": "editor"`), "oss://team-docs/text/x.docx", "",
			"Forbidden"},
		{"another issuer's claim",
			`{"issuer": "partners", "sub": "x", "oid": "x", "role": "editor"}`,
			"oss://team-docs/text/x.docx", "", "Forbidden"},
		{"a guest", "", "oss://team-docs/any/x.docx", "", "Unauthenticated"},
	})
}

func TestBigNumbersAreComparedExactly(t *testing.T) {
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff, claims: {id: 9007199254740993}}, grant: [view]}\n")
	visits(t, p, []visit{
		{"the same", staff(`"id": 9007199254740993`), "oss://team-docs/x.docx", "", "r: view"},
		{"its neighbour", staff(`"id": 9007199254740992`), "oss://team-docs/x.docx", "",
			"Forbidden"},
		{"in another spelling", staff(`"id": 9007199254740993.0`), "oss://team-docs/x.docx", "",
			"r: view"},
	})
}

func TestDenyWithAClaimThatIsOmittedOrOfAnotherType(t *testing.T) {
	p := rules(t, `
  - {name: contractors, documents: oss://team-docs/pay/**, callers: {issuer: staff, claims: {employment: contractor}}, deny: true}
  - {name: levels, documents: oss://team-docs/levels/**, callers: {issuer: staff, claims: {level: [1, 2]}}, deny: true}
  - {name: external, documents: oss://team-docs/external/**, callers: {issuer: staff, claims: {external: true}}, deny: true}
  - {name: own, documents: 'oss://team-docs/own/${team}/**', callers: {issuer: staff}, deny: true}
  - {name: all, documents: oss://team-docs/**, callers: [{issuer: staff}, {issuer: partners}], grant: [view]}
`)
	const pay, levels, external, own = "oss://team-docs/pay/x.docx",
		"oss://team-docs/levels/x.docx", "oss://team-docs/external/x.docx",
		"oss://team-docs/own/red/x.docx"
	visits(t, p, []visit{
		{"contractor", staff(`"employment": "contractor"`), pay, "", "Forbidden"},
		{"one of a list", staff(`"employment": ["x", "contractor"]`), pay, "", "Forbidden"},
		{"omitted", staff(`"x": 1`), pay, "", "Forbidden"},
		{"null", staff(`"employment": null`), pay, "", "Forbidden"},
		{"half a number", staff(`"employment": 5.5`), pay, "", "Forbidden"},
		{"false", staff(`"employment": false`), pay, "", "Forbidden"},
		{"a record", staff(`"employment": {"type": "contractor"}`), pay, "", "Forbidden"},
		{"a map that says no", staff(`"employment": {"contractor": false}`), pay, "", "Forbidden"},
		{"a map that says yes", staff(`"employment": {"contractor": true}`), pay,
			"", "Forbidden"},
		{"a list with something else", staff(`"employment": ["permanent", {}]`), pay, "",
			"Forbidden"},
		{"twin: a map of others", staff(`"employment": {"permanent": {"id": 1}}`), pay, "",
			"all: view"},
		{"twin: a number", staff(`"employment": 5`), pay, "", "all: view"},
		{"twin: a list with a number", staff(`"employment": ["permanent", 1]`), pay, "",
			"all: view"},
		{"twin: permanent", staff(`"employment": "permanent"`), pay, "", "all: view"},
		{"twin: a list", staff(`"employment": ["permanent"]`), pay, "", "all: view"},
		{"twin: an empty list", staff(`"employment": []`), pay, "", "all: view"},
		{"twin: other documents", staff(`"employment": "contractor"`), "oss://team-docs/x.docx", "",
			"all: view"},
		{"twin: another issuer",
			`{"issuer": "partners", "sub": "x", "oid": "x", "employment": "contractor"}`, pay, "",
			"all: view"},

		{"level 1", staff(`"level": 1`), levels, "", "Forbidden"},
		{"level 1.0", staff(`"level": 1.0`), levels, "", "Forbidden"},
		{"level 0.2e1", staff(`"level": 0.2e1`), levels, "", "Forbidden"},
		{"level 1.5", staff(`"level": 1.5`), levels, "", "Forbidden"},
		{"level as text", staff(`"level": "1"`), levels, "", "Forbidden"},
		{"level true", staff(`"level": true`), levels, "", "Forbidden"},
		{"twin: level 3", staff(`"level": 3`), levels, "", "all: view"},
		{"twin: level 3 as text", staff(`"level": "3"`), levels, "", "all: view"},

		{"external", staff(`"external": true`), external, "", "Forbidden"},
		{"external as text", staff(`"external": "false"`), external, "", "Forbidden"},
		{"external as a list", staff(`"external": ["false"]`), external, "", "Forbidden"},
		{"twin: not external", staff(`"external": false`), external, "", "all: view"},

		{"own", staff(`"team": "red"`), own, "", "Forbidden"},
		{"own as true", staff(`"team": true`), own, "", "Forbidden"},
		{"own omitted", staff(`"x": 1`), own, "", "Forbidden"},
		{"twin: another's", staff(`"team": "blue"`), own, "", "all: view"},
		{"twin: others'", staff(`"team": ["blue", "green"]`), own, "", "all: view"},
	})
}

func TestEmailCountsOnlyWhenVouchedFor(t *testing.T) {
	p := rules(t, `
  - {name: mail, documents: oss://team-docs/*, callers: [{issuer: staff, claims: {email: "*@example.com"}}, {issuer: partners, claims: {email: "*@example.com"}}], grant: [view]}
`)
	const x = "oss://team-docs/x.docx"
	mail := func(address string) string {
		return staff(fmt.Sprintf(`"email_verified": true, "email": %q`, address))
	}
	partner := func(claims string) string {
		return `{"issuer": "partners", "sub": "x", "oid": "x", ` + claims + `}`
	}
	visits(t, p, []visit{
		{"verified", mail("ann@example.com"), x, "", "mail: view"},
		{"an apostrophe is common", mail("o'brien@example.com"), x, "", "mail: view"},
		{"a tag", mail("ann+docs@example.com"), x, "", "mail: view"},
		{"verified as text, as some issuers send it",
			staff(`"email_verified": "true", "email": "ann@example.com"`), x, "", "mail: view"},
		{"unverified", staff(`"email_verified": false, "email": "ann@example.com"`), x, "",
			"Forbidden"},
		{"nothing said", staff(`"email": "ann@example.com"`), x, "", "Forbidden"},
		{"verified by 1", staff(`"email_verified": 1, "email": "ann@example.com"`), x, "",
			"Forbidden"},
		{"trustEmail", partner(`"email": "ann@example.com"`), x, "", "mail: view"},
		{"trustEmail, two @", partner(`"email": "ann@evil.example@example.com"`), x, "",
			"Forbidden"},
		{"two @", mail("ann@evil.example@example.com"), x, "", "Forbidden"},
		{"quoted", mail(`"ann@evil.example"@example.com`), x, "", "Forbidden"},
		{"quoted without @", mail(`"ann"@example.com`), x, "", "Forbidden"},
		{"in angle brackets", mail(`<ann@evil.example>@example.com`), x, "", "Forbidden"},
		{"with a comment", mail(`ann@example.com(@evil.example)`), x, "", "Forbidden"},
		{"a list of addresses", mail(`x@evil.example,ann@example.com`), x, "", "Forbidden"},
		{"a space", mail(`x@evil.example ann@example.com`), x, "", "Forbidden"},
		{"nobody", mail(`@example.com`), x, "", "Forbidden"},
		{"another domain", mail("ann@evil-example.com"), x, "", "Forbidden"},
		{"a longer domain", mail("ann@example.com.evil.example"), x, "", "Forbidden"},
		{"upper case", mail("Ann@EXAMPLE.com"), x, "", "mail: view"},
		{"a Kelvin sign, which some fold to k", mail("ann@example.\u212Aom"), x, "", "Forbidden"},
		{"a list", staff(`"email_verified": true, "email": ["ann@example.com"]`), x, "",
			"Forbidden"},
		{"a list with a quoted one", staff(
			`"email_verified": true, "email": ["\"x@evil.example\"@example.com"]`), x, "",
			"Forbidden"},
	})
}

func TestEmailOfADenyRule(t *testing.T) {
	p := rules(t, `
  - {name: outside, documents: oss://team-docs/*, callers: {issuer: staff, claims: {email: "*@outside.example"}}, deny: true}
  - {name: all, documents: oss://team-docs/*, callers: {issuer: staff}, grant: [view]}
`)
	const x = "oss://team-docs/x.docx"
	visits(t, p, []visit{
		{"outside", staff(`"email_verified": true, "email": "x@outside.example"`), x, "",
			"Forbidden"},
		{"in upper case", staff(`"email_verified": true, "email": "x@OUTSIDE.example"`), x, "",
			"Forbidden"},
		{"unverified counts as missing", staff(`"email": "ann@example.com"`), x, "", "Forbidden"},
		{"quoted counts as missing", staff(`"email_verified": true, "email": "\"x\"@example.com"`),
			x, "", "Forbidden"},
		{"twin: inside", staff(`"email_verified": true, "email": "ann@example.com"`), x, "",
			"all: view"},
	})
}

// Claims as providers nest and name them, in conditions, segments and texts that are filled.
func TestClaimsByTheirWholeNameOrByAPointer(t *testing.T) {
	p := rules(t, `
  - {name: denied, documents: oss://docs/closed/**, callers: {issuer: staff, claims: {/realm_access/roles: banned, "urn:zitadel:iam:org:project:roles": banned}}, deny: true}
  - {name: nested, documents: oss://docs/nested/*, callers: {issuer: staff, claims: {/realm_access/roles: editor}}, grant: [view]}
  - {name: colons, documents: oss://docs/colons/*, callers: {issuer: staff, claims: {cognito:groups: editors}}, grant: [view]}
  - {name: roles, documents: oss://docs/roles/*, callers: {issuer: staff, claims: {"urn:zitadel:iam:org:project:roles": editor}}, grant: [view]}
  - {name: teams, documents: "oss://docs/teams/${https://example.com/team}/**", callers: {issuer: staff}, grant: [view]}
  - {name: orgs, documents: "oss://docs/orgs/${org_id}/**", callers: {issuer: staff}, grant: [view], set: {Watermark: {Value: "${org_id} ${/a/b~1c}"}}}
  - {name: closed, documents: oss://docs/closed/**, callers: {issuer: staff}, grant: [view]}
`)
	const nested, colons, roles = "oss://docs/nested/x.docx", "oss://docs/colons/x.docx",
		"oss://docs/roles/x.docx"
	const teams, orgs, closed = "oss://docs/teams/red/x.docx", "oss://docs/orgs/42/x.docx",
		"oss://docs/closed/x.docx"
	visits(t, p, []visit{
		{"nested", staff(`"realm_access": {"roles": ["x", "editor"]}`), nested, "", "nested: view"},
		{"a claim with slashes in its name", staff(`"/realm_access/roles": "editor"`), nested, "",
			"Forbidden"},
		{"a claim with dots in its name", staff(`"realm_access.roles": "editor"`), nested, "",
			"Forbidden"},
		{"a list on the way", staff(`"realm_access": [{"roles": "editor"}]`), nested, "",
			"Forbidden"},
		{"a name with colons", staff(`"cognito:groups": ["editors"]`), colons, "", "colons: view"},
		{"the name's first part", staff(`"cognito": "editors"`), colons, "", "Forbidden"},
		{"an object's members", staff(`"urn:zitadel:iam:org:project:roles": {"editor": {"id": "d"}}`),
			roles, "", "roles: view"},
		{"an object whose member says no",
			staff(`"urn:zitadel:iam:org:project:roles": {"editor": false}`), roles, "", "Forbidden"},
		{"a URL", staff(`"https://example.com/team": "red"`), teams, "", "teams: view"},
		{"another's", staff(`"https://example.com/team": "blue"`), teams, "", "Forbidden"},
		{"a number", staff(`"org_id": 42, "a": {"b/c": "x"}`), orgs, "", "orgs: view"},
		{"a number in another spelling", staff(`"org_id": 4.2e1, "a": {"b/c": 7}`), orgs, "",
			"orgs: view"},
		{"another number", staff(`"org_id": 43, "a": {"b/c": "x"}`), orgs, "", "Forbidden"},

		{"denied", staff(`"realm_access": {"roles": ["banned"]},` +
			` "urn:zitadel:iam:org:project:roles": {"banned": {}, "banned ": {"id": "d"}}`), closed, "",
			"closed: view"},
		{"denied by both", staff(`"realm_access": {"roles": ["banned"]},` +
			` "urn:zitadel:iam:org:project:roles": {"banned": {"id": "d"}}`), closed, "", "Forbidden"},
		{"denied where both are missing", staff(`"realm_access": {}`), closed, "", "Forbidden"},
		{"denied where the way is of another type", staff(`"realm_access": "x"`), closed, "",
			"Forbidden"},
		{"twin: another role", staff(`"realm_access": {"roles": ["editor"]}`), closed, "",
			"closed: view"},
	})
	d := decided(t, p, staff(`"org_id": 42.0, "a": {"b/c": "x"}`), orgs, "")
	if got := d.Request.Watermark.Value; got != "42 x" {
		t.Errorf("filled %q", got)
	}
}

// The vendor's examples send ProjectName.
func TestACallerMayRepeatWhatThePolicyGives(t *testing.T) {
	p := rules(t, `
  - {name: own, documents: oss://docs/own/*, callers: {issuer: staff}, grant: [view], project: of-rule, set: {Watermark: {Type: 1, Value: "${name}"}, UserData: x}}
  - {name: all, documents: oss://docs/*, callers: anyone, grant: [view]}
`)
	ann, own, x := staff(`"name": "Ann"`), "oss://docs/own/x.docx", "oss://docs/x.docx"
	id := weboffice.UserID(salt, "https://login.example.com", "ann")
	visits(t, p, []visit{
		{"the project", "", x, `{"ProjectName": "test-project"}`, "all: view"},
		{"another project", "", x, `{"ProjectName": "of-rule"}`, "Forbidden.ProjectName"},
		{"the rule's project", ann, own, `{"ProjectName": "of-rule"}`, "own: view"},
		{"the policy's project in its place", ann, own, `{"ProjectName": "test-project"}`,
			"Forbidden.ProjectName"},
		{"the filled watermark", ann, own, `{"Watermark": {"Type": 1, "Value": "Ann"}}`,
			"own: view"},
		{"the template itself", ann, own, `{"Watermark": {"Type": 1, "Value": "${name}"}}`,
			"Forbidden.Watermark"},
		{"another's watermark", ann, own, `{"Watermark": {"Type": 1, "Value": "Bob"}}`,
			"Forbidden.Watermark"},
		{"what is set", ann, own, `{"UserData": "x"}`, "own: view"},
		{"oneself", ann, own, `{"User": {"Id": "` + id + `", "Name": "Ann"}}`, "own: view"},
		{"somebody else", ann, own, `{"User": {"Id": "` + id + `", "Name": "Bob"}}`,
			"Forbidden.User"},
		{"nothing where something is set", ann, own, `{"Watermark": {"Type": 0}}`,
			"Forbidden.Watermark"},
	})
}

func TestFirstMatchingRuleDecides(t *testing.T) {
	p := rules(t, `
  - {name: first, documents: oss://team-docs/a/*, callers: [{issuer: partners}, {issuer: staff, claims: {role: editor}}], grant: [view]}
  - {name: second, documents: oss://team-docs/**, callers: {issuer: staff}, grant: [view, edit]}
  - {name: never, documents: oss://team-docs/b/*, callers: {issuer: partners}, deny: true}
  - {name: third, documents: oss://team-docs/**, callers: {issuer: partners}, grant: [view, copy]}
  - {name: last, documents: oss://team-docs/c/*, callers: anyone, grant: [view]}
`)
	partner := `{"issuer": "partners", "sub": "x", "oid": "x"}`
	visits(t, p, []visit{
		{"the first, though the second grants more", staff(`"role": "editor"`),
			"oss://team-docs/a/x.docx", "", "first: view"},
		{"the second", staff(`"role": "viewer"`), "oss://team-docs/a/x.docx", "",
			"second: view edit"},
		{"one of several callers", partner, "oss://team-docs/a/x.docx", "", "first: view"},
		{"a deny ends it", partner, "oss://team-docs/b/x.docx", "", "Forbidden"},
		{"no rule", `{"issuer": "links", "documents": "oss://team-docs/**", "grant": ["view"]}`,
			"oss://team-docs/c/x.docx", "", "Forbidden"},
		{"a guest", "", "oss://team-docs/c/x.docx", "", "last: view"},
		{"a person where anyone may enter", partner, "oss://team-docs/c/x.docx", "",
			"third: view copy"},
		{"a guest elsewhere", "", "oss://team-docs/a/x.docx", "", "Unauthenticated"},
	})
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

func TestPermissionIsGrantAndAskedAndFormat(t *testing.T) {
	p := rules(t, `
  - {name: all, documents: oss://team-docs/all/*, callers: anyone, grant: [view, edit, rename, history, copy, print, export]}
  - {name: some, documents: oss://team-docs/some/*, callers: anyone, grant: [view, edit, copy, export]}
  - {name: view, documents: oss://team-docs/view/*, callers: anyone, grant: [view]}
  - {name: named, documents: oss://team-docs/named/*, callers: anyone, grant: [view], accept: [Filename]}
`)
	all := `{"Permission": {"Readonly": false, "Rename": true, "History": true, "Copy": true, "Export": true, "Print": true}}`
	visits(t, p, []visit{
		{"nothing asked", "", "oss://team-docs/all/x.docx", "",
			"all: view edit rename history copy print export"},
		{"all asked", "", "oss://team-docs/all/x.docx", all,
			"all: view edit rename history copy print export"},
		{"no Readonly asks for edit", "", "oss://team-docs/all/x.docx", `{"Permission": {}}`,
			"all: view edit"},
		{"Readonly", "", "oss://team-docs/all/x.docx",
			`{"Permission": {"Readonly": true, "Copy": true}}`, "all: view copy"},
		{"in a string", "", "oss://team-docs/all/x.docx",
			`{"Permission": "{'Readonly':'true','Print':'true'}"}`, "all: view print"},
		{"history needs edit", "", "oss://team-docs/all/x.docx",
			`{"Permission": {"Readonly": true, "History": true}}`, "all: view"},
		{"export needs print", "", "oss://team-docs/all/x.docx", `{"Permission": {"Export": true}}`,
			"all: view edit"},
		{"export needs print in the grant too", "", "oss://team-docs/some/x.docx", all,
			"some: view edit copy"},
		{"wider than the grant", "", "oss://team-docs/view/x.docx", all, "view: view"},
		{"a PDF", "", "oss://team-docs/all/x.pdf", all, "all: view rename copy print"},
		{"a PDF under another name", "", "oss://team-docs/all/x.pdf", `{"Filename": "x.docx"}`,
			"all: view rename copy print"},
		{"a document shown as a PDF", "", "oss://team-docs/all/x.docx", `{"Filename": "x.pdf"}`,
			"all: view rename copy print"},
		{"text", "", "oss://team-docs/all/x.txt", "", "all: view rename copy print export"},
		{"upper case", "", "oss://team-docs/all/x.DOCX", "",
			"all: view edit rename history copy print export"},
		{"some pages", "", "oss://team-docs/all/x.docx", `{"PreviewPages": 3}`,
			"all: view rename copy print export"},
		{"no extension", "", "oss://team-docs/all/x", "", "InvalidArgument.SourceURI"},
		{"no extension, and a caller's Filename", "", "oss://team-docs/view/x",
			`{"Filename": "x.docx"}`, "InvalidArgument.SourceURI"},
		{"no extension, and a Filename that the rule accepts", "", "oss://team-docs/named/x",
			`{"Filename": "x.docx"}`, "named: view"},
	})
	if d := decided(t, p, "", "oss://team-docs/all/x.DOCX", ""); d.Request.Filename != "x.docx" {
		t.Errorf("Filename %q", d.Request.Filename)
	}
}

func TestShareLinkIsHeldToItsDocumentAndGrants(t *testing.T) {
	p := rules(t, `
  - {name: closed, documents: oss://team-docs/closed/**, callers: anyone, deny: true}
  - {name: no staff, documents: oss://team-docs/staffless/**, callers: {issuer: staff}, deny: true}
  - {name: links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view, edit, copy, print]}
  - {name: handbook, documents: oss://team-docs/handbook/**, callers: anyone, grant: [view, edit, rename, history, copy, print, export]}
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
	visits(t, p, []visit{
		{"its document", link(a, `"view", "copy", "export"`), a, "", "links: view copy"},
		{"its document with less asked", link(a, `"view", "copy", "edit"`), a,
			`{"Permission": {"Readonly": true, "Copy": true, "Print": true}}`, "links: view copy"},
		{"a link for A at B where anyone may open B", link(a, view),
			"oss://team-docs/handbook/b.docx", "", "Forbidden"},
		{"where anyone may and no rule for links matches", link("oss://other-docs/**", view),
			"oss://other-docs/x.docx", "", "Forbidden"},
		{"a longer name", link(a, view), a + ".docx", "", "Forbidden"},
		{"a folder", link("oss://team-docs/plans/**", view), "oss://team-docs/plans/2026/x.docx",
			"", "links: view"},
		{"beside the folder", link("oss://team-docs/plans/**", view),
			"oss://team-docs/plansx/x.docx", "", "Forbidden"},
		{"one level", link("oss://team-docs/plans/*.docx", view),
			"oss://team-docs/plans/2026/x.docx", "", "Forbidden"},
		{"wider than the rules", link("oss://team-docs/**", view), "oss://team-docs/x.docx", "",
			"links: view"},
		{"another bucket", link("oss://other-docs/**", view), "oss://team-docs/x.docx", "",
			"Forbidden"},
		{"any bucket", link("oss://*/**", view), "oss://team-docs/x.docx", "", "Forbidden"},
		{"a pattern that cannot be read", link("oss://team-docs/a**", view),
			"oss://team-docs/ab.docx", "", "Forbidden"},
		{"a claim in the link's pattern", `{"issuer": "links", "sub": "ann", "documents":` +
			` "oss://team-docs/${sub}/*", "grant": ["view"]}`, "oss://team-docs/ann/x.docx", "",
			"Forbidden"},
		{"a document named like a pattern",
			`{"issuer": "links", "document": "oss://team-docs/*.docx", "grant": ["view"]}`,
			"oss://team-docs/x.docx", "", "Forbidden"},
		{"twin: that very document",
			`{"issuer": "links", "document": "oss://team-docs/*.docx", "grant": ["view"]}`,
			"oss://team-docs/*.docx", "", "links: view"},
		{"no view", link(a, `"edit", "copy"`), a, "", "Forbidden"},
		{"anyone's deny", link("oss://team-docs/**", view), "oss://team-docs/closed/x.docx", "",
			"Forbidden"},
		{"a deny for others", link("oss://team-docs/**", view), "oss://team-docs/staffless/x.docx",
			"", "links: view"},
		{"twin: a guest where anyone may", "", "oss://team-docs/handbook/b.docx", "",
			"handbook: view edit rename history copy print export"},
	})
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

func TestClaimsOfLinks(t *testing.T) {
	p := rules(t, `
  - {name: ann's, documents: 'oss://team-docs/${sub}/*', callers: {issuer: links, claims: {sub: "a*"}}, grant: [view], set: {Watermark: {Value: "${name}"}}}
`)
	link := func(more string) string {
		return `{"issuer": "links", "documents": "oss://team-docs/**", "grant": ["view"]` + more +
			`}`
	}
	visits(t, p, []visit{
		{"sub", link(`, "sub": "ann", "name": "Ann"`), "oss://team-docs/ann/x.docx", "",
			"ann's: view"},
		{"another", link(`, "sub": "bob", "name": "Bob"`), "oss://team-docs/bob/x.docx", "",
			"Forbidden"},
		{"another's folder", link(`, "sub": "ann", "name": "Ann"`), "oss://team-docs/adam/x.docx",
			"", "Forbidden"},
		{"no name to fill in", link(`, "sub": "ann"`), "oss://team-docs/ann/x.docx", "",
			"Forbidden"},
	})
}

func TestParametersOnlyThePolicyMaySet(t *testing.T) {
	p := rules(t, `
  - {name: plain, documents: oss://team-docs/plain/*, callers: anyone, grant: [view, edit]}
  - {name: fixed, documents: oss://team-docs/fixed/*, callers: anyone, grant: [view], set: {Hidecmb: true, Filename: shown.docx, PreviewPages: 20, Password: secret}}
  - name: servers
    documents: oss://team-docs/servers/*
    callers: {issuer: staff}
    grant: [view, edit]
    accept: [ProjectName, CachePreview, Referer, UserData, ExternalUploaded, NotifyTopicName, User, Watermark, CredentialConfig, Notification]
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
	visits(t, p, []visit{
		{"fixed values alone", "", fixed, "", "fixed: view"},
		{"the same value", "", fixed,
			`{"Hidecmb": true, "Filename": "shown.docx", "Password": "secret"}`, "fixed: view"},
		{"another Hidecmb", "", fixed, `{"Hidecmb": false}`, "Forbidden.Hidecmb"},
		{"another Filename", "", fixed, `{"Filename": "other.docx"}`, "Forbidden.Filename"},
		{"another Password", "", fixed, `{"Password": "x"}`, "Forbidden.Password"},
		{"fewer pages", "", fixed, `{"PreviewPages": 5}`, "fixed: view"},
		{"as many pages", "", fixed, `{"PreviewPages": "20"}`, "fixed: view"},
		{"more pages", "", fixed, `{"PreviewPages": 21}`, "Forbidden.PreviewPages"},
		{"no page", "", fixed, `{"PreviewPages": 0}`, "InvalidPreviewPages"},
		{"minus one", "", fixed, `{"PreviewPages": -1}`, "InvalidPreviewPages"},
		{"no page where none are set", "", "oss://team-docs/plain/x.docx", `{"PreviewPages": "0"}`,
			"InvalidPreviewPages"},
		{"accepted but fixed", staff(`"x": 1`), servers, `{"Referer": "https://evil.example"}`,
			"Forbidden.Referer"},
		{"too long", staff(`"x": 1`), servers, `{"UserData": "` + strings.Repeat("x", 2049) + `"}`,
			"InvalidArgument.UserData"},
	})
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
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/*, callers: anyone, grant: [view, edit], set: {Hidecmb: true}}\n")
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
      Watermark: {Type: 1, Value: "${name} · ${email} · ${document.bucket}/${document.key}", Rotate: -0.5, Horizontal: 50}
      UserData: "{\"team\": \"${team}\"}"
      User: {Name: "${name} (${team})"}
`)
	full := `"name": "Ann", "email": "ann@example.com", "email_verified": true, "team": "red"`
	d := decided(t, p, staff(full), "oss://team-docs/a b.docx", "")
	want := weboffice.Watermark{
		Type: new(int64(1)), Value: "Ann · ann@example.com · team-docs/a b.docx", Rotate: new(-0.5),
		Horizontal: new(int64(50)),
	}
	if !reflect.DeepEqual(*d.Request.Watermark, want) || d.Request.UserData != `{"team": "red"}` ||
		d.Request.User.Name != "Ann (red)" {
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
			""); first.Request.Watermark == second.Request.Watermark {
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
  - {name: mail, documents: oss://docs/mail/*, callers: {issuer: staff, claims: {email: "*@example.com"}}, grant: [view]}
  - {name: mark, documents: oss://docs/**, callers: {issuer: staff}, grant: [view], set: {Watermark: {Value: "${email}"}}}
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
        Policy: '{"Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"acs:oss:*:*:${document.bucket}/${document.key}","Condition":{"x":"${team}"}}]}'
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
	const around = `{"Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"acs:oss:*:*:team-docs/%s","Condition":{"x":"%s"}}]}`
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
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/*, callers: [{issuer: staff}, {issuer: partners}, {issuer: links}], grant: [view]}\n"+
			"  - {name: g, documents: oss://team-docs/*, callers: anyone, grant: [view]}\n")
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
		`{"issuer": "partners", "sub": "x", "oid": "ann", "nick": "Annie", "name": "not asked for", "image": "http://example.com/a.png"}`)
	if same.Id == ann.Id || same.Name != "Annie" || same.Avatar != "" {
		t.Errorf("two issuers' equal subjects, and the claims that user names: %+v and %+v", ann,
			same)
	}
	if again := user(
		`{"issuer": "partners", "sub": "another", "oid": "ann"}`); again.Id != same.Id {
		t.Error("the Id depends on sub although user.id names oid")
	}
	if link := user(
		`{"issuer": "links", "sub": "ann", "documents": "oss://team-docs/**", "grant": ["view"]}`); link.Id == ann.Id || link.Id == same.Id {
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
		"rules:\n  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff}, grant: [view]}\n"), policy.Options{Salt: "another"})
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
	}
}

func TestProjects(t *testing.T) {
	text := "rules:\n  - {name: a, documents: oss://team-docs/a/*, callers: anyone, grant: [view], project: of-rule}\n" +
		"  - {name: b, documents: oss://team-docs/b/*, callers: anyone, grant: [view], set: {ProjectName: of-set}}\n" +
		"  - {name: c, documents: oss://team-docs/c/*, callers: anyone, grant: [view]}\n"
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
limits: {anyone: 3/s, caller: 1000/h}
issuers:
  b: {url: https://b.example, audience: weboffice}
  a: {url: "http://127.0.0.1:9000/a", audience: x, maxAge: 30m, trustEmail: true, user: {id: oid}}
revokedLinks: [one, two]
rules:
  - {name: l, documents: oss://team-docs/*, callers: [{issuer: a}, {issuer: links}], grant: [view]}
`)
	wantLimits := policy.Limits{Anyone: policy.Rate{Events: 3, Per: time.Second},
		Caller: policy.Rate{Events: 1000, Per: time.Hour}}
	wantIssuers := []caller.Issuer{
		{Name: "a", URL: "http://127.0.0.1:9000/a", Audience: []string{"x"}, MaxAge: 30 * time.Minute,
			TrustEmail: true, User: caller.UserClaims{ID: "oid"}},
		{Name: "b", URL: "https://b.example", Audience: []string{"weboffice"}, MaxAge: 24 * time.Hour},
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
