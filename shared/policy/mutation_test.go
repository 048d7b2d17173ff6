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

// TestFaultsAreCaught runs TestDecideEqualsTheOracle on each mistake of testdata/faults.txt that
// somebody could make. All are compiled into one program, in which a variable says which of them is
// made.
func TestFaultsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package with faults: left out with -short")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to build the package with")
	}
	faults := cases(t, "testdata/faults.txt")
	program := faultyProgram(t, goTool, faults)
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
func faultyProgram(t *testing.T, goTool string, faults []namedCase) string {
	t.Helper()
	sources := map[string]string{"fault.go": "package policy\n\nimport \"os\"\n\n" +
		"var fault = os.Getenv(\"POLICY_FAULT\")\n"}
	for i, f := range faults {
		lines := strings.Split(f.lines, "\n")
		file, from := lines[0], lines[1]
		if sources[file] == "" {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources[file] = string(source)
		}
		if n := strings.Count(sources[file], from); n != 1 {
			t.Fatalf("%s: %s holds %q %d times: the fault does not fit the source any more", f.name,
				file, from, n)
		}
		to := strings.ReplaceAll(lines[2], "FAULT", fmt.Sprintf("(fault == \"%d\")", i))
		sources[file] = strings.Replace(sources[file], from, to, 1)
	}
	folder := t.TempDir()
	write := func(name, text string) (path string) {
		path = filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, source := range sources {
		replace[filepath.Join(here, name)] = write(name, source)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "faulty.test")
	build := exec.CommandContext(t.Context(), goTool, "test", "-c", "-overlay",
		write("overlay.json", string(overlay)), "-vet=off", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
