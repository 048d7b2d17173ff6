package office_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"weboffice-functions/shared/standin/office"
)

func TestPagesAndScripts(t *testing.T) {
	w := start(t)
	for place, want := range map[string]string{
		"/office/w/0123456789": "text/html", office.SDKPath: "text/javascript",
		"/office/assets/frame.js": "text/javascript", "/office/assets/frame.css": "text/css",
	} {
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, place, nil))
		text, policy := answer.Body.String(), answer.Header().Get("Content-Security-Policy")
		if answer.Code != 200 || len(text) < 1000 ||
			!strings.HasPrefix(answer.Header().Get("Content-Type"), want) {
			t.Errorf("%s: %d, %v, %d bytes", place, answer.Code, answer.Header(), len(text))
		}
		if want == "text/html" && (!strings.Contains(text, "IMM stand-in") ||
			strings.Contains(text, "<script>") || strings.Contains(text, "style=") ||
			!strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe")) {
			t.Errorf("the frame does not say what it is, or breaks its own policy %q", policy)
		}
	}
	for _, place := range []string{"/office/assets/sample.txt", "/elsewhere"} {
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, place, nil))
		if answer.Code != 404 && strings.Contains(answer.Body.String(), "Paper Boat") {
			t.Errorf("%s is served without a token", place)
		}
	}
}

// TestScriptsParse has Node read the scripts, where there is one.
func TestScriptsParse(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here")
	}
	for _, script := range []string{"assets/frame.js", "assets/aliyun-web-office-sdk.min.js"} {
		if out, err := exec.CommandContext(t.Context(), node, "--check",
			script).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", script, out)
		}
	}
}
