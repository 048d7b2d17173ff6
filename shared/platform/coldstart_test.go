package platform_test

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"weboffice-functions/shared/standin/cloud"
)

const coldStartPolicy = `project: test-project
origins: [https://docs.example.com]
rules:
  - name: open
    documents: oss://test-bucket/**
    callers: anyone
    grant: [view]
`

// BenchmarkColdStart measures generate as it is deployed, on each platform: the time from the start
// of its process to its first answer, a page's preflight, the resident memory after it, and the
// size of the archive that is uploaded. IMM is nowhere: what is measured is ours.
func BenchmarkColdStart(b *testing.B) {
	directory := b.TempDir()
	policy := filepath.Join(directory, "policy.yaml")
	if err := os.WriteFile(policy, []byte(coldStartPolicy), 0o600); err != nil {
		b.Fatal(err)
	}
	deployed, here := filepath.Join(directory, "deployed"), filepath.Join(directory, "here")
	for out, flags := range map[string][]string{deployed: nil, // Lambda's is arm64
		here: {"-target", "lambda", "-arch", runtime.GOARCH}} {
		build := exec.Command("go", append([]string{"run", "./scripts/build", "-policy", policy,
			"-out", out}, flags...)...)
		build.Dir = "../.."
		if output, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, output)
		}
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	env := []string{"WEBOFFICE_SESSION_KEYS=" + base64.StdEncoding.EncodeToString(key),
		"WEBOFFICE_REGION=cn-shanghai", "WEBOFFICE_IMM_ENDPOINT=http://127.0.0.1:1",
		"ALIBABA_CLOUD_ACCESS_KEY_ID=STS.local", "ALIBABA_CLOUD_ACCESS_KEY_SECRET=local-secret",
		"ALIBABA_CLOUD_SECURITY_TOKEN=local-token"}
	for _, on := range []struct {
		name              string
		newRuntime        func() (*cloud.Runtime, error)
		program, uploaded string // the program is one that runs here
	}{
		{"fc", cloud.NewFunctionCompute, deployed + "/fc", deployed + "/fc"},
		{"custom", cloud.NewCustomRuntime, deployed + "/fc", deployed + "/fc"},
		{"lambda", cloud.NewLambda, here + "/lambda", deployed + "/lambda"},
		{"container", cloud.NewContainer, deployed + "/fc", deployed + "/fc"},
	} {
		b.Run(on.name, func(b *testing.B) {
			archive, memory := zipSize(b, on.uploaded+"/generate"), 0.0
			for b.Loop() {
				b.StopTimer()
				stand, err := on.newRuntime()
				if err != nil {
					b.Fatal(err)
				}
				r, _ := http.NewRequestWithContext(b.Context(), http.MethodOptions,
					"http://function.example.com/", nil)
				r.Header.Set("Origin", "https://docs.example.com")
				r.Header.Set("Access-Control-Request-Method", http.MethodPost)
				b.StartTimer()
				p := run(b, on.program+"/generate/bootstrap", append(stand.Env(), env...)...)
				answer, err := stand.RoundTrip(r)
				b.StopTimer()
				if err != nil || answer.StatusCode >= 300 ||
					answer.Header.Get("Access-Control-Allow-Origin") == "" {
					b.Fatalf("%+v, %v: %s", answer, err, p.output())
				}
				memory += p.rss(b)
				p.kill()
				_ = answer.Body.Close()
				stand.Close()
				b.StartTimer()
			}
			b.ReportMetric(memory/float64(b.N)/(1<<20), "MB-resident")
			b.ReportMetric(archive/(1<<20), "MB-zip")
		})
	}
}

// zipSize is the size in bytes of a folder's archive, as deployment tools make it.
func zipSize(b *testing.B, folder string) float64 {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	if err := errors.Join(w.AddFS(os.DirFS(folder)), w.Close()); err != nil {
		b.Fatal(err)
	}
	return float64(archive.Len())
}
