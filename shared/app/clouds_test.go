package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What the tests give template.yml.
const (
	ramRole      = "acs:ram::1234567890123456:role/weboffice"
	oidcProvider = "acs:ram::1234567890123456:oidc-provider/aws"
	// what AWS's STS gives, and an adopter's own source
	awsToken = "aws-header.aws-payload-4Tz8.aws-signature-of-some-length"
	ownToken = "own-header.own-payload-6Rk1.own-signature-of-some-length"
)

// clouds are the STS of AWS and of Alibaba Cloud. AWS's allows what template.yml's role may do.
// Alibaba's takes one OIDC token and gives the credentials that the stand-in takes, for an hour.
type clouds struct {
	t            testing.TB
	world        *world
	now          func() time.Time
	mayAsk       map[string]any // the conditions in the AWS role's policy
	token        string         // the OIDC token that Alibaba's STS takes
	aws, alibaba *httptest.Server
	awsCalls     atomic.Int64
	alibabaCalls atomic.Int64
}

func newClouds(t testing.TB, w *world, now func() time.Time, template *sam) *clouds {
	c := &clouds{t: t, world: w, now: now, mayAsk: template.mayAsk(), token: awsToken}
	c.aws = httptest.NewServer(http.HandlerFunc(c.serveAWS))
	c.alibaba = httptest.NewServer(http.HandlerFunc(c.serveAlibaba))
	t.Cleanup(c.aws.Close)
	t.Cleanup(c.alibaba.Close)
	for _, token := range []string{awsToken, ownToken, "local-aws-secret", "local-aws-token"} {
		w.hunt.add("a secret of AWS's side", token)
	}
	return c
}

// overrides move both STS to loopback.
func (c *clouds) overrides() map[string]string {
	return map[string]string{"WEBOFFICE_STS_ENDPOINT": c.alibaba.URL,
		"AWS_ENDPOINT_URL_STS": c.aws.URL}
}

func (c *clouds) serveAWS(w http.ResponseWriter, r *http.Request) {
	c.awsCalls.Add(1)
	_ = r.ParseForm() // what cannot be read lacks everything below
	asked := map[string]any{
		"ForAllValues:StringEquals": map[string]any{
			"sts:IdentityTokenAudience": r.PostForm.Get("Audience.member.1")},
		"StringEquals": map[string]any{
			"sts:SigningAlgorithm": r.PostForm.Get("SigningAlgorithm")},
		"NumericLessThanEquals": map[string]any{
			"sts:DurationSeconds": r.PostForm.Get("DurationSeconds")},
		"Null": map[string]any{
			"sts:IdentityTokenAudience": fmt.Sprint(!r.PostForm.Has("Audience.member.1"))},
	}
	if fmt.Sprint(asked) != fmt.Sprint(c.mayAsk) ||
		r.PostForm.Get("Action") != "GetWebIdentityToken" ||
		r.PostForm.Has("Audience.member.2") {
		c.t.Errorf("the function asks AWS for %v, its role may ask for %v", r.PostForm, c.mayAsk)
	}
	signature := r.Header.Get("Authorization")
	if !strings.HasPrefix(signature, "AWS4-HMAC-SHA256 Credential=ASIALOCAL/") ||
		!strings.Contains(signature, "/eu-central-1/sts/aws4_request, ") ||
		r.Header.Get("X-Amz-Security-Token") != "local-aws-token" {
		c.t.Errorf("not signed with the role of Lambda: %s", signature)
	}
	_, _ = fmt.Fprintf(w,
		`<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">`+
			`<GetWebIdentityTokenResult><WebIdentityToken>%s</WebIdentityToken>`+
			`<Expiration>%s</Expiration></GetWebIdentityTokenResult>`+
			`</GetWebIdentityTokenResponse>`, awsToken,
		c.now().Add(5*time.Minute).UTC().Format(time.RFC3339))
}

func (c *clouds) serveAlibaba(w http.ResponseWriter, r *http.Request) {
	c.alibabaCalls.Add(1)
	_ = r.ParseForm()
	for name, want := range map[string]string{
		"Action": "AssumeRoleWithOIDC", "RoleArn": ramRole, "OIDCProviderArn": oidcProvider,
		"OIDCToken": c.token,
	} {
		if r.Form.Get(name) != want {
			c.t.Errorf("Alibaba's STS gets %s %q, not %q", name, r.Form.Get(name), want)
		}
	}
	w.Header().Set("Date", c.now().UTC().Format(http.TimeFormat))
	keys := c.world.IMM.Credentials()
	_, _ = fmt.Fprintf(w, `{"RequestId":"1","Credentials":{"AccessKeyId":%q,`+
		`"AccessKeySecret":%q,"SecurityToken":%q,"Expiration":%q}}`,
		keys.AccessKeyID, keys.Secret, keys.SecurityToken,
		c.now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// exchanged wants so many exchanges since the start.
func (c *clouds) exchanged(aws, alibaba int64) {
	c.t.Helper()
	if a, b := c.awsCalls.Load(), c.alibabaCalls.Load(); a != aws || b != alibaba {
		c.t.Errorf("%d exchanges with AWS and %d with Alibaba Cloud, want %d and %d", a, b, aws,
			alibaba)
	}
}
