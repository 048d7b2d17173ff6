// Command build makes the packages that s.yaml and template.yml deploy:
//
//	dist/fc/{generate,refresh}/      linux/amd64
//	dist/lambda/{generate,refresh}/  linux/arm64
//
// Each holds the program, bootstrap, and the policy beside it, policy.yaml. A policy that does not
// parse, or whose own tests fail, stops the build before anything is touched, and so does an --env
// of `s deploy` that scripts/env.yaml does not have. -out names another folder than dist.
//
// The same commit gives the same bytes with the same Go version, wherever it lies: paths are
// trimmed, cgo is off, settings of the environment that change code are fixed, and files carry a
// fixed time and mode, so that the deployment tools' archives are equal too. Where the commit is
// known (git and its folder are there), Go stamps it into the program, with the version that a tag
// gives it: a clone without tags gives other bytes. The start-up log names the commit.
package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"weboffice-functions/scripts/command"
	"weboffice-functions/shared/policy"
)

var functions = []string{"generate", "refresh"}

// architectures are what a target runs, its default first.
var architectures = map[string][]string{"fc": {"amd64"}, "lambda": {"arm64", "amd64"}}

// packed is the time of every file: an archive made of the same bytes is the same archive. Zip
// tools refuse years before 1980.
var packed = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func main() { command.Main(run) }

// run builds the module in the current folder as the arguments say, and prints a line for each
// program.
func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	target := flags.String("target", "", "fc or lambda; both when left out")
	arch := flags.String("arch", "", "another architecture than the target's own")
	policyFile := flags.String("policy", "functions/policy.yaml",
		"the policy that is put beside the programs")
	out := flags.String("out", "dist", "the folder for the packages; those in it are replaced")
	if err := command.ParseAll(flags, args, stdout); err != nil {
		return err
	}
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run it where go.mod is: go run ./scripts/build")
	}
	if name := unknownEnvironment(getenv); name != "" {
		return fmt.Errorf("scripts/env.yaml has no environment %q: correct --env, s would deploy "+
			"what has none", name)
	}
	chosen, err := choose(*target, *arch)
	if err != nil {
		return err
	}
	text, err := readPolicy(*policyFile)
	if err != nil {
		return err
	}
	for _, t := range slices.Sorted(maps.Keys(chosen)) {
		for _, function := range functions {
			program := filepath.Join(*out, t, function, "bootstrap")
			if err := build(ctx, program, chosen[t], function, text, stdout); err != nil {
				return fmt.Errorf("%s for %s: %w", function, t, err)
			}
		}
	}
	return nil
}

// choose gives the targets that the flags ask for, each with its architecture.
func choose(target, arch string) (map[string]string, error) {
	chosen := map[string]string{}
	for _, t := range slices.Sorted(maps.Keys(architectures)) {
		if target == "" || target == t {
			chosen[t] = cmp.Or(arch, architectures[t][0])
			if !slices.Contains(architectures[t], chosen[t]) {
				return nil, fmt.Errorf("-arch %s: %s runs %s (give -target too)", arch, t,
					strings.Join(architectures[t], " or "))
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-target %s: it is fc or lambda", target)
	}
	return chosen, nil
}

// readPolicy returns the policy's text once it parses as the functions will parse it and its tests
// pass. The project may come from the deployment's environment, so it counts as given here.
func readPolicy(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	report := policy.Check(text, policy.Options{Project: "from-the-environment"})
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("%s cannot go out like this, at line:column:\n%w", path, err)
	}
	return text, nil
}

var notFound = regexp.MustCompile(`(?m)^\[[^]]*\]\[WARN\] Env \[(.*)\] was not found`)

// unknownEnvironment returns the name of an --env that Serverless Devs did not find, where it runs
// this as its pre-deploy action. It goes on without one, and says so in its log alone.
func unknownEnvironment(getenv func(string) string) string {
	trace := getenv("serverless_devs_traceid")
	home := cmp.Or(getenv("serverless_devs_config_home"), getenv("HOME"), getenv("USERPROFILE"))
	text, err := os.ReadFile(filepath.Join(home, ".s", "logs", trace, "s_cli.log"))
	if found := notFound.FindSubmatch(text); trace != "" && err == nil && found != nil {
		return string(found[1])
	}
	return ""
}

// build makes the folder of a program anew.
func build(ctx context.Context, program, arch, function string, policyText []byte,
	stdout io.Writer) error {
	folder := filepath.Dir(program)
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	// lambda.norpc leaves out the RPC of a Lambda runtime that is gone, and 2.7 MB of templates
	// with it.
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs="+stamp(ctx),
		"-ldflags", "-s -w", "-tags", "lambda.norpc", "-o", program,
		"./functions/"+function+"/bootstrap")
	command.Stderr = os.Stderr
	command.Env = append(trusting(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0",
		"GOFLAGS=", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=")
	if err := command.Run(); err != nil {
		return err
	}
	beside := filepath.Join(folder, "policy.yaml")
	built, err := os.Stat(program)
	err = errors.Join(err, os.WriteFile(beside, policyText, 0o644),
		// whatever the umask is here: platforms run the program as a user of their own
		os.Chmod(program, 0o755), os.Chmod(beside, 0o644),
		os.Chtimes(program, packed, packed), os.Chtimes(beside, packed, packed))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%-30s linux/%s  %.1f MB  %s\n", program, arch,
		float64(built.Size())/1e6, revision(program))
	return err
}

// revision reads back what is stamped into a program.
func revision(program string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "revision unknown"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["vcs.modified"] == "true" {
		return settings["vcs.revision"] + " with changes"
	}
	return cmp.Or(settings["vcs.revision"], "revision unknown")
}

// stamp says whether Go can name the commit. Go fails instead of leaving the stamp out where a
// repository has no commit yet, so git is asked first.
func stamp(ctx context.Context) string {
	command := exec.CommandContext(ctx, "git", "rev-parse", "--verify", "HEAD")
	if command.Env = trusting(); command.Run() != nil {
		return "false"
	}
	return "auto"
}

// trusting is the environment in which git answers for a folder of another user, as build
// containers have it. Whoever builds a folder runs its code anyway.
func trusting() []string {
	return append(os.Environ(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory",
		"GIT_CONFIG_VALUE_0=*")
}
