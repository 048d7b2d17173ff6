package caller_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weboffice-functions/shared/caller"
)

func TestValidate(t *testing.T) {
	for _, line := range table(t, "issuers") {
		i := caller.Issuer{Name: "staff", URL: issuerURL, Audience: []string{"weboffice"}}
		if err := json.Unmarshal([]byte(line[0]), &i); err != nil {
			t.Fatal(err)
		}
		err := i.Validate()
		if good := len(line) == 1; good != (err == nil) || !good &&
			(!strings.HasPrefix(err.Error(), line[1]) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%v: %v", line, err)
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
	shows(t, must(staff.CallerFor([]byte(
		`{"sub":"ann","employee":"e1","email":"ann@example.com","level":7}`))),
		`{"Issuer":"staff","IssuerURL":"https://login.example.com"`, `"User":{"ID":"e1"`,
		`"level":7`, `!"email":`)
	shows(t, must(links.CallerFor([]byte(
		`{"jti":"n1","document":"oss://b/k","grant":["view"],"name":"Ann"}`))),
		`{"Issuer":"links"`, `"Document":"oss://b/k"`, `"Name":"Ann"`)
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
