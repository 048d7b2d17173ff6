package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
)

const (
	sessionKeys = "q2Jx0m3ZkS8nB7rV5tYpLwEuGhDfCaXi1o4T6sKjNvQ="
	linkKeys    = "Zx9cVbN3mQwErTyUiOpAsDfGhJkL1z2X4C6V8B0nM5Q="
	usualOrigin = "https://docs.example.com"
	openToAll   = "oss://test-bucket/test-object.docx"
	forEditors  = "oss://test-bucket/test-object.xlsx"
)

const usualPolicy = `
project: test-project
origins: [https://docs.example.com]
issuers: {people: {url: "PEOPLE", audience: weboffice}}
rules:
  - name: editors
    documents: oss://test-bucket/**
    callers: {issuer: people, claims: {groups: editors}}
    grant: [view, edit, history, copy]
  - name: everybody
    documents: oss://test-bucket/test-object.docx
    callers: anyone
    grant: [view]
tests:
  - {as: anyone, open: oss://test-bucket/test-object.xlsx, expect: refused}
`

// deployment is a good one on loopback: IMM's stand-in, an identity provider, both functions, and a
// deployer's environment.
type deployment struct {
	t         *testing.T
	imm       *office.Server
	people    *issuer.Provider
	functions *httptest.Server
	env       map[string]string
	policy    string // the file's path
	ahead     time.Duration
	// stands before the functions
	front   func(w http.ResponseWriter, r *http.Request, functions http.Handler)
	secrets []string
}

func deploy(t *testing.T) *deployment {
	d := &deployment{t: t, policy: filepath.Join(t.TempDir(), "policy.yaml"),
		people: issuer.New(issuer.Options{Algorithm: "ES256"})}
	if err := d.people.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.people.Close() })
	d.imm = office.New(office.Options{Now: func() time.Time { return time.Now().Add(d.ahead) }})
	standIn := d.serve(d.imm)
	d.write(usualPolicy)
	d.env = map[string]string{
		"WEBOFFICE_SESSION_KEYS": sessionKeys, "WEBOFFICE_LINK_KEYS": linkKeys,
		"WEBOFFICE_USER_SALT": "s3cr3t-salt", "WEBOFFICE_REGION": "cn-shanghai",
		"WEBOFFICE_IMM_ENDPOINT": standIn.URL, "WEBOFFICE_POLICY_FILE": d.policy,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     "STS.local",
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "local-secret",
		"ALIBABA_CLOUD_SECURITY_TOKEN":    "local-token",
	}
	d.secrets = []string{sessionKeys, linkKeys, "s3cr3t", "local-secret", "local-token"}
	a, err := app.New(d.getenv, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/generate", generate.New(a))
	mux.Handle("/refresh", refresh.New(a))
	d.functions = d.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.front != nil {
			d.front(w, r, mux)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	return d
}

func (d *deployment) serve(h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	d.t.Cleanup(s.Close)
	return s
}

func (d *deployment) getenv(name string) string { return d.env[name] }

func (d *deployment) write(policy string) {
	d.t.Helper()
	if err := os.WriteFile(d.policy, []byte(strings.ReplaceAll(policy, "PEOPLE", d.people.URL())),
		0o600); err != nil {
		d.t.Fatal(err)
	}
}

// file writes a secret into a file of its own.
func (d *deployment) file(secret string) string {
	d.t.Helper()
	d.secrets = append(d.secrets, secret)
	name := filepath.Join(d.t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return name
}

func (d *deployment) editor() string {
	return d.file(d.people.Token(map[string]any{"groups": []string{"editors"}}).Reveal())
}

func (d *deployment) urls() []string {
	return []string{"-generate", d.functions.URL + "/generate", "-refresh", d.functions.URL +
		"/refresh"}
}

// run runs doctor and sees to it that nothing secret comes out, whatever happens.
func (d *deployment) run(args ...string) (string, error) {
	d.t.Helper()
	var out bytes.Buffer
	err := run(d.t.Context(), append([]string{"-policy", d.policy}, args...), d.getenv, &out)
	for _, secret := range d.secrets {
		if strings.Contains(out.String()+fmt.Sprint(err), secret) {
			d.t.Errorf("%q is printed:\n%s%v", secret, out.String(), err)
		}
	}
	return out.String(), err
}

// line is one line of -json.
type line struct{ Check, Status, Found, Fix string }

// examine returns the lines, and checks that they and the error agree.
func (d *deployment) examine(args ...string) []line {
	d.t.Helper()
	out, err := d.run(append(args, "-json")...)
	var lines []line
	for text := range strings.Lines(out) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			d.t.Fatalf("%q: %v", text, err)
		}
		if l.Check == "" || l.Status != fine && l.Fix == "" || l.Status == fine && l.Fix != "" {
			d.t.Errorf("a line without a name or its fix, or with a fix for nothing: %+v", l)
		}
		lines = append(lines, l)
	}
	failed := slices.ContainsFunc(lines, func(l line) bool { return l.Status == failure })
	if failed != (err != nil) {
		d.t.Errorf("error %v with the lines %+v", err, lines)
	}
	return lines
}

// find returns the first line of this name and status.
func find(lines []line, check, status string) (line, bool) {
	i := slices.IndexFunc(lines, func(l line) bool {
		return l.Check == check &&
			l.Status == status
	})
	if i < 0 {
		return line{}, false
	}
	return lines[i], true
}

func TestAProofMayStandInItsFileAsInItsHeader(t *testing.T) {
	d := deploy(t)
	proof := d.file("Bearer " + d.people.Token(
		map[string]any{"groups": []string{"editors"}}).Reveal())
	if l, ok := find(d.examine("-token", proof), "-token", fine); !ok {
		t.Errorf("%+v", l)
	}
}

func TestAGoodDeploymentIsOK(t *testing.T) {
	d := deploy(t)
	lines := d.examine(append(d.urls(), "-document", forEditors, "-token", d.editor())...)
	for _, l := range lines {
		if l.Status != fine && l.Status != todo {
			t.Errorf("%+v", l)
		}
	}
	for check, found := range map[string]string{
		"environment": "session keys 1, link keys 1, region cn-shanghai",
		"policy":      "2 rules, 1 tests pass", "issuer people": d.people.URL(),
		"-token": "issuer people until", "clock": "0s",
		"identity":                       "fixed STS credentials, with a security token",
		"document":                       `by rule "editors" in project test-project: one billed call`,
		"generate without a proof":       "401 Unauthenticated",
		"generate with a bad proof":      "401 Unauthenticated",
		"generate from a foreign origin": "403 Forbidden.Origin", "generate from " +
			usualOrigin: "204",
		"refresh with invented tokens":  "400 InvalidArgument.RefreshToken",
		"refresh with a bad proof":      "401 Unauthenticated",
		"refresh from a foreign origin": "403 Forbidden.Origin", "refresh from " +
			usualOrigin: "204",
	} {
		if l, ok := find(lines, check, fine); !ok ||
			!strings.Contains(strings.Replace(l.Found, "1s from", "0s from", 1), found) {
			t.Errorf("%s: %+v, expected %q", check, l, found)
		}
	}
	if calls := d.imm.Calls(); calls.Generate != 1 || calls.Refresh != 0 {
		t.Errorf("IMM calls: %+v", calls)
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(d.imm.Requests()[0].Parameters["Permission"]),
		&sent); err != nil || sent["Readonly"] != true || sent["History"] != false {
		t.Errorf("more than viewing was asked: %v, %v", sent, err)
	}
}

func TestNothingIsBilledWithoutADocument(t *testing.T) {
	d := deploy(t)
	d.examine(d.urls()...)
	if requests := d.imm.Requests(); len(requests) > 0 {
		t.Errorf("signed requests went to IMM: %+v", requests)
	}
}

func TestTextIsForPeople(t *testing.T) {
	d := deploy(t)
	delete(d.env, "WEBOFFICE_SESSION_KEYS")
	d.write(strings.Replace(usualPolicy, "expect: refused", "expect: everybody", 1))
	out, err := d.run(d.urls()...)
	for _, wanted := range []string{
		"unseen   WEBOFFICE_SESSION_KEYS: it is not set here\n         to see it, give WEBOFFICE_SESSION_KEYS",
		"failure  policy test: 15:6: test 1: oss://test-bucket/test-object.xlsx: " +
			"expected everybody, got refused\n           editors: ",
		"ok       generate without a proof: 401 Unauthenticated\n",
		"\n         $ aliyun sts GetCallerIdentity\n", " ok, 0 warnings, 1 failures, 2 not seen\n",
		"\nto see all, give WEBOFFICE_SESSION_KEYS, -document\n",
	} {
		if !strings.Contains(out, wanted) {
			t.Errorf("%q is missing in\n%s", wanted, out)
		}
	}
	if err == nil || err.Error() != "1 checks failed" {
		t.Errorf("error %v", err)
	}
}

func TestFlagsStandOverTheEnvironment(t *testing.T) {
	d := deploy(t)
	d.env["WEBOFFICE_REGION"], d.env["WEBOFFICE_PROJECT"] = "cn-beijing", "other"
	d.write(strings.Replace(usualPolicy, "project: test-project", "", 1))
	lines := d.examine("-region", "cn-hangzhou", "-project", "test-project", "-document", openToAll)
	if l, ok := find(lines, "environment", fine); !ok ||
		!strings.Contains(l.Found, "region cn-hangzhou") {
		t.Errorf("%+v", lines)
	}
	if l, ok := find(lines, "document", fine); !ok ||
		!strings.Contains(l.Found, "in project test-project") {
		t.Errorf("%+v", lines)
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	out, err := deploy(t).run("-h")
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out, "-print-policies") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEveryProblemOfTheEnvironmentHasItsLine(t *testing.T) {
	d := deploy(t)
	d.env["WEBOFFICE_SESSION_KEYS"] = "c2hvcnQ=," + sessionKeys + "," + sessionKeys
	d.env["WEBOFFICE_LINK_KEYS"] = sessionKeys
	d.env["LOG_LEVEL"], d.env["DEBUG"] = "s3cr3t", "s3cr3t-dara"
	lines := d.examine()
	for check, fix := range map[string]string{
		"WEBOFFICE_SESSION_KEYS": "openssl rand", "WEBOFFICE_LINK_KEYS": "openssl rand",
		"LOG_LEVEL": "WARN", "DEBUG": "unset it",
	} {
		if l, ok := find(lines, check, failure); !ok || !strings.Contains(l.Fix, fix) {
			t.Errorf("%s: %+v", check, l)
		}
	}
	_, err := app.ReadConfig(d.getenv)
	failures := slices.DeleteFunc(lines, func(l line) bool { return l.Status != failure })
	if want := len(strings.Split(err.Error(), "\n")); len(failures) != want || want != 5 {
		t.Errorf("%d lines for %d problems: %+v", len(failures), want, failures)
	}
}

// The SDK prints what it sends when DEBUG says so: then nothing may be sent that is signed.
func TestDEBUGLeaksNoCredentials(t *testing.T) {
	d := deploy(t)
	d.env["DEBUG"] = "tea"
	lines := d.examine("-document", openToAll)
	if _, ok := find(lines, "document", unseen); !ok || len(d.imm.Requests()) > 0 {
		t.Errorf("%d signed requests, lines %+v", len(d.imm.Requests()), lines)
	}
	if l, ok := find(lines, "identity", fine); ok {
		t.Errorf("%+v", l)
	}
	d.env["DEBUG"] = "express:*" // somebody else's
	if lines := d.examine("-document", openToAll); len(d.imm.Requests()) != 1 {
		t.Errorf("another program's DEBUG counts: %+v", lines)
	}
}

// findings are deployments with one thing wrong each: change makes it so, and what is to be found
// has these parts.
func TestFindings(t *testing.T) {
	closed := func() string { // an address where nobody listens
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		return "http://" + listener.Addr().String()
	}
	replace := func(old, with string) func(*deployment) []string {
		return func(d *deployment) []string {
			d.write(strings.Replace(usualPolicy, old, with, 1))
			return nil
		}
	}
	fault := func(f issuer.Fault) func(*deployment) []string {
		return func(d *deployment) []string { d.people.SetFault(f); return nil }
	}
	fails := func(f office.Fault) func(*deployment) []string {
		return func(d *deployment) []string {
			d.imm.Fail(office.Generate, 0, f)
			return []string{"-document", openToAll}
		}
	}
	confined := func(faults ...office.Fault) func(*deployment) []string {
		return func(d *deployment) []string {
			posts := 0
			d.env["WEBOFFICE_IMM_ENDPOINT"] = d.serve(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost {
						posts++
					}
					if posts == 2 && len(faults) > 0 { // the first opens -document
						d.imm.Fail(office.Generate, 1, faults[0])
					}
					d.imm.ServeHTTP(w, r)
				})).URL
			replace("grant: [view]\n",
				"grant: [view]\n    set: {CredentialConfig: {Policy: '{}'}}\n")(d)
			return []string{"-document", openToAll, "-outside", forEditors}
		}
	}
	front := func(h func(http.ResponseWriter, *http.Request, http.Handler)) func(
		*deployment) []string {
		return func(d *deployment) []string { d.front = h; return d.urls() }
	}
	answers := func(status int, body string, header ...string) func(*deployment) []string {
		return front(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	for _, c := range []struct {
		name                      string
		change                    func(*deployment) []string
		check, status, found, fix string
	}{
		{"no region", func(d *deployment) []string {
			delete(d.env, "WEBOFFICE_REGION")
			return nil
		}, "WEBOFFICE_REGION", unseen, "not set here", "give WEBOFFICE_REGION"},
		{"an endpoint elsewhere", func(d *deployment) []string {
			d.env["WEBOFFICE_IMM_ENDPOINT"] = "imm.example.com"
			return nil
		}, "WEBOFFICE_IMM_ENDPOINT", failure, "", "aliyuncs.com"},

		{"no policy file", func(d *deployment) []string {
			return []string{"-policy", d.policy + ".no"}
		}, "policy", failure, "no such file", "name the policy that is deployed with -policy"},
		{"a mistake in the policy", replace("grant: [view]", "grant: [look]"), "policy", failure,
			"13:12: unknown grant", "line:column"},
		{"a second mistake", replace("grant: [view]", "grant: [look]\n    colour: red"), "policy",
			failure, "14:5: unknown key", "line:column"},
		{"a test that fails", replace("expect: refused", "expect: everybody"), "policy test",
			failure, "expected everybody, got refused", "explain"},
		{"a hidden rule", replace("rules:",
			"rules:\n  - {name: x, documents: oss://test-bucket/**, callers: anyone, deny: true}"),
			"policy", warning, "hidden by", "order"},
		{"a policy that opens nothing", func(d *deployment) []string {
			d.write("project: test-project\n")
			return nil
		}, "policy", warning, "no rules", "write rules"},
		{"no tests", func(d *deployment) []string {
			text, _, _ := strings.Cut(usualPolicy, "tests:")
			d.write(text)
			return nil
		}, "policy", warning, "no tests", "refusal"},
		{"no project", replace("project: test-project", ""), "IMM project", unseen,
			"leaves it to WEBOFFICE_PROJECT", "give WEBOFFICE_PROJECT"},
		{"no project for a document", func(d *deployment) []string {
			return append(replace("project: test-project", "")(d), "-document", openToAll)
		}, "document", unseen, "no IMM project to open it in", "give WEBOFFICE_PROJECT"},
		{"links without keys", func(d *deployment) []string {
			delete(d.env, "WEBOFFICE_LINK_KEYS")
			return replace("callers: anyone", "callers: {issuer: links}")(d)
		}, "WEBOFFICE_LINK_KEYS", unseen, "no key is set here", "give WEBOFFICE_LINK_KEYS"},

		{"an issuer out of service", fault(issuer.Outage), "issuer people", failure, "503",
			"openid-configuration"},
		{"an issuer with another name", fault(issuer.WrongIssuer), "issuer people", failure,
			"another issuer", "openid-configuration"},
		{"an issuer that is no provider", fault(issuer.Malformed), "issuer people", failure,
			"no JSON", "openid-configuration"},
		{"an issuer with too many keys", fault(issuer.Huge), "issuer people", failure, "keys",
			"openid-configuration"},
		{"an endless answer", fault(issuer.Endless), "issuer people", failure, "1 MiB",
			"openid-configuration"},
		{"a cut connection", fault(issuer.Cut), "issuer people", failure, "EOF",
			"openid-configuration"},
		{"an issuer that sends elsewhere",
			func(d *deployment) []string { d.people.RedirectTo("http://localhost:1"); return nil },
			"issuer people", failure, "redirected", "openid-configuration"},
		{"an issuer without a key of use", func(d *deployment) []string {
			var issuer *httptest.Server
			issuer = d.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_,
					_ = fmt.Fprintf(w,
					`{"issuer":%q,"jwks_uri":%q,"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, issuer.URL,
					issuer.URL)
			}))
			d.write(strings.ReplaceAll(usualPolicy, "PEOPLE", issuer.URL))
			return nil
		}, "issuer people", failure, "none of use", "openid-configuration"},
		{"a proof for others", func(d *deployment) []string {
			return []string{"-token", d.file(
				d.people.Token(map[string]any{"aud": "others"}).Reveal())}
		}, "-token", failure, "aud", "audience"},
		{"a proof with another signature", func(d *deployment) []string {
			name := d.editor()
			d.people.Rotate()
			return []string{"-token", name}
		}, "-token", failure, "no key", "new proof"},
		{"no proof in the file", func(d *deployment) []string {
			return []string{"-token", d.file("s3cr3t")}
		}, "-token", failure, "no JWT", "new proof"},
		{"no such file", func(d *deployment) []string {
			return []string{"-token", d.policy + ".no"}
		}, "-token", failure, "no such file", "new proof"},

		{"a clock minutes off", func(d *deployment) []string {
			d.ahead = 200 * time.Second
			return nil
		}, "clock", warning, "-3m", "set this machine's clock"},
		{"a clock too far off", func(d *deployment) []string {
			d.ahead = -20 * time.Minute
			return nil
		}, "clock", failure, "20m", "set this machine's clock"},
		{"something in IMM's place", func(d *deployment) []string {
			d.env["WEBOFFICE_IMM_ENDPOINT"] = d.serve(
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Date"] = nil
				})).URL
			return nil
		}, "clock", warning, "", "no Date"},
		{"IMM out of reach", func(d *deployment) []string {
			d.env["WEBOFFICE_IMM_ENDPOINT"] = closed()
			return nil
		}, "IMM endpoint", failure, "refused", "WEBOFFICE_REGION"},

		{"the role lacks the right", fails(office.NoPermission()), "document", failure,
			"403 NoPermission", `"Resource":"acs:imm:cn-shanghai:*:project/test-project"`},
		{"the signature is refused", fails(office.SignatureDoesNotMatch()), "document", failure,
			"SignatureDoesNotMatch", "role"},
		{"the token has expired", fails(office.SecurityTokenExpired()), "document", failure,
			"InvalidSecurityToken", "role"},
		{"IMM is busy", fails(office.Throttled(0)), "document", failure, "Throttling", "again"},
		{"IMM fails", fails(office.InternalError()), "document", failure, "500", "again"},
		{"IMM is not activated", fails(office.Refused(403, "OperationDenied.ServiceNotOpen",
			"not open")), "document", failure, "OperationDenied", "activate Intelligent Media Management"},
		{"no such project", func(d *deployment) []string {
			return append(replace("project: test-project", "project: other-project")(d),
				"-document", openToAll)
		}, "document", failure, "ResourceNotFound",
			"IMM knows no project other-project in cn-shanghai"},
		{"no such document", func(d *deployment) []string {
			return []string{"-document", "oss://test-bucket/nothing.docx", "-token", d.editor()}
		}, "document", failure, "ResourceNotFound", "upload it"},
		{"no document", func(*deployment) []string {
			return []string{"-document", "test-object.docx"}
		}, "document", failure, "oss://bucket/object", "correct -document"},
		{"a document that nobody may open",
			func(*deployment) []string { return []string{"-document", forEditors} }, "document",
			failure, "Unauthenticated", "-token"},

		{"a rule that confines nothing", func(*deployment) []string {
			return []string{"-document", openToAll, "-outside", forEditors}
		}, "confinement", failure, "sets no CredentialConfig", "-print-policies"},
		{"a confinement that the service ignores", confined(), "confinement",
			failure, "IMM opens " + forEditors, "ServiceRole beside Policy"},
		{"a confinement from what is not there", func(d *deployment) []string {
			return append(confined()(d), "-outside", "oss://test-bucket/nothing.docx")
		}, "confinement", failure, "proves nothing", "-outside"},
		{"a confinement that holds", confined(office.NoPermission()), "confinement", fine,
			"IMM refuses " + forEditors, ""},

		{"a URL that is not https", func(*deployment) []string {
			return []string{"-generate", "http://functions.invalid/generate"}
		}, "generate with a bad proof", failure, "not https", "https"},
		{"a URL that is none", func(*deployment) []string {
			return []string{"-refresh", "://s3cr3t"}
		}, "refresh with a bad proof", failure, "not https", "https"},
		{"nobody there", func(*deployment) []string {
			return []string{"-refresh", closed() + "/?key=s3cr3t"}
		}, "refresh with a bad proof", failure, "refused", "reaches it"},
		{"a cut answer", front(func(http.ResponseWriter, *http.Request, http.Handler) {
			panic(http.ErrAbortHandler)
		}), "generate without a proof", failure, "no usable answer", "reaches it"},
		{"generate and refresh the wrong way round", func(d *deployment) []string {
			return []string{"-generate", d.functions.URL + "/refresh", "-refresh", d.functions.URL +
				"/generate"}
		}, "generate without a proof", failure,
			"400 InvalidArgument.SourceURI in place of 401 Unauthenticated", "this URL"},
		{"an origin that the policy lacks",
			func(d *deployment) []string {
				return append(d.urls(), "-origin",
					"https://new.example.com")
			},
			"generate from https://new.example.com", failure,
			"403 Forbidden.Origin in place of 204", "`origins`"},
		{"a gateway that refuses OPTIONS", answers(403, "<html>"), "generate from " + usualOrigin,
			failure, "403 in place of 204", "authType anonymous"},
		{"a function that cannot start", answers(502, `{"Code":"FunctionNotStarted"}`),
			"refresh with a bad proof", failure, "502", "log"},
		{"a limit", answers(429, `{"Code":"Throttling"}`), "generate without a proof", failure,
			"429", "minute"},
		{"no function", answers(404, ""), "generate without a proof", failure, "404", "this URL"},
		{"a code for terminals", answers(400, `{"Code":"\u001b[2J"}`), "generate without a proof",
			failure, "400 in place of", "this URL"},
		{"a gateway that asks for a proof of its own", answers(401, `{"Code":"AccessDenied"}`),
			"generate without a proof", failure, "401 AccessDenied in place of 401 Unauthenticated",
			"this URL"},
		{"a redirect", answers(302, "", "Location", "http://127.0.0.1:1/"),
			"refresh with a bad proof", failure, "302 in place of", "this URL"},
		{"a gateway that answers CORS for any origin",
			front(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method != http.MethodOptions {
					next.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
				w.WriteHeader(http.StatusNoContent)
			}), "refresh from a foreign origin", failure, "204 in place of 403 Forbidden.Origin",
			"this URL"},
		{"a gateway that adds a star", front(func(w http.ResponseWriter, r *http.Request,
			next http.Handler) {
			next.ServeHTTP(change{w, func(h http.Header) {
				h.Set("Access-Control-Allow-Origin",
					"*")
			}}, r)
		}), "generate from " + usualOrigin, failure, "204", "answer CORS"},
		{"a gateway that drops Authorization",
			front(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(change{w, func(h http.Header) {
					h.Set("Access-Control-Allow-Headers",
						"Content-Type")
				}}, r)
			}), "generate from " + usualOrigin, failure, "204", "answer CORS"},
		{"a gateway that caches", front(func(w http.ResponseWriter, r *http.Request,
			next http.Handler) {
			next.ServeHTTP(change{w, func(h http.Header) { h.Set("Cache-Control", "max-age=60") }},
				r)
		}), "refresh with invented tokens", failure, "400", "no-store"},
		{"a function that believes anybody",
			front(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Authorization")
				next.ServeHTTP(w, r)
			}), "generate with a bad proof", failure, "400 MissingSourceURI in place of 401",
			"this URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := deploy(t)
			lines := d.examine(c.change(d)...)
			for _, l := range lines {
				if l.Check == c.check && l.Status == c.status &&
					strings.Contains(l.Found, c.found) && strings.Contains(l.Fix, c.fix) {
					return
				}
			}
			t.Errorf("no line %q %s with %q and the fix %q in\n%+v", c.check, c.status, c.found,
				c.fix, lines)
		})
	}
}

// change changes an answer's header on its way out.
type change struct {
	http.ResponseWriter
	header func(http.Header)
}

func (c change) WriteHeader(status int) {
	c.header(c.Header())
	c.ResponseWriter.WriteHeader(status)
}

func TestCommandsForWhatNeedsAnotherSDK(t *testing.T) {
	d := deploy(t)
	usual := d.examine()
	d.write(strings.Replace(usualPolicy, "edit, history, copy", "edit, copy", 1))
	withoutHistory := d.examine()
	d.env["WEBOFFICE_ROLE"] = "acs:ram::123456789012:role/office"
	named := d.examine()
	d.env["ALIBABA_CLOUD_ROLE_ARN"] = "acs:ram::123456789012:role/from-lambda"
	d.env["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"] = "acs:ram::123456789012:oidc-provider/amazon"
	lambda := d.examine("-stack", "docs")

	has := func(lines []line, check, command string) bool {
		l, ok := find(lines, check, todo)
		return ok && strings.Contains(l.Fix, command) && strings.HasPrefix(l.Found, "look for ")
	}
	for _, c := range []struct {
		lines          []line
		check, command string
		want           bool
	}{
		{usual, "bucket test-bucket",
			"aliyun oss stat oss://test-bucket --endpoint oss-cn-shanghai.aliyuncs.com", true},
		{usual, "versions in test-bucket",
			"aliyun oss bucket-versioning --method get oss://test-bucket", true},
		{withoutHistory, "versions in test-bucket", "aliyun oss", false},
		{withoutHistory, "CORS of test-bucket", "aliyun oss cors --method get oss://test-bucket",
			true},
		{usual, "IMM project test-project",
			"aliyun imm GetProject --ProjectName test-project --region cn-shanghai", true},
		{usual, "trust of role weboffice-functions",
			"aliyun ram GetRole --RoleName weboffice-functions", true},
		{usual, "rights of role weboffice-functions",
			"aliyun ram ListPoliciesForRole --RoleName weboffice-functions", true},
		{named, "trust of role office", "aliyun ram GetRole --RoleName office", true},
		{usual, "spending cap", "s generate concurrency get && s refresh concurrency get", true},
		{lambda, "spending cap",
			"\"$(aws cloudformation describe-stack-resource --stack-name docs", true},
		{lambda, "trust of role from-lambda", "aliyun ram GetRole --RoleName from-lambda", true},
		{lambda, "identity provider amazon", "aliyun ims GetOIDCProvider --OIDCProviderName amazon",
			true},
		{lambda, "AWS's issuer", "aws iam get-outbound-web-identity-federation-info", true},
		{usual, "AWS's issuer", "aws", false},
	} {
		if has(c.lines, c.check, c.command) != c.want {
			t.Errorf("%s: %t expected for %q in %+v", c.check, c.want, c.command, c.lines)
		}
	}
}

// FuzzAddProblem: whatever a problem says, it becomes one line that keeps its words.
func FuzzAddProblem(f *testing.F) {
	f.Add("WEBOFFICE_SESSION_KEYS: key 1 is no random key: make one with `openssl rand -base64 32`")
	f.Add("LOG_LEVEL is DEBUG, INFO, WARN or ERROR")
	f.Add("")
	f.Add(": : ")
	f.Fuzz(func(t *testing.T, problem string) {
		var out bytes.Buffer
		d := &doctor{out: &out, asJSON: true, counts: map[string]int{}}
		d.addProblem(failure, problem)
		var l line
		if err := json.Unmarshal(out.Bytes(), &l); err != nil ||
			bytes.Count(out.Bytes(), []byte("\n")) != 1 || d.counts[failure] != 1 {
			t.Fatalf("%q: %v", out.String(), err)
		}
		bare := func(text string) string {
			return strings.NewReplacer(" ", "", ":", "").Replace(
				strings.ToValidUTF8(text, "\ufffd"))
		}
		if got := bare(l.Check + l.Found + l.Fix); got != bare(problem) &&
			strings.ToValidUTF8(problem, "") == problem {
			t.Errorf("%q became %q", problem, got)
		}
	})
}
