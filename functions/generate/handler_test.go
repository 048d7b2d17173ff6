package generate_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
)

const handbook = `
project: test-project
quickStart: true
limits: {anyone: 1000/m}
rules: [{name: handbook, documents: "oss://test-bucket/**", callers: anyone, grant: [view, copy]}]
`

func start(t *testing.T) *local.Local {
	t.Helper()
	site, err := local.Start(local.Options{Policy: []byte(handbook), Generate: generate.New,
		Refresh: refresh.New})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	return site
}

func send(t *testing.T, h http.Handler, method, target, body string) (int, map[string]any) {
	t.Helper()
	request := httptest.NewRequest(method, target, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	var answer map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v", recorder.Body, err)
	}
	return recorder.Code, answer
}

// A page gets the right to open one document, whichever way it spells what it asks.
func TestGenerateOpensADocument(t *testing.T) {
	site := start(t)
	h := generate.New(site.App)
	query := url.Values{"SourceURI": {"oss://test-bucket/test-object.docx"},
		"Permission": {"{'Readonly':'true'}"}}
	for name, c := range map[string]struct{ method, target, body string }{
		"POST": {http.MethodPost, "/",
			`{"SourceURI":"oss://test-bucket/test-object.docx","Permission":{"Readonly":true}}`},
		"the quick start's GET": {http.MethodGet, "/?" + query.Encode(), ""},
	} {
		status, answer := send(t, h, c.method, c.target, c.body)
		permission, _ := answer["Permission"].(map[string]any)
		if status != 200 || answer["WebofficeURL"] == "" || answer["Timeout"] == 0.0 ||
			permission["Readonly"] != true || permission["Copy"] != false {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}

// What the function must not take is refused, and nothing is asked of IMM.
func TestGenerateRefusesWhatItMustNotTake(t *testing.T) {
	site := start(t)
	h := generate.New(site.App)
	query := url.Values{"SourceURI": {"oss://test-bucket/test-object.docx"}, "Password": {"hunter2"}}
	for name, c := range map[string]struct{ method, target, body, code string }{
		"a password in a URL": {http.MethodGet, "/?" + query.Encode(), "",
			"InvalidArgument.Password"},
		"text behind the end": {http.MethodPost, "/",
			`{"SourceURI":"oss://test-bucket/test-object.docx"}]`, "InvalidArgument"},
		"an unknown parameter": {http.MethodPost, "/", `{"Source":"x"}`, "InvalidArgument.Source"},
		"a key shown as text": {http.MethodPost, "/",
			`{"SourceURI":"oss://test-bucket/.env","Filename":"a.txt"}`, "InvalidArgument.SourceURI"},
	} {
		status, answer := send(t, h, c.method, c.target, c.body)
		if status != 400 || answer["Code"] != c.code {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	if asked := site.IMM.Requests(); len(asked) != 0 {
		t.Errorf("IMM was asked %d times", len(asked))
	}
}
