package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// due is the request that a page sends next, as bytes: its generate, or later its refresh.
func (p *page) due() (head, body string) {
	path, body := "/generate", p.body
	if p.last.RefreshToken != "" {
		p.advance(sdkRefreshes)
		path, body = "/refresh", tokensOf(p.last)
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: f\r\nOrigin: %s\r\n"+
		"Content-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n",
		path, origin, p.proof().Reveal(), len(body)), body
}

// send opens a connection and sends on it. Whoever calls it closes it.
func (s *instance) send(text string) *net.TCPConn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err == nil {
		_, err = io.WriteString(c, text)
	}
	if err != nil {
		s.t.Fatal(err)
	}
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

// TestHalfRequests: a hundred clients send half of a header or of a body, and then nothing more.
// They hold nobody up, a slow page neither, and nothing of theirs reaches IMM or is spent. Half a
// body is a 400 to whoever still listens. That each is cut off in time is shared/platform's.
func TestHalfRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	send := func(text string) *net.TCPConn {
		c := s.send(text)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	p, other := s.page(), s.page()
	for round := range 2 {
		head, body := p.due()
		var last *net.TCPConn
		for range 50 {
			send(head[:len(head)/2])
			last = send(head + body[:len(body)/2])
		}
		if err := last.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		s.answer(last).want(t, 400, "InvalidArgument")
		_ = s.send(head + body[:len(body)/2]).Close() // and one who does not listen
		otherHead, otherBody := other.due()
		slow := send(otherHead + otherBody[:1]) // its other half comes when others were answered
		s.calls(t, 2*min(round, 1), 0)
		if asked, got := p.ask(); got.status != 200 {
			t.Errorf("%s: %v", asked, got)
		}
		p.wantOpen()
		_, _ = io.WriteString(slow, otherBody[1:])
		other.last = s.answer(slow).want(t, 200, "")
		s.calls(t, 2, 2*round)
	}
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
	for round := range 2 {
		head, body := p.due()
		entered, release := s.network.hold(1)
		c := s.send(head + body)
		<-entered
		_ = c.Close()
		release()
		s.network.settle()
		if asked, got := p.ask(); got.status != 200 {
			t.Errorf("%s: %v", asked, got)
		}
		s.calls(t, 2, round)
		p.wantOpen()
	}
}
