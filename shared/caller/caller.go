// Package caller says who asks: it turns a proof, a bearer JWT, into a Caller. A proof comes from
// an OIDC issuer of the policy, or it is a share link minted by a backend that holds a link key.
//
// Nothing in a token chooses how it is checked: its issuer is looked up in the policy byte for
// byte, and the algorithm is that of the issuer's own key. HMAC serves share links alone, and link
// keys serve nothing else. Whatever is wrong with a proof, its bearer gets one and the same 401;
// the reason goes to the log, without claim values.
//
// The package decides nothing about documents and asks nobody about a proof: one that its issuer
// withdraws works until it expires. Issuer.MaxAge bounds that.
package caller

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

// Caller is a verified caller. The zero value is a guest: somebody without proof.
type Caller struct {
	// the policy's name of the issuer, "links" for share links, "" for a guest
	Issuer string
	// the token's iss as the policy spells it; identity is (IssuerURL, Subject)
	IssuerURL string
	Subject   string // the sub claim; for a share link its sub, which may be ""
	Claims    Claims // without an email that does not count
	// why the proof's email does not count, for a log; "" where it counts or there is none
	EmailIgnored string
	User         User  // what the issuer's claims say for display
	Link         *Link // set for share links only
	IssuedAt     time.Time
	Expires      time.Time
}

// User is what an issuer says of a person, from the claims that the policy's `user` names. Each may
// be empty.
type User struct {
	ID     string // the claim that user.id names, default sub: what User.Id is derived from
	Name   string
	Avatar string // an https URL of at most 1,024 bytes
}

// Link is what a share link carries besides its caller.
type Link struct {
	ID string // jti
	// one of the two: an exact oss:// URI, where * is a letter like any other, or a pattern as in a rule
	Document, Documents string
	Grant               []string // such as "view", "copy"
}

// LinkIssuer is the name and the iss of share links.
const LinkIssuer = "links"

// Guest says whether the caller brought no proof.
func (c Caller) Guest() bool { return c.Issuer == "" }

// Issuer is one issuer that a policy trusts.
type Issuer struct {
	Name          string   // the policy's name for it
	URL           string   // https, or http on loopback; compared byte for byte with iss
	Audience      []string // a token must be for one of them
	AudienceClaim string   // where a token says whom it is for: aud (also ""), azp or client_id
	// the URL of the key set, https (or http on loopback); nothing is discovered then, and URL may be
	// any printable text
	Keys       string
	MaxAge     time.Duration // oldest iat accepted; 0: any
	TrustEmail bool          // email counts without email_verified
	User       UserClaims
}

// UserClaims names the claims that hold a person's id, name and picture. Defaults: sub, name,
// picture.
type UserClaims struct{ ID, Name, Avatar string }

// Validate says what makes an issuer unusable, without a request.
func (i Issuer) Validate() error {
	switch {
	case i.Name == "" || i.Name == LinkIssuer:
		return errors.New(`an issuer needs a name other than "links"`)
	case strings.ContainsAny(i.URL, "?#") || !fetchable(i.URL, true):
		return errors.New(
			"an issuer's url must be https (http on loopback) with a host and without user, query and fragment")
	case len(i.Audience) == 0 || slices.Contains(i.Audience, "") || i.MaxAge < 0:
		return errors.New("an issuer needs an audience and no negative maxAge")
	}
	return nil
}

// fetchable says whether something may be read from this URL: https, or where that is allowed plain
// http on this machine.
func fetchable(text string, loopback bool) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || loopback && weboffice.Loopback(u.Hostname()) && u.Scheme == "http"
}

// Unauthenticated is the 401 of every missing, bad or expired proof: one sentence for all. The
// reason goes to the log and must hold no claim values.
func Unauthenticated(reason string) *weboffice.Error {
	return weboffice.ErrUnauthenticated.Because(errors.New(reason))
}
