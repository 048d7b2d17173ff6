package broker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/weboffice"
)

// fingerprint names an access token in the log: the start of its hash, too short to find the token.
func fingerprint(access weboffice.Secret) string {
	sum := sha256.Sum256([]byte(access.Reveal()))
	return hex.EncodeToString(sum[:4])
}

// conclude writes the one line of a request at the end of a use case, also when a panic ends it:
// the edge answers that. The line holds no token, no password and, for a refusal, no claim but sub:
// the rules whose documents matched, and the first condition that failed in each.
func (b *Broker) conclude(ctx context.Context, r *request, result *error) {
	panicked, err := recover(), *result
	if panicked != nil {
		defer panic(panicked)
		err = errors.New("panic")
	}
	l := line{room: maxLine, attributes: make([]slog.Attr, 0, 20)}
	l.text("requestId", weboffice.RequestID(ctx))
	l.text("function", r.function)
	l.text("issuer", r.visitor.Issuer)
	l.text("subject", r.visitor.identity())
	l.text("document", r.document)
	l.text("rule", r.decision.Rule)
	l.text("asked", asked(r.Asked))
	if decided := r.decision.Request; decided.Permission != nil {
		l.text("granted", strings.Join(decided.Permission.Grants(), " "))
		l.text("userId", decided.User.Id)
	}
	if r.token != "" {
		l.text("token", r.token)
	}
	level, outcome := slog.LevelInfo, r.outcome
	if err != nil {
		public := weboffice.AsError(err)
		level, outcome = slog.LevelWarn, public.Code
		if public.Kind == weboffice.Internal || public.Fix != "" {
			level = slog.LevelError
		}
		r.immRequestID = cmp.Or(public.IMMRequestID, r.immRequestID)
		for _, attribute := range public.Attributes() {
			l.text(attribute.Key, attribute.Value.String())
		}
	}
	l.text("outcome", outcome)
	l.text("immRequestId", r.immRequestID)
	l.steps(r.decision.Steps)
	now := b.Now()
	l.attributes = append(l.attributes, slog.Int("billed", r.billed),
		slog.Bool("maybeBilled", r.maybeBilled), slog.Bool("fallback", r.outcome == "fallback"),
		slog.Int64("durationMs", now.Sub(r.came).Milliseconds()))
	if handler := b.Logger.Handler(); handler.Enabled(ctx, level) {
		entry := slog.NewRecord(now, level, "decision", 0) // where in the code: nobody asks
		entry.AddAttrs(l.attributes...)
		_ = handler.Handle(ctx, entry) // as slog.Logger: there is nobody to tell
	}
}

const (
	// maxLine bounds the attributes of a line, so that the whole is under 8 KB whatever stands in
	// the policy and whatever a caller sends: gateways cut longer ones.
	maxLine = 7500
	// maxText is the longest text of a line, as JSON. A document's is the longest that is due.
	maxText = 2200
	// stepRoom is what must be left for the next rule.
	stepRoom = 400
)

// line is the attributes of a log line, held to their length.
type line struct {
	attributes []slog.Attr
	room       int // bytes of JSON
}

func (l *line) text(name, text string) {
	cut, length := cutTo(text, min(maxText, max(l.room-len(name), 0)))
	l.room -= len(name) + length
	l.attributes = append(l.attributes, slog.String(name, cut))
}

// steps says why each rule did not decide, as far as there is room.
func (l *line) steps(steps []policy.Step) {
	for i, step := range steps {
		if l.room < stepRoom {
			l.text("rules", fmt.Sprintf("and %d more", len(steps)-i))
			return
		}
		why := step.Why
		if step.Decides {
			why = "decides"
		}
		name, _ := cutTo(step.Rule, stepRoom/2)
		l.text("rule: "+name, why)
	}
}

// cutTo cuts a text so that its JSON has at most so many bytes, and returns that length.
func cutTo(text string, most int) (cut string, length int) {
	for i, r := range text {
		size := 1
		switch {
		case r < ' ', r == '"', r == '\\', r == utf8.RuneError, r == '\u2028', r == '\u2029':
			size = len(`\u2028`)
		case r >= utf8.RuneSelf:
			size = utf8.RuneLen(r)
		}
		if length += size; length > most {
			return text[:i] + "…", most
		}
	}
	return text, length
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
