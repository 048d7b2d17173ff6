package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// The tests of this package run in a bubble of testing/synctest: the network is pipes, and time
// passes only when all wait.

const openToAnyone = `
project: test-project
limits: {anyone: 1000/m}
rules:
  - {name: everything, documents: oss://test-bucket/**, callers: anyone, grant: [view, edit, copy]}
`

const document = "oss://test-bucket/test-object.docx"

// pipes is a net.Listener without a network.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, open := <-p; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours, nil
}

// site is a broker, the IMM that it calls and what it logs.
type site struct {
	*Broker
	t      *testing.T
	office *office.Server
	client *imm.Client
	mu     sync.Mutex
	log    bytes.Buffer
}

// Write implements io.Writer for the log.
func (b *site) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

// at runs a test at a site of its own with this policy.
func at(t *testing.T, rules string, test func(*testing.T, *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &site{t: t, office: office.New(office.Options{})}
		listener := make(pipes)
		server := &http.Server{Handler: b.office}
		go func() { _ = server.Serve(listener) }()
		transport := &http.Transport{DialContext: listener.dial}
		defer func() {
			_ = server.Close()
			transport.CloseIdleConnections()
		}()
		keys := b.office.Credentials()
		var err error
		b.client, err = imm.New(imm.Options{
			Endpoint: "http://127.0.0.1:1", Region: "cn-shanghai", Now: time.Now,
			Logger: b.logger(), Transport: transport,
			Credentials: credentials.Static(credentials.Credentials{
				AccessKeyID: keys.AccessKeyID, AccessKeySecret: weboffice.Secret(keys.Secret),
				SecurityToken: weboffice.Secret(keys.SecurityToken),
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Broker = b.instance(rules)
		test(t, b)
	})
}

func (b *site) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(b, nil)) }

// instance is a further broker of the same deployment, with this policy.
func (b *site) instance(rules string) *Broker {
	b.t.Helper()
	parsed, err := policy.Parse([]byte(rules), policy.Options{Loopback: true})
	if err != nil {
		b.t.Fatal(err)
	}
	sealer, err := session.NewSealer([][]byte{bytes.Repeat([]byte{7}, session.KeySize)},
		"test-project", "cn-shanghai")
	if err != nil {
		b.t.Fatal(err)
	}
	return New(Options{Policy: parsed, IMM: b.client, Sealer: sealer, Now: time.Now,
		Logger: b.logger()})
}

func from(address string) Visitor { return Visitor{Address: netip.MustParseAddr(address)} }

func person(issuer, subject string) Visitor {
	v := from("192.0.2.1")
	v.Caller = caller.Caller{Issuer: "staff", IssuerURL: issuer, Subject: subject,
		User: caller.User{ID: subject, Name: subject}}
	return v
}

// holder bears a share link; without a subject it is one of many.
func holder(id, subject string) Visitor {
	v := person(caller.LinkIssuer, subject)
	v.Issuer = caller.LinkIssuer
	v.Link = &caller.Link{ID: id, Document: document, Grant: []string{"view", "edit"}}
	return v
}

var passerBy, ann = from("192.0.2.1"), person("https://login.example.com", "ann")

// generate opens a document.
func (b *site) generate(v Visitor, uri string) (weboffice.RefreshRequest, error) {
	answer, err := b.Generate(b.t.Context(), v, weboffice.Request{SourceURI: uri})
	return shown(answer), err
}

// shown is what a page shows of an answer at its next refresh.
func shown(a Answer) weboffice.RefreshRequest {
	return weboffice.RefreshRequest{AccessToken: a.AccessToken,
		RefreshToken: weboffice.Secret(a.RefreshToken.Reveal())}
}

func (b *site) mustGenerate(v Visitor) weboffice.RefreshRequest {
	b.t.Helper()
	opened, err := b.generate(v, document)
	if err != nil {
		b.t.Fatal(err)
	}
	return opened
}

// open generates, and lets so much time pass that the next refresh calls IMM.
func (b *site) open() weboffice.RefreshRequest {
	b.t.Helper()
	opened := b.mustGenerate(passerBy)
	time.Sleep(15 * time.Minute)
	return opened
}

func (b *site) mustRefresh(by *Broker, v Visitor, tokens weboffice.RefreshRequest) Answer {
	b.t.Helper()
	answer, err := by.Refresh(b.t.Context(), v, tokens)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer
}

// wantLine holds a log line to pairs of an attribute and its value.
func wantLine(t *testing.T, line map[string]any, pairs ...any) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if name := pairs[i].(string); line[name] != pairs[i+1] {
			t.Errorf("%s is %v, want %v: %v", name, line[name], pairs[i+1], line)
		}
	}
}

func wantKind(t *testing.T, err error, kind weboffice.Kind) *weboffice.Error {
	t.Helper()
	var public *weboffice.Error
	if !errors.As(err, &public) || public.Kind != kind {
		t.Fatalf("got %v, want kind %v", err, kind)
	}
	return public
}

func (b *site) calls(generates, refreshes int) {
	b.t.Helper()
	if got := b.office.Calls(); got.Generate != generates || got.Refresh != refreshes {
		b.t.Fatalf("IMM did %+v, want %d and %d", got, generates, refreshes)
	}
}

// logged are the lines so far that have this message.
func (b *site) logged(message string) []map[string]any {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []map[string]any
	for line := range strings.Lines(b.log.String()) {
		var attributes map[string]any
		if err := json.Unmarshal([]byte(line), &attributes); err != nil {
			b.t.Fatal(err)
		}
		if attributes["msg"] == message {
			lines = append(lines, attributes)
		}
	}
	return lines
}

// lines are the audit lines so far, without that of open.
func (b *site) lines() []map[string]any {
	b.t.Helper()
	return b.logged("decision")[1:]
}
