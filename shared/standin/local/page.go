package local

import (
	"embed"
	"encoding/json"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/web"
	"weboffice-functions/shared/weboffice"
)

//go:embed quickstart
var quickstart embed.FS

// routes mounts the functions, what the sample page asks, that page and, for comparison, one that
// does what the vendor's quick start does.
func (l *Local) routes() http.Handler {
	mux, page := http.NewServeMux(), web.Handler(l.IMMURL)
	if l.options.Site != "" {
		page = l.site(os.DirFS(l.options.Site))
	}
	mux.Handle("/", page)
	mux.Handle("/quickstart/", http.FileServerFS(quickstart))
	mux.Handle("/generate", l.refused.watch("generate", l.Generate))
	mux.Handle("/refresh", l.refused.watch("refresh", l.Refresh))
	mux.Handle("/people/", http.StripPrefix("/people", l.People))
	mux.HandleFunc("GET /dev.json", l.serveSetting)
	mux.HandleFunc("GET /dev/token", l.serveToken)
	mux.HandleFunc("GET /dev/state.json", l.serveState)
	return mux
}

// site serves a folder, and weboffice.js beside it. In its pages and scripts http://127.0.0.1:8080
// and http://127.0.0.1:8081 stand for the site's own URL and for the stand-in's.
func (l *Local) site(folder fs.FS) http.Handler {
	own := strings.NewReplacer(usualURL, l.URL, usualIMMURL, l.IMMURL)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		text, err := fs.ReadFile(folder, name)
		switch kind := mime.TypeByExtension(path.Ext(name)); {
		case err != nil && name == "weboffice.js":
			web.Handler(l.IMMURL).ServeHTTP(w, r)
		case err != nil:
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = own.WriteString(w, string(text)) // the page may be gone
		}
	})
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

// Token returns a fresh proof of a persona; "" for one that has none. A link holder's is for one
// document, and the same link each time: who comes back with it finds open what was open.
func (l *Local) Token(id, uri string) (weboffice.Secret, error) {
	if id == "link" {
		now := l.options.Now()
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

// SDK is where the stand-in's JS-SDK lies.
func (l *Local) SDK() string { return l.IMMURL + office.SDKPath }

func (l *Local) serveSetting(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"generate": l.URL + "/generate", "refresh": l.URL + "/refresh",
		"sdk": l.SDK(), "origins": l.refused.allowed, "personas": personas,
		"documents": l.documents, "lifetime": l.options.Lifetime.Milliseconds(),
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
		"decisions": l.recent.decisions.all(), "requests": l.recent.requests.all(),
		"refusedOrigins": l.refused.all()})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(body) // the page may be gone
}
