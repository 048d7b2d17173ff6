package credentials

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
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

// testdata/environments.txt says how to read it.
func TestEnvironments(t *testing.T) {
	named := map[string]map[string]string{"fc": fc, "lambda": newRig(t).lambda(), "pod": pod,
		"sts": fixed, "ecs": ecs, "nothing": {}}
	text, err := os.ReadFile("testdata/environments.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		environment, want, isCase := strings.Cut(strings.TrimSpace(line), " | ")
		if !isCase {
			continue
		}
		words := strings.Fields(environment)
		env := maps.Clone(named[words[0]])
		for _, change := range words[1:] {
			name, value, _ := strings.Cut(change, "=")
			env[name], _ = strconv.Unquote(`"` + value + `"`)
		}
		source, err := fromEnvironment(t, env)
		if !strings.HasPrefix(want, "! ") {
			if err != nil || !strings.HasSuffix(Describe(source), want) {
				t.Errorf("%s: %v, %v", line, source, err)
			}
			continue
		}
		problems := strings.Split(fmt.Sprint(err), "\n")
		for _, beginning := range strings.Split(want[2:], " ! ") {
			problems = slices.DeleteFunc(problems,
				func(one string) bool { return strings.HasPrefix(one, beginning) })
		}
		lines := strings.Count(fmt.Sprint(err), "\n") + 1
		if source != nil || len(problems) > 0 || lines != strings.Count(want, "! ") {
			t.Errorf("%s: got %v, %v", line, source, err)
		}
	}
	if got := Describe(struct{ Source }{}); got != "struct { credentials.Source }" {
		t.Errorf("a source without a name: %q", got)
	}
}

func TestAttackLongLivedKey(t *testing.T) {
	const token = "ALIBABA_CLOUD_SECURITY_TOKEN"
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
		var seen []string
		note := transport(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.URL.Scheme+"://"+r.URL.Host)
			return nil, context.DeadlineExceeded
		})
		fails(t, r.source(test.env, &http.Client{Transport: note}))
		if !slices.Equal(seen, []string{test.want}) {
			t.Errorf("requests to %v, not %s", seen, test.want)
		}
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
