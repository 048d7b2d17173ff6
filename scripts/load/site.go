package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/scripts/exchange"
	"weboffice-functions/shared/app"
	"weboffice-functions/shared/platform"
	"weboffice-functions/shared/standin/local"
)

//go:embed policy.yaml
var policy []byte

const (
	servesVariable = "WEBOFFICE_LOAD_SERVES" // the process is the functions'
	nowHeader      = "X-Virtual-Now"         // the clock
)

// used is what the functions' process has used so far.
type used struct {
	Processor time.Duration
	Heap      uint64 // in use after a collection, bytes
}

// serve runs the functions as Function Compute's custom runtime does, until ctx ends. Its first
// line of output is its address. It takes the time from requests.
func serve(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	app.Tune(getenv)
	var clock atomic.Int64 // nanoseconds since 1970
	clock.Store(time.Now().UnixNano())
	now := func() time.Time { return time.Unix(0, clock.Load()) }
	logger := slog.New(slog.NewJSONHandler(io.Discard, nil)) // written, and thrown away
	a, err := app.New(getenv, now, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, listener.Addr())
	functions := http.NewServeMux()
	functions.Handle("/generate", generate.New(a))
	functions.Handle("/refresh", refresh.New(a))
	functions.HandleFunc("/used", func(w http.ResponseWriter, _ *http.Request) {
		var spent syscall.Rusage
		var memory runtime.MemStats
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &spent) // a process may always ask for its own
		runtime.GC()
		runtime.ReadMemStats(&memory)
		processor := time.Duration(spent.Utime.Nano() + spent.Stime.Nano())
		_ = json.NewEncoder(w).Encode(used{processor, memory.HeapInuse}) // who asks reads it all
	})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var at int64
		if _, err := fmt.Sscan(r.Header.Get(nowHeader), &at); err == nil {
			clock.Store(at)
		}
		functions.ServeHTTP(w, r)
	})
	return platform.Serve(ctx, handler, platform.Options{Getenv: getenv, Logger: logger,
		Listener: listener})
}

// site is the IMM stand-in in this process, and the functions in one of their own.
type site struct {
	clock     *local.Clock // everybody's; it goes forward while no request is under way
	local     *local.Local
	functions exchange.Functions
	process   *exec.Cmd
	immAt     atomic.Int64 // how long IMM takes to answer
}

func start(ctx context.Context) (*site, error) {
	s := &site{clock: local.NewClock(time.Now())}
	s.functions.Client = &http.Client{Timeout: 30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	var err error
	s.local, err = local.Start(local.Options{Now: s.clock.Now, Policy: policy,
		Generate: generate.New, Refresh: refresh.New,
		Gateway: func(imm http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Duration(s.immAt.Load()))
				imm.ServeHTTP(w, r)
			})
		}})
	if err != nil {
		return nil, err
	}
	s.process = exec.CommandContext(ctx, os.Args[0])
	s.process.Env = []string{servesVariable + "=1", "FC_FUNCTION_NAME=weboffice",
		"FC_FUNCTION_MEMORY_SIZE=256"} // as s.yaml has it
	for name, value := range s.local.Environment {
		s.process.Env = append(s.process.Env, name+"="+value)
	}
	s.process.Stderr = os.Stderr
	output, err := s.process.StdoutPipe()
	if err == nil {
		err = s.process.Start()
	}
	if err != nil {
		return nil, errors.Join(err, s.local.Close())
	}
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		s.close()
		return nil, fmt.Errorf("the functions do not start: %w", err)
	}
	url := "http://" + strings.TrimSpace(address)
	s.functions.Generate, s.functions.Refresh = url+"/generate", url+"/refresh"
	return s, nil
}

func (s *site) close() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
	_ = s.local.Close()
}

// ask sends what a page does, as of the site's clock, and measures the time since begin; ok says
// whether it was answered with tokens.
func (s *site) ask(ctx context.Context, m *meter, kind string, held exchange.Body,
	begin time.Time) (got exchange.Body, ok bool) {
	e := exchange.Exchange{Body: `{"SourceURI":"oss://test-bucket/test-object.docx"}`,
		Header: map[string]string{nowHeader: fmt.Sprint(s.clock.Now().UnixNano())}}
	if kind != "generate" {
		e.Refresh = true
		e.Body = fmt.Sprintf(`{"AccessToken":%q,"RefreshToken":%q}`, held.AccessToken,
			held.RefreshToken)
	}
	answer, err := s.functions.Send(ctx, e)
	if err != nil {
		answer.Body.Code = "no answer in JSON"
	}
	m.add(kind, time.Since(begin), answer.Body.Code)
	return answer.Body, answer.Body.Code == ""
}

func (s *site) used() (u used, err error) {
	address := strings.Replace(s.functions.Generate, "/generate", "/used", 1)
	response, err := s.functions.Client.Get(address)
	if err != nil {
		return u, err
	}
	defer response.Body.Close()
	err = json.NewDecoder(response.Body).Decode(&u)
	return u, err
}
