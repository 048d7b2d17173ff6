package credentials

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// stsEnvironment is a complete set of STS credentials.
func stsEnvironment() map[string]string {
	return map[string]string{
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     "STS.env",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s3cr3t-env-key",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "s3cr3t-env-token",
	}
}

// with returns env with changes; a change to "" removes.
func with(env map[string]string, changes ...string) map[string]string {
	env = maps.Clone(env)
	for pair := range slices.Chunk(changes, 2) {
		env[pair[0]] = pair[1]
	}
	return env
}

func read(t *testing.T, env map[string]string) (Source, error) {
	t.Helper()
	source, err := FromEnvironment(Options{Getenv: func(name string) string { return env[name] },
		Logger: logger(t)})
	if err != nil {
		everything.record(err)
		if source != nil {
			t.Error("a source and an error")
		}
	} else {
		_, _ = everything.Write([]byte(Describe(source) + "\n"))
	}
	return source, err
}

func TestOneLookAtTheEnvironmentChooses(t *testing.T) {
	lambda := newClouds(t).lambda()
	file := map[string]string{"ALIBABA_CLOUD_ROLE_ARN": role,
		"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": provider,
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE":   "/var/run/token"}
	ecs := map[string]string{"ALIBABA_CLOUD_ECS_METADATA": "weboffice"}
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"Function Compute", map[string]string{"FC_FUNCTION_NAME": "generate"},
			"the function's role on Function Compute"},
		{"Function Compute before all others", with(lambda, "FC_FUNCTION_NAME", "generate"),
			"the function's role on Function Compute"},
		{"Lambda", lambda, "RAM role " + role + " for an OIDC token from AWS STS in us-east-1"},
		{"Lambda with a token file", with(lambda, "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
			"/var/run/token"),
			"RAM role " + role + " for an OIDC token from a file"},
		{"Lambda with STS credentials alone", with(stsEnvironment(), "AWS_LAMBDA_FUNCTION_NAME",
			"generate"), "fixed STS credentials"},
		{"a role before STS credentials", with(stsEnvironment(), "ALIBABA_CLOUD_ROLE_ARN", role,
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN", provider,
			"ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/var/run/token"), "RAM role " + role +
			" for an OIDC token from a file"},
		{"a pod with a token file", file, "RAM role " + role + " for an OIDC token from a file"},
		{"a token URL", with(file, "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
			"https://u:s3cr3t@tokens.example.com/t?key=s3cr3t"),
			"RAM role " + role + " for an OIDC token from tokens.example.com"},
		{"a token URL on loopback", with(file, "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
			"http://127.0.0.1:9/t"),
			"RAM role " + role + " for an OIDC token from 127.0.0.1:9"},
		{"AWS credentials off Lambda", with(lambda, "AWS_LAMBDA_FUNCTION_NAME", ""),
			"RAM role " + role + " for an OIDC token from AWS STS in us-east-1"},
		{"STS credentials", stsEnvironment(), "fixed STS credentials"},
		{"STS credentials before ECS", with(stsEnvironment(), "ALIBABA_CLOUD_ECS_METADATA",
			"weboffice"), "fixed STS credentials"},
		{"ECS", ecs, "RAM role weboffice of the ECS instance"},
	} {
		t.Run(test.name, func(t *testing.T) {
			source, err := read(t, test.env)
			if err != nil {
				t.Fatal(err)
			}
			if got := Describe(source); got != test.want {
				t.Errorf("%q, not %q", got, test.want)
			}
		})
	}
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	lambda := newClouds(t).lambda()
	for _, test := range []struct {
		name string
		env  map[string]string
		want []string // one for each problem
	}{
		{"nothing at all", nil, []string{"no RAM role credentials: looked for FC_FUNCTION_NAME"}},
		{"a bare Lambda", map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "generate"}, []string{
			"AWS_ACCESS_KEY_ID is not set: Lambda sets it", "AWS_SECRET_ACCESS_KEY is not set",
			"AWS_SESSION_TOKEN is not set",
			"AWS_REGION is not set", "ALIBABA_CLOUD_OIDC_AUDIENCE is not set: give a client ID",
			"ALIBABA_CLOUD_ROLE_ARN is not set: give the RAM role",
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN is not set: give RAM's identity provider"}},
		{"an AWS role as the RAM role", with(lambda, "ALIBABA_CLOUD_ROLE_ARN",
			"arn:aws:iam::123456789012:role/x"), []string{
			"ALIBABA_CLOUD_ROLE_ARN has the wrong form: give the RAM role to assume, acs:ram::ACCOUNT:role/NAME"}},
		{"the two ARNs exchanged", with(lambda, "ALIBABA_CLOUD_ROLE_ARN", provider,
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN", role), []string{
			"ALIBABA_CLOUD_ROLE_ARN has the wrong form",
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN has the wrong form"}},
		{"a line end pasted in", with(lambda, "ALIBABA_CLOUD_OIDC_AUDIENCE", "weboffice\n"),
			[]string{"ALIBABA_CLOUD_OIDC_AUDIENCE has the wrong form"}},
		{"a provider alone", map[string]string{"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": provider,
			"ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/t"},
			[]string{"ALIBABA_CLOUD_ROLE_ARN is not set"}},
		{"half of an STS credential", map[string]string{"ALIBABA_CLOUD_SECURITY_TOKEN": "s3cr3t"},
			[]string{
				"ALIBABA_CLOUD_ACCESS_KEY_ID is not set: give all three parts",
				"ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := read(t, test.env)
			if err == nil {
				t.Fatal("accepted")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Errorf("%d problems, not %d:\n%v", len(lines), len(test.want), err)
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(lines,
					func(line string) bool { return strings.HasPrefix(line, want) }) {
					t.Errorf("no problem %q in:\n%v", want, err)
				}
			}
		})
	}
}

func TestTheErrorOfNothingListsAllWays(t *testing.T) {
	_, err := read(t, nil)
	for _, variable := range []string{"FC_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_NAME",
		"ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_ACCESS_KEY_ID",
		"ALIBABA_CLOUD_SECURITY_TOKEN", "ALIBABA_CLOUD_ECS_METADATA"} {
		if !strings.Contains(err.Error(), variable) {
			t.Errorf("%s is not named in %q", variable, err)
		}
	}
}

func TestLongLivedKeyInTheEnvironment(t *testing.T) {
	_, err := read(t, with(stsEnvironment(), "ALIBABA_CLOUD_SECURITY_TOKEN", ""))
	if err == nil || !strings.Contains(err.Error(), "ALIBABA_CLOUD_SECURITY_TOKEN is not set") ||
		!strings.Contains(err.Error(), "long-lived AccessKey") ||
		!strings.Contains(err.Error(), "assume a role") {
		t.Errorf("got %v", err)
	}
	_, err = read(t, with(stsEnvironment(), "ALIBABA_CLOUD_SECURITY_TOKEN", "",
		"AWS_LAMBDA_FUNCTION_NAME", "generate"))
	if err == nil || !strings.Contains(err.Error(), "set ALIBABA_CLOUD_ROLE_ARN on Lambda") {
		t.Errorf("on Lambda: %v", err)
	}
	source, err := read(t, stsEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, source); got.AccessKeyID != "STS.env" ||
		got.SecurityToken.Reveal() != "s3cr3t-env-token" || !got.Expires.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestLongLivedKeyGivenToStatic(t *testing.T) {
	key := Credentials{AccessKeyID: "LTAI", AccessKeySecret: "s3cr3t"}
	_, err := Static(key).Credentials(context.Background())
	if e := failed(t, err); !strings.Contains(e.Fix, "long-lived AccessKey") {
		t.Errorf("fix %q", e.Fix)
	}
	key.SecurityToken = "s3cr3t-token"
	if got := get(t, Static(key)); got != key {
		t.Errorf("got %v", got)
	}
}

func TestLongLivedKeyOnFunctionCompute(t *testing.T) {
	env := with(stsEnvironment(), "FC_FUNCTION_NAME", "generate", "ALIBABA_CLOUD_SECURITY_TOKEN",
		"")
	source, err := read(t, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx := NewContext(context.Background(),
		Credentials{AccessKeyID: "LTAI", AccessKeySecret: "s3cr3t-header"})
	_, err = source.Credentials(ctx)
	if e := failed(t, err); !strings.Contains(e.Fix,
		"the function has no role: add role to s.yaml") {
		t.Errorf("fix %q", e.Fix)
	}
	// The twin: the same process, its environment now with a token.
	env["ALIBABA_CLOUD_SECURITY_TOKEN"] = "s3cr3t-env-token"
	got, err := source.Credentials(ctx)
	if err != nil || got.AccessKeyID != "STS.env" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFunctionComputePrefersTheInvocation(t *testing.T) {
	source, err := read(t, with(stsEnvironment(), "FC_FUNCTION_NAME", "generate"))
	if err != nil {
		t.Fatal(err)
	}
	invocation := Credentials{AccessKeyID: "STS.invocation", AccessKeySecret: "s3cr3t",
		SecurityToken: "s3cr3t"}
	if got, err := source.Credentials(NewContext(context.Background(), invocation)); err != nil ||
		got != invocation {
		t.Errorf("got %v, %v", got, err)
	}
	if got := get(t, source); got.AccessKeyID != "STS.env" {
		t.Errorf("without an invocation's: %v", got)
	}
	source, err = read(t, map[string]string{"FC_FUNCTION_NAME": "generate"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Credentials(context.Background())
	failed(t, err)
}

// Off Function Compute anybody can send the headers that become a context's credentials.
func TestForgedInvocationCredentialsOffFunctionCompute(t *testing.T) {
	forged := NewContext(context.Background(),
		Credentials{AccessKeyID: "STS.forged", AccessKeySecret: "s3cr3t", SecurityToken: "s3cr3t"})
	source, err := read(t, stsEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := source.Credentials(forged); err != nil || got.AccessKeyID != "STS.env" {
		t.Errorf("STS credentials: %v, %v", got, err)
	}
	c := newClouds(t)
	if got, err := c.source(c.lambda()).Credentials(forged); err != nil ||
		got.AccessKeyID != "STS.1" {
		t.Errorf("exchange: %v, %v", got, err)
	}
}

func TestTokensSentToAnotherHost(t *testing.T) {
	lambda := newClouds(t).lambda()
	for _, evil := range []string{"https://evil.example", "http://evil.example",
		"https://127.0.0.1.evil.example", "http://127.0.0.1@evil.example",
		"https://sts.aliyuncs.com.evil.example", "127.0.0.1:1234", "ftp://127.0.0.1", "//127.0.0.1",
		"http://[::ffff:8.8.8.8]", "http://0.0.0.0", "x"} {
		for _, variable := range []string{"WEBOFFICE_STS_ENDPOINT", "AWS_ENDPOINT_URL_STS"} {
			if _, err := read(t, with(lambda, variable, evil)); err == nil ||
				!strings.HasPrefix(err.Error(), variable+" is not a loopback URL") {
				t.Errorf("%s=%s: %v", variable, evil, err)
			}
		}
	}
	for _, harmless := range []string{"http://127.0.0.1:8080", "https://127.0.0.2",
		"http://[::1]:1", "http://localhost:9000", ""} {
		env := with(lambda, "WEBOFFICE_STS_ENDPOINT", harmless, "AWS_ENDPOINT_URL_STS", harmless)
		if _, err := read(t, env); err != nil {
			t.Errorf("%s: %v", harmless, err)
		}
	}
}

func TestTokenFetchedWithoutTLS(t *testing.T) {
	env := with(newClouds(t).lambda(), "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "")
	for _, evil := range []string{"http://tokens.example.com/s3cr3t", "ftp://127.0.0.1/t",
		"https:///t", "https://a b/s3cr3t",
		"file:///s3cr3t", "://"} {
		_, err := read(t, with(env, "ALIBABA_CLOUD_OIDC_TOKEN_FILE", evil))
		if err == nil || !strings.HasPrefix(err.Error(),
			"ALIBABA_CLOUD_OIDC_TOKEN_FILE is neither a file nor an https URL") {
			t.Errorf("%s: %v", evil, err)
		}
	}
	for _, harmless := range []string{"https://tokens.example.com/t?a=b", "http://127.0.0.1:1/t",
		"./token", "/var/run/secrets/token"} {
		if _, err := read(t, with(env, "ALIBABA_CLOUD_OIDC_TOKEN_FILE", harmless)); err != nil {
			t.Errorf("%s: %v", harmless, err)
		}
	}
}

func TestRegionThatNamesAnotherHost(t *testing.T) {
	lambda := newClouds(t).lambda()
	for _, evil := range []string{"evil.example/", "evil.example#", "x@evil.example",
		"cn-hangzhou.evil", "CN-HANGZHOU",
		"cn hangzhou", "cn-hangzhou\n"} {
		for _, variable := range []string{"WEBOFFICE_REGION", "AWS_REGION"} {
			if _, err := read(t, with(lambda, variable, evil)); err == nil ||
				!strings.HasPrefix(err.Error(), variable+" has the wrong form") {
				t.Errorf("%s=%q: %v", variable, evil, err)
			}
		}
	}
	if _, err := read(t, with(lambda, "WEBOFFICE_REGION", "ap-southeast-1", "AWS_REGION",
		"us-gov-west-1")); err != nil {
		t.Error(err)
	}
}

// Stored AWS keys are as bad as stored Alibaba keys.
func TestLongLivedAWSKey(t *testing.T) {
	lambda := newClouds(t).lambda()
	if _, err := read(t, with(lambda, "AWS_SESSION_TOKEN", "")); err == nil ||
		!strings.HasPrefix(err.Error(), "AWS_SESSION_TOKEN is not set") {
		t.Errorf("got %v", err)
	}
	if _, err := read(t, lambda); err != nil {
		t.Error(err)
	}
}

// hosts is a transport that notes where requests would go and sends none.
type hosts struct{ seen []string }

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.seen = append(h.seen, r.URL.Scheme+"://"+r.URL.Host)
	return nil, context.DeadlineExceeded
}

func TestWhereExchangesGo(t *testing.T) {
	c := newClouds(t)
	regional := with(c.lambda(), "AWS_ENDPOINT_URL_STS", "", "WEBOFFICE_STS_ENDPOINT", "")
	file := with(regional, "ALIBABA_CLOUD_OIDC_TOKEN_FILE", tokenIn(t, oidc))
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"AWS's region, never its global endpoint", regional,
			"https://sts.us-east-1.amazonaws.com"},
		{"AWS in China", with(regional, "AWS_REGION", "cn-north-1"),
			"https://sts.cn-north-1.amazonaws.com.cn"},
		{"Alibaba's region", file, "https://sts.cn-hangzhou.aliyuncs.com"},
		{"Alibaba without a region", with(file, "WEBOFFICE_REGION", ""),
			"https://sts.aliyuncs.com"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var transport hosts
			o := c.options(test.env)
			o.Client = &http.Client{Transport: &transport}
			source, err := FromEnvironment(o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = source.Credentials(context.Background())
			failed(t, err)
			if !slices.Equal(transport.seen, []string{test.want}) {
				t.Errorf("requests to %v, not %s", transport.seen, test.want)
			}
		})
	}
}

// A stopped process's monotonic clock may stand still: comparisons must use the wall clock.
func TestLambdaThatWasFrozen(t *testing.T) {
	env := newClouds(t).lambda()
	source, err := FromEnvironment(Options{Getenv: func(name string) string { return env[name] },
		Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if now := source.(*cache).now(); strings.Contains(now.String(), "m=") {
		t.Errorf("%s has a monotonic reading", now)
	}
	if now := time.Now(); !strings.Contains(now.String(), "m=") {
		t.Errorf("%s has none, so that this test shows nothing", now)
	}
}

type foreign struct{}

func (foreign) Credentials(context.Context) (Credentials, error) { return Credentials{}, nil }

func TestDescribeForeignSource(t *testing.T) {
	if got := Describe(foreign{}); got != "credentials.foreign" {
		t.Errorf("got %q", got)
	}
}

func FuzzLoopback(f *testing.F) {
	for _, seed := range []string{"http://127.0.0.1:1", "https://evil.example", "http://[::1]",
		"http://127.0.0.1@evil.example",
		"http://localhost.", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !loopback(raw) {
			return
		}
		// What is let through must be where the HTTP client goes.
		req, err := http.NewRequest(http.MethodGet, raw, nil)
		if err != nil {
			return
		}
		if host := req.URL.Hostname(); host != "localhost" && !strings.HasPrefix(host, "127.") &&
			!strings.Contains(host, ":") {
			t.Errorf("%q goes to %q", raw, host)
		}
	})
}
