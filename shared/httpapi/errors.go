package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"weboffice-functions/shared/broker"
	"weboffice-functions/shared/weboffice"
)

// defaultRetry is what a throttled page is told when IMM names no time.
const defaultRetry = 2 * time.Second

func writeError(w http.ResponseWriter, ctx context.Context, err error) {
	public := weboffice.AsError(err)
	if public.Kind == weboffice.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	wait := public.RetryAfter
	if wait <= 0 && public.Kind == weboffice.Throttled {
		wait = defaultRetry
	}
	if wait > 0 {
		seconds := (wait + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	_ = writeJSON(w, public.Kind.Status, public.Body(ctx))
}

// refused says whether a request failed because of what it asked or how often, and not because of
// what lies behind the functions.
func refused(err error) bool {
	if err == nil {
		return false
	}
	var over broker.OverLimit
	kind := weboffice.AsError(err).Kind
	return errors.As(err, &over) || kind.Status >= 400 && kind.Status < 500 &&
		kind != weboffice.Throttled && kind != weboffice.NotFound
}
