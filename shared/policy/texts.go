package policy

import (
	"fmt"
	re "regexp/syntax"
	"slices"
	"strings"
)

// This file finds texts by walking the programs of several expressions side by side, letter by
// letter. Package regexp runs such programs too, but each alone and on a text that it is given.

// maxStates bounds the search for a text, and its instructions. Patterns that people write stay far
// below.
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
		from []rune
	}
	var a automaton
	for _, expression := range slices.Concat(in, about) {
		a.add(expression)
	}
	other := 'a' // a letter that no expression names comes first, so that texts read well
	for all := fmt.Sprint(in, about); strings.ContainsRune(all, other); other++ {
		if other == 'z' {
			other = '一'
		}
	}
	queue, seen := []state{{"", a.starts}}, map[string]bool{}
	for len(queue) > 0 && len(seen)+len(a.inst) < maxStates {
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
		for _, letter := range append([]rune{other}, a.letters(at)...) {
			next := a.after(at, letter)
			if !seen[string(next)] {
				seen[string(next)] = true
				queue = append(queue, state{s.text + string(letter), next})
			}
		}
	}
	m.gaveUp = m.gaveUp || len(queue) > 0
}

// automaton reads a text with several programs at once. How far they have come is a list of numbers
// of instructions, which are runes so that lists are told apart as strings.
type automaton struct {
	inst   []re.Inst // of all programs, one behind the other
	of     []int     // the number of each instruction's program
	starts []rune    // the first instruction of each program
}

// add takes an expression, in which . is any letter.
func (a *automaton) add(expression string) {
	parsed, _ := re.Parse(expression, re.Perl|re.DotNL)
	p, _ := re.Compile(parsed.Simplify())
	shift := len(a.inst)
	for _, i := range p.Inst {
		if i.Out += uint32(shift); i.Op == re.InstAlt {
			i.Arg += uint32(shift)
		}
		a.inst, a.of = append(a.inst, i), append(a.of, len(a.starts))
	}
	a.starts = append(a.starts, rune(shift+p.Start))
}

// read follows instructions up to those that read a letter. ends has for each program a 1 where the
// text matches, a 0 where a longer one may, and a - where none will.
func (a *automaton) read(from []rune) (at []rune, ends string) {
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
			from = append(from, rune(i.Out), rune(i.Arg))
		case re.InstCapture, re.InstNop:
			from = append(from, rune(i.Out))
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

// after lists the instructions that follow a letter.
func (a *automaton) after(at []rune, letter rune) (next []rune) {
	for _, pc := range at {
		if a.inst[pc].MatchRune(letter) {
			next = append(next, rune(a.inst[pc].Out))
		}
	}
	slices.Sort(next)
	return slices.Compact(next)
}

// letters are those between which the programs tell here: where a range begins, and behind its end.
// Upper case comes last.
func (a *automaton) letters(at []rune) (here []rune) {
	for _, pc := range at {
		ranges := a.inst[pc].Rune
		for j := 0; j < len(ranges); j += 2 {
			here = append(here, ranges[j], ranges[min(j+1, len(ranges)-1)]+1)
		}
	}
	slices.SortFunc(here, func(a, b rune) int { return int(b - a) })
	return slices.Compact(here)
}
