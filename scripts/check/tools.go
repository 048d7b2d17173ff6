package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// tool is an entry of tools.yaml.
type tool struct {
	Name, Doing, Fetch, Skip, Reason, Finds, At, What, Fix string
	Run, Update, Environment                               []string
	Optional                                               bool
}

// check runs a tool.
func (t tool) check(ctx context.Context, p project, r *report) {
	program := t.Run[0]
	if t.Fetch != "" {
		var err error
		if program, err = fetched(ctx, t.Fetch); err != nil {
			r.skipped = err.Error()
			return
		}
	}
	if p.update && t.Update != nil {
		if out, err := output(ctx, t.Environment, t.Update...); err != nil {
			t.report(r, out, err)
		}
	}
	out, err := output(ctx, t.Environment, append([]string{program}, t.Run[1:]...)...)
	if t.Optional && errors.Is(err, exec.ErrNotFound) {
		r.skipped = program + " is not here"
		return
	}
	t.report(r, out, err)
}

const aLine = `(?m)^(?:vet: )?(?:\./)?(?P<file>[^\s:]+):(?P<line>\d+):(?:(?P<column>\d+):)? *(?P<text>.*)$`

// report takes the findings from a failed tool's output: all of it where nothing is found in it.
func (t tool) report(r *report, output string, err error) {
	if err == nil {
		return
	}
	if t.Skip != "" && strings.Contains(output, t.Skip) {
		r.skipped = t.Reason
		return
	}
	finds := regexp.MustCompile(cmp.Or(t.Finds, aLine))
	for _, found := range finds.FindAllStringSubmatchIndex(output, -1) {
		fill := func(template string) string {
			return string(finds.ExpandString(nil, template, output, found))
		}
		line, _ := strconv.Atoi(cmp.Or(fill("$line"), "1"))
		column, _ := strconv.Atoi(fill("$column"))
		at := place{Filename: cmp.Or(t.At, fill("$file")), Line: line, Column: column}
		r.add(at, fill(cmp.Or(t.What, t.Name+": $text")), fill(t.Fix))
	}
	if len(r.findings) == 0 {
		r.add(place{Filename: t.Name}, fmt.Sprintf("%v: %s", err,
			strings.ReplaceAll(output, "\n", "; ")), "")
	}
}

// output runs a program in the module's folder and returns what it prints and how it ended.
func output(ctx context.Context, environment []string, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.WaitDelay = time.Second
	c.Env = append(os.Environ(), environment...)
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// fetched builds a tool in Go into the user's cache.
func fetched(ctx context.Context, tool string) (program string, err error) {
	name, version, _ := strings.Cut(tool, "@")
	cache, err := os.UserCacheDir()
	folder := filepath.Join(cache, "weboffice-functions", path.Base(name)+"@"+version)
	out, err2 := output(ctx, []string{"GOBIN=" + folder}, "go", "install", tool)
	if err := cmp.Or(err, err2); err != nil {
		return "", fmt.Errorf("%s cannot be fetched: %w: %s", tool, err, lastLine(out))
	}
	return filepath.Join(folder, path.Base(name)), nil
}

func lastLine(text string) string { return text[strings.LastIndex(text, "\n")+1:] }

// checkRendering has Serverless Devs itself render s.yaml for every environment, and holds what
// comes out to the schema. It needs no account: the tool keeps its settings in a folder of its own
// and is told to call nobody.
func checkRendering(ctx context.Context, p project, r *report) {
	home, err := os.MkdirTemp("", "serverless-devs-")
	defer func() { _ = os.RemoveAll(home) }()
	program, err2 := serverlessDevs(ctx)
	set := []string{"serverless_devs_config_home=" + home, "serverless_devs_daemon_enable=false"}
	if err = cmp.Or(err, err2); err == nil {
		_, err = output(ctx, set, program, "set", "analysis", "disable")
	}
	if err != nil {
		r.skipped = err.Error()
		return
	}
	all := environments(p.files, &report{})
	for _, e := range all {
		e.walk(nil, func(path []string, n node) {
			found := bareCall.FindStringSubmatch(n.text())
			if found != nil && (variable(found[1]).Secret || variable(path[len(path)-1]).Secret) {
				set = append(set, found[1]+"=set") // the others need a default
			}
		})
	}
	for _, e := range all {
		command := []string{program, "preview", "--silent", "-o", "json"}
		if e.name != "" {
			command = append(command, "--env", e.name)
		}
		out, err := output(ctx, set, command...)
		var made struct{ Resources map[string]any }
		if err == nil {
			object := strings.NewReader(out[max(strings.Index(out, "{"), 0):])
			err = json.NewDecoder(object).Decode(&made)
		}
		if err != nil {
			tool{Name: "s preview --env " + e.name}.report(r, out, err)
			continue
		}
		value := map[string]any{}
		for name, field := range e.fields {
			value[name] = field.plain()
		}
		value["resources"] = made.Resources
		r.validate(e.node, value, "serverless")
	}
}

// serverlessDevs installs the tool as its lock file says.
func serverlessDevs(ctx context.Context) (program string, err error) {
	const folder = ".github/serverless-devs"
	out, err := output(ctx, nil, "npm", "ci", "--prefix", folder, "--ignore-scripts",
		"--no-audit", "--no-fund", "--loglevel", "error")
	if err != nil {
		return "", fmt.Errorf("npm cannot fetch Serverless Devs: %w: %s", err, lastLine(out))
	}
	return filepath.Abs(filepath.Join(folder, "node_modules", ".bin", "s"))
}
