package generate_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weboffice-functions/shared/standin/cloud"
	"weboffice-functions/shared/standin/issuer"
)

// program is one of the two that are compared: the function as it is deployed, and the naive
// handler over the typed SDK (testdata/naive). Both get the same request.
type program struct {
	file string
	env  []string
}

func build(b *testing.B, source, tag string) string {
	file := filepath.Join(b.TempDir(), filepath.Base(source))
	command := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w",
		"-tags", "lambda.norpc,"+tag, "-o", file, source)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return file
}

// programs builds both, for a platform.
func programs(b *testing.B, platform, policy string) (function, naive program) {
	var env []string
	for name, value := range environment(b, policy, startIMM(b)) {
		env = append(env, name+"="+value)
	}
	return program{build(b, "./bootstrap", ""), env},
		program{build(b, "./testdata/naive", platform), env}
}

// start runs the program on a platform until stop, which returns its processor time.
func (p program) start(b *testing.B, env ...string) (stop func() time.Duration) {
	command := exec.CommandContext(b.Context(), p.file)
	command.Env = slices.Concat(p.env, env)
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	return func() time.Duration {
		_ = command.Process.Kill()
		_ = command.Wait()
		return command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	}
}

const body = `{"SourceURI":"oss://test-bucket/test-object.docx"}`

// BenchmarkColdStart is the time from the start of the process to its first tokens, by each
// platform's runtime API, in turns with a naive Go handler's; the policy has ten rules. The medians
// of all turns: ms, ms of the processor, and both by the naive handler's.
func BenchmarkColdStart(b *testing.B) {
	for _, on := range []struct {
		name, tag  string
		newRuntime func() (*cloud.Runtime, error)
	}{{"go1", "fc", cloud.NewFunctionCompute}, {"lambda", "lambda", cloud.NewLambda},
		{"container", "web", cloud.NewContainer}} {
		b.Run(on.name, func(b *testing.B) {
			function, naive := programs(b, on.tag, rules(10, "https://login.example.com"))
			var wall, cpu, naiveWall, naiveCPU []float64 // ms
			for range 60 {
				took, worked := naive.coldStart(b, on.newRuntime)
				naiveWall, naiveCPU = append(naiveWall, took), append(naiveCPU, worked)
				took, worked = function.coldStart(b, on.newRuntime)
				wall, cpu = append(wall, took), append(cpu, worked)
			}
			b.ReportMetric(median(wall), "ms")
			b.ReportMetric(median(cpu), "cpu-ms")
			b.ReportMetric(median(wall)/median(naiveWall), "naive-ratio")
			b.ReportMetric(median(cpu)/median(naiveCPU), "naive-cpu-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// coldStart returns milliseconds.
func (p program) coldStart(b *testing.B, newRuntime func() (*cloud.Runtime, error)) (wall,
	cpu float64) {
	runtime, err := newRuntime()
	if err != nil {
		b.Fatal(err)
	}
	defer runtime.Close()
	client := &http.Client{Transport: runtime}
	begin := time.Now()
	stop := p.start(b, runtime.Env()...)
	answer, err := client.Post("https://function.example.com/", "application/json",
		strings.NewReader(body))
	wall = time.Since(begin).Seconds() * 1000
	cpu = stop().Seconds() * 1000
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || !bytes.Contains(text, []byte("AccessToken")) {
		b.Fatalf("%v, %d %s", err, answer.StatusCode, text)
	}
	return wall, cpu
}

// BenchmarkThroughput compares the requests per second of the built function at 50 connections with
// those of a naive handler over the typed SDK, in turns, each on one processor: the medians of all
// turns. The function checks a proof and decides by 100 rules.
func BenchmarkThroughput(b *testing.B) {
	provider := issuer.New(issuer.Options{Algorithm: "RS256"})
	if err := provider.Start(); err != nil {
		b.Fatal(err)
	}
	defer provider.Close()
	function, naive := programs(b, "web", rules(100, provider.URL()))
	proof := provider.Token(map[string]any{"groups": []string{"editors"}, "name": "Ann"}).Reveal()
	addresses := map[string]string{}
	for name, p := range map[string]program{"function": function, "naive": naive} {
		container, err := cloud.NewContainer()
		if err != nil {
			b.Fatal(err)
		}
		addresses[name] = strings.TrimPrefix(container.Env()[0], "WEBOFFICE_ADDR=")
		defer p.start(b, append(container.Env(), "GOMAXPROCS=1")...)()
		// it is sent on when the program listens
		first, err := (&http.Client{Transport: container}).Get("http://" + addresses[name])
		if err != nil {
			b.Fatal(err)
		}
		_ = first.Body.Close()
	}
	var rate, p99, rateRatio, p99Ratio []float64
	for range 8 {
		theirs, theirP99 := ask(b, addresses["naive"], proof, 50, 1500*time.Millisecond)
		ours, ourP99 := ask(b, addresses["function"], proof, 50, 1500*time.Millisecond)
		rate, p99 = append(rate, ours), append(p99, ourP99.Seconds()*1000)
		rateRatio = append(rateRatio, ours/theirs)
		p99Ratio = append(p99Ratio, float64(ourP99)/float64(theirP99))
	}
	b.ReportMetric(median(rate), "requests/s")
	b.ReportMetric(median(p99), "p99-ms")
	b.ReportMetric(median(rateRatio), "naive-rate-ratio")
	b.ReportMetric(median(p99Ratio), "naive-p99-ratio")
	b.ReportMetric(0, "ns/op")
}

// ask sends one request after the other on each connection, as cheaply as it can.
func ask(b *testing.B, address, proof string, connections int, during time.Duration) (
	perSecond float64, p99 time.Duration) {
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", address, proof, len(body),
		body)
	var mu sync.Mutex
	var all []time.Duration
	var asking sync.WaitGroup
	begin := time.Now()
	for range connections {
		asking.Go(func() {
			connection, err := net.Dial("tcp", address)
			if err != nil {
				b.Error(err)
				return
			}
			defer connection.Close()
			reader := bufio.NewReader(connection)
			var took []time.Duration
			for time.Since(begin) < during {
				sent := time.Now()
				_, _ = io.WriteString(connection, request)
				answer, err := http.ReadResponse(reader, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, answer.Body)
				}
				if err != nil || answer.StatusCode != http.StatusOK {
					b.Error(err, answer)
					return
				}
				took = append(took, time.Since(sent))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	asking.Wait()
	if len(all) == 0 {
		b.Fatal("no answers")
	}
	slices.Sort(all)
	return float64(len(all)) / time.Since(begin).Seconds(), all[len(all)*99/100]
}
