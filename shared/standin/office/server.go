// Package office is a stand-in for IMM WebOffice, for tests, scripts/dev and scripts/smoke: the
// API, the editor frame and the JS-SDK in one handler, with no account and no network.
//
//	server := office.New(office.Options{})
//	web := httptest.NewServer(server) // the official SDK's endpoint: web.Listener.Addr(), by http
//	server.Fail(office.Refresh, 1, office.Cut().AfterWork())
//	… server.Calls(), server.Requests(), server.DoubleSpends()
//
// It is strict on purpose: what IMM may forgive, or forgives today, is an error here. It has its
// own tables of parameters and formats, so that it and the functions check each other. What it
// promises:
//
//   - POST / is the API. Every request must be signed by ACS3-HMAC-SHA256 with temporary
//     credentials, dated within 15 minutes, with a nonce never seen before, and have all its
//     parameters in the query, as the official SDK does it. Errors have the vendor's body and,
//     where one is documented, the vendor's code.
//   - Access tokens and refresh tokens are random and live by Options.Now. A refresh token works
//     once. A refresh issues the same settings again, without WebofficeURL. One Generate serves one
//     frame: the last that opens it; the others lose it.
//   - The editor side (SDKPath, /office/…) is a JS-SDK with the real one's surface and traps, and a
//     frame that says on its face that it is a stand-in. Edits are saved into memory.
//   - It counts calls and what the vendor would charge for (Calls), remembers the last requests,
//     and fails on demand (Fail).
//
// Where the vendor documents nothing it chooses: a spent, expired or unknown refresh token is 400
// InvalidRefreshToken, and a refresh leaves the old access token its life.
// Limits: it keeps state in memory, shows text only (of any other file its name, size, pages and
// a picture), knows two actions, and has one account, whose keys are no secrets.
package office

import (
	"cmp"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Credentials are the one set of temporary credentials that signs requests. They open nothing but a
// stand-in.
type Credentials struct{ AccessKeyID, Secret, SecurityToken string }

// Options say how a stand-in behaves for its whole life. The zero value is a good one.
type Options struct {
	// the clock of tokens, Date headers and documents; default time.Now
	Now func() time.Time
	// the clock that x-acs-date is held against; default Now. The official SDK signs by time.Now.
	SignatureNow    func() time.Time
	AccessTokenLife time.Duration // default 30 minutes
	Credentials     Credentials   // default STS.local, local-secret, local-token
	// what a WebofficeURL starts with; default http:// and the Host of the request
	PublicURL string
	// one line per API request, never with a parameter's value; default none
	Logger *slog.Logger
}

// Switches are the behaviours that the vendor leaves open. They may change at any time.
type Switches struct {
	UserNameStrict bool // User.Name outside [A-Za-z0-9-_+/=@] is refused, as documented
	// each Generate has a WebofficeURL of its own, not one per document and Filename
	NewURLEachTime bool
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	options Options // complete, and fixed
	mux     *http.ServeMux

	mu          sync.Mutex // guards all below
	credentials Credentials
	switches    Switches
	faults      []*injected
	projects    map[string]bool
	buckets     map[string]bool      // whose objects are all there
	documents   map[string]*document // by SourceURI
	nonces      nonces
	access      issued
	refresh     issued
	ledger      ledger
}

// New returns a stand-in that knows project test-project and bucket test-bucket with test-object in
// every supported format, test-object.DOCX and ten-pages.docx.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.SignatureNow == nil {
		o.SignatureNow = o.Now
	}
	o.AccessTokenLife = cmp.Or(o.AccessTokenLife, fullAccessLife)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Credentials = cmp.Or(o.Credentials,
		Credentials{AccessKeyID: "STS.local", Secret: "local-secret", SecurityToken: "local-token"})
	s := &Server{
		options: o, mux: http.NewServeMux(), credentials: o.Credentials,
		projects: map[string]bool{"test-project": true}, buckets: map[string]bool{},
		documents: sampleDocuments(), nonces: nonces{recent: map[string]bool{}},
		access: issued{tokens: map[string]*token{}}, refresh: issued{tokens: map[string]*token{}},
	}
	s.mux.HandleFunc("/{$}", s.serveAPI)
	s.handleEditor()
	return s
}

// ServeHTTP serves the API at / and the editor side at SDKPath and below /office/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.options.Now().UTC().Format(http.TimeFormat))
	s.mux.ServeHTTP(w, r)
}

func (s *Server) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// SetSwitches replaces all switches.
func (s *Server) SetSwitches(to Switches) { s.locked(func() { s.switches = to }) }

// SetCredentials replaces the credentials, as a role's renewal does; requests signed with the old
// ones are refused from now on.
func (s *Server) SetCredentials(c Credentials) { s.locked(func() { s.credentials = c }) }

// Credentials returns the credentials that requests must be signed with.
func (s *Server) Credentials() (c Credentials) { s.locked(func() { c = s.credentials }); return c }

// AddProject makes a project known besides test-project.
func (s *Server) AddProject(name string) { s.locked(func() { s.projects[name] = true }) }

// AddBucket makes a bucket known whose objects are all there, so that a policy for real documents
// runs as it is: one of a supported format that AddDocument did not lay there opens as a sample.
// In test-bucket, and in any bucket that is not known, what is not there is not found.
func (s *Server) AddBucket(name string) { s.locked(func() { s.buckets[name] = true }) }

func randomHex(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}

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
