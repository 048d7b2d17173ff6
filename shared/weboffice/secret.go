package weboffice

import (
	"encoding/json"
	"fmt"
	"log/slog"
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
