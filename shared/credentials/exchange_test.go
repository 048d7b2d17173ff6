package credentials

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"weboffice-functions/shared/weboffice"
)

const tokenFileVariable = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"

func TestLambdaRoleBecomesRAMRole(t *testing.T) {
	r := newRig(t)
	env := r.lambda()
	source := r.source(env, nil)
	want := Credentials{"STS.1", "s3cr3t-key", "s3cr3t-security-token", r.now().Add(time.Hour)}
	got := get(t, source)
	r.is("OIDCToken", r.token.Load().(string), oidc)
	off := got.Expires.Sub(want.Expires).Abs()
	if got.Expires = want.Expires; got != want || off > time.Second {
		t.Errorf("got %v, %v off", got, off)
	}
	// Lambda's own credentials are read at each exchange
	env["AWS_SESSION_TOKEN"] = "s3cr3t-aws-session-2"
	r.awsSession.Store("s3cr3t-aws-session-2")
	r.advance(2 * time.Hour)
	get(t, source)
	r.calls(2, 2)
}

// AWS's own client of STS is the oracle for what we send to it.
func TestSameWireAsAWSOwnClient(t *testing.T) {
	r := newRig(t)
	var seen []*http.Request
	r.aws.answer(func(w http.ResponseWriter, q *http.Request) {
		seen = append(seen, q)
		r.giveToken(w, q)
	})
	get(t, r.onLambda())
	_, err := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &r.aws.URL,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "ASIALAMBDA", SecretAccessKey: "s3cr3t-aws-key",
				SessionToken: "s3cr3t-aws-session"}, nil
		}),
	}).GetWebIdentityToken(t.Context(), &sts.GetWebIdentityTokenInput{
		Audience: []string{"weboffice"}, SigningAlgorithm: aws.String("RS256"),
		DurationSeconds: aws.Int32(300)})
	if err != nil || len(seen) != 2 {
		t.Fatalf("%v, %d requests", err, len(seen))
	}
	for _, q := range seen { // what belongs to a client, not to the call
		for _, own := range []string{"Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "User-Agent",
			"X-Amz-Date", "Authorization"} {
			q.Header.Del(own)
		}
	}
	ours, theirs := seen[0], seen[1]
	if !reflect.DeepEqual(ours.PostForm, theirs.PostForm) || ours.URL.Path != theirs.URL.Path {
		t.Errorf("sent %v %v, AWS's client %v %v", ours.URL, ours.PostForm, theirs.URL,
			theirs.PostForm)
	}
	if !reflect.DeepEqual(ours.Header, theirs.Header) {
		t.Errorf("sent %v, AWS's client %v", ours.Header, theirs.Header)
	}
}

// Each entry of fixes.txt is found, by itself and with more behind its code.
func TestRefusedExchangeSaysWhatToCheck(t *testing.T) {
	entries := strings.Split(strings.TrimSpace(fixes), "\n\n")[1:] // behind the heading
	for _, entry := range entries {
		codes, fix, _ := strings.Cut(entry, "\n\t")
		for _, code := range strings.Fields(codes) {
			says(t, refusal("A", 400, code), strings.ReplaceAll(fix, "\n\t", " "), "code "+code)
			says(t, refusal("A", 400, code+"Mismatch"), fix[:7], "code "+code)
		}
	}
	const again = "STS failed and is tried again"
	for code, fix := range map[string]string{
		"AuthenticationFail.NoPermission": "trust policy: the RAM role must allow sts:AssumeRole " +
			"to ALIBABA_CLOUD_OIDC_PROVIDER_ARN for the token's iss, aud and sub",
		"AuthenticationFail.OIDCToken.Invalid":           "token: it must be a JWT",
		"EntityNotExist.OIDCProvider":                    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN:",
		"OutboundWebIdentityFederationDisabledException": "run once for the AWS account: aws iam ",
		"Throttling.User":                                again, "ServiceUnavailable": again, "What": again,
	} {
		says(t, refusal("A", 400, code), fix, "A: status 400, code "+code)
	}
	for _, odd := range []string{"", oidc + " and more", strings.Repeat("a", 81), "a\nb", "ü"} {
		says(t, refusal("A", 400, odd), again, "A: status 400, code unknown")
	}
	r := newRig(t) // what Alibaba's answers look like is among nonsense
	r.aws.answer(text(403, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>`+
		`<Message>no: s3cr3t</Message></Error><RequestId>1</RequestId></ErrorResponse>`))
	says(t, fails(t, r.onLambda()), "the Lambda role must allow sts:GetWebIdentityToken",
		"GetWebIdentityToken: status 403, code AccessDenied")
}

const (
	incomplete = "an answer without complete credentials"
	parts      = `{"Credentials":{"AccessKeyId":"STS.1","AccessKeySecret":"s3cr3t","SecurityToken":`
)

// nonsense is what something in between, or a broken server, answers instead of an STS.
var nonsense = map[string]struct {
	answer http.HandlerFunc
	cause  string // the end of the cause
}{
	"empty": {func(http.ResponseWriter, *http.Request) {}, incomplete},
	"HTML":  {text(200, "<!DOCTYPE html><html><body>Sign in s3cr3t<br></body></html>"), incomplete},
	"HTML 502": {text(502, "<html><body>Bad gateway s3cr3t<hr></body></html>"),
		"status 502, code unknown"},
	"empty 503": {text(503, ""), "status 503, code unknown"},
	"a refusal that quotes the token": {
		text(400, `{"Code":"Bad","Message":"no: `+oidc+`","Recommend":"https://x/?q=s3cr3t"}`),
		"status 400, code Bad"},
	"null":       {text(200, "null"), incomplete},
	"other JSON": {text(200, `{"Credentials":"s3cr3t"}`), incomplete},
	"a list":     {text(200, `[{"s3cr3t":1}]`), incomplete},
	"cut JSON":   {text(200, `{"Credentials":{"AccessKeyId":"s3cr3t`), incomplete},
	// it would carry what is in the request to a host that nobody chose
	"attack: a redirect": {func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/?s3cr3t", http.StatusTemporaryRedirect)
	}, "status 307, code unknown"},
	"no security token": {text(200, parts+`"","Expiration":"2026-11-21T12:00:00Z"}}`), incomplete},
	"no Expiration":     {text(200, parts+`"t"}}`), incomplete},
	"no key id": {text(200, `{"Credentials":{"AccessKeySecret":"s3cr3t","SecurityToken":"t",`+
		`"Expiration":"2026-11-21T12:00:00Z"}}`), incomplete},
	"endless":     {endless, "larger than 16 KB"},
	"a gzip bomb": {bomb, "larger than 16 KB"},
	"cut":         {cut("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"s3cr3t"), "EOF"},
	"closed":      {cut(""), "EOF"},
	"no HTTP":     {cut("s3cr3t s3cr3t s3cr3t\r\n\r\n"), "the answer could not be read"},
	"bad Location": {
		cut("HTTP/1.1 307 X\r\nLocation: http://[s3cr3t\r\nConnection: close\r\n\r\n"),
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

func TestNonsenseInPlaceOfAnAnswer(t *testing.T) {
	for name, test := range nonsense {
		status, _, refused := strings.Cut(test.cause, ",") // is told of all three
		t.Run("Alibaba "+name, func(t *testing.T) {
			r := newRig(t)
			r.alibaba.answer(test.answer)
			source := r.onLambda()
			e := fails(t, source)
			if cause := e.Cause.Error(); !strings.HasPrefix(cause, "AssumeRoleWithOIDC: ") ||
				!strings.HasSuffix(cause, test.cause) || test.cause == incomplete &&
				!strings.HasPrefix(e.Fix, "a proxy answered instead of Alibaba's STS") {
				t.Errorf("cause %q, fix %q", cause, e.Fix)
			}
			r.calls(1, 1)
			r.alibaba.answer(nil) // the twin
			r.advance(time.Second)
			get(t, source)
		})
		t.Run("AWS "+name, func(t *testing.T) {
			r := newRig(t)
			r.aws.answer(test.answer)
			source := r.onLambda()
			cause := fails(t, source).Cause.Error()
			if refused && !strings.HasPrefix(cause, "GetWebIdentityToken: "+status) ||
				!refused && !strings.HasPrefix(cause, "OIDC token: ") {
				t.Errorf("cause %q", cause)
			}
			r.calls(1, 0) // nothing was sent to Alibaba
			r.aws.answer(nil)
			r.advance(time.Second)
			get(t, source)
		})
		t.Run("token URL "+name, func(t *testing.T) {
			r, tokens := newRig(t), httptest.NewServer(test.answer)
			defer tokens.Close()
			want := "OIDC token: "
			if refused {
				want += status
			}
			source := r.onLambda(tokenFileVariable, tokens.URL+"/t?key=s3cr3t")
			says(t, fails(t, source), tokenFileVariable+" must name a URL", want)
			r.calls(0, 0)
		})
	}
}

func TestClockSkew(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct{ skew, life, want time.Duration }{ // Alibaba's clock; by ours
		{0, time.Hour, time.Hour},
		{2 * time.Hour, time.Hour, time.Hour},
		{-2 * time.Hour, time.Hour, time.Hour},
		{24 * time.Hour, 15 * time.Minute, 15 * time.Minute},
		{-30 * time.Second, time.Hour, time.Hour - 30*time.Second}, // seconds are no skew
		{0, 12 * time.Hour, time.Hour},                             // more than was asked for
	} {
		r.skew, r.life = test.skew, test.life
		got := get(t, r.onLambda()).Expires.Sub(r.now())
		if (got - test.want).Abs() > time.Second {
			t.Errorf("%+v: live %v", test, got)
		}
	}
	r.skew, r.life = 0, -time.Second
	source := r.onLambda()
	says(t, fails(t, source), "check that this machine's clock is right", "ended")
	if e := fails(t, source); e.RetryAfter != time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	r.calls(7, 7) // the second call backs off
}

// Tokens live for minutes: each exchange gets a fresh one, from a file or a URL, and AWS is not
// asked.
func TestTokenIsReadAtEachExchange(t *testing.T) {
	r, name := newRig(t), tokenIn(t, "")
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.is("request", q.Method+" "+q.URL.RawQuery, "GET key=s3cr3t")
		http.ServeFile(w, q, name)
	}))
	defer tokens.Close()
	for _, location := range []string{name, tokens.URL + "/t?key=s3cr3t"} {
		source := r.onLambda(tokenFileVariable, location, "AWS_REGION", "")
		for _, token := range []string{oidc, "s3cr3t.rotated.token"} {
			if err := os.WriteFile(name, []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			get(t, source)
			r.is("OIDCToken", r.token.Load().(string), token)
			r.advance(time.Hour)
		}
	}
	r.calls(0, 4)
}

func TestBadTokenFile(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct{ name, location, cause string }{
		{"missing", filepath.Join(t.TempDir(), "s3cr3t"), "file does not exist"},
		{"a directory", t.TempDir(), "not a regular file"},
		{"a device", "/dev/zero", "not a regular file"},
		{"empty", tokenIn(t, ""), "empty, over 16 KB, or not a signed JWT"},
		{"blank", tokenIn(t, " \n"), "empty, over 16 KB, or not a signed JWT"},
		{"too large", tokenIn(t, strings.Repeat("a", maxAnswer)+".b.c"), "at most 16 KB"},
		{"a password file", tokenIn(t, "root:x:0:0:s3cr3t\n"), "not a signed JWT"},
		{"an encrypted JWT", tokenIn(t, "a.b.c.d.s3cr3t"), "not a signed JWT"},
		{"an unsigned JWT", tokenIn(t, "s3cr3t.b."), "not a signed JWT"},
		{"two tokens", tokenIn(t, oidc+"\n"+oidc), "not a signed JWT"},
		{"the token itself in the variable", oidc, "file does not exist"},
	} {
		t.Log(test.name)
		says(t, fails(t, r.onLambda(tokenFileVariable, test.location)),
			tokenFileVariable+" must name a readable file", test.cause)
	}
	r.calls(0, 0)
}

// The cause keeps what helps an operator, and nothing that a URL may hold.
func TestServerThatCannotBeReached(t *testing.T) {
	r := newRig(t)
	r.alibaba.Close()
	e := fails(t, r.onLambda())
	says(t, e, "let the function reach Alibaba's STS", "connection refused")
	if strings.Contains(e.Cause.Error(), "Timestamp") {
		t.Errorf("cause %q", e.Cause)
	}
	r.aws.Close()
	says(t, fails(t, r.onLambda()), "let the function reach AWS's STS", "connection refused")
}

func TestAttackCertificateThatNobodyTrusts(t *testing.T) {
	r := newRig(t)
	forged := httptest.NewUnstartedServer(r.alibaba.Config.Handler)
	forged.Config.ErrorLog = log.New(t.Output(), "", 0)
	forged.StartTLS()
	defer forged.Close()
	env := r.lambda("WEBOFFICE_STS_ENDPOINT", forged.URL)
	says(t, fails(t, r.source(env, nil)), "let the function", "signed by unknown authority")
	r.calls(1, 0)                          // the token was not sent
	get(t, r.source(env, forged.Client())) // the twin
}

func TestServerThatNeverAnswers(t *testing.T) {
	silent := transport(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	env := newRig(t).lambda()
	for _, location := range []string{"", "https://tokens.example.com/?s3cr3t", tokenIn(t, oidc)} {
		synctest.Test(t, func(t *testing.T) {
			env[tokenFileVariable] = location
			source, err := choose(t, Options{Client: &http.Client{Transport: silent}}, env)
			if err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			if e := fails(t, source); !errors.Is(e, context.DeadlineExceeded) ||
				time.Since(started) != maxWait {
				t.Errorf("cause %v after %v", e.Cause, time.Since(started))
			}
		})
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, seed := range []string{parts + `"t","Expiration":"2026-11-21T12:00:00Z"}}`,
		parts + `"","Expiration":"2026-11-21T12:00:00Z"}}`, `{"Code":"NoPermission","Message":"m"}`,
		`<html>`, `{"credentials":{},"Credentials":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, code, err := parseAnswer(body)
		if err == nil && (c.AccessKeyID == "" || c.AccessKeySecret == "" ||
			c.SecurityToken == "" || c.Expires.IsZero()) {
			t.Errorf("accepted without all parts: %q", body)
		}
		e := refusal("A", 400, code)
		if says(t, e, "", "A: status 400, code "); e.Fix == "" ||
			strings.ContainsAny(e.Cause.Error(), "\r\n<\"") {
			t.Errorf("fix %q, cause %q", e.Fix, e.Cause)
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, seed := range []string{oidc, " " + oidc + "\r\n", "", "a.b", "a.b.c.d", "<html>", "..",
		"a.b.\x00", strings.Repeat("a", maxAnswer) + ".b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		source := tokenSource{fix: "fix",
			get: func(context.Context) (string, error) { return raw, nil }}
		token, err := source.token(t.Context())
		if err != nil { // in these words, whatever was given
			const why = "OIDC token: empty, over 16 KB, or not a signed JWT"
			if cause := weboffice.AsError(err).Cause.Error(); cause != why {
				t.Errorf("%q: %s", raw, cause)
			}
			return
		}
		if got := token.Reveal(); got != strings.TrimSpace(raw) || len(got) > maxAnswer ||
			strings.Count(got, ".") != 2 || strings.ContainsAny(got, " \r\n<&=%") {
			t.Errorf("accepted %q as %q", raw, got)
		}
	})
}
