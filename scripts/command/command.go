// Package command is what the scripts share: how each is run, and how it reads what it is given.
package command

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v4"

	"weboffice-functions/shared/weboffice"
)

// Main runs a script until it ends, or until somebody stops it. What went wrong goes to standard
// error, and makes exit status 1; asking for -h is nothing wrong.
func Main(run func(ctx context.Context, args []string, getenv func(string) string,
	stdout io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

// Parse reads flags. -h prints their use to out; what is wrong with them is said once, by Main.
func Parse(flags *flag.FlagSet, args []string, out io.Writer) error {
	flags.Init(flags.Name(), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	flags.SetOutput(out)
	if errors.Is(err, flag.ErrHelp) {
		flags.Usage()
	} else if err != nil {
		err = fmt.Errorf("%w: see -h", err)
	}
	return err
}

// ParseAll is Parse where nothing may stand behind the flags.
func ParseAll(flags *flag.FlagSet, args []string, out io.Writer) error {
	err := Parse(flags, args, out)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag: see -h", flags.Arg(0))
	}
	return err
}

// Proof reads a caller's proof from a file, in which it may stand as in its header.
func Proof(file string) (weboffice.Secret, error) {
	text, err := os.ReadFile(file)
	return weboffice.Secret(strings.TrimPrefix(strings.TrimSpace(string(text)), "Bearer ")), err
}

// Data reads a YAML file that is a part of the program.
func Data[T any](files embed.FS, name string) (value T) {
	text, err := files.ReadFile(name)
	if err = errors.Join(err, yaml.Load(text, &value, yaml.WithKnownFields())); err != nil {
		panic(err)
	}
	return value
}
