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
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Options are what FromEnvironment needs.
type Options struct {
	Getenv func(string) string // required
	// its transport is used, the default one if nil; time, size and redirects are bounded here
	Client *http.Client
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
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
	now := o.Now
	if now == nil {
		now = time.Now
	}
	o.Now = weboffice.WallClock(now)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	v := variables{getenv: o.Getenv}
	if source := v.source(o); len(v.problems) == 0 {
		return source, nil
	}
	return nil, errors.Join(v.problems...)
}

// variables reads the environment and collects what is wrong with them.
type variables struct {
	getenv   func(string) string
	problems []error
}

func (v *variables) source(o Options) Source {
	keys := []string{"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
		"ALIBABA_CLOUD_SECURITY_TOKEN"}
	oidc := []string{"ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE", "ALIBABA_CLOUD_OIDC_AUDIENCE"}
	switch {
	case v.anySet("FC_FUNCTION_NAME"):
		return functionCompute{v.getenv}
	case v.anySet(oidc...), v.anySet("AWS_LAMBDA_FUNCTION_NAME") && !v.anySet(keys...):
		return v.oidcRole(o)
	case v.anySet(keys...):
		const fix = "give all three parts of a RAM role's STS credentials; " + noLongLivedKeys +
			": assume a role, give the function a role on Function Compute, or set " +
			"ALIBABA_CLOUD_ROLE_ARN on Lambda"
		for _, variable := range keys {
			v.need(variable, noSpaces, fix)
		}
		return Static(fromVariables(v.getenv))
	case v.anySet("ALIBABA_CLOUD_ECS_METADATA"):
		return v.ecsRole(o)
	}
	v.problem("no RAM role credentials: set the variables of one way. Looked for " +
		"FC_FUNCTION_NAME (Function Compute), AWS_LAMBDA_FUNCTION_NAME (Lambda), " +
		"ALIBABA_CLOUD_ROLE_ARN (an OIDC token for a role), " +
		"ALIBABA_CLOUD_ACCESS_KEY_ID with its secret and " +
		"ALIBABA_CLOUD_SECURITY_TOKEN (STS credentials), ALIBABA_CLOUD_ECS_METADATA (an ECS " +
		"instance's role)")
	return nil
}

func (v *variables) anySet(variables ...string) bool {
	values := ""
	for _, variable := range variables {
		values += v.getenv(variable)
	}
	return values != ""
}

func (v *variables) problem(format string, args ...any) {
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
func (v *variables) need(variable, shape, fix string) string {
	value := v.getenv(variable)
	if value == "" {
		v.problem("%s is not set: %s", variable, fix)
	} else if ok, _ := regexp.MatchString(shape, value); !ok {
		v.problem("%s has the wrong form: %s", variable, fix)
	}
	return value
}

// loopbackURL returns a variable that moves an endpoint to this machine.
func (v *variables) loopbackURL(variable string) string {
	value := v.getenv(variable)
	if value != "" && !loopback(value) {
		v.problem("%s is not a loopback URL: unset it, tokens go to the cloud's own endpoint",
			variable)
	}
	return value
}

func loopback(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") &&
		weboffice.Loopback(u.Hostname())
}

func (v *variables) oidcRole(o Options) Source {
	client := boundedClient(o.Client)
	host := "sts.aliyuncs.com"
	if v.anySet("WEBOFFICE_REGION") {
		host = "sts." + v.need("WEBOFFICE_REGION", hostLabel,
			"give an Alibaba Cloud region, such as cn-hangzhou") + ".aliyuncs.com"
	}
	a := assumeRole{client: client, now: o.Now, tokens: v.tokens(o, client),
		role: v.need("ALIBABA_CLOUD_ROLE_ARN", roleARN,
			"give the RAM role to assume, acs:ram::ACCOUNT:role/NAME"),
		provider: v.need("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", providerARN,
			"give RAM's identity provider, acs:ram::ACCOUNT:oidc-provider/NAME"),
		endpoint: cmp.Or(v.loopbackURL("WEBOFFICE_STS_ENDPOINT"), "https://"+host)}
	name := "RAM role " + a.role + " for " + a.tokens.name
	return &cache{fetch: a.fetch, name: name, now: o.Now, log: o.Logger}
}

func (v *variables) tokens(o Options, client *http.Client) tokenSource {
	const variable = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"
	location := v.getenv(variable)
	if strings.Contains(location, "://") {
		// url.Parse's error would quote the URL, whose query may hold a secret
		u, err := url.Parse(location)
		if err != nil || u.Host == "" || u.Scheme != "https" && !loopback(location) {
			v.problem("%s is neither a file nor an https URL (http on loopback only): correct it",
				variable)
			return tokenSource{}
		}
		return tokenURL(client, u)
	} else if location != "" {
		return tokenFile(location)
	}
	const elsewhere = "Lambda sets it; elsewhere give an OIDC token in " + variable +
		", a file or an https URL"
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN"} {
		v.need(name, noSpaces, elsewhere)
	}
	return awsTokens(o, client, v.need("AWS_REGION", hostLabel, elsewhere),
		v.need("ALIBABA_CLOUD_OIDC_AUDIENCE", noSpaces,
			"give a client ID of RAM's identity provider, which AWS puts into the token"),
		v.loopbackURL("AWS_ENDPOINT_URL_STS"))
}

func fromVariables(getenv func(string) string) Credentials {
	return Credentials{AccessKeyID: getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"),
		AccessKeySecret: weboffice.Secret(getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")),
		SecurityToken:   weboffice.Secret(getenv("ALIBABA_CLOUD_SECURITY_TOKEN"))}
}

// functionCompute takes an invocation's credentials from its context, else the environment's. Those
// are read at each call: whether the platform renews them in a long-lived instance is not
// documented.
type functionCompute struct{ getenv func(string) string }

func (f functionCompute) Credentials(ctx context.Context) (Credentials, error) {
	if c, ok := FromContext(ctx); ok && c.complete() {
		return c, nil
	}
	if c := fromVariables(f.getenv); c.complete() {
		return c, nil
	}
	return Credentials{}, unavailable("the function has no role: add role to s.yaml, a RAM role "+
		"that trusts fc.aliyuncs.com, and deploy; "+noLongLivedKeys,
		errors.New("no STS credentials in the invocation or the environment"))
}

func (functionCompute) String() string { return "the function's role on Function Compute" }
