package policy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"weboffice-functions/shared/policy"
)

// rule wraps lines of one rule in a policy; what is not given is filled in so that the rest is
// right.
func rule(lines string) string {
	text := "rules:\n  - name: r\n"
	for _, usual := range []string{"documents: oss://team-docs/**", "callers: {issuer: staff}",
		"grant: [view]"} {
		key, _, _ := strings.Cut(usual, ":")
		if !strings.Contains(lines, key+":") && !strings.Contains(lines, "deny: true") ||
			key != "grant" && !strings.Contains(lines, key+":") {
			text += "    " + usual + "\n"
		}
	}
	return head + text + "    " + strings.ReplaceAll(lines, "\n", "\n    ") + "\n"
}

// issuer is a policy of one issuer.
func issuer(lines string) string { return "issuers:\n  " + lines + "\n" }

// testing1 is a policy with one test.
func testing1(lines string) string { return rule("session: 1h") + "tests:\n  - " + lines + "\n" }

// TestMistakes has a § in front of each place where a mistake must be reported, and what must be
// said of each, in their order.
func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"not YAML": {"project: §[a\n",
			[]string{"is not closed here"}},
		"a tab":         {"§\tproject: p\n", []string{"a tab: indent with spaces"}},
		"empty":         {"§", []string{"one YAML document"}},
		"comments only": {"§# nothing\n", []string{"one YAML document"}},
		"two documents": {"§project: p\n---\nproject: q\n",
			[]string{"one YAML document"}},
		"text":   {"§hello", []string{"a map belongs here, not text"}},
		"a list": {"§- hello", []string{"a map belongs here, not a list"}},
		"a duplicate key": {"project: p\n§project: q\n",
			[]string{`"project" stands twice`}},
		"a duplicate key in a map": {"limits: {anyone: 1/m, §anyone: 2/m}\n",
			[]string{"stands twice"}},
		"unknown keys": {
			"§proyect: p\nlimits: {§guests: 1/m}\nissuers:\n  staff: {url: https://a.example, audience: a, §skew: 1m, user: {§sub: x}}\nrules:\n" +
				"  - name: r\n    documents: oss://team-docs/*\n    callers: {issuer: staff}\n    grant: [view]\n    §allow: true\n" +
				"tests: [{as: anyone, open: oss://team-docs/x.docx, expect: refused, §because: no}]\nproject: p\n",
			[]string{`"proyect"`, `"guests"`, `"skew"`, `"sub"`,
				`"allow": use name, documents, callers, deny, grant`, `"because"`},
		},
		"wrong kinds": {
			"project: §[p]\norigins: §https://a.example\nquickStart: §yes\nstandIn: §\"true\"\nlimits: §5/m\nissuers: §[a]\n" +
				"rules: {§name: r}\nrevokedLinks: [§12, §true, a]\ntests: §none\n",
			[]string{"text belongs here, not a list", "a list belongs here, not text",
				"write true or false", "true or false", "a map belongs here",
				"a map belongs here, not a list", "a list belongs here, not a map",
				"text belongs here, not a number", "text belongs here, not true or false",
				"a list belongs here"},
		},
		"what says nothing": {
			"project: §\"\"\norigins: §[]\nlimits: §{}\nrevokedLinks:§\nissuers:\n  staff: {url: https://a.example, audience: a, maxAge: §'', user: §{}}\n" +
				"rules:\n  - {name: r, documents: oss://team-docs/*, callers: {issuer: staff, claims: {a: §[], b: §null, c: {}}}, grant: [view], set: §{}, project: p}\n",
			[]string{
				"no value", "no value", "no value", "no value",
				"no value", "no value", "no value", "no value", "no value",
			},
		},
		"anchors and aliases": {"project: §&p x\norigins: [§*p]\n", []string{"anchors", "anchors"}},
		"an anchor on a key":  {"§&p project: x\n", []string{"a key is plain text"}},
		"a tag":               {"project: §!!str x\n", []string{"tags"}},
		"a merge": {head +
			"rules:\n  - {name: r, documents: oss://team-docs/*, callers: {§<<: {issuer: staff}}, grant: [view]}\n", []string{"merges"}},

		"origins": {
			"origins:\n  - https://docs.example.com\n  - §https://docs.example.com/\n  - §https://*.example.com\n  - §HTTPS://docs.example.com\n  - §https://Docs.example.com\n" +
				"  - §https://docs.example.com:443\n  - §http://docs.example.com\n  - http://localhost:8080\n  - §http://localhost:80\n  - 'http://[::1]:8080'\n  - §\"null\"\n" +
				"  - §docs.example.com\n  - §https://user@docs.example.com\n  - §\"https://docs.example.com:\"\n  - §https://döcs.example.com\n  - §file:///x\n  - §\"*\"\n  - §\"https://a.example?x\"\n" +
				"  - §http://localhost.evil.example\n  - http://127.0.0.1\n  - https://xn--dcs-sna.example.com:8443\n  - §https://docs.example.com:08443\n",
			[]string{"send this origin as https://docs.example.com:", "no *",
				"as https://docs.example.com:", "as https://docs.example.com:", "default port",
				"https, or http on a loopback", "default port", "as browsers send it",
				"as browsers", "as https://docs.example.com:", "as browsers", "as browsers",
				"as browsers", "as browsers", "as https://a.example:", "loopback address",
				"as browsers"},
		},
		"limits": {
			"limits:\n  anyone: §'10'\n  caller: §0/m\n  total: §0/m\n",
			slices.Repeat([]string{"10/s, 10/m or 10/h"}, 3),
		},
		"limits, once more": {"limits: {anyone: §10/d, caller: §-1/s}\n",
			[]string{"10/s", "10/s"}},
		"limits, too many": {"limits: {anyone: §1000001/s, caller: §1/m/s}\n",
			[]string{"10/s", "10/s"}},
		"no audience": {issuer("staff:\n    §url: https://a.example"),
			[]string{"audience is required"}},
		"an http issuer": {issuer("staff: {url: §http://login.example.com, audience: a}"),
			[]string{"url must be https"}},
		"no url": {issuer("staff: {§audience: a}"), []string{"url must be https"}},
		"a url with a query": {issuer("staff: {url: §\"https://a.example?x=y\", audience: a}"),
			[]string{"without user, query"}},
		"a url with a user": {issuer("staff: {url: §https://a@b.example, audience: a}"),
			[]string{"url must be https"}},
		"a url without host": {issuer("staff: {url: §https://:8080, audience: a}"),
			[]string{"url must be https"}},
		"maxAge": {issuer("staff: {url: https://a.example, audience: a, maxAge: §1d}"),
			[]string{"30m or 8h"}},
		"maxAge, short": {issuer("staff: {url: https://a.example, audience: a, maxAge: §30s}"),
			[]string{"at least 1m"}},
		"an issuer's length": {issuer(strings.Repeat("s", 33) +
			": {§url: https://a.example, audience: a}"), []string{"lower-case"}},
		"an issuer's name": {issuer("Staff: {§url: https://a.example, audience: a}"),
			[]string{"lower-case"}},
		"the issuer links": {issuer("links: {§url: https://a.example, audience: a}"),
			[]string{"neither links nor anyone"}},
		"the issuer anyone": {issuer("anyone: {§url: https://a.example, audience: a}"),
			[]string{"neither links nor anyone"}},
		"two issuers of one url": {
			issuer(
				"a: {url: https://a.example, audience: a}\n  b: {url: §https://a.example, audience: b}"), []string{"issuer a has the same url"},
		},

		"a rule with nothing": {"project: p\nrules:\n  - §session: 1h\n",
			[]string{"oss://bucket/key", "callers is anyone", "must hold view", "name of its own"}},
		"a rule called refused": {head +
			"rules:\n  - {name: §refused, documents: oss://team-docs/a, callers: {issuer: staff}, grant: [view]}\n", []string{"name of its own"}},
		"no project": {
			"rules:\n  - {§name: r, documents: oss://team-docs/*, callers: anyone, grant: [view]}\n", []string{"WEBOFFICE_PROJECT"}},

		"a pattern for any bucket": {rule("documents: §oss://*/x"),
			[]string{"a bucket is literal"}},
		"a pattern without key": {rule("documents: §oss://team-docs"),
			[]string{"oss://bucket/key"}},
		"a pattern with an empty": {rule("documents: §oss://team-docs/"),
			[]string{"oss://bucket/key"}},
		"a pattern of a URL": {rule("documents: §https://team-docs/x"),
			[]string{"oss://bucket/key"}},
		"a bucket in upper case": {rule("documents: §oss://Team-Docs/x"),
			[]string{"no document can match"}},
		"a pattern with ..": {rule("documents: §oss://team-docs/a/../x"),
			[]string{"no document can match"}},
		"a pattern with //": {rule("documents: §oss://team-docs/a//x"),
			[]string{"no document can match"}},
		"a pattern that ends in /": {rule("documents: §oss://team-docs/a/"),
			[]string{"no document can match"}},
		"a pattern with %2F": {rule("documents: §oss://team-docs/a%2Fx"),
			[]string{"no document can match"}},
		"a pattern with ?": {rule("documents: §oss://team-docs/a?x"),
			[]string{"no document can match"}},
		"a pattern with a backslash": {rule(`documents: §oss://team-docs/a\x`),
			[]string{"no document can match"}},
		"a pattern that is too long": {rule("documents: §oss://team-docs/" +
			strings.Repeat("x", 1024)), []string{"no document can match"}},
		"** in a segment": {rule("documents: §oss://team-docs/a**"),
			[]string{"whole segment"}},
		"*** as a segment": {rule("documents: §oss://team-docs/***/x"),
			[]string{"whole segment"}},
		"a claim in a segment": {rule("documents: §'oss://team-docs/team-${team}/x'"),
			[]string{"whole segment"}},
		"a claim without a name": {rule("documents: §'oss://team-docs/${}/x'"),
			[]string{"name of a claim"}},
		"a claim with a long name": {rule("documents: §'oss://team-docs/${" +
			strings.Repeat("n", 101) + "}/x'"), []string{"name of a claim"}},
		"a claim that stays open": {rule("documents: §'oss://team-docs/${team/x'"),
			[]string{"whole segment"}},
		"a claim behind **": {rule("documents: §'oss://team-docs/**/${team}/x'"),
			[]string{"must stand before **"}},
		"a claim for anyone": {rule(
			"documents: §'oss://team-docs/${team}/x'\ncallers: anyone"),
			[]string{"can never match for callers: anyone"}},

		"callers as text": {rule("callers: §staff"), []string{"callers is anyone"}},
		"anyone in a list": {rule("callers: [{issuer: staff}, §anyone]"),
			[]string{"callers is anyone"}},
		"a number in a list": {rule("callers: [{issuer: staff}, §5]"),
			[]string{"callers is anyone"}},
		"an unknown issuer": {rule("callers: {issuer: §staf}"),
			[]string{"issuer must be one of links, partners, staff"}},
		"no issuer": {rule("callers: {§claims: {a: b}}"),
			[]string{"issuer must be one of links, partners, staff"}},
		"an issuer that is 5": {rule("callers: {issuer: §5}"),
			[]string{"text belongs here"}},
		"an unknown caller key": {rule("callers: [{issuer: staff, §group: a}]"),
			[]string{"use issuer, claims"}},
		"claims as a list": {rule("callers: {issuer: staff, claims: §[a]}"),
			[]string{"a map belongs here"}},
		"claims as text": {rule("callers: {issuer: staff, claims: §a}"),
			[]string{"a map belongs here"}},
		"a claim that is a map": {rule("callers: {issuer: staff, claims: {a: {§b: c}}}"),
			[]string{"a claim is compared with"}},
		"a claim that is 1.5": {rule("callers: {issuer: staff, claims: {a: §1.5}}"),
			[]string{"a whole number"}},
		"a list in a list": {rule("callers: {issuer: staff, claims: {a: [§[b]]}}"),
			[]string{"a claim is compared with"}},
		"a claim of a claim": {rule("callers: {issuer: staff, claims: {a: §'${b}'}}"),
			[]string{"only * is special"}},
		"a claim with dots": {rule(
			"callers: {issuer: staff, claims: {'https://example.com/a.b[0]': §1.5}}"),
			[]string{"a whole number"}},
		"a domain for an address": {rule("callers: {issuer: staff, claims: {email: §example.com}}"),
			[]string{"email takes an address"}},
		"an address that is true": {rule("callers: {issuer: staff, claims: {email: §true}}"),
			[]string{"email takes an address"}},
		"an address with two @": {rule(
			"callers: {issuer: staff, claims: {email: §'a@b@example.com'}}"),
			[]string{"email takes an address"}},
		"addresses without an @": {rule(
			"callers: {issuer: staff, claims: {email: [§'*example.com', §'*@*example.com', §'ann*', §'**', '*', '*@example.com', §'*@', §'@*', '*@*', 'a*@*.example.com', §'*@*@example.com']}}"), slices.Repeat([]string{"email takes an address"}, 7)},
		"a subject that is a truth": {rule(
			"callers: {issuer: staff, claims: {sub: [7, '7', §true, '*']}}"),
			[]string{"sub is always text"}},

		"an unknown grant": {rule("grant: §[view, wiew]"),
			[]string{`unknown grant "wiew": use view, edit`}},
		"no grant": {head +
			"rules:\n  - {§name: r, documents: oss://team-docs/*, callers: {issuer: staff}}\n",
			[]string{"grant must hold view"}},
		"a grant without view": {rule("grant: §[edit]"), []string{"grant must hold view"}},
		"a deny that grants": {rule("deny: §true\ngrant: [view]"),
			[]string{"a deny rule gives nothing"}},
		"a deny that sets": {rule("deny: §true\nset: {Hidecmb: true}"),
			[]string{"a deny rule gives nothing"}},
		"a deny that accepts": {rule("deny: §true\naccept: [User]"),
			[]string{"a deny rule gives nothing"}},
		"a deny with a session": {rule("deny: §true\nsession: 1h"),
			[]string{"a deny rule gives nothing"}},
		"a deny with a project": {rule("deny: §true\nproject: p"),
			[]string{"a deny rule gives nothing"}},
		"a session without unit": {rule("session: §'8'"), []string{"30m or 8h"}},
		"a session of a number": {rule("session: §8"),
			[]string{"text belongs here, not a number"}},
		"a session that is short": {rule("session: §59s"), []string{"at least 1m"}},
		"a session of ten years":  {rule("session: §87600h"), []string{"at most a year"}},

		"set SourceURI": {rule("set: {SourceURI: §oss://team-docs/x.docx}"),
			[]string{"set cannot hold SourceURI"}},
		"set Permission": {rule("set: {Permission: {§Readonly: true}}"),
			[]string{"set cannot hold Permission"}},
		"set an unknown": {rule("set: {§hidecmb: true}"), []string{"Use Hidecmb"}},
		"set an unknown member": {rule("set: {§Watermark: {Text: x}}"),
			[]string{"not a known member of Watermark"}},
		"set PreviewPages 0": {rule("set: {§PreviewPages: 0}"),
			[]string{"PreviewPages is not valid"}},
		"set PreviewPages 2.5": {rule("set: {§PreviewPages: 2.5}"),
			[]string{"PreviewPages is not valid"}},
		"set a Filename": {rule("set: {§Filename: x.exe}"),
			[]string{"supported extension"}},
		"set not a number": {rule("set: {Watermark: {Rotate: §.nan}}"),
			[]string{"plain digits"}},
		"set an open claim": {rule("set: {§UserData: '${team'}"),
			[]string{"${team} names no claim"}},
		"set a nameless claim": {rule("set: {§UserData: '${}'}"), []string{"${} names no claim"}},
		"set a long claim": {rule("set: {§UserData: '${" + strings.Repeat("n", 101) + "}'}"),
			[]string{"names no claim"}},
		"set of the document": {rule("set: {§UserData: '${document.size}'}"),
			[]string{"names no claim"}},
		"set a claim for anyone": {rule("callers: anyone\nset: {§UserData: '${team}'}"),
			[]string{"can never be filled"}},
		"a credential policy that is not JSON": {
			rule("set: {CredentialConfig: {Policy: §'{'}}"), []string{"must be JSON"},
		},
		"a claim outside of the quotes of a credential policy": {
			rule("set: {CredentialConfig: {Policy: §'{\"a\": ${team}}'}}"),
			[]string{"inside its quotes"},
		},
		"set to nothing": {
			rule(
				"set: {Filename: x.docx, Password: §'', Referer: §'', Hidecmb: false, UserData: x}"),
			[]string{"Password holds no value", "Referer holds no value"},
		},
		"set a control character": {rule("set: {§Watermark: {Value: \"a\\u0007\"}}"),
			[]string{"without control characters"}},
		"accept an unknown": {rule("accept: [User, §Userdata]"), []string{"not a parameter"}},
		"accept under anyone": {
			rule(
				"callers: anyone\naccept: [Referer, §User, §ProjectName, §CredentialConfig, §Notification, §NotifyTopicName, UserData]"),
			[]string{"User cannot be left to anyone", "ProjectName cannot",
				"CredentialConfig cannot", "Notification cannot", "NotifyTopicName cannot"},
		},
		"standIn against a real endpoint": {"standIn: §true\n", []string{"not a loopback address"}},

		"a test of nothing": {testing1("§granted: [view]"),
			[]string{"expect is the name", "open: SourceURI is required", "as is anyone"}},
		"a test's rule": {
			testing1("{as: anyone, open: oss://team-docs/x.docx, expect: §s}"),
			[]string{"expect is the name of a rule"}},
		"a test's document": {
			testing1("{as: anyone, open: §oss://team-docs, expect: refused}"),
			[]string{"open: SourceURI must have"}},
		"a test's claims": {
			testing1("{as: {§issuer: staff}, open: oss://team-docs/x.docx, expect: r}"),
			[]string{"as: sub"}},
		"a test's issuer": {
			testing1("{as: {§issuer: stuff, sub: a}, open: oss://team-docs/x.docx, expect: r}"),
			[]string{"issuer must be one of links"}},
		"a test as somebody": {
			testing1("{as: §somebody, open: oss://team-docs/x.docx, expect: r}"),
			[]string{"as is anyone or a map"}},
		"a test's link": {
			testing1(
				"{as: {§issuer: links, grant: [view]}, open: oss://team-docs/x.docx, expect: refused}"), []string{"as: document is missing"}},
		"a test's question": {
			testing1(
				"{as: anyone, open: oss://team-docs/x.docx, expect: refused, ask: {§previewPages: 1}}"), []string{"ask: previewPages is not a known"}},
		"a test's grants": {
			testing1("{as: anyone, open: oss://team-docs/x.docx, expect: r, granted: §[see]}"),
			[]string{"unknown grant"}},
		"a test's grants of a refuse": {
			testing1(
				"{as: anyone, open: oss://team-docs/x.docx, expect: refused, granted: §[view]}"),
			[]string{"granted means nothing"}},
		"a Watermark without text": {rule("set: {Watermark: {§Type: 1, Font: bold 20px Serif}}"),
			[]string{"Watermark needs a Value"}},
		"a Watermark that closes early": {rule(`set: {§Watermark: "{'Type':1},'Value':'x'}"}`),
			[]string{"Watermark is not valid"}},
		"JSON with a bare claim": {rule(`set: {§UserData: '{"id": ${id}}'}`),
			[]string{"put each ${…} of it inside quotes"}},
		"**.pdf":  {rule("documents: §oss://team-docs/**.pdf"), []string{"write **/*.pdf;"}},
		"draft**": {rule("documents: §oss://team-docs/draft**"), []string{"write draft*/**;"}},
		"a pointer of one step": {rule("callers: {issuer: staff, claims: {/email: §x}}"),
			[]string{`write "email"`}},
		"a pointer with a bad escape": {rule("documents: §'oss://team-docs/${/a/~2}/x'"),
			[]string{"~ is written as ~0"}},
		"a pointer that fills nothing": {rule("set: {§UserData: '${/name}'}"),
			[]string{"${/name} names no claim"}},
		"a claim of a user": {issuer(
			"a: {url: https://a.example, audience: a, user: {§id: /sub}}"), []string{`write "sub"`}},
		"a key set over http": {issuer(
			"a: {url: any, audience: a, keys: §http://a.example/jwks}"),
			[]string{"keys must be the key set's https URL"}},
		"an iss with a space": {issuer(
			"a: {url: §a b, audience: a, keys: https://a.example/jwks}"),
			[]string{"url must be the tokens' iss"}},
		"an audience in a claim of any name": {issuer(
			"a: {url: https://a.example, audience: a, audienceClaim: §cid}"),
			[]string{"aud, azp or client_id"}},
		"addresses whose * stands behind the @": {rule("callers: {issuer: staff, claims: {email:" +
			" [§'*@*example.com', §'*@example.com*', §'*@example.*', §'*@*.*.example', '*@*.a.b']}}"),
			slices.Repeat([]string{"email takes an address"}, 4)},
		"two rules of a name say which": {head + "rules:\n" +
			"  - {name: r, documents: oss://team-docs/a, callers: {issuer: staff}, grant: [view]}\n" +
			"  - {name: §r, documents: oss://team-docs/b, callers: {issuer: staff}, grant: [view]}\n",
			[]string{"the rule in line 7 has the same name"}},

		"an octal": {rule("callers: {issuer: staff, claims: {a: §0123}}"), []string{"plain digits"}},
		"a decimal with zeros": {rule("callers: {issuer: staff, claims: {a: §0089}}"),
			[]string{"plain digits"}},
		"other numbers": {rule("callers: {issuer: staff, claims: {a: [§0x1f, §0o17, §1_000, §+1, §.5," +
			" §.inf, §-.INF, '0123', 1-2, 2026-01-01]}}"),
			slices.Repeat([]string{"plain digits, or put it in quotes"}, 7)},
		"yes and friends": {rule("callers: {issuer: staff, claims: {a: [§yes, §No, §ON, §off, §y," +
			" §N, §True, §TRUE, 'yes', yesterday]}}"),
			slices.Repeat([]string{"write true or false, or put it in quotes"}, 8)},
		"a * without quotes": {rule("callers: {issuer: staff, claims: {email: §*@example.com}}"),
			[]string{"text that begins with * needs quotes"}},
		"a colon without a space": {rule("callers: {§issuer:staff}"),
			[]string{"put a space behind the colon", "issuer must be"}},
		"two colons":      {"project: a§: b\n", []string{"a second colon in one line"}},
		"an open quote":   {"project: §'p\n", []string{"never closed"}},
		"a backslash":     {"project: \"a§\\q\"\n", []string{"write '…' instead"}},
		"text that is @":  {"project: §@p\n", []string{"put it in quotes"}},
		"a list in line":  {"origins: §- https://a.example\n", []string{"a line of its own"}},
		"an indented key": {"project: p\n  origins§: [https://a.example]\n", []string{"indent by two"}},
		"a claim in braces": {rule("callers: {issuer: staff, claims: {a: $§{b}}}"),
			[]string{"put text that holds { } [ ] or a comma in quotes"}},
		"quotes in text": {"project: 'a' §b\n", []string{"quotes as a whole"}},
		"not UTF-8":      {"project: é§\xff\n", []string{"save the file as UTF-8"}},
		"a control":      {"# x\nproject: a§\x01\n", []string{"control character"}},
		"deep":           {strings.Repeat("[", 10000) + "§[", []string{"nested too deeply"}},
		"many at once": {
			"origins: [§https://*]\nissuers:\n  Staff: {§url: §http://a.example, audience: a}\nrules:\n  - {§name: r, documents: §x, callers: {issuer: §all}, grant: §[sea], session: §x}\ntests: [{as: {§issuer: x}, open: oss://team-docs/x.docx, expect: §z}]\n",
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, places := marked(c.text)
			report := policy.Check([]byte(text), policy.Options{})
			if report.Mistakes == nil {
				t.Fatalf("parsed:\n%s", text)
			}
			err := report.Err()
			got := strings.Split(err.Error(), "\n")
			for i, want := range c.want {
				if i >= len(got) || !strings.Contains(got[i], want) {
					t.Errorf("mistake %d: want one with %q", i+1, want)
				}
			}
			if c.want != nil && len(got) != len(c.want) {
				t.Errorf("%d mistakes, want %d", len(got), len(c.want))
			}
			reported := map[string]bool{}
			for _, line := range got {
				reported[strings.Join(strings.SplitN(line, ":", 3)[:2], ":")] = true
			}
			if found := slices.Sorted(maps.Keys(reported)); !slices.Equal(found,
				slices.Sorted(slices.Values(places))) {
				t.Errorf("at %v, want %v", found, places)
			}
			if t.Failed() {
				t.Logf("\n%s\n%v", text, err)
			}
		})
	}
}

// marked takes the § out of a text and returns their places as line:column.
func marked(text string) (plain string, places []string) {
	for i, line := range strings.Split(text, "\n") {
		column := 1
		for _, r := range line {
			if r == '§' {
				places = append(places, fmt.Sprintf("%d:%d", i+1, column))
			} else {
				column++
			}
		}
	}
	return strings.ReplaceAll(text, "§", ""), places
}

func TestMistakesComeInTheOrderOfTheFile(t *testing.T) {
	text := "origins: [https://*]\nissuers:\n  a: {url: x, audience: a}\n  b: {url: w, audience: b}\n  c: {url: z, audience: c}\nrules:\n  - {name: r, documents: x, callers: {issuer: d, claims: {a: 1.5, b: 1.5, c: 1.5}}, grant: [x]}\n"
	_, first := policy.Parse([]byte(text), policy.Options{})
	for range 20 {
		if _, again := policy.Parse([]byte(text),
			policy.Options{}); again.Error() != first.Error() {
			t.Fatalf("the order changes:\n%v\n\n%v", first, again)
		}
	}
	for i, line := range strings.Split(first.Error(), "\n") {
		if want := []int{1, 3, 4, 5, 7, 7, 7, 7, 7, 7, 7}; !strings.HasPrefix(line,
			fmt.Sprint(want[min(i, len(want)-1)])+":") {
			t.Errorf("mistake %d is %q", i+1, line)
		}
	}
}

// What a mistake is not.
func TestTwinsOfMistakesAreRead(t *testing.T) {
	claim, name := strings.Repeat("n", 100), strings.Repeat("s", 32)
	for _, text := range []string{
		rule("set: {Watermark: {Type: 0, Font: bold 20px Serif}}"),
		rule(`set: {UserData: '{"a": "${id}"}', Watermark: {Value: "[${id}] ${id}"}}`),
		rule("callers: {issuer: staff, claims: {email: ['*@*.example.com', '*@*', 'o*@example.com']}}"),
		rule("callers: {issuer: staff, claims: {cognito:groups: editors, 'urn:x:y': [1, -2], sub: 7}}"),
		rule("documents: oss://team-docs/${https://example.com/team}/${/a/b~1c}/*.docx"),
		rule("callers: {issuer: staff, claims: {/a/: true, a.b: 'yes'}}"),
		issuer("a: {url: 'urn:a', audience: [a, b], audienceClaim: azp, keys: https://a.example/k}"),
		issuer("a: {url: https://a.example, audience: a, user: {id: /x/y, name: full.name}}"),
		"limits: {total: 1/h}\n", "\ufeffproject: p\r\nquickStart: true\r\n",
		rule("documents: 'oss://team-docs/${" + claim + "}/x'"),
		rule("set: {UserData: '${" + claim + "}'}"),
		"project: p\n" + issuer(name+": {url: https://a.example, audience: a}"),
	} {
		if _, err := policy.Parse([]byte(text), policy.Options{}); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

func TestAPolicyOfAMebibyteIsRead(t *testing.T) {
	large := "project: p\n" + strings.Repeat("# "+strings.Repeat("x", 97)+"\n", 10485)
	if _, err := policy.Parse([]byte(large), policy.Options{}); err != nil ||
		len(large) < 1_000_000 {
		t.Errorf("%d bytes: %v", len(large), err)
	}
	if _, err := policy.Parse([]byte(large+strings.Repeat("#", 1<<20-len(large)+1)),
		policy.Options{}); err == nil {
		t.Error("a policy of more than a mebibyte was read")
	}
}

func TestStandInOnLoopbackLetsAnyoneSendEverything(t *testing.T) {
	text := head + `standIn: true
rules:
  - {name: r, documents: oss://team-docs/*, callers: anyone, grant: [view, edit], accept: [User, ProjectName, CredentialConfig, Notification, NotifyTopicName]}
`
	if _, err := policy.Parse([]byte(text), policy.Options{}); err == nil ||
		!strings.Contains(err.Error(), "loopback") {
		t.Errorf("against a real endpoint: %v", err)
	}
	p, err := policy.Parse([]byte(text), policy.Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	d := decided(t, p, "", "oss://team-docs/x.docx",
		`{"User": {"Id": "u1", "Name": "U"}, "ProjectName": "other"}`)
	if d.Request.User.Id != "u1" || d.Request.ProjectName != "other" {
		t.Errorf("got %+v", d.Request)
	}
	if _, err := policy.Parse([]byte(strings.Replace(text, "standIn: true\n", "", 1)),
		policy.Options{Loopback: true}); err == nil {
		t.Error("without standIn anyone may still send User")
	}
}
