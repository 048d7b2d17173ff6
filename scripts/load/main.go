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
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"weboffice-functions/scripts/command"
	"weboffice-functions/scripts/exchange"
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

const (
	day    = 8 * time.Hour
	nap    = 2 * time.Hour
	early  = 5 * time.Minute // before a token's end, as the real SDK refreshes
	atOnce = 64              // requests under way
)

// page lives one day: it opens within the first hour, refreshes ahead of each token's end, is
// reloaded five times (a reload asks refresh whether its tokens are still good) and sleeps once.
// Times are whole minutes, of the day or of the page's own life.
type page struct {
	next    time.Duration // of the day, when it does something
	kind    string        // what it does then
	opened  time.Duration
	sleep   time.Duration    // of its life; 0: it has slept
	reloads [5]time.Duration // of its life
	held    exchange.Body
}

func newPage() *page {
	minutes := func(most time.Duration) time.Duration { return rand.N(most).Truncate(time.Minute) }
	p := &page{kind: "generate", opened: minutes(time.Hour), sleep: time.Minute + minutes(day-nap)}
	p.next = p.opened
	for i := range p.reloads {
		p.reloads[i] = minutes(day)
	}
	return p
}

// plan says what comes after the answer; ok is false when the day is over.
func (p *page) plan(held exchange.Body) (ok bool) {
	age := p.next - p.opened
	life := time.Duration(held.Timeout) * time.Millisecond
	next := age + max(life-early, time.Minute).Truncate(time.Minute)
	p.held, p.kind = held, "refresh"
	if p.sleep > 0 && next > p.sleep {
		next, p.sleep = max(next, p.sleep+nap), 0
	}
	for _, at := range p.reloads {
		if at > age && at < next {
			next, p.kind = at, "reload"
		}
	}
	p.next = p.opened + next
	return next <= day
}

// days lets all pages live a day, minute by minute: the clock waits until all requests of a minute
// are answered, so that nobody is late on a slow machine.
func (s *site) days(ctx context.Context, n int, stdout io.Writer) error {
	agenda, started, m := map[time.Duration][]*page{}, time.Now(), newMeter()
	for range n {
		p := newPage()
		agenda[p.next] = append(agenda[p.next], p)
	}
	for now := time.Duration(0); now <= time.Hour+day && ctx.Err() == nil; now += time.Minute {
		due := agenda[now]
		delete(agenda, now)
		more := make([]bool, len(due))
		each(len(due), func(i int) {
			held, ok := s.ask(ctx, m, due[i].kind, due[i].held, time.Now())
			more[i] = ok && due[i].plan(held)
		})
		for i, p := range due {
			if more[i] {
				agenda[p.next] = append(agenda[p.next], p)
			}
		}
		s.clock.Advance(time.Minute)
	}
	u, err := s.used()
	if err != nil {
		return err
	}
	calls := s.local.IMM.Calls()
	fmt.Fprintf(stdout, "%d pages lived %v in %.1f s\n", n, day, time.Since(started).Seconds())
	m.print(stdout, time.Since(started))
	fmt.Fprintf(stdout, "  billed    %.1f calls a page and day (generate %.1f, refresh %.1f)\n",
		float64(calls.Generate+calls.Refresh)/float64(n), float64(calls.Generate)/float64(n),
		float64(calls.Refresh)/float64(n))
	fmt.Fprintf(stdout, "  heap      %.1f MB in use by the functions, after a collection\n",
		float64(u.Heap)/1e6)
	if len(m.errors) > 0 || len(s.local.IMM.DoubleSpends()) > 0 {
		return errors.New("some requests failed: the day says nothing")
	}
	return nil
}

// each does n things, some at once.
func each(n int, do func(i int)) {
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i := range n {
		all.Go(func() error { do(i); return nil })
	}
	_ = all.Wait()
}
