package weboffice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"
)

// Kind is a class of failure; the HTTP edge maps each to one status.
type Kind int

// The kinds, with the HTTP status that httpapi gives each.
const (
	Internal         Kind = iota // 500, ours
	Invalid                      // 400, the caller's input
	Unauthenticated              // 401, no proof or a bad one
	Forbidden                    // 403, the policy or the origin
	NotFound                     // 404, an allowed caller, no such document
	MethodNotAllowed             // 405
	SessionEnded                 // 410, the absolute end of a session
	TooLarge                     // 413
	MediaType                    // 415
	Throttled                    // 429, with RetryAfter
	BadGateway                   // 502, IMM failed or answered nonsense
	Unavailable                  // 503, IMM or what it needs is not there
	Timeout                      // 504, IMM did not answer in time
)

// Error is a failure with a public face. Code, Message and Recommend may be shown to the page and
// follow the vendor's spellings where the vendor has one; Fix and Cause go to the log only. No
// field but Cause may hold anything a caller sent other than parameter names, or what IMM's own
// sentence quotes of it, and none may hold a secret.
type Error struct {
	Kind       Kind
	Code       string        // such as "InvalidArgument.SourceURI"
	Message    string        // one sentence for the page
	Recommend  string        // what the caller can do, may be empty
	RequestID  string        // IMM's RequestId where the failure is IMM's, else empty
	RetryAfter time.Duration // for Throttled and Unavailable, 0 where nothing is known
	Fix        string        // for the operator: what to change, log only
	Cause      error         // log only
}

// Error gives the public part.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Attributes are e in a log line.
func (e *Error) Attributes() []slog.Attr {
	attributes := []slog.Attr{slog.String("message", e.Message)}
	if e.Fix != "" {
		attributes = append(attributes, slog.String("fix", e.Fix))
	}
	if e.Cause != nil {
		attributes = append(attributes, slog.String("cause", e.Cause.Error()))
	}
	return attributes
}

// LogPanic writes the one line about a panic that was recovered. Of its value it quotes only the Go
// runtime's own errors: anything else may hold a token.
func LogPanic(ctx context.Context, log *slog.Logger, value any) {
	what := fmt.Sprintf("a value of type %T", value)
	if err, ok := value.(runtime.Error); ok {
		what = err.Error()
	}
	log.ErrorContext(ctx, "panic", "requestId", RequestID(ctx), "panic", what,
		"stack", string(debug.Stack()))
}

// AsError returns err as an *Error. Any other error becomes an Internal one with a neutral
// sentence.
func AsError(err error) *Error {
	var public *Error
	if errors.As(err, &public) {
		return public
	}
	return ErrInternal.Because(err)
}

// ErrorBody is an error on the wire, in the vendor's form.
type ErrorBody struct{ RequestId, Code, Message, Recommend string }

// Body gives the public part of e as the answer to the request that ctx belongs to.
func (e *Error) Body(ctx context.Context) ErrorBody {
	id := e.RequestID
	if id == "" {
		id = RequestID(ctx)
	}
	return ErrorBody{RequestId: id, Code: e.Code, Message: e.Message, Recommend: e.Recommend}
}
