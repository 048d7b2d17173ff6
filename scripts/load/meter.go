package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"weboffice-functions/scripts/exchange"
)

// meter collects latencies and errors by kind of request.
type meter struct {
	mu     sync.Mutex
	times  map[string][]time.Duration
	errors map[string]int
}

func newMeter() *meter {
	return &meter{times: map[string][]time.Duration{}, errors: map[string]int{}}
}

func (m *meter) add(kind string, took time.Duration, code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times[kind] = append(m.times[kind], took)
	if code != "" {
		m.errors[kind+" "+code]++
	}
}

func (m *meter) print(w io.Writer, took time.Duration) {
	for _, kind := range slices.Sorted(maps.Keys(m.times)) {
		times := m.times[kind]
		slices.Sort(times)
		fmt.Fprintf(w, "  %-9s %7d  %6.0f/s  ms: p50 %6.2f  p90 %6.2f  p99 %6.2f  max %6.2f\n",
			kind, len(times), float64(len(times))/took.Seconds(), quantile(times, 0.5),
			quantile(times, 0.9), quantile(times, 0.99), quantile(times, 1))
	}
	fmt.Fprintf(w, "  errors    %d\n", len(m.errors))
	for _, what := range slices.Sorted(maps.Keys(m.errors)) {
		fmt.Fprintf(w, "    %d %s\n", m.errors[what], what)
	}
}

// quantile of sorted times, in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	return float64(times[min(int(q*float64(len(times))), len(times)-1)].Microseconds()) / 1000
}

const sample = 4000 // calls for the processor time of one kind

// costs measures the processor time of a generate and of a refresh that is sent on to IMM, 64 at a
// time, IMM answering at once.
func (s *site) costs(ctx context.Context, stdout io.Writer) error {
	held := make([]exchange.Body, sample)
	for _, kind := range []string{"generate", "refresh"} {
		before, err := s.used()
		if err != nil {
			return err
		}
		m, begin := newMeter(), time.Now()
		each(sample, func(i int) {
			held[i], _ = s.ask(ctx, m, kind, held[i], time.Now())
		})
		took := time.Since(begin)
		after, err := s.used()
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "processor time of a %s: %.3f ms\n", kind,
			(after.Processor-before.Processor).Seconds()*1000/sample)
		m.print(stdout, took)
		s.clock.Advance(25 * time.Minute) // it is time to refresh
	}
	return ctx.Err()
}

// immTakes is IMM's time in the ramp: a page waits for that in any case.
const immTakes = 50 * time.Millisecond

// ramp asks at rising rates whether answers come or not; latency counts from when a request was
// due, less IMM's time. It ends where the machine no longer keeps up.
func (s *site) ramp(ctx context.Context, length time.Duration, stdout io.Writer) error {
	s.immAt.Store(int64(immTakes))
	fmt.Fprintf(stdout, "generates at a fixed rate, IMM at %v: what the functions add\n", immTakes)
	for i, rate := range []int{50, 100, 250, 500, 1000, 2000} {
		m, late := s.openLoop(ctx, rate, length)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		times := m.times["generate"]
		slices.Sort(times)
		p50, p99 := quantile(times, 0.5), quantile(times, 0.99)
		switch tooMuch := late > 20 || p50 > 100 || len(m.errors) > 0; {
		case tooMuch && i == 0:
			return fmt.Errorf("this machine is too slow, or too busy, to say: at %d requests a "+
				"second they left %.0f ms late, and an answer took %.0f ms", rate, late, p50)
		case tooMuch:
			fmt.Fprintf(stdout, "  %5d/s  more than this machine can say\n", rate)
			return nil
		}
		fmt.Fprintf(stdout, "  %5d/s  p50 %6.2f ms  p99 %6.2f ms\n", rate, p50, p99)
	}
	return nil
}

// openLoop returns how late requests left, 99 of 100, in milliseconds.
func (s *site) openLoop(ctx context.Context, rate int, length time.Duration) (*meter, float64) {
	m, lates := newMeter(), []time.Duration{}
	var all sync.WaitGroup
	begin := time.Now()
	for i := 0; time.Since(begin) < length && ctx.Err() == nil; i++ {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		lates = append(lates, time.Since(due))
		all.Go(func() { s.ask(ctx, m, "generate", exchange.Body{}, due.Add(immTakes)) })
	}
	all.Wait()
	slices.Sort(lates)
	return m, quantile(lates, 0.99)
}
