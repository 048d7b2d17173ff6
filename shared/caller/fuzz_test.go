package caller_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// fixedKey is the same in every process of a fuzzing run.
func fixedKey() ecKey {
	return ecKey{must(ecdsa.ParseRawPrivateKey(elliptic.P256(),
		[]byte(strings.Repeat("a fixed secret. ", 2)))), "k"}
}

// signed checks a token's signature without the package under test.
func signed(k ecKey, token string) bool {
	end := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[end+1:])
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(linkKey))
	mac.Write([]byte(token[:end]))
	if hmac.Equal(signature, mac.Sum(nil)) {
		return true
	}
	digest := sha256.Sum256([]byte(token[:end]))
	return len(signature) == 64 &&
		ecdsa.Verify(&k.PublicKey, digest[:], new(big.Int).SetBytes(signature[:32]),
			new(big.Int).SetBytes(signature[32:]))
}

// FuzzVerify: whatever a bearer sends, Verify does not panic, and accepts nothing that neither key
// has signed.
func FuzzVerify(f *testing.F) {
	k := fixedKey()
	r := newRig(f, caller.Issuer{}, published(k.public()))
	c := r.clock
	good := k.sign(header, honest(c, nil)).Reveal()
	claims, signature := "."+b64(honest(c, nil))+".", strings.Split(good, ".")[2]
	for _, token := range []string{
		good, good + ".", good[:len(good)-1], r.link(nil).Reveal(), "", "..", "a.b.c",
		b64(`{"alg":"none"}`) + claims, b64(`{"alg":"HS256","kid":"k"}`) + claims + "AAAA",
		b64(`{"alg":"ES256","kid":"k","jwk":{}}`) + claims + signature,
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := r.Verify(t.Context(), weboffice.Secret(token))
		if err == nil && !signed(k, token) {
			t.Fatalf("accepted without a signature: %+v", got)
		}
		if err != nil && !got.Guest() {
			t.Fatalf("refused, and yet a caller: %+v", got)
		}
		_, _ = r.Inspect(weboffice.Secret(token))
	})
}

// FuzzSignedClaims: whatever an issuer or a link minter signs, Verify does not panic, and what it
// accepts keeps the rules.
func FuzzSignedClaims(f *testing.F) {
	k := fixedKey()
	r := newRig(f, caller.Issuer{MaxAge: time.Hour}, published(k.public()))
	c := r.clock
	f.Add(true, header, honest(c, nil))
	f.Add(true, `{"alg":"ES256","kid":"k","typ":"logout+jwt"}`,
		honest(c, map[string]any{"events": map[string]any{}}))
	f.Add(true, `{"alg":"ES256"}`, honest(c, map[string]any{"aud": []string{"weboffice"},
		"nbf": 1.5, "email": "a@b"}))
	f.Add(true, header, honest(c, map[string]any{"sub": 42, "x": []any{1.5, nil, "é"}}))
	f.Add(true, header, with(c, `"e\u0078p2":"\ud83d\ude00","":{},"n":-0.0e5`))
	f.Add(false, linkHeader(), linkPayload(c, nil))
	f.Add(false, linkHeader(), linkPayload(c, map[string]any{"sub": "ann", "name": "Ann",
		"exp": 1e18}))
	f.Fuzz(func(t *testing.T, person bool, header, payload string) {
		token := hs256([]byte(linkKey), header, payload)
		if person {
			token = k.sign(header, payload)
		}
		got, err := r.Verify(t.Context(), token)
		if err != nil {
			return
		}
		now := c.Now()
		if got.IssuedAt.After(now.Add(time.Minute)) ||
			!got.Expires.After(now.Add(-time.Minute-time.Second)) || got.Expires.Year() > 9999 {
			t.Errorf("accepted outside its time: %v to %v", got.IssuedAt, got.Expires)
		}
		if person && (got.Link != nil || got.Issuer != "staff" || got.Subject == "" ||
			got.User.ID == "" || now.Sub(got.IssuedAt) > time.Hour+time.Minute) {
			t.Errorf("accepted as a person: %+v", got)
		}
		if !person && (got.Link == nil || got.Issuer != caller.LinkIssuer ||
			len(got.Link.Grant) == 0 || got.Link.ID == "" ||
			(got.Link.Document == "") == (got.Link.Documents == "") ||
			!strings.HasPrefix(got.Link.Document+got.Link.Documents, "oss://") ||
			got.Expires.Sub(got.IssuedAt) > 30*24*time.Hour ||
			got.Claims["sub"] == "" || strings.HasPrefix(got.Subject, "link ")) {
			t.Errorf("accepted as a link: %+v", got)
		}
		// the standard library reads the same claims
		plain := must(claimsOf(payload))
		if subject, _ := plain.Find("sub").(string); subject != got.Subject {
			t.Errorf("subject %q, elsewhere %q", got.Subject, subject)
		}
		for _, dropped := range []string{"email", "sub", "name"} {
			if _, kept := got.Claims[dropped]; !kept {
				delete(plain, dropped)
			}
		}
		if !reflect.DeepEqual(plain, got.Claims) {
			t.Errorf("claims %v, elsewhere %v", got.Claims, plain)
		}
	})
}
