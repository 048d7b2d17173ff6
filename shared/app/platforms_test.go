package app_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/cloud"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// TestBuiltFunctions builds what is deployed, once, and runs it end to end on every platform: with
// the environment that s.yaml and template.yml give, what the platform itself sets, and the
// addresses of the stand-ins, and with nothing else.
func TestBuiltFunctions(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the programs that are deployed")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("Function Compute's programs run on linux/amd64 alone")
	}
	t.Parallel()
	packages := t.TempDir()
	for _, target := range [][]string{{"-target", "fc"}, {"-target", "lambda", "-arch", "amd64"}} {
		build := exec.CommandContext(t.Context(), "go",
			append([]string{"run", "./scripts/build", "-out", packages}, target...)...)
		build.Dir = "../.."
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	everywhere := map[string]func(*testing.T, *deployment){
		"opens and refreshes": opensAndRefreshes, "refuses": refuses,
		"keys that look like an allowed one": lookalikeKeys,
		"another policy is deployed":         anotherPolicy,
		"as it ships it opens nothing":       shipsClosed, "recorded events": recordedEvents,
		"the platform's role signs": platformsRole,
	}
	onLambda := map[string]func(*testing.T, *deployment){
		"a hundred cold requests":      hundredColdRequests,
		"an OIDC token from elsewhere": tokenFromElsewhere,
	}
	for _, platform := range []string{"go1", "custom runtime", "Lambda"} {
		tests := maps.Clone(everywhere)
		if platform == "Lambda" {
			maps.Copy(tests, onLambda)
		}
		for name, test := range tests {
			t.Run(platform+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(t, newDeployment(t, packages, platform))
			})
		}
	}
}

// accessLife is how long access tokens live here: the programs go by the machine's clock, and a
// third of it has to pass before a refresh is a real one.
const accessLife = 6 * time.Second

func officeOptions() office.Options {
	return office.Options{Credentials: office.Credentials{
		AccessKeyID: "STS.role", Secret: "role-key-secret-7Yw2",
		SecurityToken: "role-security-token-9Qp4",
	}}
}

// presentWorld is a world that lives by the machine's clock, as built programs do.
func presentWorld(t *testing.T) *world {
	t.Helper()
	o := officeOptions()
	o.AccessTokenLife = accessLife
	w := &world{clock: &clock{now: time.Now()}, office: office.New(o),
		people: issuer.New(issuer.Options{Algorithm: "ES256"})}
	web := httptest.NewServer(w.office)
	t.Cleanup(web.Close)
	w.officeURL = web.URL
	if err := w.people.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.people.Close() })
	for _, uri := range []string{plan, budget, bluePlan, pay, handbook} {
		if err := w.office.AddDocument(uri, office.Document{Text: "text"}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// deployment is both functions on one platform, as a template deploys them. The site in it asks
// them as a page does.
type deployment struct {
	*site
	platform  string
	packages  string              // what scripts/build made
	functions map[string]function // what the template says
	local     map[string]string   // the environment's stand-ins
	folders   map[string]string   // where each function is unpacked
	instances map[string]*instance
	printed   map[string]string // by each function's instances that have ended
	clouds    *clouds           // on Lambda
	secrets   []string          // what no log may show
}

// instance is one running function.
type instance struct {
	*cloud.Runtime
	command *exec.Cmd
	logs    *logs
	alive   context.Context // ends with the process
}

// newDeployment reads the template of a platform. Nothing runs yet.
func newDeployment(t *testing.T, packages, platform string) *deployment {
	t.Helper()
	w := presentWorld(t)
	sessionKey, linkKey := newKey(), newKey()
	d := &deployment{
		site: &site{t: t, world: w, linkKey: linkKey,
			generateURL: "https://generate.example.com/",
			refreshURL:  "https://refresh.example.com/"},
		platform: platform, packages: packages,
		local:   map[string]string{"WEBOFFICE_IMM_ENDPOINT": w.officeURL},
		folders: map[string]string{}, instances: map[string]*instance{},
		printed: map[string]string{},
		secrets: []string{encodeKey(sessionKey), encodeKey(linkKey), "user-salt-3Kd8",
			"role-key-secret-7Yw2", "role-security-token-9Qp4"},
	}
	d.client = &http.Client{Transport: d}
	shell := map[string]string{
		"WEBOFFICE_SESSION_KEYS": encodeKey(sessionKey), "WEBOFFICE_LINK_KEYS": encodeKey(linkKey),
		"WEBOFFICE_USER_SALT": "user-salt-3Kd8",
	}
	// What the commented lines of scripts/env.yaml offer to those who share links.
	links := map[string]any{"environmentVariables": map[string]any{
		"WEBOFFICE_LINK_KEYS": "${env('WEBOFFICE_LINK_KEYS')}",
		"WEBOFFICE_USER_SALT": "${env('WEBOFFICE_USER_SALT')}",
	}}
	environments, err := os.ReadFile("../../scripts/env.yaml")
	if err != nil {
		t.Fatal(err)
	}
	switch platform {
	case "go1":
		d.functions, err = serverlessDevs(string(environments), "production", links, shell)
	case "custom runtime":
		oneStep := regexp.MustCompile(
			`(?m)^( +)# (runtime|instanceConcurrency|cpu|memorySize): `).ReplaceAllString(
			string(environments), "$1$2: ")
		d.functions, err = serverlessDevs(oneStep, "test", links, shell)
	case "Lambda":
		d.asLambda(map[string]string{"SessionKeys": encodeKey(sessionKey),
			"LinkKeys": encodeKey(linkKey), "UserSalt": "user-salt-3Kd8"})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	return d
}

// lambdaTemplate evaluates template.yml with what it must have, and more.
func lambdaTemplate(t *testing.T, more map[string]string) (*sam, map[string]function) {
	t.Helper()
	parameters := map[string]string{
		"SessionKeys": encodeKey(newKey()), "LinkKeys": encodeKey(newKey()),
		"Region":     "cn-shanghai",
		"RamRoleArn": ramRole, "OidcProviderArn": oidcProvider,
	}
	maps.Copy(parameters, more)
	template, err := newSAM(parameters)
	if err != nil {
		t.Fatal(err)
	}
	functions, err := template.functions()
	if err != nil {
		t.Fatal(err)
	}
	return template, functions
}

func (d *deployment) asLambda(parameters map[string]string) {
	d.t.Helper()
	template, functions := lambdaTemplate(d.t, parameters)
	d.functions, d.clouds = functions, newClouds(d.t, d.world, time.Now, template)
	maps.Copy(d.local, d.clouds.overrides())
	d.secrets = append(d.secrets, awsToken, ownToken, "local-aws-secret", "local-aws-token")
}

// deploy starts both functions with a policy beside each, those that ran before stopped; "" leaves
// the policy that was built in.
func (d *deployment) deploy(policy string) {
	d.t.Helper()
	d.stop()
	for name, f := range d.functions {
		if d.folders[name] == "" {
			d.unpack(name, f)
		}
		if policy != "" {
			text := strings.ReplaceAll(policy, "ISSUER", d.people.URL())
			beside := filepath.Join(d.folders[name], "policy.yaml")
			_ = os.Remove(beside) // what scripts/build made stays as it is
			if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
				d.t.Fatal(err)
			}
		}
		d.launch(name, f)
	}
}

// unpack lays a function's package into a folder of its own.
func (d *deployment) unpack(name string, f function) {
	d.t.Helper()
	d.folders[name] = d.t.TempDir()
	built := filepath.Join(d.packages, strings.TrimPrefix(f.folder, "dist/"))
	for _, file := range []string{f.handler, "policy.yaml"} {
		if err := os.Link(filepath.Join(built, file),
			filepath.Join(d.folders[name], file)); err != nil {
			d.t.Fatal(err)
		}
	}
}

// launch starts a function on the runtime that the template names.
func (d *deployment) launch(name string, f function) {
	d.t.Helper()
	newRuntime := map[string]func() (*cloud.Runtime, error){
		"go1": cloud.NewFunctionCompute, "custom.debian11": cloud.NewCustomRuntime,
		"provided.al2023": cloud.NewLambda,
	}[f.runtime]
	if newRuntime == nil {
		d.t.Fatalf("there is no stand-in of the runtime %s", f.runtime)
	}
	runtime, err := newRuntime()
	if err != nil {
		d.t.Fatal(err)
	}
	keys := d.office.Credentials()
	runtime.Role = cloud.Role{AccessKeyID: keys.AccessKeyID, AccessKeySecret: keys.Secret,
		SecurityToken: keys.SecurityToken}
	runtime.Timeout = f.timeout
	alive, ended := context.WithCancel(context.Background())
	i := &instance{Runtime: runtime, command: exec.Command(
		filepath.Join(d.folders[name], f.handler)), logs: &logs{}, alive: alive}
	i.command.Dir, i.command.Env, i.command.Stdout, i.command.Stderr = d.t.TempDir(), runtime.Env(),
		i.logs, i.logs
	for _, variables := range []map[string]string{f.environment, d.local} {
		for variable, value := range variables {
			i.command.Env = append(i.command.Env, variable+"="+value)
		}
	}
	if err := i.command.Start(); err != nil {
		runtime.Close()
		d.t.Fatal(err)
	}
	d.instances[name] = i
	go func() {
		_ = i.command.Wait()
		ended()
	}()
}

// stop ends what runs, and looks through what it has logged.
func (d *deployment) stop() {
	for name, i := range d.instances {
		_ = i.command.Process.Kill()
		<-i.alive.Done()
		i.Close()
		delete(d.instances, name)
		log := i.logs.String()
		d.printed[name] += log
		for _, secret := range d.secrets {
			if strings.Contains(log, secret) {
				d.t.Errorf("the log of %s shows the secret %s", name, secret)
			}
		}
		if d.t.Failed() {
			d.t.Logf("%s on %s:\n%s", name, d.platform, log)
		}
	}
}

// RoundTrip implements http.RoundTripper: the platform's gateway in front of the function that the
// host names.
func (d *deployment) RoundTrip(r *http.Request) (*http.Response, error) {
	name, _, _ := strings.Cut(r.URL.Host, ".")
	i := d.instances[name]
	ctx, cancel := context.WithCancel(r.Context())
	context.AfterFunc(i.alive, cancel) // nobody answers any more
	return i.RoundTrip(r.WithContext(ctx))
}

// untouched wants that IMM was not even asked since the start. A warm-up asks nothing: its request
// bears no signature.
func (d *deployment) untouched(t *testing.T) {
	t.Helper()
	if requests := d.office.Requests(); len(requests) != 0 {
		t.Fatalf("IMM was asked %d times", len(requests))
	}
}

// open opens a document, and keeps the answer's tokens among the secrets.
func (d *deployment) open(proof weboffice.Secret, uri string) reply {
	d.t.Helper()
	return d.note(d.site.open(proof, uri))
}

func (d *deployment) note(r reply) reply {
	d.secrets = append(d.secrets, r.AccessToken, r.RefreshToken)
	return r
}

var (
	viewAndCopy = weboffice.Permission{Readonly: true, Copy: true}
	everyRight  = weboffice.Permission{Rename: true, History: true, Copy: true, Export: true,
		Print: true}
)

// opensAndRefreshes: a guest and somebody signed in open a document, ask for a refresh at once, and
// have one later.
func opensAndRefreshes(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	ann := d.proof("ann")
	d.secrets = append(d.secrets, ann.Reveal())
	guests, anns := d.open(guest, handbook), d.open(ann, plan)
	due := time.Now().Add(accessLife / 3)
	wantAnswer(t, guests, viewAndCopy)
	wantAnswer(t, anns, everyRight)
	if user := d.sentUser(t); user.Id != weboffice.UserID("user-salt-3Kd8", d.people.URL(),
		"ann") || user.Name != "Ann" {
		t.Errorf("Ann is %+v", user)
	}
	if guests.header.Get("Access-Control-Allow-Origin") != origin ||
		guests.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", guests.header)
	}
	for proof, opened := range map[weboffice.Secret]reply{guest: guests, ann: anns} {
		early := d.refresh(proof, opened).want(t, 200, "")
		if early.AccessToken != opened.AccessToken || early.RefreshToken != opened.RefreshToken ||
			early.WebofficeURL != opened.WebofficeURL {
			t.Error("an early refresh gives other tokens")
		}
	}
	d.calls(t, 2, 0)
	<-time.After(time.Until(due))
	for proof, opened := range map[weboffice.Secret]reply{guest: guests, ann: anns} {
		renewed := d.note(d.refresh(proof, opened).want(t, 200, ""))
		if renewed.AccessToken == opened.AccessToken ||
			renewed.RefreshToken == opened.RefreshToken ||
			renewed.WebofficeURL != opened.WebofficeURL {
			t.Error("a refresh gives the old tokens or another URL")
		}
		wantAnswer(t, renewed, opened.Permission)
	}
	d.calls(t, 2, 2)
	started := "Function Compute " + d.platform
	if d.platform == "Lambda" {
		started = "Lambda"
	}
	d.stop()
	for name, log := range d.printed {
		if !strings.Contains(log, `"platform":"`+started+`"`) ||
			!strings.Contains(log, `"msg":"decision"`) {
			t.Errorf("the log of %s lacks its platform or a decision", name)
		}
	}
	if d.clouds != nil { // each function has a process of its own
		d.clouds.exchanged(2, 2)
	}
}

// refuses: attacks, of which none reaches IMM, and then their harmless twins.
func refuses(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	ann, evil := d.proof("ann"), header("Origin", "https://evil.example")
	d.generate(ann, source(plan), evil).want(t, 403, "Forbidden.Origin")
	d.generate(guest, source(handbook), evil).want(t, 403, "Forbidden.Origin")
	// an <img>
	d.generate(guest, source(handbook), without("Origin")).want(t, 403, "Forbidden.Origin")
	d.refresh(ann, reply{AccessToken: "a", RefreshToken: "b"}, evil).want(t, 403,
		"Forbidden.Origin")
	asksForPost := header("Access-Control-Request-Method", "POST")
	d.request(http.MethodOptions, d.generateURL, guest, nil, evil, asksForPost).want(t, 403,
		"Forbidden.Origin")
	d.generate(guest, source(plan)).want(t, 401, "Unauthenticated")
	d.generate("nonsense", source(handbook)).want(t, 401, "Unauthenticated")
	d.generate(d.proof("ann", map[string]any{"aud": "another"}), source(plan)).want(t, 401,
		"Unauthenticated")
	d.generate(ann, source(bluePlan)).want(t, 403, "Forbidden")
	d.generate(d.proof("cara"), source(pay)).want(t, 403, "Forbidden")
	d.generate(ann, object("SourceURI", plan, "ProjectName", "another")).want(t, 403,
		"Forbidden.ProjectName")
	d.generate(guest, source("oss://team-docs/teams/red/"+strings.Repeat("x", 1<<20))).want(t, 413,
		"RequestTooLarge")
	d.untouched(t)

	opened := d.open(ann, plan)
	d.refresh(d.proof("bob"), opened).want(t, 400, "InvalidArgument.RefreshToken")
	d.refresh(guest, opened).want(t, 400, "InvalidArgument.RefreshToken")
	d.open(d.proof("dan"), pay)
	d.open(guest, handbook)
	// no browser
	d.generate(guest, source(handbook), without("Origin"), without("Sec-Fetch-Site")).want(t, 200,
		"")
	preflight := d.request(http.MethodOptions, d.generateURL, guest, nil, asksForPost).want(t, 204,
		"")
	if preflight.header.Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("the preflight's headers are %v", preflight.header)
	}
	d.refresh(ann, opened).want(t, 200, "")
	d.calls(t, 4, 0)
}

// lookalikeKeys: on its way through a platform no key becomes another one.
func lookalikeKeys(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	d.keysThatLookLikeAnAllowedOne(t)
}

// anotherPolicy: the same programs start again with another policy beside them. A share link is
// revoked and a right is narrowed, while everything else goes on.
func anotherPolicy(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	lost, kept := d.link("lost-link", plan, "view"), d.link("kept-link", plan, "view")
	d.secrets = append(d.secrets, lost.Reveal(), kept.Reveal())
	throughLost, throughKept, guests := d.open(lost, plan), d.open(kept, plan),
		d.open(guest, handbook)
	d.refresh(lost, throughLost).want(t, 200, "")
	d.calls(t, 3, 0)

	d.deploy(strings.Replace(teamPolicy, "grant: [view, copy]", "grant: [view]", 1) +
		"revokedLinks: [lost-link]\n")
	d.refresh(lost, throughLost).want(t, 401, "Unauthenticated")
	d.generate(lost, source(plan)).want(t, 401, "Unauthenticated")
	d.calls(t, 3, 0)
	d.open(kept, plan)
	d.calls(t, 4, 0)
	d.refresh(kept, throughKept).want(t, 200, "")
	wantAnswer(t, d.note(d.refresh(guest, guests).want(t, 200, "")),
		weboffice.Permission{Readonly: true})
	// narrowed rights are a new Generate; the kept link's refresh may be early or not
	if got := d.office.Calls(); got.Generate != 5 {
		t.Errorf("IMM did %+v", got)
	}
}

// shipsClosed: the package as scripts/build makes it from functions/policy.yaml, with its example
// documents.
func shipsClosed(t *testing.T, d *deployment) {
	d.deploy("")
	for _, uri := range []string{plan, handbook, "oss://test-bucket/test-object.docx"} {
		d.generate(guest, source(uri), without("Origin"), without("Sec-Fetch-Site")).want(t, 401,
			"Unauthenticated")
		d.generate(guest, source(uri)).want(t, 403, "Forbidden.Origin")
		d.generate(d.proof("ann"), source(uri), without("Origin"), without("Sec-Fetch-Site")).want(
			t, 401, "Unauthenticated")
	}
	d.untouched(t)
}

// recordedEvents: what scripts/smoke/events holds for `s invoke` and `aws lambda invoke` gives what
// the files' names say.
func recordedEvents(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	prefix := "fc-"
	if d.platform == "Lambda" {
		prefix = "lambda-"
	}
	want := map[string]struct {
		status      int
		code, allow string // Access-Control-Allow-Origin
	}{
		"no-proof":     {401, "Unauthenticated", ""},
		"preflight":    {204, "", origin},
		"wrong-origin": {403, "Forbidden.Origin", ""},
	}
	files, err := filepath.Glob("../../scripts/smoke/events/" + prefix + "*.json")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), prefix), ".json")
		event, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		i := d.instances["generate"]
		answer, err := i.Invoke(i.alive, event)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		got := decode[struct {
			StatusCode int               `json:"statusCode"`
			Headers    map[string]string `json:"headers"`
			Body       string            `json:"body"`
		}](t, string(answer))
		var body struct{ Code string }
		_ = json.Unmarshal([]byte(got.Body), &body) // a preflight's is empty
		w, known := want[name]
		if !known || got.StatusCode != w.status || body.Code != w.code ||
			got.Headers["Access-Control-Allow-Origin"] != w.allow {
			t.Errorf("%s gives %s", file, answer)
		}
	}
	d.untouched(t)
}

// platformsRole: IMM is asked with the role that the platform gives, as it is at each request, and
// never with what a client sends.
func platformsRole(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	forged := []option{
		header("X-Fc-Access-Key-Id", "STS.forged"), header("X-Fc-Access-Key-Secret", "forged"),
		header("X-Fc-Security-Token", "forged"),
	}
	d.generate(guest, source(handbook), forged...).want(t, 200, "")
	first := d.office.Credentials()
	if d.platform == "Lambda" {
		d.clouds.exchanged(1, 1)
		return
	}
	renewed := office.Credentials{AccessKeyID: "STS.renewed", Secret: "role-key-secret-5Hb6",
		SecurityToken: "role-security-token-2Wd7"}
	d.secrets = append(d.secrets, renewed.Secret, renewed.SecurityToken)
	d.office.SetCredentials(renewed)
	role := &d.instances["generate"].Role
	*role = cloud.Role{AccessKeyID: renewed.AccessKeyID, AccessKeySecret: renewed.Secret,
		SecurityToken: renewed.SecurityToken}
	d.generate(guest, source(handbook)).want(t, 200, "")
	d.calls(t, 2, 0)

	// debian11 may send the header empty: then those of the environment count, which are the first
	role.SecurityToken = ""
	d.office.SetCredentials(first)
	if d.platform == "custom runtime" {
		d.generate(guest, source(handbook)).want(t, 200, "")
		d.calls(t, 3, 0)
		return
	}
	// on go1 nothing is left: a long-lived AccessKey would look like this
	asked := len(d.office.Requests())
	d.generate(guest, source(handbook)).want(t, 503, "ServiceUnavailable")
	if len(d.office.Requests()) != asked || d.office.Calls().Failed != 0 {
		t.Error("IMM was asked without a security token")
	}
	d.stop()
	if !strings.Contains(d.printed["generate"], "add role to s.yaml") {
		t.Error("the log does not say what to do")
	}
}

// hundredColdRequests: an instance that takes many requests at once, as Lambda has them too,
// exchanges its role once.
func hundredColdRequests(t *testing.T, d *deployment) {
	d.local["AWS_LAMBDA_MAX_CONCURRENCY"] = "100"
	d.deploy(teamPolicy)
	entered, release := held(&d.clouds.onAWS)
	d.together(100, entered, release, func() reply { return d.generate(guest, source(handbook)) })
	d.clouds.exchanged(1, 1)
	d.calls(t, 100, 0)
}

// tokenFromElsewhere: template.yml's OidcTokenFile in place of AWS's tokens.
func tokenFromElsewhere(t *testing.T, d *deployment) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(ownToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.asLambda(map[string]string{"OidcTokenFile": file})
	d.clouds.token = ownToken
	d.deploy(teamPolicy)
	d.open(guest, handbook)
	d.clouds.exchanged(0, 1)
}
