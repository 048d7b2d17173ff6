package main

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const closed = `tests:
  - {as: anyone, open: oss://bucket/a.docx, expect: refused}
`

// module writes a small module of the shape that build expects, and goes there.
func module(t *testing.T, policy string) string {
	t.Helper()
	root := t.TempDir()
	t.Chdir(root)
	files := map[string]string{
		"go.mod":                "module example.com/functions\n\ngo 1.26\n",
		"functions/policy.yaml": policy,
		".gitignore":            "/dist/\n",
	}
	for _, function := range functions {
		files["functions/"+function+
			"/bootstrap/main.go"] = "package main\n\nfunc main() { println(\"" + function +
			"\") }\n"
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// sums hashes every file under a folder, each with its mode.
func sums(t *testing.T, root string) map[string][32]byte {
	t.Helper()
	found := map[string][32]byte{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		info, err2 := d.Info()
		name, _ := filepath.Rel(root, path)
		found[filepath.ToSlash(name)] = sha256.Sum256(fmt.Appendln(data, info.Mode()))
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Two folders, two environments, and two places for the packages give the same bytes.
func TestEveryTargetIsReproducible(t *testing.T) {
	var out bytes.Buffer
	first := filepath.Join(module(t, closed), "dist")
	if err := run(t.Context(), nil, os.Getenv, &out); err != nil {
		t.Fatal(err)
	}
	second, elsewhere := module(t, closed), filepath.Join(t.TempDir(), "packages")
	t.Setenv("GOFLAGS", "-tags=other")
	t.Setenv("GOAMD64", "v3")
	defer syscall.Umask(syscall.Umask(0o077))
	if err := run(t.Context(), []string{"-out", elsewhere}, os.Getenv, &out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(second, "dist")); err == nil {
		t.Error("dist was made beside what -out names")
	}
	for _, place := range []string{"dist/fc/refresh/bootstrap ", elsewhere + "/lambda/generate/boot"} {
		if !strings.Contains(filepath.ToSlash(out.String()), filepath.ToSlash(place)) {
			t.Errorf("the output does not name %s:\n%s", place, out.String())
		}
	}
	want, got := sums(t, first), sums(t, elsewhere)
	if len(want) != 8 || !maps.Equal(want, got) {
		t.Errorf("%d files, want 8 that are the same in two places:\n%v\n%v", len(want), want, got)
	}
	machines := map[string]elf.Machine{"fc": elf.EM_X86_64, "lambda": elf.EM_AARCH64}
	for name, machine := range machines {
		for _, function := range functions {
			program := filepath.Join(first, name, function, "bootstrap")
			file, err := elf.Open(program)
			if err != nil {
				t.Fatal(err)
			}
			libraries, _ := file.ImportedLibraries()
			if file.Machine != machine || len(libraries) > 0 {
				t.Errorf("%s is for %s, want %s, and needs %v", program, file.Machine, machine,
					libraries)
			}
			_ = file.Close()
			info, err := os.Stat(program)
			if err != nil || info.Mode() != 0o755 || !info.ModTime().Equal(packed) {
				t.Errorf("%s: mode %v, time %v, error %v", program, info.Mode(), info.ModTime(),
					err)
			}
			beside, err := os.ReadFile(filepath.Join(filepath.Dir(program), "policy.yaml"))
			if err != nil || string(beside) != closed {
				t.Errorf("%s: policy beside it: %q, %v", program, beside, err)
			}
		}
	}
}

func TestTheCommitIsStamped(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here: nothing to stamp")
	}
	root := module(t, closed)
	git := func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), "git",
			append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		command.Dir = root
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	if got := stamp(t.Context()); got != "false" {
		t.Fatalf("a repository without a commit: -buildvcs=%s", got)
	}
	git("add", ".")
	git("commit", "-q", "-m", "first")
	t.Setenv("GOFLAGS", "-buildvcs=false") // as some build machines set it
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-target", "fc"}, os.Getenv, &out); err != nil {
		t.Fatal(err)
	}
	head := git("rev-parse", "HEAD")
	got := revision(filepath.Join(root, "dist/fc/generate/bootstrap"))
	if got != head || !strings.Contains(out.String(), head) {
		t.Errorf("stamped %s, want %s, also in the output:\n%s", got, head, out.String())
	}
}

func TestABadPolicyStopsTheBuild(t *testing.T) {
	for name, c := range map[string]struct{ policy, want string }{
		"does not parse": {"rulez: []\n", "rulez"},
		"its tests fail": {closed +
			"rules:\n  - {name: all, documents: oss://bucket/**, callers: anyone, grant: [view]}\n",
			"expected refused, got all"},
		"for a stand-in":   {"standIn: true\n" + closed, "standIn"},
		"another is given": {closed, "other.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			root := module(t, c.policy)
			args := []string{"-target", "fc"}
			if name == "another is given" {
				args = append(args, "-policy", "other.yaml")
			}
			kept := filepath.Join(root, "dist/fc/generate/bootstrap")
			if err := errors.Join(os.MkdirAll(filepath.Dir(kept), 0o755),
				os.WriteFile(kept, []byte("the one before"), 0o755)); err != nil {
				t.Fatal(err)
			}
			err := run(t.Context(), args, os.Getenv, &bytes.Buffer{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want one with %q", err, c.want)
			}
			if data, _ := os.ReadFile(kept); string(data) != "the one before" {
				t.Error("the build before was touched")
			}
		})
	}
}

func TestArgumentsThatMeanNothing(t *testing.T) {
	module(t, closed)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-target", "azure"}, "fc or lambda"},
		{[]string{"-target", "fc", "-arch", "arm64"}, "amd64"},
		{[]string{"-arch", "arm64"}, "give -target too"},
		{[]string{"-target", "lambda", "-arch", "386"}, "arm64 or amd64"},
		{[]string{"-target", "lambda", "-arch", "amd64", "-policy", "none"}, "none: no such file"},
		{[]string{"fc"}, "not a flag"},
	} {
		if err := run(t.Context(), c.args, os.Getenv, &bytes.Buffer{}); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want one with %q", c.args, err, c.want)
		}
	}
	t.Chdir(t.TempDir())
	if err := run(t.Context(), nil, os.Getenv, &bytes.Buffer{}); err == nil ||
		!strings.Contains(err.Error(), "go.mod") {
		t.Errorf("outside of a module: got %v", err)
	}
}

// Serverless Devs goes on without an environment that it does not find, and says so in its log
// alone.
func TestUnknownEnvironmentStopsADeployment(t *testing.T) {
	module(t, closed)
	home := t.TempDir()
	env := map[string]string{"serverless_devs_traceid": "1125184301", "HOME": home}
	log := filepath.Join(home, ".s", "logs", "1125184301", "s_cli.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		t.Fatal(err)
	}
	const said = "[2026-11-25 18:43:01][WARN] Env [typo] was not found, run without environment.\n"
	for text, want := range map[string]string{
		said: `scripts/env.yaml has no environment "typo"`,
		"[2026-11-25 18:43:01][DEBUG] args --env [x]\n": "-target azure", // harmless twin
	} {
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(t.Context(), []string{"-target", "azure"},
			func(name string) string { return env[name] }, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// TestTheExamplesOfTheShippedPolicyParse takes the "# " off every example line of the policy, as
// its first lines say. It reads a copy: the file in use belongs to the adopter.
func TestTheExamplesOfTheShippedPolicyParse(t *testing.T) {
	shipped := filepath.Join("..", "check", "testdata", "policy.yaml")
	if _, err := readPolicy(shipped); err != nil {
		t.Fatalf("as it ships: %v", err)
	}
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	_, below, _ := strings.Cut(string(text), "is an example")
	for line := range strings.Lines("##" + below) {
		line = strings.TrimSuffix(line, "\n")
		if line == "#" {
			line = ""
		}
		lines = append(lines, strings.TrimPrefix(line, "# "))
	}
	edited := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(edited, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readPolicy(edited); err != nil {
		t.Errorf("with its examples: %v", err)
	}
}
