package credentials

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	fixed = map[string]string{"ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.env",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "s3cr3t-env-key",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "s3cr3t-env-token"}
	pod = map[string]string{"ALIBABA_CLOUD_ROLE_ARN": role,
		"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": provider, tokenFileVariable: "/var/run/token"}
	ecs = map[string]string{"ALIBABA_CLOUD_ECS_METADATA": "weboffice"}
	fc  = map[string]string{"FC_FUNCTION_NAME": "generate"}
)

func TestOneLookAtTheEnvironmentChooses(t *testing.T) {
	const file, ofRole = tokenFileVariable, "RAM role " + role + " for an OIDC token from "
	r := newRig(t)
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"Function Compute", fc, "the function's role on Function Compute"},
		{"Function Compute before all others", r.lambda("FC_FUNCTION_NAME", "generate"),
			"the function's role on Function Compute"},
		{"Lambda", r.lambda(), ofRole + "AWS STS in us-east-1"},
		{"Lambda with a token file", r.lambda(file, "/var/run/token"), ofRole + "a file"},
		{"Lambda with STS credentials alone", with(fixed, "AWS_LAMBDA_FUNCTION_NAME", "generate"),
			"fixed STS credentials"},
		{"a role before STS credentials", with(pod, "ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.env"),
			ofRole + "a file"},
		{"a pod with a token file", pod, ofRole + "a file"},
		{"a token URL", with(pod, file, "https://u:s3cr3t@tokens.example.com/t?key=s3cr3t"),
			ofRole + "tokens.example.com"},
		{"a token URL on loopback", with(pod, file, "http://127.0.0.1:9/t"), ofRole + "127.0.0.1:9"},
		{"AWS credentials off Lambda", r.lambda("AWS_LAMBDA_FUNCTION_NAME", ""),
			ofRole + "AWS STS in us-east-1"},
		{"STS credentials", fixed, "fixed STS credentials"},
		{"STS credentials before ECS", with(fixed, "ALIBABA_CLOUD_ECS_METADATA", "weboffice"),
			"fixed STS credentials"},
		{"ECS", ecs, "RAM role weboffice of the ECS instance"},
	} {
		source, err := fromEnvironment(t, test.env)
		if err != nil || Describe(source) != test.want {
			t.Errorf("%s: %v, %v, not %q", test.name, source, err, test.want)
		}
	}
	if got := Describe(struct{ Source }{}); got != "struct { credentials.Source }" {
		t.Errorf("a source without a name: %q", got)
	}
}

// Each line of an error begins with the variable, and says what to do.
func TestAllProblemsAreReportedTogether(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		name string
		env  map[string]string
		want []string // the beginning of each line
	}{
		{"nothing at all", nil, []string{"no RAM role credentials: set the variables of one way"}},
		{"a bare Lambda", map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "generate"}, []string{
			"AWS_ACCESS_KEY_ID is not set: Lambda sets it", "AWS_SECRET_ACCESS_KEY is not set",
			"AWS_SESSION_TOKEN is not set", "AWS_REGION is not set",
			"ALIBABA_CLOUD_OIDC_AUDIENCE is not set: give a client ID",
			"ALIBABA_CLOUD_ROLE_ARN is not set: give the RAM role",
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN is not set: give RAM's identity provider"}},
		{"an AWS role as the RAM role", r.lambda("ALIBABA_CLOUD_ROLE_ARN",
			"arn:aws:iam::123456789012:role/x"), []string{"ALIBABA_CLOUD_ROLE_ARN has the wrong " +
			"form: give the RAM role to assume, acs:ram::ACCOUNT:role/NAME"}},
		{"the two ARNs exchanged", r.lambda("ALIBABA_CLOUD_ROLE_ARN", provider,
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN", role), []string{
			"ALIBABA_CLOUD_ROLE_ARN has the wrong form",
			"ALIBABA_CLOUD_OIDC_PROVIDER_ARN has the wrong form"}},
		{"a line end pasted in", r.lambda("ALIBABA_CLOUD_OIDC_AUDIENCE", "weboffice\n"),
			[]string{"ALIBABA_CLOUD_OIDC_AUDIENCE has the wrong form"}},
		{"a provider alone", with(pod, "ALIBABA_CLOUD_ROLE_ARN", ""),
			[]string{"ALIBABA_CLOUD_ROLE_ARN is not set"}},
		{"half of STS credentials", map[string]string{"ALIBABA_CLOUD_SECURITY_TOKEN": "s3cr3t"},
			[]string{"ALIBABA_CLOUD_ACCESS_KEY_ID is not set: give all three parts",
				"ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"}},
		{"ECS metadata switched off", with(ecs, "ALIBABA_CLOUD_ECS_METADATA_DISABLED", "True"),
			[]string{"ALIBABA_CLOUD_ECS_METADATA_DISABLED is true: unset it"}},
		{"a long-lived AWS key", r.lambda("AWS_SESSION_TOKEN", ""),
			[]string{"AWS_SESSION_TOKEN is not set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			source, err := fromEnvironment(t, test.env)
			if err == nil || source != nil {
				t.Fatalf("got %v, %v", source, err)
			}
			lines := strings.Split(err.Error(), "\n")
			for _, want := range test.want {
				if !slices.ContainsFunc(lines,
					func(line string) bool { return strings.HasPrefix(line, want) }) {
					t.Errorf("no problem %q in:\n%v", want, err)
				}
			}
			if len(lines) != len(test.want) {
				t.Errorf("%d problems, not %d:\n%v", len(lines), len(test.want), err)
			}
		})
	}
	_, err := fromEnvironment(t, nil)
	for _, variable := range []string{"FC_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_NAME",
		"ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_SECURITY_TOKEN",
		"ALIBABA_CLOUD_ECS_METADATA"} {
		if !strings.Contains(err.Error(), variable) {
			t.Errorf("%s is not named in %q", variable, err)
		}
	}
}

func TestAttackLongLivedKey(t *testing.T) {
	const token = "ALIBABA_CLOUD_SECURITY_TOKEN"
	for says, env := range map[string]map[string]string{
		"assume a role":                        with(fixed, token, ""),
		"set ALIBABA_CLOUD_ROLE_ARN on Lambda": with(fixed, token, "", "AWS_LAMBDA_FUNCTION_NAME", "f"),
	} {
		if _, err := fromEnvironment(t, env); err == nil || !strings.Contains(err.Error(), says) ||
			!strings.HasPrefix(err.Error(), token+" is not set") ||
			!strings.Contains(err.Error(), "long-lived AccessKey") {
			t.Errorf("got %v", err)
		}
	}
	key := Credentials{AccessKeyID: "LTAI", AccessKeySecret: "s3cr3t"}
	says(t, fails(t, Static(key)), "give all three parts", "not complete")
	env := with(fixed, "FC_FUNCTION_NAME", "generate", token, "")
	onFC, err := fromEnvironment(t, env)
	if err != nil {
		t.Fatal(err)
	}
	says(t, fails(t, withContext{onFC, NewContext(t.Context(), key)}), "the function has no role",
		"not complete")
	// the twins
	key.SecurityToken = "s3cr3t-token"
	if got := get(t, Static(key)); got != key {
		t.Errorf("got %v", got)
	}
	env[token] = "s3cr3t-env-token" // the same process, its environment now with a token
	half := NewContext(t.Context(), Credentials{AccessKeyID: "LTAI"})
	if got := get(t, withContext{onFC, half}); got.AccessKeyID != "STS.env" {
		t.Errorf("got %v", got)
	}
	source, _ := fromEnvironment(t, fixed)
	if got := get(t, source); got.AccessKeyID != "STS.env" ||
		got.SecurityToken.Reveal() != "s3cr3t-env-token" || !got.Expires.IsZero() {
		t.Errorf("got %+v", got)
	}
}

// withContext asks a source with a context of its own.
type withContext struct {
	Source
	ctx context.Context
}

func (w withContext) Credentials(context.Context) (Credentials, error) {
	return w.Source.Credentials(w.ctx)
}

// An invocation's credentials count on Function Compute alone: elsewhere anybody can send the
// headers that become a context's credentials.
func TestAttackForgedInvocationCredentials(t *testing.T) {
	sent := Credentials{AccessKeyID: "STS.sent", AccessKeySecret: "s3cr3t", SecurityToken: "s3cr3t"}
	r := newRig(t)
	for want, env := range map[string]map[string]string{
		"STS.sent": with(fixed, "FC_FUNCTION_NAME", "generate"), // the twin
		"STS.env":  fixed,
		"STS.1":    r.lambda(),
	} {
		source := r.source(env, nil)
		if got := get(t, withContext{source, NewContext(t.Context(), sent)}); got.AccessKeyID != want {
			t.Errorf("got %s, not %s", got.AccessKeyID, want)
		}
	}
	fails(t, r.source(fc, nil)) // neither an invocation's nor the environment's
}

// What names a host must not lead tokens elsewhere.
func TestAttackTokensSentToAnotherHost(t *testing.T) {
	r := newRig(t)
	for _, test := range []struct {
		variables []string
		says      string
		bad, good []string
	}{
		{[]string{"WEBOFFICE_STS_ENDPOINT", "AWS_ENDPOINT_URL_STS"}, " is not a loopback URL",
			[]string{"https://evil.example", "http://evil.example", "https://127.0.0.1.evil.example",
				"http://127.0.0.1@evil.example", "https://sts.aliyuncs.com.evil.example",
				"127.0.0.1:1234", "ftp://127.0.0.1", "//127.0.0.1", "http://[::ffff:8.8.8.8]",
				"http://0.0.0.0", "x"},
			[]string{"http://127.0.0.1:8080", "https://127.0.0.2", "http://[::1]:1",
				"http://localhost:9000", ""}},
		{[]string{"ALIBABA_CLOUD_OIDC_TOKEN_FILE"}, " is neither a file nor an https URL",
			[]string{"http://tokens.example.com/s3cr3t", "ftp://127.0.0.1/t", "https:///t",
				"https://a b/s3cr3t", "file:///s3cr3t", "://"},
			[]string{"https://tokens.example.com/t?a=b", "http://127.0.0.1:1/t", "./token",
				"/var/run/secrets/token"}},
		{[]string{"WEBOFFICE_REGION", "AWS_REGION"}, " has the wrong form",
			[]string{"evil.example/", "evil.example#", "x@evil.example", "cn-hangzhou.evil",
				"CN-HANGZHOU", "cn hangzhou", "cn-hangzhou\n"},
			[]string{"ap-southeast-1", "us-gov-west-1"}},
	} {
		for _, variable := range test.variables {
			for _, evil := range test.bad {
				_, err := fromEnvironment(t, r.lambda(variable, evil))
				if err == nil || !strings.HasPrefix(err.Error(), variable+test.says) {
					t.Errorf("%s=%q: %v", variable, evil, err)
				}
			}
			for _, harmless := range test.good {
				if _, err := fromEnvironment(t, r.lambda(variable, harmless)); err != nil {
					t.Errorf("%s=%q: %v", variable, harmless, err)
				}
			}
		}
	}
}

// hosts is a transport that notes where requests would go and sends none.
type hosts struct{ seen []string }

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.seen = append(h.seen, r.URL.Scheme+"://"+r.URL.Host)
	return nil, context.DeadlineExceeded
}

func TestWhereExchangesGo(t *testing.T) {
	r := newRig(t)
	regional := r.lambda("AWS_ENDPOINT_URL_STS", "", "WEBOFFICE_STS_ENDPOINT", "")
	file := with(regional, "ALIBABA_CLOUD_OIDC_TOKEN_FILE", tokenIn(t, oidc))
	for _, test := range []struct {
		env  map[string]string
		want string
	}{
		{regional, "https://sts.us-east-1.amazonaws.com"}, // never AWS's global endpoint
		{with(regional, "AWS_REGION", "cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn"},
		{file, "https://sts.cn-hangzhou.aliyuncs.com"},
		{with(file, "WEBOFFICE_REGION", ""), "https://sts.aliyuncs.com"},
	} {
		var transport hosts
		fails(t, r.source(test.env, &http.Client{Transport: &transport}))
		if !slices.Equal(transport.seen, []string{test.want}) {
			t.Errorf("requests to %v, not %s", transport.seen, test.want)
		}
	}
}

// A stopped process's monotonic clock may stand still: comparisons must use the wall clock.
func TestLambdaThatWasFrozen(t *testing.T) {
	source, err := fromEnvironment(t, newRig(t).lambda())
	if err != nil {
		t.Fatal(err)
	}
	if now := source.(*cache).now(); strings.Contains(now.String(), "m=") ||
		!strings.Contains(time.Now().String(), "m=") {
		t.Errorf("%s has a monotonic reading, or no time has one here", now)
	}
}

// What is let through must be where the HTTP client goes.
func FuzzLoopback(f *testing.F) {
	for _, seed := range []string{"http://127.0.0.1:1", "https://evil.example", "http://[::1]",
		"http://127.0.0.1@evil.example", "http://localhost.", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		req, err := http.NewRequest(http.MethodGet, raw, nil)
		if !loopback(raw) || err != nil {
			return
		}
		if host := req.URL.Hostname(); host != "localhost" && !strings.HasPrefix(host, "127.") &&
			!strings.Contains(host, ":") {
			t.Errorf("%q goes to %q", raw, host)
		}
	})
}
