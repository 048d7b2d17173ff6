package credentials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Every secret of these tests contains this word, so that one search finds any of them.
const secretWord = "s3cr3t"

const (
	role     = "acs:ram::1234567890123456:role/weboffice"
	provider = "acs:ram::1234567890123456:oidc-provider/aws"
	oidc     = "s3cr3tHeader.s3cr3tPayload.s3cr3tSignature"
)

// transcript holds all errors and logs of the package's tests. TestMain searches it when they have
// run.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var everything transcript

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

// leak returns the line that holds a secret, or "".
func (t *transcript) leak() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range strings.Lines(t.text.String()) {
		if strings.Contains(line, secretWord) {
			return line
		}
	}
	return ""
}

// record writes an error in every form in which it may get into a log.
func (t *transcript) record(err error) {
	_, _ = fmt.Fprintf(t, "%v | %+v | %#v\n", err, err, err)
	slog.New(slog.NewJSONHandler(t, nil)).Error("recorded", "error", err)
	if public := (*weboffice.Error)(nil); errors.As(err, &public) {
		_, _ = fmt.Fprintf(t, "%s | %s | %s | %v\n", public.Message, public.Recommend, public.Fix,
			public.Cause)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		_, _ = fmt.Fprintf(t, "%T %v %+v\n", err, err, err)
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if line := everything.leak(); line != "" {
		_, _ = fmt.Fprintln(os.Stderr, "FAIL: an error or a log of these tests holds a secret:",
			line)
		code = 1
	}
	os.Exit(code)
}

func TestTranscriptFindsWhatLeaks(t *testing.T) {
	attempts := map[string]error{
		"text":  errors.New("token " + oidc),
		"cause": unavailable("fix", fmt.Errorf("wrapped: %w", errors.New(oidc))),
		"fix":   unavailable("use "+oidc, nil),
	}
	for name, err := range attempts {
		t.Run(name, func(t *testing.T) {
			var own transcript
			own.record(err)
			if own.leak() == "" {
				t.Error("a secret was not found")
			}
		})
	}
	var own transcript
	own.record(fmt.Errorf("%v", weboffice.Secret(oidc)))
	if line := own.leak(); line != "" {
		t.Errorf("found a secret in %q", line)
	}
}

// logger logs to t.Log and to the transcript.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(&everything, testLog{t}),
		&slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// failed returns the error as ours, with what all of them must have, and records it.
func failed(t *testing.T, err error) *weboffice.Error {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	everything.record(err)
	var public *weboffice.Error
	if !errors.As(err, &public) {
		t.Fatalf("%T is not a *weboffice.Error: %v", err, err)
	}
	if public.Kind != weboffice.Unavailable || public.Fix == "" || public.Cause == nil {
		t.Errorf("kind %v, fix %q, cause %v", public.Kind, public.Fix, public.Cause)
	}
	if !strings.HasPrefix(public.Message, "Documents cannot be opened at the moment.") {
		t.Errorf("the page's sentence is not neutral: %q", public.Message)
	}
	return public
}

type clock struct{ nanoseconds atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.nanoseconds.Store(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanoseconds.Load()) }
func (c *clock) advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

// clouds are the STS of AWS and of Alibaba Cloud on loopback. Each checks what it is asked
// strictly, on the wire.
type clouds struct {
	t            *testing.T
	clock        *clock        // of the callers
	skew         time.Duration // of Alibaba's clock against the callers'
	life         time.Duration
	aws, alibaba *httptest.Server
	awsCalls     atomic.Int64
	alibabaCalls atomic.Int64
	awsSession   atomic.Value                     // the session token that AWS expects
	instead      atomic.Pointer[http.HandlerFunc] // answers for Alibaba in place of a success
	insteadAWS   atomic.Pointer[http.HandlerFunc]
}

func newClouds(t *testing.T) *clouds {
	c := &clouds{t: t, clock: newClock(), life: time.Hour}
	c.awsSession.Store("s3cr3t-aws-session")
	c.aws = httptest.NewServer(http.HandlerFunc(c.answerAWS))
	c.alibaba = httptest.NewServer(http.HandlerFunc(c.answerAlibaba))
	t.Cleanup(c.aws.Close)
	t.Cleanup(c.alibaba.Close)
	return c
}

func (c *clouds) lambda() map[string]string {
	return map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME":        "generate",
		"AWS_REGION":                      "us-east-1",
		"AWS_ACCESS_KEY_ID":               "ASIALAMBDA",
		"AWS_SECRET_ACCESS_KEY":           "s3cr3t-aws-key",
		"AWS_SESSION_TOKEN":               "s3cr3t-aws-session",
		"AWS_ENDPOINT_URL_STS":            c.aws.URL,
		"ALIBABA_CLOUD_ROLE_ARN":          role,
		"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": provider,
		"ALIBABA_CLOUD_OIDC_AUDIENCE":     "weboffice",
		"WEBOFFICE_REGION":                "cn-hangzhou",
		"WEBOFFICE_STS_ENDPOINT":          c.alibaba.URL,
	}
}

func (c *clouds) options(env map[string]string) Options {
	return Options{Getenv: func(name string) string { return env[name] }, Now: c.clock.now,
		Logger: logger(c.t)}
}

func (c *clouds) source(env map[string]string) Source {
	c.t.Helper()
	source, err := FromEnvironment(c.options(env))
	if err != nil {
		c.t.Fatal(err)
	}
	return source
}

func (c *clouds) checks(what, got, want string) {
	if got != want {
		c.t.Errorf("%s is %q, not %q", what, got, want)
	}
}

var sigV4 = regexp.MustCompile(
	`^AWS4-HMAC-SHA256 Credential=ASIALAMBDA/\d{8}/us-east-1/sts/aws4_request, ` +
		`SignedHeaders=[a-z0-9;-]*;host;[a-z0-9;-]*x-amz-security-token, Signature=[0-9a-f]{64}$`)

func (c *clouds) answerAWS(w http.ResponseWriter, r *http.Request) {
	c.awsCalls.Add(1)
	if err := r.ParseForm(); err != nil {
		c.t.Error(err)
	}
	c.checks("method", r.Method, "POST")
	c.checks("query", r.URL.RawQuery, "")
	c.checks("Action", r.PostForm.Get("Action"), "GetWebIdentityToken")
	c.checks("Version", r.PostForm.Get("Version"), "2011-06-15")
	c.checks("Audience", r.PostForm.Get("Audience.member.1"), "weboffice")
	c.checks("a second audience", r.PostForm.Get("Audience.member.2"), "")
	c.checks("SigningAlgorithm", r.PostForm.Get("SigningAlgorithm"), "RS256")
	c.checks("DurationSeconds", r.PostForm.Get("DurationSeconds"), "300")
	c.checks("X-Amz-Security-Token", r.Header.Get("X-Amz-Security-Token"),
		c.awsSession.Load().(string))
	if !sigV4.MatchString(r.Header.Get("Authorization")) {
		c.t.Errorf("not signed: %q", r.Header.Get("Authorization"))
	}
	if instead := c.insteadAWS.Load(); instead != nil {
		(*instead)(w, r)
		return
	}
	c.awsToken(w, oidc)
}

func (c *clouds) awsToken(w io.Writer, token string) {
	_,
		_ = fmt.Fprintf(w,
		`<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>`+
			`<WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration></GetWebIdentityTokenResult>`+
			`<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>`,
		token, c.clock.now().Add(5*time.Minute).UTC().Format(time.RFC3339))
}

var sessionShape = regexp.MustCompile(`^[A-Za-z0-9.@_-]{2,32}$`)

func (c *clouds) answerAlibaba(w http.ResponseWriter, r *http.Request) {
	call := c.alibabaCalls.Add(1)
	if err := r.ParseForm(); err != nil {
		c.t.Error(err)
	}
	query := r.URL.Query()
	c.checks("method", r.Method, "POST")
	c.checks("path", r.URL.Path, "/")
	c.checks("Action", query.Get("Action"), "AssumeRoleWithOIDC")
	c.checks("Version", query.Get("Version"), "2015-04-01")
	c.checks("Format", query.Get("Format"), "JSON")
	if at, err := time.Parse("2006-01-02T15:04:05Z", query.Get("Timestamp")); err != nil ||
		c.clock.now().Sub(at).Abs() > time.Minute {
		c.t.Errorf("Timestamp %q is not now", query.Get("Timestamp"))
	}
	c.checks("parameters in the URL", fmt.Sprint(len(query)), "4")
	c.checks("Authorization", r.Header.Get("Authorization"), "")
	c.checks("Content-Type", r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	c.checks("RoleArn", r.PostForm.Get("RoleArn"), role)
	c.checks("OIDCProviderArn", r.PostForm.Get("OIDCProviderArn"), provider)
	c.checks("DurationSeconds", r.PostForm.Get("DurationSeconds"), "3600")
	if name := r.PostForm.Get("RoleSessionName"); !sessionShape.MatchString(name) {
		c.t.Errorf("RoleSessionName %q is not valid", name)
	}
	if token := r.PostForm.Get("OIDCToken"); !jwtShape.MatchString(token) {
		c.t.Errorf("OIDCToken is %q", token)
	}
	server := c.clock.now().Add(c.skew)
	w.Header().Set("Date", server.UTC().Format(http.TimeFormat))
	if instead := c.instead.Load(); instead != nil {
		(*instead)(w, r)
		return
	}
	c.give(w, fmt.Sprintf("STS.%d", call), "s3cr3t-security-token",
		server.Add(c.life).UTC().Format(time.RFC3339))
}

func (c *clouds) give(w http.ResponseWriter, keyID, securityToken, expiration string) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	_,
		_ = fmt.Fprintf(w,
		`{"RequestId":"3D57EAD2-8723-1F26-B69C-F8707D8B565D","AssumedRoleUser":{"Arn":"%s/x","AssumedRoleId":"1:x"},`+
			`"OIDCTokenInfo":{"Subject":"arn:aws:iam::1:role/x","Issuer":"https://1.tokens.sts.global.api.aws"},"Credentials":{"AccessKeyId":%q,`+
			`"AccessKeySecret":"s3cr3t-key","SecurityToken":%q,"Expiration":%q}}`, role, keyID,
		securityToken, expiration)
}

// answers sets what Alibaba's STS answers, for good; nil: a success.
func (c *clouds) answers(h http.HandlerFunc) { store(&c.instead, h) }

func (c *clouds) awsAnswers(h http.HandlerFunc) { store(&c.insteadAWS, h) }

func store(p *atomic.Pointer[http.HandlerFunc], h http.HandlerFunc) {
	if h == nil {
		p.Store(nil)
		return
	}
	p.Store(&h)
}

// calls checks how many exchanges both clouds have seen.
func (c *clouds) calls(want int64) {
	c.t.Helper()
	if aws, alibaba := c.awsCalls.Load(), c.alibabaCalls.Load(); aws != want || alibaba != want {
		c.t.Errorf("%d exchanges with AWS and %d with Alibaba, not %d", aws, alibaba, want)
	}
}

// get returns credentials that must be there.
func get(t *testing.T, s Source) Credentials {
	t.Helper()
	c, err := s.Credentials(context.Background())
	if err != nil {
		everything.record(err)
		t.Fatalf("%v (fix %q)", err, weboffice.AsError(err).Fix)
	}
	if !c.complete() {
		t.Fatalf("credentials not complete: %v", c)
	}
	return c
}
