package caller

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	// as the standard library's, but duplicate names are errors and case counts
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"

	"weboffice-functions/shared/weboffice"
)

const (
	maxProof = 8 << 10          // bytes
	leeway   = 60 * time.Second // between the issuer's clock and ours
	year9999 = 253402300799     // the last second that RFC 3339 can write
)

// forbiddenHeaders would let a token bring its own key, demand an extension, or change what is
// signed.
var forbiddenHeaders = []string{"jku", "jwk", "x5u", "x5c", "crit", "b64"}

// acceptedTypes are the values of typ that a proof may have. Logout tokens, DPoP proofs and other
// JWTs of an issuer have others.
var acceptedTypes = []string{"jwt", "at+jwt"}

// proof is a decoded JWT. Nothing in it is to be believed before verifySignature.
type proof struct {
	algorithm  string
	keyID      string // "" when it names none
	payload    []byte
	claims     map[string]any
	registered jwt.Claims
}

// decodeProof reads a JWT in compact form. Its errors hold nothing of the token.
func decodeProof(token weboffice.Secret) (p proof, err error) {
	text := token.Reveal()
	parts := strings.SplitN(text, ".", 4)
	// base64 decoders skip line breaks
	if len(text) > maxProof || len(parts) != 3 || strings.ContainsAny(text, "\r\n") {
		return p, errors.New("no JWT in compact form of at most 8 KB")
	}
	first, headerErr := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	second, claimsErr := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if headerErr != nil || claimsErr != nil {
		return p, errors.New("header or claims are no base64url")
	}
	header, err := decodeObject(first)
	if err != nil {
		return p, fmt.Errorf("header: %w", err)
	}
	for _, name := range forbiddenHeaders {
		if _, there := header[name]; there {
			return p, fmt.Errorf("header: %s is not accepted", name)
		}
	}
	if typ, there := header["typ"]; there {
		name := strings.TrimPrefix(strings.ToLower(fmt.Sprint(typ)), "application/")
		if !slices.Contains(acceptedTypes, name) {
			return p, errors.New("header: this typ is not accepted")
		}
	}
	p.algorithm, _ = header["alg"].(string)
	p.keyID, _ = header["kid"].(string)
	return p, p.decodeClaims(second)
}

// decodeClaims reads a JSON object of claims.
func (p *proof) decodeClaims(raw []byte) (err error) {
	if p.claims, err = decodeObject(raw); err != nil {
		return err
	}
	if p.payload = raw; json.Unmarshal(raw, &p.registered) != nil {
		return errors.New("iss, sub, aud, exp, nbf, iat or jti is of the wrong type")
	}
	if _, there := p.claims["events"]; there {
		return errors.New("events is for logout tokens and other messages")
	}
	return nil
}

// decodeObject reads a JSON object. No two readers may read it in two ways: it is UTF-8, no name
// occurs twice at any depth, nothing follows it.
func decodeObject(raw []byte) (object map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.SetNumberType(json.UnmarshalJSONNumber)
	if !utf8.Valid(raw) || decoder.Decode(&object) != nil || object == nil ||
		decoder.Decode(new(any)) != io.EOF {
		return nil, errors.New("no JSON object, or one with a duplicate name")
	}
	standard(object)
	return object, nil
}

// standard puts the standard library's json.Number in the place of go-jose's.
func standard(value any) any {
	switch v := value.(type) {
	case json.Number:
		return stdjson.Number(v)
	case []any:
		for i, element := range v {
			v[i] = standard(element)
		}
	case map[string]any:
		for name, member := range v {
			v[name] = standard(member)
		}
	}
	return value
}

// verifySignature checks a proof with one key and the algorithm that belongs to that key.
func verifySignature(token weboffice.Secret, k *key) error {
	signed, err := jose.ParseSignedCompact(token.Reveal(), []jose.SignatureAlgorithm{k.algorithm})
	if err == nil {
		_, err = signed.Verify(k.material)
	}
	if err != nil { // its text may quote the header
		return errors.New("the signature is not that of the issuer's key")
	}
	return nil
}

// check says whether the proof is valid now, for this issuer's audience, and not older than its
// maxAge.
func (p proof) check(i Issuer, now time.Time) error {
	exp, iat := p.registered.Expiry, p.registered.IssuedAt
	if exp == nil || iat == nil || *iat <= 0 || *exp > year9999 {
		return errors.New("exp or iat is missing or no sensible time")
	}
	if i.MaxAge > 0 && now.After(iat.Time().Add(i.MaxAge+leeway)) {
		return errors.New("iat is older than the issuer's maxAge")
	}
	// go-jose names the claim that fails, not its value.
	return p.registered.ValidateWithLeeway(jwt.Expected{AnyAudience: i.Audience,
		Time: now}, leeway)
}
