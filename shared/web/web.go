// Package web holds what runs in a browser: weboffice.js, the module that opens a document in a
// page and keeps it open, and a sample page that shows what happens while it does. Sites copy
// weboffice.js (and weboffice.d.ts for their types); the sample page is for development, and talks
// to the functions and to the /dev endpoints of whoever serves it.
//
// Both run under the strict policy that Handler sends: no inline script or style, nothing from
// other hosts but the editor.
package web

import (
	"embed"
	"net/http"
	"strings"
)

//go:embed index.html page.css page.js icon.svg weboffice.js
var files embed.FS

// Handler serves the sample page at / with its files and weboffice.js. editor is the origin that
// the editor's script and frame come from, such as http://127.0.0.1:8081: the page's policy lets in
// that one alone. The page expects generate, refresh, dev.json, dev/token and dev/state.json beside
// it.
func Handler(editor string) http.Handler {
	policy := strings.Join([]string{
		"default-src 'none'", "script-src 'self' " + editor, "frame-src " + editor,
		"connect-src 'self'", "style-src 'self'",
		"img-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
	}, "; ")
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-cache")
		serve.ServeHTTP(w, r)
	})
}
