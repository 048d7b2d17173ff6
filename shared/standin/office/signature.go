package office

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	algorithm  = "ACS3-HMAC-SHA256"
	dateLayout = "2006-01-02T15:04:05Z"
	dateLeeway = 15 * time.Minute
	// a date may lie ahead by the leeway and stays good for the leeway after that
	nonceMemory = 2 * dateLeeway
)

var (
	badSignature = badRequest("SignatureDoesNotMatch",
		"Specified signature is not matched with our calculation.")
	incomplete = badRequest("IncompleteSignature",
		"The request signature does not conform to Aliyun standards.")
)

// authenticate checks who sent the request: the signature over all of it, the date, the security
// token and the nonce. The nonce is remembered only once all the rest is right, so that nobody
// without the keys can burn one.
func (s *Server) authenticate(r *http.Request, parameters map[string]string,
	body []byte) *apiError {
	proof, ok := parseAuthorization(r.Header.Get("Authorization"))
	if !ok || !coversRequest(proof.signed, r) {
		return incomplete
	}
	own := s.Credentials()
	if subtle.ConstantTimeCompare([]byte(proof.accessKeyID), []byte(own.AccessKeyID)) == 0 {
		return &apiError{http.StatusNotFound, "InvalidAccessKeyId.NotFound",
			"Specified access key is not found."}
	}
	date, err := time.Parse(dateLayout, r.Header.Get("X-Acs-Date"))
	if err != nil {
		return badRequest("InvalidTimeStamp.Format",
			"Specified time stamp or date value is not well formatted.")
	}
	now := s.options.SignatureNow()
	if now.Sub(date).Abs() > dateLeeway {
		return badRequest("InvalidTimeStamp.Expired",
			"Specified time stamp or date value is expired.")
	}
	contentHash := hexHash(string(body))
	if r.Header.Get("X-Acs-Content-Sha256") != contentHash {
		return badSignature
	}
	mac := hmac.New(sha256.New, []byte(own.Secret))
	canonical := canonicalRequest(r, parameters, proof.signed, contentHash)
	mac.Write([]byte(algorithm + "\n" + hexHash(canonical)))
	if !hmac.Equal(mac.Sum(nil), proof.signature) {
		return badSignature
	}
	switch token := r.Header.Get("X-Acs-Security-Token"); {
	case token == "":
		return missing("SecurityToken")
	case subtle.ConstantTimeCompare([]byte(token), []byte(own.SecurityToken)) == 0:
		return badRequest("InvalidSecurityToken.MismatchWithAccessKey",
			"Specified SecurityToken mismatch with the AccessKey.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nonces.spend(r.Header.Get("X-Acs-Signature-Nonce"), now)
}

func hexHash(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// nonces are those of the last half hour. Two generations of them, of which the older is dropped
// whole, keep the memory flat under load.
type nonces struct {
	recent, older map[string]bool
	since         time.Time // of recent
}

func (n *nonces) spend(nonce string, now time.Time) *apiError {
	if nonce == "" {
		return missing("SignatureNonce")
	}
	if now.Sub(n.since) > nonceMemory {
		n.recent, n.older, n.since = map[string]bool{}, n.recent, now
	}
	if n.recent[nonce] || n.older[nonce] {
		return badRequest("SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	// it is a part of the whole header, which would stay with it
	n.recent[strings.Clone(nonce)] = true
	return nil
}

// authorization is an Authorization header of the form
// ACS3-HMAC-SHA256 Credential=ID,SignedHeaders=a;b;c,Signature=hex.
type authorization struct {
	accessKeyID string
	signed      []string // lower-case names in ascending order, each once
	signature   []byte   // 32 bytes
}

var authorizationForm = regexp.MustCompile(`^` + algorithm +
	` Credential=([!-+\--~]+),SignedHeaders=([a-z0-9;-]+),Signature=([0-9a-f]{64})$`)

func parseAuthorization(header string) (proof authorization, ok bool) {
	parts := authorizationForm.FindStringSubmatch(header)
	if parts == nil {
		return authorization{}, false
	}
	signed := strings.Split(parts[2], ";")
	for i, name := range signed {
		if name == "" || i > 0 && signed[i-1] >= name {
			return authorization{}, false
		}
	}
	signature, err := hex.DecodeString(parts[3])
	return authorization{accessKeyID: parts[1], signed: signed, signature: signature}, err == nil
}

// coversRequest says whether the signed headers are there, once each, and leave out none of those
// that must be signed: host, content-type and everything that starts with x-acs-.
func coversRequest(signed []string, r *http.Request) bool {
	for _, name := range signed {
		if name != "host" && len(r.Header.Values(name)) != 1 {
			return false
		}
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		if (strings.HasPrefix(name, "x-acs-") || name == "content-type") &&
			!slices.Contains(signed, name) {
			return false
		}
	}
	return slices.Contains(signed, "host")
}

// canonicalRequest is the text whose hash is signed: method, path, query, headers, their names and
// the body's hash, a line each.
func canonicalRequest(r *http.Request, parameters map[string]string, signed []string,
	contentHash string) string {
	pairs := make([]string, 0, len(parameters))
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		pairs = append(pairs, percentEncode(name)+"="+percentEncode(parameters[name]))
	}
	var headers strings.Builder
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	return strings.Join([]string{r.Method, r.URL.EscapedPath(), strings.Join(pairs, "&"),
		headers.String(), strings.Join(signed, ";"), contentHash}, "\n")
}

// percentEncode encodes as RFC 3986 has it: all but letters, digits and -._~.
func percentEncode(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
