package office_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	imm "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/standin/office"
)

func TestSameDocumentHasOneURL(t *testing.T) {
	w := start(t, func(o *office.Options) {
		o.AccessTokenLife, o.PublicURL = time.Minute, "https://office.example.com/"
	})
	client := w.client(t)
	urlOf := func(change ...func(*params)) string {
		return tea.StringValue(generate(t, client, change...).WebofficeURL)
	}
	first := urlOf()
	if !strings.HasPrefix(first, "https://office.example.com/office/w/") ||
		!strings.HasSuffix(first, "?_w_tokentype=1&_w_life=60000") {
		t.Errorf("WebofficeURL %s lacks the public URL, or the short life for the JS-SDK", first)
	}
	if again := urlOf(); again != first {
		t.Errorf("the same document got %s and %s", first, again)
	}
	if other := urlOf(func(r *params) {
		r.Filename = tea.String("plan.docx")
	}); other == first {
		t.Error("another Filename got the same URL")
	}
}

func TestTokensLiveByTheStandInsClock(t *testing.T) {
	const day = 24 * time.Hour
	for pass, want := range map[time.Duration]string{31 * time.Minute: "", day - 1: "",
		day: "InvalidRefreshToken"} {
		w := start(t)
		client := w.client(t)
		first := generate(t, client)
		w.pass(pass)
		_, err := client.RefreshWebofficeToken(refreshRequest(first.AccessToken,
			first.RefreshToken))
		if code := codeOf(t, err); code != want || len(w.DoubleSpends()) != 0 {
			t.Errorf("after %v: %q, want %q; double spends %v", pass, code, want, w.DoubleSpends())
		}
	}
}

func TestForgetsTokensThatEndedLongAgo(t *testing.T) {
	w := start(t)
	client := w.client(t)
	old := generate(t, client)
	w.pass(49 * time.Hour)
	fresh := generate(t, client)
	w.frames(t, old, "open frame: unknown")
	w.frames(t, fresh, "open frame: open")
}

// TestRefreshTokenSpentByManyAtOnce: one of them wins, and all others are seen.
func TestRefreshTokenSpentByManyAtOnce(t *testing.T) {
	const many = 20
	w := start(t)
	first := generate(t, w.client(t))
	var group sync.WaitGroup
	won := make(chan bool, many)
	for range many { // by plain HTTP: the SDK is not safe for concurrent use
		request := w.request(t, raw{headers: map[string]string{"x-acs-action": office.Refresh},
			query: map[string]string{"ProjectName": "test-project",
				"AccessToken":  tea.StringValue(first.AccessToken),
				"RefreshToken": tea.StringValue(first.RefreshToken)}})
		group.Go(func() {
			answer, err := w.web.Client().Do(request)
			if err == nil {
				answer.Body.Close()
			}
			won <- err == nil && answer.StatusCode == http.StatusOK
		})
	}
	group.Wait()
	close(won)
	winners := 0
	for ok := range won {
		if ok {
			winners++
		}
	}
	spends := w.DoubleSpends()
	if winners != 1 || len(spends) != many-1 ||
		spends[0].Parameters["RefreshToken"] != tea.StringValue(first.RefreshToken) ||
		spends[0].Code != "InvalidRefreshToken" {
		t.Errorf("%d won and %d double spends were seen, want 1 and %d", winners, len(spends),
			many-1)
	}
	if got, want := w.Calls(), (office.Calls{Generate: 1, Refresh: 1, Failed: many - 1,
		Refused: many - 1}); got != want {
		t.Errorf("Calls() = %+v, want %+v", got, want)
	}
}

func TestRefreshRefuses(t *testing.T) {
	w := start(t)
	w.AddProject("other-project")
	client := w.client(t)
	mine, theirs := generate(t, client), generate(t, client)
	request := func(project string, access, refresh *string) *imm.RefreshWebofficeTokenRequest {
		return &imm.RefreshWebofficeTokenRequest{ProjectName: &project, AccessToken: access,
			RefreshToken: refresh}
	}
	for name, c := range map[string]struct {
		project         string
		access, refresh *string
		code            string
	}{
		"foreign access token":  {"test-project", theirs.AccessToken, mine.RefreshToken, "InvalidAccessToken"},
		"unknown refresh token": {"test-project", mine.AccessToken, tea.String("0123"), "InvalidRefreshToken"},
		"access token for it":   {"test-project", mine.AccessToken, mine.AccessToken, "InvalidRefreshToken"},
		"no access token":       {"test-project", nil, mine.RefreshToken, "MissingAccessToken"},
		"no refresh token":      {"test-project", mine.AccessToken, nil, "MissingRefreshToken"},
		"another project":       {"other-project", mine.AccessToken, mine.RefreshToken, "InvalidRefreshToken"},
		"unknown project":       {"nowhere", mine.AccessToken, mine.RefreshToken, "ResourceNotFound"},
	} {
		_, err := client.RefreshWebofficeToken(request(c.project, c.access, c.refresh))
		if code := codeOf(t, err); code != c.code {
			t.Errorf("%s: got %s, want %s", name, code, c.code)
		}
	}
	if _, err := client.RefreshWebofficeToken(refreshRequest(mine.AccessToken,
		mine.RefreshToken)); err != nil {
		t.Errorf("the refusals spent the token: %v", err)
	}
	if len(w.DoubleSpends()) != 0 {
		t.Errorf("DoubleSpends() = %+v", w.DoubleSpends())
	}
}
