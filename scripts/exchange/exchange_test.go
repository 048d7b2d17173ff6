package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A gateway's 403 is good for PUT alone; the functions' own answers say no-store.
func TestAnswersThatMayBeCachedFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		e      Exchange
		status int
		failed bool
	}{
		{"a gateway's 403 to PUT", Exchange{Want: "405 403", Gateway: true}, 403, false},
		{"a cacheable 405 to PUT", Exchange{Want: "405 403", Gateway: true}, 405, true},
		{"a cacheable 403 to a document", Exchange{Want: "401 403"}, 403, true},
	} {
		if wrong := c.e.Wrong(Answer{Status: c.status}, nil); (wrong != "") != c.failed {
			t.Errorf("%s: %q", c.name, wrong)
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
				f := Functions{Generate: "https://functions.example/",
					Client: &http.Client{
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
				got, err := f.Send(t.Context(), Exchange{Body: "the body"})
				if err != nil || requests != c.requests || got.Status != c.status ||
					time.Since(begin) != c.waited {
					t.Errorf("%d requests, status %d after %v, %v", requests, got.Status,
						time.Since(begin), err)
				}
			})
		})
	}
}

func TestNoAnswerSaysWhyWithoutTheURL(t *testing.T) {
	refused := Functions{Client: &http.Client{
		Transport: transport(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no such host")
		})}}
	for address, why := range map[string]string{
		"https://functions.example/?key=hidden":    "no answer: no such host",
		"https://functions.example/%zz?key=hidden": "not https",
	} {
		refused.Generate = address
		got, err := refused.Send(t.Context(), Exchange{})
		wrong := Exchange{Want: "403"}.Wrong(got, err)
		if !strings.Contains(wrong, why) || strings.Contains(wrong, "hidden") {
			t.Errorf("%s: %q, want %q", address, wrong, why)
		}
	}
}

// TestCasesAreFilled: cases without what they need are left out, and a code is letters alone.
func TestCasesAreFilled(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = append(sent, fmt.Sprintf("%s %q %s %s", r.URL.Path, r.Header["Origin"], body,
			r.Header.Get("Authorization")))
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, []string{`{"Code":"A.b"}`, `{"Code":"\u001b[2J"}`}[len(sent)-1])
	}))
	defer server.Close()
	f := Functions{Generate: server.URL + "/g", Token: "a.b.c", Client: NewClient(time.Minute),
		Names: map[string]string{"origin": "https://a.example", "document": "oss://b/c.docx"}}
	var came []string
	f.Each(t.Context(), []Exchange{
		{Name: "1", Want: "403 A.b", Needs: "origin", Header: map[string]string{"Origin": "$origin"}},
		{Name: "2", Want: "403 A.b", Body: "${document}x", Stranger: true,
			Header: map[string]string{"Origin": "$nobody"}},
		{Name: "3", Want: "403", Needs: "token"}, {Name: "4", Want: "403", Refresh: true},
	}, func(e Exchange, got Answer, err error) {
		came = append(came, e.Name+": "+got.String()+" "+e.Wrong(got, err))
	})
	want := []string{`/g ["https://a.example"]  Bearer a.b.c`, "/g [] oss://b/c.docxx ",
		"1: 403 A.b ", "2: 403 expected 403 A.b"}
	if got := append(sent, came...); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if c := Cases(); len(c.Refusals) < 30 || len(c.Opening) == 0 || len(c.Session) == 0 {
		t.Errorf("cases are missing: %+v", c)
	}
}

// An answer is for the page that asked, a refusal of its proof too.
func TestAnswersAreForTheirOrigin(t *testing.T) {
	header := http.Header{"Cache-Control": {"no-store"}, "Access-Control-Allow-Origin": {"*"}}
	for origin, right := range map[string]bool{"": true, "*": true, "https://a.example": false} {
		e := Exchange{Want: "401", Header: map[string]string{"Origin": origin}}
		if wrong := e.Wrong(Answer{Status: 401, Header: header}, nil); (wrong == "") != right {
			t.Errorf("%q: %q", origin, wrong)
		}
	}
}

func TestAPreflightMustLetThePageIn(t *testing.T) {
	e := Exchange{Want: "204", Header: map[string]string{"Origin": "https://a.example"}}
	for name, value := range map[string]string{"": "", "Vary": "Accept", "Cache-Control": "public",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET",
		"Access-Control-Allow-Headers": "Content-Type"} {
		got := Answer{Status: 204, Header: http.Header{"Vary": {"Origin"}, "Cache-Control": {"no-store"},
			"Access-Control-Allow-Origin":  {"https://a.example"},
			"Access-Control-Allow-Methods": {"GET, POST"},
			"Access-Control-Allow-Headers": {"Authorization, Content-Type"}}}
		got.Header.Set(name, value)
		if wrong := e.Wrong(got, nil); (wrong == "") != (name == "") {
			t.Errorf("%s: %s gives %q", name, value, wrong)
		}
	}
}
