package local

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// latest keeps the newest fifty of what the page can look back on.
type latest[T any] struct {
	mu    sync.Mutex
	items []T
}

func (l *latest[T]) add(item T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, item)
	l.items = l.items[max(0, len(l.items)-50):]
}

// all never returns nil, which JSON would write as null.
func (l *latest[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]T{}, l.items...)
}

// recent is a log handler that keeps the latest lines about requests for the page, and passes
// everything on.
type recent struct {
	slog.Handler
	now                 func() time.Time
	decisions, requests latest[map[string]any] // requests are those that end before a decision
}

// Enabled implements slog.Handler: the page shows decisions also where the log is about trouble
// only.
func (c *recent) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle implements slog.Handler.
func (c *recent) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "decision" || r.Message == "request" {
		line, why := map[string]any{"time": c.now()}, []map[string]string{}
		r.Attrs(func(a slog.Attr) bool {
			line[a.Key] = a.Value.Any()
			if rule, ok := strings.CutPrefix(a.Key, "rule: "); ok {
				why = append(why, map[string]string{"rule": rule, "why": a.Value.String()})
			}
			return true
		})
		line["RequestId"] = line["requestId"] // as the page knows it
		line["why"] = why                     // in the policy's order
		if r.Message == "request" {
			c.requests.add(line)
		} else {
			line["caller"] = strings.Trim(fmt.Sprint(line["issuer"], " ", line["subject"]), " ")
			c.decisions.add(line)
		}
	}
	if !c.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

// refusedOrigins remembers from which other pages the functions were called, and logs it. A browser
// hides that refusal from its page, so that only this side can say what it was.
type refusedOrigins struct {
	latest[refusedOrigin]
	allowed []string
	now     func() time.Time
	logger  *slog.Logger
}

// refusedOrigin is one call of a page whose origin the policy lacks.
type refusedOrigin struct {
	Time     time.Time `json:"time"`
	Origin   string    `json:"origin"`
	Function string    `json:"function"`
}

func (o *refusedOrigins) watch(function string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(o.allowed, origin) {
			o.logger.Warn("a page of another origin: add it to `origins` in the policy",
				"origin", origin, "function", function)
			o.add(refusedOrigin{o.now(), origin, function})
		}
		h.ServeHTTP(w, r)
	})
}
