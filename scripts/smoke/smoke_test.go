package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		Policy: []byte("limits: {anyone: 6000/m}\n" + string(smokePolicy) +
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
		Policy: smokePolicy, Logger: slog.New(slog.DiscardHandler)})
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
	const closed = "http://127.0.0.1:1/s3cr3t"
	gen, ref, document := l.URL+"/generate", l.URL+"/refresh", "oss://test-bucket/test-object.docx"
	for _, c := range []struct {
		generate, refresh, document, flag, want string
	}{
		{gen, "", "", "", "-generate, -refresh and -document go together"},
		{"", "", "", "-token=nowhere", "-token and -origin go with"},
		{gen, ref, "test-object.docx", "", "-document: "},
		{gen, ref, document, "-token=nowhere", "-token: "},
		{gen, ref, document, "-origin=" + l.URL + "/", "-origin is as browsers send it"},
		{gen, ref, document, "-token=" + file, "-token: " + file + " holds no JWT"},
		{"notaurl", ref, document, "", "-generate is not the https URL of a function"},
		{"http://functions.example/s3cr3t", ref, document, "", "-generate is not the https URL"},
		{gen, ref + "?SourceURI=s3cr3t", document, "", "-refresh is not the https URL of a function, w"},
		{gen, closed, document, "", "-refresh cannot be reached: no answer: "},
		{page.URL, ref, document, "", "-generate answers 404, and not as a function"},
		{ref, gen, document, "", "-generate is the URL of refresh"},
		{gen, gen, document, "", "-refresh is the URL of generate"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), []string{"-generate", c.generate, "-refresh", c.refresh, "-document",
			c.document, cmp.Or(c.flag, "-json")}, os.Getenv, &out)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || out.Len() > 0 ||
			strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%+v: %v\n%s", c, err, out.String())
		}
	}
}
