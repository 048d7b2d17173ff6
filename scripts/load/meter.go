package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// meter collects latencies and errors by kind of request.
type meter struct {
	mu     sync.Mutex
	times  map[string][]time.Duration
	errors map[string]int
}

func newMeter() *meter {
	return &meter{times: map[string][]time.Duration{},
		errors: map[string]int{}}
}

func (m *meter) add(kind string, took time.Duration, code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.times[kind] = append(m.times[kind], took)
	if code != "" {
		m.errors[kind+" "+code]++
	}
}

// measure times one request; ok says whether it was answered with tokens.
func (m *meter) measure(kind string, request func() (tokens, string)) (got tokens, ok bool) {
	begin := time.Now()
	got, code := request()
	m.add(kind, time.Since(begin), code)
	return got, code == ""
}

func (m *meter) count() (n int) {
	for _, times := range m.times {
		n += len(times)
	}
	return n
}

func (m *meter) print(w io.Writer, took time.Duration) {
	for _, kind := range slices.Sorted(maps.Keys(m.times)) {
		times := m.times[kind]
		slices.Sort(times)
		fmt.Fprintf(w,
			"  %-9s %8d  %7.0f/s  p50 %7.2f ms  p90 %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", kind,
			len(times), float64(len(times))/took.Seconds(),
			quantile(times, 0.5), quantile(times, 0.9), quantile(times, 0.99), quantile(times, 1))
	}
	if len(m.errors) == 0 {
		fmt.Fprintln(w, "  errors    0")
	}
	for _, what := range slices.Sorted(maps.Keys(m.errors)) {
		fmt.Fprintf(w, "  errors    %d %s\n", m.errors[what], what)
	}
}

// quantile of sorted times, in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	return float64(times[min(int(q*float64(len(times))), len(times)-1)].Microseconds()) / 1000
}

// point is one step of the ramp.
type point struct {
	rate     int
	p50, p99 float64 // ms
	errors   int
}

func (m *meter) point(rate int) point {
	p := point{rate: rate}
	times := m.times["generate"]
	slices.Sort(times)
	p.p50, p.p99 = quantile(times, 0.5), quantile(times, 0.99)
	for _, n := range m.errors {
		p.errors += n
	}
	return p
}

// plot draws added latency over requests per second as an SVG.
func plot(points []point) []byte {
	const width, height, left, bottom = 640.0, 360.0, 56.0, 48.0
	most, fastest := 1.0, 1
	for _, p := range points {
		most, fastest = max(most, p.p99), max(fastest, p.rate)
	}
	most = math.Ceil(most*1.1*10) / 10
	x := func(rate int) float64 { return left + (width-left-24)*float64(rate)/float64(fastest) }
	y := func(ms float64) float64 { return height - bottom - (height-bottom-24)*ms/most }
	var b strings.Builder
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b,
		`<rect width="100%%" height="100%%" fill="white"/><text x="%g" y="18">latency that the functions add, ms</text><text x="%g" y="%g" text-anchor="end">generates per second</text>`+"\n", left, width-24, height-10)
	for i := range 5 {
		ms := most * float64(i) / 4
		fmt.Fprintf(&b,
			`<path d="M%g %g H%g" stroke="#ddd"/><text x="%g" y="%g" text-anchor="end">%.1f</text>`+
				"\n", left, y(ms), width-24, left-6, y(ms)+4, ms)
	}
	for _, line := range []struct {
		name, colour string
		value        func(point) float64
	}{{"p50", "#2563eb", func(p point) float64 { return p.p50 }},
		{"p99", "#b45309", func(p point) float64 { return p.p99 }}} {
		var path []string
		for _, p := range points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", x(p.rate), y(line.value(p))))
			fmt.Fprintf(&b,
				`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/><text x="%.1f" y="%g" text-anchor="middle">%d</text>`+"\n",
				x(p.rate), y(line.value(p)), line.colour, x(p.rate), height-bottom+18, p.rate)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n",
			strings.Join(path, " "), line.colour)
		if len(points) > 0 {
			last := points[len(points)-1]
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="end" fill="%s">%s</text>`+"\n",
				x(last.rate)-6, y(line.value(last))-8, line.colour, line.name)
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
