package generate_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	sdk "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
)

func TestMain(m *testing.M) {
	if !office.ServeElsewhere() {
		os.Exit(m.Run())
	}
}

func startIMM(b *testing.B) string {
	url, stop, err := office.StartElsewhere(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return url
}

// rules is a policy of n rules, whose last two decide: editors get more than anyone.
func rules(n int, issuer string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "project: test-project\norigins: [https://docs.example.com]\n"+
		"limits: {anyone: 1000000/s, caller: 1000000/s}\n"+
		"issuers: {staff: {url: %q, audience: weboffice}}\nrules:\n", issuer)
	rule := func(name, documents, callers, grant string) {
		fmt.Fprintf(&b, "  - {name: %s, documents: 'oss://test-bucket/%s', callers: %s,"+
			" grant: [%s]}\n", name, documents, callers, grant)
	}
	for i := range n - 2 {
		rule(fmt.Sprint("team ", i), fmt.Sprintf("teams/%d/**", i),
			fmt.Sprintf("{issuer: staff, claims: {groups: team-%d}}", i), "view, edit")
	}
	rule("staff", "**", "{issuer: staff, claims: {groups: editors}}", "view, edit, copy")
	rule("anyone", "**", "anyone", "view")
	return b.String()
}

// BenchmarkGenerate compares a whole handler, from an HTTP request to its answer as the event
// platforms hand them over (proof checked, policy of 100 rules, sealed token), with the bare typed
// call of the official SDK as the vendor's sample makes it, client reused, and with the least that
// a call can cost: raw, signed net/http. IMM runs in a process of its own. -50 is with 50 at once.
//
// Each line is measured in turns with the official SDK. The metrics are medians of all turns:
// cpu-ns/op is this process's time on the processors, with the runtime as app.Tune fits it to a
// function of 256 MB. sdk-ratio is that time by the SDK's with the runtime fitted so too,
// deployed-ratio by the SDK's with Go's own settings, as a handler has it that does not tune.
// Ratios hold on a busy machine too; ns/op does not.
//
// Everything that this package measures, in four minutes:
//
//	go test ./functions/generate -run - -bench .
func BenchmarkGenerate(b *testing.B) {
	imm := startIMM(b)
	sdk := official(b, imm)
	for _, line := range []struct {
		name string
		call func(b *testing.B) func() error
	}{
		{"broker", func(b *testing.B) func() error { return broker(b, imm, "RS256", false) }},
		{"broker-first-proof",
			func(b *testing.B) func() error { return broker(b, imm, "RS256", true) }},
		{"broker-es256", func(b *testing.B) func() error { return broker(b, imm, "ES256", false) }},
		{"broker-anyone", func(b *testing.B) func() error { return broker(b, imm, "", false) }},
		{"official-sdk", func(b *testing.B) func() error { return official(b, imm) }},
		{"raw", func(*testing.B) func() error { return raw(imm) }},
	} {
		b.Run(line.name, func(b *testing.B) { measure(b, 1, line.call(b), sdk) })
		b.Run(line.name+"-50", func(b *testing.B) { measure(b, 50, line.call(b), sdk) })
	}
}

// turn is how many calls of one kind are made before the other's turn.
const turn = 500

func measure(b *testing.B, atOnce int, call, sdk func() error) {
	with := func(percent, processors int, call func() error, n int) float64 {
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(processors)
		runtime.GC() // everybody's own garbage alone
		return float64(crowd(b, atOnce, n, call).Nanoseconds()) / float64(n)
	}
	percent, processors := debug.SetGCPercent(100), runtime.GOMAXPROCS(0)
	defer func() { debug.SetGCPercent(percent); runtime.GOMAXPROCS(processors) }()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	app.Tune(url.Values{"FC_FUNCTION_MEMORY_SIZE": {"256"}}.Get)
	tuned, one := debug.SetGCPercent(percent), runtime.GOMAXPROCS(processors)
	for range 2 { // keys, connections and the heap
		with(tuned, one, call, turn)
		with(tuned, one, sdk, turn)
	}
	var times, alike, deployed []float64
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += turn {
		n := min(turn, b.N-done)
		b.StopTimer()
		untuned, theirs := with(percent, processors, sdk, n), with(tuned, one, sdk, n)
		b.StartTimer()
		ours := with(tuned, one, call, n)
		times = append(times, ours)
		alike, deployed = append(alike, ours/theirs), append(deployed, ours/untuned)
	}
	b.ReportMetric(median(times), "cpu-ns/op")
	b.ReportMetric(median(alike), "sdk-ratio")
	b.ReportMetric(median(deployed), "deployed-ratio")
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// crowd makes n calls, atOnce of them at a time, and returns the processor time that they took.
func crowd(b *testing.B, atOnce, n int, call func() error) time.Duration {
	before := processorTime(b)
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return processorTime(b) - before
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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

// openPolicy lets a document stay open for as long as BenchmarkRefresh turns its clock.
const openPolicy = `
project: test-project
origins: [https://docs.example.com]
limits: {anyone: 1000000/s, caller: 1000000/s}
rules:
  - {name: anyone, documents: "oss://test-bucket/**", callers: anyone, grant: [view], session: 8760h}
`

// BenchmarkRefresh measures the other function's handler in the same way: broker spends a refresh
// token at IMM each time, early is answered from the sealed token alone.
func BenchmarkRefresh(b *testing.B) {
	imm := startIMM(b)
	for name, step := range map[string]time.Duration{"broker": 11 * time.Minute, "early": 0} {
		b.Run(name, func(b *testing.B) {
			var clock atomic.Int64
			clock.Store(time.Now().UnixNano())
			a := newApp(b, openPolicy, imm, func() time.Time { return time.Unix(0, clock.Load()) })
			renewing := refresh.New(a)
			tokens := post(b, generate.New(a), []byte(body))
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

// post sends a body and returns the one that refreshes what was answered.
func post(b *testing.B, handler http.Handler, body []byte) []byte {
	request := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	var answer struct{ AccessToken, RefreshToken string }
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil ||
		answer.AccessToken == "" {
		b.Fatal(recorder.Code, recorder.Body, err)
	}
	tokens, err := json.Marshal(answer)
	if err != nil {
		b.Fatal(err)
	}
	return tokens
}

// function builds the function and the issuer of its policy.
func function(b *testing.B, standIn, algorithm string) (http.Handler, *issuer.Provider) {
	provider := issuer.New(issuer.Options{Algorithm: algorithm})
	if err := provider.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = provider.Close() })
	return generate.New(newApp(b, rules(100, provider.URL()), standIn, time.Now)), provider
}

func newApp(b *testing.B, policy, standIn string, now func() time.Time) *app.App {
	environment := environment(b, policy, standIn)
	a, err := app.New(func(name string) string { return environment[name] }, now,
		slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func environment(b *testing.B, policy, standIn string) map[string]string {
	policyFile := filepath.Join(b.TempDir(), "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(policy), 0o600); err != nil {
		b.Fatal(err)
	}
	return map[string]string{
		"WEBOFFICE_SESSION_KEYS": base64.StdEncoding.EncodeToString(
			[]byte("\x00benchmark: 32 bytes of no use\xfe\xff")),
		"WEBOFFICE_POLICY_FILE": policyFile,
		"WEBOFFICE_REGION":      "cn-shanghai", "WEBOFFICE_IMM_ENDPOINT": standIn,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     "STS.local",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "local-secret",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "local-token",
	}
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
		request := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/"},
			Header: http.Header{"Content-Type": {"application/json"}},
			Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		if proof != "" {
			request.Header["Authorization"] = []string{proof}
		}
		answer := kept{header: http.Header{}}
		handler.ServeHTTP(&answer, request)
		if answer.status != http.StatusOK || !bytes.Contains(answer.body, []byte("AccessToken")) {
			return fmt.Errorf("%d %s", answer.status, answer.body)
		}
		return nil
	}
}

// kept is an answer, kept as the event platforms keep it until they send it: httptest's recorder
// does more.
type kept struct {
	header http.Header
	status int
	body   []byte
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(p []byte) (int, error) { k.body = append(k.body, p...); return len(p), nil }

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

// raw is the same call by net/http alone, signed with the vendor's function: the limit.
func raw(standIn string) func() error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 50}}
	const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	parameters := map[string]string{
		"ProjectName": "test-project", "SourceURI": "oss://test-bucket/test-object.docx",
		"Filename": "test-object.docx", "Permission": `{"Readonly":false,"Copy":true}`,
		"User": `{"Id":"test","Name":"testuser"}`,
	}
	return func() error {
		query := url.Values{}
		signed := dara.NewRequest()
		signed.Method, signed.Pathname = tea.String(http.MethodPost), tea.String("/")
		for name, value := range parameters {
			signed.Query[name] = &value
			query.Set(name, value)
		}
		request, err := http.NewRequest(http.MethodPost, standIn+"/?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		signed.Headers["host"] = &request.URL.Host
		for name, value := range map[string]string{
			"x-acs-action": "GenerateWebofficeToken", "x-acs-version": "2020-09-30",
			"x-acs-date":            time.Now().UTC().Format("2006-01-02T15:04:05Z"),
			"x-acs-signature-nonce": rand.Text(), "x-acs-content-sha256": emptyHash,
			"x-acs-accesskey-id": "STS.local", "x-acs-security-token": "local-token",
		} {
			signed.Headers[name] = &value
			request.Header.Set(name, value)
		}
		request.Header.Set("Authorization", tea.StringValue(openapiutil.GetAuthorization(signed,
			tea.String("ACS3-HMAC-SHA256"), tea.String(emptyHash), tea.String("STS.local"),
			tea.String("local-secret"))))
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		var answer sdk.GenerateWebofficeTokenResponseBody
		err = json.NewDecoder(response.Body).Decode(&answer)
		if err == nil && answer.AccessToken == nil {
			err = errors.New(response.Status)
		}
		return err
	}
}
