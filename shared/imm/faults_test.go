package imm_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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

// TestWorkThatMayHaveBeenDone: after these failures nobody can know whether a refresh token is
// spent; after the others it is not.
func TestWorkThatMayHaveBeenDone(t *testing.T) {
	for name, c := range map[string]struct {
		fault office.Fault
		maybe bool
	}{
		"cut":                   {office.Cut(), true},
		"cut after the work":    {office.Cut().AfterWork(), true},
		"half an answer":        {office.Truncated(), true},
		"wrong types":           {office.WrongTypes(), true},
		"500":                   {office.InternalError(), true},
		"503 without a body":    {office.Unavailable(), true},
		"a gateway's page":      {office.HTML(), true},
		"a gateway's time-out":  {office.Refused(504, "ServiceTimeout", "no"), true},
		"throttled":             {office.Throttled(0), false},
		"throttled with a 503":  {office.Refused(503, "Throttling", "slow down"), false},
		"no right":              {office.NoPermission(), false},
		"credentials expired":   {office.SecurityTokenExpired(), false},
		"wrong signature":       {office.SignatureDoesNotMatch(), false},
		"wrong time":            {office.Refused(400, "InvalidTimeStamp.Expired", "no"), false},
		"refused refresh token": {office.Refused(400, "InvalidRefreshToken", "no"), false},
	} {
		server, client, _ := start(t)
		tokens, err := client.Generate(t.Context(), open())
		if err != nil {
			t.Fatal(err)
		}
		server.Fail("", 1, c.fault)
		if _, err := client.Refresh(t.Context(), "test-project", tokens.AccessToken,
			tokens.RefreshToken, nil); err == nil || imm.MaybeDone(err) != c.maybe {
			t.Errorf("%s: %v, may be done: %v", name, err, imm.MaybeDone(err))
		}
	}
	if imm.MaybeDone(nil) || imm.MaybeDone(context.Canceled) {
		t.Error("what is no failure of a call may have been done")
	}
}

// TestGatewayThatThrottles: a 429 is one whatever stands in its body, and whoever sent it names the
// time.
func TestGatewayThatThrottles(t *testing.T) {
	for after, want := range map[string]time.Duration{"9": 9 * time.Second, "": 0, "soon": 0,
		"-1": 0, "86400": time.Minute} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(429)
			_, _ = w.Write([]byte("<h1>Too many requests</h1>"))
		}))
		_, err := connect(t, web.URL, nil).Refresh(t.Context(), "test-project", "a", "r", nil)
		if public := weboffice.AsError(err); public.Kind != weboffice.Throttled ||
			public.RetryAfter != want || imm.NoAnswer(err) || imm.RefusedToken(err) {
			t.Errorf("%q: %v, %v", after, err, public.RetryAfter)
		}
		web.Close()
	}
}

// TestLimitsOfIMMNameTheTime: without Retry-After the wait is what IMM says of its own limits, in
// milliseconds.
func TestLimitsOfIMMNameTheTime(t *testing.T) {
	for limits, want := range map[string]time.Duration{
		"Limit:10,Remain:0,TimeLeft:3500":     3500 * time.Millisecond,
		"Limit:10,Remain:0,TimeLeft:86400000": time.Minute, "Limit:10": 0, "": 0,
	} {
		client := connect(t, serverURL(t,
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Ratelimit-User-Api", limits)
				w.WriteHeader(429)
				_, _ = w.Write([]byte(`{"RequestId":"1","Code":"Throttling.User","Message":"no"}`))
			})), nil)
		_, err := client.Generate(t.Context(), open())
		if public := weboffice.AsError(err); public.Kind != weboffice.Throttled ||
			public.RetryAfter != want {
			t.Errorf("%q: %v, %v", limits, err, public.RetryAfter)
		}
	}
}

// TestGatewayThatRefuses: it answers for IMM, so something did; and of refresh tokens it knows
// nothing.
func TestGatewayThatRefuses(t *testing.T) {
	for status, kind := range map[int]weboffice.Kind{401: weboffice.BadGateway,
		403: weboffice.BadGateway, 413: weboffice.Invalid, 414: weboffice.Invalid} {
		client := connect(t, serverURL(t,
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write([]byte("<h1>No</h1>"))
			})), nil)
		_, err := client.Refresh(t.Context(), "test-project", "a", "r", nil)
		public := weboffice.AsError(err)
		if public.Kind != kind || public.Code == "" || imm.NoAnswer(err) || imm.RefusedToken(err) ||
			imm.MaybeDone(err) {
			t.Errorf("%d: %v, %v", status, err, public.Cause)
		}
	}
}

// TestNameRefusedAtTheSecondTry: a connection that was lost does not take away the other second
// chance.
func TestNameRefusedAtTheSecondTry(t *testing.T) {
	server := office.New(office.Options{})
	server.SetSwitches(office.Switches{UserNameStrict: true})
	var dials atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (
		net.Conn, error) {
		if dials.Add(1) == 1 {
			return nil, net.ErrClosed
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	client, err := imm.New(imm.Options{
		Endpoint: serverURL(t, server), Region: "cn-shanghai", Credentials: keys, Now: time.Now,
		Logger: slog.New(slog.DiscardHandler), Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	named := open()
	named.User = &weboffice.User{Id: "ann", Name: "Ann Lee 安"}
	if _, err := client.Generate(t.Context(), named); err != nil || len(server.Requests()) != 2 {
		t.Errorf("%v after %d requests", err, len(server.Requests()))
	}
}

// TestEndpointWithoutAnAddress: no name server answers. Nothing was sent, and the log learns why
// without the query.
func TestEndpointWithoutAnAddress(t *testing.T) {
	var dials atomic.Int64
	lookup := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn,
		error) {
		return nil, net.ErrClosed
	}}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (
		net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{Resolver: lookup}).DialContext(ctx, network,
			"imm.cn-shanghai.invalid:443")
	}}
	client, err := imm.New(imm.Options{
		Endpoint: "imm.cn-shanghai.aliyuncs.com", Region: "cn-shanghai", Credentials: keys,
		Now: time.Now, Logger: slog.New(slog.DiscardHandler), Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, generateErr := client.Generate(t.Context(), open())
	if n := dials.Swap(0); n != 2 {
		t.Errorf("a generate that was not sent was tried %d times", n)
	}
	_, refreshErr := client.Refresh(t.Context(), "test-project", "access-token-1Fz6",
		"refresh-token-2Gb7", nil)
	if n := dials.Load(); n != 1 {
		t.Errorf("a refresh was tried %d times", n)
	}
	for _, err := range []error{generateErr, refreshErr} {
		public := weboffice.AsError(err)
		if public.Kind != weboffice.Unavailable || public.Fix == "" || imm.MaybeDone(err) ||
			imm.RefusedToken(err) ||
			!strings.Contains(fmt.Sprint(public.Cause), "name was not resolved") {
			t.Errorf("%v, fix %q, cause %v", err, public.Fix, public.Cause)
		}
		for _, secret := range []string{"hunter2", "token-", "aliyuncs", "invalid"} {
			if strings.Contains(fmt.Sprint(err, public.Cause, public.Fix), secret) {
				t.Errorf("%s is in %v, %v", secret, err, public.Cause)
			}
		}
	}
}

// TestCrowdSharesABoundedPool: while as many calls are under way as the pool has connections, a
// further one waits, and has not been sent when its time is over. Nobody else is turned away.
func TestCrowdSharesABoundedPool(t *testing.T) {
	const pool = 256
	server, arrived := office.New(office.Options{}), make(chan struct{}, pool)
	client := connect(t, serverURL(t, http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			select {
			case arrived <- struct{}{}:
			default: // of those that come later nobody counts
			}
			server.ServeHTTP(w, r)
		})), nil)
	release := make(chan struct{})
	server.Fail("", pool, office.Slow(release))
	var all sync.WaitGroup
	crowd := func(n int) {
		for range n {
			all.Go(func() {
				if _, err := client.Generate(t.Context(), open()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	crowd(pool)
	for range pool {
		<-arrived
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.Generate(ctx, open()); weboffice.AsError(err).Kind != weboffice.Timeout ||
		imm.MaybeDone(err) {
		t.Errorf("one more than the pool has: %v", err)
	}
	crowd(100)
	close(release)
	all.Wait()
	if c := server.Calls(); c.Generate != pool+100 || c.Failed != 0 {
		t.Errorf("%+v", c)
	}
}
