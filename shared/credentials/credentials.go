// Package credentials gives the RAM role credentials with which IMM calls are signed, from wherever
// the function runs.
//
// Use: FromEnvironment once at start, Source.Credentials before each call. On Function Compute the
// platform layer puts an invocation's credentials into its context with NewContext; a context is
// believed nowhere else.
//
// Promises: only temporary credentials of a role are given out, an AccessKey without a security
// token is refused. Errors and logs hold no secret, no URL, and nothing of a server's answer but
// its status and code. Where credentials are exchanged, any number of callers cause one exchange,
// and a failed renewal disturbs nobody while the old ones are valid.
//
// Limit: credentials that IMM refuses before their end, as those of a deleted role, are kept until
// that end.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Credentials are the temporary credentials of a RAM role, in JSON as Alibaba's servers give them.
// SecurityToken is never empty: without one they would be a long-lived AccessKey, which is refused.
type Credentials struct {
	AccessKeyID     string `json:"AccessKeyId"`
	AccessKeySecret weboffice.Secret
	SecurityToken   weboffice.Secret
	Expires         time.Time `json:"Expiration"` // zero: not known, the platform renews them
}

// Source gives credentials that are valid now. It honours ctx, and is safe for concurrent use.
type Source interface {
	Credentials(ctx context.Context) (Credentials, error)
}

type contextKey struct{}

// NewContext returns a context that carries the credentials of one invocation.
func NewContext(ctx context.Context, c Credentials) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the credentials of this invocation.
func FromContext(ctx context.Context) (Credentials, bool) {
	c, ok := ctx.Value(contextKey{}).(Credentials)
	return c, ok
}

func (c Credentials) complete() bool {
	return c.AccessKeyID != "" && c.AccessKeySecret != "" && c.SecurityToken != ""
}

// given is a Source of credentials that somebody else renews.
type given struct {
	name, fix string
	get       func(context.Context) Credentials
}

func (g given) Credentials(ctx context.Context) (Credentials, error) {
	if c := g.get(ctx); c.complete() {
		return c, nil
	}
	return Credentials{}, unavailable(g.fix+"; "+noLongLivedKeys,
		errors.New("STS credentials not complete"))
}

func (g given) String() string { return g.name }

// Static returns a Source of STS credentials that nobody renews. Incomplete ones are refused when
// they are asked for.
func Static(c Credentials) Source {
	return given{"fixed STS credentials", "give all three parts of STS credentials",
		func(context.Context) Credentials { return c }}
}

// Describe says in words which source was chosen, without a secret.
func Describe(s Source) string {
	if named, ok := s.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", s)
}

const noLongLivedKeys = "a long-lived AccessKey, which has no security token, is not accepted"

// unavailable is every failure to get credentials. A page can do nothing about it, so its sentence
// is neutral.
func unavailable(fix string, cause error) *weboffice.Error {
	return weboffice.ErrCredentials.Because(cause, fix)
}
