package caller

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

const (
	maxProof        = 8 << 10          // bytes
	maxHeaderValues = 64               // in the header's JSON
	leeway          = 60 * time.Second // between the issuer's clock and ours
	year9999        = 253402300799     // the last second that RFC 3339 can write
	maxShown        = 100              // bytes of a claim in the log
	maxShownValues  = 5
)

// forbiddenHeaders would let a token bring its own key, demand an extension, or change what is
// signed.
var forbiddenHeaders = []string{"jku", "jwk", "x5u", "x5c", "crit", "b64"}

// acceptedTypes are the values of typ that a proof may have. Logout tokens, DPoP proofs and other
// JWTs of an issuer have others.
var acceptedTypes = []string{"jwt", "at+jwt"}

// decisive are the claims that are read before the signature is verified.
var decisive = map[string]bool{"iss": true, "aud": true, "azp": true, "client_id": true,
	"exp": true, "iat": true, "nbf": true}

// base64url has one spelling for each value, so that a token cannot be spelled in two ways.
var base64url = base64.RawURLEncoding.Strict()

// proof is a decoded JWT. Nothing in it is to be believed before a key has verified its signature.
type proof struct {
	algorithm, keyID  string // keyID is "" when it names none
	signed, signature []byte
	payload           []byte // all claims, as JSON
	claims            Claims // the decisive ones
	times
}

// times are when a proof is valid. Where there is no iat, it was issued at nbf.
type times struct{ issued, notBefore, expires time.Time }

// decodeProof reads a JWT in compact form. Its errors hold nothing of the token.
func decodeProof(token weboffice.Secret) (p proof, err error) {
	text := token.Reveal()
	if len(text) > maxProof {
		return p, fmt.Errorf("the token is longer than %d bytes", maxProof)
	}
	parts := strings.SplitN(text, ".", 6)
	if len(parts) == 5 {
		return p, errors.New("the token is encrypted (it has five parts): only its issuer reads it")
	}
	if len(parts) != 3 || strings.ContainsAny(text, "\r\n") { // base64 decoders skip line breaks
		return p, errors.New("the token is no JWT in compact form: three parts joined by dots")
	}
	header, headerErr := base64url.DecodeString(parts[0])
	payload, payloadErr := base64url.DecodeString(parts[1])
	signature, signatureErr := base64url.DecodeString(parts[2])
	if errors.Join(headerErr, payloadErr, signatureErr) != nil {
		return p, errors.New("a part of the token is no base64url")
	}
	p.signed = []byte(parts[0] + "." + parts[1])
	p.payload, p.signature = payload, signature
	if err := p.readHeader(header); err != nil {
		return p, fmt.Errorf("header: %w", err)
	}
	if p.claims, err = readObject(payload, maxValues, decisive); err != nil {
		return p, fmt.Errorf("claims: %w", err)
	}
	p.times, err = readTimes(p.claims)
	return p, err
}

func (p *proof) readHeader(raw []byte) error {
	header, err := readObject(raw, maxHeaderValues, nil)
	if err != nil {
		return err
	}
	for _, name := range forbiddenHeaders {
		if _, there := header[name]; there {
			return errors.New(name + " is not accepted")
		}
	}
	if typ, there := header["typ"]; there {
		name, _ := typ.(string)
		name = strings.TrimPrefix(strings.ToLower(name), "application/")
		if !slices.Contains(acceptedTypes, name) {
			return errors.New("this typ is not accepted")
		}
	}
	p.algorithm, _ = header["alg"].(string)
	id, named := header["kid"]
	isText := false
	if p.keyID, isText = id.(string); named && !isText {
		return errors.New("kid is no text")
	}
	return nil
}

func readTimes(claims Claims) (times, error) {
	expires, noExp := claims.time("exp")
	issued, noIat := claims.time("iat")
	notBefore, noNbf := claims.time("nbf")
	if issued.IsZero() {
		issued = notBefore
	}
	return times{issued, notBefore, expires}, cmp.Or(noExp, noIat, noNbf)
}

// time returns a time in seconds since 1970, the zero time where there is none.
func (c Claims) time(name string) (time.Time, error) {
	number, isNumber := c[name].(json.Number)
	seconds, err := number.Float64()
	switch {
	case c[name] == nil:
		return time.Time{}, nil
	case !isNumber || err != nil || math.Abs(seconds) > year9999:
		return time.Time{}, errors.New(name + " is no number of seconds since 1970")
	}
	return time.Unix(int64(seconds), 0), nil
}

// checkAudience says whether the proof is for this issuer's audience.
func (p *proof) checkAudience(i Issuer) error {
	name := cmp.Or(i.AudienceClaim, "aud")
	audience, isList := p.claims[name].([]any)
	if !isList || name != "aud" { // the others hold one text
		audience = []any{p.claims[name]}
	}
	notText := func(value any) bool { _, isText := value.(string); return !isText }
	wanted := func(value any) bool {
		return slices.ContainsFunc(i.Audience, func(one string) bool { return value == one })
	}
	if slices.ContainsFunc(audience, wanted) && !slices.ContainsFunc(audience, notText) {
		return nil
	}
	return fmt.Errorf("found aud %s, azp %s, client_id %s; wanted %s %s", shown(p.claims["aud"]),
		shown(p.claims["azp"]), shown(p.claims["client_id"]), name, shownAll(i.Audience))
}

// check says whether a proof is valid now and not older than maxAge, where that is over 0.
func (t times) check(maxAge time.Duration, now time.Time) error {
	ago := func(t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }
	switch {
	case t.expires.Unix() <= 0:
		return errors.New("exp is missing or no sensible time")
	case t.issued.Unix() <= 0:
		return errors.New("iat, or nbf where there is no iat, is missing or no sensible time")
	case ago(t.expires) > leeway:
		return fmt.Errorf("exp was %v ago", ago(t.expires))
	case ago(t.issued) < -leeway:
		return fmt.Errorf("iat is %v ahead", -ago(t.issued))
	case ago(t.notBefore) < -leeway:
		return fmt.Errorf("nbf is %v ahead", -ago(t.notBefore))
	case maxAge > 0 && ago(t.issued) > maxAge+leeway:
		return fmt.Errorf("iat was %v ago, and maxAge is %v", ago(t.issued), maxAge)
	}
	return nil
}

// shown writes a claim for the log. Its bearer may have made it up: it is quoted, letters beyond
// ASCII escaped, and cut short.
func shown(value any) string {
	switch v := value.(type) {
	case nil:
		return "none"
	case string:
		if len(v) > maxShown {
			return fmt.Sprintf("%+q…", v[:maxShown])
		}
		return fmt.Sprintf("%+q", v)
	case []any:
		return shownAll(v)
	}
	return "of another type"
}

func shownAll[T any](values []T) string {
	var all []string
	for _, value := range values[:min(len(values), maxShownValues)] {
		all = append(all, shown(value))
	}
	if len(values) > maxShownValues {
		all = append(all, "…")
	}
	return strings.Join(all, ", ")
}
