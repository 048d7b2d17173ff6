package main

import (
	"errors"

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
	return texts.ExecuteTemplate(t.stdout, "diff.tmpl", policy.Diff(old, changed))
}
