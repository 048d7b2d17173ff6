package main

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
)

// root is the project's folder, from here.
const root = "../.."

// guides reads every guide of the project, by its path.
func guides(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains([]string{".git", "node_modules", "dist", ".s", ".aws-sam"},
			d.Name()) {
			return fs.SkipDir
		}
		if path.Ext(name) == ".md" {
			text, err := os.ReadFile(filepath.Join(root, name))
			texts[name] = string(text)
			return err
		}
		return nil
	})
	if err != nil || texts["README.md"] == "" {
		t.Fatalf("no guides: %v", err)
	}
	return texts
}

var (
	fence   = regexp.MustCompile("(?ms)^(?: *<!-- not run: (.*?) -->\n)? *```(\\w*)\n(.*?)^ *```$")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	named   = regexp.MustCompile(`^(?:# |// |<!-- )([\w./-]+\.\w+)(?: -->)?\n`)
)

// anchors are the names that a browser finds in a guide, in the form that code hosts give them.
func anchors(text string) []string {
	var names []string
	for _, found := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		title := link.ReplaceAllString(strings.ReplaceAll(found[1], "[", ""), "")
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title))
	}
	return names
}

// Links between the guides and into the project lead somewhere. Other hosts are not asked.
func TestLinksOfTheGuides(t *testing.T) {
	texts, followed := guides(t), 0
	for name, text := range texts {
		for _, found := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			followed++
			at := name
			if target != "" {
				at = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, at)); err != nil {
				t.Errorf("%s: %s leads nowhere", name, found[1])
			} else if anchor != "" && !slices.Contains(anchors(texts[at]), anchor) {
				t.Errorf("%s: %s has no heading %s, but %q", name, at, anchor, anchors(texts[at]))
			}
		}
	}
	if followed < 20 {
		t.Errorf("%d links were found", followed)
	}
}

var (
	scriptCall = regexp.MustCompile("go run \\./scripts/([a-z]+)((?: [^\n`|&#;]*)?)")
	// a subcommand, or a flag
	scriptWord  = regexp.MustCompile(`^ ([a-z]+)(?: |$)| \[?-{1,2}([a-z][a-z-]*)`)
	environment = regexp.MustCompile(`\bs (?:[a-z]+ )?[a-z]+ .*--env[ =]([a-z][a-z0-9-]*)`)
	codePath    = regexp.MustCompile("`((?:functions|shared|scripts)/[A-Za-z0-9_./-]+)`")
)

// Scripts, their commands and flags, environments and files that a guide names are there. Of
// environments those that ship count: the file in use belongs to the adopter.
func TestNamesInTheGuides(t *testing.T) {
	read := func(pattern string) (all string) {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		for _, name := range files {
			text, err2 := os.ReadFile(name)
			if err = errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			all += string(text)
		}
		return all
	}
	environments := read("scripts/check/testdata/env.yaml")
	words, files, names := 0, 0, 0
	for name, text := range guides(t) {
		for _, call := range scriptCall.FindAllStringSubmatch(text, -1) {
			code := read("scripts/" + call[1] + "/*.go")
			if !strings.Contains(code, "func main() {") {
				t.Errorf("%s: there is no scripts/%s", name, call[1])
			}
			for _, word := range scriptWord.FindAllStringSubmatch(call[2], -1) {
				words++
				if !strings.Contains(code, `"`+word[1]+word[2]+`"`) {
					t.Errorf("%s: scripts/%s does not know %s", name, call[1], word[0])
				}
			}
		}
		for _, found := range codePath.FindAllStringSubmatch(text, -1) {
			files++
			_, err := os.Stat(filepath.Join(root, found[1]))
			if err != nil && found[1] != "functions/policy.yaml" { // which is the adopter's to name
				t.Errorf("%s: %s is not there", name, found[1])
			}
		}
		for _, found := range environment.FindAllStringSubmatch(text, -1) {
			names++
			if !strings.Contains(environments, "- name: "+found[1]+"\n") {
				t.Errorf("%s: %s is no environment that ships", name, found[1])
			}
		}
	}
	if words < 50 || files < 50 || names < 5 {
		t.Errorf("%d words, %d files and %d environments were looked at", words, files, names)
	}
}

// block is a fenced part of a guide.
type block struct{ reason, language, text string }

func blocksOf(text string) (blocks []block) {
	for _, found := range fence.FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, block{found[1], found[2], found[3]})
	}
	return blocks
}

var scriptName = regexp.MustCompile(`go run \./scripts/([a-z]+)`)

// The commands of every guide are run in the order of the guide, as one person would type them: in
// a folder with the project's files but without what belongs to an adopter, where blocks whose
// first line names a file are written to that file. What cannot run says why, in a comment before
// its block. A block of text after a command is what it prints, but for each ….
func TestCommandsOfTheGuides(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the programs that the guides name")
	}
	programs, run, texts := map[string]bool{}, map[string][]block{}, guides(t)
	first := blocksOf(texts["README.md"])
	for name, text := range texts {
		blocks := blocksOf(text)
		for _, b := range blocks {
			if b.language != "sh" || b.reason != "" {
				continue
			}
			run[name] = blocks
			for _, found := range scriptName.FindAllStringSubmatch(b.text, -1) {
				programs["./scripts/"+found[1]] = true
			}
		}
	}
	if len(run["README.md"]) == 0 || len(run[".github/zh-CN.md"]) == 0 {
		t.Fatal("README.md and .github/zh-CN.md have no commands")
	}
	built := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", built},
		slices.Sorted(maps.Keys(programs))...)...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for name, blocks := range run {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t, built)
			for _, b := range first { // whoever reads on has its files
				r.write(b)
			}
			for i, b := range blocks {
				r.write(b)
				want := ""
				if i+1 < len(blocks) && blocks[i+1].language == "text" {
					want = blocks[i+1].text
				}
				r.follow(b, want)
			}
		})
	}
}

// reader is somebody who does what a guide says.
type reader struct {
	t          *testing.T
	dir, built string
	ports      map[string]string // of the guide, and what stands for them here
	terminals  map[string]window // by what runs in them
}

// newReader makes the folder: all of the project, but of functions only the code.
func newReader(t *testing.T, built string) *reader {
	r := &reader{t, t.TempDir(), built, map[string]string{}, map[string]window{}}
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"functions", "site"} {
		if err := os.Mkdir(filepath.Join(r.dir, made), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"shared", "scripts", "go.mod", "functions/generate",
		"functions/refresh"} {
		err := os.Symlink(filepath.Join(absolute, name), filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, w := range r.terminals {
			w.stop()
		}
	})
	return r
}

// window is where a program of the guide goes on running.
type window struct {
	command *exec.Cmd
	ended   chan struct{}
}

// stop is Ctrl-C.
func (w window) stop() {
	_ = syscall.Kill(-w.command.Process.Pid, syscall.SIGINT)
	<-w.ended
}

var (
	port   = regexp.MustCompile(`\b(127\.0\.0\.1:|localhost:|http\.server |PORT=)(\d{4,5})\b`)
	server = regexp.MustCompile(`(?m)^.*(scripts/dev\b|http\.server \d+|\bnode [\w-]+\.js).*$`)
)

// here is a text of the guide with this machine's free ports, and the programs as they are built.
func (r *reader) here(text string) string {
	text = server.ReplaceAllStringFunc(text, func(line string) string {
		if strings.Contains(line, "-addr ") {
			return line
		}
		return strings.ReplaceAll(line, "run ./scripts/dev",
			"run ./scripts/dev -addr 127.0.0.1:8080 -imm-addr 127.0.0.1:8081")
	})
	text = port.ReplaceAllStringFunc(text, func(found string) string {
		part := port.FindStringSubmatch(found)
		if r.ports[part[2]] == "" {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				r.t.Fatal(err)
			}
			_, r.ports[part[2]], _ = net.SplitHostPort(listener.Addr().String())
			_ = listener.Close()
		}
		return part[1] + r.ports[part[2]]
	})
	return scriptName.ReplaceAllString(text, r.built+"/$1")
}

// write makes the file that a block names.
func (r *reader) write(b block) {
	r.t.Helper()
	name := named.FindStringSubmatch(b.text)
	if name == nil || b.language == "sh" {
		return
	}
	text := r.here(strings.TrimPrefix(b.text, name[0]))
	if err := os.WriteFile(filepath.Join(r.dir, name[1]), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// follow runs a block of commands, which must print what is wanted.
func (r *reader) follow(b block, want string) {
	r.t.Helper()
	if b.language != "sh" || b.reason != "" {
		return
	}
	for _, tool := range []string{"bash", "curl", "openssl", "python3", "node", "base32"} {
		if _, err := exec.LookPath(tool); err != nil && strings.Contains("bash "+b.text, tool) {
			if os.Getenv("CI") == "true" {
				r.t.Fatalf("%s is not installed", tool)
			}
			r.t.Skipf("%s is not installed", tool)
		}
	}
	text := r.here(b.text)
	const remember = "\nexport -p > exported" // for the next block, as in one terminal
	program := server.FindStringSubmatch(b.text)
	if program != nil {
		r.serve(text, program[1])
		return
	}
	output, err := r.shell(text + remember).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s%v: %s", text, err, output)
	}
	want = strings.ReplaceAll(strings.TrimSpace(want), "…\n", "…")
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*?")
	if !regexp.MustCompile("(?s)" + pattern).Match(output) {
		r.t.Errorf("%sprinted %s, and not %s", text, output, want)
	}
}

func (r *reader) shell(text string) *exec.Cmd {
	command := exec.CommandContext(r.t.Context(), "bash", "-c",
		"[ -e exported ] && . ./exported\nset -eo pipefail\n"+text)
	command.Dir = r.dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "PYTHONUNBUFFERED=1"}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command
}

// serve runs what does not end by itself, in place of what ran in its terminal before, and waits
// until it answers.
func (r *reader) serve(text, program string) {
	r.t.Helper()
	if before, runs := r.terminals[program]; runs {
		before.stop()
	}
	command, output := r.shell(text), &bytes.Buffer{}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	r.terminals[program] = window{command, ended}
	go func() { _ = command.Wait(); close(ended) }()
	found := port.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		r.t.Fatalf("%s: which port?", text)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", "127.0.0.1:"+found[0][2]); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			r.t.Fatalf("%sended: %s", text, output)
		case <-r.t.Context().Done():
			r.t.Fatalf("%sdoes not answer", text)
		case <-tick.C:
		}
	}
}
