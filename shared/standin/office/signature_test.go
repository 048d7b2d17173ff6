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
	case "parameters":
		return raw{query: changed(strings.ReplaceAll(what, `\n`, "\n"))}
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

// TestForgedRequests has forgeries and their harmless twins. Nobody is charged for a forgery, only
// for what is signed, though it makes no sense.
func TestForgedRequests(t *testing.T) {
	for _, row := range rows(t, "forgeries.txt") {
		how, code := row[0], row[1]
		t.Run(how, func(t *testing.T) {
			w := start(t)
			status, body := w.send(t, w.request(t, forged(how)))
			want := office.Calls{Failed: 1}
			switch {
			case code == "":
				want = office.Calls{Generate: 1}
			case len(row) > 2:
				want.Refused = 1
			}
			if body["Code"] != code || (status == 200) != (code == "") {
				t.Errorf("%d %v, want %s", status, body, code)
			}
			if got := w.Calls(); got != want || len(w.Requests()) != want.Billed() {
				t.Errorf("counts as %+v", got)
			}
		})
	}
}

func TestNonceReplay(t *testing.T) {
	now := time.Now()
	w := start(t, func(o *office.Options) { o.SignatureNow = func() time.Time { return now } })
	stolen := w.request(t, forged("date 14m"))
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
	if status, body := w.send(t, w.request(t, forged("date 31m"))); status != 200 {
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
