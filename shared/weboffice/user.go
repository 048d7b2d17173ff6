package weboffice

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"unicode"
)

// The documented limits of User. Whether IMM enforces them is not known, so Name is sent as it is
// first and in the documented alphabet (PlainName) when IMM refuses it.
const (
	userIDLength  = 15 // letters and digits
	maxNameLength = 32 // characters
)

// UserID derives the Id that IMM sees of a person: stable for ever, different for equal subjects of
// two issuers, and not to be turned back without the salt. An operator recomputes it with
//
//	printf '%s\0%s\0%s' "$WEBOFFICE_USER_SALT" ISSUER SUBJECT | openssl dgst -sha256 -binary | base32 | cut -c1-15
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
