package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"weboffice-functions/shared/weboffice"
)

// pattern matches document URIs. The bucket is literal; in the key `*` stays inside one segment,
// `**` is a whole segment that stands for one or more, and `${claim}` is a whole segment that must
// equal a claim. Nothing else is special.
type pattern struct {
	segments []string // of the key, as written
	bucket   string
	prefix   string // literal text before anything special: a cheap first look
	// anchored on both sides; one group for each claim. Made when a document first has the prefix
	compiled func() *regexp.Regexp
	claims   []string // what each group must equal
}

// maxClaim is the longest name of a claim in a ${…}, in bytes.
const maxClaim = 100

var claimName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:/-]*$`)

// placeholder returns what a text that is one ${…} names; false for any other text.
func placeholder(text string) (name string, ok bool) {
	name, opened := strings.CutPrefix(text, "${")
	name, closed := strings.CutSuffix(name, "}")
	return name, opened && closed && len(name) <= maxClaim && claimName.MatchString(name)
}

// parsePattern compiles the pattern. A pattern that no document can match is an error.
func parsePattern(text string) (*pattern, error) {
	rest, isOSS := strings.CutPrefix(text, "oss://")
	bucket, key, found := strings.Cut(rest, "/")
	if !isOSS || !found || key == "" {
		return nil, errors.New("a document pattern has the form oss://bucket/key")
	}
	if strings.Contains(bucket, "*") {
		return nil, errors.New("a bucket is literal: name one bucket in each rule")
	}
	p := &pattern{bucket: bucket, segments: strings.Split(key, "/")}
	expression, probe, crossed := "", make([]string, len(p.segments)), false
	for i, segment := range p.segments {
		probe[i] = strings.ReplaceAll(segment, "*", "x")
		switch claim, isClaim := placeholder(segment); {
		case isClaim && crossed:
			return nil,
				fmt.Errorf(
					"${%s} must stand before **: behind it nobody could say which segment it is",
					claim)
		case isClaim:
			p.claims = append(p.claims, claim)
			expression += "/([^/]+)"
			probe[i] = "x"
		case strings.Contains(segment, "${"):
			return nil,
				errors.New(
					"${claim} must be a whole segment, with the name of a claim: letters, digits and _ . : -")
		case segment == "**":
			crossed = true
			expression += "/.*"
		case strings.Contains(segment, "**"):
			return nil, errors.New("** must be a whole segment; inside a segment use *")
		default:
			expression += "/" + strings.ReplaceAll(regexp.QuoteMeta(segment), `\*`, `[^/]*`)
		}
	}
	if _, err := weboffice.ParseSourceURI("oss://" + bucket + "/" +
		strings.Join(probe, "/")); err != nil {
		return nil, fmt.Errorf("no document can match: %w", err)
	}
	// of at most 1,023 quoted bytes, which always compile
	p.compiled = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile("(?s)^" + regexp.QuoteMeta("oss://"+bucket) + expression + "$")
	})
	p.prefix, _, _ = strings.Cut(text, "*")
	p.prefix, _, _ = strings.Cut(p.prefix, "${")
	return p, nil
}

// match says whether uri matches, and what each claim's segment holds.
func (p *pattern) match(uri string) (captured []string, ok bool) {
	if !strings.HasPrefix(uri, p.prefix) {
		return nil, false
	}
	if len(p.claims) == 0 {
		return nil, p.compiled().MatchString(uri)
	}
	groups := p.compiled().FindStringSubmatch(uri)
	if groups == nil {
		return nil, false
	}
	return groups[1:], true
}

// covers says whether every document that q matches is matched by p too, judged segment by segment.
// It may miss a cover, it never invents one.
func (p *pattern) covers(q *pattern) bool {
	return p.bucket == q.bucket && segmentsCover(p.segments, q.segments)
}

// segmentsCover reads a as a pattern of segments and b as its text, in which ** is one more segment
// that only a's ** can stand for.
func segmentsCover(a, b []string) bool {
	row := make([]bool, len(b)+1) // row[j]: the segments of a so far cover b[:j]
	row[0] = true
	for _, segment := range a {
		next := make([]bool, len(b)+1)
		for j, other := range b {
			next[j+1] = segment == "**" && (row[j] || next[j]) || row[j] && other != "**" &&
				textCovers(segment, other)
		}
		row = next
	}
	return row[len(b)]
}

// textCovers compares two segments or two texts of claims. b's own * is a letter that only a's *
// can stand for.
func textCovers(a, b string) bool {
	if a == "*" || a == b {
		return true
	}
	return strings.Contains(a, "*") && !strings.Contains(b, "${") && wildcard(a).MatchString(b)
}

// wildcard compiles text in which * stands for any text.
func wildcard(text string) *regexp.Regexp {
	return regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(text), `\*`, `.*`) +
		"$")
}
