package office_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
)

func at(offset time.Duration) string {
	return time.Now().UTC().Add(offset).Format("2006-01-02T15:04:05Z")
}

// dated is a request with another date, in minutes from now.
func dated(minutes time.Duration) raw {
	return forged("date " + (minutes * time.Minute).String())
}

func TestSignedRequestPasses(t *testing.T) {
	w := start(t)
	for name, r := range map[string]raw{
		"plain": {},
		"odd characters": {query: map[string]string{"ProjectName": "test-project",
			"SourceURI": "oss://test-bucket/test-object.docx",
			"UserData":  "a b+c*d~e&f=g/h?ü%20\n", "User": `{"Name":"王 *+~"}`}},
		"date just inside, past":   dated(-14),
		"date just inside, future": dated(14),
		"content type signed": {headers: map[string]string{
			"content-type": "application/x-www-form-urlencoded"}},
		"other header unsigned": {tamper: func(r *http.Request) { r.Header.Set("Accept", "*/*") }},
		"without the key's id":  {headers: map[string]string{"x-acs-accesskey-id": ""}},
	} {
		if status, body := w.send(t, w.request(t, r)); status != 200 {
			t.Errorf("%s: %d %v", name, status, body)
		}
	}
}

// forged is a request with one of the forgeries.
func forged(how string) (r raw) {
	verb, what, _ := strings.Cut(how, " ")
	name, value, _ := strings.Cut(what, ":")
	value = strings.TrimSpace(value)
	offset, _ := time.ParseDuration(what)
	words := append(strings.Fields(what), "", "", "") // old with new in the place
	change := func(in string) string { return strings.Replace(in, words[0], words[2], 1) }
	tampers := map[string]func(*http.Request){
		"query":  func(r *http.Request) { r.URL.RawQuery += what },
		"header": func(r *http.Request) { r.Header.Set(name, value) },
		"add":    func(r *http.Request) { r.Header.Add(name, value) },
		"delete": func(r *http.Request) { r.Header.Del(what) },
		"host":   func(r *http.Request) { r.Host = what },
		"body": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(what)), int64(len(what))
		},
		"inquery": func(r *http.Request) { r.URL.RawQuery = change(r.URL.RawQuery) },
		"inproof": func(r *http.Request) {
			r.Header.Set("Authorization", change(r.Header.Get("Authorization")))
		},
	}
	switch verb {
	case "secret":
		return raw{secret: what}
	case "method":
		return raw{method: what}
	case "date":
		return raw{headers: map[string]string{"x-acs-date": at(offset)}}
	case "sign":
		return raw{headers: map[string]string{name: value}}
	}
	return raw{tamper: tampers[verb]}
}

// TestForgedRequests: TestSignedRequestPasses holds their harmless twins. Nobody is charged for a
// forgery.
func TestForgedRequests(t *testing.T) {
	w := start(t)
	forgeries := rows(t, "forgeries.txt")
	for _, row := range forgeries {
		how, code := row[0], row[1]
		t.Run(how, func(t *testing.T) {
			status, body := w.send(t, w.request(t, forged(how)))
			if body["Code"] != code || status < 400 {
				t.Errorf("%d %v, want %s", status, body, code)
			}
		})
	}
	if c := w.Calls(); c.Billed() != 0 || c.Failed != len(forgeries) || len(w.Requests()) != 0 {
		t.Errorf("forged requests count as %+v", c)
	}
}

func TestUnknownActionsAndVersions(t *testing.T) {
	w := start(t)
	for how, code := range map[string]string{"sign x-acs-version: 2017-09-06": "InvalidVersion",
		"sign x-acs-action: DeleteProject": "InvalidAction.NotFound",
		"sign x-acs-action:":               "InvalidAction.NotFound"} {
		if _, body := w.send(t, w.request(t, forged(how))); body["Code"] != code {
			t.Errorf("%s: %v, want %s", how, body, code)
		}
	}
}

func TestNonceReplay(t *testing.T) {
	now := time.Now()
	w := start(t, func(o *office.Options) { o.SignatureNow = func() time.Time { return now } })
	stolen := w.request(t, dated(14))
	if status, body := w.send(t, stolen); status != 200 {
		t.Fatalf("%d %v", status, body)
	}
	for _, later := range []time.Duration{0, 10 * time.Minute, 15 * time.Minute} {
		now = now.Add(later) // at last 25 minutes: the date is still good
		if _, body := w.send(t, stolen); body["Code"] != "SignatureNonceUsed" {
			t.Errorf("replayed %v later: %v", later, body)
		}
	}
	now = now.Add(6 * time.Minute)
	if _, body := w.send(t, stolen); body["Code"] != "InvalidTimeStamp.Expired" {
		t.Errorf("replayed when its date has passed: %v", body)
	}
	if status, body := w.send(t, w.request(t, dated(31))); status != 200 {
		t.Errorf("a fresh nonce: %d %v", status, body)
	}
}

// TestNonceBurntByAStranger has a stranger send a nonce first: without the keys that must not spoil
// it for its owner.
func TestNonceBurntByAStranger(t *testing.T) {
	w := start(t)
	nonce := map[string]string{"x-acs-signature-nonce": "the-same"}
	if status, body := w.send(t, w.request(t,
		raw{headers: nonce, secret: "guessed"})); status != 400 {
		t.Fatal(body)
	}
	if status, body := w.send(t, w.request(t, raw{headers: nonce})); status != 200 {
		t.Errorf("%d %v", status, body)
	}
}

func TestCredentialsRenewed(t *testing.T) {
	w := start(t)
	old := w.request(t, raw{})
	w.SetCredentials(office.Credentials{AccessKeyID: "STS.next", Secret: "next-secret",
		SecurityToken: "next-token"})
	if _, body := w.send(t, old); body["Code"] != "InvalidAccessKeyId.NotFound" {
		t.Errorf("the old credentials: %v", body)
	}
	if status, body := w.send(t, w.request(t, raw{})); status != 200 {
		t.Errorf("the new credentials: %d %v", status, body)
	}
}

func TestParametersInTheBody(t *testing.T) {
	w := start(t)
	form := map[string]string{"content-type": "application/x-www-form-urlencoded"}
	for body, code := range map[string]string{"Hidecmb=true": "InvalidParameter",
		strings.Repeat("x", 1<<20+1): "RequestTooLarge"} {
		if status, got := w.send(t, w.request(t,
			raw{body: body, headers: form})); status != 400 || got["Code"] != code {
			t.Errorf("%.20s: %d %v", body, status, got)
		}
	}
}
