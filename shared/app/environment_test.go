package app_test

import (
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weboffice-functions/shared/app"
)

// TestListedVariablesAreRead starts a function and sees which variables it asks for. Those of the
// exchange on Lambda are asked for elsewhere.
func TestListedVariablesAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(
		"project: p\nrules:\n  - {name: r, documents: 'oss://a-bucket/**', callers: anyone, grant: [view]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	set := map[string]string{
		"WEBOFFICE_SESSION_KEYS": base64.StdEncoding.EncodeToString(
			[]byte("\x00a key of 32 bytes for one test\xff")), "WEBOFFICE_POLICY_FILE": file,
		"WEBOFFICE_REGION": "cn-shanghai", "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.x",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret", "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
	}
	read := map[string]bool{}
	if _, err := app.New(func(name string) string { read[name] = true; return set[name] }, time.Now,
		slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, v := range app.Variables() {
		if v.Need != app.RequiredLambda && !read[v.Name] {
			t.Errorf("%s is listed and not read", v.Name)
		}
	}
}
