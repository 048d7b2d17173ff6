package refresh_test

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

const openPolicy = `
project: test-project
quickStart: true
rules: [{name: anyone, documents: "oss://test-bucket/**", callers: anyone, grant: [view]}]
`

// An open document is carried on by the tokens of its last answer, and by nothing else.
func TestRefreshCarriesADocumentOn(t *testing.T) {
	site, err := local.Start(local.Options{Policy: []byte(openPolicy),
		Generate: generate.New, Refresh: refresh.New})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	ask := func(h http.Handler, method, target, body string) (int, map[string]any) {
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
	_, opened := ask(generate.New(site.App), http.MethodPost, "/",
		`{"SourceURI":"oss://test-bucket/test-object.docx"}`)
	access, sealed := opened["AccessToken"].(string), opened["RefreshToken"].(string)
	h := refresh.New(site.App)
	tokens := `{"AccessToken":"` + access + `","RefreshToken":"` + sealed + `"}`
	query := url.Values{"AccessToken": {access}, "RefreshToken": {sealed}}
	for name, c := range map[string]struct {
		method, target, body string
		status               int
		code                 any
	}{
		"POST":                {http.MethodPost, "/", tokens, 200, nil},
		"GET":                 {http.MethodGet, "/?" + query.Encode(), "", 200, nil},
		"text behind the end": {http.MethodPost, "/", tokens + "]", 400, "InvalidArgument"},
		"no access token": {http.MethodPost, "/", `{"RefreshToken":"` + sealed + `"}`, 400,
			"MissingAccessToken"},
		"a forged token": {http.MethodPost, "/", strings.Replace(tokens, sealed, sealed[1:], 1), 400,
			"InvalidArgument.RefreshToken"},
	} {
		status, answer := ask(h, c.method, c.target, c.body)
		if status != c.status || answer["Code"] != c.code ||
			status == 200 && answer["AccessToken"] != access { // it is young
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
}
