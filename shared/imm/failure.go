package imm

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/weboffice"
)

// failure is the cause of every error of this package, for logs and for the questions below. It
// holds no text that a caller sent.
type failure struct {
	reason   string
	code     string // IMM's
	sent     bool   // IMM may have got the request
	answered bool   // IMM answered something that could be read
	refused  bool   // IMM read the request and refused what it says
	// IMM's servers, or a gateway before them, failed: how far they came is not known
	broken bool
}

func (f *failure) Error() string { return strings.TrimSpace(f.reason + " " + f.code) }

// RefusedToken says whether IMM refused a refresh token as used, expired or unknown. IMM documents
// no code for that, so every refusal of the request itself counts; throttling, rights, signatures,
// credentials and server failures do not.
func RefusedToken(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.refused
}

// NoAnswer says whether a request was sent and nothing usable came back: the work may or may not
// have been done.
func NoAnswer(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.sent && !f.answered
}

// MaybeDone says whether a request that failed may have been done, and billed, all the same:
// nothing usable came back, or a server failed.
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

// failure turns whatever the SDK returned into our kinds. A *url.Error is never kept: it holds the
// whole query, tokens included.
func (c *Client) failure(ctx context.Context, e *exchange, err error, q query) error {
	if said := sdkError(err); said.status != 0 && said.code != "" {
		return c.answered(said, e, q)
	}
	f := &failure{reason: reason(err), sent: e.sent.Load()}
	switch {
	case e.status >= 400: // a gateway's, in its own words
		return c.answered(answer{status: e.status}, e, q)
	case ctx.Err() != nil:
		f.reason = "no answer in time"
		return weboffice.ErrIMMLate.Because(f)
	case !f.sent:
		return weboffice.ErrIMMUnreached.Because(f)
	}
	return weboffice.ErrIMMUnusable.Because(f)
}

// answer is what IMM, or a gateway before it, said of a failure.
type answer struct {
	status                   int
	code, message, requestID string        // "" where a gateway answered
	wait                     time.Duration // that the limits in its header name
}

// sdkFailure is what the SDK's ClientError, ServerError and ThrottlingError have in common.
type sdkFailure interface {
	error
	GetStatusCode() *int
	GetCode() *string
	GetRequestId() *string
	GetRetryAfter() *int64 // ms
	GetData() map[string]any
}

// sdkError reads the SDK's errors; status 0: it is none of them. The SDK puts status and RequestId
// around the message.
func sdkError(err error) (a answer) {
	var f sdkFailure
	if !errors.As(err, &f) {
		return a
	}
	a = answer{
		status: tea.IntValue(f.GetStatusCode()), code: tea.StringValue(f.GetCode()),
		requestID: tea.StringValue(f.GetRequestId()),
		wait:      time.Duration(tea.Int64Value(f.GetRetryAfter())) * time.Millisecond,
	}
	if a.code == "<nil>" { // what the SDK makes of an empty answer
		a.code = ""
	}
	a.message, _ = f.GetData()["Message"].(string)
	return a
}

// answered sorts an error that IMM or a gateway gave. The vendor has changed codes before, so
// status and prefix decide.
func (c *Client) answered(a answer, e *exchange, q query) error {
	f := &failure{reason: "IMM answered " + strconv.Itoa(a.status), code: a.code, sent: true,
		answered: true}
	has := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(a.code, p) {
				return true
			}
		}
		return false
	}
	said := func(entry weboffice.Failure) *weboffice.Error {
		e := entry.Because(f, c.region, tea.StringValue(q["ProjectName"]))
		e.RequestID = a.requestID
		return e
	}
	switch {
	case has("Throttling") || a.status == 429:
		busy := said(weboffice.ErrIMMBusy)
		busy.RetryAfter = retryAfter(e, a.wait)
		return busy
	case has("InvalidSecurityToken", "InvalidAccessKeyId", "Signature", "IncompleteSignature",
		"InvalidTimeStamp", "MissingSecurityToken"):
		return said(weboffice.ErrIMMCredentials)
	case has("NoPermission", "Forbidden", "AccessDenied", "EntityNotExist.Role", "ImplicitDeny") ||
		a.status == 401 || a.status == 403:
		return said(weboffice.ErrIMMRight)
	case has("OperationDenied", "ServiceNotOpen", "InArrears"):
		return said(weboffice.ErrIMMNotActive)
	case has("ResourceNotFound") && strings.Contains(a.message, "acs:imm"):
		return said(weboffice.ErrIMMProject)
	case has("ResourceNotFound") && strings.Contains(a.message, "oss://") ||
		has("NoSuchKey", "NoSuchBucket"):
		f.refused = true
		return said(weboffice.ErrIMMDocument)
	case a.status >= 400 && a.status < 500:
		f.refused = a.code != "" // a gateway knows nothing of tokens
		refused := said(weboffice.ErrIMMRefused)
		refused.Code = cmp.Or(a.code, refused.Code)
		if harmless(a.message, q) {
			refused.Message = a.message
		}
		return refused
	}
	f.broken = true
	switch a.status {
	case 503:
		return said(weboffice.ErrIMMUnavailable)
	case 504:
		return said(weboffice.ErrIMMTimeout)
	}
	return said(weboffice.ErrIMMFailed)
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

// harmless says whether IMM's own sentence may be shown.
func harmless(message string, q query) bool {
	for _, name := range []string{"Password", "AccessToken", "RefreshToken"} {
		if secret := tea.StringValue(q[name]); secret != "" && strings.Contains(message, secret) {
			return false
		}
	}
	return message != "" && len(message) <= 500
}

// retryAfter is the header Retry-After, in seconds, or else what IMM's limits say; more than a
// minute is taken as a minute.
func retryAfter(e *exchange, limits time.Duration) time.Duration {
	if seconds, err := strconv.Atoi(e.header.Get("Retry-After")); err == nil && seconds >= 0 {
		limits = time.Duration(min(seconds, 60)) * time.Second
	}
	return min(max(limits, 0), time.Minute)
}
