package issuer

import (
	"crypto/rand"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"weboffice-functions/shared/weboffice"
)

// shape is what one real provider serves and issues: the URLs of its discovery and key set, the
// members of its keys, and a token. The times of a token are seconds from now.
type shape struct {
	URL, Keys, Algorithm string
	KeyID                string           `json:"kid"`
	Header               map[string]any   // of its tokens; null: left out
	Key                  map[string]any   // beside its numbers; x5c: a certificate's serial
	Others               []map[string]any // more keys
	Token                map[string]any
	Refused              map[string]map[string]any // changes to the token
	Forbidden            map[string]map[string]any
}

//go:embed shapes.json
var shapesJSON []byte

func shapes() (all map[string]*shape) {
	must(0, json.Unmarshal(shapesJSON, &all))
	return all
}

// Shapes are the names of real providers whose form a Provider can take.
func Shapes() []string { return slices.Sorted(maps.Keys(shapes())) }

// NotMeant are tokens of a shape's provider that its recipe must not let in: those that prove
// nothing to us (401), and those of people without the right (403). By why.
func (p *Provider) NotMeant() (unauthenticated, forbidden map[string]weboffice.Secret) {
	signed := func(all map[string]map[string]any) map[string]weboffice.Secret {
		tokens := map[string]weboffice.Secret{}
		for why, changes := range all {
			tokens[why] = p.Token(changes)
		}
		return tokens
	}
	return signed(p.shape.Refused), signed(p.shape.Forbidden)
}

// claims of a token, its times counted from now.
func (s *shape) claims(now int64) map[string]any {
	all := maps.Clone(s.Token)
	for _, name := range []string{"iat", "nbf", "exp", "auth_time"} {
		if seconds, isTime := all[name].(float64); isTime {
			all[name] = now + int64(seconds)
		}
	}
	return all
}

// published is the key set: the provider's key, and others with the same numbers.
func (s *shape) published(p *Provider) any {
	_, public := p.key()
	keys := []map[string]any{}
	for i, members := range append([]map[string]any{s.Key}, s.Others...) {
		var key map[string]any
		must(0, json.Unmarshal(must(public.MarshalJSON()), &key))
		delete(key, "alg")
		delete(key, "use")
		maps.Copy(key, members)
		if i > 0 {
			key["kid"] = fmt.Sprint("another", i)
		}
		if serial, wanted := key["x5c"].(float64); wanted {
			key["x5c"] = [][]byte{p.certificate(int8(serial))}
		}
		keys = append(keys, key)
	}
	return map[string]any{"keys": keys}
}

// certificate is one of the provider's key. Some real providers publish a negative serial, which Go
// neither makes nor reads.
func (p *Provider) certificate(serial int8) []byte {
	signer, _ := p.key()
	template := &x509.Certificate{SerialNumber: big.NewInt(5)}
	der := must(x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer))
	at := strings.Index(string(der), "\xa0\x03\x02\x01\x02\x02\x01\x05") // version and serial
	der[at+7] = byte(serial)
	return der
}
