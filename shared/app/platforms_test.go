package app_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

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
	run := func(platform, name string, test func(*testing.T, *deployment)) {
		t.Run(platform+"/"+name, func(t *testing.T) {
			t.Parallel()
			test(t, newDeployment(t, packages, platform))
		})
	}
	for _, platform := range []string{"go1", "custom runtime", "Lambda", "container"} {
		run(platform, "opens and refreshes", opensAndRefreshes)
		run(platform, "refuses", refuses)
		run(platform, "recorded events", recordedEvents)
		run(platform, "the platform's role signs", platformsRole)
		run(platform, "SIGTERM with requests under way", terminates)
	}
	run("Lambda", "an OIDC token from elsewhere", tokenFromElsewhere)
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
		local:     map[string]string{"WEBOFFICE_IMM_ENDPOINT": w.network.url},
		processes: map[string]*process{},
	}
	w.logged = append(w.logged, d.logs)
	d.client = &http.Client{Transport: d}
	switch platform {
	case "go1", "custom runtime":
		d.functions = serverlessDevs(t, w.Environment)
	case "Lambda":
		d.asLambda(map[string]string{"SessionKeys": w.Environment["WEBOFFICE_SESSION_KEYS"],
			"LinkKeys": w.Environment["WEBOFFICE_LINK_KEYS"],
			"UserSalt": w.Environment["WEBOFFICE_USER_SALT"]})
	case "container":
		d.functions = w.containers()
	}
	t.Cleanup(d.stop)
	return d
}

// containers are the two functions as anybody's container service runs them.
func (w *world) containers() map[string]function {
	functions, environment := map[string]function{}, maps.Clone(w.Environment)
	delete(environment, "WEBOFFICE_POLICY_FILE")
	delete(environment, "FC_FUNCTION_NAME")
	for _, name := range []string{"generate", "refresh"} {
		functions[name] = function{folder: "fc/" + name, handler: "bootstrap",
			timeout: 30 * time.Second, environment: environment}
	}
	return functions
}

// asLambda takes the functions from template.yml with these parameters.
func (d *deployment) asLambda(parameters map[string]string) {
	d.t.Helper()
	template := newSAM(d.t, parameters)
	d.clouds = newClouds(d.t, d.world, template.mayAsk())
	maps.Copy(d.local, d.clouds.overrides)
	d.functions = template.functions(d.t)
}

// deploy starts both functions with a policy beside each, those that ran before stopped; "" leaves
// the policy that was built in.
func (d *deployment) deploy(policy string) {
	d.t.Helper()
	d.stop()
	for name, f := range d.functions {
		folder, built := d.t.TempDir(), filepath.Join(d.packages, f.folder)
		text := cmp.Or(strings.ReplaceAll(policy, "http://127.0.0.1:8080", d.URL),
			read(d.t, filepath.Join(built, "policy.yaml")))
		program := filepath.Join(folder, f.handler)
		if err := errors.Join(os.Link(filepath.Join(built, f.handler), program),
			os.WriteFile(filepath.Join(folder, "policy.yaml"), []byte(text), 0o600)); err != nil {
			d.t.Fatal(err)
		}
		d.launch(name, f, program)
	}
}

// launch starts a function on its platform.
func (d *deployment) launch(name string, f function, program string) {
	d.t.Helper()
	newRuntime := map[string]func() (*cloud.Runtime, error){
		"go1": cloud.NewFunctionCompute, "custom runtime": cloud.NewCustomRuntime,
		"Lambda": cloud.NewLambda, "container": cloud.NewContainer}[d.platform]
	if want := map[string]string{"go1": "go1", "Lambda": "provided.al2023"}[d.platform]; want != "" &&
		f.runtime != want {
		d.t.Fatalf("the template names the runtime %s", f.runtime)
	}
	runtime, err := newRuntime()
	if err != nil {
		d.t.Fatal(err)
	}
	runtime.Role = role(d.IMM.Credentials())
	runtime.Timeout = f.timeout
	alive, ended := context.WithCancel(context.Background())
	p := &process{Runtime: runtime, alive: alive, command: exec.Command(program)}
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

// role gives credentials as the platforms do.
func role(c office.Credentials) cloud.Role {
	return cloud.Role{AccessKeyID: c.AccessKeyID, AccessKeySecret: c.Secret,
		SecurityToken: c.SecurityToken}
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
	user := decode[weboffice.User](t, d.last()["User"])
	if user.Id != weboffice.UserID("user-salt-3Kd8", d.People.URL(), "ann") || user.Name != "Ann" {
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
// built in opens nothing. The scripts have all that does not depend on a platform.
func refuses(t *testing.T, d *deployment) {
	d.deploy("")
	d.generate(d.proof("ann"), source(plan)).want(t, 401, "Unauthenticated")
	d.generate(guest, source(handbook)).want(t, 401, "Unauthenticated")
	d.deploy(teamPolicy)
	ann, evil := d.proof("ann"), header("Origin", "https://evil.example")
	d.generate(ann, source(plan), evil).want(t, 403, "Forbidden.Origin")
	// an <img>
	d.generate(guest, source(handbook), without("Origin")).want(t, 403, "Forbidden.Origin")
	asksForPost := header("Access-Control-Request-Method", "POST")
	d.request(http.MethodOptions, d.generateURL, guest, nil, evil, asksForPost).want(t, 403,
		"Forbidden.Origin")
	d.generate("nonsense", source(handbook)).want(t, 401, "Unauthenticated")
	d.generate(ann, source(bluePlan)).want(t, 403, "Forbidden")
	d.generate(guest, source("oss://team-docs/teams/red/"+strings.Repeat("x", 1<<20))).want(t, 413,
		"RequestTooLarge")
	d.untouched(t)

	opened := d.open(ann, plan)
	d.refresh(d.proof("bob"), opened).want(t, 400, "InvalidArgument.RefreshToken")
	odd := "oss://team-docs/teams/red/报告 100%/a b+c&d=e;f,~$[1]{2}.docx"
	d.document(odd, "")
	if d.open(ann, odd); d.last()["SourceURI"] != odd {
		t.Errorf("sent %q for %q", d.last()["SourceURI"], odd)
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
	d.calls(t, 3, 0)

	guests := d.open(guest, handbook) // and may do less when a narrower policy was deployed
	d.deploy(strings.Replace(teamPolicy, "grant: [view, copy]", "grant: [view]", 1))
	d.refresh(ann, opened).want(t, 200, "")
	if got := d.refresh(guest, guests).want(t, 200, ""); got.Permission.Copy {
		t.Error("the guest may still copy")
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
		event := read(t, "../../scripts/smoke/events/"+prefix[d.platform]+name+".json")
		p := d.processes["generate"]
		answer, err := p.Invoke(p.alive, []byte(event))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := decode[struct {
			StatusCode int
			Headers    map[string]string
			Body       string
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
	renewed := office.Credentials{AccessKeyID: "STS.renewed", Secret: "role-key-secret-5Hb6",
		SecurityToken: "role-security-token-2Wd7"}
	d.hunt.add("the renewed role's secret", renewed.Secret)
	d.hunt.add("the renewed role's token", renewed.SecurityToken)
	d.IMM.SetCredentials(renewed)
	d.processes["generate"].Role = role(renewed)
	d.generate(guest, source(handbook)).want(t, 200, "")
	d.calls(t, 2, 0)
}

// terminates: SIGTERM comes while a page waits for IMM. It is answered with working tokens, and the
// process ends without an error.
func terminates(t *testing.T, d *deployment) {
	d.deploy(teamPolicy)
	p, process := d.page(), d.processes["generate"]
	entered, release := d.network.hold(1)
	answered := make(chan reply)
	go func() { _, got := p.ask(); answered <- got }()
	<-entered
	if err := process.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	release()
	if got := <-answered; got.status != 200 || p.frame("open") != "open" {
		t.Errorf("%v", got)
	}
	if <-process.alive.Done(); !process.command.ProcessState.Success() {
		t.Errorf("it ended with %v", process.command.ProcessState)
	}
	d.calls(t, 1, 0)
}

// tokenFromElsewhere: template.yml's OidcTokenFile in place of AWS's tokens, and its other
// parameters as they are by default: nobody shares links.
func tokenFromElsewhere(t *testing.T, d *deployment) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(ownToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.asLambda(map[string]string{"OidcTokenFile": file})
	d.clouds.token = ownToken
	d.deploy(strings.Replace(teamPolicy, "issuer: links", "issuer: staff", 1))
	d.open(guest, handbook)
	d.clouds.exchanged(0, 1)
}
