package caller_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
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

func TestAttackTooLongToken(t *testing.T) {
	r, k := signing(t, caller.Issuer{})
	filler := func(size int) weboffice.Secret { // of size bytes, or one or two less
		empty := len(k.sign(header, honest(r.clock, map[string]any{"x": ""})))
		x := strings.Repeat("x", (size-empty)*3/4)
		return k.sign(header, honest(r.clock, map[string]any{"x": x}))
	}
	r.refused(t, filler(8<<10+4), "longer than 8192 bytes")
	r.refused(t, filler(1<<20), "longer than 8192 bytes")
	r.requested(t, 0)
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
	r.requested(t, 0)
	// the twins
	r.accepted(t, k.sign(header, with(r.clock, `"x":[`+strings.Repeat("0,", 490)+"0]")))
	for n, good := range []bool{true, false} { // at the bounds of levels and of the header, and over
		deep := `"x":` + strings.Repeat("[", 32+n) + strings.Repeat("]", 32+n)
		r.verified(t, k.sign(header, with(r.clock, deep)), good)
		wide := `{"alg":"ES256","kid":"k","x":[` + strings.Repeat("0,", 60+n) + "0]}"
		r.verified(t, k.sign(wide, with(r.clock, `"x":0`)), good)
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
