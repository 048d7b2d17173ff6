package caller_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weboffice-functions/shared/caller"
)

func TestValidate(t *testing.T) {
	good := caller.Issuer{Name: "staff", URL: issuerURL, Audience: []string{"weboffice"}}
	for _, test := range []struct {
		change func(*caller.Issuer)
		says   string // "": good
	}{
		{func(i *caller.Issuer) {}, ""},
		{func(i *caller.Issuer) { i.Audience = []string{"a", "b"} }, ""},
		{func(i *caller.Issuer) { i.AudienceClaim = "azp" }, ""},
		{func(i *caller.Issuer) { i.AudienceClaim = "aud" }, ""},
		{func(i *caller.Issuer) { i.User.ID = "/profile/id" }, ""},
		{func(i *caller.Issuer) { i.Name = "" }, "name"},
		{func(i *caller.Issuer) { i.Name = "links" }, "name"},
		{func(i *caller.Issuer) { i.Audience = nil }, "audience is required"},
		{func(i *caller.Issuer) { i.Audience = []string{"a", ""} }, "audience is required"},
		{func(i *caller.Issuer) { i.AudienceClaim = "sub" }, "audienceClaim"},
		{func(i *caller.Issuer) { i.MaxAge = -1 }, "maxAge"},
		{func(i *caller.Issuer) { i.User.Name = "/email" }, "user: "},
	} {
		i := good
		test.change(&i)
		err := i.Validate()
		if (err == nil) != (test.says == "") ||
			err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%+v: %v, want %q", i, err, test.says)
		}
	}
	for _, test := range []struct {
		name      string
		set       func(i *caller.Issuer, value string)
		good, bad []string
	}{
		{"url", func(i *caller.Issuer, value string) { i.URL = value },
			[]string{issuerURL, issuerURL + "/", issuerURL + "/realms/a", "http://127.0.0.1:8080",
				"http://localhost:8080/idp", "http://[::1]:1"},
			[]string{"", "http://login.example.com", "http://10.0.0.1", "ftp://127.0.0.1", "links",
				issuerURL + "?", issuerURL + "?a=b", issuerURL + "#", "https://",
				"https://ann:pw@login.example.com", "http://localhost.example.com",
				"https://login.example.com\x7f", "//login.example.com"}},
		{"url beside keys", // it is only compared with iss
			func(i *caller.Issuer, value string) { i.URL, i.Keys = value, "https://a.example/k?v=1" },
			[]string{issuerURL, "http://adfs.example.com/adfs/services/trust", "https://a?b=c#d",
				"urn:example:idp", "Links", "анна"},
			[]string{"links", "", "a b", "https://login.example.com/{tenantid}/v2.0", "a\x00",
				"a\u200b"}},
		{"keys", func(i *caller.Issuer, value string) { i.Keys = value },
			[]string{"https://keys.example.com/jwks?p=b2c", "http://127.0.0.1:8080/jwks"},
			[]string{"http://keys.example.com/jwks", "https://ann:pw@keys.example.com",
				"https://keys.example.com/#", "file:///jwks", "jwks"}},
	} {
		for ok, values := range map[bool][]string{true: test.good, false: test.bad} {
			for _, value := range values {
				i := good
				if test.set(&i, value); (i.Validate() == nil) != ok {
					t.Errorf("%s %q: %v", test.name, value, i.Validate())
				}
			}
		}
	}
	err := caller.Issuer{}.Validate()
	for _, all := range []string{"name", "url", "audience"} {
		if !strings.Contains(err.Error(), all) {
			t.Errorf("not every problem is named: %v", err)
		}
	}
}

func TestAttackUnverifiedEmail(t *testing.T) {
	const ann, missing = "ann@example.com", "email_verified is missing"
	const untrue = "email_verified is not true"
	for _, test := range []struct {
		trust           bool
		email           any
		verified, camel any    // email_verified, emailVerified
		why             string // it does not count; "": it counts
	}{
		{false, ann, true, nil, ""}, {false, ann, "true", nil, ""}, {true, ann, nil, nil, ""},
		{true, ann, false, nil, ""}, {false, ann, nil, true, ""}, {false, ann, nil, "true", ""},
		{false, ann, nil, nil, missing}, {false, ann, false, nil, untrue},
		{false, ann, "TRUE", nil, untrue}, {false, ann, 1, nil, untrue},
		{false, ann, []bool{true}, nil, untrue}, {false, ann, false, true, untrue},
		{false, ann, nil, false, "emailVerified is not true"},
		{true, `"a@evil.example"@example.com`, true, nil, "plain address"},
		{true, "a@evil.example, b@example.com", true, nil, "plain address"},
		{true, []string{ann}, true, nil, "plain address"}, {true, 7, true, nil, "plain address"},
	} {
		r, p := provided(t, caller.Issuer{TrustEmail: test.trust})
		got := r.accepted(t, p.Token(map[string]any{"email": test.email,
			"email_verified": test.verified, "emailVerified": test.camel}))
		if _, counts := got.Claims["email"]; counts != (test.why == "") ||
			!strings.Contains(got.EmailIgnored, test.why) || counts != (got.EmailIgnored == "") {
			t.Errorf("%+v: counts %v, %s", test, counts, got.EmailIgnored)
		}
		if strings.Contains(got.EmailIgnored, "_verified is missing") &&
			!strings.Contains(got.EmailIgnored, "trustEmail") {
			t.Errorf("no way out is named: %s", got.EmailIgnored)
		}
	}
	r, p := provided(t, caller.Issuer{User: caller.UserClaims{ID: "email"}})
	r.refused(t, p.Token(map[string]any{"email": ann}), "email", "user.id")
	verified := p.Token(map[string]any{"email": ann, "email_verified": true})
	if got := r.accepted(t, verified); got.User.ID != ann {
		t.Errorf("got %+v", got.User)
	}
}

func TestUserClaims(t *testing.T) {
	r, p := provided(t, caller.Issuer{User: caller.UserClaims{ID: "/profile/id", Name: "nick",
		Avatar: "photo"}})
	for _, id := range []any{nil, "", 7.5, true, []string{"e1"}, map[string]any{},
		strings.Repeat("x", 256)} {
		r.refused(t, p.Token(map[string]any{"profile": map[string]any{"id": id}}), "/profile/id")
	}
	e1 := map[string]any{"id": "e1"}
	for photo, kept := range map[any]bool{
		"https://example.com/a.png": true, "http://example.com/a.png": false,
		"http://127.0.0.1/a.png": false, "javascript:alert(1)": false,
		"data:image/png;base64,AA": false, "https:///a.png": false,
		"https://ann@example.com/a.png": false, "//example.com/a.png": false, 7: false, nil: false,
		"https://example.com/" + strings.Repeat("a", 1004): true,
		"https://example.com/" + strings.Repeat("a", 1005): false,
	} {
		got := r.accepted(t, p.Token(map[string]any{"profile": e1, "nick": true, "name": "Ann",
			"photo": photo}))
		if got.User.ID != "e1" || got.Subject != "ann" || got.User.Name != "" ||
			(got.User.Avatar != "") != kept {
			t.Errorf("%v: got %+v", photo, got.User)
		}
	}
}

// Some databases number their users.
func TestNumbersAsSubjects(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	got := r.accepted(t, p.Token(map[string]any{"sub": 42, "name": 7}))
	if got.Subject != "42" || got.User != (caller.User{ID: "42", Name: "7"}) ||
		got.Claims.Find("sub") != "42" {
		t.Errorf("got %+v", got)
	}
	link := r.accepted(t, r.link(map[string]any{"sub": 42}))
	if link.Subject != "42" || link.User.ID != "42" || link.Claims.Find("sub") != "42" {
		t.Errorf("got %+v", link)
	}
}

func TestCallerFor(t *testing.T) {
	staff := caller.Issuer{Name: "staff", URL: issuerURL, User: caller.UserClaims{ID: "employee"}}
	links := caller.Issuer{Name: caller.LinkIssuer, URL: caller.LinkIssuer}
	got, err := staff.CallerFor([]byte(
		`{"sub":"ann","employee":"e1","email":"ann@example.com","level":7}`))
	if _, counts := got.Claims["email"]; err != nil || got.Issuer != "staff" ||
		got.IssuerURL != issuerURL || got.User.ID != "e1" || counts ||
		got.Claims["level"] != json.Number("7") {
		t.Errorf("got %+v, %v", got, err)
	}
	link, err := links.CallerFor([]byte(
		`{"jti":"n1","document":"oss://b/k","grant":["view"],"name":"Ann"}`))
	if err != nil || link.Issuer != caller.LinkIssuer || link.Link == nil ||
		link.Link.Document != "oss://b/k" || link.User.Name != "Ann" {
		t.Errorf("got %+v, %v", link, err)
	}
	for _, claims := range []string{
		`{"sub":"ann"}`, `{"sub":["ann"],"employee":"e1"}`, `{"employee":"e1"}`, `null`, ``,
		`{"sub":"a","sub":"b","employee":"e1"}`,
	} {
		if _, err := staff.CallerFor([]byte(claims)); err == nil {
			t.Errorf("%s makes a caller", claims)
		}
	}
	if _, err := links.CallerFor([]byte(`{"jti":"n1","document":"oss://b/k"}`)); err == nil {
		t.Error("a link without grant makes a caller")
	}
}
