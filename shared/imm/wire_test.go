package imm_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	sdk "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

//go:embed testdata/parameters.json
var parametersJSON []byte

// parameters has a value for each parameter of GenerateWebofficeToken.
var parameters = func() (all map[string]json.RawMessage) {
	if err := json.Unmarshal(parametersJSON, &all); err != nil {
		panic(err)
	}
	return all
}()

// sent is a request on the wire.
type sent struct {
	target     string
	headers    []string // names
	parameters map[string]any
}

// TestSameWireAsTheOfficialSDK sends the same request through the SDK's typed call, as the vendor's
// sample does, and through Client: parameter by parameter, then all of them. The stand-in accepts
// both.
func TestSameWireAsTheOfficialSDK(t *testing.T) {
	var wire []sent
	server := office.New(office.Options{})
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wire = append(wire, read(t, r))
		server.ServeHTTP(w, r)
	}))
	client, official := connect(t, address), officialClient(t, address)
	same := func(name string, err, officialErr error) {
		t.Helper()
		if (err == nil) != (officialErr == nil) {
			t.Errorf("%s: %v, the official client %v", name, err, officialErr)
		}
		if ours, theirs := wire[0], wire[1]; !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%s: sent\n%v, the official client\n%v", name, ours, theirs)
		}
		wire = nil
	}
	for _, shape := range []any{weboffice.Request{}, sdk.GenerateWebofficeTokenRequest{}} {
		for field := range reflect.TypeOf(shape).Fields() {
			if parameters[field.Name] == nil {
				t.Errorf("%T has %s, which is not compared", shape, field.Name)
			}
		}
	}
	for name := range parameters {
		text := request("ProjectName", "SourceURI", "User", "Permission", name)
		err, officialErr := generateBoth(t, client, official, text)
		same(name, err, officialErr)
	}
	err, officialErr := generateBoth(t, client, official,
		request(slices.Collect(maps.Keys(parameters))...))
	same("all", err, officialErr)

	config, theirs := &weboffice.CredentialConfig{}, &sdk.CredentialConfig{}
	decode(t, string(parameters["CredentialConfig"]), config)
	decode(t, string(parameters["CredentialConfig"]), theirs)
	_, err = client.Refresh(t.Context(), "test-project", accessToken, refreshToken, config)
	_, officialErr = official.RefreshWebofficeToken(&sdk.RefreshWebofficeTokenRequest{
		ProjectName: tea.String("test-project"), AccessToken: tea.String(accessToken),
		RefreshToken: tea.String(refreshToken), CredentialConfig: theirs})
	same("refresh", err, officialErr)
}

// read takes a request as it is on the wire; structures are decoded, since the order of their
// fields means nothing. The name of the SDK's source of credentials is only for its own statistics.
func read(t *testing.T, r *http.Request) sent {
	s := sent{target: r.Method + " " + r.Host + r.URL.Path, parameters: map[string]any{}}
	for name := range r.Header {
		if name != "X-Acs-Credentials-Provider" {
			s.headers = append(s.headers, name)
		}
	}
	slices.Sort(s.headers)
	for name, values := range r.URL.Query() {
		var value any = values
		if len(values) == 1 && strings.HasPrefix(values[0], "{") {
			decode(t, values[0], &value)
		}
		s.parameters[name] = value
	}
	return s
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// request is a request of these parameters as JSON.
func request(names ...string) string {
	members := map[string]json.RawMessage{}
	for _, name := range names {
		members[name] = parameters[name]
	}
	text, _ := json.Marshal(members)
	return string(text)
}

func generateBoth(t *testing.T, client *imm.Client, official *sdk.Client, text string) (err,
	officialErr error) {
	t.Helper()
	ours, err := weboffice.ParseRequest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	theirs := &sdk.GenerateWebofficeTokenRequest{}
	decode(t, text, theirs)
	_, err = client.Generate(t.Context(), ours)
	_, officialErr = official.GenerateWebofficeToken(theirs)
	return err, officialErr
}

func officialClient(t *testing.T, address string) *sdk.Client {
	t.Helper()
	host := tea.String(strings.TrimPrefix(address, "http://"))
	client, err := sdk.NewClient(&openapi.Config{Endpoint: host, NoProxy: host, // even loopback
		AccessKeyId: tea.String("STS.local"), AccessKeySecret: tea.String("local-secret"),
		SecurityToken: tea.String("local-token"), Protocol: tea.String("http")})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestEndpointThatIsNotReached: nobody listens, or no name server answers. Nothing was sent, and
// the log learns why without the query.
func TestEndpointThatIsNotReached(t *testing.T) {
	web := httptest.NewServer(nil)
	web.Close()
	lookup := &net.Resolver{PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }}
	for address, why := range map[string]string{
		web.Listener.Addr().String(): "dial failed",
		"imm.invalid:443":            "name was not resolved",
	} {
		var dials atomic.Int64
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{Resolver: lookup}).DialContext(ctx, network, address)
		}
		client := connect(t, "imm.cn-shanghai.aliyuncs.com",
			func(o *imm.Options) { o.Transport = &http.Transport{DialContext: dial} })
		if err := client.Warm(t.Context()); err == nil || strings.Contains(err.Error(), "http") {
			t.Errorf("warm: %v", err)
		}
		dials.Store(0)
		_, generateErr := client.Generate(t.Context(), ordinary())
		if n := dials.Swap(0); n != 2 {
			t.Errorf("a generate that was not sent was tried %d times", n)
		}
		_, refreshErr := refresh(t, client)
		if n := dials.Load(); n != 1 {
			t.Errorf("a refresh was tried %d times", n)
		}
		for _, err := range []error{generateErr, refreshErr} {
			public := weboffice.AsError(err)
			if public.Kind != weboffice.Unavailable || public.Fix == "" || known(err) != "" ||
				!strings.Contains(fmt.Sprint(public.Cause), why) {
				t.Errorf("%v, fix %q, cause %v", err, public.Fix, public.Cause)
			}
			for _, secret := range []string{"hunter2", "token-", "aliyuncs", "invalid", "127."} {
				if strings.Contains(fmt.Sprint(err, public.Cause, public.Fix), secret) {
					t.Errorf("%s is in %v, %v", secret, err, public.Cause)
				}
			}
		}
	}
}

// TestWarmConnectionIsUsed: the first call finds it, and it is no call of the API.
func TestWarmConnectionIsUsed(t *testing.T) {
	var connections atomic.Int64
	server := office.New(office.Options{})
	web := httptest.NewUnstartedServer(server)
	web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	web.Start()
	defer web.Close()
	client := connect(t, web.URL)
	if err := client.Warm(t.Context()); err != nil || len(server.Requests()) > 0 {
		t.Fatal(err, server.Requests())
	}
	if _, err := client.Generate(t.Context(), ordinary()); err != nil || connections.Load() != 1 {
		t.Errorf("%v, %d connections", err, connections.Load())
	}
}

// TestDeadConnectionAfterAFreeze: an instance that was frozen has connections that the other side
// closed long ago.
func TestDeadConnectionAfterAFreeze(t *testing.T) {
	c := &clock{}
	server := office.New(office.Options{Now: c.now})
	web := httptest.NewServer(server)
	defer web.Close()
	client := connect(t, web.URL, func(o *imm.Options) { o.Now = c.now })
	if _, err := client.Generate(t.Context(), ordinary()); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	web.CloseClientConnections()
	var all sync.WaitGroup
	for range 20 { // of which one comes first
		all.Go(func() {
			if _, err := client.Generate(t.Context(), ordinary()); err != nil {
				t.Errorf("after the freeze: %v", err)
			}
		})
	}
	all.Wait()
	if c := server.Calls(); c.Generate != 21 {
		t.Errorf("calls: %+v", c)
	}
}

// TestCrowdSharesABoundedPool: while as many calls are under way as the pool has connections, a
// further one waits, and has not been sent when its time is over. Nobody else is turned away.
func TestCrowdSharesABoundedPool(t *testing.T) {
	const pool = 256
	server, arrived := office.New(office.Options{}), make(chan struct{}, pool)
	client := connect(t, serve(t, http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			select {
			case arrived <- struct{}{}:
			default: // of those that come later nobody counts
			}
			server.ServeHTTP(w, r)
		})))
	release := make(chan struct{})
	server.Fail("", pool, office.Slow(release))
	var all sync.WaitGroup
	crowd := func(n int) {
		for range n {
			all.Go(func() {
				if _, err := client.Generate(t.Context(), ordinary()); err != nil {
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
	if _, err := client.Generate(ctx,
		ordinary()); weboffice.AsError(err).Kind != weboffice.Timeout || imm.MaybeDone(err) {
		t.Errorf("one more than the pool has: %v", err)
	}
	crowd(100)
	close(release)
	all.Wait()
	if c := server.Calls(); c.Generate != pool+100 {
		t.Errorf("%+v", c)
	}
}
