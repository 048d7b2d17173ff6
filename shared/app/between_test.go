package app_test

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// network is what lies between the functions and IMM: a gateway at an address of its own, which can
// be out of reach for a while, whose connections can be cut, which can answer in IMM's place, and
// which knows when it has come to rest.
type network struct {
	t           testing.TB
	url         string
	imm         http.Handler
	server      *http.Server
	mu          sync.Mutex
	connections map[*connection]bool
	rest        *sync.Cond
	busy        int
	instead     []http.HandlerFunc
}

// networkPorts counts ports up from below those that systems give out by themselves, so that nobody
// takes a network's port while it does not listen.
var networkPorts = func() *atomic.Int32 { var p atomic.Int32; p.Store(20_000); return &p }()

func newNetwork(t testing.TB, imm http.Handler) *network {
	t.Helper()
	n := &network{t: t, imm: imm, connections: map[*connection]bool{}}
	n.rest = sync.NewCond(&n.mu)
	err := net.ErrClosed
	for port := networkPorts.Add(1); err != nil; port = networkPorts.Add(1) {
		if port > 32_000 {
			t.Fatal("no port is free for a network")
		}
		n.url = fmt.Sprintf("http://127.0.0.1:%d", port)
		err = n.listen()
	}
	t.Cleanup(func() { n.down(); n.cut(false) })
	return n
}

// listen makes IMM reachable.
func (n *network) listen() error {
	listener, err := net.Listen("tcp", n.url[len("http://"):])
	if err == nil {
		n.server = &http.Server{Handler: n}
		go func(s *http.Server) { _ = s.Serve(&accepting{listener, n}) }(n.server)
	}
	return err
}

// up makes IMM reachable again.
func (n *network) up() {
	n.t.Helper()
	if err := n.listen(); err != nil {
		n.t.Fatal("taken meanwhile: ", err)
	}
}

// down: nobody listens any more, and what was connected is cut.
func (n *network) down() { _ = n.server.Close() }

// cut closes every connection, as IMM does with idle ones during a freeze, or makes each half open:
// IMM forgets it, and the functions hold it for alive.
func (n *network) cut(halfOpen bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.connections {
		if c.forgotten.Store(halfOpen); halfOpen {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		} else {
			_ = c.Conn.Close()
		}
	}
}

type accepting struct {
	net.Listener
	network *network
}

func (a *accepting) Accept() (net.Conn, error) {
	accepted, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	a.network.mu.Lock()
	defer a.network.mu.Unlock()
	c := &connection{Conn: accepted, network: a.network}
	a.network.connections[c] = true
	return c, nil
}

// connection is one as IMM sees it.
type connection struct {
	net.Conn
	network   *network
	forgotten atomic.Bool
}

func (c *connection) Write(p []byte) (int, error) {
	if c.forgotten.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *connection) Close() error {
	if c.forgotten.Load() {
		return nil
	}
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	delete(c.network.connections, c)
	return c.Conn.Close()
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.busy++
	answer := n.imm.ServeHTTP
	if r.Method == http.MethodPost && r.URL.Path == "/" && len(n.instead) > 0 {
		answer, n.instead = n.instead[0], n.instead[1:]
	}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.busy--
		n.rest.Broadcast()
	}()
	answer(w, r)
}

// answerNext takes the next call in IMM's place.
func (n *network) answerNext(with http.HandlerFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.instead = append(n.instead, with)
}

// hold lets the next calls wait: entered tells of each, and release lets all go on.
func (n *network) hold(calls int) (entered <-chan struct{}, release func()) {
	arrived, open := make(chan struct{}, calls), make(chan struct{})
	for range calls {
		n.answerNext(func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-open
			n.imm.ServeHTTP(w, r)
		})
	}
	return arrived, func() { close(open) }
}

// settle waits until IMM has noticed that whoever left has left.
func (n *network) settle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.busy > 0 {
		n.rest.Wait()
	}
}
