package caller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"weboffice-functions/shared/weboffice"
)

const (
	linkAudience = "weboffice"
	linkKeySize  = 32                  // bytes
	maxLinkLife  = 30 * 24 * time.Hour // from iat to exp
)

// LinkClaims are what a share link says.
type LinkClaims struct {
	ID, Document string // jti, and a document pattern or an exact oss:// URI
	Grant        []string
	// optional, left out where empty; without a Subject each opening is a guest
	Subject, Name     string
	Expires, IssuedAt time.Time // at most 30 days apart
}

// LinkKeyID is the kid of a link key of 32 raw bytes: the first eight hexadecimal digits of SHA-256
// over "weboffice-link:" and the key. It may be public. For a backend in another language, with key
// as raw bytes:
//
//	Node:   crypto.createHash('sha256').update('weboffice-link:').update(key).digest('hex').slice(0, 8)
//	Python: hashlib.sha256(b'weboffice-link:' + key).hexdigest()[:8]
func LinkKeyID(key weboffice.Secret) string {
	digest := sha256.Sum256([]byte("weboffice-link:" + key.Reveal()))
	return hex.EncodeToString(digest[:4])
}

// MintLink signs a share link: a JWT with HS256, kid, iss "links", aud "weboffice", iat, exp, jti,
// document, grant and, where given, sub and name. Claims that a Verifier would refuse at IssuedAt
// are an error.
func MintLink(key weboffice.Secret, c LinkClaims) (weboffice.Secret, error) {
	verifier, err := NewVerifier(Options{LinkKeys: []weboffice.Secret{key},
		Now: func() time.Time { return c.IssuedAt }})
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(key.Reveal())},
		// go-jose names no symmetric key by itself
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", LinkKeyID(key)))
	if err != nil {
		return "", err
	}
	claims := map[string]any{
		"iss": LinkIssuer, "aud": linkAudience, "iat": c.IssuedAt.Unix(), "exp": c.Expires.Unix(),
		"jti": c.ID, "document": c.Document, "grant": c.Grant, "sub": c.Subject, "name": c.Name,
	}
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == "" })
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		return "", err
	}
	if _, err := verifier.Verify(context.Background(), weboffice.Secret(text)); err != nil {
		return "", fmt.Errorf("share link: %w", errors.Unwrap(err))
	}
	return weboffice.Secret(text), nil
}

// linkTrust makes the issuer of share links, whose keys are at hand.
func linkTrust(secrets []weboffice.Secret) (trust, error) {
	keys := map[string]*key{}
	for _, secret := range secrets {
		if _, twice := keys[LinkKeyID(secret)]; twice || len(secret) != linkKeySize {
			return trust{}, errors.New("link keys must be 32 bytes long and each given once")
		}
		keys[LinkKeyID(secret)] = &key{algorithm: jose.HS256, material: []byte(secret.Reveal())}
	}
	return trust{Issuer{Name: LinkIssuer, URL: LinkIssuer, Audience: []string{linkAudience}},
		func(_ context.Context, id, _ string) (*key, error) {
			k, known := keys[id]
			if !known {
				return nil, Unauthenticated("no link key has this kid")
			}
			return k, nil
		}}, nil
}

// identifyLink fills Link and User from a share link. A sub or name that is empty is none:
// conditions would take it for a text.
func (c *Caller) identifyLink(p proof, revoked map[string]bool) error {
	var claims struct {
		Document string   `json:"document"`
		Grant    []string `json:"grant"`
		Name     string   `json:"name"`
	}
	if json.Unmarshal(p.payload, &claims) != nil {
		return errors.New("document, grant or name is of the wrong type")
	}
	c.Link = &Link{ID: p.registered.ID, Document: claims.Document, Grant: claims.Grant}
	c.User = User{ID: c.Subject, Name: claims.Name}
	maps.DeleteFunc(c.Claims, func(name string, value any) bool {
		return value == "" &&
			(name == "sub" || name == "name")
	})
	_, unknown := weboffice.PermissionOf(claims.Grant)
	switch {
	case c.Link.ID == "" || max(len(c.Link.ID), len(c.Subject)) > maxID:
		return errors.New("jti is missing, or jti or sub is longer than 255 bytes")
	case strings.HasPrefix(c.Subject, "link "):
		return errors.New(`sub begins with "link ", as the identity of a link without sub does`)
	case revoked[c.Link.ID]:
		return errors.New("the link is revoked")
	case !strings.HasPrefix(claims.Document, "oss://"):
		return errors.New("document is missing or does not begin with oss://")
	case len(claims.Grant) == 0 || unknown != nil: // its text quotes the word
		return errors.New("grant is missing, empty or has an unknown word")
	case c.Expires.Sub(c.IssuedAt) > maxLinkLife:
		return errors.New("exp is more than 30 days after iat")
	}
	return nil
}
