package office_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
)

func TestSignedRequestPasses(t *testing.T) {
	b := newBench(t)
	for name, r := range map[string]raw{
		"plain": {},
		"odd characters": {query: map[string]string{"ProjectName": "test-project",
			"SourceURI": "oss://test-bucket/test-object.docx",
			"UserData":  "a b+c*d~e&f=g/h?ü%20\n", "User": `{"Name":"王 *+~"}`}},
		"date just inside, past": {headers: map[string]string{
			"x-acs-date": at(-14 * time.Minute)}},
		"date just inside, future": {headers: map[string]string{
			"x-acs-date": at(14 * time.Minute)}},
		"content type signed": {headers: map[string]string{
			"content-type": "application/x-www-form-urlencoded"}},
		"other header unsigned": {tamper: func(r *http.Request) {
			r.Header.Set("Accept", "application/json")
		}},
		"without the key's id": {headers: map[string]string{"x-acs-accesskey-id": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := b.send(t, b.request(t, r)); status != 200 {
				t.Errorf("%d %v", status, body)
			}
		})
	}
}

func at(offset time.Duration) string {
	return time.Now().UTC().Add(offset).Format("2006-01-02T15:04:05Z")
}

// TestForgedRequests has one forgery each; TestSignedRequestPasses holds their harmless twins.
func TestForgedRequests(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct {
		raw
		code string
	}{
		"wrong secret": {raw{secret: "guessed"}, "SignatureDoesNotMatch"},
		"query changed after signing": {raw{tamper: func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "docx", "pptx", 1)
		}}, "SignatureDoesNotMatch"},
		"parameter added after signing": {
			raw{tamper: func(r *http.Request) { r.URL.RawQuery += "&Hidecmb=true" }},
			"SignatureDoesNotMatch"},
		"parameter given twice": {
			raw{tamper: func(r *http.Request) { r.URL.RawQuery += "&ProjectName=other" }},
			"InvalidParameter"},
		"query not decodable": {
			raw{tamper: func(r *http.Request) { r.URL.RawQuery += "&Filename=%zz" }},
			"InvalidParameter"},
		"action changed after signing": {
			raw{tamper: func(r *http.Request) { r.Header.Set("X-Acs-Action", office.Refresh) }},
			"SignatureDoesNotMatch"},
		"security token changed after signing": {
			raw{tamper: func(r *http.Request) { r.Header.Set("X-Acs-Security-Token", "x") }},
			"SignatureDoesNotMatch"},
		"host changed after signing": {raw{
			tamper: func(r *http.Request) { r.Host = "imm.example.com" }}, "SignatureDoesNotMatch"},
		"body added after signing": {raw{tamper: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1
		}}, "SignatureDoesNotMatch"},
		"hash of another body": {raw{body: "x", headers: map[string]string{
			"x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}, "SignatureDoesNotMatch"},
		"header slipped past the signature": {
			raw{tamper: func(r *http.Request) { r.Header.Set("X-Acs-Evil", "1") }},
			"IncompleteSignature"},
		"content type slipped past the signature": {
			raw{tamper: func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
			"IncompleteSignature"},
		"signed header given twice": {raw{
			tamper: func(r *http.Request) { r.Header.Add("X-Acs-Date", at(0)) }},
			"IncompleteSignature"},
		"signed header left out": {raw{
			tamper: func(r *http.Request) { r.Header.Del("X-Acs-Security-Token") }},
			"IncompleteSignature"},
		"no proof": {raw{
			tamper: func(r *http.Request) { r.Header.Del("Authorization") }},
			"IncompleteSignature"},
		"another algorithm": {raw{tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SHA256",
				"SM3", 1))
		}}, "IncompleteSignature"},
		"signature emptied": {raw{tamper: func(r *http.Request) {
			before, _, _ := strings.Cut(r.Header.Get("Authorization"), ",Signature=")
			r.Header.Set("Authorization", before+",Signature=")
		}}, "IncompleteSignature"},
		"host left out of the signed headers": {raw{tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"),
				"SignedHeaders=host;", "SignedHeaders=", 1))
		}}, "IncompleteSignature"},
		"unknown key": {raw{tamper: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"),
				"STS.local", "STS.other", 1))
		}}, "InvalidAccessKeyId.NotFound"},
		"long-lived key, no security token": {
			raw{headers: map[string]string{"x-acs-security-token": ""}}, "MissingSecurityToken"},
		"foreign security token": {raw{headers: map[string]string{"x-acs-security-token": "other"}},
			"InvalidSecurityToken.MismatchWithAccessKey"},
		"old date": {raw{headers: map[string]string{"x-acs-date": at(-16 * time.Minute)}},
			"InvalidTimeStamp.Expired"},
		"future date": {raw{headers: map[string]string{"x-acs-date": at(16 * time.Minute)}},
			"InvalidTimeStamp.Expired"},
		"date of any form": {raw{headers: map[string]string{"x-acs-date": "yesterday"}},
			"InvalidTimeStamp.Format"},
		"no date": {raw{headers: map[string]string{"x-acs-date": ""}},
			"InvalidTimeStamp.Format"},
		"no nonce": {raw{headers: map[string]string{"x-acs-signature-nonce": ""}},
			"MissingSignatureNonce"},
		"GET": {raw{method: "GET"}, "UnsupportedHTTPMethod"},
		"another version": {raw{headers: map[string]string{"x-acs-version": "2017-09-06"}},
			"InvalidVersion"},
		"unknown action": {raw{headers: map[string]string{"x-acs-action": "DeleteProject"}},
			"InvalidAction.NotFound"},
		"no action": {raw{headers: map[string]string{"x-acs-action": ""}},
			"InvalidAction.NotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := b.send(t, b.request(t, c.raw))
			if body["Code"] != c.code || status < 400 {
				t.Errorf("%d %v, want %s", status, body, c.code)
			}
		})
	}
	if calls := b.Calls(); calls.Generate != 0 || calls.Failed == 0 {
		t.Errorf("forged requests were billed: %+v", calls)
	}
}

func TestNonceReplay(t *testing.T) {
	now := time.Now()
	b := newBench(t, func(o *office.Options) { o.SignatureNow = func() time.Time { return now } })
	stolen := b.request(t, raw{headers: map[string]string{"x-acs-date": at(14 * time.Minute)}})
	if status, body := b.send(t, stolen); status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	for _, later := range []time.Duration{0, 10 * time.Minute, 15 * time.Minute} {
		now = now.Add(later) // at last 25 minutes: the date is still good
		if _, body := b.send(t, stolen); body["Code"] != "SignatureNonceUsed" {
			t.Errorf("replayed %v later: %v", later, body)
		}
	}
	now = now.Add(6 * time.Minute)
	if _, body := b.send(t, stolen); body["Code"] != "InvalidTimeStamp.Expired" {
		t.Errorf("replayed when its date has passed: %v", body)
	}
	if status, body := b.send(t, b.request(t,
		raw{headers: map[string]string{"x-acs-date": at(31 * time.Minute)}})); status != 200 {
		t.Errorf("a fresh nonce: %d %v", status, body)
	}
}

// TestNonceBurntByAStranger has a stranger send a nonce first: without the keys that must not spoil
// it for its owner.
func TestNonceBurntByAStranger(t *testing.T) {
	b := newBench(t)
	nonce := map[string]string{"x-acs-signature-nonce": "the-same"}
	if _, body := b.send(t, b.request(t,
		raw{headers: nonce, secret: "guessed"})); body["Code"] != "SignatureDoesNotMatch" {
		t.Fatal(body)
	}
	if status, body := b.send(t, b.request(t, raw{headers: nonce})); status != 200 {
		t.Errorf("%d %v", status, body)
	}
}

func TestCredentialsRenewed(t *testing.T) {
	b := newBench(t)
	old := b.request(t, raw{})
	b.SetCredentials(office.Credentials{AccessKeyID: "STS.next", Secret: "next-secret",
		SecurityToken: "next-token"})
	if _, body := b.send(t, old); body["Code"] != "InvalidAccessKeyId.NotFound" {
		t.Errorf("the old credentials: %v", body)
	}
	if status, body := b.send(t, b.request(t, raw{})); status != 200 {
		t.Errorf("the new credentials: %d %v", status, body)
	}
}

func TestParametersInTheBody(t *testing.T) {
	b := newBench(t)
	form := map[string]string{"content-type": "application/x-www-form-urlencoded"}
	query := plainQuery()
	for name, r := range map[string]raw{
		"some": {query: query, body: "Hidecmb=true", headers: form},
		"all": {query: map[string]string{}, body: "ProjectName=test-project",
			headers: form},
		"larger than 1 MB": {query: query, body: strings.Repeat("x", 1<<20+1), headers: form},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := b.send(t, b.request(t, r)); status != 400 ||
				body["Code"] != "InvalidParameter" && body["Code"] != "RequestTooLarge" {
				t.Errorf("%d %v", status, body)
			}
		})
	}
	if status, body := b.send(t, b.request(t, raw{query: query})); status != 200 {
		t.Errorf("the same in the query: %d %v", status, body)
	}
}
