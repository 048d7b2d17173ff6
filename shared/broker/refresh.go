package broker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/weboffice"
)

const (
	// replayFor is how long a refresh is answered again from memory: an answer that was lost, or a
	// second tab.
	replayFor = time.Minute
	// flightTime bounds the work that several requests wait for, where no platform sets a deadline.
	flightTime = 20 * time.Second
)

// Refresh is a new decision: open the sealed token, check the caller, decide anew, check the end.
// The errors are *weboffice.Error.
func (b *Broker) Refresh(ctx context.Context, v Visitor, tokens weboffice.RefreshRequest) (
	answer Answer, err error) {
	r := &request{function: "refresh", visitor: v, came: b.Now(),
		work: work{outcome: "refreshed", token: fingerprint(tokens.AccessToken)}}
	defer b.conclude(ctx, r, &err)
	if r.Session, r.sealed, err = b.Sealer.Open(tokens); err != nil {
		return Answer{}, err
	}
	if err := b.decide(r); err != nil {
		return Answer{}, err
	}
	// The page's own tokens are good for over two thirds of their life.
	if age := b.Now().Sub(r.Issued); r.Decision == r.digest && 3*max(age, 0) < r.Life {
		r.outcome = "early"
		return r.answer(r.Access, r.sealed, age), nil
	}
	return b.renewOnce(ctx, r)
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
func (b *Broker) renewOnce(ctx context.Context, r *request) (Answer, error) {
	token := idOf(r.sealed.Reveal())
	flying, leading := *r, atomic.Bool{}
	flight := b.flights.DoChan(string(token[:])+string(r.digest[:]), func() (any, error) {
		known, seen := b.earlier.Get(token)
		if known.digest == r.digest && known.answered() && b.Now().Sub(known.at) < replayFor {
			return known, nil
		}
		leading.Store(true)
		flying.spent, flying.answered = seen, known.answered()
		answer, err := b.detached(ctx, &flying)
		done := earlier{answer, flying.digest, b.Now(), flying.work}
		switch {
		case err == nil:
			b.earlier.Add(token, done)
		case flying.spent:
			b.earlier.ContainsOrAdd(token, earlier{}) // an answer stays
		}
		return done, err
	})
	select {
	case <-ctx.Done():
		r.maybeBilled = leading.Load()
		return Answer{}, weboffice.ErrIMMLate.Because(ctx.Err())
	case result := <-flight:
		done := result.Val.(earlier)
		r.work = done.work
		if !leading.Load() { // who led counts the calls
			r.outcome, r.billed, r.maybeBilled = "replayed", 0, false
		}
		if result.Err != nil {
			return Answer{}, result.Err
		}
		return r.answer(done.Access, done.RefreshToken, b.Now().Sub(done.at)), nil
	}
}

// detached does the work of a flight, with the deadline of the request that began it but not its
// cancellation. A panic would end the process, since a flight has a goroutine of its own.
func (b *Broker) detached(ctx context.Context, r *request) (answer Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			weboffice.LogPanic(ctx, b.Logger, p)
			err = weboffice.AsError(fmt.Errorf("panic: %T", p))
		}
	}()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(flightTime)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	return b.refreshOrGenerate(ctx, r, time.Until(deadline)/2)
}

// refreshOrGenerate spends the refresh token within patience, or generates where the right has
// changed or the token is no longer good.
func (b *Broker) refreshOrGenerate(ctx context.Context, r *request, patience time.Duration) (
	Answer, error) {
	if r.Decision != r.digest {
		r.outcome = "regenerated"
		return b.generate(ctx, r)
	}
	if !r.spent {
		request := r.decision.Request
		refreshing, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		renewed, err := b.call(r, false, func() (imm.Tokens, error) {
			r.spent = true // should the call end in a panic
			return b.IMM.Refresh(refreshing, request.ProjectName, r.AccessToken, r.RefreshToken,
				request.CredentialConfig)
		})
		r.spent = r.spent && (err == nil || imm.MaybeDone(err) || imm.RefusedToken(err))
		switch {
		case err == nil:
			renewed.WebofficeURL = r.WebofficeURL
			return b.seal(r, renewed)
		case !imm.RefusedToken(err) && !imm.NoAnswer(err):
			return Answer{}, err
		}
		b.Logger.WarnContext(ctx, "the refresh failed, generating instead",
			"requestId", weboffice.RequestID(ctx), "document", request.SourceURI,
			"cause", weboffice.AsError(err).Cause)
	}
	r.outcome = "fallback"
	return b.generate(ctx, r)
}
