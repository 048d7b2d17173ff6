package imm

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	sdk "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	jsonv2 "github.com/go-json-experiment/json"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/weboffice"
)

const (
	signatureAlgorithm = "ACS3-HMAC-SHA256"
	emptyBodyHash      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var (
	userAgent     = tea.StringValue(openapiutil.GetUserAgent(nil))
	errUnreadable = errors.New("the answer is not what IMM documents")
)

// call makes one request, never more, and reads its tokens.
func (c *Client) call(ctx context.Context, action string, p parameters) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	signer, err := c.credentials.Credentials(ctx)
	if err != nil {
		return Tokens{}, err
	}
	reply, err := c.wire.send(ctx, c.sign(action, p, signer))
	if err == nil && reply.status < 400 {
		var tokens Tokens
		if tokens, err = readTokens(reply, action, c.now()); err == nil {
			return tokens, nil
		}
	}
	return Tokens{}, c.failure(ctx, reply, err, p)
}

// sign makes the request of a call, as the SDK would: a POST whose parameters are all in the query.
// The signature covers them, the host and every x-acs- header.
func (c *Client) sign(action string, p parameters, by credentials.Credentials) *http.Request {
	target := &url.URL{Scheme: c.endpoint.Scheme, Host: c.endpoint.Host, Path: "/",
		RawQuery: p.encode()}
	headers := [][2]string{ // in lower case, as the SDK sends them
		{"x-acs-action", action},
		{"x-acs-version", "2020-09-30"},
		{"x-acs-date", c.now().UTC().Format(time.RFC3339)},
		{"x-acs-signature-nonce", rand.Text()},
		{"x-acs-content-sha256", emptyBodyHash},
	}
	if by.SecurityToken != "" {
		headers = append(headers, [2]string{"x-acs-accesskey-id", by.AccessKeyID},
			[2]string{"x-acs-security-token", by.SecurityToken.Reveal()})
	}
	signed := &dara.Request{Method: tea.String(http.MethodPost), Pathname: &target.Path, Query: p,
		Headers: map[string]*string{"host": &target.Host}}
	sent := make(http.Header, 10)
	sent["Accept"], sent["User-Agent"] = []string{"application/json"}, []string{userAgent}
	values := make([]string, len(headers)) // at one place: each is pointed to twice
	for i, h := range headers {
		values[i] = h[1]
		sent[h[0]], signed.Headers[h[0]] = values[i:i+1:i+1], &values[i]
	}
	sent["Authorization"] = []string{tea.StringValue(openapiutil.GetAuthorization(signed,
		tea.String(signatureAlgorithm), tea.String(emptyBodyHash), tea.String(by.AccessKeyID),
		tea.String(by.AccessKeySecret.Reveal())))}
	return &http.Request{Method: http.MethodPost, URL: target, Host: target.Host, Header: sent}
}

// parameters are written as the SDK's typed calls write them: every value as text, structures as
// JSON, nothing that is empty.
type parameters map[string]*string

// parametersOf gives what a request holds.
func parametersOf(r weboffice.Request) parameters {
	p, v := make(parameters, 8), reflect.ValueOf(r)
	for i := range v.NumField() {
		switch name, value := v.Type().Field(i).Name, v.Field(i); {
		case value.IsZero():
		case value.Kind() == reflect.String: // the password too
			p.text(name, value.String())
		default:
			text, _ := json.Marshal(value.Interface()) // these always marshal
			p.text(name, string(text))
		}
	}
	return p
}

func (p parameters) text(name, value string) { p[name] = &value }

func (p parameters) encode() string {
	var query strings.Builder
	query.Grow(512) // an ordinary request
	for name, value := range p {
		if query.Len() > 0 {
			query.WriteByte('&')
		}
		query.WriteString(name)
		query.WriteByte('=')
		query.WriteString(url.QueryEscape(*value))
	}
	return query.String()
}

// readTokens refuses an answer without all that the editor needs.
func readTokens(r reply, action string, now time.Time) (Tokens, error) {
	var body sdk.GenerateWebofficeTokenResponseBody // Refresh's is the same without WebofficeURL
	if r.status >= 300 || jsonv2.Unmarshal(r.body, &body) != nil {
		return Tokens{}, errUnreadable
	}
	t := Tokens{RequestID: tea.StringValue(body.RequestId),
		RefreshToken: weboffice.Secret(tea.StringValue(body.RefreshToken))}
	t.WebofficeURL = tea.StringValue(body.WebofficeURL)
	t.AccessToken = weboffice.Secret(tea.StringValue(body.AccessToken))
	var errAccess, errRefresh error
	t.AccessTokenExpiredTime, errAccess = time.Parse(time.RFC3339Nano,
		tea.StringValue(body.AccessTokenExpiredTime))
	t.RefreshTokenExpiredTime, errRefresh = time.Parse(time.RFC3339Nano,
		tea.StringValue(body.RefreshTokenExpiredTime))
	if errAccess != nil || errRefresh != nil || t.AccessToken == "" || t.RefreshToken == "" ||
		action == "GenerateWebofficeToken" && !frameable(t.WebofficeURL) {
		return Tokens{}, errUnreadable
	}
	t.Life = t.AccessTokenExpiredTime.Sub(r.clock(now))
	return t, nil
}

// frameable says whether a page may put the URL into a frame: https, or http on a loopback address.
func frameable(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" &&
		weboffice.Loopback(u.Hostname()))
}
