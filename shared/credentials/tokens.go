package credentials

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"weboffice-functions/shared/weboffice"
)

// tokenSource gives an OIDC token, a fresh one for each exchange: they live for minutes.
type tokenSource struct {
	name string // without a secret
	fix  string
	get  func(context.Context) (string, error)
}

const jwtShape = `^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`

// token gets a token. What does not look like one stays here: a login page or a wrong file must not
// be sent to Alibaba.
func (t tokenSource) token(ctx context.Context) (weboffice.Secret, error) {
	raw, err := t.get(ctx)
	if refused := (*weboffice.Error)(nil); errors.As(err, &refused) {
		return "", refused
	}
	token := strings.TrimSpace(raw)
	if ok, _ := regexp.MatchString(jwtShape, token); err == nil && (len(token) > maxAnswer || !ok) {
		err = errors.New("empty, over 16 KB, or not a signed JWT")
	}
	if err != nil {
		return "", unavailable(t.fix, fmt.Errorf("OIDC token: %w", err))
	}
	return weboffice.Secret(token), nil
}

// tokenFile is a file that somebody else renews, such as a Kubernetes projected token. Its name is
// never printed: by mistake it may be a token.
func tokenFile(name string) tokenSource {
	const fix = "ALIBABA_CLOUD_OIDC_TOKEN_FILE must name a readable file with an OIDC token"
	return tokenSource{"an OIDC token from a file", fix, func(context.Context) (string, error) {
		info, err := os.Stat(name)
		if err != nil {
			return "", reason(err)
		}
		if !info.Mode().IsRegular() || info.Size() > maxAnswer { // a pipe would block for good
			return "", errors.New("not a regular file of at most 16 KB")
		}
		raw, err := os.ReadFile(name)
		return string(raw), reason(err)
	}}
}

// tokenURL is a server of the operator's that answers with an OIDC token as plain text.
func tokenURL(client *http.Client, u *url.URL) tokenSource {
	const fix = "ALIBABA_CLOUD_OIDC_TOKEN_FILE must name a URL that gives an OIDC token as plain " +
		"text within 5 s, without a redirect"
	return tokenSource{"an OIDC token from " + u.Host, fix,
		func(ctx context.Context) (string, error) {
			res, body, err := request(ctx, client, u.String(), "", nil)
			if err == nil && res.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", res.StatusCode)
			}
			return string(body), err
		}}
}

// awsTokens asks AWS's STS for a token that names the Lambda function's role: GetWebIdentityToken,
// which the global endpoint does not know. The signature is by AWS's own signer. Its client of STS
// would read a table of all endpoints at each cold start, on every platform: 0.3 ms of five.
// template.yml's IAM statement must allow this algorithm and duration.
func awsTokens(o Options, client *http.Client, region, audience, endpoint string) tokenSource {
	form := url.Values{"Action": {"GetWebIdentityToken"}, "Version": {"2011-06-15"},
		"Audience.member.1": {audience}, "SigningAlgorithm": {"RS256"},
		"DurationSeconds": {"300"}}.Encode()
	sum := sha256.Sum256([]byte(form))
	sign := func(r *http.Request) error {
		own := aws.Credentials{AccessKeyID: o.Getenv("AWS_ACCESS_KEY_ID"),
			SecretAccessKey: o.Getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken:    o.Getenv("AWS_SESSION_TOKEN")}
		return v4.NewSigner().SignHTTP(r.Context(), own, r, hex.EncodeToString(sum[:]), "sts",
			region, o.Now())
	}
	if endpoint == "" {
		endpoint = "https://sts." + region + ".amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			endpoint += ".cn"
		}
	}
	const fix = "let the function reach AWS's STS in AWS_REGION directly, not through a proxy " +
		"that answers in its place"
	return tokenSource{"an OIDC token from AWS STS in " + region, fix,
		func(ctx context.Context) (string, error) {
			res, body, err := request(ctx, client, endpoint+"/", form, sign)
			if err != nil {
				return "", err
			}
			var answer struct {
				Code  string `xml:"Error>Code"`
				Token string `xml:"GetWebIdentityTokenResult>WebIdentityToken"`
			}
			err = xml.Unmarshal(body, &answer)
			if res.StatusCode != http.StatusOK {
				return "", refusal("GetWebIdentityToken", res.StatusCode, answer.Code, awsFixes)
			}
			return answer.Token, reason(err)
		}}
}

const ownFix = "AWS does not accept Lambda's own credentials: leave the AWS_ variables to " +
	"Lambda, check the clock"

var awsFixes = [][2]string{
	{"OutboundWebIdentityFederationDisabled",
		"run once for the AWS account: aws iam enable-outbound-web-identity-federation"},
	{"AccessDenied", "the Lambda role must allow sts:GetWebIdentityToken for " +
		"ALIBABA_CLOUD_OIDC_AUDIENCE, RS256 and 300 seconds"},
	{"ExpiredToken", ownFix},
	{"InvalidClientTokenId", ownFix},
	{"SignatureDoesNotMatch", ownFix},
}
