package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weboffice-functions/scripts/exchange"
)

// TestMain: the test binary is also the functions' process.
func TestMain(m *testing.M) {
	if os.Getenv(servesVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestPagesAreBounded(t *testing.T) {
	for _, pages := range []string{"0", "-1", "100001"} {
		if err := run(t.Context(), []string{"-pages", pages}, os.Getenv, io.Discard); err == nil {
			t.Errorf("-pages %s accepted", pages)
		}
	}
}

// TestDayOfAPage: whatever a page is dealt, it goes forward, sleeps once, and is reloaded at most
// five times.
func TestDayOfAPage(t *testing.T) {
	for range 1000 {
		p := newPage()
		slept, reloaded := 0, 0
		for ok := true; ok; {
			now := p.next
			if ok = p.plan(exchange.Body{Timeout: (30 * time.Minute).Milliseconds()}); !ok {
				break
			}
			if p.next <= now || p.next > p.opened+day || p.next%time.Minute != 0 {
				t.Fatalf("after %v it acts at %v", now, p.next)
			}
			if p.next-now >= nap {
				slept++
			}
			if p.kind == "reload" {
				reloaded++
			}
		}
		if slept > 1 || reloaded > 5 {
			t.Errorf("slept %d times, reloaded %d times", slept, reloaded)
		}
	}
}

// TestPagesCostTheSameEverywhere: the clock waits for requests, so that the bill depends on no
// machine. The functions are a process of their own, whose heap and processor time are its own.
func TestPagesCostTheSameEverywhere(t *testing.T) {
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	before, err := s.used()
	if err != nil {
		t.Fatal(err)
	}
	s.immAt.Store(int64(3 * time.Millisecond)) // requests queue
	var out bytes.Buffer
	if err := s.days(t.Context(), 40, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	pattern := regexp.MustCompile(`billed +([0-9.]+) calls a page and day \(generate 1\.0,`)
	found := pattern.FindStringSubmatch(out.String())
	if found == nil {
		t.Fatal(out.String())
	}
	if billed, _ := strconv.ParseFloat(found[1], 64); billed < 17.5 || billed > 19.5 {
		t.Errorf("%v calls a page and day", billed)
	}
	for _, kind := range []string{"generate", "refresh", "reload", "heap", "errors    0"} {
		if !strings.Contains(out.String(), kind) {
			t.Errorf("%s is not in\n%s", kind, out.String())
		}
	}
	after, err := s.used()
	if err != nil || after.Processor <= before.Processor || after.Heap == 0 || after.Heap > 200e6 {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
}

// TestMachineThatIsTooSlow: where answers take too long, there is a sentence and no number.
func TestMachineThatIsTooSlow(t *testing.T) {
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.functions.Generate = "http://127.0.0.1:1" // nobody answers
	var out bytes.Buffer
	err = s.ramp(t.Context(), 100*time.Millisecond, &out)
	if err == nil || !strings.Contains(err.Error(), "too slow, or too busy, to say") ||
		strings.Contains(out.String(), "p50") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestQuantiles(t *testing.T) {
	times := []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond,
		100 * time.Millisecond}
	if quantile(times, 0.5) != 3 || quantile(times, 1) != 100 || quantile(nil, 0.5) != 0 {
		t.Errorf("%v %v", quantile(times, 0.5), quantile(times, 1))
	}
}
