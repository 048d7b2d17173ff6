package caller_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

const (
	issuerURL = "https://login.example.com"
	header    = `{"alg":"ES256","kid":"k"}`
)

var (
	linkKey = weboffice.Secret(bytes.Repeat([]byte("k1"), 16))
	discard = slog.New(slog.DiscardHandler)
)

// clock is the time that a verifier and a provider share.
type clock struct{ nanoseconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanoseconds.Store(1_800_000_000e9)
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanoseconds.Load()) }
func (c *clock) Advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

// unix gives now plus d as a claim.
func (c *clock) unix(d time.Duration) int64 { return c.Now().Add(d).Unix() }

// wire is the http.RoundTripper of a test: it keeps what leaves.
type wire struct {
	next http.RoundTripper

	mu       sync.Mutex
	requests []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.requests = append(w.requests, r.URL.String())
	w.mu.Unlock()
	return w.next.RoundTrip(r)
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// loopback serves a handler over TLS on a port of this machine, and returns the way to it, whatever
// host a request names.
func loopback(t testing.TB, h http.Handler) http.RoundTripper {
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport)
	transport.TLSClientConfig.ServerName = "example.com" // whom its certificate is for
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	return transport
}

// inProcess answers requests with a handler, without a network: in synthetic time there is none.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// rig is a verifier of one issuer, "staff" at issuerURL for the audience "weboffice" unless the
// test says otherwise, and of share links. The issuer's server is a handler in the same process.
type rig struct {
	*caller.Verifier
	clock *clock
	wire  *wire
	log   *bytes.Buffer // of the verifier, to be read when no fetch is under way
}

func newRig(t testing.TB, trusted caller.Issuer, server http.Handler) rig {
	t.Helper()
	r := rig{clock: newClock(), wire: &wire{next: inProcess{server}}, log: &bytes.Buffer{}}
	trusted.Name = cmp.Or(trusted.Name, "staff")
	trusted.URL = cmp.Or(trusted.URL, issuerURL)
	if trusted.Audience == nil {
		trusted.Audience = []string{"weboffice"}
	}
	r.Verifier = must(caller.NewVerifier(caller.Options{
		Issuers: []caller.Issuer{trusted}, LinkKeys: []weboffice.Secret{linkKey},
		RevokedLinks: []string{"revoked"}, Client: &http.Client{Transport: r.wire},
		Now:    r.clock.Now,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(r.log, t.Output()), nil)),
	}))
	return r
}

// provided is a rig whose issuer is a provider, with an ES256 key unless an algorithm is given.
func provided(t testing.TB, trusted caller.Issuer, algorithm ...string) (rig, *issuer.Provider) {
	r := newRig(t, trusted, nil)
	p := issuer.New(issuer.Options{Now: r.clock.Now, Algorithm: append(algorithm, "ES256")[0]})
	p.SetURL(issuerURL)
	r.wire.next = loopback(t, p)
	return r, p
}

// signing is a rig whose issuer publishes one key, "k", that is the test's own.
func signing(t testing.TB, trusted caller.Issuer) (rig, ecKey) {
	k := newECKey(t, "k")
	return newRig(t, trusted, published(k.public())), k
}

// published is a handler for discovery and a key set with exactly these keys.
func published(keys ...any) http.Handler {
	return discovered(issuerURL, issuerURL+"/keys", keys...)
}

// discovered is a provider that says who it is, and where its key set is.
func discovered(iss, address string, keys ...any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document := map[string]any{"keys": keys}
		if r.URL.Path == issuer.DiscoveryPath {
			document = map[string]any{"issuer": iss, "jwks_uri": address}
		}
		_ = json.NewEncoder(w).Encode(document)
	})
}

// ecKey is a key of the test's own, for tokens that no provider would sign.
type ecKey struct {
	*ecdsa.PrivateKey
	id string
}

func newECKey(t testing.TB, id string) ecKey {
	t.Helper()
	return ecKey{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), id}
}

func (k ecKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: k.id, Algorithm: "ES256", Use: "sig"}
}

// sign makes a token of this very text, with ES256 whatever the header says.
func (k ecKey) sign(header, payload string) weboffice.Secret {
	input := b64(header) + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.PrivateKey, digest[:])
	signature := r.FillBytes(make([]byte, 64)[:32])
	signature = append(signature, must(s, err).FillBytes(make([]byte, 32))...)
	return weboffice.Secret(input + "." + b64(string(signature)))
}

// hs256 makes a token of this very text with HMAC.
func hs256(secret []byte, header, payload string) weboffice.Secret {
	input := b64(header) + "." + b64(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return weboffice.Secret(input + "." + b64(string(mac.Sum(nil))))
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// signWith makes a token with any key that go-jose knows, and the claims of an honest one.
func signWith(t testing.TB, c *clock, algorithm jose.SignatureAlgorithm, private any,
	id string) weboffice.Secret {
	t.Helper()
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: algorithm,
		Key: jose.JSONWebKey{Key: private, KeyID: id}}, nil))
	return weboffice.Secret(must(must(signer.Sign([]byte(honest(c, nil)))).CompactSerialize()))
}

// honest gives the claims of a good token as JSON, with changes; nil removes one.
func honest(c *clock, changes map[string]any) string {
	return claimsJSON(map[string]any{"iss": issuerURL, "aud": "weboffice", "sub": "ann",
		"iat": c.unix(0), "exp": c.unix(time.Hour)}, changes)
}

func claimsJSON(claims, changes map[string]any) string {
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(claims)))
}

// requested says how many requests must have left, and where the first went.
func (r rig) requested(t testing.TB, n int, first ...string) {
	t.Helper()
	r.wire.mu.Lock()
	defer r.wire.mu.Unlock()
	if all := r.wire.requests; len(all) != n || first != nil && all[0] != first[0] {
		t.Errorf("requests %v, want %d %s", all, n, first)
	}
}

// refused says that the proof must be a 401 like all others, which gives nothing of the proof away.
// The reason for the log, which it returns, must hold all of these.
func (r rig) refused(t testing.TB, token weboffice.Secret, reasons ...string) string {
	t.Helper()
	got, err := r.Verify(t.Context(), token)
	var public *weboffice.Error
	if !errors.As(err, &public) || public.Kind != weboffice.Unauthenticated {
		t.Fatalf("got %+v, %v, want a 401", got, err)
	}
	if !got.Guest() || got.Claims != nil || got.Subject != "" {
		t.Errorf("a refused proof left a caller: %+v", got)
	}
	want := caller.Unauthenticated("")
	if public.Code != want.Code || public.Message != want.Message ||
		public.Recommend != want.Recommend || public.Fix != "" {
		t.Errorf("this 401 differs from others: %+v", public)
	}
	if public.Cause == nil || public.Cause.Error() == "" {
		t.Fatal("no reason for the log")
	}
	why := public.Cause.Error()
	shown := fmt.Sprintf("%+v %s %s", public, why, r.log)
	for part := range strings.SplitSeq(token.Reveal(), ".") {
		if len(part) > 8 && strings.Contains(shown, part) {
			t.Errorf("the error or the log shows a part of the proof: %s", shown)
		}
	}
	for _, reason := range reasons {
		if !strings.Contains(why, reason) {
			t.Errorf("refused for %q, want %q in it", why, reason)
		}
	}
	return why
}

// accepted says that the proof must be good.
func (r rig) accepted(t testing.TB, token weboffice.Secret) caller.Caller {
	t.Helper()
	got, err := r.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("refused: %v: %v", err, errors.Unwrap(err))
	}
	return got
}

// verified says that the proof must be good, or a 401.
func (r rig) verified(t testing.TB, token weboffice.Secret, good bool) {
	t.Helper()
	if good {
		r.accepted(t, token)
	} else {
		r.refused(t, token)
	}
}

// unavailable says that the answer must be a 503.
func (r rig) unavailable(t testing.TB, token weboffice.Secret) *weboffice.Error {
	t.Helper()
	_, err := r.Verify(t.Context(), token)
	var public *weboffice.Error
	if !errors.As(err, &public) || public.Kind != weboffice.Unavailable {
		t.Fatalf("got %v, want a 503", err)
	}
	return public
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// table reads the lines of a file that begin with JSON, and divides them at their bars.
func table(t *testing.T, name string) (lines [][]string) {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile("testdata/" + name + ".txt")))) {
		if strings.HasPrefix(line, "{") || strings.HasPrefix(line, "null") {
			lines = append(lines, strings.Split(strings.TrimSuffix(line, "\n"), " | "))
		}
	}
	return lines
}
