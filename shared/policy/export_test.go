package policy

// Match says whether a document pattern matches a URI, with any claims. The error is why it is no
// pattern.
func Match(text, uri string) (bool, error) {
	p, err := parsePattern(text)
	if err != nil {
		return false, err
	}
	_, ok := p.match(uri)
	return ok, nil
}

// Covers says whether one document pattern covers another. Both must be patterns.
func Covers(a, b string) bool {
	p, errP := parsePattern(a)
	q, errQ := parsePattern(b)
	l := linter{kinds: []*meeting{{known: map[string]string{}}}}
	return errP == nil && errQ == nil && l.covers(&rule{pattern: p}, &rule{pattern: q})
}
