// Command dev runs everything on this machine, with no account: the IMM stand-in, a test identity
// provider, both functions at /generate and /refresh, and the sample page. Ctrl-C stops all. It
// prints what a page, a policy and a backend of one's own need.
//
// Refresh tokens and share links are sealed and signed with random keys, so that a restart ends
// every session. Where the shell has WEBOFFICE_SESSION_KEYS and WEBOFFICE_LINK_KEYS they are taken
// instead, and so are WEBOFFICE_PROJECT and WEBOFFICE_USER_SALT.
package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/template"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/scripts/command"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/weboffice"
)

var (
	//go:embed policy.yaml
	policy []byte
	//go:embed *.tmpl
	files embed.FS
	texts = template.Must(template.ParseFS(files, "*.tmpl"))
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	o, site, err := options(args, getenv)
	if err != nil {
		return err
	}
	o.Logger = slog.New(newTerminal(stdout, time.Now))
	l, err := local.Start(o)
	if err != nil {
		return err
	}
	// link keys that were made here nobody else could know
	err = texts.ExecuteTemplate(stdout, "introduction.tmpl", map[string]any{"Local": l,
		"Site": site, "Ours": getenv("WEBOFFICE_LINK_KEYS") == ""})
	switch {
	case err != nil:
	case site.command != nil:
		err = site.run(ctx, l, stdout)
	default:
		<-ctx.Done()
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, l.Stop(stopping))
}

// options reads the flags and the shell. The example is empty where none is asked for.
func options(args []string, getenv func(string) string) (o local.Options, site example, err error) {
	o = local.Options{Generate: generate.New, Refresh: refresh.New, Policy: policy,
		AnyDocument: true, SessionKeys: getenv("WEBOFFICE_SESSION_KEYS"),
		LinkKeys: getenv("WEBOFFICE_LINK_KEYS"), Environment: map[string]string{
			"WEBOFFICE_PROJECT":   cmp.Or(getenv("WEBOFFICE_PROJECT"), "test-project"),
			"WEBOFFICE_USER_SALT": getenv("WEBOFFICE_USER_SALT")}}
	flags := flag.NewFlagSet("dev", flag.ContinueOnError)
	flags.StringVar(&o.Addr, "addr", "127.0.0.1:8080", "where the page and the functions listen")
	flags.StringVar(&o.IMMAddr, "imm-addr", "127.0.0.1:8081", "where the IMM stand-in listens")
	flags.Func("documents", "lays the files of a folder, `[BUCKET=]DIR`, into a bucket, "+
		"test-bucket where none is named; may be given again", func(text string) error {
		folder := folderOf(text)
		o.Documents = append(o.Documents, folder)
		_, err := os.ReadDir(folder.Dir)
		return err
	})
	flags.DurationVar(&o.Lifetime, "lifetime", 30*time.Minute, "how long an access token lives")
	flags.Func("policy", "a policy `file`, default scripts/dev/policy.yaml; one that is meant for "+
		"production runs as it is", func(file string) (err error) {
		o.Policy, err = os.ReadFile(file)
		return err
	})
	flags.Func("example", "a small site to copy in place of the sample page: `plain`, backend or "+
		"react", func(name string) (err error) {
		site, err = newExample(name)
		return err
	})
	if err := command.ParseAll(flags, args, os.Stdout); err != nil {
		return o, site, err
	}
	if o.Lifetime < 10*time.Second || o.Lifetime > 24*time.Hour {
		return o, site, errors.New("-lifetime is 10s to 24h")
	}
	if site.command == nil {
		o.Site = site.folder
	} else {
		o.Origins = []string{"http://" + site.Address}
	}
	return o, site, nil
}

func folderOf(text string) local.Folder {
	if bucket, dir, named := strings.Cut(text, "="); named && weboffice.IsBucket(bucket) {
		return local.Folder{Bucket: bucket, Dir: dir}
	}
	return local.Folder{Bucket: "test-bucket", Dir: text}
}
