package app_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// hunt looks for secrets in text, in every form in which one is likely to be written down.
type hunt struct {
	forms map[string]string // to the secret's name
}

func (h *hunt) add(name, secret string) {
	if len(secret) < 8 {
		panic("too short a secret to be found: " + name)
	}
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret),
		hex.EncodeToString([]byte(secret)),
		strings.ToUpper(hex.EncodeToString([]byte(secret))),
		base64.RawURLEncoding.EncodeToString([]byte(secret)), fmt.Sprint([]byte(secret))} {
		h.forms[form] = name
	}
}

// found lists the secrets in a text.
func (h *hunt) found(text string) (names []string) {
	for form, name := range h.forms {
		if strings.Contains(text, form) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const password = "zq-password-4Vt6"

// visits sends requests of every kind, successful and not, and returns what they made secret
// besides the environment.
func visits(t *testing.T, s *site, h *hunt) {
	t.Helper()
	known := func(name string, token weboffice.Secret) weboffice.Secret {
		h.add(name, token.Reveal())
		if parts := strings.Split(token.Reveal(), "."); len(parts) == 3 {
			h.add(name+"'s claims", parts[1])
			h.add(name+"'s signature", parts[2])
		}
		return token
	}
	ann, eve := known("ann's proof", s.proof("ann")), known("eve's proof", s.proof("eve"))
	link, ended := known("a share link", s.link("one", plan, "view", "copy")),
		known("a revoked link", s.link("gone", plan, "view"))
	locked := object("SourceURI", plan, "Password", password)

	// What goes well.
	opened := s.generate(ann, locked).want(t, 200, "")
	guests := s.open(guest, handbook)
	linked := s.open(link, plan)
	s.refresh(ann, opened).want(t, 200, "")
	s.clock.Advance(due)
	renewed := s.refresh(ann, opened).want(t, 200, "")
	s.refresh(ann, opened).want(t, 200, "")
	s.refresh(guest, guests).want(t, 200, "")
	narrowed := s.another(strings.Replace(quickStartPolicy, "copy, print, export]\n", "print]\n",
		1) + "revokedLinks: [gone]\n")
	narrowed.refresh(ann, renewed).want(t, 200, "")

	// What does not.
	s.generate(eve, locked).want(t, 403, "Forbidden")
	s.generate(ended, locked).want(t, 401, "Unauthenticated")
	s.refresh(eve, opened).want(t, 400, "InvalidArgument.RefreshToken")
	s.refresh(link, opened).want(t, 400, "InvalidArgument.RefreshToken")
	s.refresh(ann, reply{AccessToken: linked.AccessToken, RefreshToken: renewed.RefreshToken}).want(
		t, 400, "InvalidArgument.RefreshToken")
	for _, body := range []string{tokensOf(opened)[:40], `{"Password":"` + password,
		`{"Password":["` + password + `"],"SourceURI":"` + plan + `"}`,
		object("SourceURI", plan+"?"+password),
		object("SourceURI", "https://b.oss-cn-shanghai.aliyuncs.com/x?Signature="+password),
		object("SourceURI", plan, "Permission", password),
		object("SourceURI", plan, "Password", strings.Repeat(password, 100)),
		object("SourceURI", plan, "User", `{"Id":"`+password+`"}`),
		`{"SourceURI":"` + plan + `","Password":"` + password + `","Password":"` + password + `"}`,
		object("SourceURI", plan, password+" "+password, "x"),
		object("SourceURI", plan, "PreviewPages", password),
		object("SourceURI", plan, "Filename", password+".exe")} {
		for _, address := range []string{s.generateURL, s.refreshURL} {
			if got := s.request("POST", address, ann, strings.NewReader(body)); got.status < 400 {
				t.Errorf("%.60s: %v", body, got)
			}
			if got := s.request("POST", address, ann, strings.NewReader(body),
				header("Content-Type", "text/plain")); got.status != 415 {
				t.Errorf("%.60s: %v", body, got)
			}
		}
	}
	for name, options := range badProofs(s) {
		if got := s.generate(guest, locked, options...); got.status != 401 {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, query := range []url.Values{{"SourceURI": {handbook}, "Password": {password}},
		{"SourceURI": {handbook}, "token": {ann.Reveal()}},
		{"AccessToken": {opened.AccessToken}, "RefreshToken": {opened.RefreshToken, "x"}},
		{"SourceURI": {plan + "?" + password}}} {
		for _, address := range []string{s.generateURL, s.refreshURL} {
			if got := s.get(address, query); got.status < 400 {
				t.Errorf("%v: %v", query, got)
			}
		}
		s.request("POST", s.generateURL+"?"+query.Encode(), ann, strings.NewReader(locked)).want(t,
			400, "InvalidArgument")
		s.request("DELETE", s.generateURL+"/"+password+"?"+query.Encode(), ann, nil).want(t, 405,
			"MethodNotAllowed")
		s.request("POST", s.generateURL+"?"+query.Encode(), ann, strings.NewReader(locked),
			header("Origin", "https://evil.example/"+password)).want(t, 403, "Forbidden.Origin")
	}

	// What IMM does to us: failures of every kind on both calls, and answers that repeat what they
	// were sent.
	failing := s.open(guest, handbook)
	s.clock.Advance(due)
	for _, fault := range []office.Fault{
		office.Throttled(time.Second), office.NoPermission(), office.SecurityTokenExpired(),
		office.SignatureDoesNotMatch(),
		office.InternalError(), office.HTML(),
		office.Unavailable(), office.Cut(), office.Cut().AfterWork(), office.Truncated(),
		office.WrongTypes(), office.UserNameRefused(),
	} {
		s.office.Fail(office.Generate, 1, fault)
		s.generate(ann, locked)
		s.office.Fail("", 2, fault)
		s.refresh(guest, failing)
		s.office.ClearFaults()
	}
	s.office.Fail(office.Generate, 1, office.Refused(400, "InvalidArgument.Password",
		"The password "+password+" does not open the document."))
	s.generate(ann, locked).want(t, 400, "InvalidArgument.Password")
	s.office.Fail(office.Refresh, 1, office.Refused(403, "OperationDenied",
		"The token "+failing.AccessToken+" is not valid."))
	s.refresh(guest, failing)
	unreachable := s.another(quickStartPolicy, "WEBOFFICE_IMM_ENDPOINT", "http://127.0.0.1:1")
	unreachable.generate(ann, locked).want(t, 503, "ServiceUnavailable")
	unreachable.refresh(guest, failing).want(t, 503, "ServiceUnavailable")

	// What the identity provider does to us.
	for _, fault := range []issuer.Fault{issuer.Outage, issuer.Cut, issuer.Malformed,
		issuer.WrongIssuer,
		issuer.Huge} {
		s.people.SetFault(fault)
		s.another(quickStartPolicy).generate(ann, locked).want(t, 503, "ServiceUnavailable")
	}
	s.people.RedirectTo("https://" + password + ".example")
	s.another(quickStartPolicy).generate(ann, locked).want(t, 503, "ServiceUnavailable")
	s.people.SetFault(issuer.None)
}

func TestNoSecretIsWrittenDown(t *testing.T) {
	t.Parallel()
	s := start(t, quickStartPolicy+"revokedLinks: [gone]\n", "LOG_LEVEL", "DEBUG",
		"WEBOFFICE_SESSION_KEYS",
		encodeKey(newKey())+","+encodeKey(newKey()))
	h := &hunt{forms: map[string]string{}}
	h.add("a password", password)
	h.add("the salt", s.environment["WEBOFFICE_USER_SALT"])
	h.add("the access key's secret", s.environment["ALIBABA_CLOUD_ACCESS_KEY_SECRET"])
	h.add("the security token", s.environment["ALIBABA_CLOUD_SECURITY_TOKEN"])
	h.add("a link key", s.environment["WEBOFFICE_LINK_KEYS"])
	h.add("a link key", s.linkKey.Reveal())
	for key := range strings.SplitSeq(s.environment["WEBOFFICE_SESSION_KEYS"], ",") {
		h.add("a session key", key)
		raw, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		h.add("a session key", string(raw))
	}
	visits(t, s, h)
	for _, got := range s.replies {
		if got.status == 200 {
			h.add("a sealed token", got.RefreshToken)
			h.add("an access token", got.AccessToken)
		}
	}
	for _, request := range s.office.Requests() {
		for name, value := range request.Parameters {
			switch name {
			case "RefreshToken":
				h.add("IMM's refresh token", value)
			case "AccessToken":
				h.add("an access token", value)
			case "User", "SourceURI":
				h.add("IMM's query", name+"="+url.QueryEscape(value))
			}
		}
	}
	h.add("a request's query", "SourceURI="+url.QueryEscape(handbook))

	// The hunt finds what is there.
	planted := strings.Join(slices.Collect(func(yield func(string) bool) {
		for form := range h.forms {
			if !yield(form) {
				return
			}
		}
	}), " ")
	kinds := h.found(planted)
	for _, name := range []string{"a link key", "a password", "a request's query", "a revoked link",
		"a sealed token", "a session key",
		"a share link's signature",
		"an access token", "ann's proof", "IMM's query", "IMM's refresh token",
		"the access key's secret", "the salt", "the security token"} {
		if !slices.Contains(kinds, name) {
			t.Errorf("no %s has been hunted for", name)
		}
	}

	text := ""
	for _, log := range s.logged {
		text += log.String()
	}
	if lines := len(s.decisions()); lines < 40 || !strings.Contains(text, `"level":"WARN"`) ||
		!strings.Contains(text, `"level":"ERROR"`) {
		t.Fatalf("%d decisions: too little has been logged to be searched", lines)
	}
	for line := range strings.Lines(text) {
		if names := h.found(line); names != nil {
			t.Errorf("%v in the log: %s", names, line)
		}
	}
	successes, failures := 0, 0
	for _, got := range s.replies {
		body := got.body
		if got.status == 200 { // what the page is owed
			successes++
			body = strings.ReplaceAll(strings.ReplaceAll(body, got.RefreshToken, ""),
				got.AccessToken, "")
		} else {
			failures++
		}
		if names := h.found(body + fmt.Sprint(got.header)); names != nil {
			t.Errorf("%v in the answer %d %s %v", names, got.status, got.body, got.header)
		}
	}
	if successes < 8 || failures < 80 {
		t.Errorf("%d successes and %d failures: too few to be searched", successes, failures)
	}
}

// What is wrong with a process is said without what is secret about it.
func TestNoSecretInTheLogsOfFailingProcesses(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	h := &hunt{forms: map[string]string{}}
	h.add("a password", password)
	ann := s.proof("ann")
	h.add("a proof", ann.Reveal())
	locked := object("SourceURI", plan, "Password", password)
	opened := s.generate(ann, locked).want(t, 200, "")
	h.add("an access token", opened.AccessToken)
	h.add("a sealed token", opened.RefreshToken)
	s.clock.Advance(due)
	for name, change := range map[string][]string{
		"IMM unreachable":   {"WEBOFFICE_IMM_ENDPOINT", "http://127.0.0.1:1"},
		"wrong secret":      {"ALIBABA_CLOUD_ACCESS_KEY_SECRET", "zq-wrong-secret"},
		"wrong token":       {"ALIBABA_CLOUD_SECURITY_TOKEN", "zq-wrong-token"},
		"no such address":   {"WEBOFFICE_IMM_ENDPOINT", "http://[::1]:1"},
		"another's session": {"WEBOFFICE_SESSION_KEYS", encodeKey(newKey())},
	} {
		h.add("the changed variable of "+name, change[1])
		failing := s.another(teamPolicy, change...)
		refused := failing.refresh(ann, opened)
		if name != "another's session" {
			failing.generate(ann, locked).want(t, 503, "ServiceUnavailable")
		}
		text := failing.logs.String()
		if len(failing.decisions()) == 0 || refused.status < 400 {
			t.Fatalf("%s: nothing to be searched, %v", name, refused)
		}
		if names := h.found(text + refused.body); names != nil {
			t.Errorf("%s: %v in %s", name, names, text)
		}
	}
	if names := h.found("x" + url.QueryEscape(password) + "x"); len(names) != 1 {
		t.Error("the hunt finds nothing")
	}
}

// What an operator gets wrong is named, not repeated.
func TestNoSecretInTheErrorsOfTheStart(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	for variable, values := range map[string][]string{
		"WEBOFFICE_SESSION_KEYS": {"zq-short-key",
			encodeKey("zq-text-key-of-32-printable-bytes")[:43], encodeKey(newKey())[:40],
			s.environment["WEBOFFICE_LINK_KEYS"]},
		"WEBOFFICE_LINK_KEYS": {"zq-short-key", encodeKey(newKey())[:40],
			s.environment["WEBOFFICE_SESSION_KEYS"]},
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": {"zq secret with spaces"},
		"ALIBABA_CLOUD_SECURITY_TOKEN":    {"zq token with spaces"},
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE": {"http://oidc.example.com/?token=zq-token-in-a-url",
			"https://\x7f?token=zq-token-in-a-url"},
		"WEBOFFICE_IMM_ENDPOINT": {"http://user:zq-password@imm.example.com",
			"https://imm.example.com/?token=zq-token-in-a-url"},
	} {
		for _, value := range values {
			why := startFails(t, s, teamPolicy, variable, value)
			if strings.Contains(why, "zq") || strings.Contains(why, value) ||
				!strings.Contains(why, variable) &&
					value != s.environment["WEBOFFICE_LINK_KEYS"] {
				t.Errorf("%s: %s", variable, why)
			}
		}
	}
	for _, secret := range []string{"WEBOFFICE_SESSION_KEYS", "WEBOFFICE_LINK_KEYS",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET",
		"ALIBABA_CLOUD_SECURITY_TOKEN", "WEBOFFICE_USER_SALT"} {
		if why := startFails(t, s, "rules: [", "LOG_LEVEL", "?"); strings.Contains(why,
			s.environment[secret]) {
			t.Errorf("%s is shown: %s", secret, why)
		}
	}
}

// A minted link is a secret like a proof.
func TestLinksAreNotPrinted(t *testing.T) {
	t.Parallel()
	s := start(t, teamPolicy)
	link := s.mint(caller.LinkClaims{ID: "one", Document: plan, Grant: []string{"view"},
		Subject: "u-7"})
	if printed := fmt.Sprintf("%v %s %+v %#v %q", link, link, link, link, link); strings.Contains(
		printed, link.Reveal()) {
		t.Errorf("printed as %s", printed)
	}
	s.open(link, plan)
	if strings.Contains(s.logs.String(), link.Reveal()) {
		t.Error("the link is in the log")
	}
}
