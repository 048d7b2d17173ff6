package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

const team = `project: team-project
origins: [https://docs.example.com]
issuers:
  staff: {url: https://login.example.com, audience: weboffice}
rules:
  - {name: pay, documents: oss://team-docs/pay/**, callers: {issuer: staff,
     claims: {employment: contractor}}, deny: true}
  - {name: teams, documents: 'oss://team-docs/teams/${team}/**', callers: {issuer: staff},
     grant: [view, edit, copy], session: 8h}
  - {name: links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view, copy],
     set: {Watermark: {Value: "${name}"}}}
  - {name: handbook, documents: oss://team-docs/handbook/**, callers: anyone, grant: [view]}
tests:
  - {as: anyone, open: oss://team-docs/handbook/x.docx, expect: handbook}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// call runs the tool with an environment and returns what it prints.
func call(t *testing.T, environment map[string]string, args ...string) (string, error) {
	t.Helper()
	out, _, err := printed(t, environment, args...)
	return out, err
}

// printed is call with what goes to standard error.
func printed(t *testing.T, environment map[string]string, args ...string) (out, messages string,
	err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err = run(args, func(name string) string { return environment[name] }, &stdout,
		&stderr)
	return stdout.String(), stderr.String(), err
}

// shows checks that all parts are in what was printed, and none of those behind "not".
func shows(t *testing.T, out string, parts ...string) {
	t.Helper()
	wanted := true
	for _, part := range parts {
		if part == "not" {
			wanted = false
		} else if strings.Contains(out, part) != wanted {
			t.Errorf("holds %q: %v, want %v, in\n%s", part, !wanted, wanted, out)
		}
	}
}

// use is an entry of testdata/uses.yaml.
type use struct {
	Link, Args, Shows, Hides []string
	Env                      map[string]string
	Error                    string
}

func TestUses(t *testing.T) {
	_, first := linkKey("first")
	dir, names := t.TempDir(), map[string]string{"$": "$", "first": first,
		"weak": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k1"), 16)),
		"ann":  weboffice.UserID("salt", "https://login.example.com", "ann")}
	for name, text := range map[string]string{
		"good":    team,
		"failing": team + "  - {as: anyone, open: oss://team-docs/pay/x.docx, expect: handbook}\n",
		"broken":  "project: [p]\nrulez: []\n",
		"warned": strings.NewReplacer("expect: handbook", "expect: first", "rules:\n",
			"rules:\n  - {name: first, documents: oss://team-docs/**, callers: anyone,\n"+
				"     grant: [view]}\n",
		).Replace(team),
		"unmarked": strings.Replace(team, `Watermark: {Value: "${name}"}`, "Hidecmb: true", 1),
		"homeless": strings.Replace(team, "project: team-project\n", "", 1),
		"revoked":  "revokedLinks: [gone]\n" + team,
		"linkless": "project: p\n",
		"mistake":  "rulez: []\n",
	} {
		names[name] = filepath.Join(dir, name)
		if err := os.WriteFile(names[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(text string) string {
		return os.Expand(text, func(name string) string { return names[name] })
	}
	filled := func(texts []string) (all []string) {
		for _, text := range texts {
			all = append(all, fill(text))
		}
		return all
	}
	var uses []use
	text, err := os.ReadFile("testdata/uses.yaml")
	if err = errors.Join(err, yaml.Load(text, &uses, yaml.WithKnownFields())); err != nil {
		t.Fatal(err)
	}
	for _, u := range uses {
		t.Run(strings.Join(u.Args, " "), func(t *testing.T) {
			environment := map[string]string{}
			if len(u.Args) > 0 && u.Args[0] == "link" {
				environment["WEBOFFICE_LINK_KEYS"] = first
			}
			for name, value := range u.Env {
				environment[name] = fill(value)
			}
			if u.Link != nil {
				link := append([]string{"link", "-grant", "view"}, filled(u.Link)...)
				token, err := call(t, map[string]string{"WEBOFFICE_LINK_KEYS": first}, link...)
				if err != nil {
					t.Fatal(err)
				}
				names["link"] = write(t, "link", token)
			}
			out, err := call(t, environment, filled(u.Args)...)
			if (err == nil) != (u.Error == "") || err != nil && (u.Shows == nil && out != "" ||
				!strings.Contains(err.Error(), u.Error)) {
				t.Errorf("error %v, want %q; printed %q", err, u.Error, out)
			}
			shows(t, out, append(append(filled(u.Shows), "not"), u.Hides...)...)
		})
	}
}

func TestTestLooksForTheFunctionsPolicies(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := call(t, nil, "test"); err == nil || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("without a policy: %v", err)
	}
	if err := os.Mkdir("functions", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"policy.yaml", "policy-test.yaml"} {
		if err := os.WriteFile(filepath.Join("functions", name), []byte(team), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := call(t, nil, "test")
	if err != nil {
		t.Error(err)
	}
	shows(t, filepath.ToSlash(out), "functions/policy.yaml: 4 rules",
		"functions/policy-test.yaml: 4 rules")
}

func TestExplainReadsATokenWithoutTrustingIt(t *testing.T) {
	file := write(t, "policy.yaml", team)
	provider := issuer.New(issuer.Options{Now: time.Now, Algorithm: "ES256"})
	provider.SetURL("https://login.example.com")
	const red = "oss://team-docs/teams/red/x.docx"
	token := func(changes map[string]any) string {
		claims := map[string]any{"sub": "ann", "aud": "weboffice", "team": "red"}
		for name, value := range changes {
			claims[name] = value
		}
		return write(t, "token", "Bearer "+provider.Token(claims).Reveal()+"\n")
	}
	out, err := call(t, nil, "explain", "-policy", file, "-token", token(nil), red)
	if err != nil {
		t.Fatal(err)
	}
	shows(t, out, "signature was not looked at", `"ann" of staff`, "teams: decides", "not", "401")

	out, err = call(t, nil, "explain", "-policy", file, "-token",
		token(map[string]any{"aud": "another"}), red)
	if err != nil {
		t.Fatal(err)
	}
	shows(t, out, "The proof is refused (401) before any rule", "aud", "Were it good",
		"teams: decides")

	if out, err := call(t, nil, "explain", "-policy", file, "-token",
		write(t, "token", "no token"), red); err == nil || strings.Contains(out, "rule") {
		t.Errorf("no token at all: %v\n%s", err, out)
	}
	provider.SetURL("https://evil.example")
	if out, err := call(t, nil, "explain", "-policy", file, "-token", token(nil),
		"oss://team-docs/handbook/x.docx"); err == nil || strings.Contains(out, "handbook") {
		t.Errorf("another issuer's token was explained as a guest's: %v\n%s", err, out)
	}
}

// linkKey is a key that looks random, and its form in WEBOFFICE_LINK_KEYS.
func linkKey(seed string) (key weboffice.Secret, encoded string) {
	sum := sha256.Sum256([]byte(seed))
	return weboffice.Secret(sum[:]), base64.StdEncoding.EncodeToString(sum[:])
}

func TestLinkOpensExactlyItsDocument(t *testing.T) {
	file := write(t, "policy.yaml", team)
	key, encoded := linkKey("first")
	_, second := linkKey("second")
	environment := map[string]string{"WEBOFFICE_LINK_KEYS": encoded + "," + second}
	out, err := call(t, environment, "link", "-document", "oss://team-docs/a.docx", "-grant",
		"view,copy", "-sub", "ann", "-name", "Ann", "-expires", "2h", "-id", "j1")
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := caller.NewVerifier(caller.Options{LinkKeys: []weboffice.Secret{key},
		Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	c, err := verifier.Verify(t.Context(), weboffice.Secret(strings.TrimSpace(out)))
	if err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v: printed %q", err, out)
	}
	if c.Subject != "ann" || c.User.Name != "Ann" || c.Link.ID != "j1" ||
		c.Link.Document != "oss://team-docs/a.docx" ||
		strings.Join(c.Link.Grant, ",") != "view,copy" ||
		c.Expires.Sub(c.IssuedAt) != 2*time.Hour {
		t.Errorf("got %+v %+v", c, c.Link)
	}
	token := write(t, "token", out)
	explained, err := call(t, nil, "explain", "-policy", file, "-token", token,
		"oss://team-docs/a.docx")
	if err != nil {
		t.Fatal(err)
	}
	shows(t, explained, "links: decides", "granted   view copy")
	explained, err = call(t, nil, "explain", "-policy", file, "-token", token,
		"oss://team-docs/handbook/x.docx")
	if err != nil {
		t.Fatal(err)
	}
	shows(t, explained, "links: the link is for other documents",
		"handbook: a share link is decided by rules for links alone", "refused   Forbidden")
	revoked := write(t, "policy.yaml", "revokedLinks: [j1]\n"+team)
	if explained, err = call(t, nil, "explain", "-policy", revoked, "-token", token,
		"oss://team-docs/a.docx"); err != nil {
		t.Fatal(err)
	}
	shows(t, explained, "refused (401) before any rule: the link is revoked")
	again, jti, err := printed(t, environment, "link", "-documents", "oss://team-docs/*", "-grant",
		"view")
	other, jti2, err2 := printed(t, environment, "link", "-documents", "oss://team-docs/*",
		"-grant", "view")
	if err != nil || err2 != nil || again == other || jti == jti2 ||
		!regexp.MustCompile(`^jti [A-Z2-7]{26}\n$`).MatchString(jti) {
		t.Errorf("two links are one: %v %v, or their ids are not shown: %q", err, err2, jti)
	}
	if explained, err = call(t, nil, "explain", "-policy", file, "-token",
		write(t, "token", again), "oss://team-docs/other.docx"); err != nil {
		t.Fatal(err)
	}
	shows(t, explained, "links: decides")
}

func TestDiffSaysWhoGainsAndWhoLoses(t *testing.T) {
	old := write(t, "old.yaml", team)
	changed := write(t, "new.yaml", strings.NewReplacer("grant: [view, edit, copy], session: 8h",
		"grant: [view, copy, print], session: 4h", "origins: [https://docs.example.com]",
		"origins: [https://docs.example.com, https://new.example.com]",
		"callers: anyone, grant: [view]}", "callers: {issuer: partners}, grant: [view]}",
		"rules:\n", "  partners: {url: https://id.partners.example, audience: weboffice}\nrules:\n",
		"expect: handbook", "expect: refused").Replace(team))
	out, err := call(t, nil, "diff", "-from", old, "-policy", changed)
	if err != nil {
		t.Fatal(err)
	}
	shows(t, out,
		"- origins: [https://docs.example.com]\n",
		"+ origins: [https://docs.example.com https://new.example.com]\n",
		"+ issuer {Name:partners URL:https://id.partners.example Audience:[weboffice]",
		"rule \"teams\", as before\n  staff, in oss://team-docs/teams/${team}/**\n"+
			"    gains print\n    loses edit\n    session: 8h0m0s → 4h0m0s\n    such as {\"as\":",
		"rule \"handbook\" before, no rule now\n  anyone, in oss://team-docs/handbook/**\n"+
			"    loses all: view\n    such as {\"as\":\"anyone\",\"open\":\"oss://team-docs/",
		"no rule before, rule \"handbook\" now\n  partners, in oss://team-docs/handbook/**\n"+
			"    gains all: view\n", "not", "pay", "links", "nothing changes")
	if out, err = call(t, nil, "diff", "-from", old, "-policy", old); err != nil ||
		out != "nothing changes: every request is decided as before\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSchemaIsTheOneThatEditorsRead(t *testing.T) {
	out, err := call(t, nil, "schema")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile("../../functions/policy.schema.json")
	if err != nil || out != string(kept) {
		t.Errorf("%v: functions/policy.schema.json is another one: go run ./scripts/policy schema"+
			" > functions/policy.schema.json", err)
	}
}

func TestHelp(t *testing.T) {
	for c := range commands {
		out, err := call(t, nil, c, "-h")
		if !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(out, "policy "+c) ||
			!strings.Contains(out, "-policy FILE") {
			t.Errorf("%s -h: %v\n%s", c, err, out)
		}
	}
	if out, err := call(t, nil, "-h"); err != nil || strings.Count(out, "\n") != len(commands) ||
		!strings.Contains(out, "policy diff -from") {
		t.Errorf("-h: %v\n%s", err, out)
	}
}
