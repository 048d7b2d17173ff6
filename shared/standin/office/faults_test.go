package office_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/standin/office"
)

// refreshQuery are the parameters that refresh what was just generated.
func (b *bench) refreshQuery(t *testing.T) map[string]string {
	first := generate(t, b.client(t))
	return map[string]string{"ProjectName": "test-project",
		"AccessToken":  tea.StringValue(first.AccessToken),
		"RefreshToken": tea.StringValue(first.RefreshToken)}
}

// TestFaultMatrix has every fault with both actions, before the work and after it: what the client
// sees, what was billed, and whether the refresh token was spent.
func TestFaultMatrix(t *testing.T) {
	type seen struct {
		status int    // 0: no answer
		text   string // in the body
	}
	faults := map[string]struct {
		fault office.Fault
		seen
		alwaysAfter bool
	}{
		"refused": {office.Refused(418, "Odd", "Something odd."),
			seen{418, `"Code":"Odd"`}, false},
		"throttled": {office.Throttled(0), seen{429, `"Code":"Throttling.User"`},
			false},
		"internal error": {office.InternalError(), seen{500, `"Code":"InternalError"`},
			false},
		"no permission": {office.NoPermission(), seen{403, `"Code":"NoPermission"`},
			false},
		"security token expired": {office.SecurityTokenExpired(),
			seen{400, `"Code":"InvalidSecurityToken.Expired"`}, false},
		"signature": {office.SignatureDoesNotMatch(),
			seen{400, `"Code":"SignatureDoesNotMatch"`}, false},
		"user name":   {office.UserNameRefused(), seen{400, `User.Name`}, false},
		"503 empty":   {office.Unavailable(), seen{503, ""}, false},
		"HTML":        {office.HTML(), seen{502, "<h1>Bad Gateway</h1>"}, false},
		"cut":         {office.Cut(), seen{0, ""}, false},
		"truncated":   {office.Truncated(), seen{200, `{"RequestId":"`}, true},
		"wrong types": {office.WrongTypes(), seen{200, `"AccessToken":["`}, true},
	}
	for name, c := range faults {
		for _, action := range []string{office.Generate, office.Refresh} {
			for _, after := range []bool{c.alwaysAfter, true} {
				fault := c.fault
				if after {
					fault = fault.AfterWork()
				}
				t.Run(strings.Join([]string{name, action,
					map[bool]string{true: "after", false: "before"}[after]}, "/"),
					func(t *testing.T) {
						b := newBench(t)
						query := plainQuery()
						if action == office.Refresh {
							query = b.refreshQuery(t)
						}
						before := b.Calls()
						b.Fail(action, 1, fault)
						send := func() (int, string) {
							return b.try(t, b.request(t,
								raw{query: query,
									headers: map[string]string{"x-acs-action": action}}))
						}
						status, text := send()
						if status != c.status || !strings.Contains(text, c.text) {
							t.Errorf("got %d %q, want %d %q", status, text, c.status, c.text)
						}
						if c.status == 200 &&
							json.Unmarshal([]byte(text), &map[string]string{}) == nil {
							t.Errorf("the damaged answer %s can be read", text)
						}
						calls := b.Calls()
						billed := calls.Generate + calls.Refresh - before.Generate - before.Refresh
						if want := map[bool]int{true: 1, false: 0}[after]; billed != want ||
							calls.Failed != 1-want {
							t.Errorf("%d billed and %d failed, want %d and %d", billed,
								calls.Failed,
								want, 1-want)
						}
						status, text = send() // the fault is over
						if spent := action == office.Refresh && after; spent == (status == 200) {
							t.Errorf("then %d %s; spent should be %t", status, text, spent)
						}
					})
			}
		}
	}
}

// try sends a request and returns what came, or 0 for nothing.
func (b *bench) try(t *testing.T, request *http.Request) (int, string) {
	t.Helper()
	answer, err := b.web.Client().Do(request)
	if err != nil {
		if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "connection reset") {
			t.Fatal(err)
		}
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestThrottledSaysHowLong(t *testing.T) {
	b := newBench(t)
	b.Fail("", 2, office.Throttled(1100*time.Millisecond))
	answer, err := b.web.Client().Do(b.request(t, raw{}))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q, want whole seconds, rounded up", got)
	}
	b.ClearFaults()
	if status, body := b.send(t, b.request(t, raw{})); status != 200 {
		t.Errorf("after ClearFaults: %d %v", status, body)
	}
}

func TestFaultsQueueUp(t *testing.T) {
	b := newBench(t)
	b.Fail(office.Refresh, 1, office.HTML())
	b.Fail(office.Generate, 2, office.InternalError())
	b.Fail("", 0, office.NoPermission())
	for i, want := range []int{500, 500, 403, 403} {
		if status, _ := b.try(t, b.request(t, raw{})); status != want {
			t.Errorf("call %d got %d, want %d", i+1, status, want)
		}
	}
	if status, _ := b.try(t, b.request(t, raw{secret: "guessed"})); status != 400 {
		t.Errorf("a forged request met a fault: %d", status)
	}
	if codes := b.Requests(); len(codes) != 4 || codes[0].Code != "InternalError" ||
		codes[3].Code != "NoPermission" {
		t.Errorf("Requests() = %+v", codes)
	}
}

// TestSlow has a client that gives up, and one that waits, with the hold before the work and after
// it.
func TestSlow(t *testing.T) {
	for name, c := range map[string]struct {
		after, patient bool
		want           office.Calls
	}{
		"before the work, given up":  {false, false, office.Calls{Failed: 1}},
		"before the work, waited":    {false, true, office.Calls{Generate: 1}},
		"after the work, given up":   {true, false, office.Calls{Generate: 1}},
		"after the work, waited for": {true, true, office.Calls{Generate: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ctx, giveUp := context.WithCancel(t.Context())
			defer giveUp()
			release, served := make(chan struct{}), make(chan struct{})
			b.web = httptest.NewServer(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					defer close(served)
					if c.patient {
						close(release)
					} else {
						giveUp()
					}
					b.ServeHTTP(w, r)
				}))
			t.Cleanup(b.web.Close)
			fault := office.Slow(release)
			if c.after {
				fault = fault.AfterWork()
			}
			b.Fail(office.Generate, 1, fault)
			answer, err := b.web.Client().Do(b.request(t, raw{}).WithContext(ctx))
			if c.patient {
				if err != nil || answer.StatusCode != http.StatusOK {
					t.Fatal(answer, err)
				}
				answer.Body.Close()
			} else if !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v, want the client's own end", err)
			}
			<-served
			if got := b.Calls(); got != c.want {
				t.Errorf("Calls() = %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestCutWhereNothingCanBeHijacked has a writer that cannot give up its connection.
func TestCutWhereNothingCanBeHijacked(t *testing.T) {
	b := newBench(t)
	b.Fail(office.Generate, 1, office.Cut())
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("not cut")
		}
	}()
	b.ServeHTTP(httptest.NewRecorder(), b.request(t, raw{}))
}
