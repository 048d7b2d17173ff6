package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// without takes away the deployer's credentials.
func (d *deployment) without() {
	for _, name := range []string{"ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
		"ALIBABA_CLOUD_SECURITY_TOKEN"} {
		delete(d.env, name)
	}
}

// Whoever has only `s config` gets no failure, no command with a hole, and one line that says what
// the full check needs.
func TestShellWithoutAnythingIsNoFailure(t *testing.T) {
	d := deploy(t)
	d.write(strings.Replace(usualPolicy, "project: test-project", "", 1))
	d.env = map[string]string{}
	out, err := d.run("-document", openToAll)
	for _, wanted := range []string{"unseen   WEBOFFICE_SESSION_KEYS: it is not set here\n",
		"unseen   identity: no credentials here; `s config` keeps its keys to itself\n",
		"unseen   document: not tried", "unseen   clock: ", "unseen   functions: ",
		"unseen   buckets, IMM project and quota: no region", "unseen   IMM project: ",
		"\nto see all, give WEBOFFICE_SESSION_KEYS, WEBOFFICE_REGION, WEBOFFICE_PROJECT, " +
			"ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, -generate, -refresh\n"} {
		if !strings.Contains(out, wanted) {
			t.Errorf("%q is not in\n%s", wanted, out)
		}
	}
	hole := regexp.MustCompile(`(?m)^ +\$ .*(?:--\w+ (?:--|$)|oss-\.|\.\.| {2,})`)
	if err != nil || hole.MatchString(out) || strings.Contains(out, unnamed) {
		t.Errorf("%v, %q in\n%s", err, hole.FindString(out), out)
	}
}

// A deployer's AccessKey signs for doctor, without a security token, and doctor says that the
// functions take none.
func TestALongLivedAccessKeyIsForDoctorAlone(t *testing.T) {
	d := deploy(t)
	d.env["ALIBABA_CLOUD_ACCESS_KEY_ID"],
		d.env["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "LTAIs3cr3tless", "s3cr3t-long"
	d.secrets = []string{"s3cr3t-"}
	delete(d.env, "ALIBABA_CLOUD_SECURITY_TOKEN")
	var signed atomic.Int64
	d.env["WEBOFFICE_IMM_ENDPOINT"] = d.serve(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				return
			}
			if _, sent := r.Header["X-Acs-Security-Token"]; sent ||
				!strings.Contains(r.Header.Get("Authorization"), "Credential=LTAIs3cr3tless,") {
				t.Errorf("not signed as with a plain AccessKey: %v", r.Header)
			}
			signed.Add(1)
			end := time.Now().Add(30 * time.Minute).UTC().Format(time.RFC3339)
			_,
				_ = fmt.Fprintf(w,
				`{"RequestId":"8C0D5E7A","WebofficeURL":"https://office.invalid/x",`+
					`"AccessToken":"s3cr3t-a","RefreshToken":"s3cr3t-r",`+
					`"AccessTokenExpiredTime":%q,"RefreshTokenExpiredTime":%q}`, end, end)
		})).URL
	lines := d.examine("-document", openToAll)
	if l, ok := find(lines, "identity", warning); !ok ||
		!strings.Contains(l.Found, "the functions refuse it") {
		t.Errorf("%+v", lines)
	}
	if l, ok := find(lines, "document", fine); !ok || !strings.Contains(l.Found, "8C0D5E7A") ||
		signed.Load() != 1 {
		t.Errorf("%d signed requests, %+v", signed.Load(), lines)
	}
	if l, ok := find(lines, "ALIBABA_CLOUD_SECURITY_TOKEN", failure); ok {
		t.Errorf("%+v", l)
	}
}

func TestHalfAnAccessKeyIsAFailure(t *testing.T) {
	d := deploy(t)
	delete(d.env, "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
	delete(d.env, "ALIBABA_CLOUD_SECURITY_TOKEN")
	lines := d.examine()
	for _, variable := range []string{"ALIBABA_CLOUD_ACCESS_KEY_SECRET",
		"ALIBABA_CLOUD_SECURITY_TOKEN"} {
		if l, ok := find(lines, variable, failure); !ok || l.Found != "is not set" ||
			!strings.Contains(l.Fix, "three parts") {
			t.Errorf("%s: %+v", variable, lines)
		}
	}
}

// exchange sets the environment of a Lambda function, with an OIDC token from a file, and Alibaba's
// STS on loopback.
func (d *deployment) exchange(sts http.HandlerFunc) {
	d.without()
	d.env["ALIBABA_CLOUD_ROLE_ARN"],
		d.env["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"] = "acs:ram::123456789012:role/office",
		"acs:ram::123456789012:oidc-provider/amazon"
	d.env["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] = d.file("s3cr3t.s3cr3t.s3cr3t")
	d.env["WEBOFFICE_STS_ENDPOINT"] = d.serve(sts).URL
}

func refusing(code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"Code":%q,"Message":"s3cr3t"}`, code)
	}
}

func TestAnExchangedRole(t *testing.T) {
	d := deploy(t)
	d.exchange(func(w http.ResponseWriter, _ *http.Request) {
		_,
			_ = fmt.Fprintf(w,
			`{"Credentials":{"AccessKeyId":"STS.local","AccessKeySecret":"local-secret",`+
				`"SecurityToken":"local-token","Expiration":%q}}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	lines := d.examine("-document", openToAll)
	if l, ok := find(lines, "identity", fine); !ok ||
		!strings.Contains(l.Found,
			"role/office for an OIDC token from a file, with a security token") {
		t.Errorf("%+v", lines)
	}
	if _, ok := find(lines, "document", fine); !ok {
		t.Errorf("%+v", lines)
	}
}

func TestARefusedExchangeIsAFailure(t *testing.T) {
	for code, fix := range map[string]string{
		"AuthenticationFail.OIDCToken.AudienceNotMatch": "audience",
		"AuthenticationFail.NoPermission":               "trust policy",
		"EntityNotExist.Role":                           "ALIBABA_CLOUD_ROLE_ARN",
	} {
		d := deploy(t)
		d.exchange(refusing(code))
		if l, ok := find(d.examine(), "identity", failure); !ok ||
			!strings.Contains(l.Found, code) || !strings.Contains(l.Fix, fix) {
			t.Errorf("%s: %+v", code, l)
		}
	}
}

// A deployer's machine has another AWS identity than the function, or none: that says nothing about
// the deployment.
func TestAWSIsNotTheFunctionsOwnHere(t *testing.T) {
	d := deploy(t)
	d.exchange(nil)
	delete(d.env, "ALIBABA_CLOUD_OIDC_TOKEN_FILE")
	d.env["ALIBABA_CLOUD_OIDC_AUDIENCE"] = "weboffice"
	lines := d.examine()
	for _, variable := range []string{"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_REGION"} {
		if l, ok := find(lines, variable, warning); !ok ||
			!strings.Contains(l.Fix, "Lambda sets it") {
			t.Errorf("%s: %+v", variable, lines)
		}
	}

	d.env["AWS_ACCESS_KEY_ID"], d.env["AWS_SECRET_ACCESS_KEY"], d.env["AWS_SESSION_TOKEN"],
		d.env["AWS_REGION"] = "ASIA", "s3cr3t", "s3cr3t", "us-east-1"
	d.env["AWS_ENDPOINT_URL_STS"] = d.serve(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_,
				_ = fmt.Fprint(w,
				`<ErrorResponse><Error><Code>AccessDenied</Code><Message>s3cr3t</Message></Error></ErrorResponse>`)
		})).URL
	if l, ok := find(d.examine(), "identity", warning); !ok ||
		!strings.Contains(l.Found, "this machine's AWS identity") ||
		!strings.Contains(l.Fix, "GetWebIdentityToken") {
		t.Errorf("%+v", l)
	}
	d.env["AWS_LAMBDA_FUNCTION_NAME"] = "generate" // there it is
	if l, ok := find(d.examine(), "identity", failure); !ok {
		t.Errorf("%+v", l)
	}
}

func TestAWrongRoleARNIsAFailure(t *testing.T) {
	d := deploy(t)
	d.exchange(nil)
	d.env["ALIBABA_CLOUD_ROLE_ARN"] = "arn:aws:iam::123456789012:role/office"
	if l, ok := find(d.examine(), "ALIBABA_CLOUD_ROLE_ARN", failure); !ok ||
		!strings.Contains(l.Fix, "acs:ram::ACCOUNT:role/NAME") {
		t.Errorf("%+v", l)
	}
}
