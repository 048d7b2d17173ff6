// Package cloud stands in for the platforms that package platform serves on: Function Compute's go1
// runtime, its custom runtime, Lambda, and a container behind one proxy. Each stand-in has the
// process's side (a runtime API to poll, or calls of the process's port) and the callers' side:
// Invoke is what `s invoke` and `aws lambda invoke` do, RoundTrip is the HTTP gateway, so that
// http.Client{Transport: runtime} asks a function as a page does.
//
//	runtime, err := cloud.NewFunctionCompute()
//	defer runtime.Close()
//	command := exec.Command("dist/fc/generate/bootstrap")
//	command.Env = append(os.Environ(), runtime.Env()...)
//	…
//	defer command.Process.Kill()
//	client := &http.Client{Transport: runtime}
//	answer, err := client.Post("https://function.example.com/", "application/json", body)
//
// A runtime belongs to one process at a time. Stop the process before Close: Function Compute's SDK
// asks a lost runtime API again without end, Lambda's ends its process. Everything stays on
// loopback. Only tests and scripts import this package.
package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Role is the RAM role that Function Compute gives a function.
type Role struct{ AccessKeyID, AccessKeySecret, SecurityToken string }

// Runtime is the stand-in of one platform. Its methods may be used concurrently, its fields be
// changed between calls.
type Runtime struct {
	// STS.local, local-secret, local-token: what the IMM stand-in takes. Function Compute alone
	// hands one out.
	Role     Role
	Timeout  time.Duration // the function's, 30 seconds
	ClientIP string        // the address that requests of RoundTrip come from, 203.0.113.7

	platform string
	address  string // of the runtime API, or of the process that has a port of its own
	calls    atomic.Int64
	client   *http.Client // of a process with a port, a custom runtime's or a container's
	server   *http.Server // of the others' runtime API
	queue    chan *call
	closed   chan struct{}
	close    func()
	running  sync.Map // calls by request id
}

// call is one invocation on its way through a runtime API.
type call struct {
	path    string // as a custom runtime would be asked: /invoke, /initialize or /pre-stop
	payload []byte
	outcome chan outcome
}

type outcome struct {
	answer []byte
	err    error
}

const (
	functionCompute = "go1"
	customRuntime   = "custom"
	lambda          = "lambda"
	container       = "container"
	startTimeout    = 120 * time.Second // Function Compute's, for a custom runtime's port to open
)

// NewFunctionCompute starts the runtime API of a go1 function.
func NewFunctionCompute() (*Runtime, error) { return newRuntime(functionCompute) }

// NewLambda starts the runtime API of a Lambda function.
func NewLambda() (*Runtime, error) { return newRuntime(lambda) }

// NewCustomRuntime chooses a free port for the process to listen on. The first call waits for the
// port to open.
func NewCustomRuntime() (*Runtime, error) { return newRuntime(customRuntime) }

// NewContainer is a container platform whose proxy stands before the process: it chooses a free
// port, as NewCustomRuntime does, and has neither invocations nor hooks.
func NewContainer() (*Runtime, error) { return newRuntime(container) }

func newRuntime(platform string) (*Runtime, error) {
	ported := platform == customRuntime || platform == container
	listener, err := net.Listener(nil), error(nil)
	for tries := 0; tries == 0 || err != nil && tries < 100; tries++ {
		port := 0
		if ported { // nobody is given one below 32768 by chance before the process opens it
			port = 20_000 + rand.IntN(12_000)
		}
		listener, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	}
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		Role:    Role{"STS.local", "local-secret", "local-token"},
		Timeout: 30 * time.Second, ClientIP: "203.0.113.7",
		platform: platform, address: listener.Addr().String(),
		queue: make(chan *call), closed: make(chan struct{}),
	}
	r.close = sync.OnceFunc(func() { close(r.closed) })
	if ported {
		r.client = &http.Client{Transport: &http.Transport{DialContext: dialStarting}}
		return r, listener.Close()
	}
	r.server = &http.Server{Handler: r.runtimeAPI()}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

// Close ends the runtime. A second call does nothing.
func (r *Runtime) Close() {
	r.close()
	if r.server != nil {
		_ = r.server.Close()
	} else {
		r.client.CloseIdleConnections()
	}
}

// Env is the environment that the platform gives a process; on Lambda with the credentials of an
// AWS role.
func (r *Runtime) Env() []string {
	const fc = "FC_FUNCTION_NAME=test-function FC_FUNCTION_HANDLER=bootstrap " +
		"FC_FUNCTION_MEMORY_SIZE=128 FC_REGION=cn-shanghai FC_ACCOUNT_ID=1234567890123456 "
	env := map[string]string{
		lambda: "AWS_LAMBDA_RUNTIME_API={address} AWS_LAMBDA_FUNCTION_NAME=test-function " +
			"AWS_LAMBDA_FUNCTION_VERSION=$LATEST AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128 " +
			"AWS_REGION=eu-central-1 _HANDLER=bootstrap AWS_ACCESS_KEY_ID=ASIALOCAL " +
			"AWS_SECRET_ACCESS_KEY=local-aws-secret AWS_SESSION_TOKEN=local-aws-token",
		// PORT alone would open every interface
		container:       "WEBOFFICE_ADDR={address} PORT={port} WEBOFFICE_TRUSTED_PROXIES=1",
		functionCompute: fc + "FC_RUNTIME_API={address}",
		customRuntime: fc + "FC_CUSTOM_LISTEN_PORT={port} ALIBABA_CLOUD_ACCESS_KEY_ID={id} " +
			"ALIBABA_CLOUD_ACCESS_KEY_SECRET={secret} ALIBABA_CLOUD_SECURITY_TOKEN={token}",
	}
	_, port, _ := net.SplitHostPort(r.address)
	fill := strings.NewReplacer("{address}", r.address, "{port}", port, "{id}", r.Role.AccessKeyID,
		"{secret}", r.Role.AccessKeySecret, "{token}", r.Role.SecurityToken)
	return strings.Fields(fill.Replace(env[r.platform]))
}

// Invoke gives the function an event and returns what it answers. A failed invocation is an error,
// and so is the end of ctx.
func (r *Runtime) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	return r.call(ctx, "/invoke", event)
}

// Hook calls /initialize, as Function Compute does once per instance where that is configured, or
// /pre-stop, before it ends an instance. Lambda and containers have no hooks.
func (r *Runtime) Hook(ctx context.Context, path string) error {
	if r.platform == lambda || r.platform == container {
		return nil
	}
	_, err := r.call(ctx, path, nil)
	return err
}

func (r *Runtime) call(ctx context.Context, path string, payload []byte) ([]byte, error) {
	switch r.platform {
	case customRuntime:
		return r.callPort(ctx, path, payload)
	case container:
		return nil, errors.New("a container has no invocations")
	}
	c := &call{path, payload, make(chan outcome, 1)}
	select {
	case r.queue <- c:
	case <-r.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("no process took the invocation: %w", ctx.Err())
	}
	select {
	case o := <-c.outcome:
		return o.answer, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// runtimeAPI is what the SDKs poll: GET …/next, then POST …/ID/response or …/ID/error.
func (r *Runtime) runtimeAPI() http.Handler {
	prefix, accepted := "/2020-11-11/runtime/invocation/", http.StatusOK
	if r.platform == lambda {
		prefix, accepted = "/2018-06-01/runtime/invocation/", http.StatusAccepted
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"next", func(w http.ResponseWriter, req *http.Request) {
		select {
		case c := <-r.queue:
			r.running.Store(r.tell(w.Header(), c.path), c)
			_, _ = w.Write(c.payload)
		case <-req.Context().Done():
		case <-r.closed:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST "+prefix+"{id}/{report}", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		report, known := map[string]outcome{"response": {answer: body},
			"error": {err: fmt.Errorf("the invocation failed: %s", body)}}[req.PathValue("report")]
		if !known {
			http.NotFound(w, req)
			return
		}
		c, running := r.running.LoadAndDelete(req.PathValue("id"))
		if err != nil || !running {
			http.Error(w, "no such invocation is running", http.StatusBadRequest)
			return
		}
		c.(*call).outcome <- report
		w.WriteHeader(accepted)
	})
	return mux
}

// tell writes the headers with which the platform describes a call, and returns its request id.
func (r *Runtime) tell(header http.Header, path string) (id string) {
	n, deadline := r.calls.Add(1), strconv.FormatInt(time.Now().Add(r.Timeout).UnixMilli(), 10)
	if r.platform == lambda {
		id = fmt.Sprintf("5f0c1d2e-0000-4000-8000-%012x", n)
		header.Set("Lambda-Runtime-Aws-Request-Id", id)
		header.Set("Lambda-Runtime-Deadline-Ms", deadline)
		header.Set("Lambda-Runtime-Invoked-Function-Arn",
			"arn:aws:lambda:eu-central-1:123456789012:function:test-function")
		header.Set("Lambda-Runtime-Trace-Id", "Root=1-5f0c1d2e-000000000000000000000001;Sampled=0")
		return id
	}
	id = fmt.Sprintf("1-5f0c1d2e-%012x", n)
	told := map[string]string{
		"request-id": id, "access-key-id": r.Role.AccessKeyID,
		"access-key-secret": r.Role.AccessKeySecret, "security-token": r.Role.SecurityToken,
		"function-timeout": strconv.Itoa(int((r.Timeout + time.Second - 1) / time.Second)),
		"region":           "cn-shanghai", "account-id": "1234567890123456", "function-memory": "128",
		"function-name": "test-function", "function-handler": "bootstrap", "qualifier": "LATEST",
		"version-id": "", "service-name": "", "retry-count": "0",
	}
	if r.platform == customRuntime { // which is told no deadline
		told["control-path"] = path
	} else {
		told["function-deadline"] = deadline
		told["function-type"] = map[string]string{"/invoke": "0", "/initialize": "1",
			"/pre-stop": "2"}[path]
	}
	for name, value := range told {
		header.Set("X-Fc-"+name, value)
	}
	return id
}

// callPort asks a custom runtime's process.
func (r *Runtime) callPort(ctx context.Context, path string, payload []byte) ([]byte, error) {
	method := http.MethodPost
	if path == "/pre-stop" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.address+path,
		bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	r.tell(req.Header, path)
	answer, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("the invocation failed with status %d: %s", answer.StatusCode, body)
	}
	return body, err
}

// dialStarting dials a process that may not listen yet.
func dialStarting(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}
