package policy_test

import (
	"fmt"
	"strings"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

const example = `
project: test-project
issuers:
  staff: {url: https://login.example.com, audience: weboffice}
rules:
  - name: contractors never see pay
    documents: oss://team-docs/teams/pay/**
    callers: {issuer: staff, claims: {employment: contractor}}
    deny: true
  - name: team folders
    documents: oss://team-docs/teams/${team}/**
    callers: {issuer: staff, claims: {groups: editors}}
    grant: [view, edit, copy, print]
    session: 8h
  - name: handbook
    documents: oss://team-docs/handbook/**
    callers: anyone
    grant: [view, copy]
    set: {PreviewPages: 20}
`

func ExamplePolicy_Decide() {
	p, err := policy.Parse([]byte(example), policy.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	asked := weboffice.Request{SourceURI: "oss://team-docs/handbook/welcome.docx",
		Permission: &weboffice.Permission{Copy: true, Print: true}}
	document := weboffice.Document{Bucket: "team-docs", Key: "handbook/welcome.docx"}
	now := time.Now()
	decision, err := p.Decide(policy.Question{Asked: asked, Document: document, Start: now,
		Guest: weboffice.NewGuest()}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(decision.Rule, "grants", strings.Join(decision.Request.Permission.Grants(), ", "),
		"for", *decision.Request.PreviewPages, "pages")
	// Output: handbook grants view, copy for 20 pages
}

func ExamplePolicy_Explain() {
	p, err := policy.Parse([]byte(example), policy.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ann, err := p.CallerOf(map[string]any{"issuer": "staff", "sub": "ann",
		"groups": []string{"editors"}, "team": "red"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range p.Explain(policy.Question{Caller: ann,
		Document: weboffice.Document{Bucket: "team-docs", Key: "teams/blue/plan.docx"}}) {
		fmt.Printf("%s: %s\n", step.Rule, step.Why)
	}
	// Output:
	// contractors never see pay: the documents do not match
	// team folders: the segment ${team} is not the caller's
	// handbook: the documents do not match
}

func ExampleParse() {
	_, err := policy.Parse([]byte(`project: test-project
rules:
  - name: handbook
    documents: oss://team-docs/*.docx
    callers: {issuer: staff}
    grant: [view, see]
    set: {Watermark: {Type: 1}}
`), policy.Options{})
	fmt.Println(err)
	// Output:
	// 5:23: issuer must be one of links (`issuers` has their names)
	// 6:12: unknown grant "see": use view, edit, rename, history, copy, print, export
	// 7:23: set: Watermark needs a Value, the text to show (or Type: 0 for none)
}
