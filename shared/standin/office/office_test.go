package office_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	imm "github.com/alibabacloud-go/imm-20200930/v4/client"
	"github.com/alibabacloud-go/tea/tea"

	"weboffice-functions/shared/standin/office"
)

// frameAnswer is what a frame reads.
type frameAnswer struct {
	State     string
	ExpiresIn int64
	Life      int64
	Version   int
	View      *struct {
		Title, Name, Kind                              string
		Pages                                          []string
		TotalPages                                     int
		Readonly, Rename, History, Copy, Export, Print bool
		UserName                                       string
		Watermark                                      map[string]any
		Versions                                       []struct{ Version int }
	}
}

// frame makes one call as the frame at the answer's WebofficeURL would.
func (b *bench) frame(t *testing.T, session *imm.GenerateWebofficeTokenResponseBody, action,
	frame string, more ...any) frameAnswer {
	t.Helper()
	place, err := url.Parse(tea.StringValue(session.WebofficeURL))
	if err != nil {
		t.Fatal(err)
	}
	call := map[string]any{"Action": action, "File": path.Base(place.Path), "Frame": frame,
		"Token": tea.StringValue(session.AccessToken)}
	for i := 0; i < len(more); i += 2 {
		call[more[i].(string)] = more[i+1]
	}
	text, _ := json.Marshal(call)
	answer, err := b.web.Client().Post(b.web.URL+"/office/session", "application/json",
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

// refreshed is a session with the tokens of a refresh.
func refreshed(t *testing.T, client *imm.Client,
	session *imm.GenerateWebofficeTokenResponseBody) *imm.GenerateWebofficeTokenResponseBody {
	t.Helper()
	answer, err := client.RefreshWebofficeToken(refreshRequest(session.AccessToken,
		session.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	return &imm.GenerateWebofficeTokenResponseBody{WebofficeURL: session.WebofficeURL,
		AccessToken:  answer.Body.AccessToken,
		RefreshToken: answer.Body.RefreshToken}
}

func editing(r *imm.GenerateWebofficeTokenRequest) {
	r.Permission = &imm.WebofficePermission{Readonly: tea.Bool(false), Rename: tea.Bool(true),
		History: tea.Bool(true)}
}

func expectState(t *testing.T, got frameAnswer, want string) {
	t.Helper()
	if got.State != want {
		t.Errorf("the frame is %s, want %s", got.State, want)
	}
	if want != "open" && got.View != nil {
		t.Errorf("a frame that is %s sees %+v", got.State, got.View)
	}
}

func TestFrameOpens(t *testing.T) {
	b := newBench(t)
	session := generate(t, b.client(t), func(r *imm.GenerateWebofficeTokenRequest) {
		r.Permission = &imm.WebofficePermission{Readonly: tea.Bool(true), Copy: tea.Bool(true)}
		r.Watermark = &imm.WebofficeWatermark{Type: tea.Int64(1), Value: tea.String("imm")}
	})
	got := b.frame(t, session, "open", "one")
	expectState(t, got, "open")
	if v := got.View; v == nil || v.Title != "test-object.docx" || v.Kind != "w" ||
		len(v.Pages) != 3 || v.TotalPages != 3 || !v.Readonly ||
		!v.Copy || v.Print || v.UserName != "Ann Åkesson" || v.Watermark["Value"] != "imm" ||
		v.Versions != nil {
		t.Errorf("the frame sees %+v", got.View)
	}
	if got.ExpiresIn != (30*time.Minute).Milliseconds() || got.Life != got.ExpiresIn {
		t.Errorf("%d ms of %d are left", got.ExpiresIn, got.Life)
	}
	if b.Openings("oss://test-bucket/test-object.docx") != 1 ||
		b.Openings("oss://test-bucket/test-object.pdf") != 0 ||
		b.Openings("oss://nowhere/x") != 0 {
		t.Error("openings are counted wrongly")
	}
}

func TestLastOpenerWins(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	session := generate(t, client)
	expectState(t, b.frame(t, session, "open", "one"), "open")
	expectState(t, b.frame(t, session, "check", "one"), "open")
	expectState(t, b.frame(t, session, "open", "two"), "open")
	expectState(t, b.frame(t, session, "check", "one"), "revoked")
	next := refreshed(t, client, session)
	expectState(t, b.frame(t, next, "renew", "one"), "revoked")
	expectState(t, b.frame(t, next, "renew", "two"), "open")
	other := generate(t, client)
	// a new Generate gives the frame its document back
	expectState(t, b.frame(t, other, "renew", "one"), "open")
	expectState(t, b.frame(t, next, "check", "two"), "open")
	if got := b.Openings("oss://test-bucket/test-object.docx"); got != 3 {
		t.Errorf("%d openings, want 3", got)
	}
}

func TestFrameTokens(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	first := generate(t, client)
	b.pass(20 * time.Minute)
	expectState(t, b.frame(t, first, "open", "one"), "open")
	second := refreshed(t, client, first)
	expectState(t, b.frame(t, first, "check", "one"), "open") // the old token lives on to its end
	b.pass(10 * time.Minute)
	expectState(t, b.frame(t, first, "check", "one"), "expired")
	expectState(t, b.frame(t, second, "renew", "one"), "open")
	b.SetSwitches(office.Switches{OldTokensDie: true})
	third := refreshed(t, client, second)
	expectState(t, b.frame(t, second, "check", "one"), "expired")
	expectState(t, b.frame(t, third, "renew", "one"), "open")

	wrong := *third
	wrong.WebofficeURL = tea.String(b.web.URL + "/office/w/0000")
	expectState(t, b.frame(t, &wrong, "open", "two"), "unknown")
	wrong = *third
	wrong.AccessToken = tea.String("guessed")
	expectState(t, b.frame(t, &wrong, "open", "two"), "unknown")
}

func TestPagesBeyondThePreviewNeverLeave(t *testing.T) {
	b := newBench(t)
	session := generate(t, b.client(t), func(r *imm.GenerateWebofficeTokenRequest) {
		r.SourceURI, r.PreviewPages = tea.String("oss://test-bucket/ten-pages.docx"), tea.Int64(5)
		r.Permission.Readonly = tea.Bool(false)
	})
	got := b.frame(t, session, "open", "one")
	if got.View == nil || len(got.View.Pages) != 5 || got.View.TotalPages != 10 ||
		!got.View.Readonly {
		t.Errorf("the frame sees %+v", got.View)
	}
	expectState(t, b.frame(t, session, "save", "one", "Pages", got.View.Pages), "refused")
}

func TestEditsAreSaved(t *testing.T) {
	const uri = "oss://test-bucket/test-object.docx"
	b := newBench(t)
	client := b.client(t)
	before := b.Text(uri)
	viewer, editor := generate(t, client), generate(t, client, editing)
	cached := generate(t, client, func(r *imm.GenerateWebofficeTokenRequest) {
		r.CachePreview = tea.Bool(true)
	})
	expectState(t, b.frame(t, viewer, "open", "viewer"), "open")
	pages := b.frame(t, editor, "open", "editor").View.Pages
	pages[0] = "Changed"

	expectState(t, b.frame(t, viewer, "save", "viewer", "Pages", pages), "refused")
	expectState(t, b.frame(t, editor, "save", "editor", "Pages", pages[:1]), "refused")
	expectState(t, b.frame(t, editor, "save", "stranger", "Pages", pages), "revoked")
	if b.Text(uri) != before {
		t.Fatal("a refused save changed the document")
	}
	if saved := b.frame(t, editor, "save", "editor", "Pages", pages); saved.State != "open" ||
		saved.Version != 2 {
		t.Errorf("the save gave %+v", saved)
	}
	if !strings.HasPrefix(b.Text(uri), "Changed\f") {
		t.Errorf("the document reads %q", b.Text(uri))
	}
	if got := b.frame(t, viewer, "check", "viewer"); got.Version != 2 {
		t.Errorf("the viewer is told of version %d", got.Version)
	}
	if got := b.frame(t, editor, "renew", "editor").View; len(got.Versions) != 2 {
		t.Errorf("the history shows %+v", got.Versions)
	}
	if got := b.frame(t, cached, "open", "cached").View.Pages[0]; got == "Changed" {
		t.Error("a cached preview shows what was saved after it")
	}
	for range 30 {
		b.frame(t, editor, "save", "editor", "Pages", pages)
	}
	if got := b.frame(t, editor, "renew", "editor").View; len(got.Versions) != 20 ||
		got.Versions[19].Version != 32 {
		t.Errorf("the history keeps %d versions", len(got.Versions))
	}
}

func TestRename(t *testing.T) {
	b := newBench(t)
	client := b.client(t)
	viewer, editor := generate(t, client), generate(t, client, editing)
	b.frame(t, viewer, "open", "viewer")
	b.frame(t, editor, "open", "editor")
	expectState(t, b.frame(t, viewer, "rename", "viewer", "Name", "mine.docx"), "refused")
	expectState(t, b.frame(t, editor, "rename", "editor", "Name", "  "), "refused")
	expectState(t, b.frame(t, editor, "rename", "editor", "Name", "plan.docx"), "open")
	if got := b.frame(t, viewer, "renew", "viewer").View.Title; got != "plan.docx" {
		t.Errorf("the title is %s", got)
	}
	generate(t, client) // the object keeps its name
}

func TestPasswords(t *testing.T) {
	const uri = "oss://test-bucket/locked.docx"
	b := newBench(t)
	if err := b.AddDocument(uri, office.Document{Title: "Locked", Text: "Secret", Pages: 2,
		Password: "open sesame"}); err != nil {
		t.Fatal(err)
	}
	client := b.client(t)
	with := func(uri, password string) *imm.GenerateWebofficeTokenResponseBody {
		return generate(t, client, func(r *imm.GenerateWebofficeTokenRequest) {
			r.SourceURI = &uri
			if password != "" {
				r.Password = &password
			}
		})
	}
	got := b.frame(t, with(uri, "open sesame"), "open", "one")
	if got.State != "open" || got.View.Title != "Locked" || len(got.View.Pages) != 2 {
		t.Errorf("the token's password does not open the document: %+v", got)
	}
	asked := with(uri, "")
	expectState(t, b.frame(t, asked, "open", "one"), "locked")
	expectState(t, b.frame(t, asked, "renew", "one", "Password", "guessed"), "locked")
	expectState(t, b.frame(t, asked, "save", "one", "Pages", []string{"x"}), "locked")
	expectState(t, b.frame(t, asked, "renew", "one", "Password", "open sesame"), "open")

	preview := with("oss://test-bucket/test-object.docx", "123456")
	expectState(t, b.frame(t, preview, "open", "one"), "locked")
	expectState(t, b.frame(t, preview, "renew", "one", "Password", "123456"), "open")
}

func TestFrameRequestsThatAreNone(t *testing.T) {
	b := newBench(t)
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
		request, _ := http.NewRequestWithContext(t.Context(), "POST", b.web.URL+"/office/session",
			strings.NewReader(c.body))
		request.Header.Set("Sec-Fetch-Site", c.site)
		answer, err := b.web.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", name, answer.StatusCode, c.status)
		}
	}
}

func TestPagesAndScripts(t *testing.T) {
	b := newBench(t)
	get := func(place string) (*http.Response, string) {
		answer, err := b.web.Client().Get(b.web.URL + place)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(text)
	}
	frame, page := get("/office/w/0123456789")
	policy := frame.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the frame's policy is %q", policy)
	}
	if !strings.Contains(page, "IMM stand-in") || strings.Contains(page, "<script>") ||
		strings.Contains(page, "style=") {
		t.Error("the frame does not say what it is, or breaks its own policy")
	}
	for place, kind := range map[string]string{office.SDKPath: "text/javascript",
		"/office/assets/frame.js":  "text/javascript",
		"/office/assets/frame.css": "text/css"} {
		answer, text := get(place)
		if answer.StatusCode != 200 || !strings.HasPrefix(answer.Header.Get("Content-Type"),
			kind) || len(text) < 1000 {
			t.Errorf("%s: %d %s, %d bytes", place, answer.StatusCode,
				answer.Header.Get("Content-Type"), len(text))
		}
	}
	if _, text := get("/office/assets/sample.txt"); strings.Contains(text, "Paper Boat") {
		t.Error("the samples are served without a token")
	}
	if answer, _ := get("/elsewhere"); answer.StatusCode != 404 {
		t.Errorf("an unknown path got %d", answer.StatusCode)
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
