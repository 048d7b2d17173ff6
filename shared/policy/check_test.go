package policy_test

import (
	"cmp"
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

type namedCase struct{ name, lines string }

// cases are the parts of a file that begin with "-- " and a name.
func cases(t testing.TB, file string) (all []namedCase) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n-- ")[1:] {
		name, lines, _ := strings.Cut(part, "\n")
		all = append(all, namedCase{name, lines})
	}
	return all
}

// TestFindings holds Check to testdata/findings.txt, which says how to read it.
func TestFindings(t *testing.T) {
	short := strings.NewReplacer("VIEW", "callers: {issuer: staff}, grant: [view]",
		"STAFF", "callers: {issuer: staff}", "ANN", "{issuer: staff, sub: ann, groups: [editors]")
	for _, c := range cases(t, "testdata/findings.txt") {
		var whole, rules, tests string
		var want []string
		for line := range strings.Lines(c.lines) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch value = short.Replace(value); key {
			case "":
			case "=":
				whole += value + "\n"
			case "test:":
				tests += "\n  - " + value
			case "!":
				want = append(want, value)
			default:
				rules += "  - {name: " + strings.TrimSuffix(key, ":") + ", " + value + "}\n"
			}
		}
		text := cmp.Or(whole, head+"rules:\n"+rules)
		if tests != "" {
			text += "tests:" + tests
		}
		t.Run(c.name, func(t *testing.T) {
			r := policy.Check([]byte(text), policy.Options{Salt: salt})
			got := append(r.Failures, r.Warnings...)
			for _, wanted := range want {
				parts := strings.Split(wanted, " & ")
				if !slices.ContainsFunc(got, func(f policy.Finding) bool {
					return !slices.ContainsFunc(parts, func(part string) bool {
						return !strings.Contains(f.Error(), part)
					})
				}) {
					t.Errorf("nothing found is %s", wanted)
				}
			}
			if len(got) != len(want) || r.Mistakes != nil || r.Tests != strings.Count(tests, "\n") {
				t.Errorf("found %d, want %d, with %d tests run:\n%v", len(got), len(want), r.Tests,
					got)
			}
		})
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

// A name with 400 a and 400 b in any order is more than the search looks for: it says so.
func TestASearchThatWouldTakeTooLongIsNotSure(t *testing.T) {
	of := func(letter string) string { return "oss://team-docs/" + strings.Repeat("*"+letter, 400) }
	if policy.Apart(of("a"), of("b")) {
		t.Error("it is sure that there is no such name")
	}
	if !policy.Apart("oss://team-docs/*a", "oss://team-docs/*b") {
		t.Error("it is not sure that no name ends in a and in b")
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
		"nobody": nil, "no issuer": {"sub": "ann"}, "no sub": {"issuer": "staff"},
		"an unknown issuer":       {"issuer": "stuff", "sub": "ann"},
		"a claim that is no JSON": {"issuer": "staff", "sub": "ann", "f": func() {}},
	} {
		if c, err := p.CallerOf(claims); err == nil {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}
