package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// quickStartPolicy is teamPolicy for pages that still call by GET.
var quickStartPolicy = "quickStart: true" + teamPolicy

func TestOtherMethodsAreRefused(t *testing.T) {
	t.Parallel()
	for policy, allowed := range map[string]string{teamPolicy: "POST, OPTIONS",
		quickStartPolicy: "POST, GET, OPTIONS"} {
		s := start(t, policy)
		for _, method := range []string{"PUT", "PATCH", "DELETE", "HEAD", "TRACE", "post", "get",
			"PROPFIND", "GET"} {
			if method == "GET" && policy == quickStartPolicy {
				continue
			}
			for _, address := range []string{s.generateURL, s.refreshURL} {
				got := s.request(method, address, s.proof("ann"), strings.NewReader(source(plan)))
				if got.status != 405 || got.header.Get("Allow") != allowed ||
					got.header.Get("Access-Control-Allow-Origin") != origin {
					t.Errorf("%s: %v, Allow %q", method, got, got.header.Get("Allow"))
				}
			}
		}
		// A method in a header or in the query is no method.
		s.request("PUT", s.generateURL, s.proof("ann"), strings.NewReader(source(plan)),
			header("X-HTTP-Method-Override", "POST")).want(t, 405, "MethodNotAllowed")
		s.untouched(t)
		s.open(s.proof("ann"), plan)
	}
}

func TestBodyTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	ann := s.proof("ann")
	s.client.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	huge := func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", 1<<20))), 1<<20
		r.Header.Set("Expect", "100-continue") // the megabyte is not even sent
	}
	chunked := func(size int) option {
		return func(r *http.Request) {
			r.Body, r.ContentLength, r.GetBody = io.NopCloser(
				io.MultiReader(strings.NewReader(padded(source(plan), size)))), -1, nil
		}
	}
	for _, address := range []string{s.generateURL, s.refreshURL} {
		s.request("POST", address, ann, nil, huge).want(t, 413, "RequestTooLarge")
		s.request("POST", address, ann, strings.NewReader(
			padded(source(plan), httpapi.MaxBody+1))).want(t, 413, "RequestTooLarge")
		s.request("POST", address, ann, http.NoBody, chunked(httpapi.MaxBody+1)).want(t, 413,
			"RequestTooLarge")
		s.request("POST", address, guest, nil, huge).want(t, 413, "RequestTooLarge")
	}
	s.untouched(t)
	s.generate(ann, padded(source(plan), httpapi.MaxBody)).want(t, 200, "")
	s.request("POST", s.generateURL, ann, http.NoBody, chunked(httpapi.MaxBody)).want(t, 200, "")
}

// padded is a JSON text with so many spaces behind it that it has size bytes.
func padded(text string, size int) string { return text + strings.Repeat(" ", size-len(text)) }

var foreignTypes = []string{"", "text/plain", "text/json", "application/x-www-form-urlencoded",
	"multipart/form-data; boundary=x",
	"application/xml",
	"application/json, text/plain", "application/jsonp", "application/problem+json", "json",
	"application/json; charset"}

func TestOtherContentTypesAreRefusedAfterTheProof(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	ann := s.proof("ann")
	for _, kind := range foreignTypes {
		for _, address := range []string{s.generateURL, s.refreshURL} {
			if got := s.request("POST", address, ann, strings.NewReader(source(plan)),
				header("Content-Type", kind)); got.status != 415 {
				t.Errorf("%q: %v", kind, got)
			}
			if got := s.request("POST", address, "a.b.c", strings.NewReader(source(handbook)),
				header("Content-Type", kind)); got.status != 401 {
				t.Errorf("%q with a bad proof: %v", kind, got)
			}
		}
	}
	s.untouched(t)
	for _, kind := range []string{"application/json", "application/json; charset=utf-8",
		"Application/JSON;charset=UTF-8"} {
		s.generate(ann, source(plan), header("Content-Type", kind)).want(t, 200, "")
	}
}

// unsent is a body that a client sends only when the function asks for it, which fails the test.
type unsent struct{ t *testing.T }

func (u unsent) Read([]byte) (int, error) {
	u.t.Error("the function asks for the body")
	return 0, io.EOF
}

// Nobody makes a function read a body with a proof that is worth nothing.
func TestBadProofIsAnsweredBeforeTheBodyComes(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	s.client.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	for _, address := range []string{s.generateURL, s.refreshURL} {
		for _, kind := range append(foreignTypes, "application/json") {
			s.request("POST", address, "a.b.c", unsent{t}, header("Content-Type", kind),
				header("Expect", "100-continue")).want(t, 401, "Unauthenticated")
		}
		s.request("POST", address, "a.b.c",
			strings.NewReader(strings.Repeat("x", httpapi.MaxBody+1))).want(t, 401,
			"Unauthenticated")
	}
	s.untouched(t)
	opened := s.generate(s.proof("ann"), source(plan), header("Expect", "100-continue")).want(t,
		200, "")
	s.refresh(s.proof("ann"), opened, header("Expect", "100-continue")).want(t, 200, "")
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	for policy, methods := range map[string]string{teamPolicy: "POST, OPTIONS",
		quickStartPolicy: "POST, GET, OPTIONS"} {
		s := start(t, policy)
		for _, address := range []string{s.generateURL, s.refreshURL} {
			for _, page := range []string{origin, "http://localhost:5173"} {
				got := s.request("OPTIONS", address+"/any", guest, nil, header("Origin", page),
					header("Access-Control-Request-Method", "POST"),
					header("Access-Control-Request-Headers", "authorization,content-type"))
				want := map[string]string{
					"Access-Control-Allow-Origin": page, "Access-Control-Allow-Methods": methods,
					"Access-Control-Allow-Headers":  "Authorization, Content-Type",
					"Access-Control-Max-Age":        "86400",
					"Access-Control-Expose-Headers": "Retry-After",
				}
				for name, value := range want {
					if got.header.Get(name) != value {
						t.Errorf("%s is %q, want %q", name, got.header.Get(name), value)
					}
				}
				if got.status != 204 || got.body != "" {
					t.Errorf("%v %s", got, got.body)
				}
			}
			s.request("OPTIONS", address, guest, nil, header("Origin", "https://evil.example"),
				header("Access-Control-Request-Method", "POST")).want(t, 403, "Forbidden.Origin")
		}
		s.untouched(t)
	}
}

var foreignOrigins = map[string]string{
	"suffix":           "https://docs.example.com.evil.example",
	"longer top level": "https://docs.example.comx",
	"prefix":           "https://evildocs.example.com",
	"subdomain":        "https://x.docs.example.com", "parent": "https://example.com",
	"null":         "null",
	"port":         "https://docs.example.com:8443",
	"default port": "https://docs.example.com:443", "scheme": "http://docs.example.com",
	"case":          "https://Docs.example.com",
	"scheme's case": "HTTPS://docs.example.com",
	"path":          "https://docs.example.com/", "trailing dot": "https://docs.example.com.",
	"user": "https://docs.example.com@evil.example",
	"list": "https://docs.example.com, https://evil.example", "nothing": "", "star": "*",
	"Cyrillic letter":         "https://d\u043ecs.example.com",
	"other loopback port":     "http://localhost:5174",
	"loopback in other words": "http://127.0.0.1:5173",
}

func TestForeignOriginIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, quickStartPolicy)
	for name, foreign := range foreignOrigins {
		for _, method := range []string{"POST", "OPTIONS", "GET"} {
			for _, address := range []string{s.generateURL, s.refreshURL} {
				query := ""
				if method == "GET" {
					query = "?SourceURI=" + url.QueryEscape(handbook)
				}
				got := s.request(method, address+query, guest, strings.NewReader(source(handbook)),
					header("Origin", foreign),
					header("Content-Type", "application/json"))
				if got.status != 403 || got.Code != "Forbidden.Origin" ||
					got.header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%s by %s: %v %v", name, method, got, got.header)
				}
			}
		}
		// A browser that says same-origin about a foreign Origin is none.
		s.generate(s.proof("ann"), source(plan), header("Origin", foreign),
			header("Sec-Fetch-Site", "same-origin")).want(t, 403, "Forbidden.Origin")
	}
	for _, pair := range [][2]string{{origin, "https://evil.example"},
		{"https://evil.example", origin}, {origin, origin}, {origin, ""}} {
		s.generate(guest, source(handbook), header("Origin", pair[0]),
			alsoHeader("Origin", pair[1])).want(t, 403, "Forbidden.Origin")
	}
	s.untouched(t)
	for _, page := range []string{origin, "http://localhost:5173"} {
		got := s.generate(guest, source(handbook), header("Origin", page)).want(t, 200, "")
		if got.header.Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s cannot read its answer", page)
		}
	}
}

// An allowed page can read why it is refused, and when to come again.
func TestErrorsCanBeReadByTheirPage(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	replies := map[int]reply{
		400: s.generate(guest, `{`), 401: s.generate("x", `{}`),
		403: s.generate(s.proof("eve"), source(plan)),
		404: s.generate(s.proof("ann"), source("oss://team-docs/teams/red/absent.docx")),
		405: s.request("PUT", s.generateURL, guest, nil),
		415: s.generate(guest, `{}`, without("Content-Type")),
	}
	s.office.Fail(office.Generate, 1, office.Throttled(0))
	replies[429] = s.generate(guest, source(handbook))
	s.office.Fail(office.Generate, 1, office.HTML())
	replies[502] = s.generate(guest, source(handbook))
	replies[200] = s.open(guest, handbook)
	for status, got := range replies {
		if got.status != status || got.header.Get("Access-Control-Allow-Origin") != origin ||
			got.header.Get("Access-Control-Expose-Headers") != "Retry-After" {
			t.Errorf("%d: %v %v", status, got, got.header)
		}
	}
	if replies[429].header.Get("Retry-After") != "2" { // where IMM names no time
		t.Errorf("%v", replies[429].header)
	}
}

// Another site's page can make a browser ask without Origin: nobody could read the answer, but it
// would be paid for.
func TestCrossSiteRequestsWithoutOriginCostNothing(t *testing.T) {
	t.Parallel()
	s := start(t, quickStartPolicy)
	address := s.generateURL + "/?SourceURI=" + url.QueryEscape(handbook)
	for name, headers := range map[string][]string{
		"image":              {"cross-site", "no-cors", "image"},
		"image of a sibling": {"same-site", "no-cors", "image"},
		"script":             {"cross-site", "no-cors", "script"},
		"link":               {"cross-site", "navigate", "document"},
		"frame":              {"cross-site", "navigate", "iframe"},
		"typed address":      {"none", "navigate", "document"},
		"unknown word":       {"same-origin, cross-site", "no-cors", "image"},
		"nothing":            {"", "no-cors", "image"},
	} {
		got := s.request("GET", address, guest, nil, without("Origin"),
			header("Sec-Fetch-Site", headers[0]),
			header("Sec-Fetch-Mode", headers[1]),
			header("Sec-Fetch-Dest", headers[2]), header("Cookie", "session=1"))
		if got.status != 403 || got.Code != "Forbidden.Origin" {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.request("GET", address, guest, nil, without("Origin"),
		header("Sec-Fetch-Site", "same-origin"),
		alsoHeader("Sec-Fetch-Site", "cross-site")).want(t, 403, "Forbidden.Origin")
	// a form of a page without an origin
	s.generate(guest, source(handbook), header("Origin", "null"),
		header("Sec-Fetch-Mode", "navigate"),
		header("Content-Type", "application/x-www-form-urlencoded")).want(t, 403,
		"Forbidden.Origin")
	s.untouched(t)
	// A page of the same host, an older browser, a server.
	s.request("GET", address, guest, nil, without("Origin"),
		header("Sec-Fetch-Site", "same-origin")).want(t, 200, "")
	s.request("GET", address, guest, nil, without("Sec-Fetch-Site")).want(t, 200, "")
	s.generate(s.proof("ann"), source(plan), without("Origin"), without("Sec-Fetch-Site")).want(t,
		200, "")
}

// badProofs are proofs that must all get the same sentence.
func badProofs(s *site) map[string][]option {
	bearer := func(token weboffice.Secret) []option {
		return []option{header("Authorization", "Bearer "+token.Reveal())}
	}
	ann := s.proof("ann")
	parts := strings.Split(ann.Reveal(), ".")
	foreign := issuer.New(issuer.Options{Now: s.clock.Now, Algorithm: "ES256"})
	foreign.SetURL(s.people.URL())
	lookalike := issuer.New(issuer.Options{Now: s.clock.Now, Algorithm: "ES256"})
	lookalike.SetURL(s.people.URL() + "/")
	now := s.clock.Now().Unix()
	return map[string][]option{
		"nonsense":       bearer("x"),
		"empty":          {header("Authorization", "")},
		"no token":       {header("Authorization", "Bearer")},
		"another scheme": {header("Authorization", "Basic YW5uOmFubg==")},
		"two headers, both good": append(bearer(ann),
			alsoHeader("Authorization", "Bearer "+ann.Reveal())),
		"two headers, one bad": append(bearer(ann), alsoHeader("Authorization", "Bearer x")),
		"two in one":           bearer(ann + ", Bearer " + ann),
		"changed signature": bearer(weboffice.Secret(parts[0] + "." + parts[1] + "." +
			strings.Repeat("A", len(parts[2])))),
		"no signature": bearer(weboffice.Secret(parts[0] + "." + parts[1] + ".")),
		"alg none": bearer(s.people.Sign(map[string]any{"alg": "none"},
			[]byte(fmt.Sprintf(`{"iss":%q,"aud":"weboffice","sub":"ann","iat":%d,"exp":%d}`,
				s.people.URL(), now, now+600)))),
		"another key":            bearer(foreign.Token(people["ann"])),
		"another issuer":         bearer(lookalike.Token(people["ann"])),
		"expired":                bearer(s.proof("ann", map[string]any{"exp": now - 61})),
		"not yet valid":          bearer(s.proof("ann", map[string]any{"nbf": now + 61})),
		"no exp":                 bearer(s.proof("ann", map[string]any{"exp": nil})),
		"another audience":       bearer(s.proof("ann", map[string]any{"aud": "mail"})),
		"audience in other case": bearer(s.proof("ann", map[string]any{"aud": "WebOffice"})),
		"no subject":             bearer(s.proof("ann", map[string]any{"sub": nil})),
		"older than maxAge": bearer(
			s.proof("ann", map[string]any{"iat": now - 25*3600, "exp": now + 600})),
		"logout token": bearer(
			s.proof("ann", map[string]any{"events": map[string]any{}})),
		"issuer links by another": bearer(
			s.proof("ann", map[string]any{"iss": "links", "jti": "1",
				"document": "oss://team-docs/**",
				"grant":    []string{"view"}})),
		"endless": bearer(weboffice.Secret(strings.Repeat("x", 8<<10))),
	}
}

func TestBadProofsAllGetOneSentence(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	// no proof, and the document is not open to anyone
	want := s.generate(guest, source(plan)).want(t, 401, "Unauthenticated")
	if want.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("WWW-Authenticate %q", want.header.Get("WWW-Authenticate"))
	}
	opened := s.open(guest, handbook)
	for name, options := range badProofs(s) {
		for what, got := range map[string]reply{
			"at a closed document":         s.generate(guest, source(plan), options...),
			"at a document open to anyone": s.generate(guest, source(handbook), options...),
			"at refresh":                   s.refresh(guest, opened, options...),
			"with a body that is no JSON":  s.generate(guest, "<xml>", options...),
		} {
			if got.status != 401 || got.withoutID() != want.withoutID() {
				t.Errorf("%s %s: %d %s", name, what, got.status, got.body)
			}
		}
	}
	s.calls(t, 1, 0)
	if got := len(s.office.Requests()); got != 1 {
		t.Errorf("IMM was asked %d times", got)
	}
	s.open(s.proof("ann"), plan)
	s.open(guest, handbook)
}

func TestUnknownIssuerCausesNoRequest(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	other := issuer.New(issuer.Options{Now: s.clock.Now, Algorithm: "ES256"})
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	for _, issuer := range []string{other.URL(), s.people.URL() + "#", s.people.URL() + "?x",
		s.people.URL() + "/",
		strings.Replace(s.people.URL(), "127.0.0.1", "localhost", 1), ""} {
		s.generate(other.Token(map[string]any{"iss": issuer}), source(handbook)).want(t, 401,
			"Unauthenticated")
	}
	if other.Requests(issuer.DiscoveryPath)+s.people.Requests(issuer.DiscoveryPath) != 0 {
		t.Error("keys were fetched")
	}
	s.untouched(t)
	s.open(s.proof("ann"), plan)
	s.open(s.proof("bob"), plan)
	if s.people.Requests(issuer.DiscoveryPath) != 1 || s.people.Requests(issuer.KeysPath) != 1 {
		t.Error("keys are not kept")
	}
}

func TestProofsThatCannotBeCheckedAreA503(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	s.people.SetFault(issuer.Outage)
	for _, document := range []string{plan, handbook} {
		if got := s.generate(s.proof("ann"), source(document)).want(t, 503,
			"ServiceUnavailable"); got.header.Get("Retry-After") != "5" {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
	}
	s.untouched(t)
	s.open(guest, handbook)
	s.people.SetFault(issuer.None)
	s.clock.Advance(5 * time.Second)
	s.open(s.proof("ann"), plan)
}

func TestPermissionWiderThanTheGrantIsCut(t *testing.T) {
	t.Parallel()
	everything := `{"Readonly":"false","Rename":"true","History":"true","Copy":"true","Export":"true","Print":"true"}`
	for name, c := range map[string]struct {
		persona, document, permission string
		want                          weboffice.Permission
	}{
		"guest asks for all": {"", handbook, everything,
			weboffice.Permission{Readonly: true, Copy: true}},
		"guest asks for nothing": {"", handbook, "",
			weboffice.Permission{Readonly: true, Copy: true}},
		"guest asks to edit": {"", handbook, `{"Readonly":false}`,
			weboffice.Permission{Readonly: true}},
		"guest asks with null": {"", handbook, `null`,
			weboffice.Permission{Readonly: true, Copy: true}},
		"guest asks for an empty one": {"", handbook, `{}`, weboffice.Permission{Readonly: true}},
		"guest asks for less (twin)": {"", handbook, `{"Readonly":true}`,
			weboffice.Permission{Readonly: true}},
		"editor asks for all (twin)": {"ann", plan, everything,
			weboffice.Permission{Rename: true, History: true, Copy: true, Export: true,
				Print: true}},
		"editor asks to read (twin)": {"ann", plan, `"{'Readonly':'true','Print':'true'}"`,
			weboffice.Permission{Readonly: true, Print: true}},
		"export without print": {"ann", plan, `{"Export":true}`, weboffice.Permission{}},
		"history while reading": {"ann", plan, `{"Readonly":true,"History":true,"Copy":true}`,
			weboffice.Permission{Readonly: true, Copy: true}},
		"no Readonly is the wish to edit": {"ann", plan, `{"Copy":true}`,
			weboffice.Permission{Copy: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, teamPolicy)
			body := source(c.document)
			if c.permission != "" {
				body = `{"Permission":` + c.permission + `,` + body[1:]
			}
			proof := guest
			if c.persona != "" {
				proof = s.proof(c.persona)
			}
			got := s.generate(proof, body).want(t, 200, "")
			if got.Permission != c.want || s.sentPermission(t) != c.want {
				t.Errorf("answered %v, sent %v, want %v", got.Permission.Grants(),
					s.sentPermission(t).Grants(), c.want.Grants())
			}
			if sent := decode[map[string]any](t, s.last(t)["Permission"]); len(sent) != 6 {
				t.Errorf("sent %v: what is left out, IMM decides", sent)
			}
		})
	}
}

// parameters that only the policy may set, each as a caller would send it.
var policyParameters = map[string]string{
	"User": `{"Id":"admin","Name":"The boss"}`, "Watermark": `{"Type":"0"}`,
	"ProjectName": `"other-project"`, "UserData": `"x"`,
	"CredentialConfig": `{"ServiceRole":"r","Chain":[{"Role":"r","RoleType":"service","AssumeRoleFor":"1"}]}`,
	"Notification":     `{"MNS":{"TopicName":"t"}}`,
	"NotifyTopicName":  `"t"`, "CachePreview": `true`, "ExternalUploaded": `"true"`,
	"Referer": `"*"`,
}

func TestParametersThatOnlyThePolicyMaySet(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	accepting := start(t, strings.Replace(teamPolicy, "    session: 8h",
		"    accept: ["+strings.Join(slices.Collect(maps.Keys(policyParameters)), ", ")+"]", 1))
	accepting.office.AddProject("other-project")
	for name, value := range policyParameters {
		body := func(document string) string {
			return `{"` + name + `":` + value + `,` +
				source(document)[1:]
		}
		s.generate(s.proof("ann"), body(plan)).want(t, 403, "Forbidden."+name)
		s.generate(guest, body(handbook)).want(t, 403, "Forbidden."+name)
		s.generate(guest, body(plan)).want(t, 401, "Unauthenticated")
		accepting.generate(accepting.proof("ann"), body(plan)).want(t, 200, "")
		if accepting.last(t)[name] == "" {
			t.Errorf("%s is accepted and not sent", name)
		}
	}
	s.untouched(t)
	s.open(s.proof("ann"), plan)
	if user := s.sentUser(t); user.Name != "Ann" {
		t.Errorf("%+v", user)
	}
}

func TestPreviewPagesOutsideItsRange(t *testing.T) {
	t.Parallel()
	limited := strings.Replace(teamPolicy, "    grant: [view, copy]\n",
		"    grant: [view, copy, edit]\n    set: {PreviewPages: 20, Hidecmb: true}\n", 1)
	s := start(t, limited)
	ask := func(value string) reply {
		return s.generate(guest, `{"PreviewPages":`+value+`,`+
			source(handbook)[1:])
	}
	for _, value := range []string{"0", "-1", `"0"`, "2.5", `"2.5"`, "5001", `""`, `"five"`, "1e1",
		"99999999999999999999", `"-5"`, `[5]`,
		`{}`, "true", `" 5"`} {
		if got := ask(value); got.status != 400 || got.Code != "InvalidPreviewPages" {
			t.Errorf("%s: %v", value, got)
		}
	}
	ask("21").want(t, 403, "Forbidden.PreviewPages")
	ask(`"5000"`).want(t, 403, "Forbidden.PreviewPages")
	s.generate(guest, `{"Hidecmb":false,`+source(handbook)[1:]).want(t, 403, "Forbidden.Hidecmb")
	s.untouched(t)
	for value, want := range map[string]string{"1": "1", "20": "20", `"7"`: "7", "null": "20"} {
		got := ask(value).want(t, 200, "")
		if sent := s.last(t); sent["PreviewPages"] != want || sent["Hidecmb"] != "true" ||
			!got.Permission.Readonly {
			t.Errorf("%s: sent %v, granted %v", value, sent, got.Permission)
		}
	}
}

// Nobody learns from a refusal which documents there are.
func TestDeniedAndAbsentAreAlike(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	linked := s.link("one", handbook, "view")
	for name, c := range map[string]struct {
		proof           weboffice.Secret
		status          int
		present, absent string
	}{
		"another team's": {s.proof("ann"), 403, bluePlan,
			"oss://team-docs/teams/blue/absent.docx"},
		"without the group":   {s.proof("eve"), 403, plan, "oss://team-docs/teams/red/absent.docx"},
		"by a deny rule":      {s.proof("cara"), 403, pay, "oss://team-docs/teams/pay/absent.xlsx"},
		"as a guest":          {guest, 401, plan, "oss://team-docs/teams/red/absent.docx"},
		"with another's link": {linked, 403, plan, "oss://team-docs/teams/red/absent.docx"},
		"in another bucket": {s.proof("ann"), 403, "oss://test-bucket/test-object.docx",
			"oss://no-such-bucket/test-object.docx"},
		"of another format": {s.proof("ann"), 403, bluePlan,
			"oss://team-docs/teams/blue/plan.exe"},
	} {
		present, absent := s.generate(c.proof, source(c.present)),
			s.generate(c.proof, source(c.absent))
		for _, r := range []reply{present, absent} {
			r.header.Del("Date")
			r.header.Del("Content-Length")
		}
		if present.status != c.status || absent.status != c.status ||
			present.withoutID() != absent.withoutID() ||
			!maps.EqualFunc(present.header, absent.header, slices.Equal) {
			t.Errorf("%s: %d %s, %d %s", name, present.status, present.body, absent.status,
				absent.body)
		}
	}
	s.untouched(t)
	s.generate(s.proof("ann"), source("oss://team-docs/teams/red/absent.docx")).want(t, 404,
		"ResourceNotFound")
	s.open(s.proof("ann"), plan)
	s.open(linked, handbook)
}

// The folder of ann's team, and a document in it whose key has so many bytes.
const team = "oss://team-docs/teams/red/"

func longKey(bytes int) string {
	return team + strings.Repeat("k", bytes-len("teams/red/.docx")) + ".docx"
}

// lookalikes are what ann asks for instead of her team's documents, and the status that refuses
// each.
var lookalikes = map[string]int{
	team + "../blue/plan.docx": 400, team + "../../teams/blue/plan.docx": 400,
	team + "./plan.docx": 400, team + "/plan.docx": 400,
	"oss://team-docs//teams/red/plan.docx": 400, "oss://team-docs/teams//red/plan.docx": 400,
	team + "%2e%2e/blue/plan.docx": 400,
	team + "..%2Fblue/plan.docx":   400, "oss://team-docs/teams/red%2Fplan.docx": 400,
	team + "%252e%252e/plan.docx": 400,
	team + "plan.docx?x=1":        400,
	team + "plan.docx#x":          400, team + `..\blue\plan.docx`: 400,
	team + "plan.docx\x00.pdf": 400,
	team + "plan\n.docx":       400,
	team + "plan.docx/":        400,
	team:                       400, "oss://team-docs/teams/red": 403, "oss://team-docs/": 400,
	"oss://team-docs": 400, longKey(1024): 400,
	"OSS://team-docs/teams/red/plan.docx": 400, "oss://Team-docs/teams/red/plan.docx": 400,
	"oss://user@team-docs/teams/red/plan.docx":                           400,
	"oss://team-docs:80/teams/red/plan.docx":                             400,
	"https://team-docs.oss-cn-shanghai.aliyuncs.com/teams/red/plan.docx": 400,
	" " + plan: 400, plan + " ": 400,
	"oss://team-docs/teams/red-2/plan.docx": 403, "oss://team-docs/teams/re/plan.docx": 403,
	"oss://team-docs/teams/RED/plan.docx": 403,
	"oss://team-docs/Teams/red/plan.docx": 403, "oss://team-docs/x/teams/red/plan.docx": 403,
	"oss://team-docs-2/teams/red/plan.docx":     403,
	"oss://team-docs/teams/red\u200b/plan.docx": 400,
	"oss://team-docs/teams/r\u0435d/plan.docx":  403,
	"oss://team-docs/teams/*/plan.docx":         403,
	"oss://team-docs/teams/${team}/plan.docx":   403, "oss://team-docs/teams/**": 403,
}

// oddKeys are their harmless twins: ann's own, and unusual.
var oddKeys = []string{
	team + "100%.docx", team + "a b+c&d=e;f,g.docx", team + "报告/2026.xlsx", team + "...docx",
	team + "%.docx", team + "~$[1]{2}(3).docx",
	longKey(1023),
}

// keysThatLookLikeAnAllowedOne asks a site that has done nothing yet for all of them.
func (s *site) keysThatLookLikeAnAllowedOne(t *testing.T) {
	t.Helper()
	ann := s.proof("ann")
	for uri, status := range lookalikes {
		got := s.generate(ann, source(uri))
		if got.status != status || got.status < 400 {
			t.Errorf("%.60q: %v, want %d", uri, got, status)
		}
	}
	if requests := s.office.Requests(); len(requests) != 0 {
		t.Fatalf("IMM was asked %d times", len(requests))
	}
	for _, uri := range append([]string{plan}, oddKeys...) {
		if err := s.office.AddDocument(uri, office.Document{Text: "text"}); err != nil {
			t.Fatal(err)
		}
		s.open(ann, uri)
		if sent := s.last(t)["SourceURI"]; sent != uri {
			t.Errorf("sent %q for %q", sent, uri)
		}
	}
}

func TestKeysThatLookLikeAnAllowedOne(t *testing.T) {
	t.Parallel()
	start(t, teamPolicy).keysThatLookLikeAnAllowedOne(t)
}

// One name in two Unicode normal forms is two names, in claims as in keys.
func TestNormalFormsAreDifferentDocuments(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	const composed, decomposed = "caf\u00e9", "cafe\u0301"
	for _, team := range []string{composed, decomposed} {
		if err := s.office.AddDocument("oss://team-docs/teams/"+team+"/plan.docx",
			office.Document{}); err != nil {
			t.Fatal(err)
		}
	}
	proof := s.proof("ann", map[string]any{"team": composed})
	s.generate(proof, source("oss://team-docs/teams/"+decomposed+"/plan.docx")).want(t, 403,
		"Forbidden")
	s.untouched(t)
	s.open(proof, "oss://team-docs/teams/"+composed+"/plan.docx")
}

func TestClaimsThatLookLikePatterns(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	for _, team := range []any{"*", "**", "r*", "{red,blue}", "re?", "[r]ed", "[", ".*", "red/",
		"/red", "red/..", "..", "", "RED", " red",
		"^red$", "red|blue", `\Qred`,
		nil, 7, true, map[string]any{"red": true}, []any{"blue"}, []any{}, []any{"red", 7},
		"${team}"} {
		if got := s.generate(s.proof("ann", map[string]any{"team": team}),
			source(plan)); got.status != 403 {
			t.Errorf("team %v: %v", team, got)
		}
	}
	for _, groups := range []any{"editor", "editors2", []any{"Editors"}, nil, true,
		[]any{[]any{"editors"}}, map[string]any{"editors": 1},
		[]any{"editors", nil}} {
		if got := s.generate(s.proof("ann", map[string]any{"groups": groups}),
			source(plan)); got.status != 403 {
			t.Errorf("groups %v: %v", groups, got)
		}
	}
	for _, claim := range []string{"team", "groups"} {
		if got := s.generate(s.withNull("ann", claim), source(plan)); got.status != 403 {
			t.Errorf("%s null: %v", claim, got)
		}
	}
	s.untouched(t)
	for _, claims := range []map[string]any{{}, {"team": []string{"blue", "red"}},
		{"groups": "editors"},
		{"groups": []string{"x", "editors"}}} {
		s.open(s.proof("ann", claims), plan)
	}
}

// A claim that a deny rule looks at cannot be left out to pass it.
func TestDenyRuleWithoutItsClaimDenies(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	for _, employment := range []any{"contractor", nil, 7, []any{"permanent", "contractor"},
		[]any{1}, map[string]any{}, []any{"contractor"}} {
		if got := s.generate(s.proof("dan", map[string]any{"employment": employment}),
			source(pay)); got.status != 403 {
			t.Errorf("employment %v: %v", employment, got)
		}
	}
	s.generate(s.withNull("dan", "employment"), source(pay)).want(t, 403, "Forbidden")
	s.untouched(t)
	s.open(s.proof("dan"), pay)
	s.open(s.withNull("dan", "email"), pay) // the twin: a null that no rule looks at
	s.open(s.proof("cara", map[string]any{"team": "red"}), plan)
}

// Whatever reads the first of two parameters and whatever reads the last must see the same.
func TestSourceURITwice(t *testing.T) {
	t.Parallel()
	s := start(t, quickStartPolicy)
	ann := s.proof("ann")
	query := "?SourceURI=" + url.QueryEscape(bluePlan)
	for name, body := range map[string]string{
		"in the body":          `{"SourceURI":"` + plan + `","SourceURI":"` + bluePlan + `"}`,
		"twice the same":       `{"SourceURI":"` + plan + `","SourceURI":"` + plan + `"}`,
		"other case beside it": `{"SourceURI":"` + plan + `","sourceURI":"` + bluePlan + `"}`,
		"other case alone":     `{"sourceuri":"` + plan + `"}`,
		"escaped":              `{"SourceURI":"` + plan + `","\u0053ourceURI":"` + bluePlan + `"}`,
		"the SDK's spelling":   `{"source_uri":"` + plan + `"}`,
		"two objects":          source(plan) + source(bluePlan), "in a list": `[` + source(plan) +
			`]`,
		"as a list":  `{"SourceURI":["` + plan + `","` + bluePlan + `"]}`,
		"null first": `{"SourceURI":null,"SourceURI":"` + plan + `"}`,
	} {
		if got := s.generate(ann, body); got.status != 400 {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.request("POST", s.generateURL+query, ann, strings.NewReader(source(plan))).want(t, 400,
		"InvalidArgument")
	s.request("POST", s.generateURL+query, ann, strings.NewReader(`{}`)).want(t, 400,
		"InvalidArgument")
	open := "SourceURI=" + url.QueryEscape(handbook)
	for _, raw := range []string{open + "&SourceURI=" + url.QueryEscape(plan),
		open + "&sourceuri=x", open + "&SourceURI%5B%5D=x",
		open + "&" + open, open + ";SourceURI=x"} {
		if got := s.request("GET", s.generateURL+"?"+raw, guest, nil); got.status != 400 {
			t.Errorf("%s: %v", raw, got)
		}
	}
	s.untouched(t)
	s.open(ann, plan)
	s.request("GET", s.generateURL+"?"+open, guest, nil).want(t, 200, "")
}

// What a platform would say in headers is not believed of anybody.
func TestSpoofedHeadersChangeNothing(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(teamPolicy, "anyone: 1000/m", "anyone: 3/m", 1))
	spoofed := func(i int) []option {
		address := fmt.Sprintf("198.51.100.%d", i)
		options := []option{header("Forwarded", "for="+address),
			header("X-Http-Method-Override", "PUT"), header("X-Original-Url", "/other"),
			header("X-Forwarded-Host", "evil.example"),
			header("X-Forwarded-Proto", "http"), header("X-Fc-Request-Id", "spoofed"),
			header("X-Fc-Access-Key-Id", "STS.spoofed"),
			header("X-Fc-Access-Key-Secret", "spoofed"),
			header("X-Fc-Security-Token", "spoofed"), header("X-Fc-Control-Path", "/initialize"),
			header("X-Fc-Region", "cn-beijing"),
			header("X-Amzn-Request-Id", "spoofed"),
			header("X-Acs-Security-Token", "spoofed"),
			header("X-Acs-Action", "RefreshWebofficeToken")}
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "True-Client-Ip",
			"Cf-Connecting-Ip", "X-Fc-Client-Ip", "X-Client-Ip",
			"X_Forwarded_For", "X_fc_client_ip"} {
			options = append(options, header(name, address))
		}
		return options
	}
	for i := range 3 {
		// signed with the role's own keys, or the stand-in would refuse
		s.generate(guest, source(handbook), spoofed(i)...).want(t, 200, "")
	}
	refused := s.generate(guest, source(handbook), spoofed(4)...).want(t, 429, "Throttling")
	if strings.Contains(refused.RequestId, "spoofed") {
		t.Error("a RequestId of the caller's is believed")
	}
	s.calls(t, 3, 0)
	for name, forged := range map[string]option{"a persona in a header": header("X-User", "ann"),
		"another Authorization": header("X-Authorization", "Bearer "+s.proof("ann").Reveal()),
		"underscores":           header("Author_ization", "Bearer "+s.proof("ann").Reveal()),
		"a cookie":              header("Cookie", "Authorization=Bearer "+s.proof("ann").Reveal()),
		"the platform's":        header("X-Fc-User", "ann"),
		"behind a proxy":        header("Proxy-Authorization", "Bearer "+s.proof("ann").Reveal())} {
		if got := s.generate(guest, source(plan), forged); got.status != 401 && got.status != 429 {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.calls(t, 3, 0)
	s.open(s.proof("ann"), plan)
}

// Who bears a link is decided by the rules for links, also where everybody else may enter.
func TestLinkOpensItsDocumentAndNoOther(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	link := s.link("one", plan, "view", "copy", "rename", "history")
	for name, uri := range map[string]string{"open to anyone": handbook, "beside it": budget,
		"another team's": bluePlan,
		"absent":         "oss://team-docs/teams/red/absent.docx"} {
		if got := s.generate(link, source(uri)); got.status != 403 || got.Code != "Forbidden" {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.generate(s.link("two", "oss://test-bucket/**", "view"),
		source("oss://test-bucket/test-object.docx")).want(t, 403, "Forbidden")
	s.generate(s.link("three", plan, "edit"), source(plan)).want(t, 403, "Forbidden")
	s.untouched(t)
	got := s.open(link, plan)
	// what both the link and the rule give
	if want := (weboffice.Permission{Readonly: true, Copy: true}); got.Permission != want {
		t.Errorf("granted %v", got.Permission.Grants())
	}
	s.open(s.link("four", "oss://team-docs/teams/*/plan.docx", "view"), bluePlan)
	s.open(guest, handbook)
}

// Whom a link names nowhere, a deny rule that looks at sub or name denies, and a rule that asks for
// them does not let in.
func TestAttackLinkThatNamesNobody(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(teamPolicy, "rules:\n", `rules:
  - {name: not for mallory, documents: oss://team-docs/teams/red/plan.docx, callers: {issuer: links, claims: {sub: mallory}}, deny: true}
  - name: people with a name
    documents: oss://team-docs/teams/red/*
    callers: {issuer: links, claims: {sub: "*", name: "*"}}
    grant: [view]
    set: {Watermark: {Type: 1, Value: "for ${name}"}}
`, 1))
	named := func(subject, name string) weboffice.Secret {
		return s.mint(caller.LinkClaims{ID: "one", Document: "oss://team-docs/teams/red/*",
			Grant:   []string{"view", "copy"},
			Subject: subject, Name: name})
	}
	for name, link := range map[string]weboffice.Secret{"mallory": named("mallory", "Mallory"),
		"nobody": named("", "Mallory")} {
		if got := s.generate(link, source(plan)); got.status != 403 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// nobody would see who it is for
	s.generate(named("bob", " "), source(plan)).want(t, 403, "Forbidden")
	s.untouched(t)
	s.open(named("bob", "Bob"), plan)
	if mark := s.last(t)["Watermark"]; !strings.Contains(mark, "for Bob") {
		t.Errorf("the watermark is %s", mark)
	}
	// the rule for all links opens, without that watermark
	for _, link := range []weboffice.Secret{named("", "Bob"), named("bob", "")} {
		if got := s.open(link, budget); !got.Permission.Copy || s.last(t)["Watermark"] != "" {
			t.Errorf("%v, watermark %q", got, s.last(t)["Watermark"])
		}
	}
}

func TestLinkThatHasEnded(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy+"revokedLinks: [gone]\n")
	s.generate(s.link("gone", plan, "view"), source(plan)).want(t, 401, "Unauthenticated")
	link := s.mint(caller.LinkClaims{ID: "short", Document: plan, Grant: []string{"view"},
		Expires: s.clock.Now().Add(time.Hour)})
	s.open(link, plan)
	s.clock.Advance(time.Hour + 61*time.Second)
	s.generate(link, source(plan)).want(t, 401, "Unauthenticated")
	foreign := startIn(t, s.world, teamPolicy)
	s.generate(foreign.link("one", plan, "view"), source(plan)).want(t, 401, "Unauthenticated")
	s.calls(t, 1, 0)
	foreign.open(foreign.link("one", plan, "view"), plan)
}

// A link without a subject is a guest at each opening; with one it is a person.
func TestLinkHoldersAsUsers(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	anonymous, named := s.link("one", plan, "view"),
		s.mint(caller.LinkClaims{ID: "two", Document: plan, Grant: []string{"view"}, Subject: "u-7",
			Name: "Zoë"})
	s.open(anonymous, plan)
	first := s.sentUser(t)
	s.open(anonymous, plan)
	if second := s.sentUser(t); first.Name != "Guest" || first.Id == second.Id {
		t.Errorf("%+v, %+v", first, second)
	}
	s.open(named, plan)
	first = s.sentUser(t)
	s.open(named, plan)
	if second := s.sentUser(t); first != second || first.Name != "Zoë" ||
		first.Id != weboffice.UserID("user-salt-3Kd8", "links", "u-7") {
		t.Errorf("%+v, %+v", first, second)
	}
}

// What only the operator can mend reaches the page as one neutral sentence.
func TestOperatorsFailuresAreNeutral(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  office.Fault
		status int
		code   string
		fix    string
	}{
		"no right": {office.NoPermission(), 502, "ServiceMisconfigured",
			`"imm:GenerateWebofficeToken","imm:RefreshWebofficeToken"],"Resource":"acs:imm:cn-shanghai:*:project/test-project"`},
		"no project": {office.Refused(404, "ResourceNotFound",
			"The specified resource acs:imm::1:project/x is not found"), 502,
			"ServiceMisconfigured", "WEBOFFICE_PROJECT"},
		"not activated": {office.Refused(400, "OperationDenied",
			"The service is not activated."), 502, "ServiceMisconfigured", "arrears"},
		"credentials ended": {office.SecurityTokenExpired(), 503, "ServiceUnavailable",
			"credentials"},
		"wrong secret": {office.SignatureDoesNotMatch(), 503, "ServiceUnavailable",
			"credentials"},
		"throttled":      {office.Throttled(7 * time.Second), 429, "Throttling", ""},
		"server error":   {office.InternalError(), 502, "BadGateway", ""},
		"a proxy's page": {office.HTML(), 502, "BadGateway", ""},
		"empty 503":      {office.Unavailable(), 503, "ServiceUnavailable", ""},
		"half an answer": {office.Truncated(), 502, "BadGateway", ""},
		"an odd answer":  {office.WrongTypes(), 502, "BadGateway", ""},
		"document not there": {office.Refused(404, "ResourceNotFound",
			"The specified resource oss://team-docs/x is not found"), 404,
			"ResourceNotFound", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, teamPolicy)
			s.office.Fail(office.Generate, 1, c.fault)
			got := s.generate(s.proof("ann"), source(plan)).want(t, c.status, c.code)
			for _, inside := range []string{"acs:imm", "STS.", "NoPermission", "SecurityToken",
				"test-project", "html", "WEBOFFICE_"} {
				if strings.Contains(got.body, inside) {
					t.Errorf("the page learns of %s: %s", inside, got.body)
				}
			}
			if c.code == "Throttling" && got.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
			}
			line := s.decision()
			if fix, _ := line["fix"].(string); !strings.Contains(fix, c.fix) ||
				(fix == "") != (c.fix == "") {
				t.Errorf("fix %q", fix)
			}
			if line["outcome"] != c.code || line["requestId"] != got.RequestId &&
				line["immRequestId"] != got.RequestId {
				t.Errorf("the page's RequestId %s is not in %v", got.RequestId, line)
			}
			s.open(s.proof("ann"), plan)
		})
	}
}

// startFails starts a process that must not start, and returns why.
func startFails(t *testing.T, s *site, policy string, overrides ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(policy, "ISSUER", s.people.URL())),
		0o600); err != nil {
		t.Fatal(err)
	}
	environment := maps.Clone(s.environment)
	environment["WEBOFFICE_POLICY_FILE"] = file
	for pair := range slices.Chunk(overrides, 2) {
		environment[pair[0]] = pair[1]
	}
	built, err := app.New(func(name string) string { return environment[name] }, s.clock.Now,
		slog.New(slog.DiscardHandler))
	if err == nil || built != nil {
		t.Fatalf("it starts with %q", overrides)
	}
	for variable, value := range environment {
		if strings.Contains(variable, "KEY") && len(value) > 7 &&
			strings.Contains(err.Error(), value) {
			t.Errorf("%s is shown in: %v", variable, err)
		}
	}
	return err.Error()
}

func TestBadConfigurationDoesNotStart(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	good := encodeKey(newKey())
	raw := func(text string) string { return encodeKey(weboffice.Secret(text)) }
	counting := func() (text string) {
		for i := range 32 {
			text += string([]byte{byte(i)})
		}
		return text
	}()
	for name, c := range map[string]struct{ variable, value, says string }{
		"no session key": {"WEBOFFICE_SESSION_KEYS", "", "not set"},
		"short key": {"WEBOFFICE_SESSION_KEYS", raw(string([]byte(newKey())[:31])),
			"not the base64 of 32 bytes"},
		"long key": {"WEBOFFICE_SESSION_KEYS", raw(string([]byte(newKey())) + "x"),
			"not the base64 of 32 bytes"},
		"no base64": {"WEBOFFICE_SESSION_KEYS", "§" + good, "not the base64 of 32 bytes"},
		"key of zeros": {"WEBOFFICE_SESSION_KEYS", raw(strings.Repeat("\x00", 32)),
			"no random key"},
		"key of one byte": {"WEBOFFICE_SESSION_KEYS", raw(strings.Repeat("\xa7", 32)),
			"no random key"},
		"key of a pattern": {"WEBOFFICE_SESSION_KEYS", raw(strings.Repeat("\x01\xfe", 16)),
			"no random key"},
		"counting key": {"WEBOFFICE_SESSION_KEYS", raw(counting), "no random key"},
		"example key": {"WEBOFFICE_SESSION_KEYS", raw("0123456789abcdef0123456789abcdef"),
			"no random key"},
		"password for a key": {"WEBOFFICE_SESSION_KEYS", raw("correct horse battery staple 123"),
			"no random key"},
		"repeated key": {"WEBOFFICE_SESSION_KEYS", good + "," + good, "key 2 is there twice"},
		"repeated in other words": {"WEBOFFICE_SESSION_KEYS",
			good + ", " + strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(good),
				"="), "key 2 is there twice"},
		"bad second key": {"WEBOFFICE_SESSION_KEYS", good + ",", "key 2"},
		"link key that seals": {"WEBOFFICE_LINK_KEYS", s.environment["WEBOFFICE_SESSION_KEYS"],
			"holds a session key"},
		"weak link key": {"WEBOFFICE_LINK_KEYS", raw(strings.Repeat("k1", 16)),
			"no random key"},
		"no link key": {"WEBOFFICE_LINK_KEYS", "", "WEBOFFICE_LINK_KEYS is not set"},
		"no region":   {"WEBOFFICE_REGION", "", "WEBOFFICE_REGION"},
		"foreign endpoint": {"WEBOFFICE_IMM_ENDPOINT",
			"imm.cn-shanghai.aliyuncs.com.evil.example", "WEBOFFICE_IMM_ENDPOINT"},
		"plain http": {"WEBOFFICE_IMM_ENDPOINT", "http://imm.cn-shanghai.aliyuncs.com",
			"WEBOFFICE_IMM_ENDPOINT"},
		"no loopback": {"WEBOFFICE_IMM_ENDPOINT", "http://192.0.2.1:8081",
			"WEBOFFICE_IMM_ENDPOINT"},
		"long-lived AccessKey": {"ALIBABA_CLOUD_SECURITY_TOKEN", "", "long-lived AccessKey"},
		"no policy": {"WEBOFFICE_POLICY_FILE", "/nowhere/policy.yaml",
			"WEBOFFICE_POLICY_FILE"},
		"bad log level":          {"LOG_LEVEL", "LOUD", "LOG_LEVEL"},
		"the SDK's debug output": {"DEBUG", "dara", "DEBUG"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if why := startFails(t, s, teamPolicy, c.variable, c.value); !strings.Contains(why,
				c.says) {
				t.Errorf("it says: %s", why)
			}
		})
	}
	twin := s.another(teamPolicy, "WEBOFFICE_SESSION_KEYS", good+", "+encodeKey(newKey()),
		"LOG_LEVEL", "WARN", "DEBUG", "1")
	twin.open(guest, handbook)
}

func TestBadPolicyDoesNotStart(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	for name, c := range map[string]struct{ policy, says string }{
		"unknown key": {strings.Replace(teamPolicy, "grant: [view, copy]",
			"grants: [view, copy]", 1), "24:5"},
		"unknown grant": {strings.Replace(teamPolicy, "grant: [view, copy]",
			"grant: [view, fly]", 1), "fly"},
		"no grant": {strings.Replace(teamPolicy, "grant: [view, copy]", "grant: []",
			1), "24:12"},
		"unknown issuer": {strings.Replace(teamPolicy, "{issuer: links}",
			"{issuer: strangers}", 1), "issuer"},
		"origin of everybody": {strings.Replace(teamPolicy, `"http://localhost:5173"`, `"*"`,
			1), "origin"},
		"issuer without TLS": {strings.Replace(teamPolicy, "ISSUER",
			"http://login.example.com", 1), "https"},
		"issuer without audience": {strings.Replace(teamPolicy, "audience: weboffice, ", "", 1),
			"audience"},
		"guests who may choose a project": {strings.Replace(teamPolicy, "    grant: [view, copy]\n",
			"    grant: [view, copy]\n    accept: [ProjectName]\n", 1), "ProjectName"},
		"empty":   {"", "policy"},
		"no YAML": {"rules: [", "policy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if why := startFails(t, s, c.policy); !strings.Contains(why, c.says) {
				t.Errorf("it says: %s", why)
			}
		})
	}
}

// A policy that lets anyone be anybody is for a stand-in on this machine.
func TestStandInPolicyNeedsALoopbackEndpoint(t *testing.T) {
	t.Parallel()
	s := start(t, scenarioPolicy)
	for _, endpoint := range []string{"", "imm.cn-shanghai.aliyuncs.com",
		"imm-vpc.cn-shanghai.aliyuncs.com"} {
		if why := startFails(t, s, scenarioPolicy, "WEBOFFICE_IMM_ENDPOINT",
			endpoint); !strings.Contains(why, "standIn") {
			t.Errorf("it says: %s", why)
		}
	}
	s.open(guest, "oss://test-bucket/test-object.docx")
	// starts without a request
	s.another(teamPolicy, "WEBOFFICE_IMM_ENDPOINT", "imm.cn-shanghai.aliyuncs.com")
}

func TestAllProblemsAreReportedTogether(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	why := startFails(t, s, strings.NewReplacer("grant: [view, copy]", "grant: [view, fly]",
		"maxAge: 24h",
		"maxAge: soon").Replace(teamPolicy),
		"WEBOFFICE_SESSION_KEYS", "short,", "WEBOFFICE_LINK_KEYS", "x", "WEBOFFICE_REGION",
		"Shanghai", "WEBOFFICE_IMM_ENDPOINT", "evil.example",
		"ALIBABA_CLOUD_SECURITY_TOKEN", "", "LOG_LEVEL", "?", "DEBUG", "tea")
	for _, part := range []string{"SESSION_KEYS: key 1", "SESSION_KEYS: key 2", "LINK_KEYS: key 1",
		"WEBOFFICE_REGION", "SECURITY_TOKEN",
		"LOG_LEVEL", "DEBUG", "fly", "30m or 8h"} {
		if !strings.Contains(why, part) {
			t.Errorf("%s is missing in: %s", part, why)
		}
	}
}

// An address where nobody listens: the page gets a sentence, and the log no URL.
func TestIMMThatCannotBeReached(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	closed := s.another(teamPolicy, "WEBOFFICE_IMM_ENDPOINT", "http://127.0.0.1:1")
	closed.generate(closed.proof("ann"),
		object("SourceURI", plan, "Password", "hunter2-hunter2")).want(t, 503, "ServiceUnavailable")
	if text := closed.logs.String(); strings.Contains(text, "hunter2") ||
		strings.Contains(text, "SourceURI=") {
		t.Error("the log has the request's query")
	}
	line := closed.decision()
	if line["billed"] != 0.0 || line["maybeBilled"] != false || line["fix"] == nil {
		t.Errorf("%v", line)
	}
	s.open(s.proof("ann"), plan)
}
