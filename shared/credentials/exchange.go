package credentials

import (
	"context"
	"crypto/tls"
	_ "embed"
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

// oidcRole gives OIDC tokens to Alibaba's STS for credentials of a RAM role. The call,
// AssumeRoleWithOIDC, needs no signature. The client is our own: the OIDC provider of
// credentials-go takes no context, races when it renews, and puts the raw answer into its errors.
func (v *environment) oidcRole() Source {
	const action = "AssumeRoleWithOIDC"
	tokens, host := v.tokens(), "sts.aliyuncs.com"
	if v.anySet("WEBOFFICE_REGION") {
		host = "sts." + v.need("WEBOFFICE_REGION", hostLabel,
			"give an Alibaba Cloud region, such as cn-hangzhou") + ".aliyuncs.com"
	}
	endpoint := v.endpoint("WEBOFFICE_STS_ENDPOINT", "https://"+host)
	role := v.need("ALIBABA_CLOUD_ROLE_ARN", roleARN,
		"give the RAM role to assume, acs:ram::ACCOUNT:role/NAME")
	provider := v.need("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", providerARN,
		"give RAM's identity provider, acs:ram::ACCOUNT:oidc-provider/NAME")
	fetch := func(ctx context.Context) (Credentials, error) {
		token, err := tokens.token(ctx)
		if err != nil {
			return Credentials{}, err
		}
		started := v.Now()
		query := url.Values{"Action": {action}, "Version": {"2015-04-01"}, "Format": {"JSON"},
			"Timestamp": {started.UTC().Format(time.RFC3339)}}
		form := url.Values{"RoleArn": {role}, "OIDCProviderArn": {provider},
			"OIDCToken": {token.Reveal()}, "RoleSessionName": {sessionName},
			"DurationSeconds": {strconv.Itoa(int(sessionLength.Seconds()))}}
		res, body, err := call(ctx, v.Client, http.MethodPost, endpoint+"?"+query.Encode(),
			form.Encode(), nil)
		got, code, wrong := parseAnswer(body)
		switch {
		case res != nil && res.StatusCode != http.StatusOK:
			return Credentials{}, refusal(action, res.StatusCode, code)
		case err != nil:
			return Credentials{}, unavailable("let the function reach Alibaba's STS: check "+
				"WEBOFFICE_REGION, DNS, internet access", fmt.Errorf("%s: %w", action, err))
		case wrong != nil:
			return Credentials{}, unavailable("a proxy answered instead of Alibaba's STS: allow "+
				"direct access to it", fmt.Errorf("%s: %w", action, wrong))
		}
		got.Expires = expiry(got.Expires, res.Header.Get("Date"), started)
		return got, nil
	}
	return &cache{fetch: fetch, name: "RAM role " + role + " for " + tokens.name, now: v.Now,
		log: v.Logger}
}

// parseAnswer reads credentials, or an error's code. It is an error unless the credentials are
// complete. Messages are not read: they may quote the token.
func parseAnswer(body []byte) (c Credentials, code string, err error) {
	var answer struct {
		Code        string
		Credentials             // as the metadata service gives them
		OfSTS       Credentials `json:"Credentials"`
	}
	err = json.Unmarshal(body, &answer)
	if c = answer.Credentials; !c.complete() {
		c = answer.OfSTS
	}
	if err != nil || !c.complete() || c.Expires.IsZero() {
		err = errors.New("an answer without complete credentials")
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

// fixes says what an operator can do about an STS's error code.
//
//go:embed fixes.txt
var fixes string

// refusal is an STS's error answer. Only what looks like a code gets into it.
func refusal(action string, status int, code string) *weboffice.Error {
	if plain, _ := regexp.MatchString(`^[A-Za-z0-9._-]+$`, code); len(code) > 80 || !plain {
		code = "unknown"
	}
	cause := fmt.Errorf("%s: status %d, code %s", action, status, code)
	for entry := range strings.SplitSeq(strings.TrimSpace(fixes), "\n\n") {
		codes, fix, _ := strings.Cut(entry, "\n\t")
		for beginning := range strings.FieldsSeq(codes) {
			if fix != "" && strings.HasPrefix(code, beginning) {
				return unavailable(strings.ReplaceAll(fix, "\n\t", " "), cause)
			}
		}
	}
	return unavailable("STS failed and is tried again by itself; look up the code if it stays so",
		cause)
}

// call sends a request, with a form where there is one, and reads the answer. One whose status is
// not 200 is an error too. prepare, if any, signs the request or adds what it needs. Errors quote
// nothing of either side.
func call(ctx context.Context, client *http.Client, method, target, form string,
	prepare func(*http.Request)) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form))
	if err != nil {
		return nil, nil, errors.New("the URL cannot be used")
	}
	if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if prepare != nil {
		prepare(req)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, reason(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(http.MaxBytesReader(nil, res.Body, maxAnswer))
	if err == nil && res.StatusCode != http.StatusOK {
		return res, body, fmt.Errorf("status %d", res.StatusCode)
	}
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
