// Package local runs everything on one machine, with no account: the IMM stand-in, a test identity
// provider, both functions and the sample page. scripts/dev serves it to a person, scripts/smoke
// and end-to-end tests drive it. Loopback only; its credentials are no secrets and open nothing but
// the stand-in.
package local

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// usualOrigin stands in the policy that ships with scripts/dev and gives way to the real origin.
const usualOrigin = "http://127.0.0.1:8080"

// Options say what to run. Addresses default to free ports of 127.0.0.1.
type Options struct {
	Addr, IMMAddr string
	Policy        []byte // the text of a policy
	SessionKeys   string // as WEBOFFICE_SESSION_KEYS; default: random
	Documents     string // a folder whose files are laid into test-bucket
	Lifetime      time.Duration
	Now           func() time.Time // default time.Now
	Logger        *slog.Logger

	// Generate and Refresh make the two functions' handlers: generate.New and refresh.New.
	Generate, Refresh func(*app.App) http.Handler
}

// Local is what runs.
type Local struct {
	URL     string // of the page; generate and refresh lie below it
	IMMURL  string // of the stand-in
	IMM     *office.Server
	People  *issuer.Provider
	App     *app.App
	LinkKey weboffice.Secret

	decisions *decisions
	lifetime  time.Duration
	now       func() time.Time
	documents []document
	servers   []*http.Server
	scratch   string
}

// Start runs everything until Close.
func Start(o Options) (*Local, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lifetime == 0 {
		o.Lifetime = 30 * time.Minute
	}
	l := &Local{decisions: &decisions{Handler: o.Logger.Handler(), now: o.Now},
		lifetime: o.Lifetime, now: o.Now}
	page, err := listen(o.Addr)
	if err != nil {
		return nil, err
	}
	immListener, err := listen(o.IMMAddr)
	if err != nil {
		_ = page.Close()
		return nil, err
	}
	l.URL, l.IMMURL = "http://"+page.Addr().String(), "http://"+immListener.Addr().String()
	l.IMM = office.New(office.Options{Now: o.Now, AccessTokenLife: o.Lifetime, PublicURL: l.IMMURL,
		Logger: o.Logger})
	l.People = issuer.New(issuer.Options{Now: o.Now, Algorithm: "ES256"})
	l.People.SetURL(l.URL + "/people")
	err = errors.Join(l.layDocuments(o.Documents), l.startFunctions(o))
	if err != nil {
		return nil, errors.Join(err, page.Close(), immListener.Close(), l.Close())
	}
	l.serve(page, l.routes(o))
	l.serve(immListener, l.IMM)
	return l, nil
}

func listen(addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("%s is no loopback address: use 127.0.0.1:PORT", addr)
	}
	return net.Listen("tcp", addr)
}

func (l *Local) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	l.servers = append(l.servers, server)
	go func() { _ = server.Serve(listener) }()
}

// startFunctions builds the functions from an environment, as a platform does.
func (l *Local) startFunctions(o Options) error {
	scratch, err := os.MkdirTemp("", "weboffice-dev")
	if err != nil {
		return err
	}
	l.scratch = scratch
	policyFile := filepath.Join(scratch, "policy.yaml")
	text := strings.ReplaceAll(string(o.Policy), usualOrigin, l.URL)
	if err := os.WriteFile(policyFile, []byte(text), 0o600); err != nil {
		return err
	}
	linkKey := make([]byte, 32)
	_, _ = rand.Read(linkKey) // never fails
	l.LinkKey = weboffice.Secret(linkKey)
	credentials := l.IMM.Credentials()
	environment := map[string]string{
		"WEBOFFICE_SESSION_KEYS": o.SessionKeys,
		"WEBOFFICE_LINK_KEYS":    base64.StdEncoding.EncodeToString(linkKey),
		"WEBOFFICE_POLICY_FILE":  policyFile, "WEBOFFICE_REGION": "cn-shanghai",
		"WEBOFFICE_IMM_ENDPOINT":          l.IMMURL,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     credentials.AccessKeyID,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials.Secret,
		"ALIBABA_CLOUD_SECURITY_TOKEN":    credentials.SecurityToken,
	}
	if o.SessionKeys == "" {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		environment["WEBOFFICE_SESSION_KEYS"] = base64.StdEncoding.EncodeToString(key)
	}
	l.App, err = app.New(func(name string) string { return environment[name] }, o.Now,
		slog.New(l.decisions))
	return err
}

// routes mounts the functions and what the sample page asks.
func (l *Local) routes(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/generate", o.Generate(l.App))
	mux.Handle("/refresh", o.Refresh(l.App))
	mux.Handle("/people/", http.StripPrefix("/people", l.People))
	mux.HandleFunc("GET /dev.json", l.serveSetting)
	mux.HandleFunc("GET /dev/token", l.serveToken)
	mux.HandleFunc("GET /dev/state.json", l.serveState)
	mux.Handle("/", l.pages())
	return mux
}

// Close stops everything at once.
func (l *Local) Close() error {
	var problems []error
	for _, server := range l.servers {
		problems = append(problems, server.Close())
	}
	if l.scratch != "" {
		problems = append(problems, os.RemoveAll(l.scratch))
	}
	return errors.Join(problems...)
}

// Stop lets requests under way finish, and closes.
func (l *Local) Stop(ctx context.Context) error {
	for _, server := range l.servers {
		_ = server.Shutdown(ctx)
	}
	return l.Close()
}
