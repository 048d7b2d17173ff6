package platform_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"weboffice-functions/shared/platform/platformtest"
)

const coldStartPolicy = `project: test-project
origins: [https://docs.example.com]
rules:
  - name: open
    documents: oss://test-bucket/**
    callers: anyone
    grant: [view]
`

// BenchmarkColdStart measures the time from the start of generate's process to its first answer, a page's preflight, on each
// platform, and the resident memory after it. IMM is nowhere: what is measured is ours.
func BenchmarkColdStart(b *testing.B) {
	const bootstrap = "../../functions/generate/bootstrap"
	if _, err := os.Stat(bootstrap); err != nil {
		b.Skipf("there is no program to start: %v", err)
	}
	directory := b.TempDir()
	program, policy := filepath.Join(directory, "bootstrap"), filepath.Join(directory, "policy.yaml")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-tags=lambda.norpc", "-o", program, bootstrap)
	if output, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, output)
	}
	if err := os.WriteFile(policy, []byte(coldStartPolicy), 0o600); err != nil {
		b.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	env := []string{
		"WEBOFFICE_SESSION_KEYS=" + base64.StdEncoding.EncodeToString(key), "WEBOFFICE_REGION=cn-shanghai", "WEBOFFICE_POLICY_FILE=" + policy,
		"WEBOFFICE_IMM_ENDPOINT=http://127.0.0.1:1", "ALIBABA_CLOUD_ACCESS_KEY_ID=STS.local",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET=local-secret", "ALIBABA_CLOUD_SECURITY_TOKEN=local-token",
	}
	for _, on := range []struct {
		name       string
		newRuntime func() (*platformtest.Runtime, error)
	}{{"fc", platformtest.NewFunctionCompute}, {"custom", platformtest.NewCustomRuntime}, {"lambda", platformtest.NewLambda}} {
		b.Run(on.name, func(b *testing.B) {
			memory := 0.0
			for b.Loop() {
				b.StopTimer()
				runtime, err := on.newRuntime()
				if err != nil {
					b.Fatal(err)
				}
				r, err := http.NewRequestWithContext(b.Context(), http.MethodOptions, "http://function.example.com/", nil)
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Origin", "https://docs.example.com")
				r.Header.Set("Access-Control-Request-Method", http.MethodPost)
				b.StartTimer()
				p := run(b, program, append(runtime.Env(), env...)...)
				answer, err := runtime.RoundTrip(r)
				b.StopTimer()
				if err != nil || answer.StatusCode >= 300 || answer.Header.Get("Access-Control-Allow-Origin") == "" {
					b.Fatalf("%+v, %v: %s", answer, err, p.output())
				}
				memory += p.rss(b)
				p.kill()
				_ = answer.Body.Close()
				runtime.Close()
				b.StartTimer()
			}
			b.ReportMetric(memory/float64(b.N)/(1<<20), "MB-resident")
		})
	}
}
