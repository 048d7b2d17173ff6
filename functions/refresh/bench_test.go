package refresh_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/standin/office"
)

const openPolicy = `
project: test-project
origins: [https://docs.example.com]
limits: {anyone: 1000000/s, caller: 1000000/s}
rules:
  - {name: anyone, documents: "oss://test-bucket/**", callers: anyone, grant: [view], session: 8760h}
`

func TestMain(m *testing.M) {
	if !office.ServeElsewhere() {
		os.Exit(m.Run())
	}
}

// BenchmarkRefresh measures a whole handler, from an HTTP request to its answer as the event
// platforms hand them over: broker spends a refresh token at IMM each time, early is answered from
// the sealed token alone. IMM runs in a process of its own; cpu-ns/op is this process's time on the
// processors.
func BenchmarkRefresh(b *testing.B) {
	for name, step := range map[string]time.Duration{"broker": 11 * time.Minute, "early": 0} {
		b.Run(name, func(b *testing.B) {
			var clock atomic.Int64
			clock.Store(time.Now().UnixNano())
			now := func() time.Time { return time.Unix(0, clock.Load()) }
			a := build(b, now)
			renewing := refresh.New(a)
			tokens := post(b, generate.New(a),
				map[string]string{"SourceURI": "oss://test-bucket/test-object.docx"})
			b.ReportAllocs()
			begin := processorTime(b)
			for b.Loop() {
				clock.Add(int64(step))
				tokens = post(b, renewing, tokens)
			}
			b.ReportMetric(float64(processorTime(b)-begin)/float64(b.N), "cpu-ns/op")
		})
	}
}

func build(b *testing.B, now func() time.Time) *app.App {
	standIn, stop, err := office.StartElsewhere(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	policyFile := filepath.Join(b.TempDir(), "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(openPolicy), 0o600); err != nil {
		b.Fatal(err)
	}
	environment := map[string]string{
		"WEBOFFICE_SESSION_KEYS": base64.StdEncoding.EncodeToString(
			[]byte("\x00benchmark: 32 bytes of no use\xfe\xff")),
		"WEBOFFICE_POLICY_FILE": policyFile,
		"WEBOFFICE_REGION":      "cn-shanghai", "WEBOFFICE_IMM_ENDPOINT": standIn,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     "STS.local",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "local-secret",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "local-token",
	}
	a, err := app.New(func(name string) string { return environment[name] }, now,
		slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// post sends parameters and returns the two tokens of the answer.
func post(b *testing.B, handler http.Handler, parameters map[string]string) map[string]string {
	body, err := json.Marshal(parameters)
	if err != nil {
		b.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var answer struct{ AccessToken, RefreshToken, Code string }
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil ||
		answer.AccessToken == "" {
		b.Fatal(recorder.Code, answer.Code, err)
	}
	return map[string]string{"AccessToken": answer.AccessToken, "RefreshToken": answer.RefreshToken}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
