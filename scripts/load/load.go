package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/standin/office"
)

const loadPolicy = `
office: true
project: test-project
origins: [https://docs.example.com]
limits: {anyone: 1000000/s, caller: 1000000/s}
rules: [{name: anyone, documents: "oss://test-bucket/**", callers: anyone, grant: [view, copy]}]
`

// bench is a functions' server as Function Compute's custom runtime runs it, with a stand-in behind
// it, both on loopback.
type bench struct {
	url    string
	office *office.Server
	client *http.Client
	clock  *fastClock
	stop   func()
}

// fastClock runs faster than time does, so that a page's day passes in seconds.
type fastClock struct {
	start time.Time
	speed float64
}

func (c *fastClock) now() time.Time {
	return c.start.Add(time.Duration(float64(time.Since(c.start)) * c.speed))
}

func startBench(speed float64, officeTakes time.Duration) (_ *bench, err error) {
	clock := &fastClock{start: time.Now(), speed: speed}
	b := &bench{clock: clock, office: office.New(office.Options{Now: clock.now})}
	officeListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, officeListener.Close())
	}
	folder, err := os.MkdirTemp("", "weboffice-load")
	defer func() {
		if err != nil {
			_ = errors.Join(officeListener.Close(), listener.Close(), os.RemoveAll(folder))
		}
	}()
	if err != nil {
		return nil, err
	}
	officeServer := &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(officeTakes)
			b.office.ServeHTTP(w, r)
		})}
	go func() { _ = officeServer.Serve(officeListener) }()
	policyFile := filepath.Join(folder, "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(loadPolicy), 0o600); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	credentials := b.office.Credentials()
	environment := map[string]string{
		"WEBOFFICE_SESSION_KEYS": base64.StdEncoding.EncodeToString(key),
		"WEBOFFICE_POLICY_FILE":  policyFile, "WEBOFFICE_REGION": "cn-shanghai",
		"WEBOFFICE_IMM_ENDPOINT": "http://" + officeListener.Addr().String(),
		"FC_FUNCTION_NAME":       "weboffice", "FC_CUSTOM_LISTEN_PORT": "9000",
		"ALIBABA_CLOUD_ACCESS_KEY_ID":     credentials.AccessKeyID,
		"ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials.Secret,
		"ALIBABA_CLOUD_SECURITY_TOKEN":    credentials.SecurityToken,
	}
	getenv := func(name string) string { return environment[name] }
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil))
	a, err := app.New(getenv, clock.now, logger)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/generate", generate.New(a))
	mux.Handle("/refresh", refresh.New(a))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- platform.Serve(ctx, mux, platform.Options{Getenv: getenv, Logger: logger,
			Listener: listener})
	}()
	b.url = "http://" + listener.Addr().String()
	// 200 is the most that Function Compute gives one instance at once; what comes beyond that
	// waits before it, here as there.
	b.client = &http.Client{Timeout: 20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 200, MaxConnsPerHost: 200}}
	b.stop = func() {
		b.client.CloseIdleConnections()
		cancel()
		<-served
		_ = officeServer.Close()
		_ = os.RemoveAll(folder)
	}
	return b, nil
}

// tokens is what a page keeps.
type tokens struct {
	AccessToken, RefreshToken string
	Timeout                   int64 `json:",omitempty"`
}

// post sends one request; code is "" when it was answered with tokens.
func (b *bench) post(ctx context.Context, path string, body any) (got tokens, code string) {
	text, err := json.Marshal(body)
	if err != nil {
		return got, err.Error()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path,
		bytes.NewReader(text))
	if err != nil {
		return got, err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := b.client.Do(request)
	if err != nil {
		return got, "no answer"
	}
	defer response.Body.Close()
	var answer struct {
		tokens
		Code string
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return got, "no JSON"
	}
	return answer.tokens, answer.Code
}

func (b *bench) generate(ctx context.Context) (tokens, string) {
	return b.post(ctx, "/generate", map[string]string{
		"SourceURI": "oss://test-bucket/test-object.docx"})
}

func (b *bench) refresh(ctx context.Context, t tokens) (tokens, string) {
	t.Timeout = 0
	return b.post(ctx, "/refresh", t)
}

// page lives one day of eight hours: it opens, refreshes five minutes before each token's end, is
// reloaded five times (a reload asks refresh whether its tokens are still good) and sleeps once for
// two hours.
func (b *bench) page(ctx context.Context, m *meter) {
	const day = 8 * time.Hour
	events := moments(5, day)
	sleepAt := time.Duration(mathrand.Int64N(int64(day - 2*time.Hour)))
	opened := b.clock.now()
	held, ok := m.measure("generate", func() (tokens, string) { return b.generate(ctx) })
	for ok && ctx.Err() == nil {
		age := b.clock.now().Sub(opened)
		next := age + time.Duration(held.Timeout)*time.Millisecond - 5*time.Minute
		if sleepAt > 0 && next > sleepAt {
			next, sleepAt = max(next, sleepAt+2*time.Hour), 0
		}
		kind := "refresh"
		for i, at := range events {
			if at > age && at < next {
				next, kind, events[i] = at, "reload", 0
			}
		}
		if next > day {
			return
		}
		b.sleepUntil(ctx, opened.Add(next))
		held, ok = m.measure(kind, func() (tokens, string) { return b.refresh(ctx, held) })
	}
}

// moments are n random times within a day, the earliest first.
func moments(n int, day time.Duration) []time.Duration {
	times := make([]time.Duration, n)
	for i := range times {
		times[i] = time.Duration(mathrand.Int64N(int64(day)))
	}
	slices.Sort(times)
	return times
}

func (b *bench) sleepUntil(ctx context.Context, at time.Time) {
	timer := time.NewTimer(time.Duration(float64(at.Sub(b.clock.now())) / b.clock.speed))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// load runs N pages' days, then a ramp of generates per second, and draws the ramp.
func load(ctx context.Context, pages int, stdout io.Writer) error {
	if pages < 1 || pages > 100_000 {
		return errors.New("-load is 1 to 100000 pages")
	}
	app.Tune(os.Getenv)
	if err := days(ctx, pages, stdout); err != nil {
		return err
	}
	quick, err := throughput(ctx, stdout)
	if err != nil {
		return err
	}
	var points []point
	for _, rate := range []int{100, 250, 500, 1000, 1500, 2000} {
		if rate > quick {
			break
		}
		p, err := openLoop(ctx, rate, 50*time.Millisecond, 4*time.Second)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout,
			"open loop, IMM at 50 ms: %5d/s  added p50 %6.2f ms  added p99 %6.2f ms  errors %d\n",
			rate, p.p50, p.p99, p.errors)
		points = append(points, p)
	}
	file := filepath.Join("dist", "load.svg")
	if err := os.MkdirAll("dist", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, plot(points), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "latency over load is drawn in", file)
	return ctx.Err()
}

// days lets all pages live a day at once, compressed so that they ask about a thousand times a
// second.
func days(ctx context.Context, pages int, stdout io.Writer) error {
	const requestsOfAPage = 22
	seconds := max(float64(pages*requestsOfAPage)/1000, 5)
	b, err := startBench(8*3600/seconds, 0)
	if err != nil {
		return err
	}
	defer b.stop()
	m := newMeter()
	var all sync.WaitGroup
	begin := time.Now()
	for range pages {
		all.Go(func() {
			// Not all at once: people come within the first hour.
			b.sleepUntil(ctx, b.clock.now().Add(time.Duration(mathrand.Int64N(int64(time.Hour)))))
			b.page(ctx, m)
		})
	}
	all.Wait()
	calls := b.office.Calls()
	fmt.Fprintf(stdout, "%d pages lived 8 hours in %.0f s\n", pages, time.Since(begin).Seconds())
	m.print(stdout, time.Since(begin))
	fmt.Fprintf(stdout,
		"billed calls %d (generate %d, refresh %d): %.1f a page and day; refresh tokens spent twice: %d\n",
		calls.Generate+calls.Refresh, calls.Generate, calls.Refresh,
		float64(calls.Generate+calls.Refresh)/float64(pages), len(b.office.DoubleSpends()))
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	fmt.Fprintf(stdout, "heap in use %.1f MB, functions, stand-in and pages together\n",
		float64(memory.HeapInuse)/1e6)
	return ctx.Err()
}

// throughput is a closed loop of 64: as many generates a second as this machine makes with IMM
// answering at once.
func throughput(ctx context.Context, stdout io.Writer) (perSecond int, err error) {
	b, err := startBench(1, 0)
	if err != nil {
		return 0, err
	}
	defer b.stop()
	m := newMeter()
	var all sync.WaitGroup
	begin := time.Now()
	for range 64 {
		all.Go(func() {
			for time.Since(begin) < 4*time.Second && ctx.Err() == nil {
				m.measure("generate", func() (tokens, string) { return b.generate(ctx) })
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	fmt.Fprintln(stdout, "closed loop of 64, IMM at once:")
	m.print(stdout, took)
	return int(float64(m.count()) / took.Seconds()), ctx.Err()
}

// openLoop asks at a fixed rate whether answers come or not; latency counts from when a request was
// due.
func openLoop(ctx context.Context, rate int, officeTakes, length time.Duration) (point, error) {
	b, err := startBench(1, officeTakes)
	if err != nil {
		return point{}, err
	}
	defer b.stop()
	m := newMeter()
	var all sync.WaitGroup
	for range 128 { // connections
		all.Go(func() { b.generate(ctx) })
	}
	all.Wait()
	begin := time.Now()
	for i := 0; time.Since(begin) < length && ctx.Err() == nil; i++ {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		all.Go(func() {
			_, code := b.generate(ctx)
			m.add("generate", time.Since(due)-officeTakes, code)
		})
	}
	all.Wait()
	return m.point(rate), ctx.Err()
}
