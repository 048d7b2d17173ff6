package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/weboffice"
)

// raw is a page's POST as bytes.
func raw(path string, proof weboffice.Secret, body string) (head, text string) {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: f\r\nOrigin: %s\r\n"+
		"Content-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n",
		path, origin, proof.Reveal(), len(body)), body
}

func (s *instance) dial() *net.TCPConn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// answer reads one answer from a connection.
func (s *instance) answer(c net.Conn) reply {
	s.t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.read(response)
}

// patient is a listener whose connections take their time limits by a clock that the test moves.
type patient struct {
	net.Listener
	mu    sync.Mutex
	now   time.Duration
	conns map[*patientConn]bool
}

type patientConn struct {
	net.Conn
	patient *patient
	due     time.Duration // 0: no limit
}

func (p *patient) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	made := &patientConn{Conn: c, patient: p}
	p.conns[made] = true
	return made, nil
}

func (c *patientConn) SetReadDeadline(at time.Time) error {
	c.patient.mu.Lock()
	defer c.patient.mu.Unlock()
	left := time.Until(at)
	if c.due = 0; at.IsZero() || left <= 0 {
		return c.Conn.SetReadDeadline(at)
	}
	c.due = c.patient.now + left.Round(time.Second)
	return c.Conn.SetReadDeadline(time.Time{})
}

// pass lets time pass for all connections.
func (p *patient) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now += d
	for c := range p.conns {
		if c.due > 0 && c.due <= p.now {
			_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

// cutOff lets time pass until the server ends a connection, and returns what it sent before.
func (p *patient) cutOff(t *testing.T, c net.Conn) string {
	t.Helper()
	sent := make(chan string)
	go func() {
		text, _ := io.ReadAll(c) // up to an end of whatever kind
		sent <- string(text)
	}()
	for {
		select {
		case text := <-sent:
			return text
		default: // a busy server may not yet have begun to count
			p.pass(time.Second)
			runtime.Gosched()
		}
	}
}

// TestSlowloris: a hundred clients send half of a header, a hundred half of a body, and then
// nothing more. Each is cut off at the server's bound, nothing of theirs reaches IMM, and honest
// pages are served meanwhile, also one that is slow.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &patient{Listener: listener, conns: map[*patientConn]bool{}}
	s.serve(slow)
	proof := s.proof("ann")
	head, body := raw("/generate", proof, source(plan))
	var headers, bodies []net.Conn
	for range 100 {
		headers, bodies = append(headers, s.dial()), append(bodies, s.dial())
		_, _ = io.WriteString(headers[len(headers)-1], head[:len(head)/2])
		_, _ = io.WriteString(bodies[len(bodies)-1], head+body[:len(body)/2])
	}
	slowest := s.dial() // its other half comes when everybody else has been answered
	_, _ = io.WriteString(slowest, head+body[:1])
	for range 20 {
		s.open(proof, plan)
	}
	_, _ = io.WriteString(slowest, body[1:])
	s.answer(slowest).want(t, 200, "")
	for _, c := range headers {
		if text := slow.cutOff(t, c); text != "" {
			t.Errorf("half a header is answered with %s", text)
		}
	}
	for _, c := range bodies {
		if text := slow.cutOff(t, c); !strings.HasPrefix(text, "HTTP/1.1 400 ") ||
			!strings.Contains(text, "Connection: close") {
			t.Errorf("half a body is answered with %s", text)
		}
	}
	s.calls(t, 21, 0)
	if slow.now < 10*time.Second {
		t.Errorf("all were cut off after %v", slow.now)
	}
}

// TestBodyCutOff: half a body is a 400 to whoever still listens, and nothing is asked of IMM,
// nothing spent.
func TestBodyCutOff(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.page()
	for _, path := range []string{"/generate", "/refresh"} {
		body := p.body
		if path == "/refresh" {
			s.advance(sdkRefreshes)
			body = tokensOf(p.last)
		}
		head, text := raw(path, p.proof(), body)
		requests, half, gone := len(s.IMM.Requests()), s.dial(), s.dial()
		_, _ = io.WriteString(half, head+text[:len(text)/2])
		if err := half.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		s.answer(half).want(t, 400, "InvalidArgument")
		_, _ = io.WriteString(gone, head+text[:len(text)/2]) // and one who does not listen
		_ = gone.Close()
		if after := len(s.IMM.Requests()); after != requests {
			t.Errorf("%s: IMM was asked", path)
		}
		if asked, got := p.ask(); got.status != 200 || "/"+asked != path {
			t.Errorf("%s: %v", asked, got)
		}
		p.wantOpen()
	}
	s.calls(t, 1, 1)
	if lines := s.logs.lines("request"); lines[0]["message"] != "The body broke off." {
		t.Errorf("%v", lines)
	}
}

// TestAnswerThatNobodyReads: the page is gone before the answer. What was asked of IMM is finished,
// and a page that comes again with the same tokens gets that answer: the refresh token was spent
// once. A generate is made anew.
func TestAnswerThatNobodyReads(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.page()
	for i, path := range []string{"/generate", "/refresh"} {
		body := p.body
		if path == "/refresh" {
			s.advance(sdkRefreshes)
			body = tokensOf(p.last)
		}
		entered, release := s.gate.hold(1)
		head, text := raw(path, p.proof(), body)
		c := s.dial()
		_, _ = io.WriteString(c, head+text)
		<-entered
		_ = c.Close()
		release()
		s.gate.settle()
		if asked, got := p.ask(); "/"+asked != path || got.status != 200 {
			t.Errorf("%v", got)
		}
		s.calls(t, 2, i)
		p.wantOpen()
	}
	s.spentOnce()
}
