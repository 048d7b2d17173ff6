package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is what one case gave.
type result struct {
	Case   string
	Got    string // status and code
	Failed string // "" when it is as it must be
}

// exchange is one request and what must come back.
type exchange struct {
	name    string
	want    string // a status and a code, such as 403 Forbidden.Origin, or several statuses
	body    string
	header  string // NAME: value; NAME: value
	method  string // "" is POST
	proof   bool   // with the caller's proof
	refresh bool   // to refresh instead of generate
	// a platform's gateway may answer 403 in the function's place, with headers of its own
	gateway bool
}

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

const noOrigin, noProof = "403 Forbidden.Origin", "401 Unauthenticated"

// strangers are requests of nobody that the functions know.
func (t *target) strangers() []exchange {
	good := fmt.Sprintf(`{"SourceURI":%q}`, t.document)
	ours := cmp.Or(t.origin, "https://docs.example.com")
	none := "Authorization: Bearer eyJhbGciOiJub25lIn0." +
		"eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwic3ViIjoiYW5uIn0."
	const evil, bad = "Origin: https://evil.example", "Authorization: Bearer nonsense"
	cases := []exchange{
		{name: "a foreign origin", want: noOrigin, body: good, header: evil, proof: true},
		{name: "an origin that ends like ours", want: noOrigin, body: good,
			header: "Origin: " + ours + ".evil.example"},
		{name: "the origin null", want: noOrigin, body: good, header: "Origin: null"},
		{name: "a preflight from a foreign origin", want: noOrigin, method: "OPTIONS",
			header: evil + "; Access-Control-Request-Method: POST"},
		{name: "an image on another site", want: noOrigin, method: "GET",
			header: "Sec-Fetch-Site: cross-site; Sec-Fetch-Mode: no-cors"},
		{name: "PUT", want: "405 403", body: good, method: "PUT", proof: true, gateway: true},
		{name: "a bad proof", want: noProof, body: good, header: bad},
		{name: "a proof that says alg none", want: noProof, body: good, header: none},
		{name: "another scheme", want: noProof, body: good, header: "Authorization: Basic YW5uOmE="},
		{name: "a bad proof before a bad body", want: noProof, body: "x",
			header: bad + "; Content-Type: text/plain"},
		{name: "refresh with a bad proof", want: noProof, header: bad, refresh: true,
			body: `{"AccessToken":"a","RefreshToken":"b"}`},
		{name: "refresh from a foreign origin", want: noOrigin, header: evil, body: `{}`,
			refresh: true},
	}
	if t.token != "" {
		cases = append(cases, exchange{name: "no proof for a document that is in no way open",
			want: noProof, body: `{"SourceURI":"oss://no-such-bucket-of-ours/a.docx"}`})
	}
	return cases
}

// mistakes are requests of the caller that must not open anything.
func (t *target) mistakes() []exchange {
	good := fmt.Sprintf(`{"SourceURI":%q}`, t.document)
	with := func(more string) string { return strings.TrimSuffix(good, "}") + "," + more + "}" }
	bucket, _, _ := strings.Cut(strings.TrimPrefix(t.document, "oss://"), "/")
	in := func(key string) string { return fmt.Sprintf(`{"SourceURI":%q}`, "oss://"+bucket+"/"+key) }
	nobody := fmt.Sprintf("no-such-document-%d.docx", time.Now().UnixNano())
	cases := []exchange{
		{name: "text instead of JSON", want: "415 UnsupportedMediaType", body: good,
			header: "Content-Type: text/plain"},
		{name: "a body of 1 MB", want: "413", body: `{"a":"` + strings.Repeat("x", 1<<20) + `"}`},
		{name: "half a JSON object", want: "400 InvalidArgument", body: `{"SourceURI":`},
		{name: "more behind a JSON object", want: "400 InvalidArgument", body: good + "]"},
		{name: "no SourceURI", want: "400 MissingSourceURI", body: `{}`},
		{name: "an unknown parameter", want: "400 InvalidArgument.Readonly",
			body: with(`"Readonly":true`)},
		{name: "SourceURI in other case too", want: "400 InvalidArgument.sourceuri",
			body: with(`"sourceuri":"oss://x"`)},
		{name: "SourceURI twice", want: "400 InvalidArgument.SourceURI",
			body: with(strings.Trim(good, "{}"))},
		{name: "PreviewPages 0", want: "400 InvalidPreviewPages", body: with(`"PreviewPages":0`)},
		{name: "a way out of the folder", want: "400 InvalidArgument.SourceURI",
			body: in("x/../y.docx")},
		{name: "an encoded way out", want: "400 InvalidArgument.SourceURI",
			body: in("x%2F..%2Fy.docx")},
		{name: "another bucket", want: "401 403",
			body: `{"SourceURI":"oss://no-such-bucket-of-ours/a.docx"}`},
		{name: "a document that is not there", want: "401 403 404", body: in(nobody)},
		{name: "somebody else's role", want: "403 Forbidden.CredentialConfig",
			body: with(`"CredentialConfig":{"ServiceRole":"admin"}`)},
		{name: "refresh without tokens", want: "400", body: `{}`, refresh: true},
		{name: "refresh with invented tokens", want: "400 InvalidArgument.RefreshToken", refresh: true,
			body: `{"AccessToken":"a","RefreshToken":"AXlr9weXbZ-OtHlr"}`},
	}
	for i := range cases {
		cases[i].proof = true
	}
	return cases
}

// run goes through all cases in turn.
func (t *target) run(ctx context.Context) (results []result) {
	for _, e := range append(t.strangers(), t.mistakes()...) {
		r, _ := t.judged(ctx, e)
		results = append(results, r)
	}
	if t.local != nil {
		calls := t.local.IMM.Calls()
		results = append(results, check("refusals cost no IMM call", fmt.Sprintf("%+v", calls),
			calls.Generate+calls.Refresh == 0))
	}
	if t.origin != "" {
		r, got := t.judged(ctx, exchange{name: "a preflight", want: "204", method: "OPTIONS",
			header: "Origin: " + t.origin + "; Access-Control-Request-Method: POST"})
		if r.Failed == "" && (got.header.Get("Access-Control-Allow-Origin") != t.origin ||
			!slices.Contains(got.header.Values("Vary"), "Origin")) {
			r.Failed = "Access-Control-Allow-Origin or Vary is missing"
		}
		results = append(results, r)
	}
	return append(results, t.session(ctx)...)
}

// session opens the document, refreshes it and tries to trade its tokens.
func (t *target) session(ctx context.Context) []result {
	first, got := t.judged(ctx, exchange{name: "generate", want: "200", proof: true,
		body: fmt.Sprintf(`{"SourceURI":%q,"Permission":{"Readonly":true}}`, t.document)})
	if first.Failed != "" {
		return []result{first}
	}
	b := got.body
	complete := check("the answer has the vendor's fields, Timeout and Permission",
		fmt.Sprintf("Timeout %d ms", b.Timeout),
		b.RequestId != "" && b.WebofficeURL != "" && b.AccessToken != "" && b.RefreshToken != "" &&
			b.AccessTokenExpiredTime != "" && b.RefreshTokenExpiredTime != "" && b.Timeout > 0 &&
			b.Permission != nil && b.Permission.Readonly)
	results := []result{first, complete}
	if complete.Failed != "" || len(b.RefreshToken) < sealedTail {
		return results
	}
	tokens := func(access, refresh string) string {
		// texts always marshal
		body, _ := json.Marshal(map[string]string{"AccessToken": access, "RefreshToken": refresh})
		return string(body)
	}
	const refused = "400 InvalidArgument.RefreshToken"
	cases := []exchange{
		{name: "a sealed token with one letter changed", want: refused, proof: true,
			body: tokens(b.AccessToken, altered(b.RefreshToken))},
		{name: "a sealed token cut short", want: refused, proof: true,
			body: tokens(b.AccessToken, b.RefreshToken[:len(b.RefreshToken)/2])},
		{name: "a sealed token with a foreign AccessToken", want: refused, proof: true,
			body: tokens(b.AccessToken+"0", b.RefreshToken)},
	}
	if t.token != "" {
		cases = append(cases, exchange{name: "a sealed token without its caller", want: refused,
			body: tokens(b.AccessToken, b.RefreshToken)})
	}
	cases = append(cases, exchange{name: "refresh", want: "200", proof: true,
		body: tokens(b.AccessToken, b.RefreshToken)})
	for _, e := range cases {
		e.refresh = true
		var r result
		r, got = t.judged(ctx, e)
		results = append(results, r)
	}
	results = append(results, check("an early refresh gives the same tokens", "",
		got.body.AccessToken == b.AccessToken && got.body.WebofficeURL == b.WebofficeURL))
	if t.local != nil {
		calls := t.local.IMM.Calls()
		results = append(results, check("all of this cost one IMM call", fmt.Sprintf("%+v", calls),
			calls.Generate == 1 && calls.Refresh == 0))
	}
	return results
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

func (t *target) judged(ctx context.Context, e exchange) (result, answer) {
	got, err := t.send(ctx, e)
	return judge(e, got, err), got
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
	if e.refresh {
		address = t.refresh
	}
	request, err := http.NewRequestWithContext(ctx, cmp.Or(e.method, http.MethodPost), address,
		strings.NewReader(e.body))
	if err != nil {
		return answer{}, withoutURL(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if e.proof && t.token != "" {
		request.Header.Set("Authorization", "Bearer "+t.token.Reveal())
	}
	for _, line := range strings.Split(e.header, "; ") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			request.Header.Set(name, value)
		}
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
	r := result{Case: e.name, Got: strings.TrimSpace(status + " " + got.body.Code)}
	wanted := strings.Fields(e.want)
	code := wanted[len(wanted)-1]
	switch isCode := code[0] > '9'; {
	case !slices.Contains(wanted, status):
		r.Failed = "expected " + e.want
		if err != nil {
			r.Failed += ": " + err.Error()
		}
	case isCode && got.body.Code != code:
		r.Failed = "expected " + code
	case got.header.Get("Cache-Control") != "no-store" &&
		!(e.gateway && got.status == http.StatusForbidden):
		r.Failed = "expected Cache-Control: no-store"
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
