package policy_test

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/broker"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// rig is IMM, whose documents are whatever is asked for, and the two brokers that call it: one from
// before a policy was changed and one from after that. They open each other's sealed tokens.
type rig struct {
	*office.Server
	t       *testing.T
	clock   *local.Clock
	brokers []*broker.Broker
	models  []model
}

func newRig(t *testing.T, models ...model) *rig {
	o := &rig{t: t, clock: local.NewClock(start), models: models}
	o.Server = office.New(office.Options{Now: o.clock.Now})
	for _, project := range []string{"of-policy", "of-rule", "mine"} {
		o.AddProject(project)
	}
	web := httptest.NewServer(o)
	keys := o.Credentials()
	client, err := imm.New(imm.Options{
		Endpoint: web.URL, Region: "cn-shanghai", Now: o.clock.Now,
		Logger: slog.New(slog.DiscardHandler),
		Credentials: credentials.Static(credentials.Credentials{
			AccessKeyID: keys.AccessKeyID, AccessKeySecret: weboffice.Secret(keys.Secret),
			SecurityToken: weboffice.Secret(keys.SecurityToken),
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.Close)
	sealer, err := session.NewSealer([][]byte{[]byte(strings.Repeat("key of 8", 4))}, "of-policy",
		"cn-shanghai")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models {
		p, err := policy.Parse(m.yaml(), policy.Options{Salt: salt})
		if err != nil {
			t.Fatalf("%v\n%s", err, m.yaml())
		}
		o.brokers = append(o.brokers, broker.New(broker.Options{
			Policy: p, IMM: client, Sealer: sealer, Now: o.clock.Now,
			Logger: slog.New(slog.DiscardHandler),
		}))
	}
	return o
}

// sent returns what IMM was asked since the count, and the rights in it.
func (o *rig) sent(since int) (actions []string, grants string) {
	for _, r := range o.Requests()[since:] {
		actions = append(actions, r.Action)
		var permission weboffice.Permission
		if text := r.Parameters["Permission"]; text != "" &&
			json.Unmarshal([]byte(text), &permission) == nil {
			grants = strings.Join(permission.Grants(), " ")
		}
	}
	return actions, grants
}

// settings are what a refresh carries on: of a verdict all but its name, its end and what is only
// for display.
func settings(v verdict) verdict {
	v.Rule, v.End, v.User.Name, v.User.Avatar = "", time.Time{}, "", ""
	return v
}

// TestIMMIsAskedForWhatTheOracleSays follows random sessions over the wire: the permission that IMM
// gets is the oracle's at the first generate and at every later refresh, under a policy that may
// have changed; and a visitor whom it refuses causes no call.
func TestIMMIsAskedForWhatTheOracleSays(t *testing.T) {
	policies := 400
	if testing.Short() {
		policies = 60
	}
	d, outcomes, cases := random{rand.New(rand.NewPCG(seed(t), 1))}, map[string]int{}, 0
	for range policies {
		m := d.model()
		o := newRig(t, m, d.changed(d.changed(m)))
		for range 6 {
			visitor, asked := d.person(), d.request()
			visitor = d.aim(pick(d, m.Rules...), visitor, &asked)
			if err := o.AddDocument(asked.SourceURI, office.Document{Pages: 3}); err != nil {
				t.Fatal(err)
			}
			cases++
			o.follow(d, visitor, asked, outcomes)
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d sessions: %v", cases, outcomes)
	if outcomes["opened"]*10 < cases*3 || min(outcomes["refreshed"], outcomes["opened anew"],
		outcomes["ended"], outcomes["refused"]) < cases/100 {
		t.Errorf("too little came up in %d sessions: %v", cases, outcomes)
	}
}

// follow lives one session: a generate under the first policy and two refreshes, each under either.
func (o *rig) follow(d random, p *person, asked weboffice.Request, outcomes map[string]int) {
	visitor := broker.Visitor{}
	if p != nil {
		caller, err := mustParse(o.t, string(o.models[0].yaml())).CallerOf(p.claims())
		if err != nil {
			o.t.Fatal(err)
		}
		visitor.Caller = caller
	}
	var held broker.Answer
	var before verdict
	for turn := range 3 {
		which := min(turn, 1) * d.IntN(2)
		want, since := o.models[which].judge(p, asked), len(o.Requests())
		answer, err := broker.Answer{}, error(nil)
		if turn == 0 {
			answer, err = o.brokers[0].Generate(o.t.Context(), visitor, asked)
		} else {
			answer, err = o.brokers[which].Refresh(o.t.Context(), visitor,
				weboffice.RefreshRequest{AccessToken: held.AccessToken,
					RefreshToken: weboffice.Secret(held.RefreshToken.Reveal())})
		}
		code := ""
		if err != nil {
			code = weboffice.AsError(err).Code
		}
		actions, grants := o.sent(since)
		wanted, outcome := []string{"GenerateWebofficeToken"}, "opened anew"
		switch {
		case want.Code != "" && turn == 0:
			wanted, outcome = nil, "refused"
		case want.Code != "":
			wanted, outcome = nil, "ended"
		case turn == 0:
			outcome = "opened"
		case settings(want) == settings(before):
			wanted, grants, outcome = []string{"RefreshWebofficeToken"}, want.Grants, "refreshed"
		}
		if code != want.Code || !slices.Equal(actions, wanted) || grants != want.Grants ||
			err == nil && strings.Join(answer.Permission.Grants(), " ") != want.Grants {
			claims, _ := json.Marshal(p)
			request, _ := json.Marshal(asked)
			o.t.Fatalf("turn %d: %q, %v with %q, answered %v\nwant %+v, %v\nafter %+v\n%s\n%s\n%s",
				turn, code, actions, grants, answer.Permission, want, wanted, before,
				o.models[which].yaml(), claims, request)
		}
		if outcomes[outcome]++; want.Code != "" {
			return
		}
		held, before = answer, want
		o.clock.Advance(15 * time.Minute)
	}
}
