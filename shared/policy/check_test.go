package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	const hidden, less, anyone = `rule "b" is hidden by "a"`, `rule "a" grants less than "b"`,
		`rule "a" is for anyone and stands before "b"`
	one := func(name, rest string) string { return "  - {name: " + name + ", " + rest + "}\n" }
	view := "callers: {issuer: staff}, grant: [view]"
	for name, c := range map[string]struct {
		a, b string
		want []string
	}{
		"the same documents": {"documents: oss://team-docs/x, " + view,
			"documents: oss://team-docs/x, " + view, []string{hidden}},
		"a folder": {"documents: oss://team-docs/a/**, " + view,
			"documents: oss://team-docs/a/b/*.docx, " + view, []string{hidden}},
		"a star": {"documents: oss://team-docs/*/x, " + view,
			"documents: oss://team-docs/a*/x, " + view, []string{hidden}},
		"stars in a segment": {"documents: oss://team-docs/a*c*, " + view,
			"documents: oss://team-docs/ab*cd, " + view, []string{hidden}},
		"a star over a claim": {
			"documents: oss://team-docs/*/x, " + view, "documents: 'oss://team-docs/${team}/x', " +
				view, []string{hidden},
		},
		"the same claim": {"documents: 'oss://team-docs/${team}/**', " + view,
			"documents: 'oss://team-docs/${team}/x', " + view, []string{hidden}},
		"** over **": {"documents: oss://team-docs/**/x, " + view,
			"documents: oss://team-docs/a/**/b/x, " + view, []string{hidden}},
		"a claim less": {"documents: oss://team-docs/**, " + view,
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: b}}, grant: [view]",
			[]string{hidden}},
		"a wider claim": {
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: [\"b*\", c]}}, grant: [view]", "documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: [bb, c], d: true}}, grant: [view]", []string{hidden}},
		"several callers": {
			"documents: oss://team-docs/x, callers: [{issuer: links}, {issuer: staff}], grant: [view]", "documents: oss://team-docs/x, callers: [{issuer: staff}, {issuer: links}], grant: [view]", []string{hidden}},
		"anyone over staff": {"documents: oss://team-docs/**, callers: anyone, grant: [view]",
			"documents: oss://team-docs/x, " + view, []string{hidden, anyone}},
		"a deny over all": {
			"documents: oss://team-docs/**, callers: {issuer: staff}, deny: true",
			"documents: oss://team-docs/x, " + view, []string{hidden}},
		"anyone's deny": {"documents: oss://team-docs/**, callers: anyone, deny: true",
			"documents: oss://team-docs/x, callers: {issuer: links}, grant: [view]",
			[]string{hidden}},
		"a deny with the same": {
			"documents: oss://team-docs/**, callers: {issuer: staff, claims: {a: b}}, deny: true",
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: b}}, deny: true",
			[]string{hidden}},
		"a deny that comes too late": {
			"documents: oss://team-docs/**, " + view,
			"documents: oss://team-docs/pay/**, callers: {issuer: staff, claims: {employment: contractor}}, deny: true", []string{hidden},
		},
		"twin: another bucket": {"documents: oss://team-docs/**, " + view,
			"documents: oss://team-docz/x, " + view, nil},
		"twin: beside the folder": {"documents: oss://team-docs/a/**, " + view,
			"documents: oss://team-docs/ab/x, " + view, nil},
		"twin: the folder itself": {"documents: oss://team-docs/a/**, " + view,
			"documents: oss://team-docs/a, " + view, nil},
		"twin: a star and folders": {"documents: oss://team-docs/*, " + view,
			"documents: oss://team-docs/a/b, " + view, nil},
		"twin: * and **": {"documents: oss://team-docs/*, " + view,
			"documents: oss://team-docs/**, " + view, nil},
		"twin: two levels": {"documents: oss://team-docs/*/**, " + view,
			"documents: oss://team-docs/**, " + view, nil},
		"twin: other stars": {"documents: oss://team-docs/a*, " + view,
			"documents: oss://team-docs/*a, " + view, nil},
		"twin: another claim": {"documents: 'oss://team-docs/${team}/x', " + view,
			"documents: 'oss://team-docs/${group}/x', " + view, nil},
		"twin: a claim over a star": {"documents: 'oss://team-docs/${team}/x', " + view,
			"documents: oss://team-docs/*/x, " + view, nil},
		"twin: a text like a claim": {"documents: 'oss://team-docs/$*/x', " + view,
			"documents: 'oss://team-docs/${team}/x', " + view, nil},
		"twin: another issuer": {"documents: oss://team-docs/x, " + view,
			"documents: oss://team-docs/x, callers: {issuer: partners}, grant: [view]", nil},
		"twin: one caller of two": {"documents: oss://team-docs/x, " + view,
			"documents: oss://team-docs/x, callers: [{issuer: staff}, {issuer: partners}], grant: [view]", nil},
		"twin: a claim more": {
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: b}}, grant: [view]",
			"documents: oss://team-docs/x, " + view, nil},
		"twin: a narrower claim": {
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: b}}, grant: [view]",
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: \"b*\"}}, grant: [view]", nil},
		"twin: a value more": {
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: [b, 1, true]}}, grant: [view]", "documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: [b, 1, true, 2]}}, grant: [view]", nil},
		"twin: text is no number": {
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: '1'}}, grant: [view]", "documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: 1}}, grant: [view]", nil},
		"twin: links are not anyone": {
			"documents: oss://team-docs/**, callers: anyone, grant: [view]",
			"documents: oss://team-docs/x, callers: {issuer: links}, grant: [view, edit]", nil},
		"twin: a deny by missing claim": {
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: b}}, grant: [view]",
			"documents: oss://team-docs/x, callers: {issuer: staff, claims: {a: b}}, deny: true",
			nil,
		},
		"twin: a deny by missing segment": {
			"documents: 'oss://team-docs/${team}/x', " + view,
			"documents: 'oss://team-docs/${team}/x', callers: {issuer: staff}, deny: true", nil,
		},

		"grants less": {
			"documents: oss://team-docs/**, callers: {issuer: staff, claims: {a: b}}, grant: [view]", "documents: oss://team-docs/x, callers: {issuer: staff, claims: {c: d}}, grant: [view, edit]", []string{less}},
		"grants something else": {
			"documents: oss://team-docs/**, callers: {issuer: staff, claims: {a: b}}, grant: [view, copy]", "documents: oss://team-docs/x, " + strings.Replace(view, "view", "view, print", 1), []string{less}},
		"anyone grants less": {
			"documents: oss://team-docs/a/*, callers: anyone, grant: [view]",
			"documents: oss://team-docs/a/x, callers: [{issuer: staff}, {issuer: links}], grant: [view, edit]", []string{less, anyone}},
		"twin: grants more": {
			"documents: oss://team-docs/**, callers: {issuer: staff, claims: {a: b}}, grant: [view, edit, copy]", "documents: oss://team-docs/x, callers: {issuer: staff, claims: {c: d}}, grant: [view, edit]", nil},
		"twin: of others": {
			"documents: oss://team-docs/**, callers: {issuer: partners}, grant: [view]",
			"documents: oss://team-docs/x, " + strings.Replace(view, "view", "view, print", 1),
			nil},
		"twin: of other documents": {
			"documents: oss://team-docs/a/**, callers: {issuer: staff, claims: {a: b}}, grant: [view]", "documents: oss://team-docs/**, " + strings.Replace(view, "view", "view, print", 1), nil},
		"twin: a deny": {
			"documents: oss://team-docs/**, callers: {issuer: staff, claims: {a: b}}, deny: true",
			"documents: oss://team-docs/x, " + view, nil},

		"anyone first": {"documents: oss://team-docs/a/*, callers: anyone, grant: [view]",
			"documents: oss://team-docs/b/*, " + view, []string{anyone}},
		"anyone before anyone's deny": {
			"documents: oss://team-docs/**, callers: anyone, grant: [view]",
			"documents: oss://team-docs/pay/**, callers: anyone, deny: true", []string{anyone},
		},
		"twin: anyone last": {"documents: oss://team-docs/a/*, " + view,
			"documents: oss://team-docs/b/*, callers: anyone, grant: [view]", nil},
		"twin: two for anyone": {
			"documents: oss://team-docs/a/*, callers: anyone, grant: [view]",
			"documents: oss://team-docs/b/*, callers: anyone, grant: [view]", nil},
		"twin: anyone's deny first": {
			"documents: oss://team-docs/pay/**, callers: anyone, deny: true",
			"documents: oss://team-docs/b/*, " + view, nil},
		"twin: anyone's deny of others": {
			"documents: oss://team-docs/a/**, callers: anyone, grant: [view]",
			"documents: oss://team-docs/pay/**, callers: anyone, deny: true", nil},
		"twin: links alone behind anyone": {
			"documents: oss://team-docs/a/*, callers: anyone, grant: [view]",
			"documents: oss://team-docs/a/*, callers: {issuer: links}, grant: [view, edit]", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := rules(t, one("a", c.a)+one("b", c.b)).Warnings()
			for _, want := range c.want {
				if !slices.ContainsFunc(got,
					func(w string) bool { return strings.HasPrefix(w, want) }) {
					t.Errorf("no warning %s", want)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %d warnings, want %d:\n%s", len(got), len(c.want),
					strings.Join(got, "\n"))
			}
		})
	}
}

func TestWarningOfAPolicyThatNoPageMayUse(t *testing.T) {
	text := "rules:\n  - {name: r, documents: oss://team-docs/*, callers: anyone, grant: [view], project: p}\n"
	if got := mustParse(t, text).Warnings(); len(got) != 1 ||
		!strings.Contains(got[0], "no origins") {
		t.Errorf("got %v", got)
	}
	if got := mustParse(t, "origins: [https://docs.example.com]\n"+text).Warnings(); got != nil {
		t.Errorf("got %v", got)
	}
	if got := mustParse(t, "project: p\n").Warnings(); got != nil {
		t.Errorf("a policy without rules: got %v", got)
	}
}

// TestWarningsOfManySegmentsComeInTime would take longer than anybody waits with a search that goes
// back on itself.
func TestWarningsOfManySegmentsComeInTime(t *testing.T) {
	deep := strings.Repeat("**/", 300)
	got := rules(t, "  - {name: a, documents: oss://team-docs/"+deep+
		"x, callers: {issuer: staff}, grant: [view]}\n"+
		"  - {name: b, documents: oss://team-docs/"+deep+
		"y, callers: {issuer: staff}, grant: [view]}\n"+
		"  - {name: c, documents: oss://team-docs/"+deep+
		"a/x, callers: {issuer: staff}, grant: [view]}\n").Warnings()
	if len(got) != 1 || !strings.Contains(got[0], `"c" is hidden by "a"`) {
		t.Errorf("got %v", got)
	}
}

func TestOwnTestsOfAPolicy(t *testing.T) {
	text := head + `
rules:
  - {name: contractors, documents: oss://team-docs/pay/**, callers: {issuer: staff, claims: {employment: contractor}}, deny: true}
  - {name: teams, documents: 'oss://team-docs/teams/${team}/**', callers: {issuer: staff, claims: {groups: editors}}, grant: [view, edit, copy]}
  - {name: links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view, copy]}
  - {name: handbook, documents: oss://team-docs/handbook/**, callers: anyone, grant: [view, copy], set: {PreviewPages: 20}}
tests:
`
	const ann = `{issuer: staff, sub: ann, groups: [editors], team: red}`
	right := `
  - {as: ` + ann + `, open: oss://team-docs/teams/red/x.docx, expect: teams, granted: [view, edit, copy]}
  - {as: ` + ann + `, open: oss://team-docs/teams/red/x.docx, ask: {Permission: {Readonly: true, Copy: "true"}}, expect: teams, granted: [copy, view]}
  - {as: ` + ann + `, open: oss://team-docs/teams/blue/x.docx, expect: refused}
  - {as: ` + ann + `, open: oss://team-docs/pay/x.docx, expect: refused}
  - {as: {issuer: links, document: "oss://team-docs/**", grant: [view, edit]}, open: oss://team-docs/x.docx, expect: links, granted: [view]}
  - {as: {issuer: links, jti: j1, document: oss://team-docs/x.docx, grant: [view]}, open: oss://team-docs/y.docx, expect: refused}
  - {as: anyone, open: oss://team-docs/handbook/x.docx, expect: handbook}
  - {as: anyone, open: oss://team-docs/handbook/x.docx, ask: {PreviewPages: 21}, expect: refused}
  - {as: anyone, open: oss://team-docs/handbook/x.docx, ask: {UserData: x}, expect: refused}
  - {as: anyone, open: oss://team-docs/teams/red/x.docx, expect: refused}
`
	if ran, failures := mustParse(t, text+right).Test(); ran != 10 || failures != nil {
		t.Errorf("%d ran:\n%s", ran, strings.Join(failures, "\n"))
	}
	for test, want := range map[string][]string{
		`{as: ` + ann + `, open: oss://team-docs/teams/blue/x.docx, expect: teams}`: {
			"test 1: oss://team-docs/teams/blue/x.docx: expected teams, got refused",
			"contractors: the documents do not match",
			"teams: the segment ${team} is not the caller's",
			"links: the caller is not of this issuer", "handbook: the documents do not match",
		},
		`{as: {issuer: staff, sub: bob, groups: viewers, team: red}, open: oss://team-docs/teams/red/x.docx, expect: teams}`: {
			"teams: the claim groups does not hold",
		},
		`{as: ` + ann + `, open: oss://team-docs/teams/red/x.docx, expect: refused}`: {
			"expected refused, got teams", "contractors: the documents do not match"},
		`{as: ` + ann + `, open: oss://team-docs/pay/x.docx, expect: teams}`: {
			"expected teams, got refused", "contractors: You may not open"},
		`{as: anyone, open: oss://team-docs/handbook/x.docx, ask: {PreviewPages: 21}, expect: handbook}`: {
			"expected handbook, got refused", "handbook: PreviewPages may be 1 to 20",
		},
		`{as: ` + ann +
			`, open: oss://team-docs/teams/red/x.docx, expect: teams, granted: [view]}`: {
			"expected the grants view, got view edit copy"},
		`{as: ` + ann +
			`, open: oss://team-docs/teams/red/x.pdf, expect: teams, granted: [view, edit, copy]}`: {
			"expected the grants view edit copy, got view copy",
		},
		// A misspelt name must not pass for a refusal.
		`{as: ` + ann +
			`, open: oss://team-docs/teams/red/x, expect: refused}`: {
			"expected refused, got InvalidArgument.SourceURI"},
		`{as: anyone, open: oss://team-docs/handbook/x.docx, ask: {PreviewPages: 0}, expect: refused}`: {"expected refused, got InvalidPreviewPages"},
	} {
		ran, failures := mustParse(t, text+"  - "+test+"\n").Test()
		if ran != 1 || len(failures) != 1 {
			t.Errorf("%s: %d ran, failures %q", test, ran, failures)
			continue
		}
		for _, part := range want {
			if !strings.Contains(failures[0], part) {
				t.Errorf("%s: %q is not in\n%s", test, part, failures[0])
			}
		}
	}
}

func TestCallersOfTests(t *testing.T) {
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff, claims: {issuer: acme}}, grant: [view]}\n")
	claims := map[string]any{"issuer": "staff", "sub": "ann", "email": "ann@example.com"}
	c, err := p.CallerOf(claims)
	if err != nil || c.Issuer != "staff" || c.IssuerURL != "https://login.example.com" ||
		c.Subject != "ann" || c.Guest() {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, there := c.Claims["issuer"]; there {
		t.Error("the policy's name of the issuer became a claim")
	}
	if _, there := c.Claims["email"]; there {
		t.Error("an unverified address became a claim")
	}
	if fmt.Sprint(claims) != "map[email:ann@example.com issuer:staff sub:ann]" {
		t.Errorf("CallerOf changed the claims it was given: %v", claims)
	}
	for name, claims := range map[string]map[string]any{
		"nobody": nil, "no issuer": {"sub": "ann"}, "an unknown issuer": {"issuer": "stuff",
			"sub": "ann"}, "no sub": {"issuer": "staff"},
		"sub is a list":           {"issuer": "staff", "sub": []any{"ann"}},
		"a claim that is no JSON": {"issuer": "staff", "sub": "ann", "f": func() {}},
		"a link without document": {"issuer": "links", "grant": []any{"view"}},
	} {
		if c, err := p.CallerOf(claims); err == nil {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}
