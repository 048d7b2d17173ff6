package issuer_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"weboffice-functions/shared/standin/issuer"
)

func start(t *testing.T, o issuer.Options) *issuer.Provider {
	p := issuer.New(o)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func get(t *testing.T, url string, into any) *http.Response {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return response
}

// The shapes are traps of real providers: each is one for a reader that believes certificates, or
// looks for discovery where it is not.
func TestShapes(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range issuer.Shapes() {
		t.Run(name, func(t *testing.T) {
			p := issuer.New(issuer.Options{Shape: name, RSA: private})
			server := httptest.NewServer(p)
			defer server.Close()
			at := func(address string) string {
				u, err := url.Parse(address)
				if err != nil {
					t.Fatal(err)
				}
				return server.URL + u.Path
			}
			var discovery struct {
				Issuer  string `json:"issuer"`
				KeysURL string `json:"jwks_uri"`
			}
			get(t, at(strings.TrimSuffix(p.URL(), "/")+issuer.DiscoveryPath), &discovery)
			var set struct{ Keys []json.RawMessage }
			get(t, at(discovery.KeysURL), &set)
			if discovery.Issuer != p.URL() || len(set.Keys) == 0 {
				t.Fatalf("%+v, %d keys", discovery, len(set.Keys))
			}
			var key jose.JSONWebKey
			err := key.UnmarshalJSON(set.Keys[0])
			if trap := name == "adfs" || name == "asgardeo" || name == "auth0" || name == "entra" ||
				name == "github"; (err != nil) != trap {
				t.Errorf("a reader of certificates: %v", err)
			}
			claims := strings.Split(p.Token(nil).Reveal(), ".")[1]
			raw, _ := base64.RawURLEncoding.DecodeString(claims)
			var times struct{ Exp int64 }
			if json.Unmarshal(raw, &times) != nil || times.Exp <= time.Now().Unix() {
				t.Errorf("a token until %d", times.Exp)
			}
			if unauthenticated, forbidden := p.NotMeant(); len(unauthenticated) == 0 ||
				len(forbidden) == 0 {
				t.Error("no twins that must be refused")
			}
		})
	}
}

// The tokens and the key set are read here as any OIDC client reads them, by go-jose alone.
func TestProviderSpeaksOIDC(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			p := start(t, issuer.Options{Now: func() time.Time { return now }, Algorithm: algorithm})
			var discovery map[string]any
			response := get(t, p.URL()+issuer.DiscoveryPath, &discovery)
			header := response.Header
			if discovery["issuer"] != p.URL() || header.Get("Content-Type") != "application/json" ||
				header.Get("Cache-Control") == "" {
				t.Errorf("got %v, %v", discovery, header)
			}
			var set jose.JSONWebKeySet
			get(t, discovery["jwks_uri"].(string), &set)
			text := p.Token(map[string]any{"team": "red", "sub": nil}).Reveal()
			token, err := jwt.ParseSigned(text,
				[]jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
			if err != nil {
				t.Fatal(err)
			}
			var claims jwt.Claims
			var all map[string]any
			if err := token.Claims(set, &claims, &all); err != nil {
				t.Fatal(err)
			}
			want := jwt.Expected{Issuer: p.URL(), AnyAudience: jwt.Audience{"weboffice"},
				Time: now.Add(time.Hour)}
			if err := claims.ValidateWithLeeway(want, 0); err != nil {
				t.Error(err)
			}
			if want.Time = now.Add(time.Hour + time.Second); claims.ValidateWithLeeway(want,
				0) == nil {
				t.Error("a token of another life")
			}
			if _, there := all["sub"]; there || all["team"] != "red" {
				t.Errorf("got %v", all)
			}
			p.Rotate()
			get(t, p.URL()+issuer.KeysPath, &set)
			if len(set.Keys) != 1 || token.Claims(set, &claims) == nil {
				t.Error("the old key is still in the set")
			}
			if p.Requests(issuer.KeysPath) != 2 || p.Requests(issuer.DiscoveryPath) != 1 {
				t.Error("requests are not counted")
			}
		})
	}
}

func TestProviderAnswersOnlyItsPaths(t *testing.T) {
	p := start(t, issuer.Options{Algorithm: "ES256"})
	if got := get(t, p.URL()+"/token", nil).StatusCode; got != http.StatusNotFound {
		t.Errorf("got %d", got)
	}
	response, err := http.Post(p.URL()+issuer.KeysPath, "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %d", response.StatusCode)
	}
}
