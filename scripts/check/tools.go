package main

import (
	"cmp"
	"context"
	"encoding/json"
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
func (t tool) check(ctx context.Context, p project, r *report) (skipped string) {
	program := t.Run[0]
	if t.Fetch != "" {
		if program, skipped = p.fetched(ctx, t.Fetch); skipped != "" {
			return skipped
		}
	} else if _, err := exec.LookPath(program); t.Optional && err != nil {
		return program + " is not here"
	}
	if p.update && t.Update != nil {
		if out, err := p.command(ctx, t.Environment, t.Update[0], t.Update[1:]...); err != nil {
			return t.report(r, out, err)
		}
	}
	out, err := p.command(ctx, t.Environment, program, t.Run[1:]...)
	return t.report(r, out, err)
}

var toolLine = regexp.MustCompile(`(?m)^(?:vet: )?(?:\./)?([^\s:]+):(\d+):(?:(\d+):)? *(.*)$`)

// report takes the findings from a failed tool's output: all of it where nothing is found in it.
func (t tool) report(r *report, output string, err error) (skipped string) {
	if err == nil {
		return ""
	}
	if t.Skip != "" && strings.Contains(output, t.Skip) {
		return t.Reason
	}
	for _, found := range toolLine.FindAllStringSubmatch(output, -1) {
		line, _ := strconv.Atoi(found[2])
		column, _ := strconv.Atoi(found[3])
		if t.Finds == "" {
			r.add(place{found[1], line, column}, t.Name+": "+found[4], "")
		}
	}
	if t.Finds != "" {
		finds := regexp.MustCompile(t.Finds)
		for _, found := range finds.FindAllStringSubmatchIndex(output, -1) {
			r.add(place{file: t.At, line: 1}, string(finds.ExpandString(nil, t.What, output, found)),
				string(finds.ExpandString(nil, t.Fix, output, found)))
		}
	}
	if len(r.findings) == 0 {
		r.add(place{file: t.Name}, fmt.Sprintf("%v: %s", err, strings.ReplaceAll(output, "\n", "; ")), "")
	}
	return ""
}

// command runs a program in the module's folder and returns its output and how it ended.
func (p project) command(ctx context.Context, environment []string, name string,
	arguments ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, name, arguments...)
	command.WaitDelay = time.Second
	command.Env = append(os.Environ(), environment...)
	out, err := command.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// fetched builds a tool in Go into the user's cache. Without a network there is a reason to skip.
func (p project) fetched(ctx context.Context, tool string) (program, skipped string) {
	name, version, _ := strings.Cut(tool, "@")
	cache, err := os.UserCacheDir()
	folder := filepath.Join(cache, "weboffice-functions", path.Base(name)+"@"+version)
	out, err2 := p.command(ctx, []string{"GOBIN=" + folder}, "go", "install", tool)
	if err := cmp.Or(err, err2); err != nil {
		return "", fmt.Sprintf("%s cannot be fetched: %v: %s", tool, err, lastLine(out))
	}
	return filepath.Join(folder, path.Base(name)), ""
}

func lastLine(text string) string { return text[strings.LastIndex(text, "\n")+1:] }

// checkRendering has Serverless Devs itself render s.yaml for every environment, and holds what
// comes out to the schema. It needs no account: the tool keeps its settings in a folder of its own
// and is told to call nobody.
func checkRendering(ctx context.Context, p project, r *report) string {
	program, skipped := p.serverlessDevs(ctx)
	if skipped != "" {
		return skipped
	}
	home, err := os.MkdirTemp("", "serverless-devs-")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.RemoveAll(home) }()
	environment := []string{"serverless_devs_config_home=" + home, "serverless_devs_daemon_enable=false"}
	out, err := p.command(ctx, environment, program, "set", "analysis", "disable")
	if err != nil {
		return "Serverless Devs does not run: " + lastLine(out)
	}
	all := environments(p.files, readYAML(&report{}, p.files, "s.yaml"), &report{})
	for _, e := range all {
		walk(e.value, nil, func(path []string, value any) {
			found := bareCall.FindStringSubmatch(text(value))
			if found != nil && (variable(found[1]).Secret || variable(path[len(path)-1]).Secret) {
				environment = append(environment, found[1]+"=set") // the others need a default
			}
		})
	}
	for _, e := range all {
		s := tool{Name: "s preview --env " + e.name, Run: []string{"preview", "--silent", "-o", "json"}}
		if e.name != "" {
			s.Run = append(s.Run, "--env", e.name)
		}
		out, err := p.command(ctx, environment, program, s.Run...)
		if s.report(r, out, err); err != nil {
			continue
		}
		var made struct {
			Resources map[string]any `json:"resources"`
		}
		object := strings.NewReader(out[max(strings.Index(out, "{"), 0):])
		err = json.NewDecoder(object).Decode(&made)
		if err != nil {
			r.add(e.place(), s.Name+" gives no JSON: "+err.Error(), "see what it prints")
		}
		e.value = merged(e.value, map[string]any{"resources": made.Resources}) // its places stay
		r.validate(e.document, serverlessRules())
	}
	return ""
}

// serverlessDevs installs the tool as its lock file says.
func (p project) serverlessDevs(ctx context.Context) (program, skipped string) {
	const folder = ".github/serverless-devs"
	if _, err := exec.LookPath("npm"); err != nil {
		return "", "npm is not here"
	}
	out, err := p.command(ctx, nil, "npm", "ci", "--prefix", folder, "--ignore-scripts",
		"--no-audit", "--no-fund", "--loglevel", "error")
	if err != nil {
		return "", "Serverless Devs cannot be fetched: " + lastLine(out)
	}
	program, err = filepath.Abs(filepath.Join(folder, "node_modules", ".bin", "s"))
	if err != nil {
		return "", err.Error()
	}
	return program, ""
}
