package weboffice

import (
	"context"
	"crypto/rand"
	"fmt"
)

type requestIDKey struct{}

// WithRequestID returns a context that carries the RequestId of one request: the platform's where
// it has one.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the RequestId that ctx carries, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// NewRequestID returns a random RequestId in the vendor's form, 8-4-4-4-12 upper-case hexadecimal
// digits.
func NewRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%X-%X-%X-%X-%X", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
