package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// due is a time after which a refresh asks IMM: less than two thirds of an access token's life are
// left.
const due = 15 * time.Minute

func TestSealedTokenOpensOnlyForItsCallerAndAccessToken(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	ann, bob := s.proof("ann"), s.proof("bob")
	linkOne, linkTwo := s.link("one", plan, "view"), s.link("two", plan, "view")
	forAnn := s.mint(caller.LinkClaims{ID: "three", Document: plan, Grant: []string{"view"},
		Subject: "ann"})
	annsPlan, annsBudget, bobs, guests := s.open(ann, plan), s.open(ann, budget), s.open(bob, plan),
		s.open(guest, handbook)
	linked, linkedAnn := s.open(linkOne, plan), s.open(forAnn, plan)
	s.calls(t, 6, 0)
	s.clock.Advance(due)
	mixed := func(access, refresh reply) reply {
		return reply{AccessToken: access.AccessToken, RefreshToken: refresh.RefreshToken}
	}
	for name, c := range map[string]struct {
		proof  weboffice.Secret
		tokens reply
	}{
		"another's document, all of it":         {bob, annsPlan},
		"another's sealed token":                {bob, mixed(bobs, annsPlan)},
		"another's access token":                {bob, mixed(annsPlan, bobs)},
		"sealed for another document":           {ann, mixed(annsPlan, annsBudget)},
		"sealed for another document, reversed": {ann, mixed(annsBudget, annsPlan)},
		"a person's by a guest":                 {guest, annsPlan},
		"a guest's by a person":                 {ann, guests},
		"a person's by a link of that name":     {forAnn, annsPlan},
		"a link's by the person of that name":   {ann, linkedAnn},
		"a link's by another link":              {linkTwo, linked},
		"a link's by a guest":                   {guest, linked},
		"an unknown access token": {ann, reply{AccessToken: "3de242da81e1433abefbbea000aaae39v3",
			RefreshToken: annsPlan.RefreshToken}},
		"the access token in other case": {ann,
			reply{AccessToken: strings.ToUpper(annsPlan.AccessToken),
				RefreshToken: annsPlan.RefreshToken}},
		"the access token with a space": {ann,
			reply{AccessToken: annsPlan.AccessToken + " ", RefreshToken: annsPlan.RefreshToken}},
		"the access token in place of the other": {ann, reply{AccessToken: annsPlan.AccessToken,
			RefreshToken: annsPlan.AccessToken}},
	} {
		if got := s.refresh(c.proof, c.tokens); got.status != 400 ||
			got.Code != "InvalidArgument.RefreshToken" {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.calls(t, 6, 0)
	for name, c := range map[string]struct {
		proof  weboffice.Secret
		tokens reply
	}{"ann": {ann, annsPlan}, "ann again": {s.proof("ann"), annsBudget}, "bob": {bob, bobs},
		"guest": {guest, guests},
		"link":  {linkOne, linked}, "named link": {forAnn, linkedAnn}} {
		if got := s.refresh(c.proof, c.tokens); got.status != 200 ||
			got.WebofficeURL != c.tokens.WebofficeURL {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.calls(t, 6, 6)
}

func TestTamperedSealedTokenIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	ann := s.proof("ann")
	opened := s.open(ann, plan)
	s.clock.Advance(due)
	sealed := opened.RefreshToken
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	attacks := map[string]string{
		"cut": sealed[:len(sealed)-1], "half": sealed[:len(sealed)/2], "longer": sealed + "A",
		"padded":            sealed + "=",
		"line break":        sealed[:9] + "\n" + sealed[9:],
		"line break behind": sealed + "\r\n", "quoted": `"` + sealed + `"`, "twice": sealed +
			sealed, "nonsense": "x",
		"text": `{"r":"x","u":"y"}`,
		"huge": strings.Repeat("A", 63<<10), "only a header": base64.RawURLEncoding.EncodeToString(
			raw[:21]),
		"zeros": strings.Repeat("A", len(sealed)),
	}
	// version, key id, salt, text, tag
	for _, i := range []int{0, 1, 4, 5, 20, 21, len(raw) / 2, len(raw) - 16, len(raw) - 1} {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		attacks[fmt.Sprintf("byte %d", i)] = base64.RawURLEncoding.EncodeToString(changed)
	}
	for name, token := range attacks {
		if got := s.refresh(ann, reply{AccessToken: opened.AccessToken,
			RefreshToken: token}); got.status != 400 ||
			got.Code != "InvalidArgument.RefreshToken" {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, c := range map[string]struct{ body, code string }{
		"nothing":          {`{}`, ""},
		"no access token":  {object("RefreshToken", sealed), "MissingAccessToken"},
		"no refresh token": {object("AccessToken", opened.AccessToken), "MissingRefreshToken"},
		"a parameter too many": {object("AccessToken", opened.AccessToken, "RefreshToken", sealed,
			"ProjectName", "test-project"),
			"InvalidArgument.ProjectName"},
		"a wish too many": {object("AccessToken", opened.AccessToken, "RefreshToken", sealed,
			"SourceURI", budget),
			"InvalidArgument.SourceURI"},
		"a token twice": {`{"AccessToken":"x",` + tokensOf(opened)[1:],
			"InvalidArgument.AccessToken"},
		"a token in other case": {`{"accessToken":"x",` + tokensOf(opened)[1:],
			"InvalidArgument.accessToken"},
	} {
		if got := s.request("POST", s.refreshURL, ann,
			strings.NewReader(c.body)); got.status != 400 || c.code != "" && got.Code != c.code {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.calls(t, 1, 0)
	s.refresh(ann, opened).want(t, 200, "")
	s.calls(t, 1, 1)
}

func TestSealedTokenOfAnotherDeploymentIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	s.office.AddProject("other-project")
	opened := s.open(guest, handbook)
	for name, other := range map[string]*site{
		"other keys":   s.another(teamPolicy, "WEBOFFICE_SESSION_KEYS", encodeKey(newKey())),
		"other region": s.another(teamPolicy, "WEBOFFICE_REGION", "cn-beijing"),
		"other project": s.another(strings.Replace(teamPolicy, "project: test-project",
			"project: other-project", 1)),
	} {
		if got := other.refresh(guest, opened); got.status != 400 ||
			got.Code != "InvalidArgument.RefreshToken" {
			t.Errorf("%s: %v", name, got)
		}
		other.open(guest, handbook) // as a page then does
	}
	s.calls(t, 4, 0)
	s.another(teamPolicy).refresh(guest, opened).want(t, 200, "")
}

// Who is ann at one issuer is nobody's ann at another.
func TestEqualSubjectsOfTwoIssuersAreTwoPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, office.Options{})
	partners := issuer.New(issuer.Options{Now: w.clock.Now, Algorithm: "ES256"})
	if err := partners.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = partners.Close() })
	two := strings.NewReplacer("rules:", "  partners: {url: \""+partners.URL()+
		"\", audience: weboffice}\nrules:",
		"callers: {issuer: staff, claims: {groups: editors}}",
		"callers: [{issuer: staff, claims: {groups: editors}}, {issuer: partners}]").Replace(
		teamPolicy)
	s := startIn(t, w, two)
	ours, theirs := s.proof("ann"), partners.Token(map[string]any{"sub": "ann", "name": "Ann",
		"team": "red", "groups": []string{"editors"}})
	opened := s.open(ours, plan)
	our := s.sentUser(t)
	s.open(theirs, plan)
	if their := s.sentUser(t); their.Id == our.Id {
		t.Error("both have one Id")
	}
	s.clock.Advance(due)
	s.refresh(theirs, opened).want(t, 400, "InvalidArgument.RefreshToken")
	s.calls(t, 2, 0)
	s.refresh(ours, opened).want(t, 200, "")
}

// The end counts from the first generate, whatever happens on the way.
func TestSessionEndsWhenItMust(t *testing.T) {
	t.Parallel()
	widened := strings.Replace(teamPolicy, "session: 8h",
		"session: 8h\n    set: {Hidecmb: true, Watermark: {Type: 1, Value: new}}", 1)
	for name, detour := range map[string]func(s *site, last reply) (*site, reply){
		"refreshed all the way": func(s *site, last reply) (*site, reply) { return s, last },
		"generated in place of a refresh": func(s *site, last reply) (*site, reply) {
			s.office.Fail(office.Refresh, 1, office.Refused(400, "InvalidRefreshToken", "no"))
			return s, s.refresh(s.proof("ann"), last).want(t, 200, "")
		},
		"generated for a changed right": func(s *site, last reply) (*site, reply) {
			s = s.another(widened)
			return s, s.refresh(s.proof("ann"), last).want(t, 200, "")
		},
		"replayed": func(s *site, last reply) (*site, reply) {
			s.refresh(s.proof("ann"), last).want(t, 200, "")
			return s, s.refresh(s.proof("ann"), last).want(t, 200, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, teamPolicy)
			last := s.open(s.proof("ann"), plan)
			for range 7 * 3 {
				s.clock.Advance(20 * time.Minute)
				last = s.refresh(s.proof("ann"), last).want(t, 200, "")
			}
			s.clock.Advance(40 * time.Minute)
			s, last = detour(s, last)
			s.clock.Advance(20*time.Minute - time.Second)
			last = s.refresh(s.proof("ann"), last).want(t, 200, "") // the last second
			before := s.office.Calls()
			s.clock.Advance(time.Second)
			ended := s.refresh(s.proof("ann"), last).want(t, 410, "SessionEnded")
			if ended.AccessToken != "" || s.office.Calls() != before {
				t.Errorf("IMM did %+v", s.office.Calls())
			}
			s.clock.Advance(240 * time.Hour)
			s.refresh(s.proof("ann"), last).want(t, 410, "SessionEnded")
			s.open(s.proof("ann"), plan)
		})
	}
}

func TestSessionWithoutAWordLastsTwelveHours(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	opened := s.open(guest, handbook)
	s.clock.Advance(12*time.Hour - time.Second)
	s.refresh(guest, opened).want(t, 200, "")
	s.clock.Advance(time.Second)
	s.refresh(guest, opened).want(t, 410, "SessionEnded")
}

func TestLinkThatHasEndedAtRefresh(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	short := s.mint(caller.LinkClaims{ID: "short", Document: plan, Grant: []string{"view"},
		Expires: s.clock.Now().Add(time.Hour)})
	gone, stays := s.link("gone", plan, "view"), s.link("stays", plan, "view")
	shortly, revoked, staying := s.open(short, plan), s.open(gone, plan), s.open(stays, plan)
	s.clock.Advance(due)
	shortly = s.refresh(short, shortly).want(t, 200, "")
	s.clock.Advance(time.Hour)
	s.refresh(short, shortly).want(t, 401, "Unauthenticated")
	s.calls(t, 3, 1)
	after := s.another(teamPolicy + "revokedLinks: [gone]\n")
	after.refresh(gone, revoked).want(t, 401, "Unauthenticated")
	s.calls(t, 3, 1)
	after.refresh(stays, staying).want(t, 200, "")
	s.calls(t, 3, 2)
}

// A person's second link is the same person, but it opens its own documents only.
func TestLinkOfTheSamePersonForAnotherDocument(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	mint := func(id, document string) weboffice.Secret {
		return s.mint(caller.LinkClaims{ID: id, Document: document, Grant: []string{"view"},
			Subject: "u-7"})
	}
	opened := s.open(mint("one", plan), plan)
	s.clock.Advance(due)
	s.refresh(mint("two", budget), opened).want(t, 403, "Forbidden")
	s.refresh(mint("three", handbook), opened).want(t, 403, "Forbidden")
	s.calls(t, 1, 0)
	s.refresh(mint("four", plan), opened).want(t, 200, "")
}

func TestSameSealedTokenTwiceIsOneCall(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	ann := s.proof("ann")
	opened := s.open(ann, plan)
	s.clock.Advance(due)
	first := s.refresh(ann, opened).want(t, 200, "")
	s.clock.Advance(50 * time.Second)
	second := s.refresh(ann, opened).want(t, 200, "")
	if second.AccessToken != first.AccessToken || second.RefreshToken != first.RefreshToken ||
		first.Timeout-second.Timeout != 50_000 ||
		second.RequestId != first.RequestId {
		t.Errorf("%s differs from %s", second.body, first.body)
	}
	s.calls(t, 1, 1)
	// Later the page's other tab has it too late: one Generate in its place, and that is kept as
	// well.
	s.clock.Advance(10 * time.Second)
	third := s.refresh(ann, opened).want(t, 200, "")
	again := s.refresh(ann, opened).want(t, 200, "")
	if third.AccessToken == first.AccessToken || again.AccessToken != third.AccessToken {
		t.Error("the third answer is the first, or the fourth is not the third")
	}
	s.calls(t, 2, 1)
	for _, last := range []reply{first, third} { // both tabs go on
		s.clock.Advance(due)
		s.refresh(ann, last).want(t, 200, "")
	}
	s.calls(t, 2, 3)
	if spends := s.office.DoubleSpends(); len(spends) != 0 {
		t.Errorf("%d double spends", len(spends))
	}
}

func TestFiftyAtOnceAreOneCall(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	opened := s.open(guest, handbook)
	s.clock.Advance(due)
	replies := make([]reply, 50)
	var all sync.WaitGroup
	for i := range replies {
		all.Go(func() { replies[i] = s.refresh(guest, opened) })
	}
	all.Wait()
	for _, got := range replies {
		if got.status != 200 || got.body != replies[0].body {
			t.Fatalf("%s differs from %s", got.body, replies[0].body)
		}
	}
	s.calls(t, 1, 1)
	if len(s.office.DoubleSpends()) != 0 || len(s.decisions()) != 51 {
		t.Errorf("%d double spends, %d lines", len(s.office.DoubleSpends()), len(s.decisions()))
	}
}

// Two instances know nothing of each other: the second finds the token spent, and generates once.
func TestSameSealedTokenAtTwoProcesses(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	other := s.another(teamPolicy)
	opened := s.open(guest, handbook)
	user := s.sentUser(t)
	s.clock.Advance(due)
	first := s.refresh(guest, opened).want(t, 200, "")
	s.calls(t, 1, 1)
	second := other.refresh(guest, opened).want(t, 200, "")
	s.calls(t, 2, 1)
	if again := other.sentUser(t); again != user || second.WebofficeURL != opened.WebofficeURL ||
		second.Permission != opened.Permission {
		t.Errorf("the second instance generates for %+v, not %+v", again, user)
	}
	if len(s.office.DoubleSpends()) != 1 || other.decision()["fallback"] != true ||
		other.decision()["billed"] != 1.0 {
		t.Errorf("%d double spends, %v", len(s.office.DoubleSpends()), other.decision())
	}
	other.refresh(guest, opened).want(t, 200, "")
	s.refresh(guest, opened).want(t, 200, "")
	s.calls(t, 2, 1)
	s.clock.Advance(due) // what each gave is good at the other
	other.refresh(guest, first).want(t, 200, "")
	s.refresh(guest, second).want(t, 200, "")
	s.calls(t, 2, 3)
	if len(s.office.DoubleSpends()) != 1 {
		t.Errorf("%d double spends", len(s.office.DoubleSpends()))
	}
}

func TestRotationOfSessionKeys(t *testing.T) {
	t.Parallel()
	oldKey, newerKey := encodeKey(newKey()), encodeKey(newKey())
	before := start(t, teamPolicy, "WEBOFFICE_SESSION_KEYS", oldKey)
	appended := before.another(teamPolicy, "WEBOFFICE_SESSION_KEYS", oldKey+","+newerKey)
	moved := before.another(teamPolicy, "WEBOFFICE_SESSION_KEYS", newerKey+","+oldKey)
	dropped := before.another(teamPolicy, "WEBOFFICE_SESSION_KEYS", newerKey)
	last := before.open(guest, handbook)
	// instances come and go while both are there
	for _, s := range []*site{appended, before, moved, appended, moved, dropped, moved, dropped} {
		if s == before && last.RefreshToken == "" {
			t.Fatal("no token")
		}
		s.clock.Advance(due)
		last = s.refresh(guest, last).want(t, 200, "")
	}
	before.calls(t, 1, 8)
	before.refresh(guest, last).want(t, 400, "InvalidArgument.RefreshToken")
	forgotten := appended.open(guest, handbook)
	dropped.refresh(guest, forgotten).want(t, 400, "InvalidArgument.RefreshToken")
	before.calls(t, 2, 8)
}

// What is no fault of the token must not be paid for with a Generate.
func TestRefreshThatFailsDoesNotGenerate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  office.Fault
		status int
	}{
		"throttled":           {office.Throttled(9 * time.Second), 429},
		"throttled silently":  {office.Refused(400, "Throttling.User", "slow down"), 429},
		"denied":              {office.NoPermission(), 502},
		"denied by RAM":       {office.Refused(403, "Forbidden.RAM", "no"), 502},
		"credentials expired": {office.SecurityTokenExpired(), 503},
		"access key unknown":  {office.Refused(404, "InvalidAccessKeyId.NotFound", "no"), 503},
		"wrong signature":     {office.SignatureDoesNotMatch(), 503},
		"in arrears":          {office.Refused(403, "OperationDenied", "no"), 502},
		"project gone": {office.Refused(404, "ResourceNotFound",
			"The specified resource acs:imm::1:project/x is not found"), 502},
		"server error":         {office.InternalError(), 502},
		"server error, late":   {office.InternalError().AfterWork(), 502},
		"a proxy's page":       {office.HTML(), 502},
		"an empty 503":         {office.Unavailable(), 503},
		"an empty 503, late":   {office.Unavailable().AfterWork(), 503},
		"a gateway's time-out": {office.Refused(504, "ServiceTimeout", "no"), 504},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, teamPolicy)
			opened := s.open(guest, handbook)
			s.clock.Advance(due)
			s.office.Fail(office.Refresh, 1, c.fault)
			got := s.refresh(guest, opened)
			if got.status != c.status ||
				(got.header.Get("Retry-After") != "") != (c.status == 429) {
				t.Errorf("%v %v", got, got.header)
			}
			if calls := s.office.Calls(); calls.Generate != 1 {
				t.Fatalf("%+v", calls)
			}
			if line := s.decision(); line["billed"] != 0.0 || line["fallback"] != false {
				t.Errorf("%v", line)
			}
			s.refresh(guest, opened).want(t, 200, "") // the page comes again
			if calls := s.office.Calls(); calls.Generate+calls.Refresh != 2 &&
				!strings.Contains(name, "late") {
				t.Errorf("%+v", calls)
			}
		})
	}
}

// Whoever is still allowed keeps the document when its refresh token is lost.
func TestRefreshWhoseTokenIsLostGeneratesOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  office.Fault
		unsure bool // the refresh may have been billed
	}{
		"refused": {office.Refused(400, "InvalidRefreshToken", "no"), false},
		"refused otherwise": {office.Refused(400, "InvalidArgument", "The token has been used."),
			false},
		"refused as unknown":  {office.Refused(404, "TokenNotFound", "no"), false},
		"no answer":           {office.Cut(), true},
		"no answer, but done": {office.Cut().AfterWork(), true},
		"half an answer":      {office.Truncated(), true},
		"an odd answer":       {office.WrongTypes(), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, teamPolicy)
			ann := s.proof("ann")
			opened := s.generate(ann, object("SourceURI", plan, "Password", "123456", "Permission",
				"{'Readonly':'true','Copy':'true'}")).want(t, 200, "")
			before := s.last(t)
			s.clock.Advance(due)
			s.office.Fail(office.Refresh, 1, c.fault)
			got := s.refresh(ann, opened).want(t, 200, "")
			if got.WebofficeURL != opened.WebofficeURL || got.Permission != opened.Permission ||
				got.AccessToken == opened.AccessToken {
				t.Errorf("%s", got.body)
			}
			if after := s.last(t); after["Password"] != "123456" ||
				after["User"] != before["User"] ||
				after["Permission"] != before["Permission"] || len(after) != len(before) {
				t.Errorf("generated %v, at first %v", after, before)
			}
			if calls := s.office.Calls(); calls.Generate != 2 {
				t.Fatalf("%+v", calls)
			}
			line := s.decision()
			if line["billed"] != 1.0 || line["fallback"] != true ||
				line["maybeBilled"] != c.unsure {
				t.Errorf("%v", line)
			}
			if warned := s.logs.lines(t, "the refresh failed, generating instead"); len(
				warned) != 1 || warned[0]["requestId"] != line["requestId"] {
				t.Errorf("%v", warned)
			}
			s.clock.Advance(due)
			s.refresh(ann, got).want(t, 200, "")
		})
	}
}

// IMM's refresh token has an end of its own.
func TestExpiredRefreshTokenGenerates(t *testing.T) {
	t.Parallel()
	s := startIn(t, newWorld(t, office.Options{RefreshTokenLife: time.Hour}), teamPolicy)
	opened := s.open(guest, handbook)
	if !opened.RefreshTokenExpiredTime.Equal(s.clock.Now().Add(time.Hour)) {
		t.Errorf("%v", opened.RefreshTokenExpiredTime)
	}
	s.clock.Advance(61 * time.Minute)
	s.refresh(guest, opened).want(t, 200, "")
	s.calls(t, 2, 0)
}

func TestFallbackThatFailsTooIsAnError(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	opened := s.open(guest, handbook)
	s.clock.Advance(due)
	s.office.Fail("", 2, office.Refused(400, "InvalidRefreshToken", "no"))
	s.refresh(guest, opened).want(t, 400, "InvalidRefreshToken")
	if calls := s.office.Calls(); calls.Generate != 1 || calls.Failed != 2 {
		t.Errorf("%+v", calls)
	}
	if line := s.decision(); line["fallback"] != true || line["billed"] != 0.0 {
		t.Errorf("%v", line)
	}
	s.refresh(guest, opened).want(t, 200, "")
}

// What was asked at first is decided anew at each refresh, from what the policy and the proof say
// now.
func TestRightsThatChangedTakeEffectAtTheNextRefresh(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) string {
		if !strings.Contains(teamPolicy, old) {
			t.Fatalf("%s is not in the policy", old)
		}
		return strings.Replace(teamPolicy, old, with, 1)
	}
	const editors, readers = "grant: [view, edit, rename, history, copy, print, export]",
		"grant: [view, copy]"
	all := weboffice.Permission{Rename: true, History: true, Copy: true, Print: true, Export: true}
	for name, c := range map[string]struct {
		before, after string         // policies, default teamPolicy
		body          string         // default: plan
		claims        map[string]any // of the second proof
		wait          time.Duration
		status        int // default 200
		generates     int // besides the first
		refreshes     int
		want          weboffice.Permission
		wire          [2]string
	}{
		"nothing, early": {want: all},
		"nothing, late":  {wait: due, refreshes: 1, want: all},
		"a rule's name": {after: replace("- name: team folders", "- name: folders of teams"),
			want: all},
		"a rule that does not match": {after: replace("- name: team folders",
			"- {name: closed, documents: oss://team-docs/closed/**, callers: anyone, deny: true}\n  - name: team folders"), want: all},
		"limits and origins": {after: replace("caller: 1000/m", "caller: 900/m"), wait: due,
			refreshes: 1, want: all},
		"the rule is gone": {after: replace("documents: oss://team-docs/teams/${team}/**",
			"documents: oss://team-docs/elsewhere/**"),
			status: 403},
		"the rule is gone, late": {after: replace("documents: oss://team-docs/teams/${team}/**",
			"documents: oss://team-docs/elsewhere/**"),
			wait: due, status: 403},
		"a deny rule before": {after: replace("- name: team folders",
			"- {name: closed, documents: oss://team-docs/teams/**, callers: anyone, deny: true}\n  - name: team folders"), status: 403},
		"narrowed": {after: replace(editors, readers), generates: 1,
			want: weboffice.Permission{Readonly: true, Copy: true}},
		"narrowed, late": {after: replace(editors, readers), wait: due, generates: 1,
			want: weboffice.Permission{Readonly: true, Copy: true}},
		"widened": {before: replace(editors, readers), generates: 1, want: all},
		"widened beyond what was asked": {before: replace(editors, readers),
			body: object("SourceURI", plan, "Permission", "{'Readonly':'true','Copy':'true'}"),
			wait: due, refreshes: 1, want: weboffice.Permission{Readonly: true, Copy: true}},
		"narrowed to what was asked": {after: replace(editors, readers),
			body: object("SourceURI", plan, "Permission", "{'Readonly':'true','Copy':'true'}"),
			want: weboffice.Permission{Readonly: true, Copy: true}},
		"another watermark": {before: replace("session: 8h",
			"set: {Watermark: {Type: 1, Value: one}}"),
			after:     replace("session: 8h", "set: {Watermark: {Type: 1, Value: two}}"),
			generates: 1, want: all, wire: [2]string{"Watermark", `{"Type":1,"Value":"two"}`}},
		"no watermark any more": {before: replace("session: 8h",
			"set: {Watermark: {Type: 1, Value: one}}"), generates: 1, want: all,
			wire: [2]string{"Watermark", ""}},
		"fewer pages": {after: replace("session: 8h", "set: {PreviewPages: 2}"), generates: 1,
			want: weboffice.Permission{Readonly: true, Rename: true, Copy: true, Print: true,
				Export: true}, wire: [2]string{"PreviewPages", "2"}},
		"another project": {after: replace("session: 8h", "project: other-project"), generates: 1,
			want: all,
			wire: [2]string{"ProjectName", "other-project"}},
		"a longer session": {after: replace("session: 8h", "session: 9h"), want: all},
		"a shorter session, over": {after: replace("session: 8h", "session: 10m"),
			wait: 10 * time.Minute, status: 410},
		"a parameter not accepted": {before: replace("session: 8h", "accept: [UserData]"),
			body:   object("SourceURI", plan, "UserData", "x"),
			status: 403},
		"a parameter that is fixed": {after: replace("session: 8h", "set: {Filename: other.docx}"),
			body: object("SourceURI", plan, "Filename", "mine.docx"), status: 403},
		"removed from the group": {claims: map[string]any{"groups": []string{"readers"}},
			status: 403},
		"removed, late":   {claims: map[string]any{"groups": nil}, wait: due, status: 403},
		"in another team": {claims: map[string]any{"team": "blue"}, status: 403},
		"in one group more": {claims: map[string]any{"groups": []string{"editors", "readers"}},
			want: all},
		"another display name": {claims: map[string]any{"name": "Ann Married",
			"picture": "https://people.example.com/new.png"}, want: all},
		"another name, late": {claims: map[string]any{"name": "Ann Married"}, wait: due,
			refreshes: 1, want: all},
		"a name in the watermark": {before: replace("session: 8h",
			`set: {Watermark: {Type: 1, Value: "for ${name}"}}`),
			after:  replace("session: 8h", `set: {Watermark: {Type: 1, Value: "for ${name}"}}`),
			claims: map[string]any{"name": "Ann Married"}, generates: 1, want: all,
			wire: [2]string{"Watermark", `{"Type":1,"Value":"for Ann Married"}`}},
		"a watermark that cannot be filled": {
			before: replace("session: 8h", `set: {Watermark: {Type: 1, Value: "${name}"}}`),
			after:  replace("session: 8h", `set: {Watermark: {Type: 1, Value: "${name}"}}`),
			claims: map[string]any{"name": nil}, status: 403},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.before == "" {
				c.before = teamPolicy
			}
			if c.after == "" {
				c.after = teamPolicy
			}
			if c.body == "" {
				c.body = source(plan)
			}
			s := start(t, c.before)
			s.office.AddProject("other-project")
			opened := s.generate(s.proof("ann"), c.body).want(t, 200, "")
			s.clock.Advance(c.wait)
			after := s.another(c.after)
			got := after.refresh(s.proof("ann", c.claims), opened)
			s.calls(t, 1+c.generates, c.refreshes)
			if c.status == 0 {
				c.status = 200
			}
			if got.status != c.status {
				t.Fatalf("%v", got)
			}
			if asked := len(s.office.Requests()); asked != 1+c.generates+c.refreshes {
				t.Errorf("IMM was asked %d times", asked)
			}
			if c.status != 200 {
				if got.AccessToken != "" || got.WebofficeURL != "" {
					t.Errorf("who may not, gets tokens: %s", got.body)
				}
				s.refresh(s.proof("ann"), opened).want(t, 200, "") // with the old policy and proof
				return
			}
			if got.Permission != c.want || got.WebofficeURL == "" {
				t.Errorf("granted %v, want %v", got.Permission.Grants(), c.want.Grants())
			}
			if c.generates == 1 && s.sentPermission(t) != c.want {
				t.Errorf("sent %v", s.sentPermission(t))
			}
			if c.wire[0] != "" && s.last(t)[c.wire[0]] != c.wire[1] &&
				!sameJSON(s.last(t)[c.wire[0]], c.wire[1]) {
				t.Errorf("%s was sent as %q", c.wire[0], s.last(t)[c.wire[0]])
			}
			// And it stays so: the same decision is not paid for again.
			before := s.office.Calls()
			after.refresh(s.proof("ann", c.claims), got).want(t, 200, "")
			if s.office.Calls() != before {
				t.Errorf("the next refresh costs %+v", s.office.Calls())
			}
		})
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

// A document that closes to guests closes to those who have it open.
func TestGuestsDocumentThatNeedsAProofNow(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	opened := s.open(guest, handbook)
	after := s.another(strings.Replace(teamPolicy, "callers: anyone", "callers: {issuer: staff}",
		1))
	after.refresh(guest, opened).want(t, 401, "Unauthenticated")
	s.calls(t, 1, 0)
	s.refresh(guest, opened).want(t, 200, "")
}

// Two thirds of an access token's life: up to there it is given back, and costs nothing.
func TestEarlyRefreshIsFree(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	opened := s.open(guest, handbook)
	for range 3 {
		s.clock.Advance(3*time.Minute + 19*time.Second)
		got := s.refresh(guest, opened).want(t, 200, "")
		left := opened.AccessTokenExpiredTime.Sub(s.clock.Now()).Milliseconds()
		if got.AccessToken != opened.AccessToken || got.RefreshToken != opened.RefreshToken ||
			got.Timeout != left ||
			got.WebofficeURL != opened.WebofficeURL ||
			!got.AccessTokenExpiredTime.Equal(opened.AccessTokenExpiredTime) ||
			!got.RefreshTokenExpiredTime.Equal(opened.RefreshTokenExpiredTime) {
			t.Errorf("%s, want Timeout %d", got.body, left)
		}
	}
	s.calls(t, 1, 0)
	s.clock.Advance(3 * time.Second) // exactly 20 of 30 minutes are left
	s.refresh(guest, opened).want(t, 200, "")
	s.calls(t, 1, 1)
}

// Timeout is counted by IMM's clock: that it is ahead of ours, or behind, does not matter.
func TestTimeoutDoesNotDependOnClocks(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{7 * time.Minute, -7 * time.Minute, 14 * time.Minute} {
		standIn := &clock{now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC).Add(skew)}
		s := startIn(t, newWorld(t, office.Options{Now: standIn.Now}), teamPolicy)
		opened := s.open(guest, handbook)
		if opened.Timeout != 30*60*1000 ||
			!opened.AccessTokenExpiredTime.Equal(standIn.Now().Add(30*time.Minute)) {
			t.Errorf("%v: Timeout %d until %v", skew, opened.Timeout, opened.AccessTokenExpiredTime)
		}
		standIn.Advance(9 * time.Minute)
		s.clock.Advance(9 * time.Minute)
		if early := s.refresh(guest, opened).want(t, 200, ""); early.Timeout != 21*60*1000 {
			t.Errorf("%v: early Timeout %d", skew, early.Timeout)
		}
		standIn.Advance(9 * time.Minute)
		s.clock.Advance(9 * time.Minute)
		if renewed := s.refresh(guest, opened).want(t, 200, ""); renewed.Timeout != 30*60*1000 {
			t.Errorf("%v: renewed Timeout %d", skew, renewed.Timeout)
		}
		s.calls(t, 1, 1)
	}
}

// The longest request that a policy lets through can be carried on, or it would be generated anew
// every half hour.
func TestLongestRequestCanBeRefreshed(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(teamPolicy, "session: 8h",
		"accept: [UserData, Referer, Watermark]", 1))
	for _, character := range []string{"x", `"`, "<", "文"} {
		text := func(bytes int) string { return strings.Repeat(character, bytes/len(character)) }
		uri := "oss://team-docs/teams/red/" + text(990) + ".docx"
		if err := s.office.AddDocument(uri, office.Document{}); err != nil {
			t.Fatal(err)
		}
		watermark, _ := json.Marshal(map[string]any{"Type": 1, "Value": text(1020)})
		opened := s.generate(s.proof("ann"),
			object("SourceURI", uri, "Filename", text(1000)+".docx", "Password", text(1020),
				"UserData",
				text(2048),
				"Referer", text(1020), "Watermark", string(watermark))).want(t, 200, "")
		s.refresh(s.proof("ann"), opened).want(t, 200, "")
	}
	s.calls(t, 4, 0)
}
