// Command load measures the functions as they are built: virtual pages that live compressed days, a
// closed loop, and a ramp of requests a second. It needs no account and stays on this machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	pages := flags.Int("pages", 100, "`N` virtual pages")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return load(ctx, *pages, stdout)
}
