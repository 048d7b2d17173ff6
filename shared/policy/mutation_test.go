package policy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// faults are mistakes that somebody could make in what Decide does. Each must fail
// TestDecideEqualsTheOracle.
var faults = []struct{ name, file, from, to string }{
	{"a caller may ask for more than the grant", "policy.go",
		"granted = granted.And(*q.Asked.Permission)", "granted = *q.Asked.Permission"},
	{"a link's grants do not count", "policy.go", "granted = granted.And(linked)", "_ = linked"},
	{"a deny rule is passed over", "policy.go", "if r.deny {\n\t\t\tbreak", "if r.deny {\n\t\t\tcontinue"},
	{"the caller's PreviewPages get lost", "policy.go",
		"request.PreviewPages = q.Asked.PreviewPages", "_ = q.Asked.PreviewPages"},
	{"one Id for two issuers' equal subjects", "policy.go", "q.Caller.IssuerURL, person.ID",
		"\"\", person.ID"},
	{"every session lasts as long", "policy.go", "q.Start.Add(r.session)",
		"q.Start.Add(DefaultSession)"},
	{"a deny rule needs its claim", "rule.go", "return deny && !c.wants(claim)", "return false"},
	{"share links enter where anyone may", "rule.go",
		"a.caller.Issuer == caller.LinkIssuer && !deny", "false"},
	{"a link opens every document", "rule.go",
		"(a.linkDocs == nil || !a.linkDocs.compiled().MatchString(a.uri))", "a.linkDocs == nil"},
	{"an address with two @ counts", "rule.go",
		"name != \"email\" || plainEmail.MatchString(value)", "true"},
	{"a blank claim fills a watermark", "fill.go",
		"!isText || !strings.ContainsFunc(value, visible)", "!isText"},
	{"claims of any issuer count", "rule.go", "if a.caller.Issuer != c.issuer {",
		"if a.caller.Guest() {"},
	{"anybody may send User", "rule.go", "\"PreviewPages\"}",
		"\"PreviewPages\", \"User\"}"},
	{"more PreviewPages than set", "rule.go", "case *asked.PreviewPages > *r.set.PreviewPages:",
		"case *asked.PreviewPages > 5000:"},
	{"* crosses segments", "pattern.go", "`[^/]*`", "`.*`"},
	{"** stands for nothing too", "pattern.go", "expression += \"/.*\"",
		"expression += \"(/.*)?\""},
	{"a segment need not be the claim", "pattern.go", "p.claims = append(p.claims, claim)",
		"_ = p.claims"},
}

// TestFaultsAreCaught builds the package once for each fault and runs the property test on it.
func TestFaultsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once for each of its faults: left out with -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build the package with")
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(fault.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), fault.from); n != 1 {
				t.Fatalf("%s holds %q %d times: the fault does not fit the source any more",
					fault.file, fault.from, n)
			}
			faulty := filepath.Join(t.TempDir(), fault.file)
			if err := os.WriteFile(faulty,
				[]byte(strings.Replace(string(source), fault.from, fault.to, 1)),
				0o600); err != nil {
				t.Fatal(err)
			}
			original, err := filepath.Abs(fault.file)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(
				map[string]any{"Replace": map[string]string{original: faulty}})
			if err != nil {
				t.Fatal(err)
			}
			list := filepath.Join(t.TempDir(), "overlay.json")
			if err := os.WriteFile(list, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), goTool, "test", "-overlay", list, "-short",
				"-count=1", "-vet=off",
				"-run", "^TestDecideEqualsTheOracle$", ".")
			out, err := command.CombinedOutput()
			if err == nil || !strings.Contains(string(out),
				"--- FAIL: TestDecideEqualsTheOracle") ||
				!strings.Contains(string(out), "want {Code:") {
				t.Errorf("the property test does not notice: %v\n%s", err, out)
			}
		})
	}
}
