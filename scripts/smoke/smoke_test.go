package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
)

func TestEverythingOnThisMachinePasses(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-json"}, os.Getenv, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	refusals, cases := 0, 0
	for decoder := json.NewDecoder(&out); decoder.More(); cases++ {
		var r result
		if err := decoder.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.Got, "4") {
			refusals++
		}
	}
	if refusals < 30 || refusals*2 < cases {
		t.Errorf("%d refusals of %d cases", refusals, cases)
	}
}

// TestDeployedFunctions goes the way of a deployment: URLs, a document and a proof from a file.
func TestDeployedFunctions(t *testing.T) {
	const document = "oss://test-bucket/test-object.docx"
	l, err := local.Start(local.Options{
		Generate: generate.New, Refresh: refresh.New,
		Policy: []byte("limits: {anyone: 6000/m}" + smokePolicy +
			"  - {name: links, documents: oss://test-bucket/**, callers: {issuer: links}, " +
			"grant: [view]}\n"),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	token, err := l.Token("editor", "")
	link, err2 := l.Token("link", document)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	gateway := refusingGateway(t, l.URL)
	file := filepath.Join(t.TempDir(), "token")
	for _, c := range []struct{ name, url, text string }{
		{"a proof", l.URL, token.Reveal() + "\n"},
		{"a proof as its header has it", l.URL, "Bearer " + token.Reveal() + "\n"},
		{"a share link", l.URL, link.Reveal()},
		{"a gateway that lets no PUT through", gateway, token.Reveal()},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			flags := []string{"-generate", c.url + "/generate", "-refresh", c.url + "/refresh",
				"-document", document, "-origin", l.URL, "-token", file}
			if err := run(t.Context(), flags, os.Getenv, &out); err != nil ||
				!strings.Contains(out.String(), " passed, 0 failed") {
				t.Errorf("%v\n%s", err, out.String())
			}
			if strings.Contains(out.String(), token.Reveal()) ||
				strings.Contains(out.String(), link.Reveal()) {
				t.Error("the proof is in the output")
			}
		})
	}
}

// refusingGateway stands before functions as Function Compute's trigger does: a method that it does
// not list gets a bare 403.
func refusingGateway(t *testing.T, functions string) (address string) {
	t.Helper()
	behind, err := url.Parse(functions)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(behind)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			http.Error(w, "method not allowed", http.StatusForbidden)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(gateway.Close)
	return gateway.URL
}

// A gateway's 403 is good for PUT alone; the functions' own answers say no-store.
func TestAnswersThatMayBeCachedFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		e      exchange
		status int
		failed bool
	}{
		{"a gateway's 403 to PUT", exchange{Want: "405 403", Gateway: true}, 403, false},
		{"a cacheable 405 to PUT", exchange{Want: "405 403", Gateway: true}, 405, true},
		{"a cacheable 403 to a document", exchange{Want: "401 403"}, 403, true},
	} {
		if r := judge(c.e, answer{status: c.status}, nil); (r.Failed != "") != c.failed {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// TestAnAnswerWithoutTokens: functions that answer 200 and nothing fail, and the cases that need
// tokens are left out.
func TestAnAnswerWithoutTokens(t *testing.T) {
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(`{"RequestId":"1"}`))
	}))
	defer empty.Close()
	var out bytes.Buffer
	err := run(t.Context(), []string{"-generate", empty.URL, "-refresh", empty.URL, "-document",
		"oss://test-bucket/a.docx"}, os.Getenv, &out)
	if err == nil || !strings.Contains(out.String(), "FAIL the answer has the vendor's fields") ||
		strings.Contains(out.String(), "a sealed token") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestAnAlteredTokenIsAnother(t *testing.T) {
	for _, letter := range "ABQabz019-_" {
		for _, last := range "AQg" {
			token := "sealed" + string(letter) + "1234567" + string(last)
			if got := altered(token); got == token || len(got) != len(token) ||
				got[:6]+got[7:] != token[:6]+token[7:] {
				t.Errorf("%s became %s", token, got)
			}
		}
	}
}

// transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestThrottledCasesAreSentOnceMore(t *testing.T) {
	for _, c := range []struct {
		name, retryAfter string
		throttled        int // so many times
		requests, status int
		waited           time.Duration
	}{
		{"the limit has room again", "7", 1, 2, 403, 7 * time.Second},
		{"still throttled", "7", 2, 2, 429, 7 * time.Second},
		{"an hour", "3600", 1, 1, 429, 0},
		{"no Retry-After", "", 1, 1, 429, 0},
		{"never throttled", "", 0, 1, 403, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				s := target{generate: "https://functions.example/",
					client: &http.Client{
						Transport: transport(func(r *http.Request) (*http.Response, error) {
							body, err := io.ReadAll(r.Body)
							if err != nil || string(body) != "the body" {
								t.Errorf("sent %q, %v", body, err)
							}
							w := httptest.NewRecorder()
							if requests++; requests <= c.throttled {
								w.Header().Set("Retry-After", c.retryAfter)
								w.WriteHeader(http.StatusTooManyRequests)
							} else {
								w.WriteHeader(http.StatusForbidden)
							}
							return w.Result(), nil
						})}}
				begin := time.Now()
				got, err := s.send(t.Context(), exchange{Body: "the body"})
				if err != nil || requests != c.requests || got.status != c.status ||
					time.Since(begin) != c.waited {
					t.Errorf("%d requests, status %d after %v, %v", requests, got.status,
						time.Since(begin), err)
				}
			})
		})
	}
}

func TestNoAnswerSaysWhyWithoutTheURL(t *testing.T) {
	refused := target{client: &http.Client{
		Transport: transport(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no such host")
		})}}
	for address, why := range map[string]string{
		"https://functions.example/?key=hidden":    "no answer: no such host",
		"https://functions.example/%zz?key=hidden": "invalid URL escape",
	} {
		refused.generate = address
		got, err := refused.send(t.Context(), exchange{})
		r := judge(exchange{Want: "403"}, got, err)
		if !strings.Contains(r.Failed, why) || strings.Contains(r.Failed, "hidden") {
			t.Errorf("%s: %q, want %q", address, r.Failed, why)
		}
	}
}

// TestCarelessFunctionsFail: functions that open everything to everybody pass almost no case.
func TestCarelessFunctionsFail(t *testing.T) {
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"RequestId":"1","AccessToken":"a","RefreshToken":"rrrrrrrrrrrrrrrrrrrr"}`))
	}))
	defer careless.Close()
	var out bytes.Buffer
	err := run(t.Context(), []string{"-generate", careless.URL, "-refresh", careless.URL,
		"-document", "oss://test-bucket/a.docx"}, os.Getenv, &out)
	if err == nil || strings.Contains(out.String(), "ok  ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestInputsAreLookedAtFirst: what cannot work is one sentence, and no case runs.
func TestInputsAreLookedAtFirst(t *testing.T) {
	l, err := local.Start(local.Options{Generate: generate.New, Refresh: refresh.New,
		Policy: []byte(smokePolicy), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(`{"access_token": "s3cr3t.s3cr3t.s3cr3t"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const closed = "http://127.0.0.1:1/?key=s3cr3t"
	gen, ref, document := l.URL+"/generate", l.URL+"/refresh", "oss://test-bucket/test-object.docx"
	for _, c := range []struct {
		generate, refresh, document, token, want string
	}{
		{gen, "", "", "", "-generate, -refresh and -document go together"},
		{"", "", "", "nowhere", "-token and -origin go with"},
		{gen, ref, "test-object.docx", "", "-document: "},
		{gen, ref, document, "nowhere", "-token: "},
		{gen, ref, document, file, "-token: " + file + " holds no JWT"},
		{"notaurl", ref, document, "", "-generate is not the https URL of a function"},
		{"http://functions.example/s3cr3t", ref, document, "", "-generate is not the https URL"},
		{gen, closed, document, "", "-refresh cannot be reached: no answer: "},
		{page.URL, ref, document, "", "-generate answers 404, and not as a function"},
		{ref, gen, document, "", "-generate is the URL of refresh"},
		{gen, gen, document, "", "-refresh is the URL of generate"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-generate", c.generate, "-refresh", c.refresh, "-document",
			c.document, "-token", c.token}, os.Getenv, &out)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || out.Len() > 0 ||
			strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%+v: %v\n%s", c, err, out.String())
		}
	}
}
