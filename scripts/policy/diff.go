package main

import (
	"errors"
	"fmt"

	"weboffice-functions/shared/policy"
)

func (t *tool) diff(args []string) error {
	from := t.String("from", "", "the policy `FILE` as it was")
	if err := t.parse(args); err != nil {
		return err
	}
	if *from == "" || t.NArg() > 0 {
		return errors.New("diff takes -from OLD and -policy NEW, and nothing else")
	}
	old, err := t.read(*from)
	if err != nil {
		return err
	}
	changed, err := t.read(t.policy)
	if err != nil {
		return err
	}
	d := policy.Diff(old, changed)
	for _, line := range d.Settings {
		fmt.Fprintln(t.stdout, line)
	}
	var last policy.Change
	for _, c := range d.Changes {
		if c.Old != last.Old || c.New != last.New {
			fmt.Fprintf(t.stdout, "\n%s\n", rules(c))
		}
		last = c
		fmt.Fprintf(t.stdout, "  %s, in %s\n", c.Who, c.Documents)
		for _, line := range c.What {
			fmt.Fprintf(t.stdout, "    %s\n", line)
		}
		if c.Example != "" {
			fmt.Fprintf(t.stdout, "    such as %s\n", c.Example)
		}
	}
	if len(d.Settings)+len(d.Changes) == 0 {
		fmt.Fprintln(t.stdout, "nothing changes: every request is decided as before")
	}
	return nil
}

// rules says which rules decided before and decide now.
func rules(c policy.Change) string {
	if c.Old == c.New {
		return fmt.Sprintf("rule %q, as before", c.Old)
	}
	name := func(rule string) string {
		if rule == "" {
			return "no rule"
		}
		return fmt.Sprintf("rule %q", rule)
	}
	return name(c.Old) + " before, " + name(c.New) + " now"
}
