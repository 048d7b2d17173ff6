package credentials

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/weboffice"
)

func TestLambdaRoleBecomesRAMRole(t *testing.T) {
	c := newClouds(t)
	c.answers(func(w http.ResponseWriter, r *http.Request) {
		c.checks("OIDCToken", r.PostForm.Get("OIDCToken"), oidc)
		c.give(w, "STS.1", "s3cr3t-security-token",
			c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	got := get(t, c.source(c.lambda()))
	want := Credentials{"STS.1", "s3cr3t-key", "s3cr3t-security-token",
		c.clock.now().Add(time.Hour)}
	if got.Expires.Sub(want.Expires).Abs() > time.Second {
		t.Errorf("expires %v, not %v", got.Expires, want.Expires)
	}
	if got.Expires = want.Expires; got != want {
		t.Errorf("got %v", got)
	}
	c.calls(1)
}

func TestLambdaCredentialsAreReadAtEachExchange(t *testing.T) {
	c := newClouds(t)
	env := c.lambda()
	source := c.source(env)
	get(t, source)
	env["AWS_SESSION_TOKEN"] = "s3cr3t-aws-session-2"
	c.awsSession.Store("s3cr3t-aws-session-2") // what AWS wants to see from now on
	c.clock.advance(2 * time.Hour)
	get(t, source)
	c.calls(2)
}

// refused answers as Alibaba's STS does, quoting the token in its message.
func refused(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_,
			_ = fmt.Fprintf(w,
			`{"RequestId":"1","HostId":"sts.aliyuncs.com","Code":%q,"Message":"no: %s","Recommend":"https://x/?q=s3cr3t"}`,
			code, oidc)
	}
}

func refusedByAWS(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_,
			_ = fmt.Fprintf(w,
			`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code>`+
				`<Message>no: s3cr3t-aws-session</Message></Error><RequestId>1</RequestId></ErrorResponse>`, code)
	}
}

func TestRefusedExchangeSaysWhatToCheck(t *testing.T) {
	const aws = true
	for _, test := range []struct {
		aws    bool
		status int
		code   string
		fix    string
	}{
		{!aws, 401, "AuthenticationFail.OIDCToken.AudienceNotMatch", "audience:"},
		{!aws, 401, "AuthenticationFail.OIDCToken.Expired", "the OIDC token has expired"},
		{!aws, 401, "AuthenticationFail.OIDCToken.IssuerNotMatch", "issuer:"},
		{!aws, 401, "AuthenticationFail.OIDCToken.IssuerConfigurationBroken", "issuer:"},
		{!aws, 401, "AuthenticationFail.OIDCToken.PublicKeyFingerprintMismatch", "thumbprint:"},
		{!aws, 401, "AuthenticationFail.OIDCToken.HttpsUrlInvalid", "thumbprint:"},
		{!aws, 401, "AuthenticationFail.OIDCToken.InvalidSignature", "issuer: the token's key"},
		{!aws, 401, "AuthenticationFail.OIDCToken.Invalid", "token: it must be a JWT"},
		{!aws, 401, "AuthenticationFail.NoPermission", "trust policy:"},
		{!aws, 403, "NoPermission", "trust policy:"},
		{!aws, 404, "EntityNotExist.Role", "ALIBABA_CLOUD_ROLE_ARN:"},
		{!aws, 404, "EntityNotExist.OIDCProvider", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN:"},
		{!aws, 400, "InvalidParameter.RoleArn", "check ALIBABA_CLOUD_ROLE_ARN and"},
		{!aws, 400, "InvalidTimeStamp.Expired", "check that this machine's clock is right"},
		{!aws, 429, "Throttling.User", "STS failed and is tried again"},
		{!aws, 503, "ServiceUnavailable", "STS failed and is tried again"},
		{aws, 403, "AccessDenied", "the Lambda role must allow sts:GetWebIdentityToken"},
		{aws, 400, "OutboundWebIdentityFederationDisabledException",
			"run once for the AWS account: aws iam enable-outbound"},
		{aws, 403, "ExpiredToken", "AWS does not accept Lambda's own credentials"},
		{aws, 403, "InvalidClientTokenId", "AWS does not accept Lambda's own credentials"},
		{aws, 403, "SignatureDoesNotMatch", "AWS does not accept Lambda's own credentials"},
		{aws, 400, "Throttling", "STS failed and is tried again"},
		{aws, 500, "InternalFailure", "STS failed and is tried again"},
	} {
		t.Run(test.code, func(t *testing.T) {
			c := newClouds(t)
			action := "AssumeRoleWithOIDC"
			if test.aws {
				c.awsAnswers(refusedByAWS(test.status, test.code))
				action = "GetWebIdentityToken"
			} else {
				c.answers(refused(test.status, test.code))
			}
			source := c.source(c.lambda())
			_, err := source.Credentials(context.Background())
			e := failed(t, err)
			if !strings.HasPrefix(e.Fix, test.fix) {
				t.Errorf("fix %q, not %q", e.Fix, test.fix)
			}
			if want := fmt.Sprintf("%s: status %d, code %s", action, test.status,
				test.code); e.Cause.Error() != want {
				t.Errorf("cause %q, not %q", e.Cause, want)
			}
			if c.awsCalls.Load() != 1 || test.aws && c.alibabaCalls.Load() != 0 {
				t.Errorf("%d and %d calls", c.awsCalls.Load(), c.alibabaCalls.Load())
			}
			// The twin: mended, and tried again.
			c.answers(nil)
			c.awsAnswers(nil)
			c.clock.advance(time.Second)
			get(t, source)
		})
	}
}

func TestErrorCodeThatIsNone(t *testing.T) {
	for _, code := range []string{"", oidc + " and more", strings.Repeat("a", 81), "a\nb", "ü"} {
		c := newClouds(t)
		c.answers(refused(400, code))
		_, err := c.source(c.lambda()).Credentials(context.Background())
		if e := failed(t, err); e.Cause.Error() != "AssumeRoleWithOIDC: status 400, code unknown" {
			t.Errorf("cause %q", e.Cause)
		}
	}
}

// nonsense is what something in between, or a broken server, answers instead of an STS.
var nonsense = map[string]struct {
	answer http.HandlerFunc
	cause  string // the end of the cause
}{
	"empty": {func(http.ResponseWriter, *http.Request) {}, ""},
	"HTML":  {text(200, "<!DOCTYPE html><html><body>Sign in s3cr3t<br></body></html>"), ""},
	"HTML 502": {text(502, "<html><body>Bad gateway s3cr3t<hr></body></html>"),
		"status 502, code unknown"},
	"empty 503":  {text(503, ""), "status 503, code unknown"},
	"null":       {text(200, "null"), ""},
	"other JSON": {text(200, `{"Credentials":"s3cr3t"}`), ""},
	"a list":     {text(200, `[{"s3cr3t":1}]`), ""},
	"no expiry": {
		text(200,
			`{"Credentials":{"AccessKeyId":"STS.1","AccessKeySecret":"s3cr3t","SecurityToken":"s3cr3t"}}`), ""},
	"cut JSON": {text(200, `{"Credentials":{"AccessKeyId":"s3cr3t`), ""},
	"a redirect": {func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/?s3cr3t", http.StatusTemporaryRedirect)
	}, "status 307, code unknown"},
	"endless":     {endless, "larger than 16 KB"},
	"a gzip bomb": {bomb, "larger than 16 KB"},
	"cut":         {cut("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"s3cr3t"), "EOF"},
	"closed":      {cut(""), "EOF"},
	"no HTTP":     {cut("s3cr3t s3cr3t s3cr3t\r\n\r\n"), "the answer could not be read"},
	"bad Location": {cut("HTTP/1.1 307 X\r\nLocation: http://[s3cr3t\r\nContent-Length: 0\r\n\r\n"),
		"the answer could not be read"},
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	line := []byte("<s3cr3t>" + strings.Repeat(" ", 1<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(line); err != nil {
			return
		}
	}
}

func bomb(w http.ResponseWriter, r *http.Request) {
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = z.Close()
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(small.Bytes())
}

func cut(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

func TestNonsenseFromAlibaba(t *testing.T) {
	for name, test := range nonsense {
		t.Run(name, func(t *testing.T) {
			c := newClouds(t)
			c.answers(test.answer)
			_, err := c.source(c.lambda()).Credentials(context.Background())
			if e := failed(t, err); !strings.HasPrefix(e.Cause.Error(), "AssumeRoleWithOIDC: ") ||
				!strings.HasSuffix(e.Cause.Error(), test.cause) {
				t.Errorf("cause %q", e.Cause)
			}
			c.calls(1)
		})
	}
}

func TestNonsenseFromAWS(t *testing.T) {
	for name, test := range nonsense {
		t.Run(name, func(t *testing.T) {
			c := newClouds(t)
			c.awsAnswers(test.answer)
			_, err := c.source(c.lambda()).Credentials(context.Background())
			e := failed(t, err)
			if cause := e.Cause.Error(); !strings.HasPrefix(cause, "OIDC token: ") &&
				!strings.HasPrefix(cause, "GetWebIdentityToken: status ") {
				t.Errorf("cause %q", e.Cause)
			}
			if c.alibabaCalls.Load() != 0 {
				t.Error("nonsense was sent to Alibaba")
			}
		})
	}
}

func TestAnswerWithoutPartsOfCredentials(t *testing.T) {
	good := time.Now().Add(1e6 * time.Hour).UTC().Format(time.RFC3339)
	for _, test := range []struct{ name, keyID, token, expiration string }{
		{"a long-lived key: no security token", "LTAI", "", good},
		{"no AccessKey ID", "", "s3cr3t", good},
		{"no expiration", "STS.1", "s3cr3t", ""},
		{"expiration in words", "STS.1", "s3cr3t", "tomorrow"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClouds(t)
			c.answers(func(w http.ResponseWriter, _ *http.Request) {
				c.give(w, test.keyID, test.token, test.expiration)
			})
			source := c.source(c.lambda())
			_, err := source.Credentials(context.Background())
			if e := failed(t,
				err); e.Cause.Error() != "AssumeRoleWithOIDC: an answer without complete credentials" {
				t.Errorf("cause %q", e.Cause)
			}
			c.answers(func(w http.ResponseWriter, _ *http.Request) {
				c.give(w, "STS.1", "s3cr3t", good)
			})
			c.clock.advance(time.Second)
			get(t, source)
		})
	}
}

func TestClockSkew(t *testing.T) {
	for _, test := range []struct {
		name string
		skew time.Duration // of Alibaba's clock
		life time.Duration // by Alibaba's clock
		want time.Duration // by ours
	}{
		{"none", 0, time.Hour, time.Hour},
		{"our clock is two hours slow", 2 * time.Hour, time.Hour, time.Hour},
		{"our clock is two hours fast", -2 * time.Hour, time.Hour, time.Hour},
		{"our clock is a day slow, a short session", 24 * time.Hour, 15 * time.Minute,
			15 * time.Minute},
		{"seconds are not skew", -30 * time.Second, time.Hour, time.Hour - 30*time.Second},
		{"more than was asked for", 0, 12 * time.Hour, time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClouds(t)
			c.skew, c.life = test.skew, test.life
			source := c.source(c.lambda())
			if got := get(t, source).Expires.Sub(c.clock.now()); (got - test.want).Abs() > time.Second {
				t.Errorf("live %v, not %v", got, test.want)
			}
			c.clock.advance(test.want - renewEarly - 2*time.Second)
			get(t, source)
			c.calls(1)
			c.clock.advance(renewEarly)
			get(t, source)
			c.calls(2)
		})
	}
}

func TestCredentialsThatHaveEndedAlready(t *testing.T) {
	c := newClouds(t)
	c.life = -time.Second
	source := c.source(c.lambda())
	_, err := source.Credentials(context.Background())
	if e := failed(t, err); !strings.Contains(e.Fix, "clock") || e.RetryAfter != time.Second {
		t.Errorf("fix %q, retry after %v", e.Fix, e.RetryAfter)
	}
	_, err = source.Credentials(context.Background())
	failed(t, err)
	c.calls(1) // the second call backs off
	c.life = time.Hour
	c.clock.advance(time.Second)
	get(t, source)
}

func tokenIn(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s3cr3t-name")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestTokenFileIsReadAtEachExchange(t *testing.T) {
	c := newClouds(t)
	name := tokenIn(t, oidc+"\n")
	var seen atomic.Pointer[string]
	c.answers(func(w http.ResponseWriter, r *http.Request) {
		token := r.PostForm.Get("OIDCToken")
		seen.Store(&token)
		c.give(w, "STS.1", "s3cr3t", c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	source := c.source(with(c.lambda(), "ALIBABA_CLOUD_OIDC_TOKEN_FILE", name, "AWS_ACCESS_KEY_ID",
		"", "AWS_REGION", ""))
	get(t, source)
	c.checks("the first token", *seen.Load(), oidc)
	if err := os.WriteFile(name, []byte("s3cr3t.rotated.token"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.clock.advance(time.Hour)
	get(t, source)
	c.checks("the rotated token", *seen.Load(), "s3cr3t.rotated.token")
	if c.awsCalls.Load() != 0 {
		t.Error("AWS was asked")
	}
}

func TestBadTokenFile(t *testing.T) {
	for _, test := range []struct{ name, location, cause string }{
		{"missing", filepath.Join(t.TempDir(), "s3cr3t"), "file does not exist"},
		{"a directory", t.TempDir(), "not a regular file"},
		{"a device", "/dev/zero", "not a regular file"},
		{"empty", tokenIn(t, ""), "empty, over 16 KB, or not a signed JWT"},
		{"blank", tokenIn(t, " \n"), "empty, over 16 KB, or not a signed JWT"},
		{"too large", tokenIn(t, strings.Repeat("a", maxAnswer)+".b.c"),
			"not a regular file of at most 16 KB"},
		{"a password file", tokenIn(t, "root:x:0:0:s3cr3t\n"), "not a signed JWT"},
		{"an encrypted JWT", tokenIn(t, "a.b.c.d.s3cr3t"), "not a signed JWT"},
		{"an unsigned JWT", tokenIn(t, "s3cr3t.b."), "not a signed JWT"},
		{"two tokens", tokenIn(t, oidc+"\n"+oidc), "not a signed JWT"},
		{"the token itself in the variable", oidc, "file does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newClouds(t)
			_, err := c.source(with(c.lambda(), "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
				test.location)).Credentials(context.Background())
			e := failed(t, err)
			if !strings.HasPrefix(e.Fix,
				"ALIBABA_CLOUD_OIDC_TOKEN_FILE must name a readable file") ||
				!strings.Contains(e.Cause.Error(), test.cause) {
				t.Errorf("fix %q, cause %q", e.Fix, e.Cause)
			}
			if c.alibabaCalls.Load() != 0 {
				t.Error("something was sent to Alibaba")
			}
		})
	}
}

func TestTokenURL(t *testing.T) {
	c := newClouds(t)
	var token atomic.Pointer[string]
	next := func(s string) { token.Store(&s) }
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.checks("method", r.Method, "GET")
		c.checks("query", r.URL.RawQuery, "key=s3cr3t")
		_, _ = io.WriteString(w, *token.Load())
	}))
	defer tokens.Close()
	c.answers(func(w http.ResponseWriter, r *http.Request) {
		c.checks("OIDCToken", r.PostForm.Get("OIDCToken"), strings.TrimSpace(*token.Load()))
		c.give(w, "STS.1", "s3cr3t", c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	source := c.source(with(c.lambda(), "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
		tokens.URL+"/t?key=s3cr3t"))
	for _, one := range []string{oidc + "\n", "s3cr3t.second.token"} {
		next(one)
		get(t, source)
		c.clock.advance(time.Hour)
	}
	if c.alibabaCalls.Load() != 2 || c.awsCalls.Load() != 0 {
		t.Errorf("%d and %d calls", c.alibabaCalls.Load(), c.awsCalls.Load())
	}
}

func TestNonsenseFromTokenURL(t *testing.T) {
	for name, test := range nonsense {
		t.Run(name, func(t *testing.T) {
			c := newClouds(t)
			tokens := httptest.NewServer(test.answer)
			defer tokens.Close()
			_, err := c.source(with(c.lambda(), "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
				tokens.URL+"/t?key=s3cr3t")).Credentials(context.Background())
			e := failed(t, err)
			if !strings.HasPrefix(e.Fix, "ALIBABA_CLOUD_OIDC_TOKEN_FILE must name a URL") ||
				!strings.HasPrefix(e.Cause.Error(), "OIDC token: ") {
				t.Errorf("fix %q, cause %q", e.Fix, e.Cause)
			}
			if c.alibabaCalls.Load() != 0 {
				t.Error("something was sent to Alibaba")
			}
		})
	}
}

// A redirect would carry what is in the request to a host that nobody chose.
func TestRedirectToAnotherHost(t *testing.T) {
	var lured atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		lured.Add(1)
		_, _ = io.WriteString(w, oidc)
	}))
	defer thief.Close()
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	}

	for _, from := range []string{"AWS", "Alibaba", "the token URL"} {
		c := newClouds(t)
		env := c.lambda()
		switch from {
		case "AWS":
			c.awsAnswers(redirect)
		case "Alibaba":
			c.answers(redirect)
		default:
			tokens := httptest.NewServer(http.HandlerFunc(redirect))
			defer tokens.Close()
			env["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] = tokens.URL
		}
		_, err := c.source(env).Credentials(context.Background())
		failed(t, err)
		if lured.Load() != 0 {
			t.Fatalf("a redirect of %s was followed", from)
		}
	}
	// The twin: the same server, named by the operator.
	c := newClouds(t)
	get(t, c.source(with(c.lambda(), "ALIBABA_CLOUD_OIDC_TOKEN_FILE", thief.URL)))
}

// TestServerThatCannotBeReached keeps what helps an operator and nothing that a URL may hold.
func TestServerThatCannotBeReached(t *testing.T) {
	c := newClouds(t)
	c.alibaba.Close()
	_, err := c.source(c.lambda()).Credentials(context.Background())
	e := failed(t, err)
	if !strings.Contains(e.Cause.Error(), "connection refused") ||
		strings.Contains(e.Cause.Error(), "Timestamp") {
		t.Errorf("cause %q", e.Cause)
	}
	if !strings.HasPrefix(e.Fix, "let the function reach Alibaba's STS") {
		t.Errorf("fix %q", e.Fix)
	}
	c = newClouds(t)
	c.aws.Close()
	_, err = c.source(c.lambda()).Credentials(context.Background())
	if e := failed(t, err); !strings.Contains(e.Cause.Error(), "connection refused") ||
		!strings.HasPrefix(e.Fix, "let the function reach AWS's STS") {
		t.Errorf("fix %q, cause %q", e.Fix, e.Cause)
	}
}

func TestCertificateThatNobodyTrusts(t *testing.T) {
	c := newClouds(t)
	forged := httptest.NewUnstartedServer(http.HandlerFunc(c.answerAlibaba))
	forged.Config.ErrorLog = log.New(testLog{t}, "", 0)
	forged.StartTLS()
	defer forged.Close()
	env := with(c.lambda(), "WEBOFFICE_STS_ENDPOINT", forged.URL)
	_, err := c.source(env).Credentials(context.Background())
	if e := failed(t, err); !strings.Contains(e.Cause.Error(),
		"certificate signed by unknown authority") {
		t.Errorf("cause %q", e.Cause)
	}
	if c.alibabaCalls.Load() != 0 {
		t.Error("the token was sent")
	}
	o := c.options(env)
	o.Client = forged.Client()
	source, err := FromEnvironment(o)
	if err != nil {
		t.Fatal(err)
	}
	get(t, source)
}

// silent is a server that never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestServerThatNeverAnswers(t *testing.T) {
	env := newClouds(t).lambda()
	for _, location := range []string{"", "https://tokens.example.com/?s3cr3t", tokenIn(t, oidc)} {
		synctest.Test(t, func(t *testing.T) {
			env["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] = location
			source, err := FromEnvironment(
				Options{Getenv: func(name string) string { return env[name] },
					Client: &http.Client{Transport: silent{}}, Logger: logger(t)})
			if err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			_, err = source.Credentials(context.Background())
			if e := failed(t, err); !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("cause %v", e.Cause)
			}
			if waited := time.Since(started); waited != maxWait {
				t.Errorf("waited %v", waited)
			}
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(
		[]byte(
			`{"Credentials":{"AccessKeyId":"STS.1","AccessKeySecret":"k","SecurityToken":"t","Expiration":"2026-11-21T12:00:00Z"}}`))
	f.Add(
		[]byte(
			`{"Credentials":{"AccessKeyId":"LTAI","AccessKeySecret":"k","SecurityToken":"","Expiration":"2026-11-21T12:00:00Z"}}`))
	f.Add([]byte(`{"Code":"NoPermission","Message":"m"}`))
	f.Add([]byte(`<html>`))
	f.Add([]byte(`{"credentials":{},"Credentials":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := parseAnswer(body)
		c := answer.Credentials
		if err == nil && (c.AccessKeyID == "" || c.AccessKeySecret == "" || c.SecurityToken == "" ||
			c.Expiration.IsZero()) {
			t.Errorf("accepted without all parts: %q", body)
		}
		e := refusal("A", 400, answer.Code, alibabaFixes)
		if e.Fix == "" || !strings.HasPrefix(e.Cause.Error(), "A: status 400, code ") ||
			strings.ContainsAny(e.Cause.Error(), "\r\n<\"") {
			t.Errorf("fix %q, cause %q", e.Fix, e.Cause)
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{oidc, " " + oidc + "\r\n", "", "a.b", "a.b.c.d", "<html>", "..",
		"a.b.\x00",
		strings.Repeat("a", maxAnswer) + ".b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := tokenSource{fix: "fix",
			get: func(context.Context) (string, error) { return raw, nil }}.token(
			context.Background())
		if err != nil {
			// in these words, whatever was given
			const why = "OIDC token: empty, over 16 KB, or not a signed JWT"
			if public := weboffice.AsError(err); public.Kind != weboffice.Unavailable ||
				public.Cause.Error() != why {
				t.Errorf("%q: %v", raw, public.Cause)
			}
			return
		}
		if got := token.Reveal(); got != strings.TrimSpace(raw) || len(got) > maxAnswer ||
			strings.Count(got, ".") != 2 ||
			strings.ContainsAny(got, " \r\n<&=%") {
			t.Errorf("accepted %q as %q", raw, got)
		}
	})
}
