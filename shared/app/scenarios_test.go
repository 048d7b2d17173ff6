package app_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// scenarioPolicy takes every parameter of the vendor's scenarios from anyone, as only a policy for
// a stand-in may.
const scenarioPolicy = `
project: test-project
origins: [https://docs.example.com]
standIn: true
quickStart: true
limits: {anyone: 1000/m, caller: 1000/m}
rules:
  - name: everything
    documents: oss://test-bucket/**
    callers: anyone
    grant: [view, edit, rename, history, copy, print, export]
    accept: [ProjectName, UserData, User, Watermark]
`

// scenarios are the vendor's, with its parameters and spellings, and what has to reach IMM of each.
// Permission is compared by value.
var scenarios = []struct {
	name, body string
	wire       map[string]string // without Permission, and without User where the caller sends none
	granted    weboffice.Permission
}{
	{"quick start", `{"ProjectName": "test-project", "SourceURI": "oss://test-bucket/test-object.docx", "Filename": "test-object.docx",
		"UserData": "{\"fid\": \"123\"}", "PreviewPages": 3, "Permission": "{\"Rename\": \"true\", \"Readonly\": \"false\"}",
		"User": "{\"Id\": \"test\", \"Name\": \"testuser\", \"Avatar\": \"http://xx.com/avatar.jpg\"}",
		"Watermark": "{\"Type\": \"1\", \"Value\": \"imm\"}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx",
			"UserData": `{"fid": "123"}`, "PreviewPages": "3",
			"User":      `{"Id":"test","Name":"testuser","Avatar":"http://xx.com/avatar.jpg"}`,
			"Watermark": `{"Type":1,"Value":"imm"}`},
		weboffice.Permission{Readonly: true, Rename: true}}, // PreviewPages is for previews only
	{"read-only PDF", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.pdf", "Filename" : "test-object.docx",
		"PreviewPages" : "5", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.pdf", "PreviewPages": "5"},
		weboffice.Permission{Readonly: true}},
	{"upper-case extension", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.DOCX", "Filename" : "test-object.docx",
		"PreviewPages" : "5", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.DOCX", "PreviewPages": "5"},
		weboffice.Permission{Readonly: true}},
	{"first five pages", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.docx", "Filename" : "test-object.docx",
		"PreviewPages" : "5", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx", "PreviewPages": "5"},
		weboffice.Permission{Readonly: true}},
	{"password", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.docx", "Filename" : "test-object.docx",
		"Password" : "123456", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx", "Password": "123456"},
		weboffice.Permission{Readonly: true}},
	{"watermark", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.docx", "Filename" : "test-object.docx",
		"Watermark" : "{'Type':'1','Value':'watermark_value','Font':'bold 20px Serif'}", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx",
			"Watermark": `{"Type":1,"Value":"watermark_value","Font":"bold 20px Serif"}`},
		weboffice.Permission{Readonly: true}},
	{"Chinese watermark", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.docx", "Filename" : "test-object.docx",
		"Watermark" : "{'Type':'1','Value':'水印值','Font':'bold 20px Serif'}", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx",
			"Watermark": `{"Type":1,"Value":"水印值","Font":"bold 20px Serif"}`},
		weboffice.Permission{Readonly: true}},
	{"hidden toolbar", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.docx", "Filename" : "test-object.docx",
		"Hidecmb" : "true", "Permission" : "{'Readonly':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx", "Hidecmb": "true"},
		weboffice.Permission{Readonly: true}},
	{"all rights", `{"ProjectName" : "test-project", "SourceURI" : "oss://test-bucket/test-object.docx", "Filename" : "test-object.docx",
		"Permission" : "{'Readonly':'false','History':'true','Copy':'true','Print':'true','Export':'true'}"}`,
		map[string]string{"SourceURI": "oss://test-bucket/test-object.docx"},
		weboffice.Permission{History: true, Copy: true, Print: true, Export: true}},
}

func TestVendorScenariosOpenAndRefresh(t *testing.T) {
	t.Parallel()
	for _, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, scenarioPolicy)
			opened := s.generate(guest, scenario.body).want(t, 200, "")
			wantAnswer(t, opened, scenario.granted)
			if opened.Timeout != 30*60*1000 ||
				!opened.AccessTokenExpiredTime.Equal(s.clock.Now().Add(30*time.Minute)) {
				t.Errorf("Timeout %d, %v", opened.Timeout, opened.AccessTokenExpiredTime)
			}
			s.calls(t, 1, 0)
			wantWire(t, s.last(t), scenario.wire, scenario.granted)

			early := s.refresh(guest, opened).want(t, 200, "")
			if early.AccessToken != opened.AccessToken ||
				early.RefreshToken != opened.RefreshToken ||
				early.WebofficeURL != opened.WebofficeURL {
				t.Error("a refresh of fresh tokens gives others")
			}
			s.calls(t, 1, 0)

			s.clock.Advance(25 * time.Minute)
			renewed := s.refresh(guest, opened).want(t, 200, "")
			wantAnswer(t, renewed, scenario.granted)
			s.calls(t, 1, 1)
			if renewed.WebofficeURL != opened.WebofficeURL ||
				renewed.AccessToken == opened.AccessToken ||
				renewed.RefreshToken == opened.RefreshToken {
				t.Error("the refreshed answer has another WebofficeURL or the old tokens")
			}
			sent := s.last(t)
			if got := slices.Sorted(maps.Keys(sent)); !slices.Equal(got,
				[]string{"AccessToken", "ProjectName", "RefreshToken"}) {
				t.Errorf("IMM got %v", got)
			}
			if sent["AccessToken"] != opened.AccessToken ||
				strings.Contains(opened.RefreshToken, sent["RefreshToken"]) ||
				len(opened.RefreshToken) > 2000 {
				t.Errorf("the sealed token has %d characters, or IMM's own shows in it",
					len(opened.RefreshToken))
			}
		})
	}
}

// wantAnswer wants exactly the vendor's six fields, Timeout and Permission.
func wantAnswer(t *testing.T, r reply, granted weboffice.Permission) {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(r.body), &members); err != nil {
		t.Fatal(err)
	}
	want := []string{"AccessToken", "AccessTokenExpiredTime", "Permission", "RefreshToken",
		"RefreshTokenExpiredTime", "RequestId", "Timeout",
		"WebofficeURL"}
	if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got, want) {
		t.Errorf("the answer has %v", got)
	}
	for _, name := range want {
		if text := string(members[name]); text == `""` || text == "null" ||
			strings.Contains(text, `\u`) {
			t.Errorf("%s is %s", name, text)
		}
	}
	if decode[map[string]bool](t, string(members["Permission"])); r.Permission != granted {
		t.Errorf("granted %v, want %v", r.Permission.Grants(), granted.Grants())
	}
	if !strings.HasSuffix(r.AccessTokenExpiredTime.Format(time.RFC3339Nano), "Z") ||
		r.header.Get("Content-Type") != "application/json" {
		t.Errorf("the time is not UTC, or the answer not JSON: %v", r.header)
	}
}

// wantWire wants exactly these parameters in a Generate, with a guest's User where none is
// expected.
func wantWire(t *testing.T, got, want map[string]string, granted weboffice.Permission) {
	t.Helper()
	want = maps.Clone(want)
	want["ProjectName"] = "test-project"
	want["Filename"] = "test-object.docx"
	for name, value := range got {
		switch name {
		case "Permission":
			sent := decode[map[string]bool](t, value)
			if p := decode[weboffice.Permission](t, value); p != granted || len(sent) != 6 {
				t.Errorf("Permission %s", value)
			}
		case "User", "Watermark":
			sent := decode[map[string]any](t, value)
			if want[name] == "" && name == "User" {
				if id, _ := sent["Id"].(string); len(id) != 15 || sent["Name"] != "Guest" ||
					len(sent) != 2 {
					t.Errorf("the guest's User is %s", value)
				}
			} else if !reflect.DeepEqual(sent, decode[map[string]any](t, want[name])) {
				t.Errorf("%s is %s, want %s", name, value, want[name])
			}
		default:
			if value != want[name] {
				t.Errorf("%s is %q, want %q", name, value, want[name])
			}
		}
		delete(want, name)
	}
	if len(want) > 0 || got["Permission"] == "" || got["User"] == "" {
		t.Errorf("IMM did not get %v, or no Permission or User", want)
	}
}

// The quick start's page calls its URLs with jQuery's $.get: parameters in the query, none but the
// page's own Origin.
func TestQuickStartPageIsServedByGET(t *testing.T) {
	t.Parallel()
	s := start(t, scenarioPolicy)
	query := url.Values{"SourceURI": {"oss://test-bucket/test-object.docx"},
		"Permission[Readonly]": {"true"}, "Permission[Copy]": {"true"}}
	opened := s.get(s.generateURL, query).want(t, 200, "")
	wantAnswer(t, opened, weboffice.Permission{Readonly: true, Copy: true})
	if opened.header.Get("Access-Control-Allow-Origin") != origin {
		t.Error("the page cannot read the answer")
	}
	s.clock.Advance(20 * time.Minute)
	renewed := s.get(s.refreshURL, url.Values{"RefreshToken": {opened.RefreshToken},
		"AccessToken": {opened.AccessToken}}).want(t, 200, "")
	wantAnswer(t, renewed, opened.Permission)
	s.calls(t, 1, 1)
}

func (s *site) get(address string, query url.Values, options ...option) reply {
	s.t.Helper()
	return s.request(http.MethodGet, address+"/any/path?"+query.Encode(), guest, nil, options...)
}

func TestGETThatMustBeRefused(t *testing.T) {
	t.Parallel()
	fine := url.Values{"SourceURI": {"oss://test-bucket/test-object.docx"}}
	locked := url.Values{"SourceURI": {"oss://test-bucket/test-object.docx"},
		"Password": {"123456"}}
	withIssuer := strings.Replace(scenarioPolicy, "rules:",
		"issuers:\n  staff: {url: \"ISSUER\", audience: weboffice}\nrules:", 1)
	t.Run("a password in a URL", func(t *testing.T) {
		t.Parallel()
		s := start(t, scenarioPolicy)
		s.get(s.generateURL, locked).want(t, 400, "InvalidArgument.Password")
		s.untouched(t)
		s.get(s.generateURL, fine).want(t, 200, "")
		s.generate(guest, object("SourceURI", fine.Get("SourceURI"), "Password", "123456")).want(t,
			200, "")
	})
	t.Run("a proof", func(t *testing.T) {
		t.Parallel()
		s := start(t, withIssuer)
		refused := s.get(s.generateURL, fine,
			header("Authorization", "Bearer "+s.proof("ann").Reveal())).want(t, 405,
			"MethodNotAllowed")
		if refused.header.Get("Allow") != "POST, OPTIONS" {
			t.Errorf("Allow: %q", refused.header.Get("Allow"))
		}
		s.untouched(t)
		s.get(s.generateURL, fine).want(t, 200, "")
		s.open(s.proof("ann"), fine.Get("SourceURI"))
	})
	t.Run("a bad proof", func(t *testing.T) {
		t.Parallel()
		s := start(t, withIssuer)
		s.get(s.generateURL, fine, header("Authorization", "Bearer x")).want(t, 401,
			"Unauthenticated")
		s.untouched(t)
	})
	t.Run("a policy without quickStart", func(t *testing.T) {
		t.Parallel()
		s := start(t, strings.Replace(scenarioPolicy, "quickStart: true", "", 1))
		for _, address := range []string{s.generateURL, s.refreshURL} {
			if refused := s.get(address, fine).want(t, 405, "MethodNotAllowed"); refused.header.Get(
				"Allow") != "POST, OPTIONS" {
				t.Errorf("Allow: %q", refused.header.Get("Allow"))
			}
		}
		s.untouched(t)
		s.open(guest, fine.Get("SourceURI"))
	})
	t.Run("a document that is not open to anyone", func(t *testing.T) {
		t.Parallel()
		s := start(t, strings.Replace(teamPolicy, "project:", "quickStart: true\nproject:", 1))
		s.get(s.generateURL, url.Values{"SourceURI": {plan}}).want(t, 401, "Unauthenticated")
		s.untouched(t)
		s.get(s.generateURL, url.Values{"SourceURI": {handbook}}).want(t, 200, "")
	})
	t.Run("a query that cannot be read", func(t *testing.T) {
		t.Parallel()
		s := start(t, scenarioPolicy)
		for _, query := range []string{"SourceURI=%zz", "SourceURI=a;b=c", "",
			"SourceURI=" + url.QueryEscape(fine.Get("SourceURI")) + "&_=1"} {
			if got := s.request(http.MethodGet, s.generateURL+"/?"+query, guest,
				nil); got.status != 400 {
				t.Errorf("%s: %v", query, got)
			}
		}
		s.untouched(t)
	})
}

// A person's name goes as it is; if IMM refuses it, once more in its documented alphabet, and the
// instance remembers.
func TestUserNameThatIMMRefusesIsSentPlainly(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	s.office.SetSwitches(office.Switches{UserNameStrict: true})
	ann := s.proof("ann", map[string]any{"name": "安娜 Ann Lee"})
	opened := s.open(ann, plan)
	requests := s.office.Requests()
	if len(requests) != 2 || requests[0].Code == "" ||
		!strings.Contains(requests[0].Parameters["User"], "安娜 Ann Lee") ||
		s.sentUser(t).Name != "_Ann_Lee" {
		t.Fatalf("IMM got %+v", requests)
	}
	s.calls(t, 1, 0)
	s.open(ann, budget)
	if requests := s.office.Requests(); len(requests) != 3 || s.sentUser(t).Name != "_Ann_Lee" {
		t.Fatalf("the instance has forgotten: %+v", requests)
	}
	s.clock.Advance(15 * time.Minute)
	s.refresh(ann, opened).want(t, 200, "")
	s.calls(t, 2, 1)

	// A stand-in that takes any name gets it unchanged.
	other := start(t, teamPolicy)
	other.open(other.proof("ann", map[string]any{"name": "安娜 Ann Lee"}), plan)
	if name := other.sentUser(t).Name; name != "安娜 Ann Lee" {
		t.Errorf("name %q", name)
	}
	other.calls(t, 1, 0)
}

func TestUserIsAlwaysSent(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	s.open(s.proof("ann", map[string]any{"picture": "https://people.example.com/ann.png"}), plan)
	ann := s.sentUser(t)
	want := weboffice.User{Id: weboffice.UserID("user-salt-3Kd8", s.people.URL(), "ann"),
		Name:   "Ann",
		Avatar: "https://people.example.com/ann.png"}
	if ann != want {
		t.Errorf("Ann is %+v, want %+v", ann, want)
	}
	s.open(s.proof("ann"), budget)
	if again := s.sentUser(t); again.Id != ann.Id {
		t.Error("Ann is another person the second time")
	}
	s.open(s.proof("bob"), plan)
	if bob := s.sentUser(t); bob.Id == ann.Id || bob.Name != "Bob" {
		t.Errorf("Bob is %+v", bob)
	}
	first := s.open(guest, handbook)
	one := s.sentUser(t)
	s.open(guest, handbook)
	if two := s.sentUser(t); one.Name != "Guest" || one.Id == two.Id || len(one.Id) != 15 {
		t.Errorf("guests %+v and %+v", one, two)
	}

	// A guest stays the same person when a refresh has to generate.
	s.clock.Advance(30 * time.Minute)
	s.office.Fail(office.Refresh, 1, office.Refused(400, "InvalidRefreshToken", "no"))
	s.refresh(guest, first).want(t, 200, "")
	if later := s.sentUser(t); later != one {
		t.Errorf("the guest was %+v and is %+v", one, later)
	}
}
