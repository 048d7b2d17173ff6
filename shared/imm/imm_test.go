package imm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	sdk "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// start runs a stand-in and a client of it.
func start(t *testing.T) (*office.Server, *imm.Client, *httptest.Server) {
	t.Helper()
	server := office.New(office.Options{})
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	return server, connect(t, web.URL, nil), web
}

func connect(t testing.TB, endpoint string, source credentials.Source) *imm.Client {
	t.Helper()
	if source == nil {
		source = credentials.Static(credentials.Credentials{AccessKeyID: "STS.local",
			AccessKeySecret: "local-secret", SecurityToken: "local-token"})
	}
	client, err := imm.New(imm.Options{Endpoint: endpoint, Region: "cn-shanghai",
		Credentials: source, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func ptr[T any](v T) *T { return &v }

// open is an ordinary request.
func open() weboffice.Request {
	return weboffice.Request{
		ProjectName: "test-project", SourceURI: "oss://test-bucket/test-object.docx",
		Filename: "test-object.docx", Password: "hunter2-hunter2",
		Permission: &weboffice.Permission{Readonly: true, Copy: true},
		User:       &weboffice.User{Id: "ann", Name: "Ann"},
	}
}

func TestGenerateAndRefresh(t *testing.T) {
	server, client, _ := start(t)
	first, err := client.Generate(t.Context(), open())
	if err != nil {
		t.Fatal(err)
	}
	if first.WebofficeURL == "" || first.RequestID == "" || first.Life < 29*time.Minute ||
		first.Life > 31*time.Minute {
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
	if c := server.Calls(); c.Generate != 1 || c.Refresh != 1 || c.Failed != 1 {
		t.Errorf("calls: %+v", c)
	}
}

// TestSameWireAsTheOfficialSDK sends the same request through the SDK's typed call, as the vendor's
// sample does, and through Client.
func TestSameWireAsTheOfficialSDK(t *testing.T) {
	server, client, web := start(t)
	official, err := sdk.NewClient(&openapi.Config{
		AccessKeyId: tea.String("STS.local"), AccessKeySecret: tea.String("local-secret"),
		SecurityToken: tea.String("local-token"),
		Endpoint:      tea.String(strings.TrimPrefix(web.URL, "http://")),
		Protocol:      tea.String("http"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ours := weboffice.Request{
		ProjectName: "test-project", SourceURI: "oss://test-bucket/ten-pages.docx",
		Filename: "ten-pages.docx", Referer: "*", UserData: `{"a":"b&c=d"}`,
		PreviewPages: ptr(int64(5)), ExternalUploaded: ptr(false), NotifyTopicName: "saves",
		Hidecmb: ptr(true),
		Permission: &weboffice.Permission{Readonly: true, Copy: true, Print: true, Export: true,
			Rename: true}, User: &weboffice.User{Id: "ann", Name: "Ann",
			Avatar: "https://x.example/a.png"},
		Watermark: &weboffice.Watermark{Type: ptr(int64(1)), Value: "水印 & <x>",
			Font: "bold 20px Serif", FillStyle: "rgba(1,2,3,0.5)", Rotate: ptr(-0.5),
			Horizontal: ptr(int64(50)), Vertical: ptr(int64(60))},
		CredentialConfig: &weboffice.CredentialConfig{ServiceRole: "r", Policy: `{"Version":"1"}`,
			Chain: []weboffice.CredentialConfigChain{{Role: "a", RoleType: "service",
				AssumeRoleFor: "1"}}},
		Notification: &weboffice.Notification{MNS: &weboffice.MNS{TopicName: "saves"}},
	}
	theirs := &sdk.GenerateWebofficeTokenRequest{
		ProjectName: tea.String("test-project"),
		SourceURI:   tea.String("oss://test-bucket/ten-pages.docx"),
		Filename:    tea.String("ten-pages.docx"),
		Referer:     tea.String("*"), UserData: tea.String(`{"a":"b&c=d"}`),
		PreviewPages:     tea.Int64(5),
		ExternalUploaded: tea.Bool(false),
		NotifyTopicName:  tea.String("saves"), Hidecmb: tea.Bool(true),
		Permission: &sdk.WebofficePermission{Readonly: tea.Bool(true), Copy: tea.Bool(true),
			Print: tea.Bool(true), Export: tea.Bool(true), Rename: tea.Bool(true),
			History: tea.Bool(false)},
		User: &sdk.WebofficeUser{Id: tea.String("ann"), Name: tea.String("Ann"),
			Avatar: tea.String("https://x.example/a.png")},
		Watermark: &sdk.WebofficeWatermark{Type: tea.Int64(1), Value: tea.String("水印 & <x>"),
			Font: tea.String("bold 20px Serif"), FillStyle: tea.String("rgba(1,2,3,0.5)"),
			Rotate: tea.Float32(-0.5), Horizontal: tea.Int64(50), Vertical: tea.Int64(60)},
		CredentialConfig: &sdk.CredentialConfig{ServiceRole: tea.String("r"),
			Policy: tea.String(`{"Version":"1"}`),
			Chain: []*sdk.CredentialConfigChain{
				{Role: tea.String("a"), RoleType: tea.String("service"),
					AssumeRoleFor: tea.String("1")}}},
		Notification: &sdk.Notification{MNS: &sdk.MNS{TopicName: tea.String("saves")}},
	}
	tokens, err := client.Generate(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := official.GenerateWebofficeToken(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.WebofficeURL != tea.StringValue(answer.Body.WebofficeURL) ||
		len(tokens.AccessToken) != len(tea.StringValue(answer.Body.AccessToken)) {
		t.Error("the answers are of another form")
	}
	if _, err := client.Refresh(t.Context(), "test-project", "a", "r",
		ours.CredentialConfig); !imm.RefusedToken(err) {
		t.Error(err)
	}
	if _, err := official.RefreshWebofficeToken(&sdk.RefreshWebofficeTokenRequest{
		ProjectName: tea.String("test-project"), AccessToken: tea.String("a"),
		RefreshToken: tea.String("r"), CredentialConfig: theirs.CredentialConfig,
	}); err == nil {
		t.Error("the official client was given tokens for nothing")
	}
	wire := server.Requests()
	for _, pair := range [][2]int{{0, 1}, {2, 3}} {
		a, b := wire[pair[0]], wire[pair[1]]
		if a.Action != b.Action || a.Code != b.Code || len(a.Parameters) != len(b.Parameters) {
			t.Errorf("%v\n%v", a, b)
		}
		for name, value := range a.Parameters {
			if b.Parameters[name] != value && !sameJSON(value, b.Parameters[name]) {
				t.Errorf("%s: ours %s, the official client's %s", name, value, b.Parameters[name])
			}
		}
	}
}

func sameJSON(a, b string) bool {
	x, errX := weboffice.ParseRequest([]byte(`{"CredentialConfig":` + a + `}`))
	y, errY := weboffice.ParseRequest([]byte(`{"CredentialConfig":` + b + `}`))
	if errX == nil && errY == nil {
		return reflect.DeepEqual(x, y)
	}
	for _, name := range []string{"Watermark", "User", "Permission", "Notification"} {
		x, errX := weboffice.ParseRequest([]byte(`{"` + name + `":` + a + `}`))
		y, errY := weboffice.ParseRequest([]byte(`{"` + name + `":` + b + `}`))
		if errX == nil && errY == nil {
			return reflect.DeepEqual(x, y)
		}
	}
	return false
}

// failures is every way in which IMM fails, what becomes of it, and whether a refresh may be
// replaced by a generate after it.
var failures = []struct {
	name             string
	fault            office.Fault
	kind             weboffice.Kind
	refused, noReply bool
}{
	{"throttled", office.Throttled(0), weboffice.Throttled, false, false},
	{"throttled with a time", office.Throttled(7 * time.Second), weboffice.Throttled, false, false},
	{"500", office.InternalError(), weboffice.BadGateway, false, false},
	{"500 after the work", office.InternalError().AfterWork(), weboffice.BadGateway, false, false},
	{"503 without a body", office.Unavailable(), weboffice.Unavailable, false, false},
	{"a gateway's page", office.HTML(), weboffice.BadGateway, false, false},
	{"cut before the work", office.Cut(), weboffice.BadGateway, false, true},
	{"cut after the work", office.Cut().AfterWork(), weboffice.BadGateway, false, true},
	{"half an answer", office.Truncated(), weboffice.BadGateway, false, true},
	{"wrong types", office.WrongTypes(), weboffice.BadGateway, false, true},
	{"no right", office.NoPermission(), weboffice.BadGateway, false, false},
	{"credentials expired", office.SecurityTokenExpired(), weboffice.Unavailable, false, false},
	{"wrong signature", office.SignatureDoesNotMatch(), weboffice.Unavailable, false, false},
	{"service not opened", office.Refused(403, "OperationDenied.NoOpen", "not opened"),
		weboffice.BadGateway, false, false},
	{"unknown project", office.Refused(404, "ResourceNotFound",
		"The specified resource acs:imm::1:project/p is not found"), weboffice.BadGateway, false,
		false},
	{"unknown document", office.Refused(404, "ResourceNotFound",
		"The specified resource oss://b/k is not found"), weboffice.NotFound, true, false},
	{"a parameter", office.Refused(400, "InvalidArgument.Filename", "Filename is odd"),
		weboffice.Invalid, true, false},
}

func TestFailuresAreSorted(t *testing.T) {
	for _, f := range failures {
		for _, action := range []string{office.Generate, office.Refresh} {
			t.Run(f.name+"/"+action, func(t *testing.T) {
				server, client, _ := start(t)
				tokens, err := client.Generate(t.Context(), open())
				if err != nil {
					t.Fatal(err)
				}
				before := len(server.Requests())
				server.Fail(action, 1, f.fault)
				if action == office.Generate {
					_, err = client.Generate(t.Context(), open())
				} else {
					_, err = client.Refresh(t.Context(), "test-project", tokens.AccessToken,
						tokens.RefreshToken, nil)
				}
				public := weboffice.AsError(err)
				if err == nil || public.Kind != f.kind || imm.RefusedToken(err) != f.refused ||
					imm.NoAnswer(err) != f.noReply {
					t.Errorf("got %v (kind %d, refused %v, no answer %v)", err, public.Kind,
						imm.RefusedToken(err), imm.NoAnswer(err))
				}
				if sent := len(server.Requests()) - before; sent != 1 {
					t.Errorf("sent %d times", sent)
				}
				if f.name == "throttled with a time" && public.RetryAfter != 7*time.Second {
					t.Errorf("Retry-After: %v", public.RetryAfter)
				}
				all := fmt.Sprintf("%v %+v %v %s %s", err, public, public.Cause, public.Fix,
					public.Message)
				for _, secret := range []string{"hunter2", tokens.AccessToken.Reveal(),
					tokens.RefreshToken.Reveal(), "local-token", "local-secret", "http://"} {
					if strings.Contains(all, secret) {
						t.Errorf("%s is in %s", secret, all)
					}
				}
			})
		}
	}
}

func TestOperatorLearnsWhichRightIsMissing(t *testing.T) {
	server, client, _ := start(t)
	server.Fail(office.Generate, 1, office.NoPermission())
	_, err := client.Generate(t.Context(), open())
	public := weboffice.AsError(err)
	if !strings.Contains(public.Fix, `"acs:imm:cn-shanghai:*:project/test-project"`) ||
		strings.Contains(public.Message, "test-project") {
		t.Errorf("fix %q, message %q", public.Fix, public.Message)
	}
}

func TestSlowBeyondTheDeadlineIsNoAnswer(t *testing.T) {
	server, client, _ := start(t)
	server.Fail(office.Refresh, 1, office.Slow(nil))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Refresh(ctx, "test-project", "a", "r", nil)
	if !imm.NoAnswer(err) || weboffice.AsError(err).Kind != weboffice.Timeout {
		t.Errorf("got %v", err)
	}
}

// blocked is a source of credentials that answers only when the request is given up.
type blocked struct{}

func (blocked) Credentials(ctx context.Context) (credentials.Credentials, error) {
	<-ctx.Done()
	return credentials.Credentials{}, &weboffice.Error{Kind: weboffice.Unavailable,
		Code: "ServiceUnavailable", Cause: ctx.Err()}
}

func TestDeadlineHoldsWhileCredentialsAreFetched(t *testing.T) {
	_, _, web := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := connect(t, web.URL, blocked{}).Generate(ctx, open())
	if !errors.Is(err, context.DeadlineExceeded) || imm.NoAnswer(err) {
		t.Errorf("got %v", err)
	}
}

func TestGenerateIsSentOnceMoreOnlyWhenNothingWasSent(t *testing.T) {
	server := office.New(office.Options{})
	web := httptest.NewServer(server)
	address := web.URL
	web.Close() // nobody listens
	client := connect(t, address, nil)
	_, err := client.Generate(t.Context(), open())
	if public := weboffice.AsError(err); public.Kind != weboffice.Unavailable ||
		imm.NoAnswer(err) || strings.Contains(fmt.Sprint(err, public.Cause), "hunter2") {
		t.Errorf("got %v, %v", err, public.Cause)
	}
	if err := client.Warm(t.Context()); err == nil || strings.Contains(err.Error(), "http") {
		t.Errorf("warm: %v", err)
	}
}

func TestUserNameThatIMMRefusesIsSentPlainlyAndRemembered(t *testing.T) {
	server, client, _ := start(t)
	server.SetSwitches(office.Switches{UserNameStrict: true})
	named := open()
	named.User = &weboffice.User{Id: "ann", Name: "Ann Lee 安"}
	for range 2 {
		if _, err := client.Generate(t.Context(), named); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, r := range server.Requests() {
		names = append(names, r.Parameters["User"])
	}
	if len(names) != 3 || !strings.Contains(names[0], "安") ||
		!strings.Contains(names[1], `"Ann_Lee_"`) || names[2] != names[1] {
		t.Errorf("names sent: %v", names)
	}
	if named.User.Name != "Ann Lee 安" {
		t.Error("the request was changed")
	}
}

func TestRenewedCredentialsAreUsedAtTheNextCall(t *testing.T) {
	server, client, _ := start(t)
	server.SetCredentials(office.Credentials{AccessKeyID: "STS.next", Secret: "next-secret",
		SecurityToken: "next-token"})
	if _, err := client.Generate(t.Context(), open()); weboffice.AsError(
		err).Kind != weboffice.Unavailable {
		t.Errorf("old credentials: %v", err)
	}
	next := connect(t, serverURL(t, server),
		credentials.Static(credentials.Credentials{AccessKeyID: "STS.next",
			AccessKeySecret: "next-secret", SecurityToken: "next-token"}))
	if _, err := next.Generate(t.Context(), open()); err != nil {
		t.Error(err)
	}
}

func serverURL(t *testing.T, handler http.Handler) string {
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	return web.URL
}

func TestManyAtOnceShareConnections(t *testing.T) {
	_, client, _ := start(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := client.Generate(t.Context(), open()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestDeadConnectionAfterAFreeze: an instance that was frozen has connections that the other side
// closed long ago.
func TestDeadConnectionAfterAFreeze(t *testing.T) {
	server := office.New(office.Options{})
	web := httptest.NewServer(server)
	defer web.Close()
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	client, err := imm.New(imm.Options{Endpoint: web.URL, Region: "cn-shanghai", Now: clock,
		Logger: slog.New(slog.DiscardHandler),
		Credentials: credentials.Static(credentials.Credentials{AccessKeyID: "STS.local",
			AccessKeySecret: "local-secret", SecurityToken: "local-token"})})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Generate(t.Context(), open()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	web.CloseClientConnections()
	var all sync.WaitGroup
	for range 20 { // of which one comes first
		all.Go(func() {
			if _, err := client.Generate(t.Context(), open()); err != nil {
				t.Errorf("after the freeze: %v", err)
			}
		})
	}
	all.Wait()
	if c := server.Calls(); c.Generate != 21 {
		t.Errorf("calls: %+v", c)
	}
}

// TestForeignEndpoint: signed requests with documents' passwords go to the vendor or to this
// machine.
func TestForeignEndpoint(t *testing.T) {
	for _, endpoint := range []string{"", "imm.example.com", "aliyuncs.com.example.com",
		"evil-aliyuncs.com", "https://imm.cn-shanghai.aliyuncs.com", "http://10.0.0.1:80",
		"http://127.0.0.1:80/path", "http://u@127.0.0.1:80", "http://127.0.0.1.example.com:80",
		"imm.aliyuncs.com/x", "imm.aliyuncs.com?x", "http://127.0.0.1:80?x=1"} {
		if u, err := imm.ParseEndpoint(endpoint); err == nil {
			t.Errorf("%s accepted as %s", endpoint, u)
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
