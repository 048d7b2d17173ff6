package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"weboffice-functions/scripts/command"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

func (t *tool) explain(args []string) error {
	token := t.String("token", "", "a `FILE` with the caller's proof")
	claims := t.String("claims", "",
		"the caller's claims, such as `'{\"issuer\": \"staff\", \"sub\": \"ann\"}'`")
	permission := t.String("permission", "",
		"what the page asks for, such as `view,copy`; default: everything")
	if err := t.parse(args); err != nil {
		return err
	}
	if t.NArg() != 1 || *token != "" && *claims != "" {
		return errors.New("explain takes one document, oss://bucket/object, behind its flags, and" +
			" one of -token and -claims or neither")
	}
	p, err := t.read(t.policy)
	if err != nil {
		return err
	}
	q, err := questionOf(t.Arg(0), *permission)
	if err != nil {
		return err
	}
	switch {
	case *token != "":
		q.Caller, err = t.inspect(p, *token)
	case *claims != "":
		if q.Caller, err = claimed(p, *claims); err != nil {
			err = fmt.Errorf("-claims: %w", err)
		}
	}
	if err != nil {
		return err
	}
	return t.show(p, q)
}

func questionOf(uri, permission string) (policy.Question, error) {
	document, err := weboffice.ParseSourceURI(uri)
	if err != nil {
		return policy.Question{}, err
	}
	q := policy.Question{Document: document, Start: time.Now(), Guest: weboffice.NewGuest(),
		Asked: weboffice.Request{SourceURI: uri}}
	if permission != "" {
		asked, err := weboffice.PermissionOf(strings.Split(permission, ","))
		if err != nil {
			return q, err
		}
		q.Asked.Permission = &asked
	}
	return q, nil
}

// inspect reads a proof without its signature. It prints why the functions would refuse it, where
// they would.
func (t *tool) inspect(p *policy.Policy, file string) (caller.Caller, error) {
	proof, err := command.Proof(file)
	if err != nil {
		return caller.Caller{}, err
	}
	// without a link key it would not know share links; Inspect uses no key
	v, err := caller.NewVerifier(caller.Options{
		Issuers: p.Issuers(), LinkKeys: []weboffice.Secret{
			weboffice.Secret(strings.Repeat("-", 32))}, RevokedLinks: p.RevokedLinks(),
		Client: &http.Client{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return caller.Caller{}, err
	}
	c, err := v.Inspect(proof)
	if err != nil && c.Guest() {
		return c, fmt.Errorf("the proof is refused (401) before any rule: %w", err)
	}
	if err != nil {
		fmt.Fprintf(t.stdout, "The proof is refused (401) before any rule: %s\nWere it good:\n",
			strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	fmt.Fprintln(t.stdout,
		"The proof's signature was not looked at: what follows proves nothing about its bearer.")
	return c, nil
}

// claimed makes a caller of claims in JSON.
func claimed(p *policy.Policy, text string) (caller.Caller, error) {
	var claims map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if !json.Valid([]byte(text)) || decoder.Decode(&claims) != nil {
		return caller.Caller{}, errors.New("not one JSON object")
	}
	return p.CallerOf(claims)
}

// show prints what the policy makes of a question.
func (t *tool) show(p *policy.Policy, q policy.Question) error {
	d, err := p.Decide(q, q.Start)
	var refusal *weboffice.Error
	if err != nil {
		refusal = weboffice.AsError(err)
	}
	sent, _ := json.MarshalIndent(d.Request, "", "  ") // a Request always marshals
	return texts.ExecuteTemplate(t.stdout, "explain.tmpl", map[string]any{
		"Question": q, "Steps": p.Explain(q), "Refusal": refusal,
		"Decision": d, "Session": d.End.Sub(q.Start), "Sent": string(sent),
	})
}
