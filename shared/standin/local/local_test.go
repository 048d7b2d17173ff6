package local_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"weboffice-functions/functions/generate"
	"weboffice-functions/functions/refresh"
	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/local"
	"weboffice-functions/shared/weboffice"
)

// ask sends a request and returns its status and body.
func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if request.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A page elsewhere points a name of its own at this machine, and would read what is served here.
func TestAttackDNSRebinding(t *testing.T) {
	t.Parallel()
	l := start(t, local.Options{})
	for _, address := range []string{l.URL + "/dev.json", l.URL + "/generate", l.IMMURL + "/"} {
		for _, host := range []string{"evil.example", "evil.example:8080", "127.0.0.1.evil.example",
			"localhost.evil.example", "192.0.2.1", "0.0.0.0"} {
			if status, _ := ask(t, "GET", address, "", "Host", host); status != 421 {
				t.Errorf("%s as %s: %d", address, host, status)
			}
		}
		for _, host := range []string{"localhost:8080", "127.0.0.1", "[::1]:8080"} {
			if status, _ := ask(t, "GET", address, "", "Host", host); status == 421 {
				t.Errorf("%s as %s is refused", address, host)
			}
		}
	}
}

const productionPolicy = `
project: office
origins: [https://docs.example.com]
issuers: {staff: {url: https://login.example.com, audience: weboffice}}
rules:
  - {name: share links, documents: oss://team-docs/**, callers: {issuer: links}, grant: [view]}
  - {name: handbook, documents: oss://handbook/**, callers: anyone, grant: [view]}
`

// What a policy for production names is there: its project, its buckets, and the own origin beside
// its origins. Links are signed with the key that was given.
func TestPolicyMeantForProductionRunsAsItIs(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a.txt"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := local.NewKey()
	l := start(t, local.Options{Policy: []byte(productionPolicy), AnyDocument: true, LinkKeys: key,
		Documents: []local.Folder{{Bucket: "handbook", Dir: folder}}})
	if got := l.Environment["WEBOFFICE_LINK_KEYS"]; got != key {
		t.Error("the link key is another one")
	}
	link, err := caller.MintLink(l.LinkKey, caller.LinkClaims{ID: "one",
		Document: "oss://team-docs/plan.docx", Grant: []string{"view"},
		IssuedAt: l.App.Edge.Now(), Expires: l.App.Edge.Now().Add(1e12)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		document, origin string
		proof            weboffice.Secret
		status           int
	}{
		{"oss://team-docs/plan.docx", "https://docs.example.com", link, 200},
		{"oss://handbook/a.txt", l.URL, "", 200},
		// its documents were laid there
		{"oss://handbook/absent.txt", strings.Replace(l.URL, "127.0.0.1", "localhost", 1), "", 404},
		{"oss://handbook/a.txt", "http://localhost:5173", "", 403},
		{"oss://team-docs/plan.docx", l.URL, "", 401}, {"oss://team-docs/plan.docx", l.URL, "x", 401},
	} {
		headers := []string{"Origin", c.origin}
		if c.proof != "" {
			headers = append(headers, "Authorization", "Bearer "+c.proof.Reveal())
		}
		if status, body := ask(t, "POST", l.URL+"/generate", fmt.Sprintf(`{"SourceURI":%q}`,
			c.document), headers...); status != c.status {
			t.Errorf("%s from %s: %d %s", c.document, c.origin, status, body)
		}
	}
	_, state := ask(t, "GET", l.URL+"/dev/state.json", "")
	var seen struct {
		Decisions, Requests []struct {
			Outcome, RequestId string
			Why                []struct{ Rule, Why string }
		}
		RefusedOrigins []struct{ Origin, Function string }
	}
	if err := json.Unmarshal([]byte(state), &seen); err != nil || len(seen.Decisions) != 4 ||
		len(seen.Requests) != 2 || seen.Requests[1].Outcome != "Unauthenticated" ||
		len(seen.Decisions[3].Why) != 1 || seen.Decisions[3].Why[0].Rule != "share links" ||
		len(seen.RefusedOrigins) != 1 || seen.RefusedOrigins[0].Origin != "http://localhost:5173" {
		t.Errorf("%v %s", err, state)
	}
}

// packed is an office file with what its program left in it.
func packed(t *testing.T, parts map[string]string) []byte {
	t.Helper()
	files := fstest.MapFS{}
	for name, text := range parts {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	if err := errors.Join(archive.AddFS(files), archive.Close()); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestFilesAreShownAsWhatTheyAre(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	files := map[string][]byte{
		"deck.pptx": packed(t, map[string]string{
			"docProps/app.xml":       "<Properties><Slides>7</Slides></Properties>",
			"docProps/thumbnail.png": "\x89PNG\r\n\x1a\n"}),
		"plan.docx": packed(t, map[string]string{
			"docProps/app.xml":        "<Properties><Pages>3</Pages></Properties>",
			"docProps/thumbnail.jpeg": "not a picture"}),
		"two.pdf": []byte("%PDF-1.4 /Type /Pages /Type /Page /Type/Page"), "odd.xls": []byte("old"),
		"table.csv": []byte("a,b\n\"1,5\",2\n"), "broken.csv": []byte(`"`),
		"note.txt": []byte("a note"), "tool.exe": {}, "a%20b.txt": {},
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	l := start(t, local.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Policy:    []byte(readFile(t, "../../../scripts/dev/policy.yaml")),
		Documents: []local.Folder{{Bucket: "test-bucket", Dir: folder}}})
	for name, text := range map[string]string{"note.txt": "a note", "table.csv": "a\tb\n1,5\t2\n",
		"broken.csv": `"`} {
		if got := l.IMM.Text("oss://test-bucket/" + name); got != text {
			t.Errorf("%s is shown as %q", name, got)
		}
	}
	for name, pages := range map[string]int{"deck.pptx": 7, "plan.docx": 3, "two.pdf": 2} {
		if got := strings.Count(l.IMM.Text("oss://test-bucket/"+name), "\f") + 1; got != pages {
			t.Errorf("%s has %d pages", name, got)
		}
	}
	for _, why := range []string{".exe is not a format", "%20"} {
		if !strings.Contains(log.String(), why) {
			t.Errorf("%s is left out silently", why)
		}
	}
	_, setting := ask(t, "GET", l.URL+"/dev.json", "")
	if !strings.Contains(setting, "deck.pptx") || strings.Contains(setting, "tool.exe") {
		t.Error(setting)
	}
	if !testing.Short() {
		b := newTab(t)
		b.open(l.URL + "/?open=oss://test-bucket/plan.docx")
		b.until(sampleSession + `?.state === 'open'`)
		b.untilInFrame(`/1 KB, 3 pages\s+This stand-in cannot/.test(document.body.innerText)`)
	}
}

// A folder takes the sample page's place, with this site's addresses in it.
func TestSiteOfOnesOwn(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	page := []byte("<p>http://127.0.0.1:8080/generate http://127.0.0.1:8081/sdk.js")
	if err := os.WriteFile(filepath.Join(folder, "index.html"), page, 0o600); err != nil {
		t.Fatal(err)
	}
	l := start(t, local.Options{Site: folder, Origins: []string{"http://127.0.0.1:5173"}})
	if _, page := ask(t, "GET", l.URL+"/", ""); page !=
		"<p>"+l.URL+"/generate "+l.IMMURL+"/sdk.js" {
		t.Errorf("the page is %s", page)
	}
	for name, want := range map[string]int{"/weboffice.js": 200, "/dev.json": 200,
		"/quickstart/": 200, "/absent.html": 404, "/../local_test.go": 404,
		"/..%2flocal_test.go": 404} {
		if status, _ := ask(t, "GET", l.URL+name, ""); status != want {
			t.Errorf("%s: %d", name, status)
		}
	}
	for origin, want := range map[string]int{"http://127.0.0.1:5173": 401, "http://x.example": 403} {
		if status, _ := ask(t, "POST", l.URL+"/generate", `{"SourceURI":"oss://test-bucket/a.docx"}`,
			"Origin", origin); status != want {
			t.Errorf("%s: %d", origin, status)
		}
	}
}

func TestWhatCannotStart(t *testing.T) {
	t.Parallel()
	taken := strings.TrimPrefix(start(t, local.Options{}).URL, "http://")
	for says, o := range map[string]local.Options{
		"choose another port with -addr":     {Addr: taken},
		"choose another port with -imm-addr": {IMMAddr: taken},
		"-addr 0.0.0.0:8080 is no loopback":  {Addr: "0.0.0.0:8080"},
		"-imm-addr 8081 is no loopback":      {IMMAddr: "8081"},
		"WEBOFFICE_LINK_KEYS: key 1":         {LinkKeys: "short"},
		"the policy has mistakes":            {Policy: []byte("rules: [")},
		"no such file":                       {Documents: []local.Folder{{Bucket: "a-bucket", Dir: "/nowhere"}}},
	} {
		o.Generate, o.Refresh = generate.New, refresh.New
		if _, err := local.Start(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}
