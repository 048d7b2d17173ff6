package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Every secret of these tests contains secretWord, so that one search finds any of them.
const (
	secretWord = "s3cr3t"
	role       = "acs:ram::1234567890123456:role/weboffice"
	provider   = "acs:ram::1234567890123456:oidc-provider/aws"
	oidc       = "s3cr3tHeader.s3cr3tPayload.s3cr3tSignature"
)

// hunter is where the logs of a test go: it fails the test when a secret is among them.
type hunter struct{ testing.TB }

func (h hunter) Write(p []byte) (int, error) {
	h.Helper()
	if leaks(string(p)) {
		h.Errorf("an error or a log holds a secret: %s", p)
	}
	return h.Output().Write(p)
}

func leaks(text string) bool { return strings.Contains(text, secretWord) }

// allForms writes an error in every form in which it may get into a log.
func allForms(err error) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%v | %+v | %#v\n", err, err, err)
	slog.New(slog.NewJSONHandler(&b, nil)).Error("recorded", "error", err)
	if public := (*weboffice.Error)(nil); errors.As(err, &public) {
		_, _ = fmt.Fprintf(&b, "%s | %s | %s | %v\n", public.Message, public.Recommend, public.Fix,
			public.Cause)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		_, _ = fmt.Fprintf(&b, "%T %v %+v\n", err, err, err)
	}
	return b.String()
}

func hunt(t testing.TB, err error) { _, _ = hunter{t}.Write([]byte(allForms(err))) }

func TestHuntFindsWhatLeaks(t *testing.T) {
	for err, want := range map[error]bool{
		errors.New("token " + oidc):                               true,
		unavailable("fix", fmt.Errorf("w: %w", errors.New(oidc))): true,
		unavailable("use "+oidc, nil):                             true,
		fmt.Errorf("%v", weboffice.Secret(oidc)):                  false,
	} {
		if got := leaks(allForms(err)); got != want {
			t.Errorf("%v: found %v, not %v", err, got, want)
		}
	}
}

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(hunter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// get returns credentials that must be there.
func get(t *testing.T, s Source) Credentials {
	t.Helper()
	c, err := s.Credentials(context.Background())
	if hunt(t, err); err != nil || !c.complete() {
		t.Fatalf("got %v, %v (fix %q)", c, err, weboffice.AsError(err).Fix)
	}
	return c
}

// fails returns the error that the source must give, after checking what all of them have.
func fails(t *testing.T, s Source) *weboffice.Error {
	t.Helper()
	got, err := s.Credentials(context.Background())
	if err == nil {
		t.Fatalf("no error, but %v", got)
	}
	hunt(t, err)
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

// says checks the beginning of the fix and a part of the cause.
func says(t *testing.T, e *weboffice.Error, fix, cause string) {
	t.Helper()
	if !strings.HasPrefix(e.Fix, fix) || !strings.Contains(e.Cause.Error(), cause) {
		t.Errorf("fix %q, cause %q; want %q, %q", e.Fix, e.Cause, fix, cause)
	}
}

// fromEnvironment returns the source of env, whose name and problems hold no secret.
func fromEnvironment(t testing.TB, env map[string]string) (Source, error) {
	return choose(t, Options{}, env)
}

func choose(t testing.TB, o Options, env map[string]string) (Source, error) {
	o.Getenv, o.Logger = func(name string) string { return env[name] }, logger(t)
	if o.Now == nil {
		o.Now = time.Now
	}
	source, err := FromEnvironment(o)
	if hunt(t, err); err == nil {
		hunt(t, errors.New(Describe(source)))
	}
	return source, err
}

// transport is what happens to a request in place of a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// with returns env with changes; a change to "" removes.
func with(env map[string]string, changes ...string) map[string]string {
	env = maps.Clone(env)
	for pair := range slices.Chunk(changes, 2) {
		env[pair[0]] = pair[1]
	}
	return env
}

// tokenIn gives the name of a file with this content.
func tokenIn(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s3cr3t-name")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// rig is the STS of AWS and that of Alibaba Cloud on loopback, with one clock. Each checks what it
// is asked strictly, on the wire.
type rig struct {
	t            *testing.T
	nanoseconds  atomic.Int64  // the time of the callers
	skew, life   time.Duration // Alibaba's clock against the callers', life by its own
	aws, alibaba server
	awsSession   atomic.Value // the session token that AWS expects
	token        atomic.Value // the OIDC token that Alibaba got last
}

// server counts the requests that it gets.
type server struct {
	*httptest.Server
	count   atomic.Int64
	instead atomic.Value // http.HandlerFunc: what it answers
}

// answer sets what a server answers, for good; nil: a success.
func (s *server) answer(h http.HandlerFunc) { s.instead.Store(h) }

func (r *rig) serve(s *server, check, success http.HandlerFunc) {
	s.answer(nil)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.count.Add(1)
		if err := q.ParseForm(); err != nil {
			r.t.Error(err)
		}
		check(w, q)
		if h := s.instead.Load().(http.HandlerFunc); h != nil {
			h(w, q)
		} else {
			success(w, q)
		}
	}))
	r.t.Cleanup(s.Close)
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, life: time.Hour}
	r.nanoseconds.Store(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).UnixNano())
	r.awsSession.Store("s3cr3t-aws-session")
	r.serve(&r.aws, r.checkAWS, r.giveToken)
	r.serve(&r.alibaba, r.checkAlibaba, func(w http.ResponseWriter, _ *http.Request) {
		give(w, fmt.Sprint("STS.", r.alibaba.count.Load()), r.now().Add(r.skew+r.life))
	})
	return r
}

func (r *rig) now() time.Time          { return time.Unix(0, r.nanoseconds.Load()) }
func (r *rig) advance(d time.Duration) { r.nanoseconds.Add(int64(d)) }

// lambda is Lambda's environment, with changes.
func (r *rig) lambda(changes ...string) map[string]string {
	return with(map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": "generate", "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": "ASIALAMBDA", "AWS_SECRET_ACCESS_KEY": "s3cr3t-aws-key",
		"AWS_SESSION_TOKEN": "s3cr3t-aws-session", "AWS_ENDPOINT_URL_STS": r.aws.URL,
		"ALIBABA_CLOUD_ROLE_ARN": role, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": provider,
		"ALIBABA_CLOUD_OIDC_AUDIENCE": "weboffice", "WEBOFFICE_REGION": "cn-hangzhou",
		"WEBOFFICE_STS_ENDPOINT": r.alibaba.URL,
	}, changes...)
}

// source is that of an environment.
func (r *rig) source(env map[string]string, client *http.Client) Source {
	r.t.Helper()
	source, err := choose(r.t, Options{Client: client, Now: r.now}, env)
	if err != nil {
		r.t.Fatal(err)
	}
	return source
}

// onLambda is the source of Lambda's environment, with changes.
func (r *rig) onLambda(changes ...string) Source {
	r.t.Helper()
	return r.source(r.lambda(changes...), nil)
}

func (r *rig) is(what, got, want string) {
	if got != want {
		r.t.Errorf("%s is %q, not %q", what, got, want)
	}
}

// calls checks how many exchanges the two have seen.
func (r *rig) calls(aws, alibaba int64) {
	r.t.Helper()
	if a, b := r.aws.count.Load(), r.alibaba.count.Load(); a != aws || b != alibaba {
		r.t.Errorf("%d calls of AWS and %d of Alibaba, not %d and %d", a, b, aws, alibaba)
	}
}

var sigV4 = regexp.MustCompile(
	`^AWS4-HMAC-SHA256 Credential=ASIALAMBDA/\d{8}/us-east-1/sts/aws4_request, ` +
		`SignedHeaders=[a-z0-9;-]*;host;[a-z0-9;-]*x-amz-security-token, Signature=[0-9a-f]{64}$`)

func (r *rig) checkAWS(_ http.ResponseWriter, q *http.Request) {
	r.is("request", q.Method+" "+q.URL.String(), "POST /")
	r.is("form", q.PostForm.Encode(), "Action=GetWebIdentityToken&Audience.member.1=weboffice&"+
		"DurationSeconds=300&SigningAlgorithm=RS256&Version=2011-06-15")
	r.is("session", q.Header.Get("X-Amz-Security-Token"), r.awsSession.Load().(string))
	if !sigV4.MatchString(q.Header.Get("Authorization")) {
		r.t.Errorf("not signed: %q", q.Header.Get("Authorization"))
	}
}

func (r *rig) giveToken(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, `<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/`+
		`2011-06-15/"><GetWebIdentityTokenResult><WebIdentityToken>%s</WebIdentityToken>`+
		`<Expiration>%s</Expiration></GetWebIdentityTokenResult><ResponseMetadata><RequestId>1`+
		`</RequestId></ResponseMetadata></GetWebIdentityTokenResponse>`,
		oidc, r.now().Add(5*time.Minute).UTC().Format(time.RFC3339))
}

func (r *rig) checkAlibaba(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Date", r.now().Add(r.skew).UTC().Format(http.TimeFormat))
	at := url.QueryEscape(r.now().UTC().Format("2006-01-02T15:04:05Z"))
	r.is("request", q.Method+" "+q.URL.String(),
		"POST /?Action=AssumeRoleWithOIDC&Format=JSON&Timestamp="+at+"&Version=2015-04-01")
	r.is("Authorization", q.Header.Get("Authorization"), "")
	r.is("Content-Type", q.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	token := q.PostForm.Get("OIDCToken")
	r.token.Store(token)
	r.is("form", q.PostForm.Encode(), url.Values{"DurationSeconds": {"3600"}, "OIDCToken": {token},
		"OIDCProviderArn": {provider}, "RoleArn": {role},
		"RoleSessionName": {"weboffice-functions"}}.Encode())
}

func give(w http.ResponseWriter, keyID string, expires time.Time) {
	_, _ = fmt.Fprintf(w, `{"RequestId":"3D57EAD2-8723-1F26-B69C-F8707D8B565D",`+
		`"AssumedRoleUser":{"Arn":"%s/x","AssumedRoleId":"1:x"},"Credentials":{"AccessKeyId":%q,`+
		`"AccessKeySecret":"s3cr3t-key","SecurityToken":"s3cr3t-security-token","Expiration":%q}}`,
		role, keyID, expires.UTC().Format(time.RFC3339))
}
