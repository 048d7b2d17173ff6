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

// kept is how many requests and refused origins the page can look back on.
const kept = 50

// recent is a log handler that keeps the latest lines about requests for the page, and passes
// everything on.
type recent struct {
	slog.Handler
	now   func() time.Time
	mu    sync.Mutex
	lines map[string][]map[string]any // by message: "decision", and "request" for what ends before
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
		if r.Message == "decision" {
			line["caller"] = strings.Trim(fmt.Sprint(line["issuer"], " ", line["subject"]), " ")
		}
		c.mu.Lock()
		c.lines[r.Message] = append(c.lines[r.Message], line)
		c.lines[r.Message] = c.lines[r.Message][max(0, len(c.lines[r.Message])-kept):]
		c.mu.Unlock()
	}
	if !c.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

func (c *recent) latest(message string) []map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]map[string]any{}, c.lines[message]...)
}

// refusedOrigins remembers from which other pages the functions were called, and logs it. A browser
// hides that refusal from its page, so that only this side can say what it was.
type refusedOrigins struct {
	allowed []string
	now     func() time.Time
	logger  *slog.Logger
	mu      sync.Mutex
	last    []refusedOrigin
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
			o.mu.Lock()
			o.last = append(o.last, refusedOrigin{o.now(), origin, function})
			o.last = o.last[max(0, len(o.last)-kept):]
			o.mu.Unlock()
		}
		h.ServeHTTP(w, r)
	})
}

func (o *refusedOrigins) latest() []refusedOrigin {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]refusedOrigin{}, o.last...)
}
