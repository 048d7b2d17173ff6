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

// kept is how many decisions and refused origins the page can look back on.
const kept = 50

// decisions is a log handler that keeps the latest audit lines for the page, and passes everything
// on.
type decisions struct {
	slog.Handler
	now  func() time.Time
	mu   sync.Mutex
	last []map[string]any
}

// Enabled implements slog.Handler: the page shows decisions also where the log is about trouble
// only.
func (d *decisions) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle implements slog.Handler.
func (d *decisions) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "decision" {
		line := map[string]any{"time": d.now()}
		r.Attrs(func(a slog.Attr) bool {
			line[a.Key] = a.Value.Any()
			return true
		})
		line["RequestId"] = line["requestId"] // as the page knows it
		line["caller"] = strings.Trim(fmt.Sprint(line["issuer"], " ", line["subject"]), " ")
		d.mu.Lock()
		d.last = append(d.last, line)
		d.last = d.last[max(0, len(d.last)-kept):]
		d.mu.Unlock()
	}
	if !d.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return d.Handler.Handle(ctx, r)
}

func (d *decisions) latest() []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]map[string]any{}, d.last...)
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
