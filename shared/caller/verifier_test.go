package caller_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

func TestAttackTokenOfAnotherIssuer(t *testing.T) {
	r, staff := provided(t, caller.Issuer{})
	_, partners := provided(t, caller.Issuer{})
	partners.SetURL("https://partners.example.com")
	both := inProcess{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		map[string]http.Handler{"login.example.com": staff,
			"partners.example.com": partners}[r.URL.Host].ServeHTTP(w, r)
	})}
	r.Verifier = must(caller.NewVerifier(caller.Options{
		Issuers: []caller.Issuer{
			{Name: "staff", URL: staff.URL(), Audience: []string{"weboffice"}},
			{Name: "partners", URL: partners.URL(), Audience: []string{"partners"}},
			{Name: "long", URL: issuerURL + strings.Repeat("/x", 99), Audience: []string{"x"}},
		},
		Client: &http.Client{Transport: both}, Now: r.clock.Now, Logger: discard,
	}))
	// the twins
	shows(t, r.accepted(t, staff.Token(nil)), `{"Issuer":"staff",`, `"Subject":"ann"`)
	shows(t, r.accepted(t, partners.Token(map[string]any{"aud": "partners"})),
		`{"Issuer":"partners","IssuerURL":"https://partners.example.com","Subject":"ann"`)
	r.refused(t, partners.Token(map[string]any{"iss": staff.URL()}))
	r.refused(t, partners.Token(nil)) // the audience of the other issuer
	r.refused(t, staff.Token(map[string]any{"iss": partners.URL() + "/"}), partners.URL()+`"]`)
	r.refused(t, staff.Token(map[string]any{"iss": partners.URL(), "aud": "partners"}))
}

func TestNewVerifierRefusesBadOptions(t *testing.T) {
	good := caller.Issuer{Name: "staff", URL: issuerURL, Audience: []string{"weboffice"}}
	same := caller.Issuer{Name: "more", URL: issuerURL, Audience: []string{"x"}}
	none := caller.Issuer{Name: "more", URL: issuerURL}
	twice := []weboffice.Secret{linkKey}
	for name, change := range map[string]func(*caller.Options){
		"":               func(o *caller.Options) {},
		"issuer two":     func(o *caller.Options) { o.Issuers = []caller.Issuer{{Name: "two"}, good} },
		"the same url":   func(o *caller.Options) { o.Issuers = append(o.Issuers, same) },
		"32 bytes":       func(o *caller.Options) { o.LinkKeys = []weboffice.Secret{"short"} },
		"each given":     func(o *caller.Options) { o.LinkKeys = append(twice, twice...) },
		"Now":            func(o *caller.Options) { o.Now = nil },
		"Client":         func(o *caller.Options) { o.Client = nil },
		"Logger":         func(o *caller.Options) { o.Logger = nil },
		"more: audience": func(o *caller.Options) { o.Issuers = []caller.Issuer{none} },
	} {
		o := caller.Options{Issuers: []caller.Issuer{good}, Client: &http.Client{},
			Now: newClock().Now, Logger: discard}
		change(&o)
		_, err := caller.NewVerifier(o)
		if (err == nil) != (name == "") || err != nil && (!strings.Contains(err.Error(), name) ||
			strings.Contains(err.Error(), "short")) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestReadKeys(t *testing.T) {
	r, p := provided(t, caller.Issuer{})
	p.SetFault(issuer.Outage)
	err := r.ReadKeys(t.Context(), issuerURL)
	if public := weboffice.AsError(err); public.Kind != weboffice.Unavailable ||
		!strings.Contains(public.Cause.Error(), "503") {
		t.Errorf("got %v", err)
	}
	p.SetFault(issuer.None)
	r.clock.Advance(time.Minute)
	for url, known := range map[string]bool{issuerURL: true, caller.LinkIssuer: true,
		"https://other.example": false} {
		if err := r.ReadKeys(t.Context(), url); (err == nil) != known {
			t.Errorf("%s: %v", url, err)
		}
	}
}

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
