package office_test

import (
	"bytes"
	"cmp"
	"crypto/rand"
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
	"sync/atomic"
	"testing"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	imm "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/standin/office"
)

// world is a stand-in that listens, with a clock for its tokens that tests set.
type world struct {
	*office.Server
	web    *httptest.Server
	passed atomic.Int64
	mu     sync.Mutex // guards log
	log    bytes.Buffer
}

func start(t testing.TB, change ...func(*office.Options)) *world {
	t.Helper()
	w := &world{}
	begin := time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)
	options := office.Options{SignatureNow: time.Now,
		Now:    func() time.Time { return begin.Add(time.Duration(w.passed.Load())) },
		Logger: slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, c := range change {
		c(&options)
	}
	w.Server = office.New(options)
	w.web = httptest.NewServer(w.Server)
	t.Cleanup(w.web.Close)
	return w
}

func (w *world) pass(d time.Duration) { w.passed.Add(int64(d)) }

// Write takes the log.
func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

func (w *world) host() string { return strings.TrimPrefix(w.web.URL, "http://") }

// client is the official typed SDK, as an application of the vendor's customers would set it up.
func (w *world) client(t testing.TB) *imm.Client {
	t.Helper()
	keys, host := w.Credentials(), tea.String(w.host())
	client, err := imm.NewClient(&openapi.Config{AccessKeyId: &keys.AccessKeyID,
		AccessKeySecret: &keys.Secret, SecurityToken: &keys.SecurityToken, Endpoint: host,
		NoProxy: host, Protocol: tea.String("http")}) // the SDK has a proxy ask loopback too
	if err != nil {
		t.Fatal(err)
	}
	client.DisableSDKError = tea.Bool(true)
	return client
}

// plainRequest is a request that breaks no rule.
func plainRequest() *imm.GenerateWebofficeTokenRequest {
	return &imm.GenerateWebofficeTokenRequest{
		ProjectName: tea.String("test-project"),
		SourceURI:   tea.String("oss://test-bucket/test-object.docx"),
		Permission:  &imm.WebofficePermission{Readonly: tea.Bool(true)},
		User:        &imm.WebofficeUser{Id: tea.String("ann1"), Name: tea.String("Ann Åkesson")},
	}
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

// changed is the query of a request that breaks no rule, with changes such as "Filename=a.docx;
// User=-", which leaves User out.
func changed(changes string) map[string]string {
	query := map[string]string{"ProjectName": "test-project",
		"SourceURI":  "oss://test-bucket/test-object.docx",
		"Permission": `{"Readonly":true}`, "User": `{"Id":"ann1","Name":"Ann"}`}
	for change := range strings.SplitSeq(changes, "; ") {
		name, value, _ := strings.Cut(change, "=")
		query[name] = value
		if value == "-" || name == "" {
			delete(query, name)
		}
	}
	return query
}

func (w *world) request(t testing.TB, r raw) *http.Request {
	t.Helper()
	r.method = cmp.Or(r.method, "POST")
	if r.query == nil {
		r.query = changed("")
	}
	keys := w.Credentials()
	hash := sha256.Sum256([]byte(r.body))
	headers := map[string]string{"host": w.host(), "x-acs-action": office.Generate,
		"x-acs-version": "2020-09-30", "x-acs-date": at(0), "x-acs-signature-nonce": rand.Text(),
		"x-acs-security-token": keys.SecurityToken, "x-acs-accesskey-id": keys.AccessKeyID,
		"x-acs-content-sha256": hex.EncodeToString(hash[:])}
	maps.Copy(headers, r.headers)
	maps.DeleteFunc(headers, func(_, value string) bool { return value == "" })
	signed, query := dara.NewRequest(), url.Values{}
	signed.Method, signed.Pathname = tea.String(r.method), tea.String("/")
	for name, value := range headers {
		signed.Headers[name] = &value
	}
	for name, value := range r.query {
		signed.Query[name] = &value
		query.Set(name, value)
	}
	proof := openapiutil.GetAuthorization(signed, tea.String("ACS3-HMAC-SHA256"),
		tea.String(headers["x-acs-content-sha256"]), tea.String(keys.AccessKeyID),
		tea.String(cmp.Or(r.secret, keys.Secret)))
	request, err := http.NewRequestWithContext(t.Context(), r.method, w.web.URL+"/?"+query.Encode(),
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

// send sends a request and returns the status and the decoded answer.
func (w *world) send(t testing.TB, request *http.Request) (int, map[string]string) {
	t.Helper()
	status, text := w.try(t, request)
	body := map[string]string{}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return status, body
}

// try sends a request and returns what came, or 0 where the connection was cut.
func (w *world) try(t testing.TB, request *http.Request) (int, string) {
	t.Helper()
	answer, err := w.web.Client().Do(request)
	if err != nil {
		if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "connection reset") {
			t.Fatal(err)
		}
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// sendChanged sends an ordinary Generate with changes.
func (w *world) sendChanged(t testing.TB, changes string) (int, map[string]string) {
	t.Helper()
	return w.send(t, w.request(t, raw{query: changed(changes)}))
}

// session is what a page holds.
type session struct{ url, access, refresh string }

func (w *world) generate(t testing.TB, changes string) *session {
	t.Helper()
	status, body := w.sendChanged(t, changes)
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	return &session{body["WebofficeURL"], body["AccessToken"], body["RefreshToken"]}
}

// refreshRequest is a Refresh of a session, with changes.
func (w *world) refreshRequest(t testing.TB, s *session, changes string) *http.Request {
	t.Helper()
	query := changed("SourceURI=-; Permission=-; User=-; AccessToken=" + s.access +
		"; RefreshToken=" + s.refresh + "; " + changes)
	return w.request(t, raw{query: query,
		headers: map[string]string{"x-acs-action": office.Refresh}})
}

// refresh makes s a session with the tokens of a refresh.
func (w *world) refresh(t testing.TB, s *session) *session {
	t.Helper()
	status, body := w.send(t, w.refreshRequest(t, s, ""))
	if status != http.StatusOK {
		t.Fatal(status, body)
	}
	return &session{s.url, body["AccessToken"], body["RefreshToken"]}
}
