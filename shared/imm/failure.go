package imm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/weboffice"
)

// failure is the cause of every error of this package, for logs and for the questions below. It holds no text that a caller sent.
type failure struct {
	reason   string
	code     string // IMM's
	sent     bool   // IMM may have got the request
	answered bool   // IMM answered something that could be read
	refused  bool   // IMM read the request and refused what it says
	broken   bool   // IMM's servers, or a gateway before them, failed: how far they came is not known
}

func (f *failure) Error() string { return strings.TrimSpace(f.reason + " " + f.code) }

// RefusedToken says whether IMM refused a refresh token as used, expired or unknown. IMM documents no code for that, so every refusal
// of the request itself counts; throttling, rights, signatures, credentials and server failures do not.
func RefusedToken(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.refused
}

// NoAnswer says whether a request was sent and nothing usable came back: the work may or may not have been done.
func NoAnswer(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.sent && !f.answered
}

// MaybeDone says whether a request that failed may have been done, and billed, all the same: nothing usable came back, or a server failed.
func MaybeDone(err error) bool {
	var f *failure
	return NoAnswer(err) || errors.As(err, &f) && f.broken
}

func notSent(err error) bool {
	var f *failure
	return errors.As(err, &f) && !f.sent
}

var namesUser = regexp.MustCompile(`\bUser(\.?Name)?\b`)

func refusesUserName(err error) bool {
	var f *failure
	public := weboffice.AsError(err)
	return errors.As(err, &f) && f.refused && namesUser.MatchString(f.code+" "+public.Message)
}

var errUnreadable = errors.New("the answer is not what IMM documents")

// failure turns whatever the SDK returned into our kinds. A *url.Error is never kept: it holds the whole query, tokens included.
func (c *Client) failure(ctx context.Context, e *exchange, err error, q query) error {
	if status, code, message, requestID := sdkError(err); status != 0 && code != "" {
		return c.answered(status, code, message, requestID, e, q)
	}
	f := &failure{reason: reason(err), sent: e.sent.Load()}
	switch {
	case e.status == 429: // a gateway's, in its own words
		return c.answered(e.status, "", "", "", e, q)
	case e.status >= 500: // an error page of a gateway
		f.answered = true
		return c.byStatus(e.status, f)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		f.reason = "no answer in time"
		return &weboffice.Error{Kind: weboffice.Timeout, Code: "ServiceTimeout", Message: "The document service did not answer in time. Try again.", Cause: f}
	case ctx.Err() != nil:
		f.reason = "the request was given up"
		return &weboffice.Error{Kind: weboffice.Timeout, Code: "ServiceTimeout", Message: "The request was given up.", Cause: f}
	case !f.sent:
		return &weboffice.Error{
			Kind: weboffice.Unavailable, Code: "ServiceUnavailable", Message: "The document service cannot be reached. Try again.",
			Fix: "check WEBOFFICE_REGION, WEBOFFICE_IMM_ENDPOINT and that the function may reach the network", Cause: f,
		}
	}
	return &weboffice.Error{Kind: weboffice.BadGateway, Code: "BadGateway", Message: "The document service gave no usable answer. Try again.", Status: e.status, Cause: f}
}

// sdkError reads the SDK's three error types; status 0: it is none of them. The SDK puts status and RequestId around the message.
func sdkError(err error) (status int, code, message, requestID string) {
	var data map[string]any
	var client *openapi.ClientError
	var server *openapi.ServerError
	var throttled *openapi.ThrottlingError
	switch {
	case errors.As(err, &client):
		status, code, requestID, data = tea.IntValue(client.StatusCode), tea.StringValue(client.Code), tea.StringValue(client.RequestId), client.Data
	case errors.As(err, &server):
		status, code, requestID, data = tea.IntValue(server.StatusCode), tea.StringValue(server.Code), tea.StringValue(server.RequestId), server.Data
	case errors.As(err, &throttled):
		status, code, requestID, data = tea.IntValue(throttled.StatusCode), tea.StringValue(throttled.Code), tea.StringValue(throttled.RequestId), throttled.Data
	}
	if code == "<nil>" { // what the SDK makes of an empty answer
		code = ""
	}
	message, _ = data["Message"].(string)
	return status, code, message, requestID
}

// answered sorts an error that IMM itself gave. The vendor has changed codes before, so status and prefix decide.
func (c *Client) answered(status int, code, message, requestID string, e *exchange, q query) error {
	f := &failure{reason: "IMM answered " + strconv.Itoa(status), code: code, sent: true, answered: true}
	out := &weboffice.Error{RequestID: requestID, Status: status, Cause: f}
	set := func(kind weboffice.Kind, code, message, fix string) error {
		out.Kind, out.Code, out.Message, out.Fix = kind, code, message, fix
		return out
	}
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(code, p) {
				return true
			}
		}
		return false
	}
	project := tea.StringValue(q["ProjectName"])
	switch {
	case has("Throttling") || status == 429:
		out.RetryAfter = retryAfter(e)
		return set(weboffice.Throttled, "Throttling", "The document service is busy. Try again in a moment.", "")
	case has("InvalidSecurityToken", "InvalidAccessKeyId", "Signature", "IncompleteSignature", "InvalidTimeStamp", "MissingSecurityToken"):
		return set(weboffice.Unavailable, "ServiceUnavailable", "The document service cannot be used at the moment. Try again.",
			"IMM refused the function's credentials: check its role and that its clock is right")
	case has("NoPermission", "Forbidden", "AccessDenied", "EntityNotExist.Role", "ImplicitDeny") || status == 401 || status == 403:
		return set(weboffice.BadGateway, operatorCode, operatorMessage, fmt.Sprintf(
			`add to the function's RAM role: {"Effect":"Allow","Action":["imm:GenerateWebofficeToken","imm:RefreshWebofficeToken"],"Resource":"acs:imm:%s:*:project/%s"}`,
			c.region, project))
	case has("OperationDenied", "ServiceNotOpen", "InArrears"):
		return set(weboffice.BadGateway, operatorCode, operatorMessage, "activate Intelligent Media Management in this region, and see that the account is not in arrears")
	case has("ResourceNotFound") && strings.Contains(message, "acs:imm"):
		return set(weboffice.BadGateway, operatorCode, operatorMessage, fmt.Sprintf("IMM knows no project %s in %s: check `project` in the policy, WEBOFFICE_PROJECT and WEBOFFICE_REGION", project, c.region))
	case has("ResourceNotFound") && strings.Contains(message, "oss://") || has("NoSuchKey", "NoSuchBucket"):
		f.refused = true
		return set(weboffice.NotFound, "ResourceNotFound", "The document was not found.", "")
	case status >= 400 && status < 500:
		f.refused = true
		return set(weboffice.Invalid, code, harmless(message, q), "")
	}
	return c.byStatus(status, f, requestID)
}

const (
	operatorCode    = "ServiceMisconfigured"
	operatorMessage = "The document service is not set up correctly. Whoever runs this site finds the remedy in the function's log, under the RequestId."
)

// byStatus is for failures of IMM's servers.
func (c *Client) byStatus(status int, f *failure, requestID ...string) error {
	f.broken = true
	out := &weboffice.Error{Kind: weboffice.BadGateway, Code: "BadGateway", Message: "The document service failed. Try again.", Status: status, Cause: f}
	if len(requestID) > 0 {
		out.RequestID = requestID[0]
	}
	switch status {
	case 503:
		out.Kind, out.Code = weboffice.Unavailable, "ServiceUnavailable"
	case 504:
		out.Kind, out.Code = weboffice.Timeout, "ServiceTimeout"
	}
	return out
}

// reason is a sentence about a network failure without its URL.
func reason(err error) string {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errUnreadable):
		return err.Error()
	case errors.As(err, &dns):
		return "the endpoint's name was not resolved"
	case errors.As(err, &op):
		return op.Op + " failed"
	}
	return "the exchange failed"
}

// harmless gives IMM's own sentence unless it holds something that must not be shown.
func harmless(message string, q query) string {
	for _, name := range []string{"Password", "AccessToken", "RefreshToken"} {
		if secret := tea.StringValue(q[name]); secret != "" && strings.Contains(message, secret) {
			return "IMM refused a parameter."
		}
	}
	if message == "" || len(message) > 500 {
		return "IMM refused a parameter."
	}
	return message
}

// retryAfter reads the header in seconds, 0 where there is none; more than a minute is taken as a minute.
func retryAfter(e *exchange) time.Duration {
	seconds, err := strconv.Atoi(e.header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, 60)) * time.Second
}
