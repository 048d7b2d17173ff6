package office_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
)

func TestSameDocumentHasOneURL(t *testing.T) {
	w := start(t, func(o *office.Options) {
		o.AccessTokenLife, o.PublicURL = time.Minute, "https://office.example.com/"
	})
	first := w.generate(t, "").url
	if !strings.HasPrefix(first, "https://office.example.com/office/w/") ||
		!strings.HasSuffix(first, "?_w_tokentype=1&_w_life=60000") {
		t.Errorf("WebofficeURL %s lacks the public URL, or the short life for the JS-SDK", first)
	}
	if again := w.generate(t, "").url; again != first {
		t.Errorf("the same document got %s and %s", first, again)
	}
	if other := w.generate(t, "Filename=plan.docx").url; other == first {
		t.Error("another Filename got the same URL")
	}
	w.SetSwitches(office.Switches{NewURLEachTime: true})
	if other := w.generate(t, "").url; other == first {
		t.Error("NewURLEachTime gave the same URL")
	}
}

func TestTokensLiveByTheStandInsClock(t *testing.T) {
	const day = 24 * time.Hour
	for pass, want := range map[time.Duration]string{31 * time.Minute: "", day - 1: "",
		day: "InvalidRefreshToken"} {
		w := start(t)
		first := w.generate(t, "")
		w.pass(pass)
		_, body := w.send(t, w.refreshRequest(t, first, ""))
		if body["Code"] != want || len(w.DoubleSpends()) != 0 {
			t.Errorf("after %v: %v, want %q; double spends %v", pass, body, want, w.DoubleSpends())
		}
	}
}

func TestForgetsTokensThatEndedLongAgo(t *testing.T) {
	w := start(t)
	old := w.generate(t, "")
	w.pass(49 * time.Hour)
	fresh := w.generate(t, "")
	w.frames(t, old, "open frame: unknown")
	w.frames(t, fresh, "open frame: open")
}

// TestRefreshTokenSpentByManyAtOnce: one of them wins, and all others are seen.
func TestRefreshTokenSpentByManyAtOnce(t *testing.T) {
	const many = 20
	w := start(t)
	first := w.generate(t, "")
	var group sync.WaitGroup
	won := make(chan bool, many)
	for range many {
		request := w.refreshRequest(t, first, "")
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
		spends[0].Parameters["RefreshToken"] != first.refresh ||
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
	mine, theirs := w.generate(t, ""), w.generate(t, "")
	for changes, code := range map[string]string{
		"AccessToken=" + theirs.access: "InvalidAccessToken",
		"RefreshToken=0123":            "InvalidRefreshToken",
		"RefreshToken=" + mine.access:  "InvalidRefreshToken",
		"AccessToken=-":                "MissingAccessToken",
		"RefreshToken=-":               "MissingRefreshToken",
		"ProjectName=other-project":    "InvalidRefreshToken",
		"ProjectName=nowhere":          "ResourceNotFound",
	} {
		if _, body := w.send(t, w.refreshRequest(t, mine, changes)); body["Code"] != code {
			t.Errorf("%s: got %v, want %s", changes, body, code)
		}
	}
	w.refresh(t, mine) // the refusals have not spent the token
	if len(w.DoubleSpends()) != 0 {
		t.Errorf("DoubleSpends() = %+v", w.DoubleSpends())
	}
}
