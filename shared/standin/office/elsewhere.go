package office

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"weboffice-functions/shared/weboffice"
)

// elsewhere is set in a process that StartElsewhere started.
const elsewhere = "WEBOFFICE_STANDIN_ELSEWHERE"

// StartElsewhere runs an IMM in a process of its own, so that a benchmark can count the processor
// time of the functions alone. That IMM answers every request at once with new tokens and checks
// nothing; its clock is the request's x-acs-date. The test binary starts itself: its TestMain must
// begin with ServeElsewhere. The process ends with stop, or with the one that started it.
func StartElsewhere(ctx context.Context) (url string, stop func(), err error) {
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env, child.Stderr = append(os.Environ(), elsewhere+"=1"), os.Stderr
	input, errInput := child.StdinPipe()
	output, errOutput := child.StdoutPipe()
	if err := errors.Join(errInput, errOutput, child.Start()); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = input.Close()
		_ = child.Wait()
	}
	url, err = bufio.NewReader(output).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("no IMM elsewhere: %w", err)
	}
	return strings.TrimSpace(url), stop, nil
}

// ServeElsewhere says whether this is the process that StartElsewhere started; if so, it has served
// to the end.
func ServeElsewhere() bool {
	if os.Getenv(elsewhere) == "" {
		return false
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	go func() { _ = http.Serve(listener, http.HandlerFunc(answerAtOnce)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
	return true
}

func answerAtOnce(w http.ResponseWriter, r *http.Request) {
	now, _ := time.Parse(dateLayout, r.Header.Get("X-Acs-Date")) // every signed request has one
	w.Header().Set("Date", now.Format(http.TimeFormat))
	answer := newTokens(weboffice.NewRequestID(), now.Add(fullAccessLife), now.Add(refreshLife))
	if r.Header.Get("X-Acs-Action") == Generate {
		answer.WebofficeURL = "https://office.example.com/office/w/0?_w_tokentype=1"
	}
	_ = json.NewEncoder(w).Encode(answer)
}
