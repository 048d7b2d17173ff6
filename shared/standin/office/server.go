// Package office is a stand-in for IMM WebOffice, for tests, scripts/dev and scripts/smoke: the
// API, the editor frame and the JS-SDK in one handler, with no account and no network.
//
//	server := office.New(office.Options{})
//	web := httptest.NewServer(server)      // the official SDK's endpoint: web.Listener.Addr(), by http
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
//   - It counts calls as billing does, remembers the last requests, and fails on demand (Fail).
//
// Where the vendor documents nothing it chooses: a spent, expired or unknown refresh token is 400
// InvalidRefreshToken, and Switches.OldTokensDie says whether a refresh ends the old access token.
// Limits: it keeps state in memory, reads no office files (documents are plain text), knows two
// actions, and has one account, whose keys are no secrets.
package office

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// The actions that the stand-in knows.
const (
	Generate = "GenerateWebofficeToken"
	Refresh  = "RefreshWebofficeToken"
)

const (
	apiVersion   = "2020-09-30"
	maxBody      = 1 << 20
	keptRequests = 1000
)

// Credentials are the one set of temporary credentials that signs requests. They open nothing but a
// stand-in.
type Credentials struct{ AccessKeyID, Secret, SecurityToken string }

// Options say how a stand-in behaves for its whole life. The zero value is a good one.
type Options struct {
	// the clock of tokens, Date headers and documents; default time.Now
	Now func() time.Time
	// the clock that x-acs-date is held against; default Now. The official SDK signs by time.Now.
	SignatureNow     func() time.Time
	AccessTokenLife  time.Duration // default 30 minutes
	RefreshTokenLife time.Duration // default 24 hours
	Credentials      Credentials   // default STS.local, local-secret, local-token
	// what a WebofficeURL starts with; default http:// and the Host of the request
	PublicURL string
	// one line per API request, never with a parameter's value; default none
	Logger *slog.Logger
}

// Switches are the behaviours that the vendor leaves open, or that differ between projects. They
// may change at any time.
type Switches struct {
	UserNameStrict bool // User.Name outside [A-Za-z0-9-_+/=@] is refused, as documented
	OldTokensDie   bool // a refresh ends the access token that it was made with, at once
	// each Generate has a WebofficeURL of its own, not one per document and Filename
	NewURLEachTime bool
}

// Calls count API requests as billing does.
type Calls struct {
	Generate, Refresh int // done, also where the answer was lost on its way: billed
	Failed            int // refused, or failed before the work: not billed
}

// Request is one API request that was properly signed.
type Request struct {
	Time       time.Time
	ID         string
	Action     string
	Parameters map[string]string // as on the wire, tokens and passwords included
	// "" when the work was done, else the error's code or the fault's name
	Code string
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	options Options // complete, and fixed
	mux     *http.ServeMux

	mu                  sync.Mutex // guards all below
	publicURL           string
	credentials         Credentials
	switches            Switches
	faults              []*injected
	projects            map[string]bool
	documents           map[string]*document // by SourceURI
	nonces, olderNonces map[string]bool
	noncesSince         time.Time
	access              map[string]*accessToken
	refresh             map[string]*refreshToken
	accessQueue         []string // in the order of their issue, which is that of their end
	refreshQueue        []string
	calls               Calls
	requests            []Request
	doubleSpends        []Request
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
	o.RefreshTokenLife = cmp.Or(o.RefreshTokenLife, 24*time.Hour)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.Credentials = cmp.Or(o.Credentials,
		Credentials{AccessKeyID: "STS.local", Secret: "local-secret", SecurityToken: "local-token"})
	s := &Server{
		options: o, mux: http.NewServeMux(), publicURL: o.PublicURL, credentials: o.Credentials,
		projects: map[string]bool{"test-project": true}, documents: sampleDocuments(),
		nonces: map[string]bool{},
		access: map[string]*accessToken{}, refresh: map[string]*refreshToken{},
	}
	s.mux.HandleFunc("/{$}", s.serveAPI)
	s.handleOffice()
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

// SetPublicURL sets what a WebofficeURL starts with, for servers that know their address only once
// they listen.
func (s *Server) SetPublicURL(base string) {
	s.locked(func() { s.publicURL = base })
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

// Calls returns the counts since the start.
func (s *Server) Calls() (c Calls) { s.locked(func() { c = s.calls }); return c }

// Requests returns the last 1,000 properly signed API requests, oldest first.
func (s *Server) Requests() (r []Request) {
	s.locked(func() { r = slices.Clone(s.requests) })
	return r
}

// DoubleSpends returns the last 1,000 refreshes that came with a refresh token which had been used
// already. A client may cause one only where it cannot know; most tests want none.
func (s *Server) DoubleSpends() (r []Request) {
	s.locked(func() { r = slices.Clone(s.doubleSpends) })
	return r
}

// apiError is an answer that refuses.
type apiError struct {
	status        int
	code, message string
}

func badRequest(code, message string) *apiError {
	return &apiError{http.StatusBadRequest, code, message}
}

func missing(parameter string) *apiError {
	return badRequest("Missing"+parameter, parameter+" is mandatory for this action.")
}

func invalid(parameter string) *apiError {
	return badRequest("Invalid"+parameter, "Specified parameter "+parameter+" is not valid.")
}

func argument(parameter, message string) *apiError {
	return badRequest("InvalidArgument."+parameter, message)
}

func notFound(resource string) *apiError {
	return &apiError{http.StatusNotFound, "ResourceNotFound", "The specified resource " + resource +
		" is not found"}
}

// body is the vendor's error body.
func (e *apiError) body(host, id string) map[string]string {
	return map[string]string{
		"RequestId": id, "HostId": host, "Code": e.code, "Message": e.message,
		"Recommend": "https://api.alibabacloud.com/troubleshoot?q=" + url.QueryEscape(e.code) +
			"&product=imm&requestId=" + id,
	}
}

// serveAPI answers one API request: proof, fault before the work, the work, fault after it.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	request := &Request{Time: s.options.Now(), ID: newRequestID(),
		Action: r.Header.Get("X-Acs-Action")}
	defer func() {
		s.options.Logger.Info("imm stand-in", "action", request.Action, "code", request.Code,
			"requestId", request.ID)
	}()
	var fault *Fault
	failure := s.verify(r, request)
	if failure == nil {
		fault = s.nextFault(request.Action)
	}
	if fault != nil && !fault.afterWork && fault.stays(r) {
		request.Code = fault.name
		s.locked(func() { s.record(request) })
		fault.strike(w, r, request.ID, nil)
		return
	}
	work := s.generateTokens
	if request.Action == Refresh {
		work = s.refreshTokens
	}
	var result *tokens
	s.locked(func() {
		if failure == nil {
			result, failure = work(request, "http://"+r.Host)
		}
		if failure != nil {
			request.Code = failure.code
		}
		s.record(request)
	})
	switch {
	case failure != nil:
		write(w, failure.status, request.ID, failure.body(r.Host, request.ID))
	case fault != nil && fault.afterWork && fault.stays(r):
		fault.strike(w, r, request.ID, result)
	default:
		write(w, http.StatusOK, request.ID, result)
	}
}

// record counts a request and keeps it if it was properly signed; the caller holds the lock.
func (s *Server) record(request *Request) {
	switch {
	case request.Code != "":
		s.calls.Failed++
	case request.Action == Generate:
		s.calls.Generate++
	default:
		s.calls.Refresh++
	}
	if request.Parameters != nil {
		s.requests = keepLast(s.requests, *request)
	}
}

// keepLast appends to a list that never grows beyond keptRequests.
func keepLast(list []Request, request Request) []Request {
	return append(list[max(0, len(list)-keptRequests+1):], request)
}

// write answers with JSON.
func write(w http.ResponseWriter, status int, requestID string, body any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("X-Acs-Request-Id", requestID)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// verify checks everything that is the same for all actions, and gives the request its parameters
// once its signature is right.
func (s *Server) verify(r *http.Request, request *Request) *apiError {
	if r.Method != http.MethodPost {
		return badRequest("UnsupportedHTTPMethod", "This http method is not supported.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		return badRequest("RequestTooLarge", "The body cannot be read, or is too large.")
	}
	parameters, failure := queryParameters(r.URL.RawQuery)
	if failure == nil {
		failure = s.authenticate(r, parameters, body)
	}
	if failure != nil {
		return failure
	}
	request.Parameters = parameters
	if r.Header.Get("X-Acs-Version") != apiVersion {
		return invalid("Version")
	}
	known := actions[request.Action]
	if known == nil {
		return &apiError{http.StatusNotFound, "InvalidAction.NotFound",
			"The specified action is not found."}
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if known[name] == nil {
			return badRequest("InvalidParameter",
				fmt.Sprintf("%s has no parameter %q.", request.Action, name))
		}
	}
	// Both actions are documented with their parameters in the query, and the gateway reads no
	// others: what a body says is lost.
	if len(body) > 0 {
		return badRequest("InvalidParameter", request.Action+
			" takes its parameters in the query, not in a body.")
	}
	return nil
}

// queryParameters decodes a query in which each name may appear once.
func queryParameters(raw string) (map[string]string, *apiError) {
	values, err := url.ParseQuery(raw)
	parameters := make(map[string]string, len(values))
	for name, all := range values {
		parameters[name] = all[0]
		if len(all) > 1 {
			err = fmt.Errorf("parameter %q is given more than once", name)
		}
	}
	if err != nil {
		return nil, badRequest("InvalidParameter", "The query cannot be decoded: "+err.Error())
	}
	return parameters, nil
}

// newRequestID returns a RequestId in the vendor's form.
func newRequestID() string {
	id := strings.ToUpper(randomHex(16))
	return id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
}

func randomHex(bytes int) string {
	random := make([]byte, bytes)
	_, _ = rand.Read(random) // never fails
	return hex.EncodeToString(random)
}
