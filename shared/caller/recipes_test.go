package caller_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weboffice-functions/shared/caller"
	"weboffice-functions/shared/policy"
	"weboffice-functions/shared/standin/issuer"
	"weboffice-functions/shared/weboffice"
)

// recipes are the blocks of README.md, by heading and language.
func recipes(t testing.TB) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for section := range strings.SplitSeq(string(must(os.ReadFile("README.md"))), "\n## ") {
		heading, text, _ := strings.Cut(section, "\n")
		all[heading] = map[string]string{}
		blocks := strings.Split(text, "\n```")
		for i := 1; i < len(blocks); i += 2 {
			language, block, _ := strings.Cut(blocks[i], "\n")
			all[heading][language] += block + "\n"
		}
	}
	return all
}

// shapeOf names the stand-in's shape for each recipe.
var shapeOf = map[string]string{
	"Keycloak": "keycloak", "Entra ID": "entra", "Auth0": "auth0", "Okta": "okta",
	"Google": "google", "Cognito": "cognito", "Logto": "logto", "Authing": "authing",
	"Casdoor": "casdoor", "Clerk": "clerk", "Asgardeo and WSO2 Identity Server": "asgardeo",
	"GitHub Actions": "github", "AD FS, and whatever cannot be discovered": "adfs",
}

// The recipe's own lines decide here, over tokens, keys and discovery of the provider's form.
func TestRecipes(t *testing.T) {
	written, another := recipes(t), issuer.New(issuer.Options{})
	private := must(rsa.GenerateKey(rand.Reader, 2048))
	for heading, name := range shapeOf {
		t.Run(name, func(t *testing.T) {
			block := written[heading]["yaml"]
			rules, err := policy.Parse([]byte("project: p\n"+block), policy.Options{})
			if err != nil {
				t.Fatalf("%v in\n%s", err, block)
			}
			trusted := rules.Issuers()[0]
			r := newRig(t, trusted, nil)
			p := issuer.New(issuer.Options{Shape: name, Now: r.clock.Now, RSA: private})
			r.wire.next = loopback(t, p)
			right := r.accepted(t, p.Token(nil))
			if err := opens(rules, right, r.clock.Now()); err != nil {
				t.Errorf("the right token opens nothing: %v", err)
			}
			if trusted.Keys != "" {
				r.requested(t, 1, trusted.Keys)
			} else {
				r.requested(t, 2, strings.TrimSuffix(trusted.URL, "/")+issuer.DiscoveryPath)
			}
			unauthenticated, forbidden := p.NotMeant()
			for why, token := range unauthenticated {
				t.Run(why, func(t *testing.T) { r.refused(t, token) })
			}
			for why, token := range forbidden {
				t.Run(why, func(t *testing.T) {
					err := opens(rules, r.accepted(t, token), r.clock.Now())
					if weboffice.AsError(err).Kind != weboffice.Forbidden {
						t.Errorf("got %v, want a 403", err)
					}
				})
			}
			stolenKey(t, r, p, another)
		})
	}
	for heading, blocks := range written {
		if _, tested := shapeOf[heading]; !tested && strings.Contains(blocks["yaml"], "url:") {
			t.Errorf("%s: no test", heading)
		}
	}
	if len(shapeOf) != len(issuer.Shapes()) {
		t.Errorf("%d recipes for the shapes %v", len(shapeOf), issuer.Shapes())
	}
}

// stolenKey takes the honest claims and signs them with what anybody can have.
func stolenKey(t *testing.T, r rig, p, another *issuer.Provider) {
	claims := must(base64.RawURLEncoding.DecodeString(strings.Split(p.Token(nil).Reveal(), ".")[1]))
	public := p.PublicKey()
	r.refused(t, another.Sign(map[string]any{"kid": public.KeyID}, claims))
	if key, isRSA := public.Key.(*rsa.PublicKey); isRSA {
		secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY",
			Bytes: must(x509.MarshalPKIXPublicKey(key))})
		header := fmt.Sprintf(`{"alg":"HS256","kid":%q}`, public.KeyID)
		r.refused(t, hs256(secret, header, string(claims)))
	}
}

func opens(rules *policy.Policy, c caller.Caller, now time.Time) error {
	uri := "oss://docs/teams/plan.docx"
	document, err := weboffice.ParseSourceURI(uri)
	if err != nil {
		return err
	}
	_, err = rules.Decide(policy.Question{Caller: c, Asked: weboffice.Request{SourceURI: uri},
		Document: document, Start: now, Guest: weboffice.NewGuest()}, now)
	return err
}

// A backend in another language mints what README.md shows.
func TestLinksOfAnotherLanguage(t *testing.T) {
	blocks := recipes(t)["Sessions of your own"]
	rules := must(policy.Parse([]byte("project: p\n"+blocks["yaml"]), policy.Options{}))
	script, _, _ := strings.Cut(blocks["js"], "el.token")
	const opening = `'oss://docs/teams/plan.docx', ['view', 'edit'])`
	for name, text := range map[string]string{
		"node": script + `console.log(link({id: 'u-7', name: 'Ann Lee 李'}, ` + opening + ")",
		"python3": blocks["python"] +
			`print(link({'id': 'u-7', 'name': 'Ann Lee 李'}, ` + opening + ")",
	} {
		t.Run(name, func(t *testing.T) {
			interpreter, err := exec.LookPath(name)
			if err != nil {
				t.Skip("no " + name + " here")
			}
			file := filepath.Join(t.TempDir(), "link.cjs")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), interpreter, file)
			command.Env = append(os.Environ(), "WEBOFFICE_LINK_KEY="+
				base64.StdEncoding.EncodeToString([]byte(linkKey)))
			printed, err := command.Output()
			if err != nil {
				t.Fatal(err)
			}
			v := must(caller.NewVerifier(caller.Options{LinkKeys: []weboffice.Secret{linkKey},
				Now: time.Now}))
			got, err := v.Verify(t.Context(), weboffice.Secret(strings.TrimSpace(string(printed))))
			if err != nil || got.Subject != "u-7" || got.User.Name != "Ann Lee 李" ||
				got.Link.Document != "oss://docs/teams/plan.docx" {
				t.Fatalf("got %+v, %v", got, err)
			}
			if err := opens(rules, got, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
}
