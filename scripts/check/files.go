package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"

	"weboffice-functions/shared/policy"
)

// fileNames lists the project's files: what git knows or would add, else everything but built
// things and hidden folders.
func fileNames(ctx context.Context) (names []string, err error) {
	command := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "ls-files", "--cached",
		"--others", "--exclude-standard", "-z")
	if out, err := command.Output(); err == nil {
		return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
	}
	made := []string{".git", "dist", ".s", ".aws-sam", "node_modules"}
	err = fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(made, d.Name()):
			return fs.SkipDir
		case !d.IsDir():
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// lineRule is an entry of lines.yaml.
type lineRule struct{ Files, Except, Pattern, Unless, What, Fix string }

// checkFiles looks at what lies where, and for lines that should be in no file.
func checkFiles(_ context.Context, p project, r *report) string {
	top, seen := embeddedYAML[layout]("layout.yaml").Top, map[string]bool{}
	for _, name := range p.names {
		entry, _, _ := strings.Cut(name, "/")
		if seen[entry] = true; entry[0] != '.' && !slices.Contains(top, entry) {
			r.add(place{file: name, line: 1}, entry+" is not one of the project's entries",
				"move it under functions, shared or scripts")
		}
		text, err := fs.ReadFile(p.files, name)
		if err == nil && path.Ext(name) == ".json" && !json.Valid(text) {
			r.add(place{file: name, line: 1}, "this is not JSON", "correct it")
		}
		if strings.HasPrefix(name, ".github/workflows/") && !permissions.Match(text) {
			r.add(place{file: name, line: 1}, "the workflow has all permissions",
				"permissions: {contents: read} at the top")
		}
	}
	for _, entry := range top {
		if !seen[entry] {
			r.add(place{file: entry, line: 1}, "it is not there", "add it")
		}
	}
	for _, rule := range embeddedYAML[[]lineRule]("lines.yaml") {
		p.lines(r, rule)
	}
	return ""
}

var permissions = regexp.MustCompile(`(?m)^permissions:`)

// lines reports the lines that a rule forbids.
func (p project) lines(r *report, rule lineRule) {
	const never = `^\b$`
	files, except := regexp.MustCompile(rule.Files), regexp.MustCompile(cmp.Or(rule.Except, never))
	pattern := regexp.MustCompile(rule.Pattern)
	unless := regexp.MustCompile(cmp.Or(rule.Unless, never))
	for _, name := range p.names {
		text, err := fs.ReadFile(p.files, name)
		if err != nil || !files.MatchString(name) || except.MatchString(name) ||
			bytes.IndexByte(text, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			if pattern.MatchString(line) && !unless.MatchString(line) {
				r.add(place{name, i + 1, 0}, rule.What, rule.Fix)
			}
		}
	}
}

// checkPolicies parses every policy and runs its tests. Warnings are printed by scripts/policy;
// what is allowed is no finding.
func checkPolicies(_ context.Context, p project, r *report) string {
	names, _ := fs.Glob(p.files, "functions/*.yaml")
	for _, name := range names {
		data, err := fs.ReadFile(p.files, name)
		if err != nil {
			continue
		}
		found := policy.Check(data, policy.Options{Project: "from-the-environment"})
		for _, f := range append(found.Mistakes, found.Failures...) {
			r.add(place{name, f.Line, f.Column}, strings.ReplaceAll(f.Text, "\n", ";"),
				"go run ./scripts/policy test")
		}
	}
	return ""
}

var (
	scriptCall = regexp.MustCompile(`go run \./scripts/([a-z]+)([^\n` + "`" + `|&#;]*)`)
	scriptWord = regexp.MustCompile(`^\[?(-{0,2})([a-z][a-z-]*)`) // a flag or a subcommand
	// what a shell command calls an environment of s.yaml
	environmentName = regexp.MustCompile(`\bs (?:[a-z]+ )?[a-z]+ .*--env[ =]([a-z][a-z0-9-]*)`)
	codePath        = regexp.MustCompile("`((?:functions|shared|scripts)/[A-Za-z0-9_./-]+)`")
)

// checkGuides finds commands, flags, environments and files that a guide (*.md) names and that are
// not there. Of environments it knows those that ship: the file in use belongs to the adopter.
func checkGuides(_ context.Context, p project, r *report) string {
	environments, _ := fs.ReadFile(p.files, "scripts/check/testdata/env.yaml")
	for _, name := range p.names {
		data, err := fs.ReadFile(p.files, name)
		if err != nil || path.Ext(name) != ".md" {
			continue
		}
		for i, line := range strings.Split(string(data), "\n") {
			at := place{name, i + 1, 0}
			for _, call := range scriptCall.FindAllStringSubmatch(line, -1) {
				p.scriptCall(r, at, call[1], strings.Fields(call[2]))
			}
			for _, found := range codePath.FindAllStringSubmatch(line, -1) {
				if _, err := fs.Stat(p.files, strings.TrimSuffix(found[1], "/")); err != nil {
					r.add(at, found[1]+" is not there", "correct the path")
				}
			}
			for _, found := range environmentName.FindAllStringSubmatch(line, -1) {
				if !bytes.Contains(environments, []byte("- name: "+found[1]+"\n")) {
					r.add(at, found[1]+" is no environment that ships", "correct the name")
				}
			}
		}
	}
	return ""
}

// scriptCall checks that a script has the subcommand and the flags with which a guide calls it.
func (p project) scriptCall(r *report, at place, script string, arguments []string) {
	sources, _ := fs.Glob(p.files, "scripts/"+script+"/*.go")
	var code bytes.Buffer
	for _, name := range sources {
		data, _ := fs.ReadFile(p.files, name)
		code.Write(data)
	}
	if !bytes.Contains(code.Bytes(), []byte("package main\n")) {
		r.add(at, "there is no scripts/"+script, "correct the command")
		return
	}
	for i, argument := range arguments {
		word := scriptWord.FindStringSubmatch(argument)
		isCommand := i == 0 && word != nil && word[0] == argument && word[1] == ""
		if word != nil && (word[1] != "" || isCommand) &&
			!bytes.Contains(code.Bytes(), []byte(`"`+word[2]+`"`)) {
			r.add(at, "scripts/"+script+" does not know "+argument, "correct the command")
		}
	}
}
