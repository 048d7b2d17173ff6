package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/format"
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
func fileNames(ctx context.Context, root string) (names []string, err error) {
	command := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "ls-files", "--cached",
		"--others", "--exclude-standard", "-z")
	command.Dir = root
	if out, err := command.Output(); err == nil {
		return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 }), nil
	}
	made := []string{".git", "dist", ".s", ".aws-sam", "node_modules"}
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
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

// entries are all that stands at the top, but for names that start with a dot.
func entries() []string {
	return []string{"functions", "shared", "scripts", "s.yaml", "template.yml", "go.mod", "go.sum",
		"README.md"}
}

// leftover is what belongs on one machine or in nobody's file: absolute paths, notes of work
// undone, half a merge, hosts of registries. [ ] keeps this file from holding what it looks for.
var leftover = regexp.MustCompile("(?:^|[\\s\"'=(`])/(?:home|root|tmp|work|Users)/[A-Za-z]" +
	`|\b(?:TOD[O]|FIXM[E]|XX[X])\b|^(?:<<<<<<[<]|>>>>>>[>]) |\b(?:proxy\.golan[g]|sum\.golan[g]|registry\.npmj[s]|deb\.debia[n])\.org`)

var mainFunction = regexp.MustCompile(`(?ms)^func main\(\) \{\n.*?^\}`)

// checkFiles looks at what lies where, and at what should be in no file.
func checkFiles(_ context.Context, p project, r *report) string {
	seen := map[string]bool{}
	for _, name := range p.names {
		top, _, _ := strings.Cut(name, "/")
		if seen[top] = true; !strings.HasPrefix(top, ".") && !slices.Contains(entries(), top) {
			r.add(place{file: name, line: 1}, top+" is not one of the project's entries",
				"move it under functions, shared or scripts")
		}
		data, err := fs.ReadFile(p.files, name)
		if err != nil {
			continue
		}
		if path.Ext(name) == ".json" && !json.Valid(data) {
			r.add(place{file: name, line: 1}, "this is not JSON", "correct it")
		}
		if path.Base(name) == "go.sum" || bytes.IndexByte(data, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(data), "\n") {
			if found := leftover.FindString(line); found != "" {
				what := fmt.Sprintf(
					"%q is a path of one machine, a registry's host or a note of work undone",
					strings.TrimSpace(found))
				r.add(place{name, i + 1, 0}, what, "take it out")
			}
		}
		newline := []byte("\n")
		if at := mainFunction.FindIndex(data); path.Ext(name) == ".go" && at != nil &&
			bytes.Count(data[at[0]:at[1]], newline) >= 20 {
			line := 1 + bytes.Count(data[:at[0]], newline)
			r.add(place{name, line, 0}, "main has over 20 lines",
				"let it call run, which tests can call too")
		}
	}
	for _, entry := range entries() {
		if !seen[entry] {
			r.add(place{file: entry, line: 1}, "it is not there", "add it")
		}
	}
	return ""
}

func checkFormat(_ context.Context, p project, r *report) string {
	for _, name := range p.names {
		if data, err := fs.ReadFile(p.files, name); err == nil && path.Ext(name) == ".go" {
			if formatted, err := format.Source(data); err != nil || !bytes.Equal(data, formatted) {
				r.add(place{file: name, line: 1}, "it is not formatted", "gofmt -w "+name)
			}
		}
	}
	return ""
}

var policyPlace = regexp.MustCompile(`^(\d+):(\d+): (.*)`)

// checkPolicies parses every policy and runs its tests. Warnings are printed by scripts/policy;
// what is allowed is no finding.
func checkPolicies(_ context.Context, p project, r *report) string {
	names, _ := fs.Glob(p.files, "functions/*.yaml")
	for _, name := range names {
		data, err := fs.ReadFile(p.files, name)
		if err != nil {
			continue
		}
		parsed, err := policy.Parse(data, policy.Options{Project: "from-the-environment"})
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				at := place{file: name, line: 1}
				if found := policyPlace.FindStringSubmatch(line); found != nil {
					_, _ = fmt.Sscan(found[1], &at.line)
					_, _ = fmt.Sscan(found[2], &at.column)
					line = found[3]
				}
				r.add(at, line, "go run ./scripts/policy test")
			}
			continue
		}
		_, failures := parsed.Test()
		for _, failure := range failures {
			r.add(place{file: name, line: 1}, strings.ReplaceAll(failure, "\n", ";"),
				"correct the rule or the test")
		}
	}
	return ""
}

var (
	scriptCall = regexp.MustCompile(`go run \./scripts/([a-z]+)([^\n` + "`" + `|&#;]*)`)
	scriptWord = regexp.MustCompile(`^\[?(-{0,2})([a-z][a-z-]*)`) // a flag or a subcommand
	codePath   = regexp.MustCompile("`((?:functions|shared|scripts)/[A-Za-z0-9_./-]+)`")
)

// checkReadme finds commands, flags, environments and files that README names and that are not
// there.
func checkReadme(_ context.Context, p project, r *report) string {
	data, err := fs.ReadFile(p.files, "README.md")
	if err != nil {
		return "there is no README.md yet"
	}
	for i, line := range strings.Split(string(data), "\n") {
		at := place{"README.md", i + 1, 0}
		for _, call := range scriptCall.FindAllStringSubmatch(line, -1) {
			p.scriptCall(r, at, call[1], strings.Fields(call[2]))
		}
		for _, found := range codePath.FindAllStringSubmatch(line, -1) {
			if _, err := fs.Stat(p.files, strings.TrimSuffix(found[1], "/")); err != nil {
				r.add(at, found[1]+" is not there", "correct the path")
			}
		}
		p.environmentNames(r, at, line)
	}
	return ""
}

// scriptCall checks that a script has the subcommand and the flags with which README calls it.
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

var environmentName = regexp.MustCompile(`\bs (?:[a-z]+ )?[a-z]+ .*--env[ =]([a-z][a-z0-9-]*)`)

// environmentNames checks --env: the tool takes a name it does not know for none at all, and
// deploys what has no environment.
func (p project) environmentNames(r *report, at place, line string) {
	data, err := fs.ReadFile(p.files, "scripts/env.yaml")
	for _, found := range environmentName.FindAllStringSubmatch(line, -1) {
		if err == nil && !regexp.MustCompile(`(?m)^\s*- name: `+found[1]+`$`).Match(data) {
			r.add(at, "scripts/env.yaml has no environment "+found[1],
				"correct the name: a wrong one deploys s.yaml as it stands")
		}
	}
}

var (
	uses   = regexp.MustCompile(`^\s*(?:- )?uses: +(\S+)(.*)`)
	pinned = regexp.MustCompile(`^(?:[\w.-]+/[\w./-]+@[0-9a-f]{40} +# v\d.*|\./\.github/.*)$`)
	stored = regexp.MustCompile(`secrets\.\w*(?:ACCESS_KEY|SECRET_KEY|AccessKey)\w*`)
)

// checkWorkflows holds the workflows to pinned actions, short rights and no stored key of a cloud.
// actionlint does the rest.
func checkWorkflows(_ context.Context, p project, r *report) string {
	names, _ := fs.Glob(p.files, ".github/workflows/*.yml")
	for _, name := range names {
		file := readYAML(r, p.files, name)
		data, _ := fs.ReadFile(p.files, name)
		if file.get("permissions") == nil {
			r.add(place{file: name, line: 1}, "the workflow has all permissions",
				"permissions: {contents: read} at the top")
		}
		for i, line := range strings.Split(string(data), "\n") {
			at := place{name, i + 1, 0}
			if found := uses.FindStringSubmatch(line); found != nil &&
				!pinned.MatchString(found[1]+found[2]) {
				r.add(at, found[1]+" can change under its name",
					"pin the commit, with # vX.Y.Z behind it")
			}
			if found := stored.FindString(line); found != "" {
				r.add(at, found+" is a stored key", "log in with the workflow's OIDC token")
			}
			p.environmentNames(r, at, line)
		}
	}
	return ""
}
