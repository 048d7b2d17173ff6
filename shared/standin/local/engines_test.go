package local_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// patiently asks for a title until it is done.
func patiently(done func(string) bool, ask func() (string, error)) (title string, err error) {
	for end := time.Now().Add(patience); !done(title) && time.Now().Before(end); {
		if title, err = ask(); err != nil {
			return "", err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return title, nil
}

// startProcess runs a program until the test ends.
func startProcess(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
}

// lookFor finds a program by one of its names, or ends the test.
func lookFor(t *testing.T, what string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("-engines asks for %s, which is not installed: none of %q", what, names)
	return ""
}

// firefox is driven by WebDriver BiDi: commands and answers on one socket.
type firefox struct {
	socket *websocket.Conn

	mu      sync.Mutex
	last    int
	waiting map[int]chan bidiAnswer
}

type bidiAnswer struct {
	ID      int             `json:"id"`
	Type    string          `json:"type"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
	Result  json.RawMessage `json:"result"`
}

// quietFirefox keeps Firefox from asking anybody on the network.
const quietFirefox = `user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("dom.disable_open_during_load", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "http://127.0.0.1:9");
user_pref("toolkit.telemetry.enabled", false);
`

func startFirefox(t *testing.T) engine {
	t.Helper()
	program := lookFor(t, "Firefox", "firefox", "firefox-esr")
	profile := t.TempDir()
	if err := os.WriteFile(profile+"/user.js", []byte(quietFirefox), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "--headless", "--no-remote", "--profile", profile,
		"--remote-debugging-port=0", "about:blank")
	command.Env = append(os.Environ(), "HOME="+profile)
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	startProcess(t, command)
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if _, found, ok := strings.Cut(lines.Text(), "WebDriver BiDi listening on "); ok {
				address <- strings.TrimSpace(found)
			}
		}
	}()
	f := &firefox{waiting: map[int]chan bidiAnswer{}}
	select {
	case at := <-address:
		f.socket, _, err = websocket.DefaultDialer.Dial(at+"/session", nil)
	case <-time.After(patience):
		err = errors.New("firefox does not listen")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.socket.Close() })
	go f.hear()
	none := map[string]any{}
	if _, err := f.call("session.new", map[string]any{"capabilities": none}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *firefox) hear() {
	for {
		var a bidiAnswer
		if err := f.socket.ReadJSON(&a); err != nil {
			return
		}
		f.mu.Lock()
		if waiting, ok := f.waiting[a.ID]; ok && a.Type != "event" {
			delete(f.waiting, a.ID)
			waiting <- a
		}
		f.mu.Unlock()
	}
}

func (f *firefox) call(method string, params any) (json.RawMessage, error) {
	answer := make(chan bidiAnswer, 1)
	f.mu.Lock()
	f.last++
	f.waiting[f.last] = answer
	err := f.socket.WriteJSON(map[string]any{"id": f.last, "method": method, "params": params})
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answer:
		if a.Type == "error" {
			return nil, fmt.Errorf("%s: %s: %s", method, a.Error, a.Message)
		}
		return a.Result, nil
	case <-time.After(patience):
		return nil, errors.New(method + ": no answer")
	}
}

func (f *firefox) play(_ *testing.T, address string, done func(string) bool) (string, error) {
	made, err := f.call("browsingContext.create", map[string]any{"type": "tab"})
	var tab struct {
		Context string `json:"context"`
	}
	if err == nil {
		err = json.Unmarshal(made, &tab)
	}
	if err != nil {
		return "", err
	}
	defer func() {
		_, _ = f.call("browsingContext.close", map[string]any{"context": tab.Context})
	}()
	if _, err = f.call("browsingContext.navigate", map[string]any{"context": tab.Context,
		"url": address, "wait": "interactive"}); err != nil {
		return "", err
	}
	return patiently(done, func() (string, error) {
		found, err := f.call("script.evaluate", map[string]any{"expression": "document.title",
			"target": map[string]any{"context": tab.Context}, "awaitPromise": false})
		var title struct {
			Result struct {
				Value string `json:"value"`
			} `json:"result"`
		}
		if err == nil {
			err = json.Unmarshal(found, &title)
		}
		return title.Result.Value, err
	})
}

// webKit is driven by WebDriver: one window, by HTTP.
type webKit struct {
	mu      sync.Mutex
	session string // its address
}

var miniBrowsers = []string{
	"/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
	"/usr/lib/x86_64-linux-gnu/webkit2gtk-4.0/MiniBrowser",
	"/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
	"/usr/lib/aarch64-linux-gnu/webkit2gtk-4.0/MiniBrowser",
}

func startWebKit(t *testing.T) engine {
	t.Helper()
	driver := lookFor(t, "WebKit", "WebKitWebDriver")
	window := lookFor(t, "WebKit's MiniBrowser", miniBrowsers...)
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(driver, "--port="+port)
	command.Env = append(os.Environ(), "DISPLAY="+startDisplay(t), "HOME="+t.TempDir(),
		"GDK_BACKEND=x11", "WEBKIT_DISABLE_COMPOSITING_MODE=1", "LIBGL_ALWAYS_SOFTWARE=1")
	startProcess(t, command)
	w := &webKit{session: "http://127.0.0.1:" + port + "/session"}
	options := map[string]any{"binary": window, "args": []string{"--automation"}}
	var made struct {
		SessionID string `json:"sessionId"`
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		err = w.call(http.MethodPost, "", map[string]any{"capabilities": map[string]any{
			"alwaysMatch": map[string]any{"webkitgtk:browserOptions": options}}}, &made)
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w.session += "/" + made.SessionID
	t.Cleanup(func() { _ = w.call(http.MethodDelete, "", nil, nil) })
	return w
}

// startDisplay gives an X display without a screen, for programs that need one.
func startDisplay(t *testing.T) string {
	t.Helper()
	xvfb := lookFor(t, "a display", "Xvfb")
	number, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = number.Close() }()
	command := exec.Command(xvfb, "-displayfd", "3", "-screen", "0", "1280x900x24",
		"-nolisten", "tcp")
	command.ExtraFiles = []*os.File{writer}
	startProcess(t, command)
	_ = writer.Close()
	line, err := bufio.NewReader(number).ReadString('\n')
	if err != nil {
		t.Fatal("Xvfb tells no display: ", err)
	}
	return ":" + strings.TrimSpace(line)
}

// call sends one command of WebDriver.
func (w *webKit) call(method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, w.session+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = reply.Body.Close() }()
	var outer struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.NewDecoder(reply.Body).Decode(&outer); err != nil {
		return err
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, outer.Value)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(outer.Value, answer)
}

func (w *webKit) play(_ *testing.T, address string, done func(string) bool) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.call(http.MethodPost, "/url", map[string]any{"url": address}, nil); err != nil {
		return "", err
	}
	return patiently(done, func() (title string, err error) {
		err = w.call(http.MethodGet, "/title", nil, &title)
		return title, err
	})
}
