// Package weboffice is the domain of IMM WebOffice as these functions use it: the parameters of
// GenerateWebofficeToken in every spelling that callers copy from the vendor's pages, documents,
// formats, permissions, users, limits and errors. It reads and settles; it decides nothing about
// who may do what (package policy does) and talks to nobody. Standard library only.
//
// A request passes through in three steps: ParseRequest reads what a caller sent, Validate holds it
// to the vendor's limits, and Settle turns a granted permission into one that IMM can serve for the
// document's format. After Settle the permission has only shrunk.
package weboffice

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode"
)

// secretMarker is what every printed form of a Secret shows.
const secretMarker = "[secret]"

// Secret is text that must not reach a log, an error or a URL: tokens, passwords, keys, share
// links. Every way of printing it (fmt verbs, JSON, slog) gives a marker; only Reveal gives the
// text. A Secret read from JSON takes the text.
type Secret string

// Reveal returns the text itself, for the one place that puts it on the wire.
func (s Secret) Reveal() string { return string(s) }

// Format implements fmt.Formatter for all verbs, %x and %#v included: a Stringer would cover only
// some.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(s.String())) }

// String gives the marker, or nothing for an empty Secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return secretMarker
}

// MarshalJSON writes the marker. Code that must write the text takes Reveal.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Access is what IMM's answer says of an access token. IMM's times are by its own clock; Life is a
// span, so that no clock but IMM's has a part in it.
type Access struct {
	WebofficeURL            string
	AccessToken             Secret
	AccessTokenExpiredTime  time.Time
	RefreshTokenExpiredTime time.Time     // of IMM's refresh token
	Life                    time.Duration // that the access token has left
}

// The documented limits of User. Whether IMM enforces them is not known, so Name is sent as it is
// first and in the documented alphabet (PlainName) when IMM refuses it.
const (
	userIDLength  = 15 // letters and digits
	maxNameLength = 32 // characters
)

// UserID derives the Id that IMM sees of a person: stable for ever, different for equal subjects of
// two issuers, and not to be turned back without the salt. An operator recomputes it with
//
//	printf '%s\0%s\0%s' "$WEBOFFICE_USER_SALT" ISSUER SUBJECT |
//	    openssl dgst -sha256 -binary | base32 | cut -c1-15
func UserID(salt Secret, issuer, subject string) string {
	sum := sha256.Sum256([]byte(salt.Reveal() + "\x00" + issuer + "\x00" + subject))
	return base32.StdEncoding.EncodeToString(sum[:])[:userIDLength]
}

// NewGuest returns a guest with a random Id.
func NewGuest() User { return User{Id: rand.Text()[:userIDLength], Name: "Guest"} }

// CleanName returns name without control and text-direction characters, at most 32 characters of
// it, or "User" when nothing is left.
func CleanName(name string) string {
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) ||
			r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, name))
	if runes := []rune(name); len(runes) > maxNameLength {
		name = string(runes[:maxNameLength])
	}
	if name == "" {
		return "User"
	}
	return name
}

// PlainName returns name in the alphabet that IMM documents, [A-Za-z0-9-_+/=@]; a name with nothing
// of it becomes "User".
func PlainName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			strings.ContainsRune("-_+/=@", r):
			return r
		case r == ' ' || r == '.':
			return '_'
		}
		return -1
	}, CleanName(name))
	if strings.Trim(name, "_") == "" {
		return "User"
	}
	return name
}

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
	id := strings.ToUpper(hex.EncodeToString(b[:]))
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

// Loopback says whether a host is this machine, the only one that anything may be sent to over
// plain http.
func Loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// WallClock drops the monotonic reading of a clock. It may stand still while a platform freezes the
// process, and comparisons of times prefer it.
func WallClock(clock func() time.Time) func() time.Time {
	return func() time.Time { return clock().Round(0) }
}
