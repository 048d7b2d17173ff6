package imm_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// known is what a failure says of the request, in words.
func known(err error) string {
	var all []string
	for _, question := range []struct {
		word string
		yes  bool
	}{
		{"refused", imm.RefusedToken(err)}, {"unanswered", imm.NoAnswer(err)},
		{"done?", imm.MaybeDone(err)}, {"billed?", imm.MaybeBilled(err)},
	} {
		if question.yes {
			all = append(all, question.word)
		}
	}
	return strings.Join(all, " ")
}

// failures is every way in which IMM fails. Only "refused" and "unanswered" let a refresh be
// replaced by a generate; "done?" leaves the refresh token in doubt.
var failures = []struct {
	name  string
	fault office.Fault
	kind  weboffice.Kind
	known string
	fix   string // a part of it
}{
	{"throttled", office.Throttled(0), weboffice.Throttled, "billed?", ""},
	{"throttled with a 503", office.Refused(503, "Throttling", "slow down"), weboffice.Throttled,
		"", ""},
	{"500", office.InternalError(), weboffice.BadGateway, "done?", ""},
	{"500 after the work", office.InternalError().AfterWork(), weboffice.BadGateway, "done?", ""},
	{"503 without a body", office.Unavailable(), weboffice.Unavailable, "done?", ""},
	{"a gateway's page", office.HTML(), weboffice.BadGateway, "done?", ""},
	{"a gateway's time-out", office.Refused(504, "ServiceTimeout", "no"), weboffice.Timeout,
		"done?", ""},
	{"cut before the work", office.Cut(), weboffice.BadGateway, "unanswered done? billed?", ""},
	{"cut after the work", office.Cut().AfterWork(), weboffice.BadGateway,
		"unanswered done? billed?", ""},
	{"half an answer", office.Truncated(), weboffice.BadGateway, "unanswered done? billed?", ""},
	{"wrong types", office.WrongTypes(), weboffice.BadGateway, "unanswered done? billed?", ""},
	{"no right", office.NoPermission(), weboffice.BadGateway, "billed?",
		`"acs:imm:cn-shanghai:*:project/test-project"`},
	{"a 403 of any code", office.Refused(403, "Odd", "no"), weboffice.BadGateway, "billed?",
		"RAM role"},
	{"credentials expired", office.SecurityTokenExpired(), weboffice.Unavailable, "billed?",
		"credentials"},
	{"wrong signature", office.SignatureDoesNotMatch(), weboffice.Unavailable, "billed?",
		"credentials"},
	{"wrong time", office.Refused(400, "InvalidTimeStamp.Expired", "no"), weboffice.Unavailable,
		"billed?", "clock"},
	{"service not opened", office.Refused(403, "OperationDenied.NoOpen", "not opened"),
		weboffice.BadGateway, "billed?", "activate Intelligent Media Management"},
	{"unknown project", office.Refused(404, "ResourceNotFound",
		"The specified resource acs:imm::1:project/p is not found"), weboffice.BadGateway,
		"billed?", "no project test-project in cn-shanghai"},
	{"unknown document", office.Refused(404, "ResourceNotFound",
		"The specified resource oss://b/k is not found"), weboffice.NotFound, "refused billed?",
		""},
	{"refused refresh token", office.Refused(400, "InvalidRefreshToken", "no"), weboffice.Invalid,
		"refused billed?", ""},
	{"a parameter", office.Refused(400, "InvalidArgument.Filename", "Filename is odd"),
		weboffice.Invalid, "refused billed?", ""},
}

func TestFailuresAreSorted(t *testing.T) {
	for _, f := range failures {
		for _, action := range []string{office.Generate, office.Refresh} {
			t.Run(f.name+"/"+action, func(t *testing.T) {
				server, client, _ := start(t)
				tokens, err := client.Generate(t.Context(), ordinary())
				if err != nil {
					t.Fatal(err)
				}
				server.Fail(action, 1, f.fault)
				if action == office.Generate {
					_, err = client.Generate(t.Context(), ordinary())
				} else {
					_, err = client.Refresh(t.Context(), "test-project", tokens.AccessToken,
						tokens.RefreshToken, nil)
				}
				public := weboffice.AsError(err)
				if err == nil || public.Kind != f.kind || known(err) != f.known {
					t.Errorf("got %v of kind %v, %q", err, public.Kind, known(err))
				}
				if !strings.Contains(public.Fix, f.fix) || (public.Fix == "") != (f.fix == "") &&
					!imm.NoAnswer(err) || strings.Contains(public.Message, "test-project") {
					t.Errorf("fix %q, message %q", public.Fix, public.Message)
				}
				if sent := len(server.Requests()); sent != 2 {
					t.Errorf("sent %d times", sent-1)
				}
				all := fmt.Sprintf("%v %+v %v", err, public, public.Cause)
				for _, secret := range []string{"hunter2", tokens.AccessToken.Reveal(),
					tokens.RefreshToken.Reveal(), "local-token", "local-secret", "http://"} {
					if strings.Contains(all, secret) {
						t.Errorf("%s is in %s", secret, all)
					}
				}
			})
		}
	}
	for _, none := range []error{nil, context.Canceled} {
		if known(none) != "" {
			t.Errorf("%v is no failure of a call, but %q", none, known(none))
		}
	}
}

func TestSlowBeyondTheDeadlineIsNoAnswer(t *testing.T) {
	server, client, _ := start(t)
	server.Fail(office.Refresh, 1, office.Slow(nil))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Refresh(ctx, "test-project", accessToken, refreshToken, nil)
	if !imm.NoAnswer(err) || weboffice.AsError(err).Kind != weboffice.Timeout {
		t.Errorf("got %v", err)
	}
}

// TestThrottlingNamesTheTime: in Retry-After, or else in IMM's own limits, in milliseconds. A 429
// is one whatever stands in its body.
func TestThrottlingNamesTheTime(t *testing.T) {
	for _, c := range []struct {
		after, user, userAPI string
		want                 time.Duration
	}{
		{"9", "", "", 9 * time.Second}, {"", "", "", 0}, {"soon", "", "", 0}, {"-1", "", "", 0},
		{"86400", "", "", time.Minute}, {"99999999999999999999", "", "", 0},
		{"", "", "Limit:10,Remain:0,TimeLeft:3500", 3500 * time.Millisecond},
		{"", "Limit:10,Remain:0,TimeLeft:2500", "TimeLeft:1000", 2500 * time.Millisecond},
		{"", "", "Limit:10,Remain:0,TimeLeft:86400000", time.Minute},
		{"", "", "TimeLeft:9223372036854775807", time.Minute}, {"", "", "TimeLeft:-5", 0},
		{"", "", "Limit:10", 0}, {"soon", "", "TimeLeft:3500", 3500 * time.Millisecond},
		{"2", "", "TimeLeft:3500", 2 * time.Second},
	} {
		client := connect(t, serve(t, answer(429, http.Header{"Retry-After": {c.after},
			"X-Ratelimit-User": {c.user}, "X-Ratelimit-User-Api": {c.userAPI}},
			"<h1>Too many requests</h1>")))
		_, err := refresh(t, client)
		if public := weboffice.AsError(err); public.Kind != weboffice.Throttled ||
			public.RetryAfter != c.want {
			t.Errorf("%+v: %v, %v", c, err, public.RetryAfter)
		}
	}
}

// TestGatewayInPlaceOfIMM: one that refuses answers for IMM, so something did; and of refresh
// tokens it knows nothing. An answer that never ends is cut at a megabyte.
func TestGatewayInPlaceOfIMM(t *testing.T) {
	const none = "unanswered done? billed?"
	for _, c := range []struct {
		status  int
		endless bool
		kind    weboffice.Kind
		known   string
	}{
		{302, false, weboffice.BadGateway, none}, {401, false, weboffice.BadGateway, "billed?"},
		{403, false, weboffice.BadGateway, "billed?"}, {413, false, weboffice.Invalid, "billed?"},
		{414, false, weboffice.Invalid, "billed?"},
		{200, true, weboffice.BadGateway, none}, {500, true, weboffice.BadGateway, "done?"},
	} {
		_, err := refresh(t, connect(t, serve(t, http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte("<h1>No</h1>"))
				for c.endless && r.Context().Err() == nil {
					_, _ = w.Write(make([]byte, 1<<16))
				}
			}))))
		if public := weboffice.AsError(err); public.Kind != c.kind || public.Code == "" ||
			known(err) != c.known {
			t.Errorf("%+v: %v, %v, %q", c, err, public.Cause, known(err))
		}
	}
}

// FuzzAnswer lets IMM, or what stands in its place, answer anything. The page gets working tokens
// or a failure that can be shown; whatever the request held is in neither.
func FuzzAnswer(f *testing.F) {
	const good = `{"RequestId":"1","WebofficeURL":"https://office.example/1","AccessToken":"a",` +
		`"RefreshToken":"r","AccessTokenExpiredTime":"2026-11-02T12:30:00.000000000Z",` +
		`"RefreshTokenExpiredTime":"2026-11-03T12:00:00Z"}`
	for _, seed := range []struct {
		status int
		body   string
	}{
		{200, good}, {302, good}, {200, good[:100]}, {200, "null"},
		{200, strings.ReplaceAll(good, `"a"`, `["a"]`)},
		{200, strings.Replace(good, "https", "javascript", 1)},
		{200, strings.Replace(good, "https", "http", 1)},
		{400, `{"RequestId":"1","Code":"InvalidArgument.hunter2-hunter2",` +
			`"Message":"User.Name hunter2-hunter2 is not valid"}`},
		{400, `{"Code":7}`}, {403, "<h1>no</h1>"},
		{404, `{"Code":"ResourceNotFound",` +
			`"Message":"The specified resource oss://b/k is not found"}`},
		{429, ""}, {502, "<h1>no</h1>"}, {503, ""}, {302, ""},
	} {
		f.Add(seed.status, []byte(seed.body))
	}
	status, body := 200, []byte(nil)
	client := connect(f, serve(f, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})))
	f.Fuzz(func(t *testing.T, answerStatus int, answerBody []byte) {
		if answerStatus < 200 || answerStatus > 599 {
			return
		}
		status, body = answerStatus, answerBody
		generated, generateErr := client.Generate(t.Context(), ordinary())
		refreshed, refreshErr := refresh(t, client)
		for _, c := range []struct {
			tokens  imm.Tokens
			err     error
			secrets []string // that the request held
		}{{generated, generateErr, []string{"hunter2-hunter2"}},
			{refreshed, refreshErr, []string{accessToken, refreshToken}}} {
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
		if generateErr == nil && !strings.HasPrefix(generated.WebofficeURL, "https://") {
			t.Errorf("the frame would load %q", generated.WebofficeURL)
		}
	})
}
