package broker

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// A sealed token is its caller's alone: whoever else shows it, even with its access token, gets
// what a forged one gets, and IMM is not asked.
func TestTokenOfAnotherCallerIsRefused(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		for name, c := range map[string]struct{ owner, thief Visitor }{
			"another subject":      {ann, person(ann.IssuerURL, "bob")},
			"another issuer":       {ann, person("https://other.example", "ann")},
			"a guest":              {ann, passerBy},
			"a guest's":            {passerBy, ann},
			"the holder of a link": {ann, holder("one", "ann")},
			"another link":         {holder("one", ""), holder("two", "")},
		} {
			opened := b.mustGenerate(c.owner)
			time.Sleep(15 * time.Minute)
			before := b.office.Calls()
			_, err := b.Refresh(t.Context(), c.thief, opened)
			if err == nil || err.Error() != weboffice.ErrRefreshToken.New().Error() {
				t.Errorf("%s: %v", name, err)
			}
			if b.office.Calls() != before {
				t.Errorf("%s: IMM was asked", name)
			}
			forged := opened
			forged.AccessToken += "x"
			if _, err := b.Refresh(t.Context(), c.owner, forged); err == nil {
				t.Errorf("%s: opened with another access token", name)
			}
			b.mustRefresh(b.Broker, c.owner, opened)
		}
	})
}

// What a policy gives now is what a refresh gives, whatever it gave when the document was opened.
func TestRefreshIsANewDecision(t *testing.T) {
	narrower := strings.ReplaceAll(openToAnyone, "[view, edit, copy]", "[view]")
	wider := strings.ReplaceAll(openToAnyone, "copy]", "copy, print]")
	for name, c := range map[string]struct {
		rules              string
		kind               weboffice.Kind // of the error; Internal: none
		granted            string
		generates, renewed int
	}{
		"unchanged": {openToAnyone, weboffice.Internal, "view edit copy", 1, 1},
		"narrowed":  {narrower, weboffice.Internal, "view", 2, 1},
		"widened":   {wider, weboffice.Internal, "view edit copy print", 2, 1},
		"a rule renamed": {strings.ReplaceAll(openToAnyone, "everything", "all"),
			weboffice.Internal, "view edit copy", 1, 1},
		"no rule any more": {strings.ReplaceAll(openToAnyone, "test-bucket", "other-bucket"),
			weboffice.Unauthenticated, "", 1, 1},
		"past its end": {strings.ReplaceAll(openToAnyone, "callers: anyone",
			"callers: anyone, session: 10m"), weboffice.SessionEnded, "", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			at(t, openToAnyone, func(t *testing.T, b *site) {
				opened := b.open()
				b.mustRefresh(b.Broker, passerBy, opened) // an answer to remember
				b.Policy = b.instance(c.rules).Policy
				answer, err := b.Refresh(t.Context(), passerBy, opened)
				if c.kind != weboffice.Internal {
					wantKind(t, err, c.kind)
				} else if got := strings.Join(answer.Permission.Grants(), " "); err != nil ||
					got != c.granted || answer.WebofficeURL == "" {
					t.Errorf("%q, %v", got, err)
				}
				b.calls(c.generates, c.renewed)
			})
		})
	}
}

// While an access token is young the page gets its own tokens back, for nothing.
func TestYoungTokensComeBackForNothing(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		opened := b.mustGenerate(passerBy)
		time.Sleep(10*time.Minute - time.Second)
		answer := b.mustRefresh(b.Broker, passerBy, opened)
		if shown(answer) != opened || answer.Life != 20*time.Minute+time.Second {
			t.Errorf("%+v", answer)
		}
		b.calls(1, 0)
		time.Sleep(time.Second)
		b.mustRefresh(b.Broker, passerBy, opened)
		b.calls(1, 1)
	})
}

// Should IMM's clock say that a token is over when it comes, the page is not told so.
func TestLifeIsNeverNegative(t *testing.T) {
	r := request{decision: policy.Decision{
		Request: weboffice.Request{Permission: &weboffice.Permission{Copy: true}}}}
	for left, want := range map[time.Duration]time.Duration{-1: 0, time.Second: time.Second} {
		answer := r.answer(weboffice.Access{Life: left}, session.Sealed{}, 0)
		if answer.Life != want || !answer.Permission.Copy {
			t.Errorf("%+v", answer)
		}
	}
}

// A guest is one person to the editor as long as the document is open.
func TestGuestStaysTheSamePerson(t *testing.T) {
	at(t, openToAnyone, func(t *testing.T, b *site) {
		narrowed := b.instance(strings.ReplaceAll(openToAnyone, ", copy", ""))
		opened := b.open()
		b.mustRefresh(narrowed, passerBy, opened)
		b.mustGenerate(passerBy)
		var users []string
		for _, request := range b.office.Requests() {
			users = append(users, request.Parameters["User"])
		}
		if len(users) != 3 || users[0] != users[1] || users[1] == users[2] {
			t.Errorf("%q", users)
		}
	})
}

// The digest of a decision is sealed: were it another one in the next version, each document that
// is open would be generated anew. What is for display alone is not in it.
func TestDigestIsThatOfTheVersionBefore(t *testing.T) {
	one, half, yes := int64(1), 0.5, true
	full := policy.Decision{Rule: "r", Request: weboffice.Request{
		ProjectName: "test-project", SourceURI: "oss://test-bucket/a&b <1>.docx",
		Filename: "a.docx", Password: "hunter2", PreviewPages: &one, Hidecmb: &yes,
		Permission: &weboffice.Permission{Readonly: true, Copy: true},
		User:       &weboffice.User{Id: "U", Name: "Ann", Avatar: "https://example.com/a.png"},
		Watermark:  &weboffice.Watermark{Type: &one, Value: "水", Rotate: &half},
	}}
	least := policy.Decision{Request: weboffice.Request{SourceURI: document,
		Permission: &weboffice.Permission{}, User: &weboffice.User{Id: "G", Name: "Guest"}}}
	renamed := full
	renamed.Request.User = &weboffice.User{Id: "U", Name: "Ann Lee"}
	for want, decisions := range map[string][]policy.Decision{
		"16df4878f5b8ee99aefc9619d62e8dbf2266a8a6f9168181f74f652f00e92fed": {full, renamed},
		"e4d39a356bea19781587174802f28b3da80a4ccd4b91ff1066fa3a5bcd0f57ee": {least},
	} {
		for _, d := range decisions {
			if got := digest(d); hex.EncodeToString(got[:]) != want {
				t.Errorf("%x, want %s", got, want)
			}
		}
	}
	for name, change := range map[string]func(*weboffice.Request){
		"password":   func(r *weboffice.Request) { r.Password = "hunter3" },
		"person":     func(r *weboffice.Request) { r.User = &weboffice.User{Id: "V"} },
		"watermark":  func(r *weboffice.Request) { r.Watermark = nil },
		"permission": func(r *weboffice.Request) { r.Permission = &weboffice.Permission{} },
	} {
		other := full
		change(&other.Request)
		if digest(other) == digest(full) {
			t.Errorf("another %s is the same decision", name)
		}
	}
}

// A limit that refuses is named in the audit line, and the page learns when to come back.
func TestAuditNamesTheLimit(t *testing.T) {
	at(t, tenAMinute, func(t *testing.T, b *site) {
		for range 10 {
			b.mustGenerate(passerBy)
		}
		_, err := b.generate(passerBy, document)
		wantThrottled(t, err, 6*time.Second)
		wantLine(t, b.logged("decision")[10], "outcome", "Throttling", "billed", 0.0,
			"maybeBilled", false, "cause", "over the limit of generates of one address")
	})
}
