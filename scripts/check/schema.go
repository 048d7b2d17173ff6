package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule says what a value may be. An intrinsic function is taken for any value whose rule is not
// literal.
type rule struct {
	literal bool
	check   func(r *report, n *node, at string)
}

// apply checks n, which stands at the path at. Of !If both values are checked.
func (r *report) apply(rule rule, n *node, at string) {
	switch {
	case n.kind != intrinsic:
		rule.check(r, n, at)
	case rule.literal:
		r.add(n.place, at+" is the intrinsic function "+n.text,
			"write the value itself: SAM decides by it before functions are resolved")
	case n.text == "If":
		for _, branch := range n.items[0].items[min(1, len(n.items[0].items)):] {
			if !branch.call("Ref").is("AWS::NoValue") {
				r.apply(rule, branch, at)
			}
		}
	}
}

// literal refuses intrinsic functions.
func literal(r rule) rule { return rule{true, r.check} }

// table is the keys of a map with what each may be. A key that ends in ! is required.
type table map[string]rule

var (
	anything = rule{check: func(*report, *node, string) {}}
	aText    = scalar(text)
	aBool    = scalar(boolean)
	aNumber  = scalar(number)
)

// scalar takes a value of one kind.
func scalar(k kind) rule {
	return rule{check: func(r *report, n *node, at string) {
		if n.kind != k {
			r.add(n.place, fmt.Sprintf("%s is %s", at, n.kind), "it takes "+string(k))
		}
	}}
}

// matching takes text that the expression matches as a whole; what says in words what is wanted.
func matching(expression, what string) rule {
	whole := regexp.MustCompile(`^(?:` + expression + `)$`)
	return rule{check: func(r *report, n *node, at string) {
		if n.kind != text && n.kind != number || !whole.MatchString(n.text) {
			r.add(n.place, fmt.Sprintf("%s is %q", at, n.text), "it takes "+what)
		}
	}}
}

// oneOf takes one of the words, quoted or not.
func oneOf(words ...string) rule {
	return rule{check: func(r *report, n *node, at string) {
		if !slices.ContainsFunc(words, n.is) {
			r.add(n.place, fmt.Sprintf("%s is %q", at, n.text),
				"it takes "+strings.Join(words, ", "))
		}
	}}
}

// numeric takes a number from low to high in whole steps.
func numeric(low, high, step float64) rule {
	return rule{check: func(r *report, n *node, at string) {
		value, err := strconv.ParseFloat(n.text, 64)
		steps := value / step
		if n.kind != number || err != nil || value < low || value > high ||
			math.Abs(steps-math.Round(steps)) > 1e-9 {
			r.add(n.place, fmt.Sprintf("%s is %q", at, n.text),
				fmt.Sprintf("it takes a number from %v to %v in steps of %v", low, high, step))
		}
	}}
}

// listOf takes a list of at least one such value.
func listOf(item rule) rule {
	return rule{check: func(r *report, n *node, at string) {
		if n.kind != list || len(n.items) == 0 {
			r.add(n.place, at+" is no list with entries", "write a list")
		}
		for i, each := range n.items {
			r.apply(item, each, fmt.Sprintf("%s[%d]", at, i))
		}
	}}
}

// oneOrMore takes a value or a list of them.
func oneOrMore(item rule) rule {
	return rule{check: func(r *report, n *node, at string) {
		if n.kind == list {
			listOf(item).check(r, n, at)
			return
		}
		item.check(r, n, at)
	}}
}

// mapOf takes a map with any keys.
func mapOf(value rule) rule {
	return rule{check: func(r *report, n *node, at string) {
		if n.kind != object {
			r.add(n.place, fmt.Sprintf("%s is %s", at, n.kind), "it takes a map")
		}
		for _, f := range n.fields {
			r.apply(value, f.value, at+"."+f.key)
		}
	}}
}

// fields takes a map with these keys and no other.
func fields(known table) rule {
	return rule{check: func(r *report, n *node, at string) {
		if n.kind != object {
			r.add(n.place, fmt.Sprintf("%s is %s", at, n.kind), "it takes a map")
			return
		}
		for _, f := range n.fields {
			value, ok := known[f.key]
			if !ok {
				value, ok = known[f.key+"!"]
			}
			if !ok {
				r.add(f.place, fmt.Sprintf("%s.%s is not a property that is known here", at, f.key),
					"correct its name, or take it out")
				continue
			}
			r.apply(value, f.value, at+"."+f.key)
		}
		for key := range known {
			if name, required := strings.CutSuffix(key, "!"); required && n.get(name) == nil {
				r.add(n.place, fmt.Sprintf("%s has no %s", at, name), "add it")
			}
		}
	}}
}

// orAuto takes the word auto in place of a map.
func orAuto(r rule) rule {
	return rule{check: func(report *report, n *node, at string) {
		if !n.is("auto") {
			r.check(report, n, at)
		}
	}}
}
