package broker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/weboffice"
)

// renewal is one refresh: the session that was sealed, what is decided of it now, and what this
// instance knows of the token.
type renewal struct {
	session.Session
	sealed session.Sealed
	ruling
	visitor  Visitor
	spent    bool // the refresh token may already have been spent by this instance
	answered bool // and a page got an answer for it
}

// call is what a call to IMM for this renewal counts as.
func (r *renewal) call() call {
	return call{visitor: r.visitor, opened: &r.Session, answered: r.answered}
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
	parsed, err := rec.parse(s.Asked.SourceURI)
	if err != nil {
		return Answer{}, err
	}
	if !s.BelongsTo(v.IssuerURL, identity(v.Caller)) {
		return Answer{}, weboffice.ErrRefreshToken.New()
	}
	if err := b.limits.admitRequest(v, s, b.now()); err != nil {
		return Answer{}, err
	}
	decided, err := b.decide(&rec, s.ID, policy.Question{Caller: v.Caller, Document: parsed,
		Asked: s.Asked, Start: s.Start, Guest: s.Guest})
	if err != nil {
		return Answer{}, err
	}
	r := renewal{Session: s, sealed: sealed, ruling: decided, visitor: v}
	if answer, ok := b.sameTokens(r); ok {
		rec.outcome = "early"
		return answer, nil
	}
	return b.renewOnce(ctx, &rec, r)
}

// sameTokens gives the page's own tokens back while they are good for over two thirds of their life
// under an unchanged decision.
func (b *Broker) sameTokens(r renewal) (Answer, bool) {
	left := r.Life - max(b.now().Sub(r.Issued), 0)
	if r.Decision != r.digest || 3*left <= 2*r.Life {
		return Answer{}, false
	}
	return r.answer(r.Access, r.sealed, left), true
}

// earlier is what an instance remembers of a sealed token: the Answer, with what is needed to give
// it again, or only that the token may be spent.
type earlier struct {
	Answer
	digest [32]byte // of the decision it was given under
	at     time.Time
	work   work
}

func (e earlier) answered() bool { return !e.at.IsZero() }

// renewOnce makes one renewal of any number of requests with the same sealed token: those that come
// together wait for one call, those within a minute get its answer from memory. The call goes on
// when the request that began it is given up, since its token is spent.
func (b *Broker) renewOnce(ctx context.Context, rec *record, r renewal) (Answer, error) {
	token := idOf(r.sealed.Reveal())
	var leading atomic.Bool
	flight := b.flights.DoChan(string(token[:])+string(r.digest[:]), func() (any, error) {
		known, seen := b.earlier.Get(token)
		if known.digest == r.digest && known.answered() && b.now().Sub(known.at) < replayFor {
			return known, nil
		}
		leading.Store(true)
		r.spent, r.answered = seen, known.answered()
		done, err := b.detached(ctx, r)
		switch {
		case err == nil:
			b.earlier.Add(token, done)
		case done.work.spent:
			b.earlier.ContainsOrAdd(token, earlier{}) // an answer stays
		}
		return done, err
	})
	select {
	case <-ctx.Done():
		rec.maybeBilled = leading.Load()
		return Answer{}, weboffice.ErrIMMLate.Because(ctx.Err())
	case result := <-flight:
		done, _ := result.Val.(earlier)
		rec.take(done.work, leading.Load())
		if result.Err != nil {
			return Answer{}, result.Err
		}
		done.Life = max(done.Life-max(b.now().Sub(done.at), 0), 0)
		return done.Answer, nil
	}
}

// detached does the work of a flight, with the deadline of the request that began it but not its
// cancellation. A panic would end the process, since a flight has a goroutine of its own.
func (b *Broker) detached(ctx context.Context, r renewal) (done earlier, err error) {
	defer func() {
		if p := recover(); p != nil {
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
	done.digest = r.digest
	done.Answer, err = b.refreshOrGenerate(ctx, &done.work, r, time.Until(deadline)/2)
	done.at = b.now()
	return done, err
}

// refreshOrGenerate spends the refresh token within patience, or generates where the right has
// changed or the token is no longer good.
func (b *Broker) refreshOrGenerate(ctx context.Context, w *work, r renewal,
	patience time.Duration) (Answer, error) {
	switch {
	case r.Decision != r.digest:
		w.outcome = "regenerated"
		return b.generate(ctx, w, r.ruling, r.call())
	case r.spent:
		w.outcome = "fallback"
		return b.generate(ctx, w, r.ruling, r.call())
	}
	request := r.decision.Request
	refreshing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	renewed, err := b.call(w, r.call(), func() (imm.Tokens, error) {
		w.spent = true // should the call end in a panic
		return b.imm.Refresh(refreshing, request.ProjectName, r.AccessToken, r.RefreshToken,
			request.CredentialConfig)
	})
	w.spent = w.spent && (err == nil || imm.MaybeDone(err) || imm.RefusedToken(err))
	switch {
	case err == nil:
		renewed.WebofficeURL = r.WebofficeURL
		return b.seal(w, r.ruling, renewed)
	case imm.RefusedToken(err) || imm.NoAnswer(err):
		w.outcome = "fallback"
		b.log.WarnContext(ctx, "the refresh failed, generating instead",
			"requestId", weboffice.RequestID(ctx), "document", request.SourceURI,
			"cause", weboffice.AsError(err).Cause)
		return b.generate(ctx, w, r.ruling, r.call())
	}
	return Answer{}, err
}
