package office_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
)

// TestFaultMatrix has every fault with both actions, before the work and after it: what the client
// sees, what is done and billed, and whether the refresh token was spent.
func TestFaultMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		fault        office.Fault
		status       int    // 0: no answer
		text         string // in the body
		after        bool   // always after the work
		before, then int    // billed calls, where it shows before the work and after it
	}{
		"refused":        {office.Refused(418, "Odd", "Something odd."), 418, `"Code":"Odd"`, false, 1, 1},
		"throttled":      {office.Throttled(0), 429, `"Code":"Throttling.User"`, false, 1, 1},
		"internal error": {office.InternalError(), 500, `"Code":"InternalError"`, false, 0, 0},
		"no permission":  {office.NoPermission(), 403, `"Code":"NoPermission"`, false, 1, 1},
		"token expired": {office.SecurityTokenExpired(), 400,
			`"Code":"InvalidSecurityToken.Expired"`, false, 1, 1},
		"signature": {office.SignatureDoesNotMatch(), 400, `"Code":"SignatureDoesNotMatch"`, false,
			1, 1},
		"user name":   {office.UserNameRefused(), 400, `User.Name`, false, 1, 1},
		"503 empty":   {office.Unavailable(), 503, "", false, 0, 0},
		"HTML":        {office.HTML(), 502, "<h1>Bad Gateway</h1>", false, 0, 0},
		"cut":         {office.Cut(), 0, "", false, 0, 1},
		"truncated":   {office.Truncated(), 200, `{"RequestId":"`, true, 1, 1},
		"wrong types": {office.WrongTypes(), 200, `"AccessToken":["`, true, 1, 1},
	} {
		for _, action := range []string{office.Generate, office.Refresh} {
			for _, after := range []bool{c.after, true} {
				t.Run(fmt.Sprint(name, "/", action, "/after=", after), func(t *testing.T) {
					w := start(t)
					request := func() *http.Request { return w.request(t, raw{}) }
					if action == office.Refresh {
						first := w.generate(t, "")
						request = func() *http.Request { return w.refreshRequest(t, first, "") }
					}
					fault, done, billed := c.fault, 0, c.before
					if after {
						fault, done, billed = fault.AfterWork(), 1, c.then
					}
					before := w.Calls()
					w.Fail(action, 1, fault)
					status, text := w.try(t, request())
					if status != c.status || !strings.Contains(text, c.text) {
						t.Errorf("got %d %q, want %d %q", status, text, c.status, c.text)
					}
					if status == 200 && json.Unmarshal([]byte(text), &map[string]string{}) == nil {
						t.Errorf("the damaged answer %s can be read", text)
					}
					calls := w.Calls()
					if calls.Generate+calls.Refresh-before.Generate-before.Refresh != done ||
						calls.Failed != 1-done || calls.Billed()-before.Billed() != billed {
						t.Errorf("counted as %+v, want %d done and %d billed", calls, done, billed)
					}
					status, text = w.try(t, request()) // the fault is over
					if spent := action == office.Refresh && after; spent == (status == 200) {
						t.Errorf("then %d %s; spent should be %t", status, text, spent)
					}
				})
			}
		}
	}
}

func TestThrottledSaysHowLong(t *testing.T) {
	w := start(t)
	w.Fail("", 2, office.Throttled(1100*time.Millisecond))
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, w.request(t, raw{}))
	if got := answer.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want whole seconds, rounded up", got)
	}
	w.ClearFaults()
	if status, body := w.send(t, w.request(t, raw{})); status != 200 {
		t.Errorf("after ClearFaults: %d %v", status, body)
	}
}

func TestFaultsQueueUp(t *testing.T) {
	w := start(t)
	w.Fail(office.Refresh, 1, office.HTML())
	w.Fail(office.Generate, 2, office.InternalError())
	w.Fail("", 0, office.NoPermission())
	for i, want := range []int{500, 500, 403, 403} {
		if status, _ := w.try(t, w.request(t, raw{})); status != want {
			t.Errorf("call %d got %d, want %d", i+1, status, want)
		}
	}
	if status, _ := w.try(t, w.request(t, raw{secret: "guessed"})); status != 400 {
		t.Errorf("a forged request met a fault: %d", status)
	}
	if codes := w.Requests(); len(codes) != 4 || codes[0].Code != "InternalError" ||
		codes[3].Code != "NoPermission" {
		t.Errorf("Requests() = %+v", codes)
	}
}

// TestSlow has a client that gives up, and one that waits, with the hold before the work and after
// it.
func TestSlow(t *testing.T) {
	for _, c := range []struct {
		after, patient bool
		want           office.Calls
	}{
		{false, false, office.Calls{Failed: 1}}, {false, true, office.Calls{Generate: 1}},
		{true, false, office.Calls{Generate: 1}}, {true, true, office.Calls{Generate: 1}},
	} {
		w := start(t)
		ctx, giveUp := context.WithCancel(t.Context())
		release, served := make(chan struct{}), make(chan struct{})
		w.web.Config.Handler = http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
			defer close(served)
			if c.patient {
				close(release)
			} else {
				giveUp()
			}
			w.ServeHTTP(answer, r)
		})
		fault := office.Slow(release)
		if c.after {
			fault = fault.AfterWork()
		}
		w.Fail(office.Generate, 1, fault)
		answer, err := w.web.Client().Do(w.request(t, raw{}).WithContext(ctx))
		if c.patient && (err != nil || answer.StatusCode != http.StatusOK) ||
			!c.patient && !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v, %v", c, answer, err)
		}
		<-served
		if got := w.Calls(); got != c.want {
			t.Errorf("%+v: Calls() = %+v", c, got)
		}
		giveUp()
	}
}

// TestCutWhereNothingCanBeHijacked has a writer that cannot give up its connection.
func TestCutWhereNothingCanBeHijacked(t *testing.T) {
	w := start(t)
	w.Fail(office.Generate, 1, office.Cut())
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("not cut")
		}
	}()
	w.ServeHTTP(httptest.NewRecorder(), w.request(t, raw{}))
}
