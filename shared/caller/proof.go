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
	maxShown        = 200              // bytes of a claim in the log
)

// forbiddenHeaders would let a token bring its own key, demand an extension, or change what is
// signed.
var forbiddenHeaders = []string{"jku", "jwk", "x5u", "x5c", "crit", "b64"}

// acceptedTypes are the values of typ that a proof may have. Logout tokens, DPoP proofs and other
// JWTs of an issuer have others.
var acceptedTypes = []string{"jwt", "at+jwt"}

// base64url has one spelling for each value, so that a token cannot be spelled in two ways.
var base64url = base64.RawURLEncoding.Strict()

// proof is a decoded JWT, and the caller that it would make. Nothing in it is to be believed before
// a key has verified its signature.
type proof struct {
	Caller
	notBefore         time.Time
	algorithm, keyID  string // keyID is "" when it names none
	signed, signature []byte
	key               *key // that verified it
}

// decode reads a JWT in compact form: what it can of one that is refused, where Claims is nil
// nothing. Its errors hold nothing of the token.
func decode(token weboffice.Secret) (*proof, error) {
	p, text := &proof{}, token.Reveal()
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
	p.signed, p.signature = []byte(parts[0]+"."+parts[1]), signature
	var err error
	if p.Claims, err = readObject(payload, maxValues); err != nil {
		return p, fmt.Errorf("claims: %w", err)
	}
	if err := p.readHeader(header); err != nil {
		return p, fmt.Errorf("header: %w", err)
	}
	return p, p.readTimes()
}

func (p *proof) readHeader(raw []byte) error {
	header, err := readObject(raw, maxHeaderValues)
	if err != nil {
		return err
	}
	for _, name := range forbiddenHeaders {
		if _, there := header[name]; there {
			return errors.New(name + " is not accepted")
		}
	}
	typ, _ := header["typ"].(string)
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	if _, there := header["typ"]; there && !slices.Contains(acceptedTypes, typ) {
		return errors.New("this typ is not accepted: " + shown(header["typ"]))
	}
	p.algorithm, _ = header["alg"].(string)
	id, named := header["kid"]
	isText := false
	if p.keyID, isText = id.(string); named && !isText {
		return errors.New("kid is no text")
	}
	return nil
}

// readTimes says when the proof is valid. Where there is no iat, it was issued at nbf.
func (p *proof) readTimes() (err error) {
	read := func(name string) (t time.Time) {
		number, isNumber := p.Claims[name].(json.Number)
		seconds, wrong := number.Float64()
		switch {
		case p.Claims[name] == nil:
		case !isNumber || wrong != nil || math.Abs(seconds) > year9999:
			err = errors.New(name + " is no number of seconds since 1970")
		default:
			t = time.Unix(int64(seconds), 0)
		}
		return t
	}
	p.Expires, p.IssuedAt, p.notBefore = read("exp"), read("iat"), read("nbf")
	if p.IssuedAt.IsZero() {
		p.IssuedAt = p.notBefore
	}
	return err
}

// check says whether a proof is valid now and not older than maxAge, where that is over 0.
func (p *proof) check(maxAge time.Duration, now time.Time) error {
	ago := func(t time.Time) time.Duration { return now.Sub(t).Round(time.Second) }
	switch {
	case p.Expires.Unix() <= 0:
		return errors.New("exp is missing or no sensible time")
	case p.IssuedAt.Unix() <= 0:
		return errors.New("iat, or nbf where there is no iat, is missing or no sensible time")
	case ago(p.Expires) > leeway:
		return fmt.Errorf("exp was %v ago", ago(p.Expires))
	case ago(p.IssuedAt) < -leeway:
		return fmt.Errorf("iat is %v ahead", -ago(p.IssuedAt))
	case ago(p.notBefore) < -leeway:
		return fmt.Errorf("nbf is %v ahead", -ago(p.notBefore))
	case maxAge > 0 && ago(p.IssuedAt) > maxAge+leeway:
		return fmt.Errorf("iat was %v ago, and maxAge is %v", ago(p.IssuedAt), maxAge)
	}
	return nil
}

// checkAudience says whether the proof is for this issuer's audience.
func (p *proof) checkAudience(i Issuer) error {
	name := cmp.Or(i.AudienceClaim, "aud")
	audience, isList := p.Claims[name].([]any)
	if !isList || name != "aud" { // the others hold one text
		audience = []any{p.Claims[name]}
	}
	notText := func(value any) bool { _, isText := value.(string); return !isText }
	wanted := func(value any) bool {
		return slices.ContainsFunc(i.Audience, func(one string) bool { return value == one })
	}
	if slices.ContainsFunc(audience, wanted) && !slices.ContainsFunc(audience, notText) {
		return nil
	}
	return fmt.Errorf("found aud %s, azp %s, client_id %s; wanted %s %s", shown(p.Claims["aud"]),
		shown(p.Claims["azp"]), shown(p.Claims["client_id"]), name, shown(i.Audience))
}

// checkAlgorithm refuses what no key of the issuer could have signed, whichever it has.
func (p *proof) checkAlgorithm(i Issuer) error {
	_, known := hashes[p.algorithm]
	if known && (p.algorithm == "HS256") == (i.Name == LinkIssuer) {
		return nil
	}
	return errors.New("the issuer has no key of this kid and algorithm: found alg " +
		shown(p.algorithm) + "; wanted RS, PS or ES 256, 384 or 512, or Ed25519 (links: HS256)")
}

// shown writes a claim for the log. Its bearer may have made it up: it is quoted, letters beyond
// ASCII escaped, and cut short.
func shown(value any) string {
	switch value.(type) {
	case nil:
		return "none"
	case string, []any, []string:
		text := fmt.Sprintf("%+q", value)
		if len(text) > maxShown {
			text = text[:maxShown] + "…"
		}
		return text
	}
	return "of another type"
}
