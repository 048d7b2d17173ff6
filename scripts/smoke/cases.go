package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// result is what one case gave.
type result struct {
	Case   string
	Got    string // status and code
	Failed string // "" when it is as it must be
}

// exchange is one request and what must come back, an entry of cases.yaml.
type exchange struct {
	Name, Needs, Want, Method, Body string
	Header                          map[string]string
	Stranger, Refresh, Gateway      bool
}

//go:embed cases.yaml
var casesText []byte

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   struct {
		RequestId, Code, Message, WebofficeURL, AccessToken, RefreshToken, AccessTokenExpiredTime,
		RefreshTokenExpiredTime string
		Timeout    int64
		Permission *struct{ Readonly bool }
	}
}

// run goes through all cases in turn.
func (t *target) run(ctx context.Context) []result {
	var cases struct{ Refusals, Opening, Session []exchange }
	if err := yaml.Load(casesText, &cases, yaml.WithKnownFields()); err != nil {
		panic(err) // it is a part of the program
	}
	document, _ := json.Marshal(t.document) // a text always marshals
	bucket, _, _ := strings.Cut(strings.TrimPrefix(t.document, "oss://"), "/")
	t.names = map[string]string{"document": strings.Trim(string(document), `"`), "bucket": bucket,
		"origin": t.origin, "ours": cmp.Or(t.origin, "https://docs.example.com"),
		"token": t.token.Reveal(), "now": strconv.FormatInt(time.Now().UnixNano(), 10),
		"megabyte": strings.Repeat("x", 1<<20)}
	results, _ := t.each(ctx, cases.Refusals)
	if t.local != nil {
		calls := t.local.IMM.Calls()
		results = append(results, check("refusals cost no IMM call", fmt.Sprintf("%+v", calls),
			calls.Generate+calls.Refresh == 0))
	}
	opened, got := t.each(ctx, cases.Opening)
	results = append(results, opened...)
	if results[len(results)-1].Failed != "" {
		return results
	}
	b := got.body
	complete := check("the answer has the vendor's fields, Timeout and Permission",
		fmt.Sprintf("Timeout %d ms", b.Timeout),
		b.RequestId != "" && b.WebofficeURL != "" && b.AccessToken != "" && b.RefreshToken != "" &&
			b.AccessTokenExpiredTime != "" && b.RefreshTokenExpiredTime != "" && b.Timeout > 0 &&
			b.Permission != nil && b.Permission.Readonly)
	results = append(results, complete)
	if complete.Failed != "" || len(b.RefreshToken) < sealedTail {
		return results
	}
	t.names["access"], t.names["refresh"] = b.AccessToken, b.RefreshToken
	t.names["altered"] = altered(b.RefreshToken)
	t.names["half"] = b.RefreshToken[:len(b.RefreshToken)/2]
	refreshed, got := t.each(ctx, cases.Session)
	results = append(append(results, refreshed...),
		check("an early refresh gives the same tokens", "",
			got.body.AccessToken == b.AccessToken && got.body.WebofficeURL == b.WebofficeURL))
	if t.local != nil {
		calls := t.local.IMM.Calls()
		results = append(results, check("all of this cost one IMM call", fmt.Sprintf("%+v", calls),
			calls.Generate == 1 && calls.Refresh == 0))
	}
	return results
}

// each sends the cases for which the command was given enough, and returns the last answer too.
func (t *target) each(ctx context.Context, cases []exchange) (results []result, got answer) {
	for _, e := range cases {
		if e.Needs != "" && t.names[e.Needs] == "" {
			continue
		}
		var err error
		e = t.filled(e)
		got, err = t.send(ctx, e)
		results = append(results, judge(e, got, err))
	}
	return results, got
}

// filled has the target's names filled in.
func (t *target) filled(e exchange) exchange {
	fill := func(text string) string {
		return os.Expand(text, func(name string) string { return t.names[name] })
	}
	e.Body, e.Header = fill(e.Body), maps.Clone(e.Header)
	for name, value := range e.Header {
		e.Header[name] = fill(value)
	}
	return e
}

// sealedTail is how far before a sealed token's end a letter is changed: bits of the last letters
// may stand for nothing.
const sealedTail = 9

// altered is a sealed token with another letter in one place.
func altered(token string) string {
	at, other := len(token)-sealedTail, "A"
	if token[at] == 'A' {
		other = "Q"
	}
	return token[:at] + other + token[at+1:]
}

// send sends a request, and once more when it came too early for the policy's limits, after the
// wait that the answer asks for.
func (t *target) send(ctx context.Context, e exchange) (answer, error) {
	got, err := t.attempt(ctx, e)
	seconds, bad := strconv.Atoi(got.header.Get("Retry-After"))
	if got.status != http.StatusTooManyRequests || bad != nil || seconds < 0 || seconds > 60 {
		return got, err
	}
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
		return t.attempt(ctx, e)
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// withoutURL is what went wrong with a request. A *url.Error prints the URL too, and with it a
// query.
func withoutURL(err error) error {
	if found, ok := errors.AsType[*url.Error](err); ok {
		return found.Err
	}
	return err
}

func (t *target) attempt(ctx context.Context, e exchange) (answer, error) {
	address := t.generate
	if e.Refresh {
		address = t.refresh
	}
	request, err := http.NewRequestWithContext(ctx, cmp.Or(e.Method, http.MethodPost), address,
		strings.NewReader(e.Body))
	if err != nil {
		return answer{}, withoutURL(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if !e.Stranger && t.token != "" {
		request.Header.Set("Authorization", "Bearer "+t.token.Reveal())
	}
	for name, value := range e.Header {
		request.Header.Set(name, value)
	}
	response, err := t.client.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("no answer: %w", withoutURL(err))
	}
	defer response.Body.Close()
	got := answer{status: response.StatusCode, header: response.Header}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if len(bytes.TrimSpace(body)) > 0 && json.Unmarshal(body, &got.body) != nil && err == nil {
		err = fmt.Errorf("the answer is no JSON")
	}
	return got, err
}

func judge(e exchange, got answer, err error) result {
	status := strconv.Itoa(got.status)
	r := result{Case: e.Name, Got: strings.TrimSpace(status + " " + got.body.Code)}
	wanted := strings.Fields(e.Want)
	code := wanted[len(wanted)-1]
	switch isCode := code[0] > '9'; {
	case !slices.Contains(wanted, status):
		r.Failed = "expected " + e.Want
		if err != nil {
			r.Failed += ": " + err.Error()
		}
	case isCode && got.body.Code != code:
		r.Failed = "expected " + code
	case got.header.Get("Cache-Control") != "no-store" &&
		!(e.Gateway && got.status == http.StatusForbidden):
		r.Failed = "expected Cache-Control: no-store"
	case got.status == http.StatusNoContent &&
		(got.header.Get("Access-Control-Allow-Origin") != e.Header["Origin"] ||
			!slices.Contains(got.header.Values("Vary"), "Origin")):
		r.Failed = "Access-Control-Allow-Origin or Vary is missing"
	}
	return r
}

func check(name, got string, ok bool) result {
	r := result{Case: name, Got: got}
	if !ok {
		r.Failed = "is not so"
	}
	return r
}
