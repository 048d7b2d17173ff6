package policy_test

import (
	"strings"
	"testing"

	"weboffice-functions/shared/weboffice"
)

// Claims in the shapes in which providers send them, named as a policy's author would.
func TestClaimsOfManyShapes(t *testing.T) {
	text := ""
	for _, r := range [][3]string{
		{"no contractors", "pay/*", "claims: {/work/type: contractor}}, deny: true"},
		{"pay", "pay/*", "}, grant: [view]"},
		{"nested", "nested/*", "claims: {/realm_access/roles: editor}}, grant: [view]"},
		{"map", "map/*", "claims: {'urn:zitadel:iam:org:project:roles': editor}}, grant: [view]"},
		{"colon", "colon/*", "claims: {cognito:groups: editors}}, grant: [view]"},
		{"quoted", "quoted/*", "claims: {'cognito:groups': editors}}, grant: [view]"},
		{"roles", "roles/*", "claims: {roles: admin}}, grant: [view]"},
		{"teams", "teams/${https://example.com/team}/**", "}, grant: [view]"},
		{"orgs", "orgs/${org_id}/**", "}, grant: [view], set: {Watermark: {Value: '${org_id}'}}"},
	} {
		text += "  - {name: " + r[0] + ", documents: 'oss://team-docs/" + r[1] +
			"', callers: {issuer: staff, " + r[2] + "}\n"
	}
	p := rules(t, text)
	at := func(folder string) string { return "oss://team-docs/" + folder + "/x.docx" }
	groups := staff(`"cognito:groups": ["editors"]`)
	visits(t, p, []visit{
		{"nested", staff(`"realm_access": {"roles": ["editor"]}`), at("nested"), "",
			"nested: view"},
		{"nested, another", staff(`"realm_access": {"roles": ["x"]}`), at("nested"), "",
			"Forbidden"},
		{"nested, a name with dots", staff(`"realm_access.roles": "editor"`), at("nested"), "",
			"Forbidden"},
		{"nested in a deny", staff(`"work": {"type": "contractor"}`), at("pay"), "", "Forbidden"},
		{"nested in a deny, absent", staff(`"work": {}`), at("pay"), "", "Forbidden"},
		{"nested in a deny, no object", staff(`"work": "permanent"`), at("pay"), "", "Forbidden"},
		{"twin: nested in a deny, another", staff(`"work": {"type": "permanent"}`), at("pay"), "",
			"pay: view"},

		{"roles as a map", staff(`"urn:zitadel:iam:org:project:roles": {"editor": {"id": "d"}}`),
			at("map"), "", "map: view"},
		{"another role in the map",
			staff(`"urn:zitadel:iam:org:project:roles": {"x": {"editor": "d"}}`), at("map"), "",
			"Forbidden"},
		{"a role that is false", staff(`"roles": {"admin": false}`), at("roles"), "", "Forbidden"},
		{"a colon", groups, at("colon"), "", "colon: view"},
		{"a colon in quotes", groups, at("quoted"), "", "quoted: view"},
		{"cut at its colon", staff(`"cognito": ["editors"]`), at("colon"), "", "Forbidden"},

		{"a URL as a segment", staff(`"https://example.com/team": "red"`), at("teams/red"), "",
			"teams: view"},
		{"another's", staff(`"https://example.com/team": "red"`), at("teams/blue"), "",
			"Forbidden"},
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
	text := ""
	for name, set := range map[string]string{
		"json": `UserData: '{"name":"${name}"}'`,
		"mark": `Watermark: {Type: 1, Value: "${name}"}`,
		"mail": `Watermark: {Type: 1, Value: "${email}"}`,
	} {
		text += "  - {name: " + name + ", documents: oss://team-docs/" + name +
			"/*, callers: {issuer: staff}, grant: [view], set: {" + set + "}}\n"
	}
	p := rules(t, text)
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
