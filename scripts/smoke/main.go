// Command smoke checks that the functions refuse what they must and open what they may. Without
// flags it starts everything on this machine; with -generate and -refresh it checks deployed
// functions, the same cases. Most cases are refusals and none of those costs an IMM call. A line
// for each case; exit 1 when one fails. What it is given is looked at first: a URL that is none, or
// a file without a proof, is one sentence.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/scripts/command"
	"weboffice-functions/scripts/exchange"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/weboffice"
)

func main() { command.Main(run) }

// target is what is checked.
type target struct {
	exchange.Functions
	document string       // open to the bearer of the token, to anyone where there is none
	origin   string       // an allowed one, "" when not known
	local    *local.Local // nil for deployed functions
	results  []result
}

func run(ctx context.Context, args []string, _ func(string) string, stdout io.Writer) error {
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	t := target{Functions: exchange.Functions{Client: exchange.NewClient(30 * time.Second)}}
	flags.StringVar(&t.Generate, "generate", "", "the `URL` of a deployed generate")
	flags.StringVar(&t.Refresh, "refresh", "", "the `URL` of a deployed refresh")
	flags.StringVar(&t.document, "document", "", "an oss://… `URI` that the caller may open")
	flags.StringVar(&t.origin, "origin", "", "an `origin` that the policy allows")
	tokenFile := flags.String("token", "",
		"a `file` with the caller's proof; none: the document is open to anyone")
	asJSON := flags.Bool("json", false, "a JSON object for each case")
	if err := command.ParseAll(flags, args, stdout); err != nil {
		return err
	}
	var err error
	switch {
	case t.Generate+t.Refresh+t.document != "":
		err = t.look(ctx, *tokenFile)
	case *tokenFile+t.origin != "":
		err = errors.New("-token and -origin go with -generate, -refresh and -document")
	default:
		if err = t.startLocal(); t.local != nil {
			defer func() { _ = t.local.Close() }()
		}
	}
	if err != nil {
		return err
	}
	t.run(ctx)
	return report(stdout, *asJSON, t.results)
}

var jwt = regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]*$`)

// look looks at what it was given, and asks each function once what opens nothing.
func (t *target) look(ctx context.Context, tokenFile string) error {
	if t.Generate == "" || t.Refresh == "" || t.document == "" {
		return errors.New("-generate, -refresh and -document go together; without all three " +
			"everything runs on this machine")
	}
	if _, err := weboffice.ParseSourceURI(t.document); err != nil {
		return fmt.Errorf("-document: %s", weboffice.AsError(err).Message)
	}
	if ok, _ := regexp.MatchString(`^(https?://[^/?#]+)?$`, t.origin); !ok {
		return errors.New("-origin is as browsers send it: https://docs.example.com, no path")
	}
	if tokenFile != "" {
		var err error
		if t.Token, err = command.Proof(tokenFile); err != nil {
			return fmt.Errorf("-token: %w", err)
		}
		if !jwt.MatchString(t.Token.Reveal()) {
			return fmt.Errorf("-token: %s holds no JWT: three parts, with dots between them, and "+
				"nothing else", tokenFile)
		}
	}
	for _, e := range exchange.Cases().Addresses {
		address, other := t.Address(e), map[bool]string{true: "generate", false: "refresh"}[e.Refresh]
		if !exchange.Safe(address) || strings.Contains(address, "?") {
			return fmt.Errorf("%s is not the https URL of a function, without a query", e.Name)
		}
		got, err := t.Send(ctx, e)
		switch {
		case err != nil && got.Status == 0:
			return fmt.Errorf("%s cannot be reached: %w", e.Name, err)
		case err != nil || got.Body.RequestId == "":
			return fmt.Errorf("%s answers %d, and not as a function of this project does: look at "+
				"the URL and at the function's log", e.Name, got.Status)
		case e.Expected(got):
			return fmt.Errorf("%s is the URL of %s", e.Name, other)
		}
	}
	return nil
}

// smokePolicy is what the local run is checked against.
//
//go:embed policy.yaml
var smokePolicy []byte

func (t *target) startLocal() (err error) {
	t.local, err = local.Start(local.Options{Generate: generate.New, Refresh: refresh.New,
		Policy: smokePolicy, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	t.origin, t.document = t.local.URL, "oss://test-bucket/test-object.docx"
	t.Generate, t.Refresh = t.local.URL+"/generate", t.local.URL+"/refresh"
	t.Token, err = t.local.Token("editor", "")
	return err
}

// result is what one case gave.
type result struct {
	Case   string
	Got    string // status and code
	Failed string // "" when it is as it must be
}

// run goes through all cases in turn.
func (t *target) run(ctx context.Context) {
	cases := exchange.Cases()
	document, _ := json.Marshal(t.document) // a text always marshals
	bucket, _, _ := strings.Cut(strings.TrimPrefix(t.document, "oss://"), "/")
	t.Names = map[string]string{"document": strings.Trim(string(document), `"`), "bucket": bucket,
		"origin": t.origin, "ours": cmp.Or(t.origin, "https://docs.example.com"),
		"token": t.Token.Reveal(), "now": strconv.FormatInt(time.Now().UnixNano(), 10),
		"megabyte": strings.Repeat("x", 1<<20)}
	t.each(ctx, cases.Refusals)
	t.checkCost("refusals cost no IMM call", 0)
	got, ok := t.each(ctx, cases.Opening)
	if !ok {
		return
	}
	b := got.Body
	ok = t.check("the answer has the vendor's fields, Timeout and Permission",
		fmt.Sprintf("Timeout %d ms", b.Timeout),
		b.RequestId != "" && b.WebofficeURL != "" && b.AccessToken != "" && b.RefreshToken != "" &&
			b.AccessTokenExpiredTime != "" && b.RefreshTokenExpiredTime != "" && b.Timeout > 0 &&
			b.Permission != nil && b.Permission.Readonly)
	if !ok || len(b.RefreshToken) < sealedTail {
		return
	}
	t.Names["access"], t.Names["refresh"] = b.AccessToken, b.RefreshToken
	t.Names["altered"] = altered(b.RefreshToken)
	t.Names["half"] = b.RefreshToken[:len(b.RefreshToken)/2]
	got, _ = t.each(ctx, cases.Session)
	t.check("an early refresh gives the same tokens", "",
		got.Body.AccessToken == b.AccessToken && got.Body.WebofficeURL == b.WebofficeURL)
	t.checkCost("all of this cost one IMM call", 1)
}

// each sends cases, and returns the last answer and whether it is as it must be.
func (t *target) each(ctx context.Context, cases []exchange.Exchange) (last exchange.Answer,
	ok bool) {
	t.Each(ctx, cases, func(e exchange.Exchange, got exchange.Answer, err error) {
		r := result{e.Name, got.String(), e.Wrong(got, err)}
		t.results = append(t.results, r)
		last, ok = got, r.Failed == ""
	})
	return last, ok
}

// sealedTail is how far before a sealed token's end a letter is changed: bits of the last letters
// may stand for nothing.
const sealedTail = 9

// altered is a sealed token with another letter in one place.
func altered(token string) string {
	at, other := len(token)-sealedTail, "A"
	if token[at] == 'A' {
		other = "Q"
	}
	return token[:at] + other + token[at+1:]
}

func (t *target) check(name, got string, ok bool) bool {
	r := result{Case: name, Got: got}
	if !ok {
		r.Failed = "is not so"
	}
	t.results = append(t.results, r)
	return ok
}

// checkCost looks how many generates, and nothing else, have reached IMM. Deployed functions do
// not say.
func (t *target) checkCost(name string, generates int) {
	if t.local != nil {
		calls := t.local.IMM.Calls()
		t.check(name, fmt.Sprintf("%+v", calls), calls.Generate == generates && calls.Refresh == 0)
	}
}

// report writes the results and says in its error how many failed.
func report(stdout io.Writer, asJSON bool, results []result) error {
	failed := 0
	for _, r := range results {
		mark := "ok  "
		if r.Failed != "" {
			mark = "FAIL"
			failed++
		}
		if asJSON {
			_ = json.NewEncoder(stdout).Encode(r) // texts always encode
			continue
		}
		fmt.Fprintf(stdout, "%s %-52s %s\n", mark, r.Case, strings.TrimSpace(r.Got+"  "+r.Failed))
	}
	if !asJSON {
		fmt.Fprintf(stdout, "%d passed, %d failed\n", len(results)-failed, failed)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(results))
	}
	return nil
}
