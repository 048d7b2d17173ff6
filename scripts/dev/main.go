// Command dev runs everything on this machine, with no account: the IMM stand-in, a test identity
// provider, both functions at /generate and /refresh, and the sample page. Ctrl-C stops all.
//
// Refresh tokens are sealed with a random key, so that a restart ends every session;
// WEBOFFICE_SESSION_KEYS of the shell is taken instead where it is set.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/standin/local"
)

//go:embed policy.yaml
var policy []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil &&
		!errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	o := local.Options{Generate: generate.New, Refresh: refresh.New, Policy: policy,
		SessionKeys: getenv("WEBOFFICE_SESSION_KEYS")}
	flags.StringVar(&o.Addr, "addr", "127.0.0.1:8080", "where the page and the functions listen")
	flags.StringVar(&o.IMMAddr, "imm-addr", "127.0.0.1:8081", "where the IMM stand-in listens")
	flags.Func("documents", "a `folder` whose files are laid into test-bucket",
		func(folder string) error {
			o.Documents = append(o.Documents, local.Folder{Bucket: "test-bucket", Dir: folder})
			return nil
		})
	flags.DurationVar(&o.Lifetime, "lifetime", 30*time.Minute, "how long an access token lives")
	file := flags.String("policy", "",
		"a policy `file`, a changed copy of scripts/dev/policy.yaml, which is the default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *file != "" {
		text, err := os.ReadFile(*file)
		if err != nil {
			return fmt.Errorf("-policy: %w", err)
		}
		o.Policy = text
	}
	if o.Lifetime < 10*time.Second || o.Lifetime > 24*time.Hour {
		return errors.New("-lifetime is 10s to 24h")
	}
	o.Logger = slog.New(slog.NewTextHandler(stdout, nil))
	l, err := local.Start(o)
	if err != nil {
		return err
	}
	credentials := l.IMM.Credentials()
	fmt.Fprintf(stdout, `
  The page           %[1]s/
  The quick start's  %[1]s/quickstart/
  generate, refresh  %[1]s/generate  %[1]s/refresh
  A proof            curl -s '%[1]s/dev/token?persona=editor'   (viewer, editor, link)
  IMM stand-in       %[2]s   %[3]s %[4]s %[5]s

  Ctrl-C stops.

`, l.URL, l.IMMURL, credentials.AccessKeyID, credentials.Secret, credentials.SecurityToken)
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return l.Stop(stopping)
}
