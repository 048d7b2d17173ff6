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
	if got := slices.Sorted(maps.Keys(guest.Claims)); !slices.Equal(got, want) || guest.Guest() {
		t.Errorf("minted the claims %v, want %v", got, want)
	}
	shows(t, guest, `"Subject":"",`, `"User":{"ID":"","Name":"","Avatar":""}`,
		`"Link":{"ID":"n1","Document":"oss://team-docs/plan.docx","Documents":"","Grant":["view"]}`)
	claims.Document, claims.Documents = "", "oss://team-docs/teams/**"
	claims.Subject, claims.Name = "ann", "Ann"
	shows(t, r.accepted(t, must(caller.MintLink(linkKey, claims))),
		`{"Issuer":"links","IssuerURL":"links","Subject":"ann",`,
		`"User":{"ID":"ann","Name":"Ann","Avatar":""},"Link":{"ID":"n1","Document":"",`+
			`"Documents":"oss://team-docs/teams/**","Grant":["view"]}`,
		`"Expires":"2027-02-14T08:00:00Z"`)
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
	shows(t, rig{Verifier: v}.accepted(t,
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjNlNDkwMzQwIn0."+
			"eyJpc3MiOiJsaW5rcyIsImF1ZCI6IndlYm9mZmljZSIsImlhdCI6MTgwMDAwMDAwMCwiZXhwIjoxODAw"+
			"MDg2NDAwLCJqdGkiOiJuMSIsImRvY3VtZW50Ijoib3NzOi8vdGVhbS1kb2NzL3BsYW4uZG9jeCIsImdy"+
			"YW50IjpbInZpZXciLCJjb3B5Il0sInN1YiI6ImFubiIsIm5hbWUiOiJBbm4ifQ."+
			"t1U7cGi1NL5jpR1FgJgtikk7erH6baOr72diGbaCFos"),
		`"Subject":"ann"`, `"Document":"oss://team-docs/plan.docx"`, `"Name":"Ann"`)
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
	// another key
	for _, secret := range [][]byte{nil, make([]byte, 32), []byte(linkKey[:31]),
		[]byte(caller.LinkKeyID(linkKey))} {
		r.refused(t, hs256(secret, linkHeader(), linkPayload(r.clock, nil)))
	}
	r.accepted(t, r.link(nil)) // the twin
}

func TestLinkKeyRotation(t *testing.T) {
	c, next := newClock(), weboffice.Secret(bytes.Repeat([]byte("k2"), 16))
	claims := linkClaims(c)
	old, fresh := must(caller.MintLink(linkKey, claims)), must(caller.MintLink(next, claims))
	for _, keys := range [][]weboffice.Secret{{linkKey}, {linkKey, next}, {next}, nil} {
		r := rig{log: &bytes.Buffer{},
			Verifier: must(caller.NewVerifier(caller.Options{LinkKeys: keys, Now: c.Now}))}
		r.verified(t, old, slices.Contains(keys, linkKey))
		r.verified(t, fresh, slices.Contains(keys, next))
	}
}
