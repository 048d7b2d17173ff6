package caller_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

func TestAttackHS256SignedWithTheRSAPublicKey(t *testing.T) {
	r, p := provided(t, caller.Issuer{}, "RS256")
	r.accepted(t, p.Token(nil)) // the twin, which also brings the keys
	jwk := p.PublicKey()
	public := jwk.Key.(*rsa.PublicKey)
	pkix, pkcs1 := must(x509.MarshalPKIXPublicKey(public)), x509.MarshalPKCS1PublicKey(public)
	for name, secret := range map[string][]byte{
		"PKIX PEM":  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"PKIX DER":  pkix,
		"PKCS1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"PKCS1 DER": pkcs1,
		"JWK":       must(jwk.MarshalJSON()), "modulus": public.N.Bytes(), "empty": {},
	} {
		for _, algorithm := range []string{"HS256", "RS256"} {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				header := fmt.Sprintf(`{"alg":%q,"kid":%q}`, algorithm, jwk.KeyID)
				r.refused(t, hs256(secret, header, honest(r.clock, nil)))
			})
		}
	}
}

// keyRing is one private key of each kind.
type keyRing struct {
	p256, p384, p521 *ecdsa.PrivateKey
	rsa, weak        *rsa.PrivateKey
	ed               ed25519.PrivateKey
}

func newKeyRing() keyRing {
	ec := func(c elliptic.Curve) *ecdsa.PrivateKey {
		return must(ecdsa.GenerateKey(c, rand.Reader))
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return keyRing{ec(elliptic.P256()), ec(elliptic.P384()), ec(elliptic.P521()),
		must(rsa.GenerateKey(rand.Reader, 2048)), must(rsa.GenerateKey(rand.Reader, 1536)),
		must(ed, err)}
}

func jwk(public any, id, algorithm string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: public, KeyID: id, Algorithm: algorithm}
}

func TestAttackKeyOfAnotherAlgorithm(t *testing.T) {
	keys := newKeyRing()
	public := keys.rsa.Public()
	enc := jwk(public, "enc", "")
	enc.Use = "enc"
	r := newRig(t, caller.Issuer{}, published(
		jwk(keys.p256.Public(), "p256", ""), jwk(keys.p384.Public(), "p384", "ES384"),
		jwk(keys.p521.Public(), "p521", ""), jwk(keys.ed.Public(), "ed", ""),
		jwk(public, "rsa", ""), jwk(public, "ps", "PS256"), jwk(public, "rs512", "RS512"),
		jwk(keys.weak.Public(), "weak", "RS256"), jwk(keys.p256.Public(), "mislabelled", "ES384"),
		jwk(public, "oaep", "RSA-OAEP"), jwk([]byte(linkKey), "oct", "HS256"),
		jwk(keys.rsa, "private", "RS256"), enc,
		map[string]any{"kty": "unheard-of", "kid": "odd"}, "no key", 7,
	))
	for _, test := range []struct {
		algorithm jose.SignatureAlgorithm
		private   any
		id        string
		good      bool
	}{
		{jose.ES256, keys.p256, "p256", true}, {jose.ES384, keys.p384, "p384", true},
		{jose.ES512, keys.p521, "p521", true}, {jose.EdDSA, keys.ed, "ed", true},
		{jose.RS256, keys.rsa, "rsa", true}, {jose.RS384, keys.rsa, "rsa", true}, // without alg
		{jose.RS512, keys.rsa, "rsa", true}, {jose.PS256, keys.rsa, "rsa", true},
		{jose.PS384, keys.rsa, "rsa", true}, {jose.PS512, keys.rsa, "rsa", true},
		{jose.PS256, keys.rsa, "ps", true}, {jose.RS512, keys.rsa, "rs512", true},
		{jose.ES384, keys.p384, "p256", false}, // the wrong curve
		{jose.ES256, keys.p256, "p384", false}, {jose.ES256, keys.p256, "mislabelled", false},
		{jose.RS256, keys.weak, "weak", false}, {jose.PS512, keys.rsa, "ps", false},
		{jose.RS256, keys.rsa, "ps", false}, {jose.RS256, keys.rsa, "rs512", false},
		{jose.RS256, keys.rsa, "enc", false}, {jose.RS256, keys.rsa, "oaep", false},
		{jose.RS256, keys.rsa, "private", false}, {jose.HS256, []byte(linkKey), "oct", false},
	} {
		t.Run(string(test.algorithm)+" with "+test.id, func(t *testing.T) {
			token := signWith(t, r.clock, test.algorithm, test.private, test.id)
			r.verified(t, token, test.good)
			// a forged signature of its length
			end := strings.LastIndexByte(token.Reveal(), '.') + 1
			forged := b64(string(make([]byte, (len(token)-end)*3/4)))
			r.refused(t, token[:end]+weboffice.Secret(forged))
		})
	}
	for _, dropped := range []string{
		`key 8 (kid \"weak\"): RSA of 1536 bits is too weak`,
		`(kid \"mislabelled\"): its type does not fit its alg, \"ES384\"`,
		`(kid \"enc\"): its use is \"enc\"`, `(kid \"private\"): not a public key`, `(kid \"odd\")`,
		`key 15 (kid \"\"): no JSON object`, "keys=7",
	} {
		if !strings.Contains(r.log.String(), dropped) {
			t.Errorf("the log does not say %s: %s", dropped, r.log)
		}
	}
}

// What an issuer made a key for is in its key_ops, and otherwise only its numbers count: users of a
// whole provider were locked out, since Go refuses a certificate with a negative serial.
func TestMembersOfAKey(t *testing.T) {
	k, other := newECKey(t, "k"), newECKey(t, "other")
	template := &x509.Certificate{SerialNumber: big.NewInt(5)}
	der := must(x509.CreateCertificate(nil, template, template, k.Public(), k.PrivateKey))
	der[strings.Index(string(der), "\xa0\x03\x02\x01\x02\x02\x01\x05")+7] = 0xfb // -5
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("the certificate is no trap")
	}
	certificate := `{"x5c":[` + string(must(json.Marshal(der))) + `]}`
	for _, line := range append(table(t, "members"), []string{certificate}) {
		members, dropped := line[0], strings.Join(line[1:], "")
		var key map[string]any
		for _, text := range [][]byte{must(k.public().MarshalJSON()), []byte(members)} {
			if err := json.Unmarshal(text, &key); err != nil {
				t.Fatal(err)
			}
		}
		r := newRig(t, caller.Issuer{}, published(key, other.public()))
		r.verified(t, k.sign(header, honest(r.clock, nil)), dropped == "")
		r.refused(t, other.sign(header, honest(r.clock, nil)))
		if !strings.Contains(r.log.String(), dropped) {
			t.Errorf("%s: the log does not say why: %s", members, r.log)
		}
	}
}

// RFC 9864 names the algorithm Ed25519; most say EdDSA. Keys and tokens may use either.
func TestBothNamesOfEd25519(t *testing.T) {
	private, other := newKeyRing().ed, newECKey(t, "other").public()
	for _, named := range []string{"", "EdDSA", "Ed25519", "ES256"} {
		r := newRig(t, caller.Issuer{}, published(jwk(private.Public(), "k", named), other))
		for _, alg := range []string{"EdDSA", "Ed25519", "Ed448", "RS256"} {
			input := b64(`{"alg":"`+alg+`","kid":"k"}`) + "." + b64(honest(r.clock, nil))
			signature := b64(string(ed25519.Sign(private, []byte(input))))
			r.verified(t, weboffice.Secret(input+"."+signature),
				named != "ES256" && (alg == "EdDSA" || alg == "Ed25519"))
		}
	}
}

func TestSeveralKeysFitOneToken(t *testing.T) {
	var same, others []any
	var keys []ecKey
	for i := range 10 {
		keys = append(keys, newECKey(t, "k"))
		same = append(same, keys[i].public())
		other := keys[i]
		other.id = fmt.Sprint(i)
		others = append(others, other.public())
	}
	r, none := newRig(t, caller.Issuer{}, published(same...)), `{"alg":"ES256"}`
	kidless, claims := newRig(t, caller.Issuer{}, published(others...)), honest(r.clock, nil)
	for i, k := range keys { // eight are tried
		r.verified(t, k.sign(header, claims), i < 8)
		kidless.verified(t, k.sign(none, claims), i < 8)
		kidless.accepted(t, k.sign(fmt.Sprintf(`{"alg":"ES256","kid":"%d"}`, i), claims))
	}
	kidless.refused(t, keys[0].sign(`{"alg":"ES256","kid":"1"}`, claims))
	r.refused(t, newECKey(t, "k").sign(header, claims))
	kidless.refused(t, newECKey(t, "").sign(none, claims))
}
