package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

const closedPolicy = "project: test-project\norigins: [https://docs.example.com]\nrules:\n  - {name: open, documents: 'oss://test-bucket/**', callers: anyone, grant: [view]}\n"

// key is a key of 32 bytes as somebody rolled it.
func key(seed byte) string {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(i*i)*7 + byte(i)*31 + seed
	}
	return base64.StdEncoding.EncodeToString(k)
}

// environment is one that starts, with changes; a variable set to "" is left out.
func environment(t *testing.T, policy string, changes map[string]string) func(string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"WEBOFFICE_SESSION_KEYS": key(1), "WEBOFFICE_REGION": "cn-shanghai",
		"WEBOFFICE_POLICY_FILE":           file,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     "STS.x",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret-of-the-role",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "token-of-the-role",
	}
	maps.Copy(all, changes)
	return func(name string) string { return all[name] }
}

func start(getenv func(string) string) error {
	_, err := New(getenv, time.Now, slog.New(slog.DiscardHandler))
	return err
}

func TestItStarts(t *testing.T) {
	for name, changes := range map[string]map[string]string{
		"as it is": nil,
		"two keys": {"WEBOFFICE_SESSION_KEYS": key(1) + ", " + key(2)},
		"URL alphabet, no =": {"WEBOFFICE_SESSION_KEYS": strings.TrimRight(
			strings.NewReplacer("+", "-", "/", "_").Replace(key(1)), "=")},
		"link keys":              {"WEBOFFICE_LINK_KEYS": key(3)},
		"FC_REGION":              {"WEBOFFICE_REGION": "", "FC_REGION": "cn-hangzhou"},
		"an endpoint in the VPC": {"WEBOFFICE_IMM_ENDPOINT": "imm-vpc.cn-shanghai.aliyuncs.com"},
		"a level":                {"LOG_LEVEL": "debug"},
		"an unrelated DEBUG":     {"DEBUG": "1"},
	} {
		if err := start(environment(t, closedPolicy, changes)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGarbageIsCollectedWithinTheFunctionsMemory(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	restore := func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }
	defer restore()
	for name, c := range map[string]struct {
		environment map[string]string
		percent     int
		limit       int64
	}{
		"Function Compute": {map[string]string{"FC_FUNCTION_MEMORY_SIZE": "512"}, 400,
			384 << 20},
		"Lambda": {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"},
			400, 96 << 20},
		"elsewhere": {nil, 400, limit},
		"no number": {map[string]string{"FC_FUNCTION_MEMORY_SIZE": "-1"}, 400, limit},
		"the operator's own way": {map[string]string{"GOGC": "50", "GOMEMLIMIT": "100MiB",
			"FC_FUNCTION_MEMORY_SIZE": "512"}, 100, limit},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(limit)
		Tune(func(name string) string { return c.environment[name] })
		if gotPercent, gotLimit := debug.SetGCPercent(100),
			debug.SetMemoryLimit(-1); gotPercent != c.percent || gotLimit != c.limit {
			t.Errorf("%s: %d %%, %d bytes", name, gotPercent, gotLimit)
		}
	}
}

// TestInstanceThatWasFrozen: a stopped process's monotonic clock may stand still, so nothing
// compares by it.
func TestInstanceThatWasFrozen(t *testing.T) {
	a, err := New(environment(t, closedPolicy, nil), time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if now := a.Edge.Now(); strings.Contains(now.String(), "m=") || time.Since(now) > time.Hour {
		t.Errorf("%s has a monotonic reading", now)
	}
	if now := time.Now(); !strings.Contains(now.String(), "m=") {
		t.Errorf("%s has none, so that this test shows nothing", now)
	}
}

// TestOperatorsMistakesAreFoundAtStart: each names its variable and no value.
func TestOperatorsMistakesAreFoundAtStart(t *testing.T) {
	sequence := make([]byte, 32)
	for i := range sequence {
		sequence[i] = byte(i)
	}
	encode := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		changes map[string]string
		says    string
	}{
		"no session key": {map[string]string{"WEBOFFICE_SESSION_KEYS": ""},
			"WEBOFFICE_SESSION_KEYS is not set"},
		"a short key": {map[string]string{
			"WEBOFFICE_SESSION_KEYS": encode(sequence[:16])},
			"WEBOFFICE_SESSION_KEYS: key 1 is not"},
		"a long key": {map[string]string{
			"WEBOFFICE_SESSION_KEYS": encode(append(sequence, 1))},
			"WEBOFFICE_SESSION_KEYS: key 1 is not"},
		"no base64": {map[string]string{
			"WEBOFFICE_SESSION_KEYS": "correct horse battery staple"},
			"WEBOFFICE_SESSION_KEYS: key 1 is not"},
		"an empty second key": {map[string]string{"WEBOFFICE_SESSION_KEYS": key(1) + ","},
			"WEBOFFICE_SESSION_KEYS: key 2 is not"},
		"a key of zeros": {map[string]string{
			"WEBOFFICE_SESSION_KEYS": encode(make([]byte, 32))}, "no random key"},
		"a counting key": {map[string]string{"WEBOFFICE_SESSION_KEYS": encode(sequence)},
			"no random key"},
		"a passphrase as key": {map[string]string{
			"WEBOFFICE_SESSION_KEYS": encode([]byte("0123456789abcdefghijklmnopqrstuv"))},
			"no random key"},
		"a repeated key": {map[string]string{"WEBOFFICE_SESSION_KEYS": key(1) + "," +
			key(1)}, "key 2 is there twice"},
		"a link key that seals": {map[string]string{"WEBOFFICE_LINK_KEYS": key(1)},
			"WEBOFFICE_LINK_KEYS holds a session key"},
		"no region": {map[string]string{"WEBOFFICE_REGION": ""}, "WEBOFFICE_REGION"},
		"AWS's region alone": {map[string]string{"WEBOFFICE_REGION": "",
			"AWS_REGION": "us-east-1"}, "WEBOFFICE_REGION"},
		"a region with a slash": {map[string]string{"WEBOFFICE_REGION": "cn-shanghai/x"},
			"WEBOFFICE_REGION"},
		"a foreign endpoint": {map[string]string{"WEBOFFICE_IMM_ENDPOINT": "imm.example.com"},
			"WEBOFFICE_IMM_ENDPOINT"},
		"no policy file": {map[string]string{"WEBOFFICE_POLICY_FILE": "nowhere.yaml"},
			"WEBOFFICE_POLICY_FILE"},
		"an unknown level": {map[string]string{"LOG_LEVEL": "loud"}, "LOG_LEVEL"},
		"the SDK's own debugging": {map[string]string{"DEBUG": "dara"},
			"DEBUG makes the SDK print"},
		"a long-lived AccessKey": {map[string]string{"ALIBABA_CLOUD_SECURITY_TOKEN": ""},
			"ALIBABA_CLOUD_SECURITY_TOKEN"},
	} {
		err := start(environment(t, closedPolicy, c.changes))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		for variable, value := range c.changes {
			if len(value) > 8 && variable != "WEBOFFICE_POLICY_FILE" &&
				strings.Contains(err.Error(), value) {
				t.Errorf("%s: the value is in %v", name, err)
			}
		}
	}
}

func TestPolicysMistakesAreFoundAtStart(t *testing.T) {
	for name, c := range map[string]struct{ policy, says string }{
		"unknown key":              {closedPolicy + "rule: []\n", "5:1"},
		"stand-in at the real IMM": {"standIn: true\n" + closedPolicy, "1:10"},
		"no project": {strings.ReplaceAll(closedPolicy, "project: test-project\n",
			""), "WEBOFFICE_PROJECT"},
		"links without keys": {strings.ReplaceAll(closedPolicy, "callers: anyone",
			"callers: {issuer: links}"), "WEBOFFICE_LINK_KEYS is not set"},
	} {
		if err := start(environment(t, c.policy, nil)); err == nil ||
			!strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := start(environment(t, "standIn: true\n"+closedPolicy,
		map[string]string{"WEBOFFICE_IMM_ENDPOINT": "http://127.0.0.1:9"})); err != nil {
		t.Errorf("a stand-in on this machine: %v", err)
	}
}

func TestAllMistakesAreToldTogether(t *testing.T) {
	err := start(environment(t, "rules: 1", map[string]string{"WEBOFFICE_SESSION_KEYS": "",
		"WEBOFFICE_REGION": "", "ALIBABA_CLOUD_SECURITY_TOKEN": ""}))
	for _, part := range []string{"WEBOFFICE_SESSION_KEYS", "WEBOFFICE_REGION",
		"ALIBABA_CLOUD_SECURITY_TOKEN", "the policy has mistakes"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is missing in %v", part, err)
		}
	}
}

// TestRunSaysWhatStarted: the start-up line names revision, region and source of credentials, and
// no secret.
func TestRunSaysWhatStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	cancel()
	getenv := environment(t, closedPolicy, nil)
	_ = Run(ctx, getenv, &out, func(*App) http.Handler { return http.NotFoundHandler() })
	line, _, _ := strings.Cut(out.String(), "\n")
	for _, part := range []string{`"revision":`, `"region":"cn-shanghai"`,
		`"platform":"plain HTTP"`, `"projects":["test-project"]`, `"credentials":`} {
		if !strings.Contains(line, part) {
			t.Errorf("%s is missing in %s", part, line)
		}
	}
	for _, secret := range []string{key(1), "secret-of-the-role", "token-of-the-role"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is in %s", secret, out.String())
		}
	}
}
