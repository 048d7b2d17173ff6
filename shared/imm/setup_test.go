package imm_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

var keys = credentials.Static(credentials.Credentials{AccessKeyID: "STS.local",
	AccessKeySecret: "local-secret", SecurityToken: "local-token"})

// clock is a time that tests move.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.passed.Load())) }
func (c *clock) advance(by time.Duration) { c.passed.Add(int64(by)) }

// start runs a stand-in and a client of it.
func start(t testing.TB, change ...func(*imm.Options)) (*office.Server, *imm.Client, *clock) {
	t.Helper()
	c := &clock{}
	server := office.New(office.Options{Now: c.now})
	change = append([]func(*imm.Options){func(o *imm.Options) { o.Now = c.now }}, change...)
	return server, connect(t, serve(t, server), change...), c
}

func serve(t testing.TB, handler http.Handler) (url string) {
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return web.URL
}

// answer is a handler that always says the same.
func answer(status int, header http.Header, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func connect(t testing.TB, endpoint string, change ...func(*imm.Options)) *imm.Client {
	t.Helper()
	o := imm.Options{Endpoint: endpoint, Region: "cn-shanghai", Credentials: keys, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler)}
	for _, c := range change {
		c(&o)
	}
	client, err := imm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// ordinary is a request that breaks no rule.
func ordinary() weboffice.Request {
	return weboffice.Request{
		ProjectName: "test-project", SourceURI: "oss://test-bucket/test-object.docx",
		Filename: "test-object.docx", Password: "hunter2-hunter2",
		Permission: &weboffice.Permission{Readonly: true, Copy: true},
		User:       &weboffice.User{Id: "ann", Name: "Ann"},
	}
}

func named(name string) weboffice.Request {
	r := ordinary()
	r.User = &weboffice.User{Id: "ann", Name: name}
	return r
}

const (
	accessToken  = "access-token-1Fz6"
	refreshToken = "refresh-token-2Gb7"
)

// refresh spends tokens that no stand-in knows.
func refresh(t testing.TB, c *imm.Client) (imm.Tokens, error) {
	return c.Refresh(t.Context(), "test-project", accessToken, refreshToken, nil)
}
