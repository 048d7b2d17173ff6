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
