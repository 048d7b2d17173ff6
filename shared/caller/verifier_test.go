package caller_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

func TestVerifyGivesTheCaller(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			c := newClock()
			p := issuer.New(issuer.Options{Now: c.Now, Algorithm: algorithm})
			p.SetURL(issuerURL)
			s := newScene(t, caller.Issuer{}, c, inProcess{p})
			got := s.accepted(t, p.Token(map[string]any{
				"name": "Ann", "picture": "https://example.com/ann.png",
				"groups":   []string{"editors"},
				"employee": json.Number("12345678901234567890"),
				"nested":   map[string]any{"levels": []int{1}},
			}))
			if got.Issuer != "staff" || got.IssuerURL != issuerURL || got.Subject != "ann" ||
				got.Guest() || got.Link != nil {
				t.Errorf("got %+v", got)
			}
			if want := (caller.User{ID: "ann", Name: "Ann",
				Avatar: "https://example.com/ann.png"}); got.User != want {
				t.Errorf("got user %+v", got.User)
			}
			if !got.IssuedAt.Equal(c.Now()) || !got.Expires.Equal(c.Now().Add(time.Hour)) {
				t.Errorf("got %v to %v", got.IssuedAt, got.Expires)
			}
			if got.Claims["employee"] != json.Number("12345678901234567890") {
				t.Errorf("a number lost digits: %v", got.Claims["employee"])
			}
			levels, _ := got.Claims["nested"].(map[string]any)["levels"].([]any)
			if len(levels) != 1 || levels[0] != json.Number("1") {
				t.Errorf("got nested %v", got.Claims["nested"])
			}
			if s.wire.count() != 2 {
				t.Errorf("requests: %v", s.wire.requests)
			}
		})
	}
}

func TestAttackLookalikeIssuerCausesNoRequest(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	for _, iss := range []any{
		"", nil, 7, []string{issuerURL}, map[string]any{issuerURL: true},
		issuerURL + "/", issuerURL + "#", issuerURL + "?", issuerURL + "?x=1", issuerURL + "/#/",
		issuerURL + " ", " " + issuerURL,
		issuerURL + "\x00", issuerURL + ":443", issuerURL + ".", issuerURL + ".evil.example",
		issuerURL + "@evil.example",
		"https://ann@login.example.com", "https://login.example.com%2F",
		"https://login%2Eexample.com", "https:%2F%2Flogin.example.com",
		"HTTPS://login.example.com", "https://LOGIN.example.com", "http://login.example.com",
		"//login.example.com", "login.example.com",
		"https://l\u043egin.example.com", "https://xn--lgin-55d.example.com", "https://192.0.2.7",
		"https://[::1]", "http://169.254.169.254",
		"http://127.0.0.1:9000", "file:///etc/passwd", "staff", "STAFF", "Links", "links ",
		"links/",
	} {
		if reason := s.refused(t, p.Token(map[string]any{"iss": iss})); !strings.Contains(reason,
			"iss") {
			t.Errorf("%v: refused for another reason: %s", iss, reason)
		}
	}
	if s.wire.count() != 0 {
		t.Errorf("requests left: %v", s.wire.requests)
	}
	s.accepted(t, p.Token(nil)) // the twin
}

func TestAttackHS256SignedWithTheRSAPublicKey(t *testing.T) {
	c := newClock()
	p := issuer.New(issuer.Options{Now: c.Now})
	p.SetURL(issuerURL)
	s := newScene(t, caller.Issuer{}, c, inProcess{p})
	s.accepted(t, p.Token(nil)) // the twin, which also brings the keys
	jwk := p.PublicKey()
	public := jwk.Key.(*rsa.PublicKey)
	pkix, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := jwk.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	for name, secret := range map[string][]byte{
		"PKIX PEM":  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"PKIX DER":  pkix,
		"PKCS1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"PKCS1 DER": pkcs1,
		"JWK":       asJSON, "modulus": public.N.Bytes(), "empty": {},
	} {
		for _, algorithm := range []string{"HS256", "RS256"} {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				s.refused(t, hs256(secret, fmt.Sprintf(`{"alg":%q,"kid":%q}`, algorithm, jwk.KeyID),
					honest(c, nil)))
			})
		}
	}
}

func TestAttackAlgorithmNoneInAnySpelling(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	s := newScene(t, caller.Issuer{}, c, inProcess{published(k.public())})
	for _, alg := range []string{
		`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `"\u006eone"`, `""`, `null`, `"es256"`,
		`"ES256 "`, `["ES256"]`, `1`,
	} {
		header := `{"kid":"k","alg":` + alg + `}`
		s.refused(t, k.sign(header, honest(c, nil)))
		unsigned := weboffice.Secret(b64(header) + "." + b64(honest(c, nil)) + ".")
		s.refused(t, unsigned)
		s.refused(t, weboffice.Secret(strings.TrimSuffix(unsigned.Reveal(), ".")))
	}
	s.refused(t, k.sign(`{"kid":"k"}`, honest(c, nil)))
	s.accepted(t, k.sign(`{"kid":"k","alg":"ES256"}`, honest(c, nil))) // the twin
}

func TestAttackHeaderBringsItsOwnKey(t *testing.T) {
	c, good, evil := newClock(), newECKey(t, "k"), newECKey(t, "k")
	s := newScene(t, caller.Issuer{}, c, inProcess{published(good.public())})
	jwk, err := json.Marshal(evil.public())
	if err != nil {
		t.Fatal(err)
	}
	for _, extra := range []string{
		`"jwk":` + string(jwk), `"jwk":null`, `"jku":"https://evil.example/keys"`,
		`"x5u":"https://evil.example/chain"`, `"x5c":["AAAA"]`, `"x5c":[]`,
		`"crit":["b64"],"b64":false`, `"crit":["exp"]`, `"crit":[]`, `"crit":null`, `"b64":false`,
		`"b64":true`,
	} {
		header := `{"alg":"ES256","kid":"k",` + extra + `}`
		for name, k := range map[string]ecKey{"evil": evil, "good": good} {
			if reason := s.refused(t, k.sign(header, honest(c, nil))); !strings.HasPrefix(reason,
				"header") {
				t.Errorf("%s key, %s: refused for another reason: %s", name, extra, reason)
			}
		}
	}
	if s.wire.count() != 0 {
		t.Errorf("requests left: %v", s.wire.requests)
	}
	s.refused(t, evil.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil)))
	// the twin
	s.accepted(t, good.sign(`{"alg":"ES256","kid":"k","x5t":"AAAA","cty":"JWT","nonce":"n"}`,
		honest(c, nil)))
}

func TestAttackKeyOfAnotherAlgorithm(t *testing.T) {
	c := newClock()
	p256, p384 := newECKey(t, "p256"), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p521 := must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	rsa2048, rsa1536 := must(rsa.GenerateKey(rand.Reader, 2048)),
		must(rsa.GenerateKey(rand.Reader, 1536))
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := func(public any, id, algorithm string) jose.JSONWebKey {
		return jose.JSONWebKey{Key: public, KeyID: id, Algorithm: algorithm}
	}
	enc := k(rsa2048.Public(), "enc", "")
	enc.Use = "enc"
	s := newScene(t, caller.Issuer{}, c, inProcess{published(
		k(p256.Public(), "p256", ""), k(p384.Public(), "p384", "ES384"),
		k(p521.Public(), "p521", ""), k(edPublic, "ed", ""),
		k(rsa2048.Public(), "rsa", ""), k(rsa2048.Public(), "ps", "PS256"),
		k(rsa2048.Public(), "rs512", "RS512"),
		k(rsa1536.Public(), "weak", "RS256"), k(p256.Public(), "mislabelled", "ES384"),
		k(rsa2048.Public(), "oaep", "RSA-OAEP"),
		k([]byte(linkKey), "oct", "HS256"), k(rsa2048, "private", "RS256"), enc,
		map[string]any{"kty": "unheard-of", "kid": "x"}, "no key", 7,
	)})
	for _, test := range []struct {
		name      string
		algorithm jose.SignatureAlgorithm
		private   any
		id        string
		good      bool
	}{
		{"P-256", jose.ES256, p256.PrivateKey, "p256", true},
		{"P-384", jose.ES384, p384, "p384", true},
		{"P-521", jose.ES512, p521, "p521", true},
		{"Ed25519", jose.EdDSA, edPrivate, "ed", true},
		{"RSA of 2,048 bits", jose.RS256, rsa2048, "rsa", true},
		{"RSA without alg, PS256", jose.PS256, rsa2048, "rsa", true},
		{"RSA without alg, RS384", jose.RS384, rsa2048, "rsa", true},
		{"RSA whose alg is PS256", jose.PS256, rsa2048, "ps", true},
		{"RSA whose alg is RS512", jose.RS512, rsa2048, "rs512", true},
		{"wrong curve: P-384 for a P-256 key", jose.ES384, p384, "p256", false},
		{"wrong curve: P-256 for a P-384 key", jose.ES256, p256.PrivateKey, "p384", false},
		{"wrong curve: the key's alg is another curve's", jose.ES256, p256.PrivateKey,
			"mislabelled", false},
		{"RSA under 2,048 bits", jose.RS256, rsa1536, "weak", false},
		{"PS512 with a PS256 key", jose.PS512, rsa2048, "ps", false},
		{"RS256 with an RS512 key", jose.RS256, rsa2048, "rs512", false},
		{"RS256 with a PS256 key", jose.RS256, rsa2048, "ps", false},
		{"encryption key", jose.RS256, rsa2048, "enc", false},
		{"key for RSA-OAEP", jose.RS256, rsa2048, "oaep", false},
		{"published private key", jose.RS256, rsa2048, "private", false},
		{"symmetric key in the key set", jose.HS256, []byte(linkKey), "oct", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := signWith(t, c, test.algorithm, test.private, test.id)
			if test.good {
				s.accepted(t, token)
			} else {
				s.refused(t, token)
			}
		})
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func TestAttackDuplicateNames(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	s := newScene(t, caller.Issuer{}, c, inProcess{published(k.public())})
	const header = `{"alg":"ES256","kid":"k"}`
	with := func(extra string) string {
		return strings.TrimSuffix(honest(c, nil), "}") + "," +
			extra + "}"
	}
	for _, payload := range []string{
		with(`"sub":"bob"`), with(`"sub":"ann"`), with(`"s\u0075b":"bob"`),
		with(`"exp":9999999999`),
		with(`"x":1,"x":2`), with(`"x":{"y":1,"y":1}`),
		with(`"x":[{"y":[{"z":1,"z":2}]}]`),
	} {
		s.refused(t, k.sign(header, payload))
	}
	for _, header := range []string{
		`{"alg":"none","kid":"k","alg":"ES256"}`, `{"alg":"ES256","kid":"x","kid":"k"}`,
		`{"alg":"ES256","kid":"k","k\u0069d":"k"}`,
	} {
		s.refused(t, k.sign(header, honest(c, nil)))
	}
	// the twin: other names, other objects
	got := s.accepted(t, k.sign(header, with(`"Sub":"bob","EXP":1,"x":{"y":1},"z":{"y":2}`)))
	if got.Subject != "ann" {
		t.Errorf("got subject %q", got.Subject)
	}
}

func TestAttackMalformedToken(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	s := newScene(t, caller.Issuer{}, c, inProcess{published(k.public())})
	const header = `{"alg":"ES256","kid":"k"}`
	good := k.sign(header, honest(c, nil)).Reveal()
	parts := strings.Split(good, ".")
	inJSON := fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0],
		parts[2])
	for name, token := range map[string]string{
		"empty": "", "dots": "..", "many dots": strings.Repeat(".", 8000), "one part": parts[0],
		"two parts":  parts[0] + "." + parts[1],
		"five parts": good + ".e.e", "JSON serialization": inJSON, "leading space": " " + good,
		"trailing newline": good + "\n",
		"newline inside": parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." +
			parts[2],
		"padding":                  parts[0] + "=." + parts[1] + "." + parts[2],
		"rubbish after the claims": parts[0] + "." + parts[1] + "!." + parts[2],
		"rubbish after the header": parts[0] + "!." + parts[1] + "." + parts[2],
		"standard alphabet":        strings.ReplaceAll(good, parts[0], "+/+/"),
		"cut signature":            good[:len(good)-4],
		"no signature":             parts[0] + "." + parts[1] + ".",
		"payload null":             k.sign(header, `null`).Reveal(),
		"payload list":             k.sign(header, `[]`).Reveal(),
		"payload text":             k.sign(header, `"x"`).Reveal(),
		"payload empty":            k.sign(header, ``).Reveal(),
		"two payloads":             k.sign(header, honest(c, nil)+honest(c, nil)).Reveal(),
		"header null":              k.sign(`null`, honest(c, nil)).Reveal(),
		"payload no UTF-8": k.sign(header, strings.Replace(honest(c, nil), "ann", "ann\xff",
			1)).Reveal(),
		"deep": k.sign(header, strings.Repeat(`{"x":`, 1000)+"1"+
			strings.Repeat("}", 1000)).Reveal(),
		"typ a list": k.sign(`{"alg":"ES256","kid":"k","typ":["JWT"]}`,
			honest(c, nil)).Reveal(),
		"kid a number": k.sign(`{"alg":"ES256","kid":7}`, honest(c, nil)).Reveal(),
		"bearer":       "Bearer " + good,
	} {
		t.Run(name, func(t *testing.T) { s.refused(t, weboffice.Secret(token)) })
	}
	filler := func(size int) weboffice.Secret { // of size bytes, or one or two less
		empty := len(k.sign(header, honest(c, map[string]any{"x": ""})))
		return k.sign(header, honest(c, map[string]any{"x": strings.Repeat("x", (size-empty)*3/4)}))
	}
	s.accepted(t, filler(8<<10)) // the twins
	s.accepted(t, weboffice.Secret(good))
	s.refused(t, filler(8<<10+4))
	if n := len(filler(8 << 10)); n < 8<<10-4 {
		t.Errorf("the longest token has only %d bytes", n)
	}
}

func TestAttackTwoSpellingsOfOneToken(t *testing.T) {
	c, k := newClock(), newECKey(t, "k")
	s := newScene(t, caller.Issuer{}, c, inProcess{published(k.public())})
	for _, spaces := range []string{"", " ", "  "} { // one of them ends with bits to spare
		token := k.sign(`{"alg":"ES256","kid":"k"}`, honest(c, nil)+spaces).Reveal()
		s.accepted(t, weboffice.Secret(token)) // the twin
		parts := strings.Split(token, ".")
		last := parts[1][len(parts[1])-1]
		if spare := len(parts[1]) % 4; spare == 0 {
			continue
		}
		// the last bit of the last letter is to spare
		other := parts[1][:len(parts[1])-1] + string(last+1)
		if lenient := must(base64.RawURLEncoding.DecodeString(other)); string(lenient) != honest(c,
			nil)+spaces {
			t.Fatalf("not another spelling: %s", lenient)
		}
		s.refused(t, weboffice.Secret(parts[0]+"."+other+"."+parts[2]))
	}
}

func TestAttackChangedToken(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	token, other := p.Token(nil).Reveal(), p.Token(map[string]any{"sub": "bob"}).Reveal()
	parts, others := strings.Split(token, "."), strings.Split(other, ".")
	// the claims of one, the signature of another
	s.refused(t, weboffice.Secret(parts[0]+"."+others[1]+"."+parts[2]))
	s.refused(t, weboffice.Secret(parts[0]+"."+parts[1]+"."+b64(string(make([]byte, 64)))))
	s.accepted(t, weboffice.Secret(other))
}

func TestAttackLogoutToken(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	claims := []byte(honest(s.clock, nil))
	for _, typ := range []any{"logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "secevent+jwt",
		"dpop+jwt", "", 7} {
		s.refused(t, p.Sign(map[string]any{"typ": typ}, claims))
	}
	events := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	for _, claims := range []map[string]any{{"events": events}, {"events": events, "nonce": "n"},
		{"events": "x"}} {
		s.refused(t, p.Token(claims))
	}
	s.refused(t, p.Sign(nil, []byte(strings.TrimSuffix(string(claims), "}")+`,"events":null}`)))
	for _, typ := range []any{"JWT", "jwt", "at+jwt", "application/at+jwt", nil} { // the twins
		s.accepted(t, p.Sign(map[string]any{"typ": typ}, claims))
	}
	s.accepted(t, p.Token(map[string]any{"nonce": "n", "sid": "s"}))
}

func TestAttackClaims(t *testing.T) {
	s, p := provided(t, caller.Issuer{MaxAge: 24 * time.Hour})
	second := func(d time.Duration) int64 { return s.clock.unix(d) }
	raw := func(name, value string) string {
		return strings.TrimSuffix(honest(s.clock, map[string]any{name: nil}), "}") + `,"` + name +
			`":` + value + `}`
	}
	for _, test := range []struct {
		claim string
		bad   []string // as JSON
		good  []string
	}{
		{"exp",
			[]string{`null`, `"` + fmt.Sprint(second(time.Hour)) + `"`, `NaN`, `Infinity`, `-1`,
				`-9999999999`, `0`, `true`, `[9999999999]`,
				`{}`, `1e300`, `1e400`, `9223372036854775807`, `9223372036854775808`,
				`253402300800`, fmt.Sprint(second(-61 * time.Second)),
				fmt.Sprint(second(-time.Hour)), `0x7fffffff`},
			[]string{fmt.Sprint(second(-59 * time.Second)), fmt.Sprint(second(time.Second)) + `.5`,
				`253402300799`, `1.9e9`}},
		{"iat",
			[]string{`null`, `"` + fmt.Sprint(second(0)) + `"`, `NaN`, `-1`, `0`, `true`, `[1]`,
				`1e300`, fmt.Sprint(second(61 * time.Second)),
				fmt.Sprint(second(time.Hour)), fmt.Sprint(second(-24*time.Hour - 61*time.Second)),
				`1`},
			[]string{fmt.Sprint(second(59 * time.Second)), fmt.Sprint(second(0)) + `.25`,
				fmt.Sprint(second(-24*time.Hour - 59*time.Second))}},
		{"nbf",
			[]string{`"0"`, `NaN`, `true`, `[1]`, `1e300`, `9223372036854775807`,
				`4611686018427387904`,
				fmt.Sprint(second(61 * time.Second)), fmt.Sprint(second(time.Hour))},
			[]string{fmt.Sprint(second(59 * time.Second)), fmt.Sprint(second(-time.Hour)), `1`,
				`null`}},
		{"aud",
			[]string{`null`, `""`, `[]`, `[[]]`, `["weboffice",1]`, `"Weboffice"`, `"WEBOFFICE"`,
				`"weboffice "`, `"weboffice/"`, `"web"`,
				`"weboffice,other"`, `["other"]`, `["WEBOFFICE"]`, `{"weboffice":true}`, `true`,
				`1`},
			[]string{`"weboffice"`, `["weboffice"]`, `["other","weboffice"]`}},
		{"sub",
			[]string{`null`, `""`, `["ann"]`, `[]`, `{"id":"ann"}`, `7.5`, `true`,
				`"` + strings.Repeat("x", 256) + `"`},
			[]string{`"bob"`, `7`, `"` + strings.Repeat("x", 255) + `"`, `"\u5f20"`}},
	} {
		t.Run(test.claim, func(t *testing.T) {
			for _, value := range test.bad {
				t.Run(value, func(t *testing.T) {
					s.refused(t, p.Sign(nil, []byte(raw(test.claim, value))))
				})
			}
			if test.claim != "nbf" {
				t.Run("missing", func(t *testing.T) {
					s.refused(t, p.Token(map[string]any{test.claim: nil}))
				})
			}
			for _, value := range test.good {
				t.Run("twin "+value, func(t *testing.T) {
					s.accepted(t, p.Sign(nil, []byte(raw(test.claim, value))))
				})
			}
		})
	}
}

// What a proof said is remembered, but not that it was valid.
func TestAttackRememberedProofPastItsEnd(t *testing.T) {
	for name, end := range map[string]map[string]any{"exp": {"exp": int64(1_800_000_300)},
		"maxAge": {"iat": int64(1_800_000_300 - 24*3600)}} {
		t.Run(name, func(t *testing.T) {
			s, p := provided(t, caller.Issuer{MaxAge: 24 * time.Hour})
			token := p.Token(end)
			first := s.accepted(t, token)
			s.clock.Advance(6*time.Minute - time.Second)
			if again := s.accepted(t, token); !reflect.DeepEqual(again, first) { // the twin
				t.Errorf("%+v, then %+v", first, again)
			}
			s.clock.Advance(2 * time.Second)
			s.refused(t, token)
		})
	}
}

func TestProofShownByManyAtOnce(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	// not verified: taken out of the claims
	token := p.Token(map[string]any{"email": "ann@example.com", "groups": []string{"editors"}})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if c, err := s.Verify(t.Context(), token); err != nil || c.Claims["email"] != nil ||
				c.Claims["groups"] == nil {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
	all.Wait()
}

func TestMaxAgeOfZeroAcceptsAnyAge(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	s.accepted(t, p.Token(map[string]any{"iat": 1}))
	s.refused(t, p.Token(map[string]any{"iat": 0}))
	s.refused(t, p.Token(map[string]any{"iat": -1}))
}

func TestAttackUnverifiedEmail(t *testing.T) {
	const missing, untrue = "email_verified is missing", "email_verified is not true"
	for _, test := range []struct {
		trust           bool
		email           any
		verified, camel any    // email_verified, emailVerified
		why             string // it does not count; "": it counts
	}{
		{false, "ann@example.com", true, nil, ""}, {false, "ann@example.com", "true", nil, ""},
		{true, "ann@example.com", nil, nil, ""}, {true, "ann@example.com", false, nil, ""},
		{false, "ann@example.com", nil, true, ""}, {false, "ann@example.com", nil, "true", ""},
		{false, "ann@example.com", nil, nil, missing},
		{false, "ann@example.com", false, nil, untrue}, {false, "ann@example.com", "TRUE", nil, untrue},
		{false, "ann@example.com", 1, nil, untrue}, {false, "ann@example.com", []bool{true}, nil, untrue},
		{false, "ann@example.com", false, true, untrue},
		{false, "ann@example.com", nil, false, "emailVerified is not true"},
		{true, `"a@evil.example"@example.com`, true, nil, "plain address"},
		{true, "a@evil.example, b@example.com", true, nil, "plain address"},
		{true, []string{"ann@example.com"}, true, nil, "plain address"}, {true, 7, true, nil, "plain address"},
	} {
		s, p := provided(t, caller.Issuer{TrustEmail: test.trust})
		got := s.accepted(t, p.Token(map[string]any{"email": test.email,
			"email_verified": test.verified, "emailVerified": test.camel}))
		if _, counts := got.Claims["email"]; counts != (test.why == "") ||
			!strings.Contains(got.EmailIgnored, test.why) || counts != (got.EmailIgnored == "") {
			t.Errorf("%+v: counts %v, %s", test, counts, got.EmailIgnored)
		}
	}
	s, p := provided(t, caller.Issuer{User: caller.UserClaims{ID: "email"}})
	s.refused(t, p.Token(map[string]any{"email": "ann@example.com"}))
	if got := s.accepted(t, p.Token(map[string]any{"email": "ann@example.com",
		"email_verified": true})); got.User.ID != "ann@example.com" {
		t.Errorf("got %+v", got.User)
	}
}

func TestUserClaims(t *testing.T) {
	s, p := provided(t, caller.Issuer{User: caller.UserClaims{ID: "employee", Name: "nick",
		Avatar: "photo"}})
	for _, id := range []any{nil, "", 7.5, true, []string{"e1"}, map[string]any{},
		strings.Repeat("x", 256)} {
		s.refused(t, p.Token(map[string]any{"employee": id}))
	}
	for photo, kept := range map[any]bool{
		"https://example.com/a.png": true, "http://example.com/a.png": false,
		"http://127.0.0.1/a.png": false, "javascript:alert(1)": false,
		"data:image/png;base64,AA": false, "https:///a.png": false,
		"https://ann@example.com/a.png": false, "//example.com/a.png": false,
		7: false, nil: false,
		"https://example.com/" + strings.Repeat("a", 1004): true, "https://example.com/" +
			strings.Repeat("a", 1005): false,
	} {
		got := s.accepted(t, p.Token(map[string]any{"employee": "e1", "nick": true, "name": "Ann",
			"photo": photo}))
		if got.User.ID != "e1" || got.Subject != "ann" || got.User.Name != "" ||
			(got.User.Avatar != "") != kept {
			t.Errorf("%v: got %+v", photo, got.User)
		}
	}
}

func TestTokenWithoutKeyID(t *testing.T) {
	c, one, two := newClock(), newECKey(t, "1"), newECKey(t, "2")
	rsa2048 := jose.JSONWebKey{Key: must(rsa.GenerateKey(rand.Reader, 2048)).Public(), KeyID: "r"}
	single := newScene(t, caller.Issuer{}, c, inProcess{published(one.public(), rsa2048)})
	single.accepted(t, one.sign(`{"alg":"ES256"}`, honest(c, nil)))
	single.refused(t, two.sign(`{"alg":"ES256"}`, honest(c, nil)))
	double := newScene(t, caller.Issuer{}, c, inProcess{published(one.public(), two.public())})
	double.accepted(t, one.sign(`{"alg":"ES256","kid":"1"}`, honest(c, nil)))
	double.accepted(t, one.sign(`{"alg":"ES256"}`, honest(c, nil)))
	double.accepted(t, two.sign(`{"alg":"ES256"}`, honest(c, nil)))
	double.refused(t, one.sign(`{"alg":"ES256","kid":"2"}`, honest(c, nil)))
}

func TestAttackTokenOfAnotherIssuer(t *testing.T) {
	c := newClock()
	staff := issuer.New(issuer.Options{Now: c.Now, Algorithm: "ES256"})
	staff.SetURL(issuerURL)
	partners := issuer.New(issuer.Options{Now: c.Now, Algorithm: "ES256"})
	partners.SetURL("https://partners.example.com")
	both := inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		map[string]http.Handler{"login.example.com": staff,
			"partners.example.com": partners}[r.URL.Host].ServeHTTP(w, r)
	})}
	s := scene{clock: c, wire: &wire{next: both}}
	v, err := caller.NewVerifier(caller.Options{
		Issuers: []caller.Issuer{
			{Name: "staff", URL: staff.URL(), Audience: []string{"weboffice"}},
			{Name: "partners", URL: partners.URL(), Audience: []string{"partners"}},
		},
		Client: &http.Client{Transport: both}, Now: c.Now, Logger: discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Verifier = v
	// the twins
	own, foreign := s.accepted(t, staff.Token(nil)),
		s.accepted(t, partners.Token(map[string]any{"aud": "partners"}))
	if own.Issuer == foreign.Issuer || own.IssuerURL == foreign.IssuerURL ||
		own.Subject != foreign.Subject {
		t.Errorf("equal subjects of two issuers: %+v, %+v", own, foreign)
	}
	s.refused(t, partners.Token(map[string]any{"iss": staff.URL()}))
	s.refused(t, partners.Token(nil)) // the audience of the other issuer
	s.refused(t, staff.Token(map[string]any{"iss": partners.URL(), "aud": "partners"}))
}

func TestNewVerifierRefusesBadOptions(t *testing.T) {
	c := newClock()
	good := caller.Issuer{Name: "staff", URL: issuerURL, Audience: []string{"weboffice"}}
	options := func(issuers ...caller.Issuer) caller.Options {
		return caller.Options{Issuers: issuers, Client: &http.Client{}, Now: c.Now, Logger: discard}
	}
	for url, ok := range map[string]bool{
		issuerURL: true, issuerURL + "/": true, issuerURL + "/realms/a": true,
		"http://127.0.0.1:8080": true, "http://localhost:8080/idp": true,
		"http://[::1]:1": true, "": false, "http://login.example.com": false,
		"http://10.0.0.1": false, "ftp://127.0.0.1": false, "links": false,
		issuerURL + "?": false, issuerURL + "?a=b": false, issuerURL + "#": false,
		"https://": false, "https://ann:pw@login.example.com": false,
		"http://localhost.example.com": false, "https://login.example.com\x7f": false,
		"//login.example.com": false,
	} {
		issuer := good
		issuer.URL = url
		if _, err := caller.NewVerifier(options(issuer)); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	bad := func(change func(*caller.Options)) caller.Options {
		o := options(good)
		change(&o)
		return o
	}
	for name, o := range map[string]caller.Options{
		"no name":         bad(func(o *caller.Options) { o.Issuers[0].Name = "" }),
		"name of links":   bad(func(o *caller.Options) { o.Issuers[0].Name = "links" }),
		"no audience":     bad(func(o *caller.Options) { o.Issuers[0].Audience = nil }),
		"negative maxAge": bad(func(o *caller.Options) { o.Issuers[0].MaxAge = -1 }),
		"url twice": options(good, caller.Issuer{Name: "more", URL: issuerURL,
			Audience: []string{"x"}}),
		"short link key": bad(func(o *caller.Options) {
			o.LinkKeys = []weboffice.Secret{"short"}
		}),
		"link key twice": bad(func(o *caller.Options) {
			o.LinkKeys = []weboffice.Secret{linkKey,
				linkKey}
		}),
		"no clock":          bad(func(o *caller.Options) { o.Now = nil }),
		"no client":         bad(func(o *caller.Options) { o.Client = nil }),
		"no logger":         bad(func(o *caller.Options) { o.Logger = nil }),
		"one of two issues": options(good, caller.Issuer{Name: "b", URL: "x", Audience: []string{"x"}}),
	} {
		if _, err := caller.NewVerifier(o); err == nil || strings.Contains(err.Error(), "short") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := caller.NewVerifier(options(caller.Issuer{Name: "one"},
		caller.Issuer{Name: "two", URL: issuerURL}))
	if err == nil || !strings.Contains(err.Error(), "issuer one") ||
		!strings.Contains(err.Error(), "issuer two") {
		t.Errorf("not every problem is named: %v", err)
	}
}

func TestInspect(t *testing.T) {
	s, p := provided(t, caller.Issuer{})
	got, err := s.Inspect(p.Token(map[string]any{"name": "Ann"}))
	if err != nil || got.Issuer != "staff" || got.User.Name != "Ann" {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = s.Inspect(p.Token(map[string]any{"exp": s.clock.unix(-time.Hour)}))
	if err == nil || !strings.Contains(err.Error(), "exp") || got.Subject != "ann" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err = s.Inspect("x"); err == nil {
		t.Error("nonsense was read")
	}
	if s.wire.count() != 0 {
		t.Errorf("requests left: %v", s.wire.requests)
	}
}

func TestCallerFor(t *testing.T) {
	issuer := caller.Issuer{Name: "staff", URL: issuerURL, User: caller.UserClaims{ID: "employee"}}
	got,
		err := issuer.CallerFor(
		[]byte(`{"sub":"ann","employee":"e1","email":"ann@example.com","level":7}`))
	if _, counts := got.Claims["email"]; err != nil || got.Issuer != "staff" ||
		got.IssuerURL != issuerURL || got.User.ID != "e1" ||
		got.Claims["level"] != json.Number("7") || counts {
		t.Errorf("got %+v, %v", got, err)
	}
	links := caller.Issuer{Name: caller.LinkIssuer, URL: caller.LinkIssuer}
	link,
		err := links.CallerFor(
		[]byte(`{"jti":"n1","document":"oss://b/k","grant":["view"],"name":"Ann"}`))
	if err != nil || link.Issuer != caller.LinkIssuer || link.Link == nil ||
		link.Link.Document != "oss://b/k" || link.User.Name != "Ann" {
		t.Errorf("got %+v, %v", link, err)
	}
	for _, claims := range []string{
		`{"sub":"ann"}`, `{"sub":["ann"],"employee":"e1"}`, `{"employee":"e1"}`, `null`, ``,
		`{"sub":"a","sub":"b","employee":"e1"}`,
	} {
		if _, err := issuer.CallerFor([]byte(claims)); err == nil {
			t.Errorf("%s makes a caller", claims)
		}
	}
	if _, err := links.CallerFor([]byte(`{"jti":"n1","document":"oss://b/k"}`)); err == nil {
		t.Error("a link without grant makes a caller")
	}
}
