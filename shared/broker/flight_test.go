package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weboffice-functions/shared/credentials"
	"weboffice-functions/shared/imm"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/session"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// The tests of this file run in a bubble: the network is pipes, and time passes only when all wait.

const openToAnyone = `
project: test-project
limits: {anyone: 1000/m}
rules:
  - {name: everything, documents: oss://test-bucket/**, callers: anyone, grant: [view, edit, copy]}
`

// pipes is a net.Listener without a network.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.connections <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// bubble is a broker and the IMM that it calls.
type bubble struct {
	*Broker
	t      *testing.T
	office *office.Server
	mu     sync.Mutex
	log    bytes.Buffer
}

func (b *bubble) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

// inBubble runs a test with a broker of its own.
func inBubble(t *testing.T, test func(*testing.T, *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, office: office.New(office.Options{})}
		listener := &pipes{connections: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: b.office}
		go func() { _ = server.Serve(listener) }()
		transport := &http.Transport{DialContext: listener.dial}
		defer func() {
			_ = server.Close()
			transport.CloseIdleConnections()
		}()
		keys := b.office.Credentials()
		logger := slog.New(slog.NewJSONHandler(b, nil))
		client, err := imm.New(imm.Options{
			Endpoint: "http://127.0.0.1:1", Region: "cn-shanghai", Now: time.Now, Logger: logger,
			Transport: transport,
			Credentials: credentials.Static(credentials.Credentials{
				AccessKeyID: keys.AccessKeyID, AccessKeySecret: weboffice.Secret(keys.Secret),
				SecurityToken: weboffice.Secret(keys.SecurityToken),
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.Broker = newBroker(t, client, logger)
		test(t, b)
	})
}

func newBroker(t *testing.T, client *imm.Client, logger *slog.Logger) *Broker {
	t.Helper()
	rules, err := policy.Parse([]byte(openToAnyone), policy.Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := session.NewSealer([][]byte{bytes.Repeat([]byte{7}, session.KeySize)},
		"test-project", "cn-shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Policy: rules, IMM: client, Sealer: sealer, Now: time.Now, Logger: logger})
}

var passerBy = Visitor{Address: netip.MustParseAddr("192.0.2.1")}

// open generates, and lets so much time pass that the next refresh calls IMM.
func (b *bubble) open() weboffice.RefreshRequest {
	b.t.Helper()
	opened, err := b.Generate(b.t.Context(), passerBy,
		weboffice.Request{SourceURI: "oss://test-bucket/test-object.docx"})
	if err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(15 * time.Minute)
	return weboffice.RefreshRequest{AccessToken: opened.AccessToken,
		RefreshToken: weboffice.Secret(opened.RefreshToken.Reveal())}
}

func (b *bubble) calls(generates, refreshes int) {
	b.t.Helper()
	if got := b.office.Calls(); got.Generate != generates || got.Refresh != refreshes {
		b.t.Fatalf("IMM did %+v, want %d and %d", got, generates, refreshes)
	}
}

// lines are the audit lines so far, without that of open.
func (b *bubble) lines() []map[string]any {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []map[string]any
	for line := range strings.Lines(b.log.String()) {
		var attributes map[string]any
		if err := json.Unmarshal([]byte(line), &attributes); err != nil {
			b.t.Fatal(err)
		}
		if attributes["msg"] == "decision" {
			lines = append(lines, attributes)
		}
	}
	return lines[1:]
}

// result is what one of many requests got.
type result struct {
	Answer
	err error
}

// refreshes starts n refreshes with one sealed token and waits until all of them wait.
func (b *bubble) refreshes(ctx context.Context, n int,
	tokens weboffice.RefreshRequest) <-chan result {
	results := make(chan result, n)
	for range n {
		go func() {
			answer, err := b.Refresh(ctx, passerBy, tokens)
			results <- result{answer, err}
		}()
	}
	synctest.Wait()
	return results
}

func TestFiftyRefreshesAtOnceAreOneCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		release := make(chan struct{})
		b.office.Fail(office.Refresh, 1, office.Slow(release))
		results := b.refreshes(t.Context(), 50, tokens)
		close(release)
		first := <-results
		for range 49 {
			if other := <-results; other.err != nil || other.Answer != first.Answer {
				t.Fatalf("%+v differs from %+v", other, first)
			}
		}
		b.calls(1, 1)
		billed, replayed := 0, 0
		for _, line := range b.lines() {
			billed += int(line["billed"].(float64))
			if line["outcome"] == "replayed" {
				replayed++
			}
		}
		if billed != 1 || replayed != 49 || len(b.lines()) != 50 {
			t.Errorf("%d lines, %d billed, %d replayed", len(b.lines()), billed, replayed)
		}
	})
}

// The page that began a refresh may be closed while others wait for it.
func TestRefreshGoesOnWhenWhoBeganItLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		release := make(chan struct{})
		b.office.Fail(office.Refresh, 1, office.Slow(release))
		leaving, leave := context.WithCancel(t.Context())
		gone := b.refreshes(leaving, 1, tokens)
		waiting := b.refreshes(t.Context(), 2, tokens)
		leave()
		var public *weboffice.Error
		if left := <-gone; !errors.As(left.err, &public) || public.Kind != weboffice.Timeout {
			t.Errorf("who left got %+v", left)
		}
		if line := b.lines()[0]; line["maybeBilled"] != true {
			t.Errorf("the call that goes on is in no audit line: %v", line)
		}
		close(release)
		one, two := <-waiting, <-waiting
		if one.err != nil || one.Answer != two.Answer {
			t.Errorf("%+v and %+v", one, two)
		}
		late, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil || late.AccessToken != one.AccessToken {
			t.Errorf("%+v, %v", late, err)
		}
		b.calls(1, 1)
		for _, line := range b.lines()[1:] {
			if line["maybeBilled"] != false || line["billed"] != 0.0 ||
				line["outcome"] != "replayed" {
				t.Errorf("%v", line)
			}
		}
	})
}

// A refresh that is not answered may have spent its token: half of the time is kept for a Generate.
func TestRefreshWithoutAnAnswerGeneratesInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		b.office.Fail(office.Refresh, 1, office.Slow(nil))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		answer, err := b.Refresh(ctx, passerBy, tokens)
		if err != nil || answer.WebofficeURL == "" || time.Since(start) != 5*time.Second {
			t.Fatalf("%+v, %v after %v", answer, err, time.Since(start))
		}
		b.calls(2, 0)
		if line := b.lines()[0]; line["outcome"] != "fallback" || line["fallback"] != true ||
			line["billed"] != 1.0 ||
			line["maybeBilled"] != true {
			t.Errorf("%v", line)
		}
	})
}

// A failure is told to all who wait for it, and to nobody after that.
func TestFailureIsNotRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		b.office.Fail(office.Refresh, 1, office.Throttled(3*time.Second))
		var public *weboffice.Error
		if _, err := b.Refresh(t.Context(), passerBy, tokens); !errors.As(err, &public) ||
			public.Kind != weboffice.Throttled ||
			public.RetryAfter != 3*time.Second {
			t.Fatal(err)
		}
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Fatal(err)
		}
		b.calls(1, 1)
	})
}

func TestSilentIMMEndsInATimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		b.office.Fail("", 0, office.Slow(nil))
		start := time.Now()
		_, err := b.Refresh(t.Context(), passerBy, tokens) // without a deadline of the platform's
		var public *weboffice.Error
		if !errors.As(err, &public) || public.Kind != weboffice.Timeout ||
			time.Since(start) > flightTime {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if line := b.lines()[0]; line["maybeBilled"] != true || line["billed"] != 0.0 ||
			line["outcome"] != "ServiceTimeout" {
			t.Errorf("%v", line)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start = time.Now()
		_, err = b.Generate(ctx, passerBy,
			weboffice.Request{SourceURI: "oss://test-bucket/test-object.docx"})
		if !errors.As(err, &public) || public.Kind != weboffice.Timeout ||
			time.Since(start) != 3*time.Second {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if line := b.lines()[1]; line["maybeBilled"] != true {
			t.Errorf("a Generate that was sent and not answered: %v", line)
		}
		b.office.ClearFaults()
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Error("afterwards:", err)
		}
	})
}

// An answer is repeated for a minute. After that the instance still knows that it has used the
// refresh token.
func TestSpentTokenIsNotSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		first, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(replayFor - time.Second)
		again, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil || again.AccessToken != first.AccessToken ||
			again.RefreshToken != first.RefreshToken ||
			first.Life-again.Life != replayFor-time.Second {
			t.Fatalf("%+v, %v", again, err)
		}
		b.calls(1, 1)
		time.Sleep(time.Second)
		later, err := b.Refresh(t.Context(), passerBy, tokens)
		if err != nil || later.AccessToken == first.AccessToken {
			t.Fatalf("%+v, %v", later, err)
		}
		b.calls(2, 1)
		if spends := b.office.DoubleSpends(); len(spends) != 0 || b.office.Calls().Failed != 0 {
			t.Errorf("%d double spends", len(spends))
		}
		if line := b.lines()[2]; line["outcome"] != "fallback" || line["billed"] != 1.0 {
			t.Errorf("%v", line)
		}
		if _, err := b.Refresh(t.Context(), passerBy, tokens); err != nil {
			t.Fatal(err)
		}
		b.calls(2, 1)
	})
}

// A panic in a flight would end the process, and one in a decision must not leave an audit line
// that says that all went well.
func TestPanicIsAnErrorInTheAudit(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		tokens := b.open()
		b.Broker.imm = nil // whatever is called now panics
		results := b.refreshes(t.Context(), 2, tokens)
		for range 2 {
			var public *weboffice.Error
			if got := <-results; !errors.As(got.err, &public) || public.Kind != weboffice.Internal {
				t.Errorf("%+v", got)
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the edge does not learn of the panic")
				}
			}()
			_, _ = b.Generate(t.Context(), passerBy,
				weboffice.Request{SourceURI: "oss://test-bucket/test-object.docx"})
		}()
		lines := b.lines()
		if len(lines) != 3 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			if line["outcome"] != "InternalError" || line["level"] != "ERROR" {
				t.Errorf("%v", line)
			}
		}
	})
}
