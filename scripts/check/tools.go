package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The tools of others, each at one version.
const (
	staticcheck    = "honnef.co/go/tools/cmd/staticcheck@v0.8.2"
	actionlint     = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
	goLicenses     = "github.com/google/go-licenses@v1.6.0"
	govulncheck    = "golang.org/x/vuln/cmd/govulncheck@v1.4.0"
	serverlessDevs = "@serverless-devs/s@3.1.10"
)

// tool runs a command in the module's folder and returns its output and how it ended.
func (p project) tool(ctx context.Context, environment []string, name string, arguments ...string) (
	output string, err error) {
	command := exec.CommandContext(ctx, name, arguments...)
	command.Dir, command.Env, command.WaitDelay = p.root, append(os.Environ(), environment...),
		time.Second
	out, err := command.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

var toolLine = regexp.MustCompile(`^(?:vet: )?(?:\./)?([^\s:]+):(\d+):(?:(\d+):)? *(.*)`)

// lines reports a failed tool's output: lines with a place as they are, and all of it where no line
// has one.
func (r *report) lines(name, output string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(output) {
		if found := toolLine.FindStringSubmatch(strings.TrimSpace(line)); found != nil {
			at := place{file: found[1]}
			at.line, _ = strconv.Atoi(found[2])
			at.column, _ = strconv.Atoi(found[3])
			r.add(at, name+": "+found[4], "")
		}
	}
	if len(r.findings) == 0 {
		r.add(place{file: "go.mod", line: 1},
			fmt.Sprintf("%s: %v: %s", name, err, strings.ReplaceAll(output, "\n", "; ")), "")
	}
}

func checkVet(ctx context.Context, p project, r *report) string {
	out, err := p.tool(ctx, nil, "go", "vet", "./...")
	r.lines("vet", out, err)
	return ""
}

func checkStaticcheck(ctx context.Context, p project, r *report) string {
	out, err := p.tool(ctx, nil, "go", "run", staticcheck, "./...")
	r.lines("staticcheck", out, err)
	return ""
}

// checkActionlint leaves out shellcheck and pyflakes, which are on some machines only.
func checkActionlint(ctx context.Context, p project, r *report) string {
	out, err := p.tool(ctx, nil, "go", "run", actionlint, "-no-color", "-oneline", "-shellcheck=",
		"-pyflakes=")
	r.lines("actionlint", out, err)
	return ""
}

// checkBuild builds both targets and looks whether the templates' folders hold what their handlers
// name.
func checkBuild(ctx context.Context, p project, r *report) string {
	if out, err := p.tool(ctx, nil, "go", "run", "./scripts/build"); err != nil {
		r.lines("build", out, err)
		return ""
	}
	for _, target := range []struct{ template, folder string }{{"s.yaml", "dist/fc"},
		{"template.yml", "dist/lambda"}} {
		for _, function := range functionNames(p.files) {
			folder := filepath.Join(target.folder, function)
			if info, err := os.Stat(filepath.Join(p.root, folder, "bootstrap")); err != nil ||
				info.Mode()&0o111 == 0 {
				r.add(place{file: target.template, line: 1},
					folder+" has no program bootstrap after a build", "see scripts/build")
			}
			if _, err := os.Stat(filepath.Join(p.root, folder, "policy.yaml")); err != nil {
				r.add(place{file: target.template, line: 1},
					folder+" has no policy.yaml after a build", "see scripts/build")
			}
		}
	}
	return ""
}

const dependencyList = "scripts/check/dependencies.txt"

// checkDependencies compares the modules that are linked into the functions with the list that was
// agreed to.
func checkDependencies(ctx context.Context, p project, r *report) string {
	const module = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}"
	arguments := []string{"list", "-deps", "-tags", "lambda.norpc", "-f", module}
	for _, function := range functionNames(p.files) {
		arguments = append(arguments, "./functions/"+function+"/bootstrap")
	}
	out, err := p.tool(ctx, []string{"GOOS=linux", "CGO_ENABLED=0"}, "go", arguments...)
	if err != nil {
		r.lines("go list", out, err)
		return ""
	}
	linked := slices.Compact(slices.Sorted(
		slices.Values(strings.Fields(strings.ReplaceAll(out, " ", "@")))))
	path := filepath.Join(p.root, dependencyList)
	if p.update {
		if err := os.WriteFile(path, []byte(strings.Join(linked, "\n")+"\n"), 0o644); err != nil {
			r.add(place{file: dependencyList, line: 1}, err.Error(), "")
		}
		return ""
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.add(place{file: dependencyList, line: 1}, "the file is not there",
			"go run ./scripts/check -update, and review it")
		return ""
	}
	compareDependencies(r, strings.Fields(string(data)), linked)
	return ""
}

func compareDependencies(r *report, agreed, linked []string) {
	for _, module := range linked {
		if !slices.Contains(agreed, module) {
			what := module + " is linked into the functions and not listed"
			r.add(place{file: dependencyList, line: 1}, what,
				"leave it out of them, or review it and run go run ./scripts/check -update")
		}
	}
	for i, module := range agreed {
		if !slices.Contains(linked, module) {
			r.add(place{file: dependencyList, line: i + 1}, module+" is listed and not linked",
				"go run ./scripts/check -update")
		}
	}
}

// What the modules in the functions may be licensed under. The one without a licence file names
// Apache-2.0 in its README.
const (
	allowedLicences = "Apache-2.0,BSD-2-Clause,BSD-3-Clause,MIT"
	licenceInReadme = "github.com/alibabacloud-go/endpoint-util"
)

// checkLicences takes seconds, and its answer changes with the modules only: what was found good is
// remembered in the user's cache.
func checkLicences(ctx context.Context, p project, r *report) string {
	agreed, listErr := fs.ReadFile(p.files, dependencyList)
	cache, cacheErr := os.UserCacheDir()
	sum := sha256.Sum256([]byte(goLicenses + allowedLicences + licenceInReadme + string(agreed)))
	seen := filepath.Join(cache, "weboffice-functions", "licences-"+hex.EncodeToString(sum[:8]))
	remember := errors.Join(listErr, cacheErr) == nil
	if _, err := os.Stat(seen); err == nil && remember {
		return ""
	}
	ours := strings.TrimSuffix(module, "/")
	arguments := []string{"run", goLicenses, "check", "--allowed_licenses=" + allowedLicences,
		"--ignore=" + ours, "--ignore=" + licenceInReadme}
	for _, function := range functionNames(p.files) {
		arguments = append(arguments, "./functions/"+function+"/bootstrap")
	}
	out, err := p.tool(ctx, []string{"GOFLAGS=-tags=lambda.norpc"}, "go", arguments...)
	if licences(r, out, err); remember && len(r.findings) == 0 &&
		os.MkdirAll(filepath.Dir(seen), 0o700) == nil {
		_ = os.WriteFile(seen, nil, 0o600) // else it is looked up again
	}
	return ""
}

var foreignLicence = regexp.MustCompile(`(?m)^Not allowed license (\S*) *found for library (\S+)$`)

func licences(r *report, output string, err error) {
	for _, found := range foreignLicence.FindAllStringSubmatch(output, -1) {
		what := found[2] + " has the licence " + strconv.Quote(found[1]) +
			", which is not agreed to"
		r.add(place{file: dependencyList, line: 1}, what,
			"leave the module out of the functions, or agree to it in scripts/check/tools.go")
	}
	r.lines("go-licenses", output, err)
}

// checkVulnerabilities looks for known ones that the functions' code can reach. Without the
// database nothing is known, which is said.
func checkVulnerabilities(ctx context.Context, p project, r *report) string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	out, err := p.tool(ctx, nil, "go", "run", govulncheck, "./functions/...")
	return vulnerabilities(r, out, err)
}

var (
	vulnerability = regexp.MustCompile(`^\d+: (\S+)\n *(.*)`)
	fixedIn       = regexp.MustCompile(`Fixed in: (\S+@\S+)`)
)

func vulnerabilities(r *report, output string, err error) (skipped string) {
	if strings.Contains(output, "fetching vulnerabilities: ") {
		return "the database of vulnerabilities cannot be reached: nothing was looked up"
	}
	for _, block := range strings.Split(output, "Vulnerability #")[1:] {
		if found := vulnerability.FindStringSubmatch(block); found != nil {
			fix := "no version mends it yet: see what of it is reached, and do without"
			if version := fixedIn.FindStringSubmatch(block); version != nil {
				fix = "take " + version[1]
			}
			r.add(place{file: "go.mod", line: 1}, found[1]+": "+found[2], fix)
		}
	}
	r.lines("govulncheck", output, err)
	return ""
}

// checkCfnLint asks AWS's own linter where it is installed.
func checkCfnLint(ctx context.Context, p project, r *report) string {
	if _, err := exec.LookPath("cfn-lint"); err != nil {
		return "cfn-lint is not here (pip install cfn-lint)"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := p.tool(ctx, nil, "cfn-lint", "--format", "parseable", "template.yml")
	r.lines("cfn-lint", out, err)
	return ""
}

// checkRendering has Serverless Devs itself render s.yaml for every environment, and compares that
// with what was checked here. It needs no account: the tool gets a folder of its own as its home
// and is told to call nobody.
func checkRendering(ctx context.Context, p project, r *report) string {
	if _, err := exec.LookPath("npm"); err != nil {
		return "npm is not here"
	}
	base := readYAML(&report{}, p.files, "s.yaml")
	if base == nil {
		return "s.yaml cannot be read"
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	home, err := os.MkdirTemp("", "serverless-devs-")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.RemoveAll(home) }()
	install := []string{"install", "--prefix", home, "--no-audit", "--no-fund", "--loglevel",
		"error", serverlessDevs}
	if out, err := p.tool(ctx, nil, "npm", install...); err != nil {
		return fmt.Sprintf("%s cannot be installed: %v: %s", serverlessDevs, err,
			strings.ReplaceAll(out, "\n", "; "))
	}
	tool := filepath.Join(home, "node_modules", ".bin", "s")
	environment := []string{"HOME=" + home, "serverless_devs_daemon_enable=false",
		"NODE_NO_WARNINGS=1"}
	for _, name := range withoutDefault(p.files, base) { // the value is the name, as in rendered
		environment = append(environment, name+"="+name)
	}
	if out, err := p.tool(ctx, environment, tool, "set", "analysis", "disable"); err != nil {
		return fmt.Sprintf("%s does not run: %v: %s", serverlessDevs, err,
			strings.ReplaceAll(out, "\n", "; "))
	}
	for _, e := range environments(p.files, base, &report{}) {
		arguments := []string{"preview", "--silent", "-o", "json"}
		if e.name != "" {
			arguments = append(arguments, "--env", e.name)
		}
		out, err := p.tool(ctx, environment, tool, arguments...)
		if err != nil {
			r.add(base.place, fmt.Sprintf("s %s: %v: %s", strings.Join(arguments, " "), err,
				strings.ReplaceAll(out, "\n", "; ")), "")
			continue
		}
		compareRendering(r, e, []byte(out), serverless{report: &report{}, files: p.files}.rendered(
			e.file, e.file))
	}
	return ""
}

// withoutDefault lists the variables that have to be set for s.yaml and its environments to render.
func withoutDefault(files fs.FS, base *node) (names []string) {
	for _, e := range environments(files, base, &report{}) {
		e.file.walk(func(n *node) {
			if call := bareCall.FindStringSubmatch(n.text); call != nil {
				names = append(names, call[1])
			}
		})
	}
	return names
}

// compareRendering compares the resources of a preview with ours.
func compareRendering(r *report, e environment, preview []byte, ours *node) {
	var theirs map[string]any
	if start := bytes.IndexByte(preview, '{'); start < 0 ||
		json.Unmarshal(preview[start:], &theirs) != nil {
		r.add(ours.place, "the preview of environment "+strconv.Quote(e.name)+" is not JSON",
			"run s preview -o json")
		return
	}
	want, err := plain(ours.get("resources"))
	got, err2 := json.Marshal(theirs["resources"])
	if err = errors.Join(err, err2); err != nil || !bytes.Equal(want, got) {
		what := fmt.Sprintf(
			"Serverless Devs renders environment %q otherwise than it was checked: %s, not %s",
			e.name, got, want)
		r.add(ours.place, what, "write it so that both agree")
	}
}

// plain writes a node as JSON with sorted keys.
func plain(n *node) ([]byte, error) {
	var value func(n *node) any
	value = func(n *node) any {
		switch n.kind {
		case object:
			all := map[string]any{}
			for _, f := range n.fields {
				all[f.key] = value(f.value)
			}
			return all
		case list:
			all := []any{}
			for _, item := range n.items {
				all = append(all, value(item))
			}
			return all
		case boolean:
			return n.text == "true"
		case number:
			f, _ := strconv.ParseFloat(n.text, 64)
			return f
		case null:
			return nil
		}
		return n.text
	}
	return json.Marshal(value(n))
}
