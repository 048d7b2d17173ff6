package local

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"strings"

	"weboffice-functions/shared/app"
)

// The URLs that policies and pages write for the site's own and for the stand-in's.
const usualURL, usualIMMURL = "http://127.0.0.1:8080", "http://127.0.0.1:8081"

// closedPolicy opens nothing.
const closedPolicy = `
project: test-project
origins: [http://127.0.0.1:8080]
rules: [{name: nothing, documents: oss://test-bucket/**, callers: anyone, deny: true}]
`

// Functions are generate and refresh as one process runs them.
type Functions struct {
	App               *app.App
	Generate, Refresh http.Handler
	// Environment is what they were configured with. Processes that are started with it are of the
	// same deployment.
	Environment map[string]string
}

// Handler serves both functions, at /generate and /refresh and every path below.
func (f *Functions) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, function := range map[string]http.Handler{"/generate": f.Generate,
		"/refresh": f.Refresh} {
		mux.Handle(path, function)
		mux.Handle(path+"/", function)
	}
	return mux
}

// Build makes the functions once more, from an environment as on a platform: another instance, with
// the site's keys and a memory of its own. changes go over the environment; "" takes a variable
// out. The error is the one with which the functions would not start.
func (l *Local) Build(policy []byte, changes map[string]string, logger *slog.Logger) (*Functions,
	error) {
	environment := maps.Clone(l.environment())
	file, err := os.CreateTemp(l.scratch, "policy-*.yaml")
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(strings.ReplaceAll(string(policy), usualURL, l.URL))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	environment["WEBOFFICE_POLICY_FILE"] = file.Name()
	maps.Copy(environment, l.options.Environment)
	maps.Copy(environment, changes)
	built, err := app.New(func(name string) string { return environment[name] }, l.options.Now,
		logger)
	if err != nil {
		return nil, err
	}
	return &Functions{App: built, Generate: l.options.Generate(built),
		Refresh: l.options.Refresh(built), Environment: environment}, nil
}

func (l *Local) environment() map[string]string {
	credentials := l.IMM.Credentials()
	return map[string]string{
		"WEBOFFICE_SESSION_KEYS":          l.options.SessionKeys,
		"WEBOFFICE_LINK_KEYS":             l.options.LinkKeys,
		"WEBOFFICE_REGION":                "cn-shanghai",
		"WEBOFFICE_IMM_ENDPOINT":          l.IMMURL,
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     credentials.AccessKeyID,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials.Secret,
		"ALIBABA_CLOUD_SECURITY_TOKEN":    credentials.SecurityToken,
	}
}

// makeKeys takes the keys that are given and makes the others.
func (l *Local) makeKeys() error {
	for _, keys := range []*string{&l.options.SessionKeys, &l.options.LinkKeys} {
		if *keys == "" {
			*keys = NewKey()
		}
	}
	links, err := app.LinkKeys(func(name string) string {
		return map[string]string{"WEBOFFICE_LINK_KEYS": l.options.LinkKeys}[name]
	})
	if err != nil {
		return err
	}
	l.LinkKey = links[0]
	return nil
}

// NewKey returns a random key as an operator makes one with `openssl rand -base64 32`.
func NewKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}
