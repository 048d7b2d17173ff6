package policy

import (
	re "regexp/syntax"
	"slices"
	"strings"
)

// maxStates bounds the search for a text. Patterns that people write stay far below.
const maxStates = 50_000

// text finds a shortest text that matches all expressions of in and none of out, or "". No text
// that is asked for is empty.
func (m *meeting) text(in, out []string) (found string) {
	m.each(in, out, func(text, matched string) bool {
		if !strings.Contains(matched, "1") {
			found = text
		}
		return found != ""
	})
	return found
}

// each visits texts that match all of in, shorter ones first, until visit has seen enough. matched
// has a 1 for each expression of about that the text matches too, and a 0 for each other. Of texts
// that all expressions read alike it visits one. Where it has to leave some out, m gave up.
func (m *meeting) each(in, about []string, visit func(text, matched string) (enough bool)) {
	type state struct {
		text string
		from []uint32
	}
	a := automaton{named: map[rune]bool{}}
	for _, expression := range slices.Concat(in, about) {
		a.add(expression)
	}
	queue, seen := []state{{"", a.starts}}, map[string]bool{}
	for len(queue) > 0 && len(seen) < maxStates {
		s := queue[0]
		queue = queue[1:]
		at, ends := a.read(s.from)
		if strings.Contains(ends[:len(in)], "-") {
			continue
		}
		matched := strings.ReplaceAll(ends, "-", "0")
		if !strings.Contains(matched[:len(in)], "0") && visit(s.text, matched[len(in):]) {
			return
		}
		for _, letter := range a.letters(at) {
			next, key := a.after(at, letter)
			if !seen[key] {
				seen[key] = true
				queue = append(queue, state{s.text + string(letter), next})
			}
		}
	}
	m.gaveUp = m.gaveUp || len(queue) > 0
}

// automaton reads a text with several programs at once. How far they have come is a list of
// instructions.
type automaton struct {
	inst   []re.Inst // of all programs, one behind the other
	of     []int     // the number of each instruction's program
	starts []uint32  // the first instruction of each program
	named  map[rune]bool
}

// add takes an expression, in which . is any letter.
func (a *automaton) add(expression string) {
	parsed, _ := re.Parse(expression, re.Perl|re.DotNL)
	p, _ := re.Compile(parsed.Simplify())
	shift := uint32(len(a.inst))
	for _, i := range p.Inst {
		if i.Out += shift; i.Op == re.InstAlt {
			i.Arg += shift
		}
		a.inst, a.of = append(a.inst, i), append(a.of, len(a.starts))
		for _, letter := range i.Rune {
			a.named[letter] = true
		}
	}
	a.starts = append(a.starts, shift+uint32(p.Start))
}

// read follows instructions up to those that read a letter. ends has for each program a 1 where the
// text matches, a 0 where a longer one may, and a - where none will.
func (a *automaton) read(from []uint32) (at []uint32, ends string) {
	seen, matched := make([]bool, len(a.inst)), []byte(strings.Repeat("-", len(a.starts)))
	for from = slices.Clone(from); len(from) > 0; {
		pc := from[len(from)-1]
		from = from[:len(from)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch i := a.inst[pc]; i.Op {
		case re.InstAlt:
			from = append(from, i.Out, i.Arg)
		case re.InstCapture, re.InstNop:
			from = append(from, i.Out)
		default:
			at = append(at, pc)
			matched[a.of[pc]] = max(matched[a.of[pc]], '0')
			if i.Op == re.InstMatch {
				matched[a.of[pc]] = '1'
			}
		}
	}
	return at, string(matched)
}

// after lists the instructions that follow a letter, with a text that tells such lists apart.
func (a *automaton) after(at []uint32, letter rune) (next []uint32, key string) {
	for _, pc := range at {
		if a.inst[pc].MatchRune(letter) {
			next = append(next, a.inst[pc].Out)
		}
	}
	slices.Sort(next)
	next = slices.Compact(next)
	bytes := make([]byte, 0, 3*len(next))
	for _, pc := range next {
		bytes = append(bytes, byte(pc), byte(pc>>8), byte(pc>>16))
	}
	return next, string(bytes)
}

// letters are those between which the programs tell here: where a range begins, and behind its end.
// One that stands for all others comes first, so that texts read well; upper case comes last.
func (a *automaton) letters(at []uint32) []rune {
	other, here := 'a', []rune(nil)
	for _, pc := range at {
		ranges := a.inst[pc].Rune
		for j := 0; j < len(ranges); j += 2 {
			here = append(here, ranges[j], ranges[min(j+1, len(ranges)-1)]+1)
		}
	}
	slices.SortFunc(here, func(a, b rune) int { return int(b - a) })
	for a.named[other] {
		if other++; other > 'z' {
			other = max(other, '一')
		}
	}
	return append([]rune{other}, slices.Compact(here)...)
}
