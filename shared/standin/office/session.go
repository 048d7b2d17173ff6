package office

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

// frameRequest is one call of the frame.
type frameRequest struct {
	Action   string // open, renew, check, save or rename
	File     string // the last part of the frame's own URL
	Frame    string // a random name that the frame gives itself when it loads
	Token    string // the access token
	Password string // with open and renew: what the reader typed
	Pages    []string
	Name     string
}

// frameAnswer tells the frame whether its session lives, and after open and renew what to show.
type frameAnswer struct {
	// open, locked (a password is needed), expired, revoked, unknown, or refused for a right that
	// is not granted
	State     string
	ExpiresIn int64 `json:",omitempty"` // milliseconds that the token still lives
	Life      int64 // milliseconds that every access token lives
	Version   int   `json:",omitempty"`
	View      *view `json:",omitempty"`
}

// view is all that a frame shows: no page beyond the granted ones ever reaches the browser.
type view struct {
	*settings
	Title, Kind string
	Readonly    bool
	Pages       []string
	TotalPages  int
	Versions    []version
	File        *File `json:",omitempty"` // shown in place of blank Pages
}

// serveSession answers the frame.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request) {
	var request frameRequest
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil || request.Frame == "" ||
		len(request.Frame) > 64 {
		http.Error(w, "not a frame's request", http.StatusBadRequest)
		return
	}
	answer := s.session(request)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer)
	s.options.Logger.Debug("imm stand-in frame", "action", request.Action, "state", answer.State)
}

// session decides about one call of a frame. Opening takes the grant from the frame that had it; a
// renewal, which is a new token in a frame that is open, does so only when no other frame has
// opened the grant.
func (s *Server) session(request frameRequest) frameAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := frameAnswer{State: "unknown", Life: s.options.AccessTokenLife.Milliseconds()}
	token, now := s.access.tokens[request.Token], s.options.Now()
	if token == nil || token.grant.file != request.File {
		return answer
	}
	given, shown := token.grant, s.documents[token.grant.uri]
	opening := request.Action == "open" || request.Action == "renew" && given.frame == ""
	switch {
	case !now.Before(token.expires):
		answer.State = "expired"
		return answer
	case !opening && given.frame != request.Frame:
		answer.State = "revoked"
		return answer
	case opening && given.frame != request.Frame:
		given.frame = request.Frame
		shown.openings++
	}
	answer.State, answer.ExpiresIn, answer.Version = "open", token.expires.Sub(now).Milliseconds(),
		shown.version()
	if !given.unlocked(shown, request.Password) {
		answer.State = "locked"
		return answer
	}
	name := strings.TrimSpace(request.Name)
	switch action := request.Action; {
	case action == "open" || action == "renew":
		answer.View = given.view(shown)
	case action == "save" && (given.viewOnly(shown) || len(request.Pages) != len(shown.pages)),
		action == "rename" && (!given.Rename || name == "" ||
			utf8.RuneCountInString(request.Name) > 255):
		answer.State = "refused"
	case action == "save":
		shown.save(request.Pages, now, given.UserName)
		answer.Version = shown.version()
	case action == "rename": // as at IMM, only announced: the object keeps its name
		shown.Title = name
	}
	return answer
}

// unlocked says whether the document may be shown: a protected one when the Password of Generate,
// or what the reader typed, is right. A Password for a document that has none protects this
// preview, and the reader must type it.
func (g *grant) unlocked(d *document, typed string) bool {
	if d.Password != "" {
		return g.password == d.Password || typed == d.Password
	}
	return g.password == "" || typed == g.password
}

// viewOnly says whether the frame must refuse edits: as asked, because pages or a cache limit what
// is shown, or because the stand-in cannot read the file.
func (g *grant) viewOnly(d *document) bool { return g.preview() || d.File != nil }

func (g *grant) view(d *document) *view {
	pages := d.pages
	if g.Cached {
		pages = g.snapshot
	}
	v := &view{settings: g.settings, Title: d.Title, Kind: editorKind(extension(g.Name)),
		Readonly: g.viewOnly(d), Pages: pages, TotalPages: len(pages), File: d.File}
	if g.previewPages > 0 {
		v.Pages = pages[:min(g.previewPages, len(pages))]
	}
	if g.History {
		v.Versions = d.versions
	}
	return v
}
