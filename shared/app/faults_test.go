package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// sdkRefreshes is when the page's SDK asks for a refresh: five minutes before the end.
const sdkRefreshes = 25 * time.Minute

// immFaults are the stand-in's ways to fail, by their names in scripts.
var immFaults = map[string]office.Fault{
	"cut": office.Cut(), "slow": office.Slow(nil), "throttled": office.Throttled(0),
	"500": office.InternalError(), "503": office.Unavailable(), "html": office.HTML(),
	"truncated": office.Truncated(), "wrong-types": office.WrongTypes(),
	"no-permission": office.NoPermission(), "token-expired": office.SecurityTokenExpired(),
	"signature": office.SignatureDoesNotMatch(), "user-name": office.UserNameRefused(),
}

// fault lets something fail from now on, and returns what mends it, nil for a fault that nobody
// knows. The words are those of the script command of this name.
func (w *world) fault(words ...string) (mend func()) {
	action := map[string]string{"generate": office.Generate, "refresh": office.Refresh}[words[0]]
	if action != "" {
		words = words[1:]
	}
	what, arguments := words[0], words[1:]
	after := len(arguments) > 0 && arguments[len(arguments)-1] == "after"
	f, known := immFaults[what]
	switch {
	case what == "throttled" && len(arguments) == 1:
		f = office.Throttled(duration(arguments[0]))
	case what == "refused" && len(arguments) == 3:
		status, _ := strconv.Atoi(arguments[0])
		f, known = office.Refused(status, arguments[1], arguments[2]), true
	}
	if !known {
		return w.faultBetween(what, arguments)
	}
	if after {
		f = f.AfterWork()
	}
	w.IMM.Fail(action, 1, f)
	return func() {}
}

// duration is a text as a duration, 0 for nonsense.
func duration(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}

// faultBetween is a fault of what lies between the functions and IMM, or of the identity provider.
func (w *world) faultBetween(what string, arguments []string) (mend func()) {
	argument := strings.Join(arguments, " ")
	nothing := func() {}
	switch what {
	case "gateway": // answers in IMM's place, in its own words
		status, _ := strconv.Atoi(arguments[0])
		w.network.answerNext(func(w http.ResponseWriter, _ *http.Request) {
			for _, pair := range arguments[1:] {
				name, value, _ := strings.Cut(pair, "=")
				w.Header().Set(name, value)
			}
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<h1>gateway</h1>")
		})
		return nothing
	case "unreachable":
		w.network.down()
		return w.network.up
	case "panic": // in a handler, when its decision has been logged
		w.burst.Store(true)
		return nothing
	case "frozen": // for an hour, in which IMM closes connections or forgets them
		w.network.cut(argument == "half-open")
		w.advance(time.Hour)
		return nothing
	case "credentials": // IMM takes others for a while
		good := w.IMM.Credentials()
		w.IMM.SetCredentials(office.Credentials{AccessKeyID: "STS.next",
			Secret: "next-secret-3Hw8", SecurityToken: "next-token-6Lm1"})
		return func() { w.IMM.SetCredentials(good) }
	case "clock": // IMM's, of signatures
		w.signed.Store(int64(duration(argument)))
		return func() { w.signed.Store(0) }
	case "provider":
		if argument == "rotate" {
			w.People.Rotate()
			return func() { w.clock.Advance(time.Minute) }
		}
		w.People.SetFault(issuer.Fault(argument))
		return func() { w.People.SetFault(issuer.None) }
	}
	return nil
}

// page does what a page does that follows the rule: it asks refresh while it holds tokens and
// generate before, fetches a new proof after a 401 and tries once more, stops at 403 and 410,
// generates once when its sealed token cannot be opened, and comes again after every 429 and 5xx
// when Retry-After is over, or a second.
type page struct {
	*instance
	proof func() weboffice.Secret
	body  string // of its generate
	last  reply  // that brought tokens
}

// page is ann's, for a document with a password, so that the password travels through every fault.
func (s *instance) page() *page {
	return &page{instance: s, proof: func() weboffice.Secret { return s.proof("ann") },
		body: object("SourceURI", locked, "Password", documentPassword)}
}

// ask is the request that is due: who was asked and what came.
func (p *page) ask(options ...option) (asked string, got reply) {
	p.t.Helper()
	asked = "refresh"
	if p.last.RefreshToken == "" {
		asked, got = "generate", p.generate(p.proof(), p.body, options...)
	} else {
		got = p.refresh(p.proof(), p.last, options...)
	}
	if got.status == 200 {
		p.last = got
	}
	return asked, got
}

// carryOn follows the rule from an answer on, until the page holds tokens again or must stop. It
// returns who gave the tokens, "" where the answer did, or the status at which it stopped.
func (p *page) carryOn(got reply) (by string) {
	p.t.Helper()
	refused := 0
	for range 10 {
		switch {
		case got.status == 200:
			return by
		case got.status == 401 && refused == 0:
			refused++
		case got.Code == "InvalidArgument.RefreshToken":
			p.last.RefreshToken = ""
		case got.status == 429, got.status >= 500:
			p.advance(max(duration(got.header.Get("Retry-After")+"s"), time.Second))
		default:
			return fmt.Sprintf("stops at %d", got.status)
		}
		by, got = p.ask()
	}
	p.t.Fatalf("after ten more requests still %v", got)
	return ""
}

// frame asks the stand-in's editor frame, which is what decides whether a person sees the document.
func (p *page) frame(action string) (state string) {
	p.t.Helper()
	text := object("Action", action, "Frame", "the one", "Token", p.last.AccessToken,
		"File", path.Base(strings.Split(p.last.WebofficeURL, "?")[0]))
	response, err := http.Post(p.IMMURL+"/office/session", "application/json",
		strings.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		State     string
		ExpiresIn int64
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		p.t.Fatal(err)
	}
	if answer.State == "open" && answer.ExpiresIn <= 0 {
		p.t.Errorf("open for %d ms", answer.ExpiresIn)
	}
	return answer.State
}

// wantOpen wants that the person sees the document, in the frame that is there or a new one, and
// that the tokens are new, or given again within the minute in which that is done.
func (p *page) wantOpen() {
	p.t.Helper()
	if state := p.frame("renew"); state != "open" {
		if state = p.frame("open"); state != "open" {
			p.t.Errorf("the document is %q", state)
		}
	}
	if p.last.Timeout > 30*60*1000 || p.last.Timeout < 29*60*1000 || p.last.RefreshToken == "" ||
		p.last.WebofficeURL == "" {
		p.t.Errorf("the page cannot go on with %s", p.last.body)
	}
}

// meet lets faults meet a page's request for a function, mends them, and lets the page carry on. It
// returns a row of the table of failures:
//   - the answer to the request that meets the fault,
//   - what IMM was asked for it, and with what end: done, or a Code; nothing where it never got
//     there,
//   - the one line of the log, in a few words,
//   - by which further request the page comes to its tokens; nothing where it has them already,
//   - what IMM charges until then: generates + refreshes, with the one that opened the document.
//
// An error is what holds for every fault: a person who may see the document comes to see it, and
// one who sees it goes on to; no refresh token is sent twice; each request is one line of the log.
func (s *instance) meet(function string, faults [][]string, options ...option) ([]string, error) {
	p := s.page()
	if function == "refresh" {
		if asked, got := p.ask(); asked != "generate" || got.status != 200 ||
			p.frame("open") != "open" {
			return nil, fmt.Errorf("before the fault: %v", got)
		}
		s.advance(sdkRefreshes)
	}
	var mends []func()
	for _, words := range faults {
		mend := s.fault(words...)
		if mend == nil {
			return nil, fmt.Errorf("no fault is called %s", words)
		}
		mends = append(mends, mend)
	}
	requests, lines, held := len(s.IMM.Requests()), len(s.requestLines()), p.last
	asked, got := p.ask(options...)
	s.network.settle()
	logged := s.requestLines()[lines:]
	if len(logged) != 1 || logged[0]["function"] != asked || logged[0]["requestId"] == "" {
		return nil, fmt.Errorf("%d log lines: %v", len(logged), logged)
	}
	met := []string{got.String(), wire(s.IMM.Requests()[requests:]), audited(logged[0])}
	if got.status != 200 && held.AccessToken != "" &&
		s.immClock.Now().Before(held.AccessTokenExpiredTime) && p.frame("check") != "open" {
		return met, errors.New("what was open is not while the fault lasts")
	}
	for _, mend := range mends {
		mend()
	}
	by := p.carryOn(got)
	s.network.settle()
	calls := s.IMM.Calls()
	met = append(met, by, fmt.Sprintf("%d+%d", calls.Generate, calls.Refresh))
	p.wantOpen()
	return met, p.livesOn()
}

// livesOn wants that the next refresh is an ordinary one.
func (p *page) livesOn() error {
	p.advance(sdkRefreshes)
	calls := p.IMM.Calls()
	asked, got := p.ask()
	after := p.IMM.Calls()
	calls.Refresh++
	if asked != "refresh" || got.status != 200 || after != calls {
		return fmt.Errorf("the refresh after it: %v, %+v, want %+v", got, after, calls)
	}
	p.wantOpen()
	return nil
}

// requestLines are the lines that an instance writes for its requests: one each.
func (s *instance) requestLines() []map[string]any { return s.logs.lines("decision", "request") }

// wire is what IMM got, refreshes first: a refresh that is given up may end after the generate in
// its place.
func wire(requests []office.Request) string {
	var words []string
	for _, r := range requests {
		end := r.Code
		if end == "" {
			end = "done"
		}
		words = append(words, map[string]string{office.Generate: "G ",
			office.Refresh: "R "}[r.Action]+end)
	}
	slices.SortStableFunc(words, func(a, b string) int { return strings.Compare(b[:1], a[:1]) })
	return strings.Join(words, ", ")
}

// audited is a line of the log in a few words. A deadline that ends a refresh ends it at two places
// at once, of which only one knows of the generate in its place, so that "fallback" is left out
// there.
func audited(line map[string]any) string {
	words := []string{fmt.Sprint(line["outcome"])}
	if n, ok := line["billed"].(float64); ok && n > 0 {
		words = append(words, fmt.Sprint(n, " billed"))
	}
	if line["maybeBilled"] == true {
		words = append(words, "maybe 1 more")
	}
	if line["fallback"] == true && line["outcome"] != "fallback" &&
		line["outcome"] != "ServiceTimeout" {
		words = append(words, "fallback")
	}
	if line["fix"] != nil {
		words = append(words, "fix")
	}
	return strings.Join(words, ", ")
}
