package main

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

func forAlibaba(more ...string) []string {
	return append([]string{"-print-policies", "-account", "1234567890123456", "-region",
		"cn-shanghai"}, more...)
}

func forLambda(more ...string) []string {
	return append(forAlibaba("-aws-account", "123456789012", "-issuer",
		"https://3f2a.tokens.sts.global.api.aws", "-audience", "office", "-stack", "docs",
		"-aws-region", "eu-west-1"), more...)
}

// printed takes what was printed apart: what stands under each heading.
func (d *deployment) printed(args ...string) []string {
	d.t.Helper()
	out, err := d.run(args...)
	if err != nil {
		d.t.Fatal(err)
	}
	var bodies []string
	for block := range strings.SplitSeq(strings.TrimSpace(out), "\n\n") {
		heading, body := "", ""
		for text := range strings.Lines(block) {
			if strings.HasPrefix(text, "# ") {
				heading += text
			} else {
				body += text
			}
		}
		if heading == "" || body == "" {
			d.t.Errorf("a heading or a policy is missing: %q", block)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

// same compares two JSON texts.
func same(t *testing.T, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

const twoProjects = `
project: office
rules:
  - {name: a, documents: oss://team-docs/a/**, callers: anyone, grant: [view]}
  - {name: b, documents: oss://team-docs/b/**, callers: anyone, grant: [view], project: other}
`

// What is printed is kept, as somebody will paste it.
func TestPrintedPolicies(t *testing.T) {
	d := deploy(t)
	d.write(twoProjects)
	d.env["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"] = "acs:ram::1234567890123456:oidc-provider/amazon"
	for kept, args := range map[string][]string{"function-compute": forAlibaba(),
		"lambda": forLambda()} {
		for _, body := range d.printed(args...) {
			if !strings.HasPrefix(body, "set: ") && !json.Valid([]byte(body)) {
				t.Errorf("%s: this is no JSON: %s", kept, body)
			}
		}
		got, err := d.run(args...)
		want, err2 := os.ReadFile("testdata/" + kept + ".txt")
		if err := errors.Join(err, err2); err != nil || got != string(want) {
			t.Errorf("%v, %s: got\n%s", err, kept, got)
		}
	}
}

// What is printed for AWS is what template.yml gives the role, so that either way a function may do
// the same and no more.
func TestTheIAMStatementIsTheTemplates(t *testing.T) {
	text, err := os.ReadFile("../../template.yml")
	if err != nil {
		t.Fatal(err)
	}
	// a reference becomes its name
	plain := regexp.MustCompile(`!(Ref|Sub|GetAtt|If|Not|Equals) `).ReplaceAll(text, nil)
	var template any
	if err := yaml.Load(plain, &template); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Resources", "FunctionRole", "Properties", "Policies"} {
		template = template.(map[string]any)[name]
	}
	d := deploy(t)
	d.write(twoProjects)
	bodies := d.printed(forLambda("-audience", "OidcAudience")...)
	found := slices.IndexFunc(template.([]any), func(policy any) bool {
		return policy.(map[string]any)["PolicyName"] == "identity-token"
	})
	want, err := json.Marshal(template.([]any)[found].(map[string]any)["PolicyDocument"])
	if err != nil {
		t.Fatal(err)
	}
	same(t, bodies[2], string(want))
}

// The printed `set` goes through the policy as it stands: the document's bucket and key, whatever
// is in them, and no other document.
func TestConfinementToOneDocument(t *testing.T) {
	d := deploy(t)
	bodies := d.printed(forAlibaba()...)
	for i, actions := range map[int][]any{2: {"oss:GetObject"},
		3: {"oss:GetObject", "oss:PutObject"}} {
		text := "project: office\nrules:\n  - name: all\n    documents: oss://team-docs/**\n" +
			"    callers: anyone\n    grant: [view, edit]\n    " + bodies[i]
		rules, err := policy.Parse([]byte(text), policy.Options{})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		decide := func(key string) (string, error) {
			document := weboffice.Document{Bucket: "team-docs", Key: key}
			decision, err := rules.Decide(policy.Question{Document: document, Start: time.Now(),
				Asked: weboffice.Request{SourceURI: document.String()}}, time.Now())
			if err != nil {
				return "", err
			}
			return decision.Request.CredentialConfig.Policy, nil
		}
		for _, key := range []string{"plan.docx", `a"],"Action":["oss:Get.docx`, "团队/計画 1.docx",
			"a'b.docx"} {
			got, err := decide(key)
			if err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			want, _ := json.Marshal(map[string]any{"Version": "1",
				"Statement": []any{map[string]any{
					"Effect": "Allow", "Action": actions,
					"Resource": []string{"acs:oss:*:1234567890123456:team-docs/" + key},
				}}})
			same(t, got, string(want))
		}
		for _, key := range []string{"*.docx", "${x}.docx"} {
			if got, err := decide(key); err == nil ||
				weboffice.AsError(err).Kind != weboffice.Forbidden {
				t.Errorf("%s: %s, %v", key, got, err)
			}
		}
	}
}

func TestPolicyWithoutProjectTakesItFromTheFlag(t *testing.T) {
	d := deploy(t)
	d.write("origins: [https://docs.example.com]\n")
	bodies := d.printed(forAlibaba("-project", "office")...)
	if !strings.Contains(bodies[0], `["acs:imm:cn-shanghai:1234567890123456:project/office"]`) {
		t.Error(bodies[0])
	}
}

// A wildcard or a quote in a flag would make a policy wider than anybody reads it.
func TestNothingWidensAPrintedPolicy(t *testing.T) {
	for _, c := range []struct {
		flag, value string
		alibaba     bool // printed for Alibaba Cloud alone
	}{
		{"-account", "*", true}, {"-account", "", true}, {"-region", "*", true},
		{"-region", "", true}, {"-project", "*", true}, {"-project", `a","*`, true},
		{"-project", "", true},
		{"-aws-account", "12345678901*", false}, {"-aws-account", "", false},
		{"-issuer", "http://login.example.com", false}, {"-issuer", "https://*", false},
		{"-issuer", "", false}, {"-audience", "*", false}, {"-audience", "", false},
		{"-stack", "*", false}, {"-stack", "", false},
		{"-aws-region", "*", false}, {"-aws-region", "", false},
	} {
		d := deploy(t)
		d.write("origins: [https://docs.example.com]\n")
		delete(d.env, "WEBOFFICE_REGION")
		args := forLambda("-project", "office", c.flag, c.value)
		if c.alibaba {
			args = forAlibaba("-project", "office", c.flag, c.value)
		}
		if out, err := d.run(args...); err == nil || out != "" ||
			!strings.Contains(err.Error(), "needs "+c.flag+",") {
			t.Errorf("%s %q: %v, printed %s", c.flag, c.value, err, out)
		}
	}
	d := deploy(t)
	d.write(strings.Replace(twoProjects, "project: other", `project: "*"`, 1))
	if out, err := d.run(forAlibaba()...); err == nil {
		t.Errorf("a policy's project * is printed: %s", out)
	}
	d.write("rules: [")
	if out, err := d.run(forAlibaba("-project", "office")...); err == nil {
		t.Errorf("a policy that cannot be read names no projects: %s", out)
	}
}
