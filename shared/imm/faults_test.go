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
	"weboffice-functions/shared/imm/immtest"
	"weboffice-functions/shared/weboffice"
)

var keys = credentials.Static(credentials.Credentials{AccessKeyID: "STS.local", AccessKeySecret: "local-secret", SecurityToken: "local-token"})

// TestWorkThatMayHaveBeenDone: after these failures nobody can know whether a refresh token is spent; after the others it is not.
func TestWorkThatMayHaveBeenDone(t *testing.T) {
	for name, c := range map[string]struct {
		fault immtest.Fault
		maybe bool
	}{
		"cut":                   {immtest.Cut(), true},
		"cut after the work":    {immtest.Cut().AfterWork(), true},
		"half an answer":        {immtest.Truncated(), true},
		"wrong types":           {immtest.WrongTypes(), true},
		"500":                   {immtest.InternalError(), true},
		"503 without a body":    {immtest.Unavailable(), true},
		"a gateway's page":      {immtest.HTML(), true},
		"a gateway's time-out":  {immtest.Refused(504, "ServiceTimeout", "no"), true},
		"throttled":             {immtest.Throttled(0), false},
		"throttled with a 503":  {immtest.Refused(503, "Throttling", "slow down"), false},
		"no right":              {immtest.NoPermission(), false},
		"credentials expired":   {immtest.SecurityTokenExpired(), false},
		"wrong signature":       {immtest.SignatureDoesNotMatch(), false},
		"wrong time":            {immtest.Refused(400, "InvalidTimeStamp.Expired", "no"), false},
		"refused refresh token": {immtest.Refused(400, "InvalidRefreshToken", "no"), false},
	} {
		server, client, _ := start(t)
		tokens, err := client.Generate(t.Context(), open())
		if err != nil {
			t.Fatal(err)
		}
		server.Fail("", 1, c.fault)
		if _, err := client.Refresh(t.Context(), "test-project", tokens.AccessToken, tokens.RefreshToken, nil); err == nil || imm.MaybeDone(err) != c.maybe {
			t.Errorf("%s: %v, may be done: %v", name, err, imm.MaybeDone(err))
		}
	}
	if imm.MaybeDone(nil) || imm.MaybeDone(context.Canceled) {
		t.Error("what is no failure of a call may have been done")
	}
}

// TestGatewayThatThrottles: a 429 is one whatever stands in its body, and whoever sent it names the time.
func TestGatewayThatThrottles(t *testing.T) {
	for after, want := range map[string]time.Duration{"9": 9 * time.Second, "": 0, "soon": 0, "-1": 0, "86400": time.Minute} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(429)
			_, _ = w.Write([]byte("<h1>Too many requests</h1>"))
		}))
		_, err := connect(t, web.URL, nil).Refresh(t.Context(), "test-project", "a", "r", nil)
		if public := weboffice.AsError(err); public.Kind != weboffice.Throttled || public.RetryAfter != want || imm.NoAnswer(err) || imm.RefusedToken(err) {
			t.Errorf("%q: %v, %v", after, err, public.RetryAfter)
		}
		web.Close()
	}
}

// TestEndpointWithoutAnAddress: no name server answers. Nothing was sent, and the log learns why without the query.
func TestEndpointWithoutAnAddress(t *testing.T) {
	var dials atomic.Int64
	lookup := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{Resolver: lookup}).DialContext(ctx, network, "imm.cn-shanghai.invalid:443")
	}}
	client, err := imm.New(imm.Options{
		Endpoint: "imm.cn-shanghai.aliyuncs.com", Region: "cn-shanghai", Credentials: keys, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, generateErr := client.Generate(t.Context(), open())
	if n := dials.Swap(0); n != 2 {
		t.Errorf("a generate that was not sent was tried %d times", n)
	}
	_, refreshErr := client.Refresh(t.Context(), "test-project", "access-token-1Fz6", "refresh-token-2Gb7", nil)
	if n := dials.Load(); n != 1 {
		t.Errorf("a refresh was tried %d times", n)
	}
	for _, err := range []error{generateErr, refreshErr} {
		public := weboffice.AsError(err)
		if public.Kind != weboffice.Unavailable || public.Fix == "" || imm.MaybeDone(err) || imm.RefusedToken(err) ||
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

// TestCrowdSharesABoundedPool: no crowd makes more connections than the pool has, and none of it is turned away.
func TestCrowdSharesABoundedPool(t *testing.T) {
	server := immtest.New(immtest.Options{})
	web := httptest.NewUnstartedServer(server)
	var mu sync.Mutex
	now, most := map[net.Conn]bool{}, 0
	web.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if now[c] = true; state == http.StateClosed {
			delete(now, c)
		}
		most = max(most, len(now))
	}
	web.Start()
	defer web.Close()
	client := connect(t, web.URL, nil)
	release := make(chan struct{})
	server.Fail("", 256, immtest.Slow(release))
	var all sync.WaitGroup
	for range 400 {
		all.Go(func() {
			if _, err := client.Generate(t.Context(), open()); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if c := server.Calls(); most > 256 || c.Generate != 400 || c.Failed != 0 {
		t.Errorf("%d connections, %+v", most, c)
	}
}
