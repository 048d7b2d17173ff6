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
	mayAsk       any    // the conditions in the AWS role's policy
	token        string // the OIDC token that Alibaba's STS takes
	aws, alibaba atomic.Int64
	overrides    map[string]string // move both to loopback
}

func newClouds(t testing.TB, w *world, mayAsk any) *clouds {
	c := &clouds{t: t, world: w, mayAsk: mayAsk, token: awsToken}
	aws := httptest.NewServer(http.HandlerFunc(c.serveAWS))
	t.Cleanup(aws.Close)
	alibaba := httptest.NewServer(http.HandlerFunc(c.serveAlibaba))
	t.Cleanup(alibaba.Close)
	c.overrides = map[string]string{"AWS_ENDPOINT_URL_STS": aws.URL,
		"WEBOFFICE_STS_ENDPOINT": alibaba.URL}
	for _, token := range []string{awsToken, ownToken, "local-aws-secret", "local-aws-token"} {
		w.hunt.add("a secret of AWS's side", token)
	}
	return c
}

func (c *clouds) serveAWS(w http.ResponseWriter, r *http.Request) {
	c.aws.Add(1)
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
		time.Now().Add(5*time.Minute).UTC().Format(time.RFC3339))
}

func (c *clouds) serveAlibaba(w http.ResponseWriter, r *http.Request) {
	c.alibaba.Add(1)
	_ = r.ParseForm()
	for name, want := range map[string]string{
		"Action": "AssumeRoleWithOIDC", "RoleArn": ramRole, "OIDCProviderArn": oidcProvider,
		"OIDCToken": c.token,
	} {
		if r.Form.Get(name) != want {
			c.t.Errorf("Alibaba's STS gets %s %q, not %q", name, r.Form.Get(name), want)
		}
	}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	keys := c.world.IMM.Credentials()
	_, _ = fmt.Fprintf(w, `{"RequestId":"1","Credentials":{"AccessKeyId":%q,`+
		`"AccessKeySecret":%q,"SecurityToken":%q,"Expiration":%q}}`,
		keys.AccessKeyID, keys.Secret, keys.SecurityToken,
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// exchanged wants so many exchanges since the start.
func (c *clouds) exchanged(aws, alibaba int64) {
	c.t.Helper()
	if a, b := c.aws.Load(), c.alibaba.Load(); a != aws || b != alibaba {
		c.t.Errorf("%d exchanges with AWS and %d with Alibaba Cloud, want %d and %d", a, b, aws,
			alibaba)
	}
}
