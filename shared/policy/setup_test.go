package policy_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

var (
	start = time.Unix(1_800_000_000, 0).UTC()
	guest = weboffice.User{Id: "GUEST0000000000", Name: "Guest"}
	salt  = weboffice.Secret("a salt of the tests")
)

// head is the part that most policies of the tests share.
const head = `project: test-project
origins: [https://docs.example.com]
issuers:
  staff: {url: https://login.example.com, audience: weboffice}
  partners: {url: https://id.partners.example, audience: weboffice, trustEmail: true,
    user: {id: oid, name: nick, avatar: image}}
`

// seed is what the property tests draw from: the same in every run, so that a red test is owed to a
// change. .ci/long sets POLICY_TEST_SEED to look further.
func seed(t testing.TB) uint64 {
	seed := uint64(2)
	if text := os.Getenv("POLICY_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

// mustParse parses a policy that is right.
func mustParse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(text), policy.Options{Salt: salt})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// rules parses a policy of head and these rules.
func rules(t testing.TB, text string) *policy.Policy {
	t.Helper()
	return mustParse(t, head+"rules:\n"+text)
}

// who makes a caller of JSON claims, or a guest of "".
func who(t testing.TB, p *policy.Policy, claims string) caller.Caller {
	t.Helper()
	if claims == "" {
		return caller.Caller{}
	}
	var decoded map[string]any
	decoder := json.NewDecoder(strings.NewReader(claims))
	decoder.UseNumber()
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatalf("%s: %v", claims, err)
	}
	c, err := p.CallerOf(decoded)
	if err != nil {
		t.Fatalf("%s: %v", claims, err)
	}
	return c
}

// question asks for a document with the parameters of a JSON object.
func question(t testing.TB, c caller.Caller, open, ask string) policy.Question {
	t.Helper()
	var request weboffice.Request
	if ask != "" {
		var err error
		if request, err = weboffice.ParseRequest([]byte(ask)); err != nil {
			t.Fatalf("%s: %v", ask, err)
		}
	}
	document, err := weboffice.ParseSourceURI(open)
	if err != nil {
		t.Fatalf("%s: %v", open, err)
	}
	request.SourceURI = open
	return policy.Question{Caller: c, Asked: request, Document: document, Start: start,
		Guest: guest}
}

// decide answers a question when its session starts.
func decide(p *policy.Policy, q policy.Question) (policy.Decision, error) {
	return p.Decide(q, q.Start)
}

// decided is the decision of a question that must open.
func decided(t testing.TB, p *policy.Policy, as, open, ask string) policy.Decision {
	t.Helper()
	q := question(t, who(t, p, as), open, ask)
	d, err := decide(p, q)
	if err != nil {
		t.Fatalf("%v\n%+v", err, p.Explain(q))
	}
	return d
}
