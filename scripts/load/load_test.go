package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPagesAreBounded(t *testing.T) {
	for _, pages := range []string{"0", "-1", "100001"} {
		if err := run(t.Context(), []string{"-pages", pages}, &bytes.Buffer{}); err == nil {
			t.Errorf("-pages %s accepted", pages)
		}
	}
}

// A page that looked past an earlier moment would never come to it.
func TestMomentsOfADayAreInOrder(t *testing.T) {
	times := moments(100, 8*time.Hour)
	if !slices.IsSorted(times) || times[0] < 0 || times[99] >= 8*time.Hour {
		t.Errorf("got %v", times)
	}
}

func TestPlotIsDrawnFromAllPoints(t *testing.T) {
	drawn := string(plot([]point{{rate: 100, p50: 1, p99: 2}, {rate: 500, p50: 1.5, p99: 4}}))
	for _, part := range []string{"<svg", "</svg>", ">100<", ">500<", "p50", "p99"} {
		if !strings.Contains(drawn, part) {
			t.Errorf("%s is missing", part)
		}
	}
	if strings.Contains(drawn, "NaN") || strings.Contains(string(plot(nil)), "NaN") {
		t.Error("a number is none")
	}
}

func TestQuantiles(t *testing.T) {
	times := []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond,
		100 * time.Millisecond}
	if quantile(times, 0.5) != 3 || quantile(times, 1) != 100 || quantile(nil, 0.5) != 0 {
		t.Errorf("%v %v", quantile(times, 0.5), quantile(times, 1))
	}
}
