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
	refresh bool // to refresh instead of generate
	method  string
	header  map[string]string
	body    string
	proof   bool  // with the caller's proof
	status  []int // any of them
	code    string
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

// refusals are requests that must not open anything.
func (t *target) refusals() []exchange {
	good := fmt.Sprintf(`{"SourceURI":%q}`, t.document)
	bucket, _, _ := strings.Cut(strings.TrimPrefix(t.document, "oss://"), "/")
	in := func(key string) string {
		return fmt.Sprintf(`{"SourceURI":%q}`, "oss://"+bucket+"/"+
			key)
	}
	none := "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwic3ViIjoiYW5uIn0."
	nobody := fmt.Sprintf("no-such-document-%d.docx", time.Now().UnixNano())
	cases := []exchange{
		{name: "a foreign origin", header: map[string]string{"Origin": "https://evil.example"},
			body: good, proof: true, status: []int{403}, code: "Forbidden.Origin"},
		{name: "an origin that ends like ours",
			header: map[string]string{"Origin": cmp.Or(t.origin, "https://docs.example.com") +
				".evil.example"}, body: good, status: []int{403}, code: "Forbidden.Origin"},
		{name: "the origin null", header: map[string]string{"Origin": "null"}, body: good,
			status: []int{403}, code: "Forbidden.Origin"},
		{name: "a preflight from a foreign origin", method: "OPTIONS",
			header: map[string]string{"Origin": "https://evil.example",
				"Access-Control-Request-Method": "POST"}, status: []int{403},
			code: "Forbidden.Origin"},
		{name: "an image on another site", method: "GET",
			header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
			status: []int{403}, code: "Forbidden.Origin"},
		{name: "PUT", method: "PUT", body: good, proof: true, status: []int{405, 403},
			gateway: true},
		{name: "a bad proof", header: map[string]string{"Authorization": "Bearer nonsense"},
			body: good, status: []int{401}, code: "Unauthenticated"},
		{name: "a proof that says alg none", header: map[string]string{"Authorization": none},
			body: good, status: []int{401}, code: "Unauthenticated"},
		{name: "another scheme", header: map[string]string{"Authorization": "Basic YW5uOmFubg=="},
			body: good, status: []int{401}, code: "Unauthenticated"},
		{name: "a bad proof before a bad body",
			header: map[string]string{"Authorization": "Bearer nonsense",
				"Content-Type": "text/plain"}, body: "x", status: []int{401},
			code: "Unauthenticated"},
		{name: "text instead of JSON", header: map[string]string{"Content-Type": "text/plain"},
			body: good, proof: true, status: []int{415}, code: "UnsupportedMediaType"},
		{name: "a body of 1 MB", body: `{"SourceURI":"` + strings.Repeat("x", 1<<20) + `"}`,
			proof: true, status: []int{413}},
		{name: "half a JSON object", body: `{"SourceURI":`, proof: true, status: []int{400},
			code: "InvalidArgument"},
		{name: "no SourceURI", body: `{}`, proof: true, status: []int{400},
			code: "MissingSourceURI"},
		{name: "an unknown parameter", body: strings.TrimSuffix(good, "}") + `,"Readonly":true}`,
			proof: true, status: []int{400}, code: "InvalidArgument.Readonly"},
		{name: "SourceURI in other case too", body: strings.TrimSuffix(good, "}") +
			`,"sourceuri":"oss://x"}`, proof: true, status: []int{400},
			code: "InvalidArgument.sourceuri"},
		{name: "SourceURI twice", body: strings.TrimSuffix(good, "}") + "," +
			strings.TrimPrefix(good, "{"), proof: true, status: []int{400},
			code: "InvalidArgument.SourceURI"},
		{name: "PreviewPages 0", body: strings.TrimSuffix(good, "}") + `,"PreviewPages":0}`,
			proof: true, status: []int{400}, code: "InvalidPreviewPages"},
		{name: "a way out of the folder", body: in("x/../y.docx"), proof: true, status: []int{400},
			code: "InvalidArgument.SourceURI"},
		{name: "an encoded way out", body: in("x%2F..%2Fy.docx"), proof: true, status: []int{400},
			code: "InvalidArgument.SourceURI"},
		{name: "another bucket", body: `{"SourceURI":"oss://no-such-bucket-of-ours/a.docx"}`,
			proof: true, status: []int{401, 403}},
		{name: "a document that is not there", body: in(nobody), proof: true,
			status: []int{401, 403, 404}},
		{name: "somebody else's role", body: strings.TrimSuffix(good, "}") +
			`,"CredentialConfig":{"ServiceRole":"admin"}}`, proof: true, status: []int{403},
			code: "Forbidden.CredentialConfig"},
		{name: "refresh without tokens", refresh: true, body: `{}`, proof: true,
			status: []int{400}},
		{name: "refresh with invented tokens", refresh: true,
			body: `{"AccessToken":"a","RefreshToken":"AXlr9weXbZ-OtHlr"}`, proof: true,
			status: []int{400}, code: "InvalidArgument.RefreshToken"},
		{name: "refresh with a bad proof", refresh: true,
			header: map[string]string{"Authorization": "Bearer nonsense"},
			body:   `{"AccessToken":"a","RefreshToken":"b"}`, status: []int{401},
			code: "Unauthenticated"},
		{name: "refresh from a foreign origin", refresh: true,
			header: map[string]string{"Origin": "https://evil.example"}, body: `{}`,
			status: []int{403}, code: "Forbidden.Origin"},
	}
	if t.token != "" {
		cases = append(cases, exchange{name: "no proof for a document that is in no way open",
			body: `{"SourceURI":"oss://no-such-bucket-of-ours/a.docx"}`, status: []int{401},
			code: "Unauthenticated"})
	}
	return cases
}

// run goes through all cases in turn.
func (t *target) run(ctx context.Context) []result {
	var results []result
	for _, e := range t.refusals() {
		got, err := t.send(ctx, e)
		results = append(results, judge(e, got, err))
	}
	if t.local != nil {
		calls := t.local.IMM.Calls()
		results = append(results, check("refusals cost no IMM call", fmt.Sprintf("%+v", calls),
			calls.Generate+calls.Refresh == 0))
	}
	if t.origin != "" {
		e := exchange{name: "a preflight", method: "OPTIONS",
			header: map[string]string{"Origin": t.origin, "Access-Control-Request-Method": "POST"},
			status: []int{204}}
		got, err := t.send(ctx, e)
		r := judge(e, got, err)
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
	open := exchange{name: "generate", body: fmt.Sprintf(
		`{"SourceURI":%q,"Permission":{"Readonly":true}}`, t.document), proof: true,
		status: []int{200}}
	first, err := t.send(ctx, open)
	results := []result{judge(open, first, err)}
	if results[0].Failed != "" {
		return results
	}
	b := first.body
	results = append(results, check("the answer has the vendor's fields, Timeout and Permission",
		fmt.Sprintf("Timeout %d ms", b.Timeout),
		b.RequestId != "" && b.WebofficeURL != "" && b.AccessToken != "" && b.RefreshToken != "" &&
			b.AccessTokenExpiredTime != "" &&
			b.RefreshTokenExpiredTime != "" && b.Timeout > 0 && b.Permission != nil &&
			b.Permission.Readonly))
	if results[1].Failed != "" || len(b.RefreshToken) < sealedTail {
		return results
	}
	tokens := func(access, refresh string) string {
		// texts always marshal
		body, _ := json.Marshal(map[string]string{"AccessToken": access, "RefreshToken": refresh})
		return string(body)
	}
	refused := []exchange{
		{name: "a sealed token with one letter changed",
			body: tokens(b.AccessToken, altered(b.RefreshToken))},
		{name: "a sealed token cut short",
			body: tokens(b.AccessToken, b.RefreshToken[:len(b.RefreshToken)/2])},
		{name: "a sealed token with a foreign AccessToken",
			body: tokens(b.AccessToken+"0", b.RefreshToken)},
	}
	if t.token != "" {
		refused = append(refused, exchange{name: "a sealed token without its caller",
			body: tokens(b.AccessToken, b.RefreshToken)})
	}
	for i, e := range refused {
		e.refresh, e.proof, e.status, e.code = true, i < 3, []int{400},
			"InvalidArgument.RefreshToken"
		got, err := t.send(ctx, e)
		results = append(results, judge(e, got, err))
	}
	early := exchange{name: "refresh", refresh: true, body: tokens(b.AccessToken, b.RefreshToken),
		proof: true, status: []int{200}}
	got, err := t.send(ctx, early)
	results = append(results, judge(early, got, err),
		check("an early refresh gives the same tokens", "", got.body.AccessToken == b.AccessToken &&
			got.body.WebofficeURL == b.WebofficeURL))
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
	for name, value := range e.header {
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
	r := result{Case: e.name, Got: strings.TrimSpace(fmt.Sprintf("%d %s", got.status,
		got.body.Code))}
	switch {
	case !slices.Contains(e.status, got.status):
		r.Failed = fmt.Sprintf("expected %v %s", e.status, e.code)
		if err != nil {
			r.Failed += ": " + err.Error()
		}
	case e.code != "" && got.body.Code != e.code:
		r.Failed = "expected " + e.code
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
