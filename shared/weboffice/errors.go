package weboffice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// LogPanic writes one line about a panic that was recovered. The value may hold anything, so only
// its type and the stack are in it.
func LogPanic(ctx context.Context, log *slog.Logger, value any) {
	log.ErrorContext(ctx, "panic", "requestId", RequestID(ctx), "type", fmt.Sprintf("%T", value),
		"stack", string(debug.Stack()))
}

// AsError returns err as an *Error. Any other error becomes an Internal one with a neutral
// sentence.
func AsError(err error) *Error {
	var public *Error
	if errors.As(err, &public) {
		return public
	}
	return &Error{Kind: Internal, Code: "InternalError",
		Message: "The function failed. Try again, and report the RequestId if it stays so.",
		Cause:   err}
}

// Invalidf returns a 400 for one parameter; the sentence names the parameter and the allowed
// values.
func Invalidf(parameter, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Code: "InvalidArgument." + parameter,
		Message: fmt.Sprintf(format, args...)}
}
