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
