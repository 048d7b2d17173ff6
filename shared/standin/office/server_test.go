package office_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	imm "github.com/alibabacloud-go/imm-20200930/v4/client"
	util "github.com/alibabacloud-go/tea-utils/v2/service"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/standin/office"
)

// bench is a stand-in that listens, with a clock for its tokens that tests set.
type bench struct {
	*office.Server
	web *httptest.Server

	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

func newBench(t testing.TB, change ...func(*office.Options)) *bench {
	t.Helper()
	b := &bench{now: time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)}
	options := office.Options{Now: b.clock, SignatureNow: time.Now,
		Logger: slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, c := range change {
		c(&options)
	}
	b.Server = office.New(options)
	b.web = httptest.NewServer(b.Server)
	t.Cleanup(b.web.Close)
	return b
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// Write takes the log.
func (b *bench) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(line)
}

func (b *bench) host() string { return strings.TrimPrefix(b.web.URL, "http://") }

// client is the official typed SDK, as an application of the vendor's customers would set it up.
func (b *bench) client(t testing.TB, change ...func(*openapi.Config)) *imm.Client {
	t.Helper()
	keys := b.Credentials()
	config := &openapi.Config{AccessKeyId: &keys.AccessKeyID, AccessKeySecret: &keys.Secret,
		SecurityToken: &keys.SecurityToken,
		Endpoint:      tea.String(b.host()), Protocol: tea.String("http")}
	for _, c := range change {
		c(config)
	}
	client, err := imm.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.DisableSDKError = tea.Bool(true)
	return client
}

// plainRequest is a request that breaks no rule; change makes it another.
func plainRequest(
	change ...func(*imm.GenerateWebofficeTokenRequest)) *imm.GenerateWebofficeTokenRequest {
	request := &imm.GenerateWebofficeTokenRequest{
		ProjectName: tea.String("test-project"),
		SourceURI:   tea.String("oss://test-bucket/test-object.docx"),
		Permission:  &imm.WebofficePermission{Readonly: tea.Bool(true)},
		User:        &imm.WebofficeUser{Id: tea.String("ann1"), Name: tea.String("Ann Åkesson")},
	}
	for _, c := range change {
		c(request)
	}
	return request
}

func generate(t testing.TB, client *imm.Client,
	change ...func(*imm.GenerateWebofficeTokenRequest)) *imm.GenerateWebofficeTokenResponseBody {
	t.Helper()
	answer, err := client.GenerateWebofficeToken(plainRequest(change...))
	if err != nil {
		t.Fatal(err)
	}
	return answer.Body
}

func refreshRequest(access, refresh *string) *imm.RefreshWebofficeTokenRequest {
	return &imm.RefreshWebofficeTokenRequest{ProjectName: tea.String("test-project"),
		AccessToken: access, RefreshToken: refresh}
}

// codeOf is the vendor's Code and the HTTP status of an SDK error.
func codeOf(t testing.TB, err error) (code string, status int) {
	t.Helper()
	var typed interface {
		GetCode() *string
		GetStatusCode() *int
	}
	if !errors.As(err, &typed) {
		t.Fatalf("got %T %v, want an SDK error", err, err)
	}
	return tea.StringValue(typed.GetCode()), tea.IntValue(typed.GetStatusCode())
}

// raw is a request that is signed by the official SDK's own code and then sent as it is, or as a
// test damages it.
type raw struct {
	method  string
	query   map[string]string
	headers map[string]string // added or, with "", left out, before signing
	body    string
	secret  string
	tamper  func(*http.Request) // after signing
}

func plainQuery() map[string]string {
	return map[string]string{"ProjectName": "test-project",
		"SourceURI":  "oss://test-bucket/test-object.docx",
		"Permission": `{"Readonly":true}`, "User": `{"Id":"ann1","Name":"Ann"}`}
}

func (b *bench) request(t testing.TB, r raw) *http.Request {
	t.Helper()
	if r.method == "" {
		r.method = "POST"
	}
	if r.query == nil {
		r.query = plainQuery()
	}
	keys := b.Credentials()
	hash := sha256.Sum256([]byte(r.body))
	headers := map[string]string{"host": b.host(), "x-acs-action": office.Generate,
		"x-acs-version":         "2020-09-30",
		"x-acs-date":            tea.StringValue(openapiutil.GetTimestamp()),
		"x-acs-signature-nonce": tea.StringValue(openapiutil.GetNonce()),
		"x-acs-security-token":  keys.SecurityToken, "x-acs-accesskey-id": keys.AccessKeyID,
		"x-acs-content-sha256": hex.EncodeToString(hash[:])}
	maps.Copy(headers, r.headers)
	maps.DeleteFunc(headers, func(_, value string) bool { return value == "" })
	signed := dara.NewRequest()
	signed.Method, signed.Pathname = tea.String(r.method), tea.String("/")
	signed.Headers, signed.Query = pointers(headers), pointers(r.query)
	if r.secret == "" {
		r.secret = keys.Secret
	}
	proof := openapiutil.GetAuthorization(signed, tea.String("ACS3-HMAC-SHA256"),
		tea.String(headers["x-acs-content-sha256"]),
		tea.String(keys.AccessKeyID), tea.String(r.secret))
	query := url.Values{}
	for name, value := range r.query {
		query.Set(name, value)
	}
	request, err := http.NewRequestWithContext(t.Context(), r.method, b.web.URL+"/?"+query.Encode(),
		strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		if name != "host" {
			request.Header.Set(name, value)
		}
	}
	request.Header.Set("Authorization", tea.StringValue(proof))
	if r.tamper != nil {
		r.tamper(request)
	}
	return request
}

func pointers(values map[string]string) map[string]*string {
	to := map[string]*string{}
	for name, value := range values {
		to[name] = &value
	}
	return to
}

// send sends a request and returns the status and the decoded answer.
func (b *bench) send(t testing.TB, request *http.Request) (int, map[string]string) {
	t.Helper()
	answer, err := b.web.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]string{}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return answer.StatusCode, body
}

func TestOfficialSDKGeneratesAndRefreshes(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	answer, err := client.GenerateWebofficeToken(plainRequest())
	if err != nil {
		t.Fatal(err)
	}
	first := answer.Body
	if got, want := tea.StringValue(answer.Headers["date"]),
		"Sat, 21 Nov 2026 12:00:00 GMT"; got != want {
		t.Errorf("Date %q, want the stand-in's clock, %q", got, want)
	}
	if got, want := tea.StringValue(first.AccessTokenExpiredTime),
		"2026-11-21T12:30:00.123456789Z"; got != want {
		t.Errorf("AccessTokenExpiredTime %s, want %s", got, want)
	}
	if got, want := tea.StringValue(first.RefreshTokenExpiredTime),
		"2026-11-22T12:00:00.123456789Z"; got != want {
		t.Errorf("RefreshTokenExpiredTime %s, want %s", got, want)
	}
	frame, err := url.Parse(tea.StringValue(first.WebofficeURL))
	if err != nil || frame.Host != b.host() || len(frame.Path) != len("/office/w/")+40 ||
		frame.RawQuery != "_w_tokentype=1" {
		t.Errorf("WebofficeURL %v is not of the vendor's form", frame)
	}
	second, err := client.RefreshWebofficeToken(refreshRequest(first.AccessToken,
		first.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	text, _ := json.Marshal(second.Body)
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"RequestId", "AccessToken", "RefreshToken",
		"AccessTokenExpiredTime", "RefreshTokenExpiredTime"} {
		if fields[name] == "" || fields[name] == nil {
			t.Errorf("no %s in the answer to Refresh", name)
		}
	}
	if len(fields) != 5 {
		t.Errorf("Refresh answers %v: five fields, without WebofficeURL, are wanted", fields)
	}
	if tea.StringValue(second.Body.AccessToken) == tea.StringValue(first.AccessToken) {
		t.Error("a refresh gave the old access token again")
	}
	if got, want := b.Calls(), (office.Calls{Generate: 1, Refresh: 1}); got != want {
		t.Errorf("Calls() = %+v, want %+v", got, want)
	}
	sent := b.Requests()
	if len(sent) != 2 || sent[0].Action != office.Generate ||
		sent[0].Parameters["User"] != `{"Id":"ann1","Name":"Ann Åkesson"}` ||
		sent[1].Parameters["RefreshToken"] != tea.StringValue(first.RefreshToken) ||
		sent[0].Code != "" {
		t.Errorf("Requests() = %+v", sent)
	}
	if log := b.log.String(); strings.Contains(log, tea.StringValue(first.AccessToken)) ||
		!strings.Contains(log, office.Refresh) {
		t.Errorf("the log names a token, or no action: %s", log)
	}
}

func TestSameDocumentHasOneURLUntilSwitched(t *testing.T) {
	b := newBench(t, func(o *office.Options) { o.AccessTokenLife = time.Minute })
	b.SetPublicURL("https://office.example.com/")
	client := b.client(t)
	urlOf := func(change ...func(*imm.GenerateWebofficeTokenRequest)) string {
		return tea.StringValue(generate(t, client, change...).WebofficeURL)
	}
	first := urlOf()
	if !strings.HasPrefix(first, "https://office.example.com/office/w/") ||
		!strings.HasSuffix(first, "?_w_tokentype=1&_w_life=60000") {
		t.Errorf("WebofficeURL %s lacks the public URL, or the short life for the JS-SDK", first)
	}
	if again := urlOf(); again != first {
		t.Errorf("the same document got %s and %s", first, again)
	}
	if other := urlOf(func(r *imm.GenerateWebofficeTokenRequest) {
		r.Filename = tea.String("plan.docx")
	}); other == first {
		t.Error("another Filename got the same URL")
	}
	b.SetSwitches(office.Switches{NewURLEachTime: true})
	if other := urlOf(); other == first {
		t.Error("NewURLEachTime gave the same URL")
	}
}

func TestTokensLiveByTheStandInsClock(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		pass time.Duration
		code string
	}{
		"refresh after the access token's end": {31 * time.Minute, ""},
		"refresh just before its end":          {day - time.Nanosecond, ""},
		"refresh at its end":                   {day, "InvalidRefreshToken"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			client := b.client(t)
			first := generate(t, client)
			b.pass(c.pass)
			_, err := client.RefreshWebofficeToken(refreshRequest(first.AccessToken,
				first.RefreshToken))
			if c.code == "" && err != nil {
				t.Fatal(err)
			}
			if c.code != "" {
				if code, _ := codeOf(t, err); code != c.code {
					t.Errorf("got %s, want %s", code, c.code)
				}
			}
			if len(b.DoubleSpends()) != 0 {
				t.Error("an expired token counts as spent twice")
			}
		})
	}
}

func TestForgetsTokensThatEndedLongAgo(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	old := generate(t, client)
	b.pass(49 * time.Hour)
	fresh := generate(t, client)
	if state := b.frame(t, old, "open", "frame").State; state != "unknown" {
		t.Errorf("a token of two days ago is %s, want it forgotten", state)
	}
	if state := b.frame(t, fresh, "open", "frame").State; state != "open" {
		t.Errorf("a fresh token is %s", state)
	}
}

func TestRefreshTokenSpentTwice(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	first := generate(t, client)
	request := refreshRequest(first.AccessToken, first.RefreshToken)
	if _, err := client.RefreshWebofficeToken(request); err != nil {
		t.Fatal(err)
	}
	_, err := client.RefreshWebofficeToken(request)
	if code, status := codeOf(t, err); code != "InvalidRefreshToken" || status != 400 {
		t.Errorf("the second refresh got %d %s", status, code)
	}
	if spends := b.DoubleSpends(); len(spends) != 1 ||
		spends[0].Parameters["RefreshToken"] != tea.StringValue(first.RefreshToken) {
		t.Errorf("DoubleSpends() = %+v", spends)
	}
	if got, want := b.Calls(), (office.Calls{Generate: 1, Refresh: 1, Failed: 1, Refused: 1}); got != want {
		t.Errorf("Calls() = %+v, want %+v", got, want)
	}
}

func TestRefreshTokenSpentByManyAtOnce(t *testing.T) {
	const many = 20
	b := newBench(t)
	first := generate(t, b.client(t))
	var group sync.WaitGroup
	won := make(chan bool, many)
	for range many { // by plain HTTP: the SDK is not safe for concurrent use
		request := b.request(t, raw{headers: map[string]string{"x-acs-action": office.Refresh},
			query: map[string]string{
				"ProjectName": "test-project", "AccessToken": tea.StringValue(first.AccessToken),
				"RefreshToken": tea.StringValue(first.RefreshToken)}})
		group.Go(func() {
			answer, err := b.web.Client().Do(request)
			if err == nil {
				answer.Body.Close()
			}
			won <- err == nil && answer.StatusCode == http.StatusOK
		})
	}
	group.Wait()
	close(won)
	winners := 0
	for ok := range won {
		if ok {
			winners++
		}
	}
	if winners != 1 || len(b.DoubleSpends()) != many-1 {
		t.Errorf("%d won and %d double spends were seen, want 1 and %d", winners,
			len(b.DoubleSpends()), many-1)
	}
}

func TestRefreshRefuses(t *testing.T) {
	b := newBench(t)
	b.AddProject("other-project")
	client := b.client(t)
	mine, theirs := generate(t, client), generate(t, client)
	for name, c := range map[string]struct {
		request *imm.RefreshWebofficeTokenRequest
		code    string
	}{
		"foreign access token": {refreshRequest(theirs.AccessToken, mine.RefreshToken),
			"InvalidAccessToken"},
		"unknown refresh token": {refreshRequest(mine.AccessToken, tea.String("0123")),
			"InvalidRefreshToken"},
		"access token as refresh token": {refreshRequest(mine.AccessToken, mine.AccessToken),
			"InvalidRefreshToken"},
		"no access token":  {refreshRequest(nil, mine.RefreshToken), "MissingAccessToken"},
		"no refresh token": {refreshRequest(mine.AccessToken, nil), "MissingRefreshToken"},
		"another project": {&imm.RefreshWebofficeTokenRequest{
			ProjectName: tea.String("other-project"), AccessToken: mine.AccessToken,
			RefreshToken: mine.RefreshToken}, "InvalidRefreshToken"},
		"unknown project": {&imm.RefreshWebofficeTokenRequest{ProjectName: tea.String("nowhere"),
			AccessToken:  mine.AccessToken,
			RefreshToken: mine.RefreshToken}, "ResourceNotFound"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.RefreshWebofficeToken(c.request)
			if code, _ := codeOf(t, err); code != c.code {
				t.Errorf("got %s, want %s", code, c.code)
			}
		})
	}
	if _, err := client.RefreshWebofficeToken(refreshRequest(mine.AccessToken,
		mine.RefreshToken)); err != nil {
		t.Errorf("the refusals spent the token: %v", err)
	}
	if len(b.DoubleSpends()) != 0 {
		t.Errorf("DoubleSpends() = %+v", b.DoubleSpends())
	}
}

func TestKeepsTheLastThousandRequests(t *testing.T) {
	b := newBench(t)
	for i := range 1002 {
		query := plainQuery()
		query["UserData"] = string(rune('a' + i%26))
		recorder := httptest.NewRecorder()
		request := b.request(t, raw{query: query})
		request.Host = b.host()
		b.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK {
			t.Fatal(recorder.Body)
		}
	}
	if sent := b.Requests(); len(sent) != 1000 || sent[0].Parameters["UserData"] != "c" ||
		b.Calls().Generate != 1002 {
		t.Errorf("%d requests kept of %d, the first is %s", len(sent), b.Calls().Generate,
			sent[0].Parameters["UserData"])
	}
}

func TestErrorBodyIsTheVendors(t *testing.T) {
	b := newBench(t)
	query := plainQuery()
	query["SourceURI"] = "oss://test-bucket/absent.docx"
	status, body := b.send(t, b.request(t, raw{query: query}))
	if status != 404 || body["Code"] != "ResourceNotFound" || body["HostId"] != b.host() ||
		len(body["RequestId"]) != 36 ||
		body["Message"] != "The specified resource oss://test-bucket/absent.docx is not found" ||
		!strings.Contains(body["Recommend"], body["RequestId"]) || len(body) != 5 {
		t.Errorf("%d %v", status, body)
	}
}

func TestSDKErrorTypes(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	absent := func(r *imm.GenerateWebofficeTokenRequest) { r.ProjectName = tea.String("nowhere") }

	_, err := client.GenerateWebofficeToken(plainRequest(absent))
	var refused *openapi.ClientError
	if !errors.As(err, &refused) || tea.IntValue(refused.StatusCode) != 404 ||
		len(tea.StringValue(refused.RequestId)) != 36 {
		t.Errorf("%T %v, want a ClientError with a RequestId", err, err)
	}
	b.Fail(office.Generate, 1, office.Throttled(1500*time.Millisecond))
	_, err = client.GenerateWebofficeToken(plainRequest())
	var throttled *openapi.ThrottlingError
	if !errors.As(err, &throttled) || tea.Int64Value(throttled.RetryAfter) != 1500 {
		t.Errorf("%T %v, want a ThrottlingError to retry after 1500 ms", err, err)
	}
	b.Fail(office.Generate, 1, office.InternalError())
	_, err = client.GenerateWebofficeToken(plainRequest())
	var failed *openapi.ServerError
	if !errors.As(err, &failed) || tea.StringValue(failed.Code) != "InternalError" {
		t.Errorf("%T %v, want a ServerError", err, err)
	}
	client.DisableSDKError = tea.Bool(false)
	_, err = client.GenerateWebofficeToken(plainRequest(absent))
	var usual *tea.SDKError
	if !errors.As(err, &usual) || tea.StringValue(usual.Code) != "ResourceNotFound" ||
		tea.IntValue(usual.StatusCode) != 404 {
		t.Errorf("%T %v, want the usual SDKError", err, err)
	}
}

// TestSDKWithConnectionOptions sees that what an application may set in the SDK does not matter to
// the stand-in.
func TestSDKWithConnectionOptions(t *testing.T) {
	b := newBench(t)
	client := b.client(t, func(c *openapi.Config) { c.UserAgent = tea.String("weboffice (test)") })
	runtime := &util.RuntimeOptions{ConnectTimeout: tea.Int(2000), ReadTimeout: tea.Int(5000)}
	if _, err := client.GenerateWebofficeTokenWithOptions(plainRequest(), runtime); err != nil {
		t.Fatal(err)
	}
}
