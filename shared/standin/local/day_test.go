package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/standin/office"
)

// outcome is what testdata/day.mjs prints.
type outcome struct {
	Works                                     bool
	Minutes, Lost, Hours, Refreshes, Failures int
	Why                                       string
}

// faults are the stand-in's ways to fail, by their names in testdata/day.mjs.
var faults = map[string]office.Fault{
	"throttled": office.Throttled(3 * time.Second), "unavailable": office.Unavailable(),
	"error after": office.InternalError().AfterWork(),
	"cut":         office.Cut(), "cut after": office.Cut().AfterWork(), "html": office.HTML(),
	"truncated": office.Truncated(),
}

// plays runs testdata/day.mjs in node against functions and a stand-in of its own, whose clock it
// sets.
func plays(t *testing.T, play string) (outcome, *local.Local) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no days are played")
	}
	node := installed(t, "node 20 or newer", "node")
	var present atomic.Int64 // ms
	present.Store(time.Now().UnixMilli())
	l := start(t, local.Options{
		Policy: policyFor(t, "https://docs.example.com"),
		Now:    func() time.Time { return time.UnixMilli(present.Load()) },
		Logger: slog.New(slog.DiscardHandler), // it fails all day
	})
	mux := http.NewServeMux()
	mux.Handle("/generate", generate.New(l.App))
	mux.Handle("/refresh", refresh.New(l.App))
	mux.Handle("/office/session", l.IMM)
	mux.HandleFunc("GET /dev.json", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, l.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, l.People.Token(map[string]any{"sub": r.URL.Query().Get("sub"),
			"name": "Erin", "groups": []string{"editors"}}).Reveal())
	})
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if now, err := strconv.ParseInt(r.Header.Get("X-Now"), 10, 64); err == nil {
			present.Store(now)
		}
		l.IMM.ClearFaults()
		if fault, ok := faults[r.Header.Get("X-Fault")]; ok {
			l.IMM.Fail(office.Refresh, 1, fault)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(hook.Close)
	// also tells go test that its result depends on this file
	if _, err := os.Stat("testdata/day.mjs"); err != nil {
		t.Fatal(err)
	}
	setting, err := json.Marshal(map[string]any{
		"url": hook.URL, "sdk": l.IMMURL + office.SDKPath, "play": play,
		"documents": []string{document, "oss://test-bucket/test-object.pptx",
			"oss://test-bucket/ten-pages.docx"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, node, "testdata/day.mjs", string(setting))
	var trouble strings.Builder
	command.Stderr = &trouble
	printed, err := command.Output()
	var o outcome
	if err == nil {
		err = json.Unmarshal(printed, &o)
	}
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, printed, trouble.String())
	}
	return o, l
}

// TestDay: eight hours with five reloads, for which the module bills far less than the quick start.
func TestDay(t *testing.T) {
	t.Parallel()
	for play, c := range map[string]struct{ generates, least, most int }{
		"module": {1, 1, 20}, "quickstart": {6, 29, 100},
	} {
		t.Run(play, func(t *testing.T) {
			t.Parallel()
			o, l := plays(t, play)
			calls := l.IMM.Calls()
			t.Logf("%d billed calls", calls.Billed())
			if !o.Works || calls.Generate != c.generates || calls.Billed() < c.least ||
				calls.Billed() > c.most {
				t.Errorf("%+v, %+v", o, calls)
			}
			if n := l.IMM.Openings(document); play == "module" && n != 6 {
				t.Errorf("%d frames opened the document, want one for each load", n)
			}
		})
	}
}

func TestTwoHundredHours(t *testing.T) {
	t.Parallel()
	o, l := plays(t, "hours")
	t.Logf("%d hours, %d refreshes, %d of them failing", o.Hours, o.Refreshes, o.Failures)
	if o.Lost != 0 || o.Hours < 200 || o.Failures < 100 || o.Refreshes < 400 {
		t.Errorf("%+v", o)
	}
	if spends := l.IMM.DoubleSpends(); len(spends) > 0 {
		t.Errorf("%d refresh tokens were used twice", len(spends))
	}
}
