package weboffice

import (
	"fmt"
	"slices"
	"strings"
)

// Grants lists the words in which policies and share links give rights. "view" is the right to open
// at all.
func Grants() []string {
	return []string{"view", "edit", "rename", "history", "copy", "print", "export"}
}

// PermissionOf turns grants into a Permission; an unknown word is an error that lists the known
// ones.
func PermissionOf(grants []string) (Permission, error) {
	for _, g := range grants {
		if !slices.Contains(Grants(), g) {
			return Permission{}, fmt.Errorf("unknown grant %q: use %s", g,
				strings.Join(Grants(), ", "))
		}
	}
	has := func(g string) bool { return slices.Contains(grants, g) }
	return Permission{
		Readonly: !has("edit"), Rename: has("rename"), History: has("history"), Copy: has("copy"),
		Export: has("export"), Print: has("print"),
	}, nil
}

// And returns what both permissions allow.
func (p Permission) And(q Permission) Permission {
	return Permission{
		Readonly: p.Readonly || q.Readonly, Rename: p.Rename && q.Rename, History: p.History &&
			q.History,
		Copy: p.Copy && q.Copy, Export: p.Export && q.Export, Print: p.Print && q.Print,
	}
}

// Grants gives p in the words of a policy.
func (p Permission) Grants() []string {
	grants := []string{"view"}
	for i, allowed := range []bool{!p.Readonly, p.Rename, p.History, p.Copy, p.Print, p.Export} {
		if allowed {
			grants = append(grants, Grants()[i+1])
		}
	}
	return grants
}
