package policy

import (
	"encoding/binary"
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

// bits is a set of small numbers.
type bits []uint64

func (b bits) has(i int) bool { return b[i/64]>>(i%64)&1 == 1 }
func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) empty() bool    { return !slices.ContainsFunc(b, func(w uint64) bool { return w != 0 }) }

// walker walks through a text and notes how far into a glob it may have come: place i is before
// token i, the last place behind all of them.
type walker struct {
	glob
	many  bits          // tokens that may be walked over
	takes map[rune]bits // tokens that take a letter, by letter
}

func newWalker(g glob, letters []rune) walker {
	w := walker{g, make(bits, len(g)/64+1), make(map[rune]bits, len(letters))}
	for _, r := range letters {
		w.takes[r] = make(bits, len(w.many))
	}
	for i, t := range g {
		if t.many {
			w.many.set(i)
		}
		for _, r := range letters {
			if t.takes(r) {
				w.takes[r].set(i)
			}
		}
	}
	return w
}

func (w walker) start() bits {
	at := make(bits, len(w.many))
	at.set(0)
	return w.over(at)
}

func (w walker) next(at bits, r rune) bits {
	next, carry := make(bits, len(at)), uint64(0)
	for i := range at {
		taken := at[i] & w.takes[r][i]
		step := taken &^ w.many[i]
		next[i] = taken&w.many[i] | step<<1 | carry
		carry = step >> 63
	}
	return w.over(next)
}

// over walks over tokens that may stand for nothing.
func (w walker) over(at bits) bits {
	for changed := true; changed; {
		changed = false
		carry := uint64(0)
		for i := range at {
			step := at[i] & w.many[i]
			more := at[i] | step<<1 | carry
			changed, carry = changed || more != at[i], step>>63
			at[i] = more
		}
	}
	return at
}

func (w walker) matched(at bits) bool { return at.has(len(w.glob)) }

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
		at    []bits
		shape keyShape
	}
	letters := w.letters()
	var all []walker
	first := state{}
	for _, g := range slices.Concat(append(slices.Clone(w.groups), w.avoid)...) {
		all = append(all, newWalker(g, letters))
		first.at = append(first.at, all[len(all)-1].start())
	}
	queue, seen := []state{first}, map[string]bool{}
	for len(queue) > 0 && len(seen) < maxStates {
		s := queue[0]
		queue = queue[1:]
		matched := make([]bool, len(all))
		for i, g := range all {
			matched[i] = g.matched(s.at[i])
		}
		if (s.shape == inside || !w.key) && visit(s.text, matched) {
			return
		}
		for _, r := range letters {
			next := state{s.text + string(r), make([]bits, len(all)), s.shape.next(r)}
			for i, g := range all {
				next.at[i] = g.next(s.at[i], r)
			}
			if w.key && next.shape == broken || !w.alive(next.at) {
				continue
			}
			key := []byte{byte(next.shape)}
			for _, word := range slices.Concat(next.at...) {
				key = binary.LittleEndian.AppendUint64(key, word)
			}
			if !seen[string(key)] {
				seen[string(key)] = true
				queue = append(queue, next)
			}
		}
	}
	*w.gaveUp = *w.gaveUp || len(queue) > 0
}

// alive says whether a text may still come to match one glob of each group.
func (w wanted) alive(at []bits) bool {
	for _, group := range w.groups {
		if !slices.ContainsFunc(at[:len(group)], func(b bits) bool { return !b.empty() }) {
			return false
		}
		at = at[len(group):]
	}
	return true
}

// letters are those between which the globs tell, and one that stands for all others. It comes
// first, so that texts read well.
func (w wanted) letters() []rune {
	var letters []rune
	for _, t := range slices.Concat(slices.Concat(append(slices.Clone(w.groups), w.avoid)...)...) {
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
