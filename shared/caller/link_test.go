package caller_test

import (
	"bytes"
	"encoding/json"
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
	claims := map[string]any{
		"iss": "links", "aud": "weboffice", "iat": c.unix(0), "exp": c.unix(time.Hour), "jti": "n1",
		"document": "oss://team-docs/plan.docx", "grant": []string{"view", "copy"},
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(claims)))
}

func (r rig) link(changes map[string]any) weboffice.Secret {
	return hs256([]byte(linkKey), linkHeader(), linkPayload(r.clock, changes))
}

func TestMintedLinkVerifies(t *testing.T) {
	r, _ := provided(t, caller.Issuer{})
	claims := caller.LinkClaims{
		ID: "n1", Documents: "oss://team-docs/teams/**", Grant: []string{"view", "edit"},
		Subject: "ann", Name: "Ann",
		IssuedAt: r.clock.Now(), Expires: r.clock.Now().Add(30 * 24 * time.Hour),
	}
	token, err := caller.MintLink(linkKey, claims)
	if err != nil {
		t.Fatal(err)
	}
	got := r.accepted(t, token)
	if got.Issuer != caller.LinkIssuer || got.IssuerURL != caller.LinkIssuer || got.Guest() ||
		got.Subject != "ann" ||
		got.User != (caller.User{ID: "ann", Name: "Ann"}) || !got.Expires.Equal(claims.Expires) {
		t.Errorf("got %+v", got)
	}
	if got.Link == nil || got.Link.ID != "n1" || got.Link.Documents != claims.Documents ||
		got.Link.Document != "" ||
		!slices.Equal(got.Link.Grant, claims.Grant) {
		t.Errorf("got %+v", got.Link)
	}
	claims.Subject, claims.Name = "", ""
	guest := r.accepted(t, must(caller.MintLink(linkKey, claims)))
	if guest.Subject != "" || guest.User != (caller.User{}) || guest.Guest() {
		t.Errorf("got %+v", guest)
	}
	if want := []string{"aud", "documents", "exp", "grant", "iat", "iss", "jti"}; !slices.Equal(
		slices.Sorted(maps.Keys(guest.Claims)), want) {
		t.Errorf("minted the claims %v, want %v", slices.Sorted(maps.Keys(guest.Claims)), want)
	}
	if r.wire.count() != 0 {
		t.Errorf("requests left: %v", r.wire.requests)
	}
}

func TestMintLinkRefusesWhatWouldBeRefused(t *testing.T) {
	now := newClock().Now()
	good := caller.LinkClaims{
		ID: "n1", Document: "oss://team-docs/plan.docx", Grant: []string{"view"}, IssuedAt: now,
		Expires: now.Add(time.Hour),
	}
	if _, err := caller.MintLink(linkKey, good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*caller.LinkClaims){
		"no id":         func(c *caller.LinkClaims) { c.ID = "" },
		"no document":   func(c *caller.LinkClaims) { c.Document = "" },
		"both":          func(c *caller.LinkClaims) { c.Documents = "oss://team-docs/**" },
		"no grant":      func(c *caller.LinkClaims) { c.Grant = nil },
		"unknown grant": func(c *caller.LinkClaims) { c.Grant = []string{"own"} },
		"over 30 days": func(c *caller.LinkClaims) {
			c.Expires = now.Add(30*24*time.Hour + time.Second)
		},
		"no expiry":     func(c *caller.LinkClaims) { c.Expires = time.Time{} },
		"no issue time": func(c *caller.LinkClaims) { c.IssuedAt = time.Time{} },
		"too long": func(c *caller.LinkClaims) {
			c.Document = "oss://b/" +
				strings.Repeat("x", 8<<10)
		},
	} {
		c := good
		change(&c)
		if token, err := caller.MintLink(linkKey, c); err == nil || token != "" {
			t.Errorf("%s: minted", name)
		}
	}
	if _, err := caller.MintLink("short", good); err == nil {
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
	v, err := caller.NewVerifier(caller.Options{LinkKeys: []weboffice.Secret{weboffice.Secret(key)},
		Now: newClock().Now})
	if err != nil {
		t.Fatal(err)
	}
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
	r, _ := provided(t, caller.Issuer{})
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		changes map[string]any
		good    bool
	}{
		"twin":                     {nil, true},
		"twin: 30 days":            {map[string]any{"exp": r.clock.unix(30 * day)}, true},
		"twin: audience in a list": {map[string]any{"aud": []string{"a", "weboffice"}}, true},
		"twin: every grant": {
			map[string]any{"grant": []string{"view", "edit", "rename", "history", "copy", "print",
				"export"}}, true},
		"twin: another revoked letter": {map[string]any{"jti": "Revoked"}, true},
		"revoked":                      {map[string]any{"jti": "revoked"}, false},
		"expired": {map[string]any{"exp": r.clock.unix(-61 * time.Second)},
			false},
		"over 30 days": {map[string]any{"exp": r.clock.unix(30*day + time.Second)},
			false},
		"a year, in its last days": {map[string]any{"iat": r.clock.unix(-360 * day),
			"exp": r.clock.unix(5 * day)}, false},
		"issued in the future": {map[string]any{"iat": r.clock.unix(2 * time.Minute)},
			false},
		"no iat":                       {map[string]any{"iat": nil}, false},
		"no exp":                       {map[string]any{"exp": nil}, false},
		"exp a string":                 {map[string]any{"exp": "9999999999"}, false},
		"no jti":                       {map[string]any{"jti": nil}, false},
		"empty jti":                    {map[string]any{"jti": ""}, false},
		"jti a number":                 {map[string]any{"jti": 7}, false},
		"jti too long":                 {map[string]any{"jti": strings.Repeat("j", 256)}, false},
		"no aud":                       {map[string]any{"aud": nil}, false},
		"another aud":                  {map[string]any{"aud": "Weboffice"}, false},
		"another iss":                  {map[string]any{"iss": "Links"}, false},
		"no document":                  {map[string]any{"document": nil}, false},
		"empty document and documents": {map[string]any{"document": "", "documents": ""}, false},
		"document and documents":       {map[string]any{"documents": "oss://team-docs/**"}, false},
		"documents a list": {map[string]any{"document": nil,
			"documents": []string{"oss://team-docs/**"}}, false},
		"documents of everything": {map[string]any{"document": nil, "documents": "**"}, false},
		"twin: documents": {map[string]any{"document": nil,
			"documents": "oss://team-docs/**"}, true},
		"twin: documents beside an empty document": {map[string]any{"document": "",
			"documents": "oss://team-docs/**"}, true},
		"twin: document with a star": {map[string]any{"document": "oss://docs/up/*.docx"}, true},
		"twin: nbf for iat":          {map[string]any{"iat": nil, "nbf": r.clock.unix(-day)}, true},
		"over 30 days after nbf": {map[string]any{"iat": nil, "nbf": r.clock.unix(-day),
			"exp": r.clock.unix(30 * day)}, false},
		"document a list": {
			map[string]any{"document": []string{"oss://team-docs/plan.docx"}}, false},
		"document of everything": {map[string]any{"document": "**"}, false},
		"document elsewhere": {
			map[string]any{"document": "https://example.com/plan.docx"}, false},
		"no grant":          {map[string]any{"grant": nil}, false},
		"empty grant":       {map[string]any{"grant": []string{}}, false},
		"grant a string":    {map[string]any{"grant": "view"}, false},
		"grant an object":   {map[string]any{"grant": map[string]any{"view": true}}, false},
		"unknown grant":     {map[string]any{"grant": []string{"view", "all"}}, false},
		"grant in capitals": {map[string]any{"grant": []string{"Edit"}}, false},
		"null in grant": {
			map[string]any{"grant": []any{"view", json.RawMessage("null")}}, false},
		"sub a list":     {map[string]any{"sub": []string{"ann"}}, false},
		"sub too long":   {map[string]any{"sub": strings.Repeat("s", 256)}, false},
		"name an object": {map[string]any{"name": map[string]any{}}, false},
		"logout token":   {map[string]any{"events": map[string]any{}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if test.good {
				r.accepted(t, r.link(test.changes))
			} else {
				r.refused(t, r.link(test.changes))
			}
		})
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
		if why := r.refused(t, r.link(map[string]any{"jti": "n2",
			"sub": subject})); !strings.Contains(why, `sub begins with "link "`) {
			t.Errorf("%q: the log says %s", subject, why)
		}
		claims := caller.LinkClaims{ID: "n2", Document: "oss://b/k", Grant: []string{"view"},
			Subject:  subject,
			IssuedAt: r.clock.Now(), Expires: r.clock.Now().Add(time.Hour)}
		if _, err := caller.MintLink(linkKey, claims); err == nil {
			t.Errorf("%q is minted", subject)
		}
	}
	for _, twin := range []string{"link", "linkn1", "Link n1", " link n1", "n1"} {
		if got := r.accepted(t, r.link(map[string]any{"jti": "n2",
			"sub": twin})); got.Subject != twin {
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
	claims := caller.LinkClaims{ID: "n1", Document: "oss://b/k", Grant: []string{"view"},
		IssuedAt: c.Now(), Expires: c.Now().Add(time.Hour)}
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
