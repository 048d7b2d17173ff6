package broker

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// turn is one refresh: what the page brought, what was sealed, and what is decided of it now.
type turn struct {
	session.Session
	sealed session.Sealed
	ruling
	// this instance has used the sealed refresh token already, or cannot know that it has not
	spent bool
}

// Refresh is a new decision: open the sealed token, check the caller, decide anew, check the end.
// The errors are *weboffice.Error.
func (b *Broker) Refresh(ctx context.Context, v Visitor, tokens weboffice.RefreshRequest) (
	answer Answer, err error) {
	rec := record{function: "refresh", visitor: v, start: b.now(),
		work: work{token: fingerprint(tokens.AccessToken)}}
	defer b.conclude(ctx, &rec, &err)
	s, sealed, err := b.sealer.Open(tokens)
	if err != nil {
		return Answer{}, err
	}
	rec.asked = s.Asked
	if !s.BelongsTo(v.IssuerURL, identity(v.Caller)) {
		return Answer{}, weboffice.ErrRefreshToken.New()
	}
	if err := b.limiters.admitSession(v, s, b.now()); err != nil {
		return Answer{}, err
	}
	r, err := b.decide(&rec, policy.Question{Caller: v.Caller, Asked: s.Asked, Start: s.Start,
		Guest: s.Guest})
	if err != nil {
		return Answer{}, err
	}
	t := turn{Session: s, sealed: sealed, ruling: r}
	if answer, ok := b.early(ctx, t); ok {
		rec.outcome = "early"
		return answer, nil
	}
	return b.once(ctx, &rec, t)
}

// early gives the page's own tokens back while they are good for over two thirds of their life
// under an unchanged decision.
func (b *Broker) early(ctx context.Context, t turn) (Answer, bool) {
	left := t.Life - max(b.now().Sub(t.Issued), 0)
	if t.Decision != t.digest || 3*left <= 2*t.Life {
		return Answer{}, false
	}
	answer := Answer{RequestID: weboffice.RequestID(ctx), Access: t.Access, RefreshToken: t.sealed,
		Permission: *t.decision.Request.Permission}
	answer.Life = left
	return answer, true
}

// answered is an Answer with what is needed to give it again.
type answered struct {
	Answer
	at   time.Time
	work work
}

// once makes one refresh of any number of requests with the same sealed token: those that come
// together wait for one call, those within a minute get its answer from memory. The call goes on
// when the request that began it is given up, since its token is spent.
func (b *Broker) once(ctx context.Context, rec *record, t turn) (Answer, error) {
	key := sha256.Sum256(append(t.digest[:], t.sealed.Reveal()...))
	var leading atomic.Bool
	flight := b.flights.DoChan(string(key[:]), func() (any, error) {
		again, ok := b.answers.Get(key)
		if ok && b.now().Sub(again.at) < replayFor {
			return again, nil
		}
		leading.Store(true)
		t.spent = ok
		done, err := b.lead(ctx, t)
		switch {
		case err == nil:
			b.answers.Put(key, done)
		case done.work.spent:
			b.answers.Put(key, answered{}) // nothing to give again, but the token is known
		}
		return done, err
	})
	select {
	case <-ctx.Done():
		rec.unsure = leading.Load()
		return Answer{}, weboffice.ErrIMMLate.Because(ctx.Err())
	case result := <-flight:
		done, _ := result.Val.(answered)
		rec.take(done.work, leading.Load())
		if result.Err != nil {
			return Answer{}, result.Err
		}
		done.Life = max(done.Life-max(b.now().Sub(done.at), 0), 0)
		return done.Answer, nil
	}
}

// lead does the work of a flight, with the deadline of the request that began it but not its
// cancellation.
func (b *Broker) lead(ctx context.Context, t turn) (done answered, err error) {
	defer func() {
		if p := recover(); p != nil { // in a flight's own goroutine it would end the process
			weboffice.LogPanic(ctx, b.log, p)
			err = weboffice.AsError(fmt.Errorf("panic: %T", p))
		}
	}()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(flightTime)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	done.Answer, err = b.renew(ctx, &done.work, t, time.Until(deadline)/2)
	done.at = b.now()
	return done, err
}

// renew spends the refresh token within patience, or generates where the right has changed or the
// token is no longer good.
func (b *Broker) renew(ctx context.Context, w *work, t turn, patience time.Duration) (Answer,
	error) {
	if t.Decision != t.digest {
		w.outcome = "regenerated"
		return b.generate(ctx, w, t.ruling)
	}
	if t.spent {
		w.outcome = "fallback"
		return b.generate(ctx, w, t.ruling)
	}
	request := t.decision.Request
	refreshing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w.spent, w.unsure = true, true // should the call end in a panic
	renewed, err := b.imm.Refresh(refreshing, request.ProjectName, t.AccessToken, t.RefreshToken,
		request.CredentialConfig)
	w.unsure = imm.MaybeDone(err)
	w.spent = err == nil || w.unsure || imm.RefusedToken(err)
	switch {
	case err == nil:
		w.billed++
		renewed.WebofficeURL = t.WebofficeURL
		return b.seal(w, t.ruling, renewed)
	case imm.RefusedToken(err) || imm.NoAnswer(err):
		w.outcome = "fallback"
		b.log.WarnContext(ctx, "the refresh failed, generating instead", "requestId",
			weboffice.RequestID(ctx),
			"document", request.SourceURI, "cause", weboffice.AsError(err).Cause)
		return b.generate(ctx, w, t.ruling)
	}
	return Answer{}, err
}
