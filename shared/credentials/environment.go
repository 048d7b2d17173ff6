package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Options are what FromEnvironment needs.
type Options struct {
	Getenv func(string) string // required
	// its transport is used, the default one if nil; time, size and redirects are bounded here
	Client *http.Client
	Now    func() time.Time // required; without a monotonic reading, see weboffice.WallClock
	Logger *slog.Logger     // required
}

// FromEnvironment chooses the source by one look at the environment, in this order: Function
// Compute (FC_FUNCTION_NAME); an OIDC token (ALIBABA_CLOUD_OIDC_TOKEN_FILE, else from AWS's STS for
// ALIBABA_CLOUD_OIDC_AUDIENCE) exchanged for ALIBABA_CLOUD_ROLE_ARN, which is also the way on
// Lambda unless STS credentials are given; STS credentials; the role of an ECS instance
// (ALIBABA_CLOUD_ECS_METADATA). Alibaba's STS is that of WEBOFFICE_REGION. WEBOFFICE_STS_ENDPOINT
// and AWS_ENDPOINT_URL_STS can move the two STS to a loopback URL and nowhere else, since tokens
// are sent there. The error joins all problems, each naming its variable and its fix and none
// showing a value. Nothing is fetched.
func FromEnvironment(o Options) (Source, error) {
	// no cookies and no redirects: requests and answers hold tokens
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client := &http.Client{Timeout: maxWait, CheckRedirect: stay}
	if o.Client != nil {
		client.Transport = o.Client.Transport
	}
	o.Client = client
	v := environment{Options: o}
	if source := v.source(); len(v.problems) == 0 {
		return source, nil
	}
	return nil, errors.Join(v.problems...)
}

// environment is read once, and what is wrong with it collected.
type environment struct {
	Options
	problems []error
}

func (v *environment) source() Source {
	keys := []string{"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
		"ALIBABA_CLOUD_SECURITY_TOKEN"}
	oidc := []string{"ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE", "ALIBABA_CLOUD_OIDC_AUDIENCE"}
	switch {
	case v.anySet("FC_FUNCTION_NAME"):
		return v.functionCompute()
	case v.anySet(oidc...), v.anySet("AWS_LAMBDA_FUNCTION_NAME") && !v.anySet(keys...):
		return v.oidcRole()
	case v.anySet(keys...):
		for _, variable := range keys {
			v.need(variable, noSpaces, "give all three parts of a RAM role's STS credentials; "+
				noLongLivedKeys+": assume a role, give the function a role on Function Compute, "+
				"or set ALIBABA_CLOUD_ROLE_ARN on Lambda")
		}
		return Static(v.keys())
	case v.anySet("ALIBABA_CLOUD_ECS_METADATA"):
		return v.ecsRole()
	}
	v.problem("no RAM role credentials: set the variables of one way. Looked for " +
		"FC_FUNCTION_NAME (Function Compute), AWS_LAMBDA_FUNCTION_NAME (Lambda), " +
		"ALIBABA_CLOUD_ROLE_ARN (an OIDC token for a role), ALIBABA_CLOUD_ACCESS_KEY_ID with its " +
		"secret and ALIBABA_CLOUD_SECURITY_TOKEN (STS credentials), ALIBABA_CLOUD_ECS_METADATA " +
		"(an ECS instance's role)")
	return nil
}

// functionCompute takes an invocation's credentials from its context, else the environment's. Those
// are read at each call: whether the platform renews them in a long-lived instance is not
// documented.
func (v *environment) functionCompute() Source {
	return given{"the function's role on Function Compute", "the function has no role: add role to " +
		"s.yaml, a RAM role that trusts fc.aliyuncs.com, and deploy",
		func(ctx context.Context) Credentials {
			if c, ok := FromContext(ctx); ok && c.complete() {
				return c
			}
			return v.keys()
		}}
}

func (v *environment) keys() Credentials {
	return Credentials{AccessKeyID: v.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"),
		AccessKeySecret: weboffice.Secret(v.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")),
		SecurityToken:   weboffice.Secret(v.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN"))}
}

func (v *environment) anySet(variables ...string) bool {
	return slices.ContainsFunc(variables, func(name string) bool { return v.Getenv(name) != "" })
}

func (v *environment) problem(format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf(format, args...))
}

// The shapes of variables: regular expressions, compiled only where a platform needs them.
const (
	noSpaces    = `^\S+$`
	hostLabel   = `^[a-z0-9-]+$` // a region becomes part of a host's name
	roleARN     = `^acs:ram::\d+:role/[\w.-]+$`
	providerARN = `^acs:ram::\d+:oidc-provider/[\w.-]+$`
)

// need returns a variable that must be there in this shape.
func (v *environment) need(variable, shape, fix string) string {
	value := v.Getenv(variable)
	if value == "" {
		v.problem("%s is not set: %s", variable, fix)
	} else if ok, _ := regexp.MatchString(shape, value); !ok {
		v.problem("%s has the wrong form: %s", variable, fix)
	}
	return value
}

// endpoint returns where a variable moves an endpoint on this machine, else the endpoint.
func (v *environment) endpoint(variable, otherwise string) string {
	value := v.Getenv(variable)
	if value != "" && !loopback(value) {
		v.problem("%s is not a loopback URL: unset it, tokens go to the cloud's own endpoint",
			variable)
	}
	return cmp.Or(value, otherwise)
}

func loopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") &&
		weboffice.Loopback(u.Hostname())
}
