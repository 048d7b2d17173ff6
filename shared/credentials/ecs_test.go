package credentials

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aliyun/credentials-go/credentials/providers"
)

// metadata is an ECS instance's metadata service, reached through a proxy on loopback since its
// address is fixed.
type metadata struct {
	server *httptest.Server
	calls  atomic.Int64 // for credentials
	answer http.HandlerFunc
}

func newMetadata(t *testing.T) *metadata {
	m := new(metadata)
	m.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.String() {
		case "PUT http://100.100.100.200/latest/api/token?":
			_, _ = fmt.Fprint(w, "s3cr3t-metadata-token")
		case "GET http://100.100.100.200/latest/meta-data/ram/security-credentials/weboffice?":
			m.calls.Add(1)
			m.answer(w, r)
		default:
			t.Errorf("unknown request %s %s", r.Method, r.URL)
		}
	}))
	t.Cleanup(m.server.Close)
	m.answer = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"STS.ecs","AccessKeySecret":"s3cr3t",`+
			`"SecurityToken":"s3cr3t","Expiration":%q}`,
			time.Now().Add(6*time.Hour).UTC().Format(time.RFC3339))
	}
	return m
}

func (m *metadata) source(t *testing.T) *cache {
	t.Helper()
	provider, err := providers.NewECSRAMRoleCredentialsProviderBuilder().WithRoleName("weboffice").
		WithHttpOptions(&providers.HttpOptions{Proxy: m.server.URL, ReadTimeout: 10_000}).Build()
	if err != nil {
		t.Fatal(err)
	}
	return &cache{fetch: ecsMetadata{provider, time.Now}.fetch, name: "ecs", now: time.Now,
		log: logger(t)}
}

func TestECSRole(t *testing.T) {
	m := newMetadata(t)
	source := m.source(t)
	all100(t, source, "STS.ecs").Wait()
	if m.calls.Load() != 1 {
		t.Errorf("%d calls of the metadata service", m.calls.Load())
	}
	if left := time.Until(get(t, source).Expires); left > ecsLife || left < ecsLife/2 {
		t.Errorf("valid for %v", left)
	}
}

// The provider's errors quote what it was answered, and incomplete answers make it panic.
func TestECSMetadataThatIsWrong(t *testing.T) {
	with := func(members string) http.HandlerFunc {
		return text(200, `{"AccessKeyId":"STS.ecs","AccessKeySecret":"s3cr3t",`+members+`}`)
	}
	const code, token = `"Code":"Success",`, `"SecurityToken":"s3cr3t"`
	const end = `,"Expiration":"2099-01-01T00:00:00Z"`
	for name, answer := range map[string]http.HandlerFunc{
		"no role attached":           text(404, "<html>s3cr3t</html>"),
		"HTML":                       text(200, "<html>s3cr3t</html>"),
		"no Code":                    with(token + end),
		"no Expiration":              with(code + token),
		"Expiration in words":        with(code + token + `,"Expiration":"s3cr3t"`),
		"a failure":                  with(`"Code":"s3cr3t",` + token + end),
		"an AccessKey without token": with(code + `"SecurityToken":""` + end),
		"cut": cut(
			"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"s3cr3t"),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMetadata(t)
			m.answer = answer
			says(t, fails(t, m.source(t)), "attach the RAM role",
				"no credentials from the ECS metadata service")
		})
	}
}

// provided is a provider that answers as credentials-go's do.
type provided func() (*providers.Credentials, error)

func (p provided) GetCredentials() (*providers.Credentials, error) { return p() }
func (provided) GetProviderName() string                           { return "provided" }

func TestECSRoleIsLookedAtAgainInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		metadata := ecsMetadata{provided(func() (*providers.Credentials, error) {
			calls++
			return &providers.Credentials{AccessKeyId: fmt.Sprintf("STS.%d", calls),
				AccessKeySecret: "s3cr3t", SecurityToken: "s3cr3t"}, nil
		}), time.Now}
		c := &cache{fetch: metadata.fetch, name: "ecs", now: time.Now, log: logger(t)}
		for minute := range 10 {
			if got := get(t, c); got.AccessKeyID == "" || !got.Expires.After(time.Now()) {
				t.Errorf("minute %d: %v", minute, got)
			}
			time.Sleep(time.Minute)
		}
		// Credentials are good for three minutes: asked again at each second minute.
		if calls != 5 {
			t.Errorf("%d calls in ten minutes", calls)
		}
	})
}
