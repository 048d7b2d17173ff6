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

// A page gets the right to open one document, whichever way it spells what it asks. What the
// function must not take is refused, and nothing is asked of IMM.
func TestGenerate(t *testing.T) {
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
	const document = "oss://test-bucket/test-object.docx"
	query := url.Values{"SourceURI": {document}, "Permission": {"{'Readonly':'true'}"}}
	withPassword := url.Values{"SourceURI": {document}, "Password": {"hunter2"}}
	for name, c := range map[string]struct{ method, target, body, code string }{
		"POST": {http.MethodPost, "/",
			`{"SourceURI":"` + document + `","Permission":{"Readonly":true}}`, ""},
		"the quick start's GET": {http.MethodGet, "/?" + query.Encode(), "", ""},
		"a password in a URL": {http.MethodGet, "/?" + withPassword.Encode(), "",
			"InvalidArgument.Password"},
		"text behind the end": {http.MethodPost, "/", `{"SourceURI":"` + document + `"}]`,
			"InvalidArgument"},
		"an unknown parameter": {http.MethodPost, "/", `{"Source":"x"}`, "InvalidArgument.Source"},
		"a key shown as text": {http.MethodPost, "/",
			`{"SourceURI":"oss://test-bucket/.env","Filename":"a.txt"}`, "InvalidArgument.SourceURI"},
	} {
		request := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		generate.New(site.App).ServeHTTP(recorder, request)
		var answer struct {
			WebofficeURL, Code string
			Timeout            int64
			Permission         struct{ Readonly, Copy bool }
		}
		if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v", recorder.Body, err)
		}
		opened := recorder.Code == 200 && answer.WebofficeURL != "" && answer.Timeout > 0 &&
			answer.Permission.Readonly && !answer.Permission.Copy
		if answer.Code != c.code || opened != (c.code == "") || !opened && recorder.Code != 400 {
			t.Errorf("%s: %d %s", name, recorder.Code, recorder.Body)
		}
	}
	if asked := site.IMM.Requests(); len(asked) != 2 { // by those that open
		t.Errorf("IMM was asked %d times", len(asked))
	}
}
