package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"time"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// record collects one audit line.
type record struct {
	function string
	visitor  Visitor
	asked    weboffice.Request
	start    time.Time
	rule     string
	user     string
	granted  *weboffice.Permission
	steps    []policy.Step // of a refusal
	work
}

// work is what was done at IMM.
type work struct {
	outcome string // "" until something other than the ordinary happens
	billed  int    // calls that IMM charges for
	// one call more may have been charged: it got no answer, or a 4xx, which the vendor charges
	maybeBilled  bool
	spent        bool // the refresh token is of no use any more, or may be
	immRequestID string
	token        string // fingerprint of the access token
}

// fingerprint names an access token in the log: the start of its hash, too short to find the token.
func fingerprint(access weboffice.Secret) string {
	sum := sha256.Sum256([]byte(access.Reveal()))
	return hex.EncodeToString(sum[:4])
}

// take copies what a flight did. Only the request that led it counts its calls.
func (r *record) take(done work, leading bool) {
	if done.token == "" { // no new one
		done.token = r.token
	}
	if !leading {
		done.outcome, done.billed, done.maybeBilled = "replayed", 0, false
	}
	r.work = done
}

// conclude writes the audit line at the end of a use case, also when a panic ends it: the edge
// answers that.
func (b *Broker) conclude(ctx context.Context, r *record, err *error) {
	if p := recover(); p != nil {
		r.maybeBilled = true
		b.audit(ctx, r, weboffice.AsError(errors.New("panic")))
		panic(p)
	}
	b.audit(ctx, r, *err)
}

// audit writes the one line of a decision. It holds no token, no password and, for a refusal, no
// claim but sub: the rules that were considered and the first condition that failed in each.
func (b *Broker) audit(ctx context.Context, r *record, err error) {
	document := r.asked.SourceURI
	if r.rule == "" {
		if _, bad := weboffice.ParseSourceURI(document); bad != nil {
			document = "" // it may be anything, a signed URL too
		}
	}
	attributes := append(make([]slog.Attr, 0, 20+len(r.steps)),
		slog.String("requestId", weboffice.RequestID(ctx)), slog.String("function", r.function),
		slog.String("issuer", r.visitor.Issuer), slog.String("subject", identity(r.visitor.Caller)),
		slog.String("document", document), slog.String("rule", r.rule),
		slog.String("asked", asked(r.asked)))
	if r.user != "" {
		attributes = append(attributes, slog.String("userId", r.user))
	}
	if r.granted != nil {
		attributes = append(attributes, slog.String("granted",
			strings.Join(r.granted.Grants(), " ")))
	}
	if r.token != "" {
		attributes = append(attributes, slog.String("token", r.token))
	}
	level, outcome := slog.LevelInfo, r.outcome
	if err != nil {
		public := weboffice.AsError(err)
		outcome = public.Code
		if public.IMMRequestID != "" {
			r.immRequestID = public.IMMRequestID
		}
		attributes = append(attributes, public.Attributes()...)
		for _, step := range r.steps {
			why := step.Why
			if step.Decides {
				why = "decides"
			}
			attributes = append(attributes, slog.String("rule: "+step.Rule, why))
		}
		level = slog.LevelWarn
		if public.Kind == weboffice.Internal || public.Fix != "" {
			level = slog.LevelError
		}
	} else if outcome == "" {
		outcome = map[string]string{"generate": "opened", "refresh": "refreshed"}[r.function]
	}
	attributes = append(attributes, slog.String("outcome", outcome), slog.Int("billed", r.billed),
		slog.Bool("maybeBilled", r.maybeBilled),
		slog.Bool("fallback", r.outcome == "fallback"), slog.String("immRequestId", r.immRequestID),
		slog.Int64("durationMs", b.now().Sub(r.start).Milliseconds()))
	b.log.LogAttrs(ctx, level, "decision", attributes...)
}

// asked is what the caller wanted, in the words of a policy; "all" where no Permission was sent, ""
// where nothing could be read.
func asked(r weboffice.Request) string {
	switch {
	case r.SourceURI == "":
		return ""
	case r.Permission == nil:
		return "all"
	}
	return strings.Join(r.Permission.Grants(), " ")
}
