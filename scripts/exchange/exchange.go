// Package exchange is how smoke and doctor ask the functions: requests, what must come back
// (cases.yaml), and what is wrong with what came. Errors hold no URL, whose query may be a secret.
package exchange

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/scripts/command"
	"weboffice-functions/shared/weboffice"
)

// Exchange is a request and what must come back, an entry of cases.yaml.
type Exchange struct {
	Name, Needs, Want, Method, Body    string
	Header                             map[string]string
	Stranger, Refresh, Gateway, Doctor bool
}

//go:embed cases.yaml
var files embed.FS

// Cases returns what is in cases.yaml.
func Cases() Groups { return command.Data[Groups](files, "cases.yaml") }

// Groups are what is sent in turn; cases.yaml says what each is for.
type Groups struct{ Addresses, Refusals, Opening, Session []Exchange }

// Functions are those that are asked.
type Functions struct {
	Generate, Refresh string            // their URLs
	Token             weboffice.Secret  // the caller's proof, or ""
	Names             map[string]string // what cases are filled with
	Client            *http.Client
}

// NewClient returns a client that follows no redirect.
func NewClient(timeout time.Duration) *http.Client {
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Timeout: timeout, CheckRedirect: stay}
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   Body
}

// Body has what the functions answer with, tokens or a refusal.
type Body struct {
	RequestId, Code, Message, WebofficeURL, AccessToken, RefreshToken, AccessTokenExpiredTime,
	RefreshTokenExpiredTime string
	Timeout    int64 // milliseconds
	Permission *struct{ Readonly bool }
}

func (a Answer) String() string {
	return strings.TrimSpace(strconv.Itoa(a.Status) + " " + a.Body.Code)
}

// Each fills cases and sends them in turn: those for which there are a URL and what they need.
func (f *Functions) Each(ctx context.Context, cases []Exchange,
	came func(e Exchange, got Answer, err error)) {
	fill := func(text string) string {
		return os.Expand(text, func(name string) string { return f.Names[name] })
	}
	for _, e := range cases {
		if f.Address(e) == "" || e.Needs != "" && f.Names[e.Needs] == "" {
			continue
		}
		e.Body, e.Header = fill(e.Body), maps.Clone(e.Header)
		for name, value := range e.Header {
			e.Header[name] = fill(value)
		}
		got, err := f.Send(ctx, e)
		came(e, got, err)
	}
}

// Address is the URL that an exchange goes to.
func (f *Functions) Address(e Exchange) string {
	if e.Refresh {
		return f.Refresh
	}
	return f.Generate
}

// Send sends a request, and once more when it came too early for the policy's limits, after the
// wait that the answer asks for.
func (f *Functions) Send(ctx context.Context, e Exchange) (Answer, error) {
	got, err := f.attempt(ctx, e)
	seconds, bad := strconv.Atoi(got.Header.Get("Retry-After"))
	if got.Status != http.StatusTooManyRequests || bad != nil || seconds < 0 || seconds > 60 {
		return got, err
	}
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
		return f.attempt(ctx, e)
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// Safe says whether proofs may travel to an address.
func Safe(address string) bool {
	at, err := url.Parse(address)
	return err == nil && at.Host != "" &&
		(at.Scheme == "https" || weboffice.Loopback(at.Hostname()))
}

var codeForm = regexp.MustCompile(`^[A-Za-z0-9.]{1,80}$`)

func (f *Functions) attempt(ctx context.Context, e Exchange) (got Answer, err error) {
	request, err := http.NewRequestWithContext(ctx, cmp.Or(e.Method, http.MethodPost), f.Address(e),
		strings.NewReader(e.Body))
	if err != nil || !Safe(f.Address(e)) {
		return got, errors.New("its URL is not https, and proofs travel there")
	}
	request.Header.Set("Content-Type", "application/json")
	if !e.Stranger && f.Token != "" {
		request.Header.Set("Authorization", "Bearer "+f.Token.Reveal())
	}
	for name, value := range e.Header {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := f.Client.Do(request)
	if err != nil {
		if found, ok := errors.AsType[*url.Error](err); ok {
			err = found.Err
		}
		return got, fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	got.Status, got.Header = response.StatusCode, response.Header
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if len(bytes.TrimSpace(body)) > 0 && json.Unmarshal(body, &got.Body) != nil && err == nil {
		err = errors.New("the answer is no JSON")
	}
	if !codeForm.MatchString(got.Body.Code) {
		got.Body.Code = "" // a gateway's, or one for terminals
	}
	return got, err
}

// Expected says whether the status is one that must come back, and the code.
func (e Exchange) Expected(got Answer) bool {
	wanted := strings.Fields(e.Want)
	code := wanted[len(wanted)-1]
	return slices.Contains(wanted, strconv.Itoa(got.Status)) &&
		(code[0] <= '9' || got.Body.Code == code)
}

// Wrong says what is wrong with what came back; "" is nothing.
func (e Exchange) Wrong(got Answer, err error) string {
	has := func(name, value string) bool {
		return strings.Contains(strings.ToLower(strings.Join(got.Header.Values(name), ",")), value)
	}
	switch origin := e.Header["Origin"]; {
	case !e.Expected(got) && err != nil:
		return "expected " + e.Want + ": " + err.Error()
	case !e.Expected(got):
		return "expected " + e.Want
	case !has("Cache-Control", "no-store") && !(e.Gateway && got.Status == http.StatusForbidden):
		return "expected Cache-Control: no-store"
	case origin != "" && got.Body.Code != "Forbidden.Origin" &&
		got.Header.Get("Access-Control-Allow-Origin") != origin,
		got.Status == http.StatusNoContent && (!has("Vary", "origin") ||
			!has("Access-Control-Allow-Methods", "post") ||
			!has("Access-Control-Allow-Headers", "authorization") ||
			!has("Access-Control-Allow-Headers", "content-type")):
		return "expected CORS for this origin, POST, Authorization and Content-Type"
	}
	return ""
}
