package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"weboffice-functions/shared/policy"
)

// TestDiffEqualsTheDecisions: every example of a difference is decided otherwise by the two
// policies, and where a random request is, there is a difference.
func TestDiffEqualsTheDecisions(t *testing.T) {
	pairs := 400
	if testing.Short() {
		pairs = 100
	}
	d := random{rand.New(rand.NewPCG(seed(t), 2))}
	unlike, alike := 0, 0
	for range pairs {
		m := d.model()
		n := d.changed(d.changed(m))
		old, changed := mustParse(t, string(m.yaml())), mustParse(t, string(n.yaml()))
		diff := policy.Diff(old, changed)
		for _, c := range diff.Changes {
			if c.Example == "" {
				t.Fatalf("unsure of %+v\n%s\n%s", c, m.yaml(), n.yaml())
			}
			q := exampled(t, old, c.Example)
			is := q
			is.Caller = exampled(t, changed, c.Example).Caller
			was, now := rightsOf(decide(old, q)), rightsOf(decide(changed, is))
			if was == now {
				t.Fatalf("both say %+v\n%+v\n%s\n%s", was, c, m.yaml(), n.yaml())
			}
		}
		for range 20 {
			visitor, request := d.person(), d.request()
			visitor = d.aim(pick(d, append(m.Rules, n.Rules...)...), visitor, &request)
			was, now := rights(m.judge(visitor, request)), rights(n.judge(visitor, request))
			if was == now {
				alike++
				continue
			}
			if unlike++; len(diff.Changes) == 0 {
				who, _ := json.Marshal(visitor)
				what, _ := json.Marshal(request)
				t.Fatalf("no difference, but %+v\nis %+v\n%s\n%s\n%s\n%s", was, now, who, what,
					m.yaml(), n.yaml())
			}
		}
	}
	t.Logf("%d requests are decided alike and %d are not", alike, unlike)
	if unlike < pairs {
		t.Error("too little came up")
	}
}

// TestDiffInWords holds Diff to testdata/diffs.txt, which says how to read it.
func TestDiffInWords(t *testing.T) {
	short := strings.NewReplacer("RULE", "name: r, documents: oss://team-docs/*, STAFF",
		"STAFF", "callers: {issuer: staff}")
	for _, c := range cases(t, "testdata/diffs.txt") {
		texts, want := map[string]string{"old:": head + "rules:\n", "new:": head + "rules:\n"}, ""
		for line := range strings.Lines(c.lines) {
			key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
			switch key {
			case "old:", "new:":
				texts[key] += "  - {" + short.Replace(short.Replace(value)) + "}\n"
			case "!":
				want += value + "\n"
			case "-":
				texts["new:"] = ""
			default:
				texts["new:"] += line
			}
		}
		d := policy.Diff(mustParse(t, texts["old:"]), mustParse(t, texts["new:"]))
		var got []string
		for _, change := range d.Changes {
			got = append(got, change.What...)
			if strings.Contains(change.Example, "secret") {
				t.Errorf("%s: the example %s", c.name, change.Example)
			}
		}
		if len(d.Changes) == 0 {
			got = d.Settings
		}
		if text := strings.Join(got, "\n"); text != strings.TrimSpace(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, text, want)
		}
	}
}

// exampled is the question of an example.
func exampled(t *testing.T, p *policy.Policy, text string) policy.Question {
	t.Helper()
	var example struct {
		As   any             `json:"as"`
		Open string          `json:"open"`
		Ask  json.RawMessage `json:"ask"`
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&example); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	claims := ""
	if example.As != "anyone" {
		as, _ := json.Marshal(example.As)
		claims = string(as)
	}
	return question(t, who(t, p, claims), example.Open, string(example.Ask))
}

// rights are what a verdict gives: not by which rule, nor why it refuses.
func rights(v verdict) verdict {
	if v.Code != "" {
		return verdict{Code: "refused"}
	}
	v.Rule = ""
	return v
}

func rightsOf(d policy.Decision, err error) string {
	if err != nil {
		return "refused"
	}
	d.Request.SourceURI = ""
	text, _ := json.Marshal(d.Request)
	return string(text) + d.End.String()
}
