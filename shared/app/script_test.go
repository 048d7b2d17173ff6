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
	for name, c := range scriptCommands {
		commands[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			s := ts.Value(scriptKey{}).(*script)
			if s.ts = ts; neg || len(args) < c.least || len(args) > c.most {
				ts.Fatalf("see README.md")
			}
			for i := range args {
				args[i] = repeated(args[i])
			}
			c.run(s, args)
		}
	}
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: commands, Setup: setUp})
}

type scriptKey struct{}

// script is the state of one script.
type script struct {
	*instance  // that is asked now
	ts         *testscript.TestScript
	deployed   map[string]*instance
	persona    string
	claims     map[string]any // besides the persona's own; nil leaves one out
	links      map[string]weboffice.Secret
	from       string           // the client's address
	held       map[string]reply // by persona or by the name they are kept under
	answered   reply            // the newest answer
	callsSoFar office.Calls
	mends      []func()
	banked     []reply
}

// setUp starts the world of a script and its first instance.
func setUp(env *testscript.Env) error {
	first := start(env.T().(testing.TB))
	s := &script{instance: first, persona: "guest",
		deployed: map[string]*instance{"team.yaml": first}, links: map[string]weboffice.Secret{},
		held: map[string]reply{}}
	env.Values[scriptKey{}] = s
	for name, value := range map[string]string{"plan": plan, "budget": budget, "locked": locked,
		"blue": bluePlan, "pay": pay, "handbook": handbook, "issuer": first.People.URL(),
		"old": newKey(), "new": newKey()} {
		env.Setenv(name, value)
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "team.yaml"), []byte(teamPolicy), 0o600)
}

// scriptCommand is a command and how many arguments it takes.
type scriptCommand struct {
	least, most int
	run         func(*script, []string)
}

const many = 100

var scriptCommands map[string]scriptCommand

func init() { // repeat looks the others up
	scriptCommands = map[string]scriptCommand{
		"clock":    {1, 1, func(s *script, args []string) { s.advance(s.duration(args[0])) }},
		"deploy":   {1, many, (*script).deploy},
		"edit":     {3, 9, (*script).edit},
		"fault":    {1, 6, (*script).begin},
		"imm":      {1, 2, (*script).changeIMM},
		"instance": {1, 1, (*script).goTo},
		"meet":     {7, many, (*script).checkMeeting},
		"mend":     {0, 0, func(s *script, _ []string) { s.mend() }},

		"as":   {1, many, (*script).as},
		"from": {1, 1, func(s *script, args []string) { s.from = args[0] }},
		"link": {3, 8, (*script).link},

		"bank":     {3, many, (*script).bank},
		"generate": {0, many, (*script).postGenerate},
		"get":      {1, many, (*script).get},
		"refresh":  {0, many, (*script).postRefresh},
		"repeat":   {2, many, (*script).repeat},
		"request":  {2, many, (*script).anyRequest},
		"wave":     {1, 2, (*script).wave},

		"answer":  {2, many, (*script).checkAnswer},
		"calls":   {1, 2, (*script).checkCalls},
		"differs": {2, many, func(s *script, args []string) { s.compare(args, false) }},
		"granted": {1, many, (*script).checkGranted},
		"header":  {1, 2, (*script).checkHeader},
		"hides": {1, many, func(s *script, args []string) {
			s.wantWithout(s.answered.body+fmt.Sprint(s.answered.header), args)
		}},
		"hunt":   {1, 1, func(s *script, args []string) { s.hunt.add("a hunted text", args[0]) }},
		"keep":   {1, 1, func(s *script, args []string) { s.held[args[0]] = s.answered }},
		"log":    {1, many, (*script).checkLog},
		"same":   {2, many, func(s *script, args []string) { s.compare(args, true) }},
		"sent":   {2, many, (*script).checkSent},
		"spends": {1, 1, func(s *script, args []string) { s.spends = s.number(args[0]) }},
		"unlogged": {1, many, func(s *script, args []string) {
			s.wantWithout(s.logs.String(), args)
		}},
	}
}

// The world.

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	s.ts.Check(err)
	return d
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	s.ts.Check(err)
	return n
}

func (s *script) deploy(args []string) {
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
	s.ts.Check(err)
	s.instance, s.deployed[name] = next, next
}

func (s *script) goTo(args []string) {
	if s.instance = s.deployed[args[0]]; s.instance == nil {
		s.ts.Fatalf("nothing was deployed as %s", args[0])
	}
}

func (s *script) edit(args []string) {
	text := teamPolicy
	for pair := range slices.Chunk(args[1:], 2) {
		if !strings.Contains(text, pair[0]) {
			s.ts.Fatalf("%q is not in the policy", pair[0])
		}
		text = strings.Replace(text, pair[0], strings.ReplaceAll(pair[1], `\n`, "\n"), 1)
	}
	s.ts.Check(os.WriteFile(s.ts.MkAbs(args[0]), []byte(text), 0o600))
}

func (s *script) changeIMM(args []string) {
	switch what, value := args[0], strings.Join(args[1:], ""); what {
	case "clock":
		s.immClock.Advance(s.duration(value))
	case "document":
		s.document(value, "")
	case "project":
		s.IMM.AddProject(value)
	case "strict-names":
		s.IMM.SetSwitches(office.Switches{UserNameStrict: true})
	case "any-names":
		s.IMM.SetSwitches(office.Switches{})
	default:
		s.ts.Fatalf("IMM has no %s", what)
	}
}

func (s *script) begin(args []string) {
	mend := s.fault(args...)
	if mend == nil {
		s.ts.Fatalf("no fault is called %s", args)
	}
	s.mends = append(s.mends, mend)
}

func (s *script) mend() {
	for _, mend := range s.mends {
		mend()
	}
	s.mends = nil
}

// Who asks.

func (s *script) as(args []string) {
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
		s.claims[name] = s.claim(value)
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

func (s *script) proofNow() weboffice.Secret {
	if token, link := s.links[s.persona]; link {
		return token
	}
	if s.persona == "guest" {
		return guest
	}
	return s.proof(s.persona, s.claims)
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
	like    string // a kept answer; "": any
}

func (s *script) exchange(args []string) exchange {
	e := exchange{status: http.StatusOK}
	if i := slices.Index(args, "->"); i >= 0 {
		if len(args) < i+2 || len(args) > i+3 {
			s.ts.Fatalf("want: -> STATUS [CODE], or -> like NAME")
		}
		if args[i+1] == "like" {
			e.like = args[i+2]
		} else {
			e.status, e.code = s.number(args[i+1]), strings.Join(args[i+2:], "")
		}
		args = args[:i]
	}
	if s.from != "" {
		e.options = append(e.options, header("X-Forwarded-For", s.from))
	}
	for i, argument := range args {
		if i == 0 && strings.HasPrefix(argument, "oss:") ||
			!headerArgument.MatchString(argument) {
			e.sent = append(e.sent, argument)
			continue
		}
		name, value, _ := strings.Cut(argument, ":")
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

// expect holds an answer to what the line says. Its tokens become those of whoever asked with their
// own.
func (s *script) expect(e exchange, got reply, own bool) {
	got.user = s.last()["User"]
	s.answered = got
	if e.like != "" {
		s.wantLike(got, s.held[e.like])
	} else if got.status != e.status || e.code != "" && got.Code != e.code {
		s.ts.Fatalf("the answer is %v: %s", got, got.Message)
	}
	if got.status == http.StatusOK && own {
		s.held[s.persona] = got
	}
}

func (s *script) postGenerate(args []string) {
	e := s.exchange(args)
	s.expect(e, s.generate(s.proofNow(), s.body(e.sent), e.options...), true)
}

// body is a document and parameters, or the text as it is, or that of a file.
func (s *script) body(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	if file, ok := strings.CutPrefix(parts[0], "@"); ok {
		return s.ts.ReadFile(file)
	}
	if strings.HasPrefix(parts[0], "oss:") {
		parts[0] = "SourceURI=" + parts[0]
	}
	var members []string
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
	tokens := s.held[s.persona]
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
		if which != "refresh" {
			tokens.AccessToken = other.AccessToken
		}
		if which != "access" {
			tokens.RefreshToken = other.RefreshToken
		}
	}
	s.expect(e, s.refresh(s.proofNow(), tokens, e.options...), len(e.sent) == 0)
}

func (s *script) get(args []string) { s.anyRequest(append([]string{http.MethodGet}, args...)) }

// anyRequest sends METHOD, generate or refresh with a path and a query, and a body.
func (s *script) anyRequest(args []string) {
	e := s.exchange(args)
	url := strings.TrimSuffix(s.generateURL, "generate") + e.sent[1]
	s.expect(e, s.request(e.sent[0], url, s.proofNow(), strings.NewReader(s.body(e.sent[2:])),
		e.options...), true)
}

func (s *script) repeat(args []string) {
	for range s.number(args[0]) {
		scriptCommands[args[1]].run(s, slices.Clone(args[2:]))
	}
}

// bank runs a command N times, some time after each, and keeps the tokens.
func (s *script) bank(args []string) {
	s.banked = nil
	for range s.number(args[0]) {
		scriptCommands[args[2]].run(s, slices.Clone(args[3:]))
		s.banked = append(s.banked, s.answered)
		s.advance(s.duration(args[1]))
	}
}

// wave refreshes all banked tokens, some time after each, and wants IMM to bill so many calls at
// most for it.
func (s *script) wave(args []string) {
	before := s.IMM.Calls().Billed()
	for _, tokens := range s.banked {
		if got := s.refresh(s.proofNow(), tokens, s.exchange(nil).options...); got.status != 200 &&
			got.status != 429 {
			s.ts.Fatalf("the answer is %v", got)
		}
		if len(args) > 1 {
			s.advance(s.duration(args[1]))
		}
	}
	if billed := s.IMM.Calls().Billed() - before; billed > s.number(args[0]) {
		s.ts.Fatalf("%d calls are billed", billed)
	}
}

// What is expected.

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

func (s *script) checkAnswer(args []string) {
	for pair := range slices.Chunk(args, 2) {
		if got := s.answered.field(pair[0]); got != pair[1] {
			s.ts.Fatalf("%s is %q", pair[0], got)
		}
	}
}

func (s *script) checkGranted(args []string) {
	if got := s.answered.Permission.Grants(); !slices.Equal(got, args) {
		s.ts.Fatalf("granted is %v", got)
	}
}

func (s *script) checkHeader(args []string) {
	got := strings.Join(s.answered.header.Values(args[0]), ", ")
	if got != strings.Join(args[1:], "") {
		s.ts.Fatalf("%s is %q", args[0], got)
	}
}

// wantWithout wants that none of these stands in a text.
func (s *script) wantWithout(text string, these []string) {
	for _, one := range these {
		if strings.Contains(text, one) {
			s.ts.Fatalf("%s is in %s", one, text)
		}
	}
}

func (s *script) compare(args []string, equal bool) {
	other, known := s.held[args[0]]
	for _, name := range args[1:] {
		if got := s.answered.field(name); !known || (got == other.field(name)) != equal {
			s.ts.Fatalf("%s: %.60q and, in %s, %.60q", name, got, args[0], other.field(name))
		}
	}
}

// wantLike wants an answer to be what another was, but for the RequestId.
func (s *script) wantLike(both ...reply) {
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

// checkSent looks at the newest call of IMM.
func (s *script) checkSent(args []string) {
	for pair := range slices.Chunk(args, 2) {
		name, member, structured := strings.Cut(pair[0], ".")
		got := s.last()[name]
		if structured {
			got = reply{body: got}.field(member)
		}
		if got != pair[1] {
			s.ts.Fatalf("%s was sent as %q", pair[0], got)
		}
	}
}

// checkCalls looks at what IMM did since the last time: calls that it bills, or "none": it was not
// even asked.
func (s *script) checkCalls(args []string) {
	calls := s.IMM.Calls()
	got := fmt.Sprintf("generate=%d refresh=%d", calls.Generate-s.callsSoFar.Generate,
		calls.Refresh-s.callsSoFar.Refresh)
	if calls == s.callsSoFar {
		got = "none"
	}
	s.callsSoFar = calls
	if want := strings.Join(args, " "); got != want {
		s.ts.Fatalf("calls %s", got)
	}
}

// checkLog looks at the newest line about a request: NAME=VALUE, NAME~PATTERN.
func (s *script) checkLog(args []string) {
	lines := s.requestLines()
	line := lines[len(lines)-1]
	if id := s.answered.RequestId; id != "" && line["requestId"] != id {
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

// checkMeeting is a row of the table of failures, each in a world of its own.
func (s *script) checkMeeting(args []string) {
	i := slices.Index(args, "->")
	if i < 2 || len(args) != i+6 {
		s.ts.Fatalf("want: meet FUNCTION FAULT -> ANSWER IMM LOG THEN BILLED")
	}
	e := s.exchange(args[1:i])
	faults := [][]string{nil}
	for _, word := range e.sent {
		if word == "then" {
			faults = append(faults, nil)
			continue
		}
		faults[len(faults)-1] = append(faults[len(faults)-1], word)
	}
	want := args[i+1:]
	for i, text := range want {
		if text == "-" {
			want[i] = ""
		}
	}
	other := start(s.t)
	got, err := other.meet(args[0], faults, e.options...)
	if other.passed = err == nil && slices.Equal(got, want); !other.passed {
		s.ts.Fatalf("%v\n got %q\nwant %q", err, got, want)
	}
}
