package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weboffice-functions/shared/standin/local"
)

// examples is where the small sites lie, from where go.mod is.
const examples = "shared/web/examples"

// example is a small site that a reader can copy. One of plain files takes the sample page's place.
// One with a server.mjs, or with a package.json, is a process of its own: Node's, or what
// `npm start` is there.
type example struct {
	Name, folder, Address string
	command               []string // nil: plain files
}

// newExample finds an example, and a free port for one that needs it.
func newExample(name string) (example, error) {
	e := example{Name: name, folder: filepath.Join(examples, name)}
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(e.folder, file))
		return err == nil
	}
	switch {
	case has("server.mjs"):
		e.command = []string{"node", "server.mjs"}
	case has("package.json"):
		e.command = []string{"npm", "start"}
	case !has("index.html"):
		found, _ := filepath.Glob(examples + "/*") // the pattern is a good one
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		return example{}, fmt.Errorf("it is one of %s; run dev where go.mod is",
			cmp.Or(strings.Join(found, ", "), "the folders in "+examples))
	}
	if e.command == nil {
		return e, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return e, err
	}
	e.Address = listener.Addr().String()
	return e, listener.Close()
}

// run runs the example's own process until ctx ends. It finds its port in PORT, and in GENERATE,
// REFRESH, SDK and WEBOFFICE_LINK_KEYS what a site of one's own would be configured with.
func (e example) run(ctx context.Context, l *local.Local, stdout io.Writer) error {
	_, err := os.Stat(filepath.Join(e.folder, "node_modules"))
	if e.command[0] == "npm" && errors.Is(err, os.ErrNotExist) {
		if err := e.process(ctx, l, stdout, "npm", "install"); err != nil {
			return err
		}
	}
	return e.process(ctx, l, stdout, e.command...)
}

func (e example) process(ctx context.Context, l *local.Local, stdout io.Writer,
	command ...string) error {
	_, port, _ := net.SplitHostPort(e.Address) // it was listened at
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Dir, c.Stdout, c.Stderr, c.WaitDelay = e.folder, stdout, stdout, time.Second
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.Env = append(os.Environ(), "PORT="+port, "GENERATE="+l.URL+"/generate",
		"REFRESH="+l.URL+"/refresh", "SDK="+l.SDK(),
		"WEBOFFICE_LINK_KEYS="+l.Environment["WEBOFFICE_LINK_KEYS"])
	if err := c.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("-example %s: %s: %w", e.Name, strings.Join(command, " "), err)
	}
	return nil
}
