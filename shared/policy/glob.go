package policy

import (
	"slices"
	"unicode"

	"weboffice-functions/shared/weboffice"
)

// A glob is a pattern of documents, or of a claim's text, as a list of tokens: the form in which
// texts can be found that match several patterns and do not match others.
type glob []token

// token is one letter, or what stands for letters.
type token struct {
	letter  rune // 0: any
	fold    bool // a letter in lower case, for which upper case counts as well
	many    bool // any number of it, none included
	segment bool // not a slash
}

var (
	anyText    = token{many: true}
	anySegment = token{many: true, segment: true}
)

func literal(text string) glob { return starred(text, token{letter: '*'}, false) }

// starred reads a text in which * stands for a token.
func starred(text string, star token, fold bool) glob {
	var g glob
	for _, r := range text {
		if r == '*' {
			g = append(g, star)
		} else {
			g = append(g, token{letter: r, fold: fold})
		}
	}
	return g
}

// glob is the pattern's key; of a ${claim} it says no more than that it is a segment.
func (p *pattern) glob() glob {
	var g glob
	for i, segment := range p.segments {
		if i > 0 {
			g = append(g, token{letter: '/'})
		}
		switch {
		case segment == "**":
			g = append(g, token{}, anyText)
		case placeholder(segment) != "":
			g = append(g, token{segment: true}, anySegment)
		default:
			g = append(g, starred(segment, anySegment, false)...)
		}
	}
	return g
}

func (t token) takes(r rune) bool {
	switch {
	case t.letter == 0:
		return !t.segment || r != '/'
	case t.fold && r >= 'A' && r <= 'Z':
		r += 'a' - 'A'
	}
	return t.letter == r
}

// A position says how far into a glob a text may have come: at[i] is before token i, the last one
// behind all of them.
type position []bool

func (g glob) start() position {
	at := make(position, len(g)+1)
	at[0] = true
	return g.pass(at)
}

func (g glob) next(at position, r rune) position {
	next := make(position, len(at))
	for i, t := range g {
		if at[i] && t.takes(r) {
			next[i] = next[i] || t.many
			next[i+1] = next[i+1] || !t.many
		}
	}
	return g.pass(next)
}

// pass passes over tokens that may stand for nothing.
func (g glob) pass(at position) position {
	for i, t := range g {
		at[i+1] = at[i+1] || at[i] && t.many
	}
	return at
}

// keyShape is where in a segment of an object's key a text ends. Only at inside may the key end.
type keyShape byte

const (
	atStart keyShape = iota
	afterDot
	afterDots
	afterSpace
	inside
	broken // no key goes on like this
)

func (s keyShape) next(r rune) keyShape {
	switch {
	case r == '/' && s == inside:
		return atStart
	case r == '/', r == ' ' && s == atStart:
		return broken
	case r == ' ':
		return afterSpace
	case r == '.' && s == atStart:
		return afterDot
	case r == '.' && s == afterDot:
		return afterDots
	}
	return inside
}

// wanted is what a text must be like: it matches one glob of each group and none of avoid.
type wanted struct {
	groups [][]glob
	avoid  []glob
	key    bool  // the text is an object's key
	gaveUp *bool // set where the search ends before all texts are judged
}

// maxStates bounds the search for a text. Patterns that people write stay far below.
const maxStates = 20_000

// text finds a shortest text, or none: "". No text that is asked for is empty.
func (w wanted) text() (text string) {
	w.search(func(s string, matched []bool) bool {
		for _, group := range w.groups {
			if !slices.Contains(matched[:len(group)], true) {
				return false
			}
			matched = matched[len(group):]
		}
		if !slices.Contains(matched, true) {
			text = s
		}
		return text != ""
	})
	return text
}

// search looks at texts, shorter ones first, until visit has seen enough. matched says which globs
// match, those of groups first. Of texts that all globs read alike it looks at one.
func (w wanted) search(visit func(text string, matched []bool) (enough bool)) {
	type state struct {
		text  string
		at    []position
		shape keyShape
	}
	all := slices.Concat(append(slices.Clone(w.groups), w.avoid)...)
	letters, first := w.letters(all), state{}
	for _, g := range all {
		first.at = append(first.at, g.start())
	}
	queue, seen := []state{first}, map[string]bool{}
	for len(queue) > 0 && len(seen) < maxStates {
		s := queue[0]
		queue = queue[1:]
		if s.shape == inside || !w.key {
			matched := make([]bool, len(all))
			for i, at := range s.at {
				matched[i] = at[len(at)-1]
			}
			if visit(s.text, matched) {
				return
			}
		}
		for _, r := range letters {
			next := state{s.text + string(r), make([]position, len(all)), s.shape.next(r)}
			key := []byte{byte(next.shape)}
			for i, g := range all {
				next.at[i] = g.next(s.at[i], r)
				for _, reached := range next.at[i] {
					if reached {
						key = append(key, 1)
					} else {
						key = append(key, 0)
					}
				}
			}
			if !seen[string(key)] && (next.shape != broken || !w.key) && w.alive(next.at) {
				seen[string(key)] = true
				queue = append(queue, next)
			}
		}
	}
	*w.gaveUp = *w.gaveUp || len(queue) > 0
}

// alive says whether a text may still come to match one glob of each group.
func (w wanted) alive(at []position) bool {
	for _, group := range w.groups {
		if !slices.Contains(slices.Concat(at[:len(group)]...), true) {
			return false
		}
		at = at[len(group):]
	}
	return true
}

// letters are those between which the globs tell, and one that stands for all others. It comes
// first, so that texts read well.
func (w wanted) letters(all []glob) []rune {
	var letters []rune
	for _, t := range slices.Concat(all...) {
		letters = append(letters, t.letter)
		if t.fold && t.letter >= 'a' && t.letter <= 'z' {
			letters = append(letters, t.letter+'A'-'a')
		}
	}
	if w.key {
		letters = append(letters, '/')
	}
	letters = slices.DeleteFunc(letters, func(r rune) bool {
		_, err := weboffice.ParseSourceURI("oss://any/a" + string(r) + "a")
		return r == 0 || w.key && err != nil
	})
	slices.SortFunc(letters, func(a, b rune) int { // upper case last, for it reads worse
		if upper := unicode.IsUpper(a); upper != unicode.IsUpper(b) {
			return map[bool]int{true: 1, false: -1}[upper]
		}
		return int(a - b)
	})
	other := 'a'
	for slices.Contains(letters, other) {
		if other++; other > 'z' {
			other = max(other, '一')
		}
	}
	return append([]rune{other}, slices.Compact(letters)...)
}
