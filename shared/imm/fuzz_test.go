package imm_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/weboffice"
)

// FuzzAnswer lets IMM, or what stands in its place, answer anything. The page gets working tokens
// or a failure that can be shown; whatever the request held is in neither.
func FuzzAnswer(f *testing.F) {
	const good = `{"RequestId":"1","WebofficeURL":"https://office.example/1","AccessToken":"a","RefreshToken":"r",` +
		`"AccessTokenExpiredTime":"2026-11-02T12:30:00.000000000Z","RefreshTokenExpiredTime":"2026-11-03T12:00:00Z"}`
	for _, seed := range []struct {
		status int
		body   string
	}{
		{200, good}, {200, good[:100]}, {200, "null"},
		{200, strings.ReplaceAll(good, `"a"`, `["a"]`)},
		{200, strings.Replace(good, "https", "javascript", 1)},
		{400,
			`{"RequestId":"1","Code":"InvalidArgument.User","Message":"User.Name hunter2-hunter2 is not valid"}`}, {400, `{"Code":7}`}, {403, "<h1>no</h1>"},
		{404,
			`{"Code":"ResourceNotFound","Message":"The specified resource oss://b/k is not found"}`}, {429, ""}, {502, "<h1>no</h1>"}, {503, ""}, {302, ""},
	} {
		f.Add(seed.status, []byte(seed.body))
	}
	status, body := 200, []byte(nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	f.Cleanup(web.Close)
	client := connect(f, web.URL, nil)
	f.Fuzz(func(t *testing.T, answerStatus int, answerBody []byte) {
		if answerStatus < 200 || answerStatus > 599 {
			return
		}
		status, body = answerStatus, answerBody
		generated, generateErr := client.Generate(t.Context(), open())
		refreshed, refreshErr := client.Refresh(t.Context(), "test-project", "access-token-1Fz6",
			"refresh-token-2Gb7", nil)
		for _, c := range []struct {
			tokens  imm.Tokens
			err     error
			secrets []string // that the request held
		}{{generated, generateErr, []string{"hunter2-hunter2"}},
			{refreshed, refreshErr, []string{"access-token-1Fz6", "refresh-token-2Gb7"}}} {
			public := weboffice.AsError(c.err)
			switch {
			case c.err == nil && (status >= 300 || c.tokens.AccessToken == "" ||
				c.tokens.RefreshToken == "" || c.tokens.AccessTokenExpiredTime.IsZero()):
				t.Errorf("%d %q gave %+v", status, body, c.tokens)
			case c.err != nil && (public.Kind == weboffice.Internal || public.Message == "" ||
				public.Code == "" || public.Cause == nil):
				t.Errorf("%d %q failed as %+v", status, body, public)
			}
			shown := fmt.Sprint(c.err, public.Cause, public.Fix, public.Recommend)
			for _, secret := range c.secrets {
				if c.err != nil && strings.Contains(shown, secret) {
					t.Errorf("%s is in %s", secret, shown)
				}
			}
		}
		if generateErr == nil && !strings.HasPrefix(generated.WebofficeURL, "http") {
			t.Errorf("the frame would load %q", generated.WebofficeURL)
		}
	})
}
