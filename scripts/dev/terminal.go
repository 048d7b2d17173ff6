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
	of, rules, rest := map[string]string{}, "", []string{}
	r.Attrs(func(a slog.Attr) bool {
		of[a.Key] = a.Value.String()
		if strings.HasPrefix(a.Key, "rule: ") {
			rules += fmt.Sprintf("          rule %s: %s\n", a.Key[len("rule: "):], of[a.Key])
		} else {
			rest = append(rest, a.Key+"="+of[a.Key])
		}
		return true
	})
	var text strings.Builder
	switch r.Message {
	case "decision", "request":
		_ = texts.ExecuteTemplate(&text, "request.tmpl", of) // neither map nor builder fails
		text.WriteString(rules)
	case "imm stand-in": // the decision says what came of it
		return nil
	default:
		fmt.Fprintf(&text, "%s  %s\n", r.Message, strings.Join(rest, "  "))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := fmt.Fprintf(t.out, "%s  %s", t.now().Format(time.TimeOnly), text.String())
	return err
}
