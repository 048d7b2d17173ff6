package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weboffice-functions/scripts/exchange"
)

// result is what one case gave.
type result struct {
	Case   string
	Got    string // status and code
	Failed string // "" when it is as it must be
}

// run goes through all cases in turn.
func (t *target) run(ctx context.Context) []result {
	cases := exchange.Cases()
	document, _ := json.Marshal(t.document) // a text always marshals
	bucket, _, _ := strings.Cut(strings.TrimPrefix(t.document, "oss://"), "/")
	t.Names = map[string]string{"document": strings.Trim(string(document), `"`), "bucket": bucket,
		"origin": t.origin, "ours": cmp.Or(t.origin, "https://docs.example.com"),
		"token": t.Token.Reveal(), "now": strconv.FormatInt(time.Now().UnixNano(), 10),
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
	b := got.Body
	complete := check("the answer has the vendor's fields, Timeout and Permission",
		fmt.Sprintf("Timeout %d ms", b.Timeout),
		b.RequestId != "" && b.WebofficeURL != "" && b.AccessToken != "" && b.RefreshToken != "" &&
			b.AccessTokenExpiredTime != "" && b.RefreshTokenExpiredTime != "" && b.Timeout > 0 &&
			b.Permission != nil && b.Permission.Readonly)
	results = append(results, complete)
	if complete.Failed != "" || len(b.RefreshToken) < sealedTail {
		return results
	}
	t.Names["access"], t.Names["refresh"] = b.AccessToken, b.RefreshToken
	t.Names["altered"] = altered(b.RefreshToken)
	t.Names["half"] = b.RefreshToken[:len(b.RefreshToken)/2]
	refreshed, got := t.each(ctx, cases.Session)
	results = append(append(results, refreshed...),
		check("an early refresh gives the same tokens", "",
			got.Body.AccessToken == b.AccessToken && got.Body.WebofficeURL == b.WebofficeURL))
	if t.local != nil {
		calls := t.local.IMM.Calls()
		results = append(results, check("all of this cost one IMM call", fmt.Sprintf("%+v", calls),
			calls.Generate == 1 && calls.Refresh == 0))
	}
	return results
}

// each sends cases, and returns the last answer too.
func (t *target) each(ctx context.Context, cases []exchange.Exchange) (results []result,
	last exchange.Answer) {
	t.Each(ctx, cases, func(e exchange.Exchange, got exchange.Answer, err error) {
		results, last = append(results, result{e.Name, got.String(), e.Wrong(got, err)}), got
	})
	return results, last
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

func check(name, got string, ok bool) result {
	r := result{Case: name, Got: got}
	if !ok {
		r.Failed = "is not so"
	}
	return r
}
