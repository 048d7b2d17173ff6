// Package local is one site on one machine, with no account: the IMM stand-in, a test identity
// provider, both functions and the sample page. scripts/dev serves it to a person; scripts/smoke,
// scripts/load, benchmarks and the end-to-end tests drive it. It is handed the functions' handlers,
// so that nothing below it imports them.
//
// Loopback only, by address and by the Host of every request. Its credentials are no secrets and
// open nothing but the stand-in.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/standin/office"
	"weboffice-functions/shared/weboffice"
)

// Options say what to run. All but the handlers may be left out.
type Options struct {
	Addr, IMMAddr string // default: free ports of 127.0.0.1

	// Policy is the text of a policy, default one that opens nothing. http://127.0.0.1:8080 in it
	// stands for the site's own URL; the test identity provider is at /people below that.
	Policy []byte
	// SessionKeys and LinkKeys are as WEBOFFICE_SESSION_KEYS and WEBOFFICE_LINK_KEYS are, default
	// one random key each. Environment goes over the variables that the functions get from here.
	SessionKeys, LinkKeys string
	Environment           map[string]string
	Documents             []Folder
	// AnyDocument lets every document of a bucket that the policy names be there, but for buckets
	// in Documents: one that nobody laid there opens as a sample.
	AnyDocument bool
	Site        string           // a folder that is served at / in place of the sample page
	Origins     []string         // of pages that may call, besides the policy's and the site's own
	Lifetime    time.Duration    // of an access token, default 30 minutes
	Now         func() time.Time // default time.Now; the clock of everybody here
	Logger      *slog.Logger     // default none

	IMM    office.Options // Now as above by default; life, URL and Logger are those from above
	People issuer.Options // Now as above, Algorithm ES256 by default
	// Gateway makes what answers at the stand-in's address, default the stand-in itself.
	Gateway func(imm http.Handler) http.Handler

	// Generate and Refresh make the two functions' handlers: generate.New and refresh.New.
	Generate, Refresh func(*app.App) http.Handler
}

// Local is what runs.
type Local struct {
	*Functions        // those of Options.Policy, served at /generate and /refresh below URL
	URL        string // of the page
	IMMURL     string // of the stand-in
	IMM        *office.Server
	People     *issuer.Provider
	LinkKey    weboffice.Secret // the first

	options   Options
	recent    *recent
	refused   *refusedOrigins
	documents []document
	servers   []*http.Server
	scratch   string
}

// Start runs everything until Close.
func Start(o Options) (_ *Local, err error) {
	l := &Local{options: o.complete()}
	if l.scratch, err = os.MkdirTemp("", "weboffice-local"); err != nil {
		return nil, err
	}
	listeners, err := l.listen()
	if err == nil {
		err = l.build()
	}
	if err != nil {
		for _, listener := range listeners {
			_ = listener.Close()
		}
		return nil, errors.Join(err, l.Close())
	}
	l.serve(listeners[0], l.routes())
	imm := http.Handler(l.IMM)
	if o.Gateway != nil {
		imm = o.Gateway(imm)
	}
	l.serve(listeners[1], imm)
	return l, nil
}

func (o Options) complete() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.IMM.Now == nil {
		o.IMM.Now = o.Now
	}
	if o.Policy == nil {
		o.Policy = []byte(closedPolicy)
	}
	o.People.Now = o.Now
	o.Lifetime = cmp.Or(o.Lifetime, 30*time.Minute)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.IMM.AccessTokenLife, o.IMM.Logger = o.Lifetime, o.Logger
	// an RSA key takes a while to make
	o.People.Algorithm = cmp.Or(o.People.Algorithm, "ES256")
	return o
}

// listen opens both addresses, which URL and IMMURL then name.
func (l *Local) listen() (opened []net.Listener, err error) {
	for _, address := range [][2]string{{"-addr", l.options.Addr}, {"-imm-addr", l.options.IMMAddr}} {
		listener, err := listen(address[0], address[1])
		if err != nil {
			return opened, err
		}
		opened = append(opened, listener)
	}
	l.URL, l.IMMURL = "http://"+opened[0].Addr().String(), "http://"+opened[1].Addr().String()
	return opened, nil
}

// listen opens an address, and names the flag of scripts/dev that moves it.
func listen(flag, addr string) (net.Listener, error) {
	addr = cmp.Or(addr, "127.0.0.1:0")
	host, _, err := net.SplitHostPort(addr)
	if err != nil || !weboffice.Loopback(host) {
		return nil, fmt.Errorf("%s %s is no loopback address: use 127.0.0.1:PORT", flag, addr)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another port with %s 127.0.0.1:PORT", err, flag)
	}
	return listener, nil
}

// build makes all that answers.
func (l *Local) build() (err error) {
	o := l.options
	o.IMM.PublicURL = l.IMMURL
	l.IMM, l.People = office.New(o.IMM), issuer.New(o.People)
	l.People.SetURL(l.URL + "/people")
	l.recent = &recent{Handler: o.Logger.Handler(), now: o.Now}
	if err := l.makeKeys(); err != nil {
		return err
	}
	l.Functions, err = l.Build(o.Policy, nil, slog.New(l.recent))
	if err != nil {
		return err
	}
	for _, project := range l.App.Policy.Projects() {
		l.IMM.AddProject(project)
	}
	own := []string{l.URL, strings.Replace(l.URL, "127.0.0.1", "localhost", 1)} // as people type it
	l.App.Edge.Origins = slices.Concat(l.App.Edge.Origins, own, o.Origins)
	l.refused = &refusedOrigins{now: o.Now, logger: o.Logger, allowed: l.App.Edge.Origins}
	return l.addDocuments()
}

// addDocuments fills the stand-in's buckets.
func (l *Local) addDocuments() error {
	full, named := []string{"test-bucket"}, l.App.Policy.Buckets()
	for _, folder := range l.options.Documents {
		full = append(full, folder.Bucket)
		if err := l.lay(folder); err != nil {
			return err
		}
	}
	if len(l.documents) == 0 || slices.Contains(named, "test-bucket") {
		l.documents = append(slices.Clone(samples), l.documents...)
	}
	for _, bucket := range named {
		if l.options.AnyDocument && !slices.Contains(full, bucket) {
			l.IMM.AddBucket(bucket)
		}
	}
	return nil
}

func (l *Local) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: loopbackOnly(handler), ReadHeaderTimeout: 10 * time.Second}
	l.servers = append(l.servers, server)
	go func() { _ = server.Serve(listener) }()
}

// loopbackOnly refuses every Host but this machine. A page elsewhere may point a name of its own at
// 127.0.0.1 (DNS rebinding) and would then read what is served here.
func loopbackOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !weboffice.Loopback(host) {
			http.Error(w, "This server answers to 127.0.0.1 and localhost only.",
				http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Close stops everything at once.
func (l *Local) Close() error {
	problems := []error{os.RemoveAll(l.scratch)}
	for _, server := range l.servers {
		problems = append(problems, server.Close())
	}
	return errors.Join(problems...)
}

// Stop lets requests under way finish, and closes.
func (l *Local) Stop(ctx context.Context) error {
	for _, server := range l.servers {
		_ = server.Shutdown(ctx)
	}
	return l.Close()
}

// Clock is a time that stands still until it is moved. It is safe for concurrent use.
type Clock struct {
	begin time.Time
	ahead atomic.Int64 // nanoseconds
}

// NewClock returns a clock that stands at a time.
func NewClock(at time.Time) *Clock { return &Clock{begin: at} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time { return c.begin.Add(time.Duration(c.ahead.Load())) }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }
