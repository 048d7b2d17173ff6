package policy_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
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

// mistaken is a policy with mistakes, and what must be said of them.
type mistaken struct {
	name, text string
	want       []string
}

var repetition = regexp.MustCompile(`<(\d+)\*(.)>`)

// mistakes reads testdata/mistakes.txt, which says how to read it.
func mistakes(t testing.TB) (all []mistaken) {
	wrap := map[string]func(string) string{"rule": rule, "issuer": issuer, "test": testing1,
		"head": func(lines string) string { return head + lines }}
	bytes := strings.NewReplacer("<FF>", "\xff", "<01>", "\x01", "<CR>", "\r", "<BOM>", "\ufeff")
	add := func(name, lines string) {
		lines = repetition.ReplaceAllStringFunc(bytes.Replace(lines), func(found string) string {
			parts := repetition.FindStringSubmatch(found)
			n, _ := strconv.Atoi(parts[1]) // digits
			return strings.Repeat(parts[2], n)
		})
		parts := strings.Split(strings.TrimRight(lines, "\n"), "\n! ")
		m := mistaken{name: name, text: parts[0]}
		if kind, rest, _ := strings.Cut(m.text, ":\n"); wrap[kind] != nil {
			m.text = wrap[kind](rest)
		}
		for _, want := range parts[1:] {
			times, what, _ := strings.Cut(want, " × ")
			if n, err := strconv.Atoi(times); err == nil {
				m.want = append(m.want, slices.Repeat([]string{what}, n)...)
			} else {
				m.want = append(m.want, want)
			}
		}
		all = append(all, m)
	}
	for _, c := range cases(t, "testdata/mistakes.txt") {
		if !strings.HasSuffix(c.name, "of one line each") {
			add(c.name, c.lines)
			continue
		}
		for line := range strings.Lines(strings.TrimSpace(c.lines)) {
			kind, rest, _ := strings.Cut(line, ": ")
			add(line, kind+":\n"+strings.ReplaceAll(rest, " ! ", "\n! "))
		}
	}
	return all
}

func TestMistakes(t *testing.T) {
	for _, c := range mistakes(t) {
		t.Run(c.name, func(t *testing.T) {
			text, places := marked(c.text)
			report := policy.Check([]byte(text), policy.Options{})
			reported := map[string]bool{}
			for i, found := range report.Mistakes {
				reported[fmt.Sprintf("%d:%d", found.Line, found.Column)] = true
				if i < len(c.want) && !strings.Contains(found.Text, c.want[i]) {
					t.Errorf("mistake %d: want one with %q", i+1, c.want[i])
				}
			}
			if c.want != nil && len(report.Mistakes) != len(c.want) {
				t.Errorf("%d mistakes, want %d", len(report.Mistakes), len(c.want))
			}
			if found := slices.Sorted(maps.Keys(reported)); !slices.Equal(found,
				slices.Sorted(slices.Values(places))) {
				t.Errorf("at %v, want %v", found, places)
			}
			if t.Failed() {
				t.Logf("\n%s\n%v", text, report.Mistakes)
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

func TestRulesForShareLinksNeedAKey(t *testing.T) {
	text := rule("callers: [{issuer: staff}, {issuer: links}]")
	_, err := policy.Parse([]byte(text), policy.Options{NoLinkKeys: true})
	if err == nil || !strings.HasPrefix(err.Error(), "11:14: WEBOFFICE_LINK_KEYS is not set") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := policy.Parse([]byte(rule("session: 1h")), policy.Options{NoLinkKeys: true}); err != nil {
		t.Errorf("twin: without such rules: %v", err)
	}
}

func TestMistakesComeInTheOrderOfTheFile(t *testing.T) {
	text := `origins: [https://*]
issuers:
  a: {url: x, audience: a}
  b: {url: w, audience: b}
  c: {url: z, audience: c}
rules:
  - {name: r, documents: x, callers: {issuer: d, claims: {a: 1.5, b: 1.5, c: 1.5}}, grant: [x]}
`
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
	text := head + `rules:
  - {name: r, documents: oss://team-docs/*, callers: anyone, grant: [view, edit], accept: [User,
     ProjectName, CredentialConfig, Notification, NotifyTopicName]}
`
	loopback := policy.Options{Loopback: true}
	if _, err := policy.Parse([]byte(text), loopback); err == nil {
		t.Error("without standIn anyone may still send User")
	}
	p, err := policy.Parse([]byte("standIn: true\n"+text), loopback)
	if err != nil {
		t.Fatal(err)
	}
	d := decided(t, p, "", "oss://team-docs/x.docx",
		`{"User": {"Id": "u1", "Name": "U"}, "ProjectName": "other"}`)
	if d.Request.User.Id != "u1" || d.Request.ProjectName != "other" {
		t.Errorf("got %+v", d.Request)
	}
}
