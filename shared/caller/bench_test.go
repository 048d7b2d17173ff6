package caller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

func BenchmarkVerify(b *testing.B) {
	person := map[string]any{
		"name": "Ann", "email": "ann@example.com", "email_verified": true,
		"picture": "https://example.com/ann.png", "team": "red",
		"groups": []string{"editors", "staff", "readers", "all"}, "auth_time": 1_800_000_000,
		"amr": []string{"pwd", "otp"},
	}
	for name, algorithm := range map[string]string{"rs256": "RS256", "es256": "ES256", "link": ""} {
		b.Run(name, func(b *testing.B) {
			c := newClock()
			p := issuer.New(issuer.Options{Now: c.Now, Algorithm: algorithm})
			p.SetURL(issuerURL)
			s := newRig(b, caller.Issuer{}, c, inProcess{p})
			var token weboffice.Secret
			if algorithm != "" {
				token = p.Token(person)
			} else {
				token = must(caller.MintLink(linkKey,
					caller.LinkClaims{ID: "n1", Document: "oss://team-docs/teams/red/**",
						Grant: []string{"view", "edit"}, Subject: "ann", Name: "Ann",
						IssuedAt: c.Now(),
						Expires:  c.Now().Add(time.Hour)}))
			}
			s.accepted(b, token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFirstProof is a proof that the verifier has not seen, or has forgotten.
func BenchmarkFirstProof(b *testing.B) {
	c := newClock()
	p := issuer.New(issuer.Options{Now: c.Now})
	p.SetURL(issuerURL)
	s := newRig(b, caller.Issuer{}, c, inProcess{p})
	tokens := make([]weboffice.Secret, 1100) // more than a verifier remembers
	for i := range tokens {
		tokens[i] = p.Token(map[string]any{
			"name": "Ann", "email": "ann@example.com", "email_verified": true, "jti": fmt.Sprint(i),
			"picture": "https://example.com/ann.png", "team": "red",
			"groups": []string{"editors", "staff", "readers", "all"}, "auth_time": 1_800_000_000,
			"amr": []string{"pwd", "otp"},
		})
	}
	s.accepted(b, tokens[0])
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Verify(b.Context(), tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyHostile is what a bearer without a key can make Verify work.
func BenchmarkVerifyHostile(b *testing.B) {
	c, k := newClock(), newECKey(b, "k")
	s := newRig(b, caller.Issuer{}, c, inProcess{published(k.public())})
	deep := strings.Repeat(`{"":`, 950) + "1" + strings.Repeat("}", 950)
	list := honest(c, map[string]any{"x": make([]int, 2700)})
	for name, payload := range map[string]string{"deep": deep, "honest": honest(c, nil),
		"list": list} {
		token := weboffice.Secret(b64(`{"alg":"ES256","kid":"k"}`) + "." + b64(payload) + "." +
			b64(string(make([]byte, 64))))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = s.Verify(b.Context(), token)
			}
		})
	}
}
