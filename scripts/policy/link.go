package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

func (t *tool) link(args []string) error {
	c := caller.LinkClaims{IssuedAt: time.Now()}
	t.StringVar(&c.Document, "document", "",
		"one document, `oss://bucket/object`, in which * is a letter like any other")
	t.StringVar(&c.Documents, "documents", "", "a `pattern` as in a rule, oss://bucket/folder/**")
	t.StringVar(&c.Subject, "sub", "",
		"`whom` the link is for; without it each opening is a guest's")
	t.StringVar(&c.Name, "name", "", "the `name` that the editor shows")
	t.StringVar(&c.ID, "id", rand.Text(), "the link's `jti`, by which revokedLinks ends it")
	t.Lookup("id").DefValue = "" // it is another each time
	grant := t.String("grant", "", "what the link gives, such as `view,copy`")
	expires := t.Duration("expires", 24*time.Hour, "`how long` the link works, at most 720h")
	if err := t.parse(args); err != nil {
		return err
	}
	c.Grant, c.Expires = strings.Split(*grant, ","), c.IssuedAt.Add(*expires)
	if (c.Document == "") == (c.Documents == "") || !slices.Contains(c.Grant, "view") ||
		t.NArg() > 0 {
		return errors.New("link needs one of -document URI and -documents PATTERN, and -grant" +
			" with view, such as view,copy, and nothing behind its flags")
	}
	err := opens(c)
	if err == nil && t.given("policy") {
		err = t.opensUnder(c)
	}
	if err != nil {
		return err
	}
	keys, err := app.LinkKeys(t.getenv)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("WEBOFFICE_LINK_KEYS is not set: it holds the deployment's keys;" +
			" openssl rand -base64 32 makes one")
	}
	token, err := caller.MintLink(keys[0], c)
	if err != nil {
		return err
	}
	fmt.Fprintln(t.stderr, "jti", c.ID)
	_, err = fmt.Fprintln(t.stdout, token.Reveal())
	return err
}

// opens says why a link could open nothing under any policy.
func opens(c caller.LinkClaims) error {
	if c.Documents != "" {
		if err := policy.CheckLinkPattern(c.Documents); err != nil {
			return fmt.Errorf("-documents: a link to it opens nothing: %w", err)
		}
	} else if _, err := weboffice.ParseSourceURI(c.Document); err != nil {
		public := weboffice.AsError(err)
		return fmt.Errorf("-document: a link to it opens nothing: %s %s", public.Message,
			public.Recommend)
	}
	return nil
}

// opensUnder says why a link would open nothing under the policy.
func (t *tool) opensUnder(c caller.LinkClaims) error {
	p, err := t.read(t.policy)
	switch {
	case err != nil:
		return err
	case !p.UsesLinks():
		return fmt.Errorf("%s has no rule for share links: add one with callers: {issuer: links}",
			t.policy)
	case slices.Contains(p.RevokedLinks(), c.ID):
		return fmt.Errorf("%s lists %s under revokedLinks", t.policy, c.ID)
	case c.Document == "":
		return nil
	}
	q, err := questionOf(c.Document, "")
	if err != nil {
		return err
	}
	claims := map[string]any{"issuer": caller.LinkIssuer, "jti": c.ID, "document": c.Document,
		"grant": c.Grant, "sub": c.Subject, "name": c.Name}
	if q.Caller, err = p.CallerOf(claims); err == nil {
		_, err = p.Decide(q, q.Start)
	}
	if err != nil {
		return fmt.Errorf("%s opens nothing for this link: %w (go run ./scripts/policy explain"+
			" says why)", t.policy, err)
	}
	return nil
}
