package credentials

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// metadata is the way to an ECS instance's metadata service.
type metadata struct {
	calls atomic.Int64 // for credentials
	older bool         // it gives no tokens
	answer
}

// answer is a status and a body.
type answer struct {
	status int
	body   string
}

func (m *metadata) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	switch token := r.Header.Get("X-Aliyun-Ecs-Metadata-Token"); r.Method + " " + r.URL.String() {
	case "PUT http://100.100.100.200/latest/api/token":
		if m.older || r.Header.Get("X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds") == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = fmt.Fprint(w, "s3cr3t-metadata-token")
	case "GET http://100.100.100.200/latest/meta-data/ram/security-credentials/weboffice":
		m.calls.Add(1)
		if m.older != (token == "") || !m.older && token != "s3cr3t-metadata-token" {
			w.WriteHeader(http.StatusForbidden)
		} else {
			w.WriteHeader(m.status)
		}
		_, _ = fmt.Fprint(w, m.body)
	default:
		return nil, fmt.Errorf("unknown request %s %s", r.Method, r.URL)
	}
	return w.Result(), nil
}

// instance is the source of an ECS instance with this metadata service.
func (m *metadata) instance(t *testing.T, changes ...string) Source {
	t.Helper()
	source, err := choose(t, Options{Client: &http.Client{Transport: m}}, with(ecs, changes...))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestECSRole(t *testing.T) {
	ends := time.Now().Add(50 * time.Minute).UTC().Truncate(time.Second)
	good := answer{200, fmt.Sprintf(`{"Code":"Success","AccessKeyId":"STS.ecs",`+
		`"AccessKeySecret":"s3cr3t","SecurityToken":"s3cr3t","Expiration":%q}`,
		ends.Format(time.RFC3339))}
	m := &metadata{answer: good}
	source := m.instance(t)
	hundred(t, source, "STS.ecs")
	if got := get(t, source); m.calls.Load() != 1 || !got.Expires.Equal(ends) {
		t.Errorf("%v after %d calls of the metadata service", got, m.calls.Load())
	}
	older := &metadata{answer: good, older: true}
	get(t, older.instance(t))
	says(t, fails(t, older.instance(t, "ALIBABA_CLOUD_IMDSV1_DISABLED", "TRUE")),
		"attach the RAM role", "its token: status 404")
	if older.calls.Load() != 1 {
		t.Error("a service without tokens was asked")
	}
	// a proxy of the environment's could read the credentials
	proxied := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Host: "a-proxy"}),
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, &net.OpError{Op: address, Err: http.ErrNotSupported}
		}}}
	direct, _ := choose(t, Options{Client: &proxied}, ecs)
	says(t, fails(t, direct), "attach the RAM role", "100.100.100.200:80")
}

func TestECSMetadataThatIsWrong(t *testing.T) {
	const incomplete = "an answer without complete credentials"
	with := func(members ...string) answer {
		return answer{200, `{"AccessKeyId":"STS.ecs","AccessKeySecret":"s3cr3t",` +
			strings.Join(members, ",") + `}`}
	}
	const code, token = `"Code":"Success"`, `"SecurityToken":"s3cr3t"`
	const end = `"Expiration":"2099-01-01T00:00:00Z"`
	for cause, answers := range map[string][]answer{
		"status 404": {{404, "<html>s3cr3t</html>"}}, // no role attached
		incomplete: {{200, "<html>s3cr3t</html>"}, {200, ""}, with(code, token),
			with(code, token, `"Expiration":"s3cr3t"`), with(code, end, `"SecurityToken":""`)},
		"no success": {with(token, end), with(`"Code":"s3cr3t"`, token, end)},
		"than 16 KB": {{200, strings.Repeat(" ", maxAnswer+1)}},
		"status 500": {{500, with(code, token, end).body}},
	} {
		for _, wrong := range answers {
			m := &metadata{answer: wrong}
			says(t, fails(t, m.instance(t)), "attach the RAM role", cause)
		}
	}
}
