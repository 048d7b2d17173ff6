package main

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	day    = 8 * time.Hour
	nap    = 2 * time.Hour
	early  = 5 * time.Minute // before a token's end, as the real SDK refreshes
	atOnce = 64              // requests under way
	ahead  = time.Minute     // how far the clock may be from the oldest of them
)

// page lives one day: it opens within the first hour, refreshes ahead of each token's end, is
// reloaded five times (a reload asks refresh whether its tokens are still good) and sleeps once.
type page struct {
	next    time.Time // when it does something
	kind    string    // what it does then
	opened  time.Time
	sleep   time.Duration    // after it opened; 0: it has slept
	reloads [5]time.Duration // after it opened
	held    tokens
}

func newPage(begin time.Time) *page {
	p := &page{kind: "generate", next: begin.Add(rand.N(time.Hour)), sleep: 1 + rand.N(day-nap)}
	p.opened = p.next
	for i := range p.reloads {
		p.reloads[i] = rand.N(day)
	}
	return p
}

// plan says what comes after an answer at now; ok is false when the day is over.
func (p *page) plan(now time.Time, held tokens) (ok bool) {
	p.held, p.kind = held, "refresh"
	age := now.Sub(p.opened)
	next := age + time.Duration(held.Timeout)*time.Millisecond - early
	if p.sleep > 0 && next > p.sleep {
		next, p.sleep = max(next, p.sleep+nap), 0
	}
	for _, at := range p.reloads {
		if at > age && at < next {
			next, p.kind = at, "reload"
		}
	}
	p.next = p.opened.Add(next)
	return next <= day
}

// pages are those that will do something, the next one first.
type pages []*page

func (p pages) Len() int           { return len(p) }
func (p pages) Less(i, j int) bool { return p[i].next.Before(p[j].next) }
func (p pages) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *pages) Push(x any)        { *p = append(*p, x.(*page)) }
func (p *pages) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// days lets all pages live a day. The clock stands at the next thing that a page does; it waits
// while requests queue, so that nobody is late on a slow machine.
func (s *site) days(ctx context.Context, n int, stdout io.Writer) error {
	waiting, begin, m := pages{}, time.Now(), newMeter()
	for range n {
		waiting = append(waiting, newPage(s.clock.now()))
	}
	heap.Init(&waiting)
	var mu sync.Mutex
	changed := sync.NewCond(&mu)
	var underWay []time.Time
	mu.Lock()
	for len(waiting)+len(underWay) > 0 && ctx.Err() == nil {
		if len(waiting) == 0 || len(underWay) == atOnce || len(underWay) > 0 &&
			waiting[0].next.After(slices.MinFunc(underWay, time.Time.Compare).Add(ahead)) {
			changed.Wait()
			continue
		}
		p := heap.Pop(&waiting).(*page)
		s.clock.set(p.next.UnixNano())
		underWay = append(underWay, p.next)
		go func() {
			held, ok := m.measure(p.kind, func() (tokens, string) {
				if p.kind == "generate" {
					return s.generate(ctx)
				}
				return s.refresh(ctx, p.held)
			})
			mu.Lock()
			defer mu.Unlock()
			i := slices.Index(underWay, p.next)
			underWay = slices.Delete(underWay, i, i+1)
			if ok && p.plan(p.next, held) {
				heap.Push(&waiting, p)
			}
			changed.Signal()
		}()
	}
	mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	u, err := s.used(ctx)
	if err != nil {
		return err
	}
	calls := s.local.IMM.Calls()
	fmt.Fprintf(stdout, "%d pages lived %v in %.1f s\n", n, day, time.Since(begin).Seconds())
	m.print(stdout, time.Since(begin))
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
