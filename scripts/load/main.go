// Command load measures the functions as they are built, in a process of their own: virtual pages
// that live a day, processor time for each call, and a ramp of requests a second. It needs no
// account and stays on this machine. Where the machine is too slow, or too busy, to say, it says
// that and stops.
//
// A day is compressed: everybody's clock, the functions' and the IMM stand-in's too, is that of the
// next thing a page does, and waits while requests queue. What a page costs is then the same on any
// machine.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"time"

	"weboffice-functions/scripts/command"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	if getenv(servesVariable) != "" {
		return serve(ctx, getenv, stdout)
	}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	pages := flags.Int("pages", 100, "`N` virtual pages")
	if err := command.ParseAll(flags, args, stdout); err != nil {
		return err
	}
	if *pages < 1 || *pages > 100_000 {
		return errors.New("-pages is 1 to 100000")
	}
	s, err := start(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.days(ctx, *pages, stdout); err != nil {
		return err
	}
	if err := s.costs(ctx, stdout); err != nil {
		return err
	}
	return s.ramp(ctx, 4*time.Second, stdout)
}
