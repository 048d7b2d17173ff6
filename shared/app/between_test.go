package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// relay is the network between the functions and IMM.
type relay struct {
	t           testing.TB
	url         string
	behind      string // host and port
	mu          sync.Mutex
	listener    net.Listener // nil: nobody listens
	connections map[*relayed]bool
	running     sync.WaitGroup
}

// relayPorts counts ports up from below those that systems give out by themselves, so that nobody
// takes a relay's port while it does not listen.
var relayPorts = func() *atomic.Int32 { var p atomic.Int32; p.Store(20_000); return &p }()

func newRelay(t testing.TB, behind string) *relay {
	t.Helper()
	r := &relay{t: t, behind: strings.TrimPrefix(behind, "http://"),
		connections: map[*relayed]bool{}}
	for r.listener == nil {
		port := relayPorts.Add(1)
		if port > 32_000 {
			t.Fatal("no port is free for a relay")
		}
		r.url = fmt.Sprintf("http://127.0.0.1:%d", port)
		r.listen()
	}
	t.Cleanup(func() { r.down(); r.running.Wait() })
	return r
}

// listen makes the relay reachable, if its port is free.
func (r *relay) listen() {
	listener, err := net.Listen("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		return
	}
	r.mu.Lock()
	r.listener = listener
	r.mu.Unlock()
	r.running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.pass(c) })
		}
	})
}

// relayed is one connection and what is behind it.
type relayed struct {
	here, there net.Conn
	silent      atomic.Bool // this side holds it for alive, the other has forgotten it
}

func (r *relay) pass(here net.Conn) {
	there, err := net.Dial("tcp", r.behind)
	if err != nil {
		_ = here.Close()
		return
	}
	c := &relayed{here: here, there: there}
	r.mu.Lock()
	if r.connections[c] = true; r.listener == nil { // it has gone down meanwhile
		_, _ = here.Close(), there.Close()
	}
	r.mu.Unlock()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(here, there)
		if !c.silent.Load() {
			_ = here.Close()
		}
	})
	_, _ = io.Copy(c, here)
	_ = there.Close()
	back.Wait()
	_ = here.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.connections, c)
}

// Write passes on what the functions send, unless the other side has forgotten them.
func (c *relayed) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	return c.there.Write(p)
}

// down: nobody listens any more, and what was connected is cut.
func (r *relay) down() {
	r.mu.Lock()
	if r.listener != nil {
		_ = r.listener.Close()
		r.listener = nil
	}
	r.mu.Unlock()
	r.cut(false)
}

func (r *relay) up() {
	r.t.Helper()
	if r.listen(); r.listener == nil {
		r.t.Fatalf("%s was taken meanwhile", r.url)
	}
}

// cut closes every connection, as IMM does with idle ones during a freeze, or makes each half open:
// the other side has forgotten it.
func (r *relay) cut(halfOpen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.connections {
		c.silent.Store(halfOpen)
		if _ = c.there.Close(); !halfOpen {
			_ = c.here.Close()
		}
	}
}

// gate stands before the stand-in: a gateway that can answer in its place, and that knows when it
// has come to rest.
type gate struct {
	imm     http.Handler
	mu      sync.Mutex
	rest    *sync.Cond
	busy    int
	instead []http.HandlerFunc
}

func newGate(imm http.Handler) *gate {
	g := &gate{imm: imm}
	g.rest = sync.NewCond(&g.mu)
	return g
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.busy++
	answer := g.imm.ServeHTTP
	if r.Method == http.MethodPost && r.URL.Path == "/" && len(g.instead) > 0 {
		answer, g.instead = g.instead[0], g.instead[1:]
	}
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.busy--
		g.rest.Broadcast()
	}()
	answer(w, r)
}

// answerNext takes the next call in IMM's place.
func (g *gate) answerNext(with http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.instead = append(g.instead, with)
}

// hold lets the next calls wait: entered tells of each, and release lets all go on.
func (g *gate) hold(calls int) (entered <-chan struct{}, release func()) {
	arrived, open := make(chan struct{}, calls), make(chan struct{})
	for range calls {
		g.answerNext(func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-open
			g.imm.ServeHTTP(w, r)
		})
	}
	return arrived, func() { close(open) }
}

// settle waits until IMM has noticed that whoever left has left.
func (g *gate) settle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.busy > 0 {
		g.rest.Wait()
	}
}
