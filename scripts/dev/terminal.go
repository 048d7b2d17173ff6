package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// terminal is a log handler for a person: a line for each request, and what went wrong below it.
// Nobody here adds attributes in advance, or groups.
type terminal struct {
	slog.Handler // says which levels count
	out          io.Writer
	now          func() time.Time
	mu           sync.Mutex
}

func newTerminal(out io.Writer, now func() time.Time) *terminal {
	return &terminal{Handler: slog.NewTextHandler(io.Discard, nil), out: out, now: now}
}

// Handle implements slog.Handler.
func (t *terminal) Handle(_ context.Context, r slog.Record) error {
	of, rest := map[string]string{}, []string{}
	var rules []string
	r.Attrs(func(a slog.Attr) bool {
		of[a.Key] = a.Value.String()
		if name, isRule := strings.CutPrefix(a.Key, "rule: "); isRule {
			rules = append(rules, fmt.Sprintf("%s: %s", name, of[a.Key]))
		} else {
			rest = append(rest, a.Key+"="+of[a.Key])
		}
		return true
	})
	var line strings.Builder
	fmt.Fprintf(&line, "%s  ", t.now().Format(time.TimeOnly))
	switch r.Message {
	case "decision", "request":
		request(&line, of, rules)
	case "imm stand-in": // the decision says what came of it
		return nil
	default:
		fmt.Fprintf(&line, "%s  %s\n", r.Message, strings.Join(rest, "  "))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := io.WriteString(t.out, line.String())
	return err
}

// request says who asked for what, by which rule they got it, or why they did not.
func request(line *strings.Builder, of map[string]string, rules []string) {
	who := strings.TrimSpace(of["subject"] + "@" + of["issuer"])
	if of["issuer"] == "" {
		who = "a guest"
	}
	fmt.Fprintf(line, "%-8s  %-12s  %s  %s", of["function"], of["outcome"], who, of["document"])
	if of["message"] == "" {
		fmt.Fprintf(line, "  by %q: %s  (%s billed)\n", of["rule"], of["granted"], of["billed"])
		return
	}
	fmt.Fprintf(line, "  RequestId %s\n", of["requestId"])
	for _, name := range []string{"message", "cause", "fix"} {
		if of[name] != "" {
			fmt.Fprintf(line, "          %s\n", of[name])
		}
	}
	for _, rule := range rules {
		fmt.Fprintf(line, "          rule %s\n", rule)
	}
}
