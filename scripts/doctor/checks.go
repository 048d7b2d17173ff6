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
			d.addUnseen(variable, "it is not set here", variable)
			continue
		}
		d.addProblem(failure, problem)
		d.debug = d.debug || variable == "DEBUG"
	}
	if d.config = config; config.Region == "" {
		d.config.IMMEndpoint = d.getenv("WEBOFFICE_IMM_ENDPOINT") // the default has a hole
	}
	if err == nil {
		d.ok("environment", "session keys %d, link keys %d, region %s, IMM at %s, no DEBUG",
			len(config.SessionKeys), len(config.LinkKeys), config.Region, config.IMMEndpoint)
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
		fix := "correct " + d.given("policy") + " at this line:column"
		if found.Line == 0 {
			fix = "name the policy that is deployed with -policy"
		}
		d.add(failure, "policy", found.Error(), fix)
	}
	for _, found := range report.Failures {
		d.add(failure, "policy test", found.Error(),
			"correct the rule or the test; go run ./scripts/policy explain says which rule decides")
	}
	for _, found := range report.Warnings {
		d.add(warning, "policy", found.Error(), "change the rule, or the order of the rules")
	}
	rules := d.rules
	switch {
	case rules == nil:
		return
	case rules.Rules() == 0:
		d.add(warning, "policy", "no rules: it opens nothing", "write rules in "+d.given("policy"))
	case report.Tests == 0:
		d.add(warning, "policy", "no tests",
			"add `tests`, a refusal for each thing that must stay closed")
	case report.Err() == nil:
		d.ok("policy", "%d rules, %d tests pass", rules.Rules(), report.Tests)
	}
	if rules.UsesLinks() && d.getenv("WEBOFFICE_LINK_KEYS") == "" {
		d.addUnseen("WEBOFFICE_LINK_KEYS", "rules let share links in, and no key is set here",
			"WEBOFFICE_LINK_KEYS")
	}
	if slices.Contains(rules.Projects(), unnamed) {
		d.addUnseen("IMM project",
			"the policy leaves it to WEBOFFICE_PROJECT, which is not set here", "WEBOFFICE_PROJECT")
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
		d.add(failure, "issuers", err.Error(), "correct `issuers` in the policy")
		return
	}
	for _, issuer := range d.rules.Issuers() {
		if err := verifier.ReadKeys(ctx, issuer.URL); err != nil {
			public := weboffice.AsError(err)
			d.add(failure, "issuer "+issuer.Name, fmt.Sprint(public.Cause), public.Fix)
			continue
		}
		if issuer.Keys != "" {
			d.ok("issuer "+issuer.Name, "%s has keys", issuer.Keys)
		} else {
			d.ok("issuer "+issuer.Name, "%s names itself and its keys", issuer.URL)
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
		d.add(failure, "-token", fmt.Sprint(weboffice.AsError(err).Cause),
			"put a new proof into the file, of an issuer of the policy and for its audience")
		return
	}
	d.ok("-token", "a proof of issuer %s until %s", d.caller.Issuer,
		d.caller.Expires.UTC().Format(time.RFC3339))
}

// checkClock holds this machine's clock against IMM's, by a request that is neither signed nor
// billed. Proofs may be a minute off, signatures 15.
func (d *doctor) checkClock(ctx context.Context) {
	endpoint, err := imm.ParseEndpoint(d.config.IMMEndpoint)
	if d.config.IMMEndpoint == "" {
		d.addUnseen("clock", "no region whose IMM could be asked", "WEBOFFICE_REGION")
	}
	if err != nil {
		return // said with the environment
	}
	f := exchange.Functions{Generate: endpoint.String(), Client: exchange.NewClient(patience)}
	got, err := f.Send(ctx, exchange.Exchange{Method: http.MethodHead})
	if err != nil {
		d.add(failure, "IMM endpoint", err.Error(),
			"check WEBOFFICE_REGION, WEBOFFICE_IMM_ENDPOINT and this machine's network")
		return
	}
	date, err := http.ParseTime(got.Header.Get("Date"))
	const fix = "set this machine's clock: proofs and signatures are refused by time"
	skew := d.now().Sub(date).Round(time.Second)
	switch {
	case err != nil:
		d.add(warning, "clock", "nothing to hold it against",
			"see that nothing answers in IMM's place: its answer has no Date")
	case skew.Abs() > 15*time.Minute:
		d.add(failure, "clock", skew.String()+" from IMM's", fix)
	case skew.Abs() > time.Minute:
		d.add(warning, "clock", skew.String()+" from IMM's", fix)
	default:
		d.ok("clock", "%v from IMM's", skew)
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
			d.addUnseen("identity", "no credentials here; `s config` keeps its keys to itself",
				"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
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
			d.ok("identity", "%s, with a security token", found)
		}
	}
	if d.source == nil && longLived {
		d.source = accessKey{AccessKeyID: id, AccessKeySecret: secret}
		d.add(warning, "identity",
			"a long-lived AccessKey: doctor signs with it, the functions refuse it",
			"give the functions a RAM role, and keep this key out of their environment")
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
	fix := "correct -document, -token or the rule (go run ./scripts/policy explain); " +
		"a busy or failing service: run doctor again"
	if public.Kind == weboffice.NotFound {
		fix = "upload it or correct -document; its bucket is in the project's region, " +
			"and IMM's service role may read it"
	}
	d.add(status, check, found, cmp.Or(public.Fix, fix))
}

// checkDocument opens -document for viewing, with what the deciding rule sends.
func (d *doctor) checkDocument(ctx context.Context) {
	client, err := imm.New(imm.Options{Endpoint: d.config.IMMEndpoint, Region: d.config.Region,
		Credentials: d.source, Now: d.now, Logger: d.log})
	switch {
	case d.given("document") == "":
		d.addUnseen("document", "whether IMM opens one, and what its role may do", "-document")
		return
	case err != nil || d.rules == nil || d.source == nil:
		d.add(unseen, "document", "not tried: it needs an endpoint, a policy and credentials",
			"see the lines above")
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
		d.addUnseen("document", "no IMM project to open it in", "WEBOFFICE_PROJECT")
		return
	}
	if err == nil {
		tokens, err = client.Generate(ctx, decision.Request)
	}
	if err != nil {
		d.addError(failure, "document", "", err)
		return
	}
	d.ok("document", "opens for viewing by rule %q in project %s: one billed call, RequestId %s",
		decision.Rule, decision.Request.ProjectName, tokens.RequestID)
	if d.given("outside") != "" {
		d.checkConfinement(ctx, client, decision)
	}
}

// checkConfinement asks IMM for -outside with the CredentialConfig of -document's rule, which must
// keep it out. The service may ignore a Policy without a ServiceRole.
func (d *doctor) checkConfinement(ctx context.Context, c *imm.Client, decision policy.Decision) {
	if decision.Request.CredentialConfig == nil {
		found := fmt.Sprintf("rule %q sets no CredentialConfig", decision.Rule)
		d.add(failure, "confinement", found,
			"leave -outside out, or set what -print-policies prints")
		return
	}
	outside := d.given("outside")
	decision.Request.SourceURI = outside
	_, err := c.Generate(ctx, decision.Request)
	switch public := weboffice.AsError(err); {
	case err == nil:
		d.add(failure, "confinement", "IMM opens "+outside+" in the session of another document",
			"set ServiceRole beside Policy, as -print-policies prints; if it stays so, the "+
				"service ignores it: do not rely on it")
	case public.Kind == weboffice.NotFound:
		d.add(failure, "confinement", "there is no such document: its refusal proves nothing",
			"name one with -outside that the project can open")
	default:
		d.ok("confinement", "IMM refuses %s: %v", outside, public)
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
		d.addUnseen("functions", "whether they answer, and to whom", "-generate", "-refresh")
	}
	cases := exchange.Cases()
	all := slices.DeleteFunc(append(cases.Refusals, cases.Opening...),
		func(e exchange.Exchange) bool { return !e.Doctor })
	f.Each(ctx, all, func(e exchange.Exchange, got exchange.Answer, err error) {
		if wrong := e.Wrong(got, err); wrong == "" {
			d.ok(e.Name, "%v", got)
		} else {
			d.add(failure, e.Name, fmt.Sprintf("%v, %s", got, wrong), fixOf(e, got))
		}
	})
}

// fixOf is the fix where something else came back than what must.
func fixOf(e exchange.Exchange, got exchange.Answer) string {
	switch expected := e.Expected(got); {
	case got.Status == 0:
		return "give the https URL that the deployment prints, and see that this machine reaches it"
	case expected && !strings.Contains(got.Header.Get("Cache-Control"), "no-store"):
		return "let nothing change the function's Cache-Control: no-store, tokens would be cached"
	case expected:
		return "let the function alone answer CORS: no CORS settings on the domain, the trigger " +
			"or the function URL"
	case got.Body.Code == "Forbidden.Origin":
		return "add the origin to `origins` in the policy, and deploy"
	case got.Status == http.StatusForbidden:
		return "the gateway refused it: OPTIONS and POST in the trigger's methods, authType " +
			"anonymous; on Lambda AuthType: NONE as a literal"
	case got.Status == http.StatusTooManyRequests || got.Status >= http.StatusInternalServerError:
		return "run doctor again in a minute; if it stays so, read the function's log: it names " +
			"what is wrong, with the fix"
	}
	return "see that this URL is this function's, deployed with this policy, and that nothing " +
		"answers in its place"
}
