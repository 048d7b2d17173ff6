package main

import (
	"bytes"
	"context"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"weboffice-functions/scripts/command"
)

// fileNames lists the project's files: what git knows or would add, else everything but built
// things and hidden folders.
func fileNames(ctx context.Context) (names []string, err error) {
	git := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "ls-files", "--cached",
		"--others", "--exclude-standard", "-z")
	if out, err := git.Output(); err == nil {
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

// texts reads the project's files. One that is deleted, and not yet committed so, is left out.
func (p project) texts() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, name := range p.names {
			if text, err := fs.ReadFile(p.files, name); err == nil && !yield(name, text) {
				return
			}
		}
	}
}

// checkFiles looks at what lies where, and for lines that should be in no file.
func checkFiles(_ context.Context, p project, r *report) {
	top, seen := command.Data[layout](embedded, "layout.yaml").Top, map[string]bool{}
	for _, name := range p.names {
		entry, _, _ := strings.Cut(name, "/")
		if seen[entry] = true; entry[0] != '.' && !slices.Contains(top, entry) {
			r.add(place{Filename: name, Line: 1}, entry+" is not one of the project's entries",
				"move it under functions, shared or scripts")
		}
	}
	for _, entry := range top {
		if !seen[entry] {
			r.add(place{Filename: entry, Line: 1}, "it is not there", "add it")
		}
	}
	rules := command.Data[[]lineRule](embedded, "lines.yaml")
	for name, text := range p.texts() {
		if strings.HasPrefix(name, ".github/workflows/") && !permissions.Match(text) {
			r.add(place{Filename: name, Line: 1}, "the workflow has all permissions",
				"permissions: {contents: read} at the top")
		}
		for _, rule := range rules {
			rule.check(r, name, text)
		}
	}
}

var permissions = regexp.MustCompile(`(?m)^permissions:`)

// lineRule is an entry of lines.yaml.
type lineRule struct {
	Files, Except, Pattern, Unless *regexp.Regexp
	What, Fix                      string
}

// check reports the lines of a file that the rule forbids.
func (rule lineRule) check(r *report, name string, text []byte) {
	if !rule.Files.MatchString(name) || rule.Except != nil && rule.Except.MatchString(name) ||
		bytes.IndexByte(text, 0) >= 0 {
		return
	}
	for i, line := range strings.Split(string(text), "\n") {
		if rule.Pattern.MatchString(line) &&
			(rule.Unless == nil || !rule.Unless.MatchString(line)) {
			r.add(place{Filename: name, Line: i + 1}, rule.What, rule.Fix)
		}
	}
}
