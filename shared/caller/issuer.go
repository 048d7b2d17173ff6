package caller

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"weboffice-functions/shared/weboffice"
)

const (
	maxID     = 255  // bytes of sub, a user's id and jti; OIDC's limit for sub
	maxAvatar = 1024 // bytes
)

// Issuer is one issuer that a policy trusts.
type Issuer struct {
	Name string // the policy's name for it
	// compared byte for byte with iss; https, or http on loopback, unless Keys is given
	URL           string
	Audience      []string // a token must be for one of them
	AudienceClaim string   // where a token says whom it is for: aud (also ""), azp or client_id
	// the URL of the key set, https (or http on loopback). Nothing is discovered then, and URL may
	// be any printable text without spaces and braces.
	Keys       string
	MaxAge     time.Duration // oldest iat accepted; 0: any
	TrustEmail bool          // email counts without email_verified
	User       UserClaims
}

// UserClaims names the claims that hold a person's id, name and picture, as Claims.Find takes
// names. Defaults: sub, name, picture.
type UserClaims struct{ ID, Name, Avatar string }

// Validate says everything that makes an issuer unusable, without a request. Its lines begin with
// the policy's key that is wrong.
func (i Issuer) Validate() error {
	var problems []error
	wrong := func(is bool, text string) {
		if is {
			problems = append(problems, errors.New(text))
		}
	}
	wrong(i.Name == "" || i.Name == LinkIssuer, `an issuer needs a name other than "links"`)
	if i.Keys == "" {
		wrong(strings.ContainsAny(i.URL, "?#{}") || !fetchable(i.URL, true), "url must be https "+
			"(http on loopback), with a host and without user, query, fragment and braces; for an "+
			"iss of another form, name the key set in keys")
	} else {
		wrong(i.URL == "" || i.URL == LinkIssuer || strings.ContainsFunc(i.URL, notInIssuer),
			`url must be the tokens' iss: printable text without spaces and braces, not "links"`)
		wrong(strings.Contains(i.Keys, "#") || !fetchable(i.Keys, true),
			"keys must be the key set's https URL (http on loopback), without user and fragment")
	}
	wrong(len(i.Audience) == 0 || slices.Contains(i.Audience, ""),
		"audience is required: a token for another service must not open documents")
	wrong(!slices.Contains([]string{"", "aud", "azp", "client_id"}, i.AudienceClaim),
		"audienceClaim must be aud, azp or client_id")
	wrong(i.MaxAge < 0, "maxAge must not be negative")
	for _, name := range []string{i.User.ID, i.User.Name, i.User.Avatar} {
		if err := CheckClaimName(cmp.Or(name, "sub")); err != nil {
			problems = append(problems, fmt.Errorf("user: %w", err))
		}
	}
	return errors.Join(problems...)
}

func notInIssuer(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(" {}", r) }

// fetchable says whether something may be read from this URL: https, or where that is allowed plain
// http on this machine.
func fetchable(text string, loopback bool) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || loopback && weboffice.Loopback(u.Hostname()) && u.Scheme == "http"
}

// CallerFor returns the caller that a proof of this issuer with these claims, a JSON object, would
// make: for trying out a policy. Share links have the issuer whose Name and URL are LinkIssuer.
// Neither times nor audience are looked at.
func (i Issuer) CallerFor(claims []byte) (c Caller, err error) {
	if c.Claims, err = readObject(claims, maxValues); err != nil {
		return c, fmt.Errorf("claims: %w", err)
	}
	return c, i.identify(&c, nil)
}

// identify fills in who a caller with these claims is to the issuer.
func (i Issuer) identify(c *Caller, revoked map[string]bool) error {
	c.Issuer, c.IssuerURL, c.Subject = i.Name, i.URL, c.Claims.text("sub")
	if c.EmailIgnored = i.whyNoEmail(c.Claims); c.EmailIgnored != "" {
		delete(c.Claims, "email")
	}
	switch _, there := c.Claims["events"]; {
	case there:
		return errors.New("events is for logout tokens and other messages")
	case i.Name == LinkIssuer:
		return c.identifyLink(revoked)
	}
	return c.identifyPerson(i.User)
}

// identifyPerson fills User from the claims that the policy names.
func (c *Caller) identifyPerson(names UserClaims) error {
	c.User.ID = c.Claims.text(cmp.Or(names.ID, "sub"))
	c.User.Name = c.Claims.text(cmp.Or(names.Name, "name"))
	avatar := c.Claims.text(cmp.Or(names.Avatar, "picture"))
	if len(avatar) <= maxAvatar && fetchable(avatar, false) {
		c.User.Avatar = avatar
	}
	if c.Subject == "" || len(c.Subject) > maxID {
		return errors.New("sub is missing, over 255 bytes, or neither text nor a whole number")
	}
	if c.User.ID == "" || len(c.User.ID) > maxID {
		return fmt.Errorf("%s, which user.id names, is missing, over 255 bytes, or neither text "+
			"nor a whole number", names.ID)
	}
	return nil
}

// plainEmail is an address without quotes, spaces or a second @: `*@example.com` must not let
// "a@evil.example"@example.com in.
var plainEmail = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[^\s@"<>(),:;\\\[\]]+@[^\s@"<>(),:;\\\[\]]+$`)
})

// whyNoEmail says why the proof's email does not count. It counts only when the issuer vouches for
// it: whoever may write any address into an account's profile could be anybody.
func (i Issuer) whyNoEmail(claims Claims) string {
	email, there := claims["email"]
	address, _ := email.(string)
	name := "email_verified"
	if _, usual := claims[name]; !usual {
		name = "emailVerified"
	}
	verified, known := claims[name]
	advice := "if the issuer verifies every address, say trustEmail: true under it"
	if i.Name == LinkIssuer {
		advice = "whoever mints the link vouches for it with email_verified: true"
	}
	switch {
	case !there:
		return ""
	case !plainEmail().MatchString(address):
		return "email does not count: it is not one plain address"
	case i.TrustEmail || verified == true || verified == "true":
		return ""
	case !known:
		name = "email_verified is missing"
	default:
		name += " is not true"
	}
	return "email does not count: " + name + " (" + advice + ")"
}
