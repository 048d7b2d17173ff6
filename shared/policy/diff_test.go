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

// What the properties above do not look at: what stands beside the rules, and parameters.
func TestDiffInWords(t *testing.T) {
	of := func(lines ...string) *policy.Policy {
		return mustParse(t, head+"rules:\n  - {name: r, documents: oss://team-docs/*, callers:"+
			" {issuer: staff}, "+lines[0]+"}\n"+strings.Join(lines[1:], "\n"))
	}
	other := mustParse(t, strings.NewReplacer("staff:", "crew:", "issuer: staff", "issuer: crew",
		"oid", "object").Replace(head)+"rules:\n  - {name: r, documents: oss://team-docs/*,"+
		" callers: [{issuer: crew}, {issuer: partners}], grant: [view]}\n")
	for name, c := range map[string]struct {
		old, new *policy.Policy
		want     string
	}{
		"nothing": {of("grant: [view]"), of("grant: [view]"), ""},
		"another name": {of("grant: [view]"), mustParse(t, head+"rules:\n  - {name: s, documents:"+
			" oss://team-docs/*, callers: {issuer: staff}, grant: [view]}\n"), ""},
		"what is never served": {of("grant: [view]"), of("grant: [view, history, export]"), ""},
		"limits": {of("grant: [view]"), of("grant: [view]", "limits: {total: 5/s}"),
			"- limits: {Anyone:10/m Caller:60/m Total:}\n+ limits: {Anyone:10/m Caller:60/m Total:5/s}"},
		"grants and session": {of("grant: [view, edit]"), of("grant: [view, copy], session: 1h"),
			"gains copy\nloses edit\nsession: 12h0m0s → 1h0m0s"},
		"what may be sent": {of("grant: [view], accept: [UserData]"), of("grant: [view], accept: [User]"),
			"loses the right to send UserData\ngains the right to send User"},
		"what is set while reading": {of("grant: [view, edit]"), of("grant: [view, edit]," +
			" set: {Hidecmb: true}"), "Hidecmb: none → true"},
		"a password, which is not shown": {of("grant: [view], set: {Password: one-secret}"),
			of("grant: [view], set: {Password: another-secret}"), "Password is another"},
		"a name that some have": {of("grant: [view], set: {Watermark: {Value: x}}"),
			of(`grant: [view], set: {Watermark: {Value: "${name}"}}`),
			`Watermark: {"Value":"x"} → {"Value":"some name"}`},
		"another issuer": {of("grant: [view]"), other, "loses all: view\ngains all: view\ngains all: view"},
		"a deny where nothing opens": {of("grant: [view]"), mustParse(t, head+"rules:\n  - {name: d,"+
			" documents: oss://team-docs/*, callers: {issuer: staff}, deny: true}\n"),
			"loses all: view"},
	} {
		d := policy.Diff(c.old, c.new)
		var got []string
		for _, change := range d.Changes {
			got = append(got, change.What...)
			if strings.Contains(change.Example, "secret") {
				t.Errorf("%s: the example %s", name, change.Example)
			}
		}
		if len(d.Changes) == 0 {
			got = d.Settings
		}
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, text, c.want)
		}
	}
}

// A claim that is text by its name and an object by a pointer is more than the search draws: it
// says so, and invents nothing.
func TestASearchThatIsNotSureSaysSo(t *testing.T) {
	of := func(grant string) string {
		return head + "rules:\n  - {name: odd, documents: oss://team-docs/*," +
			" callers: {issuer: staff, claims: {a: x, /a/b: z}}, grant: [" + grant + "]}\n" +
			"  - {name: all, documents: oss://team-docs/*, callers: {issuer: staff}," +
			" grant: [view, edit]}\n"
	}
	d := policy.Diff(mustParse(t, of("view")), mustParse(t, of("view, copy")))
	if len(d.Changes) != 1 || d.Changes[0].Old != "odd" || d.Changes[0].New != "odd" ||
		d.Changes[0].Example != "" || !strings.Contains(d.Changes[0].What[0], "not judged") {
		t.Errorf("got %+v", d)
	}
	if got := warnings(t, of("view")); got != nil {
		t.Errorf("invented %v", got)
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
