package caller_test

import (
	"fmt"
	"testing"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// BenchmarkFirstProof is a proof that the verifier has not seen, or has forgotten.
func BenchmarkFirstProof(b *testing.B) {
	r, p := provided(b, caller.Issuer{}, "RS256")
	tokens := make([]weboffice.Secret, 1100) // more than a verifier remembers
	for i := range tokens {
		tokens[i] = p.Token(map[string]any{"name": "Ann", "email": "ann@example.com",
			"email_verified": true, "groups": []string{"editors", "staff", "readers", "all"},
			"jti": fmt.Sprint(i), "auth_time": 1_800_000_000, "amr": []string{"pwd", "otp"}})
	}
	r.accepted(b, tokens[0])
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := r.Verify(b.Context(), tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyHostile is what a bearer without a key can make Verify work.
func BenchmarkVerifyHostile(b *testing.B) {
	r, _ := signing(b, caller.Issuer{})
	for name, token := range hostile(r.clock, b64(string(make([]byte, 64)))) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = r.Verify(b.Context(), token)
			}
		})
	}
}
