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

func TestTestOfPolicies(t *testing.T) {
	good := write(t, "good.yaml", team)
	failing := write(t, "failing.yaml", team+
		"  - {as: anyone, open: oss://team-docs/pay/x.docx, expect: handbook}\n")
	broken := write(t, "broken.yaml", "project: [p]\nrulez: []\n")
	warned := write(t, "warned.yaml", strings.NewReplacer("rules:\n",
		"rules:\n  - {name: first, documents: oss://team-docs/**, callers: anyone,"+
			" grant: [view]}\n",
		"expect: handbook", "expect: first").Replace(team))
	for name, c := range map[string]struct {
		files []string
		fails string
		want  []string
	}{
		"good": {[]string{good}, "", []string{"good.yaml: 4 rules, 1 tests, ok", "not",
			"warning"}},
		"failing": {[]string{failing}, "1 of 1",
			[]string{
				"failing.yaml:15:6: test 2: oss://team-docs/pay/x.docx: expected handbook, got refused",
				"handbook: the documents do not match", "2 tests, 1 failed"}},
		"broken": {[]string{broken}, "1 of 1", []string{"broken.yaml:1:10: text belongs here",
			"broken.yaml:2:1: unknown key", "not", "tests, "}},
		"warned": {[]string{warned}, "",
			[]string{`warned.yaml:6:6: warning: rule "first" is for anyone and stands before "pay"`,
				"ok"}},
		"many": {[]string{broken, good, failing}, "2 of 3",
			[]string{"broken.yaml:2:1", "good.yaml: 4 rules, 1 tests, ok", "1 failed"}},
		"missing":  {[]string{"missing.yaml"}, "1 of 1", []string{"missing.yaml"}},
		"stand-in": {[]string{"../dev/policy.yaml"}, "1 of 1", []string{"standIn"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := call(t, nil, append([]string{"test"}, c.files...)...)
			if c.fails == "" && err != nil || c.fails != "" &&
				(err == nil || !strings.HasPrefix(err.Error(), c.fails)) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
			shows(t, out, c.want...)
		})
	}
	if out, err := call(t, nil, "test", "-stand-in", "../dev/policy.yaml"); err != nil {
		t.Errorf("%v\n%s", err, out)
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

func TestExplain(t *testing.T) {
	file := write(t, "policy.yaml", team)
	environment := map[string]string{"WEBOFFICE_USER_SALT": "salt",
		"WEBOFFICE_PROJECT": "another"}
	const ann = `{"issuer": "staff", "sub": "ann", "name": "Ann", "team": "red", "employment": "permanent"}`
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"a person": {
			[]string{"-claims", ann, "oss://team-docs/teams/red/x.docx"},
			[]string{
				`"ann" of staff`, "pay: the documents do not match", "teams: decides\n",
				"granted   view edit copy\n", "ends 8h0m0s after", `"ProjectName": "team-project"`,
				"User.Id   " + weboffice.UserID("salt", "https://login.example.com", "ann") + "\n",
				"not", "handbook",
			},
		},
		"less is asked": {[]string{"-claims", ann, "-permission", "view,copy,print",
			"oss://team-docs/teams/red/x.docx"}, []string{"granted   view copy\n"}},
		"another's team": {[]string{"-claims", ann, "oss://team-docs/teams/blue/x.docx"},
			[]string{"teams: the segment ${team} is not the caller's", "refused   Forbidden:"}},
		"denied": {
			[]string{"-claims", `{"issuer": "staff", "sub": "bob"}`, "oss://team-docs/pay/x.docx"},
			[]string{"pay: decides: refused", "refused   Forbidden:", "not", "teams:"},
		},
		"anyone": {[]string{"oss://team-docs/handbook/x.docx"},
			[]string{"anyone, without a proof", "handbook: decides", "another with each opening"}},
		"anyone, closed": {[]string{"oss://team-docs/pay/x.docx"},
			[]string{"pay: the caller is not of this issuer", "refused   Unauthenticated"}},
		"a watermark without a name": {
			[]string{"-claims",
				`{"issuer": "links", "documents": "oss://team-docs/**", "grant": ["view"]}`,
				"oss://team-docs/x.docx"},
			[]string{"links: decides", "refused   Forbidden:",
				"fix       the rule matches, but its `set` cannot be filled",
				"${name} in Watermark"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := call(t, environment, append([]string{"explain", "-policy", file},
				c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			shows(t, out, c.want...)
		})
	}
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

// A link without a name is one for which nothing stands: no watermark can be filled with it.
func TestAWatermarkNeedsALinksName(t *testing.T) {
	file := write(t, "policy.yaml", team)
	_, encoded := linkKey("first")
	environment := map[string]string{"WEBOFFICE_LINK_KEYS": encoded}
	for name, c := range map[string]struct {
		flags []string
		want  []string
	}{
		"nobody's": {nil, []string{"links: decides", "refused   Forbidden:",
			"fix       the rule matches, but its `set` cannot be filled", "${name} in Watermark"}},
		"somebody's": {[]string{"-sub", "ann"},
			[]string{"links: decides", "refused   Forbidden:", "${name} in Watermark"}},
		"with its name": {[]string{"-name", "Ann"}, []string{"links: decides", "granted   view\n",
			`"Value": "Ann"`, "not", "refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := call(t, environment,
				append([]string{"link", "-document", "oss://team-docs/a.docx", "-grant", "view"},
					c.flags...)...)
			if err != nil {
				t.Fatal(err)
			}
			explained, err := call(t, nil, "explain", "-policy", file, "-token",
				write(t, "token", token), "oss://team-docs/a.docx")
			if err != nil {
				t.Fatal(err)
			}
			shows(t, explained, c.want...)
		})
	}
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

// A document that somebody uploaded under a name such as *.docx is one document.
func TestLinkToADocumentNamedLikeAPattern(t *testing.T) {
	file := write(t, "policy.yaml", strings.Replace(team, `set: {Watermark: {Value: "${name}"}}`,
		"set: {Hidecmb: true}", 1))
	_, encoded := linkKey("first")
	out, err := call(t, map[string]string{"WEBOFFICE_LINK_KEYS": encoded}, "link", "-document",
		"oss://team-docs/uploads/*.docx", "-grant", "view", "-policy", file)
	if err != nil {
		t.Fatal(err)
	}
	for name, opens := range map[string]string{"*.docx": "links: decides",
		"other.docx": "links: the link is for other documents"} {
		explained, err := call(t, nil, "explain", "-policy", file, "-token",
			write(t, "token", out), "oss://team-docs/uploads/"+name)
		if err != nil {
			t.Fatal(err)
		}
		shows(t, explained, opens)
	}
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

// What keeps a function from starting keeps a policy from going out.
func TestTestFailsForWhatAFunctionWouldNotStartWith(t *testing.T) {
	homeless := write(t, "policy.yaml", strings.Replace(team, "project: team-project\n", "", 1))
	out, err := call(t, nil, "test", "-policy", homeless)
	if err == nil {
		t.Error("a policy without a project is ok")
	}
	shows(t, out, "no IMM project: set WEBOFFICE_PROJECT")
	_, encoded := linkKey("first")
	out, err = call(t, map[string]string{"WEBOFFICE_PROJECT": "p",
		"WEBOFFICE_LINK_KEYS": encoded}, "test", "-policy", homeless)
	if err != nil {
		t.Error(err)
	}
	shows(t, out, "4 rules, 1 tests, ok", "not", "note")
	out, err = call(t, map[string]string{"WEBOFFICE_PROJECT": "p"}, "test", homeless)
	if err != nil {
		t.Error(err)
	}
	shows(t, out, "note: it has rules for share links: the functions do not start without"+
		" WEBOFFICE_LINK_KEYS")
	if _, err = call(t, map[string]string{"WEBOFFICE_PROJECT": "p",
		"WEBOFFICE_LINK_KEYS": "short"}, "test", homeless); err == nil {
		t.Error("a bad link key is ok")
	}
}

func TestWrongArguments(t *testing.T) {
	file := write(t, "policy.yaml", team)
	_, encoded := linkKey("first")
	key := map[string]string{"WEBOFFICE_LINK_KEYS": encoded}
	link := []string{"link", "-document", "oss://team-docs/a.docx", "-grant", "view"}
	for name, c := range map[string]struct {
		environment map[string]string
		args        []string
		want        string
	}{
		"nothing":            {nil, nil, "policy explain [flags]"},
		"an unknown command": {nil, []string{"tests"}, "policy explain [flags]"},
		"an unknown flag":    {nil, []string{"explain", "-document", "x"}, "not defined"},
		"no document": {nil, []string{"explain", "-policy", file},
			"takes one document"},
		"half a document": {nil, []string{"explain", "-policy", file, "oss://team-docs"},
			"InvalidArgument.SourceURI"},
		"a flag behind": {nil,
			[]string{"explain", "-policy", file, "oss://team-docs/x.docx", "-claims", "{}"},
			"behind its flags"},
		"token and claims": {nil, []string{"explain", "-policy", file, "-token", "x",
			"-claims", "{}", "oss://team-docs/x.docx"}, "one of -token and -claims"},
		"no such policy": {nil, []string{"explain", "-policy", "missing.yaml",
			"oss://team-docs/x.docx"}, "missing.yaml"},
		"no such token": {nil, []string{"explain", "-policy", file, "-token", "missing",
			"oss://team-docs/x.docx"}, "missing"},
		"claims that are no JSON": {nil, []string{"explain", "-policy", file, "-claims", "sub",
			"oss://team-docs/x.docx"}, "-claims: not one JSON"},
		"claims of nobody": {nil, []string{"explain", "-policy", file, "-claims",
			`{"sub": "ann"}`, "oss://team-docs/x.docx"}, "-claims: issuer must be"},
		"an unknown grant": {nil, []string{"explain", "-policy", file, "-permission", "look",
			"oss://team-docs/x.docx"}, `unknown grant "look"`},
		"a link without a key": {nil, link, "WEBOFFICE_LINK_KEYS is not set"},
		"a link with a short key": {map[string]string{"WEBOFFICE_LINK_KEYS": "c2hvcnQ="}, link,
			"WEBOFFICE_LINK_KEYS: key 1 is not the base64 of 32 bytes"},
		"a link with a weak key": {map[string]string{
			"WEBOFFICE_LINK_KEYS": base64.StdEncoding.EncodeToString(
				bytes.Repeat([]byte("k1"), 16))}, link, "does not look random"},
		"a link with a session key": {
			map[string]string{"WEBOFFICE_LINK_KEYS": encoded, "WEBOFFICE_SESSION_KEYS": encoded},
			link, "holds a session key",
		},
		"a link without document": {key, []string{"link", "-grant", "view"}, "-document"},
		"a link with both": {key, append(link, "-documents", "oss://team-docs/**"),
			"one of -document URI and -documents PATTERN"},
		"a link for half a document": {key, []string{"link", "-document", "oss://team-docs",
			"-grant", "view"}, "-document: a link to it opens nothing: SourceURI must have"},
		"a link that no rule lets in": {key, []string{"link", "-document",
			"oss://other-docs/a.docx", "-grant", "view", "-policy", file},
			"opens nothing for this link: Forbidden"},
		"a revoked link": {key, append(link, "-id", "gone", "-policy",
			write(t, "policy.yaml", "revokedLinks: [gone]\n"+team)), "under revokedLinks"},
		"a link without rules for any": {key, append(link, "-policy",
			write(t, "policy.yaml", "project: p\n")), "add one with callers: {issuer: links}"},
		"a diff from nothing":     {nil, []string{"diff", "-policy", file}, "-from OLD"},
		"a diff from what is not": {nil, []string{"diff", "-from", "no.yaml"}, "no.yaml"},
		"a diff to what is not": {nil, []string{"diff", "-from", file, "-policy", "no.yaml"},
			"no.yaml"},
		"a diff of a mistake": {nil, []string{"diff", "-from",
			write(t, "policy.yaml", "rulez: []\n"), "-policy", file},
			"has mistakes, at line:column:\n1:1: unknown key"},
		"a link for any bucket": {key, []string{"link", "-documents", "oss://*/**", "-grant",
			"view"}, "a bucket is literal"},
		"a link for a claim": {key, []string{"link", "-documents",
			"oss://team-docs/${sub}/x", "-grant", "view"}, "no claim to equal"},
		"a link without view": {key, []string{"link", "-document", "oss://team-docs/x.docx",
			"-grant", "edit"}, "-grant with view"},
		"a link with a misspelt": {key, []string{"link", "-document", "oss://team-docs/x.docx",
			"-grant", "view,wiev"}, "unknown word"},
		"a link for a year":   {key, append(link, "-expires", "8760h"), "30 days"},
		"a link of yesterday": {key, append(link, "-expires", "-24h"), "share link"},
		"words behind": {key, append(link, "oss://team-docs/b.docx"),
			"nothing behind its flags"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := call(t, c.environment, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) || out != "" {
				t.Errorf("error %v, want one with %q; printed %q", err, c.want, out)
			}
		})
	}
	for _, c := range commands {
		out, err := call(t, nil, c.name, "-h")
		if !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(out, "policy "+c.name) ||
			!strings.Contains(out, "-policy FILE") {
			t.Errorf("%s -h: %v\n%s", c.name, err, out)
		}
	}
	if out, err := call(t, nil, "-h"); err != nil ||
		!strings.Contains(out, "policy diff -from") {
		t.Errorf("-h: %v\n%s", err, out)
	}
}
