package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// manyRules writes a policy of n rules for teams, with claims and a watermark, and one for anyone
// behind them.
func manyRules(n int) []byte {
	var b strings.Builder
	b.WriteString(head + "rules:\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, `  - name: team %[1]d
    documents: oss://team-docs/teams/team-%[1]d/${project}/**
    callers: {issuer: staff, claims: {email: "*@example.com", groups: [editors-%[1]d, admins]}}
    grant: [view, edit, copy, print]
    set: {Watermark: {Type: 1, Value: "${name} ${email}"}}
`, i)
	}
	b.WriteString("  - {name: handbook, documents: oss://team-docs/**, callers: anyone," +
		" grant: [view, copy], set: {PreviewPages: 20}}\n")
	return []byte(b.String())
}

// sameDocuments writes a policy of n rules whose documents all match, so that every rule's claims
// are looked at.
func sameDocuments(n int) []byte {
	var b strings.Builder
	b.WriteString(head + "rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: r%[1]d, documents: 'oss://team-docs/teams/**', callers:"+
			" {issuer: staff, claims: {groups: group-%[1]d}}, grant: [view]}\n", i)
	}
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		text := manyRules(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := policy.Parse(text, policy.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	ann := caller.Caller{
		Issuer: "staff", IssuerURL: "https://login.example.com", Subject: "ann",
		User: caller.User{ID: "ann", Name: "Ann"},
		Claims: map[string]any{
			"sub": "ann", "name": "Ann", "email": "ann@example.com", "email_verified": true,
			"project": "plans", "iat": json.Number("1800000000"),
			"groups": []any{"everybody", "editors-9", "editors-99", "editors-998", "group-9",
				"group-99", "group-999"},
		},
	}
	for _, n := range []int{10, 100, 1000} {
		for name, text := range map[string][]byte{"": manyRules(n),
			"/same-documents": sameDocuments(n)} {
			p, err := policy.Parse(text, policy.Options{})
			if err != nil {
				b.Fatal(err)
			}
			q := policy.Question{Caller: ann, Document: weboffice.Document{Bucket: "team-docs",
				Key: fmt.Sprintf("teams/team-%d/plans/2026/plan.docx", n-2)}}
			q.Asked.SourceURI = q.Document.String()
			b.Run(fmt.Sprint(n)+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					d, err := p.Decide(q, q.Start)
					if err != nil || n == 1000 && d.Rule == "handbook" {
						b.Fatal(d.Rule, err)
					}
				}
			})
		}
	}
}
