// Command smoke checks that the functions refuse what they must and open what they may. Without
// flags it starts everything on this machine; with -generate and -refresh it checks deployed
// functions, the same cases. Most cases are refusals and none of those costs an IMM call. A line
// for each case; exit 1 when one fails.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/weboffice"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// target is what is checked.
type target struct {
	generate, refresh string
	document          string
	token             weboffice.Secret // of somebody who may open the document; "" when anyone may
	origin            string           // an allowed one, "" when not known
	local             *local.Local     // nil for deployed functions
	client            *http.Client
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("smoke", flag.ContinueOnError)
	t := target{client: &http.Client{Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}}
	flags.StringVar(&t.generate, "generate", "", "the `URL` of a deployed generate")
	flags.StringVar(&t.refresh, "refresh", "", "the `URL` of a deployed refresh")
	flags.StringVar(&t.document, "document", "", "an oss://… `URI` that the caller may open")
	flags.StringVar(&t.origin, "origin", "", "an `origin` that the policy allows")
	tokenFile := flags.String("token", "",
		"a `file` with the caller's proof; none: the document is open to anyone")
	asJSON := flags.Bool("json", false, "a JSON object for each case")
	if err := flags.Parse(args); err != nil {
		return err
	}
	given := 0
	for _, value := range []string{t.generate, t.refresh, t.document} {
		if value != "" {
			given++
		}
	}
	switch {
	case given == 0:
		stop, err := t.startLocal()
		if err != nil {
			return err
		}
		defer stop()
	case given < 3:
		return errors.New(
			"-generate, -refresh and -document go together; without all three everything runs on this machine")
	}
	if *tokenFile != "" {
		text, err := os.ReadFile(*tokenFile)
		if err != nil {
			return fmt.Errorf("-token: %w", err)
		}
		t.token = weboffice.Secret(strings.TrimPrefix(strings.TrimSpace(string(text)), "Bearer "))
	}
	return report(stdout, *asJSON, t.run(ctx))
}

// smokePolicy is what the local run is checked against: one document for editors, nothing for
// anyone.
const smokePolicy = `
standIn: true
project: test-project
origins: [http://127.0.0.1:8080]
issuers: {people: {url: "http://127.0.0.1:8080/people", audience: weboffice}}
rules:
  - name: editors
    documents: oss://test-bucket/test-object.*
    callers: {issuer: people, claims: {groups: editors}}
    grant: [view, edit, copy]
`

func (t *target) startLocal() (stop func(), err error) {
	l, err := local.Start(local.Options{Generate: generate.New, Refresh: refresh.New,
		Policy: []byte(smokePolicy), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	t.local, t.generate, t.refresh, t.origin, t.document = l, l.URL+"/generate", l.URL+"/refresh",
		l.URL, "oss://test-bucket/test-object.docx"
	if t.token, err = l.Token("editor", ""); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return func() { _ = l.Close() }, nil
}

// report writes the results and says in its error how many failed.
func report(stdout io.Writer, asJSON bool, results []result) error {
	failed := 0
	for _, r := range results {
		if r.Failed != "" {
			failed++
		}
		if asJSON {
			if err := json.NewEncoder(stdout).Encode(r); err != nil {
				return err
			}
			continue
		}
		mark := "ok  "
		if r.Failed != "" {
			mark = "FAIL"
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
