package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

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
	sts     string // how an STS refuses; "": not at all
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
		"identity": "fixed STS credentials, with a security token",
		"document": `by rule "editors" in project test-project: one billed call`,
		"no proof for a document that is in no way open": "401 Unauthenticated",
		"a bad proof": "401 Unauthenticated", "refresh with a bad proof": "401 Unauthenticated",
		"a preflight from a foreign origin":            "403 Forbidden.Origin",
		"a preflight of refresh from a foreign origin": "403 Forbidden.Origin",
		"refresh with invented tokens":                 "400 InvalidArgument.RefreshToken",
		"a preflight":                                  "204", "a preflight of refresh": "204",
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

func TestTextIsForPeople(t *testing.T) {
	d := deploy(t)
	delete(d.env, "WEBOFFICE_SESSION_KEYS")
	d.write(strings.Replace(usualPolicy, "expect: refused", "expect: everybody", 1))
	out, err := d.run(d.urls()...)
	for _, wanted := range []string{
		"unseen   WEBOFFICE_SESSION_KEYS: it is not set here\n         to see it, give WEBOFFICE_SESSION_KEYS",
		"failure  policy test: 15:6: test 1: oss://test-bucket/test-object.xlsx: " +
			"expected everybody, got refused\n           editors: ",
		"ok       a bad proof: 401 Unauthenticated\n",
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

// scenario is an entry of testdata/deployments.yaml.
type scenario struct {
	Name, Args, IMM, Issuer, STS, Ahead, Drops string
	Env                                        map[string]*string
	Policy, Header                             map[string]string
	Answer                                     *struct {
		Status   int
		To, Body string
	}
	Failures, Requests *int
	Want               [][4]string
}

func TestDeployments(t *testing.T) {
	var all []scenario
	text, err := os.ReadFile("testdata/deployments.yaml")
	if err = errors.Join(err, yaml.Load(text, &all, yaml.WithKnownFields())); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			d := deploy(t)
			lines := d.examine(d.become(s)...)
			for _, want := range s.Want {
				check, no := strings.CutPrefix(d.fill(want[0]), "not ")
				if slices.ContainsFunc(lines, func(l line) bool {
					return l.Check == check && l.Status == want[1] &&
						strings.Contains(l.Found, d.fill(want[2])) &&
						strings.Contains(l.Fix, want[3])
				}) == no {
					t.Errorf("%q: %t in\n%+v", want, no, lines)
				}
			}
			failures := slices.DeleteFunc(lines, func(l line) bool { return l.Status != failure })
			if s.Failures != nil && *s.Failures != len(failures) {
				t.Errorf("%d failures, want %d: %+v", len(failures), *s.Failures, failures)
			}
			if n := len(d.imm.Requests()); s.Requests != nil && *s.Requests != n {
				t.Errorf("%d signed requests, want %d", n, *s.Requests)
			}
		})
	}
}

// become makes the deployment what a scenario says, and returns doctor's arguments.
func (d *deployment) become(s scenario) (args []string) {
	d.sts = s.STS
	for name, value := range s.Env {
		if delete(d.env, name); value != nil {
			d.env[name] = d.fill(*value)
		}
	}
	policy := usualPolicy
	for old, with := range s.Policy {
		if policy = strings.Replace(policy, old, d.fill(with), 1); old == "." {
			policy = with
		}
	}
	d.write(policy)
	if strings.Contains(s.Issuer, "://") {
		d.people.RedirectTo(s.Issuer)
	} else {
		d.people.SetFault(issuer.Fault(s.Issuer))
	}
	d.ahead, _ = time.ParseDuration(s.Ahead)
	if s.IMM != "" {
		fault, named := map[string]office.Fault{"NoPermission": office.NoPermission(),
			"SignatureDoesNotMatch": office.SignatureDoesNotMatch(), "Throttled": office.Throttled(0),
			"SecurityTokenExpired": office.SecurityTokenExpired(),
			"InternalError":        office.InternalError()}[s.IMM]
		if !named {
			fault = office.Refused(403, s.IMM, "refused")
		}
		d.imm.Fail(office.Generate, 0, fault)
	}
	d.front = func(w http.ResponseWriter, r *http.Request, functions http.Handler) {
		r.Header.Del(s.Drops)
		changed := change{w, s.Header}
		switch {
		case s.Answer == nil || s.Answer.To != "" && s.Answer.To != r.Method:
			functions.ServeHTTP(changed, r)
		case s.Answer.Status == 0:
			panic(http.ErrAbortHandler)
		default:
			changed.WriteHeader(s.Answer.Status)
			_, _ = io.WriteString(w, s.Answer.Body)
		}
	}
	for _, arg := range strings.Fields(s.Args) { // what fills one may have spaces
		args = append(args, strings.Split(d.fill(arg), "\n")...)
	}
	return args
}

// fill fills in the names of a scenario.
func (d *deployment) fill(text string) string { return os.Expand(text, d.value) }

func (d *deployment) value(name string) string {
	switch name {
	case "policy":
		return d.policy
	case "functions":
		return d.functions.URL
	case "urls":
		return strings.Join(d.urls(), "\n")
	case "open":
		return openToAll
	case "closed":
		return forEditors
	case "session":
		return sessionKeys
	case "editor":
		return d.editor()
	case "proofForOthers":
		return d.file(d.people.Token(map[string]any{"aud": "others"}).Reveal())
	case "proofOfAnotherKey":
		defer d.people.Rotate()
		return d.editor()
	case "noProof":
		return d.file("s3cr3t")
	case "oidcToken":
		return d.file("s3cr3t.s3cr3t.s3cr3t")
	case "nobody":
		s := httptest.NewServer(nil)
		s.Close()
		return s.URL
	}
	return d.serve(d.elsewhere(name)).URL
}

// elsewhere is a server of this name.
func (d *deployment) elsewhere(name string) http.HandlerFunc {
	posts := 0
	return func(w http.ResponseWriter, r *http.Request) {
		switch name {
		case "keyless": // an issuer
			_, _ = fmt.Fprintf(w, `{"issuer":"http://%[1]s","jwks_uri":"http://%[1]s",`+
				`"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, r.Host)
		case "dateless": // in IMM's place
			w.Header()["Date"] = nil
		case "confining": // IMM, which opens one document
			if r.Method == http.MethodPost {
				posts++
			}
			if posts == 2 {
				d.imm.Fail(office.Generate, 1, office.NoPermission())
			}
			d.imm.ServeHTTP(w, r)
		case "plainKeys": // IMM, as a deployer's own AccessKey calls it
			if _, sent := r.Header["X-Acs-Security-Token"]; r.Method == http.MethodPost && (sent ||
				!strings.Contains(r.Header.Get("Authorization"), "Credential=LTAIplain,")) {
				d.t.Errorf("not signed as with a plain AccessKey: %v", r.Header)
			}
			end := time.Now().Add(30 * time.Minute).UTC().Format(time.RFC3339)
			_, _ = fmt.Fprintf(w, `{"RequestId":"8C0D5E7A","WebofficeURL":"https://office.invalid/x",`+
				`"AccessToken":"s3cr3t-a","RefreshToken":"s3cr3t-r",`+
				`"AccessTokenExpiredTime":%q,"RefreshTokenExpiredTime":%[1]q}`, end)
		case "sts":
			switch {
			case d.sts == "":
				_, _ = fmt.Fprintf(w, `{"Credentials":{"AccessKeyId":"STS.local",`+
					`"AccessKeySecret":"local-secret","SecurityToken":"local-token",`+
					`"Expiration":%q}}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			case d.sts[0] == '<':
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, d.sts)
			default:
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, `{"Code":%q,"Message":"s3cr3t"}`, d.sts)
			}
		default:
			d.t.Errorf("no server is named %s", name)
		}
	}
}

// change changes an answer's header on its way out.
type change struct {
	http.ResponseWriter
	header map[string]string
}

func (c change) WriteHeader(status int) {
	for name, value := range c.header {
		c.Header().Set(name, value)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Whoever has only `s config` gets no failure, no command with a hole, and one line that says what
// the full check needs.
func TestShellWithoutAnythingIsNoFailure(t *testing.T) {
	d := deploy(t)
	d.write(strings.Replace(usualPolicy, "project: test-project", "", 1))
	d.env = map[string]string{}
	out, err := d.run("-document", openToAll)
	for _, wanted := range []string{"unseen   WEBOFFICE_SESSION_KEYS: it is not set here\n",
		"unseen   identity: no credentials here; `s config` keeps its keys to itself\n",
		"unseen   document: not tried", "unseen   clock: ", "unseen   functions: ",
		"unseen   buckets, IMM project and quota: no region", "unseen   IMM project: ",
		"\nto see all, give WEBOFFICE_SESSION_KEYS, WEBOFFICE_REGION, WEBOFFICE_PROJECT, " +
			"ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET, -generate, -refresh\n"} {
		if !strings.Contains(out, wanted) {
			t.Errorf("%q is not in\n%s", wanted, out)
		}
	}
	hole := regexp.MustCompile(`(?m)^ +\$ .*(?:--\w+ (?:--|$)|oss-\.|\.\.| {2,})`)
	if err != nil || hole.MatchString(out) || strings.Contains(out, unnamed) {
		t.Errorf("%v, %q in\n%s", err, hole.FindString(out), out)
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

// TestSentences: each sentence is said somewhere, and none is missing.
func TestSentences(t *testing.T) {
	d := &doctor{}
	d.flags(func(string) string { return "" })
	code := ""
	for _, file := range []string{"main.go", "checks.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code += string(text)
	}
	for _, found := range regexp.MustCompile(`d\.say\("([^"]*)"`).FindAllStringSubmatch(code, -1) {
		if d.sentences[found[1]].Says == "" {
			t.Errorf("sentences.yaml has no %q", found[1])
		}
	}
	for name := range d.sentences {
		if !strings.Contains(code, `"`+name+`"`) {
			t.Errorf("nobody says %q", name)
		}
	}
}
