package main

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// deployStep is the shell script of the workflow's step.
func deployStep(t *testing.T) string {
	t.Helper()
	r := &report{}
	workflow := readYAML(r, os.DirFS("."), ".github/workflows/function-compute-environment.yml")
	steps := workflow.at("jobs", "deploy", "steps").items
	i := slices.IndexFunc(steps, func(step node) bool { return step.text("name") == "Deploy" })
	if i < 0 || len(r.findings) > 0 {
		t.Fatalf("no step Deploy: %v", r.findings)
	}
	return steps[i].text("run")
}

// deployedProject is a project whose functions are deployed by the stub.
func deployedProject(t *testing.T) (root string) {
	t.Helper()
	if testing.Short() {
		t.Skip("installs Serverless Devs and builds scripts/build")
	}
	t.Chdir("../..")
	program, err := serverlessDevs(t.Context())
	if _, err2 := exec.LookPath("jq"); err != nil || err2 != nil {
		t.Skip(errors.Join(err, err2))
	}
	root = t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "build"),
		"./scripts/build")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err = errors.Join(os.CopyFS(root, os.DirFS("scripts/check/testdata/deploy")),
		os.WriteFile(filepath.Join(root, "go.mod"), []byte("module x\n"), 0o600),
		os.MkdirAll(filepath.Join(root, ".github"), 0o755),
		os.Symlink(filepath.Join(filepath.Dir(program), "..", ".."),
			filepath.Join(root, ".github", "serverless-devs")))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestWorkflowsDeployStep runs the step as it stands, with the real tool. A component that throws
// makes it fail with the error shown, and nothing that it prints or leaves holds a key.
func TestWorkflowsDeployStep(t *testing.T) {
	root := deployedProject(t)
	const first = "Zx9cVbN3mQwErTyUiOpAsDfGhJkL1z2X4C6V8B0nM5Q="
	const second = "q2Jx0m3ZkS8nB7rV5tYpLwEuGhDfCaXi1o4T6sKjNvQ="
	mask := regexp.MustCompile(`(?m)^::add-mask::.*\n`)
	for name, c := range map[string]struct {
		env  map[string]string
		ok   bool
		says string
	}{
		"it deploys":            {nil, true, ""},
		"the component throws":  {map[string]string{"MODE": "throw"}, false, "ReservedConcurrencyQuotaExceeded"},
		"no such environment":   {map[string]string{"ENVIRONMENT": "typo"}, false, `no environment "typo"`},
		"the secret is not set": {map[string]string{"WEBOFFICE_SESSION_KEYS": ""}, false, "set this secret"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.RemoveAll(filepath.Join(root, "dist"))
			temporary := t.TempDir()
			env := map[string]string{"HOME": temporary, "TMPDIR": temporary,
				"ENVIRONMENT": "test", "WEBOFFICE_SESSION_KEYS": first + "," + second,
				"WEBOFFICE_LINK_KEYS": "", "WEBOFFICE_USER_SALT": "s3cr3t-salt", "ACCOUNT": "1",
				"ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.x", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s3cr3t",
				"ALIBABA_CLOUD_SECURITY_TOKEN": "t", "serverless_devs_daemon_enable": "false"}
			maps.Copy(env, c.env)
			step := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c",
				deployStep(t))
			step.Dir, step.WaitDelay, step.Env = root, time.Second, os.Environ()
			for name, value := range env {
				step.Env = append(step.Env, name+"="+value)
			}
			out, err := step.CombinedOutput()
			printed := mask.ReplaceAllString(string(out), "")
			if (err == nil) != c.ok || !strings.Contains(printed, c.says) {
				t.Errorf("%v:\n%s", err, printed)
			}
			if c.ok && strings.Count(string(out), "::add-mask::") != 3 {
				t.Errorf("not every key is masked:\n%s", out)
			}
			for _, secret := range []string{first, second, "s3cr3t"} {
				if strings.Contains(printed, secret) {
					t.Errorf("the output holds %s", secret)
				}
			}
			if left, _ := filepath.Glob(temporary + "/*"); len(left) > 0 {
				t.Errorf("it leaves %v", left)
			}
			deployed, _ := os.ReadFile(filepath.Join(root, "dist", "deployed.json"))
			want := ""
			if c.ok {
				want = `{"generate":"https://g.fcapp.run","refresh":"https://refresh.fcapp.run"}`
			}
			got := strings.Join(strings.Fields(string(deployed)), "")
			if cmp.Compare(got, want) != 0 {
				t.Errorf("deployed.json is %s, want %s", got, want)
			}
		})
	}
}
