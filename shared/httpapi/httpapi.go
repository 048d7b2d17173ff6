// Package httpapi is the edge: what every request passes before a use case sees it, and the one
// table and the one writer that turn a result into HTTP.
//
// The order is always the same: recover, request id and log, CORS, method, caller, size, decode,
// use. Proof comes before the body, so that nobody makes the function read or parse without one
// where the policy asks for it, and a bad proof is a 401 everywhere, also where anyone may enter.
package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/shared/broker"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// MaxBody is the largest request body in bytes; an ordinary one has a few hundred, a refresh 2,000.
const MaxBody = 64 << 10

// Edge is what the functions share at the edge. All fields are required but QuickStart.
type Edge struct {
	Origins    []string // exact
	QuickStart bool     // serve GET with query parameters, to guests
	Verifier   *caller.Verifier
	Limits     *broker.Limits
	Now        func() time.Time
	Logger     *slog.Logger
}

// Endpoint is one function, with its name for the log: Decode reads its parameters from a JSON
// body, or from the one that the query of a GET stands for, Use does the work.
type Endpoint[T any] struct {
	Edge   *Edge
	Name   string
	Decode func(body []byte) (T, error)
	Use    func(context.Context, broker.Visitor, T) (broker.Answer, error)
}

// ServeHTTP implements http.Handler; any path is served.
func (e Endpoint[T]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := e.Edge.Now()
	ctx := r.Context()
	if weboffice.RequestID(ctx) == "" {
		ctx = weboffice.WithRequestID(ctx, weboffice.NewRequestID())
		r = r.WithContext(ctx)
	}
	defer func() {
		if p := recover(); p != nil {
			weboffice.LogPanic(ctx, e.Edge.Logger, p)
			writeError(w, ctx, weboffice.AsError(errors.New("panic")))
		}
	}()
	used, err := e.serve(w, r)
	if err != nil {
		writeError(w, ctx, err)
	}
	if !used { // the use case logs what reached it
		e.Edge.log(ctx, e.Name, r, err, e.Edge.Now().Sub(start))
	}
}

func (e Endpoint[T]) serve(w http.ResponseWriter, r *http.Request) (used bool, err error) {
	if err := e.Edge.admit(w, r); err != nil || r.Method == http.MethodOptions {
		return false, err
	}
	visitor, err := e.Edge.visitor(r)
	if err != nil {
		return false, err
	}
	if visitor.Guest() {
		// Nobody pays for what a refused guest's request costs: before it is read, see whether its
		// address was refused over and over. Whoever bears a proof there is not held up.
		count, over := e.Edge.Limits.AdmitStranger(e.Name, visitor.Address, e.Edge.Now())
		if over != nil {
			return false, over
		}
		defer func() {
			if refused(err) {
				count()
			}
		}()
	}
	parameters, err := e.parameters(w, r, visitor)
	if err != nil {
		return false, err
	}
	answer, err := e.Use(r.Context(), visitor, parameters)
	if err == nil {
		writeAnswer(w, r.Context(), answer)
	}
	return true, err
}

// admit lets exactly the policy's origins and the served methods pass, and answers a preflight. A
// request that a browser made for another site's page and that says no Origin (an image, a link) is
// refused too: it could read nothing, but it would be billed.
func (e *Edge) admit(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Origin")
	origins, site := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	switch {
	case len(origins) == 1 && slices.Contains(e.Origins, origins[0]):
		header.Set("Access-Control-Allow-Origin", origins[0])
		header.Set("Access-Control-Expose-Headers", "Retry-After")
	case len(origins) > 0, len(site) > 0 && !(len(site) == 1 && site[0] == "same-origin"):
		return weboffice.ErrOrigin.New()
	}
	methods := "POST, OPTIONS"
	if e.QuickStart {
		methods = "POST, GET, OPTIONS"
	}
	if r.Method == http.MethodPost || r.Method == http.MethodGet && e.QuickStart {
		return nil
	}
	header.Set("Allow", methods)
	if r.Method != http.MethodOptions {
		return weboffice.ErrMethod.New(methods)
	}
	header.Set("Access-Control-Allow-Methods", methods)
	header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	header.Set("Access-Control-Max-Age", "86400") // a preflight is an invocation too
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// visitor verifies the proof, if there is one. Its address is the connection's, which the platform
// sets; a header could say anything.
func (e *Edge) visitor(r *http.Request) (v broker.Visitor, err error) {
	address, _ := netip.ParseAddrPort(r.RemoteAddr) // none: all such are one guest
	v.Address = address.Addr()
	proofs := r.Header.Values("Authorization")
	if len(proofs) == 0 {
		return v, nil
	}
	scheme, token, _ := strings.Cut(proofs[0], " ")
	if len(proofs) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return v, caller.Unauthenticated("Authorization is not one Bearer token")
	}
	v.Caller, err = e.Verifier.Verify(r.Context(), weboffice.Secret(token))
	return v, err
}

func (e Endpoint[T]) parameters(w http.ResponseWriter, r *http.Request, v broker.Visitor) (
	parameters T, err error) {
	var body []byte
	switch {
	case r.Method != http.MethodGet:
		body, err = readBody(w, r)
	case !v.Guest():
		w.Header().Set("Allow", "POST, OPTIONS")
		err = weboffice.ErrMethodWithProof.New()
	default:
		body, err = weboffice.BodyOf(r.URL.RawQuery)
	}
	if err != nil {
		return parameters, err
	}
	return e.Decode(body)
}

// readBody reads the body of a POST, if its head may have one.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	media, _, badMedia := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.URL.RawQuery != "":
		return nil, weboffice.ErrQueryOfPost.New()
	case r.ContentLength > MaxBody:
		return nil, weboffice.ErrTooLarge.New(MaxBody)
	case badMedia != nil || media != "application/json":
		return nil, weboffice.ErrMediaType.New()
	}
	// one allocation, of a length that was allowed above
	body := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead))
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, weboffice.ErrTooLarge.New(MaxBody)
	case err != nil:
		return nil, weboffice.ErrBodyBrokeOff.New()
	}
	return body.Bytes(), nil
}

// log writes the one line of a request that was answered before it reached a use case. Neither
// query nor header is in it.
func (e *Edge) log(ctx context.Context, function string, r *http.Request, err error,
	took time.Duration) {
	attributes := []slog.Attr{
		slog.String("requestId", weboffice.RequestID(ctx)), slog.String("function", function),
		slog.String("method", r.Method), slog.Int64("durationMs", took.Milliseconds()),
	}
	level := slog.LevelDebug // a preflight
	if err != nil {
		public := weboffice.AsError(err)
		level = slog.LevelWarn
		attributes = append(attributes, slog.String("outcome", public.Code))
		attributes = append(attributes, public.Attributes()...)
	}
	e.Logger.LogAttrs(ctx, level, "request", attributes...)
}

// answerBody is broker.Answer on the wire: Generate's own fields, Timeout and Permission.
type answerBody struct {
	RequestID               string `json:"RequestId"`
	WebofficeURL            string
	AccessToken             string
	RefreshToken            string
	AccessTokenExpiredTime  string
	RefreshTokenExpiredTime string
	Timeout                 int64 // ms
	Permission              weboffice.Permission
}

func writeAnswer(w http.ResponseWriter, ctx context.Context, a broker.Answer) {
	writeJSON(w, http.StatusOK, answerBody{
		RequestID:               weboffice.RequestID(ctx),
		WebofficeURL:            a.WebofficeURL,
		AccessToken:             a.AccessToken.Reveal(),
		RefreshToken:            a.RefreshToken.Reveal(),
		AccessTokenExpiredTime:  a.AccessTokenExpiredTime.UTC().Format(time.RFC3339Nano),
		RefreshTokenExpiredTime: a.RefreshTokenExpiredTime.UTC().Format(time.RFC3339Nano),
		Timeout:                 a.Life.Milliseconds(),
		Permission:              a.Permission,
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // a WebofficeURL has &
	_ = encoder.Encode(body)     // the client may be gone; there is nobody to tell
}

// defaultRetry is what a throttled page is told when IMM names no time.
const defaultRetry = 2 * time.Second

func writeError(w http.ResponseWriter, ctx context.Context, err error) {
	public := weboffice.AsError(err)
	if public.Kind == weboffice.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	wait := public.RetryAfter
	if wait <= 0 && public.Kind == weboffice.Throttled {
		wait = defaultRetry
	}
	if wait > 0 {
		seconds := (wait + time.Second - 1) / time.Second
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	writeJSON(w, public.Kind.Status, public.Body(ctx))
}

// refused says whether a request failed because of what it asked or how often, and not because of
// what lies behind the functions.
func refused(err error) bool {
	if err == nil {
		return false
	}
	kind := weboffice.AsError(err).Kind
	return errors.As(err, new(broker.OverLimit)) || kind.Status < 500 &&
		kind != weboffice.Throttled && kind != weboffice.NotFound
}
