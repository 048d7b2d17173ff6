package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// faults are mistakes that somebody could make in what Decide does. Each must fail
// TestDecideEqualsTheOracle. All are compiled into one program, in which fault says which of them
// is made.
var faults = []struct{ name, file, from, to string }{
	{"a caller may ask for more than the grant", "policy.go",
		"granted = granted.And(*asked.Permission)",
		"if granted = granted.And(*asked.Permission); FAULT { granted = *asked.Permission }"},
	{"a link's grants do not count", "policy.go", "granted = granted.And(linked)",
		"if !FAULT { granted = granted.And(linked) }"},
	{"a deny rule is passed over", "policy.go", "if why == holds {",
		"if why == holds && !(FAULT && r.deny) {"},
	{"the caller's PreviewPages get lost", "policy.go", "if asked.PreviewPages != nil {",
		"if asked.PreviewPages != nil && !FAULT {"},
	{"one Id for two issuers' equal subjects", "policy.go", "q.Caller.IssuerURL, person.ID",
		"map[bool]string{false: q.Caller.IssuerURL}[FAULT], person.ID"},
	{"every session lasts as long", "policy.go", "a.q.Start.Add(r.session)",
		"a.q.Start.Add(map[bool]time.Duration{false: r.session, true: DefaultSession}[FAULT])"},
	{"a deny rule needs its claim", "rule.go", "\treturn deny\n}", "\treturn deny && !FAULT\n}"},
	{"what cannot be compared ends a denial", "rule.go", "value.Odd ||", "value.Odd && !FAULT ||"},
	{"share links enter where anyone may", "rule.go", "issuer != caller.LinkIssuer || deny",
		"issuer != caller.LinkIssuer || deny || FAULT"},
	{"a link opens every document", "rule.go", "link.Document == uri", "link.Document == uri || FAULT"},
	{"a link's documents are not looked at", "rule.go",
		"_, ok := documents.match(uri)", "_, ok := documents.match(uri); ok = ok || FAULT"},
	{"an address's case counts", "rule.go", "if c.fold {", "if c.fold && !FAULT {"},
	{"a blank claim fills a watermark", "fill.go", "!strings.ContainsFunc(value, visible)",
		"!FAULT && !strings.ContainsFunc(value, visible)"},
	{"claims of any issuer count", "rule.go", "return issuer == c.issuer",
		"return issuer == c.issuer || FAULT && issuer != \"\""},
	{"anybody may send User", "rule.go", "slices.Contains(sendable, parameter) ||",
		"FAULT && parameter == \"User\" || slices.Contains(sendable, parameter) ||"},
	{"more PreviewPages than set", "rule.go", "case *asked.PreviewPages > *set.PreviewPages:",
		"case *asked.PreviewPages > *set.PreviewPages && !FAULT:"},
	{"what the policy gives anyway is refused", "rule.go", "case reflect.DeepEqual(sent,",
		"case !FAULT && reflect.DeepEqual(sent,"},
	{"* crosses segments", "meet.go", "`\\*`, \"[^/]*\")",
		"`\\*`, map[bool]string{false: \"[^/]*\", true: \".*\"}[FAULT])"},
	{"** stands for nothing too", "meet.go", "all += \"/.*\"",
		"all += map[bool]string{false: \"/.*\", true: \"(/.*)?\"}[FAULT]"},
	{"a segment need not be the claim", "rule.go", "if is.holds(a.claim(s.claim), deny) {",
		"if FAULT || is.holds(a.claim(s.claim), deny) {"},
	{"a pointer is a name", "rule.go", "a.q.Caller.Claims.Find(name)",
		"a.q.Caller.Claims.Find(map[bool]string{false: name, true: \"x\" + name}[FAULT && name[0] == '/'])"},
}

// TestFaultsAreCaught runs the property test on each fault.
func TestFaultsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package with faults: left out with -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build the package with")
	}
	program := faultyProgram(t, goTool)
	for i, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), program, "-test.short",
				"-test.run", "^TestDecideEqualsTheOracle$")
			command.Env = append(os.Environ(), fmt.Sprintf("POLICY_FAULT=%d", i))
			out, err := command.CombinedOutput()
			if err == nil || strings.Contains(string(out), "panic:") ||
				!strings.Contains(string(out), "--- FAIL: TestDecideEqualsTheOracle") {
				t.Errorf("the property test does not notice: %v\n%s", err, out)
			}
		})
	}
}

// faultyProgram builds this package's tests with every fault in the package.
func faultyProgram(t *testing.T, goTool string) string {
	t.Helper()
	sources := map[string]string{"fault.go": "package policy\n\nimport \"os\"\n\n" +
		"var fault = os.Getenv(\"POLICY_FAULT\")\n"}
	for i, f := range faults {
		if sources[f.file] == "" {
			source, err := os.ReadFile(f.file)
			if err != nil {
				t.Fatal(err)
			}
			sources[f.file] = string(source)
		}
		if n := strings.Count(sources[f.file], f.from); n != 1 {
			t.Fatalf("%s: %s holds %q %d times: the fault does not fit the source any more", f.name,
				f.file, f.from, n)
		}
		to := strings.ReplaceAll(f.to, "FAULT", fmt.Sprintf("(fault == \"%d\")", i))
		sources[f.file] = strings.Replace(sources[f.file], f.from, to, 1)
	}
	folder, replace := t.TempDir(), map[string]string{}
	for name, source := range sources {
		faulty := filepath.Join(folder, name)
		if err := os.WriteFile(faulty, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		original, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		replace[original] = faulty
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "faulty.test")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), goTool, "test", "-c", "-overlay", list, "-vet=off",
		"-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
