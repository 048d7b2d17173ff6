package office

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// fullAccessLife is the real access token's life. A stand-in with another life says so in its
// WebofficeURL, for its JS-SDK.
const fullAccessLife = 30 * time.Minute

const refreshLife = 24 * time.Hour

// tokens is the answer of both actions; a refresh has no WebofficeURL.
type tokens struct {
	RequestId               string
	WebofficeURL            string `json:",omitempty"`
	AccessToken             string
	RefreshToken            string
	AccessTokenExpiredTime  string
	RefreshTokenExpiredTime string
}

func newTokens(requestID string, end, refreshEnd time.Time) *tokens {
	return &tokens{
		RequestId: requestID, AccessToken: randomHex(16) + "v3", RefreshToken: randomHex(16) + "v3",
		AccessTokenExpiredTime:  end.Format(time.RFC3339Nano),
		RefreshTokenExpiredTime: refreshEnd.Format(time.RFC3339Nano),
	}
}

// grant is what one Generate gave. All tokens that come from it share it, and with it the one frame
// that it serves.
type grant struct {
	*settings
	file     string   // the last part of its WebofficeURL
	frame    string   // the frame that opened it last, "" before the first
	snapshot []string // what a cached preview shows
}

// token is an access token or a refresh token.
type token struct {
	grant   *grant
	access  string // with a refresh token: the access token that it came with
	expires time.Time
	spent   bool // a refresh token
}

// issued are all tokens of a kind that may still be asked for.
type issued struct {
	tokens map[string]*token
	queue  []string // in the order of their issue, which is that of their end
}

// add takes a new token in and forgets those that ended long ago.
func (i *issued) add(name string, t *token, now time.Time, kept time.Duration) {
	i.tokens[name] = t
	i.queue = append(i.queue, name)
	for now.After(i.tokens[i.queue[0]].expires.Add(kept)) {
		delete(i.tokens, i.queue[0])
		i.queue = i.queue[1:]
	}
}

// generateTokens does the work of GenerateWebofficeToken; the caller holds the lock.
func (s *Server) generateTokens(request *Request, base string) (*tokens, *apiError) {
	base = strings.TrimSuffix(cmp.Or(s.options.PublicURL, base), "/")
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
	return hexHash(strings.Join([]string{c.project, c.uri, c.Name}, "\n"))[:40]
}

// refreshTokens does the work of RefreshWebofficeToken: the refresh token is spent, and the same
// settings are issued again. The caller holds the lock.
func (s *Server) refreshTokens(request *Request, _ string) (*tokens, *apiError) {
	sent := request.Parameters
	if _, failure := s.parse(request, "ProjectName", "AccessToken",
		"RefreshToken"); failure != nil {
		return nil, failure
	}
	token := s.refresh.tokens[sent["RefreshToken"]]
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
	return s.issue(token.grant, request.ID), nil
}

// issue makes a new pair of tokens for a grant; the caller holds the lock.
func (s *Server) issue(given *grant, requestID string) *tokens {
	now, life := s.options.Now().UTC(), s.options.AccessTokenLife
	end, refreshEnd := now.Add(life), now.Add(refreshLife)
	answer := newTokens(requestID, end, refreshEnd)
	s.access.add(answer.AccessToken, &token{grant: given, expires: end}, now, life)
	s.refresh.add(answer.RefreshToken, &token{grant: given, access: answer.AccessToken,
		expires: refreshEnd}, now, 0)
	return answer
}
