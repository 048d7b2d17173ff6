package office

import (
	"slices"
	"time"
)

// keptRequests is how many requests are remembered.
const keptRequests = 1000

// Calls count API requests.
type Calls struct {
	Generate, Refresh int // did their work, whatever became of the answer
	Failed            int // did none: refused, or failed before the work
	Refused           int // of Failed: properly signed, and answered with a 4xx
	Broken            int // of Generate and Refresh: answered with a 5xx after the work
}

// Billed counts what the vendor charges for: properly signed requests that it answers with a 2xx,
// also where the answer is lost on its way, or with a 4xx. A 5xx is free.
func (c Calls) Billed() int { return c.Generate + c.Refresh - c.Broken + c.Refused }

// Request is one API request that was properly signed.
type Request struct {
	Time       time.Time
	ID         string
	Action     string
	Parameters map[string]string // as on the wire, tokens and passwords included
	// "" when the work was done, else the error's code or the fault's name
	Code string
}

// ledger is what the stand-in remembers of its requests.
type ledger struct {
	calls                  Calls
	requests, doubleSpends []Request
}

// record counts a request and, if it was properly signed, keeps it. The status is that of its
// answer, 0 for none.
func (l *ledger) record(request *Request, status int) {
	signed := request.Parameters != nil
	done := request.Code == ""
	switch {
	case !done:
		l.calls.Failed++
	case request.Action == Generate:
		l.calls.Generate++
	default:
		l.calls.Refresh++
	}
	switch {
	case !done && signed && status >= 400 && status < 500:
		l.calls.Refused++
	case done && status >= 500:
		l.calls.Broken++
	}
	if signed {
		l.requests = keepLast(l.requests, *request)
	}
}

// keepLast appends to a list that never grows beyond keptRequests.
func keepLast(list []Request, request Request) []Request {
	return append(list[max(0, len(list)-keptRequests+1):], request)
}

// Calls returns the counts since the start.
func (s *Server) Calls() (c Calls) { s.locked(func() { c = s.ledger.calls }); return c }

// Requests returns the last 1,000 properly signed API requests, oldest first.
func (s *Server) Requests() (r []Request) {
	s.locked(func() { r = slices.Clone(s.ledger.requests) })
	return r
}

// DoubleSpends returns the last 1,000 refreshes that came with a refresh token which had been used
// already. A client may cause one only where it cannot know; most tests want none.
func (s *Server) DoubleSpends() (r []Request) {
	s.locked(func() { r = slices.Clone(s.ledger.doubleSpends) })
	return r
}
