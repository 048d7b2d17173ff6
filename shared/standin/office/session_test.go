package office_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/standin/office"
)

const testObject = "oss://test-bucket/test-object.docx"

// frameAnswer is what a frame reads.
type frameAnswer struct {
	State           string
	ExpiresIn, Life int64
	Version         int
	View            *struct {
		Title, Name, Kind                              string
		Pages                                          []string
		TotalPages                                     int
		Readonly, Rename, History, Copy, Export, Print bool
		UserName                                       string
		Watermark                                      map[string]any
		Versions                                       []struct{ Version int }
		File                                           *struct {
			Name, Picture string
			Size          int64
			Pages         int
		}
	}
}

// frame makes one call as the frame at the answer's WebofficeURL would.
func (w *world) frame(t *testing.T, s *session, action, frame string, more ...any) frameAnswer {
	t.Helper()
	place, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	call := map[string]any{"Action": action, "File": path.Base(place.Path), "Frame": frame,
		"Token": s.access}
	for i := 0; i < len(more); i += 2 {
		call[more[i].(string)] = more[i+1]
	}
	text, _ := json.Marshal(call)
	answer, err := w.web.Client().Post(w.web.URL+"/office/session", "application/json",
		bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body frameAnswer
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || answer.StatusCode != 200 {
		t.Fatal(answer.StatusCode, err)
	}
	return body
}

// frames makes calls such as "open one: open, check one: open", each with the state that it must
// find. A frame whose state is not open sees nothing.
func (w *world) frames(t *testing.T, s *session, calls string, more ...any) {
	t.Helper()
	for call := range strings.SplitSeq(calls, ", ") {
		words, want, _ := strings.Cut(call, ": ")
		action, frame, _ := strings.Cut(words, " ")
		got := w.frame(t, s, action, frame, more...)
		if got.State != want || want != "open" && got.View != nil {
			t.Errorf("%s: the frame is %s and sees %+v, want %s", words, got.State, got.View, want)
		}
	}
}

const editing = `Permission={"Rename":true,"History":true}`

func TestFrameOpens(t *testing.T) {
	w := start(t)
	got := w.frame(t, w.generate(t, `Permission={"Readonly":true,"Copy":true}; `+
		`Watermark={"Type":1,"Value":"imm"}`), "open", "one")
	if v := got.View; got.State != "open" || v == nil || v.Title != "test-object.docx" ||
		v.Kind != "w" || len(v.Pages) != 3 || v.TotalPages != 3 || !v.Readonly || !v.Copy ||
		v.Print || v.UserName != "Ann" || v.Watermark["Value"] != "imm" ||
		v.Versions != nil || v.File != nil {
		t.Errorf("the frame sees %+v", got.View)
	}
	if got.ExpiresIn != (30*time.Minute).Milliseconds() || got.Life != got.ExpiresIn {
		t.Errorf("%d ms of %d are left", got.ExpiresIn, got.Life)
	}
	if w.Openings(testObject) != 1 || w.Openings("oss://test-bucket/test-object.pdf") != 0 ||
		w.Openings("oss://nowhere/x") != 0 {
		t.Error("openings are counted wrongly")
	}
}

func TestLastOpenerWins(t *testing.T) {
	w := start(t)
	first := w.generate(t, "")
	w.frames(t, first, "open one: open, check one: open, open two: open, check one: revoked")
	next := w.refresh(t, first)
	w.frames(t, next, "renew one: revoked, renew two: open")
	// a new Generate gives the frame its document back
	w.frames(t, w.generate(t, ""), "renew one: open")
	w.frames(t, next, "check two: open")
	if got := w.Openings(testObject); got != 3 {
		t.Errorf("%d openings, want 3", got)
	}
}

func TestFrameTokens(t *testing.T) {
	w := start(t)
	first := w.generate(t, "")
	w.pass(20 * time.Minute)
	w.frames(t, first, "open one: open")
	second := w.refresh(t, first)
	w.frames(t, first, "check one: open") // the old token lives on to its end
	w.pass(10 * time.Minute)
	w.frames(t, first, "check one: expired")
	w.frames(t, second, "renew one: open")
	w.frames(t, &session{url: "/office/w/0000", access: second.access}, "open two: unknown")
	w.frames(t, &session{url: second.url, access: "guessed"}, "open two: unknown")
}

func TestPagesBeyondThePreviewNeverLeave(t *testing.T) {
	w := start(t)
	s := w.generate(t, "SourceURI=oss://test-bucket/ten-pages.docx; PreviewPages=5; Permission={}")
	got := w.frame(t, s, "open", "one")
	if got.View == nil || len(got.View.Pages) != 5 || got.View.TotalPages != 10 ||
		!got.View.Readonly {
		t.Errorf("the frame sees %+v", got.View)
	}
	w.frames(t, s, "save one: refused", "Pages", got.View.Pages)
}

func TestEditsAreSaved(t *testing.T) {
	w := start(t)
	before := w.Text(testObject)
	viewer, editor := w.generate(t, ""), w.generate(t, editing)
	cached := w.generate(t, "CachePreview=true")
	w.frames(t, viewer, "open viewer: open")
	pages := w.frame(t, editor, "open", "editor").View.Pages
	pages[0] = "Changed"

	w.frames(t, viewer, "save viewer: refused", "Pages", pages)
	w.frames(t, editor, "save editor: refused", "Pages", pages[:1])
	w.frames(t, editor, "save stranger: revoked", "Pages", pages)
	if w.Text(testObject) != before {
		t.Fatal("a refused save changed the document")
	}
	if saved := w.frame(t, editor, "save", "editor", "Pages", pages); saved.State != "open" ||
		saved.Version != 2 || !strings.HasPrefix(w.Text(testObject), "Changed\f") {
		t.Errorf("the save gave %+v and %q", saved, w.Text(testObject))
	}
	if got := w.frame(t, viewer, "check", "viewer"); got.Version != 2 {
		t.Errorf("the viewer is told of version %d", got.Version)
	}
	if got := w.frame(t, editor, "renew", "editor").View; len(got.Versions) != 2 {
		t.Errorf("the history shows %+v", got.Versions)
	}
	if got := w.frame(t, cached, "open", "cached").View.Pages[0]; got == "Changed" {
		t.Error("a cached preview shows what was saved after it")
	}
	for range 30 {
		w.frame(t, editor, "save", "editor", "Pages", pages)
	}
	if got := w.frame(t, editor, "renew", "editor").View; len(got.Versions) != 20 ||
		got.Versions[19].Version != 32 {
		t.Errorf("the history keeps %d versions", len(got.Versions))
	}
}

func TestRename(t *testing.T) {
	w := start(t)
	viewer, editor := w.generate(t, ""), w.generate(t, editing)
	w.frames(t, viewer, "open viewer: open, rename viewer: refused", "Name", "mine.docx")
	w.frames(t, editor, "open editor: open, rename editor: refused", "Name", "  ")
	w.frames(t, editor, "rename editor: open", "Name", "plan.docx")
	if got := w.frame(t, viewer, "renew", "viewer").View.Title; got != "plan.docx" {
		t.Errorf("the title is %s", got)
	}
	w.generate(t, "") // the object keeps its name
}

func TestPasswords(t *testing.T) {
	w := start(t)
	const uri = "oss://test-bucket/locked.docx"
	if err := w.AddDocument(uri, office.Document{Title: "Locked", Text: "Secret", Pages: 2,
		Password: "open sesame"}); err != nil {
		t.Fatal(err)
	}
	with := func(uri, password string) *session {
		return w.generate(t, "SourceURI="+uri+"; Password="+cmp.Or(password, "-"))
	}
	got := w.frame(t, with(uri, "open sesame"), "open", "one")
	if got.State != "open" || got.View.Title != "Locked" || len(got.View.Pages) != 2 {
		t.Errorf("the token's password does not open the document: %+v", got)
	}
	asked := with(uri, "")
	w.frames(t, asked, "open one: locked")
	w.frames(t, asked, "renew one: locked", "Password", "guessed")
	w.frames(t, asked, "save one: locked", "Pages", []string{"x"})
	w.frames(t, asked, "renew one: open", "Password", "open sesame")
	w.frames(t, with(testObject, "123456"), "open one: locked")
	w.frames(t, with(testObject, "123456"), "renew one: open", "Password", "123456")
}

func TestFrameRequestsThatAreNone(t *testing.T) {
	w := start(t)
	for name, c := range map[string]struct {
		body, site string
		status     int
	}{
		"a frame's":     {`{"Action":"open","Frame":"one"}`, "same-origin", 200},
		"another site":  {`{"Action":"open","Frame":"one"}`, "cross-site", 403},
		"not JSON":      {`Action=open`, "same-origin", 400},
		"unknown field": {`{"Action":"open","Frame":"one","Admin":true}`, "same-origin", 400},
		"no frame":      {`{"Action":"open"}`, "same-origin", 400},
		"too large":     {`{"Name":"` + strings.Repeat("x", 1<<20) + `"}`, "same-origin", 400},
	} {
		request, _ := http.NewRequestWithContext(t.Context(), "POST", w.web.URL+"/office/session",
			strings.NewReader(c.body))
		request.Header.Set("Sec-Fetch-Site", c.site)
		if status, _ := w.try(t, request); status != c.status {
			t.Errorf("%s: %d, want %d", name, status, c.status)
		}
	}
}

func TestPagesAndScripts(t *testing.T) {
	w := start(t)
	get := func(place string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		w.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, place, nil))
		return answer
	}
	for place, want := range map[string]string{
		"/office/w/0123456789": "text/html", office.SDKPath: "text/javascript",
		"/office/assets/frame.js": "text/javascript", "/office/assets/frame.css": "text/css",
	} {
		answer := get(place)
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
		answer := get(place)
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
