package imm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

func TestGenerateAndRefresh(t *testing.T) {
	server, client, clock := start(t)
	first, err := client.Generate(t.Context(), ordinary())
	if err != nil {
		t.Fatal(err)
	}
	if first.WebofficeURL == "" || first.RequestID == "" || first.Life < 29*time.Minute ||
		first.Life > 31*time.Minute || first.MaybeBilled ||
		first.RefreshTokenExpiredTime.Sub(clock.now()).Round(time.Hour) != 24*time.Hour {
		t.Errorf("generate: %+v", first)
	}
	second, err := client.Refresh(t.Context(), "test-project", first.AccessToken,
		first.RefreshToken, nil)
	if err != nil || second.WebofficeURL != "" || second.AccessToken == first.AccessToken ||
		second.RefreshToken == first.RefreshToken {
		t.Errorf("refresh: %+v, %v", second, err)
	}
	_, err = client.Refresh(t.Context(), "test-project", second.AccessToken, first.RefreshToken,
		nil)
	if !imm.RefusedToken(err) || imm.NoAnswer(err) {
		t.Errorf("a spent token: %v", err)
	}
	if c := server.Calls(); c.Generate != 1 || c.Refresh != 1 || len(server.Requests()) != 3 {
		t.Errorf("calls: %+v", c)
	}
}

// TestLifeIsCountedByIMMsClock: ours may be wrong; IMM's Date has whole seconds, so that of two
// clocks that agree ours is the finer one.
func TestLifeIsCountedByIMMsClock(t *testing.T) {
	base := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	const good = `{"RequestId":"1","WebofficeURL":"https://office.example/1","AccessToken":"a",` +
		`"RefreshToken":"r","AccessTokenExpiredTime":"2026-11-21T12:30:00Z",` +
		`"RefreshTokenExpiredTime":"2026-11-22T12:00:00Z"}`
	for ours, want := range map[time.Duration]time.Duration{
		0:                       30 * time.Minute,
		1900 * time.Millisecond: 30*time.Minute - 1900*time.Millisecond,
		2 * time.Second:         30 * time.Minute,
		-time.Second:            30 * time.Minute,
		9 * time.Minute:         30 * time.Minute,
	} {
		client := connect(t, serve(t, answer(200,
			http.Header{"Date": {base.Format(http.TimeFormat)}}, good)),
			func(o *imm.Options) { o.Now = func() time.Time { return base.Add(ours) } })
		if got, err := client.Generate(t.Context(), ordinary()); err != nil || got.Life != want {
			t.Errorf("ours %v ahead: %v, want %v, %v", ours, got.Life, want, err)
		}
	}
}

// wantNames wants these to be the User.Name of all requests so far.
func wantNames(t *testing.T, server *office.Server, want ...string) {
	t.Helper()
	var all []string
	for _, r := range server.Requests() {
		var user struct{ Name string }
		_ = json.Unmarshal([]byte(r.Parameters["User"]), &user)
		all = append(all, user.Name)
	}
	if !slices.Equal(all, want) {
		t.Errorf("sent %q, want %q", all, want)
	}
}

// TestOneRefusedNameIsOneName: it is sent plainly for a day; everybody else's goes as it is.
func TestOneRefusedNameIsOneName(t *testing.T) {
	server, client, clock := start(t)
	generate := func(name string) imm.Tokens {
		tokens, err := client.Generate(t.Context(), named(name))
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	server.SetSwitches(office.Switches{UserNameStrict: true})
	if tokens := generate("Ann Lee 安"); !tokens.MaybeBilled {
		t.Error("the refused call does not count as maybe billed")
	}
	if tokens := generate("Ann Lee 安"); tokens.MaybeBilled {
		t.Error("a call counts that was not made")
	}
	server.SetSwitches(office.Switches{})
	generate("陈小明")
	generate("Ann Lee 安")
	clock.advance(24 * time.Hour)
	generate("Ann Lee 安")
	wantNames(t, server, "Ann Lee 安", "Ann_Lee_", "Ann_Lee_", "陈小明", "Ann_Lee_", "Ann Lee 安")
}

// TestNameThatIsNotToBlame: where the plain name is refused as well, no name is remembered, and one
// that is plain already is not sent again.
func TestNameThatIsNotToBlame(t *testing.T) {
	server, client, _ := start(t)
	server.Fail(office.Generate, 2, office.UserNameRefused())
	_, err := client.Generate(t.Context(), named("Ann Lee 安"))
	if weboffice.AsError(err).Kind != weboffice.Invalid || !imm.MaybeBilled(err) {
		t.Errorf("got %v", err)
	}
	server.Fail(office.Generate, 1, office.UserNameRefused())
	server.Fail(office.Generate, 1, office.InternalError())
	if _, err := client.Generate(t.Context(), named("Bo 波")); !imm.MaybeBilled(err) {
		t.Errorf("the first call's refusal is forgotten: %v", err)
	}
	server.Fail(office.Generate, 1, office.UserNameRefused())
	if _, err := client.Generate(t.Context(), named("Ann")); err == nil {
		t.Error("a plain name was sent again")
	}
	if _, err := client.Generate(t.Context(), named("Ann Lee 安")); err != nil {
		t.Fatal(err)
	}
	wantNames(t, server, "Ann Lee 安", "Ann_Lee_", "Bo 波", "Bo_", "Ann", "Ann Lee 安")
}

// TestNameRefusedAtTheSecondTry: a connection that was lost does not take away the other second
// chance.
func TestNameRefusedAtTheSecondTry(t *testing.T) {
	var dials atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (
		net.Conn, error) {
		if dials.Add(1) == 1 {
			return nil, net.ErrClosed
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	var log bytes.Buffer
	server, client, _ := start(t, func(o *imm.Options) {
		o.Transport, o.Logger = transport, slog.New(slog.NewTextHandler(&log, nil))
	})
	server.SetSwitches(office.Switches{UserNameStrict: true})
	if _, err := client.Generate(t.Context(), named("Ann Lee 安")); err != nil ||
		len(server.Requests()) != 2 {
		t.Errorf("%v after %d requests", err, len(server.Requests()))
	}
	if !strings.Contains(log.String(), "IMM not reached; retrying once") ||
		!strings.Contains(log.String(), "IMM refused User.Name") ||
		strings.Contains(log.String(), "安") {
		t.Errorf("the log says %s", &log)
	}
}

// source is a source of credentials for these tests.
type source func(ctx context.Context) (credentials.Credentials, error)

func (s source) Credentials(ctx context.Context) (credentials.Credentials, error) { return s(ctx) }

func TestDeadlineHoldsWhileCredentialsAreFetched(t *testing.T) {
	blocked := source(func(ctx context.Context) (credentials.Credentials, error) {
		<-ctx.Done() // until the request is given up
		return credentials.Credentials{}, weboffice.ErrCredentials.Because(ctx.Err(), "")
	})
	server, client, _ := start(t, func(o *imm.Options) { o.Credentials = blocked })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := client.Generate(ctx, ordinary())
	if !errors.Is(err, context.DeadlineExceeded) || imm.NoAnswer(err) ||
		len(server.Requests()) > 0 {
		t.Errorf("got %v", err)
	}
}

// A page learns when to come again, and the log what to do.
func TestErrorOfTheCredentialsIsTheCalls(t *testing.T) {
	refused := weboffice.ErrCredentials.Because(errors.New("refused"), "check the audience")
	refused.RetryAfter = 3 * time.Second
	server, client, _ := start(t, func(o *imm.Options) {
		o.Credentials = source(func(context.Context) (credentials.Credentials, error) {
			return credentials.Credentials{}, refused
		})
	})
	_, err := client.Generate(t.Context(), ordinary())
	if got := weboffice.AsError(err); got.Kind != weboffice.Unavailable ||
		got.RetryAfter != refused.RetryAfter || got.Fix != refused.Fix ||
		imm.MaybeBilled(err) || imm.RefusedToken(err) || len(server.Requests()) > 0 {
		t.Errorf("got %+v", got)
	}
}

func TestRenewedCredentialsAreUsedAtTheNextCall(t *testing.T) {
	var held credentials.Credentials
	server, client, _ := start(t, func(o *imm.Options) {
		o.Credentials = source(func(context.Context) (credentials.Credentials, error) {
			return held, nil
		})
	})
	for _, name := range []string{"first", "second"} {
		held = credentials.Credentials{AccessKeyID: "STS." + name,
			AccessKeySecret: weboffice.Secret(name + "-secret"), SecurityToken: "token"}
		if _, err := client.Generate(t.Context(),
			ordinary()); weboffice.AsError(err).Kind != weboffice.Unavailable {
			t.Errorf("credentials that IMM does not know: %v", err)
		}
		server.SetCredentials(office.Credentials{AccessKeyID: "STS." + name,
			Secret: name + "-secret", SecurityToken: "token"})
		if _, err := client.Generate(t.Context(), ordinary()); err != nil {
			t.Error(err)
		}
	}
}

// TestForeignEndpoint: signed requests with documents' passwords go to the vendor or to this
// machine.
func TestForeignEndpoint(t *testing.T) {
	for _, endpoint := range []string{"", "imm.example.com", "aliyuncs.com.example.com",
		"evil-aliyuncs.com", "https://imm.cn-shanghai.aliyuncs.com", "http://10.0.0.1:80",
		"http://127.0.0.1:80/path", "http://u@127.0.0.1:80", "http://127.0.0.1.example.com:80",
		"imm.aliyuncs.com/x", "imm.aliyuncs.com?x", ".aliyuncs.com", "imm..aliyuncs.com",
		"aliyuncs.com", "IMM.aliyuncs.com", "imm_x.aliyuncs.com", "imm.aliyuncs.com.",
		"evil.example/.aliyuncs.com",
		"u@imm.aliyuncs.com", "imm.aliyuncs.com:443", "imm\n.aliyuncs.com", "http://127.0.0.1:80?x=1"} {
		if u, err := imm.ParseEndpoint(endpoint); err == nil {
			t.Errorf("%s accepted as %s", endpoint, u)
		}
		if _, err := imm.New(imm.Options{Endpoint: endpoint, Now: time.Now}); err == nil {
			t.Errorf("a client for %s was made", endpoint)
		}
	}
	for _, endpoint := range []string{"imm.cn-shanghai.aliyuncs.com",
		"imm-vpc.cn-beijing.aliyuncs.com", "http://127.0.0.1:8081", "http://[::1]:8081",
		"http://localhost:80/"} {
		if _, err := imm.ParseEndpoint(endpoint); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
