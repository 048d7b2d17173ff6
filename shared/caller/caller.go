// Package caller says who asks: it turns a proof, a bearer JWT, into a Caller. A proof comes from
// an OIDC issuer of the policy, or it is a share link minted by a backend that holds a link key.
// README.md has a recipe for each login.
//
// Nothing in a token chooses how it is checked: its issuer is looked up in the policy byte for
// byte, and the algorithm is that of the issuer's own key. HMAC serves share links alone, and link
// keys serve nothing else. Whatever is wrong with a proof, its bearer gets one and the same 401.
// The reason goes to the log. Of claim values it holds only iss, aud, azp, client_id and ages, of
// the header typ, alg and kid, cut short.
//
// A proof costs its sender more than us: one that is too long, too deep or has too many values is
// refused while it is read, and one that no signature could save before its signature is looked at.
//
// The package decides nothing about documents and asks nobody about a proof: one that its issuer
// withdraws works until it expires. Issuer.MaxAge bounds that.
package caller

import (
	"errors"
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
	// one of the two: an exact oss:// URI, where * is a letter like any other, or a pattern as in a
	// rule
	Document, Documents string
	Grant               []string // such as "view", "copy"
}

// LinkIssuer is the name and the iss of share links.
const LinkIssuer = "links"

// Guest says whether the caller brought no proof.
func (c Caller) Guest() bool { return c.Issuer == "" }

// Unauthenticated is the 401 of every missing, bad or expired proof: one sentence for all. The
// reason goes to the log; the package's comment says which claim values it may hold.
func Unauthenticated(reason string) *weboffice.Error {
	return weboffice.ErrUnauthenticated.Because(errors.New(reason))
}
