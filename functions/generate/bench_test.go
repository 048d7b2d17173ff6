package generate_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	sdk "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/functions/generate"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
)

// hundredRules is a policy whose last rule decides.
func hundredRules(issuer string) string {
	var b strings.Builder
	fmt.Fprintf(&b,
		"project: test-project\norigins: [https://docs.example.com]\nlimits: {anyone: 1000000/s, caller: 1000000/s}\n")
	fmt.Fprintf(&b, "issuers: {staff: {url: %q, audience: weboffice}}\nrules:\n", issuer)
	for i := range 98 {
		fmt.Fprintf(&b,
			"  - {name: team %d, documents: 'oss://test-bucket/teams/%d/**', callers: {issuer: staff, claims: {groups: team-%d}}, grant: [view, edit]}\n", i, i, i)
	}
	b.WriteString(
		"  - {name: staff, documents: 'oss://test-bucket/**', callers: {issuer: staff, claims: {groups: editors}}, grant: [view, edit, copy]}\n")
	b.WriteString(
		"  - {name: anyone, documents: 'oss://test-bucket/**', callers: anyone, grant: [view]}\n")
	return b.String()
}

// BenchmarkGenerate compares a whole handler, from an HTTP request to its answer as the event
// platforms hand them over, proof checked, policy of 100 rules, sealed token, with the bare typed
// call of the official SDK as the vendor's sample makes it, client reused. Both call the stand-in
// over loopback; -50 with 50 at once.
func BenchmarkGenerate(b *testing.B) {
	standIn := httptest.NewServer(office.New(office.Options{}))
	defer standIn.Close()
	for _, proof := range []struct{ name, algorithm string }{{"broker", "RS256"},
		{"broker-50", "RS256"}, {"broker-first-proof", "RS256"}, {"broker-es256", "ES256"},
		{"broker-anyone", ""}} {
		b.Run(proof.name, func(b *testing.B) {
			measure(b, proof.name, broker(b, standIn.URL, proof.algorithm,
				proof.name == "broker-first-proof"))
		})
	}
	for _, name := range []string{"official-sdk", "official-sdk-50"} {
		b.Run(name, func(b *testing.B) { measure(b, name, official(b, standIn.URL)) })
	}
}

func measure(b *testing.B, name string, call func() error) {
	if err := call(); err != nil { // keys and connections
		b.Fatal(err)
	}
	b.ReportAllocs()
	if strings.HasSuffix(name, "-50") {
		b.SetParallelism(25) // of two processors
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); err != nil {
					b.Error(err)
				}
			}
		})
		return
	}
	for b.Loop() {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefused is what a request costs that is turned away before its body is looked at, by the
// length of that body.
func BenchmarkRefused(b *testing.B) {
	handler, provider := function(b, "http://127.0.0.1:9", "RS256")
	good := "Bearer " + provider.Token(nil).Reveal()
	for _, refusal := range []struct {
		name   string
		header http.Header
		status int
		sizes  []int
	}{
		{"origin", http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden,
			[]int{100, 60_000}},
		{"proof", http.Header{"Authorization": {good + "x"}}, http.StatusUnauthorized,
			[]int{100, 60_000}},
		{"type", http.Header{"Authorization": {good}, "Content-Type": {"text/plain"}},
			http.StatusUnsupportedMediaType, []int{100, 60_000}},
		{"size", http.Header{"Authorization": {good}, "Content-Type": {"application/json"}},
			http.StatusRequestEntityTooLarge, []int{70_000, 7_000_000}},
	} {
		for _, size := range refusal.sizes {
			body := strings.Repeat(" ", size)
			b.Run(fmt.Sprint(refusal.name, "/", size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
					request.Header = refusal.header
					answer := httptest.NewRecorder()
					if handler.ServeHTTP(answer, request); answer.Code != refusal.status {
						b.Fatal(answer.Code, answer.Body)
					}
				}
			})
		}
	}
}

// function builds the function and the issuer of its policy.
func function(b *testing.B, standIn, algorithm string) (http.Handler, *issuer.Provider) {
	provider := issuer.New(issuer.Options{Algorithm: algorithm})
	if err := provider.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = provider.Close() })
	policyFile := filepath.Join(b.TempDir(), "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(hundredRules(provider.URL())), 0o600); err != nil {
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
	a, err := app.New(func(name string) string { return environment[name] }, time.Now,
		slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	return generate.New(a), provider
}

// broker returns one request to the function. With fresh each request brings a proof that the
// function does not know, or not any more; without, all bring the same, as a page does.
func broker(b *testing.B, standIn, algorithm string, fresh bool) func() error {
	handler, provider := function(b, standIn, algorithm)
	proofs := make([]string, 1)
	if fresh {
		proofs = make([]string, 1100) // more than it remembers
	}
	for i := range proofs {
		if algorithm != "" {
			proofs[i] = "Bearer " + provider.Token(map[string]any{"groups": []string{"editors"},
				"name": "Ann", "n": i}).Reveal()
		}
	}
	var asked atomic.Int64
	return func() error {
		proof := proofs[int(asked.Add(1))%len(proofs)]
		request := httptest.NewRequest(http.MethodPost, "/",
			strings.NewReader(`{"SourceURI":"oss://test-bucket/test-object.docx"}`))
		request.Header.Set("Content-Type", "application/json")
		if proof != "" {
			request.Header.Set("Authorization", proof)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != http.StatusOK ||
			!strings.Contains(answer.Body.String(), `"AccessToken"`) {
			return fmt.Errorf("%d %s", answer.Code, answer.Body)
		}
		return nil
	}
}

// official is the vendor's sample: one client, reused, its typed call.
func official(b *testing.B, standIn string) func() error {
	client, err := sdk.NewClient(&openapi.Config{
		AccessKeyId: tea.String("STS.local"), AccessKeySecret: tea.String("local-secret"),
		SecurityToken: tea.String("local-token"),
		Endpoint:      tea.String(strings.TrimPrefix(standIn, "http://")),
		Protocol:      tea.String("http"),
	})
	if err != nil {
		b.Fatal(err)
	}
	return func() error {
		_, err := client.GenerateWebofficeToken(&sdk.GenerateWebofficeTokenRequest{
			ProjectName: tea.String("test-project"),
			SourceURI:   tea.String("oss://test-bucket/test-object.docx"),
			Filename:    tea.String("test-object.docx"),
			Permission:  &sdk.WebofficePermission{Readonly: tea.Bool(false), Copy: tea.Bool(true)},
			User:        &sdk.WebofficeUser{Id: tea.String("test"), Name: tea.String("testuser")},
		})
		return err
	}
}
