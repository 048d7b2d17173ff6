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

// Between returns a key that one document pattern matches and another does not, or "" where sure
// says that there is none. Both must be patterns.
func Between(in, out string) (key string, sure bool) {
	p, errP := parsePattern(in)
	q, errQ := parsePattern(out)
	if errP != nil || errQ != nil {
		return "", false
	}
	found, sure := (&meeting{}).find([]*rule{documents(p)}, []*rule{documents(q)})
	if found == nil {
		return "", sure
	}
	return found.Document.Key, true
}

// Apart says whether two document patterns surely have no document in common.
func Apart(one, other string) bool {
	p, _ := parsePattern(one)
	q, _ := parsePattern(other)
	both, sure := (&meeting{}).find([]*rule{documents(p), documents(q)}, nil)
	return both == nil && sure
}
