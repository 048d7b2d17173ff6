package policy_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"weboffice-functions/shared/policy"
)

// warnings checks a policy that is right, and returns what Check warns of.
func warnings(t testing.TB, text string) []string {
	t.Helper()
	r := policy.Check([]byte(text), policy.Options{Salt: salt})
	if r.Mistakes != nil {
		t.Fatalf("%v\n%s", r.Mistakes, text)
	}
	var all []string
	for _, w := range r.Warnings {
		all = append(all, w.Error())
	}
	return all
}

// TestWarnings holds Check to testdata/warnings.txt, which says how to read it.
func TestWarnings(t *testing.T) {
	text, err := os.ReadFile("testdata/warnings.txt")
	if err != nil {
		t.Fatal(err)
	}
	short := strings.NewReplacer("VIEW", "STAFF, grant: [view]", "STAFF",
		"callers: {issuer: staff}")
	for _, part := range strings.Split(string(text), "\n-- ")[1:] {
		name, lines, _ := strings.Cut(part, "\n")
		var rules, tests string
		var want []string
		for line := range strings.Lines(lines) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch key {
			case "a:", "b:", "c:":
				value = short.Replace(short.Replace(value))
				rules += "  - {name: " + strings.TrimSuffix(key, ":") + ", " + value + "}\n"
			case "test:":
				tests += "  - " + value + "\n"
			case "!":
				want = append(want, value)
			}
		}
		if tests != "" {
			tests = "tests:\n" + tests
		}
		t.Run(name, func(t *testing.T) {
			got := warnings(t, head+"rules:\n"+rules+tests)
			for _, part := range want {
				if !slices.ContainsFunc(got,
					func(w string) bool { return strings.Contains(w, part) }) {
					t.Errorf("no warning %s in\n%s", part, strings.Join(got, "\n"))
				}
			}
			if len(got) != len(want) {
				t.Errorf("got %d warnings, want %d:\n%s", len(got), len(want),
					strings.Join(got, "\n"))
			}
		})
	}
}

func TestWarningsOfWhatStandsBesideTheRules(t *testing.T) {
	one := func(issuer string) string {
		return "issuers:\n  a: {url: https://a.example, " + issuer + "}\n"
	}
	for text, want := range map[string]string{
		one("audience: account"):                  "2:41: audience account is in every token",
		one("audience: [x, account]"):             "audienceClaim: azp",
		one("audience: x, user: {id: a.b}"):       "write /a/b",
		"limits: {caller: 60/m, total: 3599/h}\n": "1:31: total is below caller",
		"limits: {caller: 60/m, total: 3600/h}\n": "",
		one("audience: accounts"):                 "",
		one("audience: x, user: {id: /a/b}"):      "",
	} {
		got := strings.Join(warnings(t, text), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestWarningOfAPolicyThatNoPageMayUse(t *testing.T) {
	text := "rules:\n  - {name: r, documents: oss://team-docs/*, callers: anyone, grant: [view]," +
		" project: p}\n"
	if got := warnings(t, text); len(got) != 1 ||
		!strings.Contains(got[0], "no origins") {
		t.Errorf("got %v", got)
	}
	if got := warnings(t, "origins: [https://docs.example.com]\n"+text); got != nil {
		t.Errorf("got %v", got)
	}
	if got := warnings(t, "project: p\n"); got != nil {
		t.Errorf("a policy without rules: got %v", got)
	}
}

// TestWarningsOfManySegmentsComeInTime would take longer than anybody waits with a search that goes
// back on itself.
func TestWarningsOfManySegmentsComeInTime(t *testing.T) {
	deep := strings.Repeat("**/", 300)
	got := warnings(t, head+"rules:\n  - {name: a, documents: oss://team-docs/"+deep+
		"x.docx, callers: {issuer: staff}, grant: [view]}\n"+
		"  - {name: b, documents: oss://team-docs/"+deep+
		"y.docx, callers: {issuer: staff}, grant: [view]}\n"+
		"  - {name: c, documents: oss://team-docs/"+deep+
		"a/x.docx, callers: {issuer: staff}, grant: [view]}\n")
	if len(got) != 1 || !strings.Contains(got[0], `"c" is hidden by "a"`) {
		t.Errorf("got %v", got)
	}
}

func TestOwnTestsOfAPolicy(t *testing.T) {
	text := head + `
rules:
  - {name: contractors, documents: oss://team-docs/pay/**, callers: {issuer: staff,
     claims: {employment: contractor}}, deny: true}
  - {name: teams, documents: 'oss://team-docs/teams/${team}/**', callers: {issuer: staff,
     claims: {groups: editors}}, grant: [view, edit, copy]}
  - {name: colons, documents: oss://team-docs/colons/*, callers: {issuer: staff,
     claims: {cognito:groups: editors}}, grant: [view]}
  - {name: links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view, copy]}
  - {name: handbook, documents: oss://team-docs/handbook/**, callers: anyone, grant: [view, copy],
     set: {PreviewPages: 20}}
tests:
`
	const ann = `{issuer: staff, sub: ann, groups: [editors], team: red}`
	right := `
  - {as: ` + ann + `, open: oss://team-docs/teams/red/x.docx, expect: teams, granted: [view, edit, copy]}
  - {as: ` + ann + `, open: oss://team-docs/teams/red/x.docx, ask: {Permission: {Readonly: true,
     Copy: "true"}}, expect: teams, granted: [copy, view]}
  - {as: ` + ann + `, open: oss://team-docs/teams/blue/x.docx, expect: refused}
  - {as: ` + ann + `, open: oss://team-docs/pay/x.docx, expect: refused}
  - {as: {issuer: links, documents: "oss://team-docs/**", grant: [view, edit]},
     open: oss://team-docs/x.docx, expect: links, granted: [view]}
  - {as: {issuer: links, jti: j1, document: oss://team-docs/x.docx, grant: [view]},
     open: oss://team-docs/y.docx, expect: refused}
  - {as: {issuer: staff, sub: ann, cognito:groups: [editors]}, open: oss://team-docs/colons/x.docx,
     expect: colons}
  - {as: anyone, open: oss://team-docs/handbook/x.docx, expect: handbook}
  - {as: anyone, open: oss://team-docs/handbook/x.docx, ask: {PreviewPages: 21}, expect: refused}
  - {as: anyone, open: oss://team-docs/handbook/x.docx, ask: {UserData: x}, expect: refused}
  - {as: anyone, open: oss://team-docs/teams/red/x.docx, expect: refused}
`
	if r := policy.Check([]byte(text+right), policy.Options{}); r.Tests != 11 ||
		r.Failures != nil || r.Mistakes != nil {
		t.Errorf("%+v", r)
	}
	for test, want := range map[string][]string{
		`{as: ` + ann + `, open: oss://team-docs/teams/blue/x.docx, expect: teams}`: {
			"test 1: oss://team-docs/teams/blue/x.docx: expected teams, got refused",
			"contractors: the documents do not match",
			"teams: the segment ${team} is not the caller's",
			"links: the caller is not of this issuer", "handbook: the documents do not match",
		},
		`{as: {issuer: staff, sub: bob, groups: viewers, team: red},` +
			` open: oss://team-docs/teams/red/x.docx, expect: teams}`: {
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
		`{as: anyone, open: oss://team-docs/handbook/x.docx, ask: {PreviewPages: 0}, expect: refused}`: {
			"expected refused, got InvalidPreviewPages"},
	} {
		r := policy.Check([]byte(text+"  - "+test+"\n"), policy.Options{})
		if r.Tests != 1 || len(r.Failures) != 1 {
			t.Errorf("%s: %+v", test, r)
			continue
		}
		for _, part := range want {
			if !strings.Contains(r.Failures[0].Text, part) {
				t.Errorf("%s: %q is not in\n%s", test, part, r.Failures[0])
			}
		}
	}
}

func TestCallersOfTests(t *testing.T) {
	p := rules(t,
		"  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff}, grant: [view]}\n")
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
