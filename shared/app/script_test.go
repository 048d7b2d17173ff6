package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// TestScripts runs testdata/script, whose README describes the commands.
//
//	go test ./shared/app -run Scripts/links
func TestScripts(t *testing.T) {
	t.Parallel()
	commands := map[string]func(*testscript.TestScript, bool, []string){}
	for name, command := range scriptCommands {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(scriptKey{}).(*script)
			s.ts, s.wantError = ts, neg
			if neg && name != "deploy" {
				ts.Fatalf("only deploy can be expected to fail")
			}
			command(s, args)
		}
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: commands, Setup: setUp})
}

type scriptKey struct{}

// script is the state of one script.
type script struct {
	*instance  // that is asked now
	ts         *testscript.TestScript
	wantError  bool
	deployed   map[string]*instance
	persona    string
	claims     map[string]any // besides the persona's own; nil leaves one out
	links      map[string]weboffice.Secret
	from       string           // the client's address
	held       map[string]reply // by persona or by the name they are kept under
	answered   reply            // the newest answer
	callsSoFar office.Calls
	asksSoFar  int
	spends     int // refresh tokens that may have been sent twice
	mends      []func()
}

// setUp starts the world of a script and its first instance.
func setUp(env *testscript.Env) error {
	w := newWorld(env.T().(testing.TB), worldOptions{})
	first := w.first()
	s := &script{instance: first, persona: "guest",
		deployed: map[string]*instance{"team.yaml": first}, links: map[string]weboffice.Secret{},
		held: map[string]reply{}}
	env.Values[scriptKey{}] = s
	env.Defer(func() {
		if spends := w.IMM.DoubleSpends(); len(spends) != s.spends {
			w.t.Errorf("%d refresh tokens were sent twice", len(spends))
		}
	})
	for name, uri := range map[string]string{"plan": plan, "budget": budget, "locked": locked,
		"blue": bluePlan, "pay": pay, "handbook": handbook} {
		env.Setenv(name, uri)
	}
	env.Setenv("old", newKey())
	env.Setenv("new", newKey())
	return os.WriteFile(filepath.Join(env.WorkDir, "team.yaml"), []byte(teamPolicy), 0o600)
}

var scriptCommands = map[string]func(*script, []string){
	"answer": (*script).answer, "as": (*script).as, "calls": (*script).checkCalls,
	"clock": (*script).moveClock, "deploy": (*script).deploy, "document": (*script).lay,
	"edit": (*script).edit, "fault": (*script).begin, "from": (*script).comeFrom,
	"generate": (*script).postGenerate, "get": (*script).get, "granted": (*script).granted,
	"header": (*script).checkHeader, "hides": (*script).hides,
	"imm-clock": (*script).moveIMMClock,
	"hunt":      (*script).search, "instance": (*script).goTo, "keep": (*script).keep, "like": (*script).like,
	"link": (*script).link, "log": (*script).checkLog, "meet": (*script).checkMeeting,
	"mend": (*script).mend, "differs": (*script).differs, "project": (*script).project,
	"refresh": (*script).postRefresh, "request": (*script).anyRequest, "same": (*script).same,
	"sent": (*script).checkSent, "spends": (*script).checkSpends, "stay": (*script).stay,
	"switch": (*script).flip, "unlogged": (*script).unlogged,
}

func init() { scriptCommands["repeat"] = (*script).repeat } // it looks the others up

// need fails the script unless there are so many arguments.
func (s *script) need(args []string, least, most int) {
	if len(args) < least || len(args) > most {
		s.ts.Fatalf("%d arguments, see README.md", len(args))
	}
}

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	s.ts.Check(err)
	return d
}

// The world.

func (s *script) moveClock(args []string) {
	s.need(args, 1, 1)
	s.advance(s.duration(args[0]))
}

func (s *script) moveIMMClock(args []string) {
	s.need(args, 1, 1)
	s.immClock.Advance(s.duration(args[0]))
}

func (s *script) deploy(args []string) {
	s.need(args, 1, 100)
	name, changes := args[0], map[string]string{}
	for _, pair := range args[1:] {
		variable, value, _ := strings.Cut(pair, "=")
		if variable == "name" {
			name = value
			continue
		}
		changes[variable] = strings.ReplaceAll(value, "NEWKEY", newKey())
	}
	next, err := s.another(s.ts.ReadFile(args[0]), changes)
	if s.wantError {
		if err == nil {
			s.ts.Fatalf("it starts")
		}
		_, _ = fmt.Fprintln(s.ts.Stdout(), err)
		return
	}
	s.ts.Check(err)
	s.instance, s.deployed[name] = next, next
}

func (s *script) goTo(args []string) {
	s.need(args, 1, 1)
	if s.instance = s.deployed[args[0]]; s.instance == nil {
		s.ts.Fatalf("nothing was deployed as %s", args[0])
	}
}

func (s *script) edit(args []string) {
	s.need(args, 3, 9)
	text := teamPolicy
	for pair := range slices.Chunk(args[1:], 2) {
		if strings.Count(text, pair[0]) == 0 {
			s.ts.Fatalf("%q is not in the policy", pair[0])
		}
		text = strings.Replace(text, pair[0], strings.ReplaceAll(pair[1], `\n`, "\n"), 1)
	}
	s.ts.Check(os.WriteFile(s.ts.MkAbs(args[0]), []byte(text), 0o600))
}

func (s *script) lay(args []string) {
	s.need(args, 1, 1)
	s.document(repeated(args[0]), "")
}

func (s *script) project(args []string) {
	s.need(args, 1, 1)
	s.IMM.AddProject(args[0])
}

func (s *script) flip(args []string) {
	s.need(args, 1, 1)
	s.IMM.SetSwitches(office.Switches{UserNameStrict: args[0] == "user-name-strict",
		OldTokensDie: args[0] == "old-tokens-die", NewURLEachTime: args[0] == "new-url-each-time"})
}

func (s *script) begin(args []string) {
	s.need(args, 1, 6)
	mend, err := s.fault(args...)
	s.ts.Check(err)
	s.mends = append(s.mends, mend)
}

func (s *script) mend(args []string) {
	s.need(args, 0, 0)
	for _, mend := range s.mends {
		mend()
	}
	s.mends = nil
}

// Who asks.

func (s *script) as(args []string) {
	s.need(args, 1, 20)
	s.persona, s.claims = args[0], map[string]any{}
	_, known := people[s.persona]
	if _, link := s.links[s.persona]; !known && !link && s.persona != "guest" {
		s.ts.Fatalf("there is nobody called %s", s.persona)
	}
	for _, claim := range args[1:] {
		if name, left := strings.CutPrefix(claim, "-"); left {
			s.claims[name] = nil
			continue
		}
		name, value, _ := strings.Cut(claim, "=")
		s.claims[name] = s.claim(repeated(value))
	}
}

// claim is JSON where it is valid, a time such as now-61s, or text.
func (s *script) claim(text string) any {
	if wait, timed := strings.CutPrefix(text, "now"); timed {
		return s.clock.Now().Add(s.duration(wait)).Unix()
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

func (s *script) link(args []string) {
	s.need(args, 3, 8)
	claims := caller.LinkClaims{ID: args[0]}
	for _, pair := range args[1:] {
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "document":
			claims.Document = value
		case "grant":
			claims.Grant = strings.Split(value, ",")
		case "sub":
			claims.Subject = value
		case "name":
			claims.Name = value
		case "for":
			claims.Expires = s.clock.Now().Add(s.duration(value))
		default:
			s.ts.Fatalf("links have no %s", name)
		}
	}
	token, err := s.mint(claims)
	s.ts.Check(err)
	s.links[args[0]] = token
}

func (s *script) comeFrom(args []string) {
	s.need(args, 1, 1)
	s.from = args[0]
}

func (s *script) proofNow() weboffice.Secret {
	if token, link := s.links[s.persona]; link {
		return token
	}
	if s.persona == "guest" {
		return guest
	}
	return s.world.proof(s.persona, s.claims)
}

// Requests.

var (
	headerArgument = regexp.MustCompile(`^[\w-]+:`)
	parameter      = regexp.MustCompile(`^([A-Za-z_]+)=`)
	repetition     = regexp.MustCompile(`<(\d+)\*(.+?)>`)
)

// repeated writes <3*ab> as ababab.
func repeated(text string) string {
	return repetition.ReplaceAllStringFunc(text, func(found string) string {
		parts := repetition.FindStringSubmatch(found)
		n, _ := strconv.Atoi(parts[1]) // digits
		return strings.Repeat(parts[2], n)
	})
}

// exchange is a command line of the form: what is sent -> what is expected.
type exchange struct {
	sent    []string // without headers
	options []option
	status  int
	code    string
}

func (s *script) exchange(args []string) exchange {
	e := exchange{status: http.StatusOK}
	if i := slices.Index(args, "->"); i >= 0 {
		s.need(args[i+1:], 1, 2)
		var err error
		e.status, err = strconv.Atoi(args[i+1])
		s.ts.Check(err)
		e.code = strings.Join(args[i+2:], "")
		args = args[:i]
	}
	if s.from != "" {
		e.options = append(e.options, header("X-Forwarded-For", s.from))
	}
	for i, argument := range args {
		if i == 0 && strings.HasPrefix(argument, "oss:") || !headerArgument.MatchString(argument) {
			e.sent = append(e.sent, repeated(argument))
			continue
		}
		name, value, _ := strings.Cut(repeated(argument), ":")
		if value = strings.TrimSpace(value); value == "" {
			e.options = append(e.options, without(name))
		} else if name, more := strings.CutPrefix(name, "also-"); more {
			e.options = append(e.options, func(r *http.Request) { r.Header.Add(name, value) })
		} else {
			e.options = append(e.options, header(name, value))
		}
	}
	return e
}

// expect takes an answer in, and holds it to what the line says.
func (s *script) expect(e exchange, got reply) {
	got.user = s.last()["User"]
	s.answered = got
	if got.status != e.status || e.code != "" && got.Code != e.code {
		s.ts.Fatalf("the answer is %v: %s", got, got.Message)
	}
}

func (s *script) postGenerate(args []string) {
	e := s.exchange(args)
	s.expect(e, s.generate(s.proofNow(), s.body(e.sent), e.options...))
	if s.answered.status == http.StatusOK {
		s.held[s.persona] = s.answered
	}
}

// body is a document and parameters, or the text as it is, or that of a file.
func (s *script) body(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	if file, ok := strings.CutPrefix(parts[0], "@"); ok {
		return s.ts.ReadFile(file)
	}
	var members []string
	if strings.HasPrefix(parts[0], "oss:") {
		parts[0] = "SourceURI=" + parts[0]
	}
	for _, part := range parts {
		name := parameter.FindStringSubmatch(part)
		if name == nil {
			return strings.Join(parts, " ")
		}
		value := part[len(name[0]):]
		text, _ := json.Marshal(value) // texts always marshal
		if json.Valid([]byte(value)) && strings.ContainsAny(value[:1], `{["tfn`) {
			text = []byte(value)
		}
		members = append(members, fmt.Sprintf("%q:%s", name[1], text))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (s *script) postRefresh(args []string) {
	e := s.exchange(args)
	tokens, own := s.held[s.persona], len(e.sent) == 0
	for _, argument := range e.sent {
		which, name, mixed := strings.Cut(argument, "=")
		if !mixed {
			name = which
		}
		other, known := s.held[name]
		if !known && !mixed {
			s.ts.Fatalf("no answer is held for %s", name)
		}
		if !known {
			other = reply{AccessToken: name, RefreshToken: name}
		}
		switch {
		case !mixed:
			tokens = other
		case which == "access":
			tokens.AccessToken = other.AccessToken
		default:
			tokens.RefreshToken = other.RefreshToken
		}
	}
	s.expect(e, s.refresh(s.proofNow(), tokens, e.options...))
	if s.answered.status == http.StatusOK && own {
		s.held[s.persona] = s.answered
	}
}

func (s *script) get(args []string) {
	s.need(args, 2, 20)
	s.anyRequest(append([]string{http.MethodGet}, args...))
}

// anyRequest sends METHOD, generate or refresh with a path and a query, and a body.
func (s *script) anyRequest(args []string) {
	e := s.exchange(args)
	s.need(e.sent, 2, 10)
	url := strings.TrimSuffix(s.generateURL, "generate") + e.sent[1]
	s.expect(e, s.request(e.sent[0], url, s.proofNow(),
		strings.NewReader(s.body(e.sent[2:])), e.options...))
	if s.answered.status == http.StatusOK {
		s.held[s.persona] = s.answered
	}
}

// stay lets a page be open for a while, in which it refreshes every 20 minutes.
func (s *script) stay(args []string) {
	s.need(args, 1, 1)
	const every = 20 * time.Minute
	for range s.duration(args[0]) / every {
		s.advance(every)
		s.postRefresh(nil)
	}
}

func (s *script) repeat(args []string) {
	s.need(args, 2, 20)
	n, err := strconv.Atoi(args[0])
	s.ts.Check(err)
	for range n {
		scriptCommands[args[1]](s, slices.Clone(args[2:]))
	}
}

// What is expected.

func (s *script) keep(args []string) {
	s.need(args, 1, 1)
	s.held[args[0]] = s.answered
}

// field is a member of an answer, as JSON writes it but for the quotes.
func (r reply) field(name string) string {
	if name == "User" {
		return r.user
	}
	var members map[string]any
	if json.Unmarshal([]byte(r.body), &members) != nil || members[name] == nil {
		return ""
	}
	if number, ok := members[name].(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(members[name])
}

func (s *script) answer(args []string) {
	s.need(args, 2, 20)
	for pair := range slices.Chunk(args, 2) {
		if got := s.answered.field(pair[0]); got != pair[1] {
			s.ts.Fatalf("%s is %q", pair[0], got)
		}
	}
}

func (s *script) granted(args []string) {
	if got := s.answered.Permission.Grants(); !slices.Equal(got, args) {
		s.ts.Fatalf("granted is %v", got)
	}
}

func (s *script) checkHeader(args []string) {
	s.need(args, 1, 2)
	got := strings.Join(s.answered.header.Values(args[0]), ", ")
	if got != strings.Join(args[1:], "") {
		s.ts.Fatalf("%s is %q", args[0], got)
	}
}

func (s *script) same(args []string) { s.compare(args, true) }

func (s *script) differs(args []string) { s.compare(args, false) }

func (s *script) compare(args []string, equal bool) {
	s.need(args, 2, 20)
	other, known := s.held[args[0]]
	for _, name := range args[1:] {
		if got := s.answered.field(name); !known || (got == other.field(name)) != equal {
			s.ts.Fatalf("%s: %.60q and, in %s, %.60q", name, got, args[0], other.field(name))
		}
	}
}

// like wants the newest answer to be what another was, but for the RequestId.
func (s *script) like(args []string) {
	s.need(args, 1, 1)
	both := [2]reply{s.answered, s.held[args[0]]}
	for i, r := range both {
		both[i].header, both[i].body = r.header.Clone(), strings.ReplaceAll(r.body, r.RequestId, "")
		both[i].header.Del("Date")
		both[i].header.Del("Content-Length")
	}
	if both[0].status != both[1].status || both[0].body != both[1].body ||
		!maps.EqualFunc(both[0].header, both[1].header, slices.Equal) {
		s.ts.Fatalf("%v and %v", both[0], both[1])
	}
}

// checkSent looks at the newest call of IMM. Without arguments it is printed, for cmp.
func (s *script) checkSent(args []string) {
	sent := s.last()
	if len(args) == 0 {
		for _, name := range slices.Sorted(maps.Keys(sent)) {
			value := sent[name]
			if strings.HasSuffix(name, "Token") {
				value = "(a token)"
			}
			_, _ = fmt.Fprintf(s.ts.Stdout(), "%s: %s\n", name, randomID.ReplaceAllString(value,
				`"Id":"(random)"`))
		}
		return
	}
	s.need(args, 2, 20)
	for pair := range slices.Chunk(args, 2) {
		name, member, structured := strings.Cut(pair[0], ".")
		got := sent[name]
		if structured {
			got = reply{body: got}.field(member)
		}
		if got != repeated(pair[1]) {
			s.ts.Fatalf("%s was sent as %q", pair[0], got)
		}
	}
}

// randomID is a guest's.
var randomID = regexp.MustCompile(`"Id":"\w{15}"`)

// checkCalls looks at what IMM did since the last time: calls that it bills, or "none": it was not
// even asked.
func (s *script) checkCalls(args []string) {
	s.need(args, 1, 2)
	calls, asks := s.IMM.Calls(), len(s.IMM.Requests())
	got := fmt.Sprintf("generate=%d refresh=%d", calls.Generate-s.callsSoFar.Generate,
		calls.Refresh-s.callsSoFar.Refresh)
	if asks == s.asksSoFar {
		got = "none"
	}
	s.callsSoFar, s.asksSoFar = calls, asks
	if want := strings.Join(args, " "); got != want {
		s.ts.Fatalf("calls %s", got)
	}
}

// checkSpends looks at how many refresh tokens were sent to IMM twice: none, unless a line says it.
func (s *script) checkSpends(args []string) {
	s.need(args, 1, 1)
	s.spends = len(s.IMM.DoubleSpends())
	if got := strconv.Itoa(s.spends); got != args[0] {
		s.ts.Fatalf("%s refresh tokens were sent twice", got)
	}
}

// checkLog looks at the newest line about a request: NAME=VALUE, NAME~PATTERN.
func (s *script) checkLog(args []string) {
	lines := s.requestLines()
	if len(lines) == 0 {
		s.ts.Fatalf("nothing is logged")
	}
	line := lines[len(lines)-1]
	if line["requestId"] != s.answered.RequestId && s.answered.RequestId != "" &&
		line["immRequestId"] != s.answered.RequestId {
		s.ts.Fatalf("the newest line is of another request: %v", line)
	}
	for _, argument := range args {
		i := strings.IndexAny(argument, "=~")
		if i < 0 {
			s.ts.Fatalf("%s: want NAME=VALUE or NAME~PATTERN", argument)
		}
		name, want, got := argument[:i], argument[i+1:], ""
		if value := line[name]; value != nil {
			got = fmt.Sprint(value)
		}
		if argument[i] == '=' && got != want ||
			argument[i] == '~' && !regexp.MustCompile(want).MatchString(got) {
			s.ts.Fatalf("%s is %q in %v", name, got, line)
		}
	}
}

// search adds a text to what is searched for at the end.
func (s *script) search(args []string) {
	s.need(args, 1, 1)
	s.hunt.add("what the script hunts for", args[0])
}

func (s *script) hides(args []string) {
	s.need(args, 1, 10)
	for _, text := range args {
		if strings.Contains(s.answered.body+fmt.Sprint(s.answered.header), text) {
			s.ts.Fatalf("%s is in the answer: %s", text, s.answered.body)
		}
	}
}

func (s *script) unlogged(args []string) {
	s.need(args, 1, 10)
	for _, text := range args {
		if strings.Contains(s.logs.String(), text) {
			s.ts.Fatalf("%s is in the log", text)
		}
	}
}

// checkMeeting is a row of the table of failures, each in a world of its own.
func (s *script) checkMeeting(args []string) {
	i := slices.Index(args, "->")
	if i < 2 {
		s.ts.Fatalf("want: meet FUNCTION FAULT -> ANSWER IMM LOG THEN BILLED")
	}
	s.need(args[i+1:], 5, 5)
	var faults [][]string
	words, options := []string{}, []option{}
	for _, word := range args[1:i] {
		switch {
		case headerArgument.MatchString(word):
			name, value, _ := strings.Cut(word, ":")
			options = append(options, header(name, strings.TrimSpace(value)))
		case word == "then":
			faults, words = append(faults, words), nil
		default:
			words = append(words, word)
		}
	}
	faults = append(faults, words)
	for j, word := range args {
		if word == "-" {
			args[j] = ""
		}
	}
	want := cell{args[i+1], args[i+2], args[i+3], args[i+4], args[i+5]}
	other := start(s.t)
	got, err := other.meet(args[0], faults, options...)
	if other.passed = err == nil && got == want; !other.passed {
		s.ts.Fatalf("%v\n got %+q\nwant %+q", err, got, want)
	}
}
