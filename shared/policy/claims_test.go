package policy_test

import (
	"strings"
	"testing"

	"weboffice-functions/shared/weboffice"
)

// Claims in the shapes in which providers send them, named as a policy's author would.
func TestClaimsOfManyShapes(t *testing.T) {
	p := rules(t, `
  - {name: no contractors, documents: oss://team-docs/pay/**, callers: {issuer: staff, claims: {/work/type: contractor}}, deny: true}
  - {name: pay, documents: oss://team-docs/pay/**, callers: {issuer: staff}, grant: [view]}
  - {name: nested, documents: oss://team-docs/nested/*, callers: {issuer: staff, claims: {/realm_access/roles: editor}}, grant: [view]}
  - {name: map, documents: oss://team-docs/map/*, callers: {issuer: staff, claims: {"urn:zitadel:iam:org:project:roles": editor}}, grant: [view]}
  - {name: colon, documents: oss://team-docs/colon/*, callers: {issuer: staff, claims: {cognito:groups: editors}}, grant: [view]}
  - {name: quoted, documents: oss://team-docs/quoted/*, callers: {issuer: staff, claims: {"cognito:groups": editors}}, grant: [view]}
  - {name: roles, documents: oss://team-docs/roles/*, callers: {issuer: staff, claims: {roles: admin}}, grant: [view]}
  - {name: teams, documents: 'oss://team-docs/teams/${https://example.com/team}/**', callers: {issuer: staff}, grant: [view]}
  - {name: orgs, documents: 'oss://team-docs/orgs/${org_id}/**', callers: {issuer: staff}, grant: [view], set: {Watermark: {Type: 1, Value: "${org_id}"}}}
`)
	at := func(folder string) string { return "oss://team-docs/" + folder + "/x.docx" }
	groups := staff(`"cognito:groups": ["editors"]`)
	visits(t, p, []visit{
		{"nested", staff(`"realm_access": {"roles": ["editor"]}`), at("nested"), "", "nested: view"},
		{"nested, another", staff(`"realm_access": {"roles": ["x"]}`), at("nested"), "", "Forbidden"},
		{"nested, a name with dots", staff(`"realm_access.roles": "editor"`), at("nested"), "",
			"Forbidden"},
		{"nested in a deny", staff(`"work": {"type": "contractor"}`), at("pay"), "", "Forbidden"},
		{"nested in a deny, absent", staff(`"work": {}`), at("pay"), "", "Forbidden"},
		{"nested in a deny, no object", staff(`"work": "permanent"`), at("pay"), "", "Forbidden"},
		{"twin: nested in a deny, another", staff(`"work": {"type": "permanent"}`), at("pay"), "",
			"pay: view"},

		{"roles as a map", staff(`"urn:zitadel:iam:org:project:roles": {"editor": {"id": "d"}}`),
			at("map"), "", "map: view"},
		{"another role in the map", staff(`"urn:zitadel:iam:org:project:roles": {"x": {"editor": "d"}}`),
			at("map"), "", "Forbidden"},
		{"a role that is false", staff(`"roles": {"admin": false}`), at("roles"), "", "Forbidden"},
		{"a colon", groups, at("colon"), "", "colon: view"},
		{"a colon in quotes", groups, at("quoted"), "", "quoted: view"},
		{"cut at its colon", staff(`"cognito": ["editors"]`), at("colon"), "", "Forbidden"},

		{"a URL as a segment", staff(`"https://example.com/team": "red"`), at("teams/red"), "",
			"teams: view"},
		{"another's", staff(`"https://example.com/team": "red"`), at("teams/blue"), "", "Forbidden"},
		{"a number as a segment", staff(`"org_id": 42`), at("orgs/42"), "", "orgs: view"},
		{"another number", staff(`"org_id": 42`), at("orgs/43"), "", "Forbidden"},
	})
	d := decided(t, p, staff(`"org_id": 42`), at("orgs/42"), "")
	if got := d.Request.Watermark.Value; got != "42" {
		t.Errorf("the watermark of a number is %q", got)
	}
}

// What a claim brings into a text stays one text, and can be seen.
func TestAttackClaimInASetText(t *testing.T) {
	p := rules(t, `
  - {name: json, documents: oss://team-docs/json/*, callers: {issuer: staff}, grant: [view], set: {UserData: '{"name":"${name}"}'}}
  - {name: mark, documents: oss://team-docs/mark/*, callers: {issuer: staff}, grant: [view], set: {Watermark: {Type: 1, Value: "${name}"}}}
  - {name: mail, documents: oss://team-docs/mail/*, callers: {issuer: staff}, grant: [view], set: {Watermark: {Type: 1, Value: "${email}"}}}
`)
	d := decided(t, p, staff(`"name": "x\",\"role\":\"admin"`), "oss://team-docs/json/x.docx", "")
	if got := d.Request.UserData; got != `{"name":"x\",\"role\":\"admin"}` {
		t.Errorf("a member more: %s", got)
	}
	const x = "oss://team-docs/mark/x.docx"
	visits(t, p, []visit{
		{"a Hangul filler", staff(`"name": "\u3164"`), x, "", "Forbidden"},
		{"a blank Braille pattern", staff(`"name": "\u2800"`), x, "", "Forbidden"},
		{"twin: a name", staff(`"name": "Ann"`), x, "", "mark: view"},
	})
	_, err := decide(p, question(t, who(t, p, staff(`"email": "ann@example.com"`)),
		"oss://team-docs/mail/x.docx", ""))
	if public := weboffice.AsError(err); public.Code != "Forbidden" ||
		!strings.Contains(public.Cause.Error(), "email_verified is missing") ||
		!strings.Contains(public.Cause.Error(), "trustEmail") {
		t.Errorf("%+v, %v", public, public.Cause)
	}
}
