package imm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/weboffice"
)

// failure is the cause of every error of this package, for logs and for the questions below. It
// holds no text that a caller sent.
type failure struct {
	reason   string
	code     string // IMM's
	sent     bool   // IMM may have got the request
	answered bool   // IMM, or a gateway before it, said why not
	refused  bool   // IMM read the request and refused what it says
	broken   bool   // a server failed: how far it came is not known
	charged  bool   // the answer was a 4xx, or that of an earlier attempt was
}

func (f *failure) Error() string { return strings.TrimSpace(f.reason + " " + f.code) }

// failureOf returns the failure behind an error of a call. For any other error it is one of which
// nothing was sent.
func failureOf(err error) failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return *f
	}
	return failure{}
}

// RefusedToken says whether IMM refused a refresh token as used, expired or unknown. IMM documents
// no code for that, so every refusal of the request itself counts; throttling, rights, signatures,
// credentials and server failures do not.
func RefusedToken(err error) bool { return failureOf(err).refused }

// NoAnswer says whether a request was sent and nothing usable came back: the work may or may not
// have been done.
func NoAnswer(err error) bool {
	f := failureOf(err)
	return f.sent && !f.answered
}

// MaybeDone says whether a request that failed may have been done all the same: nothing usable came
// back, or a server failed. A refresh token may then be spent.
func MaybeDone(err error) bool { return NoAnswer(err) || failureOf(err).broken }

// MaybeBilled says whether IMM may charge for a request that failed: nothing usable came back, or
// the answer was a 4xx. The vendor charges for those, and not for 5xx.
func MaybeBilled(err error) bool { return NoAnswer(err) || failureOf(err).charged }

func refusesUserName(err error) bool {
	f := failureOf(err)
	if !f.refused { // nearly always: do not make the expression
		return false
	}
	names, _ := regexp.MatchString(`\bUser(\.?Name)?\b`,
		f.code+" "+weboffice.AsError(err).Message)
	return names
}

// failure says what went wrong with a request: err with its exchange, or else an answer of 400 and
// more. Err itself is not kept.
func (c *Client) failure(ctx context.Context, r reply, err error, p parameters) error {
	f := &failure{reason: reason(err), sent: r.sent}
	switch {
	case r.status >= 400:
		return c.refusal(r, p)
	case ctx.Err() != nil:
		f.reason = "no answer in time"
		return weboffice.ErrIMMLate.Because(f)
	case !f.sent:
		return weboffice.ErrIMMUnreached.Because(f)
	}
	return weboffice.ErrIMMUnusable.Because(f)
}

// refusal reads an answer of 400 and more, of IMM or of a gateway, whose body is anything.
func (c *Client) refusal(r reply, p parameters) error {
	var said struct{ RequestID, Code, Message string }
	_ = json.Unmarshal(r.body, &said) // what it cannot read says nothing
	entry, refused := classify(r.status, said.Code, said.Message)
	said.Code, said.Message = harmless(said.Code, p), harmless(said.Message, p)
	f := &failure{
		reason: "IMM answered " + strconv.Itoa(r.status), code: said.Code, sent: true,
		answered: true, refused: refused, charged: r.status < 500,
		broken: entry == failed(r.status),
	}
	e := entry.Because(f, c.region, tea.StringValue(p["ProjectName"]))
	e.IMMRequestID = said.RequestID
	switch entry {
	case weboffice.ErrIMMBusy:
		e.RetryAfter = retryAfter(r.header)
	case weboffice.ErrIMMRefused:
		e.Code, e.Message = cmp.Or(said.Code, e.Code), cmp.Or(said.Message, e.Message)
	}
	return e
}

// classify finds the entry for an answer, and says whether IMM refused what the request says. The
// vendor has changed codes before, so their beginnings decide, and the status where they say
// nothing.
func classify(status int, code, message string) (entry weboffice.Failure, refused bool) {
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes,
			func(prefix string) bool { return strings.HasPrefix(code, prefix) })
	}
	switch {
	case has("Throttling") || status == http.StatusTooManyRequests:
		return weboffice.ErrIMMBusy, false
	case has("InvalidSecurityToken", "InvalidAccessKeyId", "Signature", "IncompleteSignature",
		"InvalidTimeStamp", "MissingSecurityToken"):
		return weboffice.ErrIMMCredentials, false
	case has("OperationDenied", "ServiceNotOpen", "InArrears"):
		return weboffice.ErrIMMNotActive, false
	case has("NoPermission", "Forbidden", "AccessDenied", "EntityNotExist.Role", "ImplicitDeny") ||
		status == http.StatusUnauthorized || status == http.StatusForbidden:
		return weboffice.ErrIMMRight, false
	case has("ResourceNotFound") && strings.Contains(message, "acs:imm"):
		return weboffice.ErrIMMProject, false
	case has("ResourceNotFound") && strings.Contains(message, "oss://") ||
		has("NoSuchKey", "NoSuchBucket"):
		return weboffice.ErrIMMDocument, true
	case status < 500:
		return weboffice.ErrIMMRefused, code != "" // a gateway knows nothing of tokens
	}
	return failed(status), false
}

// failed is the entry for a server's failure.
func failed(status int) weboffice.Failure {
	switch status {
	case http.StatusServiceUnavailable:
		return weboffice.ErrIMMUnavailable
	case http.StatusGatewayTimeout:
		return weboffice.ErrIMMTimeout
	}
	return weboffice.ErrIMMFailed
}

// reason is a sentence about a network failure. Nothing of err's own text is in it: that may hold
// the URL, with all parameters.
func reason(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errUnreadable):
		return errUnreadable.Error()
	case errors.As(err, &dns):
		return "the endpoint's name was not resolved"
	case errors.As(err, &op):
		return op.Op + " failed"
	}
	return "the exchange failed"
}

// harmless is IMM's own text where it may be shown, or "": it holds none of the request's secrets.
func harmless(text string, p parameters) string {
	for _, name := range []string{"Password", "AccessToken", "RefreshToken"} {
		secret := tea.StringValue(p[name])
		if secret != "" && strings.Contains(text, secret) || len(text) > 500 {
			return ""
		}
	}
	return text
}

// retryAfter is the header Retry-After, in seconds, or else what IMM's own limits say, in
// milliseconds. More than a minute is taken as a minute.
func retryAfter(h http.Header) time.Duration {
	limit, user := h.Get("X-Ratelimit-User-Api"), h.Get("X-Ratelimit-User")
	milliseconds := tea.Int64Value(openapiutil.GetThrottlingTimeLeft(
		map[string]*string{"x-ratelimit-user-api": &limit, "x-ratelimit-user": &user}))
	wait := time.Duration(min(max(milliseconds, 0), 60_000)) * time.Millisecond
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds >= 0 {
		wait = time.Duration(min(seconds, 60)) * time.Second
	}
	return wait
}
