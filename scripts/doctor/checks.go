package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"weboffice-functions/scripts/command"
	"weboffice-functions/scripts/exchange"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

const patience = 10 * time.Second // with a server

// checkEnvironment reads the variables as the functions do. One that is not set says nothing about
// the functions'.
func (d *doctor) checkEnvironment() {
	config, err := app.ReadConfig(d.getenv)
	for _, problem := range each(err) {
		variable, _, _ := strings.Cut(problem, " ")
		variable = strings.TrimSuffix(variable, ":")
		if strings.HasPrefix(variable, "WEBOFFICE_") && d.getenv(variable) == "" {
			d.say("not set", variable)
			continue
		}
		d.addProblem(failure, problem)
		d.debug = d.debug || variable == "DEBUG"
	}
	if d.config = config; config.Region == "" {
		d.config.IMMEndpoint = d.getenv("WEBOFFICE_IMM_ENDPOINT") // the default has a hole
	}
	if err == nil {
		d.say("environment", len(config.SessionKeys), len(config.LinkKeys), config.Region,
			config.IMMEndpoint)
	}
}

// unnamed stands for the IMM project where nothing here names one.
const unnamed = "named-where-it-is-deployed"

// readPolicy checks the policy as a function with these settings would read it.
func (d *doctor) readPolicy() (report policy.Report) {
	text, err := os.ReadFile(d.given("policy"))
	if err != nil {
		return policy.Report{Mistakes: []policy.Finding{{Text: err.Error()}}}
	}
	options := d.config.PolicyOptions()
	options.Project = cmp.Or(d.given("project"), unnamed)
	report = policy.Check(text, options)
	d.text, d.rules = text, report.Policy
	return report
}

// checkPolicy reads the policy and runs its tests.
func (d *doctor) checkPolicy() {
	report := d.readPolicy()
	for _, found := range report.Mistakes {
		if found.Line == 0 {
			d.say("no policy", found)
		} else {
			d.say("mistake", found)
		}
	}
	for _, found := range report.Failures {
		d.say("failed test", found)
	}
	for _, found := range report.Warnings {
		d.say("warning", found)
	}
	rules := d.rules
	switch {
	case rules == nil:
		return
	case rules.Rules() == 0:
		d.say("no rules")
	case report.Tests == 0:
		d.say("no tests")
	case report.Err() == nil:
		d.say("policy", rules.Rules(), report.Tests)
	}
	if rules.UsesLinks() && d.getenv("WEBOFFICE_LINK_KEYS") == "" {
		d.say("no link key")
	}
	if slices.Contains(rules.Projects(), unnamed) {
		d.say("no project")
	}
}

// checkIssuers reads each issuer's keys as the functions do.
func (d *doctor) checkIssuers(ctx context.Context) {
	if d.rules == nil {
		return
	}
	verifier, err := caller.NewVerifier(caller.Options{
		Issuers: d.rules.Issuers(), LinkKeys: d.config.LinkKeys,
		RevokedLinks: d.rules.RevokedLinks(), Client: &http.Client{}, Now: d.now, Logger: d.log,
	})
	if err != nil {
		d.say("issuers", err)
		return
	}
	for _, issuer := range d.rules.Issuers() {
		if err := verifier.ReadKeys(ctx, issuer.URL); err != nil {
			public := weboffice.AsError(err)
			d.add(failure, "issuer "+issuer.Name, fmt.Sprint(public.Cause), public.Fix)
		} else if issuer.Keys != "" {
			d.say("issuer keys", issuer.Name, issuer.Keys)
		} else {
			d.say("issuer", issuer.Name, issuer.URL)
		}
	}
	if d.given("token") == "" {
		return
	}
	proof, err := command.Proof(d.given("token"))
	if err == nil {
		d.caller, err = verifier.Verify(ctx, proof)
	}
	if err != nil {
		d.say("bad proof", weboffice.AsError(err).Cause)
		return
	}
	d.say("proof", d.caller.Issuer, d.caller.Expires.UTC().Format(time.RFC3339))
}

// checkClock holds this machine's clock against IMM's, by a request that is neither signed nor
// billed. Proofs may be a minute off, signatures 15.
func (d *doctor) checkClock(ctx context.Context) {
	endpoint, err := imm.ParseEndpoint(d.config.IMMEndpoint)
	if d.config.IMMEndpoint == "" {
		d.say("no clock")
	}
	if err != nil {
		return // said with the environment
	}
	f := exchange.Functions{Generate: endpoint.String(), Client: exchange.NewClient(patience)}
	got, err := f.Send(ctx, exchange.Exchange{Method: http.MethodHead})
	if err != nil {
		d.say("no endpoint", err)
		return
	}
	date, err := http.ParseTime(got.Header.Get("Date"))
	skew := d.now().Sub(date).Round(time.Second)
	switch {
	case err != nil:
		d.say("no date")
	case skew.Abs() > 15*time.Minute:
		d.say("clock far off", skew)
	case skew.Abs() > time.Minute:
		d.say("clock off", skew)
	default:
		d.say("clock", skew)
	}
}

// accessKey signs with a deployer's own AccessKey, which has no security token: doctor alone takes
// such keys.
type accessKey credentials.Credentials

// Credentials implements credentials.Source.
func (k accessKey) Credentials(context.Context) (credentials.Credentials, error) {
	return credentials.Credentials(k), nil
}

// checkIdentity gets credentials as a function would, else takes the deployer's own. What only the
// functions have is no failure here.
func (d *doctor) checkIdentity(ctx context.Context) {
	if d.debug {
		return // the SDK would print them
	}
	id, secret := d.getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"),
		weboffice.Secret(d.getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"))
	longLived := id != "" && secret != "" && d.getenv("ALIBABA_CLOUD_SECURITY_TOKEN") == ""
	source, err := credentials.FromEnvironment(credentials.Options{Getenv: d.getenv, Now: d.now,
		Logger: d.log})
	for _, problem := range each(err) {
		switch {
		case strings.HasPrefix(problem, "AWS_"):
			d.addProblem(warning, problem)
		case strings.HasPrefix(problem, "no "): // the functions have a role of their own
			d.say("no identity")
		case !longLived || !strings.HasPrefix(problem, "ALIBABA_CLOUD_SECURITY_TOKEN"):
			d.addProblem(failure, problem)
		}
	}
	if source != nil {
		status, found := failure, credentials.Describe(source)
		if d.lambda && d.getenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE")+
			d.getenv("AWS_LAMBDA_FUNCTION_NAME") == "" {
			status, found = warning, found+
				", with this machine's AWS identity in the function's place"
		}
		if _, err := source.Credentials(ctx); err != nil {
			d.addError(status, "identity", found+": ", err)
		} else {
			d.source = source
			d.say("identity", found)
		}
	}
	if d.source == nil && longLived {
		d.source = accessKey{AccessKeyID: id, AccessKeySecret: secret}
		d.say("long-lived")
	}
}

// addError prints an error of credentials, of the policy or of IMM with its cause, which holds no
// secret.
func (d *doctor) addError(status, check, before string, err error) {
	public := weboffice.AsError(err)
	found := before + public.Error()
	if public.Cause != nil {
		found += " (" + strings.TrimSpace(public.Cause.Error()+" "+public.IMMRequestID) + ")"
	}
	name := "refused"
	if public.Kind == weboffice.NotFound {
		name = "not found"
	}
	d.add(status, check, found, cmp.Or(public.Fix, d.sentences[name].Fix))
}

// checkDocument opens -document for viewing, with what the deciding rule sends.
func (d *doctor) checkDocument(ctx context.Context) {
	client, err := imm.New(imm.Options{Endpoint: d.config.IMMEndpoint, Region: d.config.Region,
		Credentials: d.source, Now: d.now, Logger: d.log})
	switch {
	case d.given("document") == "":
		d.say("no document")
		return
	case err != nil, d.rules == nil, d.source == nil, d.caller.Guest() && d.given("token") != "":
		d.say("not tried")
		return
	}
	var decision policy.Decision
	var tokens imm.Tokens
	parsed, err := weboffice.ParseSourceURI(d.given("document"))
	if err == nil {
		asked := weboffice.Request{SourceURI: d.given("document"),
			Permission: &weboffice.Permission{Readonly: true}}
		decision, err = d.rules.Decide(policy.Question{Caller: d.caller, Asked: asked,
			Document: parsed, Start: d.now(), Guest: weboffice.NewGuest()}, d.now())
	}
	if decision.Request.ProjectName == unnamed {
		d.say("no document project")
		return
	}
	if err == nil {
		tokens, err = client.Generate(ctx, decision.Request)
	}
	if err != nil {
		d.addError(failure, "document", "", err)
		return
	}
	d.say("document", decision.Rule, decision.Request.ProjectName, tokens.RequestID)
	if d.given("outside") != "" {
		d.checkConfinement(ctx, client, decision)
	}
}

// checkConfinement asks IMM for -outside with the CredentialConfig of -document's rule, which must
// keep it out. The service may ignore a Policy without a ServiceRole.
func (d *doctor) checkConfinement(ctx context.Context, c *imm.Client, decision policy.Decision) {
	if decision.Request.CredentialConfig == nil {
		d.say("not confined", decision.Rule)
		return
	}
	outside := d.given("outside")
	decision.Request.SourceURI = outside
	_, err := c.Generate(ctx, decision.Request)
	switch public := weboffice.AsError(err); {
	case err == nil:
		d.say("open outside", outside)
	case public.Kind == weboffice.NotFound:
		d.say("none outside")
	default:
		d.say("confined", outside, public)
	}
}

// checkFunctions sends the deployed functions what they must refuse, and a preflight.
func (d *doctor) checkFunctions(ctx context.Context) {
	origin := d.given("origin")
	if origin == "" && d.rules != nil {
		origin = append(d.rules.Origins(), "")[0]
	}
	f := exchange.Functions{Generate: d.given("generate"), Refresh: d.given("refresh"),
		Client: exchange.NewClient(patience), Names: map[string]string{"origin": origin,
			"token": "any", "document": "none, and whoever looks at it believed the bad proof"}}
	if f.Generate+f.Refresh == "" {
		d.say("no functions")
	}
	cases := exchange.Cases()
	all := slices.DeleteFunc(append(cases.Refusals, cases.Opening...),
		func(e exchange.Exchange) bool { return !e.Doctor })
	f.Each(ctx, all, func(e exchange.Exchange, got exchange.Answer, err error) {
		if wrong := e.Wrong(got, err); wrong == "" {
			d.say("answer", e.Name, got)
		} else {
			stored := !strings.Contains(got.Header.Get("Cache-Control"), "no-store")
			fix := execute("fixes.tmpl", map[string]any{"Case": e, "Got": got, "Stored": stored})
			d.add(failure, e.Name, fmt.Sprintf("%v, %s", got, wrong), strings.TrimSpace(fix))
		}
	})
}
