// Package imm calls GenerateWebofficeToken and RefreshWebofficeToken of Intelligent Media Management through the official SDK.
//
// The SDK signs and speaks; this package adds what a server under load and under faults needs: a context that is honoured from the
// credentials to the last byte, timeouts, one connection pool, bounded answers, and failures sorted into kinds that never hold a token.
// An SDK client is made for each call, since one is not safe for concurrent use.
//
// What is sent twice: Generate once more when nothing of the first request can have reached IMM, and once more with a plainer User.Name
// when IMM refuses the name. Refresh is never sent twice, since a refresh token can be spent only once.
package imm

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
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
	Now         func() time.Time
	Logger      *slog.Logger
	Transport   *http.Transport // nil: one of our own with bounded dialling and one pool
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
		host: u.Host, protocol: u.Scheme, region: o.Region, credentials: o.Credentials, now: o.Now, log: o.Logger, wire: newWire(o.Transport, o.Now),
	}, nil
}

var aliyunHost = regexp.MustCompile(`^([a-z0-9-]+\.)+aliyuncs\.com$`)

// ParseEndpoint takes a host under aliyuncs.com, for https, or the URL of a loopback address. Anything else would get signed requests that
// hold documents' passwords.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	if aliyunHost.MatchString(endpoint) {
		return &url.URL{Scheme: "https", Host: endpoint}, nil
	}
	u, err := url.Parse(endpoint)
	if err == nil && u.Scheme == "http" && Loopback(u.Hostname()) && u.Port() != "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil {
		return u, nil
	}
	return nil, errors.New("the IMM endpoint is a host under aliyuncs.com, or http://127.0.0.1:PORT")
}

// Tokens is what IMM gives for one document and one person.
type Tokens struct {
	RequestID               string
	WebofficeURL            string // of Generate only: Refresh does not repeat it
	AccessToken             weboffice.Secret
	RefreshToken            weboffice.Secret // single use
	AccessTokenExpiredTime  time.Time        // by IMM's clock
	RefreshTokenExpiredTime time.Time        // by IMM's clock
	Life                    time.Duration    // of the access token from the answer on, by IMM's clock
}

// Generate asks for the right to open a document. The errors are *weboffice.Error; see the kinds in failure.go.
func (c *Client) Generate(ctx context.Context, r weboffice.Request) (Tokens, error) {
	if r.User != nil && c.plainNames.Load() {
		r = withPlainName(r)
	}
	tokens, err := c.call(ctx, "GenerateWebofficeToken", r)
	switch {
	case err == nil:
		return tokens, nil
	case notSent(err) && ctx.Err() == nil:
		c.log.WarnContext(ctx, "IMM was not reached, once more", "cause", weboffice.AsError(err).Cause)
		return c.call(ctx, "GenerateWebofficeToken", r)
	case refusesUserName(err) && r.User != nil && weboffice.PlainName(r.User.Name) != r.User.Name:
		c.log.WarnContext(ctx, "IMM refused User.Name, once more in the documented alphabet", "code", weboffice.AsError(err).Code)
		if tokens, err = c.call(ctx, "GenerateWebofficeToken", withPlainName(r)); err == nil {
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

// Refresh spends a refresh token for the next access token with the same settings. RefusedToken and NoAnswer tell the failures apart
// after which only Generate helps.
func (c *Client) Refresh(ctx context.Context, project string, access, refresh weboffice.Secret, config *weboffice.CredentialConfig) (Tokens, error) {
	return c.call(ctx, "RefreshWebofficeToken", refreshRequest{
		ProjectName: project, AccessToken: access.Reveal(), RefreshToken: refresh.Reveal(), CredentialConfig: config,
	})
}

type refreshRequest struct {
	ProjectName, AccessToken, RefreshToken string
	CredentialConfig                       *weboffice.CredentialConfig `json:",omitempty"`
}

// Warm opens a connection to IMM, so that the first request of an instance does not pay for it. It sends no request.
func (c *Client) Warm(ctx context.Context) error { return c.wire.warm(ctx, c.protocol, c.host) }

// call does one call and never more.
func (c *Client) call(ctx context.Context, action string, request any) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	signer, err := c.credentials.Credentials(ctx)
	if err != nil {
		return Tokens{}, err
	}
	query, err := query(request)
	if err != nil {
		return Tokens{}, err
	}
	exchange := &exchange{wire: c.wire}
	client, err := sdk.NewClient(&openapi.Config{
		AccessKeyId: tea.String(signer.AccessKeyID), AccessKeySecret: tea.String(signer.AccessKeySecret.Reveal()),
		SecurityToken: tea.String(signer.SecurityToken.Reveal()), Endpoint: tea.String(c.host), Protocol: tea.String(c.protocol), HttpClient: exchange,
	})
	if err != nil {
		return Tokens{}, weboffice.AsError(err)
	}
	client.DisableSDKError = tea.Bool(true)
	answer, err := client.CallApiWithCtx(ctx, &openapiutil.Params{
		Action: tea.String(action), Version: tea.String("2020-09-30"), Protocol: tea.String(c.protocol), Pathname: tea.String("/"),
		Method: tea.String(http.MethodPost), AuthType: tea.String("AK"), Style: tea.String("RPC"), ReqBodyType: tea.String("formData"),
		BodyType: tea.String("binary"), // read below: the SDK's own reading costs as much again
	}, &openapiutil.OpenApiRequest{Query: query}, &dara.RuntimeOptions{})
	if err != nil {
		return Tokens{}, c.failure(ctx, exchange, err, request)
	}
	tokens, err := c.read(answer["body"], exchange, action)
	if err != nil {
		return Tokens{}, c.failure(ctx, exchange, err, request)
	}
	return tokens, nil
}

// query writes the parameters as the SDK does: every value as text, structures as JSON.
func query(request any) (map[string]*string, error) {
	var model any = request
	if r, ok := request.(weboffice.Request); ok {
		model = generateModel(r)
	}
	text, err := json.Marshal(model)
	if err != nil {
		return nil, weboffice.AsError(errors.New("the request cannot be written"))
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, weboffice.AsError(errors.New("the request cannot be written"))
	}
	query := make(map[string]*string, len(members))
	for name, raw := range members {
		value := string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, weboffice.AsError(errors.New("the request cannot be written"))
			}
		}
		query[name] = &value
	}
	return query, nil
}

// generateModel is r in the SDK's model, so that the SDK's spelling of each member is what goes over the wire.
func generateModel(r weboffice.Request) *sdk.GenerateWebofficeTokenRequest {
	m := &sdk.GenerateWebofficeTokenRequest{
		ProjectName: text(r.ProjectName), SourceURI: text(r.SourceURI), Filename: text(r.Filename), CachePreview: r.CachePreview,
		Referer: text(r.Referer), UserData: text(r.UserData), PreviewPages: r.PreviewPages, Password: text(r.Password.Reveal()),
		ExternalUploaded: r.ExternalUploaded, NotifyTopicName: text(r.NotifyTopicName), Hidecmb: r.Hidecmb,
	}
	if p := r.Permission; p != nil {
		m.Permission = &sdk.WebofficePermission{
			Readonly: &p.Readonly, Rename: &p.Rename, History: &p.History, Copy: &p.Copy, Export: &p.Export, Print: &p.Print,
		}
	}
	if u := r.User; u != nil {
		m.User = &sdk.WebofficeUser{Id: text(u.Id), Name: text(u.Name), Avatar: text(u.Avatar)}
	}
	if w := r.Watermark; w != nil {
		m.Watermark = &sdk.WebofficeWatermark{
			Type: w.Type, Value: text(w.Value), Font: text(w.Font), FillStyle: text(w.FillStyle), Horizontal: w.Horizontal, Vertical: w.Vertical,
		}
		if w.Rotate != nil {
			m.Watermark.Rotate = tea.Float32(float32(*w.Rotate))
		}
	}
	if n := r.Notification; n != nil {
		m.Notification = &sdk.Notification{ExtendedMessageURI: text(n.ExtendedMessageURI)}
		if n.MNS != nil {
			m.Notification.MNS = &sdk.MNS{TopicName: text(n.MNS.TopicName)}
		}
		if n.RocketMQ != nil {
			m.Notification.RocketMQ = &sdk.RocketMQ{InstanceId: text(n.RocketMQ.InstanceId), TopicName: text(n.RocketMQ.TopicName)}
		}
	}
	if c := r.CredentialConfig; c != nil {
		m.CredentialConfig = &sdk.CredentialConfig{ServiceRole: text(c.ServiceRole), Policy: text(c.Policy)}
		for _, link := range c.Chain {
			m.CredentialConfig.Chain = append(m.CredentialConfig.Chain, &sdk.CredentialConfigChain{
				Role: text(link.Role), RoleType: text(link.RoleType), AssumeRoleFor: text(link.AssumeRoleFor),
			})
		}
	}
	return m
}

// text leaves an empty text out of the query.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// read takes the tokens from an answer; an answer without all that the editor needs is none.
func (c *Client) read(body any, e *exchange, action string) (Tokens, error) {
	reader, ok := body.(io.ReadCloser)
	if !ok {
		return Tokens{}, errUnreadable
	}
	defer reader.Close()
	var a sdk.GenerateWebofficeTokenResponseBody
	if err := json.NewDecoder(reader).Decode(&a); err != nil {
		return Tokens{}, errUnreadable
	}
	t := Tokens{
		RequestID: tea.StringValue(a.RequestId), WebofficeURL: tea.StringValue(a.WebofficeURL),
		AccessToken: weboffice.Secret(tea.StringValue(a.AccessToken)), RefreshToken: weboffice.Secret(tea.StringValue(a.RefreshToken)),
	}
	var errAccess, errRefresh error
	t.AccessTokenExpiredTime, errAccess = time.Parse(time.RFC3339Nano, tea.StringValue(a.AccessTokenExpiredTime))
	t.RefreshTokenExpiredTime, errRefresh = time.Parse(time.RFC3339Nano, tea.StringValue(a.RefreshTokenExpiredTime))
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
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname()))
}
