package office

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// fullAccessLife is the real access token's life. A stand-in with another life says so in its
// WebofficeURL, for its JS-SDK.
const fullAccessLife = 30 * time.Minute

// tokens is the answer of both actions; a refresh has no WebofficeURL.
type tokens struct {
	RequestId               string
	WebofficeURL            string `json:",omitempty"`
	AccessToken             string
	RefreshToken            string
	AccessTokenExpiredTime  string
	RefreshTokenExpiredTime string
}

// grant is what one Generate gave. All tokens that come from it share it, and with it the one frame
// that it serves.
type grant struct {
	*settings
	file     string   // the last part of its WebofficeURL
	frame    string   // the frame that opened it last, "" before the first
	snapshot []string // what a cached preview shows
}

type accessToken struct {
	grant   *grant
	expires time.Time
	ended   bool // by a refresh, where Switches.OldTokensDie
}

type refreshToken struct {
	grant   *grant
	access  string // the access token that it came with, and that must be sent with it
	expires time.Time
	spent   bool
}

// issued are all tokens that may still be asked for.
type issued struct {
	access                    map[string]*accessToken
	refresh                   map[string]*refreshToken
	accessQueue, refreshQueue []string // in the order of their issue, which is that of their end
}

// generateTokens does the work of GenerateWebofficeToken; the caller holds the lock.
func (s *Server) generateTokens(request *Request, base string) (*tokens, *apiError) {
	if s.publicURL != "" {
		base = strings.TrimSuffix(s.publicURL, "/")
	}
	values, failure := s.parse(request, "ProjectName", "SourceURI")
	if failure != nil {
		return nil, failure
	}
	chosen, failure := newSettings(values, s.switches.UserNameStrict)
	if failure != nil {
		return nil, failure
	}
	found := s.find(chosen.uri)
	if found == nil {
		return nil, notFound(chosen.uri)
	}
	given := &grant{settings: chosen, file: fileID(chosen)}
	if s.switches.NewURLEachTime {
		given.file = randomHex(20)
	}
	if chosen.Cached {
		given.snapshot = found.pages
	}
	answer := s.issue(given, request.ID)
	answer.WebofficeURL = base + "/office/" + editorKind(extension(chosen.Name)) + "/" +
		given.file + "?_w_tokentype=1"
	if s.options.AccessTokenLife != fullAccessLife {
		answer.WebofficeURL += "&_w_life=" +
			strconv.FormatInt(s.options.AccessTokenLife.Milliseconds(), 10)
	}
	return answer, nil
}

// fileID is the same for the same document under the same name, in the vendor's form of 40 digits.
func fileID(c *settings) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{c.project, c.uri, c.Name}, "\n")))
	return hex.EncodeToString(sum[:20])
}

// refreshTokens does the work of RefreshWebofficeToken: the refresh token is spent, and the same
// settings are issued again. The caller holds the lock.
func (s *Server) refreshTokens(request *Request, _ string) (*tokens, *apiError) {
	sent := request.Parameters
	if _, failure := s.parse(request, "ProjectName", "AccessToken",
		"RefreshToken"); failure != nil {
		return nil, failure
	}
	token := s.tokens.refresh[sent["RefreshToken"]]
	switch {
	case token == nil || token.grant.project != sent["ProjectName"] ||
		!s.options.Now().Before(token.expires):
		return nil, invalid("RefreshToken")
	case token.spent:
		request.Code = invalid("RefreshToken").code
		s.ledger.doubleSpends = keepLast(s.ledger.doubleSpends, *request)
		return nil, invalid("RefreshToken")
	case token.access != sent["AccessToken"]:
		return nil, invalid("AccessToken")
	}
	token.spent = true
	if old := s.tokens.access[token.access]; old != nil && s.switches.OldTokensDie {
		old.ended = true
	}
	return s.issue(token.grant, request.ID), nil
}

// issue makes a new pair of tokens for a grant and forgets those that ended long ago; the caller
// holds the lock.
func (s *Server) issue(given *grant, requestID string) *tokens {
	now, i := s.options.Now().UTC(), &s.tokens
	end, refreshEnd := now.Add(s.options.AccessTokenLife), now.Add(s.options.RefreshTokenLife)
	answer := &tokens{
		RequestId: requestID, AccessToken: randomHex(16) + "v3", RefreshToken: randomHex(16) + "v3",
		AccessTokenExpiredTime:  end.Format(time.RFC3339Nano),
		RefreshTokenExpiredTime: refreshEnd.Format(time.RFC3339Nano),
	}
	i.access[answer.AccessToken] = &accessToken{grant: given, expires: end}
	i.refresh[answer.RefreshToken] = &refreshToken{grant: given, access: answer.AccessToken,
		expires: refreshEnd}
	i.accessQueue = append(i.accessQueue, answer.AccessToken)
	i.refreshQueue = append(i.refreshQueue, answer.RefreshToken)
	for now.After(i.access[i.accessQueue[0]].expires.Add(s.options.AccessTokenLife)) {
		delete(i.access, i.accessQueue[0])
		i.accessQueue = i.accessQueue[1:]
	}
	for now.After(i.refresh[i.refreshQueue[0]].expires) {
		delete(i.refresh, i.refreshQueue[0])
		i.refreshQueue = i.refreshQueue[1:]
	}
	return answer
}
