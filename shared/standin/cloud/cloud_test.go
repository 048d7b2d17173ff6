package cloud

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestFailedInvocation plays the process: what it reports as an error must not look like an answer.
func TestFailedInvocation(t *testing.T) {
	for _, c := range []struct {
		start    func() (*Runtime, error)
		base, id string
		accepted int
	}{
		{NewFunctionCompute, "/2020-11-11/runtime/invocation/", "X-Fc-Request-Id", http.StatusOK},
		{NewLambda, "/2018-06-01/runtime/invocation/", "Lambda-Runtime-Aws-Request-Id",
			http.StatusAccepted},
	} {
		r, err := c.start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		base := "http://" + r.address + c.base
		reports := []struct{ action, body string }{{"error", `{"errorMessage":"out of memory"}`},
			{"response", "not JSON"}, {"response", `{"statusCode":201}`}}
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			for _, report := range reports {
				next, err := http.Get(base + "next")
				if err != nil {
					t.Error(err)
					return
				}
				_ = next.Body.Close()
				// the second report finds nothing running
				for _, want := range []int{c.accepted, http.StatusBadRequest} {
					answer, err := http.Post(base+next.Header.Get(c.id)+"/"+report.action,
						"application/json", strings.NewReader(report.body))
					if err != nil {
						t.Error(err)
						return
					}
					_ = answer.Body.Close()
					if answer.StatusCode != want {
						t.Errorf("%s: %d, want %d", report.action, answer.StatusCode, want)
					}
				}
			}
		}()
		client := &http.Client{Transport: r}
		for _, want := range []struct {
			status int
			body   string
		}{{502, "out of memory"}, {502, "invalid character"}, {201, ""}} {
			answer, err := client.Get("http://function.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode != want.status || !strings.Contains(string(body), want.body) {
				t.Errorf("%d %q, want %d %q", answer.StatusCode, body, want.status, want.body)
			}
		}
		<-finished
		if answer, err := http.Get("http://" + r.address + "/other"); err != nil ||
			answer.StatusCode != http.StatusNotFound {
			t.Errorf("another path: %v, %v", answer, err)
		}
	}
}
