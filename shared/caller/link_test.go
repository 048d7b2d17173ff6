package caller_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

func linkHeader() string {
	return fmt.Sprintf(`{"alg":"HS256","typ":"JWT","kid":%q}`, caller.LinkKeyID(linkKey))
}

// linkPayload gives the claims of a good share link as JSON, with changes; nil removes one.
func linkPayload(c *clock, changes map[string]any) string {
	return claimsJSON(map[string]any{"iss": "links", "aud": "weboffice", "iat": c.unix(0),
		"exp": c.unix(time.Hour), "jti": "n1", "document": "oss://team-docs/plan.docx",
		"grant": []string{"view", "copy"}}, changes)
}

func (r rig) link(changes map[string]any) weboffice.Secret {
	return hs256([]byte(linkKey), linkHeader(), linkPayload(r.clock, changes))
}

// linkClaims are those of a link that can be minted.
func linkClaims(c *clock) caller.LinkClaims {
	return caller.LinkClaims{ID: "n1", Document: "oss://team-docs/plan.docx",
		Grant: []string{"view"}, IssuedAt: c.Now(), Expires: c.Now().Add(30 * 24 * time.Hour)}
}

func TestMintedLinkVerifies(t *testing.T) {
	r, _ := provided(t, caller.Issuer{})
	claims := linkClaims(r.clock)
	guest := r.accepted(t, must(caller.MintLink(linkKey, claims)))
	want := []string{"aud", "document", "exp", "grant", "iat", "iss", "jti"}
	if got := slices.Sorted(maps.Keys(guest.Claims)); !slices.Equal(got, want) {
		t.Errorf("minted the claims %v, want %v", got, want)
	}
	if guest.Subject != "" || guest.User != (caller.User{}) || guest.Guest() ||
		guest.Link.Document != claims.Document || guest.Link.Documents != "" {
		t.Errorf("got %+v", guest)
	}
	claims.Document, claims.Documents = "", "oss://team-docs/teams/**"
	claims.Subject, claims.Name = "ann", "Ann"
	got := r.accepted(t, must(caller.MintLink(linkKey, claims)))
	if got.Issuer != caller.LinkIssuer || got.IssuerURL != caller.LinkIssuer || got.Guest() ||
		got.Subject != "ann" || got.User != (caller.User{ID: "ann", Name: "Ann"}) ||
		!got.Expires.Equal(claims.Expires) {
		t.Errorf("got %+v", got)
	}
	if got.Link.ID != "n1" || got.Link.Documents != claims.Documents || got.Link.Document != "" ||
		!slices.Equal(got.Link.Grant, claims.Grant) {
		t.Errorf("got %+v", got.Link)
	}
	r.requested(t, 0)
}

func TestMintLinkRefusesWhatWouldBeRefused(t *testing.T) {
	for says, change := range map[string]func(*caller.LinkClaims){
		"jti":             func(c *caller.LinkClaims) { c.ID = "" },
		"unknown word":    func(c *caller.LinkClaims) { c.Grant = []string{"own"} },
		"30 days":         func(c *caller.LinkClaims) { c.Expires = c.Expires.Add(time.Second) },
		"exp is missing":  func(c *caller.LinkClaims) { c.Expires = time.Time{} },
		"iat, or nbf":     func(c *caller.LinkClaims) { c.IssuedAt = time.Time{} },
		"longer than":     func(c *caller.LinkClaims) { c.Document += strings.Repeat("x", 8<<10) },
		`begins with "li`: func(c *caller.LinkClaims) { c.Subject = "link n1" },
	} {
		c := linkClaims(newClock())
		change(&c)
		token, err := caller.MintLink(linkKey, c)
		if err == nil || token != "" || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := caller.MintLink("short", linkClaims(newClock())); err == nil {
		t.Error("a short key minted")
	}
}

// The key is the bytes 0 to 31; id and token were made by Node's crypto module, the id also by
// Python's hashlib.
func TestLinkMintedInAnotherLanguage(t *testing.T) {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	if got := caller.LinkKeyID(weboffice.Secret(key)); got != "3e490340" {
		t.Errorf("got kid %s", got)
	}
	v := must(caller.NewVerifier(caller.Options{Now: newClock().Now,
		LinkKeys: []weboffice.Secret{weboffice.Secret(key)}}))
	got := rig{Verifier: v}.accepted(t,
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjNlNDkwMzQwIn0."+
			"eyJpc3MiOiJsaW5rcyIsImF1ZCI6IndlYm9mZmljZSIsImlhdCI6MTgwMDAwMDAwMCwiZXhwIjoxODAw"+
			"MDg2NDAwLCJqdGkiOiJuMSIsImRvY3VtZW50Ijoib3NzOi8vdGVhbS1kb2NzL3BsYW4uZG9jeCIsImdy"+
			"YW50IjpbInZpZXciLCJjb3B5Il0sInN1YiI6ImFubiIsIm5hbWUiOiJBbm4ifQ."+
			"t1U7cGi1NL5jpR1FgJgtikk7erH6baOr72diGbaCFos")
	if got.Subject != "ann" || got.Link.Document != "oss://team-docs/plan.docx" ||
		got.User.Name != "Ann" {
		t.Errorf("got %+v", got)
	}
}

func TestAttackLinkClaims(t *testing.T) {
	type m = map[string]any
	r, _ := provided(t, caller.Issuer{})
	at := func(days, seconds int) int64 {
		return r.clock.unix(time.Duration(days)*24*time.Hour + time.Duration(seconds)*time.Second)
	}
	documents, long := "oss://team-docs/**", strings.Repeat("j", 256)
	grants := []string{"view", "edit", "rename", "history", "copy", "print", "export"}
	for good, all := range map[bool][]m{
		true: {nil, // the twins
			{"exp": at(30, 0)}, {"iat": nil, "nbf": at(-1, 0)}, {"jti": "Revoked"},
			{"sub": long[1:]}, {"aud": []string{"a", "weboffice"}}, {"grant": grants},
			{"document": nil, "documents": documents}, {"document": "", "documents": documents},
			{"document": "oss://docs/up/*.docx"}},
		false: {
			{"exp": nil}, {"exp": "9999999999"}, {"exp": at(0, -61)}, {"exp": at(30, 1)},
			{"iat": nil}, {"iat": at(0, 120)}, {"iat": at(-360, 0), "exp": at(5, 0)},
			{"iat": nil, "nbf": at(-1, 0), "exp": at(30, 0)},
			{"iss": "Links"}, {"aud": nil}, {"aud": "Weboffice"}, {"events": m{}},
			{"jti": "revoked"}, {"jti": nil}, {"jti": ""}, {"jti": 7}, {"jti": long},
			{"document": nil}, {"document": "", "documents": ""}, {"documents": documents},
			{"document": "**"}, {"document": []string{"oss://team-docs/plan.docx"}},
			{"document": "https://example.com/plan.docx"}, {"document": nil, "documents": "**"},
			{"document": nil, "documents": []string{documents}},
			{"grant": nil}, {"grant": []string{}}, {"grant": "view"}, {"grant": m{"view": true}},
			{"grant": []string{"view", "all"}}, {"grant": []string{"Edit"}},
			{"grant": []any{"view", nil}},
			{"sub": []string{"ann"}}, {"sub": long}, {"name": m{}}},
	} {
		for _, changes := range all {
			t.Run(fmt.Sprint(good, changes), func(t *testing.T) {
				r.verified(t, r.link(changes), good)
			})
		}
	}
}

// Minters in other languages may write what they do not have as "". Conditions must not take that
// for a text.
func TestAttackEmptySubjectOfALinkCountsAsAText(t *testing.T) {
	r, _ := provided(t, caller.Issuer{})
	token := r.link(map[string]any{"sub": "", "name": "", "team": ""})
	for range 2 { // as it is read, and as it is remembered
		got := r.accepted(t, token)
		for claim, want := range map[string]bool{"sub": false, "name": false, "team": true,
			"jti": true} {
			if _, there := got.Claims[claim]; there != want {
				t.Errorf("%s is a claim: %v, want %v", claim, there, want)
			}
		}
	}
	twin := r.accepted(t, r.link(map[string]any{"sub": "ann", "name": " "}))
	if twin.Claims["sub"] != "ann" || twin.Claims["name"] != " " {
		t.Errorf("got %v", twin.Claims)
	}
}

// A sealed session of a link without sub belongs to "link " and the jti: nobody's sub may say the
// same.
func TestAttackSubjectThatNamesAnotherLink(t *testing.T) {
	r, _ := provided(t, caller.Issuer{})
	for _, subject := range []string{"link n1", "link ", "link  n1"} {
		r.refused(t, r.link(map[string]any{"jti": "n2", "sub": subject}), `sub begins with "link "`)
	}
	for _, twin := range []string{"link", "linkn1", "Link n1", " link n1", "n1"} {
		got := r.accepted(t, r.link(map[string]any{"jti": "n2", "sub": twin}))
		if got.Subject != twin {
			t.Errorf("got %+v", got)
		}
	}
}

func TestAttackLinkKeyForAnotherIssuer(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	r.accepted(t, p.Token(nil))
	// a link key signs for staff
	r.refused(t, hs256([]byte(linkKey), linkHeader(), honest(r.clock, nil)))
	// under its key's name
	r.refused(t, hs256([]byte(linkKey), `{"alg":"ES256","kid":"`+p.PublicKey().KeyID+`"}`,
		honest(r.clock, nil)))
	// staff's key signs a link
	r.refused(t, p.Sign(nil, []byte(linkPayload(r.clock, nil))))
	r.refused(t, p.Sign(map[string]any{"kid": caller.LinkKeyID(linkKey)},
		[]byte(linkPayload(r.clock, nil))))
	r.refused(t, p.Token(map[string]any{"iss": "links", "jti": "n1",
		"document": "oss://team-docs/plan.docx", "grant": []string{"view"}}))
	r.accepted(t, r.link(nil)) // the twin
}

func TestAttackLinkSignedOtherwise(t *testing.T) {
	r, _ := provided(t, caller.Issuer{})
	payload, id := linkPayload(r.clock, nil), caller.LinkKeyID(linkKey)
	for _, header := range []string{
		`{"alg":"HS256"}`, `{"alg":"HS256","kid":""}`, `{"alg":"HS256","kid":"00000000"}`,
		`{"alg":"HS256","kid":"` + strings.ToUpper(id) + `x"}`,
		`{"alg":"HS384","kid":"` + id + `"}`, `{"alg":"HS512","kid":"` + id + `"}`,
		`{"alg":"none","kid":"` + id + `"}`, `{"kid":"` + id + `"}`,
	} {
		r.refused(t, hs256([]byte(linkKey), header, payload))
	}
	for _, secret := range [][]byte{nil, bytes.Repeat([]byte{0}, 32), []byte(linkKey[:31]),
		[]byte(id)} {
		r.refused(t, hs256(secret, linkHeader(), payload))
	}
	r.accepted(t, hs256([]byte(linkKey), linkHeader(), payload)) // the twin
}

func TestLinkKeyRotation(t *testing.T) {
	c, next := newClock(), weboffice.Secret(bytes.Repeat([]byte("k2"), 16))
	claims := linkClaims(c)
	old, fresh := must(caller.MintLink(linkKey, claims)), must(caller.MintLink(next, claims))
	for _, test := range []struct {
		keys          []weboffice.Secret
		oldOK, nextOK bool
	}{
		{[]weboffice.Secret{linkKey}, true, false},
		{[]weboffice.Secret{linkKey, next}, true, true},
		{[]weboffice.Secret{next}, false, true},
		{nil, false, false},
	} {
		v := must(caller.NewVerifier(caller.Options{LinkKeys: test.keys, Now: c.Now}))
		_, oldErr := v.Verify(t.Context(), old)
		_, nextErr := v.Verify(t.Context(), fresh)
		if (oldErr == nil) != test.oldOK || (nextErr == nil) != test.nextOK {
			t.Errorf("%d keys: %v, %v", len(test.keys), oldErr, nextErr)
		}
	}
}
