package weboffice

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Kind is a class of failure.
type Kind struct {
	Status int    // of the answer by HTTP
	Code   string // of an entry without one of its own
}

// The kinds.
var (
	Internal         = Kind{500, "InternalError"}    // ours
	Invalid          = Kind{400, "InvalidArgument"}  // the caller's input
	Unauthenticated  = Kind{401, "Unauthenticated"}  // no proof or a bad one
	Forbidden        = Kind{403, "Forbidden"}        // the policy or the origin
	NotFound         = Kind{404, "ResourceNotFound"} // an allowed caller, no such document
	MethodNotAllowed = Kind{405, "MethodNotAllowed"}
	SessionEnded     = Kind{410, "SessionEnded"} // the absolute end of a session
	TooLarge         = Kind{413, "RequestTooLarge"}
	MediaType        = Kind{415, "UnsupportedMediaType"}
	Throttled        = Kind{429, "Throttling"}         // with RetryAfter
	BadGateway       = Kind{502, "BadGateway"}         // IMM failed or answered nonsense
	Unavailable      = Kind{503, "ServiceUnavailable"} // IMM or what it needs is not there
	Timeout          = Kind{504, "ServiceTimeout"}     // IMM did not answer in time
)

// Error is a failure with a public face. Code, Message and Recommend may be shown to the page and
// follow the vendor's spellings where the vendor has one; Fix and Cause go to the log only. No
// field but Cause may hold anything a caller sent other than parameter names, or what IMM's own
// sentence quotes of it, and none may hold a secret.
type Error struct {
	Kind       Kind
	Code       string        // such as "InvalidArgument.SourceURI"
	Message    string        // one sentence for the page
	Recommend  string        // what the caller can do, may be empty
	RetryAfter time.Duration // for Throttled and Unavailable, 0 where nothing is known

	// For the log alone.
	Fix          string // what the operator has to change
	Cause        error
	IMMRequestID string // where the failure is IMM's
}

// Error gives the public part.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Attributes are e in a log line.
func (e *Error) Attributes() []slog.Attr {
	attributes := []slog.Attr{slog.String("message", e.Message)}
	if e.Fix != "" {
		attributes = append(attributes, slog.String("fix", e.Fix))
	}
	if e.Cause != nil {
		attributes = append(attributes, slog.String("cause", e.Cause.Error()))
	}
	return attributes
}

// LogPanic writes the one line about a panic that was recovered. Of its value it quotes only the Go
// runtime's own errors: anything else may hold a token.
func LogPanic(ctx context.Context, log *slog.Logger, value any) {
	what := fmt.Sprintf("a value of type %T", value)
	if err, ok := value.(runtime.Error); ok {
		what = err.Error()
	}
	log.ErrorContext(ctx, "panic", "requestId", RequestID(ctx), "panic", what,
		"stack", string(debug.Stack()))
}

// AsError returns err as an *Error. Any other error becomes an Internal one with a neutral
// sentence.
func AsError(err error) *Error {
	var public *Error
	if errors.As(err, &public) {
		return public
	}
	return ErrInternal.Because(err)
}

// ErrorBody is an error on the wire, in the vendor's form.
type ErrorBody struct{ RequestId, Code, Message, Recommend string }

// Body gives the public part of e as the answer to the request that ctx belongs to.
func (e *Error) Body(ctx context.Context) ErrorBody {
	return ErrorBody{RequestID(ctx), e.Code, e.Message, e.Recommend}
}

// Failure is an entry of the catalogue: what a page is told of one kind of failure, and what the
// operator can do about it. {1} and so on stand for the values that New is given.
type Failure struct {
	Kind      Kind
	Code      string // the vendor's where the vendor has one
	Message   string // one sentence for the page
	Recommend string // what the caller can do, may be empty
	Fix       string // what the operator can do, for the log alone
}

// The catalogue: every sentence that a page may see stands here, so that somebody can proof-read or
// translate all of them. A caller's mistake names the parameter and the allowed values.
var (
	// What a caller sends, and cannot be read.

	ErrNotJSON      = entry(Invalid, "The body must be one JSON object of parameters.")
	ErrBodyBrokeOff = entry(Invalid, "The body broke off.")
	ErrQuery        = entry(Invalid, "The query cannot be read: encode its values.")
	ErrQueryOfPost  = entry(Invalid, "A POST takes parameters in the body, none in the query.")
	ErrEvent        = entry(Invalid, "The event is not an HTTP request: {1}")
	ErrTooLarge     = entry(TooLarge, "The body may have at most {1} bytes.")
	ErrMediaType    = entry(MediaType, "Send JSON, with Content-Type: application/json.")
	ErrMethod       = entry(MethodNotAllowed, "Use {1}.",
		"The GET of a page built on the vendor's quick start needs quickStart: true in the policy.")
	ErrMethodWithProof = entry(MethodNotAllowed,
		"A request with a proof is a POST: gateways log the URL of a GET.")
	ErrPasswordInURL = argument("Password", "Password takes a POST: gateways log URLs.")

	// Parameters: {1} is the name of one, of a member such as User.Name, or "The body".

	ErrParameterNotJSON = entry(Invalid,
		"Specified parameter JSON parsing error, {1} is not valid.").
		coded("InvalidJSON parsing error, {1}")
	ErrNotUnicode    = argument("{1}", "{1} must be UTF-8 text, without halves of surrogate pairs.")
	ErrTooMany       = argument("{1}", "{1} must have at most {2} levels and {3} values.")
	ErrRepeated      = argument("{1}", "{1} is sent more than once.")
	ErrUnknown       = argument("{1}", "{1} is not a known parameter.", "Use {2}.")
	ErrUnknownMember = argument("{1}", "{2} is not a known member of {1}.", "Use {3}.")
	ErrNotText       = argument("{1}", "{1} takes text in quotes.")
	ErrNotTruth      = argument("{1}", "{1} takes true or false.")
	ErrNotWhole      = argument("{1}", "{1} takes a whole number.")
	ErrNotNumber     = argument("{1}", "{1} takes a number.")
	ErrLong          = argument("{1}", "{1} must be at most {2} bytes of text.")
	ErrText          = argument("{1}",
		"{1} must be at most {2} bytes of text without control characters.")
	ErrStructure    = argument("{1}", "{1} must be at most {2} bytes of JSON.")
	ErrPreviewPages = entry(Invalid, "Specified parameter PreviewPages is not valid.",
		"Send a whole number from 1 to 5000.").coded("InvalidPreviewPages")
	ErrFilename       = argument("Filename", `Filename must be one name without / or \.`)
	ErrFilenameFormat = argument("Filename", "Filename must end in a supported extension: {1}.")
	ErrWatermarkType  = argument("Watermark", "Watermark.Type must be 0 (none) or 1 (text).")
	ErrSourceURI      = argument("SourceURI", "SourceURI must have the form oss://bucket/object,"+
		" the bucket in 3 to 63 of a-z, 0-9 and -.")
	ErrKey = argument("SourceURI",
		"SourceURI's object must be 1 to {1} bytes of UTF-8 text.")
	ErrKeyCharacter = argument("SourceURI", "SourceURI's object must not contain {1}.",
		`Send the key as plain text, not encoded, without \ ? #, control and invisible characters.`)
	ErrKeySegment = argument("SourceURI",
		"SourceURI's object must not have empty, . or .. segments.")
	ErrKeySpace = argument("SourceURI",
		"SourceURI's object must not have white space ({1}) at a segment's ends.")
	ErrFormat = argument("SourceURI", "SourceURI's object must end in a supported extension: {1}.",
		"A Filename gives one to an object only where the policy sets or accepts Filename.")
	ErrMissing      = entry(Invalid, "{1} is required.", "Send {2}.").coded("Missing{1}")
	ErrRefreshToken = argument("RefreshToken",
		"RefreshToken is not one that these functions gave for this AccessToken and caller.",
		"Call generate once.")

	// Who may do what.

	ErrUnauthenticated = entry(Unauthenticated, "This needs a proof of identity that is valid now.",
		"Sign in again, or ask for a new link.")
	ErrForbidden = entry(Forbidden, "You may not open this document.",
		"Ask whoever runs this site, with the RequestId.")
	ErrUnfilled = entry(Forbidden, ErrForbidden.Message, ErrForbidden.Recommend,
		"the rule matches, but its `set` cannot be filled for this caller: let the issuer send"+
			" the claim, or ask for it in `callers`")
	ErrOrigin = entry(Forbidden, "Pages of this origin may not call this function.",
		"Add the page's origin to `origins` in the policy.").coded("Forbidden.Origin")
	ErrPolicyAlone = entry(Forbidden, "{1} is set by the policy alone.",
		"Leave {1} out. A caller may send {2}.").coded("Forbidden.{1}")
	ErrPolicyFixed = entry(Forbidden, "{1} is fixed by the policy.", "Leave {1} out.").
			coded("Forbidden.{1}")
	ErrPolicyPages = entry(Forbidden, "PreviewPages may be 1 to {1} for this document.",
		"Leave PreviewPages out.").coded("Forbidden.PreviewPages")
	ErrSessionEnded = entry(SessionEnded, "This document has been open for as long as it may be.",
		"Open it anew.")
	ErrThrottled = entry(Throttled, "Too many requests. Try again later.")

	// What fails behind the functions.

	ErrInternal = entry(Internal,
		"The function failed. Try again, and report the RequestId if it stays so.")
	ErrCredentials = entry(Unavailable, "Documents cannot be opened at the moment. Try again"+
		" later, and report the RequestId if it stays so.", "", "{1}")
	ErrIssuer = entry(Unavailable,
		"Proofs of identity cannot be checked at the moment. Try again in a few seconds.", "",
		"The keys of issuer {1} cannot be read: see that the function reaches its {2}, or name its"+
			" key set in `keys`.")
	ErrIMMUnreached = entry(Unavailable, "The document service cannot be reached. Try again.", "",
		"check WEBOFFICE_REGION and WEBOFFICE_IMM_ENDPOINT, and that the function may reach the"+
			" network")
	ErrIMMLate        = entry(Timeout, "The document service did not answer in time. Try again.")
	ErrIMMUnusable    = entry(BadGateway, "The document service gave no usable answer. Try again.")
	ErrIMMFailed      = entry(BadGateway, "The document service failed. Try again.")
	ErrIMMUnavailable = entry(Unavailable, ErrIMMFailed.Message)
	ErrIMMTimeout     = entry(Timeout, ErrIMMFailed.Message)
	ErrIMMBusy        = entry(Throttled, "The document service is busy. Try again in a moment.")
	ErrIMMCredentials = entry(Unavailable,
		"The document service cannot be used at the moment. Try again.", "",
		"IMM refused the function's credentials: check its role and that its clock is right")
	ErrIMMDocument = entry(NotFound, "The document was not found.")
	ErrIMMRefused  = entry(Invalid, "IMM refused a parameter.")

	// {1} is the region, {2} the project.
	ErrIMMRight = misconfigured(`add to the function's RAM role: {"Effect":"Allow","Action":[` +
		`"imm:GenerateWebofficeToken","imm:RefreshWebofficeToken"],` +
		`"Resource":"acs:imm:{1}:*:project/{2}"}`)
	ErrIMMProject = misconfigured("IMM knows no project {2} in {1}: check `project` in the" +
		" policy, WEBOFFICE_PROJECT and WEBOFFICE_REGION")
	ErrIMMNotActive = misconfigured("activate Intelligent Media Management in this region, and" +
		" see that the account is not in arrears")
)

// misconfigured is an entry for what the operator alone can mend.
func misconfigured(fix string) Failure {
	return entry(BadGateway, "The document service is not set up correctly. Whoever runs this site"+
		" finds the remedy in the function's log, under the RequestId.", "", fix).
		coded("ServiceMisconfigured")
}

// argument is an entry for a parameter that cannot be used as it is sent.
func argument(name, message string, recommend ...string) Failure {
	return entry(Invalid, message, recommend...).coded("InvalidArgument." + name)
}

func entry(kind Kind, message string, recommendAndFix ...string) Failure {
	rest := append(recommendAndFix, "", "")
	return Failure{kind, kind.Code, message, rest[0], rest[1]}
}

func (f Failure) coded(code string) Failure { f.Code = code; return f }

// of is New for a parameter, for a member of what path names, as User.Name, or for the body, where
// both are empty. The code names the parameter alone.
func (f Failure) of(path, name string, values ...any) *Error {
	path = strings.Trim(path+"."+name, ".")
	parameter, _, _ := strings.Cut(path, ".")
	e := f.New(append([]any{cmp.Or(path, "The body")}, values...)...)
	e.Code = strings.TrimSuffix(strings.Replace(f.Code, "{1}", parameter, 1), ".")
	return e
}

// New makes an error of the entry, with its values filled in.
func (f Failure) New(values ...any) *Error { return f.Because(nil, values...) }

// Because is New with a cause, for the log.
func (f Failure) Because(cause error, values ...any) *Error {
	var pairs []string
	for i, value := range values {
		pairs = append(pairs, fmt.Sprintf("{%d}", i+1), fmt.Sprint(value))
	}
	filled := strings.NewReplacer(pairs...).Replace
	return &Error{Kind: f.Kind, Code: filled(f.Code), Message: filled(f.Message),
		Recommend: filled(f.Recommend), Fix: filled(f.Fix), Cause: cause}
}
