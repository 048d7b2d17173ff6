package app_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hunt looks for secrets in text, in every form in which one is likely to be written down.
type hunt struct {
	mu    sync.Mutex
	forms map[string]string // to the secret's name
	known map[string]int    // how many secrets each name has
}

// enough secrets of one name are hunted for: those of a thousand pages differ in nothing that
// matters here.
const enough = 30

func (h *hunt) add(name, secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.forms == nil {
		h.forms, h.known = map[string]string{}, map[string]int{}
	}
	if len(secret) < 8 || h.known[name] >= enough || h.forms[secret] != "" {
		return
	}
	h.known[name]++
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		base64.RawURLEncoding.EncodeToString([]byte(secret)), fmt.Sprint([]byte(secret))}
	if parts := strings.Split(secret, "."); len(parts) == 3 && len(parts[2]) > 20 {
		forms = append(forms, parts[1], parts[2]) // claims and signature
	}
	if raw, err := base64.StdEncoding.DecodeString(secret); err == nil && len(raw) == 32 {
		forms = append(forms, string(raw), fmt.Sprint(raw))
	}
	for _, form := range forms {
		h.forms[form] = name
	}
}

// shapes are those of secrets that are made at random.
var shapes = map[string]*regexp.Regexp{
	"a proof or a share link": regexp.MustCompile(`\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.`),
	"a proof in a header":     regexp.MustCompile(`Bearer [\w.~+/-]{16,}`),
	"a token of IMM":          regexp.MustCompile(`\b[0-9a-f]{32}v3\b`),
	"a sealed token":          regexp.MustCompile(`\bA[Q-f][\w-]{200,}`),
	"a request's signature":   regexp.MustCompile(`Signature=[0-9a-f]{64}`),
	"a request's parameters": regexp.MustCompile(
		`(?:Password|AccessToken|RefreshToken|SourceURI|User)=[\w%.-]{8,}`),
	"a key as an operator sets it": regexp.MustCompile(`(?:^|[\s"=,])[A-Za-z0-9+/]{43}=`),
}

// found lists the secrets in a text.
func (h *hunt) found(text string) (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for form, name := range h.forms {
		if strings.Contains(text, form) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for name, shape := range shapes {
		if shape.MatchString(text) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// wantNoSecret searches all that the world's instances logged, and every error that they answered.
// Of a test that has failed it shows the last lines that an operator would see.
func (w *world) wantNoSecret() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errors strings.Builder
	for _, r := range w.replies {
		if r.status == 200 {
			w.hunt.add("a sealed token", r.RefreshToken)
			w.hunt.add("an access token", r.AccessToken)
		} else {
			fmt.Fprintln(&errors, r.body, r.header)
		}
	}
	for _, request := range w.IMM.Requests() {
		w.hunt.add("IMM's access token", request.Parameters["AccessToken"])
		w.hunt.add("IMM's refresh token", request.Parameters["RefreshToken"])
		w.hunt.add("a password", request.Parameters["Password"])
	}
	texts := []string{errors.String()}
	for _, l := range w.logged {
		texts = append(texts, l.String())
	}
	for _, text := range texts {
		if w.hunt.found(text) == nil {
			continue
		}
		for line := range strings.Lines(text) {
			if names := w.hunt.found(line); names != nil {
				w.t.Errorf("%v in %.300s", names, line)
			}
		}
	}
	if w.t.Failed() && !w.passed && w.asked != nil {
		lines := slices.Collect(strings.Lines(w.asked.logs.String()))
		w.t.Logf("the last lines of the log:\n%.2000s",
			strings.Join(lines[max(0, len(lines)-3):], ""))
	}
}

// The hunt finds what is there.
func TestHuntFindsSecrets(t *testing.T) {
	t.Parallel()
	s := start(t)
	ann := s.proof("ann")
	opened := s.generate(ann, object("SourceURI", locked, "Password", documentPassword)).want(t,
		200, "")
	s.wantNoSecret()
	for _, text := range []string{
		ann.Reveal(), strings.Split(ann.Reveal(), ".")[1], // its claims
		"eyJhbGciOiJub25l.eyJzdWIiOiJhbm4i.", "Authorization: Bearer abcdefgh.ijkl-mnop",
		opened.RefreshToken, opened.AccessToken, "3de242da81e1433abefbbea000aaae39v3",
		"q=" + url.QueryEscape(documentPassword), "Password=" + documentPassword,
		"KEYS=" + s.Environment["WEBOFFICE_SESSION_KEYS"], s.IMM.Credentials().Secret,
		fmt.Sprint([]byte(s.LinkKey.Reveal())),
	} {
		if s.hunt.found(`{"level":"INFO","x":"`+text+`"}`) == nil {
			t.Errorf("%s is not found", text)
		}
	}
	if names := s.hunt.found(s.logs.lines("decision")[0]["document"].(string)); names != nil {
		t.Errorf("%v in a harmless text", names)
	}
}
