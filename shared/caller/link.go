package caller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

const (
	linkAudience = "weboffice"
	linkKeySize  = 32                  // bytes
	maxLinkLife  = 30 * 24 * time.Hour // from iat to exp
)

// LinkClaims are what a share link says.
type LinkClaims struct {
	ID string // jti
	// one of the two: an exact oss:// URI, where * is a letter like any other, or a pattern as in a
	// rule
	Document, Documents string
	Grant               []string
	// optional, left out where empty; without a Subject each opening is a guest
	Subject, Name     string
	Expires, IssuedAt time.Time // at most 30 days apart
}

// LinkKeyID is the kid of a link key of 32 raw bytes: the first eight hexadecimal digits of SHA-256
// over "weboffice-link:" and the key. It may be public. README.md has it in other languages.
func LinkKeyID(key weboffice.Secret) string {
	digest := sha256.Sum256([]byte("weboffice-link:" + key.Reveal()))
	return hex.EncodeToString(digest[:4])
}

// MintLink signs a share link: a JWT with HS256, kid, iss "links", aud "weboffice", iat, exp, jti,
// document or documents, grant and, where given, sub and name. Claims that a Verifier would refuse
// at IssuedAt are an error.
func MintLink(key weboffice.Secret, c LinkClaims) (weboffice.Secret, error) {
	verifier, err := NewVerifier(Options{LinkKeys: []weboffice.Secret{key},
		Now: func() time.Time { return c.IssuedAt }})
	if err != nil {
		return "", err
	}
	claims := map[string]any{"iss": LinkIssuer, "aud": linkAudience, "iat": c.IssuedAt.Unix(),
		"exp": c.Expires.Unix(), "jti": c.ID, "document": c.Document, "documents": c.Documents,
		"grant": c.Grant, "sub": c.Subject, "name": c.Name}
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == "" })
	payload, _ := json.Marshal(claims) // texts and numbers: never fails
	text := base64url.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT","kid":"`+LinkKeyID(key)+`"}`)) +
		"." + base64url.EncodeToString(payload)
	text += "." + base64url.EncodeToString(macOf([]byte(key.Reveal()), []byte(text)))
	if _, err := verifier.Verify(context.Background(), weboffice.Secret(text)); err != nil {
		return "", fmt.Errorf("share link: %w", errors.Unwrap(err))
	}
	return weboffice.Secret(text), nil
}

// linkSource is the issuer of share links, whose keys are at hand.
func linkSource(secrets []weboffice.Secret) (*keySource, error) {
	source := &keySource{
		issuer: Issuer{Name: LinkIssuer, URL: LinkIssuer, Audience: []string{linkAudience}}}
	for _, secret := range secrets {
		k := &key{LinkKeyID(secret), []string{"HS256"}, []byte(secret.Reveal())}
		twice := slices.ContainsFunc(source.keys, func(other *key) bool { return other.id == k.id })
		if twice || len(secret) != linkKeySize {
			return nil, errors.New("link keys must be 32 bytes long and each given once")
		}
		source.keys = append(source.keys, k)
	}
	return source, nil
}

// identifyLink fills Link and User from a share link.
func (c *Caller) identifyLink(revoked map[string]bool) error {
	for _, name := range []string{"sub", "name"} {
		if c.Claims[name] == "" { // so that no condition matches ""
			delete(c.Claims, name)
		}
	}
	wrong := ""
	text := func(name string) string {
		text, isText := c.Claims[name].(string)
		if !isText && c.Claims[name] != nil {
			wrong = name
		}
		return text
	}
	list, _ := c.Claims["grant"].([]any)
	grant := simplify(list).(List)
	_, unknown := weboffice.PermissionOf(grant.Texts)
	link := Link{text("jti"), text("document"), text("documents"), grant.Texts}
	c.Link, c.User = &link, User{ID: c.Subject, Name: text("name")}
	if c.Subject == "" && c.Claims["sub"] != nil {
		wrong = "sub"
	}
	switch {
	case wrong != "":
		return errors.New(wrong + " is no text")
	case link.ID == "" || max(len(link.ID), len(c.Subject)) > maxID:
		return errors.New("jti is missing, or jti or sub is longer than 255 bytes")
	case strings.HasPrefix(c.Subject, "link "):
		return errors.New(`sub begins with "link ", as the identity of a link without sub does`)
	case revoked[link.ID]:
		return errors.New("the link is revoked")
	case link.Document == "" && link.Documents == "":
		return errors.New("document is missing: write document for one exact URI, or documents " +
			"for a pattern")
	case link.Document != "" && link.Documents != "":
		return errors.New("write document for one exact URI, or documents for a pattern, not both")
	case !strings.HasPrefix(link.Document+link.Documents, "oss://"):
		return errors.New("document, or documents, does not begin with oss://")
	case len(grant.Texts) == 0 || grant.Odd || unknown != nil: // its text quotes the word
		return errors.New("grant is missing, empty or has an unknown word: use " +
			strings.Join(weboffice.Grants(), ", "))
	case c.Expires.Sub(c.IssuedAt) > maxLinkLife:
		return errors.New("exp is more than 30 days after iat")
	}
	return nil
}
