package policy_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

var placed = regexp.MustCompile(`^[0-9]+:[0-9]+: .`)

// FuzzParse: nothing makes Parse panic, every mistake has its place, and what parses parses again,
// can be tested, and gives issuers that a verifier takes.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"scripts/check/testdata/policy.yaml",
		"scripts/dev/policy.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(file)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(manyRules(3))
	for _, m := range mistakes(f) {
		f.Add([]byte(strings.ReplaceAll(m.text, "§", "")))
	}
	for _, text := range examples(f) {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		"", "a", "- a", "{", "a: &b {c: *b}", "? a\n: b", "<<: {project: a}",
		"project: !!binary /w==", "project: |\n  a\n  b", "limits:\n  ? [a]\n  : b", "---\n...\n",
		"%YAML 1.2\n---\n", "rules: [{}]", "rules: [~]",
		"issuers: {a: ~}", "tests: [{as: {issuer: links}}]", "project: \"\\xff\"", "project: \xff",
		"\ufeffproject: a", "rules:\n- {documents: oss://team-docs/${a}/**}",
		strings.Repeat("[", 500), strings.Repeat("{a: ", 500), "a:\n\t- b", "project: a # b\n#",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := policy.Options{Project: "p", Salt: salt, Loopback: true}
		p, err := policy.Parse(data, o)
		if err != nil {
			if !placed.MatchString(err.Error()) {
				t.Errorf("no place in %q", err)
			}
			return
		}
		first, again := policy.Check(data, o), policy.Check(data, o)
		if first.Mistakes == nil && first.Policy.Rules() != p.Rules() ||
			!slices.Equal(first.Warnings, again.Warnings) {
			t.Fatalf("the second time: %+v", again)
		}
		if d := policy.Diff(p, p); len(d.Changes)+len(d.Settings) > 0 {
			t.Errorf("a policy differs from itself: %+v", d)
		}
		_, err = caller.NewVerifier(caller.Options{
			Issuers: p.Issuers(), RevokedLinks: p.RevokedLinks(), Now: time.Now,
			Client: http.DefaultClient, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Errorf("no verifier takes its issuers: %v", err)
		}
	})
}

// FuzzDecide: nothing that a caller sends gets more than the rule that decides gives, and than was
// asked.
func FuzzDecide(f *testing.F) {
	p := rules(f, `
  - {name: pay, documents: oss://team-docs/teams/pay/**, callers: {issuer: staff,
     claims: {employment: contractor}}, deny: true}
  - name: team folders
    documents: oss://team-docs/teams/${team}/**
    callers: {issuer: staff, claims: {email: "*@example.com", groups: [editors, "lead-*"]}}
    grant: [view, edit, rename, history, copy, print, export]
    set:
      Watermark: {Type: 1, Value: "${name} ${email}"}
      CredentialConfig: {Policy: '{"Resource":"acs:oss:*:*:${document.bucket}/${document.key}"}'}
  - {name: share links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view, edit, copy,
     print], accept: [User]}
  - {name: handbook, documents: oss://team-docs/handbook/**, callers: anyone, grant: [view, copy],
     set: {PreviewPages: 20, Hidecmb: true}}
`)
	most := map[string][]string{
		"team folders": weboffice.Grants(), "share links": {"view", "edit", "copy", "print"},
		"handbook": {"view", "copy"},
	}
	for _, claims := range []string{
		"",
		staff(
			`"name": "Ann", "email": "ann@example.com", "email_verified": true, "groups": ["editors"],` +
				` "team": "red", "employment": "permanent"`),
		staff(
			`"email": "a@b@example.com", "email_verified": "true", "groups": [1],` +
				` "team": ["*", "**"], "employment": null`),
		`{"issuer": "links", "document": "oss://team-docs/**", "grant": ["view", "export", "edit"], "name": "x"}`,
		`{"issuer": "links", "document": "oss://team-docs/${sub}/[*", "grant": ["copy"], "sub": "ann"}`,
		`{"issuer": "partners", "sub": 1e3, "oid": "x"}`, `{"issuer": 5}`,
	} {
		f.Add(claims, "oss://team-docs/teams/red/plan.docx",
			`{"Permission": {"Copy": true, "Print": true, "Export": true, "History": true}}`)
		f.Add(claims, "oss://team-docs/handbook/a.PDF",
			`{"PreviewPages": "20", "Hidecmb": true, "Permission": "{'Readonly':'true'}"}`)
		f.Add(claims, `oss://team-docs/teams/red/"},"x":"$*?.docx`,
			`{"User": {"Id": "boss"}, "Filename": "x.docx", "UserData": "x"}`)
	}
	f.Fuzz(func(t *testing.T, claims, uri, ask string) {
		q := policy.Question{Start: start, Guest: guest}
		if claims != "" {
			var decoded map[string]any
			if json.Unmarshal([]byte(claims), &decoded) != nil {
				return
			}
			var err error
			if q.Caller, err = p.CallerOf(decoded); err != nil {
				return
			}
		}
		if ask != "" {
			var err error
			if q.Asked, err = weboffice.ParseRequest([]byte(ask)); err != nil {
				return
			}
		}
		q.Asked.SourceURI = uri
		var err error
		if q.Document, err = weboffice.ParseSourceURI(uri); err != nil {
			return
		}
		before, _ := json.Marshal(q.Asked)
		steps := p.Explain(q)
		d, err := decide(p, q)
		if after, _ := json.Marshal(q.Asked); string(after) != string(before) {
			t.Fatalf("Decide changed the question from %s to %s", before, after)
		}
		if err != nil {
			if kind := weboffice.AsError(err).Kind; kind != weboffice.Invalid &&
				kind != weboffice.Forbidden &&
				(kind != weboffice.Unauthenticated || !q.Caller.Guest()) {
				t.Errorf("the error %+v", err)
			}
			return
		}
		if len(steps) == 0 || !steps[len(steps)-1].Decides || steps[len(steps)-1].Rule != d.Rule {
			t.Errorf("%s decided, explained by %+v", d.Rule, steps)
		}
		for _, grant := range d.Request.Permission.Grants() {
			if !slices.Contains(most[d.Rule], grant) {
				t.Errorf("%s grants %s", d.Rule, grant)
			}
			if q.Asked.Permission != nil && !slices.Contains(q.Asked.Permission.Grants(), grant) {
				t.Errorf("%s grants %s, which nobody asked for", d.Rule, grant)
			}
			if link := q.Caller.Link; link != nil && !slices.Contains(link.Grant, grant) {
				t.Errorf("%s grants %s, which the link does not", d.Rule, grant)
			}
		}
		r := d.Request
		_, uriErr := weboffice.ParseSourceURI(r.SourceURI)
		switch {
		case uriErr != nil || r.SourceURI != uri || !strings.HasPrefix(uri, "oss://team-docs/"):
			t.Errorf("opened %q", r.SourceURI)
		case r.ProjectName != "test-project" || r.UserData != "" || r.Notification != nil ||
			r.NotifyTopicName != "" || r.CachePreview != nil:
			t.Errorf("sent %+v", r)
		case r.User == nil || r.User.Id == "" || r.User.Name == "":
			t.Errorf("the User %+v", r.User)
		case r.PreviewPages != nil && !r.Permission.Readonly:
			t.Error("PreviewPages of a document that may be edited")
		case d.Rule == "handbook" && (*r.PreviewPages < 1 || *r.PreviewPages > 20 || !*r.Hidecmb ||
			*r.User != guest && q.Caller.Guest()):
			t.Errorf("the handbook with %d pages", *r.PreviewPages)
		case d.Rule == "team folders" && !json.Valid([]byte(r.CredentialConfig.Policy)):
			t.Errorf("the credential policy %s", r.CredentialConfig.Policy)
		case d.Rule != "team folders" && (r.CredentialConfig != nil || r.Watermark != nil):
			t.Errorf("%s sent %+v", d.Rule, r)
		}
		if err := r.Validate(); err != nil {
			t.Errorf("sent what is not valid: %v", err)
		}
	})
}

var urls = regexp.MustCompile(`\$\{[^}]*/`)

// FuzzPattern: a pattern matches what the oracle's matcher says, and what is found between two
// patterns lies between them.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{"**", "*", "a/**", "a*c/*.docx", "${team}/**", "x/${team}/*",
		"**/a/**", "[a]{b}(c)|d+^$", "a/*/**/b*c", "$*"} {
		for _, q := range []string{"a/b", "**/b", "*/*", "${team}/x", "abc/x.docx", "ab*c/**",
			"${other}/**"} {
			f.Add(p, q, "a/b/c", "c")
		}
	}
	f.Fuzz(func(t *testing.T, p, q, key, filler string) {
		p, q = "oss://team-docs/"+p, "oss://team-docs/"+q
		if _, err := policy.Match(p, ""); err != nil || strings.Count(p+q, "*") > 12 ||
			len(key)+len(filler) > 60 || urls.MatchString(p+q) {
			return // the oracle is slow, and knows no claim whose name has a slash
		}
		keys := []string{key, instance(p, filler), instance(q, filler)}
		between, sure := policy.Between(q, p)
		if sure && between != "" {
			keys = append(keys, between)
			if in, _ := policy.Match(q, "oss://team-docs/"+between); !in {
				t.Errorf("%s does not match %s", q, between)
			}
			if out, _ := policy.Match(p, "oss://team-docs/"+between); out {
				t.Errorf("%s matches %s", p, between)
			}
		}
		for _, key := range keys {
			uri := "oss://team-docs/" + key
			if _, err := weboffice.ParseSourceURI(uri); err != nil {
				continue
			}
			segments := strings.Split(key, "/")
			all := make([]any, len(segments))
			for i, segment := range segments {
				all[i] = segment
			}
			if got, _ := policy.Match(p, uri); got != fits(p, segments,
				func(string) any { return all }) {
				t.Errorf("%s matches %s: %v", p, uri, got)
			}
			in, errIn := policy.Match(q, uri)
			if out, _ := policy.Match(p, uri); in && !out && sure && between == "" && errIn == nil {
				t.Errorf("%s does not cover %s at %s", p, q, uri)
			}
		}
	})
}

// fits asks the oracle's matcher.
func fits(pattern string, key []string, claim func(string) any) bool {
	return path(strings.Split(strings.TrimPrefix(pattern, "oss://team-docs/"), "/"), key, claim,
		false)
}

// instance makes a key that a pattern may match.
func instance(pattern, filler string) string {
	key := strings.TrimPrefix(pattern, "oss://team-docs/")
	key = regexp.MustCompile(`\$\{[^}/]*\}`).ReplaceAllLiteralString(key, filler)
	return strings.NewReplacer("**", filler, "*", filler).Replace(key)
}
