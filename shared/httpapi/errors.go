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

// statuses is the one table from kinds to HTTP.
var statuses = map[weboffice.Kind]int{
	weboffice.Internal:         http.StatusInternalServerError,
	weboffice.Invalid:          http.StatusBadRequest,
	weboffice.Unauthenticated:  http.StatusUnauthorized,
	weboffice.Forbidden:        http.StatusForbidden,
	weboffice.NotFound:         http.StatusNotFound,
	weboffice.MethodNotAllowed: http.StatusMethodNotAllowed,
	weboffice.SessionEnded:     http.StatusGone,
	weboffice.TooLarge:         http.StatusRequestEntityTooLarge,
	weboffice.MediaType:        http.StatusUnsupportedMediaType,
	weboffice.Throttled:        http.StatusTooManyRequests,
	weboffice.BadGateway:       http.StatusBadGateway,
	weboffice.Unavailable:      http.StatusServiceUnavailable,
	weboffice.Timeout:          http.StatusGatewayTimeout,
}

// defaultRetry is what a throttled page is told when IMM names no time.
const defaultRetry = 2 * time.Second

func writeError(w http.ResponseWriter, ctx context.Context, err error) {
	public := weboffice.AsError(err)
	wait := public.RetryAfter
	switch public.Kind {
	case weboffice.Unauthenticated:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case weboffice.Throttled:
		if wait <= 0 {
			wait = defaultRetry
		}
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second),
			10))
	}
	_ = writeJSON(w, statuses[public.Kind], public.Body(ctx))
}

// refused says whether a request failed because of what it asked or how often, and not because of
// what lies behind the functions.
func refused(err error) bool {
	if err == nil {
		return false
	}
	var over broker.OverLimit
	status := statuses[weboffice.AsError(err).Kind]
	return errors.As(err, &over) || status >= 400 && status < 500 &&
		status != http.StatusTooManyRequests && status != http.StatusNotFound
}
