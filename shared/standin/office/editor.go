package office

import (
	"embed"
	"net/http"
)

// SDKPath is where the JS-SDK lies, as on the vendor's host.
const SDKPath = "/IMM/office-js/1.1.19/aliyun-web-office-sdk.min.js"

//go:embed assets/frame.html assets/frame.css assets/frame.js assets/aliyun-web-office-sdk.min.js
var assets embed.FS

// framePolicy lets the frame run its own files and nothing else, inside any page.
const framePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors http: https:"

// handleEditor adds the editor side: the JS-SDK, the frame with its files, and the frame's own
// calls.
func (s *Server) handleEditor() {
	serve := func(pattern, file, contentType string, header map[string]string) {
		content, err := assets.ReadFile("assets/" + file)
		if err != nil {
			panic(err) // embedded: there or the build fails
		}
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType+"; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			w.Header().Set("Cache-Control", "no-cache")
			for name, value := range header {
				w.Header().Set(name, value)
			}
			_, _ = w.Write(content)
		})
	}
	serve("GET "+SDKPath, "aliyun-web-office-sdk.min.js", "text/javascript",
		map[string]string{"Access-Control-Allow-Origin": "*",
			"Cross-Origin-Resource-Policy": "cross-origin"})
	serve("GET /office/assets/frame.css", "frame.css", "text/css", nil)
	serve("GET /office/assets/frame.js", "frame.js", "text/javascript", nil)
	serve("GET /office/{kind}/{file}", "frame.html", "text/html",
		map[string]string{"Content-Security-Policy": framePolicy, "Referrer-Policy": "no-referrer"})
	s.mux.Handle("POST /office/session",
		http.NewCrossOriginProtection().Handler(http.HandlerFunc(s.serveSession)))
}
