package app_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/app"
)

const closedPolicy = `project: test-project
origins: [https://docs.example.com]
rules:
  - {name: open, documents: 'oss://test-bucket/**', callers: anyone, grant: [view]}
`

// environment is one that starts, with changes, pairs of a variable and its value; a variable set
// to "" is left out, and "policy" is the policy file's text.
func environment(t *testing.T, changes ...string) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	all := map[string]string{
		"policy":                 closedPolicy,
		"WEBOFFICE_SESSION_KEYS": newKey(), "WEBOFFICE_REGION": "cn-shanghai",
		"WEBOFFICE_POLICY_FILE":           file,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     "STS.x",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret-of-the-role",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "token-of-the-role",
	}
	for pair := range slices.Chunk(changes, 2) {
		all[pair[0]] = pair[1]
	}
	if err := os.WriteFile(file, []byte(all["policy"]), 0o600); err != nil {
		t.Fatal(err)
	}
	return all
}

func newApp(environment map[string]string) (*app.App, error) {
	return app.New(func(name string) string { return environment[name] }, time.Now,
		slog.New(slog.DiscardHandler))
}

// Those of the exchange on Lambda are asked for elsewhere.
func TestListedVariablesAreRead(t *testing.T) {
	read, set := map[string]bool{}, environment(t)
	getenv := func(name string) string { read[name] = true; return set[name] }
	if _, err := app.New(getenv, time.Now, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(set, func(name, _ string) bool { return strings.HasPrefix(name, "ALIBABA_") })
	// now other sources of credentials are looked for
	_, _ = app.New(getenv, time.Now, slog.New(slog.DiscardHandler))
	for _, v := range app.Variables() {
		if v.Need != app.RequiredLambda && !read[v.Name] {
			t.Errorf("%s is listed and not read", v.Name)
		}
	}
}

func TestRuntimeFitsTheFunction(t *testing.T) {
	set := func(percent int, limit int64, processors int) (before string) {
		return fmt.Sprint(debug.SetGCPercent(percent), debug.SetMemoryLimit(limit),
			runtime.GOMAXPROCS(processors))
	}
	none, percent, processors := debug.SetMemoryLimit(-1), debug.SetGCPercent(100),
		runtime.GOMAXPROCS(2)
	defer set(percent, none, processors)
	for environment, want := range map[string]string{
		"FC_FUNCTION_MEMORY_SIZE=512":         fmt.Sprint(400, 384<<20, 1),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128": fmt.Sprint(400, 96<<20, 1),
		"FC_FUNCTION_MEMORY_SIZE=1088":        fmt.Sprint(400, 816<<20, 2),
		"FC_FUNCTION_MEMORY_SIZE=-1":          fmt.Sprint(400, none, 2),
		"":                                    fmt.Sprint(400, none, 2),
		// the operator's own way
		"FC_FUNCTION_MEMORY_SIZE=512&GOGC=50&GOMEMLIMIT=9&GOMAXPROCS=2": fmt.Sprint(100, none, 2),
	} {
		set(100, none, 2)
		values, _ := url.ParseQuery(environment)
		app.Tune(values.Get)
		if got := set(100, none, 2); got != want {
			t.Errorf("%s: %s, want %s", environment, got, want)
		}
	}
}

// TestInstanceThatWasFrozen: a stopped process's monotonic clock may stand still, so nothing
// compares by it.
func TestInstanceThatWasFrozen(t *testing.T) {
	a, err := newApp(environment(t))
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

// TestMistakesAreFoundAtStart holds New to testdata/mistakes.txt, which says how to read it. Each
// error names its variable, or its place in the policy, and no value.
func TestMistakesAreFoundAtStart(t *testing.T) {
	counted, encode := make([]byte, 33), base64.StdEncoding.EncodeToString
	for i := range counted {
		counted[i] = byte(i)
	}
	sum := sha256.Sum256([]byte("a session key")) // has a + and a /
	key, inURL := encode(sum[:]), strings.NewReplacer("+", "-", "/", "_", "=", "")
	values := map[string]string{
		"KEY1": key, "KEY2": newKey(), "KEY3": newKey(), "URL1": inURL.Replace(key),
		"BYTES16": encode(counted[:16]), "BYTES33": encode(counted),
		"ZEROS": encode(make([]byte, 32)), "COUNTED": encode(counted[:32]),
		"PAIRS":  encode(bytes.Repeat([]byte{1, 0xfe}, 16)),
		"TYPED":  encode([]byte("0123456789abcdefghijklmnopqrstuv")),
		"POLICY": closedPolicy, "LF": "\n",
		"UNNAMED":  strings.Replace(closedPolicy, "project: test-project\n", "", 1),
		"FORLINKS": strings.Replace(closedPolicy, "anyone", "{issuer: links}", 1),
	}
	lines, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		changed, says, bad := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
		if !strings.Contains(changed, "=") || changed[0] == '#' {
			continue
		}
		changes := []string{"AWS_REGION", "us-east-1"}
		for change := range strings.SplitSeq(changed, " ; ") {
			name, value, _ := strings.Cut(change, "=")
			changes = append(changes, name, os.Expand(value, func(of string) string {
				return values[of]
			}))
		}
		set := environment(t, changes...)
		_, err := newApp(set)
		for part := range strings.SplitSeq(says, " & ") {
			if bad != (err != nil) || bad && !strings.Contains(err.Error(), part) {
				t.Errorf("%q: got %v", line, err)
			}
		}
		for _, variable := range []string{"WEBOFFICE_SESSION_KEYS", "WEBOFFICE_LINK_KEYS",
			"WEBOFFICE_IMM_ENDPOINT", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"} {
			if value := set[variable]; bad && len(value) > 8 &&
				strings.Contains(fmt.Sprint(err), value) {
				t.Errorf("%q: the value of %s is in %v", line, variable, err)
			}
		}
	}
}

// TestRunSaysWhatStarted: the start-up line names revision, region and source of credentials, and
// no secret.
func TestRunSaysWhatStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	cancel()
	set := environment(t, "WEBOFFICE_ADDR", "127.0.0.1:0")
	run := func(changes map[string]string) error {
		all := maps.Clone(set)
		maps.Copy(all, changes)
		return app.Run(ctx, func(name string) string { return all[name] }, &out,
			func(*app.App) http.Handler { return http.NotFoundHandler() })
	}
	if err := run(nil); err != nil {
		t.Error(err)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	for _, part := range []string{`"revision":`, `"region":"cn-shanghai"`,
		`"platform":"plain HTTP"`, `"projects":["test-project"]`, `"credentials":`} {
		if !strings.Contains(line, part) {
			t.Errorf("%s is missing in %s", part, line)
		}
	}
	for _, secret := range []string{set["WEBOFFICE_SESSION_KEYS"], "secret-of-the-role", "token-of-the-role"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is in %s", secret, out.String())
		}
	}
	out.Reset()
	if err := run(map[string]string{"LOG_LEVEL": "WARN"}); err != nil || out.Len() > 0 {
		t.Errorf("LOG_LEVEL=WARN: %v, %s", err, &out)
	}
	if err := run(map[string]string{"WEBOFFICE_REGION": ""}); err == nil ||
		!strings.Contains(err.Error(), "the function cannot start") {
		t.Errorf("without a region: %v", err)
	}
}
