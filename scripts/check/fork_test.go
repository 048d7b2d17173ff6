package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"weboffice-functions/shared/policy"
)

// change is what an adopter may do to a file of theirs, and one mistake in it with the finding that
// it must cause.
type change struct {
	name, file   string
	edit         func(before string) string
	wrong, right string // right is what wrong stands for
	found        string
}

// changes are plausible ones. All together they are testdata/fork, over which CI runs every test.
func changes(t *testing.T) []change {
	whole := func(file string) func(string) string {
		text, err := os.ReadFile("testdata/fork/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return func(string) string { return string(text) }
	}
	lines := func(keys string) func(string) string {
		line := regexp.MustCompile(`(?m)^( +)# ((?:` + keys + `): .*)$`)
		return func(before string) string { return line.ReplaceAllString(before, "$1$2") }
	}
	replace := strings.NewReplacer("functionName: weboffice-generate-test\n",
		"functionName: acme-generate-test\n          region: cn-beijing\n"+
			"          role: acs:ram::123456789012:role/weboffice-test\n",
		"functionName: weboffice-refresh-test", "functionName: acme-refresh-test")
	staging := whole("scripts/env.yaml")("")
	staging = staging[strings.Index(staging, "\n  - name: staging"):]
	const env, policy = "scripts/env.yaml", "functions/policy.yaml"
	return []change{
		{"README's first policy", policy, whole(policy), "[veiw, copy]", "[view, copy]",
			"functions/policy.yaml:18:"},
		{"a company's policy", "functions/policy-company.yaml", whole("functions/policy-company.yaml"),
			"expect: refused", "expect: finance", "functions/policy-company.yaml:46:5: "},
		{"link keys", env, lines("WEBOFFICE_LINK_KEYS|WEBOFFICE_USER_SALT"),
			"WEBOFFICE_LINK_KEYS: c2VjcmV0", "WEBOFFICE_LINK_KEYS: ${env('WEBOFFICE_LINK_KEYS')}",
			"scripts/env.yaml:38:13: WEBOFFICE_LINK_KEYS stands in a file — "},
		{"the custom runtime", env, lines("runtime|instanceConcurrency|cpu|memorySize"),
			"memorySize: 380", "memorySize: 384", "got 380, want 64 — it takes 128 to 32768 in steps"},
		{"other names and regions", env, replace.Replace, "region: cn-bejing\n", "region: cn-beijing\n",
			"scripts/env.yaml:29:11: resources.generate.props.region: value must be one of"},
		{"a third environment", env, func(before string) string {
			return strings.TrimSuffix(before, "\n") + "\n" + staging
		}, "functionName: weboffice-generate-production\n          concurrencyConfig: {",
			"functionName: weboffice-generate-staging\n          concurrencyConfig: {",
			"staging/generate is deployed over production/generate — give each"},
	}
}

// TestNothingThatAnAdopterWritesIsRed makes each change alone and all together: the checks pass,
// and refuse one wrong line in each with its place and its fix.
func TestNothingThatAnAdopterWritesIsRed(t *testing.T) {
	all := shipped(t)
	check := func(files map[string]string) string {
		found := findings(t, checkServerless, files)
		for name, text := range files {
			report := policy.Check([]byte(text), policy.Options{Project: "project"})
			for _, f := range append(report.Mistakes, report.Failures...) {
				if strings.HasPrefix(name, "functions/") {
					found += fmt.Sprintf("%s:%v\n", name, f)
				}
			}
		}
		return found
	}
	for _, c := range changes(t) {
		t.Run(c.name, func(t *testing.T) {
			alone := shipped(t)
			alone[c.file], all[c.file] = c.edit(alone[c.file]), c.edit(all[c.file])
			if found := check(alone); found != "" {
				t.Error(found)
			}
			before := alone[c.file]
			alone[c.file] = strings.Replace(before, c.right, c.wrong, 1)
			if found := check(alone); alone[c.file] == before || !strings.Contains(found, c.found) {
				t.Errorf("%q for %q: %q is not in\n%s", c.wrong, c.right, c.found, found)
			}
		})
	}
	if found := check(all); found != "" {
		t.Errorf("all together: %s", found)
	}
	for file, text := range all {
		if fork, err := os.ReadFile("testdata/fork/" + file); err == nil && string(fork) != text {
			t.Errorf("testdata/fork/%s is not what all changes make", file)
		}
	}
}
