package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/cloud"
	"weboffice-functions/shared/standin/local"
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
		build := exec.CommandContext(t.Context(), "go", append([]string{"run", "./scripts/build",
			"-out", packages, "-policy", "shared/app/testdata/closed.yaml"}, target...)...)
		build.Dir = "../.."
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	everywhere := map[string]func(*testing.T, *deployment){
		"opens and refreshes": opensAndRefreshes, "refuses": refuses,
		"another policy is deployed":      anotherPolicy,
		"recorded events":                 recordedEvents,
		"the platform's role signs":       platformsRole,
		"SIGTERM with requests under way": terminates,
	}
	onLambda := map[string]func(*testing.T, *deployment){
		"a hundred cold requests":      hundredColdRequests,
		"an OIDC token from elsewhere": tokenFromElsewhere,
	}
	for _, platform := range []string{"go1", "custom runtime", "Lambda", "container"} {
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

// deployment is both functions on one platform, as a template deploys them. The instance in it asks
// them as a page does.
type deployment struct {
	*instance
	platform  string
	packages  string              // what scripts/build made
	functions map[string]function // what the template says
	local     map[string]string   // the environment's stand-ins
	folders   map[string]string   // where each function is unpacked
	processes map[string]*process
	clouds    *clouds // on Lambda
}

// process is one running function.
type process struct {
	*cloud.Runtime
	command *exec.Cmd
	alive   context.Context // ends with the process
}

// newDeployment reads the template of a platform. Nothing runs yet.
func newDeployment(t *testing.T, packages, platform string) *deployment {
	t.Helper()
	w := &world{t: t, clock: local.NewClock(time.Now())}
	w.run(local.Options{Lifetime: accessLife})
	d := &deployment{
		instance: &instance{world: w, logs: &logs{}, generateURL: "https://generate.example.com/",
			refreshURL: "https://refresh.example.com/"},
		platform: platform, packages: packages,
		local:   map[string]string{"WEBOFFICE_IMM_ENDPOINT": w.IMMURL},
		folders: map[string]string{}, processes: map[string]*process{},
	}
	w.logged = append(w.logged, d.logs)
	d.client = &http.Client{Transport: d}
	shell := map[string]string{}
	for _, name := range []string{"WEBOFFICE_SESSION_KEYS", "WEBOFFICE_LINK_KEYS",
		"WEBOFFICE_USER_SALT"} {
		shell[name] = w.Environment[name]
	}
	sharing := maps.Clone(shell) // what an adopter adds who shares links
	delete(sharing, "WEBOFFICE_SESSION_KEYS")
	var err error
	switch platform {
	case "go1":
		d.functions, err = serverlessDevs("", sharing, shell)
	case "custom runtime":
		d.functions, err = serverlessDevs("custom.debian11", sharing, shell)
	case "Lambda":
		err = d.asLambda(map[string]string{"SessionKeys": shell["WEBOFFICE_SESSION_KEYS"],
			"LinkKeys": shell["WEBOFFICE_LINK_KEYS"], "UserSalt": shell["WEBOFFICE_USER_SALT"]})
	case "container":
		d.functions = containers(shell, w.IMM.Credentials())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	return d
}

// containers are the two functions as anybody's container service runs them.
func containers(shell map[string]string, role office.Credentials) map[string]function {
	functions := map[string]function{}
	for _, name := range []string{"generate", "refresh"} {
		f := function{runtime: "container", folder: "dist/fc/" + name, handler: "bootstrap",
			timeout: 30 * time.Second, environment: map[string]string{
				"WEBOFFICE_REGION":                "cn-shanghai",
				"ALIBABA_CLOUD_ACCESS_KEY_ID":     role.AccessKeyID,
				"ALIBABA_CLOUD_ACCESS_KEY_SECRET": role.Secret,
				"ALIBABA_CLOUD_SECURITY_TOKEN":    role.SecurityToken,
			}}
		maps.Copy(f.environment, shell)
		functions[name] = f
	}
	return functions
}

func (d *deployment) asLambda(parameters map[string]string) error {
	template, err := lambdaTemplate(parameters)
	if err != nil {
		return err
	}
	d.clouds = newClouds(d.t, d.world, time.Now, template)
	maps.Copy(d.local, d.clouds.overrides())
	d.functions, err = template.functions()
	return err
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
			text := strings.ReplaceAll(policy, "http://127.0.0.1:8080", d.URL)
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
		"provided.al2023": cloud.NewLambda, "container": cloud.NewContainer,
	}[f.runtime]
	if newRuntime == nil {
		d.t.Fatalf("there is no stand-in of the runtime %s", f.runtime)
	}
	runtime, err := newRuntime()
	if err != nil {
		d.t.Fatal(err)
	}
	keys := d.IMM.Credentials()
	runtime.Role = cloud.Role{AccessKeyID: keys.AccessKeyID, AccessKeySecret: keys.Secret,
		SecurityToken: keys.SecurityToken}
	runtime.Timeout = f.timeout
	alive, ended := context.WithCancel(context.Background())
	p := &process{Runtime: runtime, alive: alive,
		command: exec.Command(filepath.Join(d.folders[name], f.handler))}
	p.command.Dir, p.command.Env = d.t.TempDir(), runtime.Env()
	p.command.Stdout, p.command.Stderr = d.logs, d.logs
	for _, variables := range []map[string]string{f.environment, d.local} {
		for variable, value := range variables {
			p.command.Env = append(p.command.Env, variable+"="+value)
		}
	}
	if err := p.command.Start(); err != nil {
		runtime.Close()
		d.t.Fatal(err)
	}
	d.processes[name] = p
	go func() {
		_ = p.command.Wait()
		ended()
	}()
}

// stop ends what runs.
func (d *deployment) stop() {
	for name, p := range d.processes {
		_ = p.command.Process.Kill()
		<-p.alive.Done()
		p.Close()
		delete(d.processes, name)
	}
}

// RoundTrip implements http.RoundTripper: the platform's gateway in front of the function that the
// host names.
func (d *deployment) RoundTrip(r *http.Request) (*http.Response, error) {
	name, _, _ := strings.Cut(r.URL.Host, ".")
	p := d.processes[name]
	ctx, cancel := context.WithCancel(r.Context())
	context.AfterFunc(p.alive, cancel) // nobody answers any more
	return p.RoundTrip(r.WithContext(ctx))
}

var viewAndCopy = weboffice.Permission{Readonly: true, Copy: true}

// opensAndRefreshes: a guest and somebody signed in open a document, ask for a refresh at once, and
// have one later.
func opensAndRefreshes(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	ann := d.proof("ann")
	guests, anns := d.open(guest, handbook), d.open(ann, plan)
	due := time.Now().Add(accessLife / 3)
	if guests.Permission != viewAndCopy || anns.Permission.Readonly || !anns.Permission.Export {
		t.Errorf("granted %v and %v", guests.Permission.Grants(), anns.Permission.Grants())
	}
	if user := d.sentUser(); user.Id != weboffice.UserID("user-salt-3Kd8", d.People.URL(),
		"ann") || user.Name != "Ann" {
		t.Errorf("Ann is %+v", user)
	}
	if guests.header.Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("headers %v", guests.header)
	}
	both := map[weboffice.Secret]reply{guest: guests, ann: anns}
	for proof, opened := range both {
		early := d.refresh(proof, opened).want(t, 200, "")
		if early.AccessToken != opened.AccessToken || early.RefreshToken != opened.RefreshToken ||
			early.WebofficeURL != opened.WebofficeURL {
			t.Error("an early refresh gives other tokens")
		}
	}
	d.calls(t, 2, 0)
	<-time.After(time.Until(due))
	for proof, opened := range both {
		renewed := d.refresh(proof, opened).want(t, 200, "")
		if renewed.AccessToken == opened.AccessToken ||
			renewed.RefreshToken == opened.RefreshToken ||
			renewed.WebofficeURL != opened.WebofficeURL || renewed.Permission != opened.Permission {
			t.Error("a refresh gives the old tokens, other rights or another URL")
		}
	}
	d.calls(t, 2, 2)
	started := map[string]string{"Lambda": "Lambda", "container": "plain HTTP"}[d.platform]
	if started == "" {
		started = "Function Compute " + d.platform
	}
	d.stop() // then all of its log is there
	log := d.logs.String()
	if strings.Count(log, `"platform":"`+started+`"`) < 2 ||
		strings.Count(log, `"msg":"decision"`) != 6 {
		t.Error("the log lacks its platform or decisions")
	}
	if d.clouds != nil { // each function has a process of its own
		d.clouds.exchanged(2, 2)
	}
}

// refuses: attacks, of which none reaches IMM, and then their harmless twins. The policy that is
// built in opens nothing.
func refuses(t *testing.T, d *deployment) {
	d.deploy("")
	d.generate(d.proof("ann"), source(plan)).want(t, 401, "Unauthenticated")
	d.generate(guest, source(handbook)).want(t, 401, "Unauthenticated")
	d.deploy(teamPolicy)
	ann, evil := d.proof("ann"), header("Origin", "https://evil.example")
	d.generate(ann, source(plan), evil).want(t, 403, "Forbidden.Origin")
	// an <img>
	d.generate(guest, source(handbook), without("Origin")).want(t, 403, "Forbidden.Origin")
	d.refresh(ann, reply{AccessToken: "a", RefreshToken: "b"}, evil).want(t, 403,
		"Forbidden.Origin")
	asksForPost := header("Access-Control-Request-Method", "POST")
	d.request(http.MethodOptions, d.generateURL, guest, nil, evil, asksForPost).want(t, 403,
		"Forbidden.Origin")
	d.generate(guest, source(plan)).want(t, 401, "Unauthenticated")
	d.generate("nonsense", source(handbook)).want(t, 401, "Unauthenticated")
	d.generate(ann, source(bluePlan)).want(t, 403, "Forbidden")
	d.generate(d.proof("cara"), source(pay)).want(t, 403, "Forbidden")
	d.generate(ann, object("SourceURI", plan, "ProjectName", "another")).want(t, 403,
		"Forbidden.ProjectName")
	d.generate(guest, source("oss://team-docs/teams/red/"+strings.Repeat("x", 1<<20))).want(t, 413,
		"RequestTooLarge")
	for _, key := range []string{"../blue/plan.docx", "%2e%2e/blue/plan.docx", "./plan.docx",
		"..%2Fblue/plan.docx", "/plan.docx", `..\blue\plan.docx`, "plan.docx?x", "plan.docx#x"} {
		d.generate(ann, source("oss://team-docs/teams/red/"+key)).want(t, 400,
			"InvalidArgument.SourceURI")
	}
	d.untouched(t)

	opened := d.open(ann, plan)
	d.refresh(d.proof("bob"), opened).want(t, 400, "InvalidArgument.RefreshToken")
	d.refresh(guest, opened).want(t, 400, "InvalidArgument.RefreshToken")
	for _, odd := range []string{"100%.docx", "a b+c&d=e;f,g.docx", "报告/2026.xlsx",
		"~$[1]{2}.docx"} {
		uri := "oss://team-docs/teams/red/" + odd
		d.document(uri, "")
		if d.open(ann, uri); d.last()["SourceURI"] != uri {
			t.Errorf("sent %q for %q", d.last()["SourceURI"], uri)
		}
	}
	// no browser
	d.generate(guest, source(handbook), without("Origin"), without("Sec-Fetch-Site")).want(t, 200,
		"")
	preflight := d.request(http.MethodOptions, d.generateURL, guest, nil, asksForPost).want(t, 204,
		"")
	if preflight.header.Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("the preflight's headers are %v", preflight.header)
	}
	d.refresh(ann, opened).want(t, 200, "")
	d.calls(t, 6, 0)
}

// anotherPolicy: the same programs start again with another policy beside them. A share link is
// revoked and a right is narrowed, while everything else goes on.
func anotherPolicy(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	link := func(id string) weboffice.Secret {
		token, err := d.mint(caller.LinkClaims{ID: id, Document: plan, Grant: []string{"view"}})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	lost, kept := link("lost-link"), link("kept-link")
	throughLost, throughKept := d.open(lost, plan), d.open(kept, plan)
	guests := d.open(guest, handbook)
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
	if got := d.refresh(guest, guests).want(t, 200, ""); got.Permission.Copy {
		t.Error("the guest may still copy")
	}
	// narrowed rights are a new Generate; the kept link's refresh may be early or not
	if got := d.IMM.Calls(); got.Generate != 5 {
		t.Errorf("IMM did %+v", got)
	}
}

// recordedEvents: what scripts/smoke/events holds for `s invoke` and `aws lambda invoke` gives what
// the files' names say.
func recordedEvents(t *testing.T, d *deployment) {
	prefix := map[string]string{"Lambda": "lambda-", "go1": "fc-", "custom runtime": "fc-"}
	if prefix[d.platform] == "" {
		t.Skip("nobody invokes a container")
	}
	d.deploy(teamPolicy)
	for name, want := range map[string]string{"no-proof": "401 Unauthenticated",
		"preflight": "204 " + origin, "wrong-origin": "403 Forbidden.Origin"} {
		event, err := os.ReadFile("../../scripts/smoke/events/" + prefix[d.platform] + name +
			".json")
		if err != nil {
			t.Fatal(err)
		}
		p := d.processes["generate"]
		answer, err := p.Invoke(p.alive, event)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := decode[struct {
			StatusCode int               `json:"statusCode"`
			Headers    map[string]string `json:"headers"`
			Body       string            `json:"body"`
		}](t, string(answer))
		var body struct{ Code string }
		_ = json.Unmarshal([]byte(got.Body), &body) // a preflight's is empty
		if text := fmt.Sprint(got.StatusCode, " ", got.Headers["Access-Control-Allow-Origin"],
			body.Code); text != want {
			t.Errorf("%s gives %s", name, answer)
		}
	}
	d.untouched(t)
}

// platformsRole: IMM is asked with the role that the platform gives, as it is at each request, and
// never with what a client sends.
func platformsRole(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	d.generate(guest, source(handbook), header("X-Fc-Access-Key-Id", "STS.forged"),
		header("X-Fc-Access-Key-Secret", "forged"), header("X-Fc-Security-Token", "forged")).want(
		t, 200, "")
	if d.platform == "Lambda" {
		d.clouds.exchanged(1, 1)
	}
	if d.platform == "Lambda" || d.platform == "container" {
		return
	}
	first := d.IMM.Credentials()
	renewed := office.Credentials{AccessKeyID: "STS.renewed", Secret: "role-key-secret-5Hb6",
		SecurityToken: "role-security-token-2Wd7"}
	d.hunt.add("the renewed role's secret", renewed.Secret)
	d.hunt.add("the renewed role's token", renewed.SecurityToken)
	d.IMM.SetCredentials(renewed)
	role := &d.processes["generate"].Role
	*role = cloud.Role{AccessKeyID: renewed.AccessKeyID, AccessKeySecret: renewed.Secret,
		SecurityToken: renewed.SecurityToken}
	d.generate(guest, source(handbook)).want(t, 200, "")
	d.calls(t, 2, 0)

	// debian11 may send the header empty: then those of the environment count, which are the first
	role.SecurityToken = ""
	d.IMM.SetCredentials(first)
	if d.platform == "custom runtime" {
		d.generate(guest, source(handbook)).want(t, 200, "")
		d.calls(t, 3, 0)
		return
	}
	// on go1 nothing is left: a long-lived AccessKey would look like this
	asked := len(d.IMM.Requests())
	d.generate(guest, source(handbook)).want(t, 503, "ServiceUnavailable")
	if len(d.IMM.Requests()) != asked || d.IMM.Calls().Failed != 0 {
		t.Error("IMM was asked without a security token")
	}
	d.stop()
	if !strings.Contains(d.logs.String(), "add role to s.yaml") {
		t.Error("the log does not say what to do")
	}
}

// terminates: SIGTERM comes while a generate and a refresh wait for IMM. Both are answered with
// working tokens, and the processes end without an error.
func terminates(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	pages := []*page{d.page(), d.page()}
	pages[1].ask()
	<-time.After(accessLife / 3)
	entered, release := d.gate.hold(len(pages))
	var all sync.WaitGroup
	for _, p := range pages {
		all.Go(func() {
			if asked, got := p.ask(); got.status != 200 {
				t.Errorf("%s: %v", asked, got)
			}
		})
	}
	for range pages {
		<-entered
	}
	for _, p := range d.processes {
		if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	release()
	all.Wait()
	for name, p := range d.processes {
		if <-p.alive.Done(); !p.command.ProcessState.Success() {
			t.Errorf("%s ended with %v", name, p.command.ProcessState)
		}
	}
	d.calls(t, 2, 1)
	for _, p := range pages {
		if state := p.frame("open"); state != "open" {
			t.Errorf("the document is %s", state)
		}
	}
}

// hundredColdRequests: an instance that takes many requests at once, as Lambda has them too,
// exchanges its role once.
func hundredColdRequests(t *testing.T, d *deployment) {
	d.local["AWS_LAMBDA_MAX_CONCURRENCY"] = "100"
	d.deploy(teamPolicy)
	for _, got := range together(100,
		func(int) reply { return d.generate(guest, source(handbook)) }) {
		got.want(t, 200, "")
	}
	d.clouds.exchanged(1, 1)
	d.calls(t, 100, 0)
}

// tokenFromElsewhere: template.yml's OidcTokenFile in place of AWS's tokens.
func tokenFromElsewhere(t *testing.T, d *deployment) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(ownToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.asLambda(map[string]string{"OidcTokenFile": file}); err != nil {
		t.Fatal(err)
	}
	d.clouds.token = ownToken
	d.deploy(teamPolicy)
	d.open(guest, handbook)
	d.clouds.exchanged(0, 1)
}
