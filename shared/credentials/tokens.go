package credentials

import (
	"cmp"
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
	if refused, ok := errors.AsType[*weboffice.Error](err); ok {
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

// tokens is where the environment has OIDC tokens.
func (v *environment) tokens() tokenSource {
	const variable = "ALIBABA_CLOUD_OIDC_TOKEN_FILE"
	location := v.Getenv(variable)
	if location == "" {
		return v.awsTokens("Lambda sets it; elsewhere give an OIDC token in " + variable +
			", a file or an https URL")
	}
	if !strings.Contains(location, "://") {
		return tokenFile(location)
	}
	// url.Parse's error would quote the URL, whose query may hold a secret
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.Scheme != "https" && !loopback(location) {
		v.problem("%s is neither a file nor an https URL (http on loopback only): correct it",
			variable)
		return tokenSource{}
	}
	return tokenSource{"an OIDC token from " + u.Host, variable + " must name a URL that gives an " +
		"OIDC token as plain text within 5 s, without a redirect",
		func(ctx context.Context) (string, error) {
			_, body, err := call(ctx, v.Client, http.MethodGet, location, "", nil)
			return string(body), err
		}}
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

// awsTokens asks AWS's STS for a token that names the Lambda function's role: GetWebIdentityToken,
// which the global endpoint does not know. The signature is by AWS's own signer. Its client of STS
// would read a table of all endpoints at each cold start, on every platform: 0.3 ms of five.
// template.yml's IAM statement must allow this algorithm and duration.
func (v *environment) awsTokens(elsewhere string) tokenSource {
	const action = "GetWebIdentityToken"
	keys := []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
	for _, name := range keys {
		v.need(name, noSpaces, elsewhere)
	}
	region := v.need("AWS_REGION", hostLabel, elsewhere)
	host := "https://sts." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		host += ".cn"
	}
	endpoint := v.endpoint("AWS_ENDPOINT_URL_STS", host) + "/"
	audience := v.need("ALIBABA_CLOUD_OIDC_AUDIENCE", noSpaces,
		"give a client ID of RAM's identity provider, which AWS puts into the token")
	form := url.Values{"Action": {action}, "Version": {"2011-06-15"},
		"Audience.member.1": {audience}, "SigningAlgorithm": {"RS256"},
		"DurationSeconds": {"300"}}.Encode()
	sum := sha256.Sum256([]byte(form))
	sign := func(r *http.Request) {
		own := aws.Credentials{AccessKeyID: v.Getenv(keys[0]), SecretAccessKey: v.Getenv(keys[1]),
			SessionToken: v.Getenv(keys[2])}
		// what is not signed is refused
		_ = v4.NewSigner().SignHTTP(r.Context(), own, r, hex.EncodeToString(sum[:]), "sts", region,
			v.Now())
	}
	return tokenSource{"an OIDC token from AWS STS in " + region, "let the function reach " +
		"AWS's STS in AWS_REGION directly, not through a proxy that answers in its place",
		func(ctx context.Context) (string, error) {
			res, body, err := call(ctx, v.Client, http.MethodPost, endpoint, form, sign)
			var answer struct {
				Code  string `xml:"Error>Code"`
				Token string `xml:"GetWebIdentityTokenResult>WebIdentityToken"`
			}
			wrong := xml.Unmarshal(body, &answer)
			if res != nil && res.StatusCode != http.StatusOK {
				return "", refusal(action, res.StatusCode, answer.Code)
			}
			return answer.Token, cmp.Or(err, reason(wrong))
		}}
}
