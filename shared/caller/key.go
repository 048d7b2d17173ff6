package caller

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for hashes
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

const (
	minRSA     = 2048 // bits; go-jose refuses more than 4,096
	maxDropped = 1024 // bytes, of what the log says of keys that are left out
)

// key verifies signatures of its own algorithms.
type key struct {
	id         string
	algorithms []string
	material   any // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey; []byte for share links
}

// hashes belong to the algorithms; EdDSA, which has two names, has none of its own.
var hashes = map[string]crypto.Hash{
	"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512,
	"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512,
	"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512, "HS256": crypto.SHA256,
	"EdDSA": 0, "Ed25519": 0,
}

// rsaAlgorithms are what an RSA key without alg verifies, and what its alg may say.
var rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

// signed says whether the key made the proof's signature, as RFC 7518, RFC 8037 and, for Ed25519's
// own name, RFC 9864 have it. The proof's algorithm must be one of the key's. go-jose would parse
// the header anew, at ten times the cost for a hostile one, and knows Ed25519 as EdDSA alone.
func (k *key) signed(p *proof) bool {
	hash, digest := hashes[p.algorithm], []byte(nil)
	if hash != 0 {
		h := hash.New()
		h.Write(p.signed)
		digest = h.Sum(nil)
	}
	switch material := k.material.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(p.algorithm, "PS") {
			return rsa.VerifyPSS(material, hash, digest, p.signature, nil) == nil
		}
		return rsa.VerifyPKCS1v15(material, hash, digest, p.signature) == nil
	case *ecdsa.PublicKey:
		half := (material.Params().BitSize + 7) / 8
		return len(p.signature) == 2*half && ecdsa.Verify(material, digest,
			new(big.Int).SetBytes(p.signature[:half]), new(big.Int).SetBytes(p.signature[half:]))
	case ed25519.PublicKey:
		return ed25519.Verify(material, p.signed, p.signature)
	case []byte:
		return hmac.Equal(macOf(material, p.signed), p.signature)
	}
	return false
}

// macOf is the signature of HS256, which share links have.
func macOf(key, signed []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	return mac.Sum(nil)
}

// readKeys returns the keys that may verify signatures, and which others were dropped and why:
// those for encryption, symmetric, private, weak and unknown ones.
func readKeys(set []json.RawMessage) (keys []*key, dropped string) {
	var all []string
	for i, raw := range set {
		if k, err := readKey(raw); err != nil {
			all = append(all, fmt.Sprintf("key %d (kid %s): %v", i+1, shown(k.id), err))
		} else {
			keys = append(keys, &k)
		}
	}
	if dropped = strings.Join(all, "; "); len(dropped) > maxDropped {
		dropped = dropped[:maxDropped] + "…"
	}
	return keys, dropped
}

// readKey reads the numbers of a JWK. Certificates beside them are not looked at: a malformed one,
// or one of another key, takes nothing from the issuer's word that this is its key.
func readKey(raw json.RawMessage) (k key, err error) {
	var members map[string]json.RawMessage
	var purpose struct {
		ID         string   `json:"kid"`
		Operations []string `json:"key_ops"`
	}
	if json.Unmarshal(raw, &members) != nil || json.Unmarshal(raw, &purpose) != nil {
		return k, errors.New("no JSON object, its kid no text, or its key_ops no list of texts")
	}
	k.id = purpose.ID
	maps.DeleteFunc(members,
		func(name string, _ json.RawMessage) bool { return strings.HasPrefix(name, "x5") })
	raw, err = json.Marshal(members)
	var jwk jose.JSONWebKey
	if err = errors.Join(err, jwk.UnmarshalJSON(raw)); err != nil {
		return k, errors.New(strings.TrimPrefix(err.Error(), "go-jose/go-jose: "))
	}
	k.material = jwk.Key
	switch public := jwk.Key.(type) {
	case *rsa.PublicKey:
		if k.algorithms = rsaAlgorithms; slices.Contains(rsaAlgorithms, jwk.Algorithm) {
			k.algorithms = []string{jwk.Algorithm}
		}
		if public.N.BitLen() < minRSA {
			return k, fmt.Errorf("RSA of %d bits is too weak", public.N.BitLen())
		}
	case *ecdsa.PublicKey: // go-jose reads three curves
		k.algorithms = map[string][]string{"P-256": {"ES256"}, "P-384": {"ES384"},
			"P-521": {"ES512"}}[public.Params().Name]
	case ed25519.PublicKey:
		k.algorithms = []string{"EdDSA", "Ed25519"} // two names of one algorithm
	default:
		return k, errors.New("not a public key for signatures")
	}
	switch {
	case jwk.Use != "" && jwk.Use != "sig":
		return k, errors.New("its use is " + shown(jwk.Use))
	case purpose.Operations != nil && !slices.Contains(purpose.Operations, "verify"):
		return k, errors.New("its key_ops lack verify")
	case jwk.Algorithm != "" && !slices.Contains(k.algorithms, jwk.Algorithm):
		return k, errors.New("its type does not fit its alg, " + shown(jwk.Algorithm))
	}
	return k, nil
}
