package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"

	"weboffice-functions/shared/weboffice"
)

// answer is a whole answer, kept until the handler has returned.
type answer struct {
	header http.Header // what the handler writes to
	sent   http.Header // what header was at WriteHeader: later changes do not count, as in net/http
	status int         // 0: nothing written yet
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 { // an interim answer cannot be kept
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// answer runs the handler. It always gives a complete answer.
func (s *server) answer(r *http.Request) (a *answer) {
	a = &answer{header: http.Header{}}
	defer func() { a.finish(r.Method) }()
	defer s.recovered(r.Context(), func() {
		a = errorAnswer(r.Context(), http.StatusInternalServerError, weboffice.AsError(nil))
	})
	s.handler.ServeHTTP(a, r)
	return a
}

// finish adds what net/http's server would add and leaves out what belongs to a connection.
func (a *answer) finish(method string) {
	a.WriteHeader(http.StatusOK)
	maps.DeleteFunc(a.sent, func(name string, _ []string) bool { return dropped(name) })
	if method == http.MethodHead || a.status == http.StatusNoContent ||
		a.status == http.StatusNotModified {
		a.body.Reset()
	}
	if _, typed := a.sent["Content-Type"]; !typed && a.body.Len() > 0 {
		a.sent.Set("Content-Type", http.DetectContentType(a.body.Bytes()))
	}
}

// errorAnswer is an answer that the handler did not give, in the form of all error answers.
func errorAnswer(ctx context.Context, status int, err *weboffice.Error) *answer {
	a := &answer{header: http.Header{"Content-Type": {"application/json"},
		"Cache-Control": {"no-store"}}}
	a.WriteHeader(status)
	_ = json.NewEncoder(a).Encode(err.Body(ctx))
	return a
}

// recovered, deferred, turns a panic into one log line and a call of then.
func (s *server) recovered(ctx context.Context, then func()) {
	if value := recover(); value != nil {
		weboffice.LogPanic(ctx, s.logger, value)
		then()
	}
}
