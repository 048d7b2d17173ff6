// Package imm calls GenerateWebofficeToken and RefreshWebofficeToken of Intelligent Media
// Management through the official SDK.
//
// The SDK signs and speaks; this package adds what a server under load and under faults needs: a
// context that is honoured from the credentials to the last byte, timeouts, one connection pool,
// bounded answers, and failures sorted into kinds that never hold a token. An SDK client is made
// for each call, since one is not safe for concurrent use.
//
// What is sent twice: Generate once more when nothing of the first request can have reached IMM,
// and once more with a plainer User.Name when IMM refuses the name. Refresh is never sent twice,
// since a refresh token can be spent only once.
package imm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	sdk "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/weboffice"
)

// callTimeout bounds one call, credentials included. IMM usually answers well under a second.
const callTimeout = 8 * time.Second

// Options is what a Client needs. All are required but Transport.
type Options struct {
	Endpoint    string // a host, for https, or a loopback http URL
	Region      string // for the sentence that tells an operator which right is missing
	Credentials credentials.Source
	// by the wall clock: a monotonic one stands still while the process is frozen
	Now       func() time.Time
	Logger    *slog.Logger
	Transport *http.Transport // nil: one of our own with bounded dialling and one pool
}

// Client calls IMM. It is safe for concurrent use.
type Client struct {
	host, protocol string
	region         string
	credentials    credentials.Source
	now            func() time.Time
	log            *slog.Logger
	wire           *wire
	plainNames     atomic.Bool // IMM has refused a User.Name that is not in its documented alphabet
}

// New returns a Client. It opens no connection.
func New(o Options) (*Client, error) {
	u, err := ParseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	return &Client{
		host: u.Host, protocol: u.Scheme, region: o.Region, credentials: o.Credentials, now: o.Now,
		log: o.Logger, wire: newWire(o.Transport, o.Now),
	}, nil
}

var aliyunHost = regexp.MustCompile(`^([a-z0-9-]+\.)+aliyuncs\.com$`)

// ParseEndpoint takes a host under aliyuncs.com, for https, or the URL of a loopback address.
// Anything else would get signed requests that hold documents' passwords.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	if aliyunHost.MatchString(endpoint) {
		return &url.URL{Scheme: "https", Host: endpoint}, nil
	}
	u, err := url.Parse(endpoint)
	if err == nil && u.Scheme == "http" && weboffice.Loopback(u.Hostname()) && u.Port() != "" &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil {
		return u, nil
	}
	return nil,
		errors.New("the IMM endpoint is a host under aliyuncs.com, or http://127.0.0.1:PORT")
}

// Tokens is what IMM gives for one document and one person. Of a Refresh the WebofficeURL is empty:
// IMM does not repeat it. Life counts from the answer on.
type Tokens struct {
	RequestID string
	weboffice.Access
	RefreshToken weboffice.Secret // single use
}

// Generate asks for the right to open a document. The errors are *weboffice.Error; see the kinds in
// failure.go.
func (c *Client) Generate(ctx context.Context, r weboffice.Request) (Tokens, error) {
	if r.User != nil && c.plainNames.Load() {
		r = withPlainName(r)
	}
	tokens, err := c.call(ctx, "GenerateWebofficeToken", generateQuery(r))
	if notSent(err) && ctx.Err() == nil {
		c.log.WarnContext(ctx, "IMM was not reached, once more", "cause",
			weboffice.AsError(err).Cause)
		tokens, err = c.call(ctx, "GenerateWebofficeToken", generateQuery(r))
	}
	if refusesUserName(err) && r.User != nil && weboffice.PlainName(r.User.Name) != r.User.Name {
		c.log.WarnContext(ctx, "IMM refused User.Name, once more in the documented alphabet",
			"code", weboffice.AsError(err).Code)
		if tokens, err = c.call(ctx, "GenerateWebofficeToken",
			generateQuery(withPlainName(r))); err == nil {
			c.plainNames.Store(true)
		}
	}
	return tokens, err
}

func withPlainName(r weboffice.Request) weboffice.Request {
	user := *r.User
	user.Name = weboffice.PlainName(user.Name)
	r.User = &user
	return r
}

// Refresh spends a refresh token for the next access token with the same settings. RefusedToken and
// NoAnswer tell the failures apart after which only Generate helps.
func (c *Client) Refresh(ctx context.Context, project string, access, refresh weboffice.Secret,
	config *weboffice.CredentialConfig) (Tokens, error) {
	q := query{}
	q.text("ProjectName", project)
	q.text("AccessToken", access.Reveal())
	q.text("RefreshToken", refresh.Reveal())
	q.structure("CredentialConfig", config, config != nil)
	return c.call(ctx, "RefreshWebofficeToken", q)
}

// Warm opens a connection to IMM, so that the first request of an instance does not pay for it.
func (c *Client) Warm(ctx context.Context) error { return c.wire.warm(ctx, c.protocol, c.host) }

// call does one call and never more.
func (c *Client) call(ctx context.Context, action string, q query) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	signer, err := c.credentials.Credentials(ctx)
	if err != nil {
		return Tokens{}, err
	}
	exchange := &exchange{wire: c.wire}
	if err := c.speak(ctx, exchange, signer, action, q); err != nil {
		return Tokens{}, c.failure(ctx, exchange, err, q)
	}
	tokens, err := c.read(exchange, action)
	if err != nil {
		return Tokens{}, c.failure(ctx, exchange, err, q)
	}
	return tokens, nil
}

// speak makes the call through a new SDK client, in a goroutine of its own: the SDK takes its nonce
// from a stack trace, whose price grows with the depth of the stack, and below a web server's that
// is a tenth of the whole call.
func (c *Client) speak(ctx context.Context, e *exchange, signer credentials.Credentials,
	action string, q query) error {
	client, err := sdk.NewClient(&openapi.Config{
		AccessKeyId:     tea.String(signer.AccessKeyID),
		AccessKeySecret: tea.String(signer.AccessKeySecret.Reveal()),
		SecurityToken:   tea.String(signer.SecurityToken.Reveal()), Endpoint: tea.String(c.host),
		Protocol: tea.String(c.protocol), HttpClient: e,
	})
	if err != nil {
		return err
	}
	client.DisableSDKError = tea.Bool(true)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the SDK failed: %T", p)
			}
		}()
		_, err := client.CallApiWithCtx(ctx, &openapiutil.Params{
			Action: tea.String(action), Version: tea.String("2020-09-30"),
			Protocol: tea.String(c.protocol), Pathname: tea.String("/"),
			Method: tea.String(http.MethodPost), AuthType: tea.String("AK"),
			Style: tea.String("RPC"), ReqBodyType: tea.String("formData"),
			BodyType: tea.String("binary"), // the SDK's own reading costs as much again
		}, &openapiutil.OpenApiRequest{Query: q}, &dara.RuntimeOptions{})
		done <- err
	}()
	return <-done
}

// query holds parameters as the SDK's typed calls write them: every value as text, structures as
// JSON, nothing that is empty. Its models are not used on the way out, since they cost as much as
// the call; a test holds both to the same wire.
type query map[string]*string

func (q query) text(name, value string) {
	if value != "" {
		q[name] = &value
	}
}

func (q query) truth(name string, value *bool) {
	if value != nil {
		q.text(name, strconv.FormatBool(*value))
	}
}

func (q query) structure(name string, value any, present bool) {
	if present {
		text, _ := json.Marshal(value) // texts, numbers and truth values always marshal
		q.text(name, string(text))
	}
}

func generateQuery(r weboffice.Request) query {
	q := make(query, 16)
	q.text("ProjectName", r.ProjectName)
	q.text("SourceURI", r.SourceURI)
	q.text("Filename", r.Filename)
	q.truth("CachePreview", r.CachePreview)
	q.text("Referer", r.Referer)
	q.text("UserData", r.UserData)
	if r.PreviewPages != nil {
		q.text("PreviewPages", strconv.FormatInt(*r.PreviewPages, 10))
	}
	q.text("Password", r.Password.Reveal())
	q.truth("ExternalUploaded", r.ExternalUploaded)
	q.text("NotifyTopicName", r.NotifyTopicName)
	q.truth("Hidecmb", r.Hidecmb)
	q.structure("Permission", r.Permission, r.Permission != nil)
	q.structure("User", r.User, r.User != nil)
	q.structure("Watermark", r.Watermark, r.Watermark != nil)
	q.structure("CredentialConfig", r.CredentialConfig, r.CredentialConfig != nil)
	q.structure("Notification", r.Notification, r.Notification != nil)
	return q
}

// read takes the tokens from an answer; an answer without all that the editor needs is none.
func (c *Client) read(e *exchange, action string) (Tokens, error) {
	var a sdk.GenerateWebofficeTokenResponseBody
	if err := json.Unmarshal(e.body, &a); err != nil {
		return Tokens{}, errUnreadable
	}
	t := Tokens{
		RequestID: tea.StringValue(a.RequestId),
		Access: weboffice.Access{
			WebofficeURL: tea.StringValue(a.WebofficeURL),
			AccessToken:  weboffice.Secret(tea.StringValue(a.AccessToken)),
		},
		RefreshToken: weboffice.Secret(tea.StringValue(a.RefreshToken)),
	}
	var errAccess, errRefresh error
	t.AccessTokenExpiredTime, errAccess = time.Parse(time.RFC3339Nano,
		tea.StringValue(a.AccessTokenExpiredTime))
	t.RefreshTokenExpiredTime, errRefresh = time.Parse(time.RFC3339Nano,
		tea.StringValue(a.RefreshTokenExpiredTime))
	if errors.Join(errAccess, errRefresh) != nil || t.AccessToken == "" || t.RefreshToken == "" ||
		action == "GenerateWebofficeToken" && !frameable(t.WebofficeURL) {
		return Tokens{}, errUnreadable
	}
	t.Life = t.AccessTokenExpiredTime.Sub(e.clock(c.now))
	return t, nil
}

// frameable says whether a page may put the URL into a frame: https, or http on a loopback address.
func frameable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" &&
		weboffice.Loopback(u.Hostname()))
}
