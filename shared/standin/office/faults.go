package office

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Fault is a way to fail, made by the functions below. Unless AfterWork says otherwise it shows
// before the work: nothing is done, billed or spent. Truncated and WrongTypes damage a good answer,
// so they always come after the work.
type Fault struct {
	name      string
	afterWork bool
	refusal   *apiError // answered in the vendor's body
	header    map[string]string
	status    int // with content, answered as it is
	content   string
	damage    func(answer []byte) []byte
	cut       bool
	slow      bool
	release   <-chan struct{}
}

// AfterWork returns the same fault shown after the work: tokens are issued or spent and the call is
// billed, but the answer is lost.
func (f Fault) AfterWork() Fault { f.afterWork = true; return f }

// Refused answers with an error in the vendor's body.
func Refused(status int, code, message string) Fault {
	return Fault{name: code, refusal: &apiError{status, code, message}}
}

// Throttled answers 429 Throttling.User. With a retryAfter it says how long to wait, in Retry-After
// (whole seconds, rounded up) and in the header that the official SDK reads; 0 says nothing.
func Throttled(retryAfter time.Duration) Fault {
	f := Refused(http.StatusTooManyRequests, "Throttling.User",
		"Request was denied due to user flow control.")
	if retryAfter > 0 {
		f.header = map[string]string{
			"Retry-After": strconv.Itoa(int((retryAfter + time.Second - 1) / time.Second)),
			"X-Ratelimit-User-Api": "Limit:10,Remain:0,TimeLeft:" +
				strconv.FormatInt(retryAfter.Milliseconds(), 10),
		}
	}
	return f
}

// InternalError answers 500.
func InternalError() Fault {
	return Refused(500, "InternalError",
		"The request processing has failed due to some unknown error.")
}

// NoPermission answers 403, as for a role without the right.
func NoPermission() Fault {
	return Refused(403, "NoPermission", "You are not authorized to do this action.")
}

// SecurityTokenExpired answers as for credentials that ended.
func SecurityTokenExpired() Fault {
	return Refused(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
}

// SignatureDoesNotMatch answers as for a wrong secret.
func SignatureDoesNotMatch() Fault { return Fault{name: badSignature.code, refusal: badSignature} }

var userNameRefused = argument("User", "The parameter User.Name is not valid")

// UserNameRefused answers a 4xx that names User.Name, as Switches.UserNameStrict does for names
// outside the documented alphabet.
func UserNameRefused() Fault { return Fault{name: userNameRefused.code, refusal: userNameRefused} }

// Unavailable answers 503 with an empty body.
func Unavailable() Fault { return Fault{name: "503 empty", status: http.StatusServiceUnavailable} }

// HTML answers 502 with a proxy's page instead of JSON.
func HTML() Fault {
	return Fault{name: "HTML", status: http.StatusBadGateway,
		header:  map[string]string{"Content-Type": "text/html; charset=utf-8"},
		content: "<!doctype html><title>502 Bad Gateway</title><h1>Bad Gateway</h1>"}
}

// Truncated answers 200 with half of the answer.
func Truncated() Fault {
	return Fault{name: "truncated", afterWork: true,
		damage: func(answer []byte) []byte { return answer[:len(answer)/2] }}
}

// WrongTypes answers 200 with every value of the answer in an array.
func WrongTypes() Fault {
	return Fault{name: "wrong types", afterWork: true, damage: func(answer []byte) []byte {
		answer = bytes.ReplaceAll(answer, []byte(`":"`), []byte(`":["`))
		answer = bytes.ReplaceAll(answer, []byte(`","`), []byte(`"],"`))
		return bytes.Replace(answer, []byte(`"}`), []byte(`"]}`), 1)
	}}
}

// Cut closes the connection without an answer.
func Cut() Fault { return Fault{name: "cut", cut: true} }

// Slow holds the request until release is closed, then goes on as if nothing had been; or until the
// client gives up. A nil release holds it for ever.
func Slow(release <-chan struct{}) Fault {
	return Fault{name: "slow", slow: true, release: release}
}

// injected is a fault that waits for its calls.
type injected struct {
	action string
	left   int // below 0: all calls
	fault  Fault
}

// Fail lets the next times calls of an action fail; "" is either action, times 0 all calls until
// ClearFaults. Faults queue up: each call takes the oldest that fits it. Only properly signed
// requests meet them.
func (s *Server) Fail(action string, times int, f Fault) {
	if times == 0 {
		times = -1
	}
	s.locked(func() { s.faults = append(s.faults, &injected{action, times, f}) })
}

// ClearFaults ends all faults that are left.
func (s *Server) ClearFaults() { s.locked(func() { s.faults = nil }) }

// nextFault takes the fault for one call, or nil.
func (s *Server) nextFault(action string) (next *Fault) {
	s.locked(func() {
		for _, waiting := range s.faults {
			if next == nil && waiting.left != 0 &&
				(waiting.action == "" || waiting.action == action) {
				waiting.left--
				next = &waiting.fault
			}
		}
	})
	return next
}

// stays says whether the fault is all that comes of the request. A slow one is held here.
func (f *Fault) stays(r *http.Request) bool {
	if !f.slow {
		return true
	}
	select {
	case <-f.release:
		return false
	case <-r.Context().Done():
		return true
	}
}

// answers is the status that the fault shows, 0 for none.
func (f *Fault) answers() int {
	if f.refusal != nil {
		return f.refusal.status
	}
	return f.status
}

// strike shows the fault instead of the result.
func (f *Fault) strike(w http.ResponseWriter, r *http.Request, requestID string, result *tokens) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	for name, value := range f.header {
		w.Header().Set(name, value)
	}
	switch {
	case f.slow: // nobody waits any more
	case f.cut:
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler) // cuts what cannot be hijacked
		}
		_ = connection.Close()
	case f.refusal != nil:
		write(w, f.refusal.status, requestID, f.refusal.body(r.Host, requestID))
	case f.damage != nil:
		answer, _ := json.Marshal(result) // strings: cannot fail
		_, _ = w.Write(f.damage(answer))
	default:
		w.WriteHeader(f.status)
		_, _ = w.Write([]byte(f.content))
	}
}
