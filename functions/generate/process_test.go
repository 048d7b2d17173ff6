package generate_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A benchmark's IMM runs in a process of its own, so that its processor time is not counted: the
// test binary starts itself with this variable set.
const roleVariable = "WEBOFFICE_BENCHMARK_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "imm" {
		serveIMM()
		return
	}
	os.Exit(m.Run())
}

// serveIMM prints the stand-in's URL and serves it until standard input ends, which it does with
// the process that holds the other end.
func serveIMM() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	go func() { _ = http.Serve(listener, http.HandlerFunc(answerAtOnce)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startIMM runs serveIMM and returns its URL.
func startIMM(b *testing.B) string {
	child := exec.CommandContext(b.Context(), os.Args[0])
	child.Env = append(os.Environ(), roleVariable+"=imm")
	child.Stderr = os.Stderr
	input, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = input.Close()
		_ = child.Wait()
	})
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// answerAtOnce gives tokens for anything.
func answerAtOnce(w http.ResponseWriter, _ *http.Request) {
	now := time.Now().UTC()
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	_, _ = fmt.Fprintf(w, `{"RequestId":"%s","WebofficeURL":"https://office.example/office/w/1?_w_tokentype=1",`+
		`"AccessToken":"%sv3","RefreshToken":"%sv3","AccessTokenExpiredTime":"%s","RefreshTokenExpiredTime":"%s"}`,
		rand.Text(), rand.Text(), rand.Text(), now.Add(30*time.Minute).Format(time.RFC3339Nano),
		now.Add(24*time.Hour).Format(time.RFC3339Nano))
}
