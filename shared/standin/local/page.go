package local

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/web"
	"weboffice-functions/shared/weboffice"
)

//go:embed quickstart
var quickstart embed.FS

// pages serves the sample page and, for comparison, one that does what the vendor's quick start
// does.
func (l *Local) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler(l.IMMURL))
	files, err := fs.Sub(quickstart, "quickstart")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	mux.Handle("/quickstart/", http.StripPrefix("/quickstart/", http.FileServerFS(files)))
	return mux
}

// persona is somebody the sample page can be.
type persona struct {
	ID     string         `json:"id"`
	Title  string         `json:"title"`
	About  string         `json:"about"`
	claims map[string]any // of the identity provider's token; nil: none
}

var personas = []persona{
	{ID: "guest", Title: "Guest", About: "brings no proof"},
	{ID: "link", Title: "Link holder", About: "bears a share link for one document"},
	{ID: "viewer", Title: "Viewer", About: "signed in, in the group viewers",
		claims: map[string]any{"sub": "victor", "name": "Victor", "groups": []string{"viewers"}}},
	{ID: "editor", Title: "Editor", About: "signed in, in the group editors",
		claims: map[string]any{"sub": "erin", "name": "Erin", "groups": []string{"editors"}}},
}

// document is one that the sample page offers.
type document struct {
	URI   string `json:"uri"`
	Title string `json:"title"`
}

// Token returns a fresh proof of a persona; "" for one that has none. A link holder's is for one
// document, and the same link each time: who comes back with it finds open what was open.
func (l *Local) Token(id, uri string) (weboffice.Secret, error) {
	if id == "link" {
		now := l.now()
		return caller.MintLink(l.LinkKey, caller.LinkClaims{
			ID: "dev", Document: uri, Grant: []string{"view", "edit", "copy"}, Name: "Lin",
			IssuedAt: now, Expires: now.Add(24 * time.Hour),
		})
	}
	for _, p := range personas {
		if p.ID == id && p.claims != nil {
			return l.People.Token(p.claims), nil
		}
	}
	return "", nil
}

func (l *Local) serveSetting(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"sdk": l.IMMURL + office.SDKPath, "personas": personas, "documents": l.documents,
		"lifetime": l.lifetime.Milliseconds(),
	})
}

func (l *Local) serveToken(w http.ResponseWriter, r *http.Request) {
	uri := r.URL.Query().Get("document")
	if uri == "" {
		uri = l.documents[0].URI
	}
	token, err := l.Token(r.URL.Query().Get("persona"), uri)
	if err != nil || token == "" {
		http.Error(w, "no proof for this persona", http.StatusNotFound)
		return
	}
	writeJSON(w, map[string]string{"token": token.Reveal()})
}

func (l *Local) serveState(w http.ResponseWriter, _ *http.Request) {
	calls := l.IMM.Calls()
	writeJSON(w, map[string]any{"generate": calls.Generate, "refresh": calls.Refresh,
		"decisions": l.decisions.latest()})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body) // the page may be gone
}

// layDocuments lists the stand-in's documents and adds those of a folder: the text of text files, a
// line about every other file.
func (l *Local) layDocuments(folder string) error {
	for _, d := range []document{
		{Title: "Word"}, {URI: "xlsx", Title: "Excel"}, {URI: "pptx", Title: "PowerPoint"},
		{URI: "pdf", Title: "PDF"}, {URI: "txt", Title: "Text"},
		{URI: "DOCX", Title: "Upper-case name"},
	} {
		if d.URI == "" {
			d.URI = "docx"
		}
		l.documents = append(l.documents, document{"oss://test-bucket/test-object." + d.URI,
			d.Title})
	}
	l.documents = append(l.documents, document{"oss://test-bucket/ten-pages.docx", "Ten pages"})
	if folder == "" {
		return nil
	}
	return filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if _, supported := weboffice.FormatOf(file); !supported {
			return nil
		}
		name, err := filepath.Rel(folder, file)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprintf("%s\n\n%d bytes. The stand-in shows text files only.", entry.Name(),
			info.Size())
		if format := path.Ext(file); strings.EqualFold(format, ".txt") ||
			strings.EqualFold(format, ".csv") {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text = string(content)
		}
		uri := "oss://test-bucket/" + filepath.ToSlash(name)
		l.documents = append(l.documents, document{uri, entry.Name()})
		return l.IMM.AddDocument(uri, office.Document{Title: entry.Name(), Text: text})
	})
}

// decisions is a log handler that keeps the latest audit lines for the page, and passes everything
// on.
type decisions struct {
	slog.Handler
	now  func() time.Time
	mu   sync.Mutex
	last []map[string]any
}

// Enabled implements slog.Handler: the page shows decisions also where the log is about trouble
// only.
func (d *decisions) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle implements slog.Handler.
func (d *decisions) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "decision" {
		line := map[string]any{"time": d.now()}
		r.Attrs(func(a slog.Attr) bool {
			line[a.Key] = a.Value.Any()
			return true
		})
		line["RequestId"] = line["immRequestId"] // as the page knows it
		if line["RequestId"] == "" {
			line["RequestId"] = line["requestId"]
		}
		line["caller"] = strings.Trim(fmt.Sprint(line["issuer"], " ", line["subject"]), " ")
		d.mu.Lock()
		d.last = append(d.last, line)
		d.last = d.last[max(0, len(d.last)-50):]
		d.mu.Unlock()
	}
	if !d.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return d.Handler.Handle(ctx, r)
}

func (d *decisions) latest() []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]map[string]any{}, d.last...)
}
