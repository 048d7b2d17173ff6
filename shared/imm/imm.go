// Package imm calls GenerateWebofficeToken and RefreshWebofficeToken of Intelligent Media
// Management.
//
// The signature is the vendor's own function and the answers are read into the vendor's models.
// The call between them is ours, because of what a server under load and under faults needs: a
// context that is honoured from the credentials to the last byte, one bounded connection pool,
// bounded answers, and failures sorted into kinds that never hold a token. A test holds what is
// sent to the official SDK's typed calls, parameter by parameter.
//
// What is sent twice: Generate, when nothing of the first request can have reached IMM, and again
// in a plainer spelling when IMM refuses User.Name. Refresh is never sent twice, since a refresh
// token can be spent only once.
package imm

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/weboffice"
)

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
	endpoint     *url.URL
	region       string
	credentials  credentials.Source
	now          func() time.Time
	log          *slog.Logger
	wire         *wire
	refusedNames *lru.Cache[string, time.Time] // User.Name, and when IMM refused it
}

const (
	// callTimeout bounds one call, credentials included. IMM usually answers well under a second.
	callTimeout = 8 * time.Second
	// A refused name is sent as it is again after a day: IMM's rules may change, and one more
	// refusal a day costs little.
	nameMemory = 24 * time.Hour
	maxNames   = 1000
)

// New returns a Client. It opens no connection.
func New(o Options) (*Client, error) {
	endpoint, err := ParseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	names, err := lru.New[string, time.Time](maxNames)
	if err != nil {
		return nil, err
	}
	return &Client{endpoint: endpoint, region: o.Region, credentials: o.Credentials, now: o.Now,
		log: o.Logger, wire: newWire(o.Transport, o.Now), refusedNames: names}, nil
}

// ParseEndpoint takes a host under aliyuncs.com, for https, or the URL of a loopback address.
// Anything else would get signed requests that hold documents' passwords.
func ParseEndpoint(endpoint string) (*url.URL, error) {
	name, aliyun := strings.CutSuffix(endpoint, ".aliyuncs.com")
	if aliyun && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" &&
		!strings.Contains("."+name+".", "..") {
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
	// MaybeBilled says that IMM may have charged for one more call, which it refused before this.
	MaybeBilled bool
}

// Generate asks for the right to open a document. Every error is a *weboffice.Error.
func (c *Client) Generate(ctx context.Context, r weboffice.Request) (Tokens, error) {
	const action = "GenerateWebofficeToken"
	if r.User != nil && c.knownRefused(r.User.Name) {
		r = withPlainName(r)
	}
	tokens, err := c.call(ctx, action, parametersOf(r))
	if f, failed := errors.AsType[*failure](err); failed && !f.sent && ctx.Err() == nil {
		c.log.WarnContext(ctx, "IMM not reached; retrying once",
			"cause", weboffice.AsError(err).Cause)
		tokens, err = c.call(ctx, action, parametersOf(r))
	}
	if refusesUserName(err) && r.User != nil && weboffice.PlainName(r.User.Name) != r.User.Name {
		c.log.WarnContext(ctx, "IMM refused User.Name; retrying once in the documented alphabet",
			"code", weboffice.AsError(err).Code)
		if tokens, err = c.call(ctx, action, parametersOf(withPlainName(r))); err == nil {
			c.refusedNames.Add(r.User.Name, c.now())
		}
		tokens.MaybeBilled = true
		if f, failed := errors.AsType[*failure](err); failed {
			f.charged = true
		}
	}
	return tokens, err
}

// knownRefused says whether IMM refused the name within the last day.
func (c *Client) knownRefused(name string) bool {
	refused, ok := c.refusedNames.Get(name)
	return ok && c.now().Sub(refused) < nameMemory
}

func withPlainName(r weboffice.Request) weboffice.Request {
	user := *r.User
	user.Name = weboffice.PlainName(user.Name)
	r.User = &user
	return r
}

// Refresh spends a refresh token for the next access token with the same settings. Every error is a
// *weboffice.Error; RefusedToken and NoAnswer name those after which only Generate helps.
func (c *Client) Refresh(ctx context.Context, project string, access, refresh weboffice.Secret,
	config *weboffice.CredentialConfig) (Tokens, error) {
	p := parametersOf(weboffice.Request{ProjectName: project, CredentialConfig: config})
	p.text("AccessToken", access.Reveal())
	p.text("RefreshToken", refresh.Reveal())
	return c.call(ctx, "RefreshWebofficeToken", p)
}

// Warm opens a connection to IMM, so that the first request of an instance does not pay for it.
func (c *Client) Warm(ctx context.Context) error { return c.wire.warm(ctx, c.endpoint) }
