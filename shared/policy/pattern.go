package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/weboffice"
)

// pattern matches document URIs. The bucket is literal; in the key `*` stays inside one segment,
// `**` is a whole segment that stands for one or more, and `${claim}` is a whole segment that must
// equal a claim. Nothing else is special.
type pattern struct {
	text     string
	bucket   string
	segments []string // of the key, as written
	prefix   string   // literal text before anything special: a cheap first look
	claims   []string // what the segments with ${…} must equal, in their order
	// the same, as what a rule asks of its callers
	conditions []condition
	compiled   func() *regexp.Regexp
}

// maxClaim is the longest name of a claim, in bytes.
const maxClaim = 100

// checkClaim says why a policy cannot name a claim so.
func checkClaim(name string) error {
	if len(name) > maxClaim || strings.TrimSpace(name) != name ||
		strings.ContainsAny(name, "${}") || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%q is not the name of a claim: up to %d bytes, without $ { } and spaces"+
			" around it", name, maxClaim)
	}
	return caller.CheckClaimName(name)
}

// placeholder returns what a text that is one ${…} names; "" for any other text.
func placeholder(text string) string {
	if strings.HasPrefix(text, "${") && strings.HasSuffix(text, "}") {
		return text[len("${") : len(text)-len("}")]
	}
	return ""
}

// segmentsOf cuts a key at its slashes, but for those inside ${…}: claims may be named by a URL.
func segmentsOf(key string) []string {
	var segments []string
	begin, inside := 0, false
	for i := range len(key) {
		switch {
		case strings.HasPrefix(key[i:], "${"):
			inside = strings.Contains(key[i:], "}")
		case key[i] == '}':
			inside = false
		case key[i] == '/' && !inside:
			segments, begin = append(segments, key[begin:i]), i+1
		}
	}
	return append(segments, key[begin:])
}

// parsePattern reads a pattern. One that no document can match is an error.
func parsePattern(text string) (*pattern, error) {
	rest, isOSS := strings.CutPrefix(text, "oss://")
	bucket, key, found := strings.Cut(rest, "/")
	if !isOSS || !found || key == "" {
		return nil, errors.New("documents has the form oss://bucket/key, such as" +
			" oss://bucket/folder/**")
	}
	if strings.Contains(bucket, "*") || strings.Contains(bucket, "${") {
		return nil, errors.New("a bucket is literal: name one bucket in each rule")
	}
	p := &pattern{text: text, bucket: bucket, segments: segmentsOf(key)}
	probe, crossed, wrong := make([]string, len(p.segments)), false, error(nil)
	for i, segment := range p.segments {
		probe[i] = strings.ReplaceAll(segment, "*", "x")
		name := placeholder(segment)
		switch {
		case name != "" && crossed:
			wrong = fmt.Errorf("${%s} must stand before **: behind it nobody could say which"+
				" segment it is", name)
		case name != "" && checkClaim(name) != nil:
			wrong = fmt.Errorf("${%s}: %w", name, checkClaim(name))
		case name != "":
			p.claims = append(p.claims, name)
			p.conditions = append(p.conditions, segmentIs{i, name})
			probe[i] = "x"
		case strings.Contains(segment, "${"):
			wrong = errors.New("${claim} must be a whole segment, with the name of a claim:" +
				" oss://bucket/folder/${claim}/**")
		case segment == "**":
			crossed = true
		case strings.Contains(segment, "**"):
			wrong = fmt.Errorf("** is a whole segment that stands for one or more: write %s;"+
				" inside a segment use *", spread(segment))
		}
	}
	_, err := weboffice.ParseSourceURI("oss://" + bucket + "/" + strings.Join(probe, "/"))
	switch public := weboffice.AsError(err); {
	case strings.HasSuffix(key, "/"):
		return nil, fmt.Errorf("no document can match: for all of a folder write %s**",
			strings.TrimSuffix(text, "**/"))
	case err != nil:
		return nil, fmt.Errorf("no document can match: %s", public.Message)
	case wrong != nil:
		return nil, wrong
	}
	p.prefix, _, _ = strings.Cut(text, "*")
	p.prefix, _, _ = strings.Cut(p.prefix, "${")
	p.compiled = compiled(p.expression)
	return p, nil
}

// spread is how a segment with ** in it could be meant: **.pdf as **/*.pdf, draft** as draft*/**.
func spread(segment string) string {
	before, after, _ := strings.Cut(segment, "**")
	if before == "" {
		return "**/*" + strings.TrimLeft(after, "*")
	}
	return before + "*/**"
}

// compiled compiles an expression when it is first needed: most of a policy's never are.
func compiled(expression func() string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile("(?s)^(?:" + expression() + ")$")
	})
}

// match says whether uri matches, and what its key's segments are where claims must equal some.
func (p *pattern) match(uri string) (segments []string, ok bool) {
	if !strings.HasPrefix(uri, p.prefix) || !p.compiled().MatchString(uri) {
		return nil, false
	}
	if len(p.claims) > 0 {
		segments = strings.Split(uri, "/")[3:] // oss:, nothing and the bucket stand before them
	}
	return segments, true
}

// CheckLinkPattern says why a share link's documents could match nothing.
func CheckLinkPattern(documents string) error {
	p, err := parsePattern(documents)
	if err == nil && len(p.claims) > 0 {
		err = fmt.Errorf("${%s} has no claim to equal in a share link", p.claims[0])
	}
	return err
}
