package credentials

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

const (
	sessionName   = "weboffice-functions" // what the audit trail shows; 2 to 64 of [A-Za-z0-9.@_-]
	sessionLength = time.Hour             // what every role allows; the least is 15 minutes
	maxSkew       = time.Minute
	maxAnswer     = 16 << 10        // bytes of any answer, after decompression
	maxWait       = 5 * time.Second // for each answer
)

// assumeRole gives an OIDC token to Alibaba's STS for credentials of a RAM role. The call,
// AssumeRoleWithOIDC, needs no signature. The client is our own: the OIDC provider of
// credentials-go takes no context, races when it renews, and puts the raw answer into its errors.
type assumeRole struct {
	client                   *http.Client
	now                      func() time.Time
	endpoint, role, provider string
	tokens                   tokenSource
}

// fetch makes one exchange. Expires is by our clock.
func (x assumeRole) fetch(ctx context.Context) (Credentials, error) {
	token, err := x.tokens.token(ctx)
	if err != nil {
		return Credentials{}, err
	}
	started := x.now()
	query := url.Values{"Action": {"AssumeRoleWithOIDC"}, "Version": {"2015-04-01"},
		"Format": {"JSON"}, "Timestamp": {started.UTC().Format(time.RFC3339)}}
	form := url.Values{"RoleArn": {x.role}, "OIDCProviderArn": {x.provider},
		"OIDCToken": {token.Reveal()}, "RoleSessionName": {sessionName},
		"DurationSeconds": {strconv.Itoa(int(sessionLength.Seconds()))}}
	res, body, err := request(ctx, x.client, x.endpoint+"?"+query.Encode(), form.Encode(),
		nil)
	if err != nil {
		return Credentials{}, unavailable(
			"let the function reach Alibaba's STS: check WEBOFFICE_REGION, DNS, internet access",
			fmt.Errorf("AssumeRoleWithOIDC: %w", err))
	}
	got, code, err := parseAnswer(body)
	if res.StatusCode != http.StatusOK {
		return Credentials{}, refusal("AssumeRoleWithOIDC", res.StatusCode, code, alibabaFixes)
	}
	if err != nil {
		return Credentials{}, unavailable(
			"a proxy answered instead of Alibaba's STS: allow direct access to it", err)
	}
	got.Expires = expiry(got.Expires, res.Header.Get("Date"), started)
	return got, nil
}

// parseAnswer reads a success, or an error's code. It is an error unless the credentials are
// complete. Messages are not read: they may quote the token.
func parseAnswer(body []byte) (c Credentials, code string, err error) {
	var answer struct {
		Code        string
		Credentials struct {
			AccessKeyID     string `json:"AccessKeyId"`
			AccessKeySecret weboffice.Secret
			SecurityToken   weboffice.Secret
			Expires         time.Time `json:"Expiration"`
		}
	}
	err = json.Unmarshal(body, &answer)
	c = Credentials(answer.Credentials)
	if err != nil || !c.complete() || c.Expires.IsZero() {
		err = errors.New("AssumeRoleWithOIDC: an answer without complete credentials")
	}
	return c, answer.Code, err
}

// expiry is the end of credentials by our clock, which read started before the exchange. Where the
// clocks differ, the time that the server's gives them counts. No end is later than what was asked
// for.
func expiry(expiration time.Time, date string, started time.Time) time.Time {
	if server, err := http.ParseTime(date); err == nil && server.Sub(started).Abs() > maxSkew {
		expiration = started.Add(expiration.Sub(server))
	}
	if longest := started.Add(sessionLength); expiration.After(longest) {
		return longest
	}
	return expiration
}

// refusal is an STS's error answer. Only what looks like a code gets into it.
func refusal(action string, status int, code string, fixes [][2]string) *weboffice.Error {
	if plain, _ := regexp.MatchString(`^[A-Za-z0-9._-]+$`, code); len(code) > 80 || !plain {
		code = "unknown"
	}
	cause := fmt.Errorf("%s: status %d, code %s", action, status, code)
	for _, fix := range fixes {
		if strings.HasPrefix(code, fix[0]) {
			return unavailable(fix[1], cause)
		}
	}
	return unavailable("STS failed and is tried again by itself; look up the code if it stays so",
		cause)
}

const (
	trustFix = "trust policy: the RAM role must allow sts:AssumeRole to " +
		"ALIBABA_CLOUD_OIDC_PROVIDER_ARN for the token's iss, aud and sub"
	printFix = "thumbprint: add the fingerprint of the issuer's certificate to RAM's provider"
)

// alibabaFixes has the beginnings of codes, from the vendor's table of STS errors and its guide to
// roles for ACK; the first counts.
var alibabaFixes = [][2]string{
	{"AuthenticationFail.OIDCToken.AudienceNotMatch",
		"audience: RAM's provider must list the token's aud as client ID " +
			"(AWS takes it from ALIBABA_CLOUD_OIDC_AUDIENCE)"},
	{"AuthenticationFail.OIDCToken.Expired",
		"the OIDC token has expired: renew what ALIBABA_CLOUD_OIDC_TOKEN_FILE names, check the " +
			"clock"},
	{"AuthenticationFail.OIDCToken.Issuer",
		"issuer: the URL of RAM's provider must be the token's iss, its discovery public"},
	{"AuthenticationFail.OIDCToken.PublicKeyFingerprint", printFix},
	{"AuthenticationFail.OIDCToken.HttpsUrlInvalid", printFix},
	{"AuthenticationFail.OIDCToken.InvalidSignature",
		"issuer: the token's key is not one of the issuer that RAM's provider names"},
	{"AuthenticationFail.OIDCToken",
		"token: it must be a JWT signed RS256 by the issuer that RAM's identity provider names"},
	{"AuthenticationFail", trustFix},
	{"NoPermission", trustFix},
	{"EntityNotExist.Role",
		"ALIBABA_CLOUD_ROLE_ARN: there is no such RAM role; create it or correct the ARN"},
	{"EntityNotExist", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN: RAM has no such identity provider; " +
		"create it or correct the ARN"},
	{"InvalidParameter", "check ALIBABA_CLOUD_ROLE_ARN and ALIBABA_CLOUD_OIDC_PROVIDER_ARN; " +
		"the code names the parameter"},
	{"InvalidTimeStamp", "check that this machine's clock is right"},
}

// boundedClient bounds what servers can do: answers in time and of a size, no cookies and no
// redirects, since the requests and the answers hold tokens.
func boundedClient(c *http.Client) *http.Client {
	transport := http.DefaultTransport
	if c != nil && c.Transport != nil {
		transport = c.Transport
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: boundedTransport{transport}, Timeout: maxWait,
		CheckRedirect: stay}
}

type boundedTransport struct{ next http.RoundTripper }

func (b boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer)
	}
	return res, err
}

// request gets, or posts a form where there is one, signed where sign is not nil. Its errors quote
// nothing of either side.
func request(ctx context.Context, client *http.Client, target, form string,
	sign func(*http.Request) error) (*http.Response, []byte, error) {
	method := http.MethodGet
	if form != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form))
	if err != nil {
		return nil, nil, errors.New("the URL cannot be used")
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if sign != nil {
		if err := sign(req); err != nil {
			return nil, nil, errors.New("the request cannot be signed")
		}
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, reason(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res, body, reason(err)
}

// reason takes out of err what quotes no URL, path or answer: net/http's own errors may quote all
// three.
func reason(err error) error {
	for _, known := range []error{context.DeadlineExceeded, fs.ErrNotExist, fs.ErrPermission,
		io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	network, unreached := errors.AsType[*net.OpError](err)
	certificate, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return nil
	case unreached:
		return network
	case distrusted:
		return certificate
	case tooLarge:
		return errors.New("the answer is larger than 16 KB")
	}
	return errors.New("the answer could not be read")
}
