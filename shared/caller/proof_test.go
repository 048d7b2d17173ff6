package caller_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// with gives the claims of an honest token and, as JSON, others behind them.
func with(c *clock, extra string) string {
	return strings.TrimSuffix(honest(c, nil), "}") + "," + extra + "}"
}

func TestAttackDuplicateNames(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	for _, extra := range []string{
		`"sub":"bob"`, `"sub":"ann"`, `"s\u0075b":"bob"`, `"exp":9999999999`, `"x":1,"x":2`,
		`"x":{"y":1,"y":1}`, `"x":[{"y":[{"z":1,"z":2}]}]`,
	} {
		r.refused(t, k.sign(header, with(r.clock, extra)), "claims: a name occurs twice")
	}
	for _, header := range []string{
		`{"alg":"none","kid":"k","alg":"ES256"}`, `{"alg":"ES256","kid":"x","kid":"k"}`,
		`{"alg":"ES256","kid":"k","k\u0069d":"k"}`,
	} {
		r.refused(t, k.sign(header, honest(r.clock, nil)), "header: a name occurs twice")
	}
	// the twin: other names, other objects
	got := r.accepted(t, k.sign(header, with(r.clock,
		`"Sub":"bob","EXP":1,"x":{"y":1},"z":{"y":2}`)))
	if got.Subject != "ann" {
		t.Errorf("got subject %q", got.Subject)
	}
}

func TestAttackMalformedToken(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	claims := honest(r.clock, nil)
	good := k.sign(header, claims).Reveal()
	parts := strings.Split(good, ".")
	for token, why := range map[string]string{
		"": "three parts", "..": "not one JSON object", parts[0]: "three parts",
		strings.Repeat(".", 8000): "three parts", parts[0] + "." + parts[1]: "three parts",
		good + ".e.e": "encrypted", good + ".e.e.e": "three parts",
		`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `"}`: "three parts",
		" " + good: "base64url", good + "\n": "three parts", "Bearer " + good: "base64url",
		parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2]: "three parts",
		parts[0] + "=." + parts[1] + "." + parts[2]:                          "base64url",
		parts[0] + "." + parts[1] + "!." + parts[2]:                          "base64url",
		parts[0] + "!." + parts[1] + "." + parts[2]:                          "base64url",
		strings.ReplaceAll(good, parts[0], "+/+/"):                           "base64url",
		good + "!":                      "base64url",
		good[:len(good)-2]:              "signature is not",
		parts[0] + "." + parts[1] + ".": "signature is not",
		k.sign(header, strings.Replace(claims, "ann", "ann\xff", 1)).Reveal(): "UTF-8",
		k.sign(header, strings.Replace(claims, "ann", `\ud800`, 1)).Reveal():  "UTF-8",
		k.sign(header, with(r.clock, `"x":"\udc00\ud800"`)).Reveal():          "UTF-8",
		k.sign(`{"alg":"ES256","kid":"k","typ":["JWT"]}`, claims).Reveal():    "typ",
		k.sign(`{"alg":"ES256","kid":7}`, claims).Reveal():                    "kid",
		k.sign(`{"alg":"ES256","kid":null}`, claims).Reveal():                 "kid",
	} {
		r.refused(t, weboffice.Secret(token), why)
	}
	for _, payload := range []string{`null`, `[]`, `"x"`, ``, `{"x":1`, `{x:1}`, `{"x":1,}`,
		claims + claims, claims + "x"} {
		r.refused(t, k.sign(header, payload), "claims: not one JSON object")
		r.refused(t, k.sign(payload, claims), "header: not one JSON object")
	}
	r.accepted(t, weboffice.Secret(good)) // the twins
	r.accepted(t, k.sign(header, with(r.clock, `"x":"\ud83d\ude00","":[{}]`)))
}

func TestAttackTwoSpellingsOfOneToken(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	for _, spaces := range []string{"", " ", "  "} { // two of them end with bits to spare
		token := k.sign(header, honest(r.clock, nil)+spaces).Reveal()
		r.accepted(t, weboffice.Secret(token)) // the twin
		parts := strings.Split(token, ".")
		signature := string(must(base64.RawURLEncoding.DecodeString(parts[2])))
		longer := b64(signature[:32] + "\x00" + signature[32:]) // the same two numbers
		r.refused(t, weboffice.Secret(parts[0]+"."+parts[1]+"."+longer), "signature")
		for i, part := range parts {
			if len(part)%4 != 0 { // the last bit of the last letter is to spare
				other := append([]string{}, parts...)
				other[i] = part[:len(part)-1] + string(part[len(part)-1]+1)
				r.refused(t, weboffice.Secret(strings.Join(other, ".")), "base64url")
			}
		}
	}
}

func TestAttackSignatureOfAnotherToken(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	ann, bob := p.Token(nil), p.Token(map[string]any{"sub": "bob"})
	signature := ann[strings.LastIndexByte(ann.Reveal(), '.'):]
	r.refused(t, bob[:strings.LastIndexByte(bob.Reveal(), '.')]+signature)
	r.accepted(t, bob) // the twin
}

func TestAttackLogoutToken(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	claims := []byte(honest(r.clock, nil))
	for _, typ := range []any{"logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "secevent+jwt",
		"dpop+jwt", "", 7} {
		r.refused(t, p.Sign(map[string]any{"typ": typ}, claims), "typ")
	}
	for _, events := range []string{
		`{"http://schemas.openid.net/event/backchannel-logout":{}}`, `"x"`, `null`,
	} {
		r.refused(t, p.Sign(nil, []byte(with(r.clock, `"events":`+events))), "events")
		r.refused(t, p.Sign(nil, []byte(with(r.clock, `"e\u0076ents":`+events))), "events")
	}
	for _, typ := range []any{"JWT", "jwt", "at+jwt", "application/at+jwt", nil} { // the twins
		r.accepted(t, p.Sign(map[string]any{"typ": typ}, claims))
	}
	r.accepted(t, p.Token(map[string]any{"nonce": "n", "sid": "s"}))
}

func TestAttackClaims(t *testing.T) {
	r, p := provided(t, caller.Issuer{MaxAge: 24 * time.Hour})
	at := func(d time.Duration) string { return fmt.Sprint(r.clock.unix(d)) }
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for _, test := range []struct {
		claim     string
		good, bad []string // as JSON
	}{
		{"exp", []string{at(-59 * time.Second), at(time.Second) + `.5`, `253402300799`, `1.9e9`},
			[]string{`null`, `"` + at(time.Hour) + `"`, `NaN`, `Infinity`, `-1`, `-9999999999`, `0`,
				`true`, `[9999999999]`, `{}`, `1e300`, `1e400`, `9223372036854775807`,
				`9223372036854775808`, `253402300800`, at(-61 * time.Second), at(-time.Hour),
				`0x7fffffff`}},
		{"iat", []string{at(59 * time.Second), at(0) + `.25`, at(-24*time.Hour - 59*time.Second)},
			[]string{`null`, `"` + at(0) + `"`, `NaN`, `-1`, `0`, `true`, `[1]`, `1e300`, `1`,
				at(61 * time.Second), at(time.Hour), at(-24*time.Hour - 61*time.Second)}},
		{"nbf", []string{at(59 * time.Second), at(-time.Hour), `1`, `0`, `null`},
			[]string{`"0"`, `NaN`, `true`, `[1]`, `1e300`, `9223372036854775807`,
				`4611686018427387904`, at(61 * time.Second), at(time.Hour)}},
		{"aud", []string{`"weboffice"`, `["weboffice"]`, `["other","weboffice"]`},
			[]string{`null`, `""`, `[]`, `[[]]`, `["weboffice",1]`, `"Weboffice"`, `"WEBOFFICE"`,
				`"weboffice "`, `"weboffice/"`, `"web"`, `"weboffice,other"`, `["other"]`,
				`["WEBOFFICE"]`, `{"weboffice":true}`, `true`, `1`}},
		{"sub", []string{`"bob"`, `7`, `"\u5f20"`, long(255)},
			[]string{`null`, `""`, `["ann"]`, `[]`, `{"id":"ann"}`, `7.5`, `true`, long(256)}},
	} {
		signed := func(value string) weboffice.Secret {
			claims := honest(r.clock, map[string]any{test.claim: nil})
			return p.Sign(nil, []byte(strings.TrimSuffix(claims, "}")+
				`,"`+test.claim+`":`+value+`}`))
		}
		for _, value := range test.bad {
			t.Run(test.claim+" "+value, func(t *testing.T) { r.refused(t, signed(value)) })
		}
		for _, value := range test.good {
			t.Run("twin "+test.claim+" "+value, func(t *testing.T) { r.accepted(t, signed(value)) })
		}
		if test.claim != "nbf" {
			r.refused(t, p.Token(map[string]any{test.claim: nil}))
		}
	}
}

// Without iat a proof is as old as its nbf.
func TestAgeOfAProof(t *testing.T) {
	r, p := provided(t, caller.Issuer{MaxAge: time.Hour})
	got := r.accepted(t, p.Token(map[string]any{"iat": nil, "nbf": r.clock.unix(-time.Minute)}))
	if !got.IssuedAt.Equal(r.clock.Now().Add(-time.Minute)) {
		t.Errorf("issued at %v", got.IssuedAt)
	}
	r.refused(t, p.Token(map[string]any{"iat": nil, "nbf": r.clock.unix(-2 * time.Hour)}), "maxAge")
	r.refused(t, p.Token(map[string]any{"iat": nil, "nbf": 0}), "nbf")
	r.refused(t, p.Token(map[string]any{"iat": "", "nbf": r.clock.unix(-time.Minute)}))
	ageless, p := provided(t, caller.Issuer{}) // MaxAge of zero accepts any age
	ageless.accepted(t, p.Token(map[string]any{"iat": 1}))
	ageless.refused(t, p.Token(map[string]any{"iat": 0}))
	ageless.refused(t, p.Token(map[string]any{"iat": -1}))
}

func TestAudiences(t *testing.T) {
	type m = map[string]any
	two := caller.Issuer{Audience: []string{"docs", "weboffice"}}
	azp, client := caller.Issuer{AudienceClaim: "azp"}, caller.Issuer{AudienceClaim: "client_id"}
	for _, test := range []struct {
		trusted caller.Issuer
		claims  m
		good    bool
	}{
		{two, m{"aud": "docs"}, true}, {two, m{"aud": []string{"x", "weboffice"}}, true},
		{two, m{"aud": "x"}, false}, {two, m{"aud": "docs weboffice"}, false},
		{caller.Issuer{AudienceClaim: "aud"}, nil, true},
		{azp, m{"aud": "account", "azp": "weboffice"}, true},
		{azp, m{"aud": nil, "azp": "weboffice"}, true},
		{azp, m{"azp": "other"}, false}, {azp, m{"azp": []string{"weboffice"}}, false},
		{azp, nil, false}, {azp, m{"client_id": "weboffice"}, false},
		{client, m{"aud": nil, "client_id": "weboffice"}, true},
		{client, m{"azp": "weboffice"}, false},
		{caller.Issuer{}, m{"aud": "account", "azp": "weboffice", "client_id": "weboffice"}, false},
	} {
		r, p := provided(t, test.trusted)
		r.verified(t, p.Token(test.claims), test.good)
	}
}

// Whoever set the policy up reads in the log what came and what was expected, and nothing else of a
// proof.
func TestRefusalSaysWhatWasFoundAndWanted(t *testing.T) {
	type m = map[string]any
	r, p := provided(t, caller.Issuer{MaxAge: 24 * time.Hour,
		Audience: []string{"weboffice", "docs"}})
	long, many := strings.Repeat("a", 200), slices.Repeat([]string{"xxxxxxx"}, 40)
	for _, test := range []struct {
		claims m
		want   []string
	}{
		{m{"iss": issuerURL + "/"}, []string{`"` + issuerURL + `/"`, `"` + issuerURL + `"`}},
		{m{"iss": "https://l\u043egin.example.com"}, []string{`"https://l\u043egin`}},
		{m{"iss": nil}, []string{"iss none"}}, {m{"iss": 7}, []string{"iss of another type"}},
		{m{"aud": []string{"other", "api"}, "azp": "app"}, []string{`aud ["other" "api"]`,
			`azp "app"`, "client_id none", `wanted aud ["weboffice" "docs"]`}},
		{m{"aud": many}, []string{`"xxxxxxx"…, azp`}}, {m{"aud": long}, []string{long[:199] + `…`}},
		{m{"aud": "a\nb\u202e"}, []string{`"a\nb\u202e"`}},
		{m{"exp": r.clock.unix(-time.Hour)}, []string{"exp was 1h0m0s ago"}},
		{m{"iat": r.clock.unix(-26 * time.Hour)}, []string{"was 26h0m0s ago", "maxAge is 24h0m0s"}},
		{m{"iat": r.clock.unix(2 * time.Minute)}, []string{"iat is 2m0s ahead"}},
		{m{"nbf": r.clock.unix(3 * time.Minute)}, []string{"nbf is 3m0s ahead"}},
		{m{"exp": nil}, []string{"exp is missing"}},
	} {
		test.claims["sub"], test.claims["name"] = "secret-subject", "secret-name"
		token := p.Token(test.claims)
		r.refused(t, token, test.want...)
		if why := r.refused(t, token); strings.Contains(why, "secret") || len(why) > 1500 {
			t.Errorf("too much: %s", why)
		}
	}
}

// Where the audience stands in another claim, that one is named.
func TestRefusalNamesTheAudienceClaim(t *testing.T) {
	r, p := provided(t, caller.Issuer{AudienceClaim: "azp"})
	token := p.Token(map[string]any{"aud": "account", "azp": "other"})
	r.refused(t, token, `azp "other"`, `wanted azp ["weboffice"]`)
	r.accepted(t, p.Token(map[string]any{"aud": "account", "azp": "weboffice"}))
}

func TestAttackTooLongToken(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	filler := func(size int) weboffice.Secret { // of size bytes, or one or two less
		empty := len(k.sign(header, honest(r.clock, map[string]any{"x": ""})))
		x := strings.Repeat("x", (size-empty)*3/4)
		return k.sign(header, honest(r.clock, map[string]any{"x": x}))
	}
	r.refused(t, filler(8<<10+4), "longer than 8192 bytes")
	r.refused(t, filler(1<<20), "longer than 8192 bytes")
	if r.wire.count() != 0 {
		t.Errorf("they cause %d requests", r.wire.count())
	}
	if n := len(filler(8 << 10)); n < 8<<10-4 {
		t.Errorf("the longest token has only %d bytes", n)
	}
	r.accepted(t, filler(8<<10)) // the twin
}

// hostile are proofs of about 8 KB that cost their sender no key.
func hostile(c *clock, signature string) map[string]weboffice.Secret {
	claims := func(extra string) weboffice.Secret {
		return weboffice.Secret(b64(header) + "." + b64(with(c, extra)) + "." + signature)
	}
	var members strings.Builder
	for i := range 700 {
		fmt.Fprintf(&members, `"%d":1,`, i)
	}
	return map[string]weboffice.Secret{
		"deep list":   claims(`"x":` + strings.Repeat("[", 2500) + strings.Repeat("]", 2500)),
		"deep object": claims(`"x":` + strings.Repeat(`{"":`, 980) + strings.Repeat("}", 980)),
		"long list":   claims(`"x":[` + strings.Repeat("0,", 2800) + "0]"),
		"audience":    claims(`"azp":[` + strings.Repeat(`"",`, 1850) + `""]`),
		"members":     claims(members.String() + `"x":1`),
		"header": weboffice.Secret(b64(`{`+members.String()+`"alg":"ES256","kid":"k"}`) + "." +
			b64(with(c, `"x":1`)) + "." + signature),
	}
}

func TestAttackNestingAndLengthOfAToken(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	for name, token := range hostile(r.clock, "AA") {
		t.Run(name, func(t *testing.T) { r.refused(t, token, "more than 32 levels or ") })
	}
	if r.wire.count() != 0 {
		t.Errorf("they cause %d requests", r.wire.count())
	}
	// the twins
	r.accepted(t, k.sign(header, with(r.clock, `"x":[`+strings.Repeat("0,", 490)+"0]")))
	for levels, good := range map[int]bool{32: true, 33: false} { // below the object
		deep := `"x":` + strings.Repeat("[", levels) + strings.Repeat("]", levels)
		r.verified(t, k.sign(header, with(r.clock, deep)), good)
	}
}

// The bound is three times an ordinary refusal of the same length. The best of many rounds is what
// a busy machine cannot spoil.
func TestAttackCostOfARefusal(t *testing.T) {
	r, _ := signing(t, caller.Issuer{})
	ordinary := with(r.clock, `"groups":["`+strings.Repeat(`editors-of-the-team","`, 250)+`"]`)
	ordinary = strings.Replace(ordinary, "weboffice", "another", 1)
	tokens := hostile(r.clock, "AA")
	tokens["ordinary"] = weboffice.Secret(b64(header) + "." + b64(ordinary) + ".AA")
	best := map[string]time.Duration{}
	for range 40 {
		for name, token := range tokens {
			begin := time.Now()
			for range 10 {
				_, _ = r.Verify(t.Context(), token)
			}
			if took := time.Since(begin); best[name] == 0 || took < best[name] {
				best[name] = took
			}
		}
	}
	for name, took := range best {
		t.Logf("%s: %d bytes, %v", name, len(tokens[name]), took/10)
		if took > 3*best["ordinary"] {
			t.Errorf("%s costs %v, an ordinary refusal %v", name, took/10, best["ordinary"]/10)
		}
	}
}

// What a proof said is remembered, but not that it was valid.
func TestAttackRememberedProofPastItsEnd(t *testing.T) {
	for name, end := range map[string]map[string]any{"exp": {"exp": int64(1_800_000_300)},
		"maxAge": {"iat": int64(1_800_000_300 - 24*3600)}} {
		t.Run(name, func(t *testing.T) {
			r, p := provided(t, caller.Issuer{MaxAge: 24 * time.Hour})
			token := p.Token(end)
			first := r.accepted(t, token)
			r.clock.Advance(6*time.Minute - time.Second)
			if again := r.accepted(t, token); !reflect.DeepEqual(again, first) { // the twin
				t.Errorf("%+v, then %+v", first, again)
			}
			r.clock.Advance(2 * time.Second)
			r.refused(t, token)
		})
	}
}

func TestProofShownByManyAtOnce(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	// not verified: taken out of the claims
	token := p.Token(map[string]any{"email": "ann@example.com", "groups": []string{"editors"}})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if c, err := r.Verify(t.Context(), token); err != nil || c.Claims["email"] != nil ||
				c.Claims["groups"] == nil {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
	all.Wait()
}
